//! Where caches outside of the store are, as `--cache-from` and `--cache-to` name them.

use std::fmt;
use std::path::PathBuf;

use oci::Reference;

use crate::attributes::Attributes;
use crate::transfer::LayerCompression;
use crate::transport::Location;

/// Tag of a cache in a repository that is named without one.
const REPOSITORY_TAG: &str = "gabion-cache";
/// Name of a cache in an OCI layout, where nothing else is said.
const LAYOUT_NAME: &str = "latest";

/// A cache to look steps up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFrom {
    location: Location,
}

/// A place that a build's steps are to be found at by later builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTo {
    /// Where; `None` is the image itself.
    pub(crate) location: Option<Location>,
    pub(crate) extent: Extent,
    pub(crate) ignores_error: bool,
    pub(crate) compression: LayerCompression,
}

/// Which steps a cache has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Those whose layers the result has.
    Result,
    /// Those of all stages.
    AllStages,
}

/// A text that names no cache.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("cache {text:?}: {reason}")]
pub struct CachePlaceError {
    text: String,
    reason: String,
}

impl CacheFrom {
    /// Parses the argument of `--cache-from`: `type=registry,ref=NAME`, `type=local,src=DIR`, or
    /// Buildah's plain repository.
    pub fn parse(text: &str) -> Result<CacheFrom, CachePlaceError> {
        let location = cache_from(text).map_err(|reason| CachePlaceError { text: text.to_owned(), reason })?;
        Ok(CacheFrom { location })
    }

    /// The image that has the cache.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

impl CacheTo {
    /// Parses the argument of `--cache-to`: `type=registry,ref=NAME`, `type=local,dest=DIR`, `type=inline`,
    /// or Buildah's plain repository.
    pub fn parse(text: &str) -> Result<CacheTo, CachePlaceError> {
        cache_to(text).map_err(|reason| CachePlaceError { text: text.to_owned(), reason })
    }
}

fn cache_from(text: &str) -> Result<Location, String> {
    if !text.contains('=') {
        return repository(text);
    }
    let mut attributes = Attributes::parse(text)?;
    let location = match kind(&mut attributes)?.as_str() {
        "registry" => Location::Docker(reference(&mut attributes)?),
        "local" => {
            let path = attributes.take("src").filter(|path| !path.is_empty());
            layout(&mut attributes, path.ok_or("src= with a directory is missing")?)
        }
        "inline" => return Err("an inline cache is looked up with type=registry,ref=IMAGE".to_owned()),
        other => return Err(format!("unknown type {other:?}: expected registry or local")),
    };
    attributes.end()?;
    Ok(location)
}

fn cache_to(text: &str) -> Result<CacheTo, String> {
    let mut to = CacheTo {
        location: None,
        extent: Extent::AllStages,
        ignores_error: true,
        compression: LayerCompression::default(),
    };
    if !text.contains('=') {
        to.location = Some(repository(text)?);
        return Ok(to);
    }
    let mut attributes = Attributes::parse(text)?;
    to.location = match kind(&mut attributes)?.as_str() {
        "registry" => Some(Location::Docker(reference(&mut attributes)?)),
        "local" => {
            let path = attributes.take("dest").filter(|path| !path.is_empty());
            Some(layout(&mut attributes, path.ok_or("dest= with a directory is missing")?))
        }
        "inline" => None,
        other => return Err(format!("unknown type {other:?}: expected registry, local or inline")),
    };
    to.extent = match attributes.take("mode").as_deref() {
        None | Some("min") => Extent::Result,
        Some("max") if to.location.is_none() => return Err("an inline cache has mode=min only".to_owned()),
        Some("max") => Extent::AllStages,
        Some(_) => return Err("mode= is min or max".to_owned()),
    };
    if to.location.is_some() {
        to.ignores_error = attributes.flag("ignore-error")?.unwrap_or(true);
        to.compression = attributes.compression()?;
        for name in ["image-manifest", "oci-mediatypes"] {
            if attributes.flag(name)? == Some(false) {
                return Err(format!("{name}=false is not supported: a cache is an OCI image"));
            }
        }
    }
    attributes.end()?;
    Ok(to)
}

fn kind(attributes: &mut Attributes) -> Result<String, String> {
    attributes.take("type").ok_or_else(|| "type= is missing".to_owned())
}

/// Buildah's form: a repository, without a tag or digest.
fn repository(text: &str) -> Result<Location, String> {
    let reference = Reference::parse_normalized(text).map_err(|error| error.reason.to_owned())?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err("expected a repository without a tag, or type=registry,ref=NAME".to_owned());
    }
    let tagged = format!("{}:{REPOSITORY_TAG}", reference.name());
    Ok(Location::Docker(Reference::parse_qualified(&tagged).map_err(|error| error.reason.to_owned())?))
}

fn reference(attributes: &mut Attributes) -> Result<Reference, String> {
    let text = attributes.take("ref").filter(|text| !text.is_empty()).ok_or("ref= with an image's name is missing")?;
    let reference = Reference::parse_normalized(&text).map_err(|error| format!("ref={text}: {}", error.reason))?;
    Ok(reference.with_default_tag())
}

fn layout(attributes: &mut Attributes, path: String) -> Location {
    let name = attributes.take("tag").filter(|name| !name.is_empty());
    Location::OciLayout { path: PathBuf::from(path), name: Some(name.unwrap_or_else(|| LAYOUT_NAME.to_owned())) }
}

impl fmt::Display for CacheFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}

impl fmt::Display for CacheTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => location.fmt(f),
            None => f.write_str("the image"),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::media_type::Compression;

    use super::*;

    #[test]
    fn pure_places_of_caches_are_parsed() {
        for (text, place) in [
            ("type=registry,ref=quay.io/a/b", "docker://quay.io/a/b:latest"),
            ("type=registry,ref=localhost:5000/b:1", "docker://localhost:5000/b:1"),
            ("type=local,src=dir/x", "oci:dir/x:latest"),
            ("type=local,src=/x,tag=main", "oci:/x:main"),
            ("quay.io/a/b", "docker://quay.io/a/b:gabion-cache"),
        ] {
            assert_eq!(CacheFrom::parse(text).expect(text).to_string(), place);
            let to = CacheTo::parse(&text.replace("src=", "dest=")).expect(text);
            assert_eq!((to.to_string().as_str(), to.ignores_error), (place, true));
        }
        let to = CacheTo::parse("type=registry,ref=x,mode=max,image-manifest=true,ignore-error=false,compression=zstd")
            .expect("a place");
        let zstd = LayerCompression::Compress { format: Compression::Zstd, level: None, force: false };
        assert_eq!((to.extent, to.ignores_error, to.compression), (Extent::AllStages, false, zstd));
        assert_eq!(CacheTo::parse("type=registry,ref=x").expect("a place").extent, Extent::Result);
        assert_eq!(CacheTo::parse("quay.io/x").expect("a place").extent, Extent::AllStages);
        assert_eq!(CacheTo::parse("type=inline").expect("a place").location, None);
    }

    #[test]
    fn pure_what_is_no_place_says_why() {
        for (text, words) in [
            ("type=s3,bucket=x", "unknown type \"s3\""),
            ("type=gha", "unknown type \"gha\""),
            ("ref=x", "type= is missing"),
            ("type=registry", "ref= with an image's name is missing"),
            ("type=registry,ref=A B", "ref=A B: "),
            ("type=registry,ref=x,scope=y", "scope= is not supported here"),
            ("type=local", "= with a directory is missing"),
            ("quay.io/x:1", "a repository without a tag"),
            ("", ""),
        ] {
            for error in [CacheFrom::parse(text).map(drop), CacheTo::parse(text).map(drop)] {
                let error = error.expect_err(text).to_string();
                assert!(error.contains(words) && error.starts_with("cache \""), "{text}: {error}");
            }
        }
        for (text, words) in [
            ("type=inline,mode=max", "mode=min only"),
            ("type=inline,compression=zstd", "compression= is not supported here"),
            ("type=registry,ref=x,mode=most", "mode= is min or max"),
            ("type=registry,ref=x,image-manifest=false", "a cache is an OCI image"),
            ("type=registry,ref=x,ignore-error=maybe", "ignore-error= is true or false"),
            ("type=registry,ref=x,compression=estargz", "\"estargz\" is not supported"),
            ("type=local,src=x", "dest= with a directory is missing"),
        ] {
            let error = CacheTo::parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let error = CacheFrom::parse("type=inline").expect_err("a place").to_string();
        assert!(error.contains("type=registry,ref=IMAGE"), "{error}");
    }
}
