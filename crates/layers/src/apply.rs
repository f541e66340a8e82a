//! Tar → directory: a layer into a diff dir of the overlay driver, or a plain archive into a tree.
//!
//! The tar is hostile until proven otherwise. Its names are cleaned and may not climb above the
//! top; every path is opened through [`Root`], so a symlink that the same tar made cannot lead
//! out; the last component is never followed. Symlinks keep their text.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oci::{DiffId, Digest};
use rootfs::{Device, Dir, FileType, Metadata, Owner, Root, Time};
use rustix::io::Errno;
use tar::EntryType;

use crate::read_ahead::with_read_ahead;
use crate::seal::system_time;
use crate::tar_read::{ReadEntry, TarError, TarReader};
use crate::tar_split::TarSplitWriter;
use crate::whiteout::{self, Meaning};

/// Directories on the way to an entry that the tar does not have.
const PARENT_MODE: u32 = 0o777;
/// The smallest run of zeros that becomes a hole, and what it is a multiple of: a few blocks of
/// any file system.
const HOLE: usize = 32 * 1024;

/// How to unpack a layer.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// In a user namespace: opaque marks become `user.overlay.opaque`, devices are skipped,
    /// attributes that may not be set are left out.
    pub userxattr: bool,
    /// Fail when the tar is longer than this many bytes.
    pub max_size: Option<u64>,
}

/// What unpacking found out about the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplySummary {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
    /// User IDs in its headers.
    pub uid_set: BTreeSet<u32>,
    /// Group IDs in its headers.
    pub gid_set: BTreeSet<u32>,
}

/// The user and group IDs in a tar.
type IdSets = (BTreeSet<u32>, BTreeSet<u32>);

/// Why a tar could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The tree could not be written.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// A file's content could not be written.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// Relative to the tree.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The stream is no tar, or not one that is accepted.
    #[error(transparent)]
    Tar(#[from] TarError),
}

/// Unpacks an uncompressed layer tar into `into`, an empty directory, as a diff dir of the overlay
/// driver: whiteouts become devices 0:0, opaque marks attributes; an entry for the top itself is
/// ignored. Writes tar-split (gzipped) to `tar_split` on the way. Reads `tar` to its end, trailing
/// bytes included, so the digest is that of all of it. After an error, what is in `into` is of no
/// use. Nothing is synced.
pub fn apply(
    tar: impl Read + Send,
    into: &Root,
    tar_split: impl Write + Send,
    options: &ApplyOptions,
) -> Result<ApplySummary, ApplyError> {
    let rules = Rules::Layer { userxattr: options.userxattr };
    let (result, digest, size) = with_read_ahead(tar, options.max_size, |input| {
        let split = TarSplitWriter::gzipped(tar_split);
        let (ids, split) = Applier::new(into, rules).run(TarReader::new(input, Some(split)))?;
        split.map(|split| split.finish()?.flush()).transpose().map_err(TarError::Write)?;
        Ok::<_, ApplyError>(ids)
    });
    let (uid_set, gid_set) = result?;
    Ok(ApplySummary { diff_id: DiffId(digest), size, uid_set, gid_set })
}

/// Unpacks an uncompressed archive into a tree that may hold something already: directories are
/// merged, anything else in the way is replaced. Owners and modes are the archive's; `.wh.` names
/// are ordinary ones. An entry for the top sets the owner and mode of `into` itself. Returns the digest and number of the bytes read.
pub fn unpack(tar: impl Read + Send, into: &Root) -> Result<(Digest, u64), ApplyError> {
    unpack_as(tar, into, None)
}

/// The same; everything that the archive brings belongs to `owner`, if there is one.
pub fn unpack_as(tar: impl Read + Send, into: &Root, owner: Option<Owner>) -> Result<(Digest, u64), ApplyError> {
    let (result, digest, size) = with_read_ahead(tar, None, |input| {
        let mut applier = Applier::new(into, Rules::Archive { devices: true });
        applier.owner = owner;
        applier.run(TarReader::<_, io::Sink>::new(input, None))
    });
    result.map(|_| (digest, size))
}

/// The same for an archive that may only bring files: devices are refused, and so is a tar longer
/// than `max_size` bytes.
pub fn unpack_untrusted(tar: impl Read + Send, into: &Root, max_size: u64) -> Result<(Digest, u64), ApplyError> {
    let (result, digest, size) = with_read_ahead(tar, Some(max_size), |input| {
        Applier::new(into, Rules::Archive { devices: false }).run(TarReader::<_, io::Sink>::new(input, None))
    });
    result.map(|_| (digest, size))
}

#[derive(Clone, Copy)]
enum Rules {
    Layer { userxattr: bool },
    Archive { devices: bool },
}

struct Applier<'a> {
    root: &'a Root,
    rules: Rules,
    /// Whose everything becomes.
    owner: Option<Owner>,
    /// The directory that the last entry was put in.
    last_dir: Option<(PathBuf, Dir)>,
    /// Directories, whose times are set when nothing is put into them any more.
    dir_times: Vec<(PathBuf, Time)>,
    /// Hashes of all names so far; two keyed ones, so that nobody can make them collide.
    names: HashSet<(u64, u64)>,
    keys: (RandomState, RandomState),
    uid_set: BTreeSet<u32>,
    gid_set: BTreeSet<u32>,
}

impl<'a> Applier<'a> {
    fn new(root: &'a Root, rules: Rules) -> Applier<'a> {
        Applier {
            root,
            rules,
            owner: None,
            last_dir: None,
            dir_times: Vec::new(),
            names: HashSet::new(),
            keys: (RandomState::new(), RandomState::new()),
            uid_set: BTreeSet::new(),
            gid_set: BTreeSet::new(),
        }
    }

    fn run<R: Read, W: Write>(mut self, mut reader: TarReader<R, W>) -> Result<(IdSets, Option<W>), ApplyError> {
        while let Some(mut entry) = reader.next_entry()? {
            entry.owner = self.owner.unwrap_or(entry.owner);
            self.uid_set.insert(entry.owner.uid);
            self.gid_set.insert(entry.owner.gid);
            let path = clean(&entry.name).ok_or_else(|| reader.invalid("its name leaves the root"))?;
            if path.as_os_str().is_empty() {
                // A layer's top is the store's; an archive's is where it is unpacked.
                if matches!(self.rules, Rules::Archive { .. }) && entry.kind == EntryType::Directory {
                    self.finish(self.root.top(), OsStr::new("."), &entry, None)?;
                    self.dir_times.push((path, entry.mtime));
                }
                continue;
            }
            self.entry(&path, &entry, &mut reader)?;
        }
        for (path, mtime) in std::mem::take(&mut self.dir_times).into_iter().rev() {
            let (dir, name) = self.root.locate(&path)?;
            if dir.metadata_if_exists(&name)?.is_some_and(|metadata| metadata.is_dir()) {
                dir.set_times(&name, mtime, mtime)?;
            }
        }
        let split = reader.finish()?;
        Ok(((self.uid_set, self.gid_set), split))
    }

    fn entry<R: Read, W: Write>(
        &mut self,
        path: &Path,
        entry: &ReadEntry,
        reader: &mut TarReader<R, W>,
    ) -> Result<(), ApplyError> {
        let name = path.file_name().unwrap_or_default();
        if let Rules::Layer { userxattr } = self.rules {
            // tar-split finds contents by name, so the same name twice could not be put together.
            let key = (self.keys.0.hash_one(path), self.keys.1.hash_one(path));
            if !self.names.insert(key) {
                return Err(reader.invalid("the same name twice").into());
            }
            match whiteout::meaning(name) {
                Meaning::Plain => {}
                Meaning::Invalid => return Err(reader.invalid("a whiteout of no name").into()),
                Meaning::Whiteout(deleted) => return self.whiteout(path, deleted, entry, userxattr),
                Meaning::Opaque => return self.opaque(path, userxattr),
            }
            let is_device = matches!(entry.kind, EntryType::Char | EntryType::Block);
            if is_device && userxattr {
                return Ok(());
            }
            if entry.kind == EntryType::Char && entry.device == Device::default() {
                return Err(reader.invalid("a character device 0:0, which overlay takes for a deletion").into());
            }
        }
        if matches!(self.rules, Rules::Archive { devices: false })
            && matches!(entry.kind, EntryType::Char | EntryType::Block)
        {
            return Err(reader.invalid("a device, which is not allowed here").into());
        }
        let dir = match self.parent(path)? {
            Some(dir) => dir,
            None => return Err(reader.invalid("its parent is not a directory").into()),
        };
        let existing = dir.metadata_if_exists(name)?;
        let mut opaque = false;
        if let Some(existing) = existing
            && !(existing.is_dir() && entry.kind == EntryType::Directory)
        {
            // A deletion of the same name in this layer: lower layers stay hidden (OCI image
            // specification: whiteouts apply to lower layers only).
            opaque = existing.is_whiteout() && matches!(self.rules, Rules::Layer { .. });
            if !opaque && matches!(self.rules, Rules::Layer { .. }) {
                // Only an alias (through a symlink) gets here, and what it replaced would be
                // missing when the tar is put together again.
                return Err(reader.invalid("it would replace what an earlier entry made").into());
            }
            if entry.kind == EntryType::Link && self.is_same_link(entry, existing)? {
                self.last_dir = Some((path.parent().unwrap_or(Path::new("")).to_owned(), dir));
                return Ok(());
            }
            dir.remove_all(name)?;
            self.last_dir = None;
        }
        match entry.kind {
            EntryType::Directory => {
                if !existing.is_some_and(|existing| existing.is_dir()) {
                    dir.create_dir(name, 0o700)?;
                }
                self.finish(&dir, name, entry, None)?;
                if let (true, Rules::Layer { userxattr }) = (opaque, self.rules) {
                    dir.set_xattr(name, whiteout::opaque_xattr(userxattr), whiteout::OPAQUE_VALUE)?;
                }
                self.dir_times.push((path.to_owned(), entry.mtime));
            }
            EntryType::Symlink => {
                if entry.link.is_empty() {
                    return Err(reader.invalid("a symlink to nothing").into());
                }
                dir.symlink(OsStr::from_bytes(&entry.link), name)?;
                self.finish(&dir, name, entry, None)?;
            }
            EntryType::Link => {
                let target = clean(&entry.link).filter(|target| !target.as_os_str().is_empty());
                let target = target.ok_or_else(|| reader.invalid("a hard link that leaves the root"))?;
                let (from, target_name) = self.root.locate(&target)?;
                let Some(linked) = from.metadata_if_exists(&target_name)?.filter(|linked| !linked.is_dir()) else {
                    return Err(reader.invalid(format!("a hard link to {target:?}, which is no file here")).into());
                };
                dir.hardlink(&from, &target_name, name)?;
                self.finish(&dir, name, entry, Some(linked))?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let file_type = match entry.kind {
                    EntryType::Char => FileType::CharDevice,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                dir.mknod(name, file_type, 0, entry.device)?;
                self.finish(&dir, name, entry, None)?;
            }
            _ => self.file(&dir, path, entry, reader)?,
        }
        self.last_dir = Some((path.parent().unwrap_or(Path::new("")).to_owned(), dir));
        Ok(())
    }

    fn file<R: Read, W: Write>(
        &self,
        dir: &Dir,
        path: &Path,
        entry: &ReadEntry,
        reader: &mut TarReader<R, W>,
    ) -> Result<(), ApplyError> {
        let name = path.file_name().unwrap_or_default();
        let file = dir.create_file(name, 0o600)?;
        let error = |source| ApplyError::Write { path: path.to_owned(), source };
        let mut end = 0;
        reader.read_content(entry, |offset, bytes| {
            end = write_keeping_holes(&file, offset, bytes, end).map_err(error)?;
            Ok::<(), ApplyError>(())
        })?;
        if end < entry.size {
            file.set_len(entry.size).map_err(error)?;
        }
        std::os::unix::fs::fchown(&file, Some(entry.owner.uid), Some(entry.owner.gid)).map_err(error)?;
        file.set_permissions(Permissions::from_mode(entry.mode)).map_err(error)?;
        self.set_xattrs(dir, name, entry)?;
        let times = FileTimes::new().set_modified(system_time(entry.mtime)).set_accessed(system_time(atime(entry)));
        file.set_times(times).map_err(error)
    }

    /// Owner, mode, attributes and times; a change of owner takes setuid bits and capabilities
    /// away, so it comes first, and is left out on a hard link that has the owner already.
    fn finish(&self, dir: &Dir, name: &OsStr, entry: &ReadEntry, linked: Option<Metadata>) -> Result<(), ApplyError> {
        if linked.is_none_or(|linked| linked.owner != entry.owner) {
            dir.set_owner(name, entry.owner)?;
        }
        let is_symlink = entry.kind == EntryType::Symlink || linked.is_some_and(|linked| linked.is_symlink());
        if !is_symlink && linked.is_none_or(|linked| linked.owner != entry.owner || linked.mode != entry.mode) {
            dir.set_mode(name, entry.mode)?;
        }
        self.set_xattrs(dir, name, entry)?;
        Ok(dir.set_times(name, atime(entry), entry.mtime)?)
    }

    fn set_xattrs(&self, dir: &Dir, name: &OsStr, entry: &ReadEntry) -> Result<(), ApplyError> {
        let in_userns = matches!(self.rules, Rules::Layer { userxattr: true });
        for (key, value) in &entry.xattrs {
            // Overlay's own would spoof deletions and redirect; labels are the host's business.
            if whiteout::is_overlay_xattr(key) || key == "security.selinux" {
                continue;
            }
            match dir.set_xattr(name, key, value) {
                Err(error) if error.errno() == Errno::NOTSUP => {}
                Err(error) if in_userns && error.errno() == Errno::PERM => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn whiteout(&mut self, path: &Path, deleted: &OsStr, entry: &ReadEntry, userxattr: bool) -> Result<(), ApplyError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = match self.open_or_create(parent) {
            Ok(dir) => dir,
            // What it is in has been deleted itself.
            Err(error) if error.errno() == Errno::NOTDIR => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match dir.metadata_if_exists(deleted)? {
            None => {
                dir.mknod(deleted, FileType::CharDevice, 0, Device::default())?;
                dir.set_owner(deleted, entry.owner)?;
            }
            // The same layer has it too: only what is below is hidden.
            Some(metadata) if metadata.is_dir() => {
                dir.set_xattr(deleted, whiteout::opaque_xattr(userxattr), whiteout::OPAQUE_VALUE)?;
            }
            Some(_) => {}
        }
        self.last_dir = Some((parent.to_owned(), dir));
        Ok(())
    }

    fn opaque(&mut self, path: &Path, userxattr: bool) -> Result<(), ApplyError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = match self.open_or_create(parent) {
            Ok(dir) => dir,
            Err(error) if error.errno() == Errno::NOTDIR => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        dir.set_xattr(".", whiteout::opaque_xattr(userxattr), whiteout::OPAQUE_VALUE)?;
        self.last_dir = Some((parent.to_owned(), dir));
        Ok(())
    }

    /// The directory of a path, created if need be; `None` if something else is in the way.
    fn parent(&mut self, path: &Path) -> Result<Option<Dir>, ApplyError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.open_or_create(parent) {
            Ok(dir) => return Ok(Some(dir)),
            Err(error) if error.errno() != Errno::NOTDIR => return Err(error.into()),
            Err(_) => {}
        }
        match self.rules {
            Rules::Layer { userxattr } if self.revive(parent, userxattr)? => Ok(Some(self.open_or_create(parent)?)),
            _ => Ok(None),
        }
    }

    fn open_or_create(&mut self, parent: &Path) -> rootfs::Result<Dir> {
        if let Some((last, dir)) = self.last_dir.take()
            && last == parent
        {
            return Ok(dir);
        }
        match self.root.open_dir_following(parent) {
            Err(error) if error.errno() == Errno::NOENT => {
                self.root.create_dir_all(parent, self.parent_mode(), Owner::ROOT)?;
                self.root.open_dir_following(parent)
            }
            other => other,
        }
    }

    fn parent_mode(&self) -> u32 {
        match self.rules {
            Rules::Layer { .. } => PARENT_MODE,
            Rules::Archive { .. } => 0o755,
        }
    }

    /// A directory on the way was deleted by this layer and now gets something new: it becomes an
    /// opaque directory. Whether there was such a one.
    fn revive(&self, parent: &Path, userxattr: bool) -> Result<bool, ApplyError> {
        let resolved = self.root.resolve(parent)?;
        let mut path = PathBuf::new();
        for name in resolved.iter() {
            path.push(name);
            let Some(metadata) = self.root.metadata_if_exists(&path)? else { break };
            if metadata.is_whiteout() {
                self.root.remove_all(&path)?;
                self.root.create_dir(&path, PARENT_MODE, Owner::ROOT)?;
                self.root.set_xattr(&path, whiteout::opaque_xattr(userxattr), whiteout::OPAQUE_VALUE)?;
                return Ok(true);
            }
            if !metadata.is_dir() {
                break;
            }
        }
        Ok(false)
    }

    /// A hard link to itself by way of an alias: removing the old name would lose the file.
    fn is_same_link(&self, entry: &ReadEntry, existing: Metadata) -> Result<bool, ApplyError> {
        let Some(target) = clean(&entry.link) else { return Ok(false) };
        let target = self.root.metadata_if_exists(target)?;
        Ok(target.is_some_and(|target| (target.device, target.inode) == (existing.device, existing.inode)))
    }
}

/// Access must not seem older than the change.
fn atime(entry: &ReadEntry) -> Time {
    entry.atime.map_or(entry.mtime, |atime| atime.max(entry.mtime))
}

/// A name of a tar as a relative path without `.`, `..` and empty components; empty for the top,
/// `None` if it leaves the root.
fn clean(name: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if !path.pop() {
                    return None;
                }
            }
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

/// Writes `bytes` at `offset` but for long runs of zeros; returns how far the file now reaches,
/// which was `end` before.
fn write_keeping_holes(file: &File, offset: u64, bytes: &[u8], end: u64) -> io::Result<u64> {
    let mut reach = end;
    let mut data_start = None;
    let mut at = 0;
    for piece in bytes.chunks(HOLE) {
        let hole = piece.len() == HOLE && is_zero(piece);
        match (hole, data_start) {
            (true, Some(start)) => {
                file.write_all_at(bytes.get(start..at).unwrap_or_default(), offset + start as u64)?;
                reach = offset + at as u64;
                data_start = None;
            }
            (false, None) => data_start = Some(at),
            _ => {}
        }
        at += piece.len();
    }
    if let Some(start) = data_start {
        file.write_all_at(bytes.get(start..).unwrap_or_default(), offset + start as u64)?;
        reach = offset + bytes.len() as u64;
    }
    Ok(reach)
}

fn is_zero(bytes: &[u8]) -> bool {
    // The first bytes decide nearly always.
    bytes.iter().take(16).all(|b| *b == 0) && bytes.chunks(512).all(|chunk| chunk.iter().fold(0, |all, b| all | b) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_names_are_cleaned_and_stay_inside() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(clean(name.as_bytes()), expected.map(PathBuf::from), "{name}");
        };
        for top in ["", ".", "./", "/", "//.", "a/..", "./a/b/../../"] {
            check(top, Some(""));
        }
        check("./a//b/./c/", Some("a/b/c"));
        check("/etc/passwd", Some("etc/passwd"));
        check("a/../b", Some("b"));
        for out in ["..", "../a", "a/../../b", "/..", "./../x"] {
            check(out, None);
        }
    }
}
