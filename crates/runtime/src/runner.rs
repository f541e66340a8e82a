//! The thread that owns the runtime process and the namespaces around it.
//!
//! The runtime is the first process of a PID namespace of its own: when it dies, however that
//! comes, the kernel kills everything that it started. It dies with this thread, and this thread
//! with gabion. Its mount namespace holds what the step's mounts are made from.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::MountPropagationFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};

use crate::memory::Memory;
use crate::mounts::{Attachment, MountError};

/// The runtime that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel refuses a namespace.
    #[error("unable to make namespaces for the step: {0}")]
    Namespaces(std::io::Error),
    /// A mount source cannot be attached.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The program cannot be started.
    #[error("unable to start the OCI runtime: {0}")]
    Spawn(std::io::Error),
}

/// What the thread is to start.
struct Launch {
    command: Command,
    memory: Memory,
    attachments: Vec<Attachment>,
}

/// The thread. Dropped before a launch, it ends without one.
#[derive(Debug)]
pub(crate) struct Runner {
    launches: SyncSender<Launch>,
    started: Receiver<Result<Pid, StartError>>,
    thread: JoinHandle<Option<ExitStatus>>,
}

impl Runner {
    /// Starts the thread and makes its namespaces; it joins `network_namespace`, or stays in the
    /// host's. Without `own_processes`, there is no PID namespace around the runtime.
    pub fn start(network_namespace: Option<OwnedFd>, own_processes: bool) -> Result<Runner, StartError> {
        let (launches, to_launch) = sync_channel::<Launch>(1);
        let (report_ready, ready) = sync_channel(1);
        let (report_start, started) = sync_channel(1);
        let body = move || {
            let namespaces = make_namespaces(network_namespace, own_processes);
            let made = namespaces.is_ok();
            if report_ready.send(namespaces).is_err() || !made {
                return None;
            }
            let launch = to_launch.recv().ok()?;
            match spawn(launch, own_processes) {
                Ok((mut child, pid, _lifeline)) => {
                    let _ = report_start.send(Ok(pid));
                    child.wait().ok()
                }
                Err(error) => {
                    let _ = report_start.send(Err(error));
                    None
                }
            }
        };
        let thread = std::thread::Builder::new().name("step".into()).spawn(body).map_err(StartError::Namespaces)?;
        let gone = || StartError::Namespaces(std::io::Error::other("the thread ended"));
        ready.recv().map_err(|_| gone())?.map_err(StartError::Namespaces)?;
        Ok(Runner { launches, started, thread })
    }

    /// Attaches mounts and starts the runtime; gives its process ID.
    pub fn launch(&self, command: Command, memory: Memory, attachments: Vec<Attachment>) -> Result<Pid, StartError> {
        let gone = || StartError::Spawn(std::io::Error::other("the thread ended"));
        self.launches.send(Launch { command, memory, attachments }).map_err(|_| gone())?;
        self.started.recv().map_err(|_| gone())?
    }

    /// How the runtime ended.
    pub fn wait(self) -> Option<ExitStatus> {
        drop(self.launches);
        self.thread.join().ok().flatten()
    }
}

fn make_namespaces(network: Option<OwnedFd>, own_processes: bool) -> std::io::Result<()> {
    if let Some(network) = network {
        setns(network, CloneFlags::CLONE_NEWNET)?;
    }
    let processes = if own_processes { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() };
    unshare(CloneFlags::CLONE_NEWNS | processes)?;
    // What the host mounts and unmounts is seen here; what is mounted here stays here.
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    Ok(())
}

/// On a host with control groups of both versions, the second may have controllers that the first
/// does not use. crun gives up on seeing that, though nothing asks for them: so it does not see it.
fn hide_second_hierarchy(runtime: &OsStr) {
    const UNIFIED: &str = "/sys/fs/cgroup/unified";
    if Path::new(runtime).file_name() != Some(OsStr::new("crun")) {
        return;
    }
    let controllers = std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).unwrap_or_default();
    if !controllers.trim().is_empty() && !crate::control_group::host_has_v2() {
        // If it stays, the runtime says what it thinks of it.
        let _ = rustix::mount::unmount(UNIFIED, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Starts the runtime; it dies when the returned descriptor has no holder.
fn spawn(launch: Launch, own_processes: bool) -> Result<(std::process::Child, Pid, OwnedFd), StartError> {
    let Launch { mut command, memory, attachments } = launch;
    hide_second_hierarchy(command.get_program());
    memory.attach().map_err(StartError::Namespaces)?;
    drop(memory);
    for attachment in &attachments {
        attachment.attach()?;
    }
    drop(attachments);
    let (alive, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| StartError::Spawn(errno.into()))?;
    // A process group of its own: what a terminal sends on Ctrl-C is for gabion to pass on.
    command.process_group(0);
    // The death of the first process of a namespace ends the others; any other runtime has to be
    // asked to end what it runs.
    let death = if own_processes { Signal::KILL } else { Signal::TERM };
    crate::sys::prepare_child(&mut command, alive, lifeline.as_fd(), death);
    let mut child = command.spawn().map_err(StartError::Spawn)?;
    match Pid::from_raw(child.id() as i32) {
        Some(pid) => Ok((child, pid, lifeline)),
        None => {
            let _ = child.kill();
            Err(StartError::Spawn(std::io::Error::other("it has no process ID")))
        }
    }
}
