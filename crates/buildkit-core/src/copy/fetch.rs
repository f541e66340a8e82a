//! A URL's content into the container.

use std::io::{self, Read};
use std::path::Path;

use oci::Digest;
use oci::digest::{Algorithm, Hasher};
use rootfs::{Owner, Time};

use super::CopyError;
use super::put::Put;

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// As Buildah: nobody but the owner may read what came from the network.
const MODE: u32 = 0o600;

/// Downloads `url` to where `put` puts things. Its time is what the server says, else 1970.
pub(super) fn fetch(put: &mut Put<'_>, url: &str) -> Result<(), CopyError> {
    let unsupported = |reason| CopyError::Unsupported { source_text: url.to_owned(), reason };
    let path = url.split(['?', '#']).next().unwrap_or_default();
    if path.ends_with(".git") {
        return Err(unsupported("git repositories are not supported as sources yet"));
    }
    let remotes = put.options.remotes.ok_or_else(|| unsupported("URLs are not allowed here"))?;
    let after_host = path.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let url_name = after_host.rsplit('/').next().unwrap_or_default();
    let name = match &put.target.name {
        Some(name) => name.clone(),
        None if matches!(url_name, "" | "." | "..") => return Err(CopyError::NamelessUrl(url.to_owned())),
        None => url_name.into(),
    };
    let mut download = remotes.client()?.download(url)?;
    let mtime = download.last_modified().and_then(parse_http_date).unwrap_or_default();
    put.hasher.start("");
    let algorithm = put.options.checksum.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let mut hasher = Hasher::new(algorithm);
    let mode = put.options.chmod.as_ref().map_or(MODE, |chmod| chmod.apply(MODE, false));
    let owner = put.owner.unwrap_or(Owner::ROOT);
    let shown = Path::new(&name).to_owned();
    put.stream(&name, mode, owner, mtime, |file, content| {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match download.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(CopyError::Read { path: shown, source }),
                Ok(read) => buffer.get(..read).unwrap_or_default(),
            };
            if read.is_empty() {
                break;
            }
            hasher.update(read);
            content.update(read);
            io::Write::write_all(file, read).map_err(|source| CopyError::Write { path: shown.clone(), source })?;
        }
        let actual = hasher.finish();
        match &put.options.checksum {
            Some(expected) if *expected != actual => {
                Err(CopyError::WrongDigest { url: path.to_owned(), expected: expected.clone(), actual })
            }
            _ => Ok(()),
        }
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_http_date(text: &str) -> Option<Time> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Time::from_seconds(zoned.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_http_dates_are_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Time::from_seconds(784_111_777)));
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
