//! What a reader of zstd:chunked finds.

use std::io::Read;

use serde_json::Value;
use tar::{EntryType, Header};

use super::*;

/// Bytes without a pattern.
fn noise(len: usize, mut state: u32) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o4644 });
        header.set_uid(7);
        header.set_mtime(1_000_000_000);
        header.set_entry_type(if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        tar.append_pax_extensions([("SCHILY.xattr.user.k", &b"v\n"[..])]).expect("memory");
        tar.append_data(&mut header, name, *data).expect("memory");
    }
    tar.into_inner().expect("memory")
}

fn chunked(tar: &[u8]) -> (Vec<u8>, ContentsPlace) {
    compress_chunked(tar, Vec::new(), None).expect("compresses")
}

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(bytes).expect("zstd")
}

fn range(blob: &[u8], [offset, len, _]: [u64; 3]) -> &[u8] {
    &blob[offset as usize..(offset + len) as usize]
}

fn contents(blob: &[u8], place: &ContentsPlace) -> Vec<Value> {
    let packed = range(blob, place.contents);
    assert_eq!(Digest::of(packed), place.digest);
    let text = unzstd(packed);
    assert_eq!(text.len() as u64, place.contents[2]);
    let value: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(value["version"], 1);
    assert_eq!(value["tarSplitDigest"], Digest::of(range(blob, place.tar_split)).to_string());
    value["entries"].as_array().expect("entries").clone()
}

/// What the frames of an entry and its chunks hold.
fn fetch(blob: &[u8], entries: &[Value], name: &str) -> Vec<u8> {
    let own: Vec<&Value> = entries.iter().filter(|entry| entry["name"] == name).collect();
    let end = own[0]["endOffset"].as_u64().expect("an end");
    let starts = own.iter().map(|entry| entry["offset"].as_u64().expect("offset")).chain([end]).collect::<Vec<_>>();
    let mut data = Vec::new();
    for (pair, entry) in starts.windows(2).zip(&own) {
        let chunk = unzstd(&blob[pair[0] as usize..pair[1] as usize]);
        if own.len() > 1 {
            assert_eq!(entry["chunkOffset"].as_u64().unwrap_or(0), data.len() as u64);
            assert_eq!(entry["chunkSize"], chunk.len());
            assert_eq!(entry["chunkDigest"], Digest::of(&chunk).to_string());
        }
        data.extend(chunk);
    }
    assert_eq!(own[0]["digest"], Digest::of(&data).to_string());
    data
}

#[test]
fn pure_each_file_can_be_fetched_alone_and_all_of_it_is_zstd() {
    let large = noise(700_000, 1);
    let huge = vec![0; MAX_TEST_BLOCK + 5];
    let tar = tar_of(&[("d/", b""), ("d/small", b"hello"), ("d/large", &large), ("d/empty", b""), ("d/huge", &huge)]);
    let (blob, place) = chunked(&tar);
    assert!(unzstd(&blob) == tar, "the skippable frames are skipped");
    let entries = contents(&blob, &place);
    assert_eq!(fetch(&blob, &entries, "d/small"), b"hello");
    assert!(fetch(&blob, &entries, "d/large") == large);
    assert!(fetch(&blob, &entries, "d/huge") == huge);
    assert!(entries.iter().filter(|entry| entry["name"] == "d/large").count() > 3, "large files are cut");
    assert_eq!(entries.iter().filter(|entry| entry["name"] == "d/huge").count(), 2, "blocks have an end");
    assert_eq!(
        entries[0],
        serde_json::json!({"type": "dir", "name": "d/", "mode": 0o755, "uid": 7, "modtime": "2001-09-09T01:46:40Z",
                           "xattrs": {"user.k": "dgo="}})
    );
    assert_eq!((&entries[1]["mode"], &entries[1]["size"]), (&Value::from(0o4644), &Value::from(5)));
    let empty = entries.iter().find(|entry| entry["name"] == "d/empty").expect("listed");
    assert!(empty.get("digest").is_none() && empty.get("offset").is_none(), "{empty}");
}

/// Where a block is cut that nothing else cuts.
const MAX_TEST_BLOCK: usize = 4 * 1024 * 1024;

#[test]
fn pure_the_footer_and_the_annotations_say_where_all_is() {
    let tar = tar_of(&[("f", b"content")]);
    let (blob, place) = chunked(&tar);
    let footer: Vec<u64> = blob[blob.len() - 64..blob.len() - 8]
        .chunks(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight")))
        .collect();
    let [c, s] = [place.contents, place.tar_split];
    assert_eq!(footer, [c[0], c[1], c[2], 1, s[0], s[1], s[2]]);
    assert!(blob.ends_with(b"GNUlInUx"));
    let annotations = place.annotations();
    assert_eq!(annotations[0].1, place.digest.to_string());
    assert_eq!(annotations[1].1, format!("{}:{}:{}:1", c[0], c[1], c[2]));
    assert_eq!(annotations[2].1, format!("{}:{}:{}", s[0], s[1], s[2]));
    assert_eq!(place.to_string().parse(), Ok(place.clone()));
    assert_eq!("sha256:x,1".parse::<ContentsPlace>(), Err(()));
    // tar-split is that of the tar.
    let split = unzstd(range(&blob, place.tar_split));
    assert_eq!(split.len() as u64, s[2]);
    let mut gzipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzipped.write_all(&split).expect("memory");
    let gzipped = gzipped.finish().expect("memory");
    let mut back = Vec::new();
    let files = |_: &std::ffi::OsStr| Ok(&b"content"[..]);
    crate::TarSplitReader::new(&*gzipped).reassemble(files).read_to_end(&mut back).expect("fits");
    assert!(back == tar);
}

#[test]
fn pure_what_moves_in_a_file_stays_the_same_chunk() {
    let data = noise(900_000, 2);
    let moved = [b"something before ".as_slice(), &data].concat();
    let digests = |data: &[u8]| {
        let (blob, place) = chunked(&tar_of(&[("f", data)]));
        let chunks = contents(&blob, &place);
        chunks.iter().map(|entry| entry["chunkDigest"].as_str().expect("chunks").to_owned()).collect::<Vec<_>>()
    };
    let (before, after) = (digests(&data), digests(&moved));
    assert!(before.len() > 4);
    assert_eq!(before[1..], after[1..]);
    assert_ne!(before[0], after[0]);
}

#[test]
fn pure_the_bytes_follow_from_the_tar_and_the_level() {
    let tar = tar_of(&[("a", &noise(300_000, 3)), ("b", &[1; 5000])]);
    let one = chunked(&tar);
    /// Gives a byte or seven at a time.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min(7);
            self.0.read(&mut buf[..n])
        }
    }
    assert!(compress_chunked(Slow(&tar), Vec::new(), None).expect("compresses") == one);
    assert!(compress_chunked(&*tar, Vec::new(), Some(3)).expect("compresses") == one);
    assert!(compress_chunked(&*tar, Vec::new(), Some(19)).expect("compresses").0 != one.0);
}

#[test]
fn pure_what_the_format_cannot_describe_is_refused() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.as_gnu_mut().expect("GNU").name[..2].copy_from_slice(b"\xffx");
    header.set_cksum();
    tar.append(&header, &b"x"[..]).expect("memory");
    let error = compress_chunked(&*tar.into_inner().expect("memory"), Vec::new(), None).expect_err("not UTF-8");
    assert!(error.to_string().contains("entry 1") && error.to_string().contains("not UTF-8"), "{error}");

    let mut tar = tar::Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_size(512 * 2);
    header.set_mode(0o644);
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "holes")];
    tar.append_pax_extensions(
        sparse.map(|(key, value)| (key, value.as_bytes())).into_iter().chain([("GNU.sparse.realsize", &b"9000"[..])]),
    )
    .expect("memory");
    let mut data = b"1\n8488\n512\n".to_vec();
    data.resize(1024, b'x');
    tar.append_data(&mut header, "GNUSparseFile.0/holes", &*data).expect("memory");
    let error = compress_chunked(&*tar.into_inner().expect("memory"), Vec::new(), None).expect_err("sparse");
    assert!(error.to_string().contains("holes") && error.to_string().contains("sparse"), "{error}");

    let error = compress_chunked(&b"no tar"[..], Vec::new(), None).expect_err("no tar");
    assert!(error.to_string().contains("cut off"), "{error}");
}
