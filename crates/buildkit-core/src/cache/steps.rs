//! What a cache outside of the store says of its layers: the steps that made them, by their keys.
//!
//! It is a member of an image's config, beside `rootfs.diff_ids`, which it refers to:
//!
//! ```text
//! "io.gabion.cache.v1": [{
//!     "keys": ["<64 digits>", …],     every key that the step is found by
//!     "kind": "<64 digits>",          the key of what it does, whatever came before
//!     "layer": 3,                     its layer, by position in rootfs.diff_ids; none if it changed no file
//!     "content": "<64 digits>",       with a layer: the content digest, which keys after it are made of
//!     "createdBy": "/bin/sh -c …", "created": "2026-…Z"
//! }, …]
//! ```

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use layers::ContentDigest;
use oci::ImageConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::Key;

/// The member's name.
const MEMBER: &str = "io.gabion.cache.v1";

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedStep {
    /// The keys that it is found by.
    pub keys: Vec<Key>,
    /// The key of what it does, whatever it comes after.
    pub kind: Key,
    /// Its layer, by position in the config, with its content; none if it changed no file.
    pub made: Option<(usize, ContentDigest)>,
    /// What the history says of it.
    pub created_by: String,
    /// When it was done.
    pub created: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    keys: Vec<String>,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    created_by: String,
    created: Timestamp,
}

/// The steps of a cache, to be found by key.
#[derive(Debug, Default)]
pub(crate) struct CachedSteps {
    steps: Vec<CachedStep>,
    by_key: HashMap<Key, usize>,
    kinds: HashSet<Key>,
}

/// Makes `steps` what the config says; nothing if there are none.
pub(crate) fn write(config: &mut ImageConfig, steps: &[CachedStep]) {
    config.unknown.remove(MEMBER);
    if steps.is_empty() {
        return;
    }
    let text = |key: &Key| key.as_str().to_owned();
    let written = steps.iter().map(|step| Written {
        keys: step.keys.iter().map(text).collect(),
        kind: text(&step.kind),
        layer: step.made.as_ref().map(|(layer, _)| *layer),
        content: step.made.as_ref().map(|(_, content)| content.to_string()),
        created_by: step.created_by.clone(),
        created: step.created,
    });
    // Strings, numbers and lists always serialize.
    let value = serde_json::to_value(written.collect::<Vec<_>>()).unwrap_or_default();
    config.unknown.insert(MEMBER.to_owned(), value);
}

/// What the config says; `None` if that is nothing.
///
/// # Errors
/// A line that says what is wrong with it.
pub(crate) fn read(config: &ImageConfig) -> Result<Option<CachedSteps>, String> {
    let Some(value) = config.unknown.get(MEMBER) else { return Ok(None) };
    let layers = config.rootfs.diff_ids.len();
    let mut steps = CachedSteps::default();
    for (number, value) in value.as_array().ok_or("its steps are no list")?.iter().enumerate() {
        steps.add(step(value, layers).map_err(|reason| format!("its step {number}: {reason}"))?);
    }
    Ok(Some(steps))
}

fn step(value: &Value, layers: usize) -> Result<CachedStep, String> {
    let written = Written::deserialize(value).map_err(|error| error.to_string())?;
    let key = |text: &String| Key::parse(text).ok_or("a key is not 64 hexadecimal digits");
    let made = match (written.layer, written.content.as_deref().map(ContentDigest::parse)) {
        (None, None) => None,
        (Some(layer), Some(Some(content))) if layer < layers => Some((layer, content)),
        (Some(layer), _) if layer >= layers => return Err(format!("there is no layer {layer}")),
        _ => return Err("it has no valid digest of its layer's content".to_owned()),
    };
    Ok(CachedStep {
        keys: written.keys.iter().map(key).collect::<Result<_, _>>()?,
        kind: key(&written.kind)?,
        made,
        created_by: written.created_by,
        created: written.created,
    })
}

impl CachedSteps {
    fn add(&mut self, step: CachedStep) {
        for key in &step.keys {
            // Of two, the first one counts.
            self.by_key.entry(key.clone()).or_insert(self.steps.len());
        }
        self.kinds.insert(step.kind.clone());
        self.steps.push(step);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// The step with this key.
    pub fn get(&self, key: &Key) -> Option<&CachedStep> {
        self.steps.get(*self.by_key.get(key)?)
    }

    /// Whether there is such a step, whatever it came after.
    pub fn has_kind(&self, kind: &Key) -> bool {
        self.kinds.contains(kind)
    }
}

#[cfg(test)]
mod tests {
    use oci::{DiffId, Digest, Platform};
    use serde_json::json;

    use super::*;

    fn config() -> ImageConfig {
        let mut config = ImageConfig::new(&Platform::host());
        config.rootfs.diff_ids = vec![DiffId(Digest::of(b"0")), DiffId(Digest::of(b"1"))];
        config
    }

    fn content() -> ContentDigest {
        ContentDigest::parse(&"ab".repeat(32)).expect("a digest")
    }

    #[test]
    fn pure_steps_are_found_by_every_key() {
        let step = |name: &str, made| CachedStep {
            keys: vec![Key::of("whole", name), Key::of("content", name)],
            kind: Key::of("kind", name),
            made,
            created_by: format!("RUN {name}"),
            created: Timestamp::UNIX_EPOCH,
        };
        let (one, two) = (step("1", Some((1, content()))), step("2", None));
        let mut config = config();
        write(&mut config, &[one.clone(), two.clone(), CachedStep { kind: Key::of("kind", "3"), ..step("1", None) }]);
        let config = ImageConfig::parse(&config.to_bytes(oci::Format::Oci)).expect("a config");
        let steps = read(&config).expect("valid").expect("steps");
        assert_eq!(steps.len(), 3);
        for (key, expected) in [("1", Some(&one)), ("2", Some(&two)), ("3", None)] {
            assert_eq!(steps.get(&Key::of("whole", key)), expected);
            assert_eq!(steps.get(&Key::of("content", key)), expected);
        }
        assert!(steps.has_kind(&Key::of("kind", "3")) && !steps.has_kind(&Key::of("kind", "4")));
        let mut without = config.clone();
        write(&mut without, &[]);
        assert!(read(&without).expect("valid").is_none());
    }

    #[test]
    fn pure_what_is_no_list_of_steps_says_why() {
        let key = "0".repeat(64);
        let valid = json!({ "keys": [key], "kind": key, "createdBy": "", "created": "2026-01-02T03:04:05Z" });
        let with = |name: &str, value: Value| {
            let mut step = valid.clone();
            step[name] = value;
            json!([step])
        };
        for (value, words) in [
            (json!({}), "no list"),
            (json!([1]), "its step 0: "),
            (with("keys", json!(["../../../etc/passwd"])), "a key is not 64 hexadecimal digits"),
            (with("kind", json!("0".repeat(63))), "a key is not 64"),
            (with("layer", json!(2)), "there is no layer 2"),
            (with("layer", json!(-1)), "its step 0: "),
            (with("layer", json!(1)), "no valid digest"),
            (with("content", json!("ab".repeat(32))), "no valid digest"),
            (with("created", json!("yesterday")), "its step 0: "),
        ] {
            let mut config = config();
            config.unknown.insert(MEMBER.to_owned(), value.clone());
            let error = read(&config).expect_err(&value.to_string());
            assert!(error.contains(words), "{value}: {error}");
        }
    }
}
