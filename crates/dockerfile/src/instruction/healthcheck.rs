//! HEALTHCHECK.

use super::command::{self, Command};
use super::flags::Flags;
use super::missing;
use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
use crate::duration::parse_duration;
use crate::text::Text;

/// A health check; times are nanoseconds, 0 means inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is done.
    pub test: Test,
    /// Between checks.
    pub interval: i64,
    /// Of one check.
    pub timeout: i64,
    /// Grace at the start.
    pub start_period: i64,
    /// Between checks during the grace.
    pub start_interval: i64,
    /// Failures that mean unhealthy.
    pub retries: i64,
}

/// What a health check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Nothing, not even what the base image does.
    None,
    /// It runs a command.
    Command(Command),
}

pub(super) fn parse(node: &Node, notes: &mut Vec<Diagnostic>) -> Result<Healthcheck> {
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let flags = Flags::check(node, &known)?;
    let words = node.arguments.split_blanks();
    let Some(kind) = words.first() else { return Err(missing(node, "CMD and a command, or NONE")) };
    let rest = node.arguments.from(kind.text.len()).trim();
    let test = match kind.text.to_ascii_uppercase().as_str() {
        "NONE" => match (words.get(1), node.flags.first()) {
            (Some(word), _) => return Err(Diagnostic::error("HEALTHCHECK NONE takes no arguments", word.span)),
            (None, flag) => {
                notes.extend(flag.map(|flag| Diagnostic::warning("HEALTHCHECK NONE has no use for flags", flag.span)));
                Test::None
            }
        },
        "CMD" => match command::parse(&rest)? {
            Command::Shell(word) if word.text.is_empty() => return Err(missing(node, "a command after CMD")),
            Command::Exec(words) if words.is_empty() => return Err(missing(node, "a command after CMD")),
            command => Test::Command(command),
        },
        _ => {
            let error = Diagnostic::error(
                format!("unknown kind {:?} of HEALTHCHECK: expected CMD or NONE", kind.text),
                kind.span,
            );
            return Err(error.suggest(&kind.text, ["CMD", "NONE"]));
        }
    };
    let time = |name: &str| flags.value(name)?.map_or(Ok(0), |text| duration_flag(name, text));
    let retries = match flags.value("retries")? {
        None => 0,
        Some(text) if text.is_empty() => 0,
        Some(text) => match text.as_str().parse::<i32>() {
            Ok(number) if number >= 0 => i64::from(number),
            _ => return Err(Diagnostic::error("--retries needs a number, 0 or more", text.full_span())),
        },
    };
    Ok(Healthcheck {
        test,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })
}

fn duration_flag(name: &str, text: &Text) -> Result<i64> {
    match parse_duration(text.as_str()) {
        _ if text.is_empty() => Ok(0),
        None => {
            let error = Diagnostic::error(format!("invalid time {:?} of --{name}", text.as_str()), text.full_span());
            Err(error.hint("for example 30s, 1m30s or 500ms"))
        }
        Some(time) if time != 0 && time < 1_000_000 => {
            Err(Diagnostic::error(format!("--{name} can't be less than 1ms"), text.full_span()))
        }
        Some(time) => Ok(time),
    }
}
