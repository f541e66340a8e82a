//! What the tests of this crate share: a tree as text, so that two can be compared and the
//! difference read.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use layers::{ApplyOptions, ApplySummary, DiffOptions, DiffSummary, TarSplitReader};
use rootfs::{Event, FileType, Next, Root};

/// Every entry below `dir`: type, mode, owner, mtime, device, content, attributes, and the first
/// name of the inode if it has several.
pub fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    snapshot_with(dir, true)
}

/// Like [`snapshot`]; times of whiteouts and of directories can be left out.
pub fn snapshot_with(dir: &Path, dir_times: bool) -> BTreeMap<String, String> {
    let root = Root::open(dir).expect("open");
    let mut first = BTreeMap::new();
    let mut lines = BTreeMap::new();
    rootfs::walk::<rootfs::Error>(&root, |event| {
        let Event::Entry(entry) = event else { return Ok(Next::Descend) };
        let m = entry.metadata;
        let path = entry.path.as_os_str().as_bytes().escape_ascii().to_string();
        let mut line = format!("{:?} {:o} {}:{}", m.file_type, m.mode, m.owner.uid, m.owner.gid);
        if !m.is_whiteout() && (dir_times || !m.is_dir()) {
            line += &format!(" {}.{:09}", m.mtime.seconds, m.mtime.nanoseconds);
        }
        match m.file_type {
            FileType::File => {
                let mut bytes = Vec::new();
                entry.dir.open_file(entry.name)?.read_to_end(&mut bytes).expect("read");
                line += &format!(" {} {}", bytes.len(), oci::Digest::of(&bytes));
            }
            FileType::Symlink => line += &format!(" -> {:?}", entry.dir.read_link(entry.name)?),
            FileType::CharDevice | FileType::BlockDevice => line += &format!(" {}:{}", m.rdev.major, m.rdev.minor),
            _ => {}
        }
        for (key, value) in entry.dir.xattrs(entry.name)? {
            line += &format!(" {key:?}={}", value.escape_ascii());
        }
        if m.nlink > 1 && !m.is_dir() && !m.is_whiteout() {
            let name = first.entry((m.device, m.inode)).or_insert_with(|| path.clone());
            line += &format!(" same as {name}");
        }
        lines.insert(path, line);
        Ok(Next::Descend)
    })
    .expect("walk");
    lines
}

/// Compares two snapshots and shows only what differs.
pub fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    let mut difference = String::new();
    for path in left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>() {
        if left.get(path) != right.get(path) {
            difference += &format!("{path}\n  - {:?}\n  + {:?}\n", left.get(path), right.get(path));
        }
    }
    assert!(difference.is_empty(), "trees differ:\n{difference}");
}

/// Tar, tar-split and summary of an upper dir.
pub fn diff(dir: &Path, options: &DiffOptions) -> (Vec<u8>, Vec<u8>, DiffSummary) {
    let (mut tar, mut split) = (Vec::new(), Vec::new());
    let upper = Root::open(dir).expect("open");
    let summary = layers::diff(&upper, &[], &mut tar, &mut split, options).expect("diff");
    assert_eq!(summary.diff_id.0, oci::Digest::of(&tar));
    assert_eq!(summary.size, tar.len() as u64);
    (tar, split, summary)
}

/// Unpacks into a new directory and gives tar-split and summary.
pub fn apply(tar: &[u8], dir: &Path) -> Result<(Vec<u8>, ApplySummary), layers::ApplyError> {
    let mut split = Vec::new();
    let summary = layers::apply(tar, &Root::open(dir).expect("open"), &mut split, &ApplyOptions::default())?;
    assert_eq!(summary.diff_id.0, oci::Digest::of(tar));
    assert_eq!(summary.size, tar.len() as u64);
    Ok((split, summary))
}

/// The tar from tar-split and the diff dir.
pub fn reassemble(split: &[u8], dir: &Path) -> io::Result<Vec<u8>> {
    let root = Root::open(dir).expect("open");
    let mut tar = Vec::new();
    TarSplitReader::new(split)
        .reassemble(|name: &OsStr| Ok(root.open_file_following(Path::new(name))?))
        .read_to_end(&mut tar)?;
    Ok(tar)
}

/// Unpacks a foreign tar and puts it together again; both must work, and give the same bytes.
pub fn assert_reproduced(tar: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    let (split, _) = apply(tar, dir.path()).expect("apply");
    let again = reassemble(&split, dir.path()).expect("reassemble");
    assert!(again == tar, "{} bytes became {}", tar.len(), again.len());
    dir
}
