//! How the commands of a working container are run, as its state keeps it: what `from` was told.
//!
//! Members and meaning are Buildah's, so that either tool obeys what the other was told.

use oci::json::null_default;
use runtime::Capabilities;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How the commands of a working container are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct KeptSettings {
    /// What keeps commands apart from the host.
    pub isolation: Isolation,
    /// Whose namespaces they are in, by kind.
    #[serde(deserialize_with = "null_default")]
    pub namespace_options: Vec<NamespaceOption>,
    /// Whether a network of their own is set up.
    pub configure_network: NetworkPolicy,
    /// Groups beside the user's own, by number.
    #[serde(deserialize_with = "null_default")]
    pub group_add: Vec<String>,
    /// Their capabilities.
    #[serde(deserialize_with = "null_default")]
    pub capabilities: Vec<String>,
    /// What `build` takes, too.
    #[serde(deserialize_with = "null_default")]
    pub common_build_opts: CommonOptions,
    /// Devices, looked up when the container was made.
    #[serde(deserialize_with = "null_default")]
    pub devices: Vec<KeptDevice>,
    /// Devices as they were asked for.
    #[serde(deserialize_with = "null_default")]
    pub device_specs: Vec<String>,
    /// A further directory of CDI specifications.
    #[serde(rename = "CDIConfigDir", skip_serializing_if = "String::is_empty")]
    pub cdi_config_dir: String,
    /// The file that names default mounts, in place of the usual ones.
    #[serde(rename = "defaultMountsFilePath", skip_serializing_if = "String::is_empty")]
    pub default_mounts_file_path: String,
}

/// What keeps commands apart from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum Isolation {
    /// Whatever is usual.
    #[default]
    Default,
    /// An OCI runtime.
    Oci,
    /// No OCI runtime: gabion itself, in the host's network.
    Chroot,
    /// An OCI runtime, in the host's network, as an unprivileged user has it.
    Rootless,
}

impl TryFrom<i64> for Isolation {
    type Error = String;

    fn try_from(number: i64) -> Result<Isolation, String> {
        Ok(match number {
            0 => Isolation::Default,
            1 => Isolation::Oci,
            2 => Isolation::Chroot,
            3 => Isolation::Rootless,
            _ => return Err(format!("unknown isolation {number}")),
        })
    }
}

impl From<Isolation> for i64 {
    fn from(isolation: Isolation) -> i64 {
        isolation as i64
    }
}

impl Isolation {
    /// Whether commands have a network of their own where nobody has said a word on it.
    pub fn has_private_network(self) -> bool {
        matches!(self, Isolation::Default | Isolation::Oci)
    }

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Default | Isolation::Oci => "oci",
            Isolation::Chroot => "chroot",
            Isolation::Rootless => "rootless",
        }
    }
}

/// Whether a network of their own is set up for commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum NetworkPolicy {
    /// As it is usual.
    #[default]
    Default,
    /// It has loopback alone.
    Disabled,
    /// It is.
    Enabled,
}

impl TryFrom<i64> for NetworkPolicy {
    type Error = String;

    fn try_from(number: i64) -> Result<NetworkPolicy, String> {
        Ok(match number {
            0 => NetworkPolicy::Default,
            1 => NetworkPolicy::Disabled,
            2 => NetworkPolicy::Enabled,
            _ => return Err(format!("unknown network policy {number}")),
        })
    }
}

impl From<NetworkPolicy> for i64 {
    fn from(policy: NetworkPolicy) -> i64 {
        policy as i64
    }
}

impl NetworkPolicy {
    /// The name that Buildah shows.
    pub fn name(self) -> &'static str {
        match self {
            NetworkPolicy::Default => "NetworkDefault",
            NetworkPolicy::Disabled => "NetworkDisabled",
            NetworkPolicy::Enabled => "NetworkEnabled",
        }
    }
}

/// Whose namespace of one kind commands are in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NamespaceOption {
    /// The kind: `cgroup`, `ipc`, `mount`, `network`, `pid`, `user` or `uts`.
    pub name: String,
    /// Whether it is the host's; a new one if not and without a path.
    pub host: bool,
    /// Its file; of a network, its name.
    pub path: String,
}

/// What `from` and `build` can be told of how commands are run; what is empty or 0 is not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CommonOptions {
    /// Lines of `/etc/hosts`, `NAME:ADDRESS`.
    #[serde(deserialize_with = "null_default")]
    pub add_host: Vec<String>,
    /// Parent of the control group.
    pub cgroup_parent: String,
    /// Microseconds.
    #[serde(rename = "CPUPeriod")]
    pub cpu_period: u64,
    /// Microseconds.
    #[serde(rename = "CPUQuota")]
    pub cpu_quota: i64,
    /// Weight.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: u64,
    /// Numbers of processors.
    #[serde(rename = "CPUSetCPUs")]
    pub cpuset_cpus: String,
    /// Numbers of memory nodes.
    #[serde(rename = "CPUSetMems")]
    pub cpuset_mems: String,
    /// Whether commands see the host's proxy settings.
    #[serde(rename = "HTTPProxy")]
    pub http_proxy: bool,
    /// Bytes.
    pub memory: i64,
    /// Bytes, memory included; -1 for no limit.
    pub memory_swap: i64,
    /// Domains in which names are looked up.
    #[serde(rename = "DNSSearch", deserialize_with = "null_default")]
    pub dns_search: Vec<String>,
    /// Name servers; `none` leaves the image's `/etc/resolv.conf`.
    #[serde(rename = "DNSServers", deserialize_with = "null_default")]
    pub dns_servers: Vec<String>,
    /// Options of the resolver.
    #[serde(rename = "DNSOptions", deserialize_with = "null_default")]
    pub dns_options: Vec<String>,
    /// SELinux labels.
    #[serde(deserialize_with = "null_default")]
    pub label_opts: Vec<String>,
    /// Paths that are hidden beside the usual ones.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<String>,
    /// Patterns of paths that are not hidden.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub unmasks: Vec<String>,
    /// Whether `/etc/hosts` is the image's.
    pub no_hosts: bool,
    /// Whether `/etc/hostname` is the image's.
    #[serde(skip_serializing_if = "is_false")]
    pub no_hostname: bool,
    /// Whether commands may not gain rights.
    #[serde(skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// Profile of the system call filter, or `unconfined`.
    pub seccomp_profile_path: String,
    /// AppArmor profile.
    pub apparmor_profile: String,
    /// Size of `/dev/shm`.
    pub shm_size: String,
    /// Limits, `NAME=SOFT[:HARD]`; of two for one name, the later one counts.
    #[serde(deserialize_with = "null_default")]
    pub ulimit: Vec<String>,
    /// Mounts, `HOST-DIR:CONTAINER-DIR[:OPTIONS]`.
    #[serde(deserialize_with = "null_default")]
    pub volumes: Vec<String>,
    /// Directories of OCI hooks.
    #[serde(rename = "OCIHooksDir", deserialize_with = "null_default")]
    pub oci_hooks_dir: Vec<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A device, looked up when the container was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptDevice {
    /// Its type's letter, as a number.
    #[serde(rename = "type")]
    pub kind: i64,
    /// Its major number.
    pub major: i64,
    /// Its minor number.
    pub minor: i64,
    /// Letters of `rwm`.
    pub permissions: String,
    /// Means nothing to a command.
    pub allow: bool,
    /// Where commands see it.
    pub path: String,
    /// Mode of its node.
    pub file_mode: u32,
    /// Owner of its node.
    pub uid: u32,
    /// Group of its node.
    pub gid: u32,
    /// Where the host has it.
    #[serde(rename = "Source")]
    pub source: String,
    /// Where commands see it, again.
    #[serde(rename = "Destination")]
    pub destination: String,
}

impl Default for KeptSettings {
    /// What `buildah from` without options keeps.
    fn default() -> KeptSettings {
        let namespace = |name: &str, host: bool| NamespaceOption { name: name.into(), host, path: String::new() };
        KeptSettings {
            isolation: Isolation::Oci,
            namespace_options: vec![
                namespace("cgroup", true),
                namespace("ipc", false),
                namespace("mount", false),
                namespace("network", false),
                namespace("pid", false),
                namespace("user", true),
                namespace("uts", false),
            ],
            configure_network: NetworkPolicy::Default,
            group_add: Vec::new(),
            capabilities: {
                let mut names = Capabilities::default_names();
                names.sort();
                names
            },
            common_build_opts: CommonOptions::default(),
            devices: Vec::new(),
            device_specs: Vec::new(),
            cdi_config_dir: String::new(),
            default_mounts_file_path: String::new(),
        }
    }
}

impl Default for CommonOptions {
    fn default() -> CommonOptions {
        let unknown = json!({
            "OmitHistory": false,
            "OmitTimestamp": false,
            // Undecided: neither a label nor none.
            "IdentityLabel": 0,
            "Secrets": [],
            "SSHSources": [],
        });
        CommonOptions {
            add_host: Vec::new(),
            cgroup_parent: String::new(),
            cpu_period: 0,
            cpu_quota: 0,
            cpu_shares: 0,
            cpuset_cpus: String::new(),
            cpuset_mems: String::new(),
            http_proxy: true,
            memory: 0,
            memory_swap: 0,
            dns_search: Vec::new(),
            dns_servers: Vec::new(),
            dns_options: Vec::new(),
            label_opts: Vec::new(),
            masks: Vec::new(),
            unmasks: Vec::new(),
            no_hosts: false,
            no_hostname: false,
            no_new_privileges: false,
            seccomp_profile_path: String::new(),
            apparmor_profile: String::new(),
            shm_size: "65536k".into(),
            ulimit: Vec::new(),
            volumes: Vec::new(),
            oci_hooks_dir: Vec::new(),
            unknown: unknown.as_object().cloned().unwrap_or_default(),
        }
    }
}

impl KeptSettings {
    /// Sets whose namespace of a kind commands are in.
    pub fn set_namespace(&mut self, option: NamespaceOption) {
        match self.namespace_options.iter_mut().find(|other| other.name == option.name) {
            Some(other) => *other = option,
            None => self.namespace_options.push(option),
        }
    }

    /// Whose namespace of a kind they are in, if that is kept.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceOption> {
        self.namespace_options.iter().find(|option| option.name == name)
    }
}
