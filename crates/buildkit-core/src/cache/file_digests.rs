//! Digests of a context's files, remembered by stat: a file whose device, inode, size, mtime and
//! ctime are what they were has the content that it had, and is not read again.
//!
//! Any change of a file's content moves its ctime to the clock's time, in steps of the clock. So a
//! file is remembered only when the clock has moved on since its ctime: a change within the step
//! in which it was read could not be told.
//!
//! The memory of a context is one file, an array of fixed-size records: it is read once by a build
//! and replaced by rename, with what that build saw.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rootfs::{Dir, Metadata, Time};
use sha2::{Digest as _, Sha256};

use super::key::Key;
use crate::copy::is_carried_xattr;

/// BLAKE3 of a file's content and of the extended attributes that go into layers.
pub type FileDigest = [u8; 32];

/// First bytes of the file; the last one is the format's version.
const MAGIC: &[u8; 8] = b"gabfile\x02";
/// Bytes of a record: device, inode, size, mtime and ctime in nanoseconds, digest.
const RECORD: usize = 5 * 8 + 32;
/// A clock that stamps files moves at least this often: CONFIG_HZ is 100 or more.
const CLOCK_STEP: Duration = Duration::from_millis(20);
/// Bytes read at a time.
const CHUNK: usize = 128 << 10;

/// What stands for a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stat([i64; 5]);

impl Stat {
    fn of(metadata: &Metadata) -> Stat {
        let nanoseconds =
            |time: Time| time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into());
        Stat([
            metadata.device.cast_signed(),
            metadata.inode.cast_signed(),
            metadata.size.cast_signed(),
            nanoseconds(metadata.mtime),
            nanoseconds(metadata.ctime),
        ])
    }

    /// Whether a later change is sure to give another ctime.
    fn is_settled(&self, read_at: SystemTime) -> bool {
        let changed = u64::try_from(self.0[4]).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(changed) + CLOCK_STEP < read_at
    }
}

/// The digests of a context's files. May be asked from several threads at once.
#[derive(Debug)]
pub struct FileDigests {
    path: PathBuf,
    known: HashMap<Stat, FileDigest>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    digests: HashMap<Stat, FileDigest>,
    read: u64,
}

impl FileDigests {
    /// What is remembered of the context at `context`, below a store's private directory
    /// ([`store::Store::private_directory`]); nothing, if that cannot be read.
    pub fn open(private_directory: &Path, context: &Path) -> FileDigests {
        let name: String = Sha256::digest(context.as_os_str().as_encoded_bytes())
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        FileDigests::named(private_directory, &name)
    }

    /// The same of what a single step reads, which has a memory of its own: `step` tells it from others.
    pub fn of_step(private_directory: &Path, step: &Key) -> FileDigests {
        FileDigests::named(private_directory, step.as_str().get(..32).unwrap_or_default())
    }

    fn named(private_directory: &Path, name: &str) -> FileDigests {
        let path = private_directory.join("contexts").join(name);
        let known = fs::read(&path).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        if !known.is_empty() {
            // Only when it is pruned depends on it.
            let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        }
        FileDigests { path, known, seen: Mutex::default() }
    }

    /// The digest of the regular file `name` in `dir`, which is as `metadata` says; read only if it is
    /// not remembered.
    pub fn digest(&self, dir: &Dir, name: &OsStr, metadata: &Metadata) -> io::Result<FileDigest> {
        let read_at = SystemTime::now();
        let stat = Stat::of(metadata);
        if let Some(digest) = self.known.get(&stat) {
            self.seen().digests.insert(stat, *digest);
            return Ok(*digest);
        }
        let digest = read(dir, name)?;
        let now = Stat::of(&dir.metadata(name).map_err(io::Error::other)?);
        let mut seen = self.seen();
        seen.read += 1;
        // Changed while it was read, it is not what was read.
        if stat.is_settled(read_at) && now == stat {
            seen.digests.insert(stat, digest);
        }
        Ok(digest)
    }

    /// How many files were read.
    pub fn files_read(&self) -> u64 {
        self.seen().read
    }

    /// Remembers what was seen since [`FileDigests::open`], and forgets the rest. Writes nothing
    /// if that is what was remembered before.
    pub fn save(&self) -> io::Result<()> {
        let seen = self.seen();
        if seen.digests == self.known {
            return Ok(());
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut writer = BufWriter::new(tempfile::NamedTempFile::new_in(dir)?);
        writer.write_all(MAGIC)?;
        for (stat, digest) in &seen.digests {
            for number in stat.0 {
                writer.write_all(&number.to_le_bytes())?;
            }
            writer.write_all(digest)?;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Cut short by a power cut, it is no memory: nothing has to be synced.
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // A panic elsewhere leaves whole entries only.
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The digest of the regular file `name` in `dir`.
pub fn read(dir: &Dir, name: &OsStr) -> io::Result<FileDigest> {
    let mut file = dir.open_file(name).map_err(io::Error::other)?;
    let mut hasher = blake3::Hasher::new();
    for (key, value) in dir.xattrs(name).map_err(io::Error::other)? {
        if is_carried_xattr(&key) {
            for field in [key.as_bytes(), &value] {
                hasher.update(&(field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
        }
    }
    // No length is so: here the content begins.
    hasher.update(&u64::MAX.to_le_bytes());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => _ = hasher.update(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().into())
}

fn parse(bytes: &[u8]) -> Option<HashMap<Stat, FileDigest>> {
    let records = bytes.strip_prefix(MAGIC)?.chunks_exact(RECORD);
    if !records.remainder().is_empty() {
        return None;
    }
    let record = |record: &[u8]| {
        let (numbers, digest) = record.split_at_checked(RECORD - 32)?;
        let mut stat = [0; 5];
        for (number, bytes) in stat.iter_mut().zip(numbers.chunks_exact(8)) {
            *number = i64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some((Stat(stat), digest.try_into().ok()?))
    };
    records.map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootfs::Root;

    struct Context {
        dir: tempfile::TempDir,
    }

    impl Context {
        fn new() -> Context {
            Context { dir: tempfile::tempdir().expect("temp dir") }
        }

        fn open(&self) -> FileDigests {
            FileDigests::open(&self.dir.path().join("private"), self.dir.path())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Waits until the clock has moved on from the change of `name`.
        fn settle(&self, name: &str) {
            let stat = self.stat(name);
            while !stat.is_settled(SystemTime::now()) {
                std::thread::yield_now();
            }
        }

        fn digest(&self, digests: &FileDigests, name: &str) -> FileDigest {
            let root = Root::open(self.dir.path()).expect("opened");
            let metadata = root.metadata(name).expect("there");
            digests.digest(root.top(), OsStr::new(name), &metadata).expect("read")
        }

        fn stat(&self, name: &str) -> Stat {
            Stat::of(&Root::open(self.dir.path()).expect("opened").metadata(name).expect("there"))
        }
    }

    #[test]
    fn tree_unchanged_files_are_not_read_again() {
        let context = Context::new();
        fs::write(context.path("a"), "one").expect("written");
        fs::write(context.path("b"), "two").expect("written");
        context.settle("b");
        let first = context.open();
        let one = context.digest(&first, "a");
        let two = context.digest(&first, "b");
        assert!(one != two && first.files_read() == 2);
        first.save().expect("saved");

        // Same size, same mtime: the ctime tells.
        let times = fs::metadata(context.path("b")).expect("there").modified().expect("mtime");
        fs::write(context.path("b"), "six").expect("written");
        fs::File::options().write(true).open(context.path("b")).expect("opened").set_modified(times).expect("set");
        let second = context.open();
        assert_eq!(context.digest(&second, "a"), one);
        assert_eq!(second.files_read(), 0);
        assert_ne!(context.digest(&second, "b"), two);
        assert_eq!(second.files_read(), 1);
    }

    #[test]
    fn tree_a_file_changed_just_now_is_not_remembered() {
        let context = Context::new();
        let (first, mut rounds) = (context.open(), 0);
        // Read within the clock's step of its change, however slow the machine is.
        loop {
            fs::write(context.path("a"), format!("{rounds}")).expect("written");
            let before = SystemTime::now();
            context.digest(&first, "a");
            let stat = context.stat("a");
            rounds += 1;
            if !stat.is_settled(before) {
                assert!(!first.seen().digests.contains_key(&stat));
                break;
            }
            assert!(rounds < 1000, "never quick enough");
        }
    }

    #[test]
    fn tree_what_a_build_did_not_see_is_forgotten_and_damage_is_no_memory() {
        let context = Context::new();
        for name in ["a", "b"] {
            fs::write(context.path(name), name).expect("written");
        }
        context.settle("b");
        let first = context.open();
        context.digest(&first, "a");
        context.digest(&first, "b");
        first.save().expect("saved");
        let second = context.open();
        context.digest(&second, "a");
        second.save().expect("saved");
        assert_eq!(context.open().known.len(), 1);

        let path = second.path.clone();
        let whole = fs::read(&path).expect("there");
        assert_eq!(whole.len(), MAGIC.len() + RECORD);
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b""] {
            fs::write(&path, damaged).expect("written");
            assert!(context.open().known.is_empty());
        }
    }
}
