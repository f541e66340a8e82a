//! Flags of the commands that take an image: when to pull it.

use buildkit_core::transfer::pull::PullPolicy;
use clap::Args;

use super::parse_pull_policy;
use crate::session::Session;

/// When to pull an image: a base image, a scanner's.
#[derive(Args, Clone, Debug)]
pub struct PullArgs {
    /// When to pull the base image, or a scanner's: always, missing, never or newer; true is always, false is missing, but
    /// never for buildah [default: missing]
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "always",
          value_parser = Pull::parse, conflicts_with_all = ["pull_always", "pull_never"])]
    pull: Option<Pull>,
    /// The same as --pull=always
    #[arg(long, hide = true, conflicts_with = "pull_never")]
    pull_always: bool,
    /// The same as --pull=never
    #[arg(long, hide = true)]
    pull_never: bool,
}

/// What `--pull` takes.
#[derive(Clone, Copy, Debug)]
enum Pull {
    Policy(PullPolicy),
    /// `false`, which Docker and Podman have as a wish not to look for newer images.
    False,
}

impl Pull {
    fn parse(text: &str) -> Result<Pull, String> {
        match text {
            "false" => Ok(Pull::False),
            "true" => Ok(Pull::Policy(PullPolicy::Always)),
            _ => parse_pull_policy(text).map(Pull::Policy),
        }
    }
}

impl PullArgs {
    /// What the flags say together.
    pub fn policy(&self, session: &Session) -> PullPolicy {
        self.given(session).unwrap_or(PullPolicy::Missing)
    }

    /// The same, if they say anything.
    pub fn given(&self, session: &Session) -> Option<PullPolicy> {
        Some(match self {
            PullArgs { pull_always: true, .. } => PullPolicy::Always,
            PullArgs { pull_never: true, .. } => PullPolicy::Never,
            PullArgs { pull: None, .. } => return None,
            PullArgs { pull: Some(Pull::Policy(policy)), .. } => *policy,
            PullArgs { pull: Some(Pull::False), .. } if session.called_as_buildah() => PullPolicy::Never,
            PullArgs { pull: Some(Pull::False), .. } => PullPolicy::Missing,
        })
    }
}
