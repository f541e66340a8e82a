//! `--debug` and `--on-failure`: a shell where a RUN has failed.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use buildkit_core::build::{AfterFailure, FailedRun, OnFailure};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::report::report;
use crate::command_error::{CommandError, printable};
use crate::progress::without_view;

/// What a RUN that fails is followed by.
#[derive(Args)]
pub(super) struct WreckArgs {
    /// Open a shell where a RUN has failed, with its files, mounts, environment, secrets and user; leaving the shell offers
    /// to try the step again, to keep its container, or to stop. Stages are built one at a time
    #[arg(long, conflicts_with_all = ["jobs", "on_failure"])]
    debug: bool,
    /// What a RUN that fails is followed by: stop, or shell (as --debug: stages are built one at a time, whatever --jobs
    /// says)
    #[arg(long, value_name = "ACTION", default_value = "stop", hide_possible_values = true)]
    on_failure: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    Stop,
    Shell,
}

impl WreckArgs {
    /// Whom to ask when a RUN has failed; `cancelled` is set when somebody wants the build to end.
    ///
    /// # Errors
    /// There is no terminal for a shell.
    pub fn resolve(&self, cancelled: &Arc<AtomicBool>) -> Result<Option<OnFailure>, CommandError> {
        if !self.debug && self.on_failure == Action::Stop {
            return Ok(None);
        }
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            let flag = if self.debug { "--debug" } else { "--on-failure=shell" };
            let message = "the shell needs a terminal, and standard input or standard output is none";
            return Err(CommandError::new(format!("{flag}: {message}")));
        }
        let cancelled = cancelled.clone();
        Ok(Some(OnFailure::new(move |run| without_view(|| look_around(run, &cancelled)))))
    }
}

/// Opens the shell, and asks what comes next.
fn look_around(mut run: FailedRun<'_>, cancelled: &AtomicBool) -> AfterFailure {
    let (details, error) = report(run.error, false);
    let mut text = details.iter().fold(String::new(), |text, line| text + line + "\n");
    let _ = writeln!(text, "{}", printable(error.message()));
    text.push_str("A shell with all that it had follows; leave it to go on.\n");
    print(&text);
    if let Err(error) = run.open_shell(true) {
        print(&format!("{}\n", printable(&error.to_string())));
    }
    let question = match run.can_be_retried {
        true => "[r]etry the step on the files from before it, [k]eep the container, or [s]top? ",
        // All steps write to one layer.
        false => "[k]eep the container, or [s]top? ",
    };
    loop {
        print(question);
        let Some(answer) = line(cancelled) else {
            print("\n");
            return AfterFailure::Stop;
        };
        match answer.trim() {
            "r" | "retry" if run.can_be_retried => return AfterFailure::Retry,
            "k" | "keep" => {
                print(&format!("The working container {} is kept.\n", printable(run.container)));
                return AfterFailure::Keep;
            }
            "s" | "stop" => return AfterFailure::Stop,
            _ => {}
        }
    }
}

fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A terminal that is gone answers nothing, either.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A line that the user enters; `None` at the end of the input, or when the build is to end. No more
/// is read than the line: what follows may be for another shell.
fn line(cancelled: &AtomicBool) -> Option<String> {
    let stdin = std::io::stdin();
    let mut line = Vec::new();
    loop {
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None) {
            _ if cancelled.load(Ordering::Relaxed) => return None,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return None,
        }
        let mut byte = [0];
        match rustix::io::read(&stdin, &mut byte) {
            Ok(0) if line.is_empty() => return None,
            Ok(0) => break,
            Ok(_) if byte == [b'\n'] => break,
            Ok(_) => line.extend(byte),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}
