//! SSH agents of the command line, for `RUN --mount=type=ssh`: `--ssh default|ID[=SOCKET|KEY,KEY…]`.
//!
//! A step never gets the user's socket itself. It gets one of gabion's, which hands on what asks
//! for keys and signatures, and answers everything else with a refusal: a step cannot add, remove
//! or lock keys of the user's.

mod agent; // the agent protocol, over a socket
mod key; // private keys in files

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use agent::Served;
use key::Key;

/// The agents of a build, by their IDs.
#[derive(Clone, Debug, Default)]
pub struct Agents(BTreeMap<String, Source>);

/// Where an agent's keys are.
#[derive(Clone, Debug)]
enum Source {
    /// With another agent.
    Socket(PathBuf),
    /// Here.
    Keys(Arc<Vec<Key>>),
}

/// Text that names no agent, or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("invalid --ssh {text:?}: {message}")]
pub struct InvalidAgent {
    text: String,
    message: String,
}

/// Who may use a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Agents {
    /// Adds the agent that `text` names; a later one of the same ID replaces it. `own_socket` is
    /// that of the user's agent (`SSH_AUTH_SOCK`), for when neither socket nor key is named.
    pub fn add(&mut self, text: &str, own_socket: Option<&str>) -> Result<(), InvalidAgent> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let source = match id {
            "" => Err("expected default or ID[=SOCKET|KEY,KEY…]".into()),
            _ => source(paths, own_socket),
        };
        let source = source.map_err(|message| InvalidAgent { text: text.into(), message })?;
        self.0.insert(id.to_owned(), source);
        Ok(())
    }

    /// Whether there is an agent of this ID.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Serves the agent of this ID, if there is one, over a new socket `name` in `dir`, until what
    /// is given is dropped.
    pub fn serve(&self, id: &str, dir: &Path, name: &str, owner: SocketOwner) -> std::io::Result<Option<Served>> {
        self.0.get(id).map(|source| agent::serve(source.clone(), dir, name, owner)).transpose()
    }
}

fn source(paths: &str, own_socket: Option<&str>) -> Result<Source, String> {
    let is_socket = |path: &Path| path.metadata().map(|metadata| metadata.file_type().is_socket());
    if paths.is_empty() {
        let path = own_socket.filter(|path| !path.is_empty()).ok_or("no agent runs (SSH_AUTH_SOCK is not set)")?;
        return match is_socket(Path::new(path)) {
            Ok(true) => Ok(Source::Socket(path.into())),
            Ok(false) => Err(format!("{path} (SSH_AUTH_SOCK) is no socket")),
            Err(error) => Err(format!("{path} (SSH_AUTH_SOCK): {error}")),
        };
    }
    let paths: Vec<&Path> = paths.split(',').map(Path::new).collect();
    let mut keys = Vec::new();
    for path in &paths {
        let failed = |message: String| format!("{}: {message}", path.display());
        if is_socket(path).map_err(|error| failed(error.to_string()))? {
            return match paths.as_slice() {
                [only] => Ok(Source::Socket((*only).to_owned())),
                _ => Err(failed("a socket goes with no other path".into())),
            };
        }
        keys.push(Key::read(path).map_err(failed)?);
    }
    Ok(Source::Keys(Arc::new(keys)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_agents_are_parsed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        let socket = socket.display().to_string();
        let file = dir.path().join("file").display().to_string();
        std::fs::write(&file, "no key").expect("write");
        let mut agents = Agents::default();
        agents.add("default", Some(&socket)).expect("own");
        agents.add(&format!("x={socket}"), None).expect("named");
        assert!(agents.has("default") && agents.has("x") && !agents.has("y"));
        for (text, own, expected) in [
            ("default".to_owned(), None, "no agent runs (SSH_AUTH_SOCK is not set)"),
            ("default".to_owned(), Some(&file), "is no socket"),
            (String::new(), Some(&socket), "expected default or ID"),
            (format!("x={socket},{file}"), None, "a socket goes with no other path"),
            (format!("x={file}"), None, "no private key in OpenSSH's format"),
            ("x=/no/key".to_owned(), None, "/no/key: "),
        ] {
            let error = agents.add(&text, own.map(String::as_str)).expect_err(&text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
