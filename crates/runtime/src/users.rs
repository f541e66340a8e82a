//! A `USER` string resolved to numbers by the image's own account files.
//!
//! The files are opened inside the root (a symlinked `/etc` or `/etc/passwd` stays inside) and
//! read up to a limit; lines that do not parse are passed over, as libc does.

use std::io::Read;

use rootfs::Root;

/// No account file is read further than this many bytes.
const FILE_LIMIT: u64 = 8 << 20;

/// Numeric user and groups of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs: the primary one, then those that `/etc/group` gives the user.
    pub additional_gids: Vec<u32>,
    /// Home directory by `/etc/passwd`, `/` when unknown.
    pub home: String,
}

/// A `USER` string that means nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// A name that `/etc/passwd` does not have.
    #[error("unknown user {0:?}: /etc/passwd of the root file system has no such name")]
    UnknownUser(String),
    /// A name that `/etc/group` does not have.
    #[error("unknown group {0:?}: /etc/group of the root file system has no such name")]
    UnknownGroup(String),
    /// Digits that are no ID.
    #[error("invalid ID {0:?}: expected a number from 0 to 4294967294")]
    InvalidId(String),
    /// Neither a name nor a number.
    #[error("invalid user {0:?}: expected name, uid, name:group or uid:gid")]
    Invalid(String),
    /// An account file cannot be read.
    #[error("unknown user: unable to read the account files: {0}")]
    Files(#[from] rootfs::Error),
    /// An account file cannot be read.
    #[error("unable to read {0}: {1}")]
    Read(&'static str, std::io::Error),
}

/// Resolves `user` (`""`, `name`, `uid`, each with `:group` or `:gid`) by the `/etc/passwd` and
/// `/etc/group` of `root`. An empty string is user 0.
///
/// A number needs no entry; without one its primary group is 0, as Buildah has it. Without an
/// explicit group, the supplementary groups are those that list the user.
pub fn resolve_user(root: &Root, user: &str) -> Result<User, UserError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((_, "")) => return Err(UserError::Invalid(user.into())),
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let user_part = if user_part.is_empty() { "0" } else { user_part };
    if [Some(user_part), group_part].into_iter().flatten().any(|part| part.contains([':', '\n', '\0', '/'])) {
        return Err(UserError::Invalid(user.into()));
    }
    let passwd = read(root, "/etc/passwd")?;
    let entry = match number(user_part)? {
        Some(uid) => {
            accounts(&passwd).find(|account| account.uid == uid).or(Some(Account { name: "", uid, gid: 0, home: "" }))
        }
        None => accounts(&passwd).find(|account| account.name == user_part),
    };
    let account = entry.ok_or_else(|| UserError::UnknownUser(user_part.into()))?;
    let groups_file = read(root, "/etc/group")?;
    let mut additional_gids = Vec::new();
    let gid = match group_part {
        Some(group) => match number(group)? {
            Some(gid) => gid,
            None => {
                groups(&groups_file)
                    .find(|(name, ..)| *name == group)
                    .ok_or_else(|| UserError::UnknownGroup(group.into()))?
                    .1
            }
        },
        None => account.gid,
    };
    additional_gids.push(gid);
    if group_part.is_none() && !account.name.is_empty() {
        for (_, gid, mut members) in groups(&groups_file) {
            if members.any(|member| member == account.name) && !additional_gids.contains(&gid) {
                additional_gids.push(gid);
            }
        }
    }
    let home = if account.home.starts_with('/') { account.home } else { "/" };
    Ok(User { uid: account.uid, gid, additional_gids, home: home.into() })
}

/// `Some` if `text` is a number, `None` if it is a name. The last ID is reserved (`chown` takes it
/// for "unchanged").
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(UserError::InvalidId(text.into())),
    }
}

/// The text of an account file; empty if there is none.
fn read(root: &Root, path: &'static str) -> Result<String, UserError> {
    let file = match root.open_file_following(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(|source| UserError::Read(path, source))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `passwd(5)`.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = number(fields.next()?).ok()??;
        let gid = number(fields.next()?).ok()??;
        let _comment = fields.next();
        Some(Account { name, uid, gid, home: fields.next().unwrap_or_default() })
    })
}

/// The lines of `group(5)`: name, ID, members.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, impl Iterator<Item = &str>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = number(fields.next()?).ok()??;
        Some((name, gid, fields.next().unwrap_or_default().split(',').map(str::trim)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(passwd: &str, group: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join("etc")).expect("etc");
        std::fs::write(dir.path().join("etc/passwd"), passwd).expect("passwd");
        std::fs::write(dir.path().join("etc/group"), group).expect("group");
        let root = Root::open(dir.path()).expect("root");
        (dir, root)
    }

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n\nbroken line\nu:x:1000:1000::/home/u:/bin/sh\n7up:x:7:70::rel:\n";
    const GROUP: &str = "root:x:0:\nu:x:1000:\naudio:x:29:u,other\nwheel:x:10:root,u\n:x:5:u\n";

    #[test]
    fn tree_users_by_name_number_and_group() {
        let (_dir, root) = root_with(PASSWD, GROUP);
        let user = |text: &str| {
            let user = resolve_user(&root, text).expect(text);
            (user.uid, user.gid, user.additional_gids, user.home)
        };
        assert_eq!(user(""), (0, 0, vec![0, 10], "/root".into()));
        assert_eq!(user("u"), (1000, 1000, vec![1000, 29, 10], "/home/u".into()));
        assert_eq!(user("1000"), user("u"));
        assert_eq!(user("u:audio"), (1000, 29, vec![29], "/home/u".into()));
        assert_eq!(user("4242"), (4242, 0, vec![0], "/".into()));
        assert_eq!(user("4242:4343"), (4242, 4343, vec![4343], "/".into()));
        assert_eq!(user(":u"), (0, 1000, vec![1000], "/root".into()));
        assert_eq!(user("7up"), (7, 70, vec![70], "/".into()));
    }

    #[test]
    fn tree_users_that_are_nobody() {
        let (_dir, root) = root_with(PASSWD, GROUP);
        for (text, message) in [
            ("nobody", r#"unknown user "nobody": /etc/passwd of the root file system has no such name"#),
            ("u:nogroup", r#"unknown group "nogroup": /etc/group of the root file system has no such name"#),
            ("4294967295", r#"invalid ID "4294967295": expected a number from 0 to 4294967294"#),
            ("u:99999999999999999999", r#"invalid ID "99999999999999999999": expected a number from 0 to 4294967294"#),
            ("u:", r#"invalid user "u:": expected name, uid, name:group or uid:gid"#),
            ("a:b:c", r#"invalid user "a:b:c": expected name, uid, name:group or uid:gid"#),
            ("-1", r#"unknown user "-1": /etc/passwd of the root file system has no such name"#),
        ] {
            assert_eq!(resolve_user(&root, text).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn tree_users_files_are_looked_up_inside_the_root() {
        let (dir, root) = root_with("", "");
        let real = dir.path().join("etc");
        let accounts = "in:x:5:6::/in:\nlast:x:4294967295:0::/:\nsigned:x:+0:0::/:\n";
        std::fs::write(dir.path().join("accounts"), accounts).expect("write");
        std::fs::remove_file(real.join("passwd")).expect("remove");
        std::os::unix::fs::symlink("/../../accounts", real.join("passwd")).expect("symlink");
        assert_eq!(resolve_user(&root, "in").expect("inside").uid, 5);
        for name in ["last", "signed"] {
            assert!(matches!(resolve_user(&root, name), Err(UserError::UnknownUser(_))), "{name}'s ID is none");
        }
        std::fs::remove_file(real.join("passwd")).expect("remove");
        nix::unistd::mkfifo(&real.join("passwd"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        assert!(resolve_user(&root, "in").is_err(), "a FIFO is refused without waiting");
    }
}
