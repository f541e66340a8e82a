//! Image references as users write them, `[domain/]path[:tag][@digest]`.
//!
//! The grammar is the distribution project's. Two forms exist: what a user types ("familiar":
//! `alpine`) and what is stored ("normalized": `docker.io/library/alpine:latest`).

use std::fmt;

use crate::digest::Digest;

/// A valid normalized reference: the domain is always there, tag and digest are as given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Text that is no reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}: invalid reference format: {reason}")]
pub struct InvalidReference {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The longest name (domain and path) that the grammar allows.
const MAX_NAME: usize = 255;

impl Reference {
    /// Parses `text` as Docker does: a first component without `.`, `:` or capitals that is not
    /// `localhost` belongs to the path on `docker.io`, where single components are in `library/`.
    pub fn parse_normalized(text: &str) -> Result<Reference, InvalidReference> {
        let (name, tag, digest) = split(text)?;
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if is_domain_like(first) => (first, rest.to_owned()),
            _ => ("docker.io", name.to_owned()),
        };
        let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
        let path = if domain == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        Reference::build(text, domain, &path, tag, digest)
    }

    /// Parses `text`, which must name its domain, as stored names do.
    pub fn parse_qualified(text: &str) -> Result<Reference, InvalidReference> {
        let (name, tag, digest) = split(text)?;
        match name.split_once('/') {
            Some((domain, path)) => Reference::build(text, domain, path, tag, digest),
            None => Err(invalid(text, "expected host/path")),
        }
    }

    /// Whether `text` begins with a domain, so that no short-name search applies.
    pub fn has_domain(text: &str) -> bool {
        text.split_once('/').is_some_and(|(first, _)| is_domain_like(first))
    }

    fn build(
        text: &str,
        domain: &str,
        path: &str,
        tag: Option<String>,
        digest: Option<Digest>,
    ) -> Result<Reference, InvalidReference> {
        if !is_domain(domain) {
            return Err(invalid(text, "the registry's host name or port is not valid"));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(invalid(text, "repository name must be lowercase"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(invalid(text, "repository components are a-z and 0-9, joined by one of . _ __ or -"));
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(invalid(text, "the name is longer than 255 characters"));
        }
        Ok(Reference { domain: domain.to_owned(), path: path.to_owned(), tag, digest })
    }

    /// Host and optional port of the registry.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository on the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `domain/path`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same, with `:latest` if it has neither tag nor digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// The same name with `digest` in place of tag and digest.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What a user would type: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        match text.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            None => text,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn invalid(text: &str, reason: &'static str) -> InvalidReference {
    InvalidReference { text: text.chars().take(300).collect(), reason }
}

fn split(text: &str) -> Result<(&str, Option<String>, Option<Digest>), InvalidReference> {
    if text.is_empty() {
        return Err(invalid(text, "it is empty"));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (
            rest,
            Some(Digest::parse(digest).map_err(|_| invalid(text, "the digest after @ is not sha256:<64 hex digits>"))?),
        ),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => {
            if !is_tag(tag) {
                return Err(invalid(
                    text,
                    "a tag is 1 to 128 of letters, digits, _ . and -, not beginning with . or -",
                ));
            }
            (name, Some(tag.to_owned()))
        }
        _ => (rest, None),
    };
    if name.len() == 64 && crate::digest::is_lower_hex(name) {
        return Err(invalid(text, "64 hex digits are an ID, not a name"));
    }
    Ok((name, tag, digest))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len()) && word(tag.as_bytes()[0]) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_domain_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_references_are_normalized() {
        let hex = "a".repeat(64);
        for (text, expected, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("index.docker.io/me/app", "docker.io/me/app", "me/app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            ("quay.io/a/b__c/d-e", "quay.io/a/b__c/d-e", "quay.io/a/b__c/d-e"),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
            (&format!("a@sha256:{hex}"), &format!("docker.io/library/a@sha256:{hex}"), &format!("a@sha256:{hex}")),
            (&format!("x.io/a:1@sha256:{hex}"), &format!("x.io/a:1@sha256:{hex}"), &format!("x.io/a:1@sha256:{hex}")),
        ] {
            let reference = Reference::parse_normalized(text).expect(text);
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (expected, familiar));
            assert_eq!(Reference::parse_qualified(expected).as_ref(), Ok(&reference));
        }
    }

    #[test]
    fn pure_bad_references_say_why() {
        let id = "a".repeat(64);
        let long = format!("quay.io/{}", "a".repeat(250));
        for text in [
            "",
            ":",
            "a:",
            "a:-x",
            "A",
            "a/B",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a@sha256:12",
            "a@",
            "x.io:port/a",
            "-x.io/a",
            "a b",
            "é",
            "../x",
            id.as_str(),
            long.as_str(),
            "/a",
            "x.io/",
        ] {
            assert!(Reference::parse_normalized(text).is_err(), "{text:?}");
        }
    }
}
