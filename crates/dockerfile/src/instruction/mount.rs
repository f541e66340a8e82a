//! `RUN --mount`: what is mounted while a command runs.

use std::sync::OnceLock;

use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Text, Word};

/// A mount as written; its values may hold variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMount {
    /// `key=value`, or a key alone.
    pub fields: Vec<(Word, Option<Word>)>,
    /// Stage or image that `from` names. A variable in it is Buildah's way.
    pub from: Option<Word>,
    /// Where the flag stands.
    pub span: Span,
}

/// A mount that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; relative to the working directory. Empty for a secret that is in a variable only,
    /// and for an agent's socket that may be anywhere.
    pub target: String,
    /// Whether it can't be written to.
    pub read_only: bool,
    /// Options of mount(8): `nosuid`, `nodev`, `noexec`.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the build context, a stage or an image. Writes are dropped.
    Bind {
        /// Path in it.
        source: String,
        /// Whether what is mounted below it comes along.
        recursive: bool,
        /// How later mounts inside it spread, by its name in mount(8).
        propagation: Option<String>,
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
        /// Mode of its root directory.
        mode: Option<u32>,
        /// Whether it begins as a copy of what is at the target.
        copy_up: bool,
    },
    /// A secret of the command line, in a file at the target, in a variable, or in both.
    Secret {
        /// Its name on the command line.
        id: String,
        /// The variable.
        env: Option<String>,
        /// Whether the command fails without it.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// The socket of an SSH agent of the command line.
    Ssh {
        /// Its name on the command line.
        id: String,
        /// Whether the command fails without it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
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

/// Types of mounts.
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// Names of propagation, which are options too.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Options that every type has.
const ALWAYS: [&str; 4] = ["type", "target", "dst", "destination"];
const ACCESS: [&str; 4] = ["ro", "readonly", "rw", "readwrite"];
const MOUNT: [&str; 3] = ["nosuid", "nodev", "noexec"];
const SOURCE: [&str; 3] = ["from", "source", "src"];
/// Labels of SELinux: commands run without one, so nothing keeps them from a mount's files.
const LABELS: [&str; 3] = ["z", "Z", "relabel"];
const OWNER: [&str; 3] = ["mode", "uid", "gid"];
/// Of the mount options of Buildah, those that would change the source.
const REFUSED: [&str; 2] = ["U", "no-dereference"];

/// The options of a type that not every type has.
fn options_of(kind: &str) -> Vec<&'static str> {
    let lists: &[&[&'static str]] = match kind {
        "bind" => &[
            &ACCESS,
            &MOUNT,
            &SOURCE,
            &LABELS,
            &PROPAGATIONS,
            &["bind-propagation", "bind-nonrecursive", "consistency"],
        ],
        "cache" => &[&ACCESS, &MOUNT, &SOURCE, &LABELS, &OWNER, &["id", "sharing"]],
        "tmpfs" => &[&ACCESS, &MOUNT, &["size", "tmpfs-size", "tmpfs-mode", "tmpcopyup"]],
        "secret" => &[&ACCESS, &OWNER, &["id", "source", "src", "env", "required"]],
        "ssh" => &[&ACCESS, &OWNER, &["id", "required"]],
        _ => &[],
    };
    [&[&ALWAYS[..]], lists].concat().concat()
}

/// Options that a type takes without a use for them, as the reference does.
fn unused(kind: &str) -> &'static [&'static str] {
    match kind {
        "bind" => &["id", "env"],
        "cache" => &["env"],
        "tmpfs" => &["id", "env", "from", "source", "src"],
        "ssh" => &["env", "from"],
        _ => &[],
    }
}

/// Options that mean true when they stand alone.
fn is_switch(key: &str) -> bool {
    ACCESS.contains(&key)
        || MOUNT.contains(&key)
        || PROPAGATIONS.contains(&key)
        || matches!(key, "required" | "tmpcopyup" | "bind-nonrecursive" | "z" | "Z")
}

/// The option that a key names; only SELinux's z and Z differ by their case.
fn option(key: &str) -> std::borrow::Cow<'_, str> {
    if LABELS.contains(&key) || REFUSED.contains(&key) { key.into() } else { key.to_ascii_lowercase().into() }
}

/// Cuts a mount into fields, and checks it as far as it holds no variables.
pub(super) fn parse(text: &Text, span: Span, notes: &mut Vec<Diagnostic>) -> Result<RunMount> {
    static KNOWN: OnceLock<Vec<&str>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| TYPES.iter().flat_map(|kind| options_of(kind)).collect());
    let mut fields = Vec::new();
    let mut from = None;
    for range in fields_of(text.as_str()) {
        let field = text.slice(range);
        let at = field.as_str().find('=');
        let key = field.word(0..at.unwrap_or(field.as_str().len()));
        let key = Word::new(option(&key.text), key.span);
        let value = at.map(|at| field.from(at + 1).to_word());
        if field.is_empty() {
            return Err(Diagnostic::error(
                "an option of --mount is empty",
                Span::new(field.full_span().start, span.end),
            ));
        }
        if REFUSED.contains(&key.text.as_str()) {
            return Err(Diagnostic::error(format!("the option {} of --mount is not supported", key.text), key.span));
        }
        if !known.contains(&key.text.as_str()) {
            let error = Diagnostic::error(format!("unknown option {:?} of --mount", key.text), key.span);
            return Err(error.suggest(&key.text, known.iter().copied()));
        }
        if key.text == "from" {
            from = value.clone().filter(|value| !value.text.is_empty());
        }
        fields.push((key, value));
    }
    let mount = RunMount { fields, from, span };
    let variable = |value: &Option<Word>| value.as_ref().is_some_and(|value| value.text.contains('$'));
    if !mount.fields.iter().any(|(_, value)| variable(value)) {
        mount.resolve(&|word| Ok(word.text.clone()))?;
    }
    let kind = mount.fields.iter().rev().find(|(key, _)| key.text == "type").and_then(|(_, value)| value.as_ref());
    let kind = kind.map_or("bind".to_owned(), |kind| kind.text.to_ascii_lowercase());
    if TYPES.contains(&kind.as_str()) {
        let allowed = options_of(&kind);
        let unused = mount.fields.iter().filter(|(key, _)| !allowed.contains(&key.text.as_str()));
        notes.extend(unused.map(|(key, _)| {
            Diagnostic::warning(format!("a mount of type {kind} has no use for the option {}", key.text), key.span)
        }));
    }
    Ok(mount)
}

/// Ranges between commas; a field in double quotes may hold some.
pub(super) fn fields_of(text: &str) -> Vec<std::ops::Range<usize>> {
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

/// What the options of a mount say.
#[derive(Default)]
struct Options {
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    id: Option<String>,
    sharing: Option<Sharing>,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
    required: bool,
    copy_up: bool,
    recursive: bool,
    propagation: Option<String>,
    mount: Vec<String>,
}

impl RunMount {
    /// Gives the fields their meaning; `expand` puts the variables in.
    pub fn resolve(&self, expand: &dyn Fn(&Word) -> Result<String>) -> Result<Mount> {
        let mut kind = "bind".to_owned();
        let mut options = Options::default();
        for (key, value) in &self.fields {
            let text = match value {
                Some(value) => expand(value)?.trim_matches('"').to_owned(),
                None if is_switch(&key.text) => "true".to_owned(),
                None => {
                    let message = format!("the option {} of --mount needs a value", key.text);
                    return Err(Diagnostic::error(message, key.span));
                }
            };
            if key.text == "type" {
                kind = text.to_ascii_lowercase();
            } else {
                let span = value.as_ref().map_or(key.span, |value| value.span);
                options.set(&key.text, text, span)?;
            }
        }
        if !TYPES.contains(&kind.as_str()) {
            let message = format!("unknown mount type {kind:?}: expected bind, cache, tmpfs, secret or ssh");
            let named = self.fields.iter().rev().find(|(key, _)| key.text == "type");
            let place = named.and_then(|(_, value)| value.as_ref()).map_or(self.span, |value| value.span);
            return Err(Diagnostic::error(message, place).suggest(&kind, TYPES));
        }
        let allowed = options_of(&kind);
        let is_wrong = |key: &str| !allowed.contains(&key) && !unused(&kind).contains(&key);
        if let Some((key, _)) = self.fields.iter().find(|(key, _)| is_wrong(&key.text)) {
            return Err(Diagnostic::error(format!("a mount of type {kind} has no option {}", key.text), key.span));
        }
        options.mount(&kind, self.span)
    }
}

impl Options {
    /// Takes one option; `span` is where its value stands.
    fn set(&mut self, key: &str, text: String, span: Span) -> Result<()> {
        let invalid =
            |expected: &str| Diagnostic::error(format!("invalid value {text:?} of {key}: expected {expected}"), span);
        let switch = || boolean(&text).ok_or_else(|| invalid("true or false"));
        let number = || text.parse::<u32>().map_err(|_| invalid("a number"));
        match key {
            "source" | "src" => self.source = Some(text),
            "target" | "dst" | "destination" => self.target = Some(text),
            "ro" | "readonly" => self.read_only = Some(switch()?),
            "rw" | "readwrite" => self.read_only = Some(!switch()?),
            "id" => self.id = Some(text),
            "env" => self.env = Some(text),
            "required" => self.required = switch()?,
            "sharing" => {
                self.sharing = Some(match text.to_ascii_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => {
                        let error = invalid("shared, private or locked");
                        return Err(error.suggest(&text, ["shared", "private", "locked"]));
                    }
                });
            }
            "size" | "tmpfs-size" => self.size = Some(bytes(&text).ok_or_else(|| invalid("a size such as 64m"))?),
            "mode" | "tmpfs-mode" => {
                let octal = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = Some(octal.ok_or_else(|| invalid("an octal mode"))?);
            }
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "tmpcopyup" => self.copy_up = switch()?,
            "bind-nonrecursive" => self.recursive = !switch()?,
            "bind-propagation" => {
                if !PROPAGATIONS.contains(&text.as_str()) {
                    return Err(
                        invalid("private, rprivate, slave, rslave, shared or rshared").suggest(&text, PROPAGATIONS)
                    );
                }
                self.propagation = Some(text);
            }
            "relabel" if !matches!(text.as_str(), "shared" | "private") => {
                return Err(invalid("shared or private").suggest(&text, ["shared", "private"]));
            }
            name if PROPAGATIONS.contains(&name) && switch()? => self.propagation = Some(name.to_owned()),
            name if MOUNT.contains(&name) && switch()? => self.mount.push(name.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// The mount of a type that has all these options.
    fn mount(self, kind: &str, span: Span) -> Result<Mount> {
        let target = self.target.filter(|target| !target.is_empty());
        let source = self.source.unwrap_or_default();
        let id = self.id.filter(|id| !id.is_empty());
        let (uid, gid) = (self.uid.unwrap_or(0), self.gid.unwrap_or(0));
        let read_only = self.read_only.unwrap_or(!matches!(kind, "cache" | "tmpfs"));
        let (kind, target) = match kind {
            "secret" => {
                let id = match (id, target.as_deref()) {
                    (Some(_), _) if !source.is_empty() => {
                        return Err(Diagnostic::error("source and id of a secret mean the same: give one", span));
                    }
                    (Some(id), _) => id,
                    (None, _) if !source.is_empty() => source,
                    (None, Some(target)) => base_name(target).to_owned(),
                    (None, None) => return Err(Diagnostic::error("a secret needs an id: id=name", span)),
                };
                let target = match target {
                    None if self.env.is_none() => format!("/run/secrets/{}", base_name(&id)),
                    target => target.unwrap_or_default(),
                };
                let mode = self.mode.unwrap_or(0o400);
                (MountKind::Secret { id, env: self.env, required: self.required, mode, uid, gid }, target)
            }
            "ssh" => {
                let id = id.unwrap_or_else(|| "default".to_owned());
                let mode = self.mode.unwrap_or(0o600);
                (MountKind::Ssh { id, required: self.required, mode, uid, gid }, target.unwrap_or_default())
            }
            kind => {
                let target = target.ok_or_else(|| Diagnostic::error("a mount needs a target: target=path", span))?;
                let kind = match kind {
                    "cache" => MountKind::Cache {
                        id: id.unwrap_or_else(|| target.clone()),
                        sharing: self.sharing.unwrap_or_default(),
                        source,
                        mode: self.mode,
                        uid: self.uid,
                        gid: self.gid,
                    },
                    "tmpfs" => MountKind::Tmpfs { size: self.size, mode: self.mode, copy_up: self.copy_up },
                    _ => MountKind::Bind { source, recursive: self.recursive, propagation: self.propagation },
                };
                (kind, target)
            }
        };
        Ok(Mount { kind, target, read_only, options: self.mount })
    }
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// A truth value as mounts and devices have them.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "TRUE" | "True" | "1" | "t" | "T" => Some(true),
        "false" | "FALSE" | "False" | "0" | "f" | "F" => Some(false),
        _ => None,
    }
}

/// `64m`, `1g`, `512kb`, `1024`, `1.5g`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    if fraction.len() > 9 {
        return None;
    }
    let parts = u128::from(fraction.parse::<u64>().ok()?) << shift;
    whole.checked_add(u64::try_from(parts / 10u128.pow(u32::try_from(fraction.len()).ok()?)).ok()?)
}
