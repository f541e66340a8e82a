//! What becomes of a RUN that has failed, where the caller has a word in it: a shell in its files, then
//! another try, the container, or the end.

use std::fmt;

use super::error::{BuildError, StepError};
use super::options::LayerStyle;
use super::run_step::{Running, run_command};
use super::stage::{Executed, StageBuild};
use crate::event::StepId;
use crate::run::{Exit, RunError, Stdio};

/// The shell where the stage's own is not there.
const SHELL: &str = "/bin/sh";

/// Asked when a RUN has failed. Stages are built one at a time then: no other one goes on meanwhile.
pub struct OnFailure(Box<dyn Fn(FailedRun<'_>) -> AfterFailure + Send + Sync>);

impl OnFailure {
    /// Asks `decide`.
    pub fn new(decide: impl Fn(FailedRun<'_>) -> AfterFailure + Send + Sync + 'static) -> OnFailure {
        OnFailure(Box::new(decide))
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFailure")
    }
}

/// What is to become of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is done again, on the files from before it. Only where it has a layer of its own
    /// ([`FailedRun::can_be_retried`]); otherwise the build ends.
    Retry,
    /// The build ends; a working container with the files stays.
    Keep,
    /// The build ends.
    Stop,
}

/// A RUN that has failed, with its files as it left them.
pub struct FailedRun<'f> {
    /// Which step.
    pub step: Option<StepId>,
    /// How it failed.
    pub error: &'f BuildError,
    /// The name of the container that [`AfterFailure::Keep`] leaves.
    pub container: &'f str,
    /// Whether there are files from before it.
    pub can_be_retried: bool,
    shell: &'f mut dyn FnMut(bool) -> Result<Exit, BuildError>,
}

impl FailedRun<'_> {
    /// Runs a shell with all that the command had: files, mounts, environment, secrets, user, network
    /// and working directory. It is the stage's SHELL, or else `/bin/sh`; on a terminal of its own that
    /// is joined to the caller's, or on the caller's streams.
    ///
    /// # Errors
    /// There is no shell, or it cannot be started.
    pub fn open_shell(&mut self, on_terminal: bool) -> Result<Exit, BuildError> {
        (self.shell)(on_terminal)
    }
}

/// Has the caller decide about a command that failed with `error`.
pub(super) fn decide(
    stage: &mut StageBuild<'_, '_>,
    running: Running<'_>,
    error: BuildError,
) -> Result<Executed, BuildError> {
    let build = stage.build;
    let Some(OnFailure(decide)) = &build.options.on_failure else { return Err(error) };
    let (id, position) = (stage.step_id(), stage.position);
    let can_be_retried = build.options.layers == LayerStyle::PerStep;
    let container = stage.container_name().to_owned();
    let mut shell = |on_terminal| open_shell(stage, running, on_terminal);
    let failed = FailedRun { step: id, error: &error, container: &container, can_be_retried, shell: &mut shell };
    let after = decide(failed);
    match after {
        _ if build.is_over() => Err(build.why_over()),
        AfterFailure::Retry if can_be_retried => Ok(Executed { is_to_be_done_again: true, ..Executed::default() }),
        AfterFailure::Keep => {
            build.kept.lock().push(position);
            Err(error)
        }
        AfterFailure::Retry | AfterFailure::Stop => Err(error),
    }
}

/// Runs the first shell that is there.
fn open_shell(stage: &mut StageBuild<'_, '_>, running: Running<'_>, on_terminal: bool) -> Result<Exit, BuildError> {
    let at = running.at;
    // Without its options: those before a command are not for a person.
    let own = stage.state.config.config.shell.iter().take_while(|word| !word.starts_with('-'));
    let mut shells: Vec<Vec<String>> = vec![own.cloned().collect(), vec![SHELL.to_owned()]];
    shells.retain(|words| !words.is_empty());
    shells.dedup();
    for words in &shells {
        let stdio = if on_terminal { Stdio::Terminal } else { Stdio::Inherit };
        match run_command(stage, running, words.clone(), stdio)? {
            Ok(outcome) => return Ok(outcome.exit),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(at.failed(error)),
        }
    }
    let names: Vec<&str> = shells.iter().filter_map(|words| words.first().map(String::as_str)).collect();
    Err(at.failed(StepError::Value(format!("the image has no shell: there is no {}", names.join(" and no ")))))
}

fn is_missing(error: &RunError) -> bool {
    error.command_exit_code() == Some(127)
}
