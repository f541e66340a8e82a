//! Where a build's files come from: directories, streams, URLs, named contexts; and what of them
//! stays out. Images are read back by Skopeo.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use test_support::{DockerRegistry, Outcome, Sandbox, Tool, Tree, base_image, flatten, store_check, validate};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn dir(sandbox: &Sandbox, name: &str, tree: &Tree) -> PathBuf {
    let dir = sandbox.path(name);
    fs::create_dir_all(&dir).expect("make a directory");
    tree.write_to(&dir);
    dir
}

fn gabion(sandbox: &Sandbox, args: &[&str]) -> Tool {
    sandbox.gabion(["build", "-q", "--network=none", "-t", "built"]).args(args).in_dir(sandbox.dir())
}

/// The image as Skopeo copies it out.
fn image(sandbox: &Sandbox, name: &str) -> validate::Image {
    let to = tempfile::tempdir_in(sandbox.path("tmp")).expect("a directory");
    let layout = format!("oci:{}:x", to.path().display());
    sandbox.skopeo(["copy", "-q", &sandbox.storage(name), &layout]).ok();
    validate::oci_layout(to.path(), "x")
}

/// Path and content of the image's regular files that the base image does not have.
fn new_files(sandbox: &Sandbox) -> Vec<String> {
    let base = validate::oci_layout(base_image::layout(), "latest").files();
    let lines = flatten::lines(&image(sandbox, "localhost/built").files());
    let known = flatten::lines(&base);
    lines
        .values()
        .filter(|line| line.starts_with('-') && !known.values().any(|other| other == *line))
        .map(|line| line.split_once(" /").map_or(line.clone(), |(_, rest)| format!("/{rest}")))
        .collect()
}

#[track_caller]
fn built(sandbox: &Sandbox, tool: Tool) -> Vec<String> {
    let outcome = tool.run();
    assert!(outcome.status.success(), "{outcome}");
    assert_no_leftovers(sandbox);
    new_files(sandbox)
}

/// Nothing of a stream is left, and no container.
#[track_caller]
fn assert_no_leftovers(sandbox: &Sandbox) {
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers"), Vec::<Value>::new());
    let private = fs::read_dir(sandbox.graph_root().join("gabion/tempdirs"));
    assert_eq!(private.map_or(0, Iterator::count), 0, "temporary directories");
}

fn images(sandbox: &Sandbox) -> BTreeSet<String> {
    let records = store_check::records(&sandbox.graph_root(), "images");
    records.iter().map(|record| record["id"].as_str().expect("id").to_owned()).collect()
}

#[track_caller]
fn refused(sandbox: &Sandbox, tool: Tool, words: &str) -> Outcome {
    let before = images(sandbox);
    let outcome = tool.run();
    outcome.says(125, &[words]);
    assert_eq!(images(sandbox), before, "{outcome}");
    assert_no_leftovers(sandbox);
    outcome
}

/// A tar of `files`, made by GNU tar.
fn archive(sandbox: &Sandbox, files: &Path, flag: &str) -> Vec<u8> {
    let path = sandbox.path("archive");
    sandbox.any("tar").args([flag, "-cf"]).arg(&path).arg("-C").arg(files).arg(".").ok();
    fs::read(&path).expect("read an archive")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("compress");
    gzip.finish().expect("compress")
}

/// Serves `body` to everybody who asks for `/<anything but missing>`.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let status = if request.contains("missing") { "404 Not Found" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

fn small_context() -> Tree {
    Tree::new()
        .file("Dockerfile", "FROM localhost/base\nCOPY . /c/\n")
        .file("other", "FROM localhost/base\nCOPY a /other\n")
        .file(".dockerignore", "Dockerfile\nother\n.dockerignore\nskip\n")
        .file("a", "A")
        .file("skip", "S")
}

#[test]
fn root_standard_input_is_a_dockerfile_or_an_archive() {
    let sandbox = sandbox();
    let stdin = |args: &[&str], bytes: Vec<u8>| gabion(&sandbox, args).stdin(bytes);
    let text = "FROM localhost/base\nRUN echo from stdin > /made\n";
    assert_eq!(built(&sandbox, stdin(&["-"], text.into())), ["/made \"from stdin\\n\""]);
    let outcome = refused(&sandbox, stdin(&["-"], "FROM localhost/base\nCOPY a /\n".into()), "cannot copy \"a\"");
    assert!(outcome.stderr.contains("-:2:"), "{outcome}");
    refused(&sandbox, stdin(&["-"], Vec::new()), "build context -: it is empty");
    refused(&sandbox, stdin(&["-"], gzip(b"FROM localhost/base\n")), "build context -: it is compressed, but no tar");
    refused(&sandbox, stdin(&["-f", "x", "-"], text.into()), "is a Dockerfile itself");
    refused(&sandbox, stdin(&["-f", "-", "-"], text.into()), "both the context and the Dockerfile");

    let files = dir(&sandbox, "files", &small_context());
    for flag in ["--format=gnu", "--gzip", "--bzip2", "--xz", "--zstd", "--format=pax"] {
        let tar = archive(&sandbox, &files, flag);
        assert_eq!(built(&sandbox, stdin(&["-"], tar)), ["/c/a \"A\""], "{flag}");
    }
    let tar = archive(&sandbox, &files, "--gzip");
    // -f names a file of the archive, whatever lies in the current directory.
    sandbox.write("other", "FROM nothing");
    assert_eq!(built(&sandbox, stdin(&["-f", "other", "-"], tar.clone())), ["/other \"A\""]);
    sandbox.write("outside", text);
    refused(&sandbox, stdin(&["-f", "outside", "-"], tar.clone()), "no outside in");
    refused(&sandbox, stdin(&["-f", "../../../../../../../../../../../../etc/passwd", "-"], tar.clone()), "no ../");
    let mut short = archive(&sandbox, &files, "--format=gnu");
    short.truncate(700);
    refused(&sandbox, stdin(&["-"], short), "build context -");
}

#[test]
fn root_a_dockerfile_on_standard_input_with_a_directory() {
    let sandbox = sandbox();
    dir(&sandbox, "context", &small_context());
    let tool = gabion(&sandbox, &["-f", "-", "context"]).stdin("FROM localhost/base\nCOPY . /x/\n");
    assert_eq!(built(&sandbox, tool), ["/x/a \"A\""]);
}

#[test]
fn root_hostile_archives_stay_in_their_directory() {
    let sandbox = sandbox();
    let secret = sandbox.write("secret", "secret");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let file = |tar: &mut tar::Builder<Vec<u8>>, name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o4755);
        tar.append_data(&mut header, name, text.as_bytes()).expect("append");
    };
    file(&mut tar, "Dockerfile", "FROM localhost/base\nCOPY link /\n");
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "link", &secret).expect("append");
    tar.append_link(&mut header, "up", "../../../../..").expect("append");
    let links = tar.into_inner().expect("end");
    refused(&sandbox, gabion(&sandbox, &["-"]).stdin(links), "cannot copy \"link\"");

    for kind in [tar::EntryType::Char, tar::EntryType::Block] {
        let mut tar = tar::Builder::new(Vec::new());
        file(&mut tar, "Dockerfile", "FROM localhost/base\n");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o666);
        header.set_device_major(1).expect("set");
        header.set_device_minor(3).expect("set");
        tar.append_data(&mut header, "null", std::io::empty()).expect("append");
        let tar = tar.into_inner().expect("end");
        refused(&sandbox, gabion(&sandbox, &["-"]).stdin(tar), "a device");
    }
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "Dockerfile", "FROM localhost/base\nCOPY d /\n");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "d", sandbox.path("home")).expect("append");
    file(&mut tar, "d/escaped", "x");
    let _ = gabion(&sandbox, &["-"]).stdin(tar.into_inner().expect("end")).run();
    assert!(!sandbox.path("home/escaped").exists());
    assert_no_leftovers(&sandbox);
}

#[test]
fn root_contexts_from_a_web_server() {
    let sandbox = sandbox();
    let files = dir(&sandbox, "files", &small_context());
    let url = serve(archive(&sandbox, &files, "--gzip"));
    assert_eq!(built(&sandbox, gabion(&sandbox, &[&format!("{url}/context.tar.gz?token=secret")])), ["/c/a \"A\""]);
    assert_eq!(built(&sandbox, gabion(&sandbox, &["-f", "other", &format!("{url}/x")])), ["/other \"A\""]);
    refused(&sandbox, gabion(&sandbox, &[&format!("{url}/missing")]), "invalid response status 404");
    let plain = serve(b"FROM localhost/base\nRUN echo remote > /made\n".to_vec());
    assert_eq!(built(&sandbox, gabion(&sandbox, &[&format!("{plain}/Dockerfile")])), ["/made \"remote\\n\""]);
    refused(&sandbox, gabion(&sandbox, &["http://127.0.0.1:1/x.tar"]), "http://127.0.0.1:1/x.tar");
}

/// A bare repository that git's own HTTP server would serve, at the address given back.
fn repository(sandbox: &Sandbox, tree: &Tree) -> PathBuf {
    let work = dir(sandbox, "work", tree);
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"];
        sandbox.any("git").args(identity).args(args).in_dir(&work).ok()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v1"]);
    fs::write(work.join("a"), "later").expect("write");
    git(&["commit", "-q", "-a", "-m", "two"]);
    git(&["clone", "-q", "--bare", ".", "../www/repo.git"]);
    sandbox.any("git").args(["update-server-info"]).in_dir(sandbox.path("www/repo.git")).ok();
    sandbox.path("www")
}

/// Serves the files below `root`, as git's dumb protocol needs.
fn serve_files(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let path = request.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
            let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

#[test]
fn root_contexts_from_git() {
    let sandbox = sandbox();
    let tree = small_context().file("sub/Dockerfile", "FROM localhost/base\nCOPY . /s/\n").file("sub/in", "sub");
    let url = serve_files(repository(&sandbox, &tree));
    let repo = format!("{url}/repo.git");
    let whole = ["/c/a \"later\"", "/c/sub/Dockerfile \"FROM localhost/base\\nCOPY . /s/\\n\"", "/c/sub/in \"sub\""];
    assert_eq!(built(&sandbox, gabion(&sandbox, &[&repo])), whole);
    let sub = built(&sandbox, gabion(&sandbox, &[&format!("{repo}#v1:sub")]));
    assert_eq!(sub, ["/s/Dockerfile \"FROM localhost/base\\nCOPY . /s/\\n\"", "/s/in \"sub\""]);
    let sub = built(&sandbox, gabion(&sandbox, &[&format!("{repo}?tag=v1&subdir=sub")]));
    assert_eq!(sub.len(), 2, "{sub:?}");
    let other = built(&sandbox, gabion(&sandbox, &["-f", "other", &format!("{repo}#v1")]));
    assert_eq!(other, ["/other \"A\""]);
    let named = ["--build-context", &format!("x={repo}#v1"), "-"];
    let file = "FROM localhost/base\nCOPY --from=x a /named\n";
    assert_eq!(built(&sandbox, gabion(&sandbox, &named).stdin(file)), ["/named \"A\""]);
    refused(&sandbox, gabion(&sandbox, &[&format!("{repo}#gone")]), "repo.git");
    refused(&sandbox, gabion(&sandbox, &[&format!("{url}/none.git")]), "none.git");
    refused(&sandbox, gabion(&sandbox, &[&format!("{repo}#main:../..")]), "");
}

#[test]
fn root_ignore_files_in_their_order() {
    let sandbox = sandbox();
    let names = ["a", "b", "c", "d", "e"];
    let tree = names
        .iter()
        .fold(Tree::new().file("Dockerfile", "FROM localhost/base\nCOPY ? /c/\n"), |tree, name| tree.file(name, name));
    let context = dir(&sandbox, "context", &tree);
    let missing = |args: &[&str]| {
        let files = built(&sandbox, gabion(&sandbox, &[args, &["context"]].concat()));
        let gone = names.iter().filter(|name| !files.contains(&format!("/c/{name} \"{name}\"")));
        gone.copied().collect::<String>()
    };
    assert_eq!(missing(&[]), "");
    fs::write(context.join(".dockerignore"), "a\n").expect("write");
    assert_eq!(missing(&[]), "a");
    fs::write(context.join(".containerignore"), "b\n").expect("write");
    assert_eq!(missing(&[]), "b");
    fs::write(context.join("Dockerfile.dockerignore"), "c\n").expect("write");
    assert_eq!(missing(&[]), "c");
    assert_eq!(missing(&["-f", "context/Dockerfile"]), "c");
    fs::write(context.join("Dockerfile.containerignore"), "d\n").expect("write");
    assert_eq!(missing(&[]), "d");
    let named = sandbox.write("named", "e\n!e\ne\n");
    assert_eq!(missing(&["--ignorefile", named.to_str().expect("text")]), "e");
    // Another Dockerfile has another ignore file, wherever it is.
    fs::copy(context.join("Dockerfile"), sandbox.path("Other")).expect("copy");
    assert_eq!(missing(&["-f", "Other"]), "b");
    sandbox.write("Other.dockerignore", "a\nb\n");
    assert_eq!(missing(&["-f", "Other"]), "ab");
    let stdin = "FROM localhost/base\nCOPY ? /c/\n";
    let files = built(&sandbox, gabion(&sandbox, &["-f", "-", "context"]).stdin(stdin));
    assert!(!files.contains(&"/c/b \"b\"".to_owned()) && files.contains(&"/c/a \"a\"".to_owned()), "{files:?}");
    refused(&sandbox, gabion(&sandbox, &["--ignorefile", "gone", "context"]), "--ignorefile");
}

#[test]
fn root_named_directories() {
    let sandbox = sandbox();
    dir(&sandbox, "context", &Tree::new().file("Dockerfile", "FROM localhost/base\n").file("f", "main"));
    let named = Tree::new().file("f", "named").file("no", "no").file(".dockerignore", "no\n.dockerignore\n");
    dir(&sandbox, "named", &named.file_with_mode("own", "o", 0o640));
    let build = |dockerfile: &str, args: &[&str]| {
        sandbox.write("context/Dockerfile", dockerfile);
        gabion(&sandbox, &[args, &["context"]].concat())
    };
    let with = ["--build-context", "x=named"];
    assert_eq!(built(&sandbox, build("FROM localhost/base\nCOPY --from=x f /f", &with)), ["/f \"named\""]);
    let all = built(&sandbox, build("FROM localhost/base\nCOPY --from=x . /x/", &with));
    assert_eq!(all, ["/x/f \"named\"", "/x/own \"o\""], "its own ignore file counts");
    let mounted = "FROM localhost/base\nRUN --mount=from=x,target=/m cat /m/f > /read";
    assert_eq!(built(&sandbox, build(mounted, &with)), ["/read \"named\""]);
    // In place of a stage, whose instructions then count for nothing.
    let staged = "FROM localhost/missing AS x\nRUN false\nFROM localhost/base\nCOPY --from=x f /f";
    assert_eq!(built(&sandbox, build(staged, &with)), ["/f \"named\""]);
    // In place of an image, as a base and as a source.
    let as_image = ["--build-context", "localhost/missing:latest=named"];
    let from_image = "FROM localhost/base\nCOPY --from=localhost/missing f /f";
    assert_eq!(built(&sandbox, build(from_image, &as_image)), ["/f \"named\""]);
    assert_eq!(
        built(&sandbox, build("FROM x\nCOPY f /main\n", &with)),
        ["/f \"named\"", "/main \"main\"", "/own \"o\""]
    );
    let files = image(&sandbox, "localhost/built").files();
    assert_eq!((files["own"].file.mode, files["own"].file.owner), (0o640, (0, 0)));
    // A name of the file's own that comes before.
    let own = "FROM localhost/base AS y\nRUN echo own > /f\nFROM localhost/base\nCOPY --from=y f /f";
    assert_eq!(built(&sandbox, build(own, &with)), ["/f \"own\\n\""]);

    refused(
        &sandbox,
        build("FROM localhost/base", &["--build-context", "x=gone"]),
        "--build-context x: build context gone",
    );
    refused(&sandbox, build("FROM localhost/base", &["--build-context", "x"]), "expected NAME=WHERE");
    let twice = ["--build-context", "x=named", "--build-context", "x:latest=context"];
    refused(&sandbox, build("FROM localhost/base", &twice), "--build-context x: it is given twice");
    refused(&sandbox, build("FROM localhost/base\nCOPY --from=x ../context/f /f", &with), "cannot copy");
}

#[test]
fn root_named_images_layouts_and_archives() {
    let sandbox = sandbox();
    dir(&sandbox, "context", &Tree::new());
    let tar = base_image::layer_tar();
    let layout = sandbox.path("layout");
    let mut digests = Vec::new();
    for tag in ["one", "two"] {
        let dir = sandbox.path(format!("layout-{tag}"));
        base_image::write_layout(&dir, tag, std::slice::from_ref(&tar), false, &json!({"Labels": {"tag": tag}}));
        let to = format!("oci:{}:{tag}", layout.display());
        sandbox.skopeo(["copy", "-q", &format!("oci:{}:{tag}", dir.display()), &to]).ok();
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("read")).expect("JSON");
        let entries = index["manifests"].as_array().expect("entries");
        digests.push(entries.last().expect("an entry")["digest"].as_str().expect("text").to_owned());
    }
    let before = images(&sandbox);
    let build = |dockerfile: &str, context: &str| {
        sandbox.write("context/Dockerfile", dockerfile);
        gabion(&sandbox, &["--build-context", context, "context"])
    };
    let label = |context: &str| {
        let outcome = build("FROM x\nRUN echo made > /made\n", context).run();
        assert!(outcome.status.success(), "{outcome}");
        assert_no_leftovers(&sandbox);
        image(&sandbox, "localhost/built").config["config"]["Labels"]["tag"].as_str().expect("a label").to_owned()
    };
    assert_eq!(label("x=oci-layout://layout:one"), "one");
    assert_eq!(label(&format!("x=oci-layout://layout@{}", digests[1])), "two");
    assert_eq!(label(&format!("x=oci-layout://layout:one@{}", digests[1])), "two");
    // Earlier images under the same name.
    sandbox.gabion(["rmi", "--prune"]).ok();
    let names: Vec<String> = store_check::records(&sandbox.graph_root(), "images")
        .iter()
        .filter(|record| !before.contains(record["id"].as_str().expect("id")))
        .map(|record| record["names"].to_string())
        .collect();
    assert_eq!(names, ["[\"localhost/built:latest\"]"], "the layout's image is not left in the store");
    let copied = "FROM localhost/base\nCOPY --from=x bin/busybox /copied";
    built(&sandbox, build(copied, "x=oci-layout://layout:two"));
    refused(&sandbox, build("FROM x", "x=oci-layout://layout:three"), "three");
    refused(&sandbox, build("FROM x", &format!("x=oci-layout://layout@sha256:{}", "0".repeat(64))), "does not name");

    let pinned = "FROM localhost/base\nRUN echo pinned > /pinned\n";
    sandbox.gabion(["build", "-q", "-t", "localhost/pinned:1", "-"]).stdin(pinned).ok();
    for scheme in ["docker-image", "container-image"] {
        let context = format!("localhost/none={scheme}://localhost/pinned:1");
        assert_eq!(built(&sandbox, build("FROM localhost/none", &context)), ["/pinned \"pinned\\n\""]);
        let copied = "FROM localhost/base\nCOPY --from=localhost/none /pinned /copied";
        assert_eq!(built(&sandbox, build(copied, &context)), ["/copied \"pinned\\n\""]);
    }
    let registry = DockerRegistry::plain();
    let pushed = format!("{}/pinned:2", registry.address());
    sandbox
        .skopeo(["copy", "-q", "--dest-tls-verify=false", &sandbox.storage("localhost/pinned:1")])
        .arg(format!("docker://{pushed}"))
        .ok();
    sandbox.write("context/Dockerfile", "FROM x\n");
    let context = format!("x=docker-image://{pushed}");
    built(&sandbox, gabion(&sandbox, &["--tls-verify=false", "--build-context", &context, "context"]));

    let files = dir(&sandbox, "files", &small_context());
    let url = serve(archive(&sandbox, &files, "--xz"));
    let context = format!("x={url}/files.tar.xz");
    assert_eq!(built(&sandbox, build("FROM localhost/base\nCOPY --from=x . /x/", &context)), ["/x/a \"A\""]);
    let plain = serve(b"FROM localhost/base\n".to_vec());
    refused(&sandbox, build("FROM x", &format!("x={plain}/text")), "expected a tar");
}

#[test]
fn root_stages_by_name_number_and_order() {
    let sandbox = sandbox();
    dir(&sandbox, "context", &Tree::new());
    let build = |dockerfile: &str, args: &[&str]| {
        sandbox.write("context/Dockerfile", dockerfile);
        gabion(&sandbox, &[args, &["context"]].concat())
    };
    let file = "FROM localhost/base AS First\nRUN echo 1 > /1\nFROM first AS second\nRUN echo 2 > /2\n\
        FROM scratch\nCOPY --from=0 /1 /one\nCOPY --from=second /2 /two\nFROM localhost/missing AS unused\nRUN false\n";
    assert_eq!(built(&sandbox, build(file, &["--target=2"])), ["/one \"1\\n\"", "/two \"2\\n\""]);
    assert_eq!(built(&sandbox, build(file, &["--target", "SECOND"])), ["/1 \"1\\n\"", "/2 \"2\\n\""]);
    let target = image(&sandbox, "localhost/built");
    assert_eq!(target.layers.len(), 3);
    refused(&sandbox, build(file, &["--target=9"]), "no stage \"9\"");
    let after = "FROM localhost/base AS one\nRUN echo 1 > /1\nFROM localhost/base AS two\nRUN echo 2 > /2\n\
        FROM --after=one --after=1 localhost/base\nRUN echo 3 > /3\n";
    let outcome = build(after, &["--progress=plain"]).run();
    assert!(outcome.status.success(), "{outcome}");
    assert_eq!(new_files(&sandbox), ["/3 \"3\\n\""]);
    refused(
        &sandbox,
        build("FROM --platform=plan9/386 localhost/base", &[]),
        "platform plan9/386: only images for linux",
    );
    let digest = sandbox.skopeo(["inspect", "--format", "{{.Digest}}", &sandbox.storage("localhost/base")]).ok();
    built(&sandbox, build(&format!("FROM localhost/base@{digest}\nRUN echo d > /d"), &[]));
    assert_eq!(new_files(&sandbox), ["/d \"d\\n\""]);
}

#[test]
fn root_a_default_containerfile_that_is_a_directory_is_none() {
    let sandbox = sandbox();
    let tree = Tree::new().dir("Containerfile", 0o755).file("Dockerfile", "FROM localhost/base\nCOPY Dockerfile /d\n");
    dir(&sandbox, "context", &tree);
    let files = built(&sandbox, gabion(&sandbox, &["context"]));
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn root_writes_to_a_volume_are_kept() {
    let sandbox = sandbox();
    let file = "FROM localhost/base\nRUN mkdir /v\nVOLUME /v\nRUN echo kept > /v/f\nCOPY <<e /v/copied\ntext\ne\n\
        FROM localhost/built-on AS unused\n";
    let tool = gabion(&sandbox, &["--target=0", "-"]).stdin(file);
    assert_eq!(built(&sandbox, tool), ["/v/copied \"text\\n\"", "/v/f \"kept\\n\""]);
}

#[test]
fn root_killed_builds_leave_their_contexts_to_the_next_command() {
    let sandbox = sandbox();
    let tree = Tree::new().file("Dockerfile", "FROM localhost/base\nRUN echo begun; sleep 100\n").file("a", "A");
    let files = dir(&sandbox, "files", &tree);
    let tar = archive(&sandbox, &files, "--gzip");
    let mut child = sandbox.gabion(["build", "--network=none", "-"]).stdin(tar).spawn();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("begun") || line.contains("echo") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).expect("read"), 0, "it ended too early");
    }
    let private = sandbox.graph_root().join("gabion/tempdirs");
    assert!(fs::read_dir(&private).expect("read").count() > 0);
    child.kill().expect("kill");
    child.wait().expect("wait");
    sandbox.gabion(["images"]).ok();
    assert_eq!(fs::read_dir(&private).expect("read").count(), 0);
}

/// An OCI layout whose tag `multi` is an index of two images, for amd64 and s390x. Each has a file
/// `which` with its platform.
fn layout_of_two_platforms(sandbox: &Sandbox) -> PathBuf {
    let layout = sandbox.path("two-platforms");
    sandbox.write("parts/Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nCOPY <<which /\n$TARGETPLATFORM\nwhich\n");
    let manifests: Vec<Value> = ["amd64", "s390x"]
        .iter()
        .map(|architecture| {
            let platform = format!("--platform=linux/{architecture}");
            sandbox.gabion(["build", "-q", &platform, "-t", architecture]).arg(sandbox.path("parts")).ok();
            let to = format!("oci:{}:{architecture}", layout.display());
            sandbox.gabion(["push", "-q", &format!("localhost/{architecture}"), &to]).ok();
            let index: Value =
                serde_json::from_slice(&fs::read(layout.join("index.json")).expect("read")).expect("JSON");
            let entry = index["manifests"].as_array().and_then(|entries| entries.last()).expect("an entry").clone();
            json!({
                "mediaType": entry["mediaType"], "digest": entry["digest"], "size": entry["size"],
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
    let sum = sandbox.any("sha256sum").stdin(index.clone()).ok();
    let hex = sum.split(' ').next().expect("a digest");
    fs::write(layout.join("blobs/sha256").join(hex), &index).expect("write");
    let entry = json!({
        "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": index.len(),
        "annotations": {"org.opencontainers.image.ref.name": "multi"},
    });
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).expect("write");
    for architecture in ["amd64", "s390x"] {
        sandbox.gabion(["rmi", &format!("localhost/{architecture}")]).ok();
    }
    layout
}

#[test]
fn root_platforms_are_chosen_from_an_index() {
    let sandbox = sandbox();
    let layout = layout_of_two_platforms(&sandbox);
    let context = format!("--build-context=multi=oci-layout://{}:multi", layout.display());
    let build = |dockerfile: &str, args: &[&str]| {
        sandbox.write("context/Dockerfile", dockerfile);
        let outcome = gabion(&sandbox, args).args([&context, "context"]).run();
        assert!(outcome.status.success(), "{outcome}");
        let image = image(&sandbox, "localhost/built");
        let which = flatten::lines(&image.files()).values().cloned().collect::<Vec<_>>().join(" ");
        (image.config["architecture"].as_str().expect("an architecture").to_owned(), which)
    };
    let file = |name: &str, content: &str| format!("- 644 0:0 /{name} \"{content}\\n\"");
    let both = "FROM --platform=linux/s390x multi AS other\nENV OF=$TARGETARCH\nFROM multi\n\
        COPY --from=other /which /other\nCOPY --from=multi /which /own";
    assert_eq!(build("FROM multi\nENV A=1", &[]), ("amd64".to_owned(), file("which", "linux/amd64")));
    let other = ("s390x".to_owned(), file("which", "linux/s390x"));
    assert_eq!(build("FROM multi\nENV A=1", &["--platform=linux/s390x"]), other);
    assert_eq!(build("FROM --platform=linux/s390x multi\nENV A=1", &[]), other);
    assert_eq!(build("FROM --platform=$TARGETPLATFORM multi\nENV A=1", &["--arch=s390x"]), other);
    let files = [file("other", "linux/s390x"), file("own", "linux/amd64"), file("which", "linux/amd64")].join(" ");
    assert_eq!(build(both, &[]), ("amd64".to_owned(), files));
    sandbox.write("context/Dockerfile", "FROM multi");
    refused(&sandbox, gabion(&sandbox, &["--platform=linux/riscv64", &context, "context"]), "linux/riscv64");
}
