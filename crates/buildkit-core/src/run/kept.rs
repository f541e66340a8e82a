//! From the settings that a container keeps to those that a command is run with.
//!
//! What they say comes from a file of the store or from a command line: a word that means nothing is
//! refused with its member's name.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use runtime::{
    Capabilities, Device, HostAddress, HostFiles, Masks, Namespace, Namespaces, Network, NetworkConfig, Resources,
    Rlimit, Seccomp,
};

use super::settings::nodes_of;
use super::{DeviceRequest, MountRequest, Settings, default_mounts, parse_size};
use crate::containers_conf::ContainersConf;
use crate::working_container::{CommonOptions, Isolation, KeptDevice, KeptSettings, NetworkPolicy};

/// Where profiles of the system call filter are that stand for the default one.
const SECCOMP_DEFAULT: &str = "/usr/share/containers/seccomp.json";
/// The host's own default profile.
const SECCOMP_OVERRIDE: &str = "/etc/containers/seccomp.json";
/// Where OCI hooks are.
const HOOKS: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];
/// Where networks are defined.
const NETWORKS: &str = "/etc/containers/networks";

/// What a command is run with.
#[derive(Debug)]
pub struct Resolved {
    /// How it is confined, and what of the machine it may use.
    pub settings: Settings,
    /// Its network.
    pub network: Network,
    /// Which files of `/etc` are made for it.
    pub host_files: HostFiles,
    /// Mounts.
    pub mounts: Vec<MountRequest>,
    /// Whether it sees the host's proxy settings.
    pub sees_proxies: bool,
}

/// A setting that means nothing, or that is not supported.
#[derive(Debug, thiserror::Error)]
#[error("invalid {what} {value:?}: {message}")]
pub struct InvalidSetting {
    what: &'static str,
    value: String,
    message: String,
}

impl InvalidSetting {
    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

fn invalid(what: &'static str, value: impl Into<String>, message: impl Into<String>) -> InvalidSetting {
    InvalidSetting { what, value: value.into(), message: message.into() }
}

impl KeptSettings {
    /// What a container keeps that is made on a host with these defaults, without a further word.
    pub fn of_host(conf: &ContainersConf) -> Result<KeptSettings, InvalidSetting> {
        let mut kept = KeptSettings::default();
        if let Some(names) = &conf.default_capabilities {
            kept.capabilities = capability_names(&Capabilities { base: Some(names.clone()), ..Default::default() })?;
        }
        if let Some(option) = kept.namespace_options.iter_mut().find(|option| option.name == "cgroup") {
            option.host = !runtime::host_has_cgroup_v2();
        }
        let kinds = [("cgroup", &conf.cgroupns), ("ipc", &conf.ipcns), ("network", &conf.netns), ("pid", &conf.pidns)];
        for (kind, how) in kinds.into_iter().chain([("uts", &conf.utsns)]) {
            let option =
                how.as_ref().and_then(|_| kept.namespace_options.iter_mut().find(|option| option.name == kind));
            if let (Some(option), Some(how)) = (option, how) {
                option.host = how == "host";
            }
        }
        let common = &mut kept.common_build_opts;
        common.ulimit.clone_from(&conf.default_ulimits);
        common.volumes.clone_from(&conf.volumes);
        common.shm_size = conf.shm_size.clone().unwrap_or_else(|| std::mem::take(&mut common.shm_size));
        common.seccomp_profile_path = [SECCOMP_OVERRIDE, SECCOMP_DEFAULT]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or_default()
            .to_owned();
        for text in &conf.devices {
            kept.add_device(text)?;
        }
        Ok(kept)
    }

    /// Changes the capabilities.
    pub fn change_capabilities(&mut self, add: &[String], drop: &[String]) -> Result<(), InvalidSetting> {
        let base = Some(std::mem::take(&mut self.capabilities));
        self.capabilities = capability_names(&Capabilities { base, add: add.to_vec(), drop: drop.to_vec() })?;
        Ok(())
    }

    /// Adds a device as it is asked for. A node of the host is looked up now, so that Buildah's older
    /// releases obey it, too.
    pub fn add_device(&mut self, text: &str) -> Result<(), InvalidSetting> {
        let failed = |message: String| invalid("--device", text, message);
        match DeviceRequest::parse(text).map_err(failed)? {
            DeviceRequest::Cdi { .. } => self.device_specs.push(text.to_owned()),
            DeviceRequest::Host(device) => {
                for node in nodes_of(&device).map_err(|error| failed(error.to_string()))? {
                    self.devices.push(to_kept(&node).map_err(failed)?);
                }
            }
        }
        Ok(())
    }

    /// What commands are run with on a host with these defaults.
    pub fn resolve(&self, conf: &ContainersConf) -> Result<Resolved, InvalidSetting> {
        if self.namespace("user").is_some_and(|option| !option.host) {
            return Err(invalid("--userns", "private", "user namespaces are not supported yet"));
        }
        let common = &self.common_build_opts;
        let seccomp = match common.seccomp_profile_path.as_str() {
            "" | SECCOMP_DEFAULT => Seccomp::Default,
            "unconfined" => Seccomp::Unconfined,
            path => Seccomp::File(path.into()),
        };
        let mut cdi_dirs = match &conf.cdi_spec_dirs {
            Some(dirs) => dirs.iter().map(PathBuf::from).collect(),
            None => Settings::default().cdi_dirs,
        };
        cdi_dirs.extend(Some(&self.cdi_config_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from));
        let settings = Settings {
            isolation: match self.isolation {
                Isolation::Chroot => runtime::Isolation::Chroot,
                Isolation::Default | Isolation::Oci | Isolation::Rootless => runtime::Isolation::Runtime,
            },
            capabilities: Capabilities { base: Some(self.capabilities.clone()), ..Capabilities::default() },
            seccomp,
            apparmor: Some(&common.apparmor_profile).filter(|name| !name.is_empty()).cloned(),
            no_new_privileges: common.no_new_privileges,
            masks: Masks { add: common.masks.clone(), remove: common.unmasks.clone() },
            namespaces: self.namespaces(),
            groups: self.group_add.iter().map(|group| parse_group(group)).collect::<Result<_, _>>()?,
            rlimits: rlimits(&common.ulimit, conf)?,
            shm_size: shm_size(&common.shm_size)?,
            resources: common.resources(),
            devices: self.device_requests()?,
            hook_dirs: match common.oci_hooks_dir.as_slice() {
                // Only an OCI runtime starts hooks: those of the host are meant for one.
                [] if self.isolation == Isolation::Chroot => Vec::new(),
                [] => HOOKS.iter().map(PathBuf::from).collect(),
                dirs => dirs.iter().map(PathBuf::from).collect(),
            },
            cdi_dirs,
        };
        let mut mounts = default_mounts::requests(&self.default_mounts_file_path);
        for text in &common.volumes {
            mounts.push(volume(text)?);
        }
        Ok(Resolved {
            settings,
            network: self.network(conf)?,
            host_files: common.host_files(conf)?,
            mounts,
            sees_proxies: common.http_proxy,
        })
    }

    fn namespaces(&self) -> Namespaces {
        let of = |name: &str| match self.namespace(name) {
            Some(option) if option.host => Namespace::Host,
            Some(option) if !option.path.is_empty() => Namespace::Path(option.path.clone().into()),
            _ => Namespace::Private,
        };
        Namespaces { ipc: of("ipc"), pid: of("pid"), uts: of("uts"), cgroup: Some(of("cgroup")) }
    }

    fn network(&self, conf: &ContainersConf) -> Result<Network, InvalidSetting> {
        let option = self.namespace("network").cloned().unwrap_or_default();
        if option.host {
            return Ok(Network::Host);
        }
        if self.configure_network == NetworkPolicy::Disabled {
            return Ok(Network::None);
        }
        match option.path.as_str() {
            "" if !self.isolation.has_private_network() => Ok(Network::Host),
            "" => network_named(conf.default_network.as_deref().unwrap_or("podman"), conf),
            path if path.starts_with('/') => Ok(Network::Path(path.into())),
            name => network_named(name, conf),
        }
    }

    fn device_requests(&self) -> Result<Vec<DeviceRequest>, InvalidSetting> {
        let mut requests: Vec<_> = self.devices.iter().map(of_kept).collect();
        for text in &self.device_specs {
            requests.push(DeviceRequest::parse(text).map_err(|message| invalid("--device", text, message))?);
        }
        Ok(requests)
    }
}

impl CommonOptions {
    fn resources(&self) -> Resources {
        let text = |text: &String| Some(text).filter(|text| !text.is_empty()).cloned();
        Resources {
            cpu_period: Some(self.cpu_period).filter(|number| *number != 0),
            cpu_quota: Some(self.cpu_quota).filter(|number| *number != 0),
            cpu_shares: Some(self.cpu_shares).filter(|number| *number != 0),
            cpuset_cpus: text(&self.cpuset_cpus),
            cpuset_mems: text(&self.cpuset_mems),
            memory: Some(self.memory).filter(|number| *number != 0),
            memory_swap: Some(self.memory_swap).filter(|number| *number != 0),
            cgroup_parent: text(&self.cgroup_parent).map(PathBuf::from),
        }
    }

    fn host_files(&self, conf: &ContainersConf) -> Result<HostFiles, InvalidSetting> {
        let mut files = HostFiles { hosts: !self.no_hosts, hostname: !self.no_hostname, ..HostFiles::default() };
        match conf.base_hosts_file.as_deref() {
            None => {}
            Some("none") => files.base_hosts = None,
            Some(path) if path.starts_with('/') => files.base_hosts = Some(path.into()),
            Some(other) => return Err(invalid("base_hosts_file", other, "expected a path or none")),
        }
        for text in &self.add_host {
            files.add_hosts.extend(parse_host(text).map_err(|message| invalid("--add-host", text, message))?);
        }
        let is_none = |servers: &[String]| servers.iter().any(|server| server.eq_ignore_ascii_case("none"));
        if is_none(&self.dns_servers) {
            files.resolv_conf = false;
            return Ok(files);
        }
        for text in conf.dns_servers.iter().chain(&self.dns_servers) {
            let server: IpAddr = text.trim().parse().map_err(|_| invalid("--dns", text, "expected an IP address"))?;
            files.dns_servers.push(server);
        }
        for text in conf.dns_searches.iter().chain(&self.dns_search) {
            files.dns_search.push(resolver_word("--dns-search", text)?);
        }
        for text in conf.dns_options.iter().chain(&self.dns_options) {
            files.dns_options.push(resolver_word("--dns-option", text)?);
        }
        Ok(files)
    }
}

/// One word of a line of `resolv.conf`.
fn resolver_word(what: &'static str, text: &str) -> Result<String, InvalidSetting> {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err(invalid(what, text, "expected one word")),
        false => Ok(text.to_owned()),
    }
}

fn capability_names(capabilities: &Capabilities) -> Result<Vec<String>, InvalidSetting> {
    capabilities.names().map_err(|error| {
        invalid("--cap-add", error.0, "expected a name as in capabilities(7), such as NET_RAW, or all")
    })
}

/// A network that is defined on the host; Podman's default bridge needs no definition.
fn network_named(name: &str, conf: &ContainersConf) -> Result<Network, InvalidSetting> {
    let dir = conf.network_config_dir.as_deref().unwrap_or(Path::new(NETWORKS));
    let expected = || {
        format!(
            "unable to find network with name or ID {name}: network not found: expected private, host, none, ns:PATH, or a \
             network in {}",
            dir.display()
        )
    };
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let definition = dir.join(format!("{name}.json"));
    match definition.is_file() {
        true if plain && !name.starts_with('.') => {
            Ok(Network::Private(NetworkConfig { definition: Some(definition), ..network_config(conf) }))
        }
        _ if name == "podman" => Ok(Network::Private(network_config(conf))),
        _ => Err(invalid("--network", name, expected())),
    }
}

fn network_config(conf: &ContainersConf) -> NetworkConfig {
    let helpers = conf.helper_binaries_dir.iter().map(|dir| Path::new(dir).join("netavark"));
    NetworkConfig { netavark: helpers.into_iter().find(|path| path.is_file()), ..NetworkConfig::default() }
}

/// Limits of the host's defaults, of the list, and the usual ones; of two for one name, the later
/// one counts. Only what was asked for has to be given.
fn rlimits(list: &[String], conf: &ContainersConf) -> Result<Vec<Rlimit>, InvalidSetting> {
    let mut limits: Vec<Rlimit> = Settings::default().rlimits;
    for text in conf.default_ulimits.iter().chain(list) {
        let mut limit = parse_ulimit(text).map_err(|message| invalid("--ulimit", text, message))?;
        limit.may_be_lowered = conf.default_ulimits.contains(text);
        limits.retain(|other| other.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

/// Parses `NAME=SOFT[:HARD]`; -1 or `unlimited` is no limit.
pub fn parse_ulimit(text: &str) -> Result<Rlimit, String> {
    let expected = || "expected NAME=SOFT[:HARD], such as nofile=1024:2048".to_owned();
    let (name, values) = text.split_once('=').ok_or_else(expected)?;
    let name = name.to_ascii_lowercase();
    if !Rlimit::is_name(&name) || name.starts_with("rlimit_") {
        return Err(format!("{name:?} is no limit: expected a name as in getrlimit(2), such as nofile"));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        _ => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten(),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = number(soft).zip(number(hard)).ok_or_else(expected)?;
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok(Rlimit { name, soft, hard, may_be_lowered: false })
}

/// Parses `NAME[;NAME…]:ADDRESS`; an address of `host-gateway` is the host's.
pub fn parse_host(text: &str) -> Result<Vec<(String, HostAddress)>, String> {
    let (names, address) = text.split_once([':', '=']).ok_or("expected HOST:IP")?;
    let address = match address {
        "host-gateway" => HostAddress::Gateway,
        _ => {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            HostAddress::Ip(bare.parse().map_err(|_| format!("{address:?} is no IP address, nor host-gateway"))?)
        }
    };
    let is_name =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#' || c.is_control());
    names
        .split(';')
        .map(|name| match is_name(name) {
            true => Ok((name.to_owned(), address)),
            false => Err("expected HOST:IP".to_owned()),
        })
        .collect()
}

/// Parses the number of a group that commands have beside their user's own.
pub fn parse_group(text: &str) -> Result<u32, InvalidSetting> {
    if text == "keep-groups" {
        return Err(invalid("--group-add", text, "only users without rights have groups to keep: name the groups"));
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number != u32::MAX);
    number.ok_or_else(|| invalid("--group-add", text, "expected a number"))
}

fn shm_size(text: &str) -> Result<u64, InvalidSetting> {
    match text {
        "" => Ok(Settings::default().shm_size),
        text => parse_size(text).ok_or_else(|| invalid("--shm-size", text, "expected a number with k, m or g")),
    }
}

fn volume(text: &str) -> Result<MountRequest, InvalidSetting> {
    MountRequest::parse_volume(text).map_err(|error| invalid("--volume", text, error.message()))
}

fn to_kept(node: &Device) -> Result<KeptDevice, String> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let metadata = node.host_path.metadata().map_err(|error| error.to_string())?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => b'c',
        kind if kind.is_block_device() => b'b',
        _ => return Err("it is no device".to_owned()),
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(KeptDevice {
        kind: i64::from(kind),
        major: i64::from(rustix::fs::major(metadata.rdev())),
        minor: i64::from(rustix::fs::minor(metadata.rdev())),
        permissions: node.access.clone(),
        allow: false,
        path: text(&node.path),
        file_mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        source: text(&node.host_path),
        destination: text(&node.path),
    })
}

fn of_kept(device: &KeptDevice) -> DeviceRequest {
    let host = if device.source.is_empty() { &device.path } else { &device.source };
    let (mode, uid, gid) = (Some(device.file_mode), Some(device.uid), Some(device.gid));
    DeviceRequest::Host(Device {
        access: device.permissions.clone(),
        mode,
        uid,
        gid,
        ..Device::new(host, &device.path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::working_container::NamespaceOption;

    #[test]
    fn pure_defaults_are_buildahs() {
        let resolved = KeptSettings::default().resolve(&ContainersConf::default()).expect("resolved");
        assert!(matches!(resolved.network, Network::Private(NetworkConfig { definition: None, .. })));
        assert_eq!(resolved.settings.resources, Resources::default());
        assert_eq!(resolved.settings.shm_size, 64 << 20);
        assert_eq!(resolved.settings.namespaces.cgroup, Some(Namespace::Host));
        assert!(resolved.settings.rlimits.iter().all(|limit| limit.may_be_lowered));
        assert!(resolved.sees_proxies && resolved.host_files.hosts && resolved.mounts.is_empty());
    }

    #[test]
    fn pure_isolation_decides_whose_network_is_meant_without_a_word() {
        let network = |isolation, option: Option<NamespaceOption>, policy| {
            let mut kept = KeptSettings { isolation, configure_network: policy, ..KeptSettings::default() };
            option.into_iter().for_each(|option| kept.set_namespace(option));
            kept.resolve(&ContainersConf::default()).expect("resolved").network
        };
        let (default, none) = (NetworkPolicy::Default, NetworkPolicy::Disabled);
        assert!(matches!(network(Isolation::Default, None, default), Network::Private(_)));
        for isolation in [Isolation::Chroot, Isolation::Rootless] {
            assert!(matches!(network(isolation, None, default), Network::Host));
            assert!(matches!(network(isolation, None, none), Network::None));
            let named = NamespaceOption { name: "network".into(), host: false, path: "podman".into() };
            assert!(matches!(network(isolation, Some(named), NetworkPolicy::Enabled), Network::Private(_)));
        }
        let kept = KeptSettings { isolation: Isolation::Chroot, ..KeptSettings::default() };
        let resolved = kept.resolve(&ContainersConf::default()).expect("resolved");
        assert_eq!(resolved.settings.isolation, runtime::Isolation::Chroot);
        assert!(resolved.settings.hook_dirs.is_empty());
    }

    #[test]
    fn pure_limits_are_merged_by_name() {
        let conf = ContainersConf { default_ulimits: vec!["nofile=5:6".into(), "core=0".into()], ..Default::default() };
        let limits = rlimits(&["nofile=5:6".into(), "core=-1".into(), "NPROC=7".into()], &conf).expect("limits");
        let seen: Vec<_> =
            limits.iter().map(|limit| (limit.name.as_str(), limit.soft, limit.hard, limit.may_be_lowered)).collect();
        assert_eq!(seen, [("nofile", 5, 6, true), ("core", u64::MAX, u64::MAX, false), ("nproc", 7, 7, false)]);
        for text in
            ["", "nofile", "nofile=", "nofile=x", "nofile=1:", "nofile=2:1", "files=1", "rlimit_core=1", "nofile=+1"]
        {
            assert!(parse_ulimit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pure_hosts_have_names_and_an_address() {
        let ip = |text: &str| HostAddress::Ip(text.parse().expect("address"));
        for (text, expected) in [
            ("a:1.2.3.4", vec![("a", ip("1.2.3.4"))]),
            ("a;b=::1", vec![("a", ip("::1")), ("b", ip("::1"))]),
            ("a:[fe80::1]", vec![("a", ip("fe80::1"))]),
            ("a:host-gateway", vec![("a", HostAddress::Gateway)]),
        ] {
            let seen = parse_host(text).expect(text);
            assert_eq!(seen.iter().map(|(name, address)| (name.as_str(), *address)).collect::<Vec<_>>(), expected);
        }
        for text in ["", "a", ":1.2.3.4", "a:", "a b:1.2.3.4", "a:nosuch", "a\n:1.2.3.4", "a;:1.2.3.4"] {
            assert!(parse_host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pure_what_means_nothing_is_refused_by_name() {
        let error = |change: &dyn Fn(&mut KeptSettings)| {
            let mut kept = KeptSettings::default();
            change(&mut kept);
            kept.resolve(&ContainersConf::default()).expect_err("refused").to_string()
        };
        type Change = &'static dyn Fn(&mut KeptSettings);
        let cases: [(Change, &str); 8] = [
            (&|kept| kept.group_add = vec!["keep-groups".into()], "--group-add \"keep-groups\""),
            (&|kept| kept.group_add = vec!["+5".into()], "--group-add \"+5\": expected a number"),
            (&|kept| kept.device_specs = vec!["x".into()], "--device \"x\""),
            (&|kept| kept.common_build_opts.dns_servers = vec!["x".into()], "--dns \"x\""),
            (&|kept| kept.common_build_opts.dns_search = vec!["a\nnameserver 1.2.3.4".into()], "--dns-search"),
            (&|kept| kept.common_build_opts.volumes = vec!["x".into()], "--volume \"x\""),
            (&|kept| kept.common_build_opts.shm_size = "x".into(), "--shm-size \"x\""),
            (
                &|kept| {
                    kept.set_namespace(NamespaceOption { name: "network".into(), host: false, path: "../x".into() })
                },
                "--network \"../x\"",
            ),
        ];
        for (change, words) in cases {
            let error = error(change);
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
