//! gabion: see the README.
fn main() {}
