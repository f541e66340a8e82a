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
    try_build(&sandbox, &dir, &format!("COPY {url} /x"), &[]).says(125, &["source can't be a URL for COPY"]);
    try_build(&sandbox, &dir, "ADD http://127.0.0.1:1/x /x", &[]).says(125, &["127.0.0.1:1"]);
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_bad_copies_say_what_is_wrong() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    for (body, words) in [
        ("COPY missing /x", &["Dockerfile:2:1: COPY missing /x", "no such file"][..]),
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

/// Every path below `root` of the image with its type, mode and owner, `/bin` and the like left out.
fn listing(root: &Path, dir: &str) -> Vec<String> {
    let find = Tool::new("find").arg(root.join(dir)).args(["-mindepth", "1", "-printf", "%P %y %m %U:%G %l\n"]).ok();
    let mut lines: Vec<String> = find.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn root_copy_keeps_parents() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    Tree::new()
        .dir("x", 0o700)
        .dir("x/a", 0o711)
        .dir("x/a/deep", 0o755)
        .file("x/a/deep/f.c", "c")
        .file("x/a/g.h", "h")
        .dir("x/b", 0o755)
        .file("x/b/h.c", "c")
        .write_to(&dir);
    let body = "COPY --parents x/a/deep/f.c d/one /plain/\nCOPY --parents x/./a/deep /pivot\n\
        COPY --parents x/**/*.c /glob/\nCOPY --parents --exclude=**/deep x/./*/ /excluded/\nCOPY --parents to-a d/./sub /links\n\
        COPY --parents no/such* /none";
    build(&sandbox, &dir, body, &[], |root| {
        assert_eq!(
            listing(root, "plain"),
            [
                "d d 750 0:0",
                "d/one f 644 0:0",
                "x d 700 0:0",
                "x/a d 711 0:0",
                "x/a/deep d 755 0:0",
                "x/a/deep/f.c f 644 0:0"
            ]
        );
        assert_eq!(listing(root, "pivot"), ["a d 711 0:0", "a/deep d 755 0:0", "a/deep/f.c f 644 0:0"]);
        assert_eq!(
            listing(root, "glob"),
            [
                "x d 700 0:0",
                "x/a d 711 0:0",
                "x/a/deep d 755 0:0",
                "x/a/deep/f.c f 644 0:0",
                "x/b d 755 0:0",
                "x/b/h.c f 644 0:0"
            ]
        );
        assert_eq!(listing(root, "excluded"), ["a d 711 0:0", "a/g.h f 644 0:0", "b d 755 0:0", "b/h.c f 644 0:0"]);
        assert_eq!(listing(root, "links"), ["sub d 755 0:0", "sub/deep.txt f 644 0:0", "to-a l 777 0:0 a"]);
        assert_eq!(listing(root, "none"), [""; 0]);
    });
    try_build(&sandbox, &dir, "COPY --parents x/nosuch /x/", &[]).says(125, &["x/nosuch", "no such file"]);
    try_build(&sandbox, &dir, "COPY --parents a/./b /x/", &[]).says(125, &["a/./b", "no such file"]);
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_copy_link_does_not_look_at_what_is_there() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    Tool::new("tar").args(["--owner=5", "--group=6", "-C"]).arg(&dir).arg("-cf").arg(dir.join("t.tar")).arg("d").ok();
    let before = "RUN mkdir /real /full && chmod 700 /real /full && echo old > /full/old && ln -s real /lnk && \
        ln -s real /two && ln -s full /d && echo f > /file && mkdir /dir\n";
    let body = "COPY --link d/sub /lnk/x/\nCOPY --link a /two/f\nCOPY --link a /file/below\nCOPY --link a /dir\n\
        COPY --link --chown=7:8 d/one /full/\nADD --link t.tar /\nCOPY --link --chown=mason a /named\n\
        COPY --link --parents d/./sub /p/q/";
    build(&sandbox, &dir, &format!("{before}{body}"), &[], |root| {
        assert_eq!(listing(root, "real"), [""; 0], "nothing went through a symlink");
        assert_eq!(listing(root, "lnk"), ["x d 755 0:0", "x/deep.txt f 644 0:0"]);
        assert_eq!(listing(root, "two"), ["f f 640 0:0"]);
        assert_eq!(listing(root, "file"), ["below f 640 0:0"]);
        assert_eq!(read(root, "dir"), "a");
        assert_eq!(listing(root, "full"), ["old f 644 0:0", "one f 644 7:8"]);
        assert_eq!(mode(root, "full"), 0o755, "a directory on the way is as in a layer of its own");
        assert_eq!(fs::symlink_metadata(root.join("d")).map(|d| d.is_dir() && d.uid() == 5).ok(), Some(true));
        assert_eq!(read(root, "d/sub/deep.txt"), "deep");
        assert_eq!(fs::metadata(root.join("named")).map(|file| file.uid()).ok(), Some(1000));
        assert_eq!(listing(root, "p"), ["q d 755 0:0", "q/sub d 755 0:0", "q/sub/deep.txt f 644 0:0"]);
    });
    // Without --link, and with a mode that BuildKit makes no layer of its own for, links are followed.
    build(&sandbox, &dir, &format!("{before}COPY a /lnk/x\nCOPY --link --chmod=600 a /lnk/y"), &[], |root| {
        assert_eq!(listing(root, "real"), ["x f 640 0:0", "y f 600 0:0"]);
    });
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_copy_in_dockerfiles_means_what_buildkit_does() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    Tool::new("tar")
        .args(["--owner=5", "--group=6", "-C"])
        .arg(dir.join("d"))
        .arg("-cf")
        .arg(dir.join("t.tar"))
        .arg("one")
        .ok();
    let before = "RUN echo old > /file && ln -s file /to-file && ln -s /there /dangling && mkdir -p /dir/one /d2/sub && rmdir /d2/sub && echo > /d2/sub\n";
    let body = "COPY a /to-file\nCOPY a /dangling\nCOPY no*thing d/nothing* /nothing/\nCOPY no*thing a /some/\n\
        ADD --chown=9:9 t.tar /owned\nADD --unpack=false t.tar /kept\nCOPY --chmod=0o711 a /new/parent/\nCOPY --chmod=u=rwX,go=rX d /symbolic";
    build(&sandbox, &dir, &format!("{before}{body}"), &[], |root| {
        assert_eq!(read(root, "file"), "a", "what the symlink points to is replaced");
        assert_eq!(fs::read_link(root.join("to-file")).ok(), Some("file".into()));
        assert_eq!(read(root, "there"), "a");
        assert!(!root.join("nothing").exists());
        assert_eq!(listing(root, "some"), ["a f 640 0:0"]);
        assert_eq!(listing(root, "owned"), ["one f 644 9:9"]);
        assert!(root.join("kept").is_file());
        assert_eq!((mode(root, "new"), mode(root, "new/parent"), mode(root, "new/parent/a")), (0o711, 0o711, 0o711));
        assert_eq!((mode(root, "symbolic/one"), mode(root, "symbolic/sub")), (0o644, 0o755));
        let mtime = |path: PathBuf| fs::metadata(path).expect("there").mtime();
        assert_eq!(mtime(root.join("symbolic")), mtime(dir.join("d")), "the directory's time comes along");
    });
    // BuildKit refuses these, Buildah does them.
    build(&sandbox, &dir, &format!("{before}COPY d /dir\nCOPY d /d2"), &[], |root| {
        assert_eq!((read(root, "dir/one"), read(root, "d2/sub/deep.txt")), ("1".into(), "deep".into()));
    });
    try_build(&sandbox, &dir, "ADD --checksum=abc1234 http://127.0.0.1:1/x /x", &[]).says(125, &["sha256:"]);
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_directories_that_are_taken_back_in_have_their_parents() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    fs::write(dir.join(".dockerignore"), "**\n!d/sub/deep.txt\n").expect("write");
    build(&sandbox, &dir, "COPY --chown=4:5 . /c", &[], |root| {
        assert_eq!(listing(root, "c"), ["d d 750 4:5", "d/sub d 755 4:5", "d/sub/deep.txt f 644 4:5"]);
    });
}

/// A server that fails at first, breaks off, and wants a token.
fn moody_server(asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|part| part == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let count = {
                let mut asked = asked.lock().expect("no panic");
                asked.push(text.clone());
                asked.len()
            };
            let answer = if !text.contains("authorization: Bearer geheim") {
                "HTTP/1.1 401 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            } else if count == 1 {
                "HTTP/1.1 503 X\r\nConnection: close\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
            } else if count == 2 {
                "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhal"
            } else {
                "HTTP/1.1 200 X\r\nConnection: close\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 8\r\n\r\nhalf+end"
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn root_add_asks_again_and_shows_secrets_to_their_host() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    let asked = std::sync::Arc::default();
    let address = moody_server(std::sync::Arc::clone(&asked));
    let secret = sandbox.write("token", "geheim\n");
    let secret = format!("--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,src={}", secret.display());
    let args = ["--retry=3", "--retry-delay=0s", &secret];
    let body = format!("ADD http://{address}/some%20file?x=1 http://{address}/ /got/");
    build(&sandbox, &dir, &body, &args, |root| {
        assert_eq!(listing(root, "got"), ["__unnamed__ f 600 0:0", "some file f 600 0:0"]);
        let file = fs::metadata(root.join("got/some file")).expect("there");
        assert_eq!((read(root, "got/some file"), file.mtime()), ("half+end".to_owned(), 784_111_777));
    });
    assert_eq!(asked.lock().expect("no panic").len(), 4);
    try_build(&sandbox, &dir, &format!("ADD http://{address}/f /x"), &["--retry=0"])
        .says(125, &["invalid response status 401"]);
    store_check::assert_sound(&sandbox);
}

#[test]
fn root_add_unpacks_downloads_if_told() {
    let sandbox = sandbox();
    let dir = context(&sandbox);
    Tool::new("tar")
        .arg("-C")
        .arg(dir.join("d"))
        .args(["--owner=5", "--group=6", "-czf"])
        .arg(sandbox.path("x.tgz"))
        .arg("one")
        .ok();
    let content = fs::read(sandbox.path("x.tgz")).expect("read");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).unwrap_or_default();
            let body = if buffer[..read].starts_with(b"GET /x.tgz") { &content[..] } else { b"text" };
            let head = format!("HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    let url = format!("http://{address}");
    let body = format!("ADD --unpack {url}/x.tgz /dir\nADD --unpack=true {url}/plain /plain\nADD {url}/x.tgz /file");
    build(&sandbox, &dir, &body, &[], |root| {
        assert_eq!(listing(root, "dir"), ["one f 644 5:6"]);
        assert_eq!((read(root, "plain"), mode(root, "plain")), ("text".to_owned(), 0o600));
        assert!(root.join("file").is_file());
    });
    let wrong = format!("ADD --checksum=sha256:{} {url}/plain /x", "0".repeat(64));
    try_build(&sandbox, &dir, &wrong, &[]).says(125, &["/plain has digest sha256:", "expected sha256:000"]);
    store_check::assert_sound(&sandbox);
}
