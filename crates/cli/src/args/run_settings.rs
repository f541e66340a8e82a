//! Flags that say how commands are run: those of `run`, `from` and `build`, and those that two of
//! them share. All change the settings that a working container keeps.

use std::path::{Path, PathBuf};

use buildkit_core::containers_conf::ContainersConf;
use buildkit_core::run::{
    self, Capabilities, DeviceRequest, MountRequest, parse_group, parse_host, parse_size, parse_ulimit,
};
use buildkit_core::working_container::{Isolation, KeptSettings, NamespaceOption, NetworkPolicy};
use clap::Args;

use super::value::number;
use crate::command_error::CommandError;
use crate::session::Session;

/// How commands are kept apart from the host, and what they see of it: flags of all three.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Capability to add: a name as in capabilities(7), or all
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = capability)]
    pub cap_add: Vec<String>,
    /// Capability to take away: a name as in capabilities(7), or all
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = capability)]
    pub cap_drop: Vec<String>,
    /// Directory with CDI specifications, beside /etc/cdi and /var/run/cdi
    #[arg(long, value_name = "DIR", value_parser = cdi_directory)]
    cdi_config_dir: Option<String>,
    /// Namespace of control groups: private, host or a path
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    cgroupns: Option<NamespaceOption>,
    /// Device that commands see: a node of the host, a directory of such, or a CDI name
    #[arg(long, value_name = "/dev/x[:/dev/y][:rwm]|NAME", value_parser = device)]
    device: Vec<String>,
    /// Namespace of message queues and shared memory: private, host or a path
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    ipc: Option<NamespaceOption>,
    /// How commands are kept apart from the host: oci, by an OCI runtime; rootless, the same in the host's network;
    /// chroot, by gabion itself, without a runtime, in the host's network
    #[arg(long, value_name = "TYPE", env = "BUILDAH_ISOLATION", hide_env = true, value_parser = isolation)]
    isolation: Option<Isolation>,
    /// Network: private, host, none, ns:PATH, or the name of one of Podman's networks
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = network)]
    network: Option<(NamespaceOption, NetworkPolicy)>,
    /// Namespace of processes: private, host or a path
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pid: Option<NamespaceOption>,
    /// Namespace of the host name: private, host or a path
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    uts: Option<NamespaceOption>,
    /// Directory of the host to mount: HOST-DIR:CONTAINER-DIR[:ro,O,U,…]
    #[arg(short, long, value_name = "VOLUME", value_parser = volume)]
    volume: Vec<String>,
}

/// What the command's surroundings are, once: flags of `run` and `build`.
#[derive(Args, Clone, Debug)]
pub struct RuntimeArgs {
    /// Leave the image's own /etc/hostname
    #[arg(long)]
    no_hostname: bool,
    /// Leave the image's own /etc/hosts
    #[arg(long)]
    no_hosts: bool,
    /// OCI runtime: a name or a path [default: containers.conf's, or runc, or crun where that is all there is]
    #[arg(long, value_name = "PROGRAM", env = "BUILDAH_RUNTIME", hide_env = true)]
    runtime: Option<PathBuf>,
    /// Option given to the OCI runtime, without its dashes
    #[arg(long, value_name = "OPTION", value_delimiter = ',', value_parser = one_word)]
    runtime_flag: Vec<String>,
}

/// What commands may use, and how they reach others: flags of `from` and `build`.
#[derive(Args, Clone, Debug)]
pub struct LimitArgs {
    /// Line for /etc/hosts; host-gateway as the address is the host's
    #[arg(long, value_name = "HOST:IP", value_delimiter = ',', value_parser = host)]
    add_host: Vec<String>,
    /// Control group that those of commands are made in, by its path from the top
    #[arg(long, value_name = "PATH", value_parser = group_path)]
    cgroup_parent: Option<String>,
    /// Length of a period of the CPU's time, in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = number(0u64, 1_000_000))]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true, value_parser = number(-1, i64::MAX))]
    cpu_quota: Option<i64>,
    /// Weight beside other users of the CPU
    #[arg(short, long, value_name = "WEIGHT", value_parser = number(0u64, 262_144))]
    cpu_shares: Option<u64>,
    /// CPUs that commands may use, such as 0-3,5
    #[arg(long, value_name = "NUMBERS", value_parser = number_set)]
    cpuset_cpus: Option<String>,
    /// Memory nodes that commands may use, such as 0,1
    #[arg(long, value_name = "NUMBERS", value_parser = number_set)]
    cpuset_mems: Option<String>,
    /// Name server in place of the host's; none leaves the image's own /etc/resolv.conf
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = name_server)]
    dns: Vec<String>,
    /// Option of the resolver in place of the host's, such as ndots:2
    #[arg(long, value_name = "OPTION", value_delimiter = ',', value_parser = one_word)]
    dns_option: Vec<String>,
    /// Domain to look names up in in place of the host's; a dot for none
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = one_word)]
    dns_search: Vec<String>,
    /// Group that commands have beside their user's own, by number
    #[arg(long, value_name = "GID", value_delimiter = ',', value_parser = group)]
    group_add: Vec<String>,
    /// Hand the host's proxy settings to commands
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    pub http_proxy: bool,
    /// Memory that commands may use, such as 512m
    #[arg(short, long, value_name = "SIZE", value_parser = memory)]
    memory: Option<i64>,
    /// Memory and swap together that commands may use; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = memory_swap, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// seccomp=FILE|unconfined, apparmor=PROFILE, label=disable, no-new-privileges, mask=PATH:…, unmask=all|PATH:…
    #[arg(long, value_name = "OPTION", value_parser = SecurityOption::parse)]
    security_opt: Vec<SecurityOption>,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "SIZE", value_parser = size_text)]
    shm_size: Option<String>,
    /// Limit of the processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_delimiter = ',', value_parser = ulimit)]
    ulimit: Vec<String>,
}

/// What `--security-opt` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SecurityOption {
    Apparmor(String),
    /// No SELinux labels: there are none.
    NoLabel,
    Mask(Vec<String>),
    NoNewPrivileges,
    Seccomp(String),
    Unmask(Vec<String>),
}

impl SandboxArgs {
    /// What the host's defaults are, but for those that are replaced by flags.
    pub fn defaults(&self, conf: &ContainersConf) -> Result<KeptSettings, CommandError> {
        let mut conf = conf.clone();
        if !self.volume.is_empty() {
            conf.volumes.clear();
        }
        if !self.device.is_empty() {
            conf.devices.clear();
        }
        Ok(KeptSettings::of_host(&conf)?)
    }

    /// Changes everything but the capabilities.
    pub fn apply(&self, kept: &mut KeptSettings) -> Result<(), CommandError> {
        let kinds = [("cgroup", &self.cgroupns), ("ipc", &self.ipc), ("pid", &self.pid), ("uts", &self.uts)];
        for (kind, option) in kinds {
            if let Some(option) = option {
                kept.set_namespace(NamespaceOption { name: kind.to_owned(), ..option.clone() });
                // As Buildah has it, a word on any namespace is one on the network.
                kept.configure_network = NetworkPolicy::Enabled;
            }
        }
        if let Some((option, policy)) = &self.network {
            kept.set_namespace(option.clone());
            kept.configure_network = *policy;
        }
        kept.isolation = self.isolation.unwrap_or(kept.isolation);
        if !kept.isolation.has_private_network() && self.asks_for_private_network() {
            return Err(CommandError::new(format!(
                "--network=private and --isolation={} contradict each other: expected --network=host, none or the name \
                 of a network",
                kept.isolation.name()
            )));
        }
        if let Some(dir) = &self.cdi_config_dir {
            kept.cdi_config_dir.clone_from(dir);
        }
        for text in &self.device {
            kept.add_device(text)?;
        }
        kept.common_build_opts.volumes.extend(self.volume.iter().cloned());
        Ok(())
    }

    /// Whatever else it is told, what is called Buildah leaves commands without a runtime in the host's
    /// namespaces of processes, messages and control groups, and has no network but the host's for them.
    pub fn follow_buildah(&self, kept: &mut KeptSettings, session: &Session) -> Result<(), CommandError> {
        if !session.called_as_buildah() || kept.isolation != Isolation::Chroot {
            return Ok(());
        }
        if self.isolation.is_some() && self.network.as_ref().is_some_and(|(option, _)| !option.host) {
            return Err(CommandError::new("cannot set --network other than host with --isolation chroot"));
        }
        for name in ["cgroup", "ipc", "pid"] {
            kept.set_namespace(NamespaceOption { name: name.to_owned(), host: true, path: String::new() });
        }
        Ok(())
    }

    /// What is asked for, if anything is.
    pub fn isolation(&self) -> Option<Isolation> {
        self.isolation
    }

    /// Whether the network is to be one of the command's own, without a word on which.
    fn asks_for_private_network(&self) -> bool {
        self.network.as_ref().is_some_and(|(option, policy)| {
            !option.host && option.path.is_empty() && *policy != NetworkPolicy::Disabled
        })
    }

    /// Changes the capabilities of one command.
    pub fn change_capabilities(&self, capabilities: &mut Capabilities) {
        capabilities.add.extend(self.cap_add.iter().cloned());
        capabilities.drop.extend(self.cap_drop.iter().cloned());
    }
}

/// Makes gabion's program safe from commands that are run without an OCI runtime, if they are. It may be
/// executed anew for that: to be called before anything is done that shows.
pub fn prepare_isolation(isolation: Isolation) -> Result<(), CommandError> {
    if isolation != Isolation::Chroot {
        return Ok(());
    }
    run::protect_own_program()
        .map_err(|error| CommandError::new(format!("unable to keep gabion's own program from commands: {error}")))
}

/// `mounts.conf` as the flag before the command names it.
pub fn set_default_mounts(kept: &mut KeptSettings, session: &Session) -> Result<(), CommandError> {
    if let Some(file) = &session.global().default_mounts_file {
        let path = std::path::absolute(file)?;
        if !path.is_file() {
            return Err(CommandError::new(format!(
                "invalid --default-mounts-file {}: expected a file",
                file.display()
            )));
        }
        kept.default_mounts_file_path = path.to_string_lossy().into_owned();
    }
    Ok(())
}

impl RuntimeArgs {
    /// Changes which files are made.
    pub fn apply(&self, kept: &mut KeptSettings) -> Result<(), CommandError> {
        let common = &mut kept.common_build_opts;
        common.no_hosts |= self.no_hosts;
        common.no_hostname |= self.no_hostname;
        if self.no_hosts && !common.add_host.is_empty() {
            return Err(CommandError::new("--no-hosts and --add-host conflict, can not be used together"));
        }
        Ok(())
    }

    /// The runtime's program.
    ///
    /// # Errors
    /// The one that is asked for is not installed.
    pub fn program(&self, session: &Session, conf: &ContainersConf) -> Result<PathBuf, CommandError> {
        let program = runtime_program(self.runtime.clone(), session, conf);
        match &self.runtime {
            Some(given) if !is_installed(&program, session) => {
                let reason = "expected the name or path of a program that is installed";
                Err(CommandError::invalid("--runtime", given.display(), reason))
            }
            _ => Ok(program),
        }
    }

    /// Its options.
    pub fn flags(&self) -> Vec<String> {
        self.runtime_flag.iter().map(|flag| format!("--{flag}")).collect()
    }
}

/// The OCI runtime that is asked for, or else the host's own.
pub fn runtime_program(given: Option<PathBuf>, session: &Session, conf: &ContainersConf) -> PathBuf {
    let named = given.or_else(|| conf.runtime.clone().map(PathBuf::from));
    let program = named.unwrap_or_else(|| installed_runtime(session));
    program.to_str().and_then(|name| conf.runtime_program(name)).unwrap_or(program)
}

/// runc, unless only crun is installed.
fn installed_runtime(session: &Session) -> PathBuf {
    let installed = |name: &str| is_installed(Path::new(name), session);
    if !installed("runc") && installed("crun") { "crun".into() } else { "runc".into() }
}

/// Whether there is such a program: at its path, or by its name in one of PATH's directories.
fn is_installed(program: &Path, session: &Session) -> bool {
    let search_path = session.env("PATH").unwrap_or_default();
    match program.components().count() {
        1 => search_path.split(':').any(|dir| Path::new(dir).join(program).is_file()),
        _ => program.is_file(),
    }
}

impl LimitArgs {
    /// Changes all that it speaks of.
    pub fn apply(&self, kept: &mut KeptSettings) -> Result<(), CommandError> {
        let is_none = |server: &String| server == "none";
        if self.dns.iter().any(is_none) {
            let other = match self {
                _ if self.dns.len() > 1 => Some("another --dns"),
                _ if !self.dns_search.is_empty() => Some("--dns-search"),
                _ if !self.dns_option.is_empty() => Some("--dns-option"),
                _ => None,
            };
            if let Some(other) = other {
                return Err(CommandError::new(format!(
                    "--dns=none and {other} contradict each other: expected one of them"
                )));
            }
        }
        kept.group_add.extend(self.group_add.iter().cloned());
        let common = &mut kept.common_build_opts;
        common.add_host.extend(self.add_host.iter().cloned());
        common.dns_servers.extend(self.dns.iter().cloned());
        common.dns_search.extend(self.dns_search.iter().cloned());
        common.dns_options.extend(self.dns_option.iter().cloned());
        common.ulimit.extend(self.ulimit.iter().cloned());
        common.http_proxy = self.http_proxy;
        set(&mut common.cgroup_parent, &self.cgroup_parent);
        set(&mut common.cpu_period, &self.cpu_period);
        set(&mut common.cpu_quota, &self.cpu_quota);
        set(&mut common.cpu_shares, &self.cpu_shares);
        set(&mut common.cpuset_cpus, &self.cpuset_cpus);
        set(&mut common.cpuset_mems, &self.cpuset_mems);
        set(&mut common.memory, &self.memory);
        set(&mut common.memory_swap, &self.memory_swap);
        set(&mut common.shm_size, &self.shm_size);
        for option in &self.security_opt {
            match option {
                SecurityOption::Apparmor(profile) => common.apparmor_profile.clone_from(profile),
                SecurityOption::NoLabel => common.label_opts.push("disable".to_owned()),
                SecurityOption::Mask(paths) => common.masks.extend(paths.iter().cloned()),
                SecurityOption::NoNewPrivileges => common.no_new_privileges = true,
                SecurityOption::Seccomp(profile) => common.seccomp_profile_path.clone_from(profile),
                SecurityOption::Unmask(patterns) => common.unmasks.extend(patterns.iter().cloned()),
            }
        }
        Ok(())
    }
}

fn set<T: Clone>(value: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        value.clone_from(given);
    }
}

impl SecurityOption {
    fn parse(text: &str) -> Result<SecurityOption, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let paths = || value.split(':').map(str::to_owned).collect::<Vec<_>>();
        let absolute = |paths: &[String]| paths.iter().all(|path| path.starts_with('/'));
        Ok(match name {
            "no-new-privileges" if matches!(value, "" | "true") => SecurityOption::NoNewPrivileges,
            "apparmor" if !value.is_empty() => SecurityOption::Apparmor(value.to_owned()),
            "seccomp" if value == "unconfined" || Path::new(value).is_file() => {
                SecurityOption::Seccomp(value.to_owned())
            }
            "seccomp" => return Err("expected seccomp=unconfined, or seccomp= and a file that is there".to_owned()),
            "label" if value == "disable" => SecurityOption::NoLabel,
            "label" => return Err("SELinux labels are not supported: expected label=disable".to_owned()),
            "mask" if absolute(&paths()) => SecurityOption::Mask(paths()),
            "unmask" if value.eq_ignore_ascii_case("all") => SecurityOption::Unmask(vec!["all".to_owned()]),
            "unmask" if absolute(&paths()) => SecurityOption::Unmask(paths()),
            _ => {
                return Err("expected seccomp=FILE|unconfined, apparmor=PROFILE, label=disable, no-new-privileges, \
                            mask=/PATH:… or unmask=all|/PATH:…"
                    .to_owned());
            }
        })
    }
}

/// The text, if `parse` takes it.
fn checked<T, E: ToString>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<String, String> {
    parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn capability(text: &str) -> Result<String, String> {
    let of = |text: &str| Capabilities { add: vec![text.to_owned()], ..Capabilities::default() }.names();
    checked(text, of)
}

/// A directory that is there.
fn cdi_directory(text: &str) -> Result<String, String> {
    match Path::new(text).is_dir() {
        true => Ok(text.to_owned()),
        false => Err("expected a directory that is there".to_owned()),
    }
}

fn device(text: &str) -> Result<String, String> {
    checked(text, DeviceRequest::parse)
}

fn volume(text: &str) -> Result<String, String> {
    MountRequest::parse_volume(text).map(|_| text.to_owned()).map_err(|error| error.message().to_owned())
}

fn host(text: &str) -> Result<String, String> {
    checked(text, parse_host)
}

fn group(text: &str) -> Result<String, String> {
    parse_group(text).map(|_| text.to_owned()).map_err(|error| error.message().to_owned())
}

fn ulimit(text: &str) -> Result<String, String> {
    checked(text, parse_ulimit)
}

fn one_word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("expected one word".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn name_server(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok("none".to_owned());
    }
    let address: std::net::IpAddr = text.trim().parse().map_err(|_| "expected an IP address, or none")?;
    Ok(address.to_string())
}

fn group_path(text: &str) -> Result<String, String> {
    let is_name = |name: &str| name != ".." && !name.contains(char::is_control);
    match !text.trim_matches('/').is_empty() && text.split('/').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("expected the path of a control group".to_owned()),
    }
}

/// Numbers and ranges of such, between commas.
fn number_set(text: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let is_range = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        None => number(range).is_some(),
    };
    match text.split(',').all(is_range) {
        true => Ok(text.to_owned()),
        false => Err("expected numbers and ranges, such as 0-3,5".to_owned()),
    }
}

fn memory(text: &str) -> Result<i64, String> {
    let size = parse_size(text).and_then(|size| i64::try_from(size).ok());
    size.ok_or_else(|| "expected a number with b, k, m or g".to_owned())
}

fn memory_swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { memory(text).map_err(|message| format!("{message}, or -1")) }
}

fn size_text(text: &str) -> Result<String, String> {
    parse_size(text).map(|_| text.to_owned()).ok_or_else(|| "expected a number with k, m or g".to_owned())
}

fn isolation(text: &str) -> Result<Isolation, String> {
    match text.to_ascii_lowercase().as_str() {
        "oci" | "default" | "" => Ok(Isolation::Oci),
        "chroot" => Ok(Isolation::Chroot),
        "rootless" => Ok(Isolation::Rootless),
        _ => Err("expected oci, rootless or chroot".into()),
    }
}

/// Whose namespace: of which kind is said by the flag.
fn namespace(text: &str) -> Result<NamespaceOption, String> {
    match text {
        "" | "container" | "private" => Ok(NamespaceOption::default()),
        "host" => Ok(NamespaceOption { host: true, ..NamespaceOption::default() }),
        _ => {
            let path = text.strip_prefix("ns:").unwrap_or(text);
            match path.starts_with('/') && Path::new(path).exists() {
                true => Ok(NamespaceOption { path: path.to_owned(), ..NamespaceOption::default() }),
                false => Err("expected private, host, or the path of a namespace".to_owned()),
            }
        }
    }
}

fn network(text: &str) -> Result<(NamespaceOption, NetworkPolicy), String> {
    let option = |host, path: &str| NamespaceOption { name: "network".to_owned(), host, path: path.to_owned() };
    Ok(match text {
        "" | "container" | "private" | "default" | "bridge" => (option(false, ""), NetworkPolicy::Enabled),
        "host" => (option(true, ""), NetworkPolicy::Enabled),
        "none" => (option(false, ""), NetworkPolicy::Disabled),
        _ => {
            let path = text.strip_prefix("ns:").unwrap_or(text);
            if path.starts_with('/') && !Path::new(path).exists() {
                return Err(
                    "expected private, host, none, the path of a namespace, or the name of a network".to_owned()
                );
            }
            (option(false, path), NetworkPolicy::Enabled)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_security_options() {
        use SecurityOption::*;
        for (text, expected) in [
            ("no-new-privileges", NoNewPrivileges),
            ("seccomp=unconfined", Seccomp("unconfined".into())),
            ("apparmor=a=b", Apparmor("a=b".into())),
            ("label=disable", NoLabel),
            ("mask=/a:/b", Mask(vec!["/a".into(), "/b".into()])),
            ("unmask=ALL", Unmask(vec!["all".into()])),
            ("unmask=/proc/*", Unmask(vec!["/proc/*".into()])),
        ] {
            assert_eq!(SecurityOption::parse(text), Ok(expected), "{text}");
        }
        for text in
            ["", "x", "seccomp", "seccomp=", "label=type:x", "mask=", "mask=a", "unmask=/a:b", "no-new-privileges=x"]
        {
            assert!(SecurityOption::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pure_sets_of_numbers() {
        for text in ["0", "0-3", "0,2-2,7"] {
            assert!(number_set(text).is_ok(), "{text}");
        }
        for text in ["", ",", "0,", "3-1", "a", "+1", "-1", "99999"] {
            assert!(number_set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pure_namespaces() {
        for text in ["private", "container", ""] {
            assert_eq!(namespace(text), Ok(NamespaceOption::default()), "{text:?}");
        }
        assert!(namespace("host").is_ok_and(|option| option.host));
        assert!(namespace("ns:/proc").is_ok_and(|option| option.path == "/proc"));
        for text in ["x", "/nosuch", "ns:", "ns:x"] {
            assert!(namespace(text).is_err(), "{text}");
        }
        assert!(network("none").is_ok_and(|(_, policy)| policy == NetworkPolicy::Disabled));
        assert!(network("mine").is_ok_and(|(option, _)| option.path == "mine"));
        assert!(network("ns:/nosuch").is_err());
    }
}
