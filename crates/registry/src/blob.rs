//! Reading a blob: a stream that is checked against digest and size, and that takes up again
//! where the connection broke.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use oci::Digest;
use oci::digest::Hasher;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, Response, StatusCode};

use crate::client::{Call, Notice};
use crate::error::RegistryError;
use crate::repository::{Repository, header_text};

/// Bytes after which a broken connection counts as a new trouble, with all its retries.
const PROGRESS: u64 = 1024 * 1024;

/// A blob being downloaded. Reading to the end without an error means that its digest (and its
/// size, if one was given) is right; the errors are [`RegistryError`]s in [`io::Error`].
pub struct BlobReader {
    repository: Repository,
    digest: Digest,
    expected: Option<u64>,
    response: Option<Response>,
    chunk: Bytes,
    hasher: Option<Hasher>,
    offset: u64,
    /// Bytes of the new response that were already delivered.
    skip: u64,
    failures: u32,
    failed_at: u64,
}

impl Repository {
    /// Begins the download of `digest`, which must be `size` bytes if that is given.
    pub fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobReader, RegistryError> {
        let mut reader = BlobReader {
            repository: self.clone(),
            digest: digest.clone(),
            expected: size,
            response: None,
            chunk: Bytes::new(),
            hasher: Some(Hasher::new(digest.algorithm())),
            offset: 0,
            skip: 0,
            failures: 0,
            failed_at: 0,
        };
        reader.connect()?;
        Ok(reader)
    }

    /// The whole blob `digest`, for configs: longer than `limit` bytes is an error.
    pub fn small_blob(&self, digest: &Digest, size: Option<u64>, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let mut reader = self.blob(digest, size)?;
        loop {
            let chunk = reader.next_chunk()?;
            if chunk.is_empty() {
                return Ok(bytes);
            }
            if bytes.len() + chunk.len() > limit {
                return Err(RegistryError::TooLarge {
                    host: self.host.name.clone(),
                    subject: reader.subject(),
                    limit: limit as u64,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
    }
}

impl BlobReader {
    fn subject(&self) -> String {
        format!("blob {}", self.digest)
    }

    /// Sends the request for what is missing.
    fn connect(&mut self) -> Result<(), RegistryError> {
        let subject = self.subject();
        let repository = self.repository.clone();
        let response = repository.block_on(async {
            let url = repository.url(&["blobs", &self.digest.to_string()]).await?;
            let mut call = Call::new(Method::GET, url, &subject, repository.pull_access(), repository.retries());
            if self.offset > 0 {
                call = call.range_from(self.offset);
            }
            repository.host.send(&repository.client, &call, &[StatusCode::RANGE_NOT_SATISFIABLE]).await
        })?;
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let start = header_text(response.headers(), CONTENT_RANGE.as_str())
                    .and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
                if self.offset == 0 || start != Some(self.offset) {
                    return Err(RegistryError::Protocol {
                        host: repository.host.name.clone(),
                        subject,
                        reason: "it sent another range than was asked for".into(),
                    });
                }
                0
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(RegistryError::WrongSize {
                    host: repository.host.name.clone(),
                    subject,
                    expected: self.expected.unwrap_or(self.offset),
                    actual: self.offset,
                    more: false,
                });
            }
            // It does not know ranges: read the beginning again, unhashed.
            _ => self.offset,
        };
        self.response = Some(response);
        Ok(())
    }

    /// The next bytes, empty at the end.
    fn next_chunk(&mut self) -> Result<Bytes, RegistryError> {
        loop {
            let subject = self.subject();
            let received = match &mut self.response {
                Some(response) => {
                    let repository = &self.repository;
                    repository.block_on(repository.host.in_time(&repository.client, &subject, response.chunk()))
                }
                None => return Ok(Bytes::new()),
            };
            match received {
                Ok(Some(mut chunk)) => {
                    let skipped = self.skip.min(chunk.len() as u64);
                    self.skip -= skipped;
                    chunk.advance(skipped as usize);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.offset += chunk.len() as u64;
                    if let Some(expected) = self.expected.filter(|expected| self.offset > *expected) {
                        return Err(RegistryError::WrongSize {
                            host: self.repository.host.name.clone(),
                            subject,
                            expected,
                            actual: expected,
                            more: true,
                        });
                    }
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&chunk);
                    }
                    return Ok(chunk);
                }
                // A broken connection is an error of the HTTP library: this is all that the registry has.
                Ok(None) if self.expected.is_some_and(|expected| self.offset < expected) || self.skip > 0 => {
                    return Err(RegistryError::WrongSize {
                        host: self.repository.host.name.clone(),
                        subject,
                        expected: self.expected.unwrap_or(self.offset),
                        actual: self.offset - self.skip.min(self.offset),
                        more: false,
                    });
                }
                Ok(None) => {
                    self.response = None;
                    self.finish()?;
                    return Ok(Bytes::new());
                }
                Err(error) => self.resume(error)?,
            }
        }
    }

    /// Connects again after `error`, unless too much went wrong at this place.
    fn resume(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.response = None;
        if self.offset >= self.failed_at + PROGRESS {
            self.failures = 0;
        }
        if self.failures >= self.repository.retries() || !error.is_transient() {
            return Err(error.exhausted());
        }
        let wait = self.repository.client.shared.options.retry.wait(self.failures);
        self.failures += 1;
        self.failed_at = self.offset;
        self.repository.client.notice(Notice::Retry { error: error.to_string(), wait });
        std::thread::sleep(wait);
        self.connect()
    }

    fn finish(&mut self) -> Result<(), RegistryError> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let actual = hasher.finish();
        if actual == self.digest {
            return Ok(());
        }
        Err(RegistryError::WrongDigest {
            host: self.repository.host.name.clone(),
            subject: self.subject(),
            expected: self.digest.clone(),
            actual,
        })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            self.chunk = self.next_chunk()?;
        }
        let n = self.chunk.len().min(buf.len());
        if let (Some(target), Some(source)) = (buf.get_mut(..n), self.chunk.get(..n)) {
            target.copy_from_slice(source);
        }
        self.chunk.advance(n);
        Ok(n)
    }
}
