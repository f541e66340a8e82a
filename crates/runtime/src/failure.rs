//! How a run fails before its process has run, and what the runtime's log tells of that.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ProcessSpec;

/// A process that could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The runtime is not on this machine.
    #[error(
        "OCI runtime {0:?} not found: install it (Debian and Ubuntu: apt install runc) or name another with --runtime"
    )]
    RuntimeNotFound(String),
    /// The root file system is not there.
    #[error("unable to open the root file system {0}: {1}")]
    Rootfs(PathBuf, rootfs::Error),
    /// There is nothing to run.
    #[error("no command to run")]
    NoCommand,
    /// The command is not in the root file system.
    #[error("command not found in the container: {0}")]
    CommandNotFound(String),
    /// The command is there and cannot be executed.
    #[error("command not executable in the container: {0}")]
    CommandNotExecutable(String),
    /// The command is a program for another kind of machine.
    #[error(
        "{0} is a program for {1}, which the kernel does not run: it needs an emulator (Debian and Ubuntu: apt install \
         qemu-user-static binfmt-support)"
    )]
    CommandForeign(String, &'static str),
    /// The command is a script whose interpreter is not in the root file system.
    #[error("command not found in the container: {1}, which {0} is a script for")]
    InterpreterNotFound(String, String),
    /// Something that the runtime would misunderstand.
    #[error("invalid {0}: {1:?}")]
    Invalid(&'static str, String),
    /// The working directory cannot be made.
    #[error("unable to create working directory {0}: {1}")]
    WorkingDir(PathBuf, rootfs::Error),
    /// A mount cannot be made.
    #[error(transparent)]
    Mount(#[from] crate::MountError),
    /// A symlink where a file system of the kernel's has to be.
    #[error("{0} of the root file system is a symlink or below one, and must be a directory")]
    NotADirectory(PathBuf),
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] crate::NetworkError),
    /// No such capability.
    #[error(transparent)]
    Capability(#[from] crate::UnknownCapability),
    /// A limit cannot be set.
    #[error(transparent)]
    Limit(#[from] crate::LimitError),
    /// A device cannot be given.
    #[error(transparent)]
    Device(#[from] crate::DeviceError),
    /// The host cannot keep a limit.
    #[error(transparent)]
    Resources(#[from] crate::NoController),
    /// A namespace cannot be joined.
    #[error(transparent)]
    Namespace(#[from] crate::NamespaceError),
    /// There is no address for a line of `/etc/hosts`.
    #[error("host {0}: this network has no address of the host's (host-gateway)")]
    NoGateway(String),
    /// The system call filter cannot be used.
    #[error(transparent)]
    Seccomp(#[from] crate::SeccompError),
    /// The bundle cannot be written.
    #[error("unable to write the runtime's bundle {0}: {1}")]
    Bundle(PathBuf, std::io::Error),
    /// The specification cannot be built.
    #[error("unable to describe the step to the runtime: {0}")]
    Spec(#[from] oci_spec::OciSpecError),
    /// It cannot be run without an OCI runtime.
    #[error(transparent)]
    Chroot(#[from] crate::ChrootError),
    /// Signals cannot be received.
    #[error("unable to listen for signals: {0}")]
    Signals(std::io::Error),
    /// The standard streams cannot be joined.
    #[error("unable to join the step's standard streams: {0}")]
    Stdio(std::io::Error),
    /// The runtime cannot be started.
    #[error(transparent)]
    Start(#[from] crate::StartError),
    /// Its end cannot be waited for.
    #[error("unable to wait for the step: {0}")]
    Wait(std::io::Error),
    /// The runtime says that it could not start the process.
    #[error("the OCI runtime was unable to start the step: {0}")]
    Runtime(String),
}

impl RunError {
    /// What it means that `process` could not be started.
    pub(crate) fn of_start(error: crate::StartError, process: &ProcessSpec) -> RunError {
        use rustix::io::Errno;
        let command = || process.args.first().cloned().unwrap_or_default();
        match error {
            crate::StartError::Program(Errno::NOENT | Errno::NOTDIR) => RunError::CommandNotFound(command()),
            crate::StartError::Program(Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::ISDIR | Errno::LIBBAD) => {
                RunError::CommandNotExecutable(command())
            }
            error => RunError::Start(error),
        }
    }

    /// The exit code a shell has for it: 127 for a command that is not found, 126 for one that
    /// cannot be executed; `None` for a failure that is not the command's.
    pub fn command_exit_code(&self) -> Option<u8> {
        match self {
            RunError::CommandNotFound(_) | RunError::InterpreterNotFound(..) => Some(127),
            RunError::CommandNotExecutable(_) | RunError::CommandForeign(..) => Some(126),
            _ => None,
        }
    }
}

/// What the runtime's log (runc's and crun's JSON lines) says went wrong; `None` if nothing did, so
/// that the exit code is the process's own.
pub(crate) fn from_log(log: &Path, process: &ProcessSpec) -> Option<RunError> {
    let mut text = String::new();
    std::fs::File::open(log).ok()?.take(1 << 20).read_to_string(&mut text).ok()?;
    classify(&text, process)
}

fn classify(log: &str, process: &ProcessSpec) -> Option<RunError> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors = lines.filter(|line| matches!(line.get("level").and_then(Value::as_str), Some("error" | "fatal")));
    let message = errors.next_back()?.get("msg")?.as_str()?.trim().to_owned();
    let command = || process.args.first().cloned().unwrap_or_default();
    let lower = message.to_lowercase();
    let has = |text: &str| lower.contains(text);
    // runc: `exec: "x": …` or `exec /x: …`; crun: "executable file `x` not found in $PATH", "open executable: …".
    let of_command =
        has("exec: ") || has("exec /") || has("executable file") || has("open executable") || has("execve");
    if of_command && !has("chdir") {
        if has("not found") || has("no such file") {
            return Some(RunError::CommandNotFound(command()));
        }
        if has("permission denied")
            || has("operation not permitted")
            || has("exec format error")
            || has("is a directory")
        {
            return Some(RunError::CommandNotExecutable(command()));
        }
    }
    Some(RunError::Runtime(message))
}
