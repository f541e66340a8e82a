//! A record of `layers.json` or `volatile-layers.json`.

use jiff::Timestamp;
use oci::media_type::Compression;
use oci::{DiffId, Digest, LayerId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use oci::json::{null_default, optional_text};

use super::is_zero;

/// A layer, of an image or of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// See [`LayerId`].
    pub id: LayerId,
    /// Names, which only containers' layers have.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The layer below, perhaps in a read-only store.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub parent: Option<LayerId>,
    /// Free text.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// SELinux label of mounts.
    #[serde(
        rename = "mountlabel",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub mount_label: String,
    /// When the record was made.
    pub created: Timestamp,
    /// Digest of the blob as it was received.
    #[serde(
        rename = "compressed-diff-digest",
        default,
        with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub compressed_digest: Option<Digest>,
    /// Bytes of the blob as it was received.
    #[serde(rename = "compressed-size", default, skip_serializing_if = "is_zero")]
    pub compressed_size: i64,
    /// Digest of the uncompressed tar; containers' layers have none.
    #[serde(rename = "diff-digest", default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
    /// Digest of the table of contents of a partially pulled layer.
    #[serde(rename = "toc-digest", default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub toc_digest: Option<Digest>,
    /// Bytes of the uncompressed tar; -1 if unknown.
    #[serde(rename = "diff-size", default, skip_serializing_if = "is_zero")]
    pub diff_size: i64,
    /// How the received blob was compressed.
    #[serde(default, skip_serializing_if = "LayerCompression::is_none")]
    pub compression: LayerCompression,
    /// User IDs in the tar's headers, sorted.
    #[serde(rename = "uidset", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_set: Vec<u32>,
    /// Group IDs in the tar's headers, sorted.
    #[serde(rename = "gidset", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_set: Vec<u32>,
    /// `incomplete` and others.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
    /// User ID maps that the files are stored with.
    #[serde(rename = "uidmap", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_map: Vec<IdMap>,
    /// Group ID maps that the files are stored with.
    #[serde(rename = "gidmap", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_map: Vec<IdMap>,
    /// Keys of the items stored beside the record.
    #[serde(
        rename = "big-data-names",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub big_data_names: Vec<String>,
    /// Fields that no version known here has.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
    /// Whether it is in an additional, read-only store.
    #[serde(skip)]
    pub read_only: bool,
}

/// A range of an ID map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First ID inside.
    pub container_id: u32,
    /// First ID outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// How a received blob was compressed, with the numbers of containers/storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerCompression(i64);

impl LayerCompression {
    fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// The compression, if it is one that gabion writes.
    pub fn known(self) -> Option<Compression> {
        match self.0 {
            0 => Some(Compression::None),
            2 => Some(Compression::Gzip),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }
}

impl From<Compression> for LayerCompression {
    fn from(compression: Compression) -> LayerCompression {
        LayerCompression(match compression {
            Compression::None => 0,
            Compression::Gzip => 2,
            Compression::Zstd | Compression::ZstdChunked => 4,
        })
    }
}

impl Layer {
    /// A record with an ID, a parent and the time; everything else is empty.
    pub(crate) fn new(id: LayerId, parent: Option<LayerId>) -> Layer {
        Layer {
            id,
            names: Vec::new(),
            parent,
            metadata: String::new(),
            mount_label: String::new(),
            created: Timestamp::now(),
            compressed_digest: None,
            compressed_size: 0,
            diff_id: None,
            toc_digest: None,
            diff_size: 0,
            compression: LayerCompression::default(),
            uid_set: Vec::new(),
            gid_set: Vec::new(),
            flags: Map::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            big_data_names: Vec::new(),
            unknown: Map::new(),
            read_only: false,
        }
    }

    /// Whether a tool was killed while it made or deleted the layer. Such a layer may exist only
    /// while `layers.lock` is held for writing; whoever sees one later removes it.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.flags.get("incomplete") == Some(&Value::Bool(true))
    }
}

impl crate::table::Record for Layer {
    const KEYS: &'static [&'static str] = &[
        "id",
        "names",
        "parent",
        "metadata",
        "mountlabel",
        "created",
        "compressed-diff-digest",
        "compressed-size",
        "diff-digest",
        "toc-digest",
        "diff-size",
        "compression",
        "uidset",
        "gidset",
        "flags",
        "uidmap",
        "gidmap",
        "big-data-names",
    ];

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn names_mut(&mut self) -> &mut Vec<String> {
        &mut self.names
    }

    fn mark_read_only(&mut self) {
        self.read_only = true;
    }
}
