//! Random IDs and names.

use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::{Error, Result};

/// `N` bytes of the kernel's randomness.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut buffer = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("read", Path::new("/dev/urandom"))(errno)),
        }
    }
    Ok(buffer)
}

/// 64 hex digits for a record. Their beginning is never a decimal number, which the Go tools
/// would not take for an ID.
pub(crate) fn id() -> Result<String> {
    loop {
        let hex = oci::digest::to_hex(&bytes::<32>()?);
        if hex.bytes().take(12).any(|b| b.is_ascii_alphabetic()) {
            return Ok(hex);
        }
    }
}

/// The 26 characters of base32 that name a layer in `l/`.
pub(crate) fn link_name() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    Ok(bytes::<26>()?.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// A suffix for a temporary file.
pub(crate) fn suffix() -> Result<String> {
    Ok(oci::digest::to_hex(&bytes::<8>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_random_names_have_the_right_form() {
        assert!(oci::LayerId::parse(&id().expect("random")).is_ok());
        let link = link_name().expect("random");
        assert_eq!(link.len(), 26);
        assert!(link.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')));
    }
}
