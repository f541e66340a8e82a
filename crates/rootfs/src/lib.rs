//! Safe access to a directory tree that is not trusted: an image's root file system, a layer, a
//! build context.
//!
//! The idea: a [`Root`] is a descriptor of the tree's top. Every path given to it is resolved by
//! the kernel with that directory as `/` (`openat2` with `RESOLVE_IN_ROOT`), so neither `..` nor a
//! symlink, absolute or not, leads out, whatever another process does meanwhile. The last
//! component is never followed unless the method's name says so (`…_following`), and a symlink's
//! text is kept as it is. What is done to a file is done to a name in an open directory ([`Dir`]).
//!
//! ```no_run
//! # fn main() -> rootfs::Result<()> {
//! let root = rootfs::Root::open("/var/tmp/tree")?;
//! root.create_dir_all("etc/app", 0o755, rootfs::Owner::ROOT)?;
//! root.symlink("../../../outside", "etc/app/link")?; // fine: it stays text
//! assert!(root.open_file("etc/app/link").is_err()); // not followed
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod dir; // an open directory and the names in it
mod error; // which call failed on which path
mod file_data; // reflinks and holes
mod metadata; // type, owner, mode, times of a file
mod root; // paths resolved beneath a root
mod walk; // every entry below a directory, in byte order
mod xattr; // extended attributes of a name, never through a symlink

pub use dir::Dir;
pub use error::{Error, Result};
pub use file_data::{next_data, reflink};
pub use metadata::{Device, FileType, Metadata, Owner, Time};
pub use root::Root;
pub use walk::{Entry, Event, Next, walk, walk_below};
