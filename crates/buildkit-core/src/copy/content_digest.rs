//! The digest of what a copy brought, as the history shows it: `file:<hex>`, `dir:<hex>`,
//! `multi:<hex>`, or the bare hex for a URL. The form is Buildah's.
//!
//! It covers names at the destination, types, modes, owners, contents, link targets and
//! attributes, and leaves out times: the same content gives the same digest on every day.

use std::collections::VecDeque;
use std::fmt;

use oci::Digest;
use oci::digest::{Algorithm, Hasher};

use super::fill::Content;

/// Digest of what was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    kind: &'static str,
    digest: Digest,
}

impl ContentDigest {
    /// The hex digits alone, as the commands print them.
    pub fn hex(&self) -> &str {
        self.digest.hex()
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.kind.is_empty() {
            write!(f, "{}:", self.kind)?;
        }
        f.write_str(self.digest.hex())
    }
}

/// Collects the digests of several items.
#[derive(Default)]
pub(super) struct ContentHasher {
    done: Vec<ContentDigest>,
    open: Option<(&'static str, Hasher)>,
    /// What comes after a file whose content is not known yet, and that file before it.
    waiting: VecDeque<Part>,
}

enum Part {
    Bytes(Vec<u8>),
    Content(Content),
}

impl ContentHasher {
    /// A new item begins.
    pub fn start(&mut self, kind: &'static str) {
        self.close();
        self.open = Some((kind, Hasher::new(Algorithm::Sha256)));
    }

    /// Adds bytes of content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self.waiting.back_mut() {
            Some(Part::Bytes(before)) => before.extend_from_slice(bytes),
            Some(Part::Content(_)) => self.waiting.push_back(Part::Bytes(bytes.to_owned())),
            None => self.hash(bytes),
        }
    }

    /// Adds a field, so that where it ends is part of what is hashed.
    pub fn field(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_be_bytes());
        self.update(bytes);
    }

    /// Adds the content of a file that may still be on its way.
    pub fn content(&mut self, content: Content) {
        self.waiting.push_back(Part::Content(content));
        while let Some(part) = self.waiting.pop_front() {
            match &part {
                Part::Content(content) if content.digest().is_none() => {
                    self.waiting.push_front(part);
                    return;
                }
                part => self.part(part),
            }
        }
    }

    /// The digest of all items; `None` if there was none.
    pub fn finish(mut self) -> Option<ContentDigest> {
        self.close();
        if self.done.len() > 1 {
            let all = self.done.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Some(ContentDigest { kind: "multi", digest: Digest::of(all.as_bytes()) });
        }
        self.done.pop()
    }

    fn close(&mut self) {
        for part in std::mem::take(&mut self.waiting) {
            self.part(&part);
        }
        if let Some((kind, hasher)) = self.open.take() {
            self.done.push(ContentDigest { kind, digest: hasher.finish() });
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Bytes(bytes) => self.hash(bytes),
            Part::Content(content) => self.hash(content.wait()),
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        if let Some((_, hasher)) = &mut self.open {
            hasher.update(bytes);
        }
    }
}
