//! Where a build's result goes: directories, tars, archives, registries; and what is written about
//! it. All is read back by other tools.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use test_support::{DockerRegistry, Outcome, Sandbox, Tool, flatten, store_check, validate};

/// Layers with everything that an export has to put together.
const FILE: &str = "FROM scratch AS files\nCOPY one two /d/\nCOPY one /gone\nCOPY --chown=7:8 --chmod=4751 one /own\n\
    FROM localhost/base\nCOPY --from=files / /\nRUN rm /gone /bin/ash && ln /d/one /d/linked && ln -s /etc/passwd /sym \
    && mkfifo /fifo && mkdir -m 1777 /sticky && rm -r /home && mkdir /home && echo new > /home/new\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    for (name, text) in [("context/Dockerfile", FILE), ("context/one", "1"), ("context/two", "2")] {
        sandbox.write(name, text);
    }
    sandbox
}

fn build(sandbox: &Sandbox, args: &[&str]) -> Tool {
    let words = ["build", "--network=none"];
    sandbox.gabion(words).args(args).arg("context").in_dir(sandbox.dir())
}

fn images(sandbox: &Sandbox) -> BTreeSet<String> {
    let records = store_check::records(&sandbox.graph_root(), "images");
    // What has no name is there for later builds.
    let named = records.iter().filter(|record| record["names"].as_array().is_some_and(|names| !names.is_empty()));
    named.map(|record| format!("{} {}", record["id"], record["names"])).collect()
}

#[track_caller]
fn assert_unchanged(sandbox: &Sandbox, before: &BTreeSet<String>) {
    assert_eq!(images(sandbox), *before);
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers"), Vec::<Value>::new());
    store_check::assert_records_sound(sandbox);
}

#[track_caller]
fn refused(sandbox: &Sandbox, tool: Tool, words: &str) -> Outcome {
    let before = images(sandbox);
    let outcome = tool.run();
    outcome.says(125, &[words]);
    assert_unchanged(sandbox, &before);
    outcome
}

/// Lines about all files below `dir`, as GNU find and stat see them.
fn tree(sandbox: &Sandbox, dir: &Path) -> Vec<String> {
    let find = sandbox.any("find").arg(dir).args(["-mindepth", "1", "-printf", "%y %m %U:%G %n %P %l\\n"]);
    let mut lines: Vec<String> = find.ok().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

/// The same of what Buildah mounts of the image.
fn expected(sandbox: &Sandbox, image: &str) -> Vec<String> {
    let container = sandbox.buildah(["from", "--pull-never", image]).ok();
    let mounted = sandbox.buildah(["mount", &container]).ok();
    let lines = tree(sandbox, Path::new(&mounted));
    sandbox.buildah(["rm", &container]).ok();
    lines
}

/// A line without the number of links, which directories of different file systems count differently.
fn without_links(lines: &[String]) -> Vec<String> {
    let cut = |line: &String| {
        let mut words: Vec<&str> = line.splitn(5, ' ').collect();
        if words[0] == "d" {
            words.remove(3);
        }
        words.join(" ")
    };
    let mut cut: Vec<String> = lines.iter().map(cut).collect();
    cut.sort();
    cut
}

#[test]
fn root_files_go_to_a_directory() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    for (args, dir) in [(&["-o", "plain"][..], "plain"), (&["--output", "type=local,dest=deep/er/dir"], "deep/er/dir")]
    {
        let outcome = build(&sandbox, args).run();
        assert!(outcome.status.success(), "{outcome}");
        assert!(sandbox.path(dir).join("d/one").exists());
        assert_unchanged(&sandbox, &before);
    }
    build(&sandbox, &["-q", "-t", "tagged", "-o", "out"]).ok();
    let exported = tree(&sandbox, &sandbox.path("out"));
    assert_eq!(without_links(&exported), without_links(&expected(&sandbox, "localhost/tagged")));
    assert_eq!(exported, tree(&sandbox, &sandbox.path("plain")));
    assert!(exported.iter().any(|line| line.starts_with("f 4751 7:8 1 own")), "{exported:?}");
    assert!(exported.iter().any(|line| line.ends_with("l 777 0:0 1 sym /etc/passwd")), "{exported:?}");
    let inode = |name: &str| fs::metadata(sandbox.path("out").join(name)).expect("stat").ino();
    assert_eq!(inode("d/one"), inode("d/linked"));
    assert!(!sandbox.path("out/gone").exists() && sandbox.path("out/fifo").exists());
}

#[test]
fn root_a_directory_that_has_something_is_merged_and_never_left() {
    let sandbox = sandbox();
    let outside = sandbox.path("outside");
    fs::create_dir_all(outside.join("etc")).expect("make");
    let out = sandbox.path("out");
    fs::create_dir_all(out.join("d/one")).expect("make");
    fs::write(out.join("d/kept"), "kept").expect("write");
    fs::write(out.join("home"), "a file where a directory comes").expect("write");
    fs::write(out.join("own"), "old").expect("write");
    symlink(outside.join("etc"), out.join("etc")).expect("link");
    symlink(outside.join("two"), out.join("sym")).expect("link");
    symlink("..", out.join("bin")).expect("link");
    build(&sandbox, &["-q", "-o", "out"]).ok();
    let read = |name: &str| fs::read_to_string(out.join(name)).expect(name);
    assert_eq!([read("d/one"), read("d/kept"), read("own"), read("home/new")], ["1", "kept", "1", "new\n"]);
    assert!(out.join("etc/passwd").exists() && out.join("bin/busybox").exists());
    assert_eq!(fs::read_dir(outside.join("etc")).expect("read").count(), 0, "nothing went outside");
    assert_eq!(fs::read_dir(&outside).expect("read").count(), 1);
    let names: Vec<_> = fs::read_dir(&out).expect("read").map(|entry| entry.expect("entry").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with('.')), "{names:?}");
}

#[test]
fn root_files_go_to_a_tar() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    build(&sandbox, &["-q", "--timestamp=9", "-o", "dir"]).ok();
    build(&sandbox, &["-q", "--timestamp=9", "-o", "type=tar,dest=files.tar"]).ok();
    let unpack = |name: &str, tar: &Path| -> PathBuf {
        let into = sandbox.path(name);
        fs::create_dir(&into).expect("make");
        sandbox.any("tar").args(["--same-owner", "-xpf"]).arg(tar).arg("-C").arg(&into).ok();
        into
    };
    let by_tar = tree(&sandbox, &unpack("unpacked", &sandbox.path("files.tar")));
    assert_eq!(by_tar, tree(&sandbox, &sandbox.path("dir")));
    for output in ["-", "type=tar", "type=tar,dest=-"] {
        let words =
            format!("{} build --network=none --timestamp=9 -o {output} context > out.tar", gabion_command(&sandbox));
        let outcome = sandbox.any("sh").args(["-c", &words]).in_dir(sandbox.dir()).run();
        assert!(outcome.status.success(), "{outcome}");
        let [piped, written] = ["out.tar", "files.tar"].map(|name| fs::read(sandbox.path(name)).expect("read"));
        assert!(piped == written, "{output}: {} and {} bytes", piped.len(), written.len());
    }
    assert_unchanged(&sandbox, &before);
}

fn gabion_command(sandbox: &Sandbox) -> String {
    let words = sandbox.store_command(env!("CARGO_BIN_EXE_gabion"));
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn layout(sandbox: &Sandbox, from: &str, args: &[&str]) -> validate::Image {
    let to = tempfile::tempdir_in(sandbox.path("tmp")).expect("a directory");
    let layout = format!("oci:{}:x", to.path().display());
    sandbox.skopeo(["copy", "-q"]).args(args).args([from, &layout]).ok();
    validate::oci_layout(to.path(), "x")
}

#[test]
fn root_images_go_to_archives_and_layouts() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let path = |name: &str| sandbox.path(name).display().to_string();
    build(&sandbox, &["-q", "-o", "type=oci,dest=oci.tar,name=quay.io/me/app:v1"]).ok();
    build(&sandbox, &["-q", "-o", "type=oci,dest=layout,tar=false,name=app:v2,compression=zstd"]).ok();
    build(&sandbox, &["-q", "-o", "type=docker,dest=docker.tar,\"name=quay.io/me/app:v1,app:v3\""]).ok();
    let words = format!("{} build --network=none -o type=oci context > stdout.tar", gabion_command(&sandbox));
    sandbox.any("sh").args(["-c", &words]).in_dir(sandbox.dir()).ok();
    assert_unchanged(&sandbox, &before);

    build(&sandbox, &["-q", "-t", "kept"]).ok();
    let files = flatten::lines(&layout(&sandbox, &sandbox.storage("localhost/kept"), &[]).files());
    for from in [
        format!("oci-archive:{}:v1", path("oci.tar")),
        format!("oci:{}:v2", path("layout")),
        format!("docker-archive:{}:quay.io/me/app:v1", path("docker.tar")),
        format!("docker-archive:{}:localhost/app:v3", path("docker.tar")),
        format!("oci-archive:{}", path("stdout.tar")),
    ] {
        assert_eq!(flatten::lines(&layout(&sandbox, &from, &[]).files()), files, "{from}");
    }
    let index: Value = serde_json::from_slice(&fs::read(path("layout") + "/index.json").expect("read")).expect("JSON");
    let manifest =
        path("layout") + "/blobs/" + &index["manifests"][0]["digest"].as_str().expect("text").replace(':', "/");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).expect("read")).expect("JSON");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    sandbox.podman(["load", "-q", "-i", &path("docker.tar")]).ok();
    assert_eq!(sandbox.podman_run(["quay.io/me/app:v1", "cat", "/home/new"]).ok(), "new");
}

#[test]
fn root_images_go_to_registries() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let registry = DockerRegistry::plain();
    let [one, two, three, four] =
        ["one:1", "two:1", "three:1", "four:1"].map(|name| format!("{}/{name}", registry.address()));
    let plain = "--tls-verify=false";
    build(&sandbox, &["-q", plain, "-o", &format!("type=registry,name={one}")]).ok();
    let outputs = ["-o", &format!("type=image,name={two},push=true,store=false"), "-o", "type=local,dest=files"];
    build(&sandbox, &[&["-q", plain][..], &outputs].concat()).ok();
    build(&sandbox, &["-q", plain, "-t", &format!("docker://{three}")]).ok();
    assert_unchanged(&sandbox, &before);
    assert!(sandbox.path("files/d/one").exists());
    build(&sandbox, &["-q", plain, "--push", "-t", &four]).ok();
    let files = flatten::lines(&layout(&sandbox, &sandbox.storage(&four), &[]).files());
    for name in [&one, &two, &three, &four] {
        let pulled = layout(&sandbox, &format!("docker://{name}"), &["--src-tls-verify=false"]);
        assert_eq!(flatten::lines(&pulled.files()), files, "{name}");
    }
    let five = format!("{}/five:1", registry.address());
    build(&sandbox, &["-q", plain, "-o", &format!("type=image,name={five},push=true")]).ok();
    assert!(images(&sandbox).iter().any(|line| line.contains(&five)), "a stored name");

    refused(&sandbox, build(&sandbox, &["-o", "type=registry,name=127.0.0.1:1/x", "--retry=0"]), "127.0.0.1:1");
    refused(
        &sandbox,
        build(&sandbox, &["-t", "new", "-o", "type=registry,name=127.0.0.1:1/x", "--retry=0"]),
        "127.0.0.1:1",
    );
    refused(&sandbox, build(&sandbox, &["-o", "type=registry"]), "nothing to push to");
    build(&sandbox, &["--push"]).fails();
}

#[test]
fn root_places_with_a_transport_and_load() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let archive = format!("oci-archive:{}:v", sandbox.path("a.tar").display());
    build(&sandbox, &["-q", "-t", &archive]).ok();
    assert_unchanged(&sandbox, &before);
    assert!(layout(&sandbox, &archive, &[]).files().contains_key("home/new"));
    build(&sandbox, &["-q", "-t", "containers-storage:here:1", "-t", &archive]).ok();
    assert!(images(&sandbox).iter().any(|line| line.contains("localhost/here:1")));
    let id = build(&sandbox, &["-q", "--load", "-o", "files"]).ok();
    assert!(images(&sandbox).iter().any(|line| line.contains(&id)));
    build(&sandbox, &["-q", "-o", "type=docker,name=loaded"]).ok();
    assert!(images(&sandbox).iter().any(|line| line.contains("localhost/loaded:latest")));
    build(&sandbox, &["-t", "A B"]).fails();
}

#[test]
fn root_outputs_that_cannot_be_written_leave_nothing() {
    let sandbox = sandbox();
    sandbox.write("file", "a file");
    sandbox.write("kept.tar", "kept");
    for (output, words) in [
        ("file", "output to file"),
        ("type=tar,dest=missing/x.tar", "missing/x.tar"),
        ("type=oci,dest=missing/x.tar", "missing/x.tar"),
        ("type=docker,dest=file/x.tar", "file/x.tar"),
        ("type=what,dest=x", "unknown type \"what\""),
        ("type=local", "dest= with a directory is missing"),
        ("type=tar,dest=/dev/full", "/dev/full"),
    ] {
        refused(&sandbox, build(&sandbox, &["-t", "new", "-o", output]), words);
    }
    let full = sandbox.path("full");
    fs::create_dir(&full).expect("make");
    sandbox.any("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&full).ok();
    fs::write(full.join("x.tar"), "before").expect("write");
    fs::create_dir(full.join("there")).expect("make");
    for output in ["type=tar,dest=full/x.tar", "type=oci,dest=full/x.tar", "full/new", "full/there", "full"] {
        refused(&sandbox, build(&sandbox, &["-o", output]), "o space left on device");
        let left = tree(&sandbox, &full);
        assert_eq!(left.len(), 2, "{output}: {left:?}");
        assert_eq!(fs::read_to_string(full.join("x.tar")).expect("read"), "before");
    }
    sandbox.any("umount").arg(&full).ok();
    refused(&sandbox, build(&sandbox, &["-o", "-", "-o", "type=oci"]), "one output only");
}

#[test]
fn root_files_that_tell_of_the_image() {
    let sandbox = sandbox();
    let args = ["--iidfile", "iid", "--iidfile-raw", "raw", "--metadata-file", "meta", "-t", "a:1", "-t", "b"];
    let stdout = build(&sandbox, &[&["-q"][..], &args].concat()).ok();
    assert_eq!(stdout, "", "the ID is in a file instead");
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).expect(name);
    let id = sandbox.podman(["inspect", "--format", "{{.Id}}", "localhost/a:1"]).ok();
    assert_eq!((read("iid"), read("raw")), (format!("sha256:{id}"), id.clone()));
    let digest = sandbox.podman(["inspect", "--format", "{{.Digest}}", "localhost/b"]).ok();
    let meta: Value = serde_json::from_str(&read("meta")).expect("JSON");
    assert_eq!(meta["containerimage.config.digest"], format!("sha256:{id}"));
    assert_eq!(meta["containerimage.digest"], digest);
    assert_eq!(meta["containerimage.descriptor"]["digest"], digest);
    assert_eq!(meta["image.name"], "localhost/a:1,localhost/b:latest");
}

#[test]
fn root_labels_annotations_history_and_times() {
    let sandbox = sandbox();
    sandbox.write("base/Dockerfile", "FROM localhost/base\nLABEL from=base also=base\nRUN echo b > /b\n");
    let base =
        ["build", "-q", "--network=none", "--annotation", "from=base", "--annotation", "two=2", "-t", "base2", "base"];
    sandbox.gabion(base).in_dir(sandbox.dir()).ok();
    sandbox.write(
        "context/Dockerfile",
        "FROM localhost/base2\nARG ONE\nARG TWO\nARG THREE\nRUN echo $ONE$TWO$THREE > /args\n",
    );
    let image = |args: &[&str]| {
        let outcome = build(&sandbox, &[&["-q", "-t", "x"], args].concat()).run();
        assert!(outcome.status.success(), "{outcome}");
        layout(&sandbox, &sandbox.storage("localhost/x"), &[])
    };
    let labels = |image: &validate::Image| {
        let mut labels = image.config["config"]["Labels"].clone();
        labels.as_object_mut().expect("labels").remove("io.gabion.version");
        labels
    };
    let plain = image(&[]);
    assert_eq!(labels(&plain), json!({"from": "base", "also": "base"}));
    assert_eq!(plain.manifest["annotations"]["from"], "base");
    assert_eq!(plain.manifest["annotations"]["org.opencontainers.image.created"], Value::Null);
    let own =
        image(&["--inherit-labels=false", "--label", "own=1", "--inherit-annotations=false", "--annotation", "own=1"]);
    assert_eq!(labels(&own), json!({"own": "1"}));
    assert_eq!(own.manifest["annotations"], json!({"own": "1"}));
    let unset = image(&["--unsetlabel", "from", "--unsetannotation", "from", "--identity-label=false"]);
    assert_eq!(labels(&unset), json!({"also": "base"}));
    let bare = image(&["--inherit-labels=false", "--identity-label=false"]);
    assert!(bare.config["config"]["Labels"].as_object().is_none_or(serde_json::Map::is_empty));
    assert_eq!(
        (&unset.manifest["annotations"]["from"], &unset.manifest["annotations"]["two"]),
        (&Value::Null, &json!("2"))
    );
    assert!(image(&["--omit-history"]).config["history"].as_array().is_none_or(Vec::is_empty));
    let created = image(&["--created-annotation", "--source-date-epoch=1000", "--rewrite-timestamp=false"]);
    assert_eq!(created.config["created"], "1970-01-01T00:16:40Z");
    assert_eq!(created.manifest["annotations"]["org.opencontainers.image.created"], "1970-01-01T00:16:40Z");
    assert!(created.files()["args"].file.mtime > 1_000_000);
    assert_eq!(image(&["--source-date-epoch=1000"]).files()["args"].file.mtime, 1000);
    assert_eq!(image(&["--timestamp=5"]).files()["args"].file.mtime, 5);

    sandbox.write("args", "# a comment\n\nONE=file\nTWO=file\nTHREE\n");
    let outcome =
        build(&sandbox, &["-q", "-t", "x", "--build-arg-file", "args", "--build-arg", "TWO=flag"]).env("THREE", "env");
    outcome.ok();
    let files = flatten::lines(&layout(&sandbox, &sandbox.storage("localhost/x"), &[]).files());
    assert_eq!(files["args"], "- 644 0:0 /args \"fileflagenv\\n\"");
    refused(&sandbox, build(&sandbox, &["--build-arg-file", "gone"]), "'gone' for '--build-arg-file");
}

/// Two builds that make the very same nameless image for a stage, again and again at the same time.
#[test]
fn root_builds_at_once_leave_each_other_the_images_of_stages() {
    let sandbox = sandbox();
    for name in ["one", "two"] {
        let text = format!("FROM localhost/base AS b\nRUN echo same > /same\nFROM b\nRUN echo {name} > /own\n");
        sandbox.write(format!("{name}/Dockerfile"), text);
    }
    let before = images(&sandbox);
    for _ in 0..6 {
        let start = |name: &str| {
            let words = ["build", "-q", "--network=none", "--timestamp=7", "-o"];
            sandbox.gabion(words).args([&format!("out-{name}"), name]).in_dir(sandbox.dir()).spawn()
        };
        for child in ["one", "two", "one", "two"].map(start) {
            let output = child.wait_with_output().expect("wait");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let extra: Vec<String> = images(&sandbox).difference(&before).cloned().collect();
    assert!(extra.iter().all(|line| line.ends_with(" []") || line.ends_with(" null")), "{extra:?}");
    sandbox.gabion(["rmi", "--prune"]).ok();
    assert_unchanged(&sandbox, &before);
}
