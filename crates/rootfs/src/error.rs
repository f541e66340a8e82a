//! The one error of this crate: an operation, the path it was about, what the kernel said.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A file-system operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {}", quoted(path), reason(*errno))]
pub struct Error {
    operation: &'static str,
    path: PathBuf,
    errno: Errno,
}

/// The result of an operation on a tree.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(operation: &'static str, path: impl AsRef<Path>, errno: Errno) -> Error {
        Error { operation, path: path.as_ref().to_owned(), errno }
    }

    /// The path the operation was about; relative to the root where there is one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the kernel said.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Whether the path, or a directory on its way, does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NOTDIR)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::Error::from(error.errno).kind(), error)
    }
}

/// The path in quotes, control characters escaped: it may come from an image.
fn quoted(path: &Path) -> String {
    format!("{path:?}")
}

/// The kernel's words without the number that std puts after them.
fn reason(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("I/O") => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

pub(crate) trait Context<T> {
    fn doing(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn doing(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|errno| Error::new(operation, path, errno))
    }
}
