//! From options to exit code.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use oci_spec::runtime::{Hooks, MountBuilder};
use rootfs::{Owner, Root};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use crate::bundle::Bundle;
use crate::failure::RunError;
use crate::hosts::{self, HostAddress, Names, Resolver};
use crate::memory::Memory;
use crate::mounts::{Places, Prepared};
use crate::network::{Membership, SharedNetwork};
use crate::program::{self, Lookup};
use crate::runner::{Handle, Runner, Startable};
use crate::seccomp::Architecture;
use crate::signals::{Request, Signals, WATCH_INTERVAL};
use crate::stop::Stop;
use crate::streams::Streams;
use crate::stubs::{StubKind, Stubs};
use crate::terminal;
use crate::{
    Capabilities, Device, Masks, Mount, Namespace, Namespaces, Network, ProcessSpec, Resources, Rlimit, Seccomp,
    control_group, devices, namespaces, spec,
};

/// What to run, where, and how. [`RunOptions::new`] has the defaults.
#[derive(Debug)]
pub struct RunOptions {
    /// The run's own directory: created (its parent must exist), and removed again. It should be on
    /// a disk: what is written to a mount whose writes are dropped goes here.
    pub bundle_dir: PathBuf,
    /// The mounted root file system; the process's changes stay in it.
    pub rootfs: PathBuf,
    /// Name the runtime knows the process by; letters, digits, `_`, `-`, `.`.
    pub id: String,
    /// The process.
    pub process: ProcessSpec,
    /// Mounts beside the standard ones. One with the target of a standard mount replaces it.
    pub mounts: Vec<Mount>,
    /// Files made for the process, mounted so that nothing of them stays.
    pub files: Vec<GeneratedFile>,
    /// The network.
    pub network: Network,
    /// Whose namespaces the process is in.
    pub namespaces: Namespaces,
    /// Host name; the first 12 characters of `id` when absent. Without a new namespace for it, the
    /// process has the namespace's.
    pub hostname: Option<String>,
    /// Which files of `/etc` are made for the process.
    pub host_files: HostFiles,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// System call filter.
    pub seccomp: Seccomp,
    /// AppArmor profile; the caller's own when absent.
    pub apparmor: Option<String>,
    /// How closely the process is confined.
    pub confinement: Confinement,
    /// What confines it.
    pub isolation: Isolation,
    /// What of `/proc` and `/sys` is hidden.
    pub masks: Masks,
    /// Devices beside those of every process.
    pub devices: Vec<Device>,
    /// Programs of the host that the runtime starts on the way.
    pub hooks: Vec<Hook>,
    /// Limits of control groups.
    pub resources: Resources,
    /// Limits to set; those not named are inherited.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Name (looked up in `search_path`) or path of the OCI runtime.
    pub runtime: PathBuf,
    /// Options given to the runtime before its subcommand.
    pub runtime_flags: Vec<String>,
    /// Whether the runtime changes the root directory without `pivot_root`.
    pub no_pivot: bool,
    /// Directories where programs are looked up, as in `PATH`.
    pub search_path: String,
    /// The process's standard streams.
    pub stdio: Stdio,
    /// Whether the end of what the process writes is kept for [`Outcome::output_end`].
    pub keep_output_end: bool,
    /// Whether SIGINT, SIGTERM, SIGHUP… sent to the caller are passed on to the process.
    pub forward_signals: bool,
    /// Ends the process when it is set.
    pub stop: Option<Arc<Stop>>,
}

/// Debian's `PATH` of root.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl RunOptions {
    /// `process` in `rootfs`, as `buildah run` without options has it: runc, a private network,
    /// Buildah's capabilities, the containers' system call filter, the caller's streams.
    pub fn new(bundle_dir: PathBuf, rootfs: PathBuf, id: String, process: ProcessSpec) -> RunOptions {
        RunOptions {
            bundle_dir,
            rootfs,
            id,
            process,
            mounts: Vec::new(),
            files: Vec::new(),
            network: Network::default(),
            namespaces: Namespaces::default(),
            hostname: None,
            host_files: HostFiles::default(),
            capabilities: Capabilities::default(),
            seccomp: Seccomp::default(),
            apparmor: None,
            confinement: Confinement::default(),
            isolation: Isolation::default(),
            masks: Masks::default(),
            devices: Vec::new(),
            hooks: Vec::new(),
            resources: Resources::default(),
            rlimits: Vec::new(),
            shm_size: 64 << 20,
            runtime: "runc".into(),
            runtime_flags: Vec::new(),
            no_pivot: false,
            search_path: SEARCH_PATH.into(),
            stdio: Stdio::Inherit,
            keep_output_end: false,
            forward_signals: true,
            stop: None,
        }
    }
}

/// How closely a process is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confinement {
    /// As the options say.
    #[default]
    Sandbox,
    /// Hardly: it has every capability, may use every device, write to `/sys` and see all of
    /// `/proc`, and its system calls are not filtered. Whatever the other options say.
    Insecure,
}

/// What confines a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An OCI runtime.
    #[default]
    Runtime,
    /// The kernel alone, asked from here: no control group is made for the process, so that limits on
    /// memory and CPUs are refused, and so are OCI hooks. The caller has to have called
    /// [`crate::protect_own_program`].
    Chroot,
}

/// A program of the host that the runtime starts on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When: one of [`Hook::MOMENTS`].
    pub when: String,
    /// The program.
    pub path: PathBuf,
    /// Its arguments, its own name first.
    pub args: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Seconds after which it is ended.
    pub timeout: Option<i64>,
}

impl Hook {
    /// When hooks are started, by the names of the runtime specification (`config.md`, "POSIX-platform
    /// Hooks").
    pub const MOMENTS: [&str; 6] =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
}

/// A file made for the process.
#[derive(Clone, Debug)]
pub struct GeneratedFile {
    /// Where, inside the root file system; absolute.
    pub target: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its mode; its owner is root.
    pub mode: u32,
}

/// Which of `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname` are made and mounted, and from what.
#[derive(Clone, Debug)]
pub struct HostFiles {
    /// `/etc/hosts`; the image's own when false.
    pub hosts: bool,
    /// `/etc/resolv.conf`; the image's own when false. Never made without a network.
    pub resolv_conf: bool,
    /// `/etc/hostname`; the image's own when false.
    pub hostname: bool,
    /// What `/etc/hosts` begins with, a file of the host; not used without a network.
    pub base_hosts: Option<PathBuf>,
    /// What `/etc/resolv.conf` is made from, files of the host; the first one with a name server
    /// that can be reached counts.
    pub base_resolv_conf: Vec<PathBuf>,
    /// Lines added to `/etc/hosts`.
    pub add_hosts: Vec<(String, HostAddress)>,
    /// Name servers in place of the host's.
    pub dns_servers: Vec<IpAddr>,
    /// Domains in place of the host's in which names are looked up; a single dot for none.
    pub dns_search: Vec<String>,
    /// Options of the resolver in place of the host's.
    pub dns_options: Vec<String>,
}

impl Default for HostFiles {
    /// All three, from the host's own.
    fn default() -> HostFiles {
        HostFiles {
            hosts: true,
            resolv_conf: true,
            hostname: true,
            base_hosts: Some("/etc/hosts".into()),
            base_resolv_conf: vec!["/etc/resolv.conf".into(), "/run/systemd/resolve/resolv.conf".into()],
            add_hosts: Vec::new(),
            dns_servers: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        }
    }
}

impl HostFiles {
    /// Leaves those to the image that are among `targets`.
    pub fn leave_to_image<'a>(&mut self, targets: impl Iterator<Item = &'a str>) {
        for target in targets {
            match target {
                "/etc/hosts" => self.hosts = false,
                "/etc/resolv.conf" => self.resolv_conf = false,
                "/etc/hostname" => self.hostname = false,
                _ => {}
            }
        }
    }
}

/// The process's standard streams.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// The caller's, but nothing to read.
    InheritOutput,
    /// A new terminal, joined to the caller's streams; theirs is put in raw mode meanwhile.
    Terminal,
    /// Descriptors of the caller's choice.
    Descriptors {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code; 128 and a signal's number when a signal ended it.
    Code(u8),
    /// The runtime itself was ended by this signal, and the process with it.
    Signal(i32),
}

impl Exit {
    /// As a shell has it: a signal is 128 and its number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128u8.saturating_add(signal.clamp(0, 127) as u8),
        }
    }
}

/// What is known after a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the process ended.
    pub exit: Exit,
    /// Signal to the caller that asked the process to end, if there was one.
    pub interrupted_by: Option<i32>,
    /// Mount points made by the run that could not be removed again, by path in the root file
    /// system: a layer should leave them out.
    pub left_stubs: Vec<PathBuf>,
    /// The last lines that the process wrote, 20 at most, if they are kept.
    pub output_end: Vec<String>,
}

/// Runs `options.process` to its end.
///
/// Blocks the calling thread. While it runs, signals that would end the caller are passed on to the
/// process (see `forward_signals`). Nothing of the run is left when it returns, and no process of it
/// when the caller is killed.
pub fn run(mut options: RunOptions) -> Result<Outcome, RunError> {
    check(&options)?;
    let runtime = match options.isolation {
        Isolation::Runtime => Some(find_runtime(&options)?),
        Isolation::Chroot => {
            crate::chroot::check(&options)?;
            None
        }
    };
    let root = Root::open(&options.rootfs).map_err(|error| RunError::Rootfs(options.rootfs.clone(), error))?;
    if options.mounts.is_empty() {
        let command = || options.process.args.first().cloned().unwrap_or_default();
        match program::look_up(&root, &options.process) {
            Lookup::Possible => {}
            Lookup::NoInterpreter(interpreter) => return Err(RunError::InterpreterNotFound(command(), interpreter)),
            Lookup::Missing => return Err(RunError::CommandNotFound(command())),
            Lookup::NotExecutable => return Err(RunError::CommandNotExecutable(command())),
        }
    }
    options.resources.check()?;
    if options.confinement == Confinement::Insecure {
        options.capabilities = Capabilities { add: vec!["all".into()], ..Capabilities::default() };
        options.seccomp = Seccomp::Unconfined;
        options.apparmor = None;
        options.devices.extend(devices::for_insecure());
    }
    let signals = options.forward_signals.then(Signals::listen).transpose().map_err(RunError::Signals)?;
    let bundle_error = |dir: &Path| {
        let dir = dir.to_path_buf();
        move |error| RunError::Bundle(dir, error)
    };
    let bundle = Bundle::create(&options.bundle_dir).map_err(bundle_error(&options.bundle_dir))?;
    // For whoever cleans up after a kill.
    let control_group =
        control_group::path(&options.id, options.resources.cgroup_parent.as_deref(), control_group::host_has_v2());
    bundle
        .write(GROUP_NAME, control_group.as_os_str().as_encoded_bytes(), 0o600)
        .map_err(bundle_error(bundle.path()))?;
    let memory = Memory::create(bundle.path().join("memory")).map_err(bundle_error(bundle.path()))?;

    // Outlives the process: taken down after it.
    let private = match &options.network {
        Network::Private(config) => Some(SharedNetwork::new(config.clone())),
        Network::Shared(network) => Some(network.clone()),
        Network::Host | Network::None | Network::Path(_) => None,
    };
    let network = private.as_ref().map(|network| network.join(&options.id, &options.search_path)).transpose()?;
    let namespace = match (&options.network, &network) {
        (Network::Path(path), _) => Some(namespaces::open(path)?),
        (_, network) => network
            .as_ref()
            .map(|network| network.namespace.try_clone())
            .transpose()
            .map_err(crate::NetworkError::Namespace)?,
    };
    let own_processes = options.namespaces.pid == Namespace::Private;
    let runner = Runner::start(namespace, own_processes)?;
    let open_namespaces = options.namespaces.open()?;

    let mut stubs = Stubs::default();
    let hostname = options.hostname.clone().unwrap_or_else(|| options.id.chars().take(12).collect());
    let files = host_files(&options, &hostname, network.as_ref())?;
    options.files.extend(files);
    make_working_dir(&root, &options)?;
    if options.isolation == Isolation::Chroot {
        crate::chroot::keep_asked_devices(&mut options.mounts);
    }
    let mounts = std::mem::take(&mut options.mounts);
    let files = std::mem::take(&mut options.files);
    let mut prepared = prepare_mounts(&root, mounts, files, &options, &mut stubs, &bundle, &memory)?;
    for namespace in open_namespaces {
        prepared.add_namespace(namespace, bundle.path())?;
    }

    let own_capabilities = crate::security::own_capabilities();
    let capabilities = options.capabilities.resolve(crate::security::last_known_capability(), own_capabilities)?;
    let rlimits = options.rlimits.iter().map(|limit| limit.to_spec(own_capabilities)).collect::<Result<Vec<_>, _>>()?;
    let seccomp = options.seccomp.resolve(&capabilities, Architecture::host())?;
    let (nodes, rules) = devices::describe(&options.devices, options.confinement == Confinement::Insecure)?;
    let mut streams = Streams::new(&options).map_err(RunError::Stdio)?;
    let stop = options.stop.clone();
    let config = spec::build(spec::Inputs {
        rootfs: &options.rootfs,
        process: &options.process,
        terminal: matches!(options.stdio, Stdio::Terminal)
            .then(|| streams.terminal.as_ref().map(terminal::size).unwrap_or_default()),
        capabilities: capabilities.to_spec(options.process.user.uid)?,
        rlimits,
        seccomp,
        apparmor: options.apparmor.as_deref(),
        confinement: options.confinement,
        devices: nodes,
        resources: options.resources.to_spec(rules)?,
        hooks: hooks(&options.hooks).map_err(|error| RunError::Bundle(bundle.path().into(), error.into()))?,
        mounts: prepared.spec,
        hostname: (options.namespaces.uts == Namespace::Private).then_some(hostname.as_str()),
        namespaces: options.namespaces.to_spec(bundle.path())?,
        new_network: matches!(options.network, Network::None),
        control_group: &control_group,
        masks: &options.masks,
    })?;
    let what = match &runtime {
        Some(runtime) => {
            let config =
                serde_json::to_vec(&config).map_err(|error| RunError::Bundle(bundle.path().into(), error.into()))?;
            memory.write("config.json", &config, 0o600, Owner::ROOT).map_err(bundle_error(bundle.path()))?;
            let mut command = runtime_command(runtime, &options, &bundle, &memory);
            streams.give_to(&mut command);
            Startable::Runtime(command)
        }
        None => Startable::Step(Box::new(crate::chroot::Launch {
            spec: config,
            bundle: bundle.path().to_owned(),
            home: options.process.user.home.clone(),
            no_pivot: options.no_pivot,
            streams: streams.take(),
        })),
    };
    let running = match runner.launch(what, memory, prepared.attachments) {
        Ok(running) => running,
        Err(error) => return Err(not_started(error, &root, &options.process)),
    };
    if let Some(terminal) = running.terminal {
        streams.terminal = Some(terminal);
    }
    streams.join_terminal().map_err(RunError::Stdio)?;
    // A keeper in the host's PID namespace ends what it keeps before itself.
    let end = match options.isolation {
        Isolation::Chroot if !own_processes => Signal::TERM,
        _ => Signal::KILL,
    };
    let interrupted_by =
        supervise(&running.process, own_processes, end, signals, stop.as_deref(), &streams).map_err(RunError::Wait)?;
    let status = runner.wait();
    let output_end = streams.finish();
    // A runtime that was killed leaves them.
    control_group::remove(&control_group);
    drop((network, private));
    let left_stubs = stubs.remove();
    let status = status.ok_or_else(|| RunError::Wait(std::io::Error::other("its exit status is lost")))?;
    let exit = exit_of(status);
    if exit != Exit::Code(0) && interrupted_by.is_none() {
        let told = crate::failure::from_log(&bundle.path().join(LOG_NAME), &options.process);
        // runc says it where the command's output goes.
        let is_format = |line: &String| line.starts_with("exec ") && line.ends_with(": exec format error");
        let may_be_foreign = matches!(told, Some(RunError::CommandNotExecutable(_)))
            || told.is_none() && output_end.last().is_some_and(is_format);
        if may_be_foreign && let Some(machine) = program::foreign_machine(&root, &options.process) {
            return Err(RunError::CommandForeign(options.process.args.swap_remove(0), machine));
        }
        if let Some(error) = told {
            return Err(error);
        }
    }
    Ok(Outcome { exit, interrupted_by, left_stubs, output_end })
}

fn find_runtime(options: &RunOptions) -> Result<PathBuf, RunError> {
    program::find_on_host(&options.runtime, &options.search_path)
        .ok_or_else(|| RunError::RuntimeNotFound(options.runtime.display().to_string()))
}

/// Why a step could not be started.
fn not_started(error: crate::StartError, root: &Root, process: &ProcessSpec) -> RunError {
    match RunError::of_start(error, process) {
        RunError::CommandNotExecutable(command) => match program::foreign_machine(root, process) {
            Some(machine) => RunError::CommandForeign(command, machine),
            None => RunError::CommandNotExecutable(command),
        },
        error => error,
    }
}

/// Removes what a run left whose caller was killed: its bundle, its control groups, and what is in
/// them. Its mounts and its network are gone by then.
pub fn clean_up_after_kill(bundle_dir: &Path) -> std::io::Result<()> {
    if let Ok(path) = std::fs::read_to_string(bundle_dir.join(GROUP_NAME)) {
        control_group::remove(Path::new(&path));
    }
    std::fs::remove_dir_all(bundle_dir)
}

/// What the runtime says of its own doing.
const LOG_NAME: &str = "runtime.log";
/// Holds the path of the process's control groups.
const GROUP_NAME: &str = "control-group";

/// Refuses what the runtime would take for something else.
fn check(options: &RunOptions) -> Result<(), RunError> {
    let process = &options.process;
    let invalid = |what: &'static str, value: &str| Err(RunError::Invalid(what, value.into()));
    if process.args.is_empty() {
        return Err(RunError::NoCommand);
    }
    if let Some(word) = process.args.iter().chain(&process.env).find(|word| word.contains('\0')) {
        return invalid("argument or variable", word);
    }
    if !process.working_dir.starts_with('/') || process.working_dir.contains('\0') {
        return invalid("working directory (an absolute path is expected)", &process.working_dir);
    }
    let id_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if options.id.is_empty()
        || options.id.len() > 200
        || !options.id.bytes().all(id_byte)
        || options.id.starts_with('.')
    {
        return invalid("container ID", &options.id);
    }
    let outlandish = |b: u8| b.is_ascii_control() || matches!(b, b' ' | b'#' | b'/');
    if let Some(name) =
        options.hostname.as_ref().filter(|name| name.is_empty() || name.len() > 64 || name.bytes().any(outlandish))
    {
        return invalid("host name", name);
    }
    if let Some((name, _)) =
        options.host_files.add_hosts.iter().find(|(name, _)| name.is_empty() || name.contains(char::is_whitespace))
    {
        return invalid("host name", name);
    }
    Ok(())
}

/// The directory is made as its user's, unless it is below a mount: then the runtime makes it there.
fn make_working_dir(root: &Root, options: &RunOptions) -> Result<(), RunError> {
    let dir = Path::new(&options.process.working_dir);
    let standard = ["/proc", "/dev", "/sys"].iter().any(|mounted| dir.starts_with(mounted));
    if standard || options.mounts.iter().any(|mount| dir.starts_with(&mount.target)) {
        return Ok(());
    }
    let user = &options.process.user;
    root.create_dir_all(dir, 0o755, Owner { uid: user.uid, gid: user.gid })
        .map_err(|error| RunError::WorkingDir(dir.into(), error))
}

/// `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`, as far as they are wanted.
fn host_files(
    options: &RunOptions,
    hostname: &str,
    network: Option<&Membership>,
) -> Result<Vec<GeneratedFile>, RunError> {
    let wanted = &options.host_files;
    let has_network = !matches!(options.network, Network::None);
    let file =
        |target: &str, text: String| GeneratedFile { target: target.into(), content: text.into_bytes(), mode: 0o644 };
    let read = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let mut files = Vec::new();
    if wanted.hosts {
        let base = wanted.base_hosts.as_ref().filter(|_| has_network).map(read).unwrap_or_default();
        // In the host's own network, it is reached by loopback.
        let gateway = match options.network {
            Network::Host => Some(IpAddr::from([127, 0, 0, 1])),
            _ => network.and_then(|network| network.gateway),
        };
        let resolve = |(name, address): &(String, HostAddress)| match address {
            HostAddress::Ip(address) => Ok((name.clone(), *address)),
            HostAddress::Gateway => {
                gateway.map(|address| (name.clone(), address)).ok_or_else(|| RunError::NoGateway(name.clone()))
            }
        };
        let added = wanted.add_hosts.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        let names = Names {
            hostname,
            addresses: network.map(|network| network.addresses.as_slice()).unwrap_or_default(),
            gateway: network.and_then(|network| network.gateway),
            added: &added,
        };
        files.push(file("/etc/hosts", hosts::hosts(&base, &names)));
    }
    if wanted.resolv_conf && has_network {
        let texts: Vec<_> = wanted.base_resolv_conf.iter().map(read).collect();
        let text = texts.iter().find(|text| hosts::has_server(text, network.is_some())).or(texts.first());
        let text = text.map(String::as_str).unwrap_or_default();
        let resolver =
            Resolver { servers: &wanted.dns_servers, search: &wanted.dns_search, options: &wanted.dns_options };
        files.push(file("/etc/resolv.conf", hosts::resolv_conf(text, &resolver, network.is_some())));
    }
    if wanted.hostname {
        files.push(file("/etc/hostname", format!("{hostname}\n")));
    }
    Ok(files)
}

/// The standard mounts, files and mounts, outermost first; a later one with the same target
/// replaces an earlier one.
fn prepare_mounts(
    root: &Root,
    mut mounts: Vec<Mount>,
    files: Vec<GeneratedFile>,
    options: &RunOptions,
    stubs: &mut Stubs,
    bundle: &Bundle,
    memory: &Memory,
) -> Result<Prepared, RunError> {
    let mut prepared = Prepared::default();
    let replaced =
        |target: &Path, mounts: &[Mount]| mounts.iter().any(|mount| mount.target.components().eq(target.components()));
    for standard in spec::standard_mounts(options.shm_size, options.confinement)? {
        if replaced(standard.destination(), &mounts) {
            continue;
        }
        // Below `/dev`, the runtime makes what is missing.
        let path = standard.destination().clone();
        let place = stubs
            .make(root, &path, StubKind::Directory)
            .map_err(|error| crate::MountError::Target(path.clone(), error))?;
        // A mount of the kernel's own goes where it is looked for, or nowhere.
        if place != path {
            return Err(RunError::NotADirectory(path));
        }
        prepared.spec.push(standard);
    }
    for (index, file) in files.iter().enumerate() {
        if replaced(&file.target, &mounts) {
            continue;
        }
        let source = bundle
            .write(&format!("file-{index}"), &file.content, file.mode)
            .map_err(|error| RunError::Bundle(bundle.path().into(), error))?;
        let place = stubs
            .make(root, &file.target, StubKind::File)
            .map_err(|error| crate::MountError::Target(file.target.clone(), error))?;
        let options = ["bind", "rprivate", "rw", "nosuid", "nodev", "noexec"].map(String::from).to_vec();
        prepared
            .spec
            .push(MountBuilder::default().destination(place).typ("bind").source(source).options(options).build()?);
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        prepared.add(mount, root, stubs, Places { bundle: bundle.path(), memory })?;
    }
    Ok(prepared)
}

/// The runtime's call. It gets no environment but `PATH`. Its own records have the environment of
/// the process too: they are never on a disk.
fn runtime_command(program: &Path, options: &RunOptions, bundle: &Bundle, memory: &Memory) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", &options.search_path).current_dir(bundle.path());
    command.args(&options.runtime_flags);
    command.arg("--root").arg(memory.path().join("state"));
    command.arg("--log").arg(bundle.path().join(LOG_NAME)).args(["--log-format", "json"]);
    command.arg("run").arg("--bundle").arg(memory.path());
    command.args(options.no_pivot.then_some("--no-pivot")).arg(&options.id);
    command
}

/// As the runtime specification has them.
fn hooks(hooks: &[Hook]) -> serde_json::Result<Option<Hooks>> {
    let mut lists: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    for Hook { when, path, args, env, timeout } in hooks {
        let mut hook = serde_json::json!({"path": path, "args": args, "env": env});
        if let (Some(timeout), Some(members)) = (timeout, hook.as_object_mut()) {
            members.insert("timeout".into(), (*timeout).into());
        }
        lists.entry(when).or_default().push(hook);
    }
    if lists.is_empty() {
        return Ok(None);
    }
    serde_json::from_value(serde_json::to_value(lists)?).map(Some)
}

/// Waits for the runtime's end, doing meanwhile what is to be done. Gives the signal that asked the
/// process to end.
fn supervise(
    process: &Handle,
    own_processes: bool,
    end: Signal,
    mut signals: Option<Signals>,
    mut stop: Option<&Stop>,
    streams: &Streams,
) -> std::io::Result<Option<i32>> {
    loop {
        let is_watching = signals.as_mut().is_some_and(Signals::attend);
        let (has_ended, has_signal, is_stopped) = {
            let mut sources = vec![PollFd::new(&process.fd, PollFlags::IN)];
            if let Some(signals) = &signals {
                sources.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
            }
            if let Some(stop) = &stop {
                sources.push(PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN));
            }
            let interval = is_watching.then_some(&WATCH_INTERVAL);
            match poll(&mut sources, interval) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let ready =
                |index: usize| sources.get(index).is_some_and(|source| source.revents().contains(PollFlags::IN));
            let has_signal = signals.is_some() && ready(1);
            (ready(0), has_signal, stop.is_some() && ready(1 + usize::from(signals.is_some())))
        };
        if is_stopped {
            // Its PID namespace ends with it.
            let _ = pidfd_send_signal(&process.fd, end);
            stop = None;
        }
        if let Some(signals) = signals.as_mut().filter(|_| has_signal)
            && signals.pass_on(process.pid, own_processes) == Request::Resize
            && let Some(terminal) = &streams.terminal
        {
            streams.copy_size();
            // A runtime may pass the new size of its terminal on to the process's.
            let _ = pidfd_send_signal(&process.fd, Signal::WINCH);
            terminal::hand_size_on(terminal, process.pid, process.fd.as_fd());
        }
        if has_ended {
            return Ok(signals.and_then(|signals| signals.asked_to_end()));
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code.clamp(0, 255) as u8),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}
