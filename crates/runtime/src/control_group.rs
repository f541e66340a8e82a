//! Control groups of a process, and what a killed runtime left of them.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The path the runtime is told for a process named `id`. Below `parent` if there is one; else below
/// our own group where processes may stay in inner groups (v1), so that limits on gabion hold for
/// its steps, and in one of its own otherwise.
pub(crate) fn path(id: &str, parent: Option<&Path>, v2: bool) -> PathBuf {
    match parent {
        Some(parent) => Path::new("/").join(parent).join(id),
        None if v2 => Path::new("/gabion").join(id),
        None => format!("gabion-{id}").into(),
    }
}

/// Whether the host has the one hierarchy of cgroup v2.
pub fn host_has_v2() -> bool {
    const CGROUP2_MAGIC: u64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|stat| stat.f_type as u64 == CGROUP2_MAGIC)
}

/// Whether the hierarchy at `root` has the controller `name`.
pub(crate) fn host_controls(root: &Path, name: &str) -> bool {
    match std::fs::read_to_string(root.join("cgroup.controllers")) {
        Ok(controllers) => controllers.split_whitespace().any(|controller| controller == name),
        Err(_) => root.join(name).is_dir(),
    }
}

/// Ends what is still in the groups of a process, whose path is `path`, and removes them.
pub(crate) fn remove(path: &Path) {
    for dir in directories(path) {
        for _ in 0..TRIES {
            let processes = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            match std::fs::remove_dir(&dir) {
                // The kernel keeps it until the last process is gone.
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => std::thread::yield_now(),
                _ => break,
            }
        }
    }
}

/// How often the last processes of a group are waited for.
const TRIES: usize = 1000;

/// Where the groups may be, one in each hierarchy.
fn directories(path: &Path) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let name = path.strip_prefix("/").unwrap_or(path);
    if host_has_v2() {
        return vec![root.join(name)];
    }
    // crun takes the relative path as one from the top, runc as one from our own group.
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else { continue };
        let hierarchy = match controllers.strip_prefix("name=").unwrap_or(controllers) {
            "" => root.join("unified"),
            name => root.join(name),
        };
        found.push(hierarchy.join(name));
        if path.is_relative() {
            found.push(hierarchy.join(own.trim_start_matches('/')).join(name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_groups_are_below_their_parent() {
        assert_eq!(path("x", None, true), Path::new("/gabion/x"));
        assert_eq!(path("x", None, false), Path::new("gabion-x"));
        for v2 in [true, false] {
            assert_eq!(path("x", Some(Path::new("/a/b")), v2), Path::new("/a/b/x"));
            assert_eq!(path("x", Some(Path::new("a")), v2), Path::new("/a/x"));
        }
    }

    #[test]
    fn tree_controllers_of_both_versions() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join("cpu")).expect("mkdir");
        assert!(host_controls(dir.path(), "cpu") && !host_controls(dir.path(), "memory"));
        std::fs::write(dir.path().join("cgroup.controllers"), "cpuset memory\n").expect("write");
        assert!(host_controls(dir.path(), "memory") && !host_controls(dir.path(), "cpu"));
    }
}
