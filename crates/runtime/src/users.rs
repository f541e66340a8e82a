//! A `USER` string resolved to numbers by the image's own account files.

use rootfs::Root;

/// Numeric user and groups of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs, without `gid` itself.
    pub additional_gids: Vec<u32>,
    /// Home directory by `/etc/passwd`, `/` when unknown.
    pub home: String,
}

/// A `USER` string that means nobody.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// To be filled.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
}

/// Resolves `user` (`""`, `name`, `uid`, each with `:group` or `:gid`) by the `/etc/passwd` and
/// `/etc/group` of `root`. An empty string is user 0.
pub fn resolve_user(root: &Root, user: &str) -> Result<User, UserError> {
    let _ = (root, user);
    todo!()
}
