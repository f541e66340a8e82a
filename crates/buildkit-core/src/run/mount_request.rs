//! Mounts as they are asked for: what `--mount` and `--volume` of the command say, and what
//! `RUN --mount` of a Dockerfile means.

use std::path::{Path, PathBuf};

pub use dockerfile::instruction::Sharing;
use runtime::{Content, Propagation};

/// One mount of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// Where in the container; a relative path is below the working directory.
    pub target: String,
    /// What.
    pub kind: MountRequestKind,
    /// Whether the step may not write to it.
    pub read_only: bool,
    /// Options by their names in mount(8): `nosuid`, `nodev`, `noexec`.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountRequestKind {
    /// A file or directory. What the step writes to it is dropped.
    Bind {
        /// The tree it is in.
        from: MountSource,
        /// Its path in the tree.
        source: String,
        /// Whether what is mounted below it comes along.
        recursive: bool,
        /// How later mounts inside it spread.
        propagation: Propagation,
        /// Paths below it that the step does not see.
        hidden: Vec<PathBuf>,
    },
    /// A file or directory of the host. What the step writes to it stays.
    Volume {
        /// Its path; must exist.
        host_path: PathBuf,
        /// Whether what is written to it is dropped after all (`:O`).
        discard_writes: bool,
        /// Whether it is given to the step's user first, with all below it (`:U`).
        give_to_user: bool,
        /// How later mounts inside it spread.
        propagation: Propagation,
        /// Whether what is mounted below it comes along.
        recursive: bool,
    },
    /// A copy of a file or directory of the host, which goes with the step.
    Copy {
        /// Its path; must exist.
        host_path: PathBuf,
    },
    /// A directory that is kept from step to step and build to build.
    Cache {
        /// Tells caches apart, together with their owner; the target when absent.
        id: Option<String>,
        /// The tree with what a new one begins with; it begins with nothing by default
        /// ([`MountSource::Host`]).
        from: MountSource,
        /// Tells what is in the tree of a directory: a cache begins anew when that is another.
        content: Option<String>,
        /// The path in the tree, or without one that in the cache's directory.
        source: String,
        /// Paths below it that a new one does not begin with.
        hidden: Vec<PathBuf>,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Mode of a new one.
        mode: Option<u32>,
        /// Owner of a new one.
        uid: Option<u32>,
        /// Group of a new one.
        gid: Option<u32>,
    },
    /// A file with this content, which is never on a disk.
    File {
        /// What is in it.
        content: Content,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Memory.
    Tmpfs {
        /// Upper limit in bytes.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: Option<u32>,
        /// Whether it starts as a copy of what is at the target.
        copy_up: bool,
    },
}

/// The tree that a mount's source is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MountSource {
    /// The host: the path is the user's own word.
    #[default]
    Host,
    /// A directory that is not trusted, such as a build context or a stage's root file system: no
    /// path in it leads out.
    Tree(PathBuf),
    /// An image or working container of the store, by name or ID.
    Named(String),
}

/// Text that is no mount.
#[derive(Debug, thiserror::Error)]
#[error("invalid {flag} {text:?}: {message}")]
pub struct InvalidMount {
    flag: &'static str,
    text: String,
    message: String,
}

impl InvalidMount {
    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl MountRequest {
    /// Parses the value of `--mount`: `type=bind|cache|tmpfs,key=value,…`. A bind mount's `source`
    /// without `from` is in `context_dir`, or else a path of the host.
    pub fn parse(text: &str, context_dir: Option<&Path>) -> Result<MountRequest, InvalidMount> {
        parse_fields(text, context_dir).map_err(|message| InvalidMount { flag: "--mount", text: text.into(), message })
    }

    /// Parses the value of `--volume`: `host-dir:container-dir[:option,…]`.
    pub fn parse_volume(text: &str) -> Result<MountRequest, InvalidMount> {
        parse_volume(text).map_err(|message| InvalidMount { flag: "--volume", text: text.into(), message })
    }
}

/// What `--mount` says, key by key.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    target: Option<String>,
    source: Option<String>,
    from: Option<String>,
    id: Option<String>,
    read_only: Option<bool>,
    options: Vec<String>,
    propagation: Option<Propagation>,
    non_recursive: bool,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    copy_up: bool,
}

fn parse_fields(text: &str, context_dir: Option<&Path>) -> Result<MountRequest, String> {
    let mut fields = Fields::default();
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        if key == "type" {
            fields.kind = Some(needs_value(key, value)?.to_owned());
        }
    }
    let kind = fields.kind.clone().unwrap_or_else(|| "bind".into());
    if !matches!(kind.as_str(), "bind" | "cache" | "tmpfs") {
        return Err(format!("unknown type {kind:?}, expected bind, cache or tmpfs"));
    }
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        set_field(&mut fields, &kind, key, value)?;
    }
    let target = fields.target.ok_or("no target is given (target=path)")?;
    let read_only = |default| fields.read_only.unwrap_or(default);
    let from = |fallback: MountSource| fields.from.clone().map_or(fallback, MountSource::Named);
    let source = fields.source.clone().unwrap_or_default();
    match kind.as_str() {
        "bind" => {
            let from = from(context_dir.map_or(MountSource::Host, |dir| MountSource::Tree(dir.into())));
            if from == MountSource::Host && source.is_empty() {
                return Err("no source is given (source=path)".into());
            }
            let propagation = fields.propagation.unwrap_or_default();
            let (recursive, hidden) = (!fields.non_recursive, Vec::new());
            let kind = MountRequestKind::Bind { from, source, recursive, propagation, hidden };
            Ok(MountRequest { target, kind, read_only: read_only(true), options: fields.options })
        }
        "cache" => {
            let kind = MountRequestKind::Cache {
                id: fields.id.clone(),
                from: from(MountSource::Host),
                content: None,
                source,
                hidden: Vec::new(),
                sharing: fields.sharing.unwrap_or_default(),
                mode: fields.mode,
                uid: fields.uid,
                gid: fields.gid,
            };
            Ok(MountRequest { target, kind, read_only: read_only(false), options: fields.options })
        }
        _ => {
            let kind = MountRequestKind::Tmpfs { size: fields.size, mode: fields.mode, copy_up: fields.copy_up };
            Ok(MountRequest { target, kind, read_only: read_only(false), options: fields.options })
        }
    }
}

fn set_field(fields: &mut Fields, kind: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    let (bind, cache, tmpfs) = (kind == "bind", kind == "cache", kind == "tmpfs");
    match key {
        "type" => {}
        "target" | "dst" | "destination" => fields.target = Some(needs_value(key, value)?.into()),
        "ro" | "readonly" => fields.read_only = Some(flag(key, value)?),
        "rw" | "readwrite" => fields.read_only = Some(!flag(key, value)?),
        "nosuid" | "nodev" | "noexec" => {
            if flag(key, value)? {
                fields.options.push(key.into());
            }
        }
        "source" | "src" if !tmpfs => fields.source = Some(needs_value(key, value)?.into()),
        "from" if !tmpfs => fields.from = Some(needs_value(key, value)?.into()),
        "bind-propagation" if !tmpfs => {
            let name = needs_value(key, value)?;
            let expected =
                || format!("{name:?} is no propagation, expected private, rprivate, slave, rslave, shared or rshared");
            fields.propagation = Some(Propagation::parse(name).ok_or_else(expected)?);
        }
        "bind-nonrecursive" if bind => fields.non_recursive = flag(key, value)?,
        "consistency" if bind => drop(needs_value(key, value)?),
        "id" if cache => fields.id = Some(needs_value(key, value)?.into()),
        "sharing" if cache => {
            fields.sharing = Some(match needs_value(key, value)? {
                "shared" => Sharing::Shared,
                "private" => Sharing::Private,
                "locked" => Sharing::Locked,
                other => return Err(format!("{other:?} is no sharing, expected shared, private or locked")),
            });
        }
        "uid" if cache => fields.uid = Some(id(key, needs_value(key, value)?)?),
        "gid" if cache => fields.gid = Some(id(key, needs_value(key, value)?)?),
        "mode" if cache => fields.mode = Some(mode(key, needs_value(key, value)?)?),
        "tmpfs-mode" if tmpfs => fields.mode = Some(mode(key, needs_value(key, value)?)?),
        "size" | "tmpfs-size" if tmpfs => {
            let text = needs_value(key, value)?;
            fields.size =
                Some(parse_size(text).ok_or_else(|| format!("{text:?} is no size, expected a number with k, m or g"))?);
        }
        "tmpcopyup" if tmpfs => fields.copy_up = flag(key, value)?,
        "z" | "Z" | "relabel" if !tmpfs => return Err(format!("{key}: SELinux labels are not supported")),
        propagation if !tmpfs && value.is_none() && Propagation::parse(propagation).is_some() => {
            fields.propagation = Propagation::parse(propagation);
        }
        "" => return Err("an option is empty".into()),
        _ => return Err(format!("a mount of type {kind} has no option {key:?}")),
    }
    Ok(())
}

fn needs_value<'v>(key: &str, value: Option<&'v str>) -> Result<&'v str, String> {
    value
        .filter(|value| !value.is_empty() && !value.contains('\0'))
        .ok_or_else(|| format!("{key} needs a value ({key}=…)"))
}

/// `key`, `key=true` or `key=false`.
fn flag(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{key} is {other:?}, expected true or false")),
    }
}

fn id(key: &str, text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|id| digits && *id != u32::MAX)
        .ok_or_else(|| format!("{key} is {text:?}, expected a number"))
}

fn mode(key: &str, text: &str) -> Result<u32, String> {
    let valid = !text.starts_with('+');
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| valid && *mode <= 0o7777);
    mode.ok_or_else(|| format!("{key} is {text:?}, expected an octal mode such as 0755"))
}

/// Bytes, or with `k`, `m`, `g`, `t` (and a further `b` or `ib`) their binary multiples.
pub fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match bare.char_indices().next_back()? {
        (index, 'k') => (bare.get(..index)?, 10),
        (index, 'm') => (bare.get(..index)?, 20),
        (index, 'g') => (bare.get(..index)?, 30),
        (index, 't') => (bare.get(..index)?, 40),
        _ => (bare, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn parse_volume(text: &str) -> Result<MountRequest, String> {
    let parts = split_unescaped(text);
    let (host, target, options) = match parts.as_slice() {
        [host, target] => (host, target, ""),
        [host, target, options] => (host, target, options.as_str()),
        _ => return Err("expected host-dir:container-dir[:options]".into()),
    };
    if !host.starts_with('/') {
        return Err(format!("{host:?} is not an absolute path; named volumes are not supported"));
    }
    if !target.starts_with('/') || target.split('/').all(str::is_empty) {
        return Err(format!("{target:?} is not an absolute path below /"));
    }
    let mut read_only = None;
    let mut propagation = None;
    let mut label = None;
    let (mut discard_writes, mut give_to_user, mut recursive) = (false, false, true);
    let mut words = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let twice = || format!("the option {option:?} contradicts another");
        match option {
            "ro" | "rw" => {
                if read_only.replace(option == "ro").is_some() {
                    return Err(twice());
                }
            }
            "O" | "z" | "Z" => {
                if label.replace(option).is_some() {
                    return Err(twice());
                }
                // Labels mean nothing without SELinux.
                discard_writes = option == "O";
            }
            "U" => give_to_user = true,
            "bind" => recursive = false,
            "rbind" => recursive = true,
            // macOS's words for caching mean nothing on Linux; the others ask for what is done anyway.
            "cached" | "delegated" | "consistent" | "nocopy" | "nocreate" => {}
            "copy" => return Err("copy: only a new named volume could be filled, and there are none".into()),
            "no-dereference" => return Err("no-dereference: sources that are symlinks are always followed".into()),
            "unbindable" | "runbindable" => return Err(format!("{option}: mounts of steps are bound nowhere else")),
            _ if option.starts_with("idmap") => return Err("idmap: user namespaces are not supported yet".into()),
            _ if option.starts_with("upperdir=") || option.starts_with("workdir=") => {
                return Err(format!("{option}: what is written with O is always dropped"));
            }
            "nosuid" | "nodev" | "noexec" | "suid" | "dev" | "exec" => words.push(option.into()),
            name => {
                let unknown = || format!("unknown option {name:?}");
                let parsed = Propagation::parse(name).ok_or_else(unknown)?;
                if propagation.replace(parsed).is_some() {
                    return Err(twice());
                }
            }
        }
    }
    let propagation = propagation.unwrap_or_default();
    let kind =
        MountRequestKind::Volume { host_path: host.into(), discard_writes, give_to_user, propagation, recursive };
    Ok(MountRequest { target: target.clone(), kind, read_only: read_only.unwrap_or(false), options: words })
}

/// Splits at `:`; `\:` is a colon of a name.
fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek(), parts.last_mut()) {
            ('\\', Some(':'), Some(part)) => {
                part.push(':');
                chars.next();
            }
            (':', ..) => parts.push(String::new()),
            (c, _, Some(part)) => part.push(c),
            (_, _, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        MountRequest::parse(text, None).expect_err(text).to_string()
    }

    #[test]
    fn pure_mount_bind() {
        let request =
            MountRequest::parse("type=bind,src=/a,target=/b,rw,nosuid,bind-propagation=rslave", None).expect("valid");
        let kind = MountRequestKind::Bind {
            from: MountSource::Host,
            source: "/a".into(),
            recursive: true,
            propagation: Propagation::RecursiveSlave,
            hidden: Vec::new(),
        };
        assert_eq!(
            request,
            MountRequest { target: "/b".into(), kind, read_only: false, options: vec!["nosuid".into()] }
        );
        let request = MountRequest::parse("target=b,from=alpine,bind-nonrecursive,shared", Some(Path::new("/ctx")))
            .expect("valid");
        assert!(request.read_only);
        assert!(
            matches!(request.kind, MountRequestKind::Bind { from: MountSource::Named(name), recursive: false, .. } if name == "alpine")
        );
        let request = MountRequest::parse("source=x,target=/b", Some(Path::new("/ctx"))).expect("valid");
        assert!(
            matches!(request.kind, MountRequestKind::Bind { from: MountSource::Tree(dir), .. } if dir == Path::new("/ctx"))
        );
    }

    #[test]
    fn pure_mount_cache_and_tmpfs() {
        let request = MountRequest::parse("type=cache,id=../x,target=/c,sharing=locked,mode=0700,uid=5,gid=6,ro", None)
            .expect("valid");
        let kind = MountRequestKind::Cache {
            id: Some("../x".into()),
            from: MountSource::Host,
            content: None,
            source: String::new(),
            hidden: Vec::new(),
            sharing: Sharing::Locked,
            mode: Some(0o700),
            uid: Some(5),
            gid: Some(6),
        };
        assert_eq!((request.kind, request.read_only), (kind, true));
        let request =
            MountRequest::parse("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1777,tmpcopyup", None).expect("valid");
        assert_eq!(request.kind, MountRequestKind::Tmpfs { size: Some(64 << 20), mode: Some(0o1777), copy_up: true });
    }

    #[test]
    fn pure_mount_refusals() {
        for text in [
            "type=secret,target=/x",
            "type=bind,src=/a",
            "type=bind,target=/b",
            "type=bind,src=/a,target=/b,bind-propagation=rprivate\0",
            "type=bind,src=/a,target=/b,bind-propagation=unbindable",
            "type=bind,src=/a,target=/b,bind-propagation=private suid",
            "type=bind,src=/a,target=/b,ro=maybe",
            "type=bind,src=/a,target=/b,",
            "type=bind,src=/a,target=/b,uid=1",
            "type=cache,target=/c,mode=9",
            "type=cache,target=/c,mode=+755",
            "type=cache,target=/c,mode=17777",
            "type=cache,target=/c,uid=-1",
            "type=cache,target=/c,gid=4294967295",
            "type=cache,target=/c,sharing=all",
            "type=tmpfs,target=/t,source=/x",
            "type=tmpfs,target=/t,tmpfs-size=1x",
            "type=tmpfs,target=/t,size=99999999999999999999",
        ] {
            assert!(error(text).starts_with("invalid --mount"), "{text}");
        }
        assert_eq!(
            error("type=cache,target=/c,sharing=all"),
            r#"invalid --mount "type=cache,target=/c,sharing=all": "all" is no sharing, expected shared, private or locked"#
        );
    }

    #[test]
    fn pure_volumes() {
        let volume = |text| MountRequest::parse_volume(text).map_err(|error| error.to_string());
        let request = volume(r"/a\:b:/c:ro,nodev,Z").expect("valid");
        assert_eq!(
            (request.target.as_str(), request.read_only, request.options),
            ("/c", true, vec!["nodev".to_string()])
        );
        assert!(matches!(request.kind, MountRequestKind::Volume { host_path, .. } if host_path == Path::new("/a:b")));
        assert_eq!(volume("/a:/c:nocopy,cached,nocreate,z").expect("valid"), volume("/a:/c").expect("valid"));
        let request = volume("/a:/c:O,U,rshared").expect("valid");
        assert!(matches!(
            request.kind,
            MountRequestKind::Volume {
                discard_writes: true,
                give_to_user: true,
                propagation: Propagation::RecursiveShared,
                ..
            }
        ));
        for text in [
            "/a",
            "a:/b",
            "/a:b",
            "/a:/",
            "/a:/b:ro:x",
            "/a:/b:ro,rw",
            "/a:/b:size=1",
            "/a:/b:shared,private",
            "/a:/b:O,z",
            "/a:/b:z,Z",
            "/a:/b:copy",
            "/a:/b:idmap=uids=0-1-10",
            "/a:/b:O,upperdir=/u,workdir=/w",
            "/a:/b:unbindable",
            "/a:/b:no-dereference",
            "",
        ] {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pure_sizes() {
        for (text, size) in [
            ("1", Some(1)),
            ("64k", Some(65536)),
            ("2GiB", Some(2 << 30)),
            ("10mb", Some(10 << 20)),
            ("1t", Some(1 << 40)),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
        for text in ["", "k", "-1", "+1", "1.5g", "1x", "18446744073709551615k"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
