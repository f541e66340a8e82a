//! What the process may do beside system calls: capabilities and limits.

use oci_spec::runtime::{LinuxCapabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// Every capability of Linux 6.18, in the order of their numbers.
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a process has without options: Buildah's set.
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capabilities on top of, and taken away from, a set.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// The set, names as below; Buildah's default set when absent.
    pub base: Option<Vec<String>>,
    /// Names with or without `CAP_`, any case; `all` for every one.
    pub add: Vec<String>,
    /// The same; wins over `add`.
    pub drop: Vec<String>,
}

/// A name that is no capability.
#[derive(Debug, thiserror::Error)]
#[error("unknown capability {0:?}: expected a name as in capabilities(7), such as NET_RAW, or all")]
pub struct UnknownCapability(pub String);

/// A set of capabilities, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapabilitySet(Vec<&'static str>);

impl CapabilitySet {
    /// Whether it has `name`, written without `CAP_`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// As the runtime specification has it. Another user than 0 starts with none, and gets those
    /// of a file or set-user-ID program from the bounding set. Inheritable and ambient are always
    /// empty: what is inheritable outlives a change of user.
    pub fn to_spec(&self, uid: u32) -> Result<LinuxCapabilities, oci_spec::OciSpecError> {
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| {
                    serde_json::from_value(serde_json::Value::from(format!("CAP_{name}")))
                        .map_err(|error| oci_spec::OciSpecError::Other(error.to_string()))
                })
                .collect::<Result<std::collections::HashSet<_>, _>>()
        };
        let mut spec = LinuxCapabilities::default();
        spec.set_bounding(Some(names(&self.0)?));
        let active = if uid == 0 { self.0.as_slice() } else { &[] };
        spec.set_effective(Some(names(active)?));
        spec.set_permitted(Some(names(active)?));
        spec.set_inheritable(Some(names(&[])?));
        spec.set_ambient(Some(names(&[])?));
        Ok(spec)
    }
}

impl Capabilities {
    /// The names of the default set.
    pub fn default_names() -> Vec<String> {
        DEFAULT.iter().map(|name| format!("CAP_{name}")).collect()
    }

    /// The names of the set that results, `CAP_` before each, sorted; `all` is every one.
    pub fn names(&self) -> Result<Vec<String>, UnknownCapability> {
        let set = self.resolve(ALL.len() - 1, u64::MAX)?;
        let mut names: Vec<String> = set.0.iter().map(|name| format!("CAP_{name}")).collect();
        names.sort();
        Ok(names)
    }

    /// The base set, plus `add`, minus `drop`, minus those the host's kernel does not know:
    /// `last_known` is the number of its last one. `all` are those of `own`, a set of bits, because
    /// nobody can give what it does not have.
    pub(crate) fn resolve(&self, last_known: usize, own: u64) -> Result<CapabilitySet, UnknownCapability> {
        let known = ALL.get(..=last_known).unwrap_or(&ALL);
        let list = |names: &[String]| {
            let mut found: Vec<&'static str> = Vec::new();
            for name in names {
                let upper = name.trim().to_ascii_uppercase();
                if upper == "ALL" {
                    let all = known.iter().enumerate().filter(|(number, _)| own & (1 << number) != 0);
                    return Ok(all.map(|(_, name)| *name).collect());
                }
                let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
                found.push(ALL.iter().find(|known| **known == bare).ok_or_else(|| UnknownCapability(name.clone()))?);
            }
            Ok(found)
        };
        let base = match &self.base {
            Some(names) => match list(names)? {
                // As `all`: nobody can give what it does not have.
                names if known.iter().all(|name| names.contains(name)) => list(&["all".to_owned()])?,
                names => names,
            },
            None => DEFAULT.to_vec(),
        };
        let (add, drop) = (list(&self.add)?, list(&self.drop)?);
        let wanted = |name: &&&str| (base.contains(*name) || add.contains(*name)) && !drop.contains(*name);
        Ok(CapabilitySet(known.iter().filter(wanted).copied().collect()))
    }
}

/// A resource limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Name without `RLIMIT_`, any case: `nofile`, `nproc`…
    pub name: String,
    /// Soft limit; `u64::MAX` for none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` for none.
    pub hard: u64,
    /// Whether it is lowered to the host's own hard limit where that is lower; else the run fails
    /// where the host cannot give it.
    pub may_be_lowered: bool,
}

/// A limit that cannot be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There is none of that name.
    #[error("unknown limit {0:?}: expected a name as in getrlimit(2), such as nofile")]
    Unknown(String),
    /// The host's own hard limit is lower, and only CAP_SYS_RESOURCE goes beyond it.
    #[error("limit {0} cannot be {1}: the host gives at most {2} without CAP_SYS_RESOURCE")]
    TooHigh(String, u64, u64),
}

/// The number of `CAP_SYS_RESOURCE`.
const CAP_SYS_RESOURCE: u32 = 24;

impl Rlimit {
    /// Whether there is a limit of this name.
    pub fn is_name(name: &str) -> bool {
        resource(&bare(name)).is_some()
    }

    /// As the runtime specification has it. `own` are the capabilities of this process, a set of
    /// bits: without `CAP_SYS_RESOURCE` it cannot pass on more than it has.
    pub(crate) fn to_spec(&self, own: u64) -> Result<PosixRlimit, LimitError> {
        let unknown = || LimitError::Unknown(self.name.clone());
        let bare = bare(&self.name);
        let resource = resource(&bare).ok_or_else(unknown)?;
        let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let hard = match self.hard > most {
            true if self.may_be_lowered => most,
            true if own & (1 << CAP_SYS_RESOURCE) == 0 => {
                return Err(LimitError::TooHigh(self.name.clone(), self.hard, most));
            }
            _ => self.hard,
        };
        let typ: PosixRlimitType =
            serde_json::from_value(serde_json::Value::from(format!("RLIMIT_{bare}"))).map_err(|_| unknown())?;
        PosixRlimitBuilder::default().typ(typ).hard(hard).soft(self.soft.min(hard)).build().map_err(|_| unknown())
    }
}

/// The limit of that name.
pub(crate) fn resource_named(name: &str) -> Option<rustix::process::Resource> {
    resource(&bare(name))
}

/// The bit of a capability in sets, by its name with `CAP_`.
pub(crate) fn bit_of(name: &str) -> Option<u64> {
    let bare = name.strip_prefix("CAP_")?;
    ALL.iter().position(|known| *known == bare).map(|number| 1 << number)
}

/// `RLIMIT_` and the case do not matter.
fn bare(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("RLIMIT_").unwrap_or(&upper).to_owned()
}

fn resource(bare: &str) -> Option<rustix::process::Resource> {
    use rustix::process::Resource;
    Some(match bare {
        "CPU" => Resource::Cpu,
        "FSIZE" => Resource::Fsize,
        "DATA" => Resource::Data,
        "STACK" => Resource::Stack,
        "CORE" => Resource::Core,
        "RSS" => Resource::Rss,
        "NPROC" => Resource::Nproc,
        "NOFILE" => Resource::Nofile,
        "MEMLOCK" => Resource::Memlock,
        "AS" => Resource::As,
        "LOCKS" => Resource::Locks,
        "SIGPENDING" => Resource::Sigpending,
        "MSGQUEUE" => Resource::Msgqueue,
        "NICE" => Resource::Nice,
        "RTPRIO" => Resource::Rtprio,
        "RTTIME" => Resource::Rttime,
        _ => return None,
    })
}

/// The number of the last capability that the running kernel knows.
pub(crate) fn last_known_capability() -> usize {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(ALL.len() - 1)
}

/// The capabilities that this process can give, a bit for each.
pub(crate) fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, String> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = Capabilities { base: None, add: list(add), drop: list(drop) };
        capabilities.resolve(40, u64::MAX).map(|set| set.0).map_err(|error| error.to_string())
    }

    #[test]
    fn pure_capabilities_default_add_and_drop() {
        let mut default = resolve(&[], &[]).expect("default");
        default.sort_unstable();
        assert_eq!(default, DEFAULT);
        let set = resolve(&["net_raw", "CAP_SYS_ADMIN"], &["Cap_Chown", "SYS_ADMIN"]).expect("names");
        assert!(set.contains(&"NET_RAW") && !set.contains(&"CHOWN") && !set.contains(&"SYS_ADMIN"), "{set:?}");
        assert_eq!(resolve(&["all"], &[]).expect("all").len(), 41);
        assert_eq!(resolve(&["all"], &["ALL"]).expect("none"), [""; 0]);
        let base = Capabilities { base: Some(vec!["CAP_KILL".into(), "mknod".into()]), ..Capabilities::default() };
        assert_eq!(base.names().expect("names"), ["CAP_KILL", "CAP_MKNOD"]);
        assert_eq!(resolve(&["all"], &["all", "kill"]).expect("none").len(), 0);
        assert_eq!(
            resolve(&["root"], &[]).expect_err("no such"),
            r#"unknown capability "root": expected a name as in capabilities(7), such as NET_RAW, or all"#
        );
    }

    #[test]
    fn pure_capabilities_of_the_specification() {
        let set = Capabilities::default().resolve(40, u64::MAX).expect("default");
        let root = set.to_spec(0).expect("spec");
        assert_eq!(root.bounding().as_ref().map(|set| set.len()), Some(11));
        assert_eq!((root.effective(), root.permitted()), (root.bounding(), root.bounding()));
        let user = set.to_spec(7).expect("spec");
        assert_eq!(user.bounding(), root.bounding());
        for empty in
            [user.effective(), user.permitted(), user.inheritable(), user.ambient(), root.inheritable(), root.ambient()]
        {
            assert_eq!(empty.as_ref().map(|set| set.len()), Some(0));
        }
    }

    #[test]
    fn tree_limits_are_lowered_to_the_hosts_or_refused() {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let limit =
            |name: &str, hard: u64, may_be_lowered| Rlimit { name: name.into(), soft: hard, hard, may_be_lowered };
        let spec = limit("nofile", u64::MAX, true).to_spec(0).expect("lowered");
        assert_eq!((spec.soft(), spec.hard()), (most, most));
        assert!(limit("files", 1, true).to_spec(0).is_err());
        assert_eq!(limit("RLIMIT_nofile", 7, false).to_spec(0).expect("low").hard(), 7);
        if most < u64::MAX {
            let error = limit("nofile", most + 1, false).to_spec(0).expect_err("too high").to_string();
            assert!(error.contains("nofile") && error.contains("CAP_SYS_RESOURCE"), "{error}");
            assert_eq!(limit("nofile", most + 1, false).to_spec(1 << 24).expect("allowed").hard(), most + 1);
        }
    }
}
