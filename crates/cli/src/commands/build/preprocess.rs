//! Dockerfiles whose names end in `.in` go through the C preprocessor first, as with Buildah.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command_error::{CommandError, printable};
use crate::session::Session;

/// Whether the Dockerfile `path` is for the preprocessor.
pub(super) fn is_for_preprocessor(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "in")
}

/// What `cpp` makes of the text of `path`. `#include "NAME"` finds files of the context.
pub(super) fn preprocess(
    path: &Path,
    text: &[u8],
    context_dir: &Path,
    flags: &[String],
    session: &Session,
) -> Result<Vec<u8>, CommandError> {
    let failed = |reason: String| CommandError::new(format!("preprocessing {}: {reason}", path.display()));
    let of_environment = match session.env("BUILDAH_CPPFLAGS") {
        Some(text) => shlex::split(&text)
            .ok_or_else(|| CommandError::new(format!("invalid BUILDAH_CPPFLAGS {text:?}: a quote is not closed")))?,
        None => Vec::new(),
    };
    let mut command = Command::new("cpp");
    command.args(["-E", "-iquote"]).arg(context_dir).args(["-traditional", "-undef", "-"]);
    command.args(of_environment).args(flags);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("cpp is not installed".to_owned()).hint("Debian's package cpp has it"),
        _ => failed(format!("cpp: {error}")),
    })?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // A preprocessor that gives up before the end of the text says so by its exit code.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(text)));
        child.wait_with_output()
    });
    let output = output.map_err(|error| failed(format!("cpp: {error}")))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(output.stdout),
        // As Buildah: what it complains of may not matter to a Dockerfile.
        false if !output.stdout.is_empty() => {
            session.warn(&format!("Ignoring {} (preprocessing {})", printable(&messages), path.display()));
            Ok(output.stdout)
        }
        false => Err(failed(format!("cpp gave no text: {}", printable(&messages)))),
    }
}
