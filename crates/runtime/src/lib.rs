//! Run one process in a root file system through an OCI runtime.
//!
//! [`run`] writes a bundle (runtime specification 1.0.2), starts the runtime, passes signals and
//! the terminal on, waits, and leaves nothing behind: no bundle, no mount, no mount point that it
//! made itself. The process dies with its caller, however the caller dies.

mod process_spec; // arguments, environment, user, directory
mod mounts; // what is mounted where
mod network; // whose network the process sees
mod run; // from options to exit code
mod security; // capabilities, system call filter
mod users; // USER string → numbers

pub use mounts::{BindSource, Mount, MountKind, Propagation};
pub use network::{Network, NetworkConfig};
pub use process_spec::ProcessSpec;
pub use run::{Exit, HostFiles, Outcome, RunError, RunOptions, Stdio, run};
pub use security::{Capabilities, Rlimit, Seccomp};
pub use users::{User, UserError, resolve_user};
