//! Downloading a file by its URL, as ADD does: from any server.
//!
//! What may succeed later is tried again, as often and after such waits as the client's
//! [`RetryOptions`](crate::RetryOptions) say. A transfer that breaks off goes on where it was if
//! the server says that the content is still the same; otherwise it begins anew.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE};
use reqwest::{Response, StatusCode, Url};

use crate::client::{Client, Notice, explain, http_client, is_permanent};
use crate::error::root_cause;
use crate::origin::Origin;
use crate::repository::header_text;
use crate::retry::{MAX_RETRY_AFTER, retry_after};

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
    #[error("cannot download {url}: invalid response status {status}")]
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
    /// The transfer broke off and began anew: what was read so far counts for nothing, and the
    /// next read gives the content from its beginning.
    #[error("cannot download {url}: the transfer broke off, and the server cannot go on where it was")]
    Restarted {
        /// Without user, password and query.
        url: String,
    },
}

/// A file being downloaded. Reading to the end without an error means that all of it came; the
/// errors are [`DownloadError`]s in [`io::Error`].
pub struct Download {
    client: Client,
    request: Request,
    response: Response,
    chunk: Bytes,
    /// Bytes that came.
    position: u64,
    /// What tells whether the content is still the same.
    validator: Option<HeaderValue>,
    /// Attempts since the last progress.
    attempt: u32,
    restarts: u32,
    last_modified: Option<String>,
}

/// What is asked for, as often as need be.
struct Request {
    url: Url,
    /// For the URL's own origin only.
    authorization: Option<HeaderValue>,
    /// The same.
    http: reqwest::Client,
}

/// A request that failed, and whether another could succeed.
struct Failure {
    error: DownloadError,
    transient: bool,
    retry_after: Option<Duration>,
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Failure {
        Failure { error, transient: false, retry_after: None }
    }
}

impl Client {
    /// Begins to download `url` (http or https), without credentials but those in the URL.
    /// Redirects are followed, but never from https to http.
    pub fn download(&self, url: &str) -> Result<Download, DownloadError> {
        self.download_with(url, None)
    }

    /// The same; `authorization` is the value of a header that goes to the URL's own origin and is
    /// not sent where redirects lead. So do the flags for certificates count for that origin alone.
    pub fn download_with(&self, url: &str, authorization: Option<&str>) -> Result<Download, DownloadError> {
        let invalid = |reason: String| DownloadError::Invalid { url: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        if Origin::of(&parsed).is_none() {
            return Err(invalid(format!("expected http or https, not {}", parsed.scheme())));
        }
        let authorization = authorization
            .map(|text| HeaderValue::from_str(text.trim()))
            .transpose()
            .map_err(|_| invalid("its authorization is no text for a header".to_owned()))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let http = self
            .http_for_origin(&parsed)
            .map_err(|error| DownloadError::Failed { url: shown(&parsed), reason: error.to_string() })?;
        let request = Request { url: parsed, authorization, http };
        let mut attempt = 0;
        let response = self.open(&request, None, &mut attempt)?;
        let last_modified = header_text(response.headers(), LAST_MODIFIED.as_str());
        let validator = validator(&response);
        Ok(Download {
            client: self.clone(),
            request,
            response,
            chunk: Bytes::new(),
            position: 0,
            validator,
            attempt: 0,
            restarts: 0,
            last_modified,
        })
    }

    /// The connection for the origin that the user named.
    fn http_for_origin(&self, url: &Url) -> Result<reqwest::Client, crate::RegistryError> {
        let tls = &self.shared.options.tls;
        if tls.verify != Some(false) && tls.cert_dir.is_none() {
            return Ok(self.shared.foreign.clone());
        }
        let certificates = tls.certificates(url.host_str().unwrap_or_default())?;
        http_client(&self.shared.options, certificates, tls.verify == Some(false))
    }

    /// Asks until there is an answer that is no failure, or that no further attempt would mend.
    fn open(
        &self,
        request: &Request,
        from: Option<(u64, &HeaderValue)>,
        attempt: &mut u32,
    ) -> Result<Response, DownloadError> {
        loop {
            let failure = match self.ask(request, from) {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            if !failure.transient || *attempt >= self.shared.options.retry.count {
                return Err(failure.error);
            }
            self.pause_download(&failure, *attempt);
            *attempt += 1;
        }
    }

    fn pause_download(&self, failure: &Failure, attempt: u32) {
        let own = self.shared.options.retry.wait(attempt);
        let wait = failure.retry_after.map_or(own, |asked| asked.clamp(own, MAX_RETRY_AFTER.max(own)));
        self.notice(Notice::Retry { error: failure.error.to_string(), wait });
        std::thread::sleep(wait);
    }

    /// One request and its redirects.
    fn ask(&self, request: &Request, from: Option<(u64, &HeaderValue)>) -> Result<Response, Failure> {
        let own = Origin::of(&request.url);
        let mut at = request.url.clone();
        let mut secure = false;
        for _ in 0..=MAX_REDIRECTS {
            let at_shown = shown(&at);
            let refused =
                |reason| DownloadError::Refused { url: shown(&request.url), target: at_shown.clone(), reason };
            match at.scheme() {
                "https" => secure = true,
                "http" if !secure => {}
                "http" => return Err(refused("it leads from https to http").into()),
                _ => return Err(refused("it is no http or https address").into()),
            }
            let mut builder = if Origin::of(&at) == own {
                let builder = request.http.get(at.clone());
                match &request.authorization {
                    Some(value) => builder.header(AUTHORIZATION, value.clone()),
                    None => builder,
                }
            } else {
                // A user part in the address would become a header of the other side's choice.
                let _ = at.set_username("");
                let _ = at.set_password(None);
                self.shared.foreign.get(at.clone())
            };
            if let Some((position, validator)) = from {
                builder = builder.header(RANGE, format!("bytes={position}-")).header(IF_RANGE, validator.clone());
            }
            let response = self.wait(&at_shown, builder.send())?;
            let status = response.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let target = header_text(response.headers(), LOCATION.as_str());
                let target = target.and_then(|target| at.join(&target).ok());
                at = target.ok_or(DownloadError::Status { url: at_shown, status: status.as_u16() })?;
                continue;
            }
            if !status.is_success() {
                return Err(Failure {
                    error: DownloadError::Status { url: at_shown, status: status.as_u16() },
                    transient: matches!(status.as_u16(), 408 | 429) || status.is_server_error(),
                    retry_after: retry_after(response.headers()),
                });
            }
            return Ok(response);
        }
        Err(DownloadError::Failed { url: shown(&at), reason: "too many redirects".into() }.into())
    }

    fn wait<T>(&self, shown: &str, work: impl Future<Output = reqwest::Result<T>>) -> Result<T, Failure> {
        let after = self.shared.options.stall_timeout;
        let failed = |reason, transient| Failure {
            error: DownloadError::Failed { url: shown.to_owned(), reason },
            transient,
            retry_after: None,
        };
        match self.shared.runtime.block_on(async { tokio::time::timeout(after, work).await }) {
            Ok(result) => result.map_err(|error| failed(explain(&root_cause(&error)), !is_permanent(&error))),
            Err(_) => Err(failed(format!("no progress for {} seconds", after.as_secs()), true)),
        }
    }
}

impl Download {
    /// The `Last-Modified` header as the server sent it.
    pub fn last_modified(&self) -> Option<&str> {
        self.last_modified.as_deref()
    }

    /// Goes on after a transfer broke off.
    fn resume(&mut self, failure: Failure) -> Result<(), DownloadError> {
        if !failure.transient || self.attempt >= self.client.shared.options.retry.count {
            return Err(failure.error);
        }
        let client = self.client.clone();
        client.pause_download(&failure, self.attempt);
        self.attempt += 1;
        let from = self.validator.as_ref().filter(|_| self.position > 0).map(|validator| (self.position, validator));
        self.response = client.open(&self.request, from, &mut self.attempt)?;
        let url = shown(&self.request.url);
        if self.response.status() == StatusCode::PARTIAL_CONTENT {
            let range = header_text(self.response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
            if from.is_some() && range.starts_with(&format!("bytes {}-", self.position)) {
                return Ok(());
            }
            return Err(DownloadError::Failed { url, reason: format!("the server gives another range ({range:?})") });
        }
        if self.position == 0 {
            return Ok(());
        }
        self.restarts += 1;
        if self.restarts > client.shared.options.retry.count {
            return Err(failure.error);
        }
        self.position = 0;
        self.validator = validator(&self.response);
        self.last_modified = header_text(self.response.headers(), LAST_MODIFIED.as_str());
        Err(DownloadError::Restarted { url })
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let shown = shown(&self.request.url);
            match self.client.clone().wait(&shown, self.response.chunk()) {
                Ok(Some(chunk)) => {
                    if !chunk.is_empty() {
                        self.attempt = 0;
                    }
                    self.chunk = chunk;
                }
                Ok(None) => return Ok(0),
                Err(failure) => self.resume(failure).map_err(io::Error::other)?,
            }
        }
        let n = self.chunk.len().min(buf.len());
        if let Some(part) = buf.get_mut(..n) {
            self.chunk.copy_to_slice(part);
        }
        self.position += n as u64;
        Ok(n)
    }
}

/// What an `If-Range` can ask for: a strong entity tag, or a date.
fn validator(response: &Response) -> Option<HeaderValue> {
    let strong = response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    strong.or_else(|| response.headers().get(LAST_MODIFIED)).cloned()
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
