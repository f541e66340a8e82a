//! Indexes: lists of manifests, in OCI's form and in Docker's, which calls them manifest lists.
//!
//! An [`Index`] holds what either form can say. It is written as other tools of the store write it, field
//! for field, so that the same list has the same digest whoever makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::json::null_default;
use crate::manifest::InvalidManifest;
use crate::{Digest, Format, ImageConfig, Manifest, Platform, media_type};

/// The annotation of entries that only readers of zstd can use.
pub const ZSTD: &str = "io.github.containers.compression.zstd";

/// A list of manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// What the list as a whole is, if it is no list of images.
    pub artifact_type: Option<String>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// What the list is about. (OCI)
    pub subject: Option<Entry>,
    /// Annotations of the list. (OCI)
    pub annotations: BTreeMap<String, String>,
}

/// An entry of an index: a descriptor of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The manifest's type.
    pub media_type: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size.
    pub size: u64,
    /// Where it can be had too.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations. (OCI)
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The manifest itself, in base64. (OCI)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<EntryPlatform>,
    /// What the manifest is, if it is no image's. (OCI)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// What the image of an entry runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPlatform {
    /// `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// `linux`, `windows`, …
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Of Windows, mostly.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// `win32k`, …
    #[serde(rename = "os.features", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7`, `v8`, …
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// CPU features. (Docker)
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl Entry {
    /// The entry for `manifest`, of an image for `platform`.
    pub fn of_manifest(manifest: &Manifest, platform: Option<EntryPlatform>) -> Entry {
        Entry {
            media_type: manifest.format().manifest().to_owned(),
            digest: manifest.digest(),
            size: manifest.bytes().len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: platform.filter(|platform| *platform != EntryPlatform::default()),
            artifact_type: manifest.artifact_type().map(str::to_owned),
        }
    }
}

impl EntryPlatform {
    /// What an image's config says of its platform.
    pub fn of_config(config: &ImageConfig) -> EntryPlatform {
        EntryPlatform {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone().unwrap_or_default(),
            os_features: config.os_features.clone(),
            variant: config.variant.clone().unwrap_or_default(),
            features: Vec::new(),
        }
    }

    /// As `os/arch[/variant]`.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: Some(self.variant.clone()).filter(|variant| !variant.is_empty()),
        }
    }

    /// Whether it says nothing that OCI's form has a place for.
    fn is_silent(&self) -> bool {
        let EntryPlatform { architecture, os, os_version, os_features, variant, features: _ } = self;
        [architecture, os, os_version, variant].iter().all(|text| text.is_empty()) && os_features.is_empty()
    }
}

/// What an index is read from: both forms have these fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    manifests: Vec<Entry>,
    #[serde(default)]
    subject: Option<Entry>,
    #[serde(default, deserialize_with = "null_default")]
    annotations: BTreeMap<String, String>,
}

/// OCI's form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciForm<'a> {
    schema_version: u8,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: &'a Option<String>,
    #[serde(serialize_with = "null_if_empty")]
    manifests: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: &'a Option<Entry>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// Docker's form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerForm<'a> {
    schema_version: u8,
    media_type: &'static str,
    #[serde(serialize_with = "null_if_empty")]
    manifests: Vec<DockerEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerEntry<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'a [String],
    platform: EntryPlatform,
}

/// Go writes a list that was never begun so.
fn null_if_empty<T: Serialize, S: Serializer>(list: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
}

impl Index {
    /// The index that a JSON value is, whose type has been looked at.
    pub(crate) fn from_value(value: Value) -> Result<Index, InvalidManifest> {
        let read: Read = serde_json::from_value(value).map_err(InvalidManifest::Json)?;
        let mut entries = read.manifests;
        for (i, entry) in entries.iter_mut().enumerate() {
            if entry.size > i64::MAX as u64 {
                let reason = "its size is not a possible one".to_owned();
                return Err(InvalidManifest::Descriptor { field: format!("manifests[{i}]"), reason });
            }
            // Docker's form has a platform in any case.
            entry.platform = entry.platform.take().filter(|p| !p.is_silent() || !p.features.is_empty());
        }
        let nothing = |text: &String| !text.is_empty();
        let artifact_type = read.artifact_type.filter(nothing);
        Ok(Index { artifact_type, entries, subject: read.subject, annotations: read.annotations })
    }

    /// The entry of the manifest `digest`.
    pub fn entry(&self, digest: &Digest) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.digest == *digest)
    }

    /// The same, to be changed.
    pub fn entry_mut(&mut self, digest: &Digest) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.digest == *digest)
    }

    /// Adds `entry` behind all others, in place of an entry of the same manifest.
    pub fn add(&mut self, entry: Entry) {
        self.remove(&entry.digest);
        self.entries.push(entry);
    }

    /// Removes the entries of the manifest `digest`; whether there were any.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.digest != *digest);
        self.entries.len() < before
    }

    /// The first entry that is an image for `platform`, or else for its architecture without a variant;
    /// entries without a platform count as for any, if they may be images.
    pub fn select(&self, platform: &Platform) -> Option<&Entry> {
        let fits = |entry: &&Entry| entry.platform.as_ref().is_some_and(|p| p.platform().satisfies(platform));
        let any = |entry: &&Entry| entry.platform.is_none() && entry.artifact_type.is_none();
        let plain = |entry: &&Entry| {
            entry.platform.as_ref().map(|p| p.platform()).is_some_and(|entry| {
                entry.variant.is_none() && entry.os == platform.os && entry.architecture == platform.architecture
            })
        };
        let entries = || self.entries.iter();
        entries().find(fits).or_else(|| entries().find(plain)).or_else(|| entries().find(any))
    }

    /// The platforms of its entries as errors list them.
    pub fn platforms(&self) -> String {
        let platforms = self.entries.iter().filter_map(|entry| entry.platform.as_ref());
        let mut names: Vec<String> = platforms.map(|platform| platform.platform().to_string()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }

    /// The form in which it is kept: what only one form can say decides; of two that can, OCI's, but
    /// Docker's for an empty one.
    pub fn format(&self) -> Format {
        let is_oci =
            |entry: &Entry| entry.artifact_type.is_some() || !entry.annotations.is_empty() || entry.data.is_some();
        let whole = self.artifact_type.is_some() || self.subject.is_some() || !self.annotations.is_empty();
        if whole || self.entries.iter().any(is_oci) {
            return Format::Oci;
        }
        let has_features = |entry: &Entry| entry.platform.as_ref().is_some_and(|p| !p.features.is_empty());
        match self.entries.is_empty() || self.entries.iter().any(has_features) {
            true => Format::Docker,
            false => Format::Oci,
        }
    }

    /// Its text in the form `format`, which leaves out what only the other one can say.
    pub fn to_bytes(&self, format: Format) -> Result<Vec<u8>, InvalidManifest> {
        let bytes = match format {
            Format::Oci => serde_json::to_vec(&OciForm {
                schema_version: 2,
                media_type: media_type::OCI_INDEX,
                artifact_type: &self.artifact_type,
                manifests: self.entries.iter().map(oci_entry).collect(),
                subject: &self.subject,
                annotations: &self.annotations,
            }),
            Format::Docker => serde_json::to_vec(&DockerForm {
                schema_version: 2,
                media_type: media_type::DOCKER_MANIFEST_LIST,
                manifests: self.entries.iter().map(docker_entry).collect(),
            }),
        };
        bytes.map_err(InvalidManifest::Json)
    }
}

fn oci_entry(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Some(platform) = &mut entry.platform {
        platform.features.clear();
    }
    entry.platform = entry.platform.filter(|platform| !platform.is_silent());
    entry
}

fn docker_entry(entry: &Entry) -> DockerEntry<'_> {
    let Entry { media_type, digest, size, urls, platform, .. } = entry;
    DockerEntry { media_type, size: *size, digest, urls, platform: platform.clone().unwrap_or_default() }
}

impl Format {
    /// The media type of an index.
    pub fn index(self) -> &'static str {
        match self {
            Format::Oci => media_type::OCI_INDEX,
            Format::Docker => media_type::DOCKER_MANIFEST_LIST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ManifestOrIndex;

    fn entry(text: &str, architecture: &str) -> Entry {
        Entry {
            media_type: media_type::OCI_MANIFEST.into(),
            digest: Digest::of(text.as_bytes()),
            size: 3,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: Some(EntryPlatform {
                architecture: architecture.into(),
                os: "linux".into(),
                ..EntryPlatform::default()
            }),
            artifact_type: None,
        }
    }

    fn parse(bytes: &[u8]) -> Index {
        match ManifestOrIndex::parse(bytes, None).expect("valid") {
            ManifestOrIndex::Index(index) => index,
            ManifestOrIndex::Manifest(_) => panic!("a manifest"),
        }
    }

    #[test]
    fn pure_the_form_follows_what_the_index_says() {
        let mut index = Index::default();
        assert_eq!(index.format(), Format::Docker);
        let empty = String::from_utf8(index.to_bytes(Format::Docker).expect("text")).expect("UTF-8");
        assert!(empty.ends_with(r#""manifests":null}"#), "{empty}");
        index.add(entry("a", "amd64"));
        assert_eq!(index.format(), Format::Oci);
        let platform = index.entries[0].platform.as_mut().expect("a platform");
        platform.features = vec!["sse4".into()];
        assert_eq!(index.format(), Format::Docker);
        assert_eq!(parse(&index.to_bytes(Format::Docker).expect("text")), index);
        index.annotations.insert("a".into(), "b".into());
        assert_eq!(index.format(), Format::Oci);
        let read = parse(&index.to_bytes(Format::Oci).expect("text"));
        assert!(read.entries[0].platform.as_ref().is_some_and(|p| p.features.is_empty()), "features are Docker's");
    }

    #[test]
    fn pure_text_is_read_back_and_null_is_an_empty_list() {
        let mut index = Index::default();
        for format in [Format::Oci, Format::Docker] {
            assert_eq!(parse(&index.to_bytes(format).expect("text")), index);
        }
        index.add(entry("a", "amd64"));
        let mut artifact = entry("b", "");
        (artifact.platform, artifact.artifact_type) = (None, Some("text/plain".into()));
        artifact.annotations.insert("k".into(), "v".into());
        index.add(artifact);
        assert_eq!(parse(&index.to_bytes(Format::Oci).expect("text")), index);
        let docker = parse(&index.to_bytes(Format::Docker).expect("text"));
        assert_eq!((docker.entries.len(), &docker.entries[1].platform), (2, &None));
    }

    #[test]
    fn pure_entries_are_chosen_by_platform_and_are_there_once() {
        let mut index = Index::default();
        let mut artifact = entry("x", "");
        (artifact.platform, artifact.artifact_type) = (None, Some("text/plain".into()));
        for entry in [artifact, entry("a", "amd64"), entry("b", "arm64"), entry("a", "riscv64")] {
            index.add(entry);
        }
        assert_eq!(index.entries.len(), 3);
        let select = |text: &str| {
            let platform: Platform = text.parse().expect("a platform");
            index.select(&platform).map(|entry| entry.digest.clone())
        };
        assert_eq!(select("linux/arm64"), Some(Digest::of(b"b")));
        assert_eq!((select("linux/amd64"), select("linux/riscv64")), (None, Some(Digest::of(b"a"))));
        // A variant that no entry has is served by the architecture without one.
        assert_eq!(select("linux/riscv64/v9"), Some(Digest::of(b"a")));
        assert_eq!(index.platforms(), "linux/arm64, linux/riscv64");
        assert!(index.clone().remove(&Digest::of(b"b")) && !index.remove(&Digest::of(b"c")));
    }
}
