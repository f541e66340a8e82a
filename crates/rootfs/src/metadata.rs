//! What `lstat` says about a file, in our own words.

use rustix::fs::{Stat, Timespec};

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device; device 0:0 is an overlay whiteout.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Who owns a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
}

impl Owner {
    /// 0:0.
    pub const ROOT: Owner = Owner { uid: 0, gid: 0 };
}

/// The number of a device file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// A point in time: seconds since 1970 UTC, and nanoseconds to add (below 10⁹).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// What to add, in nanoseconds.
    pub nanoseconds: u32,
}

impl Time {
    /// A whole second.
    pub fn from_seconds(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 0 }
    }

    pub(crate) fn to_timespec(self) -> Timespec {
        Timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) as _ }
    }
}

/// Type, owner, mode and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// Bytes of a file, or of a symlink's text.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last read.
    pub atime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// The number, if it is a device file.
    pub rdev: Device,
    /// Names this inode has.
    pub nlink: u64,
    /// The inode's number on [`Metadata::device`].
    pub inode: u64,
    /// The file system it is on.
    pub device: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
}

impl Metadata {
    #[allow(clippy::unnecessary_cast, reason = "the kernel's types differ from one architecture to another")]
    pub(crate) fn from_stat(stat: &Stat) -> Metadata {
        use rustix::fs::FileType as Raw;
        let file_type = match Raw::from_raw_mode(stat.st_mode) {
            Raw::Directory => FileType::Directory,
            Raw::Symlink => FileType::Symlink,
            Raw::CharacterDevice => FileType::CharDevice,
            Raw::BlockDevice => FileType::BlockDevice,
            Raw::Fifo => FileType::Fifo,
            Raw::Socket => FileType::Socket,
            _ => FileType::File,
        };
        Metadata {
            file_type,
            mode: stat.st_mode & 0o7777,
            owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            atime: time(stat.st_atime as i64, stat.st_atime_nsec as i64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            rdev: Device { major: rustix::fs::major(stat.st_rdev as _), minor: rustix::fs::minor(stat.st_rdev as _) },
            nlink: stat.st_nlink as u64,
            inode: stat.st_ino as u64,
            device: stat.st_dev as u64,
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// Whether it marks a deletion in an overlay upper dir: character device 0:0, whatever its
    /// link count.
    pub fn is_whiteout(&self) -> bool {
        self.file_type == FileType::CharDevice && self.rdev == Device::default()
    }

    /// Whether fewer blocks are allocated than the size needs, so that there may be holes.
    pub fn may_have_holes(&self) -> bool {
        self.is_file() && self.blocks.saturating_mul(512) < self.size
    }
}

fn time(seconds: i64, nanoseconds: i64) -> Time {
    Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0).min(999_999_999) }
}
