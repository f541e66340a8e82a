//! The kernel's overlay mounts, made through `fsopen`: each lower dir is an option of its own, so
//! neither their number nor odd characters in paths matter (Linux 6.8).
//!
//! Older kernels get `mount(2)`, whose options must fit in one page: a thread with a working
//! directory of its own uses the short names in `l/`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_bind, mount_change,
    move_mount, unmount,
};

/// What is mounted over what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    /// Top first.
    pub lowers: Vec<PathBuf>,
    /// Upper and work dir; without them the mount is read-only.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Extra options as in storage.conf: `nodev`, `metacopy=on`.
    pub options: Vec<String>,
    /// Whether nothing needs to survive a power cut.
    pub volatile: bool,
    /// SELinux label of all files; empty for none.
    pub label: String,
}

/// A copied-up directory must not point to its origin by a redirect, and a file's data must be
/// where its metadata is: else an upper dir would not be a layer.
const PLAIN: [(&str, &str); 4] = [("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off")];

impl Overlay {
    /// A mount attached nowhere yet.
    ///
    /// # Errors
    /// `Unsupported` if the kernel takes lower dirs only in one option string.
    pub fn create(&self) -> io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let explained = |errno: rustix::io::Errno| explain(&context, errno);
        fsconfig_set_string(&context, "source", "overlay").map_err(explained)?;
        for (index, lower) in self.lowers.iter().enumerate() {
            match fsconfig_set_string(&context, "lowerdir+", lower) {
                Err(rustix::io::Errno::INVAL) if index == 0 => return Err(io::ErrorKind::Unsupported.into()),
                result => result.map_err(explained)?,
            }
        }
        if let Some((upper, work)) = &self.upper {
            fsconfig_set_string(&context, "upperdir", upper).map_err(explained)?;
            fsconfig_set_string(&context, "workdir", work).map_err(explained)?;
        }
        let (attributes, options) = self.split_options();
        for (key, value) in &options {
            match value {
                Some(value) => fsconfig_set_string(&context, *key, *value),
                None => fsconfig_set_flag(&context, *key),
            }
            .map_err(explained)?;
        }
        if self.volatile && self.upper.is_some() {
            // An old kernel without it only syncs more.
            let _ = fsconfig_set_flag(&context, "volatile");
        }
        if !self.label.is_empty() {
            fsconfig_set_string(&context, "context", self.label.as_str()).map_err(explained)?;
        }
        fsconfig_create(&context).map_err(explained)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(explained)
    }

    /// Mounts by `mount(2)` with everything named relative to `home`; `lowers` are what to call
    /// the lower dirs there, `target` an absolute path.
    pub fn mount_in(&self, home: &Path, lowers: &[String], target: &Path) -> io::Result<()> {
        let relative = |path: &Path| path.strip_prefix(home).unwrap_or(path).to_string_lossy().into_owned();
        let mut data = format!("lowerdir={}", lowers.join(":"));
        if let Some((upper, work)) = &self.upper {
            data += &format!(",upperdir={},workdir={}", relative(upper), relative(work));
        }
        let (attributes, options) = self.split_options();
        for (key, value) in &options {
            data += &match value {
                Some(value) => format!(",{key}={value}"),
                None => format!(",{key}"),
            };
        }
        if self.volatile && self.upper.is_some() {
            data += ",volatile";
        }
        if !self.label.is_empty() {
            data += &format!(",context=\"{}\"", self.label);
        }
        let mut flags = MountFlags::empty();
        for (attribute, flag) in [
            (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
            (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
            (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
            (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        ] {
            if attributes.contains(attribute) {
                flags |= flag;
            }
        }
        let data = std::ffi::CString::new(data)?;
        // The working directory belongs to the thread alone.
        let in_home = || -> io::Result<()> {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
            std::env::set_current_dir(home)?;
            Ok(mount("overlay", target, "overlay", flags, Some(data.as_c_str()))?)
        };
        std::thread::scope(|scope| {
            scope.spawn(in_home).join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread failed")))
        })
    }

    /// What `mount(2)` has as flags, and what the file system itself understands.
    fn split_options(&self) -> (MountAttrFlags, Vec<(&str, Option<&str>)>) {
        let mut attributes = MountAttrFlags::empty();
        if self.upper.is_none() {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        let mut options: Vec<(&str, Option<&str>)> = Vec::new();
        for option in &self.options {
            match option.as_str() {
                "nodev" => attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
                "nosuid" => attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
                "noexec" => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "noatime" => attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
                "ro" => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
                "rw" | "dev" | "suid" | "exec" | "" => {}
                // Decided by the container, not by the configuration.
                "volatile" => {}
                option => options.push(match option.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (option, None),
                }),
            }
        }
        for (key, value) in PLAIN {
            if !options.iter().any(|(other, _)| *other == key) {
                options.push((key, Some(value)));
            }
        }
        (attributes, options)
    }
}

/// The kernel's own words, which it leaves in the context, else the error number's.
fn explain(context: &OwnedFd, errno: rustix::io::Errno) -> io::Error {
    let mut buffer = [0; 1024];
    let mut words = Vec::new();
    while let Ok(n @ 1..) = rustix::io::read(context, &mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..n]).trim().trim_start_matches("e ").to_owned();
        words.push(message);
    }
    match words.is_empty() {
        true => errno.into(),
        false => io::Error::new(io::Error::from(errno).kind(), words.join("; ")),
    }
}

/// Attaches a mount at `target`, private to this mount namespace and its copies.
pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Whether something is mounted at `path` itself.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Ok(stat) => stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        Err(_) => false,
    }
}

/// Bind-mounts `dir` on itself, without propagation: what is mounted below stays here.
pub(crate) fn bind_on_itself(dir: &Path) -> io::Result<()> {
    mount_bind(dir, dir)?;
    mount_change(dir, MountPropagationFlags::PRIVATE)?;
    Ok(())
}

/// Unmounts what is at `path`, even while it is in use: it goes when its last user does.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    Ok(unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Unmounts what is at `path` unless it is in use.
pub(crate) fn detach_if_unused(path: &Path) -> bool {
    unmount(path, UnmountFlags::NOFOLLOW).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Lower dirs `0`, `1`… each with a file of that name, and dirs for a writable mount.
    fn home(lowers: usize) -> (tempfile::TempDir, Overlay, Vec<String>) {
        let dir = tempfile::tempdir().expect("temp dir");
        for name in ["upper", "work", "merged"] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        let names: Vec<String> = (0..lowers).map(|n| n.to_string()).collect();
        for name in &names {
            fs::create_dir(dir.path().join(name)).expect("made");
            fs::write(dir.path().join(name).join(name), name).expect("written");
        }
        let overlay = Overlay {
            lowers: names.iter().map(|name| dir.path().join(name)).collect(),
            upper: Some((dir.path().join("upper"), dir.path().join("work"))),
            options: vec!["nodev".into()],
            volatile: true,
            label: String::new(),
        };
        (dir, overlay, names)
    }

    fn check(target: &Path, lowers: usize) {
        assert!(is_mount_point(target));
        for n in 0..lowers {
            assert_eq!(fs::read_to_string(target.join(n.to_string())).expect("stacked"), n.to_string());
        }
        fs::write(target.join("new"), "1").expect("writable");
        detach(target).expect("unmounted");
        assert!(!is_mount_point(target));
    }

    #[test]
    fn root_both_ways_of_mounting_stack_the_same() {
        // By names relative to a directory, 200 lower dirs fit in a page: by their paths they would not.
        for lowers in [1, 2, 200] {
            let (dir, overlay, names) = home(lowers);
            let target = dir.path().join("merged");
            attach(&overlay.create().expect("made"), &target).expect("attached");
            check(&target, lowers);
            fs::remove_dir_all(dir.path().join("work/work/incompat")).expect("the mark of `volatile`");
            let before = std::env::current_dir().expect("there");
            overlay.mount_in(dir.path(), &names, &target).expect("mounted");
            assert_eq!(std::env::current_dir().expect("there"), before);
            check(&target, lowers);
        }
    }

    #[test]
    fn root_kernel_says_what_it_does_not_like() {
        let (dir, mut overlay, _) = home(1);
        overlay.options.push("nonsense=1".into());
        assert!(overlay.create().expect_err("unknown").to_string().contains("nonsense"));
        overlay.options.clear();
        overlay.lowers.push(dir.path().join("missing"));
        assert_eq!(overlay.create().expect_err("missing").kind(), io::ErrorKind::NotFound);
    }
}
