//! One store, several tools, one after the other.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;

#[path = "scenarios/shared_store.rs"]
mod shared_store;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

#[test]
fn peers_use_what_gabion_builds() {
    shared_store::peers_use_what_gabion_builds(&sandbox());
}

#[test]
fn peers_build_what_gabion_uses() {
    shared_store::gabion_uses_what_peers_build(&sandbox());
}

#[test]
fn peers_and_gabion_keep_digests() {
    shared_store::digests_are_kept(&sandbox());
}
