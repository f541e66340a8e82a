//! Fetch, check out, tidy up.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rootfs::{Event, Next, Root, Time};

use super::command::Git;
use super::{GitError, GitOptions, GitSource};

/// What was checked out.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The directory that is meant.
    pub dir: PathBuf,
    /// Hash of the commit.
    pub commit: String,
}

/// Checks `source` out below `place`, an empty directory that is the caller's alone. With
/// `keep_git_dir` the repository stays in `.git`, unless a directory of it is meant.
pub fn checkout(
    source: &GitSource,
    place: &Path,
    keep_git_dir: bool,
    options: &GitOptions,
) -> Result<Checkout, GitError> {
    let place_root = Root::open(place)?;
    let (work, home) = (place.join("work"), place.join("home"));
    for name in ["work", "home"] {
        place_root.create_dir(name, 0o755, rootfs::Owner::ROOT)?;
    }
    let mut known_hosts = place_root.create_file("home/known_hosts", 0o600, rootfs::Owner::ROOT)?;
    for bytes in options.known_hosts.iter().filter_map(|path| std::fs::read(path).ok()) {
        known_hosts.write_all(&bytes).and_then(|()| known_hosts.write_all(b"\n")).map_err(|error| {
            GitError::Failed { doing: "prepare for", remote: source.shown(), reason: error.to_string() }
        })?;
    }
    let git = Git { source, options, dir: &work, home: &home };
    git.run("prepare for", &["init", "--quiet", "--template=", "--initial-branch=main", "."])?;
    git.run("prepare for", &["remote", "add", "--", "origin", &source.remote])?;
    fetch(&git)?;
    let commit = git.run("read", &["rev-parse", "--verify", "FETCH_HEAD^{commit}"])?.trim().to_owned();
    if let Some(expected) = &source.checksum {
        // Of an annotated tag, its own hash counts too.
        let tag = git.run("read", &["rev-parse", "--verify", "FETCH_HEAD"])?;
        if !commit.starts_with(expected) && !tag.trim().starts_with(expected) {
            return Err(GitError::WrongCommit { remote: source.shown(), expected: expected.clone(), actual: commit });
        }
    }
    git.run("check out", &["checkout", "--quiet", "--detach", "--force", &commit])?;
    if source.submodules != Some(false) && place_root.metadata_if_exists("work/.gitmodules")?.is_some() {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
        git.run("fetch the submodules of", &update)?;
    }
    let mtime = match source.commit_times {
        true => git.run("read", &["show", "--no-patch", "--format=%ct", &commit])?.trim().parse().ok(),
        false => None,
    };
    let root = place_root.subroot("work")?;
    let keep = keep_git_dir && source.subdir.is_none();
    if keep {
        git.run("tidy up", &["remote", "set-url", "origin", &source.shown()])?;
        root.remove_all(".git/FETCH_HEAD")?;
    }
    tidy(&root, keep, mtime.map(Time::from_seconds))?;
    let dir = match &source.subdir {
        None => work,
        Some(subdir) => subdirectory(&root, source, subdir)?,
    };
    Ok(Checkout { dir, commit })
}

/// Gets what is meant as `FETCH_HEAD`.
fn fetch(git: &Git<'_>) -> Result<(), GitError> {
    let source = git.source;
    let shallow = |name: &str| git.run("fetch", &["fetch", "--quiet", "--depth=1", "--no-tags", "--", "origin", name]);
    let hash = match (&source.reference, &source.checksum) {
        (Some(reference), _) if is_hash(reference) => Some(reference),
        (_, Some(checksum)) if source.fetch_by_commit && is_hash(checksum) => Some(checksum),
        _ if source.fetch_by_commit => {
            let reason = "fetch-by-commit needs the whole hash of a commit".to_owned();
            return Err(GitError::Invalid { text: source.shown(), reason });
        }
        _ => None,
    };
    let Some(hash) = hash else {
        let name = remote_reference(git)?;
        let result = shallow(&name);
        return match result {
            // Plain web servers have no part of a repository to give.
            Err(GitError::Failed { reason, .. }) if reason.contains("shallow") || reason.contains("--depth") => {
                git.run("fetch", &["fetch", "--quiet", "--no-tags", "--", "origin", &name]).map(drop)
            }
            other => other.map(drop),
        };
    };
    match shallow(hash) {
        Err(GitError::Failed { .. }) if !source.fetch_by_commit => {}
        other => return other.map(drop),
    }
    // The server gives references only: the commit may be below one of them.
    let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
    git.run("fetch", &["fetch", "--quiet", "--no-tags", "--", "origin", all[0], all[1]])?;
    let commit = git.run("find the commit in", &["rev-parse", "--verify", "--quiet", &format!("{hash}^{{commit}}")]);
    let commit = commit.map_err(|error| match error {
        GitError::Failed { doing, remote, .. } => {
            GitError::Failed { doing, remote, reason: format!("no branch or tag has {hash}") }
        }
        other => other,
    })?;
    git.run("read", &["update-ref", "FETCH_HEAD", commit.trim()]).map(drop)
}

/// The full name of the reference that is meant. A branch comes before a tag of the same name.
fn remote_reference(git: &Git<'_>) -> Result<String, GitError> {
    let Some(name) = &git.source.reference else { return Ok("HEAD".to_owned()) };
    let candidates = [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.clone(), format!("refs/{name}")];
    let mut args = vec!["ls-remote", "--quiet", "--", "origin"];
    args.extend(candidates.iter().map(String::as_str));
    let listed = git.run("list the branches and tags of", &args)?;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name).collect();
    candidates.into_iter().find(|candidate| names.contains(&candidate.as_str())).ok_or_else(|| GitError::Failed {
        doing: "fetch",
        remote: git.source.shown(),
        reason: format!("it has no branch or tag {name}"),
    })
}

/// Whether it is a whole hash, of SHA-1 or SHA-256.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Gives modes that do not depend on the umask, and times if asked for; takes `.git` away, here
/// and in submodules, unless it is to stay.
fn tidy(root: &Root, keep_git_dir: bool, mtime: Option<Time>) -> Result<(), GitError> {
    let mut repositories = Vec::new();
    rootfs::walk::<GitError>(root, |event| {
        let (entry, leaving) = match &event {
            Event::Entry(entry) => (entry, false),
            Event::Leave(entry) => (entry, true),
        };
        if entry.name == OsStr::new(".git") {
            if !keep_git_dir {
                repositories.push(entry.path.to_owned());
            }
            return Ok(Next::Skip);
        }
        let is_dir = entry.metadata.is_dir();
        if !leaving && !entry.metadata.is_symlink() {
            let executable = is_dir || entry.metadata.mode & 0o100 != 0;
            entry.dir.set_mode(entry.name, if executable { 0o755 } else { 0o644 })?;
        }
        if let Some(mtime) = mtime
            && leaving == is_dir
        {
            entry.dir.set_times(entry.name, mtime, mtime)?;
        }
        Ok(Next::Descend)
    })?;
    for path in repositories {
        root.remove_all(path)?;
    }
    if let Some(mtime) = mtime {
        root.set_times(".", mtime, mtime)?;
    }
    Ok(())
}

/// The directory of the repository that is meant; no symlink leads to it.
fn subdirectory(root: &Root, source: &GitSource, subdir: &str) -> Result<PathBuf, GitError> {
    let mut dir = root.top().try_clone()?;
    for part in subdir.split('/') {
        dir = dir.open_dir(part).map_err(|error| GitError::Failed {
            doing: "copy from",
            remote: source.shown(),
            reason: match error.errno() {
                rustix::io::Errno::NOENT => format!("it has no directory {subdir:?}"),
                _ => format!("{subdir:?} is not a directory of it"),
            },
        })?;
    }
    Ok(root.host_path().join(subdir))
}
