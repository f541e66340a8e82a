//! Which blobs layers of a store were compressed to when they were pushed, so that the next push
//! can ask for the blob before it makes it again.
//!
//! One small file a layer in the store's private directory, a line a blob. Nothing depends on it:
//! a file that is lost or cannot be read costs time only. What it says was computed here, not told
//! by a registry.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;

use oci::Digest;
use oci::media_type::Compression;
use store::Store;

use super::ReceivedBlob;

/// The word for zstd:chunked.
const CHUNKED: &str = "zstd:chunked";
/// More than this many bytes of a file are not read.
const MAX_FILE: u64 = 16 * 1024;

fn path(store: &Store, diff_id: &Digest) -> Option<PathBuf> {
    Some(store.private_directory().ok()?.join("blobs").join(diff_id.hex()))
}

/// The blobs that the layer with `diff_id` was compressed to, the latest first.
pub(super) fn of(store: &Store, diff_id: &Digest) -> Vec<ReceivedBlob> {
    let mut text = String::new();
    let file = path(store, diff_id).and_then(|path| File::open(path).ok());
    if file.is_none_or(|file| file.take(MAX_FILE).read_to_string(&mut text).is_err()) {
        return Vec::new();
    }
    text.lines().rev().filter_map(parse).collect()
}

/// Remembers that the layer with `diff_id` was compressed to `blob`.
pub(super) fn remember(store: &Store, diff_id: &Digest, blob: &ReceivedBlob) {
    if of(store, diff_id).contains(blob) {
        return;
    }
    let name = match blob.compression {
        Compression::None => return,
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::ZstdChunked => CHUNKED,
    };
    let Some(path) = path(store, diff_id) else { return };
    if let Some(parent) = path.parent() {
        // If it cannot be made, the file cannot be either.
        let _ = fs::create_dir_all(parent);
    }
    // One short write to the end: two pushes at once do not mix their lines.
    let mut line = format!("{name} {} {}", blob.size, blob.digest);
    if let Some(contents) = &blob.contents {
        line.push_str(&format!(" {contents}"));
    }
    line.push('\n');
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

fn parse(line: &str) -> Option<ReceivedBlob> {
    let mut words = line.split(' ');
    let compression = match words.next()? {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        CHUNKED => Compression::ZstdChunked,
        _ => return None,
    };
    let size = words.next()?.parse().ok()?;
    let digest = Digest::parse(words.next()?).ok()?;
    let contents = match compression {
        Compression::ZstdChunked => Some(words.next()?.parse().ok()?),
        _ => None,
    };
    Some(ReceivedBlob { digest, size, compression, contents })
}
