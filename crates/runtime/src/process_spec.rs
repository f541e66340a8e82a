//! What is run: arguments, environment, user and directory.

use crate::User;

/// The process to run.
#[derive(Clone, Debug, Default)]
pub struct ProcessSpec {
    /// Command and arguments; must not be empty. A command without a slash is looked up in the
    /// `PATH` of `env`, inside the root file system.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value` each; nothing is added.
    pub env: Vec<String>,
    /// Whose rights the process has.
    pub user: User,
    /// Working directory inside the root file system; absolute. Created when missing, and then
    /// owned by the user.
    pub working_dir: String,
    /// Whether the process may not gain rights by set-user-ID programs.
    pub no_new_privileges: bool,
}

impl ProcessSpec {
    /// The value of a variable; the last one counts.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }
}
