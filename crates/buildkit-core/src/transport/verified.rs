//! A stream of a file that is checked against the digest and size it should have.

use std::io::{self, Read};

use oci::Digest;
use oci::digest::Hasher;

use super::TransportError;

/// Reads through; at the end digest and size must be right.
pub(crate) struct Verified<R> {
    inner: R,
    place: String,
    digest: Digest,
    size: Option<u64>,
    hasher: Option<Hasher>,
    count: u64,
}

impl<R: Read> Verified<R> {
    pub(crate) fn new(inner: R, place: String, digest: &Digest, size: Option<u64>) -> Verified<R> {
        let hasher = Some(Hasher::new(digest.algorithm()));
        Verified { inner, place, digest: digest.clone(), size, hasher, count: 0 }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        self.count += n as u64;
        let wrong_size = |expected, longer| TransportError::WrongSize {
            place: self.place.clone(),
            digest: self.digest.clone(),
            expected,
            longer,
        };
        if let Some(expected) = self.size.filter(|size| self.count > *size) {
            return Err(wrong_size(expected, true).into());
        }
        if n > 0 {
            if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buf.get(..n)) {
                hasher.update(bytes);
            }
            return Ok(n);
        }
        if let Some(expected) = self.size.filter(|size| self.count < *size) {
            return Err(wrong_size(expected, false).into());
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.digest => {
                let (place, expected) = (self.place.clone(), self.digest.clone());
                Err(TransportError::WrongDigest { place, expected, actual }.into())
            }
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let result = Verified::new(bytes, "here".into(), digest, size).read_to_end(&mut out);
        result.map(|_| out).map_err(|error| error.to_string())
    }

    #[test]
    fn pure_streams_must_have_the_digest_and_size_asked_for() {
        let digest = Digest::of(b"brick");
        assert_eq!(read(b"brick", &digest, Some(5)).as_deref(), Ok(&b"brick"[..]));
        assert_eq!(read(b"brick", &digest, None).as_deref(), Ok(&b"brick"[..]));
        assert!(read(b"brock", &digest, Some(5)).is_err_and(|text| text.contains("has digest")));
        assert!(read(b"bricks", &digest, Some(5)).is_err_and(|text| text.contains("longer")));
        assert!(read(b"bric", &digest, Some(5)).is_err_and(|text| text.contains("shorter")));
        assert!(read(b"brick", &digest, Some(1 << 62)).is_err_and(|text| text.contains("shorter")));
    }
}
