//! Why a build failed.

use buildkit_core::build::BuildError;
use buildkit_core::run::Exit;

use crate::command_error::{CommandError, printable};

/// Exit code of a build that somebody ended.
pub(super) const INTERRUPTED: u8 = 130;

/// What is wrong with the value of a flag.
pub(super) fn flag_error(flag: &str, message: &str, hint: Option<&str>) -> CommandError {
    let failure = CommandError::new(format!("{flag}: {message}"));
    hint.into_iter().fold(failure, |failure, hint| failure.hint(hint.to_owned()))
}

/// The lines that show what is wrong with the file, and the failure itself.
pub(super) fn report(error: &BuildError, called_as_buildah: bool) -> (Vec<String>, CommandError) {
    let text = called_as_buildah.then(|| as_buildah_says(error)).flatten();
    let failure = CommandError::new(text.unwrap_or_else(|| error.to_string()));
    let failure = match error {
        BuildError::File { lines, rendered, more } => return (details(lines, rendered, *more), failure),
        BuildError::Command { rendered, output, exit, .. } => {
            return (command_details(rendered, output), failure.exit_code(exit.code()));
        }
        BuildError::Target { hint, .. } => flag_error("--target", &error.to_string(), hint.as_deref()),
        BuildError::WithoutCache { hint, .. } => flag_error("--no-cache-filter", &error.to_string(), hint.as_deref()),
        BuildError::Interrupted => failure.exit_code(INTERRUPTED),
        BuildError::OfPlatform { error, .. } => {
            let (details, inner) = report(error, called_as_buildah);
            let failure = inner.advice().map(str::to_owned).into_iter().fold(failure, CommandError::hint);
            return (details, failure.exit_code(inner.code()));
        }
        error => match error.command_exit_code() {
            Some(code) => failure.exit_code(code),
            None => failure,
        },
    };
    (Vec::new(), failure)
}

/// The RUN and the end of what it wrote.
fn command_details(rendered: &str, output: &[String]) -> Vec<String> {
    let mut lines = vec![rendered.trim_matches('\n').to_owned()];
    if !output.is_empty() {
        lines.push("The end of its output:".to_owned());
        lines.extend(output.iter().map(|line| format!("  {}", printable(line))));
    }
    lines
}

fn details(lines: &[String], rendered: &[String], more: usize) -> Vec<String> {
    let detail = |(index, text): (usize, &String)| {
        // The last line says what a single error is; what it points at comes first.
        let first = lines.get(index).filter(|_| lines.len() == 1);
        let text = first.and_then(|line| text.strip_prefix(line.as_str())).unwrap_or(text);
        text.trim_start_matches('\n').to_owned()
    };
    let rest = (more > 0).then(|| format!("… and {more} more"));
    rendered.iter().enumerate().map(detail).chain(rest).collect()
}

/// A step's failure in the words that scripts look for in Buildah's output.
fn as_buildah_says(error: &BuildError) -> Option<String> {
    match error {
        BuildError::OfPlatform { error, .. } => as_buildah_says(error),
        BuildError::Step { place, source } if place.text.to_ascii_uppercase().starts_with("FROM ") => {
            Some(format!("creating build container: {source} ({})", place.position))
        }
        BuildError::Step { place, source } => {
            Some(format!("building at STEP \"{}\": {source} ({})", place.text, place.position))
        }
        BuildError::Command { place, exit: Exit::Code(code), .. } => {
            Some(format!("building at STEP \"{}\": while running runtime: exit status {code}", place.text))
        }
        _ => None,
    }
}
