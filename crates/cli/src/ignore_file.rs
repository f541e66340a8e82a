//! The file with patterns of what stays out of a copy or build.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;
use rootfs::Root;

use crate::command_error::CommandError;
use crate::commands::build::file::Beside;

/// Names that it is looked for by in a context; the first one there counts.
const NAMES: [&str; 2] = [".containerignore", ".dockerignore"];
/// It is no longer than this many bytes.
const LIMIT: u64 = 16 << 20;

/// Reads the ignore file that the user names, or else the one in `context`, if there is one.
///
/// The context may be somebody else's: a symlink in it cannot lead out.
pub fn read(context: &Path, named: Option<&Path>) -> Result<Ignore, CommandError> {
    if let Some(path) = named {
        let file = File::open(path).map_err(|error| failed(path, error))?;
        return parse(path, file);
    }
    let root = Root::open(context)?;
    for name in NAMES {
        let path = context.join(name);
        match root.open_file_following(name) {
            Ok(file) => return parse(&path, file),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(Ignore::default())
}

/// As [`read`], but one that stands beside the Dockerfile under its name comes before the context's.
pub fn read_for_build(context: &Path, named: Option<&Path>, beside: &Beside) -> Result<Ignore, CommandError> {
    if named.is_some() {
        return read(context, named);
    }
    let with_ending = |path: &Path, ending: &str| {
        let mut path = path.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    for ending in NAMES {
        match beside {
            Beside::Nothing => {}
            Beside::Host(path) => {
                let path = with_ending(path, ending);
                match File::open(&path) {
                    Ok(file) => return parse(&path, file),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(&path, error)),
                }
            }
            Beside::Context(path) => {
                let path = with_ending(path, ending);
                match Root::open(context)?.open_file_following(&path) {
                    Ok(file) => return parse(&path, file),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(failed(&path, error)),
                }
            }
        }
    }
    read(context, None)
}

fn parse(path: &Path, file: File) -> Result<Ignore, CommandError> {
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    if bytes.len() as u64 > LIMIT {
        return Err(failed(path, format!("it is longer than {} MiB", LIMIT >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(path, "it is no UTF-8 text"))?;
    Ignore::parse(&text).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: impl std::fmt::Display) -> CommandError {
    CommandError::new(format!("ignore file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn tree_symlinks_in_the_context_do_not_lead_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let context = dir.path().join("context");
        fs::create_dir(&context).expect("made");
        assert!(read(&context, None).expect("none is needed").is_empty());

        fs::write(dir.path().join("outside"), "secret").expect("written");
        symlink("../outside", context.join(".dockerignore")).expect("linked");
        assert!(read(&context, None).expect("nothing is inside").is_empty());
        symlink(dir.path().join("outside"), context.join(".containerignore")).expect("linked");
        assert!(read(&context, None).expect("nothing is inside").is_empty());

        fs::write(context.join("outside"), "inner").expect("written");
        assert!(read(&context, None).expect("followed inside").matches("inner"));
        // What the user names is the user's.
        let named = read(&context, Some(&dir.path().join("outside"))).expect("read");
        assert!(named.matches("secret") && !named.matches("inner"));
    }

    #[test]
    fn tree_an_ignore_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("missing");
        assert!(read(dir.path(), Some(&missing)).is_err());
        fs::create_dir(dir.path().join(".dockerignore")).expect("made");
        assert!(read(dir.path(), None).is_err());
    }
}
