//! Overlay upper dir → tar: one walk of the upper dir alone.
//!
//! ```text
//! in the upper dir                    in the tar
//! character device 0:0 `x`            empty file `.wh.x`
//! opaque directory `d`                `d/`, then `d/.wh..wh..opq` if a lower dir shows something there
//! second name of an inode             hard link to the first
//! socket, excluded path               –
//! anything else                       itself, with owner, mode, mtime (ns), capabilities, user.*
//! ```
//!
//! Names come in the order of their bytes, directory by directory; headers hold nothing that
//! depends on the machine. The same upper dir gives the same tar everywhere.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use oci::DiffId;
use rootfs::{Entry, Event, FileType, Next, Root, Time};
use tar::EntryType;

use crate::content::ContentDigest;
use crate::pipeline::{self, Failure, Stopped, TarSink};
use crate::seal::Target;
use crate::tar_write::TarEntry;
use crate::whiteout;

/// Which modification times the tar carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mtimes {
    /// Those of the files, to the nanosecond.
    #[default]
    Keep,
    /// Those of the files, but none later than this.
    Clamp(Time),
    /// This one for all.
    Set(Time),
}

impl Mtimes {
    pub(crate) fn of(self, mtime: Time) -> Time {
        match self {
            Mtimes::Keep => mtime,
            Mtimes::Clamp(latest) => mtime.min(latest),
            Mtimes::Set(time) => time,
        }
    }
}

/// How to read an upper dir.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Modification times.
    pub mtimes: Mtimes,
    /// The upper dir was mounted with `userxattr`: opaque marks are `user.overlay.opaque`.
    pub userxattr: bool,
    /// Paths relative to the upper dir that stay out, with all below them: mount-point stubs.
    pub exclude: Vec<PathBuf>,
    /// When the step began that made the upper dir: asks for [`DiffSummary::content`].
    pub began: Option<Time>,
}

/// What a diff found out about the tar it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffSummary {
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
    /// User IDs in its headers.
    pub uid_set: BTreeSet<u32>,
    /// Group IDs in its headers.
    pub gid_set: BTreeSet<u32>,
    /// Digest of what the tar holds but for modification times since [`DiffOptions::began`]: the
    /// same for a step that did the same again.
    pub content: Option<ContentDigest>,
}

/// Why an upper dir could not become a tar.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The tree could not be read, or the copy of it not written.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// A file could not be read, or changed while it was.
    #[error("cannot read {path:?} for the layer: {source}")]
    Read {
        /// Relative to the upper dir.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file of the copy could not be written.
    #[error("cannot write {path:?} of the new layer: {source}")]
    Copy {
        /// Relative to the upper dir.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A tar cannot say what the file is.
    #[error("cannot put {path:?} into a layer: {reason}")]
    Unrepresentable {
        /// Relative to the upper dir.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The tar or tar-split could not be written.
    #[error("cannot write the layer: {0}")]
    Write(#[source] io::Error),
}

/// Writes the tar of `upper` to `out` and its tar-split (gzipped, as the store keeps it) to
/// `tar_split`. `lowers` are the diff dirs below, nearest first; they are looked at only where the
/// upper dir has an opaque mark. Nobody may write to `upper` meanwhile.
pub fn diff(
    upper: &Root,
    lowers: &[Root],
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary, DiffError> {
    produce(upper, lowers, out, tar_split, options, Target::Nothing)
}

/// The walk that [`diff`] and the functions of [`crate::seal`] share; `target` is done to besides.
pub(crate) fn produce(
    upper: &Root,
    lowers: &[Root],
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
    target: Target<'_>,
) -> Result<DiffSummary, DiffError> {
    let result = pipeline::run(out, tar_split, options.began, |sink| {
        let (exclude, links) = (excluded(options), HashMap::new());
        let mut producer = Producer { lowers, options, exclude, only: None, links, sink: Some(sink), target };
        match producer.run(upper) {
            Ok(()) => Ok(Ok(())),
            Err(Halt::Error(error)) => Ok(Err(error)),
            Err(Halt::Stopped) => Err(Stopped),
        }
    });
    result.map_err(|failure| match failure {
        Failure::Producer(error) => error,
        Failure::Output(error) => DiffError::Write(error),
    })
}

/// The same walk without a tar: only `target` is done, and no file is read but to be copied.
pub(crate) fn walk(upper: &Root, lowers: &[Root], options: &DiffOptions, target: Target<'_>) -> Result<(), DiffError> {
    walk_only(upper, lowers, None, options, target)
}

/// That walk over the entries `only`, among which are the directories that they are in.
pub(crate) fn walk_only(
    upper: &Root,
    lowers: &[Root],
    only: Option<&HashSet<PathBuf>>,
    options: &DiffOptions,
    target: Target<'_>,
) -> Result<(), DiffError> {
    let (exclude, links) = (excluded(options), HashMap::new());
    match (Producer { lowers, options, exclude, only, links, sink: None, target }).run(upper) {
        Err(Halt::Error(error)) => Err(error),
        // Nothing that could stop is at the other end.
        Ok(()) | Err(Halt::Stopped) => Ok(()),
    }
}

fn excluded(options: &DiffOptions) -> HashSet<PathBuf> {
    let normal = |path: &PathBuf| -> PathBuf {
        path.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect()
    };
    options.exclude.iter().map(normal).collect()
}

enum Halt {
    Stopped,
    Error(DiffError),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Halt {
        Halt::Stopped
    }
}

impl From<rootfs::Error> for Halt {
    fn from(error: rootfs::Error) -> Halt {
        Halt::Error(DiffError::Tree(error))
    }
}

impl From<DiffError> for Halt {
    fn from(error: DiffError) -> Halt {
        Halt::Error(error)
    }
}

struct Producer<'a> {
    lowers: &'a [Root],
    options: &'a DiffOptions,
    exclude: HashSet<PathBuf>,
    /// All entries that count, if not all do.
    only: Option<&'a HashSet<PathBuf>>,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    /// Where the tar goes, if one is made.
    sink: Option<&'a mut TarSink>,
    target: Target<'a>,
}

impl Producer<'_> {
    fn run(&mut self, upper: &Root) -> Result<(), Halt> {
        rootfs::walk(upper, |event| match event {
            Event::Entry(entry) => self.entry(&entry),
            Event::Leave(entry) => {
                let mtime = self.options.mtimes.of(entry.metadata.mtime);
                self.target.leave_dir(&entry, mtime)?;
                Ok(Next::Descend)
            }
        })?;
        Ok(self.target.finish(upper)?)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<Next, Halt> {
        let is_out = self.exclude.contains(entry.path) || self.only.is_some_and(|only| !only.contains(entry.path));
        if entry.metadata.file_type == FileType::Socket || is_out {
            self.target.leave_out(entry)?;
            return Ok(Next::Skip);
        }
        if whiteout::is_reserved(entry.name) {
            let reason = "names that begin with .wh. mark deletions there".to_owned();
            return Err(DiffError::Unrepresentable { path: entry.path.to_owned(), reason }.into());
        }
        if entry.metadata.is_whiteout() {
            let name = whiteout::whiteout_name(entry.name);
            self.mark(entry, entry.path.with_file_name(name), 0)?;
            self.target.whiteout(entry)?;
            return Ok(Next::Skip);
        }
        let attributes = Attributes::read(entry, self.options.userxattr)?;
        let mtime = self.options.mtimes.of(entry.metadata.mtime);
        let mut header = header(entry, mtime, attributes.carried);
        if let Some(first) = self.first_name(entry) {
            header.kind = EntryType::Link;
            header.link = first.as_os_str().as_bytes().to_vec();
            header.size = 0;
            self.send(entry, &header)?;
            self.target.hardlink(entry, &first)?;
            return Ok(Next::Descend);
        }
        match entry.metadata.file_type {
            FileType::File => {
                let file = entry.dir.open_file(entry.name)?;
                self.send(entry, &header)?;
                let copy = self.target.create_file(entry, &file)?;
                self.content(entry, &file, copy.as_ref().filter(|copy| copy.needs_data).map(|copy| &copy.file))?;
                self.target.finish_file(entry, copy, &header)?;
            }
            FileType::Symlink => {
                let text = entry.dir.read_link(entry.name)?;
                header.link = text.as_bytes().to_vec();
                self.send(entry, &header)?;
                self.target.symlink(entry, &text, &header)?;
            }
            FileType::Directory => {
                self.send(entry, &header)?;
                let opaque =
                    attributes.opaque && whiteout::visible_in(self.lowers, entry.path, self.options.userxattr)?;
                self.target.enter_dir(entry, &header, opaque.then_some(self.options.userxattr))?;
                if opaque {
                    let name = entry.path.join(OsStr::from_bytes(whiteout::OPAQUE_NAME));
                    self.mark(entry, name, entry.metadata.mode & 0o777)?;
                }
            }
            _ => {
                self.send(entry, &header)?;
                self.target.node(entry, &header)?;
            }
        }
        if !attributes.foreign.is_empty() {
            self.target.drop_xattrs(entry, &attributes.foreign)?;
        }
        Ok(Next::Descend)
    }

    /// The path that an inode with several names was already written under; else this becomes it.
    fn first_name(&mut self, entry: &Entry<'_>) -> Option<PathBuf> {
        if entry.metadata.is_dir() || entry.metadata.nlink < 2 {
            return None;
        }
        let key = (entry.metadata.device, entry.metadata.inode);
        match self.links.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(entry.path.to_owned());
                None
            }
        }
    }

    /// An empty file that means a deletion. Its time says nothing (overlay hard-links all its
    /// whiteouts to one inode), so it is zero and does not disturb the digest.
    fn mark(&mut self, entry: &Entry<'_>, path: PathBuf, mode: u32) -> Result<(), Halt> {
        let header = TarEntry {
            path: path.into_os_string().into_vec(),
            kind: EntryType::Regular,
            link: Vec::new(),
            mode,
            owner: entry.metadata.owner,
            size: 0,
            mtime: self.options.mtimes.of(Time::from_seconds(0)),
            device: rootfs::Device::default(),
            xattrs: Vec::new(),
        };
        self.send(entry, &header)
    }

    fn send(&mut self, entry: &Entry<'_>, header: &TarEntry) -> Result<(), Halt> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        sink.entry(header)?.map_err(|error| {
            Halt::Error(DiffError::Unrepresentable { path: entry.path.to_owned(), reason: error.to_string() })
        })
    }

    /// The file's bytes to the tar, and to `copy`; holes are not read and not written.
    fn content(&mut self, entry: &Entry<'_>, file: &File, copy: Option<&File>) -> Result<(), Halt> {
        let size = entry.metadata.size;
        let read_error = |source| Halt::Error(DiffError::Read { path: entry.path.to_owned(), source });
        let copy_error = |source| Halt::Error(DiffError::Copy { path: entry.path.to_owned(), source });
        let Some(sink) = &mut self.sink else {
            if let Some(mut copy) = copy {
                let mut file = file;
                io::copy(&mut file, &mut copy).map_err(copy_error)?;
            }
            return Ok(());
        };
        let mut at = 0;
        while at < size {
            let data = if entry.metadata.may_have_holes() {
                rootfs::next_data(file, at, size).map_err(read_error)?
            } else {
                Some((at, size))
            };
            let (start, end) = data.unwrap_or((size, size));
            sink.zeros(start - at)?;
            at = start;
            while at < end {
                let bytes = sink.content(end - at, |buffer| read_at(file, buffer, at))?.map_err(read_error)?;
                if let Some(copy) = copy {
                    copy.write_all_at(bytes, at).map_err(copy_error)?;
                }
                at += bytes.len() as u64;
            }
        }
        if let Some(copy) = copy.filter(|_| entry.metadata.may_have_holes()) {
            copy.set_len(size).map_err(copy_error)?;
        }
        Ok(sink.pad(size)?)
    }
}

/// Reads at least one byte, or fails: the header has promised them.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter meanwhile")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn header(entry: &Entry<'_>, mtime: Time, xattrs: Vec<(OsString, Vec<u8>)>) -> TarEntry {
    let metadata = &entry.metadata;
    let (kind, size) = match metadata.file_type {
        FileType::File | FileType::Socket => (EntryType::Regular, metadata.size),
        FileType::Directory => (EntryType::Directory, 0),
        FileType::Symlink => (EntryType::Symlink, 0),
        FileType::CharDevice => (EntryType::Char, 0),
        FileType::BlockDevice => (EntryType::Block, 0),
        FileType::Fifo => (EntryType::Fifo, 0),
    };
    let is_device = matches!(metadata.file_type, FileType::CharDevice | FileType::BlockDevice);
    TarEntry {
        path: entry.path.as_os_str().as_bytes().to_vec(),
        kind,
        link: Vec::new(),
        mode: metadata.mode,
        owner: metadata.owner,
        size,
        mtime,
        device: if is_device { metadata.rdev } else { rootfs::Device::default() },
        xattrs,
    }
}

/// A file's extended attributes, sorted into what becomes of them.
struct Attributes {
    /// In the tar: capabilities, IMA signatures, the user's own.
    carried: Vec<(OsString, Vec<u8>)>,
    /// Not in the tar, and not to be in a published dir.
    foreign: Vec<OsString>,
    /// An opaque directory.
    opaque: bool,
}

impl Attributes {
    fn read(entry: &Entry<'_>, userxattr: bool) -> Result<Attributes, Halt> {
        let mut attributes = Attributes { carried: Vec::new(), foreign: Vec::new(), opaque: false };
        for key in entry.dir.xattr_names(entry.name)? {
            let text = key.as_bytes();
            if whiteout::is_overlay_xattr(&key) {
                if text.ends_with(b".overlay.redirect") || text.ends_with(b".overlay.metacopy") {
                    let reason = "overlay moved it or copied its metadata only; \
                                  mount working containers with redirect_dir=off,metacopy=off";
                    let path = entry.path.to_owned();
                    return Err(DiffError::Unrepresentable { path, reason: reason.to_owned() }.into());
                }
                if key == whiteout::opaque_xattr(userxattr) && entry.metadata.is_dir() {
                    attributes.opaque = whiteout::is_opaque(entry.dir, entry.name, userxattr)?;
                }
                attributes.foreign.push(key);
            } else if whiteout::is_carried_xattr(&key) {
                if let Some(value) = entry.dir.xattr(entry.name, &key)? {
                    attributes.carried.push((key, value));
                }
            } else if text.starts_with(b"trusted.") || text.starts_with(b"system.posix_acl_") {
                attributes.foreign.push(key);
            }
        }
        Ok(attributes)
    }
}
