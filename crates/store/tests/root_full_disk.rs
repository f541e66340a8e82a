//! A full disk: what is there stays whole, and removing makes room again.
#![allow(clippy::expect_used, reason = "tests may fail")]

mod support;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use store::{Error, NewContainer, Store};
use support::*;
use test_support::Sandbox;
use test_support::store_check::assert_records_sound;

/// A store on a file system of `mebibytes`.
fn small(mebibytes: u32) -> (Sandbox, Store) {
    let sandbox = Sandbox::new("/bin/false");
    fs::create_dir(sandbox.graph_root()).expect("made");
    let options = CString::new(format!("size={mebibytes}m,mode=0700")).expect("text");
    mount("tmpfs", sandbox.graph_root(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("mounted");
    let store = open(&sandbox);
    (sandbox, store)
}

/// Leaves no room at all.
fn fill_disk(dir: &Path) {
    let mut file = File::create(dir.join("gabion/filler")).expect("made");
    while file.write_all(&[1; 4096]).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
    let mut rest = 0;
    while fs::write(dir.join(format!("gabion/filler-{rest}")), [1]).is_ok() {
        rest += 1;
    }
}

#[test]
fn root_full_disk_refuses_additions_and_allows_removals() {
    let (sandbox, store) = small(8);
    let base = put(&store, None, |dir| fs::write(dir.join("big"), vec![7; 1 << 20]).expect("written"));
    let image = image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(image.id.clone()))).expect("made");
    let (staged, new) = stage(&store, Some(&base.id), |dir| fs::write(dir.join("a"), "1").expect("written"));
    fill_disk(&sandbox.graph_root());

    let error = store.put_layer(staged, new).expect_err("no room");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let error = store.create_container(NewContainer::new("more", Some(image.id.clone()))).expect_err("no room");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let again = open(&sandbox);
    assert_eq!(again.layers().expect("listed").len(), 2);
    assert_eq!(tar_digest(&again, &base.id), base.diff_id.expect("recorded").0);

    assert!(matches!(again.delete_image(&image.id), Err(Error::ImageInUse { .. })));
    again.delete_container(&container.id).expect("deleted");
    again.delete_image(&image.id).expect("deleted");
    assert!(again.layers().expect("listed").is_empty());
    let again = open(&sandbox);
    let base = put(&again, None, |dir| fs::write(dir.join("big"), vec![8; 1 << 20]).expect("written"));
    support::image(&again, &[base], "localhost/app:2");
    // Podman wants room of its own.
    fs::remove_file(sandbox.graph_root().join("gabion/filler")).expect("removed");
    assert_records_sound(&sandbox);
}
