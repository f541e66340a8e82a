//! The text form of outputs: `type=…,dest=…`, or only where the files go.

use oci::{Format, Reference};

use super::{Destination, ImageOutput, Output, OutputError};
use crate::attributes::Attributes;
use crate::image::store_name;

impl Output {
    /// Parses the argument of `--output`: Docker's `type=…,name=value,…`, where a value with commas
    /// stands in double quotes with its name, or Buildah's directory or `-`.
    pub fn parse(text: &str) -> Result<Output, OutputError> {
        parse(text).map_err(|reason| OutputError::Text { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Output, String> {
    match text {
        "-" => return Ok(Output::Tar(Destination::Stdout)),
        "" => return Err("expected type=TYPE,… or a directory".to_owned()),
        directory if !directory.contains('=') => return Ok(Output::Local(directory.into())),
        _ => {}
    }
    let mut attributes = Attributes::parse(text)?;
    let kind = attributes.take("type").ok_or("type= is missing")?;
    let output = match kind.as_str() {
        "local" => match destination(&mut attributes) {
            Some(Destination::Path(path)) => Output::Local(path),
            _ => return Err("dest= with a directory is missing".to_owned()),
        },
        "tar" => Output::Tar(destination(&mut attributes).unwrap_or(Destination::Stdout)),
        "oci" => {
            let is_layout = attributes.flag("tar")? == Some(false);
            let to = destination(&mut attributes).unwrap_or(Destination::Stdout);
            if is_layout && to == Destination::Stdout {
                return Err("dest= with a directory is missing".to_owned());
            }
            Output::Oci { to, is_layout, image: image(&mut attributes, Some(Format::Oci))? }
        }
        "docker" => match destination(&mut attributes) {
            Some(to) => Output::Docker { to, image: image(&mut attributes, None)? },
            None => Output::Image(ImageOutput { store: true, ..image(&mut attributes, None)? }),
        },
        "image" => {
            let push = attributes.flag("push")?.unwrap_or(false);
            let store = attributes.flag("store")?.unwrap_or(true);
            Output::Image(ImageOutput { push, store, ..image(&mut attributes, None)? })
        }
        "registry" => Output::Image(ImageOutput { push: true, ..image(&mut attributes, None)? }),
        other => {
            return Err(format!("unknown type {other:?}: expected local, tar, oci, docker, image or registry"));
        }
    };
    attributes.end()?;
    Ok(output)
}

fn destination(attributes: &mut Attributes) -> Option<Destination> {
    let text = attributes.take("dest").or_else(|| attributes.take("destination"))?;
    match text.as_str() {
        "" => None,
        "-" => Some(Destination::Stdout),
        path => Some(Destination::Path(path.into())),
    }
}

/// Names, format and compression of an image.
fn image(attributes: &mut Attributes, format: Option<Format>) -> Result<ImageOutput, String> {
    let mut image = ImageOutput::default();
    let names = attributes.take("name").unwrap_or_default();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let name: Reference = store_name(name).map_err(|error| error.to_string())?;
        image.names.push(name);
    }
    image.copy.format = match attributes.flag("oci-mediatypes")? {
        None => format,
        Some(is_oci) => Some(if is_oci { Format::Oci } else { Format::Docker }),
    };
    image.copy.compression = attributes.compression()?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use oci::media_type::Compression;

    use super::*;
    use crate::transfer::LayerCompression;

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
