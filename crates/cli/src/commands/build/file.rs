//! The Dockerfile is found and read.

use std::io::Read;
use std::path::{Path, PathBuf};

use buildkit_core::context::FILE_LIMIT;
use buildkit_core::transfer::Remotes;
use rootfs::Root;

use crate::args::value;
use crate::command_error::CommandError;

/// Names that a Dockerfile is looked for by, in this order.
const FILE_NAMES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// Where the Dockerfile's own ignore file would be: at this path with an ending more.
#[derive(Debug)]
pub(crate) enum Beside {
    /// Nowhere: it came as a stream.
    Nothing,
    /// A path of the user's.
    Host(PathBuf),
    /// A path in the context, which nothing leads out of.
    Context(PathBuf),
}

/// A Dockerfile that was read.
pub(super) struct DockerfileText {
    pub name: String,
    pub bytes: Vec<u8>,
    pub beside: Beside,
}

/// Reads the Dockerfile that `-f` names. In a context that came as a stream, `-f` names a file of
/// the context.
pub(super) fn read_dockerfile(
    file: &Path,
    context_dir: &Path,
    is_private: bool,
    remotes: &Remotes,
) -> Result<DockerfileText, CommandError> {
    let nowhere = |bytes| DockerfileText { name: file.display().to_string(), bytes, beside: Beside::Nothing };
    if file == Path::new("-") {
        return Ok(nowhere(read_limited(std::io::stdin().lock()).map_err(|error| failed(file, &error))?));
    }
    if let Some(url) = file.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://")) {
        let download = remotes.client()?.download(url)?;
        return Ok(nowhere(read_limited(download).map_err(|error| failed(file, &error))?));
    }
    if is_private {
        match read_first(&[file.to_owned()], context_dir) {
            // A path of this machine's own, which the context does not have.
            Err(_) if file.is_absolute() && file.is_file() => {}
            read => return read,
        }
    }
    // As it is typed, or else inside the context.
    let path = match (file.exists(), context_dir.join(file)) {
        (true, _) => file.to_owned(),
        (false, inside) if inside.exists() => inside,
        _ => {
            let reason = match std::fs::metadata(file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => value::reason(&error),
                _ => "no such file or directory, of that name or in the context".to_owned(),
            };
            return Err(CommandError::new(format!("--file {}: {reason}", file.display())));
        }
    };
    if path.is_dir() {
        return Err(CommandError::new(format!(
            "--file {:?} cannot be path to a directory",
            path.display().to_string()
        )));
    }
    let open = std::fs::File::open(&path).map_err(|error| failed(&path, &error))?;
    let bytes = read_limited(open).map_err(|error| failed(&path, &error))?;
    Ok(DockerfileText { name: path.display().to_string(), bytes, beside: Beside::Host(path) })
}

/// Reads the Dockerfile that the context brings along.
pub(super) fn read_in_context(context_dir: &Path) -> Result<DockerfileText, CommandError> {
    read_first(&FILE_NAMES.map(PathBuf::from), context_dir)
}

/// The first of `names` that is a file of the context. The context may be somebody else's: a
/// symlink in it cannot lead out. A directory of that name is none.
fn read_first(names: &[PathBuf], context_dir: &Path) -> Result<DockerfileText, CommandError> {
    let root = Root::open(context_dir)?;
    for name in names {
        match root.metadata_following(name) {
            Ok(metadata) if metadata.is_dir() => continue,
            Err(error) if error.is_not_found() => continue,
            _ => {}
        }
        let file = root.open_file_following(name).map_err(|error| failed(name, &error))?;
        let bytes = read_limited(file).map_err(|error| failed(name, &error))?;
        return Ok(DockerfileText { name: name.display().to_string(), bytes, beside: Beside::Context(name.clone()) });
    }
    if let Some(directory) = names.iter().find(|name| root.metadata_following(name).is_ok()) {
        return Err(CommandError::new(format!("{} is not a file", context_dir.join(directory).display())));
    }
    let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    let message = format!("no {} in {}: no such file or directory", names.join(" or "), context_dir.display());
    Err(CommandError::new(message).hint("name the file with -f"))
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(format!("Dockerfile {}: {error}", path.display()))
}

fn read_limited(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(std::io::Error::other("the file is too large"));
    }
    Ok(bytes)
}
