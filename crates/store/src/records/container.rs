//! A record of `containers.json` or `volatile-containers.json`.

use jiff::Timestamp;
use oci::{ContainerId, ImageId, LayerId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use oci::json::{null_default, optional_text};

use super::{BigDataIndex, IdMap};

/// A container, of whichever tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Random, or chosen by the tool.
    pub id: ContainerId,
    /// Names.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The image it is based on; none for `scratch`.
    #[serde(default, with = "optional_text")]
    pub image: Option<ImageId>,
    /// Its read-write layer.
    pub layer: LayerId,
    /// Text of the owning tool: empty for working containers.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// The items stored beside the record.
    #[serde(flatten)]
    pub big_data: BigDataIndex,
    /// When the record was made.
    pub created: Timestamp,
    /// User ID maps to mount with.
    #[serde(rename = "uidmap", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_map: Vec<IdMap>,
    /// Group ID maps to mount with.
    #[serde(rename = "gidmap", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_map: Vec<IdMap>,
    /// `MountLabel`, `ProcessLabel`, `Volatile`, `MountOpts` and others.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Map::is_empty")]
    pub flags: Map<String, Value>,
    /// Fields that no version known here has.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

impl Container {
    /// Whether its content need not survive a power cut, so that it is mounted `volatile`.
    pub fn is_volatile(&self) -> bool {
        self.flags.get("Volatile") == Some(&Value::Bool(true))
    }
}

impl crate::table::Record for Container {
    const KEYS: &'static [&'static str] = &[
        "id",
        "names",
        "image",
        "layer",
        "metadata",
        "big-data-names",
        "big-data-sizes",
        "big-data-digests",
        "created",
        "uidmap",
        "gidmap",
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

    fn mark_read_only(&mut self) {}
}
