//! The other peer scenarios once more, with a container mounted by Buildah all the while: its bind
//! mount of the store's `overlay` directory makes plain renames out of it fail.
#![allow(clippy::expect_used, reason = "tests")]

use std::path::Path;

use test_support::Sandbox;

#[path = "scenarios/concurrent.rs"]
mod concurrent;
#[path = "scenarios/formats.rs"]
mod formats;
#[path = "scenarios/shared_store.rs"]
mod shared_store;

/// A store in which Buildah holds a mount of a container on the base image, until it is dropped.
struct Mounted {
    sandbox: Sandbox,
    root: String,
}

fn mounted() -> Mounted {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let container = sandbox.buildah(["from", "--pull-never", "--name", "held", "localhost/base"]).ok();
    let root = sandbox.buildah(["mount", &container]).ok();
    let mounted = Mounted { sandbox, root };
    mounted.assert_held();
    mounted
}

impl Mounted {
    fn assert_held(&self) {
        let home = self.sandbox.graph_root().join("overlay");
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
        let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        assert!(points.contains(&home.to_str().expect("UTF-8")), "Buildah has bound {} on itself", home.display());
        assert!(points.contains(&self.root.as_str()) && Path::new(&self.root).join("bin/sh").exists());
    }
}

#[test]
fn peers_use_what_gabion_builds_beside_a_mount() {
    let mounted = mounted();
    shared_store::peers_use_what_gabion_builds(&mounted.sandbox);
    mounted.assert_held();
}

#[test]
fn peers_build_what_gabion_uses_beside_a_mount() {
    let mounted = mounted();
    shared_store::gabion_uses_what_peers_build(&mounted.sandbox);
    mounted.assert_held();
}

#[test]
fn peers_and_gabion_keep_digests_beside_a_mount() {
    let mounted = mounted();
    shared_store::digests_are_kept(&mounted.sandbox);
    mounted.assert_held();
}

#[test]
fn peers_what_is_hard_survives_beside_a_mount() {
    let (mounted, other) = (self::mounted(), self::mounted());
    formats::what_is_hard_survives(&mounted.sandbox, &other.sandbox);
    mounted.assert_held();
    other.assert_held();
}

#[test]
fn peers_four_writers_lose_nothing_beside_a_mount() {
    let mounted = mounted();
    concurrent::writers_lose_nothing(&mounted.sandbox, 12);
    mounted.assert_held();
}
