//! gabion and the Go tools write to one store at once.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;

#[path = "scenarios/concurrent.rs"]
mod concurrent;
#[path = "scenarios/shared_store.rs"]
#[allow(dead_code, reason = "only its listings are used here")]
mod shared_store;

#[test]
fn peers_four_writers_lose_nothing() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    // About a minute.
    concurrent::writers_lose_nothing(&sandbox, 40);
}
