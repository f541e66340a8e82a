//! The data of one file into another: shared blocks where the file system can, else a copy that
//! keeps holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom as StdSeekFrom, Write};

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Bytes per call, and the size of the buffer where the kernel cannot copy by itself.
const CHUNK: usize = 256 * 1024;
const KERNEL_CHUNK: usize = 64 * 1024 * 1024;

/// Makes `to` share all blocks of `from`; whether the file system could.
pub fn reflink(from: &File, to: &File) -> bool {
    ioctl_ficlone(to, from).is_ok()
}

/// Makes `to`, an empty file, hold the first `size` bytes of `from`: by reflink, else by
/// `copy_file_range`, else by reading and writing. Holes stay holes.
pub fn copy_file_data(from: &File, to: &File, size: u64) -> io::Result<()> {
    if size == 0 || reflink(from, to) {
        return Ok(());
    }
    let mut position = 0;
    while let Some((start, end)) = next_data(from, position, size)? {
        copy_range(from, to, start, end)?;
        position = end;
    }
    ftruncate(to, size)?;
    Ok(())
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

fn copy_range(from: &File, to: &File, mut start: u64, end: u64) -> io::Result<()> {
    while start < end {
        let (mut offset_from, mut offset_to) = (start, start);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(KERNEL_CHUNK);
        match copy_file_range(from, Some(&mut offset_from), to, Some(&mut offset_to), length) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => start += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return read_and_write(from, to, start, end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn read_and_write(mut from: &File, mut to: &File, start: u64, end: u64) -> io::Result<()> {
    from.seek(StdSeekFrom::Start(start))?;
    to.seek(StdSeekFrom::Start(start))?;
    let mut buffer = vec![0; CHUNK];
    let mut rest = end - start;
    while rest > 0 {
        let length = usize::try_from(rest).unwrap_or(CHUNK).min(CHUNK);
        let Some(part) = buffer.get_mut(..length) else { break };
        from.read_exact(part)?;
        to.write_all(part)?;
        rest -= length as u64;
    }
    Ok(())
}
