//! Bytes of a tar, cut into zstd frames: one for each file or chunk, others for what is between.

use std::io::{self, Write};

use oci::Digest;
use oci::digest::{Algorithm, Hasher};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::rolling::RollingSum;

/// Frames are compressed at once, so a block is cut here if nothing cuts it before.
const MAX_BLOCK: usize = 4 * 1024 * 1024;
/// How a frame begins that readers of zstd skip.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

/// Writes frames.
pub(super) struct Frames<W: Write> {
    out: W,
    /// Bytes written.
    offset: u64,
    compressor: Compressor<'static>,
    block: Vec<u8>,
    file: Option<OpenFile>,
}

struct OpenFile {
    rolling: RollingSum,
    hasher: Hasher,
    content: Content,
}

/// Where a file's content is in the blob, and what it is.
pub(super) struct Content {
    pub digest: Digest,
    pub chunks: Vec<Chunk>,
    /// Where the last chunk ends, as an offset in the blob.
    pub end: u64,
}

/// Part of a file that is a frame.
pub(super) struct Chunk {
    /// Of the frame in the blob.
    pub offset: u64,
    /// Of its content in the file.
    pub file_offset: u64,
    pub size: u64,
    pub digest: Digest,
}

impl<W: Write> Frames<W> {
    pub fn new(out: W, level: i32) -> io::Result<Frames<W>> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Frames { out, offset: 0, compressor, block: Vec::new(), file: None })
    }

    /// Adds bytes of the tar.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = bytes.len().min(MAX_BLOCK.saturating_sub(self.block.len()));
            let (part, _) = bytes.split_at(room);
            let cut = self.file.as_mut().and_then(|file| file.rolling.next_cut(part));
            let (part, rest) = bytes.split_at(cut.unwrap_or(room));
            self.block.extend_from_slice(part);
            bytes = rest;
            if cut.is_some() || self.block.len() >= MAX_BLOCK {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// What is added from now on is a file's content.
    pub fn begin_file(&mut self) -> io::Result<()> {
        self.end_block()?;
        let content = Content { digest: Digest::of(b""), chunks: Vec::new(), end: self.offset };
        self.file = Some(OpenFile { rolling: RollingSum::new(), hasher: Hasher::new(Algorithm::Sha256), content });
        Ok(())
    }

    /// The content that was added since [`Frames::begin_file`].
    pub fn end_file(&mut self) -> io::Result<Content> {
        self.end_block()?;
        let OpenFile { hasher, mut content, .. } =
            self.file.take().ok_or_else(|| io::Error::other("no file was begun"))?;
        content.digest = hasher.finish();
        content.end = self.offset;
        Ok(content)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        if let Some(OpenFile { hasher, content, .. }) = &mut self.file {
            hasher.update(&self.block);
            let before = content.chunks.last().map_or(0, |chunk| chunk.file_offset + chunk.size);
            // The first chunk's digest is that of the file so far.
            let digest = if before == 0 { hasher.clone().finish() } else { Digest::of(&self.block) };
            let size = self.block.len() as u64;
            content.chunks.push(Chunk { offset: self.offset, file_offset: before, size, digest });
        }
        let frame = self.compressor.compress(&self.block)?;
        self.block.clear();
        self.put(&frame)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes `data` into a frame that readers of zstd skip; gives where in the blob `data` begins.
    pub fn skippable(&mut self, data: &[u8]) -> io::Result<u64> {
        self.end_block()?;
        let len =
            u32::try_from(data.len()).map_err(|_| io::Error::other("a layer with too many files for zstd:chunked"))?;
        self.put(&SKIPPABLE_MAGIC.to_le_bytes())?;
        self.put(&len.to_le_bytes())?;
        let offset = self.offset;
        self.put(data)?;
        Ok(offset)
    }

    /// Gives the writer back (not flushed).
    pub fn finish(self) -> W {
        self.out
    }
}
