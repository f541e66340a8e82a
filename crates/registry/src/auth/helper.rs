//! Credential helpers: programs `docker-credential-<name>` that are asked over stdin.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use super::{AuthError, Login};

/// A helper may ask a key ring, which may ask its user; after this long it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper `name` knows of `registry`.
pub(super) fn get(name: &str, registry: &str) -> Result<Option<Login>, AuthError> {
    let failed = |reason: String| AuthError::Helper { helper: name.to_owned(), registry: registry.to_owned(), reason };
    if name.contains('/') {
        return Err(failed("its name contains a slash".into()));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(crate::error::root_cause(&error)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input may still answer.
        let _ = stdin.write_all(registry.as_bytes());
    }
    let Some(stdout) = child.stdout.take() else { return Err(failed("it has no output".into())) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = stdout.take(MAX_ANSWER).read_to_end(&mut bytes).map(|_| bytes);
        let _ = sender.send(result);
    });
    let answer = receiver.recv_timeout(PATIENCE);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(crate::error::root_cause(&error)))?;
    let bytes = match answer {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(failed(crate::error::root_cause(&error))),
        Err(_) => return Err(failed(format!("it gave no answer within {} seconds", PATIENCE.as_secs()))),
    };
    if !status.success() {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        // The protocol's words for an empty key ring.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let text: String = text.chars().take(200).collect();
        return Err(failed(if text.is_empty() { format!("it ended with {status}") } else { text }));
    }
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| failed("its answer is not JSON".into()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::IdentityToken(answer.secret),
        _ => Login::Basic { username: answer.username, password: answer.secret },
    }))
}
