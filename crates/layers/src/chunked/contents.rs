//! The table of contents: JSON, an entry for each entry of the tar, and one more for each further
//! chunk of a file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use oci::Digest;
use rootfs::Time;
use serde::Serialize;
use tar::EntryType;

use super::frames::{Chunk, Content};
use crate::tar_read::ReadEntry;

/// An entry of the tar.
pub(super) struct Entry {
    line: Line,
    /// What the file holds; `None` for what has no content.
    pub content: Option<Content>,
}

/// What the table says of an entry or of a chunk.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(rename = "accesstime", skip_serializing_if = "Option::is_none")]
    atime: Option<Timestamp>,
    #[serde(rename = "changetime", skip_serializing_if = "Option::is_none")]
    ctime: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    end_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Entry {
    /// The entry `read`; its content comes later. The error says what JSON cannot hold.
    pub fn new(read: &ReadEntry) -> Result<Entry, &'static str> {
        const NOT_UTF8: &str = "zstd:chunked cannot describe a name that is not UTF-8: use zstd";
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| NOT_UTF8);
        let attribute = |(name, value): &(std::ffi::OsString, Vec<u8>)| {
            Ok::<_, &str>((name.to_str().ok_or(NOT_UTF8)?.to_owned(), STANDARD.encode(value)))
        };
        let time = |time: Time| {
            Timestamp::new(time.seconds, time.nanoseconds as i32).map_err(|_| "a time that is beyond the year 9999")
        };
        let line = Line {
            kind: kind(read.kind),
            name: text(&read.name)?,
            link_name: text(&read.link)?,
            mode: read.raw_mode,
            size: read.size,
            uid: read.owner.uid.into(),
            gid: read.owner.gid.into(),
            mtime: Some(time(read.mtime)?),
            atime: read.atime.map(time).transpose()?,
            ctime: read.ctime.map(time).transpose()?,
            dev_major: read.device.major.into(),
            dev_minor: read.device.minor.into(),
            xattrs: read.xattrs.iter().map(attribute).collect::<Result<_, _>>()?,
            ..Line::default()
        };
        Ok(Entry { line, content: None })
    }
}

fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hardlink",
        EntryType::Symlink => "symlink",
        EntryType::Char => "char",
        EntryType::Block => "block",
        EntryType::Directory => "dir",
        EntryType::Fifo => "fifo",
        _ => "reg",
    }
}

/// Writes the table, compressed, into memory: some 40 bytes a file.
pub(super) struct ContentsWriter {
    out: zstd::stream::write::Encoder<'static, Vec<u8>>,
    len: u64,
    line: Vec<u8>,
    is_first: bool,
}

impl ContentsWriter {
    pub fn new(out: zstd::stream::write::Encoder<'static, Vec<u8>>) -> io::Result<ContentsWriter> {
        let mut writer = ContentsWriter { out, len: 0, line: Vec::new(), is_first: true };
        writer.put(br#"{"version":1,"entries":["#)?;
        Ok(writer)
    }

    pub fn add(&mut self, Entry { mut line, content }: Entry) -> io::Result<()> {
        let Some(content) = content else { return self.line(&line) };
        line.digest = Some(content.digest);
        line.end_offset = content.end;
        match content.chunks.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => {
                let line = of_chunk(line, first);
                self.line(&line)?;
                for chunk in rest {
                    let name = line.name.clone();
                    self.line(&of_chunk(Line { kind: "chunk", name, ..Line::default() }, chunk))?;
                }
                Ok(())
            }
            chunks => {
                line.offset = chunks.first().map_or(0, |chunk| chunk.offset);
                self.line(&line)
            }
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.line);
        text.clear();
        if !std::mem::take(&mut self.is_first) {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, line)?;
        self.put(&text)?;
        self.line = text;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// The compressed table and its uncompressed length; `tar_split` is the digest of what is written
    /// beside it.
    pub fn finish(mut self, tar_split: &Digest) -> io::Result<(Vec<u8>, u64)> {
        self.put(format!(r#"],"tarSplitDigest":"{tar_split}"}}"#).as_bytes())?;
        Ok((self.out.finish()?, self.len))
    }
}

fn of_chunk(line: Line, chunk: &Chunk) -> Line {
    Line {
        offset: chunk.offset,
        chunk_size: chunk.size,
        chunk_offset: chunk.file_offset,
        chunk_digest: Some(chunk.digest.clone()),
        ..line
    }
}
