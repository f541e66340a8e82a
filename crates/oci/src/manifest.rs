//! Manifests: the list of an image's config and layers.
//!
//! The bytes decide the digest, so a [`Manifest`] keeps those that it was parsed from. What is
//! ambiguous (a body that is manifest and index at once, or that contradicts the media type it
//! came with) is refused: CVE-2021-41190.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageManifest, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use serde_json::Value;

use crate::digest::Digest;
use crate::index::Index;
use crate::media_type::{self, Compression};

/// Which family of media types an image is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// OCI image manifest v1.
    #[default]
    Oci,
    /// Docker manifest v2 schema 2.
    Docker,
}

impl Format {
    /// The manifest's media type.
    pub fn manifest(self) -> &'static str {
        match self {
            Format::Oci => media_type::OCI_MANIFEST,
            Format::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    /// The config's media type.
    pub fn config(self) -> &'static str {
        match self {
            Format::Oci => media_type::OCI_CONFIG,
            Format::Docker => media_type::DOCKER_CONFIG,
        }
    }

    /// The media type of a layer with `compression`. Docker's format has no type for zstd that
    /// all readers know.
    pub fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Format::Oci, Compression::None) => media_type::OCI_LAYER,
            (Format::Oci, Compression::Gzip) => media_type::OCI_LAYER_GZIP,
            (Format::Oci, Compression::Zstd | Compression::ZstdChunked) => media_type::OCI_LAYER_ZSTD,
            (Format::Docker, Compression::None) => media_type::DOCKER_LAYER,
            (Format::Docker, Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
            (Format::Docker, Compression::Zstd | Compression::ZstdChunked) => media_type::DOCKER_LAYER_ZSTD,
        }
    }
}

/// A valid manifest of one image, with the bytes it came from.
#[derive(Clone, Debug)]
pub struct Manifest {
    format: Format,
    inner: ImageManifest,
    bytes: Vec<u8>,
}

/// What a registry or layout gave for a reference.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and not for long")]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// Bytes that are no manifest we can use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// Not JSON, or a field has the wrong type.
    #[error("invalid manifest: {0}")]
    Json(#[source] serde_json::Error),
    /// A valid media type, but of nothing we read.
    #[error("unsupported manifest type {0:?}: expected an OCI or Docker v2 schema 2 manifest or index")]
    Unsupported(String),
    /// The body contradicts itself or its media type.
    #[error("ambiguous manifest: {0}")]
    Ambiguous(&'static str),
    /// A descriptor cannot be right.
    #[error("invalid manifest: {field}: {reason}")]
    Descriptor {
        /// `config`, `layers[3]`, …
        field: String,
        /// What is wrong.
        reason: String,
    },
}

impl ManifestOrIndex {
    /// Parses `bytes`; `media_type` is what the source said they are, if it said.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<ManifestOrIndex, InvalidManifest> {
        let value: Value = serde_json::from_slice(bytes).map_err(InvalidManifest::Json)?;
        let has = |key: &str| value.get(key).is_some_and(|v| !v.is_null());
        let stated = value.get("mediaType").and_then(Value::as_str).filter(|text| !text.is_empty());
        let known = |text: &&str| media_type::is_index(text) || media_type::is_manifest(text);
        if let (Some(outer), Some(inner)) = (media_type.filter(known), stated)
            && outer != inner
        {
            return Err(InvalidManifest::Ambiguous("its mediaType differs from the type it was sent with"));
        }
        let list_like = has("manifests");
        let image_like = has("layers") || has("config");
        if list_like && image_like {
            return Err(InvalidManifest::Ambiguous("it has the fields of a manifest and of an index"));
        }
        let media_type = stated.or(media_type.filter(known)).unwrap_or(if list_like {
            media_type::OCI_INDEX
        } else {
            media_type::OCI_MANIFEST
        });
        if media_type::is_index(media_type) && !image_like {
            return Index::from_value(value).map(ManifestOrIndex::Index);
        }
        let format = match media_type {
            media_type::OCI_MANIFEST => Format::Oci,
            media_type::DOCKER_MANIFEST => Format::Docker,
            other if media_type::is_index(other) => {
                return Err(InvalidManifest::Ambiguous("it is called an index and has the fields of a manifest"));
            }
            other => return Err(InvalidManifest::Unsupported(other.to_owned())),
        };
        if list_like {
            return Err(InvalidManifest::Ambiguous("it is called a manifest and has the fields of an index"));
        }
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err(InvalidManifest::Unsupported("Docker v2 schema 1".into()));
        }
        let inner: ImageManifest = serde_json::from_value(value).map_err(InvalidManifest::Json)?;
        check(inner.config(), || "config".into())?;
        for (i, layer) in inner.layers().iter().enumerate() {
            check(layer, || format!("layers[{i}]"))?;
        }
        Ok(ManifestOrIndex::Manifest(Manifest { format, inner, bytes: bytes.to_vec() }))
    }
}

impl Manifest {
    /// Parses `bytes`, which must be the manifest of one image.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Manifest, InvalidManifest> {
        match ManifestOrIndex::parse(bytes, media_type)? {
            ManifestOrIndex::Manifest(manifest) => Ok(manifest),
            ManifestOrIndex::Index(_) => {
                Err(InvalidManifest::Unsupported("an index, where the manifest of one image belongs".into()))
            }
        }
    }

    /// Makes a manifest of `config` and `layers` (base first).
    pub fn build(
        format: Format,
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Manifest, InvalidManifest> {
        let mut builder = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::from(format.manifest()))
            .config(config)
            .layers(layers);
        if format == Format::Oci && !annotations.is_empty() {
            builder = builder.annotations(annotations.clone().into_iter().collect::<HashMap<_, _>>());
        }
        let inner = builder
            .build()
            .map_err(|error| InvalidManifest::Descriptor { field: "manifest".into(), reason: error.to_string() })?;
        // Through `Value`, whose maps the annotations' order cannot reach: the same image gives the same bytes.
        let mut value = serde_json::to_value(&inner).map_err(InvalidManifest::Json)?;
        sort_annotations(&mut value);
        value.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten().for_each(sort_annotations);
        let bytes = serde_json::to_vec(&value).map_err(InvalidManifest::Json)?;
        Ok(Manifest { format, inner, bytes })
    }

    /// What the manifest is, if it is no image's.
    pub fn artifact_type(&self) -> Option<&str> {
        self.inner.artifact_type().as_ref().map(|kind| kind.as_ref()).filter(|kind| !kind.is_empty())
    }

    /// OCI or Docker.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The config's descriptor.
    pub fn config(&self) -> &Descriptor {
        self.inner.config()
    }

    /// The layers' descriptors, base first.
    pub fn layers(&self) -> &[Descriptor] {
        self.inner.layers()
    }

    /// The manifest's annotations, sorted.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.inner.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The bytes the digest is of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// A descriptor of `size` bytes with `digest`.
pub fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Result<Descriptor, InvalidManifest> {
    let failed = |reason: String| InvalidManifest::Descriptor { field: media_type.to_owned(), reason };
    DescriptorBuilder::default()
        .media_type(MediaType::from(media_type))
        .digest(digest.to_string().parse::<oci_spec::image::Digest>().map_err(|error| failed(error.to_string()))?)
        .size(size)
        .build()
        .map_err(|error| failed(error.to_string()))
}

fn sort_annotations(holder: &mut Value) {
    if let Some(Value::Object(map)) = holder.get_mut("annotations") {
        map.sort_keys();
    }
}

/// The digest a descriptor holds. Descriptors inside [`Manifest`] were checked when it was
/// parsed; for any other a digest that is not ours to use is an error.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest, InvalidManifest> {
    Digest::parse(descriptor.digest().as_ref())
        .map_err(|error| InvalidManifest::Descriptor { field: "digest".into(), reason: error.to_string() })
}

fn check(descriptor: &Descriptor, field: impl Fn() -> String) -> Result<(), InvalidManifest> {
    let failed = |reason: String| InvalidManifest::Descriptor { field: field(), reason };
    Digest::parse(descriptor.digest().as_ref()).map_err(|error| failed(error.to_string()))?;
    if descriptor.size() > i64::MAX as u64 {
        return Err(failed("its size is not a possible one".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (Descriptor, Descriptor) {
        let of = |kind, text: &[u8]| descriptor(kind, &Digest::of(text), text.len() as u64).expect("valid");
        (of(media_type::OCI_CONFIG, b"{}"), of(media_type::OCI_LAYER, b"tar"))
    }

    #[test]
    fn pure_manifest_bytes_are_the_same_each_time() {
        let (config, layer) = parts();
        let annotations: BTreeMap<_, _> =
            ["b", "a", "c", "d", "e"].iter().map(|k| (k.to_string(), "v".to_string())).collect();
        let make = || Manifest::build(Format::Oci, config.clone(), vec![layer.clone()], &annotations).expect("valid");
        let first = make();
        assert!((0..20).all(|_| make().bytes() == first.bytes()));
        let parsed = Manifest::parse(first.bytes(), Some(media_type::OCI_MANIFEST)).expect("ours");
        assert_eq!((parsed.digest(), parsed.annotations()), (first.digest(), annotations));
    }

    #[test]
    fn pure_ambiguous_and_foreign_bodies_are_refused() {
        let (config, layer) = parts();
        let config = serde_json::to_string(&config).expect("JSON");
        let layer = serde_json::to_string(&layer).expect("JSON");
        for body in [
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}],"manifests":[]}}"#),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{layer}]}}"#,
                media_type::OCI_INDEX
            ),
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_MANIFEST),
            r#"{"schemaVersion":2,"mediaType":"text/html"}"#.into(),
            r#"{"schemaVersion":1,"name":"x"}"#.into(),
            format!(
                r#"{{"schemaVersion":2,"config":{config},"layers":[{{"mediaType":"x","digest":"sha256:../../x","size":1}}]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"config":{config},"layers":[{{"mediaType":"x","digest":"sha256:e3","size":-1}}]}}"#
            ),
            "".into(),
            "[]".into(),
            "null".into(),
            "\u{feff}{}".into(),
        ] {
            assert!(ManifestOrIndex::parse(body.as_bytes(), None).is_err(), "{body}");
        }
        let plain = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        assert!(ManifestOrIndex::parse(plain.as_bytes(), None).is_ok());
        assert!(ManifestOrIndex::parse(plain.as_bytes(), Some(media_type::OCI_INDEX)).is_err());
    }
}
