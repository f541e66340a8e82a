//! Upper dirs that the kernel's overlayfs made: what is in the merged view must come out of base
//! and layer applied one over the other.
#![allow(clippy::expect_used, reason = "tests")]

mod tree;

use std::path::Path;

use layers::{ApplyOptions, DiffOptions, Mtimes};
use rootfs::{Root, Time};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tree::{assert_same, snapshot, snapshot_with};

/// Three directories mounted one over the other; unmounted when dropped.
struct Overlay {
    dir: tempfile::TempDir,
}

impl Overlay {
    fn new(base: impl Fn(&Path)) -> Overlay {
        let dir = tempfile::tempdir().expect("temp dir");
        for name in ["base", "upper", "work", "merged"] {
            std::fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        base(&dir.path().join("base"));
        let overlay = Overlay { dir };
        overlay.mount(&["base"]);
        overlay
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, name: &str) -> Root {
        Root::open(self.path(name)).expect("open")
    }

    fn mount(&self, lowers: &[&str]) {
        let lowers: Vec<_> = lowers.iter().map(|name| self.path(name).display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off,xino=off",
            lowers.join(":"),
            self.path("upper").display(),
            self.path("work").display()
        );
        let options = std::ffi::CString::new(options).expect("no NUL");
        mount("overlay", self.path("merged"), "overlay", MountFlags::empty(), options.as_c_str()).expect("mount");
    }

    fn unmount(&self) {
        unmount(self.path("merged"), UnmountFlags::empty()).expect("unmount");
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = unmount(self.path("merged"), UnmountFlags::DETACH);
    }
}

fn base(dir: &Path) {
    for name in ["kept", "deleted", "replaced", "emptied/sub"] {
        std::fs::create_dir_all(dir.join(name)).expect("mkdir");
        std::fs::write(dir.join(name).join("old"), name).expect("write");
    }
    std::fs::write(dir.join("file"), "file").expect("write");
    std::fs::write(dir.join("gone"), "gone").expect("write");
    std::fs::hard_link(dir.join("file"), dir.join("linked")).expect("link");
}

fn change(merged: &Path) {
    std::fs::remove_dir_all(merged.join("deleted")).expect("remove");
    std::fs::remove_file(merged.join("gone")).expect("remove");
    std::fs::remove_file(merged.join("emptied/sub/old")).expect("remove");
    std::fs::remove_dir_all(merged.join("replaced")).expect("remove");
    std::fs::create_dir_all(merged.join("replaced/new dir/below")).expect("mkdir");
    std::fs::write(merged.join("replaced/new"), "new").expect("write");
    std::fs::create_dir_all(merged.join("fresh/below")).expect("mkdir");
    std::fs::write(merged.join("fresh/a"), "a").expect("write");
    std::fs::hard_link(merged.join("fresh/a"), merged.join("fresh/below/b")).expect("link");
    std::fs::write(merged.join("file"), "changed").expect("write");
    let _socket = std::os::unix::net::UnixListener::bind(merged.join("fresh/socket")).expect("bind");
    std::fs::create_dir_all(merged.join("stub/below")).expect("mkdir");
}

#[test]
fn root_a_layer_over_its_base_gives_the_merged_view() {
    let overlay = Overlay::new(base);
    change(&overlay.path("merged"));
    std::fs::remove_file(overlay.path("merged/fresh/socket")).expect("remove");
    let merged = snapshot_with(&overlay.path("merged"), false);
    overlay.unmount();

    let lowers = [overlay.root("base")];
    let (mut tar, mut split) = (Vec::new(), Vec::new());
    let summary = layers::diff(&overlay.root("upper"), &lowers, &mut tar, &mut split, &DiffOptions::default());
    let summary = summary.expect("diff");
    let names: Vec<String> = tar::Archive::new(&tar[..])
        .entries()
        .expect("entries")
        .map(|entry| String::from_utf8_lossy(&entry.expect("entry").path_bytes()).into_owned())
        .collect();
    for expected in [".wh.deleted", ".wh.gone", "emptied/sub/.wh.old", "replaced/.wh..wh..opq"] {
        assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
    }
    let opaque = names.iter().filter(|name| name.ends_with(".wh..wh..opq")).count();
    assert_eq!(opaque, 1, "new directories hide nothing: {names:?}");

    // The layer in the upper dir's place shows the same.
    std::fs::rename(overlay.path("upper"), overlay.path("original")).expect("rename");
    std::fs::remove_dir_all(overlay.path("work")).expect("remove");
    for name in ["upper", "work", "applied"] {
        std::fs::create_dir(overlay.path(name)).expect("mkdir");
    }
    let applied = overlay.root("applied");
    let again = layers::apply(&tar[..], &applied, std::io::sink(), &ApplyOptions::default()).expect("apply");
    assert_eq!(again.diff_id, summary.diff_id);
    overlay.mount(&["applied", "base"]);
    assert_same(&merged, &snapshot_with(&overlay.path("merged"), false));
    overlay.unmount();
    assert_eq!(
        layers::diff(&applied, &lowers, std::io::sink(), std::io::sink(), &DiffOptions::default()).expect("diff"),
        summary
    );
}

#[test]
fn root_both_ways_of_sealing_give_what_the_tar_says() {
    let overlay = Overlay::new(base);
    change(&overlay.path("merged"));
    overlay.unmount();
    let options = DiffOptions {
        mtimes: Mtimes::Clamp(Time::from_seconds(1_000_000)),
        exclude: vec!["stub".into(), "/fresh/below/".into()],
        ..DiffOptions::default()
    };
    let lowers = [overlay.root("base")];
    let (mut tar, mut split) = (Vec::new(), Vec::new());
    let upper = overlay.root("upper");
    let summary = layers::diff(&upper, &lowers, &mut tar, &mut split, &options).expect("diff");
    for name in ["copied", "applied"] {
        std::fs::create_dir(overlay.path(name)).expect("mkdir");
    }
    layers::apply(&tar[..], &overlay.root("applied"), std::io::sink(), &ApplyOptions::default()).expect("apply");
    let before = snapshot(&overlay.path("upper"));
    let copied = overlay.root("copied");
    let sealed = layers::seal_copy(&upper, &lowers, &copied, std::io::sink(), std::io::sink(), &options);
    assert_eq!(sealed.expect("seal"), summary);
    assert_same(&before, &snapshot(&overlay.path("upper")));
    // In place, in two halves: what changes the directory, then what reads it.
    layers::clean(&upper, &lowers, &options).expect("clean");
    let plain = DiffOptions { mtimes: options.mtimes, ..DiffOptions::default() };
    let read = layers::diff(&upper, &lowers, std::io::sink(), std::io::sink(), &plain);
    assert_eq!(read.expect("diff"), summary);
    assert_same(&snapshot(&overlay.path("applied")), &snapshot(&overlay.path("upper")));
    let sealed = layers::seal_in_place(&upper, &lowers, std::io::sink(), std::io::sink(), &options);
    assert_eq!(sealed.expect("seal"), summary);

    let applied = snapshot(&overlay.path("applied"));
    assert!(!applied.contains_key("stub") && !applied.contains_key("fresh/socket"));
    assert_same(&applied, &snapshot(&overlay.path("copied")));
    assert_same(&applied, &snapshot(&overlay.path("upper")));
    let left = upper.xattrs(".").expect("xattrs");
    assert!(left.is_empty(), "the top's own marks are gone: {left:?}");
    // Doing it again changes nothing.
    let again = layers::seal_in_place(&upper, &lowers, std::io::sink(), std::io::sink(), &options);
    assert_eq!(again.expect("seal"), summary);
}

#[test]
fn root_what_a_layer_cannot_say_is_refused() {
    let check = |make: fn(&Root), expected: &str| {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::open(dir.path()).expect("open");
        make(&root);
        let error = layers::diff(&root, &[], std::io::sink(), std::io::sink(), &DiffOptions::default());
        let error = error.expect_err("must fail").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|root| drop(root.create_file(".wh.x", 0o644, rootfs::Owner::ROOT)), ".wh.");
    check(
        |root| {
            root.create_dir("d", 0o755, rootfs::Owner::ROOT).expect("mkdir");
            root.set_xattr("d", "trusted.overlay.redirect", b"/other").expect("xattr");
        },
        "redirect_dir=off",
    );
}
