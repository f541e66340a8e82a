//! The same `copy` and `add` by Buildah and by gabion leave the same tree.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use test_support::{Sandbox, Tool, Tree};

/// Every path below `root` with type, mode, owner, link target and content digest.
fn listing(sandbox: &Sandbox, root: &str) -> String {
    let find = sandbox.any("find").args([root, "-printf", "%P %y %m %U:%G %n %s %l\n"]).ok();
    let mut lines: Vec<&str> = find.lines().filter(|line| !line.contains(" d ")).collect();
    let dirs: Vec<String> = find
        .lines()
        .filter(|line| line.contains(" d "))
        .map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" "))
        .collect();
    lines.extend(dirs.iter().map(String::as_str));
    lines.sort_unstable();
    lines.join("\n")
}

fn prepare(sandbox: &Sandbox) {
    let context = sandbox.path("ctx");
    Tree::new()
        .file_with_mode("f", "hi\n", 0o4755)
        .dir("d", 0o700)
        .file("d/a", "a\n")
        .dir("d/sub", 0o750)
        .file_with_mode("d/sub/b", "b\n", 0o600)
        .symlink("d/l", "a")
        .hardlink("d/hard", "d/a")
        .symlink("d/away", "/etc")
        .symlink("to-f", "f")
        .symlink("to-d", "d")
        .file("[odd]", "odd")
        .write_to(&context);
    fs::write(context.join(".dockerignore"), "d/sub\n!d/sub/b\nto-*\n").expect("write");
    for args in [&["-cf", "x.tar", "d", "f"][..], &["-czf", "x.tgz", "-C", "d", "."]] {
        sandbox.any("tar").args(["--owner=5", "--group=6"]).args(args).in_dir(&context).ok();
    }
}

fn container(sandbox: &Sandbox, name: &str) -> String {
    sandbox.gabion(["from", "--name", name, "scratch"]).ok();
    let root = sandbox.gabion(["mount", name]).ok();
    let path = Path::new(&root);
    for dir in ["etc", "real", "full/a"] {
        fs::create_dir_all(path.join(dir)).expect("mkdir");
    }
    fs::write(path.join("etc/passwd"), "bob:x:33:44::/:/bin/sh\n").expect("write");
    fs::write(path.join("etc/group"), "staff:x:55:\n").expect("write");
    fs::write(path.join("file"), "file\n").expect("write");
    symlink("real", path.join("lnk")).expect("symlink");
    symlink("/dangling", path.join("dang")).expect("symlink");
    symlink("file", path.join("to-file")).expect("symlink");
    root
}

#[test]
fn peers_copy_and_add_leave_what_buildah_leaves() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    prepare(&sandbox);
    let context = format!("--contextdir={}", sandbox.path("ctx").display());
    let cases: &[&[&str]] = &[
        &["copy", "C", "f", "/one"],
        &["copy", "C", "f", "/dir/"],
        &["copy", "C", "f"],
        &["copy", "C", "f", "."],
        &["copy", "C", "d", "/new"],
        &["copy", "C", "d", "/new/"],
        &["copy", "C", "d", "/lnk"],
        &["copy", "C", "d", "/full"],
        &["copy", "C", "f", "/lnk"],
        &["copy", "C", "f", "/lnk/"],
        &["copy", "C", "f", "/dang"],
        &["copy", "C", "f", "/to-file"],
        &["copy", "C", "f", "/file"],
        &["copy", "C", "d", "/file"],
        &["copy", "C", "f", "d", "/several"],
        &["copy", "C", "d/*", "/glob/"],
        &["copy", "C", "?", "/glob/"],
        &["copy", "C", "to-d", "/via"],
        &["copy", "C", "to-f", "/via"],
        &["copy", "C", "d/l", "/via"],
        &["copy", "C", "nosuch", "/x"],
        &["copy", "C", "no*", "/x"],
        &["copy", "--chown=bob:staff", "C", "d", "/own"],
        &["copy", "--chown=bob", "C", "f", "/own"],
        &["copy", "--chown=9", "C", "f", "/own"],
        &["copy", "--chown=9:8", "C", "d", "/deep/own/"],
        &["copy", "--chown=nosuch", "C", "f", "/own"],
        &["copy", "--chmod=640", "C", "d", "/mode"],
        &["copy", "--chmod=755", "C", "f", "/mode"],
        &["add", "C", "x.tar", "/t"],
        &["add", "C", "x.tgz", "/t"],
        &["add", "--chown=7:8", "C", "x.tar", "/t"],
        &["add", "C", "x.tar", "f", "/t"],
        &["add", "C", "f", "/t"],
        &["copy", "C", "x.tar", "/t"],
        &["add", "C", "x.tar", "/full"],
        &["copy", &context, "C", "/", "/all"],
        &["copy", &context, "C", "/d", "/some"],
        &["copy", &context, "C", "/to-f", "/none"],
        &["copy", &context, "C", "/f", "/one"],
    ];
    for (number, case) in cases.iter().enumerate() {
        let [ours, theirs] = ["gabion", "buildah"].map(|tool| {
            let name = format!("{tool}-{number}");
            let root = container(&sandbox, &name);
            let args: Vec<&str> = case.iter().map(|arg| if *arg == "C" { name.as_str() } else { arg }).collect();
            let command: Tool = if tool == "gabion" { sandbox.gabion(args) } else { sandbox.buildah(args) };
            let outcome = command.in_dir(sandbox.path("ctx")).run();
            (outcome.code(), listing(&sandbox, &root), outcome.stderr)
        });
        assert_eq!(ours.0, theirs.0, "{case:?}: exit codes\n{}\n{}", ours.2, theirs.2);
        if ours.0 == Some(0) {
            assert_eq!(ours.1, theirs.1, "{case:?}: trees (ours left, Buildah's right)");
        }
    }
}
