//! An image at its source: the manifest chosen, the config read and compared with it.

use std::io::Read;

use oci::manifest::{ManifestOrIndex, digest_of};
use oci::{Digest, ImageConfig, Manifest, Platform, media_type};

use super::TransferError;
use crate::transport::{MAX_DOCUMENT, RawManifest, Source, SourceLayer};

/// Indexes that may lead to one another before an image.
const MAX_DEPTH: usize = 4;

/// An image that is ready to be copied.
pub(crate) struct OpenedImage<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) manifest: Manifest,
    /// The index through which the manifest was chosen.
    pub(crate) index: Option<Vec<u8>>,
    pub(crate) config: ImageConfig,
    pub(crate) config_bytes: Vec<u8>,
    /// As many as the config has diff IDs.
    pub(crate) layers: Vec<SourceLayer>,
}

impl<'a> OpenedImage<'a> {
    /// Reads manifest and config from `source`; of an index the entry for `platform`.
    pub(crate) fn open(source: &'a dyn Source, platform: &Platform) -> Result<OpenedImage<'a>, TransferError> {
        let (manifest, index) = choose(source, platform)?;
        Ok(OpenedImage { index, ..OpenedImage::of(source, manifest)? })
    }

    /// The image of `manifest`, which `source` has.
    pub(crate) fn of(source: &'a dyn Source, manifest: Manifest) -> Result<OpenedImage<'a>, TransferError> {
        let name = source.name();
        let config_bytes = read_config(source, &manifest)?;
        let config =
            ImageConfig::parse(&config_bytes).map_err(|source| TransferError::Config { name: name.clone(), source })?;
        let layers = source.layers(&manifest)?;
        let expected = config.rootfs.diff_ids.len();
        if expected != layers.len() {
            let reason = format!("its manifest has {} layers, but its config {expected} diff IDs", layers.len());
            return Err(TransferError::Inconsistent { name, reason });
        }
        Ok(OpenedImage { source, manifest, index: None, config, config_bytes, layers })
    }

    pub(crate) fn name(&self) -> String {
        self.source.name()
    }
}

pub(super) fn parse(name: &str, raw: &RawManifest) -> Result<ManifestOrIndex, TransferError> {
    ManifestOrIndex::parse(&raw.bytes, raw.media_type.as_deref())
        .map_err(|source| TransferError::Manifest { name: name.to_owned(), source })
}

fn choose(source: &dyn Source, platform: &Platform) -> Result<(Manifest, Option<Vec<u8>>), TransferError> {
    let name = source.name();
    let mut raw = source.manifest(None)?;
    let mut outermost = None;
    for _ in 0..MAX_DEPTH {
        let index = match parse(&name, &raw)? {
            ManifestOrIndex::Manifest(manifest) => return Ok((manifest, outermost)),
            ManifestOrIndex::Index(index) => index,
        };
        let entry = index.select(platform).ok_or_else(|| TransferError::NoPlatform {
            name: name.clone(),
            platform: platform.to_string(),
            available: index.platforms(),
        })?;
        let mut inner = source.manifest(Some(&entry.digest))?;
        check(&name, &entry.digest, entry.size, &inner.bytes)?;
        let media_type = &entry.media_type;
        if media_type::is_index(media_type) || media_type::is_manifest(media_type) {
            inner.media_type = inner.media_type.or_else(|| Some(media_type.clone()));
        }
        outermost.get_or_insert(raw.bytes);
        raw = inner;
    }
    Err(TransferError::Inconsistent { name, reason: "its indexes lead to one another without an image".into() })
}

pub(super) fn check(name: &str, expected: &Digest, size: u64, bytes: &[u8]) -> Result<(), TransferError> {
    let mut hasher = oci::digest::Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual != *expected {
        let reason = format!("its index says {expected}, but the manifest there is {actual}");
        return Err(TransferError::Inconsistent { name: name.to_owned(), reason });
    }
    if size != bytes.len() as u64 {
        let reason = format!("its index says that manifest {expected} has {size} bytes, but it has {}", bytes.len());
        return Err(TransferError::Inconsistent { name: name.to_owned(), reason });
    }
    Ok(())
}

fn read_config(source: &dyn Source, manifest: &Manifest) -> Result<Vec<u8>, TransferError> {
    let name = source.name();
    let descriptor = manifest.config();
    if descriptor.size() > MAX_DOCUMENT as u64 {
        let reason = format!("its config is longer than {MAX_DOCUMENT} bytes");
        return Err(TransferError::Inconsistent { name, reason });
    }
    let digest = digest_of(descriptor).map_err(|source| TransferError::Manifest { name: name.clone(), source })?;
    let mut bytes = Vec::new();
    source
        .blob(&digest, Some(descriptor.size()))?
        .take(MAX_DOCUMENT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| TransferError::from_stream(error, &format!("the config of {name}")))?;
    Ok(bytes)
}
