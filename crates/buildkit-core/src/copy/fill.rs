//! Contents of files, copied on threads beside the walk that makes the files.
//!
//! ```text
//! walk: make a.txt ─┬─ make b.txt ─┬─ make c.txt …
//!                   └─▶ fill a.txt └─▶ fill b.txt   up to WAITING of them behind the walk
//! ```

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};
use rootfs::{Metadata, Owner, Time};
use rustix::fs::{Timespec, Timestamps};

use super::CopyError;

/// Bytes copied at once.
const BUFFER: usize = 256 * 1024;

/// Files that have been made and not filled, at most.
const WAITING: usize = 64;

/// Threads that fill, at most.
const THREADS: usize = 4;

/// A file that has just been made, and what it is to become like.
pub(super) struct NewFile {
    pub from: File,
    pub to: File,
    /// Its path, for errors.
    pub path: PathBuf,
    /// What is known of the original.
    pub metadata: Metadata,
    pub owner: Owner,
    pub mode: u32,
    pub mtime: Time,
}

/// The digest of a file's content, known once the file is filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Content(Arc<OnceLock<[u8; 32]>>);

impl Content {
    /// The digest, if it is known.
    pub fn digest(&self) -> Option<&[u8; 32]> {
        self.0.get()
    }

    /// The digest, once it is known. After an error it says nothing.
    pub fn wait(&self) -> &[u8; 32] {
        self.0.wait()
    }
}

/// The threads that fill files. They begin with the first file.
pub(super) struct Fillers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    waiting: Option<Sender<Filling>>,
    failure: &'scope Mutex<Option<CopyError>>,
}

/// Does `action`, and waits until the files that it makes are filled.
pub(super) fn with_fillers<T>(
    action: impl FnOnce(&mut Fillers<'_, '_>) -> Result<T, CopyError>,
) -> Result<T, CopyError> {
    let failure = Mutex::new(None);
    let result = std::thread::scope(|scope| action(&mut Fillers { scope, waiting: None, failure: &failure }));
    match take(&failure) {
        Some(error) => Err(error),
        None => result,
    }
}

fn take(failure: &Mutex<Option<CopyError>>) -> Option<CopyError> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Fillers<'_, '_> {
    /// Has the file filled.
    ///
    /// # Errors
    /// Of this file or an earlier one.
    pub fn fill(&mut self, file: NewFile) -> Result<Content, CopyError> {
        if let Some(error) = take(self.failure) {
            return Err(error);
        }
        let content = Content::default();
        let filling = Filling { file, content: content.clone() };
        let waiting = self.waiting.get_or_insert_with(|| {
            let (sender, receiver) = bounded(WAITING);
            let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
            for _ in 0..threads {
                let (receiver, failure) = (receiver.clone(), self.failure);
                self.scope.spawn(move || fill_all(&receiver, failure));
            }
            sender
        });
        // The threads end after this side; a file that is not taken has an error before it.
        let _ = waiting.send(filling);
        Ok(content)
    }
}

/// A file on its way to be filled. Whoever waits for its digest is not left waiting.
struct Filling {
    file: NewFile,
    content: Content,
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = self.content.0.set([0; 32]);
    }
}

fn fill_all(waiting: &Receiver<Filling>, failure: &Mutex<Option<CopyError>>) {
    let mut buffer = Vec::new();
    for filling in waiting {
        match filling.file.fill(&mut buffer) {
            Ok(digest) => _ = filling.content.0.set(digest),
            Err(error) => {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }
}

impl NewFile {
    /// Copies content, owner, mode and time; gives the digest of the content. Holes stay holes.
    pub fn fill(&self, buffer: &mut Vec<u8>) -> Result<[u8; 32], CopyError> {
        let digest = self.data(buffer)?;
        let write_error = |source| CopyError::Write { path: self.path.clone(), source };
        finish(&self.to, self.owner, self.mode, self.mtime).map_err(write_error)?;
        Ok(digest)
    }

    fn data(&self, buffer: &mut Vec<u8>) -> Result<[u8; 32], CopyError> {
        let size = self.metadata.size;
        let read_error = |source| CopyError::Read { path: self.path.clone(), source };
        let write_error = |source| CopyError::Write { path: self.path.clone(), source };
        let room = usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER);
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < size {
            let stretch = if self.metadata.may_have_holes() {
                rootfs::next_data(&self.from, at, size).map_err(read_error)?
            } else {
                Some((at, size))
            };
            let (start, end) = stretch.unwrap_or((size, size));
            zeros(&mut hasher, start - at);
            at = start;
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(BUFFER).min(buffer.len());
                let part = buffer.get_mut(..want).unwrap_or_default();
                let read = match self.from.read_at(part, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) => return Err(read_error(io::ErrorKind::UnexpectedEof.into())),
                    other => other.map_err(read_error)?,
                };
                let part = part.get(..read).unwrap_or_default();
                hasher.update(part);
                self.to.write_all_at(part, at).map_err(write_error)?;
                at += read as u64;
            }
        }
        if self.metadata.may_have_holes() {
            self.to.set_len(size).map_err(write_error)?;
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

fn zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    let zeros = [0; 4096];
    while count > 0 {
        let part = count.min(zeros.len() as u64);
        hasher.update(zeros.get(..part as usize).unwrap_or_default());
        count -= part;
    }
}

/// Gives a new file its owner, mode and time.
pub(super) fn finish(file: &File, owner: Owner, mode: u32, mtime: Time) -> io::Result<()> {
    let now = file.metadata()?;
    let is_owned = (now.uid(), now.gid()) == (owner.uid, owner.gid);
    if !is_owned {
        std::os::unix::fs::fchown(file, Some(owner.uid), Some(owner.gid))?;
    }
    // Second, as a change of owner takes setuid bits away.
    if !is_owned || now.mode() & 0o7777 != mode & 0o7777 {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use rootfs::Root;

    use super::*;

    fn new_file(root: &Root, from: &str, to: File) -> NewFile {
        NewFile {
            from: root.open_file(from).expect("opened"),
            to,
            path: from.into(),
            metadata: root.metadata(from).expect("there"),
            owner: root.metadata(from).expect("there").owner,
            mode: 0o4750,
            mtime: Time { seconds: -1, nanoseconds: 5 },
        }
    }

    #[test]
    fn tree_many_files_are_filled() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::open(dir.path()).expect("root");
        let text = |number: usize| number.to_string().repeat(number * 97);
        let digests = with_fillers(|fillers| {
            (0..4 * WAITING)
                .map(|number| {
                    let from = format!("from-{number}");
                    std::fs::write(dir.path().join(&from), text(number)).expect("written");
                    let to = File::create(dir.path().join(format!("to-{number}"))).expect("made");
                    fillers.fill(new_file(&root, &from, to))
                })
                .collect::<Result<Vec<_>, _>>()
        })
        .expect("filled");
        for (number, content) in digests.iter().enumerate() {
            let to = dir.path().join(format!("to-{number}"));
            assert_eq!(std::fs::read_to_string(&to).expect("read"), text(number));
            assert_eq!(content.digest(), Some(blake3::hash(text(number).as_bytes()).as_bytes()));
            let metadata = to.metadata().expect("there");
            assert_eq!((metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()), (0o4750, -1, 5));
        }
    }

    #[test]
    fn tree_a_file_that_cannot_be_filled_is_the_error() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::open(dir.path()).expect("root");
        std::fs::write(dir.path().join("from"), "text").expect("written");
        std::fs::write(dir.path().join("to"), "").expect("written");
        let error = with_fillers(|fillers| {
            let unwritable = File::open(dir.path().join("to")).expect("opened");
            let content = fillers.fill(new_file(&root, "from", unwritable))?;
            content.wait();
            Ok(())
        });
        assert!(matches!(error, Err(CopyError::Write { path, .. }) if path == std::path::Path::new("from")));
    }
}
