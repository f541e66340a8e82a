//! zstd:chunked: a layer as zstd whose files can be fetched one by one.
//!
//! Every file, and every chunk of a large one, is a zstd frame of its own; what lies between them
//! (headers, padding) is in frames too, so that any reader of zstd sees the whole tar. Behind them
//! come skippable frames with a table of contents, with tar-split, and with where the two are:
//!
//! ```text
//! [headers][file][padding, headers][chunk][chunk]…[end] (contents) (tar-split) (footer)
//! ```
//!
//! Readers find the contents by annotations of the layer's descriptor ([`ContentsPlace`]) and fetch
//! what they lack with range requests. No standard describes the format; what is written here is
//! what the readers of containers/storage ask for.

mod contents; // the table: an entry a file
mod frames; // blocks of bytes → zstd frames
mod rolling; // where a large file is cut

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::str::FromStr;

use oci::Digest;

use crate::tar_read::{TarError, TarReader};
use crate::tar_split::TarSplitWriter;
use contents::{ContentsWriter, Entry};
use frames::Frames;

/// zstd's level if none is asked for.
const LEVEL: u32 = 3;
/// The kind of contents that are written, as the footer has it: those of CRFS.
const CONTENTS_KIND: u64 = 1;
/// How the footer ends.
const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";

/// Where in a blob its table of contents and tar-split are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsPlace {
    /// Of the compressed table of contents.
    pub digest: Digest,
    /// Of the table of contents in the blob: offset, length, length uncompressed.
    pub contents: [u64; 3],
    /// Of tar-split: likewise.
    pub tar_split: [u64; 3],
}

impl ContentsPlace {
    /// The annotations of the layer's descriptor by which readers find the contents.
    pub fn annotations(&self) -> [(&'static str, String); 3] {
        let position = |[offset, packed, unpacked]: [u64; 3]| format!("{offset}:{packed}:{unpacked}");
        [
            ("io.github.containers.zstd-chunked.manifest-checksum", self.digest.to_string()),
            (
                "io.github.containers.zstd-chunked.manifest-position",
                format!("{}:{CONTENTS_KIND}", position(self.contents)),
            ),
            ("io.github.containers.zstd-chunked.tarsplit-position", position(self.tar_split)),
        ]
    }
}

/// Compresses the uncompressed layer `tar` into `out`, as zstd:chunked. `level` is zstd's, 1–22
/// (default 3). The bytes depend on `tar` and `level` alone. Files that the format cannot describe
/// (sparse ones, names that are not UTF-8) are errors that carry a [`TarError`].
pub fn compress_chunked<W: Write>(tar: impl Read, out: W, level: Option<u32>) -> io::Result<(W, ContentsPlace)> {
    let level = i32::try_from(level.unwrap_or(LEVEL)).unwrap_or_default();
    let frames = Rc::new(RefCell::new(Frames::new(out, level)?));
    let seen = Seen { tar, frames: frames.clone() };
    let packed = |bytes| zstd::stream::write::Encoder::new(bytes, level);
    let mut contents = ContentsWriter::new(packed(Vec::new())?)?;
    let split = Counted { out: packed(Vec::new())?, count: 0 };
    let mut reader = TarReader::new(seen, Some(TarSplitWriter::new(split)));
    while let Some(read) = reader.next_entry().map_err(invalid)? {
        if read.is_sparse() {
            return Err(invalid(reader.invalid("zstd:chunked cannot describe a sparse file: use zstd")));
        }
        let mut entry = Entry::new(&read).map_err(|reason| invalid(reader.invalid(reason)))?;
        if read.size > 0 {
            frames.borrow_mut().begin_file()?;
            reader.read_content(&read, |_, _| Ok::<(), TarError>(())).map_err(invalid)?;
            entry.content = Some(frames.borrow_mut().end_file()?);
        }
        contents.add(entry)?;
    }
    let split = reader.finish().map_err(invalid)?.ok_or_else(|| io::Error::other("tar-split was not written"))?;
    let frames = Rc::into_inner(frames).ok_or_else(|| io::Error::other("the tar is still being read"))?;
    let tar_split = split.out.finish()?;
    let (contents, contents_len) = contents.finish(&Digest::of(&tar_split))?;
    write_end(frames.into_inner(), &contents, contents_len, &tar_split, split.count)
}

/// The skippable frames.
fn write_end<W: Write>(
    mut frames: Frames<W>,
    contents: &[u8],
    contents_len: u64,
    tar_split: &[u8],
    tar_split_len: u64,
) -> io::Result<(W, ContentsPlace)> {
    let place = ContentsPlace {
        digest: Digest::of(contents),
        contents: [frames.skippable(contents)?, contents.len() as u64, contents_len],
        tar_split: [frames.skippable(tar_split)?, tar_split.len() as u64, tar_split_len],
    };
    let numbers = place.contents.iter().chain([&CONTENTS_KIND]).chain(&place.tar_split);
    let mut footer: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
    footer.extend_from_slice(FOOTER_MAGIC);
    frames.skippable(&footer)?;
    Ok((frames.finish(), place))
}

/// As one word: digest and numbers with commas between them.
impl fmt::Display for ContentsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.digest)?;
        self.contents.iter().chain(&self.tar_split).try_for_each(|number| write!(f, ",{number}"))
    }
}

/// What is no such word is `()`.
impl FromStr for ContentsPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<ContentsPlace, ()> {
        let mut words = text.split(',');
        let digest = Digest::parse(words.next().ok_or(())?).map_err(drop)?;
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(drop)?;
        let [contents @ .., a, b, c] = numbers.as_slice() else { return Err(()) };
        Ok(ContentsPlace { digest, contents: contents.try_into().map_err(drop)?, tar_split: [*a, *b, *c] })
    }
}

fn invalid(error: TarError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The tar; what is read of it goes to the frames.
struct Seen<R, W: Write> {
    tar: R,
    frames: Rc<RefCell<Frames<W>>>,
}

impl<R: Read, W: Write> Read for Seen<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.tar.read(buf)?;
        self.frames.borrow_mut().write(buf.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buf)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
