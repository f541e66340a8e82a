//! `docker://NAME`: an image on a registry.

use oci::{Digest, Format, Manifest, Reference};
use registry::{BlobReader, Endpoint, Mount, RegistryError, Repository, Selector, Upload};
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::PoisonError;

use super::{BlobSink, BlobStream, LayerForm, RawManifest, Sink, Source};
use crate::transfer::{Remotes, TransferError};

/// An image on a registry or one of its mirrors.
pub struct DockerSource {
    reference: Reference,
    repository: Repository,
    /// What was read to find out which mirror has the image.
    first: Mutex<Option<RawManifest>>,
}

impl DockerSource {
    /// Finds `reference` on its mirrors and its registry, in the order of the configuration.
    /// `failed` is told of each mirror that could not serve it.
    pub fn open(
        remotes: &Remotes,
        reference: &Reference,
        mut failed: impl FnMut(String),
    ) -> Result<DockerSource, TransferError> {
        let client = remotes.client()?;
        let endpoints = remotes.pull_endpoints(reference)?;
        let (last, mirrors) = match endpoints.split_last() {
            Some(split) => split,
            None => return Err(TransferError::Unsupported(format!("{reference} has no place to be pulled from"))),
        };
        let try_endpoint = |endpoint: &Endpoint| -> Result<DockerSource, RegistryError> {
            let repository = client.repository(endpoint)?;
            let manifest = repository.manifest(&Selector::of(&endpoint.reference))?;
            let first = RawManifest { bytes: manifest.bytes, media_type: manifest.media_type };
            Ok(DockerSource { reference: reference.clone(), repository, first: Mutex::new(Some(first)) })
        };
        for endpoint in mirrors {
            match try_endpoint(endpoint) {
                Ok(source) => return Ok(source),
                Err(error) => failed(format!("mirror {}: {error}", endpoint.reference.name())),
            }
        }
        Ok(try_endpoint(last)?)
    }

    /// The digest that the registry has for `reference` now, without reading the manifest.
    pub fn current_digest(remotes: &Remotes, reference: &Reference) -> Result<Option<Digest>, TransferError> {
        let client = remotes.client()?;
        let endpoints = remotes.pull_endpoints(reference)?;
        let mut result = Ok(None);
        for endpoint in &endpoints {
            let repository = client.repository(endpoint)?;
            match repository.manifest_head(&Selector::of(&endpoint.reference)) {
                Ok(Some(head)) => return Ok(head.digest),
                Ok(None) => result = Ok(None),
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// All tags of `reference`'s repository.
    pub fn tags(remotes: &Remotes, reference: &Reference) -> Result<Vec<String>, TransferError> {
        let client = remotes.client()?;
        let endpoints = remotes.pull_endpoints(reference)?;
        let mut result = Ok(Vec::new());
        for endpoint in &endpoints {
            match client.repository(endpoint)?.tags() {
                Ok(tags) => return Ok(tags),
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }
}

impl Source for DockerSource {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        let selector = match instance {
            Some(digest) => Selector::Digest(digest.clone()),
            None => {
                if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return Ok(first);
                }
                Selector::of(self.repository.reference())
            }
        };
        let manifest = self.repository.manifest(&selector)?;
        Ok(RawManifest { bytes: manifest.bytes, media_type: manifest.media_type })
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        let reader: BlobReader = self.repository.blob(digest, size)?;
        Ok(Box::new(reader))
    }

    fn store_names(&self) -> Vec<String> {
        vec![self.reference.clone().with_default_tag().to_string()]
    }

    fn repositories_on(&self, domain: &str) -> Vec<String> {
        let own = self.repository.reference();
        (own.domain() == domain).then(|| own.path().to_owned()).into_iter().collect()
    }
}

/// A place for an image on a registry.
pub struct DockerSink {
    reference: Reference,
    repository: Repository,
}

impl DockerSink {
    /// A place for `reference`. Nothing is sent yet.
    pub fn create(remotes: &Remotes, reference: &Reference) -> Result<DockerSink, TransferError> {
        let endpoint = remotes.push_endpoint(reference)?;
        let repository = remotes.client()?.repository(&endpoint)?;
        Ok(DockerSink { reference: reference.clone(), repository })
    }
}

impl Sink for DockerSink {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Oci, Format::Docker]
    }

    fn layer_form(&self) -> LayerForm {
        LayerForm::Compressed
    }

    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError> {
        Ok(self.repository.has_blob(digest)?)
    }

    fn mount_blob(&self, digest: &Digest, source: &dyn Source) -> Result<bool, TransferError> {
        for from in source.repositories_on(self.reference.domain()) {
            if from == self.reference.path() {
                continue;
            }
            match self.repository.mount_blob(digest, &from) {
                Ok(Mount::Done) => return Ok(true),
                Ok(Mount::NotPossible) => {}
                // Mounting saves an upload; that it is denied says nothing of the upload.
                Err(error) if error.is_denied() || error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError> {
        Ok(Box::new(UploadingBlob(self.repository.upload()?)))
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        self.put_index(manifest.format().manifest(), manifest.bytes())
    }

    fn put_instance(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        Ok(self.repository.put_manifest(&Selector::Digest(Digest::of(bytes)), media_type, bytes)?)
    }

    fn put_index(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        let selector = Selector::of(&self.reference);
        if let Selector::Digest(wanted) = &selector {
            let actual = Digest::of(bytes);
            if *wanted != actual {
                return Err(TransferError::Inconsistent {
                    name: self.name(),
                    reason: format!("the image's digest is {actual}, so it cannot be pushed under this name"),
                });
            }
        }
        Ok(self.repository.put_manifest(&selector, media_type, bytes)?)
    }
}

struct UploadingBlob(Upload);

impl Write for UploadingBlob {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobSink for UploadingBlob {
    fn finish(self: Box<Self>, digest: &Digest, _size: u64) -> Result<(), TransferError> {
        Ok(self.0.finish(digest)?)
    }
}
