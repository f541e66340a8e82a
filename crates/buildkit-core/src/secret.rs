//! Secrets of the command line: `--secret id=ID[,src=PATH|env=NAME][,type=file|env]`.
//!
//! A secret is read once, when it is named, and is in memory only from then on.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use runtime::Content;

/// A secret has no more bytes, as with BuildKit.
pub const LONGEST_SECRET: usize = 500 << 10;

/// The secrets of a build, by their IDs.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, Content>);

/// Text that names no secret, or a secret that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("incorrect secret flag format: --secret {text:?}: {message}")]
pub struct InvalidSecret {
    text: String,
    message: String,
}

/// Where a secret comes from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Variable(String),
    /// The variable of this name, or else the file.
    Either(String),
}

impl Secrets {
    /// Reads a secret and adds it; a later one of the same ID replaces it. `variable` gives the
    /// value of an environment variable.
    pub fn add(&mut self, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), InvalidSecret> {
        let invalid = |message| InvalidSecret { text: text.into(), message };
        let (id, origin) = parse(text).map_err(invalid)?;
        let content = read(&origin, variable).map_err(invalid)?;
        self.0.insert(id, content);
        Ok(())
    }

    /// The secret of this ID, if the command line has one.
    pub fn get(&self, id: &str) -> Option<&Content> {
        self.0.get(id)
    }
}

fn parse(text: &str) -> Result<(String, Origin), String> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let place = match key.to_ascii_lowercase().as_str() {
            "id" => &mut id,
            "src" | "source" => &mut file,
            "env" => &mut variable,
            "type" => &mut kind,
            _ => return Err(format!("unknown option {key:?}, expected id, src, env or type")),
        };
        if value.is_empty() || value.contains('\0') {
            return Err(format!("{key} needs a value ({key}=…)"));
        }
        *place = Some(value.to_owned());
    }
    let id = id.ok_or("it has no id (id=name)")?;
    let origin = match (kind.as_deref(), file, variable) {
        (None | Some("file" | "env"), Some(_), Some(_)) => return Err("give src or env, not both".into()),
        (None | Some("file"), Some(file), None) => Origin::File(file.into()),
        (Some("file"), None, None) => Origin::File(id.clone().into()),
        (None | Some("env"), None, Some(name)) | (Some("env"), Some(name), None) => Origin::Variable(name),
        (Some("env"), None, None) => Origin::Variable(id.clone()),
        (None, None, None) => Origin::Either(id.clone()),
        (Some("file"), None, Some(_)) => return Err("type=file contradicts env".into()),
        (Some(kind), ..) => return Err(format!("unknown type {kind:?}, expected file or env")),
    };
    Ok((id, origin))
}

fn read(origin: &Origin, variable: &dyn Fn(&str) -> Option<String>) -> Result<Content, String> {
    let from_variable = |value: String| match value.len() {
        ..=LONGEST_SECRET => Ok(Content::new(value.into_bytes())),
        _ => Err(too_long()),
    };
    match origin {
        Origin::File(path) => read_file(path),
        Origin::Variable(name) => {
            variable(name).map_or_else(|| Err(format!("the environment has no variable {name}")), from_variable)
        }
        Origin::Either(name) => variable(name).map_or_else(|| read_file(Path::new(name)), from_variable),
    }
}

fn read_file(path: &Path) -> Result<Content, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LONGEST_SECRET as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > LONGEST_SECRET {
        return Err(too_long());
    }
    Ok(Content::new(bytes))
}

fn too_long() -> String {
    format!("the secret has more than {} KiB", LONGEST_SECRET >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_secrets_are_parsed() {
        let file = |path: &str| Origin::File(path.into());
        let variable = |name: &str| Origin::Variable(name.into());
        for (text, expected) in [
            ("id=a", Origin::Either("a".into())),
            ("id=a,src=/p=q", file("/p=q")),
            ("source=p,ID=a", file("p")),
            ("id=a,type=file", file("a")),
            ("id=a,type=file,src=p", file("p")),
            ("id=a,env=E", variable("E")),
            ("id=a,type=env,env=E", variable("E")),
            ("id=a,type=env,src=E", variable("E")),
            ("id=a,type=env", variable("a")),
        ] {
            assert_eq!(parse(text), Ok(("a".to_owned(), expected)), "{text}");
        }
        for (text, expected) in [
            ("", "unknown option \"\""),
            ("src=p", "it has no id"),
            ("id=", "id needs a value"),
            ("id=a,src", "src needs a value"),
            ("id=a,src=p,env=E", "src or env, not both"),
            ("id=a,type=file,env=E", "type=file contradicts env"),
            ("id=a,type=vault", "unknown type \"vault\", expected file or env"),
            ("id=a,path=p", "unknown option \"path\", expected id, src, env or type"),
        ] {
            assert!(parse(text).expect_err(text).contains(expected), "{text}");
        }
    }

    #[test]
    fn tree_secrets_are_read_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        std::fs::write(&path, b"\xffbytes\n").expect("write");
        let environment = |name: &str| (name == "TOKEN").then(|| "from the environment".to_owned());
        let mut secrets = Secrets::default();
        let by_file = format!("id=file,src={}", path.display());
        for text in [by_file.as_str(), "id=TOKEN", "id=other,env=TOKEN"] {
            secrets.add(text, &environment).expect(text);
        }
        std::fs::write(&path, "changed").expect("write");
        assert_eq!(secrets.get("file").map(Content::as_bytes), Some(&b"\xffbytes\n"[..]));
        for id in ["TOKEN", "other"] {
            assert_eq!(secrets.get(id).map(Content::as_bytes), Some(&b"from the environment"[..]));
        }
        assert_eq!(secrets.get("none"), None);
        assert!(!format!("{secrets:?}").contains("environment"));
        for (text, expected) in
            [("id=a,env=NONE", "the environment has no variable NONE"), ("id=/no/file", "/no/file: ")]
        {
            let error = secrets.add(text, &environment).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn tree_secrets_have_a_largest_size() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        let text = format!("id=s,src={}", path.display());
        std::fs::write(&path, vec![0; LONGEST_SECRET]).expect("write");
        let mut secrets = Secrets::default();
        secrets.add(&text, &|_| None).expect("the longest");
        std::fs::write(&path, vec![0; LONGEST_SECRET + 1]).expect("write");
        let error = secrets.add(&text, &|_| None).expect_err("too long").to_string();
        assert!(error.ends_with("the secret has more than 500 KiB"), "{error}");
    }
}
