//! Upper dir → published diff dir. (work in progress: signatures)
use std::io::Write;

use rootfs::Root;

use crate::diff::{DiffError, DiffOptions, DiffSummary};

/// Clones `upper` into the empty directory `into` and writes its tar and tar-split, reading each
/// file once. `into` ends up as [`seal_in_place`] would make it; `upper` is not changed.
pub fn seal_copy(
    upper: &Root,
    lowers: &[Root],
    into: &Root,
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary, DiffError> {
    let _ = (upper, lowers, into, out, tar_split, options);
    todo!()
}

/// Makes `upper` exactly what its tar says, which it writes with its tar-split: sockets, excluded
/// paths and overlay's own xattrs but meaningful opaque marks go, mtimes are set as asked. The
/// top's own mode and owner are the caller's to set (as the parent diff's).
pub fn seal_in_place(
    upper: &Root,
    lowers: &[Root],
    out: impl Write + Send,
    tar_split: impl Write + Send,
    options: &DiffOptions,
) -> Result<DiffSummary, DiffError> {
    let _ = (upper, lowers, out, tar_split, options);
    todo!()
}
