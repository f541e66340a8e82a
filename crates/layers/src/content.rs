//! What two layers have in common if the same step made them at different times.
//!
//! The digest covers what the tar says of each entry, and its content, but for modification times
//! that the step itself set. BLAKE3, since it is computed beside the diff ID and must cost little.

use std::fmt;
use std::os::unix::ffi::OsStrExt;

use rootfs::Time;
use serde::{Deserialize, Serialize};

use crate::tar_write::TarEntry;

/// Digest of a layer's content, apart from times; as a text, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentDigest(String);

impl ContentDigest {
    /// The digest that these 64 hexadecimal digits are, if they are ones.
    pub fn parse(text: &str) -> Option<ContentDigest> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| ContentDigest(text.to_owned()))
    }

    /// The digest as 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's time comes from a clock that may be behind by this much.
const CLOCK_STEP_NANOSECONDS: i128 = 20_000_000;

/// Collects the entries of a layer.
pub(crate) struct ContentHasher {
    hasher: blake3::Hasher,
    began: Time,
}

impl ContentHasher {
    /// `began` is when the step began.
    pub fn new(began: Time) -> ContentHasher {
        ContentHasher { hasher: blake3::Hasher::new(), began }
    }

    /// The next entry; its content follows.
    pub fn entry(&mut self, entry: &TarEntry) {
        self.field(&entry.path);
        self.field(&entry.link);
        let numbers = [
            u64::from(entry.kind.as_byte()),
            u64::from(entry.mode),
            u64::from(entry.owner.uid),
            u64::from(entry.owner.gid),
            entry.size,
            u64::from(entry.device.major),
            u64::from(entry.device.minor),
            entry.xattrs.len() as u64,
        ];
        numbers.iter().for_each(|number| _ = self.hasher.update(&number.to_le_bytes()));
        for (key, value) in &entry.xattrs {
            self.field(key.as_bytes());
            self.field(value);
        }
        let is_new = nanoseconds(entry.mtime) + CLOCK_STEP_NANOSECONDS >= nanoseconds(self.began);
        let mtime = if is_new { i128::MAX } else { nanoseconds(entry.mtime) };
        self.hasher.update(&mtime.to_le_bytes());
    }

    /// Bytes of the last entry's content.
    pub fn data(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub fn finish(self) -> ContentDigest {
        ContentDigest(self.hasher.finalize().to_hex().to_string())
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}

fn nanoseconds(time: Time) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootfs::{Device, Owner};
    use tar::EntryType;

    fn entry(path: &str, mtime: i64) -> TarEntry {
        TarEntry {
            path: path.into(),
            kind: EntryType::Regular,
            link: Vec::new(),
            mode: 0o644,
            owner: Owner::ROOT,
            size: 1,
            mtime: Time::from_seconds(mtime),
            device: Device::default(),
            xattrs: Vec::new(),
        }
    }

    fn digest(began: i64, entries: &[(TarEntry, &str)]) -> ContentDigest {
        let mut hasher = ContentHasher::new(Time::from_seconds(began));
        for (entry, content) in entries {
            hasher.entry(entry);
            hasher.data(content.as_bytes());
        }
        hasher.finish()
    }

    #[test]
    fn pure_only_times_of_the_step_itself_do_not_count() {
        let first = digest(100, &[(entry("a", 100), "x"), (entry("b", 7), "y")]);
        assert_eq!(first, digest(200, &[(entry("a", 203), "x"), (entry("b", 7), "y")]));
        for other in [
            digest(200, &[(entry("a", 203), "x"), (entry("b", 8), "y")]),
            digest(200, &[(entry("a", 100), "x"), (entry("b", 7), "y")]),
            digest(200, &[(entry("a", 203), "z"), (entry("b", 7), "y")]),
            digest(200, &[(entry("b", 7), "y"), (entry("a", 203), "x")]),
            digest(200, &[(TarEntry { mode: 0o600, ..entry("a", 203) }, "x"), (entry("b", 7), "y")]),
        ] {
            assert_ne!(first, other);
        }
    }
}
