//! The writing half of a diff: one thread makes the tar's bytes, another hashes, writes and
//! records them. Chunks go round between the two, so memory is bounded.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use crossbeam_channel::{Receiver, Sender, bounded};
use oci::digest::{Algorithm, Hasher};
use oci::{DiffId, Digest};
use rootfs::Time;

use crate::content::{ContentDigest, ContentHasher};
use crate::diff::DiffSummary;
use crate::tar_split::{ContentCrc, TarSplitWriter};
use crate::tar_write::{TarEntry, padding};

/// Bytes of a chunk; a header may make one longer.
const CHUNK: usize = 256 * 1024;
/// Chunks between the threads.
const CHUNKS: usize = 8;

/// A stretch of the tar, and what its bytes are.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

enum Mark {
    /// So many bytes of headers, padding or end.
    Raw(usize),
    /// An entry begins whose content is so long.
    Entry { name: Vec<u8>, size: u64 },
    /// So many bytes of content of the last entry.
    Content(usize),
}

/// Takes a tar piece by piece.
pub(crate) struct TarSink {
    full: Sender<Chunk>,
    empty: Receiver<Chunk>,
    chunk: Chunk,
    uid_set: BTreeSet<u32>,
    gid_set: BTreeSet<u32>,
    content: Option<ContentHasher>,
}

/// The other thread is gone; its own error says why.
#[derive(Debug)]
pub(crate) struct Stopped;

impl TarSink {
    /// Headers of an entry, whose content must follow.
    pub fn entry(&mut self, entry: &TarEntry) -> Result<io::Result<()>, Stopped> {
        self.uid_set.insert(entry.owner.uid);
        self.gid_set.insert(entry.owner.gid);
        if let Some(content) = &mut self.content {
            content.entry(entry);
        }
        let before = self.chunk.bytes.len();
        if let Err(error) = entry.encode(&mut self.chunk.bytes) {
            return Ok(Err(error));
        }
        self.chunk.marks.push(Mark::Raw(self.chunk.bytes.len() - before));
        self.chunk.marks.push(Mark::Entry { name: entry.name(), size: entry.size });
        self.send_if_full()?;
        Ok(Ok(()))
    }

    /// Up to `limit` bytes of content, which `fill` reads into the buffer it is given; it returns
    /// how many, and is told of no less than one. Gives what was read, to be used once more.
    pub fn content(
        &mut self,
        limit: u64,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<io::Result<&[u8]>, Stopped> {
        self.send_if_full()?;
        let start = self.chunk.bytes.len();
        let room = usize::try_from(limit).unwrap_or(usize::MAX).min(CHUNK.saturating_sub(start).max(1));
        self.chunk.bytes.resize(start + room, 0);
        let read = match fill(self.chunk.bytes.get_mut(start..).unwrap_or_default()) {
            Ok(read) => read.min(room),
            Err(error) => {
                self.chunk.bytes.truncate(start);
                return Ok(Err(error));
            }
        };
        self.chunk.bytes.truncate(start + read);
        self.chunk.marks.push(Mark::Content(read));
        let bytes = self.chunk.bytes.get(start..).unwrap_or_default();
        if let Some(content) = &mut self.content {
            content.data(bytes);
        }
        Ok(Ok(bytes))
    }

    /// So many zero bytes of content.
    pub fn zeros(&mut self, mut count: u64) -> Result<(), Stopped> {
        while count > 0 {
            // The buffer is zeroed already.
            match self.content(count, |buffer| Ok(buffer.len()))? {
                Ok(written) => count -= written.len() as u64,
                Err(_) => return Err(Stopped),
            }
        }
        Ok(())
    }

    /// What follows a content of `size`.
    pub fn pad(&mut self, size: u64) -> Result<(), Stopped> {
        let start = self.chunk.bytes.len();
        let count = padding(size);
        if count > 0 {
            self.chunk.bytes.resize(start + count, 0);
            self.chunk.marks.push(Mark::Raw(count));
        }
        self.send_if_full()
    }

    fn send_if_full(&mut self) -> Result<(), Stopped> {
        if self.chunk.bytes.len() < CHUNK { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), Stopped> {
        let chunk = std::mem::take(&mut self.chunk);
        self.full.send(chunk).map_err(|_| Stopped)?;
        self.chunk = self.empty.recv().map_err(|_| Stopped)?;
        Ok(())
    }

    fn end(mut self) -> Result<Seen, Stopped> {
        self.chunk.bytes.extend_from_slice(&crate::tar_write::END);
        self.chunk.marks.push(Mark::Raw(crate::tar_write::END.len()));
        self.full.send(std::mem::take(&mut self.chunk)).map_err(|_| Stopped)?;
        let content = self.content.map(ContentHasher::finish);
        Ok(Seen { uid_set: self.uid_set, gid_set: self.gid_set, content })
    }
}

/// What the producer saw of the entries.
struct Seen {
    uid_set: BTreeSet<u32>,
    gid_set: BTreeSet<u32>,
    content: Option<ContentDigest>,
}

/// Why a tar was not written.
pub(crate) enum Failure<E> {
    /// The producer gave up.
    Producer(E),
    /// The output or tar-split could not be written.
    Output(io::Error),
}

/// Runs `produce` on this thread and the rest on another, and gives the summary of what was
/// written when both are done.
pub(crate) fn run<E>(
    out: impl Write + Send,
    tar_split: impl Write + Send,
    began: Option<Time>,
    produce: impl FnOnce(&mut TarSink) -> Result<Result<(), E>, Stopped>,
) -> Result<DiffSummary, Failure<E>> {
    let (full_sender, full) = bounded(CHUNKS);
    let (empty_sender, empty) = bounded(CHUNKS + 1);
    for _ in 0..CHUNKS {
        // Never full: there is room for all chunks.
        let _ = empty_sender.send(Chunk { bytes: Vec::with_capacity(CHUNK + 4096), marks: Vec::new() });
    }
    std::thread::scope(|scope| {
        let consumer = scope.spawn(move || consume(&full, &empty_sender, out, tar_split));
        let chunk = Chunk { bytes: Vec::with_capacity(CHUNK + 4096), marks: Vec::new() };
        let mut sink = TarSink {
            full: full_sender,
            empty,
            chunk,
            uid_set: BTreeSet::new(),
            gid_set: BTreeSet::new(),
            content: began.map(ContentHasher::new),
        };
        let produced = match produce(&mut sink) {
            Ok(Ok(())) => sink.end().map(Ok),
            Ok(Err(error)) => {
                drop(sink);
                Ok(Err(error))
            }
            Err(Stopped) => {
                drop(sink);
                Err(Stopped)
            }
        };
        let consumed = match consumer.join() {
            Ok(consumed) => consumed,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match (produced, consumed) {
            (Ok(Err(error)), _) => Err(Failure::Producer(error)),
            (_, Err(error)) => Err(Failure::Output(error)),
            (Err(Stopped), Ok(_)) => Err(Failure::Output(io::ErrorKind::BrokenPipe.into())),
            (Ok(Ok(Seen { uid_set, gid_set, content })), Ok((digest, size))) => {
                Ok(DiffSummary { diff_id: DiffId(digest), size, uid_set, gid_set, content })
            }
        }
    })
}

fn consume(
    full: &Receiver<Chunk>,
    empty: &Sender<Chunk>,
    mut out: impl Write,
    tar_split: impl Write,
) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut size = 0;
    let mut recorder = Recorder { split: TarSplitWriter::gzipped(tar_split), open: None };
    for mut chunk in full {
        hasher.update(&chunk.bytes);
        out.write_all(&chunk.bytes)?;
        size += chunk.bytes.len() as u64;
        let mut rest = chunk.bytes.as_slice();
        for mark in chunk.marks.drain(..) {
            rest = recorder.record(mark, rest)?;
        }
        chunk.bytes.clear();
        // The producer may be done and gone.
        let _ = empty.send(chunk);
    }
    out.flush()?;
    recorder.split.finish()?.finish()?.flush()?;
    Ok((hasher.finish(), size))
}

struct Recorder<W: Write> {
    split: TarSplitWriter<W>,
    /// The entry whose content is not complete yet.
    open: Option<OpenEntry>,
}

struct OpenEntry {
    name: Vec<u8>,
    size: u64,
    rest: u64,
    crc: ContentCrc,
}

impl<W: Write> Recorder<W> {
    /// Takes the bytes that belong to `mark` and gives those after them.
    fn record<'b>(&mut self, mark: Mark, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        match mark {
            Mark::Raw(count) => {
                let (raw, rest) = bytes.split_at(count.min(bytes.len()));
                self.split.raw(raw)?;
                Ok(rest)
            }
            Mark::Entry { name, size: 0 } => {
                self.split.entry(OsStr::from_bytes(&name), 0, 0)?;
                Ok(bytes)
            }
            Mark::Entry { name, size } => {
                self.open = Some(OpenEntry { name, size, rest: size, crc: ContentCrc::default() });
                Ok(bytes)
            }
            Mark::Content(count) => {
                let (content, rest) = bytes.split_at(count.min(bytes.len()));
                if let Some(open) = &mut self.open {
                    open.crc.update(content);
                    open.rest = open.rest.saturating_sub(content.len() as u64);
                    if open.rest == 0 {
                        self.split.entry(OsStr::from_bytes(&open.name), open.size, open.crc.finish())?;
                        self.open = None;
                    }
                }
                Ok(rest)
            }
        }
    }
}
