//! What an image is made of, as a scanner tells it: `--sbom` and its kin, of `commit` and `build`. The scanner is made
//! here: it names each file below `app`.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use test_support::{Sandbox, Tool, store_check};

/// Of the files below `app` in the first argument a CycloneDX document at the second.
const SCANNER: &str = r#"#!/bin/sh
touch "$1/written" 2>/dev/null && exit 9
cd "$1/app" || exit 8
echo looking at "$1"
{
    printf '{"bomFormat":"CycloneDX","components":['
    between=
    for name in *; do
        printf '%s{"name":"%s","version":"%s","purl":"pkg:generic/%s"}' "$between" "$name" "$(cat "$name")" "$name"
        between=,
    done
    printf ']}'
} > "$2"
"#;
const STRATEGY: &str = "--sbom-merge-strategy=merge-cyclonedx-by-component-name-and-version";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let script = sandbox.write("scan", SCANNER);
    sandbox.gabion(["from", "--name", "s", "localhost/base"]).ok();
    sandbox.gabion(["copy", "-q", "--chmod", "755", "s"]).arg(script).arg("/scan").ok();
    sandbox.gabion(["commit", "-q", "--rm", "s", "localhost/scanner"]).ok();
    sandbox
}

/// A command with the scanner, and all four outputs.
fn scanning(sandbox: &Sandbox, command: &[&str]) -> Tool {
    let words = ["--sbom-scanner-image=localhost/scanner", "--sbom-scanner-command=/scan {ROOTFS} {OUTPUT}", STRATEGY];
    let tool = sandbox.gabion(command).args(words).in_dir(sandbox.dir());
    tool.args(["--sbom-output=sbom.json", "--sbom-purl-output=purls.json"]).args([
        "--sbom-image-output=/root/bom/sbom.json",
        "--sbom-image-purl-output",
        "root/purls.json",
    ])
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
}

fn names(sbom: &Value) -> Vec<String> {
    let components = sbom["components"].as_array().expect("a list");
    components.iter().map(|one| format!("{}={}", one["name"], one["version"]).replace('"', "")).collect()
}

/// The config of an image as it is stored.
fn config(sandbox: &Sandbox, image: &str) -> Value {
    let text = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.Config}}", image]).ok();
    serde_json::from_str(&text).expect("JSON")
}

fn layers(sandbox: &Sandbox, image: &str) -> usize {
    config(sandbox, image)["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len)
}

/// What the image has is what the host has.
fn assert_in_image(sandbox: &Sandbox, image: &str) {
    let show = "cat /root/bom/sbom.json; echo; cat /root/purls.json; stat -c '%n %a %u' /root/bom/sbom.json";
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).expect("read");
    assert_eq!(
        sandbox.podman_run([image, "sh", "-c", show]).ok(),
        format!("{}\n{}/root/bom/sbom.json 644 0", read("sbom.json"), read("purls.json"))
    );
}

/// No scanner's container, and no directory of a scan.
fn assert_nothing_left(sandbox: &Sandbox) {
    let containers = sandbox.gabion(["containers", "-a", "--format", "{{.ContainerName}}"]).ok();
    assert!(!containers.contains("scanner"), "{containers}");
    let count = |path: &str| fs::read_dir(sandbox.graph_root().join(path)).map_or(0, Iterator::count);
    assert_eq!((count("gabion/tempdirs"), count("gabion/builds")), (0, 0));
}

#[test]
fn root_commits_tell_what_is_in_the_image() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--network=none", "--name", "c", "localhost/base"]).ok();
    sandbox.gabion(["run", "c", "--", "sh", "-c", "mkdir /app; printf 1.0 > /app/one"]).ok();
    sandbox.write("two", "2.0");
    sandbox.gabion(["copy", "-q", "--link", "c"]).arg(sandbox.path("two")).arg("/app/").ok();
    let base = layers(&sandbox, "localhost/base");
    for (flags, expected) in [(&[][..], base + 3), (&["--squash"], 1)] {
        // What was there is replaced, however long it was.
        sandbox.write("sbom.json", "x".repeat(10_000));
        let id = scanning(&sandbox, &["commit", "-q"]).args(flags).args(["c", "localhost/told"]).ok();
        assert_eq!(id.len(), 64, "nothing of the scanner's output");
        assert_eq!(names(&json(sandbox.path("sbom.json"))), ["one=1.0", "two=2.0"], "{flags:?}");
        let purls = json!({"image_contents": {"dependencies": ["pkg:generic/one", "pkg:generic/two"]}});
        assert_eq!(json(sandbox.path("purls.json")), purls);
        assert_in_image(&sandbox, "localhost/told");
        assert_eq!(layers(&sandbox, "localhost/told"), expected, "{flags:?}");
        assert_nothing_left(&sandbox);
    }
    sandbox.gabion(["run", "c", "--", "sh", "-c", "test ! -e /root/bom && test ! -e /app/written"]).ok();
    // A file that is added by hand counts more, and of several documents one is made.
    let added = format!("{}:/root/purls.json", sandbox.path("two").display());
    let again = "--sbom-scanner-command=sed s/one/three/ < {ROOTFS}/../dev/null > {OUTPUT}; /scan {ROOTFS} {OUTPUT}";
    scanning(&sandbox, &["commit", "-q", "--rm", "--add-file", &added, again, "--timestamp=7"])
        .args(["c", "last"])
        .ok();
    assert_eq!(names(&json(sandbox.path("sbom.json"))), ["one=1.0", "two=2.0"]);
    assert_eq!(sandbox.podman_run(["localhost/last", "cat", "/root/purls.json"]).ok(), "2.0");
    assert_nothing_left(&sandbox);
    store_check::assert_records_sound(&sandbox);
}

#[test]
fn root_scanners_need_no_runtime_where_commands_do_not() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--isolation=chroot", "--name", "c", "localhost/base"]).ok();
    sandbox.gabion(["run", "c", "sh", "-c", "mkdir /app; echo 1 > /app/one"]).ok();
    scanning(&sandbox, &["commit", "-q"]).args(["c", "localhost/told"]).env("PATH", "/nowhere").ok();
    assert_eq!(names(&json(sandbox.path("sbom.json"))), ["one=1"]);
}

#[test]
fn root_builds_tell_what_is_in_the_image_and_in_contexts() {
    let sandbox = sandbox();
    sandbox.write("ctx/Dockerfile", "FROM localhost/base\nRUN mkdir /app && printf 1 > /app/one\n");
    sandbox.write("ctx/app/one", "1");
    sandbox.write("ctx/app/context", "2");
    sandbox.write("ctx/app/secret", "no");
    sandbox.write("ctx/.containerignore", "app/secret\n");
    sandbox.write("more/app/named", "3");
    let context = sandbox.path("ctx");
    let more = format!("--build-context=more={}", sandbox.path("more").display());
    let build = |flags: &[&str], context: &Path| {
        let words = ["build", "-q", "--network=none", "-t", "localhost/built"];
        scanning(&sandbox, &words)
            .arg("--sbom-scanner-command=/scan {CONTEXT} {OUTPUT}")
            .arg(&more)
            .args(flags)
            .arg(context)
    };
    let base = layers(&sandbox, "localhost/base");
    for (flags, expected) in [
        (&[][..], base + 2),
        // Its steps are cached.
        (&[], base + 2),
        (&["--layers=false"], base + 2),
        (&["--squash"], base + 2),
        (&["--squash-all"], 1),
        (&["--omit-history", "--format=docker"], base + 2),
    ] {
        let id = build(flags, &context).ok();
        assert_eq!(id.len(), 64);
        assert_eq!(names(&json(sandbox.path("sbom.json"))), ["one=1", "context=2", "named=3"], "{flags:?}");
        assert_in_image(&sandbox, "localhost/built");
        assert_eq!(layers(&sandbox, "localhost/built"), expected, "{flags:?}");
        let image = config(&sandbox, "localhost/built");
        let history = image["history"].as_array().cloned().unwrap_or_default();
        let with_layers = history.iter().filter(|entry| entry["empty_layer"] != true).count();
        assert_eq!(with_layers, if flags.len() == 2 { 0 } else { expected }, "{history:?}");
        assert_nothing_left(&sandbox);
    }
    // A base image that is also the result stays the same if it gets nothing.
    sandbox.write("plain/Dockerfile", "FROM localhost/built\n");
    let plain = sandbox.path("plain");
    let scan = ["--sbom-scanner-image=localhost/scanner", "--sbom-scanner-command=ls {ROOTFS}/app > {OUTPUT}"];
    let outcome = sandbox.gabion(["build", "-q", "--network=none", "--sbom-merge-strategy=cat", "--sbom-output=list"]);
    let id = outcome.args(scan).arg(&plain).in_dir(sandbox.dir()).ok();
    assert_eq!(id, sandbox.gabion(["inspect", "--type=image", "--format={{.FromImageID}}", "localhost/built"]).ok());
    assert_eq!(fs::read_to_string(sandbox.path("list")).expect("read"), "one\n");
    sandbox.write("plain/app/p", "4");
    assert_ne!(build(&[], &plain).ok(), id);
    assert_eq!(names(&json(sandbox.path("sbom.json"))), ["one=1", "p=4", "named=3"]);
    store_check::assert_records_sound(&sandbox);
}

#[test]
fn root_scanners_that_fail_are_told_of() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--network=none", "--name", "c", "localhost/base"]).ok();
    let before = store_check::records(&sandbox.graph_root(), "images").len();
    let scan = |command: &str, words: &[&str]| {
        let command = format!("--sbom-scanner-command={command}");
        let outcome = sandbox.gabion(["commit", "-q", "--sbom-scanner-image=localhost/scanner", STRATEGY, &command]);
        outcome.args(["--sbom-output=out", "c", "i"]).in_dir(sandbox.dir()).run().says(125, words);
    };
    scan("/scan {ROOTFS} {OUTPUT}", &["the scanner localhost/scanner failed: /scan /.rootfs", "code 8", "app"]);
    scan("/nosuch {ROOTFS} {OUTPUT}", &["the scanner localhost/scanner", "/nosuch"]);
    scan("true {ROOTFS} {OUTPUT}", &["true /.rootfs", "no usable document", "no file at {OUTPUT}"]);
    scan("ln -s /etc/passwd {OUTPUT} # {ROOTFS} ;", &["no file at {OUTPUT}"]);
    scan("mkfifo {OUTPUT} ; : {ROOTFS}", &["no file at {OUTPUT}"]);
    scan("echo {ROOTFS} > {OUTPUT}", &["expected a JSON object"]);
    scan("ls {CONTEXT} > {OUTPUT}", &["nothing to scan", "{ROOTFS}"]);
    let commit = |flags: &[&str]| {
        let outcome = sandbox.gabion(["commit", "-q", "--sbom-output=out"]).args(flags).args(["c", "i"]);
        outcome.in_dir(sandbox.dir()).run()
    };
    for (flags, image) in [
        (&["--pull=never"][..], "ghcr.io/anchore/syft"),
        (&["--pull-never", "--sbom=trivy-spdx"], "ghcr.io/aquasecurity/trivy"),
        (&["--pull=never", "--sbom=trivy", "--sbom-scanner-image=localhost/nosuch"], "localhost/nosuch"),
    ] {
        commit(flags).says(125, &[&format!("the scanner {image}"), "cannot be had"]);
    }
    sandbox.write("ctx/Dockerfile", "FROM localhost/base\n");
    let policy =
        json!({"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://localhost/scanner*"}}]});
    let policy = sandbox.write("policy", policy.to_string());
    let build = scanning(&sandbox, &["build", "-q", "--network=none"]).arg("--source-policy-file").arg(policy);
    build.arg(sandbox.path("ctx")).run().says(125, &["localhost/scanner"]);
    assert!(!sandbox.path("out").exists() && !sandbox.path("sbom.json").exists());
    assert_eq!(store_check::records(&sandbox.graph_root(), "images").len(), before);
    assert_nothing_left(&sandbox);
}

#[test]
fn root_killed_while_scanning_nothing_is_left() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--network=none", "--name", "c", "localhost/base"]).ok();
    sandbox.gabion(["run", "c", "--", "mkfifo", "/gate"]).ok();
    let rootfs = PathBuf::from(sandbox.gabion(["mount", "c"]).ok());
    let flags = ["--sbom-scanner-image=localhost/scanner", "--sbom-scanner-command=cat {OUTPUT} > {ROOTFS}/gate; cat"];
    let mut child =
        sandbox.gabion(["commit", "-q", "--sbom-output=out", STRATEGY]).args(flags).args(["c", "i"]).spawn();
    // The scanner is there once somebody writes.
    drop(fs::File::open(rootfs.join("gate")).expect("open"));
    child.kill().expect("kill");
    child.wait().expect("wait");
    sandbox.gabion(["umount", "--all"]).ok();
    sandbox.gabion(["containers"]).ok();
    assert_nothing_left(&sandbox);
}
