//! Judges an image in an `oci:` layout or a `dir:` directory: recomputes every digest and size.
//! It shares no code with gabion. What a container would see of the image: [`crate::flatten`].

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// How much of a file's content is kept.
const START: usize = 4096;

/// `sha256:<hex>` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A validated image.
#[derive(Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Value,
    /// Digest of the manifest's bytes.
    pub manifest_digest: String,
    /// The image config.
    pub config: Value,
    /// Digest of the config's bytes: the image ID.
    pub config_digest: String,
    /// The layers, the base first.
    pub layers: Vec<Layer>,
}

/// A validated layer.
#[derive(Debug)]
pub struct Layer {
    /// Digest of the blob.
    pub digest: String,
    /// Digest of the uncompressed tar.
    pub diff_id: String,
    /// Media type in the manifest.
    pub media_type: String,
    /// How the blob is compressed in truth: `gzip`, `zstd` or nothing.
    pub compression: &'static str,
    /// Entries in the tar's order.
    pub entries: Vec<(String, File)>,
}

/// An entry of a tar, or a file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The tar's type flag: `0` file, `1` hardlink, `2` symlink, `3` and `4` devices, `5` directory, `6` FIFO.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: (u64, u64),
    /// Modification time in whole seconds.
    pub mtime: u64,
    /// Size of the content as stored.
    pub size: u64,
    /// Digest of the content.
    pub content: String,
    /// The first 4 KiB of the content.
    pub start: Vec<u8>,
    /// Target of a link.
    pub link: String,
    /// Extended attributes and other PAX records; values that are not UTF-8 have their other bytes replaced.
    pub pax: BTreeMap<String, String>,
}

impl Image {
    /// Asserts that each layer's media type says how it is compressed. Older Skopeos fail here: they
    /// copy a pulled gzip layer out of the store uncompressed under its old media type.
    #[track_caller]
    pub fn assert_media_types(&self) {
        for layer in &self.layers {
            let said = ["gzip", "zstd"].into_iter().find(|name| layer.media_type.ends_with(name));
            assert_eq!(said.unwrap_or_default(), layer.compression, "{} of {}", layer.media_type, layer.digest);
        }
    }

    /// The layers' blob digests, the base first.
    pub fn digests(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.digest.as_str()).collect()
    }

    /// The layers' diff IDs, the base first.
    pub fn diff_ids(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.diff_id.as_str()).collect()
    }
}

impl Layer {
    /// The entry at `path`.
    #[track_caller]
    pub fn entry(&self, path: &str) -> &File {
        let found = self.entries.iter().find(|(name, _)| name == path);
        &found.unwrap_or_else(|| panic!("{path} is not among {:?}", self.paths())).1
    }

    /// The entries' paths in the tar's order.
    pub fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|(path, _)| path.as_str()).collect()
    }
}

/// The image `tag` of the OCI layout at `dir`; the only image if `tag` is empty.
#[track_caller]
pub fn oci_layout(dir: impl AsRef<Path>, tag: &str) -> Image {
    let dir = dir.as_ref();
    let version = parse(&read(&dir.join("oci-layout")));
    assert_eq!(version["imageLayoutVersion"], "1.0.0", "{}", dir.display());
    let index = parse(&read(&dir.join("index.json")));
    assert_eq!(index["schemaVersion"], 2, "{index}");
    let manifests = index["manifests"].as_array().expect("an index has manifests");
    let named = |entry: &&Value| tag.is_empty() || entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let found: Vec<&Value> = manifests.iter().filter(named).collect();
    assert_eq!(found.len(), 1, "one image {tag:?} is expected in {index}");
    let blob = |descriptor: &Value| {
        let digest = text(&descriptor["digest"]);
        let (algorithm, hex) = digest.split_once(':').expect("a digest");
        check(descriptor, read(&dir.join("blobs").join(algorithm).join(hex)))
    };
    let manifest = blob(found[0]);
    image(&manifest, blob)
}

/// The image of the `dir:` directory at `dir`.
#[track_caller]
pub fn dir_image(dir: impl AsRef<Path>) -> Image {
    let dir = dir.as_ref();
    assert!(text_of(&dir.join("version")).starts_with("Directory Transport Version: 1."));
    let blob = |descriptor: &Value| {
        check(descriptor, read(&dir.join(text(&descriptor["digest"]).trim_start_matches("sha256:"))))
    };
    image(&read(&dir.join("manifest.json")), blob)
}

#[track_caller]
fn image(manifest_bytes: &[u8], blob: impl Fn(&Value) -> Vec<u8>) -> Image {
    let manifest = parse(manifest_bytes);
    let config_bytes = blob(&manifest["config"]);
    let config = parse(&config_bytes);
    let descriptors = manifest["layers"].as_array().expect("a manifest has layers");
    let layers: Vec<Layer> = descriptors.iter().map(|descriptor| layer(descriptor, blob(descriptor))).collect();
    let recorded: Vec<&str> =
        config["rootfs"]["diff_ids"].as_array().map_or(Vec::new(), |ids| ids.iter().map(text).collect());
    let computed: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    assert_eq!(recorded, computed, "diff IDs of the config and of the layers");
    if let Some(history) = config["history"].as_array().filter(|history| !history.is_empty()) {
        let filled = history.iter().filter(|entry| entry["empty_layer"] != true).count();
        assert_eq!(filled, layers.len(), "history entries with a layer: {history:?}");
    }
    for field in ["architecture", "os"] {
        assert!(config[field].as_str().is_some_and(|value| !value.is_empty()), "{field} in {config}");
    }
    Image { manifest_digest: sha256(manifest_bytes), config_digest: sha256(&config_bytes), manifest, config, layers }
}

#[track_caller]
fn layer(descriptor: &Value, blob: Vec<u8>) -> Layer {
    let media_type = text(&descriptor["mediaType"]).to_owned();
    let digest = text(&descriptor["digest"]).to_owned();
    let (compression, tar) = match blob.get(..4) {
        Some([0x1f, 0x8b, ..]) => {
            let mut tar = Vec::new();
            flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).expect("unpack gzip");
            ("gzip", tar)
        }
        Some([0x28, 0xb5, 0x2f, 0xfd]) => ("zstd", zstd::decode_all(&blob[..]).expect("unpack zstd")),
        _ => ("", blob),
    };
    let mut entries = Vec::new();
    for entry in tar::Archive::new(&tar[..]).entries().expect("a tar") {
        let mut entry = entry.expect("a tar entry");
        let mut content = Vec::new();
        let pax = entry.pax_extensions().expect("PAX records").map_or(BTreeMap::new(), |records| {
            let pair = |record: tar::PaxExtension<'_>| {
                let value = String::from_utf8_lossy(record.value_bytes()).into_owned();
                (String::from_utf8_lossy(record.key_bytes()).into_owned(), value)
            };
            records.map(|record| pair(record.expect("a PAX record"))).collect()
        });
        entry.read_to_end(&mut content).expect("a tar entry's content");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = entry.link_name_bytes().map_or(String::new(), |link| String::from_utf8_lossy(&link).into_owned());
        let header = entry.header();
        let number = |value: std::io::Result<u64>| value.expect("a number in a tar header");
        let file = File {
            kind: match header.entry_type().as_byte() {
                0 => '0',
                byte => char::from(byte),
            },
            mode: header.mode().expect("a mode in a tar header") & 0o7777,
            owner: (number(header.uid()), number(header.gid())),
            mtime: number(header.mtime()),
            size: entry.size(),
            content: sha256(&content),
            start: content.get(..START).unwrap_or(&content).to_vec(),
            link,
            pax,
        };
        entries.push((path.trim_start_matches("./").trim_end_matches('/').to_owned(), file));
    }
    Layer { digest, diff_id: sha256(&tar), media_type, compression, entries }
}

#[track_caller]
fn check(descriptor: &Value, bytes: Vec<u8>) -> Vec<u8> {
    assert_eq!(text(&descriptor["digest"]), sha256(&bytes), "digest of {descriptor}");
    assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64), "size of {descriptor}");
    bytes
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a string is expected instead of {value}"))
}

#[track_caller]
fn read(path: &PathBuf) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn text_of(path: &PathBuf) -> String {
    String::from_utf8(read(path)).expect("UTF-8")
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(bytes)))
}
