//! An image of the store, read as a whole: record, manifest and config.

use oci::manifest::ManifestOrIndex;
use oci::reference::InvalidReference;
use oci::{Digest, ImageConfig, ImageId, LayerId, Manifest, Platform, Reference};
use store::Store;

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    asked: String,
    name: String,
    record: store::Image,
    manifest: Manifest,
    config: ImageConfig,
    config_bytes: Vec<u8>,
}

/// Why an image could not be found or read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store failed, or has no such image.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The manifest cannot be used.
    #[error("image {name}: {source}")]
    Manifest {
        /// The image as it was asked for.
        name: String,
        /// What is wrong.
        source: oci::manifest::InvalidManifest,
    },
    /// A manifest list has no image for the platform, or the store does not have that image.
    #[error("manifest list {name} leads to no image for platform {platform} in the store: it has {available}")]
    NotInList {
        /// The list as it was asked for.
        name: String,
        /// What was wanted.
        platform: String,
        /// What there is.
        available: String,
    },
    /// The config cannot be used.
    #[error("image {name}: {source}")]
    Config {
        /// The image as it was asked for.
        name: String,
        /// What is wrong.
        source: oci::config::InvalidConfig,
    },
}

impl Image {
    /// Finds an image by name, ID or unambiguous start of an ID, as [`Store::image`] does. Of a manifest
    /// list it is the image for the host.
    pub fn find(store: &Store, name: &str) -> Result<Image, ImageError> {
        Image::find_for(store, name, &Platform::host())
    }

    /// The same, but of a manifest list the image for `platform`.
    pub fn find_for(store: &Store, name: &str, platform: &Platform) -> Result<Image, ImageError> {
        let record = store.image(name)?;
        Image::read_for(store, name, record, platform)
    }

    /// Reads the image of `record`; `asked` is the name it was found by. Of a manifest list it is the image
    /// for the host.
    pub fn read(store: &Store, asked: &str, record: store::Image) -> Result<Image, ImageError> {
        Image::read_for(store, asked, record, &Platform::host())
    }

    fn read_for(store: &Store, asked: &str, record: store::Image, platform: &Platform) -> Result<Image, ImageError> {
        let bytes = store.image_manifest(&record.id)?;
        let parsed = ManifestOrIndex::parse(&bytes, None)
            .map_err(|source| ImageError::Manifest { name: asked.to_owned(), source })?;
        let index = match parsed {
            ManifestOrIndex::Manifest(manifest) => return Image::with_manifest(store, asked, record, manifest),
            ManifestOrIndex::Index(index) => index,
        };
        let in_list = index.select(platform).map(|entry| Image::with_digest(store, asked, &entry.digest));
        in_list.transpose()?.flatten().ok_or_else(|| ImageError::NotInList {
            name: asked.to_owned(),
            platform: platform.to_string(),
            available: index.platforms(),
        })
    }

    /// The image of the store with the manifest `digest`, if there is one; `asked` is what it is looked for as.
    pub fn with_digest(store: &Store, asked: &str, digest: &Digest) -> Result<Option<Image>, ImageError> {
        let has_it = |image: &store::Image| image.digests().contains(&digest);
        let Some(record) = store.images()?.into_iter().find(has_it) else { return Ok(None) };
        // A record may hold several manifests, an index among them.
        let bytes = match store.image_data(&record.id, &format!("manifest-{digest}")) {
            Err(store::Error::NoData { .. }) => store.image_manifest(&record.id)?,
            other => other?,
        };
        let manifest =
            Manifest::parse(&bytes, None).map_err(|source| ImageError::Manifest { name: asked.to_owned(), source })?;
        Image::with_manifest(store, asked, record, manifest).map(Some)
    }

    fn with_manifest(
        store: &Store,
        asked: &str,
        record: store::Image,
        manifest: Manifest,
    ) -> Result<Image, ImageError> {
        let config_bytes = store.image_data(&record.id, manifest.config().digest().as_ref())?;
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|source| ImageError::Config { name: asked.to_owned(), source })?;
        let name = canonical_name(asked, &record);
        Ok(Image { asked: asked.to_owned(), name, record, manifest, config, config_bytes })
    }

    /// The stored name it was found by, or its ID if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stored name it was found by; empty if it has none.
    pub fn stored_name(&self) -> &str {
        if self.name == self.record.id.as_str() { "" } else { &self.name }
    }

    /// What was asked for when it was found: a name, an ID, or the place it was pulled from.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// Its record in the store.
    pub fn record(&self) -> &store::Image {
        &self.record
    }

    /// Its ID.
    pub fn id(&self) -> &ImageId {
        &self.record.id
    }

    /// Its top layer, if it has any.
    pub fn top_layer(&self) -> Option<&LayerId> {
        self.record.layer.as_ref()
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Its config as stored.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }
}

/// The name that an image called `text` gets in the store: without a registry it is put under
/// `localhost/`, without a tag it is the latest.
pub fn store_name(text: &str) -> Result<Reference, InvalidReference> {
    let reference = match Reference::has_domain(text) {
        true => Reference::parse_normalized(text),
        false => Reference::parse_qualified(&format!("localhost/{text}"))
            .map_err(|error| InvalidReference { text: text.to_owned(), ..error }),
    };
    reference.map(Reference::with_default_tag)
}

fn canonical_name(asked: &str, record: &store::Image) -> String {
    let tagged = Reference::parse_normalized(asked).map(|reference| reference.with_default_tag().familiar());
    let suffix = tagged.map(|text| format!("/{text}"));
    let matching = record.names.iter().find(|name| {
        *name == asked
            || suffix
                .as_ref()
                .is_ok_and(|suffix| name.ends_with(suffix) || suffix.strip_prefix("/") == Some(name.as_str()))
    });
    matching.or(record.names.first()).cloned().unwrap_or_else(|| record.id.to_string())
}
