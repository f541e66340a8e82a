//! COPY and ADD of Dockerfiles: sources, ignore files, owners, modes, archives, URLs, and what
//! goes wrong with them.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use test_support::{Outcome, Sandbox, Tool, Tree, store_check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn context(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.path("context");
    fs::create_dir(&dir).expect("make the context");
    Tree::new()
        .file_with_mode("a", "a", 0o640)
        .dir("d", 0o750)
        .file("d/one", "1")
        .file("d/two.txt", "2")
        .dir("d/sub", 0o755)
        .file("d/sub/deep.txt", "deep")
        .file("d/skip.log", "log")
        .symlink("to-a", "a")
        .symlink("out", "/etc/passwd")
        .symlink("up", "../../../../../../../../etc/passwd")
        .write_to(&dir);
    dir
}

fn try_build(sandbox: &Sandbox, dir: &Path, body: &str, args: &[&str]) -> Outcome {
    fs::write(dir.join("Dockerfile"), format!("FROM localhost/base\n{body}\n")).expect("write the Dockerfile");
    sandbox.gabion(["build", "-q", "--network=none", "-t", "built"]).args(args).arg(dir).run()
}

/// Builds, mounts the image and looks at it.
#[track_caller]
fn build<T>(sandbox: &Sandbox, dir: &Path, body: &str, args: &[&str], look: impl FnOnce(&Path) -> T) -> T {
    let outcome = try_build(sandbox, dir, body, args);
    assert!(outcome.status.success(), "{outcome}");
    let container = sandbox.gabion(["from", "built"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    let result = look(Path::new(&root));
    sandbox.gabion(["rm", &container]).ok();
    result
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

fn mode(root: &Path, path: &str) -> u32 {
    fs::symlink_metadata(root.join(path)).map_or(0, |metadata| metadata.mode() & 0o7777)
}

#[test]
fn root_copy_with_flags() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    build(
        &sandbox,
        &dir,
        "COPY --chmod=u=rwX,g-w,o= d /d\nCOPY to-a /through\nCOPY --chown=mason:nogroup a /owned",
        &[],
        |root| {
            assert_eq!((mode(root, "d"), mode(root, "d/one"), mode(root, "d/sub")), (0o755, 0o640, 0o750));
            assert_eq!(read(root, "through"), "a");
            let owned = fs::metadata(root.join("owned")).expect("copied");
            assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777), (1000, 65534, 0o640));
        },
    );
    build(&sandbox, &dir, "COPY --exclude=*.txt --exclude=sub d /d", &[], |root| {
        assert!(root.join("d/one").exists());
        assert!(!root.join("d/two.txt").exists() && !root.join("d/sub").exists());
    });
    let heredocs = "ARG WHO=you\nCOPY <<EOF <<'RAW' /docs/\nfor $WHO \"quoted\" \\$plain\nEOF\nfor $WHO\nRAW\n\
        ADD --chmod=755 --chown=1000 <<-END /docs/named\n\t#!/bin/sh\n\tEND\nCOPY <<A a /both/\nx\nA";
    build(&sandbox, &dir, heredocs, &[], |root| {
        assert_eq!(read(root, "docs/EOF"), "for you \"quoted\" $plain\n");
        assert_eq!(read(root, "docs/RAW"), "for $WHO\n");
        assert_eq!(read(root, "docs/named"), "#!/bin/sh\n");
        assert_eq!((mode(root, "docs/EOF"), mode(root, "docs/named")), (0o644, 0o755));
        assert_eq!((read(root, "both/A"), read(root, "both/a")), ("x\n".into(), "a".into()));
    });
    let stages = "RUN mkdir /out && echo made > /out/f && chown -R mason /out && ln -s /out/f /out/l\n\
        FROM scratch\nCOPY --from=0 /out /kept\nCOPY --from=0 --chown=0 /out/f /taken\n\
        COPY --from=localhost/base /etc/group /of-image";
    build(&sandbox, &dir, stages, &[], |root| {
        assert_eq!(fs::metadata(root.join("kept/f")).map(|file| file.uid()).ok(), Some(1000));
        assert_eq!(fs::read_link(root.join("kept/l")).ok(), Some("/out/f".into()));
        assert_eq!(fs::metadata(root.join("taken")).map(|file| file.uid()).ok(), Some(0));
        assert!(read(root, "of-image").starts_with("root:"));
    });
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_ignore_files_are_followed() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    let seen = |args: &[&str]| {
        build(&sandbox, &dir, "COPY . /c", args, |root| {
            let there = ["a", "d/one", "d/two.txt", "d/sub/deep.txt", "d/skip.log"];
            there.into_iter().filter(|path| root.join("c").join(path).exists()).collect::<Vec<_>>()
        })
    };
    assert_eq!(seen(&[]).len(), 5);
    fs::write(dir.join(".dockerignore"), "d\n!d/sub\n").expect("write");
    assert_eq!(seen(&[]), ["a", "d/sub/deep.txt"]);
    fs::write(dir.join(".containerignore"), "**/*.txt\n# none\n!**/deep.txt\n").expect("write");
    assert_eq!(seen(&[]), ["a", "d/one", "d/sub/deep.txt", "d/skip.log"]);
    let other = sandbox.write("other-ignore", "*\n!a\n");
    assert_eq!(seen(&["--ignorefile", other.to_str().expect("text")]), ["a"]);
    try_build(&sandbox, &dir, "COPY d/two.txt /", &[]).says(125, &["Dockerfile:2:1: COPY d/two.txt /", "d/two.txt"]);
    fs::write(dir.join(".containerignore"), "a\n[\n").expect("write");
    try_build(&sandbox, &dir, "COPY a /", &[]).says(125, &["line 2: invalid ignore pattern \"[\""]);
}

#[test]
fn root_add_unpacks_and_fetches() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    Tool::new("tar").args(["-C"]).arg(dir.join("d")).args(["-czf"]).arg(dir.join("d.tgz")).arg(".").ok();
    Tool::new("tar").args(["-C"]).arg(dir.join("d")).args(["-cJf"]).arg(dir.join("x.txz")).arg("one").ok();
    build(&sandbox, &dir, "ADD d.tgz /here\nADD x.txz /there/\nCOPY d.tgz /whole/\nADD a /plain", &[], |root| {
        assert_eq!((read(root, "here/sub/deep.txt"), read(root, "there/one")), ("deep".into(), "1".into()));
        assert!(root.join("whole/d.tgz").is_file());
        assert_eq!(read(root, "plain"), "a");
    });

    let server = TcpListener::bind("127.0.0.1:0").expect("listen");
    let url = format!("http://{}/files/got.txt", server.local_addr().expect("address"));
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nLast-Modified: Sun, 13 Sep 2020 12:26:40 GMT\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}fetched").as_bytes());
        }
    });
    let digest = test_support::validate::sha256(b"fetched");
    let body = format!("ADD --checksum={digest} {url} /dir/\nADD --chmod=755 {url} /renamed");
    build(&sandbox, &dir, &body, &[], |root| {
        assert_eq!((read(root, "dir/got.txt"), read(root, "renamed")), ("fetched".into(), "fetched".into()));
        assert_eq!((mode(root, "dir/got.txt"), mode(root, "renamed")), (0o600, 0o755));
        assert_eq!(fs::metadata(root.join("dir/got.txt")).map(|file| file.mtime()).ok(), Some(1_600_000_000));
    });
    let wrong = format!("ADD --checksum=sha256:{} {url} /x", "0".repeat(64));
    try_build(&sandbox, &dir, &wrong, &[]).says(125, &["Dockerfile:2:1", &digest, "expected sha256:0000"]);
    try_build(&sandbox, &dir, &format!("COPY {url} /x"), &[]).says(125, &["COPY takes no URL"]);
    try_build(&sandbox, &dir, "ADD http://127.0.0.1:1/x /x", &[]).says(125, &["127.0.0.1:1"]);
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_bad_copies_say_what_is_wrong() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    for (body, words) in [
        ("COPY missing /x", &["Dockerfile:2:1: COPY missing /x", "no such file"][..]),
        ("COPY no*thing /x", &["no*thing", "matches nothing"]),
        ("COPY [ /x", &["["]),
        ("COPY ../../etc/passwd /x", &["etc/passwd"]),
        ("COPY up /x", &["up"]),
        ("COPY a d/one /bin/busybox", &["/bin/busybox"]),
        ("COPY --chown=stranger a /x", &["stranger"]),
        ("COPY --chmod=rwx a /x", &["Dockerfile:2:14", "\"rwx\""]),
        ("COPY --chmod=9 a /x", &["\"9\""]),
        ("COPY --from=localhost/missing a /x", &["Dockerfile:2:13", "localhost/missing"]),
        ("COPY $UNSET /x", &["Dockerfile:2:6: the source $UNSET is empty"]),
        ("ADD --checksum=md5:1 http://x/y /x", &["Dockerfile:2:16", "md5:1"]),
    ] {
        let outcome = try_build(&sandbox, &dir, body, &[]);
        outcome.says(125, words);
        assert!(!outcome.stdout.contains("root:x:0"), "{outcome}");
    }
    // A symlink of the context never leads out of it.
    let outcome = try_build(&sandbox, &dir, "COPY out /x", &[]);
    outcome.says(125, &["out"]);
    store_check::assert_sound(&sandbox);
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers").len(), 0);
}
