//! `--build-context NAME=WHERE`: a context that the Dockerfile's FROM, `--from` and `from=` can name.

use std::path::PathBuf;

use dockerfile::ignore::Ignore;
use oci::{Digest, Reference};

use super::{ContextError, ContextSource};

/// A context that has a name.
#[derive(Clone, Debug)]
pub enum NamedContext {
    /// A directory.
    Directory {
        /// Where.
        dir: PathBuf,
        /// What of it stays out.
        ignore: Ignore,
    },
    /// An image, as a name or `transport:…`.
    Image(String),
}

/// Where a named context comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedSource {
    /// Files.
    Files(ContextSource),
    /// An image, as a name or `transport:…`.
    Image(String),
}

/// The name that a context, and whatever it stands in for, is found by: an image is the same with
/// and without `docker.io/library/` and `:latest`.
pub fn context_name(text: &str) -> String {
    match Reference::parse_normalized(text) {
        Ok(reference) => {
            let name = reference.familiar();
            name.strip_suffix(":latest").unwrap_or(&name).to_owned()
        }
        Err(_) => text.to_lowercase(),
    }
}

impl NamedSource {
    /// Parses `NAME=WHERE`; gives the name as [`context_name`] has it.
    pub fn parse(text: &str) -> Result<(String, NamedSource), ContextError> {
        let failed = |reason: &str| ContextError::Named { text: text.to_owned(), reason: reason.to_owned() };
        let (name, place) = text
            .split_once('=')
            .filter(|(name, place)| !name.is_empty() && !place.is_empty())
            .ok_or_else(|| failed("expected NAME=WHERE"))?;
        if place.starts_with("target:") {
            return Err(failed("target: is for files that describe several builds; name the stage itself instead"));
        }
        if place == "-" {
            return Err(failed("standard input can be the main context only"));
        }
        let image = ["docker-image://", "container-image://", "docker://"];
        let source = if let Some(image) = image.iter().find_map(|prefix| place.strip_prefix(prefix)) {
            if image.is_empty() {
                return Err(failed("the image's name is missing"));
            }
            NamedSource::Image(image.to_owned())
        } else if let Some(layout) = place.strip_prefix("oci-layout://") {
            NamedSource::Image(oci_layout(layout).map_err(failed)?)
        } else {
            NamedSource::Files(ContextSource::parse(place))
        };
        Ok((context_name(name), source))
    }
}

/// `PATH[:TAG][@DIGEST]` in the words of the `oci` transport.
fn oci_layout(text: &str) -> Result<String, &'static str> {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) if digest.contains(':') => {
            Digest::parse(digest).map_err(|_| "the digest behind @ is invalid")?;
            (rest, Some(digest))
        }
        _ => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err("the path is missing");
    }
    if path.contains(':') {
        return Err("the path of an OCI layout has no colon");
    }
    Ok(match (digest, tag) {
        (Some(digest), _) => format!("oci:{path}:@{digest}"),
        (None, Some(tag)) => format!("oci:{path}:{tag}"),
        (None, None) => format!("oci:{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_named_contexts_are_parsed() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, name, expected) in [
            ("src=.", "src", NamedSource::Files(ContextSource::Directory(".".into()))),
            ("alpine:latest=../x", "alpine", NamedSource::Files(ContextSource::Directory("../x".into()))),
            ("docker.io/library/alpine:3=docker-image://a/b:1", "alpine:3", NamedSource::Image("a/b:1".into())),
            ("Up=container-image://q", "up", NamedSource::Image("q".into())),
            ("l=oci-layout:///d/e:v1", "l", NamedSource::Image("oci:/d/e:v1".into())),
            ("l=oci-layout://d", "l", NamedSource::Image("oci:d".into())),
            (&format!("l=oci-layout://d:t@{digest}"), "l", NamedSource::Image(format!("oci:d:@{digest}"))),
            ("g=https://h/r.git#v1", "g", NamedSource::Files(ContextSource::Git("https://h/r.git#v1".into()))),
            ("h=https://h/r.tgz", "h", NamedSource::Files(ContextSource::Http("https://h/r.tgz".into()))),
        ] {
            assert_eq!(NamedSource::parse(text).expect(text), (name.to_owned(), expected), "{text}");
        }
        for text in ["x", "=x", "x=", "x=-", "x=target:y", "x=docker-image://", "x=oci-layout://a@sha256:1"] {
            assert!(NamedSource::parse(text).is_err(), "{text}");
        }
    }
}
