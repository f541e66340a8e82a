//! Run one process in a root file system, through an OCI runtime or without one.
//!
//! [`run`] writes a bundle (runtime specification 1.0.2), starts the runtime, passes signals and
//! the terminal on, waits, and leaves nothing behind: no bundle, no mount, no mount point that it
//! made itself. The process dies with its caller, however the caller dies.
//!
//! With [`Isolation::Chroot`] what the specification says is done here, by forked processes of the
//! caller. Nothing is executed for that but the step; a program that wants it calls
//! [`protect_own_program`] when it begins.
//!
//! ```text
//! gabion ── thread ─┬─ own mount namespace: sources of mounts, /proc
//!                   ├─ a network namespace (private network), joined to the bridge by netavark
//!                   └─ own PID namespace ── runc run ── namespaces of the specification ── process
//! ```
//!
//! The library reads no environment and prints nothing; it needs root.

mod bundle; // the directory of a run
mod chroot; // without an OCI runtime
mod control_group; // where the process is counted; what is left of it
mod devices; // of the host
mod failure; // what can go wrong, and what the runtime's log says of it
mod hosts; // /etc/hosts and /etc/resolv.conf as text
mod masks; // paths that the process sees as empty
mod memory; // files that never touch a disk
mod mounts; // what is mounted where
mod namespaces; // whose namespaces the process is in
mod network; // whose network the process sees; netavark
mod process_spec; // arguments, environment, user, directory
mod program; // look-up of programs, on the host and in the root
mod relay; // standard streams
mod resources; // limits of control groups
mod run; // from options to exit code
mod runner; // the thread that owns the runtime process
mod seccomp; // system call filter
mod security; // capabilities, limits
mod signals; // passed on, or turned into a kill
mod spec; // config.json
mod stop; // the caller ends what is run for it
mod streams; // standard streams of one run
mod stubs; // mount points made and removed again
mod sys; // the unsafe part
mod tail; // the end of what a process wrote
mod terminal; // a terminal of its own
mod users; // USER string → numbers

pub use chroot::{ChrootError, FilterError, protect_own_program};
pub use control_group::host_has_v2 as host_has_cgroup_v2;
pub use devices::{Device, DeviceError};
pub use failure::RunError;
pub use hosts::HostAddress;
pub use masks::Masks;
pub use memory::Content;
pub use mounts::{BindSource, Mount, MountError, MountKind, Propagation};
pub use namespaces::{Namespace, NamespaceError, Namespaces};
pub use network::{Network, NetworkConfig, NetworkError, SharedNetwork};
pub use process_spec::ProcessSpec;
pub use resources::{NoController, Resources};
pub use run::{
    Confinement, Exit, GeneratedFile, Hook, HostFiles, Isolation, Outcome, RunOptions, Stdio, clean_up_after_kill, run,
};
pub use runner::StartError;
pub use seccomp::{Seccomp, SeccompError};
pub use security::{Capabilities, LimitError, Rlimit, UnknownCapability};
pub use stop::Stop;
pub use stubs::StubError;
pub use sys::die_with_thread;
pub use users::{User, UserError, resolve_user};
