//! Build contexts: where COPY and ADD find their files.
//!
//! ```text
//! a directory ─────────────────────────────▶ is used where it is
//! - (stdin), a URL: told apart by content
//!     a tar, plain or compressed ──unpacked─▶ a private directory below the store's gabion/
//!     text ──▶ the Dockerfile itself, with an empty context
//! a git URL ──checked out─▶ a private directory too
//! ```
//! What comes as a stream is not trusted: nothing in it leads out of its directory, there are no
//! devices in it, and its size is bounded. The private directory goes with the [`Context`]; after a
//! kill, with the next command.

mod left_out; // what mounts of it do not show
mod named; // --build-context
mod unpack; // a stream becomes a directory

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use store::{Store, TemporaryDirectory};

use crate::git::{self, GitError, GitOptions, GitSource};
use crate::transfer::Remotes;
pub(crate) use left_out::left_out;
pub use named::{NamedContext, NamedSource, context_name};

/// A stream that is the Dockerfile itself is no longer than this many bytes.
pub const FILE_LIMIT: u64 = 64 << 20;

/// Where a context comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory of this machine.
    Directory(PathBuf),
    /// Standard input.
    Stdin,
    /// A git repository.
    Git(String),
    /// An http or https URL.
    Http(String),
}

/// Why a context cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The directory cannot be used.
    #[error("build context {path}: {reason}", path = path.display(), reason = crate::transport::plain(source))]
    Directory {
        /// As given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The stream breaks off or is not what it seems to be.
    #[error("build context {name}: {reason}")]
    Stream {
        /// Its URL, or `-`.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The archive cannot be unpacked.
    #[error("build context {name}: {source}")]
    Unpack {
        /// Its URL, or `-`.
        name: String,
        /// What is wrong.
        source: layers::ApplyError,
    },
    /// The text of `--build-context` cannot be understood.
    #[error("build context {text:?}: {reason}")]
    Named {
        /// As given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The repository cannot be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The URL cannot be fetched.
    #[error(transparent)]
    Download(#[from] registry::DownloadError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The private directory cannot be used.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
}

/// A context that can be read, as long as this lives.
#[derive(Debug)]
pub struct Context {
    dir: PathBuf,
    dockerfile: Option<Vec<u8>>,
    private: Option<TemporaryDirectory>,
}

impl ContextSource {
    /// What a user means by `text`, as Docker and Buildah understand it.
    pub fn parse(text: &str) -> ContextSource {
        if text == "-" {
            ContextSource::Stdin
        } else if is_git(text) {
            ContextSource::Git(text.to_owned())
        } else if text.starts_with("http://") || text.starts_with("https://") {
            ContextSource::Http(text.to_owned())
        } else {
            ContextSource::Directory(text.into())
        }
    }
}

/// Whether `text` is the address of a git repository.
pub(crate) fn is_git(text: &str) -> bool {
    GitSource::parse_context(text).is_some()
}

impl Context {
    /// Opens a context; `stdin` is read if it is what `source` says.
    pub fn open(
        store: &Store,
        remotes: &Remotes,
        git: &GitOptions,
        source: &ContextSource,
        stdin: impl Read + Send,
    ) -> Result<Context, ContextError> {
        match source {
            ContextSource::Directory(path) => {
                let failed = |source| ContextError::Directory { path: path.clone(), source };
                let dir = path.canonicalize().map_err(failed)?;
                if dir.is_dir() {
                    return Ok(Context { dir, dockerfile: None, private: None });
                }
                // A Dockerfile stands for the directory that it is in.
                let file = std::fs::File::open(&dir).map_err(failed)?;
                let mut text = Vec::new();
                file.take(FILE_LIMIT).read_to_end(&mut text).map_err(failed)?;
                let dir = dir.parent().unwrap_or(Path::new("/")).to_owned();
                Ok(Context { dir, dockerfile: Some(text), private: None })
            }
            ContextSource::Stdin => Context::unpacked(store, "-", stdin),
            ContextSource::Http(url) => {
                let download = remotes.client()?.download(url)?;
                Context::unpacked(store, url.split(['?', '#']).next().unwrap_or_default(), download)
            }
            ContextSource::Git(url) => Context::checked_out(store, git, url),
        }
    }

    fn checked_out(store: &Store, options: &GitOptions, url: &str) -> Result<Context, ContextError> {
        let invalid = || ContextError::Stream { name: url.to_owned(), reason: "it is no git address".to_owned() };
        let source = GitSource::parse_context(url).ok_or_else(invalid)??;
        let private = store.temporary_directory()?;
        let keep_git_dir = source.keep_git_dir.unwrap_or(false);
        let checkout = git::checkout(&source, private.path(), keep_git_dir, options)?;
        Ok(Context { dir: checkout.dir, dockerfile: None, private: Some(private) })
    }

    fn unpacked(store: &Store, name: &str, stream: impl Read + Send) -> Result<Context, ContextError> {
        let private = store.temporary_directory()?;
        let dir = private.path().join("context");
        std::fs::create_dir(&dir).map_err(|source| ContextError::Directory { path: dir.clone(), source })?;
        let dockerfile = unpack::unpack(name, stream, &dir)?;
        Ok(Context { dir, dockerfile, private: Some(private) })
    }

    /// The directory with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The Dockerfile, if the stream was one.
    pub fn dockerfile(&self) -> Option<&[u8]> {
        self.dockerfile.as_deref()
    }

    /// Whether it came as a stream, so that no path of the user's leads into it.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_kinds_of_contexts_are_told_apart() {
        let kind = |text: &str| match ContextSource::parse(text) {
            ContextSource::Directory(_) => "directory",
            ContextSource::Stdin => "stdin",
            ContextSource::Git(_) => "git",
            ContextSource::Http(_) => "http",
        };
        for (text, expected) in [
            (".", "directory"),
            ("./-", "directory"),
            ("repo.git", "directory"),
            ("-", "stdin"),
            ("https://host/repo.git", "git"),
            ("https://host/repo.git#main:sub", "git"),
            ("https://host/repo.git?ref=main&subdir=sub", "git"),
            ("git@host:me/repo", "git"),
            ("ssh://git@host/repo", "git"),
            ("git://host/repo", "git"),
            ("github.com/me/repo", "git"),
            ("https://host/context.tar.gz", "http"),
            ("https://host/x?from=a.git", "http"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
