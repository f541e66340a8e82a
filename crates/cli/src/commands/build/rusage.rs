//! `--log-rusage`: what steps used of the machine, a line a step.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::args::value;
use crate::command_error::CommandError;
use crate::progress::print_line;
use crate::tabular;

/// Bytes of what getrusage(2) calls a block.
const BLOCK: u64 = 512;

/// Where the lines go.
#[derive(Args)]
pub(super) struct RusageArgs {
    /// Tell behind each step what it used of the machine: time of the system and of programs, time that passed, bytes read
    /// from and written to disks
    #[arg(long)]
    log_rusage: bool,
    /// File for these lines [default: standard output]
    #[arg(long, value_name = "FILE", requires = "log_rusage", value_parser = value::new_file())]
    rusage_logfile: Option<PathBuf>,
}

/// What has been used so far.
pub(super) struct UsageLog {
    file: Option<File>,
    last: Mutex<(Instant, Usage)>,
}

impl RusageArgs {
    /// Begins to measure, if that is wanted.
    pub fn begin(&self, quiet: bool) -> Result<Option<UsageLog>, CommandError> {
        if !self.log_rusage || quiet {
            return Ok(None);
        }
        let failed = |path: &PathBuf, error: std::io::Error| {
            CommandError::new(format!("--rusage-logfile {}: {error}", path.display()))
        };
        let open = |path: &PathBuf| File::create(path).map_err(|error| failed(path, error));
        let file = self.rusage_logfile.as_ref().map(open).transpose()?;
        Ok(Some(UsageLog { file, last: Mutex::new(used()?) }))
    }
}

impl UsageLog {
    /// Writes what was used since the last time.
    pub fn log(&self) {
        let Ok(now) = used() else { return };
        let line = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let line = difference(&last, &now);
            *last = now;
            line
        };
        match &self.file {
            // A full disk is no reason to end a build.
            Some(file) => {
                let mut file: &File = file;
                let _ = writeln!(file, "{line}");
            }
            None => print_line(&line),
        }
    }
}

/// By programs that have ended.
fn used() -> Result<(Instant, Usage), CommandError> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| CommandError::new(format!("getrusage: {error}")))?;
    Ok((Instant::now(), usage))
}

fn difference((began, before): &(Instant, Usage), (ended, after): &(Instant, Usage)) -> String {
    let time = |of: fn(&Usage) -> TimeVal| duration(of(after)).saturating_sub(duration(of(before)));
    let bytes = |of: fn(&Usage) -> i64| {
        let blocks = of(after).saturating_sub(of(before));
        let size = tabular::size(u64::try_from(blocks).unwrap_or(0) * BLOCK, tabular::PODMAN_UNITS);
        size.replace(' ', "")
    };
    format!(
        "{}(system) {}(user) {}(elapsed) {} input {} output",
        seconds(time(Usage::system_time)),
        seconds(time(Usage::user_time)),
        seconds(ended.duration_since(*began)),
        bytes(|usage| usage.block_reads()),
        bytes(|usage| usage.block_writes())
    )
}

fn duration(time: TimeVal) -> Duration {
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0)) + Duration::from_micros(micros)
}

/// In milliseconds, as Go prints it.
fn seconds(time: Duration) -> String {
    let millis = time.as_millis();
    let fraction = |text: String| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let seconds = |millis: u128| fraction(format!("{}.{:03}", millis / 1000, millis % 1000));
    match millis {
        0 => "0s".to_owned(),
        1..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{}s", seconds(millis)),
        60_000..3_600_000 => format!("{}m{}s", millis / 60_000, seconds(millis % 60_000)),
        _ => format!("{}h{}m{}s", millis / 3_600_000, millis / 60_000 % 60, seconds(millis % 60_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_durations_are_as_go_prints_them() {
        for (millis, text) in [
            (0, "0s"),
            (7, "7ms"),
            (1000, "1s"),
            (1250, "1.25s"),
            (60_000, "1m0s"),
            (61_005, "1m1.005s"),
            (3_660_100, "1h1m0.1s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
