//! Compressed streams of layers. gzip and zstd both ways; bzip2 and xz are read only.
//!
//! What a stream is compressed with is seen from its first bytes, not from a media type: registries
//! lie. Everything is decoded in this process; no helper program is run on hostile bytes.

use std::io::{self, BufReader, Read, Write};

/// A compression of layer blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, as nearly every layer in a registry.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2: read, never written.
    Bzip2,
    /// xz: read, never written.
    Xz,
}

/// Bytes that [`detect`] wants to see.
pub const MAGIC_LEN: usize = 6;

/// What an xz stream may make us allocate, in KiB; the format allows 4 GiB. Level 9 needs 65 MiB.
const XZ_MEMORY_LIMIT: u32 = 128 * 1024;
/// The largest zstd window we accept, as a power of two: 128 MiB, what the zstd tool takes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const BUFFER: usize = 128 * 1024;

/// The compression of a stream that begins with `start`.
pub fn detect(start: &[u8]) -> Compression {
    const MAGICS: [(&[u8], Compression); 4] = [
        (&[0x1f, 0x8b, 0x08], Compression::Gzip),
        (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
        (b"BZh", Compression::Bzip2),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    ];
    MAGICS.iter().find(|(magic, _)| start.starts_with(magic)).map_or(Compression::None, |(_, found)| *found)
}

/// Reads a stream and gives it uncompressed, whatever [`detect`] says it is. Several gzip members,
/// zstd frames, bzip2 or xz streams one after another are read as one.
pub struct Decompressor<'a> {
    compression: Compression,
    inner: Box<dyn Read + Send + 'a>,
}

impl<'a> Decompressor<'a> {
    /// Looks at the first bytes of `input`.
    pub fn new(input: impl Read + Send + 'a) -> io::Result<Decompressor<'a>> {
        let mut input = input;
        let mut start = Vec::with_capacity(MAGIC_LEN);
        (&mut input).take(MAGIC_LEN as u64).read_to_end(&mut start)?;
        let compression = detect(&start);
        let input = io::Cursor::new(start).chain(input);
        let input = BufReader::with_capacity(BUFFER, input);
        let inner: Box<dyn Read + Send + 'a> = match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_LIMIT)),
        };
        Ok(Decompressor { compression, inner })
    }

    /// What the stream is compressed with.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

/// Compresses what is written to it.
///
/// The bytes depend on input, compression and level alone. [`Compressor::finish`] must be called;
/// a compressor that is dropped leaves a truncated stream.
pub struct Compressor<'a, W: Write> {
    inner: Inner<'a, W>,
}

enum Inner<'a, W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'a, W>),
}

impl<W: Write> Compressor<'_, W> {
    /// Compresses into `out`. `level` is gzip's 1–9 (default 6) or zstd's 1–22 (default 3). bzip2
    /// and xz are not written: an error of kind `Unsupported`.
    pub fn new(out: W, compression: Compression, level: Option<u32>) -> io::Result<Self> {
        let inner = match compression {
            Compression::None => Inner::None(out),
            Compression::Gzip => {
                let level = flate2::Compression::new(level.unwrap_or(6).min(9));
                Inner::Gzip(flate2::GzBuilder::new().operating_system(255).write(out, level))
            }
            Compression::Zstd => {
                let level = i32::try_from(level.unwrap_or(3).min(22)).unwrap_or(3);
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                Inner::Zstd(encoder)
            }
            Compression::Bzip2 | Compression::Xz => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "layers are written uncompressed, as gzip or as zstd only",
                ));
            }
        };
        Ok(Compressor { inner })
    }

    /// Writes what is left and the trailer, and gives the writer back (not flushed).
    pub fn finish(self) -> io::Result<W> {
        match self.inner {
            Inner::None(out) => Ok(out),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::None(out) => out.write(buf),
            Inner::Gzip(encoder) => encoder.write(buf),
            Inner::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Inner::None(out) => out.flush(),
            Inner::Gzip(encoder) => encoder.flush(),
            Inner::Zstd(encoder) => encoder.flush(),
        }
    }
}
