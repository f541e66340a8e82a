//! `copy --link` and `add --link` on working containers: a layer of its own for what is copied, the same
//! over whatever is below it, read by the tools that share the store.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs::{self, File, FileTimes};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use oci::Digest;
use serde_json::{Value, json};
use test_support::store_check::assert_sound;
use test_support::{Sandbox, Tree};

/// The time of every source.
const TIME: u64 = 1_577_836_800;

fn sandbox(driver: &'static str) -> Sandbox {
    let sandbox = Sandbox::with_driver(driver, env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let tree = Tree::new().file_with_mode("f", "linked\n", 0o640).dir("d", 0o700).file("d/a", "a\n").file("d/b", "b\n");
    tree.write_to(sandbox.path("ctx"));
    for name in ["f", "d/a", "d/b", "d"] {
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(TIME));
        File::open(sandbox.path("ctx").join(name)).and_then(|file| file.set_times(times)).expect("set times");
    }
    sandbox
}

/// The config of an image as it is stored.
fn config(sandbox: &Sandbox, image: &str) -> Value {
    let text = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.Config}}", image]).ok();
    serde_json::from_str(&text).expect("JSON")
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// What is linked to the container, and waits for the commit.
fn waiting(sandbox: &Sandbox) -> Vec<PathBuf> {
    let containers = sandbox.graph_root().join(format!("{}-containers", sandbox.driver()));
    let dirs = fs::read_dir(containers).expect("read").map(|entry| entry.expect("entry").path().join("userdata"));
    let names = dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().map(|entry| entry.expect("entry").path());
    names
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link-stage-")))
        .collect()
}

/// Links a file over one that the container has written, and a directory.
fn linked(sandbox: &Sandbox, base: &str, name: &str) {
    let ctx = sandbox.path("ctx");
    sandbox.gabion(["from", "--pull=never", "--name", name, base]).ok();
    let link = |words: &[&str]| sandbox.gabion(words).in_dir(&ctx).ok();
    assert_eq!(link(&["copy", "--link", name, "f", "/own/f"]).len(), 64);
    let write = "mkdir -p /own; echo written > /own/f; echo written > /own/g; test ! -e /deep";
    sandbox.gabion(["run", "--network=none", name, "--", "sh", "-c", write]).ok();
    assert_eq!(link(&["add", "-q", "--link", "--chown", "7:8", "--chmod", "600", name, "d", "/deep/er/"]), "");
}

#[test]
fn peers_linked_copies_are_layers_of_their_own() {
    for driver in ["overlay", "vfs"] {
        let sandbox = sandbox(driver);
        sandbox.gabion(["from", "--name", "other", "localhost/base"]).ok();
        sandbox.gabion(["copy", "-q", "other"]).arg(sandbox.path("ctx/f")).arg("/else").ok();
        sandbox.gabion(["commit", "-q", "--rm", "other", "localhost/other"]).ok();
        let mut layers = Vec::new();
        for (base, format) in [("localhost/base", "oci"), ("localhost/other", "docker")] {
            linked(&sandbox, base, "work");
            assert_eq!(waiting(&sandbox).len(), 2);
            sandbox.gabion(["commit", "-q", "--format", format, "work", "one"]).ok();
            let image = config(&sandbox, "one");
            let history = list(&image["history"]);
            let told: Vec<&str> = history.iter().filter_map(|entry| entry["created_by"].as_str()).collect();
            let [.., own, first, second] = told[..] else { panic!("{told:?}") };
            assert_eq!(own, "/bin/sh");
            assert!(first.starts_with("/bin/sh -c #(nop) COPY --link file:") && first.ends_with(" in /own/f "));
            assert!(second.starts_with("/bin/sh -c #(nop) ADD --link dir:") && second.ends_with(" in /deep/er/ "));
            assert_eq!(history.last().expect("an entry")["created"], "2020-01-01T00:00:00Z");
            let ids = list(&image["rootfs"]["diff_ids"]);
            assert_eq!(history.iter().filter(|entry| entry["empty_layer"] != true).count(), ids.len());
            layers.push(ids[ids.len() - 2..].to_vec());
            let show = "cat /own/f /own/g; stat -c '%n %a %u:%g %Y' /own /own/f /deep /deep/er /deep/er/a";
            let run = |image: &str| {
                if driver == "overlay" {
                    return sandbox.podman_run([&format!("localhost/{image}"), "sh", "-c", show]).ok();
                }
                // Podman's own needs overlay of the host.
                let name = sandbox.buildah(["from", "--pull-never", image]).ok();
                let text = sandbox.gabion(["run", "--network=none", &name, "--", "sh", "-c", show]).ok();
                sandbox.buildah(["rm", &name]).ok();
                text
            };
            let expected = "linked\nwritten\n/own 755 0:0 T\n/own/f 640 0:0 T\n/deep 755 7:8 T\n/deep/er 755 7:8 T\n/deep/er/a 600 7:8 T";
            assert_eq!(run("one"), expected.replace('T', &TIME.to_string()));
            // The container goes on as it was, and can be committed again.
            sandbox
                .gabion(["commit", "-q", "--timestamp", "77", "--add-file"])
                .arg(format!("{}:/own/f", sandbox.path("ctx/d/a").display()))
                .args(["work", "again"])
                .ok();
            assert_eq!(run("again"), expected.replace('T', "77"));
            let again = config(&sandbox, "again");
            let entry = list(&again["history"]).pop().expect("an entry");
            assert_eq!(entry["created"], "1970-01-01T00:01:17Z");
            assert_eq!(list(&again["rootfs"]["diff_ids"]).len(), ids.len() + 1);
            // What is linked lies over what is added.
            let added = format!("{}:/own/f", sandbox.path("ctx/d/a").display());
            sandbox.gabion(["commit", "-q", "--squash", "--rm", "--add-file", &added, "work", "squashed"]).ok();
            assert_eq!(run("squashed"), expected.replace('T', &TIME.to_string()));
            assert_eq!(list(&config(&sandbox, "squashed")["rootfs"]["diff_ids"]).len(), 1);
            assert_eq!(waiting(&sandbox), Vec::<PathBuf>::new());
            let layout = format!("oci:{}", sandbox.path(format!("layout-{format}")).display());
            sandbox.skopeo(["copy", "-q", &sandbox.storage("localhost/one"), &layout]).ok();
        }
        assert_eq!(layers[0], layers[1], "{driver}");
        linked(&sandbox, "localhost/base", "gone");
        sandbox.gabion(["rm", "gone"]).ok();
        assert_eq!(waiting(&sandbox), Vec::<PathBuf>::new());
        assert_sound(&sandbox);
    }
}

#[test]
fn root_the_container_tells_only_where_links_go() {
    let sandbox = sandbox("overlay");
    sandbox.gabion(["from", "--name", "c", "localhost/base"]).ok();
    let make = "mkdir -p /real/dir /flat; ln -s real /to; echo u:x:7:70::/: >> /etc/passwd; echo 1 > /flat/file";
    sandbox.gabion(["run", "--network=none", "c", "--", "sh", "-c", make]).ok();
    sandbox.gabion(["config", "--workingdir", "/flat", "c"]).ok();
    let run = |words: &[&str]| sandbox.gabion(words).in_dir(sandbox.path("ctx")).run();
    let link = |words: &[&str]| {
        let outcome = run(&[&["copy", "--link"], words].concat());
        assert!(outcome.status.success(), "{outcome}");
    };
    // A directory takes a file in, under its own name; the rest of the path is as it is written.
    link(&["c", "f", "/real"]);
    link(&["c", "f", "/to/dir"]);
    link(&["c", "f", "new"]);
    link(&["--chown", "u", "c", "f", "/flat/file"]);
    link(&["--parents", "c", "./d/a", "/p/"]);
    link(&["--exclude", "a", "c", "d", "/x"]);
    run(&["copy", "--link", "--add-history", "c", "f", "/h"]);
    let outcome = run(&["copy", "--link", "c", "d", "/flat/file"]);
    outcome.says(125, &["/flat/file", "not a directory"]);
    run(&["copy", "--link", "c", "nosuch", "/x"]).says(125, &["nosuch"]);
    run(&["copy", "--link", "--cached", "c", "f", "/x"]).says(125, &["--link and --cached", "at the commit only"]);
    run(&["copy", "--link", "--chown", "nosuch", "c", "f", "/x"]).says(125, &["--chown", "nosuch"]);
    run(&["copy", "--link", "--allow-empty-wildcard", "c", "x*", "/x"]);
    assert_eq!(waiting(&sandbox).len(), 7);
    sandbox.gabion(["run", "--network=none", "c", "--", "sh", "-c", "test ! -e /real/f && test ! -e /p"]).ok();
    sandbox.gabion(["commit", "-q", "c", "i"]).ok();
    let show = "stat -c '%n %F %u:%g' /real/f /to /to/dir /to/dir/f /flat/new /flat/file /p/* /x/*; cat /flat/file";
    assert_eq!(
        sandbox.podman_run(["localhost/i", "sh", "-c", show]).ok(),
        "/real/f regular file 0:0\n/to directory 0:0\n/to/dir regular file 0:0\n/flat/new regular file 0:0\n\
         /flat/file regular file 7:70\n/p/d directory 0:0\n/x/b regular file 0:0\nlinked"
            .replace("/to/dir regular file 0:0", "/to/dir directory 0:0\n/to/dir/f regular file 0:0")
    );
    let history = list(&config(&sandbox, "i")["history"]);
    let noted = history.iter().filter(|entry| entry["empty_layer"] == true);
    let noted: Vec<&str> = noted.filter_map(|entry| entry["created_by"].as_str()).collect();
    assert!(noted.last().is_some_and(|text| text.starts_with("/bin/sh -c #(nop) COPY file:")), "{noted:?}");
}

#[test]
fn root_killed_while_linking_nothing_is_left() {
    let sandbox = sandbox("overlay");
    sandbox.gabion(["from", "--name", "c", "scratch"]).ok();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}/f", listener.local_addr().expect("an address"));
    let mut child = sandbox.gabion(["add", "--link", "c", &url, "/f"]).spawn();
    let _waits = listener.accept().expect("accept");
    child.kill().expect("kill");
    child.wait().expect("wait");
    sandbox.gabion(["commit", "-q", "--rm", "c", "i"]).ok();
    let left = fs::read_dir(sandbox.graph_root().join("gabion/tempdirs")).map_or(0, Iterator::count);
    assert_eq!((left, waiting(&sandbox)), (0, Vec::new()));
    assert_eq!(list(&config(&sandbox, "i")["rootfs"]["diff_ids"]).len(), 1);
    assert_sound(&sandbox);
}

#[test]
fn peers_linked_layers_that_buildah_told_of_are_made() {
    let sandbox = sandbox("overlay");
    let id = sandbox.buildah(["from", "--pull-never", "--name", "c", "localhost/base"]).ok();
    let container = sandbox.gabion(["inspect", "--format", "{{.ContainerID}}", &id]).ok();
    let state = sandbox.graph_root().join("overlay-containers").join(container).join("userdata/buildah.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&state).expect("read")).expect("JSON");
    let tar = sandbox.path("layer.tar");
    fs::create_dir(sandbox.path("t")).expect("mkdir");
    fs::write(sandbox.path("t/over"), "tar").expect("write");
    fs::write(sandbox.path("t/.wh.x"), "").expect("write");
    sandbox.any("tar").arg("-cf").arg(&tar).arg("-C").arg(sandbox.path("t")).args([".wh.x", "over"]).ok();
    let layer = |text: &str, path: &str| json!({"History": {"created": "2001-01-01T00:00:00Z", "created_by": text}, "BlobPath": path});
    let dir = sandbox.path("ctx");
    let text = |path: &PathBuf| path.to_str().expect("text").to_owned();
    value["PrependedLinkedLayers"] = json!([layer("below", &text(&dir))]);
    value["AppendedLinkedLayers"] =
        json!([layer("over", &text(&tar)), {"History": {"empty_layer": true}, "BlobPath": ""}]);
    let write = |value: &Value| fs::write(&state, value.to_string()).expect("write");
    write(&value);
    sandbox
        .gabion([
            "run",
            "--network=none",
            "c",
            "--",
            "sh",
            "-c",
            "mkdir /d; echo own > /d/a; echo x > /x; echo own > /over",
        ])
        .ok();
    let base = list(&config(&sandbox, "localhost/base")["rootfs"]["diff_ids"]).len();
    for flags in [&[][..], &["--timestamp", "9"]] {
        sandbox.gabion(["commit", "-q"]).args(flags).args(["c", "i"]).ok();
        let image = config(&sandbox, "i");
        let ids = list(&image["rootfs"]["diff_ids"]);
        assert_eq!(ids.len(), base + 3);
        if flags.is_empty() {
            // As it came, to the byte.
            assert_eq!(ids.last().expect("one"), Digest::of(&fs::read(&tar).expect("read")).to_string().as_str());
        }
        let history = list(&image["history"]);
        let told: Vec<&str> = history.iter().rev().take(3).filter_map(|entry| entry["created_by"].as_str()).collect();
        assert_eq!(told, ["over", "/bin/sh", "below"]);
        let show = "cat /f /d/a /d/b /over; test ! -e /x; test ! -e /.wh.x";
        assert_eq!(sandbox.podman_run(["localhost/i", "sh", "-c", show]).ok(), "linked\nown\nb\ntar", "{flags:?}");
    }
    sandbox.gabion(["commit", "-q", "--squash", "c", "s"]).run().says(125, &["without --squash", "ctx"]);
    value["PrependedLinkedLayers"] = Value::Null;
    write(&value);
    sandbox.gabion(["commit", "-q", "--squash", "c", "s"]).ok();
    let show = "cat /d/a /over; test ! -e /x; test ! -e /f";
    assert_eq!(sandbox.podman_run(["localhost/s", "sh", "-c", show]).ok(), "own\ntar");
    value["AppendedLinkedLayers"][0]["BlobPath"] = json!("/nosuch");
    write(&value);
    let lost = sandbox.gabion(["commit", "-q", "c", "l"]).run();
    lost.says(125, &["/nosuch", "--link", "No such file"]);
    fs::write(&tar, "no tar").expect("write");
    symlink(&tar, sandbox.path("link")).expect("symlink");
    value["AppendedLinkedLayers"][0]["BlobPath"] = json!(sandbox.path("link"));
    write(&value);
    sandbox.gabion(["commit", "-q", "c", "l"]).run().says(125, &["--link"]);
    assert_sound(&sandbox);
}
