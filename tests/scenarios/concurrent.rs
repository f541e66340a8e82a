//! gabion, Buildah and Skopeo write to one store at once.

use std::collections::BTreeSet;

use serde_json::json;
use test_support::store_check::{assert_sound, records};
use test_support::{Sandbox, base_image};

use crate::shared_store::{image_names, podman_names};

/// Four writers in four processes, each doing `rounds` rounds: two of gabion's, Buildah and Skopeo.
/// No error, no lost record, and the Go tools list what gabion lists.
pub fn writers_lose_nothing(sandbox: &Sandbox, rounds: usize) {
    for writer in ["gabion", "skopeo"] {
        for round in 0..rounds {
            write_layout(sandbox, &format!("{writer}{round}"));
        }
    }
    let before = records(&sandbox.graph_root(), "containers").len();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..rounds).for_each(|round| gabion_builds(sandbox, round)));
        scope.spawn(|| (0..rounds).for_each(|round| gabion_pulls(sandbox, round)));
        scope.spawn(|| (0..rounds).for_each(|round| buildah_builds(sandbox, round)));
        scope.spawn(|| (0..rounds).for_each(|round| skopeo_copies(sandbox, round)));
    });
    // Every third pulled image was removed again.
    let kept = (0..rounds).filter(|round| round % 3 != 2);
    let mut expected: BTreeSet<String> = kept.map(|round| format!("localhost/pulled{round}:latest")).collect();
    expected.insert("localhost/base:latest".to_owned());
    for round in 0..rounds {
        expected.extend(["built", "by-buildah", "copied"].map(|name| format!("localhost/{name}{round}:latest")));
    }
    let expected: Vec<String> = expected.into_iter().collect();
    // What is pulled from a layout is first named after its tag (or, by other tools, its path).
    let own = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| !name.contains("/layouts/") && name != "localhost/latest:latest").collect()
    };
    assert_eq!(image_names(sandbox), podman_names(sandbox));
    assert_eq!(own(image_names(sandbox)), expected);
    assert_eq!(records(&sandbox.graph_root(), "containers").len(), before, "working containers");
    assert_sound(sandbox);
}

fn gabion_builds(sandbox: &Sandbox, round: usize) {
    let container = sandbox.gabion(["from", "--pull=never", "--name", &format!("g{round}"), "localhost/base"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    std::fs::write(format!("{root}/{round}"), format!("gabion {round}")).expect("write a file");
    sandbox.gabion(["umount", &container]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &container, &format!("localhost/built{round}")]).ok();
    sandbox.gabion(["images", "-q"]).ok();
}

fn gabion_pulls(sandbox: &Sandbox, round: usize) {
    let id = sandbox.gabion(["pull", "-q", &layout(sandbox, &format!("gabion{round}"))]).ok();
    let name = format!("localhost/pulled{round}");
    sandbox.gabion(["tag", &id, &name]).ok();
    if round % 3 == 2 {
        sandbox.gabion(["rmi", "--force", &id]).ok();
    }
}

fn buildah_builds(sandbox: &Sandbox, round: usize) {
    let container = sandbox.buildah(["from", "--pull-never", "--name", &format!("b{round}"), "localhost/base"]).ok();
    sandbox
        .buildah(["copy", "-q", &container])
        .arg(sandbox.write(format!("b/{round}"), format!("buildah {round}")))
        .arg("/")
        .ok();
    sandbox.buildah(["commit", "-q", "--rm", &container, &format!("localhost/by-buildah{round}")]).ok();
}

fn skopeo_copies(sandbox: &Sandbox, round: usize) {
    let (from, to) = (layout(sandbox, &format!("skopeo{round}")), sandbox.storage(&format!("localhost/copied{round}")));
    sandbox.skopeo(["copy", "-q", &from, &to]).ok();
}

/// An image on the base image's layer with a layer of its own.
fn write_layout(sandbox: &Sandbox, name: &str) {
    let mut tar = tar::Builder::new(Vec::new());
    for file in 0..50 {
        let content = format!("{name} {file}").repeat(200);
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("files/{file}"), content.as_bytes()).expect("append a file");
    }
    let own = tar.into_inner().expect("end a tar");
    let layers = [base_image::layer_tar(), own];
    base_image::write_layout(
        &sandbox.path(format!("layouts/{name}")),
        "latest",
        &layers,
        true,
        &json!({"Cmd": ["sh"]}),
    );
}

fn layout(sandbox: &Sandbox, name: &str) -> String {
    format!("oci:{}:latest", sandbox.path(format!("layouts/{name}")).display())
}
