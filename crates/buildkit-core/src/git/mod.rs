//! Git repositories as sources of ADD and as build contexts, by the `git` program.
//!
//! ```text
//! https://host/repo.git#ref:subdir ──GitSource::parse──▶ GitSource ──checkout──▶ a directory
//! ```
//! Nothing that a repository or its address says is run: no hooks, no configuration of the user's
//! or the system's, no helpers, no prompts, no protocol but git, http(s) and ssh (for submodules
//! too), and a name that begins with `-` is refused. SSH talks to known hosts only. Git is found by the `PATH` that the caller
//! gives; it runs in a process group of its own, which ends when the caller gives up.
//!
//! A checkout has what a reference has, with submodules, as root's, with modes 755 and 644. The
//! repository itself (`.git`) stays only if asked for, without the address's password.

mod checkout; // fetch, check out, tidy up
mod command; // the git program, held tight
mod source; // what an address says

pub use checkout::{Checkout, checkout};
pub use source::GitSource;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How repositories are reached.
#[derive(Clone, Debug, Default)]
pub struct GitOptions {
    /// Where programs are looked up, as in `PATH`; `None` for the usual directories.
    pub search_path: Option<String>,
    /// `NAME=value` of proxies, as the conventional variables have them.
    pub proxies: Vec<String>,
    /// Socket of the agent whose keys may be used; without it no key is.
    pub ssh_auth_sock: Option<PathBuf>,
    /// Files with the keys of SSH servers, as ssh has them; no other server is talked to.
    pub known_hosts: Vec<PathBuf>,
    /// Value of the `Authorization` header for the repository's own host, and for no other.
    pub authorization: Option<String>,
    /// Set by whoever wants it to end.
    pub cancelled: Option<Arc<AtomicBool>>,
}

/// Why a repository could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The address says something that cannot be meant.
    #[error("invalid git address {text:?}: {reason}")]
    Invalid {
        /// As given, without a password.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no git program.
    #[error("cannot fetch {remote}: the git program is missing (install the package git)")]
    Missing {
        /// The repository.
        remote: String,
    },
    /// Git failed.
    #[error("cannot {doing} {remote}: {reason}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// The repository.
        remote: String,
        /// What git says.
        reason: String,
    },
    /// The repository is not what was expected.
    #[error("{remote} has commit {actual}, expected {expected}")]
    WrongCommit {
        /// The repository.
        remote: String,
        /// What the checksum says.
        expected: String,
        /// What came.
        actual: String,
    },
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
    /// The checkout could not be read or changed.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
}
