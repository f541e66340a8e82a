//! `RUN --mount`: what is mounted while a command runs.

use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Text, Word};

/// A mount as written; its values may hold variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMount {
    /// `key=value`, or a key alone.
    pub fields: Vec<(Word, Option<Word>)>,
    /// Stage or image that `from` names; it holds no variables.
    pub from: Option<Word>,
    /// Where the flag stands.
    pub span: Span,
}

/// A mount that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; relative to the working directory.
    pub target: String,
    /// Whether it can't be written to.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the build context, a stage or an image. Writes are dropped.
    Bind {
        /// Path in it.
        source: String,
    },
    /// A directory that is kept between builds.
    Cache {
        /// Tells caches apart; by default the target.
        id: String,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Path in `from` that it begins as.
        source: String,
        /// Mode of a new directory.
        mode: Option<u32>,
        /// Its owner.
        uid: Option<u32>,
        /// Its group.
        gid: Option<u32>,
    },
    /// Memory.
    Tmpfs {
        /// Upper limit in bytes.
        size: Option<u64>,
    },
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Everybody gets one of their own.
    Private,
    /// One after the other.
    Locked,
}

/// Keys of mounts.
const KEYS: [&str; 18] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "size",
    "mode",
    "uid",
    "gid",
    "required",
];

/// Cuts a mount into fields, and checks it as far as it holds no variables.
pub(super) fn parse(text: &Text, span: Span) -> Result<RunMount> {
    let mut fields = Vec::new();
    let mut from = None;
    for range in fields_of(text.as_str()) {
        let field = text.slice(range);
        let at = field.as_str().find('=');
        let key = field.word(0..at.unwrap_or(field.as_str().len()));
        let key = Word::new(key.text.to_ascii_lowercase(), key.span);
        let value = at.map(|at| field.from(at + 1).to_word());
        if !KEYS.contains(&key.text.as_str()) {
            let error = Diagnostic::error(format!("unknown option {:?} of --mount", key.text), key.span);
            return Err(error.suggest(&key.text, KEYS));
        }
        if key.text == "from" {
            let value = value.clone().unwrap_or_default();
            if value.text.contains('$') {
                let error = Diagnostic::error("from can't hold a variable", value.span);
                return Err(error.hint("name a stage FROM the variable and use that"));
            }
            from = Some(value);
        }
        fields.push((key, value));
    }
    let mount = RunMount { fields, from, span };
    let variable = |value: &Option<Word>| value.as_ref().is_some_and(|value| value.text.contains('$'));
    if !mount.fields.iter().any(|(_, value)| variable(value)) {
        mount.resolve(&|word| Ok(word.text.clone()))?;
    }
    Ok(mount)
}

/// Ranges between commas; a field in double quotes may hold some.
fn fields_of(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                ranges.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    ranges.push(start..text.len());
    ranges
}

#[derive(Default)]
struct Fields {
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    id: Option<String>,
    sharing: Option<Sharing>,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl RunMount {
    /// Gives the fields their meaning; `expand` puts the variables in.
    pub fn resolve(&self, expand: &dyn Fn(&Word) -> Result<String>) -> Result<Mount> {
        let mut kind = "bind".to_owned();
        let mut fields = Fields::default();
        let mut used: Vec<(&Word, &str)> = Vec::new();
        for (key, value) in &self.fields {
            let text = match value {
                Some(value) => expand(value)?.trim_matches('"').to_owned(),
                None if matches!(key.text.as_str(), "ro" | "readonly" | "rw" | "readwrite" | "required") => {
                    "true".to_owned()
                }
                None => {
                    return Err(Diagnostic::error(
                        format!("the option {} of --mount needs a value", key.text),
                        key.span,
                    ));
                }
            };
            let span = value.as_ref().map_or(key.span, |value| value.span);
            let invalid = |expected: &str| {
                let message = format!("invalid value {text:?} of {}: expected {expected}", key.text);
                Diagnostic::error(message, span)
            };
            let flag = || match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "t" => Ok(true),
                "false" | "0" | "f" => Ok(false),
                _ => Err(invalid("true or false")),
            };
            let number = || text.parse::<u32>().map_err(|_| invalid("a number"));
            match key.text.as_str() {
                "type" => kind = text.to_ascii_lowercase(),
                "source" | "src" => fields.source = Some(text),
                "target" | "dst" | "destination" => fields.target = Some(text),
                "ro" | "readonly" => fields.read_only = Some(flag()?),
                "rw" | "readwrite" => fields.read_only = Some(!flag()?),
                "id" => fields.id = Some(text),
                "sharing" => {
                    fields.sharing = Some(match text.to_ascii_lowercase().as_str() {
                        "shared" => Sharing::Shared,
                        "private" => Sharing::Private,
                        "locked" => Sharing::Locked,
                        _ => {
                            return Err(
                                invalid("shared, private or locked").suggest(&text, ["shared", "private", "locked"])
                            );
                        }
                    });
                }
                "size" => fields.size = Some(bytes(&text).ok_or_else(|| invalid("a size such as 64m"))?),
                "mode" => {
                    let octal = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
                    fields.mode = Some(octal.ok_or_else(|| invalid("an octal mode"))?);
                }
                "uid" => fields.uid = Some(number()?),
                "gid" => fields.gid = Some(number()?),
                _ => {}
            }
            used.push((key, key.text.as_str()));
        }
        let allowed: &[&str] = match kind.as_str() {
            "bind" => &["from", "source", "src"],
            "cache" => &["from", "source", "src", "id", "sharing", "mode", "uid", "gid"],
            "tmpfs" => &["size"],
            "secret" | "ssh" => {
                return Err(Diagnostic::error(format!("--mount=type={kind} is not supported"), self.span));
            }
            other => {
                let error = Diagnostic::error(
                    format!("unknown mount type {other:?}: expected bind, cache or tmpfs"),
                    self.span,
                );
                return Err(error.suggest(other, ["bind", "cache", "tmpfs"]));
            }
        };
        let always = ["type", "target", "dst", "destination", "ro", "readonly", "rw", "readwrite"];
        if let Some((key, name)) = used.iter().find(|(_, name)| !allowed.contains(name) && !always.contains(name)) {
            return Err(Diagnostic::error(format!("a mount of type {kind} has no option {name}"), key.span));
        }
        let target = match fields.target {
            Some(target) if !target.is_empty() => target,
            _ => return Err(Diagnostic::error("a mount needs a target: target=path", self.span)),
        };
        let source = fields.source.unwrap_or_default();
        Ok(Mount {
            read_only: fields.read_only.unwrap_or(kind == "bind"),
            kind: match kind.as_str() {
                "bind" => MountKind::Bind { source },
                "tmpfs" => MountKind::Tmpfs { size: fields.size },
                _ => MountKind::Cache {
                    id: fields.id.filter(|id| !id.is_empty()).unwrap_or_else(|| target.clone()),
                    sharing: fields.sharing.unwrap_or_default(),
                    source,
                    mode: fields.mode,
                    uid: fields.uid,
                    gid: fields.gid,
                },
            },
            target,
        })
    }
}

/// `64m`, `1g`, `512kb`, `1024`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
