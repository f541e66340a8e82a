//! Sharing and skipping the data of files: reflinks and holes.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Makes `to` share all blocks of `from`; whether the file system could.
pub fn reflink(from: &File, to: &File) -> bool {
    ioctl_ficlone(to, from).is_ok()
}

/// The next stretch of data at or after `position` and before `size`; `None` if only a hole is
/// left. A file system that knows no holes gives the whole rest.
pub fn next_data(file: &File, position: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if position >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(position)) {
        Ok(start) if start >= size => return Ok(None),
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((position, size))),
        Err(errno) => return Err(errno.into()),
    };
    let end = seek(file, SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
    // A file that changes meanwhile must not make us stand still.
    Ok(Some((start, end.max(start + 1).min(size))))
}
