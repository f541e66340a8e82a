//! Nothing leaves the root: each case is a tree with a trap and what must come of it.
#![allow(clippy::expect_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rootfs::{Device, Event, FileType, Next, Owner, Root, Time};
use rustix::io::Errno;

/// A tree with symlinks that point out, beside a file that nobody may see.
fn trapped() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir_all(dir.path().join("tree/etc")).expect("mkdir");
    std::fs::create_dir(dir.path().join("outside")).expect("mkdir");
    std::fs::write(dir.path().join("outside/secret"), "secret").expect("write");
    std::fs::write(dir.path().join("tree/etc/inside"), "inside").expect("write");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, dir.path().join("tree").join(name)).expect("symlink");
    };
    link("../../outside", "up");
    link(&dir.path().join("outside").display().to_string(), "absolute");
    link("/etc", "abs-etc");
    link("../../../../etc", "rel-etc");
    link("loop", "loop");
    link("/new/place", "dangling");
    link("inside", "etc/link");
    let root = Root::open(dir.path().join("tree")).expect("open");
    (dir, root)
}

#[test]
fn tree_paths_resolve_inside() {
    let (_dir, root) = trapped();
    for path in ["up/secret", "absolute/secret", "../outside/secret", "/../outside/secret", "etc/../../outside/secret"]
    {
        assert!(root.open_file(path).expect_err(path).is_not_found(), "{path}");
        assert!(root.metadata(path).is_err(), "{path}");
    }
    for path in ["etc/inside", "/etc/inside", "abs-etc/inside", "rel-etc/inside", "../etc/inside", "etc/./inside"] {
        let mut text = String::new();
        root.open_file(path).expect(path).read_to_string(&mut text).expect("read");
        assert_eq!(text, "inside", "{path}");
    }
}

#[test]
fn tree_last_component_is_not_followed() {
    let (_dir, root) = trapped();
    assert!(root.open_file("etc/link").is_err());
    assert!(root.open_dir("abs-etc").is_err());
    assert!(root.metadata("abs-etc").expect("stat").is_symlink());
    assert_eq!(root.set_mode("abs-etc", 0o777).expect_err("chmod").errno(), Errno::LOOP);
    assert!(root.create_file("abs-etc", 0o644, Owner::ROOT).is_err());
    root.open_file_following("etc/link").expect("follows when told");
    root.open_dir_following("abs-etc").expect("follows when told");
    assert!(root.metadata_following("abs-etc").expect("stat").is_dir());
    assert_eq!(root.open_dir_following("loop").expect_err("loop").errno(), Errno::LOOP);
    assert_eq!(root.resolve("loop/x").expect_err("loop").errno(), Errno::LOOP);
}

#[test]
fn tree_resolve_follows_text_where_nothing_is() {
    let (_dir, root) = trapped();
    let check = |path: &str, expected: &str| {
        assert_eq!(root.resolve(path).expect(path), PathBuf::from(expected), "{path}");
    };
    check("/", "");
    check("abs-etc/inside", "etc/inside");
    check("rel-etc/../x", "x");
    check("up/secret", "outside/secret");
    check("dangling/a/b", "new/place/a/b");
    check("a/../../b", "b");
}

#[test]
fn tree_directories_are_made_through_dangling_links() {
    let (dir, root) = trapped();
    root.create_dir_all("dangling/a", 0o750, Owner::ROOT).expect("mkdir -p");
    assert!(root.metadata("new/place/a").expect("stat").is_dir());
    assert_eq!(root.metadata("new").expect("stat").mode, 0o750);
    root.create_dir_all("absolute/made", 0o755, Owner::ROOT).expect("mkdir -p");
    root.create_dir_all("up/made", 0o755, Owner::ROOT).expect("mkdir -p");
    assert_eq!(std::fs::read_dir(dir.path().join("outside")).expect("list").count(), 1);
    assert_eq!(root.create_dir_all("etc/inside/x", 0o755, Owner::ROOT).expect_err("file").errno(), Errno::NOTDIR);
}

#[test]
fn tree_removal_stays_inside() {
    let (dir, root) = trapped();
    root.remove_all("up").expect("remove");
    root.remove_all("absolute").expect("remove");
    root.remove_all("missing/x").expect("nothing to do");
    root.remove_all("etc").expect("remove");
    assert!(root.metadata("etc").expect_err("gone").is_not_found());
    assert_eq!(std::fs::read(dir.path().join("outside/secret")).expect("read"), b"secret");
}

#[test]
fn tree_names_in_directories_are_single_components() {
    let (_dir, root) = trapped();
    let top = root.top();
    for name in ["", "..", "a/b", "/etc", "etc/"] {
        assert_eq!(top.metadata(name).expect_err(name).errno(), Errno::INVAL);
        assert_eq!(top.create_dir(name, 0o755).expect_err(name).errno(), Errno::INVAL);
        assert_eq!(top.remove_all(name).expect_err(name).errno(), Errno::INVAL);
    }
    assert!(top.remove_all(".").is_err());
    assert!(top.metadata(".").expect("itself").is_dir());
}

#[test]
fn root_special_files_are_not_opened() {
    let (_dir, root) = trapped();
    root.mknod("fifo", FileType::Fifo, 0o600, Device::default()).expect("mkfifo");
    root.mknod("null", FileType::CharDevice, 0o666, Device { major: 1, minor: 3 }).expect("mknod");
    for name in ["fifo", "null", "etc"] {
        assert_eq!(root.open_file(name).expect_err(name).errno(), Errno::INVAL, "{name}");
    }
    assert_eq!(root.metadata("null").expect("stat").mode, 0o666, "whatever the umask");
}

#[test]
fn root_metadata_round_trips() {
    let (_dir, root) = trapped();
    let owner = Owner { uid: 70000, gid: 3 };
    let mut file = root.create_file("etc/su", 0o6755, owner).expect("create");
    file.write_all(b"x").expect("write");
    drop(file);
    root.set_mode("etc/su", 0o6755).expect("chmod");
    let time = Time { seconds: -5, nanoseconds: 123_456_789 };
    root.set_times("etc/su", time, time).expect("utimens");
    root.set_times("etc/link", time, time).expect("a symlink's own");
    root.set_xattr("etc/su", "user.k", &[0, 255, b'\n']).expect("setxattr");
    let metadata = root.metadata("etc/su").expect("stat");
    assert_eq!((metadata.mode, metadata.owner, metadata.mtime), (0o6755, owner, time));
    assert_eq!(root.metadata("etc/link").expect("stat").mtime, time);
    assert_eq!(root.xattrs("etc/su").expect("xattrs"), [("user.k".into(), vec![0, 255, b'\n'])]);
    assert_eq!(root.xattr("etc/su", "user.none").expect("xattr"), None);
    let large = vec![7; 3000];
    root.set_xattr("etc/su", "user.k", &large).expect("setxattr");
    assert_eq!(root.xattr("etc/su", "user.k").expect("xattr"), Some(large));
}

#[test]
fn tree_walk_is_sorted_and_survives_changes() {
    let (_dir, root) = trapped();
    for name in ["b", "a", "a-", "a/z", "a/0"] {
        root.create_dir_all(name, 0o755, Owner::ROOT).expect("mkdir");
    }
    let mut seen = Vec::new();
    rootfs::walk::<rootfs::Error>(&root, |event| {
        match event {
            Event::Entry(entry) if entry.path == Path::new("etc") => return Ok(Next::Skip),
            Event::Entry(entry) => seen.push(format!("+{}", entry.path.display())),
            Event::Leave(entry) => {
                entry.dir.remove_dir(entry.name)?;
                seen.push(format!("-{}", entry.path.display()));
            }
        }
        Ok(Next::Descend)
    })
    .expect("walk");
    let seen: Vec<&str> = seen.iter().map(String::as_str).filter(|s| s.len() < 5).collect();
    assert_eq!(seen, ["+a", "+a/0", "-a/0", "+a/z", "-a/z", "-a", "+a-", "-a-", "+b", "-b", "+up"]);
}

#[test]
fn tree_errors_are_one_line_with_the_path() {
    let (_dir, root) = trapped();
    let text = root.open_file("etc/no\nsuch\x1b").expect_err("missing").to_string();
    assert_eq!(text, r#"cannot stat "etc/no\nsuch\u{1b}": no such file or directory"#);
}
