//! Extended attributes of one name in an open directory, never through a symlink.
//!
//! The kernel's `l*xattr` calls take a path. `/proc/self/fd/<n>/<name>` with a single component
//! after a directory descriptor is such a path: only the last component could be a symlink, and
//! these calls do not follow it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};
use rustix::io::Errno;

type Result<T> = rustix::io::Result<T>;

/// The kernel's largest value or list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const LARGEST: usize = 65536;
/// Enough for nearly every file.
const USUAL: usize = 512;

fn path(dir: BorrowedFd<'_>, name: &OsStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}

/// Names of the attributes, in the order of their bytes; none where there is no support.
pub(crate) fn list(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Vec<OsString>> {
    let path = path(dir, name);
    let bytes = match grow(|buffer| llistxattr(path.as_slice(), buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names: Vec<OsString> =
        bytes.split(|b| *b == 0).filter(|n| !n.is_empty()).map(|n| OsString::from_vec(n.to_vec())).collect();
    names.sort_unstable();
    Ok(names)
}

/// The value of one attribute; `None` if it is not set or not supported.
pub(crate) fn get(dir: BorrowedFd<'_>, name: &OsStr, key: &OsStr) -> Result<Option<Vec<u8>>> {
    let path = path(dir, name);
    match grow(|buffer| lgetxattr(path.as_slice(), key, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn set(dir: BorrowedFd<'_>, name: &OsStr, key: &OsStr, value: &[u8]) -> Result<()> {
    lsetxattr(path(dir, name), key, value, XattrFlags::empty())
}

/// Removes an attribute; that there is none is no error.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &OsStr, key: &OsStr) -> Result<()> {
    match lremovexattr(path(dir, name), key) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

fn grow(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut small = [0; USUAL];
    match call(&mut small) {
        Ok(n) => Ok(small.get(..n).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let n = call(&mut large)?;
            large.truncate(n);
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}
