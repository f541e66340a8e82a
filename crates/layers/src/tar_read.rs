//! A tar, entry by entry, with tar-split on the way.
//!
//! Where tar readers are known to differ (a size said twice, an extended header before another
//! extended header, data behind a directory), we read as Go's archive/tar does, whose answer is
//! what the other tools of the store saw, or refuse. Every size that frames the stream comes from
//! exactly one place.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use rootfs::{Device, Owner, Time};
use tar::{EntryType, Header};

use crate::pax::{PaxHeader, decimal};
use crate::tar_split::{ContentCrc, TarSplitWriter};
use crate::tar_write::{BLOCK, padding};

/// The largest extended header or long name, and the largest sparse map; as Go's reader.
const MAX_EXTENDED: u64 = 1024 * 1024;
/// Content is handed out in pieces of at most this.
const PIECE: usize = 128 * 1024;

/// Why a stream is no tar that we accept.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream could not be read.
    #[error("cannot read the tar: {0}")]
    Read(#[source] io::Error),
    /// tar-split could not be written.
    #[error("cannot write tar-split: {0}")]
    Write(#[source] io::Error),
    /// The bytes are not a tar, or one that readers would disagree on.
    #[error("invalid tar, entry {number}{}: {reason}", if name.is_empty() { String::new() } else { format!(" ({name:?})") })]
    Invalid {
        /// Of the entry, from 1.
        number: u64,
        /// Its name as far as it is known.
        name: OsString,
        /// What is wrong.
        reason: String,
    },
}

/// An entry's headers, read together.
#[derive(Debug)]
pub(crate) struct ReadEntry {
    pub name: Vec<u8>,
    /// Regular, Link, Symlink, Char, Block, Directory or Fifo.
    pub kind: EntryType,
    pub link: Vec<u8>,
    /// Permissions alone.
    pub mode: u32,
    /// The field of the header: other tools write the kind of file into it too.
    pub raw_mode: u64,
    pub owner: Owner,
    /// Of the file on disk; what is in the tar is less if the file is sparse.
    pub size: u64,
    pub mtime: Time,
    pub atime: Option<Time>,
    pub ctime: Option<Time>,
    pub device: Device,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// Stretches of data, if the file is sparse: offset and length.
    sparse: Option<Vec<(u64, u64)>>,
}

impl ReadEntry {
    /// Whether the tar holds less of the file than the file is long.
    pub fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }
}

/// Whether a file that begins with `block` is a tar, and not an empty one.
pub fn is_tar_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(block) else { return false };
    let (unsigned, signed) = checksums(block);
    let sum = parse_number(Header::from_byte_slice(block).as_old().cksum.as_slice());
    block.iter().any(|b| *b != 0) && sum.is_some_and(|sum| sum == unsigned || sum == signed)
}

/// What is left of an entry's content.
struct Content {
    name: Vec<u8>,
    size: u64,
}

/// Reads a tar; all bytes that it reads go to tar-split.
pub(crate) struct TarReader<R: Read, W: Write> {
    input: R,
    split: Option<TarSplitWriter<W>>,
    content: Option<Content>,
    pad: usize,
    number: u64,
    name: Vec<u8>,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: Read, W: Write> TarReader<R, W> {
    pub fn new(input: R, split: Option<TarSplitWriter<W>>) -> TarReader<R, W> {
        let buffer = vec![0; PIECE];
        TarReader { input, split, content: None, pad: 0, number: 0, name: Vec::new(), buffer, ended: false }
    }

    /// The error for the entry read last.
    pub fn invalid(&self, reason: impl Into<String>) -> TarError {
        TarError::Invalid { number: self.number, name: OsStr::from_bytes(&self.name).to_owned(), reason: reason.into() }
    }

    /// The next entry; `None` at the end. Content not read so far is skipped: it stays in
    /// tar-split as raw bytes, since it will be in no file.
    pub fn next_entry(&mut self) -> Result<Option<ReadEntry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        self.number += 1;
        self.name.clear();
        let mut pax: Option<PaxHeader> = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header(pax.is_some() || long_name.is_some() || long_link.is_some())? else {
                self.ended = true;
                return Ok(None);
            };
            let size = self.number_of(&header.as_old().size, "size")?;
            match header.entry_type() {
                EntryType::XHeader if pax.is_some() => return Err(self.invalid("two PAX headers in a row")),
                EntryType::XHeader => {
                    let data = self.extended(size)?;
                    pax = Some(PaxHeader::parse(&data).map_err(|reason| self.invalid(reason))?);
                }
                EntryType::XGlobalHeader => {
                    if pax.is_some() || long_name.is_some() || long_link.is_some() {
                        return Err(self.invalid("a global PAX header between an entry's headers"));
                    }
                    let data = self.extended(size)?;
                    PaxHeader::check_global(&data).map_err(|reason| self.invalid(reason))?;
                }
                EntryType::GNULongName if long_name.is_some() => return Err(self.invalid("two long names in a row")),
                EntryType::GNULongName => long_name = Some(until_nul(&self.extended(size)?).to_vec()),
                EntryType::GNULongLink if long_link.is_some() => return Err(self.invalid("two long links in a row")),
                EntryType::GNULongLink => long_link = Some(until_nul(&self.extended(size)?).to_vec()),
                _ => return self.entry(&header, size, pax.unwrap_or_default(), long_name, long_link).map(Some),
            }
        }
    }

    /// Gives the entry's content to `take` piece by piece, with the offset in the file. Must be
    /// called at most once, for the entry read last. tar-split will refer to the file by its name.
    pub fn read_content<E: From<TarError>>(
        &mut self,
        entry: &ReadEntry,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(content) = self.content.take() else { return Ok(()) };
        let whole = [(0, content.size)];
        let stretches = entry.sparse.as_deref().unwrap_or(&whole);
        if entry.sparse.is_some() {
            self.split_entry(&content.name, 0, 0)?;
        }
        let mut crc = ContentCrc::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        for (start, len) in stretches {
            let mut done = 0;
            while done < *len {
                let want = usize::try_from(*len - done).unwrap_or(PIECE).min(PIECE);
                let piece = buffer.get_mut(..want).unwrap_or_default();
                self.fill(piece)?;
                if entry.sparse.is_some() {
                    self.split_raw(piece)?;
                } else if self.split.is_some() {
                    crc.update(piece);
                }
                take(start + done, piece)?;
                done += want as u64;
            }
        }
        self.buffer = buffer;
        if entry.sparse.is_none() {
            self.split_entry(&content.name, content.size, crc.finish())?;
        }
        Ok(())
    }

    /// Reads what follows the end, completes tar-split and gives back what it was written to.
    pub fn finish(mut self) -> Result<Option<W>, TarError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.split_raw(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.split.map(TarSplitWriter::finish).transpose().map_err(TarError::Write)
    }

    fn entry(
        &mut self,
        header: &Header,
        header_size: u64,
        pax: PaxHeader,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<ReadEntry, TarError> {
        if (pax.path.is_some() && long_name.is_some()) || (pax.link.is_some() && long_link.is_some()) {
            return Err(self.invalid("a name in a PAX header and in a GNU long name"));
        }
        let mut name = long_name.or(pax.path).unwrap_or_else(|| ustar_name(header));
        self.name.clone_from(&name);
        let link = long_link.or(pax.link).unwrap_or_else(|| until_nul(&header.as_old().linkname).to_vec());
        let tar_size = pax.size.unwrap_or(header_size);
        let raw_kind = header.entry_type();
        let kind = match raw_kind {
            EntryType::Regular if header.as_old().linkflag == [0] && name.ends_with(b"/") => EntryType::Directory,
            EntryType::Regular if name.ends_with(b"/") => {
                return Err(self.invalid("a file whose name ends in a slash"));
            }
            EntryType::GNUSparse => EntryType::Regular,
            EntryType::Regular
            | EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo => raw_kind,
            other => {
                return Err(self.invalid(format!("an unknown type {:?}", char::from(other.as_byte()))));
            }
        };
        // A hard link's size is that of the file and says nothing about the tar.
        if !matches!(kind, EntryType::Regular | EntryType::Link) && tar_size != 0 {
            return Err(self.invalid("data behind an entry that cannot have any"));
        }
        let uid = self.id(pax.uid, &header.as_old().uid, "uid")?;
        let gid = self.id(pax.gid, &header.as_old().gid, "gid")?;
        let raw_mode = self.number_of(&header.as_old().mode, "mode")?;
        let mode = (raw_mode & 0o7777) as u32;
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => self.time(&header.as_old().mtime)?,
        };
        let device = match (kind, header.as_ustar(), header.as_gnu()) {
            (EntryType::Char | EntryType::Block, Some(ustar), _) => self.device(&ustar.dev_major, &ustar.dev_minor)?,
            (EntryType::Char | EntryType::Block, _, Some(gnu)) => self.device(&gnu.dev_major, &gnu.dev_minor)?,
            _ => Device::default(),
        };

        let mut rest = if kind == EntryType::Regular { tar_size } else { 0 };
        let (mut size, mut sparse) = (rest, None);
        self.pad = padding(rest);
        if raw_kind == EntryType::GNUSparse {
            let (map, real_size) = self.gnu_sparse(header)?;
            (size, sparse) = (real_size, Some(map));
        } else if kind == EntryType::Regular && pax.sparse.is_sparse() {
            let (map, real_size) = self.pax_sparse(&pax.sparse, &mut rest)?;
            (size, sparse) = (real_size, Some(map));
            if let Some(own) = pax.sparse.name {
                self.name.clone_from(&own);
                name = own;
            }
        }
        if let Some(map) = &sparse {
            self.check_sparse(map, size, rest)?;
        }
        if rest > 0 {
            self.content = Some(Content { name: name.clone(), size: rest });
        } else {
            self.split_entry(&name, 0, 0)?;
        }
        let xattrs = pax.xattrs;
        let owner = Owner { uid, gid };
        let (atime, ctime) = (pax.atime, pax.ctime);
        Ok(ReadEntry { name, kind, link, mode, raw_mode, owner, size, mtime, atime, ctime, device, xattrs, sparse })
    }

    /// A valid header block; `None` at the end, which must not come when more was `promised`.
    fn header(&mut self, promised: bool) -> Result<Option<Header>, TarError> {
        let Some(header) = self.block()? else {
            return if promised { Err(self.invalid("the tar ends within an entry's headers")) } else { Ok(None) };
        };
        if header.as_bytes().iter().all(|b| *b == 0) {
            if promised {
                return Err(self.invalid("the tar ends within an entry's headers"));
            }
            return match self.block()? {
                Some(next) if next.as_bytes().iter().any(|b| *b != 0) => {
                    Err(self.invalid("an empty block that is not the end"))
                }
                _ => Ok(None),
            };
        }
        let (unsigned, signed) = checksums(header.as_bytes());
        match parse_number(&header.as_old().cksum) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Some(header)),
            _ if self.number == 1 => Err(self.invalid("this is not a tar (wrong header checksum)")),
            _ => Err(self.invalid("a wrong header checksum")),
        }
    }

    fn block(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while let Some(rest) = header.as_mut_bytes().get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.invalid("the tar is cut off")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.split_raw(header.as_bytes())?;
        Ok(Some(header))
    }

    /// The content of an extended header, whose size is its own header's and nobody else's.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENDED {
            return Err(self.invalid("an extended header larger than 1 MiB"));
        }
        let mut data = vec![0; size as usize + padding(size)];
        self.fill(&mut data)?;
        self.split_raw(&data)?;
        data.truncate(size as usize);
        Ok(data)
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let mut rest = self.pad as u64;
        self.pad = 0;
        if let Some(content) = self.content.take() {
            self.split_entry(&content.name, 0, 0)?;
            rest += content.size;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        while rest > 0 {
            let want = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..want).unwrap_or_default();
            self.fill(piece)?;
            self.split_raw(piece)?;
            rest -= want as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        match self.input.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.invalid("the tar is cut off")),
            other => other.map_err(TarError::Read),
        }
    }

    fn split_raw(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.split.as_mut().map_or(Ok(()), |split| split.raw(bytes)).map_err(TarError::Write)
    }

    fn split_entry(&mut self, name: &[u8], size: u64, crc: u64) -> Result<(), TarError> {
        let name = OsStr::from_bytes(name);
        self.split.as_mut().map_or(Ok(()), |split| split.entry(name, size, crc)).map_err(TarError::Write)
    }

    fn number_of(&self, field: &[u8], what: &str) -> Result<u64, TarError> {
        let number = parse_number(field).and_then(|n| u64::try_from(n).ok());
        number.ok_or_else(|| self.invalid(format!("an invalid {what}")))
    }

    fn id(&self, pax: Option<u64>, field: &[u8], what: &str) -> Result<u32, TarError> {
        let id = match pax {
            Some(id) => id,
            None => self.number_of(field, what)?,
        };
        // The last one means "leave it" to the kernel.
        let id = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        id.ok_or_else(|| self.invalid(format!("a {what} beyond 32 bits")))
    }

    fn time(&self, field: &[u8]) -> Result<Time, TarError> {
        let seconds = parse_number(field).and_then(|n| i64::try_from(n).ok());
        Ok(Time::from_seconds(seconds.ok_or_else(|| self.invalid("an invalid mtime"))?))
    }

    fn device(&self, major: &[u8], minor: &[u8]) -> Result<Device, TarError> {
        let part = |field| self.number_of(field, "device number");
        let (major, minor) = (part(major)?, part(minor)?);
        match (u32::try_from(major), u32::try_from(minor)) {
            // What the kernel's device numbers hold.
            (Ok(major), Ok(minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(Device { major, minor }),
            _ => Err(self.invalid("a device number beyond what the kernel has")),
        }
    }

    /// Old GNU format: four stretches in the header, more in blocks after it.
    fn gnu_sparse(&mut self, header: &Header) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let Some(gnu) = header.as_gnu() else {
            return Err(self.invalid("a GNU sparse file without a GNU header"));
        };
        let real_size = self.number_of(&gnu.realsize, "sparse size")?;
        let mut map = Vec::new();
        for part in &gnu.sparse {
            self.sparse_stretch(&part.offset, &part.numbytes, &mut map)?;
        }
        let mut more = gnu.isextended[0] != 0;
        while more {
            if map.len() as u64 * 24 > MAX_EXTENDED {
                return Err(self.invalid("a sparse map larger than 1 MiB"));
            }
            let mut block = vec![0; BLOCK];
            self.fill(&mut block)?;
            self.split_raw(&block)?;
            for part in block.get(..504).unwrap_or_default().chunks_exact(24) {
                let (offset, len) = part.split_at(12);
                self.sparse_stretch(offset, len, &mut map)?;
            }
            more = block.get(504).is_some_and(|b| *b != 0);
        }
        Ok((map, real_size))
    }

    fn sparse_stretch(&self, offset: &[u8], len: &[u8], map: &mut Vec<(u64, u64)>) -> Result<(), TarError> {
        if offset.first().is_some_and(|b| *b != 0) {
            map.push((self.number_of(offset, "sparse offset")?, self.number_of(len, "sparse length")?));
        }
        Ok(())
    }

    /// GNU formats 0.0, 0.1 (map in the header) and 1.0 (map before the data; taken off `rest`).
    fn pax_sparse(
        &mut self,
        sparse: &crate::pax::PaxSparse,
        rest: &mut u64,
    ) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let real_size = sparse.real_size.ok_or_else(|| self.invalid("a sparse file without its size"))?;
        let numbers = match (sparse.major.as_deref(), sparse.minor.as_deref()) {
            (Some("1"), Some("0")) => self.sparse_map_in_data(rest)?,
            (None, None) | (Some("0"), Some("0" | "1")) => sparse.map.clone(),
            _ => return Err(self.invalid("an unknown format of sparse files")),
        };
        if numbers.len() % 2 != 0 {
            return Err(self.invalid("an invalid sparse map"));
        }
        Ok((numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect(), real_size))
    }

    fn sparse_map_in_data(&mut self, rest: &mut u64) -> Result<Vec<u64>, TarError> {
        let mut numbers = Vec::new();
        let mut expected: Option<u64> = None;
        let mut digits = Vec::new();
        let mut read = 0;
        loop {
            if *rest < BLOCK as u64 || read > MAX_EXTENDED {
                return Err(self.invalid("an invalid sparse map"));
            }
            let mut block = vec![0; BLOCK];
            self.fill(&mut block)?;
            self.split_raw(&block)?;
            *rest -= BLOCK as u64;
            read += BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let number = decimal(&digits).ok_or_else(|| self.invalid("an invalid sparse map"))?;
                digits.clear();
                match expected {
                    None if number > MAX_EXTENDED => return Err(self.invalid("a sparse map larger than 1 MiB")),
                    None => expected = Some(number * 2),
                    Some(_) => numbers.push(number),
                }
                if expected.is_some_and(|expected| numbers.len() as u64 >= expected) {
                    return Ok(numbers); // the rest of the block is padding
                }
            }
        }
    }

    /// The stretches must be in order, within the file, and as long as the data.
    fn check_sparse(&self, map: &[(u64, u64)], size: u64, data: u64) -> Result<(), TarError> {
        let (mut at, mut total) = (0, 0_u64);
        for (offset, len) in map {
            match offset.checked_add(*len) {
                Some(end) if *offset >= at && end <= size => at = end,
                _ => return Err(self.invalid("an invalid sparse map")),
            }
            total = total.saturating_add(*len);
        }
        if total == data { Ok(()) } else { Err(self.invalid("a sparse map that does not fit its data")) }
    }
}

impl crate::pax::PaxSparse {
    fn is_sparse(&self) -> bool {
        self.major.is_some() || self.minor.is_some() || !self.map.is_empty() || self.real_size.is_some()
    }
}

/// The name in the block itself, with ustar's prefix where there is one.
fn ustar_name(header: &Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    let Some(ustar) = header.as_ustar() else { return name.to_vec() };
    // Star's variant keeps times in the last bytes of the prefix, and says so at the block's end.
    let star = header.as_bytes().ends_with(b"tar\0");
    let prefix = until_nul(if star { ustar.prefix.get(..131).unwrap_or_default() } else { &ustar.prefix });
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// A number field: octal between blanks and NULs, or binary if the first bit is set.
fn parse_number(field: &[u8]) -> Option<i128> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut number: i128 = if negative { -1 } else { 0 };
        for (index, byte) in field.iter().enumerate() {
            let byte = if index == 0 && !negative { byte & 0x7f } else { *byte };
            number = (number << 8) | i128::from(byte);
        }
        return i64::try_from(number).ok().map(i128::from);
    }
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = until_nul(field.get(start..)?);
    let end = digits.iter().rposition(|b| !blank(b)).map_or(0, |at| at + 1);
    let mut number: i128 = 0;
    for digit in digits.get(..end)? {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        number = number * 8 + i128::from(digit - b'0');
    }
    Some(number)
}

/// The sums of all bytes with the checksum's own as blanks; some old tars took bytes as signed.
fn checksums(block: &[u8; BLOCK]) -> (i128, i128) {
    let (mut unsigned, mut signed) = (0, 0);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i128::from(byte);
        signed += i128::from(byte.cast_signed());
    }
    (unsigned, signed)
}
