//! Stores of the vfs driver, whose layers are whole trees.
#![allow(clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use oci::LayerId;
use store::{AfterSeal, Driver, Error, NewContainer, Store, StoreOptions};
use support::{image, put, put_file, stage, stage_upper, tar_digest};
use test_support::Sandbox;
use test_support::store_check::assert_records_sound;

fn vfs() -> (Sandbox, Store) {
    let sandbox = Sandbox::with_driver("vfs", "/bin/false");
    let store = open(&sandbox, Some(Driver::Vfs)).expect("the store opens");
    (sandbox, store)
}

fn open(sandbox: &Sandbox, driver: Option<Driver>) -> store::Result<Store> {
    Store::open(StoreOptions { driver, ..StoreOptions::new(sandbox.graph_root(), sandbox.run_root()) })
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn dir_of(sandbox: &Sandbox, id: &LayerId) -> std::path::PathBuf {
    sandbox.graph_root().join("vfs/dir").join(id.as_str())
}

/// A layer that lacks `name` of the one below.
fn put_deletion(store: &Store, below: &LayerId, name: &str) -> store::Layer {
    put(store, Some(below), |dir| {
        let root = rootfs::Root::open(dir).expect("opened");
        let kind = rootfs::FileType::CharDevice;
        root.mknod(name, kind, 0, rootfs::Device::default()).expect("a whiteout");
    })
}

#[test]
fn root_a_layer_is_all_that_it_shows() {
    let (sandbox, store) = vfs();
    let base = put_file(&store, None, "a", "1");
    let child = put_file(&store, Some(&base.id), "b", "2");
    let third = put_deletion(&store, &child.id, "a");
    for (layer, expected) in [(&base, set(["a"])), (&child, set(["a", "b"])), (&third, set(["b"]))] {
        let dir = dir_of(&sandbox, &layer.id);
        assert_eq!(names(&dir), expected);
        assert_eq!(fs::metadata(&dir).expect("there").mode() & 0o7777, 0o555);
        assert_eq!(Some(tar_digest(&store, &layer.id)), layer.diff_id.clone().map(|id| id.0));
        assert_eq!(store.lower_directories(&layer.id).expect("found"), [dir]);
    }
    image(&store, &[base, child, third.clone()], "localhost/app:1");
    let tree = store.open_layer_tree(&third.id).expect("opened");
    assert_eq!(names(&tree.path()), set(["b"]));
    assert_records_sound(&sandbox);
    assert!(!sandbox.graph_root().join("overlay").exists());
    assert_eq!(names(&sandbox.graph_root().join("vfs/tempdirs")), set([]));
}

#[test]
fn root_layers_published_together_lie_over_each_other() {
    let (sandbox, store) = vfs();
    let first = stage(&store, None, |dir| fs::write(dir.join("a"), "1").expect("written"));
    let second = stage(&store, Some(&first.1.id()), |dir| fs::write(dir.join("b"), "2").expect("written"));
    let published = store.publish(&[first, second], Vec::new()).expect("published");
    assert_eq!(names(&dir_of(&sandbox, &published.layers[1].id)), set(["a", "b"]));
    let unknown = LayerId::parse(&"ab".repeat(32)).expect("valid");
    let (staged, new) = stage(&store, Some(&unknown), |dir| fs::write(dir.join("c"), "3").expect("written"));
    assert!(matches!(store.put_layer(staged, new), Err(Error::UnknownLayer { id }) if id == unknown));
    assert_eq!(store.layers().expect("listed").len(), 2);
}

#[test]
fn root_a_container_is_a_copy_and_mounts_are_only_counted() {
    let (sandbox, store) = vfs();
    let base = put_file(&store, None, "a", "1");
    let base_image = image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let container = store.create_container(NewContainer::new("c", Some(base_image.id.clone()))).expect("created");
    let dir = dir_of(&sandbox, &container.layer);
    assert_eq!(store.mount(&container.id).expect("mounted"), dir);
    assert_eq!(store.mount(&container.id).expect("mounted"), dir);
    let mounts = store.mounts().expect("listed");
    assert_eq!((mounts.len(), mounts[0].count, &mounts[0].path), (1, 2, &dir));
    assert!(!fs::read_to_string("/proc/self/mountinfo").expect("read").contains(&*dir.to_string_lossy()));
    assert!(!store.unmount(&container.id, false).expect("counted"));
    assert!(store.unmount(&container.id, false).expect("counted"));
    assert!(store.mounts().expect("listed").is_empty());
    assert_eq!(names(&dir), set(["a"]), "it is still there");

    fs::write(dir.join("link"), "a file that overlay would have a meaning for").expect("written");
    fs::remove_file(dir.join("a")).expect("removed");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).expect("changed");
    let changes = store.container_changes(&container.id).expect("compared");
    assert_eq!(names(changes.path()), set(["a", "link"]));
    drop(changes);
    assert_eq!(names(&dir_of(&sandbox, &base.id)), set(["a"]), "the base is another copy");
    store.delete_container(&container.id).expect("deleted");
    assert!(!dir.exists());
    store.delete_image(&base_image.id).expect("deleted");
    assert_eq!(names(&sandbox.graph_root().join("vfs/dir")), set([]));
    assert_records_sound(&sandbox);
}

#[test]
fn root_a_container_becomes_a_layer_and_goes_or_goes_on() {
    let (sandbox, store) = vfs();
    let base = put_file(&store, None, "a", "1");
    let base_image = image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let container = store.create_container(NewContainer::new("c", Some(base_image.id))).expect("created");
    fs::write(dir_of(&sandbox, &container.layer).join("b"), "2").expect("written");
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Continue, Some(&base.id));
    let sealed = store.put_layer(staged, new).expect("published");
    assert_eq!(names(&dir_of(&sandbox, &sealed.id)), set(["a", "b"]));
    assert!(!dir_of(&sandbox, &container.layer).exists());

    let container = store.container_by_id(&container.id).expect("it goes on");
    assert_eq!(store.layer(&container.layer).expect("there").parent.as_ref(), Some(&sealed.id));
    fs::remove_file(dir_of(&sandbox, &container.layer).join("b")).expect("a copy of all");
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Delete, Some(&sealed.id));
    let last = store.put_layer(staged, new).expect("published");
    assert_eq!(names(&dir_of(&sandbox, &last.id)), set(["a"]));
    assert_eq!(Some(tar_digest(&store, &last.id)), last.diff_id.map(|id| id.0));
    assert!(store.containers().expect("listed").is_empty());
    assert_records_sound(&sandbox);
}

#[test]
fn root_steps_of_a_build_are_copies_whose_changes_are_found() {
    let (_sandbox, store) = vfs();
    let base = put_file(&store, None, "a", "1");
    let lowers = store.lower_directories(&base.id).expect("found");
    let first = store.stage_layer().expect("staged");
    let mount = store.mount_staged(&first, &lowers).expect("begun");
    assert_eq!(names(mount.path()), set(["a"]));
    fs::remove_file(mount.path().join("a")).expect("removed");
    fs::write(mount.path().join("b"), "2").expect("written");
    mount.finish().expect("compared");
    assert_eq!(names(first.diff_dir()), set(["a", "b"]));

    let second = store.stage_layer().expect("staged");
    let below = [vec![first.diff_dir().to_owned()], lowers].concat();
    let mount = store.mount_staged(&second, &below).expect("begun");
    assert_eq!(names(mount.path()), set(["b"]));
    assert_eq!(fs::metadata(mount.path()).expect("there").mode() & 0o7777, 0o555);
    fs::write(mount.path().join("c"), "3").expect("written");
    drop(mount);
    assert_eq!(names(second.diff_dir()), set(["c"]), "a step that failed leaves what it wrote");
    let tree = store.open_tree(&below).expect("opened");
    assert_eq!(names(&tree.path()), set(["b"]));

    let copied = put_file(&store, Some(&base.id), "d", "4");
    let (staged, new) = store.stage_copy(&copied.id, None).expect("staged");
    assert_eq!(names(staged.diff_dir()), set(["d"]), "the layer's own files");
    assert_eq!(Some(new.diff_id), copied.diff_id);
}

#[test]
fn root_a_store_stays_with_the_driver_that_it_was_made_with() {
    let (sandbox, store) = vfs();
    put_file(&store, None, "a", "1");
    let again = open(&sandbox, None).expect("opened");
    assert_eq!((again.driver(), again.layers().expect("listed").len()), (Driver::Vfs, 1));
    // Named, another driver begins a store beside it, and overlay is then the one that is meant.
    let overlay = open(&sandbox, Some(Driver::Overlay)).expect("opened");
    assert!(overlay.layers().expect("listed").is_empty());
    assert_eq!(open(&sandbox, None).expect("opened").driver(), Driver::Overlay);
    assert_eq!(store.layers().expect("listed").len(), 1);

    let other = Sandbox::new("/bin/false");
    fs::create_dir_all(other.graph_root().join("btrfs-images")).expect("made");
    assert!(matches!(open(&other, None), Err(Error::Driver { driver }) if driver == "btrfs"));
}
