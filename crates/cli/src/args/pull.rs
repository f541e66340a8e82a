//! Flags of the commands that take a base image: when to pull it.

use buildkit_core::transfer::pull::PullPolicy;
use clap::Args;

use super::parse_pull_policy;

/// When to pull a base image.
#[derive(Args, Clone, Debug)]
pub struct PullArgs {
    /// When to pull: always, missing, never or newer; true is newer-or-missing as Buildah has it, false is missing
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "always",
          default_value = "missing", value_parser = parse_pull_policy, conflicts_with_all = ["pull_always", "pull_never"])]
    pull: PullPolicy,
    /// The same as --pull=always
    #[arg(long, hide = true, conflicts_with = "pull_never")]
    pull_always: bool,
    /// The same as --pull=never
    #[arg(long, hide = true)]
    pull_never: bool,
}

impl PullArgs {
    /// What the flags say together.
    pub fn policy(&self) -> PullPolicy {
        match self {
            PullArgs { pull_always: true, .. } => PullPolicy::Always,
            PullArgs { pull_never: true, .. } => PullPolicy::Never,
            PullArgs { pull, .. } => *pull,
        }
    }
}
