//! The text form of outputs: `type=…,dest=…`, or only where the files go.

use oci::media_type::Compression;
use oci::{Format, Reference};

use super::{Destination, ImageOutput, Output, OutputError};
use crate::image::store_name;
use crate::transfer::LayerCompression;

/// The attributes of one output, each taken once.
struct Attributes<'t> {
    text: &'t str,
    pairs: Vec<(String, String)>,
}

impl Output {
    /// Parses the argument of `--output`: Docker's `type=…,name=value,…`, where a value with commas
    /// stands in double quotes with its name, or Buildah's directory or `-`.
    pub fn parse(text: &str) -> Result<Output, OutputError> {
        match text {
            "-" => return Ok(Output::Tar(Destination::Stdout)),
            "" => return Err(invalid(text, "expected type=TYPE,… or a directory")),
            directory if !directory.contains('=') => return Ok(Output::Local(directory.into())),
            _ => {}
        }
        let mut attributes = Attributes { text, pairs: fields(text)? };
        let kind = attributes.take("type").ok_or_else(|| invalid(text, "type= is missing"))?;
        let output = match kind.as_str() {
            "local" => match attributes.destination() {
                Some(Destination::Path(path)) => Output::Local(path),
                _ => return Err(invalid(text, "dest= with a directory is missing")),
            },
            "tar" => Output::Tar(attributes.destination().unwrap_or(Destination::Stdout)),
            "oci" => {
                let is_layout = !attributes.flag("tar", true)?;
                let to = attributes.destination().unwrap_or(Destination::Stdout);
                if is_layout && to == Destination::Stdout {
                    return Err(invalid(text, "dest= with a directory is missing"));
                }
                Output::Oci { to, is_layout, image: attributes.image(Some(Format::Oci))? }
            }
            "docker" => match attributes.destination() {
                Some(to) => Output::Docker { to, image: attributes.image(None)? },
                None => Output::Image(ImageOutput { store: true, ..attributes.image(None)? }),
            },
            "image" => {
                let push = attributes.flag("push", false)?;
                let store = attributes.flag("store", true)?;
                Output::Image(ImageOutput { push, store, ..attributes.image(None)? })
            }
            "registry" => Output::Image(ImageOutput { push: true, ..attributes.image(None)? }),
            other => {
                let reason = format!("unknown type {other:?}: expected local, tar, oci, docker, image or registry");
                return Err(invalid(text, reason));
            }
        };
        attributes.end()?;
        Ok(output)
    }
}

impl Attributes<'_> {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(other, _)| other == name)?;
        Some(self.pairs.remove(at).1)
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, OutputError> {
        match self.take(name).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(invalid(self.text, format!("{name}= is true or false"))),
        }
    }

    fn destination(&mut self) -> Option<Destination> {
        let text = self.take("dest").or_else(|| self.take("destination"))?;
        match text.as_str() {
            "" => None,
            "-" => Some(Destination::Stdout),
            path => Some(Destination::Path(path.into())),
        }
    }

    /// Names, format and compression of an image.
    fn image(&mut self, format: Option<Format>) -> Result<ImageOutput, OutputError> {
        let mut image = ImageOutput::default();
        let names = self.take("name").unwrap_or_default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let name: Reference = store_name(name).map_err(|error| invalid(self.text, error.to_string()))?;
            image.names.push(name);
        }
        image.copy.format = match self.take("oci-mediatypes") {
            None => format,
            Some(text) => {
                self.pairs.push(("oci-mediatypes".to_owned(), text));
                Some(if self.flag("oci-mediatypes", true)? { Format::Oci } else { Format::Docker })
            }
        };
        let level = self.take("compression-level");
        let level = level.map(|level| level.parse()).transpose();
        let level: Option<u32> = level.map_err(|_| invalid(self.text, "compression-level= is a number"))?;
        let force = self.flag("force-compression", false)?;
        let format = match self.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => {
                image.copy.compression = LayerCompression::Unchanged;
                return Ok(image);
            }
            Some(other) => {
                let reason = format!("compression {other:?} is not supported: expected gzip, zstd or uncompressed");
                return Err(invalid(self.text, reason));
            }
        };
        let most = if format == Compression::Gzip { 9 } else { 20 };
        if level.is_some_and(|level| level > most) {
            return Err(invalid(self.text, format!("compression-level= is at most {most}")));
        }
        image.copy.compression = LayerCompression::Compress { format, level, force };
        Ok(image)
    }

    fn end(self) -> Result<(), OutputError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(self.text, format!("{name}= is not supported here"))),
        }
    }
}

/// `a=b,c=d`, with whole fields in double quotes where they hold commas.
fn fields(text: &str) -> Result<Vec<(String, String)>, OutputError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    loop {
        let (field, next) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, next) = quoted.split_once('"').ok_or_else(|| invalid(text, "a quote is not closed"))?;
                (field, next.strip_prefix(',').or(next.is_empty().then_some("")))
            }
            None => rest.split_once(',').map_or((rest, Some("")), |(field, next)| (field, Some(next))),
        };
        let next = next.ok_or_else(|| invalid(text, "a comma is missing behind a quote"))?;
        let (name, value) =
            field.split_once('=').ok_or_else(|| invalid(text, format!("{field:?} is not NAME=VALUE")))?;
        let name = name.trim().to_lowercase();
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err(invalid(text, format!("{name}= is given twice")));
        }
        pairs.push((name, value.to_owned()));
        if next.is_empty() {
            return Ok(pairs);
        }
        rest = next;
    }
}

fn invalid(text: &str, reason: impl Into<String>) -> OutputError {
    OutputError::Text { text: text.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_outputs_are_parsed() {
        let path = |text: &str| Destination::Path(text.into());
        for (text, expected) in [
            ("out", Output::Local("out".into())),
            ("-", Output::Tar(Destination::Stdout)),
            ("type=local,dest=a/b", Output::Local("a/b".into())),
            ("type=tar,dest=x.tar", Output::Tar(path("x.tar"))),
            ("type=tar", Output::Tar(Destination::Stdout)),
            ("dest=-,type=tar", Output::Tar(Destination::Stdout)),
        ] {
            assert_eq!(Output::parse(text).expect(text), expected, "{text}");
        }
        let image = |text: &str| match Output::parse(text).expect(text) {
            Output::Image(image) | Output::Oci { image, .. } | Output::Docker { image, .. } => image,
            other => panic!("{text}: {other:?}"),
        };
        let names = |text: &str| image(text).names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("type=image,\"name=a,quay.io/b:1\",push=true"), ["localhost/a:latest", "quay.io/b:1"]);
        assert!(image("type=image,push=true").push && image("type=image").store);
        assert!(image("type=registry,name=x").push && !image("type=registry").store);
        assert!(image("type=docker").store && !image("type=docker,dest=x").store);
        let zstd = LayerCompression::Compress { format: Compression::Zstd, level: Some(3), force: true };
        let text = "type=oci,dest=x,compression=zstd,compression-level=3,force-compression=true";
        assert_eq!(image(text).copy.compression, zstd);
        assert_eq!(image("type=oci,compression=uncompressed").copy.compression, LayerCompression::Unchanged);
        assert_eq!(image("type=oci,oci-mediatypes=false").copy.format, Some(Format::Docker));
    }

    #[test]
    fn pure_bad_outputs_say_why() {
        for (text, words) in [
            ("", "expected type="),
            ("dest=x", "type= is missing"),
            ("type=local", "dest= with a directory"),
            ("type=local,dest=-", "dest= with a directory"),
            ("type=what,dest=x", "unknown type \"what\""),
            ("type=tar,dest=x,compression=gzip", "compression= is not supported here"),
            ("type=tar,dest", "\"dest\" is not NAME=VALUE"),
            ("type=tar,dest=x,dest=y", "dest= is given twice"),
            ("type=oci,tar=maybe", "tar= is true or false"),
            ("type=oci,tar=false", "dest= with a directory"),
            ("type=oci,dest=x,compression=estargz", "\"estargz\" is not supported"),
            ("type=oci,dest=x,compression-level=99", "at most 9"),
            ("type=image,name=A B", "A B"),
            ("type=image,\"name=a", "a quote is not closed"),
            ("type=image,push-by-digest=true", "push-by-digest= is not supported"),
        ] {
            let error = Output::parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
