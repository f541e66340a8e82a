//! Values of flags that are lists: `type=…,name=value,…`.

use oci::media_type::Compression;

use crate::transfer::LayerCompression;

/// The attributes of one value, each taken once. What is wrong with them is one line, to stand behind
/// the text.
#[derive(Debug)]
pub(crate) struct Attributes {
    pairs: Vec<(String, String)>,
}

impl Attributes {
    /// `a=b,c=d`, with whole fields in double quotes where they hold commas.
    pub fn parse(text: &str) -> Result<Attributes, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut rest = text;
        loop {
            let (field, next) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (field, next) = quoted.split_once('"').ok_or("a quote is not closed")?;
                    (field, next.strip_prefix(',').or(next.is_empty().then_some("")))
                }
                None => rest.split_once(',').map_or((rest, Some("")), |(field, next)| (field, Some(next))),
            };
            let next = next.ok_or("a comma is missing behind a quote")?;
            let (name, value) = field.split_once('=').ok_or_else(|| format!("{field:?} is not NAME=VALUE"))?;
            let name = name.trim().to_lowercase();
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(format!("{name}= is given twice"));
            }
            pairs.push((name, value.to_owned()));
            if next.is_empty() {
                return Ok(Attributes { pairs });
            }
            rest = next;
        }
    }

    /// The value of `name`.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(other, _)| other == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// The value of `name`, which is true or false, or is not there.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, String> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(format!("{name}= is true or false")),
        }
    }

    /// What `compression=`, `compression-level=` and `force-compression=` say together.
    pub fn compression(&mut self) -> Result<LayerCompression, String> {
        let level = self.take("compression-level");
        let level = level.map(|level| level.parse()).transpose();
        let level: Option<u32> = level.map_err(|_| "compression-level= is a number")?;
        let force = self.flag("force-compression")?.unwrap_or(false);
        let format = match self.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => return Ok(LayerCompression::Unchanged),
            Some(other) => {
                return Err(format!("compression {other:?} is not supported: expected gzip, zstd or uncompressed"));
            }
        };
        let most = if format == Compression::Gzip { 9 } else { 20 };
        if level.is_some_and(|level| level > most) {
            return Err(format!("compression-level= is at most {most}"));
        }
        Ok(LayerCompression::Compress { format, level, force })
    }

    /// There must be no others.
    pub fn end(self) -> Result<(), String> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{name}= is not supported here")),
        }
    }
}
