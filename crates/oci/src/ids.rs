//! IDs that must not be mixed up: each is a type of its own.

use std::fmt;

use crate::digest::{Algorithm, Digest, Hasher, is_lower_hex};

/// The digest of a layer's *uncompressed* tar, as `rootfs.diff_ids` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is not 64 lower-case hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid id {text:?}: expected 64 lower-case hex digits")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Accepts exactly 64 lower-case hex digits.
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                if text.len() == 64 && is_lower_hex(text) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(InvalidId { text: text.chars().take(200).collect() })
                }
            }

            /// The 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, as tables show them.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// An image's ID in the store: the hex of its config's SHA-256.
    ImageId
);
hex_id!(
    /// A layer's ID in the store. For an image's layer it follows from the stack below
    /// ([`LayerId::of`]); a working container's layer has a random one.
    LayerId
);
hex_id!(
    /// A working container's ID in the store.
    ContainerId
);

impl ImageId {
    /// The ID of the image whose config is `config`.
    pub fn of_config(config: &[u8]) -> ImageId {
        ImageId(Digest::of(config).hex().to_owned())
    }
}

impl LayerId {
    /// The ID that containers/image gives a layer with `diff_id` over `parent` (which is not the
    /// OCI chain ID): the diff ID's hex for a base layer, else SHA-256 of `parent + "+" + hex`.
    pub fn of(parent: Option<&LayerId>, diff_id: &DiffId) -> LayerId {
        match parent {
            None => LayerId(diff_id.0.hex().to_owned()),
            Some(parent) => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                hasher.update(parent.0.as_bytes());
                hasher.update(b"+");
                hasher.update(diff_id.0.hex().as_bytes());
                LayerId(hasher.finish().hex().to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_layer_ids_chain_with_a_plus() {
        let base = DiffId(Digest::of(b"base"));
        let child = DiffId(Digest::of(b"child"));
        let base_id = LayerId::of(None, &base);
        assert_eq!(base_id.as_str(), base.0.hex());
        let expected = Digest::of(format!("{}+{}", base.0.hex(), child.0.hex()).as_bytes());
        assert_eq!(LayerId::of(Some(&base_id), &child).as_str(), expected.hex());
    }

    #[test]
    fn pure_ids_take_64_lower_case_hex_digits_only() {
        assert!(LayerId::parse(&"0a".repeat(32)).is_ok());
        for text in ["", "l", "../x", &"0A".repeat(32), &"0a".repeat(33)] {
            assert!(LayerId::parse(text).is_err(), "{text:?}");
        }
    }
}
