//! Control groups that a killed runtime left: empty directories, removed by name.

use std::path::{Path, PathBuf};

/// The path the runtime is told for a process named `id`. Below our own group where processes may
/// stay in inner groups (v1), so that limits on gabion hold for its steps; in one of its own
/// otherwise.
pub(crate) fn path(id: &str, v2: bool) -> PathBuf {
    if v2 { Path::new("/gabion").join(id) } else { format!("gabion-{id}").into() }
}

/// Whether the host has the one hierarchy of cgroup v2.
pub(crate) fn host_has_v2() -> bool {
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

/// Removes the groups of `id`. Those with processes in them stay, because the kernel keeps them.
pub(crate) fn remove(id: &str) {
    let root = Path::new("/sys/fs/cgroup");
    if host_has_v2() {
        let _ = std::fs::remove_dir(root.join("gabion").join(id));
        return;
    }
    let name = path(id, false);
    // crun takes the relative path as one from the top, runc as one from our own group.
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else { continue };
        let hierarchy = match controllers.strip_prefix("name=").unwrap_or(controllers) {
            "" => root.join("unified"),
            name => root.join(name),
        };
        for parent in [hierarchy.clone(), hierarchy.join(own.trim_start_matches('/'))] {
            let _ = std::fs::remove_dir(parent.join(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_controllers_of_both_versions() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join("cpu")).expect("mkdir");
        assert!(host_controls(dir.path(), "cpu") && !host_controls(dir.path(), "memory"));
        std::fs::write(dir.path().join("cgroup.controllers"), "cpuset memory\n").expect("write");
        assert!(host_controls(dir.path(), "memory") && !host_controls(dir.path(), "cpu"));
    }
}
