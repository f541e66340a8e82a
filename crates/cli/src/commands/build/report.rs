//! What a build tells: its progress, and why it failed.

use std::io::Write;

use buildkit_core::build::BuildError;
use buildkit_core::event::Event;

use crate::command_error::{CommandError, printable};

/// Exit code of a build that somebody ended.
pub(super) const INTERRUPTED: u8 = 130;

/// Steps are told on stdout, as Buildah does; the rest goes where every command's goes.
pub(super) fn draw(event: Event, quiet: bool, others: &dyn Fn(Event)) {
    let line = match event {
        Event::Step { .. } | Event::StepDone { .. } | Event::Commit { .. } if quiet => return,
        Event::Step { id, text } => format!("{id}: {text}"),
        Event::StepDone { id } => format!("--> {}", id.get(..12).unwrap_or(&id)),
        Event::Commit { name } => ["COMMIT", &name.unwrap_or_default()].join(" ").trim_end().to_owned(),
        event => return others(event),
    };
    print_line(&line);
}

pub(super) fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout must not end the build half-way.
    let _ = writeln!(stdout, "{}", printable(line)).and_then(|()| stdout.flush());
}

pub(super) fn report(error: &BuildError) -> CommandError {
    let failure = CommandError::new(error.to_string());
    match error {
        BuildError::File { lines, rendered } => {
            for (index, text) in rendered.iter().enumerate() {
                // The last line says what a single error is; what it points at comes first.
                let first = lines.get(index).filter(|_| lines.len() == 1);
                let text = first.and_then(|line| text.strip_prefix(line.as_str())).unwrap_or(text);
                eprintln!("{}", text.trim_start_matches('\n'));
            }
            failure
        }
        BuildError::Target { hint: Some(hint), .. } => failure.hint(hint.clone()),
        BuildError::Interrupted => failure.exit_code(INTERRUPTED),
        error => match error.command_exit_code() {
            Some(code) => failure.exit_code(code),
            None => failure,
        },
    }
}
