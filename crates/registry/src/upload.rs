//! Writing a blob: a session (POST), one streamed PATCH, and the PUT that names the digest.
//!
//! The digest of a layer is known only once its last byte was compressed, so it cannot be named
//! at the beginning; with one PATCH the bytes still pass once, without a copy on disk.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use oci::Digest;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::Call;
use crate::error::RegistryError;
use crate::origin::Origin;
use crate::repository::{Repository, header_text};

/// Bytes sent at once.
const CHUNK: usize = 128 * 1024;
/// Chunks that may wait for the network.
const QUEUE: usize = 4;

/// A blob being uploaded. Dropped unfinished, the session on the registry is cancelled.
pub struct Upload {
    repository: Repository,
    subject: String,
    buffer: BytesMut,
    sender: Option<mpsc::Sender<Bytes>>,
    request: Option<JoinHandle<reqwest::Result<Response>>>,
    location: Option<Url>,
}

/// How a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The blob is in the repository.
    Done,
    /// The registry wants it uploaded.
    NotPossible,
}

impl Repository {
    /// Makes the registry take `digest` from its repository `from`. An upload session that it
    /// opens instead is closed again.
    pub fn mount_blob(&self, digest: &Digest, from: &str) -> Result<Mount, RegistryError> {
        let subject = format!("blob {digest}");
        self.block_on(async {
            let mut url = self.url(&["blobs", "uploads", ""]).await?;
            url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
            let mut access = self.push_access().clone();
            access.mount_from = Some(from.to_owned());
            let call = Call::new(Method::POST, url, &subject, &access, self.retries()).empty_body();
            let response = self.host.send(&self.client, &call, &[]).await?;
            match response.status() {
                StatusCode::CREATED => Ok(Mount::Done),
                _ => {
                    if let Ok(location) = self.host.location(&response, &subject) {
                        self.cancel(location, &subject).await;
                    }
                    Ok(Mount::NotPossible)
                }
            }
        })
    }

    /// Opens an upload session; the bytes are then written to what is returned.
    pub fn upload(&self) -> Result<Upload, RegistryError> {
        let subject = format!("a blob of {}", self.reference.name());
        let (location, request, sender) = self.block_on(async {
            let url = self.url(&["blobs", "uploads", ""]).await?;
            let call = Call::new(Method::POST, url, &subject, self.push_access(), self.retries()).empty_body();
            let response = self.host.send(&self.client, &call, &[]).await?;
            let location = self.host.location(&response, &subject)?;
            let reached = self.reach().await?;
            let header = self.host.tokens.header(&self.host, &self.client, &reached, self.push_access(), None).await?;
            let (sender, receiver) = mpsc::channel(QUEUE);
            let request = self
                .host
                .request(&self.client, &reached, Method::PATCH, location.clone(), header.as_ref(), &subject)?
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(reqwest::Body::wrap(Chunks { receiver }));
            Ok::<_, RegistryError>((location, tokio::spawn(request.send()), sender))
        })?;
        Ok(Upload {
            repository: self.clone(),
            subject,
            buffer: BytesMut::with_capacity(CHUNK),
            sender: Some(sender),
            request: Some(request),
            location: Some(location),
        })
    }

    async fn cancel(&self, location: Url, subject: &str) {
        let Ok(reached) = self.reach().await else { return };
        // Only the registry itself is told: a session elsewhere ends by its own clock.
        if Origin::of(&location).is_none_or(|origin| origin != reached.origin) {
            return;
        }
        let call = Call::new(Method::DELETE, location, subject, self.push_access(), 0);
        // Best effort: the registry cleans up what is left.
        let _ = self.host.send(&self.client, &call, &[]).await;
    }
}

impl Upload {
    /// Sends what is left and has the registry store the blob as `digest`.
    pub fn finish(mut self, digest: &Digest) -> Result<(), RegistryError> {
        self.send_buffer()?;
        self.sender = None;
        let repository = self.repository.clone();
        let response = self.answer()?;
        let mut location = repository.host.location(&response, &self.subject)?;
        self.location = None;
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let subject = format!("blob {digest}");
        repository.block_on(async {
            let call =
                Call::new(Method::PUT, location, &subject, repository.push_access(), repository.retries()).empty_body();
            let response = repository.host.send(&repository.client, &call, &[]).await?;
            let stated =
                header_text(response.headers(), "docker-content-digest").and_then(|text| Digest::parse(&text).ok());
            match stated {
                Some(actual) if actual.algorithm() == digest.algorithm() && actual != *digest => {
                    Err(RegistryError::WrongDigest {
                        host: repository.host.name.clone(),
                        subject: subject.clone(),
                        expected: digest.clone(),
                        actual,
                    })
                }
                _ => Ok(()),
            }
        })
    }

    /// The answer to the PATCH, once its body is complete.
    fn answer(&mut self) -> Result<Response, RegistryError> {
        let Some(request) = self.request.take() else { return Err(self.given_up()) };
        let repository = self.repository.clone();
        let after = repository.client.shared.options.stall_timeout;
        let subject = self.subject.clone();
        let host = repository.host.name.clone();
        repository.block_on(async {
            match tokio::time::timeout(after, request).await {
                Err(_) => Err(RegistryError::Stalled { host, subject, after }),
                Ok(Err(error)) => Err(RegistryError::Broken { host, subject, reason: error.to_string() }),
                Ok(Ok(Err(error))) => Err(repository.host.send_error(&error, &subject, &repository.client)),
                Ok(Ok(Ok(response))) if response.status().is_success() => Ok(response),
                Ok(Ok(Ok(response))) => Err(repository.host.status_error(response, "the upload", &subject).await),
            }
        })
    }

    fn send_buffer(&mut self) -> Result<(), RegistryError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.split().freeze();
        self.buffer.reserve(CHUNK);
        let Some(sender) = self.sender.clone() else {
            return Err(self.given_up());
        };
        let after = self.repository.client.shared.options.stall_timeout;
        match self.repository.block_on(async { tokio::time::timeout(after, sender.send(bytes)).await }) {
            Ok(Ok(())) => Ok(()),
            // The request ended before its body did: its answer says why.
            Ok(Err(_)) => {
                self.sender = None;
                Err(match self.answer() {
                    Err(error) => error,
                    Ok(response) => RegistryError::Protocol {
                        host: self.repository.host.name.clone(),
                        subject: self.subject.clone(),
                        reason: format!("it answered {} before the upload was complete", response.status()),
                    },
                })
            }
            Err(_) => {
                self.sender = None;
                let host = self.repository.host.name.clone();
                Err(RegistryError::Stalled { host, subject: self.subject.clone(), after })
            }
        }
    }

    fn given_up(&self) -> RegistryError {
        RegistryError::Broken {
            host: self.repository.host.name.clone(),
            subject: self.subject.clone(),
            reason: "the upload was already given up".into(),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.buffer.len().min(CHUNK);
        let taken = buf.get(..room.min(buf.len())).unwrap_or_default();
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= CHUNK {
            self.send_buffer()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(request) = self.request.take() {
            request.abort();
        }
        if let Some(location) = self.location.take() {
            let repository = self.repository.clone();
            let subject = self.subject.clone();
            let work = async move { repository.cancel(location, &subject).await };
            let limit = std::time::Duration::from_secs(5);
            self.repository.block_on(async { tokio::time::timeout(limit, work).await }).ok();
        }
    }
}

/// The queue as a request body.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}
