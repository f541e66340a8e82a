//! One repository on one registry: manifests and tags. Blobs are in [`crate::blob`] and
//! [`crate::upload`].

use std::sync::Arc;

use bytes::Bytes;
use oci::{Digest, Reference, media_type};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};

use crate::client::{Call, Client, Host, Reached, capped_body};
use crate::error::RegistryError;
use crate::token::Access;

/// Longest manifest that is read or written (the specification asks for at least this).
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// A repository. Cheap to clone; calls may come from several threads.
#[derive(Clone)]
pub struct Repository {
    pub(crate) client: Client,
    pub(crate) host: Arc<Host>,
    pub(crate) reference: Reference,
    pull: Access,
    push: Access,
}

/// Tag or digest of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By tag.
    Tag(String),
    /// By digest: what comes is checked against it.
    Digest(Digest),
}

impl Selector {
    /// The digest of `reference` if it has one, else its tag, else `latest`.
    pub fn of(reference: &Reference) -> Selector {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Selector::Digest(digest.clone()),
            (None, tag) => Selector::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }

    fn text(&self) -> String {
        match self {
            Selector::Tag(tag) => tag.clone(),
            Selector::Digest(digest) => digest.to_string(),
        }
    }
}

/// A manifest or index as the registry gave it.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their type, if the registry said.
    pub media_type: Option<String>,
    /// Their digest, computed here.
    pub digest: Digest,
}

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug)]
pub struct ManifestHead {
    /// The digest, if the registry said.
    pub digest: Option<Digest>,
}

impl Repository {
    pub(crate) fn new(client: Client, host: Arc<Host>, reference: Reference) -> Repository {
        let access = |push| Access { repository: reference.path().to_owned(), push, mount_from: None };
        Repository { client, host, pull: access(false), push: access(true), reference }
    }

    /// What the repository was asked for as.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest or index at `selector`. Asked for by digest, other bytes are an error.
    pub fn manifest(&self, selector: &Selector) -> Result<RawManifest, RegistryError> {
        let subject = self.named(selector);
        self.block_on(async {
            let url = self.url(&["manifests", &selector.text()]).await?;
            let accept = [
                media_type::OCI_MANIFEST,
                media_type::OCI_INDEX,
                media_type::DOCKER_MANIFEST,
                media_type::DOCKER_MANIFEST_LIST,
            ]
            .join(", ");
            let call = Call::new(Method::GET, url, &subject, &self.pull, self.retries()).accept(&accept);
            let response = self.host.send(&self.client, &call, &[]).await?;
            let media_type = header_text(response.headers(), CONTENT_TYPE.as_str())
                .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
            let stated = header_text(response.headers(), "docker-content-digest");
            let bytes = capped_body(&self.host, &self.client, response, MAX_MANIFEST, &subject).await?;
            let wanted = match selector {
                Selector::Digest(digest) => Some(digest.clone()),
                // Only a digest of an algorithm that we know can be compared.
                Selector::Tag(_) => stated.and_then(|text| Digest::parse(&text).ok()),
            };
            let algorithm = wanted.as_ref().map_or(oci::digest::Algorithm::Sha256, Digest::algorithm);
            let mut hasher = oci::digest::Hasher::new(algorithm);
            hasher.update(&bytes);
            let digest = hasher.finish();
            match wanted {
                Some(expected) if expected != digest => Err(RegistryError::WrongDigest {
                    host: self.host.name.clone(),
                    subject: subject.clone(),
                    expected,
                    actual: digest,
                }),
                _ => Ok(RawManifest { bytes, media_type, digest }),
            }
        })
    }

    /// Whether there is a manifest at `selector`, without reading it.
    pub fn manifest_head(&self, selector: &Selector) -> Result<Option<ManifestHead>, RegistryError> {
        let subject = self.named(selector);
        self.block_on(async {
            let url = self.url(&["manifests", &selector.text()]).await?;
            let accept = format!(
                "{}, {}, {}, {}",
                media_type::OCI_MANIFEST,
                media_type::OCI_INDEX,
                media_type::DOCKER_MANIFEST,
                media_type::DOCKER_MANIFEST_LIST
            );
            let call = Call::new(Method::HEAD, url, &subject, &self.pull, self.retries()).accept(&accept);
            let response = self.host.send(&self.client, &call, &[StatusCode::NOT_FOUND]).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let digest = header_text(response.headers(), "docker-content-digest");
            Ok(Some(ManifestHead { digest: digest.and_then(|text| Digest::parse(&text).ok()) }))
        })
    }

    /// Stores `bytes` as the manifest at `selector`. Its config and layers must be there.
    pub fn put_manifest(&self, selector: &Selector, media_type: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let subject = self.named(selector);
        self.block_on(async {
            let url = self.url(&["manifests", &selector.text()]).await?;
            let call = Call::new(Method::PUT, url, &subject, &self.push, self.retries())
                .body(media_type, Bytes::copy_from_slice(bytes));
            let response = self.host.send(&self.client, &call, &[]).await?;
            let stated =
                header_text(response.headers(), "docker-content-digest").and_then(|text| Digest::parse(&text).ok());
            let expected = Digest::of(bytes);
            match stated {
                Some(actual) if actual.algorithm() == expected.algorithm() && actual != expected => {
                    Err(RegistryError::WrongDigest {
                        host: self.host.name.clone(),
                        subject: subject.clone(),
                        expected,
                        actual,
                    })
                }
                _ => Ok(()),
            }
        })
    }

    /// All tags, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let subject = format!("tags of {}", self.reference.name());
        self.block_on(async {
            let mut url = self.url(&["tags", "list"]).await?;
            let mut tags = Vec::new();
            // Each page is followed by its link; the cap ends a registry's endless chain.
            for _ in 0..1000 {
                let call = Call::new(Method::GET, url.clone(), &subject, &self.pull, self.retries());
                let response = self.host.send(&self.client, &call, &[]).await?;
                let next =
                    header_text(response.headers(), LINK.as_str()).and_then(|text| next_page(&text, response.url()));
                let body = capped_body(&self.host, &self.client, response, MAX_MANIFEST, &subject).await?;
                let page: Page = serde_json::from_slice(&body).map_err(|error| RegistryError::Protocol {
                    host: self.host.name.clone(),
                    subject: subject.clone(),
                    reason: format!("its answer is no list: {error}"),
                })?;
                tags.extend(page.tags.unwrap_or_default());
                match next {
                    Some(next) => url = next,
                    None => break,
                }
            }
            Ok(tags)
        })
    }

    /// Size of the blob `digest`, if the repository has it. Such checks come before uploads, so the
    /// token is one that serves both.
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let subject = format!("blob {digest}");
        self.block_on(async {
            let url = self.url(&["blobs", &digest.to_string()]).await?;
            let call = Call::new(Method::HEAD, url, &subject, &self.push, self.retries());
            let response = self.host.send(&self.client, &call, &[StatusCode::NOT_FOUND]).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let size = header_text(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
            Ok(Some(size.unwrap_or(0)))
        })
    }

    pub(crate) fn pull_access(&self) -> &Access {
        &self.pull
    }

    pub(crate) fn push_access(&self) -> &Access {
        &self.push
    }

    pub(crate) fn retries(&self) -> u32 {
        self.client.shared.options.retry.count
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.client.shared.runtime.block_on(work)
    }

    pub(crate) async fn reach(&self) -> Result<Arc<Reached>, RegistryError> {
        self.host.reach(&self.client).await
    }

    /// `/v2/<repository>/<tail…>`; names, tags and digests are validated types, free of `/` tricks.
    pub(crate) async fn url(&self, tail: &[&str]) -> Result<Url, RegistryError> {
        let mut url = self.reach().await?.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.reference.path().split('/')).extend(tail);
        }
        Ok(url)
    }

    fn named(&self, selector: &Selector) -> String {
        match selector {
            Selector::Tag(tag) => format!("{}:{tag}", self.reference.name()),
            Selector::Digest(digest) => format!("{}@{digest}", self.reference.name()),
        }
    }
}

pub(crate) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The address in `<…>; rel="next"`.
fn next_page(link: &str, base: &Url) -> Option<Url> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| base.join(target).ok()).flatten()
}
