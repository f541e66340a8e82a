//! auth.json and config.json: entries by registry or namespace, and credential helpers.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::{AuthError, AuthFile, Login, helper};

/// Longest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How a file's keys are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFileKind {
    /// containers-auth.json(5): keys may name namespaces.
    Containers,
    /// Docker's config.json: keys are registries, perhaps written as URLs.
    Docker,
    /// Docker's old .dockercfg: the entries without an object around them.
    DockerLegacy,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// The credentials in `file` for `repository` on `registry`.
pub(super) fn find(file: &AuthFile, registry: &str, repository: &str) -> Result<Option<Login>, AuthError> {
    let Some(config) = read(file)? else { return Ok(None) };
    let full = format!("{registry}/{repository}");
    let keys: Vec<&str> = match file.kind {
        AuthFileKind::Containers => names(&full),
        AuthFileKind::Docker | AuthFileKind::DockerLegacy => vec![registry],
    };
    for key in &keys {
        if let Some(name) = config.helpers.get(*key)
            && let Some(login) = helper::get(name, key)?
        {
            return Ok(Some(login));
        }
    }
    if !config.store.is_empty() {
        // Docker Hub's helpers know it by its old address.
        let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
        if let Some(login) = helper::get(&config.store, server)? {
            return Ok(Some(login));
        }
    }
    for key in &keys {
        if let Some(login) = config.auths.get(*key).map(|entry| decode(file, key, entry)).transpose()?.flatten() {
            return Ok(Some(login));
        }
    }
    // Docker writes URLs, and so did early versions of the other tools.
    for (key, entry) in &config.auths {
        if as_registry(key) == registry
            && (file.kind != AuthFileKind::Containers || key.contains("://"))
            && let Some(login) = decode(file, key, entry)?
        {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

/// `a/b/c`, `a/b`, `a`.
fn names(full: &str) -> Vec<&str> {
    let mut names = vec![full];
    let mut rest = full;
    while let Some((head, _)) = rest.rsplit_once('/') {
        names.push(head);
        rest = head;
    }
    names
}

/// The registry that a URL-like key means.
fn as_registry(key: &str) -> &str {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

fn decode(file: &AuthFile, key: &str, entry: &Entry) -> Result<Option<Login>, AuthError> {
    if !entry.identity_token.is_empty() {
        return Ok(Some(Login::IdentityToken(entry.identity_token.clone())));
    }
    if entry.auth.is_empty() {
        let Entry { username, password, .. } = entry;
        return Ok(
            (!username.is_empty()).then(|| Login::Basic { username: username.clone(), password: password.clone() })
        );
    }
    let invalid = |what: &str| AuthError::Invalid { path: file.path.clone(), reason: format!("entry {key:?}: {what}") };
    let lenient = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = lenient.decode(entry.auth.trim()).map_err(|_| invalid("its auth is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| invalid("its auth is not text"))?;
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => Ok(Some(Login::Basic {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })),
        _ => Err(invalid("its auth is not user:password in base64")),
    }
}

fn read(file: &AuthFile) -> Result<Option<Config>, AuthError> {
    let failed = |reason: String| AuthError::Read { path: file.path.clone(), reason };
    let bytes = match open(&file.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(crate::error::root_cause(&error))),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let invalid = |error: serde_json::Error| AuthError::Invalid { path: file.path.clone(), reason: error.to_string() };
    match file.kind {
        AuthFileKind::DockerLegacy => {
            let auths = serde_json::from_slice(&bytes).map_err(invalid)?;
            Ok(Some(Config { auths, ..Config::default() }))
        }
        _ => serde_json::from_slice(&bytes).map(Some).map_err(invalid),
    }
}

fn open(path: &Path) -> std::io::Result<Vec<u8>> {
    // A FIFO would wait for a writer for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("it is longer than 4 MiB"));
    }
    Ok(bytes)
}
