//! A URL's content.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use dockerfile::instruction::Checksum;
use oci::Digest;
use oci::digest::{Algorithm, Hasher};
use registry::DownloadError;
use rootfs::{Owner, Time};
use store::{Store, TemporaryDirectory};

use super::put::Put;
use super::{CopyError, CopyOptions, Meaning};

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Nobody but the owner may read what came from the network.
pub(super) const MODE: u32 = 0o600;
/// What BuildKit calls a file whose URL has no name.
const UNNAMED: &str = "__unnamed__";

/// A download that waits to be copied.
pub(super) struct Waiting {
    file: File,
    /// Digest of its content.
    pub digest: Digest,
    mtime: Time,
    _place: TemporaryDirectory,
}

/// Downloads `url` to a file of its own.
pub(super) fn ahead(store: &Store, url: &str, options: &CopyOptions<'_>) -> Result<Waiting, CopyError> {
    let place = store.temporary_directory()?;
    let path = place.path().join("download");
    let open = File::options().read(true).write(true).create_new(true).open(&path);
    let mut file = open.map_err(|source| CopyError::Write { path: path.clone(), source })?;
    let (digest, mtime) = download(url, options, &mut file, &path)?;
    Ok(Waiting { file, digest, mtime, _place: place })
}

/// Downloads `url`, unless it is there already, to where `put` puts things. Its time is what the
/// server says, else 1970.
pub(super) fn fetch(put: &mut Put<'_, '_, '_>, url: &str, waiting: Option<&Waiting>) -> Result<(), CopyError> {
    let name = match &put.target.name {
        Some(name) => name.clone(),
        None => file_name(url, put.options.meaning)?,
    };
    put.hasher.start("");
    let mode = put.options.chmod.as_ref().map_or(MODE, |chmod| chmod.apply(MODE, false));
    let owner = put.owner.unwrap_or(Owner::ROOT);
    let options = put.options;
    put.stream(&name, mode, owner, |file, hasher| {
        let (digest, mtime) = match waiting {
            Some(waiting) => {
                let mut from = &waiting.file;
                from.rewind()
                    .and_then(|()| io::copy(&mut from, file))
                    .map_err(|source| CopyError::Write { path: PathBuf::from(&name), source })?;
                (waiting.digest.clone(), waiting.mtime)
            }
            None => download(url, options, file, Path::new(&name))?,
        };
        hasher.field(digest.hex().as_bytes());
        Ok(mtime)
    })
}

/// Downloads `url` into `file`, and checks its digest. Gives the digest and the time that the
/// server says the content has, else 1970.
pub(super) fn download(
    url: &str,
    options: &CopyOptions<'_>,
    file: &mut File,
    shown: &Path,
) -> Result<(Digest, Time), CopyError> {
    let refused = CopyError::Unsupported { source_text: url.to_owned(), reason: "URLs are not allowed here" };
    let client = options.remotes.ok_or(refused)?.client()?;
    let mut download = client.download_with(url, authorization(url, options).as_deref())?;
    let write_error = |source| CopyError::Write { path: shown.to_owned(), source };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match download.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if has_restarted(&error) => {
                file.set_len(0).and_then(|()| file.rewind()).map_err(write_error)?;
                hasher = Hasher::new(Algorithm::Sha256);
                continue;
            }
            Err(source) => return Err(CopyError::Read { path: shown.to_owned(), source }),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
        };
        if read.is_empty() {
            break;
        }
        hasher.update(read);
        file.write_all(read).map_err(write_error)?;
    }
    let actual = hasher.finish();
    if let Some(Checksum::Digest(expected)) = &options.checksum
        && *expected != actual.to_string()
    {
        return Err(CopyError::WrongDigest { url: shown_url(url), expected: expected.clone(), actual });
    }
    Ok((actual, download.last_modified().and_then(parse_http_date).unwrap_or_default()))
}

fn has_restarted(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<DownloadError>());
    matches!(error, Some(DownloadError::Restarted { .. }))
}

/// What the secrets say for the URL's host: a whole header, or a token.
fn authorization(url: &str, options: &CopyOptions<'_>) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = without_port.map_or(host, |(name, _)| name).to_ascii_lowercase();
    let secret = |prefix: &str| {
        let content = options.secrets?.get(&format!("{prefix}_{name}"))?;
        std::str::from_utf8(content.as_bytes()).ok().map(|text| text.trim().to_owned())
    };
    secret("HTTP_AUTH_HEADER").or_else(|| secret("HTTP_AUTH_TOKEN").map(|token| format!("Bearer {token}")))
}

/// The file name in a URL.
pub(super) fn file_name(url: &str, meaning: Meaning) -> Result<OsString, CopyError> {
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let path = unescape(path);
    let mut path = path.as_slice();
    while meaning == Meaning::BuildKit
        && let Some(shorter) = path.strip_suffix(b"/")
    {
        path = shorter;
    }
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if !matches!(name, b"" | b"." | b"..") && !name.contains(&0) {
        return Ok(OsString::from_vec(name.to_vec()));
    }
    match meaning {
        Meaning::BuildKit => Ok(UNNAMED.into()),
        Meaning::Buildah => Err(CopyError::NamelessUrl(shown_url(url))),
    }
}

/// Undoes `%41`; what is no such thing stays.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|hex| first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    bytes
}

/// Without what may be a secret.
pub(crate) fn shown_url(url: &str) -> String {
    let address = url.split(['?', '#']).next().unwrap_or_default();
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
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
    fn pure_names_of_downloads() {
        let name = |url: &str, meaning| file_name(url, meaning).ok().map(|name| name.to_string_lossy().into_owned());
        for (url, buildkit, buildah) in [
            ("http://h/a/b.tar?x=/c#/d", "b.tar", Some("b.tar")),
            ("http://h/a%20b", "a b", Some("a b")),
            ("http://h/a%2Fb", "b", Some("b")),
            ("http://h/a%zz", "a%zz", Some("a%zz")),
            ("http://h/a/", "a", None),
            ("http://h/", "__unnamed__", None),
            ("http://h", "__unnamed__", None),
            ("http://h/..", "__unnamed__", None),
            ("http://h/%2e%2e", "__unnamed__", None),
            ("http://h/a%00", "__unnamed__", None),
        ] {
            assert_eq!(name(url, Meaning::BuildKit).as_deref(), Some(buildkit), "{url}");
            assert_eq!(name(url, Meaning::Buildah).as_deref(), buildah, "{url}");
        }
        assert_eq!(shown_url("https://u:p@h/x?token=1"), "https://h/x");
    }

    #[test]
    fn pure_http_dates_are_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Time::from_seconds(784_111_777)));
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
