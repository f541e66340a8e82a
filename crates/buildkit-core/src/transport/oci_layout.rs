//! `oci:PATH[:NAME]`: an OCI image layout (image specification, "OCI Image Layout").

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci::manifest::digest_of;
use oci::spec::{Descriptor, ImageIndex};
use oci::{Digest, Format, Manifest, Reference};

use super::archive_file::ArchiveFile;
use super::spool::{SpooledBlob, open_regular, read_file, write_file};
use super::verified::Verified;
use super::{BlobSink, BlobStream, LayerForm, MAX_DOCUMENT, RawManifest, Sink, Source, TransportError};
use crate::transfer::TransferError;

/// The annotation that names an entry of index.json.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const KIND: &str = "OCI image layout";

/// Where the files of a layout are.
pub(super) enum LayoutFiles {
    Directory(PathBuf),
    Archive(ArchiveFile),
}

impl LayoutFiles {
    fn path(&self) -> &Path {
        match self {
            LayoutFiles::Directory(path) => path,
            LayoutFiles::Archive(archive) => archive.path(),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, TransportError> {
        match self {
            LayoutFiles::Directory(path) => read_file(&path.join(name), MAX_DOCUMENT),
            LayoutFiles::Archive(archive) => archive.read(name, MAX_DOCUMENT),
        }
    }
}

/// An image in a layout, which is a directory or an archive.
pub struct OciSource {
    files: LayoutFiles,
    shown: String,
    entry: Descriptor,
}

impl OciSource {
    /// The image `name` of the layout in the directory `path`; without a name its only one. A name
    /// such as `@sha256:…` is a digest that its index.json has.
    pub fn open(path: &Path, name: Option<&str>) -> Result<OciSource, TransportError> {
        OciSource::choose(LayoutFiles::Directory(path.to_owned()), "oci", name)
    }

    pub(super) fn choose(files: LayoutFiles, transport: &str, name: Option<&str>) -> Result<OciSource, TransportError> {
        let path = files.path().to_owned();
        let invalid = |reason: String| TransportError::Invalid { path: path.clone(), kind: KIND, reason };
        let layout: serde_json::Value = serde_json::from_slice(&files.read("oci-layout")?)
            .map_err(|error| invalid(format!("its oci-layout file is not JSON: {error}")))?;
        if layout.get("imageLayoutVersion").and_then(|version| version.as_str()) != Some("1.0.0") {
            return Err(invalid("its version is not 1.0.0".into()));
        }
        let index: ImageIndex = serde_json::from_slice(&files.read("index.json")?)
            .map_err(|error| invalid(format!("its index.json cannot be read: {error}")))?;
        let available: Vec<String> =
            index.manifests().iter().filter_map(|entry| ref_name(entry).map(str::to_owned)).collect();
        let by_digest = name.and_then(|name| name.strip_prefix('@'));
        let entry = match (by_digest, name) {
            (Some(digest), _) => index
                .manifests()
                .iter()
                .find(|entry| entry.digest().as_ref() == digest)
                .ok_or_else(|| invalid(format!("its index.json does not name {digest}")))?,
            (None, Some(name)) => {
                index.manifests().iter().find(|entry| ref_name(entry) == Some(name)).ok_or_else(|| {
                    TransportError::NoSuchImage {
                        path: path.clone(),
                        name: name.to_owned(),
                        available: available.clone(),
                    }
                })?
            }
            (None, None) => match index.manifests().as_slice() {
                [] => return Err(invalid("it has no image".into())),
                [only] => only,
                _ => return Err(TransportError::SeveralImages { path, available }),
            },
        };
        digest_of(entry).map_err(|error| invalid(error.to_string()))?;
        let shown =
            format!("{transport}:{}{}", path.display(), name.map(|name| format!(":{name}")).unwrap_or_default());
        let entry = entry.clone();
        Ok(OciSource { files, shown, entry })
    }

    fn document(&self, digest: &Digest) -> Result<Vec<u8>, TransferError> {
        let bytes = self.files.read(&blob_name(digest))?;
        let mut hasher = oci::digest::Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual != *digest {
            let (place, expected) = (self.shown.clone(), digest.clone());
            return Err(TransportError::WrongDigest { place, expected, actual }.into());
        }
        Ok(bytes)
    }
}

fn ref_name(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(REF_NAME).map(String::as_str).filter(|name| !name.is_empty())
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl Source for OciSource {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        match instance {
            Some(digest) => Ok(RawManifest { bytes: self.document(digest)?, media_type: None }),
            None => {
                let digest = digest_of(&self.entry)
                    .map_err(|source| TransferError::Manifest { name: self.shown.clone(), source })?;
                let media_type = Some(self.entry.media_type().to_string());
                Ok(RawManifest { bytes: self.document(&digest)?, media_type })
            }
        }
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        let name = blob_name(digest);
        Ok(match &self.files {
            LayoutFiles::Directory(path) => {
                Box::new(Verified::new(open_regular(&path.join(name))?, self.shown.clone(), digest, size))
            }
            LayoutFiles::Archive(archive) => {
                Box::new(Verified::new(archive.stream(&name)?, self.shown.clone(), digest, size))
            }
        })
    }

    fn store_names(&self) -> Vec<String> {
        ref_name(&self.entry).and_then(local_name).into_iter().collect()
    }
}

/// The full reference for a name in a layout: one without a registry is `localhost`'s.
fn local_name(name: &str) -> Option<String> {
    let text = if Reference::has_domain(name) { name.to_owned() } else { format!("localhost/{name}") };
    Reference::parse_qualified(&text).ok().map(|reference| reference.with_default_tag().to_string())
}

/// A layout in a directory to add an image to.
pub struct OciSink {
    path: PathBuf,
    name: Option<String>,
    transport: &'static str,
    /// Where the user sees the layout.
    shown: PathBuf,
}

impl OciSink {
    /// Prepares the layout in the directory `path`, new or with other images.
    pub fn create(path: &Path, name: Option<&str>) -> Result<OciSink, TransportError> {
        OciSink::create_shown(path, name, "oci", path)
    }

    pub(super) fn create_shown(
        path: &Path,
        name: Option<&str>,
        transport: &'static str,
        shown: &Path,
    ) -> Result<OciSink, TransportError> {
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|error| TransportError::write(&blobs, &error))?;
        Ok(OciSink { path: path.to_owned(), name: name.map(str::to_owned), transport, shown: shown.to_owned() })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    fn new_index(&self, media_type: &str, bytes: &[u8]) -> Result<Vec<u8>, TransferError> {
        let path = self.path.join("index.json");
        let invalid = |reason: String| TransportError::Invalid {
            path: self.path.clone(),
            kind: KIND,
            reason: format!("index.json: {reason}"),
        };
        let mut index: serde_json::Value = match fs::exists(&path) {
            Ok(true) => {
                serde_json::from_slice(&read_file(&path, MAX_DOCUMENT)?).map_err(|error| invalid(error.to_string()))?
            }
            _ => serde_json::json!({"schemaVersion": 2, "manifests": []}),
        };
        let mut entry = oci::manifest::descriptor(media_type, &Digest::of(bytes), bytes.len() as u64)
            .map_err(|source| TransferError::Manifest { name: self.name(), source })?;
        if let Some(name) = &self.name {
            entry.set_annotations(Some(HashMap::from([(REF_NAME.to_owned(), name.clone())])));
        }
        let entry = serde_json::to_value(&entry).map_err(|error| invalid(error.to_string()))?;
        let entries = index
            .get_mut("manifests")
            .and_then(|list| list.as_array_mut())
            .ok_or_else(|| invalid("it has no manifests".into()))?;
        let named = |value: &serde_json::Value| {
            value
                .pointer("/annotations/org.opencontainers.image.ref.name")
                .and_then(|name| name.as_str())
                .map(str::to_owned)
        };
        let digest = entry.get("digest").cloned();
        // A name is used once; without a name the same image is listed once.
        entries.retain(|known| match &self.name {
            Some(name) => named(known).as_ref() != Some(name),
            None => named(known).is_some() || known.get("digest") != digest.as_ref(),
        });
        entries.push(entry);
        Ok(serde_json::to_vec(&index).map_err(|error| invalid(error.to_string()))?)
    }
}

impl Sink for OciSink {
    fn name(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
        format!("{}:{}{name}", self.transport, self.shown.display())
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Oci]
    }

    fn layer_form(&self) -> LayerForm {
        LayerForm::Compressed
    }

    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError> {
        Ok(fs::metadata(self.blob_path(digest)).ok().filter(|m| m.is_file()).map(|metadata| metadata.len()))
    }

    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError> {
        let path = self.path.clone();
        let target = move |digest: &Digest| path.join(blob_name(digest));
        Ok(Box::new(SpooledBlob::new(&self.path.join("blobs"), target)?))
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        self.put_index(manifest.format().manifest(), manifest.bytes())
    }

    fn put_instance(&self, _media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        Ok(write_file(&self.blob_path(&Digest::of(bytes)), bytes)?)
    }

    fn put_index(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.put_instance(media_type, bytes)?;
        let index = self.new_index(media_type, bytes)?;
        write_file(&self.path.join("oci-layout"), br#"{"imageLayoutVersion": "1.0.0"}"#)?;
        write_file(&self.path.join("index.json"), &index)?;
        Ok(())
    }
}
