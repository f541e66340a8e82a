//! From options to exit code.

use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::{Capabilities, Mount, Network, ProcessSpec, Rlimit, Seccomp};

/// What to run, where, and how.
#[derive(Debug)]
pub struct RunOptions {
    /// Where the bundle is written; created, and removed again.
    pub bundle_dir: PathBuf,
    /// The mounted root file system; the process's changes stay in it.
    pub rootfs: PathBuf,
    /// Name the runtime knows the process by; letters, digits, `_`, `-`, `.`.
    pub id: String,
    /// The process.
    pub process: ProcessSpec,
    /// Mounts beside the standard ones.
    pub mounts: Vec<Mount>,
    /// The network.
    pub network: Network,
    /// Host name; `id`'s first 12 characters when absent.
    pub hostname: Option<String>,
    /// Which files of `/etc` are made for the process.
    pub host_files: HostFiles,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Limits to set; those not named are inherited.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Name (looked up in `search_path`) or path of the OCI runtime.
    pub runtime: PathBuf,
    /// Options given to the runtime before its subcommand.
    pub runtime_flags: Vec<String>,
    /// Directories where programs are looked up, as in `PATH`.
    pub search_path: String,
    /// The process's standard streams.
    pub stdio: Stdio,
    /// Whether SIGINT, SIGTERM, SIGHUP… sent to the caller are passed on to the process.
    pub forward_signals: bool,
}

/// Which of `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname` are made and mounted.
#[derive(Clone, Debug)]
pub struct HostFiles {
    /// `/etc/hosts`; the image's own when false.
    pub hosts: bool,
    /// `/etc/resolv.conf`; the image's own when false.
    pub resolv_conf: bool,
    /// `/etc/hostname`; the image's own when false.
    pub hostname: bool,
    /// Lines added to `/etc/hosts`.
    pub add_hosts: Vec<(String, IpAddr)>,
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
    /// Files of the caller's choice.
    Files {
        /// Standard input.
        stdin: File,
        /// Standard output.
        stdout: File,
        /// Standard error.
        stderr: File,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// What is known after a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the process ended.
    pub exit: Exit,
    /// Signal that was passed on to the process, if any was.
    pub interrupted_by: Option<i32>,
    /// Mount points made by the run that could not be removed again, by path in the root file
    /// system: a layer should leave them out.
    pub left_stubs: Vec<PathBuf>,
}

/// A process that could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The runtime is not on this machine.
    #[error("OCI runtime {0} not found: install it (Debian and Ubuntu: apt install runc) or name another with --runtime")]
    RuntimeNotFound(String),
    /// The command is not in the root file system.
    #[error("command not found in the container: {0}")]
    CommandNotFound(String),
    /// The command is there and cannot be executed.
    #[error("command not executable in the container: {0}")]
    CommandNotExecutable(String),
}

/// Runs `options.process` to its end.
pub fn run(options: RunOptions) -> Result<Outcome, RunError> {
    let _ = options;
    todo!()
}
