//! What is hard to carry in a layer, through a registry to another machine.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;

#[path = "scenarios/formats.rs"]
mod formats;

#[test]
fn peers_what_is_hard_survives_in_both_formats() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    formats::what_is_hard_survives(&sandbox, &Sandbox::new(env!("CARGO_BIN_EXE_gabion")));
}
