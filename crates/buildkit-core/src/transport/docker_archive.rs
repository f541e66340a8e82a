//! `docker-archive:PATH[:NAME]`: what `docker save` writes: `manifest.json`, configs and
//! uncompressed layers in a tar file.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use layers::Decompressor;
use oci::manifest::{descriptor, digest_of};
use oci::{Digest, Format, ImageConfig, Manifest, Reference, media_type};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::archive_file::ArchiveFile;
use super::location::ArchiveChoice;
use super::oci_archive::{spool_directory, write_tar};
use super::spool::SpooledBlob;
use super::verified::Verified;
use super::{BlobSink, BlobStream, LayerForm, MAX_DOCUMENT, RawManifest, Sink, Source, TransportError};
use crate::transfer::TransferError;

const KIND: &str = "docker archive";
/// Longest manifest.json that is read.
const MAX_LIST: usize = 1024 * 1024;

/// One image in manifest.json.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// An image in an archive.
pub struct DockerArchiveSource {
    archive: ArchiveFile,
    shown: String,
    item: Item,
    choice: ArchiveChoice,
    config: Vec<u8>,
    manifest: Manifest,
    /// The file of each layer, by diff ID.
    files: HashMap<Digest, String>,
}

impl DockerArchiveSource {
    /// The chosen image of the archive at `path`.
    pub fn open(path: &Path, choice: &ArchiveChoice) -> Result<DockerArchiveSource, TransportError> {
        let archive = ArchiveFile::open(path)?;
        let invalid = |reason: String| TransportError::Invalid { path: path.to_owned(), kind: KIND, reason };
        if !archive.has("manifest.json") {
            return Err(invalid("it has no manifest.json".into()));
        }
        let items: Vec<Item> = serde_json::from_slice(&archive.read("manifest.json", MAX_LIST)?)
            .map_err(|error| invalid(format!("its manifest.json cannot be read: {error}")))?;
        let item = choose(path, &items, choice)?.clone();
        let config = archive.read(&item.config, MAX_DOCUMENT)?;
        let parsed = ImageConfig::parse(&config).map_err(|error| invalid(error.to_string()))?;
        if parsed.rootfs.diff_ids.len() != item.layers.len() {
            return Err(invalid(format!(
                "its config has {} diff IDs for {} layers",
                parsed.rootfs.diff_ids.len(),
                item.layers.len()
            )));
        }
        let mut layers = Vec::new();
        let mut files = HashMap::new();
        for (diff_id, file) in parsed.rootfs.diff_ids.iter().zip(&item.layers) {
            let size = uncompressed_size(&archive, file)?;
            let layer =
                descriptor(media_type::DOCKER_LAYER, &diff_id.0, size).map_err(|error| invalid(error.to_string()))?;
            layers.push(layer);
            files.insert(diff_id.0.clone(), file.clone());
        }
        let config_descriptor = descriptor(media_type::DOCKER_CONFIG, &Digest::of(&config), config.len() as u64)
            .map_err(|error| invalid(error.to_string()))?;
        let manifest = Manifest::build(Format::Docker, config_descriptor, layers, &Default::default())
            .map_err(|error| invalid(error.to_string()))?;
        let shown = format!("docker-archive:{}", path.display());
        Ok(DockerArchiveSource { archive, shown, item, choice: choice.clone(), config, manifest, files })
    }
}

fn choose<'a>(path: &Path, items: &'a [Item], choice: &ArchiveChoice) -> Result<&'a Item, TransportError> {
    let tags = |item: &Item| item.repo_tags.clone().unwrap_or_default();
    let available = || items.iter().flat_map(tags).collect::<Vec<_>>();
    let missing = |name: String| TransportError::NoSuchImage { path: path.to_owned(), name, available: available() };
    match choice {
        ArchiveChoice::Index(index) => items.get(*index).ok_or_else(|| missing(format!("@{index}"))),
        ArchiveChoice::Named(reference) => items
            .iter()
            .find(|item| tags(item).iter().any(|tag| Reference::parse_normalized(tag).as_ref() == Ok(reference)))
            .ok_or_else(|| missing(reference.to_string())),
        ArchiveChoice::Only => match items {
            [] => Err(TransportError::Invalid { path: path.to_owned(), kind: KIND, reason: "it has no image".into() }),
            [only] => Ok(only),
            _ => Err(TransportError::SeveralImages { path: path.to_owned(), available: available() }),
        },
    }
}

/// Bytes of a layer's tar; some programs compress the layers of such archives.
fn uncompressed_size(archive: &ArchiveFile, file: &str) -> Result<u64, TransportError> {
    let read = |error: io::Error| TransportError::read(archive.path(), &error);
    let mut decompressor = Decompressor::new(archive.stream(file)?).map_err(read)?;
    if decompressor.compression() == layers::Compression::None {
        return archive.size(file);
    }
    io::copy(&mut decompressor, &mut io::sink()).map_err(read)
}

impl Source for DockerArchiveSource {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn manifest(&self, _instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        let media_type = Some(media_type::DOCKER_MANIFEST.to_owned());
        Ok(RawManifest { bytes: self.manifest.bytes().to_vec(), media_type })
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        if digest_of(self.manifest.config()).is_ok_and(|config| config == *digest) {
            return Ok(Box::new(Verified::new(self.config.as_slice(), self.shown.clone(), digest, size)));
        }
        let file = self.files.get(digest).ok_or_else(|| TransportError::NoSuchImage {
            path: self.archive.path().to_owned(),
            name: digest.to_string(),
            available: Vec::new(),
        })?;
        let stream = self.archive.stream(file)?;
        let tar: Box<dyn Read + Send> =
            Box::new(Decompressor::new(stream).map_err(|error| TransportError::read(self.archive.path(), &error))?);
        Ok(Box::new(Verified::new(tar, self.shown.clone(), digest, size)))
    }

    fn store_names(&self) -> Vec<String> {
        if let ArchiveChoice::Named(reference) = &self.choice {
            return vec![reference.to_string()];
        }
        let tags = self.item.repo_tags.iter().flatten();
        tags.filter_map(|tag| Reference::parse_normalized(tag).ok()).map(|r| r.with_default_tag().to_string()).collect()
    }
}

/// An archive being made: layers in a temporary directory beside it until it is complete.
pub struct DockerArchiveSink {
    path: PathBuf,
    names: Vec<Reference>,
    directory: TempDir,
}

impl DockerArchiveSink {
    /// An archive at `path` for an image with `names`. There must be no such file, or an empty one.
    pub fn create(path: &Path, names: Vec<Reference>) -> Result<DockerArchiveSink, TransportError> {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            return Err(TransportError::Write {
                path: path.to_owned(),
                reason: "it exists, and an image cannot be added to a docker archive".into(),
            });
        }
        Ok(DockerArchiveSink { path: path.to_owned(), names, directory: spool_directory(path)? })
    }

    fn spooled(&self, digest: &Digest) -> PathBuf {
        self.directory.path().join(digest.hex())
    }
}

impl Sink for DockerArchiveSink {
    fn name(&self) -> String {
        format!("docker-archive:{}", self.path.display())
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Docker]
    }

    fn layer_form(&self) -> LayerForm {
        LayerForm::Uncompressed
    }

    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError> {
        Ok(std::fs::metadata(self.spooled(digest)).ok().map(|metadata| metadata.len()))
    }

    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError> {
        let directory = self.directory.path().to_owned();
        Ok(Box::new(SpooledBlob::new(self.directory.path(), move |digest| directory.join(digest.hex()))?))
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        let digest = |layer| digest_of(layer).map_err(|source| TransferError::Manifest { name: self.name(), source });
        let layers = manifest.layers().iter().map(digest).collect::<Result<Vec<_>, _>>()?;
        let config = digest(manifest.config())?;
        let item = Item {
            config: format!("{}.json", config.hex()),
            repo_tags: Some(self.names.iter().map(|name| name.clone().with_default_tag().to_string()).collect()),
            layers: layers.iter().map(|layer| format!("{}.tar", layer.hex())).collect(),
        };
        let list = serde_json::to_vec(&[item]).map_err(|error| TransportError::write(&self.path, &error.into()))?;
        write_tar(&self.path, |archive| {
            let mut written = std::collections::BTreeSet::new();
            for layer in &layers {
                // The same layer may be part of an image twice.
                if written.insert(layer) {
                    append(archive, &format!("{}.tar", layer.hex()), &self.spooled(layer))?;
                }
            }
            append(archive, &format!("{}.json", config.hex()), &self.spooled(&config))?;
            let mut header = header(list.len() as u64);
            archive.append_data(&mut header, "manifest.json", list.as_slice())
        })?;
        Ok(())
    }
}

fn append<W: io::Write>(archive: &mut tar::Builder<W>, name: &str, path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    let mut header = header(file.metadata()?.len());
    archive.append_data(&mut header, name, file)
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o444);
    header.set_size(size);
    header
}
