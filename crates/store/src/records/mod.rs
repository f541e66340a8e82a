//! The JSON records: images, layers, containers and mount points.

mod container;
mod image;
mod layer;

pub use container::Container;
pub use image::Image;
pub use layer::{IdMap, Layer, LayerCompression};

use oci::Digest;
use oci::json::null_default;
use serde::{Deserialize, Serialize};

pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Sizes and digests of big data items, in order of their creation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BigDataIndex {
    /// Keys in order of creation.
    #[serde(
        rename = "big-data-names",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub names: Vec<String>,
    /// Bytes of each.
    #[serde(
        rename = "big-data-sizes",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "std::collections::BTreeMap::is_empty"
    )]
    pub sizes: std::collections::BTreeMap<String, i64>,
    /// SHA-256 of each; for manifests the manifest digest.
    #[serde(
        rename = "big-data-digests",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "std::collections::BTreeMap::is_empty"
    )]
    pub digests: std::collections::BTreeMap<String, Digest>,
}
