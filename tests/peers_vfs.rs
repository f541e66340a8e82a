//! A store of the vfs driver, worked on by gabion, Buildah, Podman and Skopeo in turn.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use test_support::Sandbox;
use test_support::store_check::assert_sound;
use test_support::validate::{Image, oci_layout};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_driver("vfs", env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// What `show` prints in a container of the image, by Buildah: Podman's own needs overlay of the host.
fn shown(sandbox: &Sandbox, image: &str, show: &str) -> String {
    let name = sandbox.buildah(["from", "--pull-never", image]).ok();
    let name = name.trim();
    let text = sandbox.buildah(["run", "--network=none", name, "--", "sh", "-c", show]).ok();
    sandbox.buildah(["rm", name]).ok();
    text
}

const CHANGE: &str = "mkdir /d && echo 1 > /d/one && echo 2 > /d/two && ln /d/one /d/again";
const CHANGE_AGAIN: &str = "rm /d/two && echo 3 > /d/three && chmod 600 /d/one";
const SHOW: &str = "cd /d && ls && stat -c '%a %h' one && cat one three";
const EXPECTED: &str = "again\none\nthree\n600 2\n1\n3";

#[test]
fn peers_each_goes_on_where_the_other_ended() {
    let sandbox = sandbox();
    for first_is_gabion in [true, false] {
        let tool = |is_gabion: bool, args: &[&str]| match is_gabion == first_is_gabion {
            true => sandbox.gabion(args).ok(),
            false => sandbox.buildah(args).ok(),
        };
        let (one, two) = if first_is_gabion { ("one-a", "two-a") } else { ("one-b", "two-b") };
        tool(true, &["from", "--pull=never", "--name", "c", "localhost/base"]);
        tool(true, &["run", "--network=none", "c", "--", "sh", "-c", CHANGE]);
        // A container of the one is committed by the other.
        tool(false, &["commit", "c", one]);
        tool(false, &["rm", "c"]);
        tool(false, &["from", "--pull=never", "--name", "c", one]);
        tool(true, &["run", "--network=none", "c", "--", "sh", "-c", CHANGE_AGAIN]);
        let mounted = tool(true, &["mount", "c"]);
        assert_eq!(tool(false, &["mount", "c"]), mounted);
        assert!(Path::new(mounted.trim()).starts_with(sandbox.graph_root().join("vfs/dir")));
        tool(false, &["umount", "c"]);
        tool(true, &["umount", "c"]);
        tool(true, &["commit", "--rm", "c", two]);
        assert_eq!(shown(&sandbox, two, SHOW), EXPECTED, "first is gabion: {first_is_gabion}");
        tool(false, &["push", "-q", two, &format!("oci:{}", sandbox.path(two).display())]);
    }
    assert_eq!(sandbox.podman(["images", "-q"]).ok().lines().count(), 5);
    assert_sound(&sandbox);
    sandbox.gabion(["rmi", "--all"]).ok();
    assert_eq!(fs::read_dir(sandbox.graph_root().join("vfs/dir")).expect("there").count(), 0);
}

#[test]
fn peers_all_commands_work_on_whole_trees() {
    let sandbox = sandbox();
    let file = sandbox.write("file", "copied\n");
    sandbox.gabion(["from", "--name", "c", "localhost/base"]).ok();
    sandbox.gabion(["copy", "c", &file.display().to_string(), "/copied"]).ok();
    sandbox.gabion(["config", "--env", "A=b", "c"]).ok();
    sandbox.gabion(["commit", "c", "kept"]).ok();
    sandbox.gabion(["commit", "--squash", "--rm", "c", "squashed"]).ok();
    for image in ["kept", "squashed"] {
        assert_eq!(shown(&sandbox, image, "cat /copied; echo $A"), "copied\nb", "{image}");
    }
    // Out and in again, by each other's hand.
    let layout = |name: &str| format!("oci:{}", sandbox.path(name).display());
    sandbox.gabion(["push", "squashed", &layout("squashed:1")]).ok();
    sandbox.skopeo(["copy", "-q", &layout("squashed:1"), &sandbox.storage("localhost/again:1")]).ok();
    sandbox.skopeo(["copy", "-q", &sandbox.storage("localhost/kept"), &layout("kept:1")]).ok();
    sandbox.gabion(["rmi", "kept"]).ok();
    sandbox.gabion(["pull", &layout("kept:1")]).ok();
    let info = sandbox.gabion(["info"]).json();
    assert_eq!(info["store"]["GraphDriverName"], "vfs");
    let name = sandbox.storage("squashed");
    sandbox.gabion(["pull", "--storage-driver", "vfs", &name]).ok();
    sandbox.gabion(["du"]).ok();
    assert_sound(&sandbox);
    sandbox.gabion(["rmi", "--all", "--force"]).ok();
    sandbox.gabion(["prune", "--all", "--force"]).run();
    assert_eq!(sandbox.gabion(["images", "-q"]).ok(), "");
}

const DOCKERFILE: &str = "FROM localhost/base AS first
RUN mkdir /d && echo 1 > /d/one && echo 2 > /d/two
COPY file /d/copied
RUN rm /d/two && echo 3 > /d/three
FROM localhost/base
COPY --from=first /d /d
COPY --link file /linked
RUN --mount=from=first,target=/m cat /m/d/copied > /d/seen && rm /linked
";

#[test]
fn peers_builds_make_whole_trees() {
    let sandbox = sandbox();
    sandbox.write("context/file", "copied\n");
    sandbox.write("context/Dockerfile", DOCKERFILE);
    let context = sandbox.path("context").display().to_string();
    for (image, flags) in [
        ("layered", vec![]),
        ("cached", vec![]),
        ("single", vec!["--layers=false"]),
        ("squashed", vec!["--squash-all"]),
    ] {
        let args = [vec!["build", "-t", image], flags, vec![context.as_str()]].concat();
        sandbox.gabion(args).ok();
        let show = "cd /d && ls && cat seen; ls / | grep linked";
        assert_eq!(shown(&sandbox, image, &format!("{show}; true")), "copied\none\nseen\nthree\ncopied", "{image}");
    }
    let id = |image: &str| sandbox.gabion(["images", "-q", image]).ok();
    assert_eq!(id("layered"), id("cached"), "each step was found again");
    assert_sound(&sandbox);
}

#[test]
fn peers_the_same_change_is_the_same_layer() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "c", "localhost/base"]).ok();
    let change = format!("{CHANGE} && ln -s one /d/link && mkdir -m 1777 /d/dir && rm /bin/vi");
    sandbox.gabion(["run", "--network=none", "c", "--", "sh", "-c", &change]).ok();
    // A directory that has another time alone is in gabion's layers, and not in Buildah's: there is none here.
    // By whom the layer is made, and by whom it is put together again from the trees.
    let image = |by_gabion: bool, sent_by_gabion: bool| {
        let name = format!("made-{by_gabion}");
        let layout = sandbox.path(format!("{name}-{sent_by_gabion}"));
        let tool = |is_gabion: bool, args: &[&str]| match is_gabion {
            true => sandbox.gabion(args).ok(),
            false => sandbox.buildah(args).ok(),
        };
        tool(by_gabion, &["commit", "-q", "--timestamp", "0", "c", &name]);
        tool(sent_by_gabion, &["push", "-q", &name, &format!("oci:{}:1", layout.display())]);
        oci_layout(&layout, "1")
    };
    let (ours, theirs) = (image(true, true), image(false, false));
    let entries = |image: &Image| image.layers.last().expect("a layer").entries.clone();
    assert_eq!(entries(&ours), entries(&theirs));
    // Each tool's diff ID is that of what the other one sends.
    assert_eq!(image(true, false).diff_ids(), ours.diff_ids());
    assert_eq!(image(false, true).diff_ids(), theirs.diff_ids());
    // The headers of Go's tar have checksums of another form, and the file's type in its mode.
    assert_eq!(ours.diff_ids().first(), theirs.diff_ids().first());
    assert_ne!(ours.diff_ids().last(), theirs.diff_ids().last(), "the same bytes now: say so");
}
