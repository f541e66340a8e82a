//! Which system calls the process may make.
//!
//! The default profile decides as the one that Podman and Buildah ship: what is not named below
//! fails with `ENOSYS`, so that programs fall back to an older call; what is known and refused
//! fails with `EPERM`. Some calls depend on the process's capabilities or on the architecture, so
//! the profile is resolved against both for each run.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde_json::Value;

use crate::security::CapabilitySet;

/// No profile is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

/// Which system calls are filtered.
#[derive(Clone, Debug, Default)]
pub enum Seccomp {
    /// The containers' default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in the format of the runtime specification's `linux.seccomp`, or of Docker's
    /// profiles (`archMap`, `includes`, `excludes`).
    File(PathBuf),
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// The file cannot be read.
    #[error("unable to read seccomp profile {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is no profile.
    #[error("invalid seccomp profile {0}: {1}")]
    Invalid(PathBuf, String),
}

/// Calls every process may make, by subject.
const ALLOWED: &[&str] = &[
    // files and directories
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2",
    "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync flock fstat",
    "fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown",
    "lchown32 link linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat",
    "openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv rename",
    "renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx symlink symlinkat sync",
    "sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes write",
    "writev",
    // extended attributes
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr removexattr",
    "setxattr",
    // mounts; the kernel asks for CAP_SYS_ADMIN itself
    "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount umount2",
    // waiting for descriptors, and telling of changes
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2",
    "fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64 pselect6",
    "pselect6_time64 select signalfd signalfd4",
    "io_cancel io_destroy io_getevents io_setup io_submit pipe pipe2",
    // sockets; `socket` itself is below
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send",
    "sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // memory
    "brk get_mempolicy madvise mbind membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect",
    "mremap msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease process_vm_readv",
    "process_vm_writev remap_file_pages set_mempolicy",
    // processes and threads
    "clone clone3 execve execveat exit exit_group fork futex futex_time64 getcpu get_robust_list get_thread_area kill",
    "pidfd_getfd pidfd_open pidfd_send_signal prctl ptrace restart_syscall rseq set_robust_list set_thread_area",
    "set_tid_address setns tgkill tkill unshare vfork wait4 waitid waitpid",
    "getpgid getpgrp getpid getppid getsid gettid setpgid setsid",
    // users, groups and rights
    "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid",
    "getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid",
    "setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    "keyctl landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    // signals
    "pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait",
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending sigprocmask sigreturn sigsuspend",
    // clocks and timers
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64",
    "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete",
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd timerfd_create timerfd_gettime",
    "timerfd_gettime64 timerfd_settime timerfd_settime64 times",
    // scheduling and limits
    "getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_getaffinity sched_getattr sched_getparam",
    "sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64",
    "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit ugetrlimit",
    // System V and POSIX messages, semaphores, shared memory
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink",
    "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    // the rest
    "getrandom reboot syscall sysinfo syslog uname",
];

/// Calls nobody may make, whatever the capabilities.
const REFUSED: &[&str] = &[
    "bdflush io_pgetevents kexec_file_load kexec_load migrate_pages move_pages nfsservctl nice oldfstat oldlstat oldolduname",
    "oldstat olduname pciconfig_iobase pciconfig_read pciconfig_write sgetmask ssetmask swapcontext swapoff swapon sysfs",
    "uselib userfaultfd ustat vm86 vm86old vmsplice",
];

/// Calls allowed with a capability and refused without it.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    // `setns` is allowed above too: without the capability both rules stand, as in the peers' profile
    ("SYS_ADMIN", "bpf fanotify_init lookup_dcookie perf_event_open quotactl setdomainname sethostname setns"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module query_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("SYS_TTY_CONFIG", "vhangup"),
];

/// Calls that only some architectures have.
const BY_ARCHITECTURE: &[(Architecture, &str)] = &[
    (Architecture::X86_64, "arch_prctl modify_ldt"),
    (Architecture::Aarch64, "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
];

/// Execution domains that `personality` may set: Linux, its 16-bit UID form, both without address
/// randomisation, and the question which one is set.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/// Architectures the profile knows. On another one, it filters native calls alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// With its 32-bit form.
    X86_64,
    /// With its 32-bit form.
    Aarch64,
    /// Any other.
    Other,
}

impl Architecture {
    /// This machine's.
    pub fn host() -> Architecture {
        match std::env::consts::ARCH {
            "x86_64" => Architecture::X86_64,
            "aarch64" => Architecture::Aarch64,
            _ => Architecture::Other,
        }
    }

    /// Those whose calls are filtered, by libseccomp's names: a 32-bit entry must not be a way round.
    ///
    /// A process that makes x32 calls is killed. The peers' profile filters these too; runtimes compile
    /// the profile at each start, and a third form of every rule takes them a fifth of a start's time.
    fn filtered(self) -> Vec<Arch> {
        match self {
            Architecture::X86_64 => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86],
            Architecture::Aarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
            Architecture::Other => vec![],
        }
    }

    /// Its names in Docker's profiles (`includes.arches`).
    fn docker_names(self) -> &'static [&'static str] {
        match self {
            Architecture::X86_64 => &["amd64"],
            Architecture::Aarch64 => &["arm64"],
            Architecture::Other => &[],
        }
    }
}

impl Seccomp {
    /// The filter for a process with `capabilities`; `None` when there is none.
    pub(crate) fn resolve(
        &self,
        capabilities: &CapabilitySet,
        architecture: Architecture,
    ) -> Result<Option<LinuxSeccomp>, SeccompError> {
        match self {
            Seccomp::Unconfined => Ok(None),
            Seccomp::Default => default_profile(capabilities, architecture)
                .map(Some)
                .map_err(|error| SeccompError::Invalid("of the default".into(), error.to_string())),
            Seccomp::File(path) => from_file(path, capabilities, architecture).map(Some),
        }
    }
}

fn default_profile(
    capabilities: &CapabilitySet,
    architecture: Architecture,
) -> Result<LinuxSeccomp, oci_spec::OciSpecError> {
    let mut allowed = words(ALLOWED);
    let mut refused = words(REFUSED);
    for (capability, calls) in BY_CAPABILITY {
        let list = if capabilities.contains(capability) { &mut allowed } else { &mut refused };
        list.extend(words(&[calls]));
    }
    for (_, calls) in BY_ARCHITECTURE.iter().filter(|(name, _)| *name == architecture) {
        allowed.extend(words(&[calls]));
    }
    allowed.sort_unstable();
    allowed.dedup();
    // libseccomp takes one decision a call: one that is allowed to all stays allowed.
    refused.retain(|name| allowed.binary_search(name).is_err());
    let mut rules = vec![
        rule(refused, LinuxSeccompAction::ScmpActErrno, Some(EPERM), &[])?,
        rule(allowed, LinuxSeccompAction::ScmpActAllow, None, &[])?,
    ];
    for domain in PERSONALITIES {
        let same = argument(0, domain, LinuxSeccompOperator::ScmpCmpEq)?;
        rules.push(rule(vec!["personality"], LinuxSeccompAction::ScmpActAllow, None, &[same])?);
    }
    rules.extend(socket_rules(capabilities)?);
    let mut builder = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(ENOSYS)
        .syscalls(rules);
    let architectures = architecture.filtered();
    if !architectures.is_empty() {
        builder = builder.architectures(architectures);
    }
    builder.build()
}

/// `socket`: everything but audit netlink, which needs `CAP_AUDIT_WRITE`. libpam asks for it and
/// takes `EINVAL` for a kernel without audit.
fn socket_rules(capabilities: &CapabilitySet) -> Result<Vec<LinuxSyscall>, oci_spec::OciSpecError> {
    const AF_NETLINK: u64 = 16;
    const NETLINK_AUDIT: u64 = 9;
    let allow = LinuxSeccompAction::ScmpActAllow;
    if capabilities.contains("AUDIT_WRITE") {
        return Ok(vec![rule(vec!["socket"], allow, None, &[])?]);
    }
    let netlink = |op| argument(0, AF_NETLINK, op);
    let audit = |op| argument(2, NETLINK_AUDIT, op);
    use LinuxSeccompOperator::{ScmpCmpEq as Is, ScmpCmpNe as IsNot};
    Ok(vec![
        rule(vec!["socket"], LinuxSeccompAction::ScmpActErrno, Some(EINVAL), &[netlink(Is)?, audit(Is)?])?,
        rule(vec!["socket"], allow, None, &[audit(IsNot)?])?,
        rule(vec!["socket"], allow, None, &[netlink(IsNot)?])?,
    ])
}

fn words(lines: &[&'static str]) -> Vec<&'static str> {
    lines.iter().flat_map(|line| line.split_ascii_whitespace()).collect()
}

fn rule(
    names: Vec<&str>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    args: &[LinuxSeccompArg],
) -> Result<LinuxSyscall, oci_spec::OciSpecError> {
    let mut builder =
        LinuxSyscallBuilder::default().names(names.into_iter().map(String::from).collect::<Vec<_>>()).action(action);
    if let Some(errno) = errno {
        builder = builder.errno_ret(errno);
    }
    if !args.is_empty() {
        builder = builder.args(args.to_vec());
    }
    builder.build()
}

fn argument(index: usize, value: u64, op: LinuxSeccompOperator) -> Result<LinuxSeccompArg, oci_spec::OciSpecError> {
    LinuxSeccompArgBuilder::default().index(index).value(value).op(op).build()
}

/// Reads a profile; Docker's additions to the runtime specification's format are resolved.
fn from_file(
    path: &Path,
    capabilities: &CapabilitySet,
    architecture: Architecture,
) -> Result<LinuxSeccomp, SeccompError> {
    use std::io::Read as _;
    let read = |error| SeccompError::Read(path.into(), error);
    let mut text = Vec::new();
    std::fs::File::open(path).map_err(read)?.take(FILE_LIMIT).read_to_end(&mut text).map_err(read)?;
    parse(&text, capabilities, architecture).map_err(|message| SeccompError::Invalid(path.into(), message))
}

fn parse(text: &[u8], capabilities: &CapabilitySet, architecture: Architecture) -> Result<LinuxSeccomp, String> {
    let mut profile: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let object = profile.as_object_mut().ok_or("not a JSON object")?;
    if object.remove("archMap").is_some_and(|map| !map.is_null()) {
        let names = architecture.filtered();
        if !names.is_empty() {
            object.insert("architectures".into(), serde_json::to_value(names).map_err(|error| error.to_string())?);
        }
    }
    object.retain(|_, value| !value.is_null());
    if let Some(Value::Array(rules)) = object.get_mut("syscalls") {
        rules.retain(|rule| applies(rule, capabilities, architecture));
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            // Docker's older profiles give one name a rule.
            if let Some(name) = rule.remove("name") {
                rule.entry("names").or_insert(Value::Array(vec![name]));
            }
            rule.retain(|_, value| !value.is_null());
        }
    }
    serde_json::from_value(profile).map_err(|error| error.to_string())
}

/// Whether a rule of Docker's format is meant for these capabilities and this architecture.
fn applies(rule: &Value, capabilities: &CapabilitySet, architecture: Architecture) -> bool {
    let list = |side: &str, key: &str| -> Vec<String> {
        let names = rule.get(side).and_then(|side| side.get(key)).and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
    };
    let has = |name: &String| capabilities.contains(name.strip_prefix("CAP_").unwrap_or(name));
    let here = |name: &String| architecture.docker_names().contains(&name.as_str());
    let included_archs = list("includes", "arches");
    (included_archs.is_empty() || included_archs.iter().any(here))
        && list("includes", "caps").iter().all(has)
        && !list("excludes", "caps").iter().any(has)
        && !list("excludes", "arches").iter().any(here)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::Capabilities;

    type Decisions = BTreeMap<String, BTreeSet<String>>;

    /// Per call, the rules it has, as text.
    fn decisions(profile: &LinuxSeccomp) -> Decisions {
        let mut found = Decisions::new();
        for rule in profile.syscalls().iter().flatten() {
            let errno = rule.errno_ret().filter(|_| rule.action() == LinuxSeccompAction::ScmpActErrno);
            let args: Vec<_> = rule
                .args()
                .iter()
                .flatten()
                .map(|arg| format!("{} {} {}", arg.index(), arg.op(), arg.value()))
                .collect();
            for name in rule.names() {
                found.entry(name.clone()).or_default().insert(format!("{} {errno:?} {args:?}", rule.action()));
            }
        }
        // Of a plain refusal and a plain permission, libseccomp keeps the permission that came first.
        for rules in found.values_mut().filter(|rules| rules.len() == 2) {
            if rules.iter().all(|rule| rule.ends_with("[]")) {
                rules.retain(|rule| rule.contains("ALLOW"));
            }
        }
        found
    }

    fn set(add: &[&str], drop: &[&str]) -> CapabilitySet {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Capabilities { add: list(add), drop: list(drop), ..Capabilities::default() }
            .resolve(40, u64::MAX)
            .expect("capabilities")
    }

    #[test]
    fn peers_seccomp_decides_as_the_containers_profile() {
        let text =
            std::fs::read("/usr/share/containers/seccomp.json").expect("golang-github-containers-common is installed");
        for (add, drop) in
            [(&[][..], &[][..]), (&["all"], &[]), (&[], &["all"]), (&["sys_admin", "audit_write"], &["sys_chroot"])]
        {
            let capabilities = set(add, drop);
            for architecture in [Architecture::X86_64, Architecture::Aarch64] {
                let ours = default_profile(&capabilities, architecture).expect("default");
                let theirs = parse(&text, &capabilities, architecture).expect("profile");
                assert_eq!(decisions(&ours), decisions(&theirs), "{add:?} {drop:?} {architecture:?}");
                assert_eq!(ours.default_action(), theirs.default_action());
                assert_eq!(
                    (ours.default_errno_ret(), ours.architectures()),
                    (theirs.default_errno_ret(), theirs.architectures())
                );
            }
        }
    }

    #[test]
    fn pure_seccomp_names_are_listed_once() {
        let all: Vec<_> = words(ALLOWED).into_iter().chain(words(REFUSED)).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn pure_seccomp_profile_of_the_user() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"syscalls":[
            {"name":"chmod","action":"SCMP_ACT_ERRNO","errnoRet":13,"args":null},
            {"names":["mount"],"action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
        let profile = parse(text, &set(&[], &[]), Architecture::X86_64).expect("profile");
        assert_eq!(decisions(&profile).keys().collect::<Vec<_>>(), ["chmod", "mount"]);
        let profile = parse(text, &set(&["sys_admin"], &[]), Architecture::X86_64).expect("profile");
        assert_eq!(decisions(&profile).keys().collect::<Vec<_>>(), ["chmod"]);
        assert!(parse(b"[]", &set(&[], &[]), Architecture::X86_64).is_err());
        assert!(parse(b"{}", &set(&[], &[]), Architecture::X86_64).is_err());
    }
}
