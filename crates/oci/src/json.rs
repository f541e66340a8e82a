//! How Go writes JSON, for `serde(with = …)` and `serde(deserialize_with = …)`.

use serde::{Deserialize, Deserializer};

/// Reads an empty list or map, which Go writes as `null`.
pub fn null_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An ID or digest that is `""` when there is none.
pub mod optional_text {
    use serde::de::value::StringDeserializer;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the value's text, or `""`.
    pub fn serialize<S: Serializer, T: ToString>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.as_ref().map(T::to_string).unwrap_or_default())
    }

    /// Reads a value from its text; `""` and `null` are none.
    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => T::deserialize(StringDeserializer::new(text)).map(Some),
        }
    }
}
