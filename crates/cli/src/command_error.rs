//! How a command fails: one line on stderr, an optional hint, an exit code.

use std::any::Any;
use std::process::ExitCode;

use crate::args;
use crate::session::Session;

/// Exit code of gabion's own failures, as Buildah's.
pub const FAILURE: u8 = 125;

/// A failed command.
#[derive(Debug)]
pub struct CommandError {
    message: String,
    hint: Option<String>,
    exit_code: u8,
    is_told: bool,
}

impl CommandError {
    /// A failure of gabion's own.
    pub fn new(message: impl Into<String>) -> CommandError {
        CommandError { message: message.into(), hint: None, exit_code: FAILURE, is_told: false }
    }

    /// What a flag was given is not what it takes.
    pub fn invalid(flag: &str, given: impl std::fmt::Display, reason: impl std::fmt::Display) -> CommandError {
        CommandError::new(format!("invalid {flag} {:?}: {reason}", given.to_string()))
    }

    /// The same failure, saying on a second line what to try.
    pub fn hint(mut self, hint: impl Into<String>) -> CommandError {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure behind what was to be done, to a `subject` that need not be named again.
    pub fn doing(mut self, work: &str, subject: &str) -> CommandError {
        let reason = self.message.strip_prefix(subject).and_then(|rest| rest.strip_prefix(": "));
        self.message = format!("{work} {subject:?}: {}", reason.unwrap_or(&self.message));
        self
    }

    /// The same failure with another exit code.
    pub fn exit_code(mut self, code: u8) -> CommandError {
        self.exit_code = code;
        self
    }

    /// The same failure, which the user has been told of.
    pub fn told(mut self) -> CommandError {
        self.is_told = true;
        self
    }

    /// What failed, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to try.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.exit_code
    }

    /// Prints the failure, unless the user has been told, and gives its exit code.
    pub fn report(&self) -> ExitCode {
        if self.is_told {
            return ExitCode::from(self.exit_code);
        }
        eprintln!("Error: {}", printable(&self.message));
        if let Some(hint) = &self.hint {
            eprintln!("Hint: {}", printable(hint));
        }
        ExitCode::from(self.exit_code)
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        CommandError::new(error.to_string())
    }
}

/// Runs `action` for each of `items`; failures are printed as they come, and the last one decides
/// the exit code, so that one bad argument does not keep the others from being done.
pub fn for_each<T>(
    session: &Session,
    items: impl IntoIterator<Item = T>,
    action: impl FnMut(T) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let tell = |failure: CommandError| match session.called_as_buildah() {
        // For Buildah only what ends the command is an error.
        true => eprintln!("{}", printable(&failure.message)),
        false => drop(failure.report()),
    };
    each(items, action, tell)
}

fn each<T>(
    items: impl IntoIterator<Item = T>,
    mut action: impl FnMut(T) -> Result<(), CommandError>,
    tell: impl Fn(CommandError),
) -> Result<(), CommandError> {
    let mut last: Option<CommandError> = None;
    for item in items {
        if let Err(error) = action(item)
            && let Some(previous) = last.replace(error)
        {
            tell(previous);
        }
    }
    last.map_or(Ok(()), Err)
}

/// Prints what the argument parser says: help and version to stdout, an error as one line.
pub fn report_usage(error: &clap::Error, called_as_buildah: bool) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        // Buildah, too, introduces itself to whoever asks for nothing.
        ErrorKind::MissingSubcommand => match args::command(called_as_buildah).print_help() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => CommandError::from(error).report(),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            ExitCode::from(FAILURE)
        }
        _ => {
            let text = usage_error(error, called_as_buildah).unwrap_or_else(|| error.to_string());
            let (message, rest) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
            let message = message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
            let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
            let failure = CommandError::new(message);
            match tip {
                Some(tip) => failure.hint(tip).report(),
                None => failure.report(),
            }
        }
    }
}

/// What is wrong with the arguments, in the words that scripts look for; none where the parser's do.
fn usage_error(error: &clap::Error, called_as_buildah: bool) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let text_of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let program = if called_as_buildah { "buildah" } else { "gabion" };
            let hint = error.to_string();
            let hint = hint.split_once("\n\n").map_or("", |(_, hint)| hint);
            Some(format!("unknown command {:?} for {program:?}\n\n{hint}", text_of(ContextKind::InvalidSubcommand)?))
        }
        ErrorKind::UnknownArgument => {
            let flag = text_of(ContextKind::InvalidArg)?;
            if !flag.starts_with('-') && called_as_buildah {
                let (most, usage) = (arguments_of(error), error.to_string());
                if usage.contains("Usage: buildah images ") {
                    return Some("'buildah images' requires at most 1 argument".to_owned());
                }
                return Some(format!("accepts at most {most} arg(s), received {}: {flag:?} is one too many", most + 1));
            }
            if !flag.starts_with('-') {
                return None;
            }
            let hint = error.to_string();
            let hint = hint.split_once("\n\n").map_or("", |(_, hint)| hint);
            Some(format!("unknown flag: {flag}\n\n{hint}"))
        }
        ErrorKind::InvalidValue
            if called_as_buildah && text_of(ContextKind::InvalidArg)?.starts_with("--log-level") =>
        {
            let level = text_of(ContextKind::InvalidValue)?;
            Some(format!("unable to parse log level: not a valid logrus Level: {level:?}"))
        }
        ErrorKind::MissingRequiredArgument if called_as_buildah => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) if missing.iter().any(|name| name.starts_with("<COMMAND>")) => {
                Some("command must be specified".to_owned())
            }
            _ => None,
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if called_as_buildah => {
            let flag =
                text_of(ContextKind::InvalidArg)?.split([' ', '[']).next().filter(|flag| flag.starts_with('-'))?;
            let value = text_of(ContextKind::InvalidValue)?;
            let text = error.to_string();
            let reason = text.split_once(">': ").or_else(|| text.split_once("]': ")).map(|(_, reason)| reason);
            let reason = reason.unwrap_or("not one of the values it takes");
            if reason.starts_with("expected a time") {
                return Some(format!("parsing {flag} {value:?}: time: invalid duration {value:?}: {reason}"));
            }
            let kind = if reason.starts_with("expected a whole number") { "invalid syntax: " } else { "" };
            Some(format!("invalid argument {value:?} for {flag:?} flag: {kind}{reason}"))
        }
        _ => None,
    }
}

/// How many arguments a command takes, by its usage.
fn arguments_of(error: &clap::Error) -> usize {
    let usage = error.to_string();
    let usage = usage.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or_default().to_owned();
    usage.split(' ').filter(|word| word.starts_with(['[', '<']) && *word != "[OPTIONS]").count()
}

/// Prints a fault of gabion's own as one line; whoever mends it sets RUST_BACKTRACE for more.
pub fn report_fault(fault: &std::panic::PanicHookInfo<'_>) {
    if is_closed_stdout(fault.payload()) {
        return;
    }
    eprintln!("Error: gabion failed in a way that is its own fault: {}", printable(&fault.to_string()));
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
    }
}

/// The exit code after a panic: that of a program ended by SIGPIPE when whoever read the output has
/// gone, as `gabion images | head -1` does.
pub fn exit_code_of_fault(payload: &dyn Any) -> ExitCode {
    const SIGPIPE: u8 = 128 + 13;
    ExitCode::from(if is_closed_stdout(payload) { SIGPIPE } else { FAILURE })
}

/// Whether it is the panic of `println!` for a closed pipe.
fn is_closed_stdout(payload: &dyn Any) -> bool {
    let message = payload.downcast_ref::<String>();
    message.is_some_and(|text| text.starts_with("failed printing to stdout") && text.contains("Broken pipe"))
}

/// `text` on one line without the control characters that could drive a terminal: names, paths
/// and registry replies come from outside.
pub fn printable(text: &str) -> String {
    text.trim_end()
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_printable_disarms_escape_sequences() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}c\n"), "a\u{fffd}[2J b\u{fffd}c");
    }

    #[test]
    fn pure_for_each_goes_on_after_a_failure() {
        let mut seen = Vec::new();
        let action = |n| {
            seen.push(n);
            if n == 1 { Err(CommandError::new("one").exit_code(7)) } else { Ok(()) }
        };
        let result = each([1, 2, 3], action, drop);
        assert_eq!((seen, result.expect_err("failed").exit_code), (vec![1, 2, 3], 7));
    }
}
