//! HEALTHCHECK.

use super::command::{self, Command};
use super::flags::Flags;
use super::missing;
use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
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

pub(super) fn parse(node: &Node) -> Result<Healthcheck> {
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let flags = Flags::check(node, &known, &[])?;
    let words = node.arguments.split_blanks();
    let Some(kind) = words.first() else { return Err(missing(node, "CMD and a command, or NONE")) };
    let rest = node.arguments.from(kind.text.len()).trim();
    let test = match kind.text.to_ascii_uppercase().as_str() {
        "NONE" => match (words.get(1), node.flags.first()) {
            (Some(word), _) => return Err(Diagnostic::error("HEALTHCHECK NONE takes no arguments", word.span)),
            (_, Some(flag)) => return Err(Diagnostic::error("HEALTHCHECK NONE takes no flags", flag.span)),
            _ => Test::None,
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
    match duration(text.as_str()) {
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

/// Nanoseconds of a time as Go writes it: `1h2m3.5s`.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
            return None;
        }
        let (unit, tail) = [
            ("ns", 1_i128),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ]
        .iter()
        .find_map(|&(name, unit)| Some((unit, tail.strip_prefix(name)?)))?;
        total += whole.parse::<i128>().unwrap_or(0) * unit;
        let mut scale = unit;
        for digit in fraction.bytes() {
            scale /= 10;
            total += i128::from(digit - b'0') * scale;
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn pure_durations() {
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("500ms", Some(500_000_000)),
            ("2h", Some(7_200_000_000_000)),
            ("10us", Some(10_000)),
            ("0", Some(0)),
            ("-1s", Some(-1_000_000_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1.2.3s", None),
            ("9999999999999999999s", None),
            ("999999999999999999h", None),
            ("1x", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
