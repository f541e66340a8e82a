//! Artifacts: files as entries of a list. The list remembers their paths; they are read when it is pushed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci::index::Entry;
use oci::json::null_default;
use oci::manifest::InvalidManifest;
use oci::{Digest, DigestReader, media_type};
use serde::{Deserialize, Serialize};

use super::{ListError, ManifestList};
use crate::transfer::TransferError;
use crate::transport::spool::open_regular;
use crate::transport::verified::Verified;
use crate::transport::{BlobStream, RawManifest, Source};

/// The type of artifacts that nobody named one for.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
/// The type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Such a config.
const EMPTY_JSON: &[u8] = b"{}";
const TITLE: &str = "org.opencontainers.image.title";
/// As much of a file is looked at to tell its type.
const LOOKED_AT: usize = 512;

/// What an artifact says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactOptions {
    /// What it is; an empty type is none.
    pub artifact_type: Option<String>,
    /// Type of its config.
    pub config_type: Option<String>,
    /// File with its config.
    pub config: Option<PathBuf>,
    /// Type of its files, in place of what their names and contents tell.
    pub layer_type: Option<String>,
    /// What it is about.
    pub subject: Option<Entry>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Whether the names of its files are left out.
    pub exclude_titles: bool,
}

/// What is kept of a list's artifacts, by the digests of their manifests or blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Artifacts {
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    manifests: BTreeMap<String, String>,
    /// Files of a manifest.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Option<Vec<String>>>,
    /// The config of a manifest.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    /// The blobs of a manifest.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Option<Vec<String>>>,
    /// The file that is a blob.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    detached: BTreeMap<String, String>,
    /// A blob itself, in base64.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    blobs: BTreeMap<String, Option<String>>,
}

/// The manifest of an artifact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactManifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    artifact_type: &'a str,
    config: &'a Entry,
    layers: &'a [Entry],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: &'a Option<Entry>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Artifacts {
    /// The manifest that the file `name` is a part of.
    pub fn with_file(&self, name: &str) -> Option<Digest> {
        let path = absolute(Path::new(name)).ok()?;
        let has_it = |files: &Option<Vec<String>>| files.iter().flatten().any(|file| *file == path);
        let (digest, _) = self.files.iter().find(|(_, files)| has_it(files))?;
        Digest::parse(digest).ok()
    }

    /// The files of the manifest `digest`.
    pub fn files(&self, digest: &Digest) -> &[String] {
        self.files.get(&digest.to_string()).and_then(Option::as_deref).unwrap_or_default()
    }

    /// Forgets the manifest `digest`; blobs may be others' too.
    pub fn forget(&mut self, digest: &Digest) {
        let digest = digest.to_string();
        self.manifests.remove(&digest);
        self.files.remove(&digest);
        self.config.remove(&digest);
        self.layers.remove(&digest);
    }

    /// The manifest `digest` with its files, if it is here.
    pub fn source(&self, digest: &Digest) -> Option<ArtifactSource<'_>> {
        let manifest = self.manifests.get(&digest.to_string())?;
        Some(ArtifactSource { artifacts: self, manifest, digest: digest.clone() })
    }
}

impl ManifestList {
    /// Adds an artifact of `files`, and gives the digest of its manifest.
    pub fn add_artifact(&mut self, files: &[PathBuf], options: &ArtifactOptions) -> Result<Digest, ListError> {
        let artifacts = &mut self.artifacts;
        let mut paths = Vec::new();
        let config_type = options.config_type.clone();
        let config = match &options.config {
            Some(path) => {
                let (digest, size, _) = digest_of_file(&open_regular(path)?).map_err(failed(path))?;
                let path = absolute(path).map_err(failed(path))?;
                artifacts.detached.insert(digest.to_string(), path.clone());
                paths.push(path);
                blob(config_type.unwrap_or_else(|| media_type::OCI_CONFIG.into()), digest, size)
            }
            None => {
                let data = BASE64.encode(EMPTY_JSON);
                let digest = Digest::of(EMPTY_JSON);
                artifacts.blobs.insert(digest.to_string(), Some(data.clone()));
                let config = blob(config_type.unwrap_or_else(|| EMPTY.into()), digest, EMPTY_JSON.len() as u64);
                Entry { data: Some(data), ..config }
            }
        };
        let mut layers: Vec<Entry> = Vec::new();
        for file in files {
            let (digest, size, start) = digest_of_file(&open_regular(file)?).map_err(failed(file))?;
            let path = absolute(file).map_err(failed(file))?;
            let kind = options.layer_type.clone().unwrap_or_else(|| type_of(file, &start).to_owned());
            let mut layer = blob(kind, digest, size);
            if let Some(title) = file.file_name().filter(|_| !options.exclude_titles) {
                layer.annotations.insert(TITLE.into(), title.to_string_lossy().into_owned());
            }
            artifacts.detached.insert(layer.digest.to_string(), path.clone());
            paths.push(path);
            layers.push(layer);
        }
        let manifest = ArtifactManifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST,
            artifact_type: options.artifact_type.as_deref().unwrap_or(UNKNOWN),
            config: &config,
            layers: &layers,
            subject: &options.subject,
            annotations: &options.annotations,
        };
        let text = serde_json::to_string(&manifest)
            .map_err(|error| ListError::Manifest { name: self.name.clone(), source: InvalidManifest::Json(error) })?;
        let digest = Digest::of(text.as_bytes());
        let key = digest.to_string();
        let mut entry = blob(manifest.media_type.to_owned(), digest.clone(), text.len() as u64);
        entry.artifact_type = Some(manifest.artifact_type.to_owned()).filter(|kind| !kind.is_empty());
        artifacts.manifests.insert(key.clone(), text);
        artifacts.config.insert(key.clone(), config.digest.to_string());
        artifacts.layers.insert(key.clone(), Some(layers.iter().map(|layer| layer.digest.to_string()).collect()));
        artifacts.files.insert(key, Some(paths));
        self.index.add(entry);
        Ok(digest)
    }
}

fn blob(media_type: String, digest: Digest, size: u64) -> Entry {
    let (urls, annotations, data, platform, artifact_type) = Default::default();
    Entry { media_type, digest, size, urls, annotations, data, platform, artifact_type }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ListError {
    move |error| ListError::File { path: path.to_owned(), error }
}

fn absolute(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.to_str().map(str::to_owned).ok_or_else(|| io::Error::other("its path is not UTF-8"))
}

/// Digest and size of a file, and how it begins.
fn digest_of_file(file: &File) -> io::Result<(Digest, u64, Vec<u8>)> {
    let mut reader = DigestReader::new(file);
    let mut start = Vec::new();
    reader.by_ref().take(LOOKED_AT as u64).read_to_end(&mut start)?;
    io::copy(&mut reader, &mut io::sink())?;
    let (digest, size, _) = reader.finish();
    Ok((digest, size, start))
}

/// The media type of a file, by the end of its name or else by what it begins with.
fn type_of(file: &Path, start: &[u8]) -> &'static str {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let by_name = match extension.to_ascii_lowercase().as_str() {
        "css" => "text/css",
        "csv" => "text/csv",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "htm" | "html" => "text/html",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "txt" => "text/plain",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "xml" => "text/xml",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "",
    };
    // A byte that no text has.
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31);
    match (by_name, start) {
        ("", start) if start.starts_with(b"\x1f\x8b\x08") => "application/x-gzip",
        ("", start) if start.starts_with(b"\x89PNG\r\n\x1a\n") => "image/png",
        ("", start) if start.starts_with(b"%PDF-") => "application/pdf",
        ("", start) if start.iter().any(is_binary) => "application/octet-stream",
        ("", _) => "text/plain",
        (by_name, _) => by_name,
    }
}

/// An artifact of a list, to be read.
pub(super) struct ArtifactSource<'a> {
    artifacts: &'a Artifacts,
    manifest: &'a str,
    digest: Digest,
}

impl Source for ArtifactSource<'_> {
    fn name(&self) -> String {
        format!("artifact {}", self.digest)
    }

    fn manifest(&self, _instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        Ok(RawManifest { bytes: self.manifest.as_bytes().to_vec(), media_type: Some(media_type::OCI_MANIFEST.into()) })
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        let key = digest.to_string();
        if let Some(text) = self.artifacts.blobs.get(&key) {
            let bytes = BASE64.decode(text.as_deref().unwrap_or_default());
            let reason = |_| format!("blob {digest} in {} is not base64", super::ARTIFACTS);
            let bytes =
                bytes.map_err(|error| TransferError::Inconsistent { name: self.name(), reason: reason(error) })?;
            return Ok(Box::new(Verified::new(io::Cursor::new(bytes), self.name(), digest, size)));
        }
        let path = self.artifacts.detached.get(&key).ok_or_else(|| TransferError::Inconsistent {
            name: self.name(),
            reason: format!("nothing is known of its blob {digest}"),
        })?;
        Ok(Box::new(Verified::new(open_regular(Path::new(path))?, path.clone(), digest, size)))
    }

    fn store_names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_types_follow_names_and_then_contents() {
        for (name, start, expected) in [
            ("a.json", &b"x"[..], "application/json"),
            ("A.TXT", b"\0", "text/plain"),
            ("a", b"some\ttext\n", "text/plain"),
            ("a.nosuch", b"\x7fELF\x02\x01", "application/octet-stream"),
            ("a", b"\x1f\x8b\x08\0", "application/x-gzip"),
            ("a", b"", "text/plain"),
        ] {
            assert_eq!(type_of(Path::new(name), start), expected, "{name}");
        }
    }

    #[test]
    fn pure_what_gos_tools_write_is_read() {
        let text =
            r#"{"manifests":{"sha256:1":"{}"},"layers":{"sha256:1":null},"blobs":{"sha256:2":null},"files":null}"#;
        let artifacts: Artifacts = serde_json::from_str(text).expect("valid");
        assert_eq!(artifacts.layers.get("sha256:1"), Some(&None));
        assert_eq!(serde_json::to_string(&Artifacts::default()).expect("text"), "{}");
    }
}
