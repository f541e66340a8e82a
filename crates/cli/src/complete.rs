//! What a shell may complete arguments with, beyond commands and flags: names of working
//! containers, images and stages. The shell's script asks the program itself, by a variable.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use buildkit_core::manifest_list::ManifestList;
use clap::FromArgMatches;
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompleteEnv, CompletionCandidate};
use dockerfile::instruction::Kind;
use store::Store;

use crate::args::{Cli, at_path, command};
use crate::session::Session;

/// By this variable a shell asks; its value is the shell's name.
const VARIABLE: &str = "GABION_COMPLETE";

/// Names that complete an argument.
type Names = fn() -> Vec<String>;

/// Command, argument, what completes it.
const COMPLETED: &[(&str, &str, Names)] = &[
    ("add", "container", containers),
    ("build", "manifest", lists),
    ("build", "target", stages),
    ("commit", "container", containers),
    ("commit", "manifest", lists),
    ("config", "container", containers),
    ("copy", "container", containers),
    ("copy", "from", containers_and_images),
    ("from", "image", images),
    ("history", "image", images),
    ("images", "image", images),
    ("inspect", "name", containers_and_images),
    ("manifest add", "image", images),
    ("manifest add", "list", lists),
    ("manifest annotate", "list", lists),
    ("manifest create", "image", images),
    ("manifest exists", "list", lists),
    ("manifest inspect", "list", lists),
    ("manifest push", "list", lists),
    ("manifest remove", "list", lists),
    ("manifest rm", "list", lists),
    ("mount", "container", containers),
    ("push", "image", images),
    ("rename", "container", containers),
    ("rm", "container", containers),
    ("rmi", "image", images),
    ("run", "container", containers),
    ("tag", "image", images),
    ("umount", "container", containers),
    ("untag", "image", images),
];

/// Adds to the arguments of `command` what completes them.
pub fn with_completers(mut command: clap::Command) -> clap::Command {
    for &(path, argument, names) in COMPLETED {
        let completer = ArgValueCompleter::new(move |start: &OsStr| candidates(names, start));
        // All in their order: it is that of positional arguments.
        let add = |arg: clap::Arg| if arg.get_id() == argument { arg.add(completer.clone()) } else { arg };
        command = at_path(command, path, &|subcommand| subcommand.mut_args(add));
    }
    command
}

/// Answers a shell that asks for completions, and ends the process then.
pub fn answer_shell(called_as_buildah: bool) {
    CompleteEnv::with_factory(|| command(called_as_buildah)).var(VARIABLE).complete();
}

/// Writes the script that makes `shell` ask.
pub fn write_script(shell: &str, out: &mut impl Write) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell).ok_or_else(|| io::Error::other("no such shell"))?;
    if shell != "bash" {
        return completer.write_registration(VARIABLE, "gabion", "gabion", "gabion", out);
    }
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "gabion", "gabion", "gabion", &mut script)?;
    let script = String::from_utf8(script).map_err(io::Error::other)?;
    let asks = "_clap_complete_gabion";
    write!(out, "{}{}", include_str!("complete.bash"), script.replace(&format!("-F {asks}"), "-F _gabion"))
}

fn candidates(names: Names, start: &OsStr) -> Vec<CompletionCandidate> {
    let start = start.to_string_lossy();
    names().into_iter().filter(|name| name.starts_with(&*start)).map(CompletionCandidate::new).collect()
}

/// The words typed so far: they follow the `--` of the shell's question.
fn words() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.skip_while(|word| word != "--").skip(1).collect()
}

/// The value of the last of `flags` in `words`.
fn value_of(words: &[String], flags: &[&str]) -> Option<String> {
    let mut value = None;
    for (at, word) in words.iter().enumerate() {
        for flag in flags {
            match word.strip_prefix(flag) {
                Some("") => value = words.get(at + 1).cloned(),
                Some(rest) if flag.starts_with("--") => value = rest.strip_prefix('=').map(str::to_owned).or(value),
                _ => {}
            }
        }
    }
    value
}

/// The store that the words typed so far are about, if it can be opened.
fn session() -> Option<Session> {
    let words = words();
    let mut args = vec!["gabion".to_owned(), "--log-level=error".to_owned()];
    for flag in ["--root", "--runroot", "--storage-driver"] {
        args.extend(value_of(&words, &[flag]).map(|value| format!("{flag}={value}")));
    }
    args.push("version".to_owned());
    let matches = command(false).try_get_matches_from(args).ok()?;
    Some(Session::new(Cli::from_arg_matches(&matches).ok()?.global, false))
}

fn containers() -> Vec<String> {
    let names = |session: Session| {
        let store = session.store_with_leftovers().ok()?;
        let containers = session.working_containers(&store).ok()?;
        Some(containers.iter().map(|container| container.name().to_owned()).collect())
    };
    session().and_then(names).unwrap_or_default()
}

fn images() -> Vec<String> {
    names_of(|_, _| true)
}

fn lists() -> Vec<String> {
    names_of(|store, image| ManifestList::find(store, image.id.as_str()).is_ok())
}

/// Names as they are stored, and those under `localhost/` without it too, of the images that are `wanted`.
fn names_of(wanted: impl Fn(&Store, &store::Image) -> bool) -> Vec<String> {
    let names = |session: Session| {
        let store = session.store_with_leftovers().ok()?;
        let images = store.images().ok()?.into_iter().filter(|image| wanted(&store, image));
        let names = images.flat_map(|image| image.names);
        Some(
            names.flat_map(|name| [name.strip_prefix("localhost/").map(str::to_owned), Some(name)]).flatten().collect(),
        )
    };
    session().and_then(names).unwrap_or_default()
}

fn containers_and_images() -> Vec<String> {
    [containers(), images()].concat()
}

/// The stages of the Dockerfile that the words typed so far name.
fn stages() -> Vec<String> {
    let words = words();
    let file = match value_of(&words, &["-f", "--file"]) {
        Some(file) => PathBuf::from(file),
        None => {
            let in_dir = |dir: &Path| ["Containerfile", "Dockerfile"].map(|name| dir.join(name));
            let contexts = words.iter().skip(2).filter(|word| Path::new(word).is_dir());
            let here = PathBuf::from(".");
            let files = contexts.map(PathBuf::from).chain([here]).flat_map(|dir| in_dir(&dir));
            match files.into_iter().find(|file| file.is_file()) {
                Some(file) => file,
                None => return Vec::new(),
            }
        }
    };
    let Ok(text) = std::fs::read(&file) else { return Vec::new() };
    let parsed = dockerfile::parse(&dockerfile::Source::new(file.to_string_lossy(), &text));
    let name = |kind: &Kind| match kind {
        Kind::From(from) => from.name.as_ref().map(|name| name.text.clone()),
        _ => None,
    };
    parsed.instructions.iter().filter_map(|instruction| name(&instruction.kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_the_last_value_of_a_flag_counts() {
        let words: Vec<String> =
            ["gabion", "--root", "/a", "build", "-f", "x", "--file=y", "."].map(str::to_owned).into();
        assert_eq!(value_of(&words, &["--root"]).as_deref(), Some("/a"));
        assert_eq!(value_of(&words, &["-f", "--file"]).as_deref(), Some("y"));
        assert_eq!(value_of(&words, &["--runroot"]), None);
    }
}
