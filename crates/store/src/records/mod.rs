//! The JSON records: images, layers, containers and mount points.

mod container;
mod image;
mod layer;

pub use container::Container;
pub use image::Image;
pub use layer::{IdMap, Layer, LayerCompression};

use oci::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Go writes empty lists and maps as `null`.
pub(crate) fn null_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An ID or digest that is `""` when there is none.
pub(crate) mod optional_text {
    use super::*;

    pub fn serialize<S: Serializer, T: ToString>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.as_ref().map(T::to_string).unwrap_or_default())
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => T::deserialize(serde::de::value::StringDeserializer::new(text)).map(Some),
        }
    }
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
