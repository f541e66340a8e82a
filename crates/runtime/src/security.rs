//! What the process may do: capabilities, system calls, limits.

use std::path::PathBuf;

/// Capabilities on top of, and taken away from, the default set of Buildah.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Names with or without `CAP_`, any case; `all` for every one.
    pub add: Vec<String>,
    /// The same; wins over `add`.
    pub drop: Vec<String>,
}

/// Which system calls are filtered.
#[derive(Clone, Debug, Default)]
pub enum Seccomp {
    /// The containers' default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in the format of the runtime specification's `linux.seccomp`, or of Docker's profiles.
    File(PathBuf),
}

/// A resource limit. It is lowered to the host's own hard limit where that is lower.
#[derive(Clone, Debug)]
pub struct Rlimit {
    /// Name in the runtime specification: `RLIMIT_NOFILE`…
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}
