//! Default mounts: what the host gives every command to see, such as its subscriptions.
//!
//! A line of `mounts.conf` is `HOST-PATH[:CONTAINER-PATH]`. The command gets a copy: it can neither
//! change the host's files nor be surprised by a symlink among them.

use std::path::{Path, PathBuf};

use super::{MountRequest, MountRequestKind};

/// The files that name them; the first one there is read.
const FILES: [&str; 2] = ["/etc/containers/mounts.conf", "/usr/share/containers/mounts.conf"];
/// No file is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// Directories are copied down to this depth: one that links to itself has no end.
const DEPTH: usize = 32;

/// The mounts that `file` names, or else that of the host's files which is there. What the host
/// does not have is left out.
pub(super) fn requests(file: &str) -> Vec<MountRequest> {
    let found = match file {
        "" => FILES.iter().map(Path::new).find(|path| path.exists()),
        file => Some(Path::new(file)),
    };
    let text = found.and_then(|path| read(path).ok()).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| line.starts_with('/')).filter_map(request).collect()
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

fn request(line: &str) -> Option<MountRequest> {
    let (host, target) = line.split_once(':').unwrap_or((line, line));
    let is_target = target.starts_with('/') && !target.split('/').all(str::is_empty);
    if !is_target || !Path::new(host).exists() {
        return None;
    }
    let kind = MountRequestKind::Copy { host_path: host.into() };
    Some(MountRequest { target: target.into(), kind, read_only: false, options: Vec::new() })
}

/// Copies a file or directory, with modes; symlinks are followed, and one that leads nowhere is left
/// out.
pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    copy_below(from, to, DEPTH)
}

fn copy_below(from: &Path, to: &Path, depth: usize) -> std::io::Result<()> {
    let metadata = from.metadata()?;
    if metadata.is_file() {
        return std::fs::copy(from, to).map(drop);
    }
    if !metadata.is_dir() || depth == 0 {
        return Ok(());
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let path: PathBuf = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.exists()) {
            copy_below(&path, &to.join(name), depth - 1)?;
        }
    }
    std::fs::set_permissions(to, metadata.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_default_mounts_are_copies() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (host, conf) = (dir.path().join("host"), dir.path().join("mounts.conf"));
        std::fs::create_dir_all(host.join("sub")).expect("mkdir");
        std::fs::write(host.join("sub/f"), "text").expect("write");
        std::os::unix::fs::symlink("sub/f", host.join("link")).expect("symlink");
        std::os::unix::fs::symlink("nowhere", host.join("dangling")).expect("symlink");
        std::os::unix::fs::symlink(".", host.join("sub/loop")).expect("symlink");
        let text = format!("# a comment\n{0}:/run/secrets\n/nosuch:/x\nrelative:/y\n{0}:/\n  {0}\n", host.display());
        std::fs::write(&conf, text).expect("write");
        let requests = requests(conf.to_str().expect("text"));
        let targets: Vec<_> = requests.iter().map(|request| request.target.as_str()).collect();
        assert_eq!(targets, ["/run/secrets", host.to_str().expect("text")]);
        let to = dir.path().join("copy");
        copy(&host, &to).expect("copied");
        assert_eq!(std::fs::read_to_string(to.join("link")).expect("a file"), "text");
        assert!(to.join("link").symlink_metadata().expect("stat").is_file() && !to.join("dangling").exists());
    }
}
