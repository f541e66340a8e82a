//! The Dockerfile is found and read.

use std::io::Read;
use std::path::Path;

use dockerfile::Source;
use rootfs::Root;

use crate::command_error::CommandError;

/// Names that a Dockerfile is looked for by, in this order.
const FILE_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];
/// A Dockerfile is no longer than this many bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Reads the Dockerfile that `-f` names, or that the context brings along.
pub(super) fn read_dockerfile(file: Option<&Path>, context_dir: &Path) -> Result<Source, CommandError> {
    let failed =
        |path: &Path, error: std::io::Error| CommandError::new(format!("Dockerfile {}: {error}", path.display()));
    if file == Some(Path::new("-")) {
        let bytes = read_limited(std::io::stdin().lock()).map_err(|error| failed(Path::new("-"), error))?;
        return Ok(Source::new("-", &bytes));
    }
    let path = match file {
        // As it is typed, or else inside the context.
        Some(file) if file.exists() => file.to_owned(),
        Some(file) if context_dir.join(file).exists() => context_dir.join(file),
        Some(file) => return Err(CommandError::new(format!("Dockerfile {} is not there", file.display()))),
        None => return read_default_dockerfile(context_dir),
    };
    // A directory can hold the file, as Buildah has it.
    let path = match path.is_dir() {
        true => FILE_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file()).unwrap_or(path),
        false => path,
    };
    let open = std::fs::File::open(&path).map_err(|error| failed(&path, error))?;
    let bytes = read_limited(open).map_err(|error| failed(&path, error))?;
    Ok(Source::new(path.display().to_string(), &bytes))
}

/// The Dockerfile that a context brings along. The context may be somebody else's: a symlink in it
/// cannot lead out.
fn read_default_dockerfile(context_dir: &Path) -> Result<Source, CommandError> {
    let root = Root::open(context_dir)?;
    for name in FILE_NAMES {
        let failed = |error: &dyn std::fmt::Display| {
            CommandError::new(format!("Dockerfile {}: {error}", context_dir.join(name).display()))
        };
        match root.open_file_following(name) {
            Ok(file) => return Ok(Source::new(name, &read_limited(file).map_err(|error| failed(&error))?)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let message = format!("no {} in {}", FILE_NAMES.join(" or "), context_dir.display());
    Err(CommandError::new(message).hint("name the file with -f"))
}

fn read_limited(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(std::io::Error::other("the file is too large"));
    }
    Ok(bytes)
}
