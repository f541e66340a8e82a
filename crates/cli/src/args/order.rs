//! Buildah's commands take no flags behind their first argument, and scripts rely on being told.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// The commands whose arguments Buildah looks through for flags.
const COMMANDS: [&str; 13] =
    ["add", "commit", "config", "copy", "from", "images", "inspect", "mount", "pull", "push", "rm", "rmi", "umount"];

/// Fails if a flag stands behind the first argument of one of [`COMMANDS`].
pub fn check(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let mut tokens = arguments.into_iter().skip(1).map(|token| token.to_string_lossy().into_owned());
    let Some(name) = first_argument(&[command], &mut tokens) else { return Ok(()) };
    let Some(subcommand) = command.find_subcommand(name).filter(|found| COMMANDS.contains(&found.get_name())) else {
        return Ok(());
    };
    if first_argument(&[subcommand, command], &mut tokens).is_none() {
        return Ok(());
    }
    match tokens.find(|token| token.starts_with('-')) {
        Some(flag) => {
            let text = format!("no options ({flag}) can be specified after the image or container name");
            Err(Error::raw(ErrorKind::UnknownArgument, text))
        }
        None => Ok(()),
    }
}

/// The first of `tokens` that is neither a flag of `commands` nor a flag's value; none where `--`
/// ends the flags.
fn first_argument(commands: &[&Command], tokens: &mut impl Iterator<Item = String>) -> Option<String> {
    while let Some(token) = tokens.next() {
        let flags = match (token.strip_prefix("--"), token.strip_prefix('-')) {
            (Some(""), _) => return None,
            (Some(long), _) => {
                if takes_next(commands, |arg| has_long(arg, long)) {
                    tokens.next();
                }
                continue;
            }
            (None, Some(flags)) if !flags.is_empty() => flags,
            _ => return Some(token),
        };
        // Of flags in one word the first one that takes a value takes the rest, if there is one.
        let valued = |flag: char| takes_next(commands, |arg| has_short(arg, flag));
        let with_value = flags.char_indices().find(|(_, flag)| valued(*flag));
        if with_value.is_some_and(|(index, flag)| flags.len() == index + flag.len_utf8()) {
            tokens.next();
        }
    }
    None
}

/// Whether the flag that `is_meant` tells takes the token behind it.
fn takes_next(commands: &[&Command], is_meant: impl Fn(&Arg) -> bool) -> bool {
    let meant = commands.iter().flat_map(|command| command.get_arguments()).find(|arg| is_meant(arg));
    meant.is_some_and(|arg| {
        let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
        arg.get_action().takes_values() && !arg.is_require_equals_set() && !optional
    })
}

fn has_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

fn has_short(arg: &Arg, flag: char) -> bool {
    arg.get_short() == Some(flag) || arg.get_all_short_aliases().is_some_and(|aliases| aliases.contains(&flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<(), String> {
        let words = ["buildah"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        super::check(&crate::args::command(true), words).map_err(|error| error.to_string())
    }

    #[test]
    fn pure_flags_come_first() {
        for line in [
            "from --name x --quiet alpine",
            "--root /r from -q alpine",
            "run c -- ls -l",
            "run c ls -l",
            "copy --chown 1:1 c a /b",
            "config -e A=-b --label L c",
            "rm -a",
            "build . -t x",
            "tag a b",
            "push --tls-verify=false a docker://b",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
        for (line, flag) in [
            ("from alpine -q", "-q"),
            ("--log-level debug from alpine --pull", "--pull"),
            ("rm cnt1 -a", "-a"),
            ("delete cnt1 -a", "-a"),
            ("config -e A=b cnt1 --author=user1", "--author=user1"),
            ("pull --retry 4 --retry-delay 4s image1 --tls-verify", "--tls-verify"),
            ("unmount c --all d", "--all"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.contains(&format!("no options ({flag}) can be specified after")), "{line}: {error}");
        }
    }
}
