//! gabion's mounts and lists beside Buildah's and Podman's, on one store.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::json;
use test_support::Sandbox;
use test_support::store_check::assert_sound;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

#[test]
fn peers_mounts_are_the_same_for_gabion_and_buildah() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "ours", "localhost/base"]).ok();
    sandbox.buildah(["from", "--pull-never", "--name", "theirs", "localhost/base"]).ok();
    assert_eq!(sandbox.gabion(["mount"]).ok(), "");
    assert_eq!(sandbox.gabion(["mount", "--json"]).json(), json!(null));
    let ours = sandbox.gabion(["mount", "ours"]).ok();
    let theirs = sandbox.buildah(["mount", "theirs"]).ok();
    let listed = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(listed(sandbox.gabion(["mount"]).ok()), listed(sandbox.buildah(["mount"]).ok()));
    assert_eq!(sandbox.gabion(["mount", "--json"]).json(), sandbox.buildah(["mount", "--json"]).json());
    // Counted: each takes back what it mounted.
    assert_eq!(sandbox.buildah(["mount", "ours"]).ok(), ours);
    sandbox.gabion(["umount", "ours"]).ok();
    assert!(Path::new(&ours).join("bin").exists());
    sandbox.buildah(["umount", "ours"]).ok();
    assert!(!Path::new(&ours).join("bin").exists());
    fs::write(Path::new(&theirs).join("x"), "1").expect("still mounted");
    assert_eq!(
        listed(sandbox.gabion(["mount", "ours", "theirs"]).ok()),
        listed(format!("ours {ours}\ntheirs {theirs}"))
    );
    assert_eq!(sandbox.gabion(["umount", "--all"]).ok().lines().count(), 2);
    // `theirs` was mounted twice.
    sandbox.buildah(["umount", "--all"]).ok();
    assert_eq!(sandbox.gabion(["mount"]).ok(), "");
    assert_eq!(sandbox.gabion(["umount", "ours"]).ok(), "", "not mounted is no failure");
    sandbox.gabion(["umount", "nosuch"]).fails().says(125, &["nosuch", "not known"]);
    sandbox.gabion(["mount", "nosuch"]).fails().says(125, &["nosuch", "not known"]);
    assert_eq!(sandbox.gabion(["rm", "--all"]).ok().lines().count(), 2);
    assert_sound(&sandbox);
}

#[test]
fn peers_containers_of_other_tools_are_shown_and_left_alone() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "ours", "localhost/base"]).ok();
    sandbox.podman(["create", "--network=none", "--name", "theirs", "localhost/base", "true"]).ok();
    for args in [
        vec!["containers"],
        vec!["containers", "--all"],
        vec!["containers", "--all", "--json"],
        vec!["containers", "-n", "--notruncate"],
        vec!["containers", "--format", "{{.ContainerID}}|{{.Builder}}|{{.ImageID}}|{{.ImageName}}|{{.ContainerName}}"],
    ] {
        assert_eq!(sandbox.gabion(&args).ok(), sandbox.buildah(&args).ok(), "{args:?}");
    }
    sandbox.gabion(["rm", "theirs"]).fails();
    sandbox.gabion(["rm", "--all"]).ok();
    assert_eq!(sandbox.podman(["ps", "-a", "--format", "{{.Names}}"]).ok(), "theirs");
    sandbox.gabion(["rmi", "base"]).fails().says(125, &["in use by a container"]);
    sandbox.podman(["rm", "theirs"]).ok();
    sandbox.gabion(["rmi", "base"]).ok();
}
