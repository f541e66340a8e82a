//! What a step depends on, part by part, and the digest of all of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One thing that a step depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is, in a user's words: `parent`, `instruction`, `ARG VERSION`, `file src/main.c`.
    pub name: String,
    /// Its value: a text, or the digest of something larger.
    pub value: String,
}

/// Everything that a step depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parts(Vec<Part>);

/// The digest of a step's parts; as a text, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

/// How a part differs between two builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The part.
    pub name: String,
    /// Its value in the earlier build, if it was there.
    pub before: Option<String>,
    /// Its value now, if it is there.
    pub now: Option<String>,
}

impl Parts {
    /// Adds a part. The order counts.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(Part { name: name.into(), value: value.into() });
    }

    /// The key of these parts: two lists have the same one only if they are equal.
    pub fn key(&self) -> Key {
        let mut hasher = Sha256::new();
        for Part { name, value } in &self.0 {
            // Lengths first: no text can look like the end of another.
            for text in [name, value] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        Key(oci::digest::to_hex(&hasher.finalize()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All parts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// What differs from the parts of an `earlier` build, by name.
    pub fn differences(&self, earlier: &Parts) -> Vec<Difference> {
        let value = |parts: &Parts, name: &str| parts.0.iter().find(|part| part.name == name).map(|p| p.value.clone());
        let changed = self.0.iter().filter(|part| !earlier.0.contains(part)).map(|part| &part.name);
        let gone = earlier.0.iter().filter(|part| value(self, &part.name).is_none()).map(|part| &part.name);
        let difference =
            |name: &String| Difference { name: name.clone(), before: value(earlier, name), now: value(self, name) };
        changed.chain(gone).map(difference).collect()
    }
}

impl Key {
    /// The key of a single thing.
    pub fn of(name: &str, value: &str) -> Key {
        let mut parts = Parts::default();
        parts.add(name, value);
        parts.key()
    }

    /// The key of what comes to be where `value` is added to what this is the key of.
    pub fn then(&self, value: &str) -> Key {
        Key::of(&self.0, value)
    }

    /// The key that these 64 hexadecimal digits are, if they are ones.
    pub fn parse(text: &str) -> Option<Key> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Key(text.to_owned()))
    }

    /// The key as 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(&str, &str)]) -> Parts {
        let mut parts = Parts::default();
        list.iter().for_each(|(name, value)| parts.add(*name, *value));
        parts
    }

    #[test]
    fn pure_keys_differ_where_any_part_does() {
        let lists = [
            parts(&[]),
            parts(&[("", "")]),
            parts(&[("a", "bc")]),
            parts(&[("ab", "c")]),
            parts(&[("a", "b"), ("c", "")]),
            parts(&[("a", "b")]),
            parts(&[("c", "d"), ("a", "b")]),
            parts(&[("a", "b"), ("c", "d")]),
        ];
        let keys: std::collections::HashSet<Key> = lists.iter().map(Parts::key).collect();
        assert_eq!(keys.len(), lists.len());
        assert_eq!(parts(&[("a", "b")]).key(), parts(&[("a", "b")]).key());
        assert_eq!(lists[0].key().as_str().len(), 64);
    }

    #[test]
    fn pure_differences_name_what_changed_came_and_went() {
        let before = parts(&[("parent", "1"), ("ARG A", "x"), ("file a", "d1")]);
        let now = parts(&[("parent", "1"), ("ARG A", "y"), ("file b", "d2")]);
        let shown: Vec<_> = now
            .differences(&before)
            .into_iter()
            .map(|d| format!("{}: {} -> {}", d.name, d.before.unwrap_or("-".into()), d.now.unwrap_or("-".into())))
            .collect();
        assert_eq!(shown, ["ARG A: x -> y", "file b: - -> d2", "file a: d1 -> -"]);
        assert!(now.differences(&now).is_empty());
    }
}
