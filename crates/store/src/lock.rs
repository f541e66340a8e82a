//! Lock files: `fcntl` record locks that exclude every tool, and the token that tells whether
//! somebody changed what the lock protects.
//!
//! The locks are open-file-description locks. Each acquisition opens the file anew, so they
//! exclude the threads of this process too, and closing some other descriptor of the file releases
//! nothing. Nothing detects deadlocks: they are taken in one order, left to right, by everybody:
//! `storage.lock`, `layers.lock`, read-only `layers.lock`, `images.lock`, read-only `images.lock`,
//! `containers.lock`; `mountpoints.lock` only while holding `layers.lock`. The lock of a manifest list
//! comes before all of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::{Error, Result};

/// A lock file.
#[derive(Clone, Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    read_only: bool,
}

/// A held lock, released when dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    file: File,
    path: PathBuf,
}

/// Who changed the protected files last: the first 64 bytes of the lock file, or fewer if nobody
/// ever wrote them. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Token(Vec<u8>);

const TOKEN_SIZE: usize = 64;

impl LockFile {
    pub fn new(path: PathBuf) -> LockFile {
        LockFile { path, read_only: false }
    }

    /// A lock of a store that is never written; it can only be read-locked.
    pub fn of_read_only_store(path: PathBuf) -> LockFile {
        LockFile { path, read_only: true }
    }

    #[cfg(test)]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Waits until nobody writes.
    pub fn read(&self) -> Result<Guard> {
        self.acquire(libc::F_RDLCK, Wait::Yes).map(|guard| guard.ok_or_else(|| self.would_block()))?
    }

    /// Waits until nobody else reads or writes.
    pub fn write(&self) -> Result<Guard> {
        self.acquire(libc::F_WRLCK, Wait::Yes).map(|guard| guard.ok_or_else(|| self.would_block()))?
    }

    /// `None` if somebody else reads or writes.
    pub fn try_write(&self) -> Result<Option<Guard>> {
        self.acquire(libc::F_WRLCK, Wait::No)
    }

    fn would_block(&self) -> Error {
        Error::io("lock", &self.path)(io::Error::from(io::ErrorKind::WouldBlock))
    }

    fn acquire(&self, kind: libc::c_int, wait: Wait) -> Result<Option<Guard>> {
        let mut open = File::options();
        open.read(true).mode(0o644).custom_flags(libc::O_CLOEXEC);
        let file = if self.read_only {
            open.open(&self.path)
        } else {
            open.write(true).create(true).truncate(false).open(&self.path)
        }
        .map_err(Error::io("open", &self.path))?;
        let range = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        loop {
            let outcome = match wait {
                Wait::Yes => fcntl(&file, FcntlArg::F_OFD_SETLKW(&range)),
                Wait::No => fcntl(&file, FcntlArg::F_OFD_SETLK(&range)),
            };
            match outcome {
                Ok(_) => return Ok(Some(Guard { file, path: self.path.clone() })),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::EACCES) if wait == Wait::No => return Ok(None),
                Err(errno) => return Err(Error::io("lock", &self.path)(errno)),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

impl Guard {
    /// The token as it is now.
    pub fn token(&self) -> Result<Token> {
        let mut token = vec![0; TOKEN_SIZE];
        let mut len = 0;
        while len < TOKEN_SIZE {
            match self.file.read_at(&mut token[len..], len as u64) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        token.truncate(len);
        Ok(Token(token))
    }

    /// Writes a fresh token: whoever takes the lock next reads the protected files again.
    pub fn touch(&self) -> Result<Token> {
        let token = fresh_token()?;
        self.file.write_all_at(&token.0, 0).map_err(Error::io("write", &self.path))?;
        Ok(token)
    }

    /// Whether the locked file still is the one at its path.
    pub fn is_current(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

fn fresh_token() -> Result<Token> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut token = Vec::with_capacity(TOKEN_SIZE);
    token.extend(nanoseconds.to_le_bytes());
    token.extend(COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    token.extend(std::process::id().to_le_bytes());
    token.extend(crate::random::bytes::<44>()?);
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> (tempfile::TempDir, LockFile) {
        let dir = tempfile::tempdir().expect("temp dir");
        let lock = LockFile::new(dir.path().join("x.lock"));
        (dir, lock)
    }

    #[test]
    fn tree_writers_exclude_each_other_within_a_process() {
        let (_dir, lock) = lock();
        let held = lock.write().expect("free");
        assert!(lock.try_write().expect("no error").is_none());
        // A POSIX lock would be released by this.
        std::fs::read(lock.path()).expect("readable");
        assert!(lock.try_write().expect("no error").is_none());
        drop(held);
        assert!(lock.try_write().expect("no error").is_some());
    }

    #[test]
    fn tree_readers_share() {
        let (_dir, lock) = lock();
        let first = lock.read().expect("free");
        let _second = lock.read().expect("shared");
        assert!(lock.try_write().expect("no error").is_none());
        drop(first);
    }

    #[test]
    fn tree_tokens_are_64_bytes_and_never_repeat() {
        let (_dir, lock) = lock();
        let guard = lock.write().expect("free");
        assert_eq!(guard.token().expect("read"), Token(Vec::new()));
        let one = guard.touch().expect("written");
        assert_eq!(guard.token().expect("read"), one);
        let two = guard.touch().expect("written");
        assert_ne!(one, two);
        assert_eq!(std::fs::metadata(lock.path()).expect("there").len(), 64);
        assert_eq!(&two.0[16..20], std::process::id().to_le_bytes());
    }
}
