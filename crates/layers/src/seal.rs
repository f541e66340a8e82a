//! Upper dir → the diff dir of a published layer, which holds exactly what its tar says.
//!
//! Two ways with one result: a copy, when the working container goes on, and in place, when it
//! ends and its upper dir is to be renamed. Both are done on the walk that makes the tar, so each
//! file is read once.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rootfs::{Device, Dir, Entry, FileType, Root, Time};

use crate::diff::{self, DiffError, DiffOptions, DiffSummary};
use crate::tar_write::TarEntry;
use crate::whiteout;

type Result<T> = std::result::Result<T, DiffError>;

/// Clones `upper` into the empty directory `into` and writes its tar and tar-split, reading each
/// file once (blocks are shared where the file system can). `into` ends up as [`seal_in_place`]
/// would make it; `upper` is not changed. Nothing is synced. The top's own mode and owner are the
/// caller's to set.
pub fn seal_copy(
    upper: &Root,
    lowers: &[Root],
    into: &Root,
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary> {
    let copy = Copy::into_empty(into);
    diff::produce(upper, lowers, out, tar_split, options, Target::Copy(copy))
}

/// Makes `upper` exactly what its tar says, which it writes with its tar-split: sockets, excluded
/// paths, ACLs and overlay's own attributes but meaningful opaque marks go, mtimes are set as
/// asked. The top's own mode and owner are the caller's to set (as the parent diff's). It must not
/// be mounted. After an error it may be half done; doing it again is right.
pub fn seal_in_place(
    upper: &Root,
    lowers: &[Root],
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary> {
    let seen = InPlace { changed: HashSet::new(), userxattr: options.userxattr };
    diff::produce(upper, lowers, out, tar_split, options, Target::InPlace(seen))
}

/// Does to `upper` what [`seal_in_place`] does, without reading a file or writing a tar: then
/// [`crate::diff()`] gives the same summary, whenever there is time for it. A layer that is clean
/// can be mounted as a lower dir meanwhile.
pub fn clean(upper: &Root, lowers: &[Root], options: &DiffOptions) -> Result<()> {
    let seen = InPlace { changed: HashSet::new(), userxattr: options.userxattr };
    diff::walk(upper, lowers, options, Target::InPlace(seen))
}

/// Clones `upper`, which is clean, into the empty directory `into`: [`seal_copy`] without a tar.
pub fn copy(upper: &Root, into: &Root) -> Result<()> {
    let copy = Copy::into_empty(into);
    diff::walk(upper, &[], &DiffOptions::default(), Target::Copy(copy))
}

/// What happens to the tree besides the tar.
pub(crate) enum Target<'a> {
    /// Nothing.
    Nothing,
    /// A clone is made.
    Copy(Copy<'a>),
    /// The upper dir itself is cleaned.
    InPlace(InPlace),
}

pub(crate) struct Copy<'a> {
    into: &'a Root,
    /// The directory the last entry went to.
    last_dir: Option<(PathBuf, Dir)>,
    /// Until the file system has refused.
    reflink: bool,
    /// Whether `into` is a tree that the upper dir is laid over, with marks of deletion obeyed, not kept.
    over: bool,
}

pub(crate) struct InPlace {
    /// Directories from which something was removed, so that their mtime has to be put back.
    changed: HashSet<PathBuf>,
    userxattr: bool,
}

/// A file of the copy, open for writing.
pub(crate) struct NewFile {
    pub file: File,
    /// False if it shares the original's blocks already.
    pub needs_data: bool,
}

impl<'a> Copy<'a> {
    /// Into an empty directory.
    pub fn into_empty(into: &'a Root) -> Copy<'a> {
        Copy { into, last_dir: None, reflink: true, over: false }
    }

    /// Over what `tree` has.
    pub fn over(tree: &'a Root) -> Copy<'a> {
        Copy { into: tree, last_dir: None, reflink: true, over: true }
    }

    /// Removes what is in the way of an entry. Of a directory in the way of one that is not opaque only
    /// the attributes go: then says that it is there.
    fn make_room(&mut self, entry: &Entry<'_>, opaque: bool) -> Result<bool> {
        if !self.over {
            return Ok(false);
        }
        let dir = self.dir_of(entry.path)?;
        let merges = entry.metadata.is_dir()
            && !opaque
            && dir.metadata_if_exists(entry.name)?.is_some_and(|there| there.is_dir());
        if merges {
            for key in dir.xattr_names(entry.name)?.iter().filter(|key| whiteout::is_carried_xattr(key)) {
                dir.remove_xattr(entry.name, key)?;
            }
        } else {
            dir.remove_all(entry.name)?;
        }
        Ok(merges)
    }

    fn dir_of(&mut self, path: &Path) -> rootfs::Result<&Dir> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = match self.last_dir.take() {
            Some((last, dir)) if last == parent => dir,
            _ => self.into.open_dir(parent)?,
        };
        Ok(&self.last_dir.insert((parent.to_owned(), dir)).1)
    }

    /// Owner, attributes, mode and times of what is not a file; in this order, because a change of
    /// owner takes setuid bits and capabilities away.
    fn finish(&mut self, entry: &Entry<'_>, header: &TarEntry) -> Result<()> {
        let dir = self.dir_of(entry.path)?;
        dir.set_owner(entry.name, header.owner)?;
        for (key, value) in &header.xattrs {
            dir.set_xattr(entry.name, key, value)?;
        }
        if !entry.metadata.is_symlink() {
            dir.set_mode(entry.name, header.mode)?;
        }
        Ok(dir.set_times(entry.name, header.mtime, header.mtime)?)
    }
}

impl Target<'_> {
    /// A socket or an excluded path, which is not in the tar.
    pub fn leave_out(&mut self, entry: &Entry<'_>) -> Result<()> {
        if let Target::InPlace(state) = self {
            entry.dir.remove_all(entry.name)?;
            state.changed.insert(entry.path.parent().unwrap_or(Path::new("")).to_owned());
        }
        Ok(())
    }

    pub fn whiteout(&mut self, entry: &Entry<'_>) -> Result<()> {
        if let Target::Copy(copy) = self {
            copy.make_room(entry, false)?;
            if copy.over {
                return Ok(());
            }
            let dir = copy.dir_of(entry.path)?;
            dir.mknod(entry.name, FileType::CharDevice, 0, Device::default())?;
            dir.set_owner(entry.name, entry.metadata.owner)?;
        }
        Ok(())
    }

    pub fn hardlink(&mut self, entry: &Entry<'_>, first: &Path) -> Result<()> {
        if let Target::Copy(copy) = self {
            copy.make_room(entry, false)?;
            copy.into.hardlink(first, entry.path)?;
        }
        Ok(())
    }

    /// The file that is to get the content of `original`, if one is wanted.
    pub fn create_file(&mut self, entry: &Entry<'_>, original: &File) -> Result<Option<NewFile>> {
        let Target::Copy(copy) = self else { return Ok(None) };
        copy.make_room(entry, false)?;
        let mut reflink = copy.reflink;
        let file = copy.dir_of(entry.path)?.create_file(entry.name, 0o600)?;
        let needs_data = entry.metadata.size > 0
            && !(reflink && {
                reflink = rootfs::reflink(original, &file);
                reflink
            });
        copy.reflink = reflink;
        Ok(Some(NewFile { file, needs_data }))
    }

    /// The content is complete: owner, attributes, mode and times.
    pub fn finish_file(&mut self, entry: &Entry<'_>, copy: Option<NewFile>, header: &TarEntry) -> Result<()> {
        match (self, copy) {
            (Target::Copy(state), Some(NewFile { file, .. })) => {
                let error = |source: io::Error| DiffError::Copy { path: entry.path.to_owned(), source };
                let (uid, gid) = (header.owner.uid, header.owner.gid);
                std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(error)?;
                if !header.xattrs.is_empty() {
                    let dir = state.dir_of(entry.path)?;
                    for (key, value) in &header.xattrs {
                        dir.set_xattr(entry.name, key, value)?;
                    }
                }
                file.set_permissions(Permissions::from_mode(header.mode & 0o7777)).map_err(error)?;
                let mtime = system_time(header.mtime);
                file.set_times(FileTimes::new().set_accessed(mtime).set_modified(mtime)).map_err(error)
            }
            (Target::InPlace(_), _) => set_mtime(entry, header.mtime),
            _ => Ok(()),
        }
    }

    pub fn symlink(&mut self, entry: &Entry<'_>, text: &OsStr, header: &TarEntry) -> Result<()> {
        match self {
            Target::Nothing => Ok(()),
            Target::Copy(copy) => {
                copy.make_room(entry, false)?;
                copy.dir_of(entry.path)?.symlink(text, entry.name)?;
                copy.finish(entry, header)
            }
            Target::InPlace(_) => set_mtime(entry, header.mtime),
        }
    }

    pub fn node(&mut self, entry: &Entry<'_>, header: &TarEntry) -> Result<()> {
        match self {
            Target::Nothing => Ok(()),
            Target::Copy(copy) => {
                copy.make_room(entry, false)?;
                let dir = copy.dir_of(entry.path)?;
                dir.mknod(entry.name, entry.metadata.file_type, 0, entry.metadata.rdev)?;
                copy.finish(entry, header)
            }
            Target::InPlace(_) => set_mtime(entry, header.mtime),
        }
    }

    /// A directory begins; `opaque` is `Some(userxattr)` if it hides something.
    pub fn enter_dir(&mut self, entry: &Entry<'_>, header: &TarEntry, opaque: Option<bool>) -> Result<()> {
        match self {
            Target::Nothing => {}
            Target::Copy(copy) => {
                if !copy.make_room(entry, opaque.is_some())? {
                    copy.dir_of(entry.path)?.create_dir(entry.name, 0o700)?;
                }
                copy.finish(entry, header)?;
                if let Some(userxattr) = opaque.filter(|_| !copy.over) {
                    let key = whiteout::opaque_xattr(userxattr);
                    copy.dir_of(entry.path)?.set_xattr(entry.name, key, whiteout::OPAQUE_VALUE)?;
                }
            }
            Target::InPlace(state) => {
                if opaque.is_none() {
                    entry.dir.remove_xattr(entry.name, whiteout::opaque_xattr(state.userxattr))?;
                }
            }
        }
        Ok(())
    }

    /// All that is in a directory has been written.
    pub fn leave_dir(&mut self, entry: &Entry<'_>, mtime: Time) -> Result<()> {
        match self {
            Target::Nothing => Ok(()),
            Target::Copy(copy) => Ok(copy.dir_of(entry.path)?.set_times(entry.name, mtime, mtime)?),
            Target::InPlace(state) => {
                if state.changed.remove(entry.path) {
                    entry.dir.set_times(entry.name, entry.metadata.atime, mtime)?;
                    return Ok(());
                }
                set_mtime(entry, mtime)
            }
        }
    }

    /// Attributes that are not in the tar. The copy never had them.
    pub fn drop_xattrs(&mut self, entry: &Entry<'_>, keys: &[OsString]) -> Result<()> {
        if let Target::InPlace(state) = self {
            // Whether an opaque mark stays was settled when the directory was entered.
            let opaque = whiteout::opaque_xattr(state.userxattr);
            for key in keys.iter().filter(|key| *key != opaque || !entry.metadata.is_dir()) {
                entry.dir.remove_xattr(entry.name, key)?;
            }
        }
        Ok(())
    }

    /// The walk is over; the top is left.
    pub fn finish(&mut self, upper: &Root) -> Result<()> {
        if let Target::InPlace(_) = self {
            for key in upper.top().xattr_names(".")? {
                if whiteout::is_overlay_xattr(&key) {
                    upper.top().remove_xattr(".", &key)?;
                }
            }
        }
        Ok(())
    }
}

fn set_mtime(entry: &Entry<'_>, mtime: Time) -> Result<()> {
    if mtime != entry.metadata.mtime {
        entry.dir.set_times(entry.name, entry.metadata.atime, mtime)?;
    }
    Ok(())
}

/// The nearest that std can say.
pub(crate) fn system_time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let second = if time.seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    let exact = second.and_then(|second| second.checked_add(Duration::from_nanos(u64::from(time.nanoseconds))));
    exact.unwrap_or(epoch)
}
