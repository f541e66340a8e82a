//! Directory ⇄ layer blob: the tar stream of an overlay upper dir, and a directory from a tar.
//!
//! [`diff()`] and [`apply()`] are twins. Both stream, with memory that does not depend on the
//! layer's size; both give the diff ID and write *tar-split*, the record from which the exact tar
//! comes back later ([`TarSplitReader`]). [`seal_copy`] and [`seal_in_place`] make of a working
//! container's upper dir what a published layer must be.
//!
//! ```text
//! upper dir ──diff──▶ tar ──compression──▶ blob        blob ──Decompressor──▶ tar ──apply──▶ diff dir
//!               └──▶ tar-split                                                       └──▶ tar-split
//! diff dir + tar-split ──TarSplitReader::reassemble──▶ the same tar, byte for byte
//! ```
#![forbid(unsafe_code)]

pub mod apply; // tar → directory
pub mod chunked; // tar → zstd:chunked
pub mod compare; // two trees ⇄ diff dir
pub mod compression; // none, gzip, zstd; read: bzip2 and xz too
pub mod content; // what two layers have in common apart from times
pub mod diff; // upper dir → tar
mod pax; // the records of a PAX header
mod pipeline; // one thread makes the tar, another hashes and writes it
mod read_ahead; // read and hash on a thread of its own
pub mod seal; // upper dir → published diff dir
mod tar_read; // a tar, entry by entry
pub mod tar_split; // how to get the same tar again
mod tar_write; // an entry → its header blocks
mod whiteout; // `.wh.` names ⇄ overlay marks

pub use apply::{ApplyError, ApplyOptions, ApplySummary, apply, unpack, unpack_as, unpack_untrusted};
pub use chunked::{ContentsPlace, compress_chunked};
pub use compare::{compare, lay_over};
pub use compression::{Compression, Compressor, Decompressor};
pub use content::ContentDigest;
pub use diff::{DiffError, DiffOptions, DiffSummary, Mtimes, diff};
pub use seal::{clean, copy, seal_copy, seal_in_place};
pub use tar_read::{TarError, is_tar_header};
pub use tar_split::{TarSplitError, TarSplitReader, TarSplitWriter};
pub use whiteout::is_opaque;
