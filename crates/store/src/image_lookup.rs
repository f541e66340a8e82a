//! What a user means by the name of an image.

use oci::{ImageId, Reference};

use crate::{Error, Image, Result, Store};

impl Store {
    /// All images, those of read-only stores last.
    pub fn images(&self) -> Result<Vec<Image>> {
        let reading = self.inner.images.read()?;
        let mut images: Vec<Image> = reading.table.iter().cloned().collect();
        for store in &self.inner.read_only {
            let more = store.images.read()?;
            images.extend(more.table.iter().filter(|image| reading.table.get(image.id.as_str()).is_none()).cloned());
        }
        Ok(images)
    }

    /// The image with exactly this ID.
    ///
    /// # Errors
    /// [`Error::UnknownImage`].
    pub fn image_by_id(&self, id: &ImageId) -> Result<Image> {
        if let Some(image) = self.inner.images.read()?.table.get(id.as_str()) {
            return Ok(image.clone());
        }
        for store in &self.inner.read_only {
            if let Some(image) = store.images.read()?.table.get(id.as_str()) {
                return Ok(image.clone());
            }
        }
        Err(Error::UnknownImage { name: id.to_string() })
    }

    /// The image with exactly this full reference among its names, if there is one.
    pub fn image_by_name(&self, name: &str) -> Result<Option<Image>> {
        if let Some(image) = self.inner.images.read()?.table.by_name(name) {
            return Ok(Some(image.clone()));
        }
        for store in &self.inner.read_only {
            if let Some(image) = store.images.read()?.table.by_name(name) {
                return Ok(Some(image.clone()));
            }
        }
        Ok(None)
    }

    /// The image that a user means by `text`: an exact ID; a name as it is stored; an unambiguous
    /// beginning of an ID; a reference, with or without tag or digest, whose domain may be left out
    /// (`localhost/` is tried first, then `docker.io/`, then the only name with this path and tag).
    ///
    /// # Errors
    /// [`Error::UnknownImage`] or [`Error::Ambiguous`].
    pub fn image(&self, text: &str) -> Result<Image> {
        if let Some(image) = self.image_by_exact_name(text)? {
            return Ok(image);
        }
        let images = self.images()?;
        find(&images, text).cloned()
    }

    /// What [`find`] finds first without looking at every image.
    fn image_by_exact_name(&self, text: &str) -> Result<Option<Image>> {
        let id = text.strip_prefix("sha256:").unwrap_or(text);
        let reading = self.inner.images.read()?;
        let table = &reading.table;
        let exact = table.get(id).or_else(|| table.by_name(text));
        // The beginning of an ID is to be told from a name, and a digest is more than a name.
        if exact.is_some() || is_id_prefix(id) || text.contains('@') || !self.inner.read_only.is_empty() {
            return Ok(exact.cloned().filter(|_| self.inner.read_only.is_empty()));
        }
        let named = |text: &str| {
            let reference = Reference::parse_normalized(text).ok()?.with_default_tag();
            table.by_name(&reference.to_string())
        };
        let local = || (!Reference::has_domain(text)).then(|| named(&format!("localhost/{text}"))).flatten();
        Ok(local().or_else(|| named(text)).cloned())
    }
}

fn find<'a>(images: &'a [Image], text: &str) -> Result<&'a Image> {
    let unknown = || Error::UnknownImage { name: text.to_owned() };
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    if let Some(image) = images.iter().find(|image| image.id.as_str() == id) {
        return Ok(image);
    }
    if let Some(image) = images.iter().rev().find(|image| image.names.iter().any(|name| name == text)) {
        return Ok(image);
    }
    let by_prefix: Vec<&Image> = match is_id_prefix(id) {
        true => images.iter().filter(|image| image.id.as_str().starts_with(id)).collect(),
        false => Vec::new(),
    };
    if let [image] = by_prefix[..] {
        return Ok(image);
    }
    if let Ok(reference) = Reference::parse_normalized(text)
        && let Some(image) = find_reference(images, text, reference)?
    {
        return Ok(image);
    }
    match by_prefix.is_empty() {
        true => Err(unknown()),
        false => Err(ambiguous(text, by_prefix)),
    }
}

fn is_id_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() < 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn ambiguous<'a>(text: &str, images: impl IntoIterator<Item = &'a Image>) -> Error {
    let candidates = images.into_iter().map(|image| image.id.to_string()).collect();
    Error::Ambiguous { prefix: text.to_owned(), candidates }
}

fn find_reference<'a>(images: &'a [Image], text: &str, reference: Reference) -> Result<Option<&'a Image>> {
    let reference = reference.with_default_tag();
    let mut candidates = Vec::new();
    if !Reference::has_domain(text) {
        let short = format!("localhost/{text}");
        candidates.extend(Reference::parse_normalized(&short).map(Reference::with_default_tag));
    }
    candidates.push(reference.clone());
    for candidate in &candidates {
        if let Some(image) = images.iter().rev().find(|image| is_named(image, candidate)) {
            return Ok(Some(image));
        }
    }
    if Reference::has_domain(text) {
        return Ok(None);
    }
    // On any registry, as long as it is one image.
    let familiar = candidates.first().map(|local| local.path().to_owned()).unwrap_or_default();
    let mut found: Vec<&Image> = Vec::new();
    for image in images {
        let elsewhere = image.names.iter().filter_map(|name| Reference::parse_qualified(name).ok()).any(|name| {
            (name.path() == familiar || name.path().ends_with(&format!("/{familiar}")))
                && matches(image, &name, &reference)
        });
        if elsewhere && !found.iter().any(|other| other.id == image.id) {
            found.push(image);
        }
    }
    match found[..] {
        [] => Ok(None),
        [image] => Ok(Some(image)),
        _ => Err(ambiguous(text, found)),
    }
}

fn is_named(image: &Image, wanted: &Reference) -> bool {
    let same = |name: &Reference| name.domain() == wanted.domain() && name.path() == wanted.path();
    image
        .names
        .iter()
        .filter_map(|name| Reference::parse_qualified(name).ok())
        .any(|name| same(&name) && matches(image, &name, wanted))
}

/// Whether `image`, which is called `name`, has `wanted`'s tag, or its digest.
fn matches(image: &Image, name: &Reference, wanted: &Reference) -> bool {
    match wanted.digest() {
        Some(digest) => image.digests().contains(&digest),
        None => name.tag() == wanted.tag(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, names: &[&str], digest: Option<&str>) -> Image {
        let value = serde_json::json!({
            "id": format!("{id:0<64}"), "names": names, "created": "2026-11-23T10:23:34Z",
            "digest": digest.unwrap_or_default(),
        });
        serde_json::from_value(value).expect("valid")
    }

    fn check(images: &[Image], text: &str, expected: &str) {
        let found = match find(images, text) {
            Ok(image) => image.id.short().trim_end_matches('0').to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn pure_images_are_found_by_id_name_prefix_and_short_name() {
        let digest = format!("sha256:{}", "5".repeat(64));
        let images = [
            image("a1", &["localhost/app:latest", "localhost/app:2"], Some(&digest)),
            image("a2", &["docker.io/library/alpine:latest", "docker.io/me/tool:1"], None),
            image("b1", &["quay.io/team/tool:1", "localhost/alpine:3"], None),
            image("c1", &["quay.io/x/only:latest"], None),
        ];
        for (text, expected) in [
            ("app", "a1"),
            ("app:2", "a1"),
            ("app:3", "app:3: image not known"),
            ("localhost/app", "a1"),
            ("docker.io/app", "docker.io/app: image not known"),
            ("alpine", "a2"),
            ("alpine:3", "b1"),
            ("library/alpine", "a2"),
            ("a1", "a1"),
            ("b", "b1"),
            ("me/tool:1", "a2"),
            ("only", "c1"),
            ("x/only:latest", "c1"),
            (&format!("app@{digest}"), "a1"),
            (&format!("alpine@{digest}"), &format!("alpine@{digest}: image not known")),
            (&format!("sha256:{:0<64}", "c1"), "c1"),
            ("", ": image not known"),
            ("UPPER", "UPPER: image not known"),
        ] {
            check(&images, text, expected);
        }
        assert!(matches!(find(&images, "a"), Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 2));
        assert!(matches!(find(&images, "tool:1"), Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 2));
    }
}
