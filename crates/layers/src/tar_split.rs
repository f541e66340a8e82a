//! tar-split: what is left of a tar when its files' contents are taken out, so that tar and diff
//! dir together take no more room than one of them (format: vbatts/tar-split, `store-format.md` §4.1).
//!
//! ```text
//! {"type":2,"payload":"<base64: header block>","position":0}
//! {"type":1,"name":"etc/hosts","size":12,"payload":"<base64: CRC-64/ISO, big-endian>","position":1}
//! {"type":2,"payload":"<base64: padding, next header>","position":2}
//! ```
//!
//! One JSON object a line, gzipped. Type 2 is raw bytes, type 1 an entry of the tar, whose content
//! (if it has a size) is that of the file `name` in the diff dir.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use flate2::Compression as GzipLevel;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// The largest line that is read: a segment holds the headers between two contents, and trailing
/// bytes of a foreign tar that some tool kept in one piece.
const MAX_LINE: u64 = 256 * 1024 * 1024;
/// Raw bytes kept back before a segment is written, so that it may hold several headers.
const SEGMENT: usize = 64 * 1024;

/// Tar-split that cannot be read, or that does not fit the files.
#[derive(Debug, thiserror::Error)]
pub enum TarSplitError {
    /// The record could not be read.
    #[error("cannot read tar-split: {0}")]
    Read(#[source] io::Error),
    /// A line is not what it must be.
    #[error("invalid tar-split at position {position}: {reason}")]
    Invalid {
        /// Of the line, from 0.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the diff dir could not be opened or read.
    #[error("cannot read {name:?} of the layer: {source}")]
    File {
        /// As the tar names it.
        name: OsString,
        /// What went wrong.
        source: io::Error,
    },
    /// A file of the diff dir is not what it was in the tar.
    #[error("file integrity checksum failed for {name:?}: it was changed after the layer was made")]
    Changed {
        /// As the tar names it.
        name: OsString,
    },
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    name: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    name_raw: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(default, borrow)]
    payload: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    position: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

const FILE: u8 = 1;
const SEGMENT_KIND: u8 = 2;

/// The CRC-64/ISO of a file's content, computed piece by piece.
pub struct ContentCrc(Crc);

impl Default for ContentCrc {
    fn default() -> ContentCrc {
        ContentCrc(Crc::new(CrcAlgorithm::Crc64GoIso))
    }
}

impl ContentCrc {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all bytes added.
    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }
}

/// Writes tar-split.
pub struct TarSplitWriter<W: Write> {
    out: W,
    position: u64,
    pending: Vec<u8>,
}

impl<W: Write> TarSplitWriter<GzEncoder<W>> {
    /// Writes it gzipped to `out`, which becomes a `<id>.tar-split.gz`.
    pub fn gzipped(out: W) -> TarSplitWriter<GzEncoder<W>> {
        TarSplitWriter::new(flate2::GzBuilder::new().operating_system(255).write(out, GzipLevel::fast()))
    }
}

impl<W: Write> TarSplitWriter<W> {
    /// Writes it to `out` as it is.
    pub fn new(out: W) -> TarSplitWriter<W> {
        TarSplitWriter { out, position: 0, pending: Vec::new() }
    }

    /// Bytes of the tar that are in no file: headers, padding, what follows the end.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= SEGMENT { self.write_pending() } else { Ok(()) }
    }

    /// An entry of the tar: its name as written there, and size and CRC of its content. An entry
    /// without content in the tar, or whose content was given to [`TarSplitWriter::raw`], has size 0.
    pub fn entry(&mut self, name: &OsStr, size: u64, crc: u64) -> io::Result<()> {
        self.write_pending()?;
        let (text, raw) = match name.to_str() {
            Some("") => (None, None),
            Some(text) => (Some(text.into()), None),
            None => (None, Some(STANDARD.encode(name.as_bytes()).into())),
        };
        let payload = (size > 0).then(|| STANDARD.encode(crc.to_be_bytes()).into());
        self.line(&Line { kind: FILE, name: text, name_raw: raw, size, payload, position: self.position })
    }

    /// Writes the last segment and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_pending()?;
        Ok(self.out)
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let payload = Some(STANDARD.encode(&self.pending).into());
        self.pending.clear();
        let position = self.position;
        self.line(&Line { kind: SEGMENT_KIND, name: None, name_raw: None, size: 0, payload, position })
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.position += 1;
        self.out.write_all(&text)
    }
}

/// One line of tar-split.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to be taken as they are.
    Raw(Vec<u8>),
    /// An entry of the tar, and its content if `size` is not 0.
    Entry {
        /// As the tar names it.
        name: OsString,
        /// Bytes of content.
        size: u64,
        /// The content's CRC-64/ISO; 0 without content.
        crc: u64,
    },
}

/// Reads tar-split piece by piece.
pub struct TarSplitReader<R: Read> {
    lines: BufReader<MultiGzDecoder<BufReader<R>>>,
    position: u64,
    line: Vec<u8>,
}

impl<R: Read> TarSplitReader<R> {
    /// Reads a `<id>.tar-split.gz`.
    pub fn new(gzipped: R) -> TarSplitReader<R> {
        let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(gzipped)));
        TarSplitReader { lines, position: 0, line: Vec::new() }
    }

    /// The next piece; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, TarSplitError> {
        let position = self.position;
        let invalid = |reason: &str| TarSplitError::Invalid { position, reason: reason.to_owned() };
        loop {
            self.line.clear();
            let read =
                (&mut self.lines).take(MAX_LINE).read_until(b'\n', &mut self.line).map_err(TarSplitError::Read)?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == MAX_LINE {
                return Err(invalid("a line longer than 256 MiB"));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line: Line<'_> = serde_json::from_slice(&self.line)
            .map_err(|error| TarSplitError::Invalid { position, reason: error.to_string() })?;
        self.position += 1;
        let bytes = match &line.payload {
            Some(text) => STANDARD.decode(text.as_bytes()).map_err(|_| invalid("a payload that is not base64"))?,
            None => Vec::new(),
        };
        match line.kind {
            SEGMENT_KIND => Ok(Some(Piece::Raw(bytes))),
            FILE => {
                let name = match (&line.name, &line.name_raw) {
                    (Some(name), _) => OsString::from(name.as_ref()),
                    (None, Some(raw)) => OsString::from_vec(
                        STANDARD.decode(raw.as_bytes()).map_err(|_| invalid("a name that is not base64"))?,
                    ),
                    (None, None) => OsString::new(),
                };
                let crc = match (line.size, <[u8; 8]>::try_from(bytes.as_slice())) {
                    (0, _) => 0,
                    (_, Ok(crc)) => u64::from_be_bytes(crc),
                    (_, Err(_)) => return Err(invalid("a file without an 8-byte checksum")),
                };
                Ok(Some(Piece::Entry { name, size: line.size, crc }))
            }
            _ => Err(invalid("an unknown type")),
        }
    }

    /// The tar again. `open` opens the file an entry names, beneath the diff dir (or the nearest
    /// lower that has it); each content is checked against its CRC. Errors of the reader carry a
    /// [`TarSplitError`].
    pub fn reassemble<F: Read>(self, open: impl FnMut(&OsStr) -> io::Result<F>) -> impl Read {
        Reassembly { pieces: self, open, state: State::Between, failed: false }
    }
}

struct Reassembly<R: Read, O, F> {
    pieces: TarSplitReader<R>,
    open: O,
    state: State<F>,
    failed: bool,
}

enum State<F> {
    Between,
    Raw { bytes: Vec<u8>, at: usize },
    Content { name: OsString, file: F, rest: u64, crc: Box<ContentCrc>, expected: u64 },
}

impl<R: Read, F: Read, O: FnMut(&OsStr) -> io::Result<F>> Reassembly<R, O, F> {
    fn try_read(&mut self, buf: &mut [u8]) -> Result<usize, TarSplitError> {
        loop {
            match &mut self.state {
                State::Between => match self.pieces.next_piece()? {
                    None => return Ok(0),
                    Some(Piece::Raw(bytes)) => self.state = State::Raw { bytes, at: 0 },
                    Some(Piece::Entry { size: 0, .. }) => {}
                    Some(Piece::Entry { name, size, crc }) => {
                        let file =
                            (self.open)(&name).map_err(|source| TarSplitError::File { name: name.clone(), source })?;
                        self.state = State::Content { name, file, rest: size, crc: Box::default(), expected: crc };
                    }
                },
                State::Raw { bytes, at } => {
                    let left = bytes.get(*at..).unwrap_or_default();
                    if left.is_empty() {
                        self.state = State::Between;
                        continue;
                    }
                    let n = left.len().min(buf.len());
                    if let (Some(to), Some(from)) = (buf.get_mut(..n), left.get(..n)) {
                        to.copy_from_slice(from);
                    }
                    *at += n;
                    return Ok(n);
                }
                State::Content { name, file, rest, crc, expected } => {
                    let limit = usize::try_from(*rest).unwrap_or(usize::MAX).min(buf.len());
                    let part = buf.get_mut(..limit).unwrap_or_default();
                    let n = match file.read(part) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        other => other.map_err(|source| TarSplitError::File { name: name.clone(), source })?,
                    };
                    crc.update(part.get(..n).unwrap_or_default());
                    *rest -= n as u64;
                    let done = *rest == 0;
                    if n == 0 || (done && crc.finish() != *expected) {
                        return Err(TarSplitError::Changed { name: name.clone() });
                    }
                    if done {
                        self.state = State::Between;
                    }
                    return Ok(n);
                }
            }
        }
    }
}

impl<R: Read, F: Read, O: FnMut(&OsStr) -> io::Result<F>> Read for Reassembly<R, O, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.failed {
            return Err(io::Error::other("the layer could not be put together again"));
        }
        self.try_read(buf).map_err(|error| {
            self.failed = true;
            let kind = match &error {
                TarSplitError::File { source, .. } | TarSplitError::Read(source) => source.kind(),
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, error)
        })
    }
}
