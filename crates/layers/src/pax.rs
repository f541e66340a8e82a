//! PAX records: `<length> <key>=<value>\n`, where the length counts the whole record. Values are
//! bytes (capabilities hold newlines), so only the length says where a record ends.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use rootfs::Time;

/// What the PAX header before an entry says of it; what it doesn't is `None` or empty.
#[derive(Debug, Default)]
pub(crate) struct PaxHeader {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub ctime: Option<Time>,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    pub sparse: PaxSparse,
}

/// GNU's three ways of describing a sparse file in PAX.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    pub major: Option<String>,
    pub minor: Option<String>,
    /// The file's own name, where `path` is a made-up one.
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// Format 0.0 and 0.1: offset, length, offset, length…
    pub map: Vec<u64>,
}

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits `data` into records. The error says what is wrong.
fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    while !data.is_empty() {
        const BAD: &str = "a PAX record with a wrong length";
        let space = data.iter().take(20).position(|b| *b == b' ').ok_or(BAD)?;
        let (digits, _) = data.split_at(space);
        let len = decimal(digits).and_then(|n| usize::try_from(n).ok()).ok_or(BAD)?;
        let record = data.get(space + 1..len).ok_or(BAD)?;
        let record = record.strip_suffix(b"\n").ok_or(BAD)?;
        let equals = record.iter().position(|b| *b == b'=').filter(|at| *at > 0).ok_or("a PAX record without a key")?;
        let (key, value) = record.split_at(equals);
        records.push((key, value.get(1..).unwrap_or_default()));
        data = data.get(len..).unwrap_or_default();
    }
    Ok(records)
}

impl PaxHeader {
    /// Reads the content of an `x` header. An empty value leaves the ustar header's in force.
    pub fn parse(data: &[u8]) -> Result<PaxHeader, &'static str> {
        let mut header = PaxHeader::default();
        for (key, value) in records(data)? {
            let text = || (!value.is_empty()).then(|| value.to_vec());
            let number = |error| if value.is_empty() { Ok(None) } else { decimal(value).map(Some).ok_or(error) };
            let time = |error| if value.is_empty() { Ok(None) } else { parse_time(value).map(Some).ok_or(error) };
            if matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name") && value.contains(&0) {
                return Err("a PAX path with a NUL");
            }
            match key {
                b"path" => header.path = text(),
                b"linkpath" => header.link = text(),
                b"size" => header.size = number("an invalid PAX size")?,
                b"uid" => header.uid = number("an invalid PAX uid")?,
                b"gid" => header.gid = number("an invalid PAX gid")?,
                b"mtime" => header.mtime = time("an invalid PAX mtime")?,
                b"atime" => header.atime = time("an invalid PAX atime")?,
                b"ctime" => header.ctime = time("an invalid PAX ctime")?,
                b"GNU.sparse.major" => header.sparse.major = Some(String::from_utf8_lossy(value).into_owned()),
                b"GNU.sparse.minor" => header.sparse.minor = Some(String::from_utf8_lossy(value).into_owned()),
                b"GNU.sparse.name" => header.sparse.name = text(),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    header.sparse.real_size = number("an invalid sparse size")?;
                }
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    const BAD: &str = "an invalid sparse map";
                    let is_offset = key == b"GNU.sparse.offset";
                    if (header.sparse.map.len() % 2 == 0) != is_offset {
                        return Err(BAD);
                    }
                    header.sparse.map.push(decimal(value).ok_or(BAD)?);
                }
                b"GNU.sparse.map" => {
                    let numbers = value.split(|b| *b == b',').map(decimal).collect::<Option<Vec<u64>>>();
                    header.sparse.map = numbers.ok_or("an invalid sparse map")?;
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        if name.is_empty() || name.contains(&0) {
                            return Err("an attribute with an invalid name");
                        }
                        header.xattrs.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                    }
                }
            }
        }
        Ok(header)
    }

    /// Checks the content of a `g` header. Tools differ in whether they heed one, so what would
    /// change where or what an entry is cannot be accepted; the rest is ignored.
    pub fn check_global(data: &[u8]) -> Result<(), &'static str> {
        for (key, _) in records(data)? {
            if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
                return Err("a global PAX header that would change every entry");
            }
        }
        Ok(())
    }
}

/// Digits only, no sign, at most 63 bits: so that sums of a size and its padding hold.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().and_then(|number: i64| u64::try_from(number).ok())
}

/// `[-]seconds[.fraction]`; digits beyond nanoseconds are dropped.
fn parse_time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for place in 0..9 {
            nanoseconds = nanoseconds * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
        }
    }
    match (negative, nanoseconds) {
        (false, _) => Some(Time { seconds, nanoseconds }),
        (true, 0) => Some(Time { seconds: -seconds, nanoseconds: 0 }),
        (true, _) => Some(Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_times_before_1970_round_down() {
        let check = |text: &str, expected: Option<(i64, u32)>| {
            let time = parse_time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
            assert_eq!(time, expected, "{text}");
        };
        check("0", Some((0, 0)));
        check("1.5", Some((1, 500_000_000)));
        check("1.0000000019", Some((1, 1)));
        check("-1.5", Some((-2, 500_000_000)));
        check("-1", Some((-1, 0)));
        for text in ["", "-", ".", "1.x", "1e3", "NaN", "+1", "99999999999999999999", "1.-5"] {
            check(text, None);
        }
    }

    #[test]
    fn pure_records_end_where_their_length_says() {
        let header = PaxHeader::parse(b"31 SCHILY.xattr.user.a=x\ny=z\0\n\n11 path=ab\n").expect("parses");
        assert_eq!(header.xattrs, [("user.a".into(), b"x\ny=z\0\n".to_vec())]);
        assert_eq!(header.path.as_deref(), Some(&b"ab"[..]));
        for bad in
            ["5 a=", "99 a=b\n", "6 a=bb", "x a=b\n", "0 a=b\n", "3 \n", "5 =b\n", "11 size=-1\n", "10 size=x\n\0"]
        {
            assert!(PaxHeader::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
