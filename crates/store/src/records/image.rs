//! A record of `images.json`.

use jiff::Timestamp;
use oci::{Digest, ImageId, LayerId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use oci::json::{null_default, optional_text};

use super::BigDataIndex;

/// An image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The hex of the config's SHA-256, or random where there is no config.
    pub id: ImageId,
    /// Digest of the manifest.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Full references.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Every name it ever had, newest first.
    #[serde(
        rename = "names-history",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub names_history: Vec<String>,
    /// The top layer.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// Copies of the top layer with other ID maps.
    #[serde(
        rename = "mapped-layers",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mapped_layers: Vec<LayerId>,
    /// JSON text; containers/image keeps the sizes of signatures here.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// The items stored beside the record.
    #[serde(flatten)]
    pub big_data: BigDataIndex,
    /// From the config, else when the record was made.
    pub created: Timestamp,
    /// Opaque.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
    /// Fields that no version known here has.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
    /// Whether it is in an additional, read-only store.
    #[serde(skip)]
    pub read_only: bool,
}

impl Image {
    /// Digests that identify the image: its own and those of every manifest stored with it.
    pub fn digests(&self) -> Vec<&Digest> {
        let mut digests: Vec<&Digest> = self.digest.iter().collect();
        for (key, digest) in &self.big_data.digests {
            if key.starts_with("manifest") && !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        digests
    }
}

impl crate::table::Record for Image {
    const KEYS: &'static [&'static str] = &[
        "id",
        "digest",
        "names",
        "names-history",
        "layer",
        "mapped-layers",
        "metadata",
        "big-data-names",
        "big-data-sizes",
        "big-data-digests",
        "created",
        "flags",
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
