//! A stream becomes a directory, or is a Dockerfile.

use std::io::{Cursor, Read};
use std::path::Path;

use layers::{Compression, Decompressor};
use rootfs::Root;

use super::{ContextError, FILE_LIMIT};

/// An archive is no longer than this many bytes once it is decompressed.
const ARCHIVE_LIMIT: u64 = 64 << 30;
/// Bytes of a tar's header.
const HEADER: u64 = 512;

/// Unpacks `stream` into `dir` if it is a tar, plain or compressed; otherwise gives the Dockerfile
/// that it is.
pub(super) fn unpack(name: &str, stream: impl Read + Send, dir: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    let failed = |reason: String| ContextError::Stream { name: name.to_owned(), reason };
    let mut stream = Decompressor::new(stream).map_err(|error| failed(error.to_string()))?;
    let mut start = Vec::new();
    (&mut stream).take(HEADER).read_to_end(&mut start).map_err(|error| failed(error.to_string()))?;
    if layers::is_tar_header(&start) {
        let whole = Cursor::new(start).chain(stream);
        layers::unpack_untrusted(whole, &Root::open(dir)?, ARCHIVE_LIMIT)
            .map_err(|source| ContextError::Unpack { name: name.to_owned(), source })?;
        return Ok(None);
    }
    if stream.compression() != Compression::None {
        return Err(failed("it is compressed, but no tar".to_owned()));
    }
    let mut text = start;
    let read = stream.take(FILE_LIMIT + 1).read_to_end(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    match text.len() as u64 {
        0 => Err(failed("it is empty: expected a tar or a Dockerfile".to_owned())),
        size if size > FILE_LIMIT => {
            Err(failed(format!("it is no tar, and as a Dockerfile longer than {} MiB", FILE_LIMIT >> 20)))
        }
        _ => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(kind: tar::EntryType, name: &str, link: &str) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        let mut tar = header.as_bytes().to_vec();
        tar.resize(3 * 512, 0);
        tar
    }

    #[test]
    fn tree_streams_are_told_apart_by_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |bytes: &[u8]| unpack("-", Cursor::new(bytes.to_vec()), dir.path());
        assert_eq!(run(b"FROM scratch\n").expect("a file").as_deref(), Some(&b"FROM scratch\n"[..]));
        assert!(run(&archive(tar::EntryType::Regular, "a", "")).expect("a tar").is_none());
        assert!(dir.path().join("a").is_file());
        assert!(run(b"").expect_err("nothing").to_string().contains("empty"));
        assert!(run(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn tree_hostile_archives_stay_inside_and_bring_no_devices() {
        let outer = tempfile::tempdir().expect("a directory");
        let dir = outer.path().join("in");
        std::fs::create_dir(&dir).expect("made");
        let run = |bytes: Vec<u8>| unpack("-", Cursor::new(bytes), &dir).map(drop).map_err(|error| error.to_string());
        for (kind, name, link) in [
            (tar::EntryType::Regular, "../out", ""),
            (tar::EntryType::Link, "hard", "../../etc/passwd"),
            (tar::EntryType::Char, "null", ""),
            (tar::EntryType::Block, "disk", ""),
        ] {
            assert!(run(archive(kind, name, link)).is_err(), "{name}");
        }
        let mut through = archive(tar::EntryType::Symlink, "up", "..");
        through.truncate(512);
        through.extend(archive(tar::EntryType::Regular, "up/out", ""));
        let _ = run(through);
        assert!(!outer.path().join("out").exists());
    }
}
