//! How much of the disk a tree takes up.

use std::collections::HashSet;
use std::path::Path;

use rootfs::{Event, Next, Root, walk};

/// Bytes of a block that `stat` counts.
const BLOCK: u64 = 512;

/// Bytes on the disk of all that is below `dir`, a file with several names counted once; none if
/// there is no such directory. What vanishes meanwhile is not counted.
pub(super) fn bytes_below(dir: &Path) -> Result<u64, rootfs::Error> {
    let root = match Root::open(dir) {
        Err(error) if error.is_not_found() => return Ok(0),
        root => root?,
    };
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let walked = walk(&root, |event| {
        if let Event::Entry(entry) = event {
            let metadata = entry.metadata;
            if metadata.is_dir() || metadata.nlink < 2 || seen.insert((metadata.device, metadata.inode)) {
                bytes += metadata.blocks * BLOCK;
            }
        }
        Ok::<_, rootfs::Error>(Next::Descend)
    });
    match walked {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(bytes),
    }
}
