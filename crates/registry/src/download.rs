//! Downloading a file by its URL, as ADD does: from any server, without credentials.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use reqwest::header::LAST_MODIFIED;
use reqwest::{Response, Url};

use crate::client::Client;
use crate::error::root_cause;
use crate::repository::header_text;

/// Redirects followed for one download.
const MAX_REDIRECTS: usize = 10;

/// A URL whose content could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It is no http or https URL.
    #[error("invalid URL {url:?}: {reason}")]
    Invalid {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server could not be reached, or the transfer broke off.
    #[error("cannot download {url}: {reason}")]
    Failed {
        /// Without user, password and query.
        url: String,
        /// The lowest cause that could be found.
        reason: String,
    },
    /// The server does not give it.
    #[error("cannot download {url}: the server answered {status}")]
    Status {
        /// Without user, password and query.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A redirect that is not followed.
    #[error("cannot download {url}: it points to {target}, which is refused: {reason}")]
    Refused {
        /// Without user, password and query.
        url: String,
        /// Where it pointed.
        target: String,
        /// Why not.
        reason: &'static str,
    },
}

/// A file being downloaded. Reading to the end without an error means that all of it came; the
/// errors are [`DownloadError`]s in [`io::Error`].
pub struct Download {
    client: Client,
    response: Response,
    chunk: Bytes,
    shown: String,
    last_modified: Option<String>,
}

impl Client {
    /// Begins to download `url` (http or https). Redirects are followed, but never from https to
    /// http. Certificates are always checked; no credentials of registries are sent.
    pub fn download(&self, url: &str) -> Result<Download, DownloadError> {
        let invalid = |reason: String| DownloadError::Invalid { url: url.to_owned(), reason };
        let mut at = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let mut secure = false;
        for _ in 0..=MAX_REDIRECTS {
            let shown = shown(&at);
            match at.scheme() {
                "https" => secure = true,
                "http" if !secure => {}
                "http" => {
                    let url = url.split(['?', '#']).next().unwrap_or_default().to_owned();
                    return Err(DownloadError::Refused { url, target: shown, reason: "it leads from https to http" });
                }
                other => return Err(invalid(format!("expected http or https, not {other}"))),
            }
            let request = self.shared.foreign.get(at.clone()).send();
            let response = self.wait(&shown, request)?;
            let status = response.status();
            if status.is_redirection() {
                let target = header_text(response.headers(), "location");
                let target = target.and_then(|target| at.join(&target).ok());
                let failed = || DownloadError::Status { url: shown.clone(), status: status.as_u16() };
                at = target.ok_or_else(failed)?;
                continue;
            }
            if !status.is_success() {
                return Err(DownloadError::Status { url: shown, status: status.as_u16() });
            }
            let last_modified = header_text(response.headers(), LAST_MODIFIED.as_str());
            return Ok(Download { client: self.clone(), response, chunk: Bytes::new(), shown, last_modified });
        }
        Err(DownloadError::Failed { url: shown(&at), reason: "too many redirects".into() })
    }

    fn wait<T>(&self, shown: &str, work: impl Future<Output = reqwest::Result<T>>) -> Result<T, DownloadError> {
        let after = self.shared.options.stall_timeout;
        let failed = |reason| DownloadError::Failed { url: shown.to_owned(), reason };
        match self.shared.runtime.block_on(async { tokio::time::timeout(after, work).await }) {
            Ok(result) => result.map_err(|error| failed(root_cause(&error))),
            Err(_) => Err(failed(format!("no progress for {} seconds", after.as_secs()))),
        }
    }
}

impl Download {
    /// The `Last-Modified` header as the server sent it.
    pub fn last_modified(&self) -> Option<&str> {
        self.last_modified.as_deref()
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let next = self.client.clone().wait(&self.shown, self.response.chunk()).map_err(io::Error::other)?;
            match next {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let n = self.chunk.len().min(buf.len());
        if let Some(part) = buf.get_mut(..n) {
            self.chunk.copy_to_slice(part);
        }
        Ok(n)
    }
}

/// Without what may be a secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
