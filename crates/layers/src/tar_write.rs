//! One tar entry's header blocks: ustar where it can say everything, with a PAX header before it
//! where it cannot (POSIX.1-2001, "pax Interchange Format").
//!
//! The bytes depend on the entry alone: no user names, no access times, PAX records sorted.

use std::io;
use std::os::unix::ffi::OsStrExt;

use rootfs::{Device, Owner, Time};
use tar::{EntryType, Header};

/// A tar is a sequence of blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;
/// What ends a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The largest user or group ID in 7 octal digits.
const MAX_OCTAL_ID: u32 = 0o7_777_777;
/// The largest size or time in 11 octal digits.
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
const NAME_LEN: usize = 100;
const PREFIX_LEN: usize = 155;

/// Everything a tar says of an entry but its content.
#[derive(Clone, Debug)]
pub(crate) struct TarEntry {
    /// Relative, without a trailing slash.
    pub path: Vec<u8>,
    pub kind: EntryType,
    /// Of a symlink or hard link.
    pub link: Vec<u8>,
    pub mode: u32,
    pub owner: Owner,
    pub size: u64,
    pub mtime: Time,
    pub device: Device,
    pub xattrs: Vec<(std::ffi::OsString, Vec<u8>)>,
}

impl TarEntry {
    /// The name as the tar has it: directories end in a slash.
    pub fn name(&self) -> Vec<u8> {
        let mut name = self.path.clone();
        if self.kind == EntryType::Directory {
            name.push(b'/');
        }
        name
    }

    /// Appends the header blocks to `out`. Fails if an attribute's name cannot be said in PAX.
    pub fn encode(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut header = Header::new_ustar();
        // Sorted by key as they are added, so that the bytes are always the same.
        let mut pax = Vec::new();
        for (key, value) in &self.xattrs {
            if key.as_bytes().contains(&b'=') {
                let text = format!("attribute {key:?} has an equals sign, which a tar cannot carry");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            record(&mut pax, &[b"SCHILY.xattr.", key.as_bytes()].concat(), value);
        }
        header.set_gid(u64::from(octal_id(self.owner.gid)));
        if self.owner.gid > MAX_OCTAL_ID {
            record(&mut pax, b"gid", self.owner.gid.to_string().as_bytes());
        }
        if !self.link.is_empty() && !set_field(&mut header, Field::Link, &self.link) {
            record(&mut pax, b"linkpath", &self.link);
        }
        let whole_seconds = u64::try_from(self.mtime.seconds).ok().filter(|s| *s <= MAX_OCTAL_11);
        header.set_mtime(whole_seconds.unwrap_or(0));
        if whole_seconds.is_none() || self.mtime.nanoseconds != 0 {
            record(&mut pax, b"mtime", pax_time(self.mtime).as_bytes());
        }
        let name = self.name();
        if !set_name(&mut header, &name) {
            record(&mut pax, b"path", &name);
        }
        let fits = self.size <= MAX_OCTAL_11;
        header.set_size(if fits { self.size } else { 0 });
        if !fits {
            record(&mut pax, b"size", self.size.to_string().as_bytes());
        }
        header.set_uid(u64::from(octal_id(self.owner.uid)));
        if self.owner.uid > MAX_OCTAL_ID {
            record(&mut pax, b"uid", self.owner.uid.to_string().as_bytes());
        }
        header.set_mode(self.mode & 0o7777);
        header.set_entry_type(self.kind);
        header.set_device_major(self.device.major)?;
        header.set_device_minor(self.device.minor)?;
        header.set_cksum();

        if !pax.is_empty() {
            encode_pax(&self.path, &pax, out)?;
        }
        out.extend_from_slice(header.as_bytes());
        Ok(())
    }
}

/// Zero bytes after a content of `size`, up to the next block.
pub(crate) fn padding(size: u64) -> usize {
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK - over }
}

fn encode_pax(path: &[u8], records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut header = Header::new_ustar();
    let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let name = [b"PaxHeaders.0/", base].concat();
    set_field(&mut header, Field::Name, &name);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
    Ok(())
}

fn octal_id(id: u32) -> u32 {
    if id > MAX_OCTAL_ID { 0 } else { id }
}

enum Field {
    Name,
    Link,
}

/// Writes as much of `value` as fits; whether the field then says it all. Text that is not ASCII
/// but valid UTF-8 has its place in PAX; bytes in no encoding are kept raw where they fit.
fn set_field(header: &mut Header, field: Field, value: &[u8]) -> bool {
    let old = header.as_old_mut();
    let bytes = match field {
        Field::Name => &mut old.name,
        Field::Link => &mut old.linkname,
    };
    let len = value.len().min(NAME_LEN);
    for (to, from) in bytes.iter_mut().zip(value) {
        *to = *from;
    }
    len == value.len() && (value.is_ascii() || std::str::from_utf8(value).is_err())
}

/// Like [`set_field`] for the name, which may be split at a slash into prefix and name.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    if name.len() > NAME_LEN && name.is_ascii() {
        let earliest = name.len() - NAME_LEN - 1;
        let body = name.len() - 1; // a directory's last slash stays in the name
        let split = (earliest..body.min(PREFIX_LEN + 1)).find(|at| *at > 0 && name.get(*at) == Some(&b'/'));
        if let (Some(at), Some(ustar)) = (split, header.as_ustar_mut()) {
            let (prefix, rest) = name.split_at(at);
            for (to, from) in ustar.prefix.iter_mut().zip(prefix) {
                *to = *from;
            }
            for (to, from) in ustar.name.iter_mut().zip(rest.get(1..).unwrap_or_default()) {
                *to = *from;
            }
            return true;
        }
    }
    set_field(header, Field::Name, name)
}

/// Appends `<length> <key>=<value>\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Seconds as a decimal fraction, without trailing zeros.
fn pax_time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (s, 0) if s < 0 => ("-", s.unsigned_abs(), 0),
        (s, n) if s < 0 => ("-", s.unsigned_abs() - 1, 1_000_000_000 - n),
        (s, n) => ("", s.unsigned_abs(), n),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_pax_time_is_a_decimal_fraction() {
        let check = |seconds, nanoseconds, expected: &str| {
            assert_eq!(pax_time(Time { seconds, nanoseconds }), expected);
        };
        check(0, 0, "0");
        check(1, 500_000_000, "1.5");
        check(1_700_000_000, 1, "1700000000.000000001");
        check(-1, 0, "-1");
        check(-2, 500_000_000, "-1.5");
        check(-1, 900_000_000, "-0.1");
    }

    #[test]
    fn pure_record_counts_its_own_digits() {
        for len in 0..1200 {
            let mut out = Vec::new();
            record(&mut out, b"k", &vec![b'v'; len]);
            let text = String::from_utf8(out.clone()).expect("ascii");
            let (count, _) = text.split_once(' ').expect("space");
            assert_eq!(count.parse::<usize>().expect("number"), out.len());
        }
    }

    #[test]
    fn pure_plain_entry_needs_one_block() {
        let mut entry = TarEntry {
            path: b"etc/hosts".to_vec(),
            kind: EntryType::Regular,
            link: Vec::new(),
            mode: 0o644,
            owner: Owner::ROOT,
            size: 3,
            mtime: Time::from_seconds(1),
            device: Device::default(),
            xattrs: Vec::new(),
        };
        let mut out = Vec::new();
        entry.encode(&mut out).expect("encodes");
        assert_eq!(out.len(), BLOCK);
        // 100 bytes after a slash still fit, by prefix.
        entry.path = [vec![b'd'; 150], vec![b'/'], vec![b'f'; 100]].concat();
        out.clear();
        entry.encode(&mut out).expect("encodes");
        assert_eq!(out.len(), BLOCK);
        entry.mtime.nanoseconds = 1;
        out.clear();
        entry.encode(&mut out).expect("encodes");
        assert_eq!(out.len(), 3 * BLOCK);
    }
}
