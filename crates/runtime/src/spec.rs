//! The runtime specification of a run: the bundle's `config.json`.

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    BoxBuilder, Hooks, LinuxBuilder, LinuxCapabilities, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxResources, LinuxSeccomp, Mount, MountBuilder, PosixRlimit, ProcessBuilder, RootBuilder,
    Spec, SpecBuilder, UserBuilder,
};

use crate::{Confinement, Masks, ProcessSpec};

/// Version of the specification that is written.
const VERSION: &str = "1.0.2";

/// Files of `/proc` and `/sys` that the process sees as empty: the union of what Podman and
/// containerd hide.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Parts of `/proc` that the process may only read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the specification is made of.
pub(crate) struct Inputs<'a> {
    pub rootfs: &'a Path,
    pub process: &'a ProcessSpec,
    /// Rows and columns of its terminal, if it gets one.
    pub terminal: Option<(u16, u16)>,
    pub capabilities: LinuxCapabilities,
    pub rlimits: Vec<PosixRlimit>,
    pub seccomp: Option<LinuxSeccomp>,
    /// AppArmor profile.
    pub apparmor: Option<&'a str>,
    pub confinement: Confinement,
    pub devices: Vec<LinuxDevice>,
    pub resources: LinuxResources,
    pub hooks: Option<Hooks>,
    pub mounts: Vec<Mount>,
    /// Host name, if it has a host name of its own.
    pub hostname: Option<&'a str>,
    /// All but that of the network.
    pub namespaces: Vec<LinuxNamespace>,
    /// Whether the runtime makes a network namespace; else the process has the runtime's own.
    pub new_network: bool,
    /// The path of its control groups.
    pub control_group: &'a Path,
    /// What is masked beside the usual, and what of both is not.
    pub masks: &'a Masks,
}

/// Builds the specification.
pub(crate) fn build(inputs: Inputs<'_>) -> Result<Spec, OciSpecError> {
    let process = inputs.process;
    let user = UserBuilder::default().uid(process.user.uid).gid(process.user.gid);
    let user = user.additional_gids(process.user.additional_gids.clone()).build()?;
    let mut linux_process = ProcessBuilder::default()
        .terminal(inputs.terminal.is_some())
        .user(user)
        .args(process.args.clone())
        .env(process.env.clone())
        .cwd(PathBuf::from(&process.working_dir))
        .capabilities(inputs.capabilities)
        .no_new_privileges(process.no_new_privileges)
        .build()?;
    if let Some((height @ 1.., width @ 1..)) = inputs.terminal {
        // runc takes it from its own terminal, crun from here.
        linux_process.set_console_size(Some(BoxBuilder::default().height(height).width(width).build()?));
    }
    linux_process.set_rlimits(Some(inputs.rlimits).filter(|limits| !limits.is_empty()));
    let mut namespaces = inputs.namespaces;
    if inputs.new_network {
        namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).build()?);
    }
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        // The runtime adds the devices that every process may use.
        .devices(inputs.devices)
        .resources(inputs.resources)
        .cgroups_path(inputs.control_group)
        .build()?;
    linux.set_seccomp(inputs.seccomp);
    linux_process.set_apparmor_profile(inputs.apparmor.map(str::to_owned));
    let (masked, read_only) = match inputs.confinement {
        Confinement::Sandbox => (inputs.masks.apply(masked()), READ_ONLY.map(String::from).to_vec()),
        Confinement::Insecure => (Vec::new(), Vec::new()),
    };
    linux.set_masked_paths(Some(masked)).set_readonly_paths(Some(read_only));
    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .root(RootBuilder::default().path(inputs.rootfs).readonly(false).build()?)
        .process(linux_process)
        .mounts(inputs.mounts)
        .linux(linux)
        .build()?;
    // The builder has a host name of its own.
    spec.set_hostname(inputs.hostname.map(str::to_owned));
    spec.set_hooks(inputs.hooks);
    Ok(spec)
}

fn masked() -> Vec<String> {
    let mut paths = MASKED.map(String::from).to_vec();
    // What heats a processor core tells of its neighbours.
    let cores = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let throttles = cores.map(|entry| entry.path().join("thermal_throttle")).filter(|path| path.exists());
    paths.extend(throttles.filter_map(|path| path.into_os_string().into_string().ok()));
    paths.sort();
    paths
}

/// The file systems that every process has, outermost first.
pub(crate) fn standard_mounts(shm_size: u64, confinement: Confinement) -> Result<Vec<Mount>, OciSpecError> {
    let mount = |target: &str, kind: &str, options: &[&str]| {
        MountBuilder::default()
            .destination(target)
            .typ(kind)
            // By the name that the peers give it, too.
            .source(if target == "/dev/shm" { "shm" } else { kind })
            .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
            .build()
    };
    let shm = format!("size={shm_size}");
    let sysfs_access = if confinement == Confinement::Insecure { "rw" } else { "ro" };
    Ok(vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"])?,
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])?,
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm])?,
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", sysfs_access])?,
    ])
}
