//! The store by itself: layers, images, containers, mounts and what is left when they go.
#![allow(clippy::expect_used, reason = "tests may fail")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use oci::LayerId;
use serde_json::{Value, json};
use store::{AfterSeal, Error, NewContainer, NewLayer};
use support::*;
use test_support::store_check::{assert_records_sound, records};

#[test]
fn root_layer_directory_is_as_the_format_says() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let child = put_file(&store, Some(&base.id), "b", "2");
    assert_eq!(child.id, LayerId::of(Some(&base.id), child.diff_id.as_ref().expect("an image's layer")));
    let home = sandbox.graph_root().join("overlay");
    let read = |layer: &LayerId, name: &str| fs::read_to_string(home.join(layer.as_str()).join(name)).expect(name);
    assert_eq!(read(&child.id, "lower"), format!("l/{}", read(&base.id, "link")));
    let link = home.join("l").join(read(&child.id, "link"));
    assert_eq!(fs::read_link(link).expect("a link").to_str(), Some(format!("../{}/diff", child.id).as_str()));
    let mode = |path: &str| fs::metadata(home.join(path)).expect(path).mode() & 0o7777;
    for (path, expected) in [
        (format!("{}/diff", base.id), 0o555),
        (format!("{}/diff", child.id), 0o555),
        (format!("{}/merged", base.id), 0o700),
        (format!("{}/work", base.id), 0o700),
        (format!("{}/empty", base.id), 0o700),
        (format!("{}/link", base.id), 0o644),
        (base.id.to_string(), 0o700),
        ("l".to_owned(), 0o755),
    ] {
        assert_eq!(mode(&path), expected, "{path}");
    }
    assert!(!home.join(child.id.as_str()).join("empty").exists());
    assert_eq!(fs::read_to_string(home.join(".has-mount-program")).expect("mark"), "false");
    assert_eq!(tar_digest(&store, &child.id), child.diff_id.expect("recorded").0);
    assert_eq!(fs::read_dir(home.join("tempdirs")).expect("there").count(), 0);
    image(&store, &[base.clone(), store.layer(&child.id).expect("there")], "localhost/app:1");
    assert_records_sound(&sandbox);
}

#[test]
fn root_layer_that_exists_is_not_put_twice() {
    let (sandbox, store) = sandbox();
    let first = put_file(&store, None, "a", "1");
    // The same file has another time stamp: give it the same content and time by staging twice.
    let time = fs::metadata(sandbox.graph_root().join("overlay").join(first.id.as_str()).join("diff/a")).expect("file");
    let second = put(&store, None, |dir| {
        fs::write(dir.join("a"), "1").expect("written");
        let file = fs::File::options().write(true).open(dir.join("a")).expect("open");
        file.set_modified(time.modified().expect("time")).expect("set");
    });
    assert_eq!((first.id, first.created), (second.id, second.created));
    assert_eq!(store.layers().expect("listed").len(), 1);
    assert_eq!(fs::read_dir(sandbox.graph_root().join("overlay/tempdirs")).expect("there").count(), 0);
}

#[test]
fn root_layer_needs_its_parent_and_image_its_layer() {
    let (sandbox, store) = sandbox();
    let missing = LayerId::parse(&"ab".repeat(32)).expect("valid");
    let (staged, new) = stage(&store, Some(&missing), |dir| fs::write(dir.join("a"), "1").expect("written"));
    assert!(matches!(store.put_layer(staged, new), Err(Error::UnknownLayer { id }) if id == missing));
    let mut image = new_image(&[], "localhost/app:1");
    image.layer = Some(missing);
    assert!(matches!(store.create_image(image), Err(Error::UnknownLayer { .. })));
    assert!(store.images().expect("listed").is_empty() && store.layers().expect("listed").is_empty());
    assert_eq!(fs::read_dir(sandbox.graph_root().join("gabion/journal")).expect("there").count(), 0);
    assert_eq!(fs::read_dir(sandbox.graph_root().join("overlay-images")).expect("there").count(), 1, "the lock file");
}

#[test]
fn root_layers_whose_image_is_not_recorded_are_taken_back() {
    let (sandbox, store) = sandbox();
    let one_file = |name: &'static str| move |dir: &Path| fs::write(dir.join(name), name).expect("written");
    let one = stage(&store, None, one_file("one"));
    let below = stage(&store, None, one_file("below"));
    let above = stage(&store, Some(&below.1.id()), one_file("above"));
    let image = |layers: &[&NewLayer], name: &str| {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let sizes = layers.iter().map(|layer| i64::try_from(layer.diff_size).expect("small")).collect();
        new_image_of(&diff_ids, sizes, layers.last().map(|top| top.id()), name)
    };
    let images = vec![image(&[&one.1], "localhost/one:1"), image(&[&below.1, &above.1], "localhost/two:1")];
    // The second image cannot be written, when all layers and the first one are.
    let in_the_way = sandbox.graph_root().join("overlay-images").join(images[1].id.as_str());
    fs::write(&in_the_way, "").expect("written");
    let expected = (one.1.id(), images[0].id.clone());
    store.publish(&[one, below, above], images).expect_err("something is in the way");
    fs::remove_file(&in_the_way).expect("removed");
    let store = open(&sandbox);
    let (layers, images) = (store.layers().expect("listed"), store.images().expect("listed"));
    assert_eq!((layers.len(), images.len()), (1, 1), "{layers:?}");
    assert_eq!((layers[0].id.clone(), images[0].id.clone()), expected);
    assert_records_sound(&sandbox);
}

#[test]
fn root_names_move_between_images_and_are_remembered() {
    let (_sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let one = image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let two = image(&store, &[base], "localhost/app:2");
    store.add_image_names(&two.id, &["localhost/app:1".into(), "localhost/x:1".into()]).expect("named");
    let one = store.image_by_id(&one.id).expect("there");
    let two = store.image("app:1").expect("found");
    assert!(one.names.is_empty());
    assert_eq!(two.names, ["localhost/app:2", "localhost/app:1", "localhost/x:1"]);
    assert_eq!(two.names_history, ["localhost/x:1", "localhost/app:1", "localhost/app:2"]);
    assert_eq!(one.names_history, ["localhost/app:1"]);
    store.remove_image_names(&two.id, &["localhost/app:1".into()]).expect("removed");
    assert!(matches!(store.image("app:1"), Err(Error::UnknownImage { .. })));
}

#[test]
fn root_deleting_an_image_leaves_what_others_use() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let left = put_file(&store, Some(&base.id), "b", "2");
    let right = put_file(&store, Some(&base.id), "c", "3");
    let left_image = image(&store, &[base.clone(), left.clone()], "localhost/left:1");
    let right_image = image(&store, &[base.clone(), right.clone()], "localhost/right:1");
    let container = store.create_container(NewContainer::new("work", Some(left_image.id.clone()))).expect("made");
    let refused = store.delete_image(&left_image.id).expect_err("in use");
    assert!(matches!(&refused, Error::ImageInUse { containers, .. } if *containers == [container.id.clone()]));
    store.delete_container(&container.id).expect("deleted");
    let deleted = store.delete_image(&left_image.id).expect("deleted");
    assert_eq!((deleted.names, deleted.layers), (vec!["localhost/left:1".to_owned()], vec![left.id]));
    assert_records_sound(&sandbox);
    let deleted = store.delete_image(&right_image.id).expect("deleted");
    assert_eq!(deleted.layers, [right.id, base.id]);
    let home = sandbox.graph_root().join("overlay");
    let mut left: Vec<_> = fs::read_dir(&home).expect("home").map(|e| e.expect("entry").file_name()).collect();
    left.sort();
    assert_eq!(left, [".has-mount-program", "l", "tempdirs"]);
    assert_eq!(fs::read_dir(home.join("tempdirs")).expect("there").count(), 0);
    assert_eq!(fs::read_dir(home.join("l")).expect("there").count(), 0);
}

#[test]
fn root_layers_that_nothing_needs_are_removed() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let middle = put_file(&store, Some(&base.id), "b", "2");
    let top = put_file(&store, Some(&middle.id), "c", "3");
    assert!(store.remove_unused_layers(&middle.id).expect("nothing to do").is_empty());
    assert_eq!(store.remove_unused_layers(&top.id).expect("removed"), [top.id, middle.id]);
    assert!(store.remove_unused_layers(&base.id).expect("nothing to do").is_empty());
    assert_records_sound(&sandbox);
}

#[test]
fn root_container_is_mounted_counted_and_unmounted() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let image = image(&store, &[base], "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(image.id))).expect("made");
    let path = store.mount(&container.id).expect("mounted");
    assert_eq!(fs::read_to_string(path.join("a")).expect("from the image"), "1");
    fs::write(path.join("b"), "2").expect("writable");
    assert!(store.upper_dir(&container.id).expect("known").join("b").exists());
    assert_eq!(store.mount(&container.id).expect("again"), path);
    let mounts = open(&sandbox).mounts().expect("listed");
    assert_eq!(mounts.len(), 1);
    assert_eq!((mounts[0].count, mounts[0].container.as_ref()), (2, Some(&container.id)));
    assert!(!store.unmount(&container.id, false).expect("counted"));
    assert!(path.join("a").exists());
    assert!(store.unmount(&container.id, false).expect("unmounted"));
    assert!(!path.join("a").exists());
    // `volatile` leaves a mark that refuses the next mount.
    store.mount(&container.id).expect("mounted again");
    assert_eq!(fs::read_to_string(path.join("b")).expect("kept"), "2");
    store.delete_container(&container.id).expect("deleted while mounted");
    assert!(store.mounts().expect("listed").is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    assert!(!mounts.contains(sandbox.dir().to_str().expect("text")), "nothing stays mounted");
}

#[test]
fn root_scratch_container_is_empty_and_root_is_0555() {
    let (_sandbox, store) = sandbox();
    let container = store.create_container(NewContainer::new("work", None)).expect("made");
    let path = store.mount(&container.id).expect("mounted");
    assert_eq!(fs::read_dir(&path).expect("readable").count(), 0);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o555);
    store.delete_container(&container.id).expect("deleted");
}

#[test]
fn root_reading_a_containers_file_makes_nothing() {
    let (sandbox, store) = sandbox();
    let container = store.create_container(NewContainer::new("work", None)).expect("made");
    assert_eq!(store.container_file(&container.id, "state").expect("read"), None);
    fs::write(store.container_directory(&container.id).expect("made").join("state"), "x").expect("written");
    assert_eq!(store.container_file(&container.id, "state").expect("read").as_deref(), Some(&b"x"[..]));
    store.delete_container(&container.id).expect("deleted");
    assert_eq!(store.container_file(&container.id, "state").expect("read"), None);
    assert!(!sandbox.graph_root().join(format!("overlay-containers/{}", container.id)).exists());
}

#[test]
fn root_container_names_are_unique() {
    let (_sandbox, store) = sandbox();
    let one = store.create_container(NewContainer::new("one", None)).expect("made");
    let two = store.create_container(NewContainer::new("two", None)).expect("made");
    assert!(matches!(
        store.create_container(NewContainer::new("one", None)),
        Err(Error::NameTaken { owner, .. }) if owner == one.id
    ));
    assert!(matches!(store.rename_container(&two.id, "one"), Err(Error::NameTaken { .. })));
    store.rename_container(&two.id, "three").expect("renamed");
    assert_eq!(store.container("three").expect("by name").id, two.id);
    assert_eq!(store.container(&two.id.as_str()[..20]).expect("by prefix").id, two.id);
    assert!(matches!(store.container("two"), Err(Error::UnknownContainer { .. })));
}

#[test]
fn root_sealed_upper_dir_becomes_the_layer_by_rename() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let first = image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(first.id))).expect("made");
    let path = store.mount(&container.id).expect("mounted");
    fs::write(path.join("b"), "2").expect("written");
    fs::remove_file(path.join("a")).expect("removed");
    let inode = fs::metadata(store.upper_dir(&container.id).expect("known")).expect("there").ino();
    store.unmount(&container.id, true).expect("unmounted");

    // A step of a build: the container goes on over the new layer.
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Continue, Some(&base.id));
    let sealed = store.put_layer(staged, new).expect("sealed");
    let diff = store.layer_diff_directory(&sealed.id).expect("known");
    assert_eq!(fs::metadata(&diff).expect("there").ino(), inode, "moved, not copied");
    assert_eq!(tar_digest(&store, &sealed.id), sealed.diff_id.clone().expect("recorded").0);
    let container = store.container("work").expect("still there");
    let path = store.mount(&container.id).expect("mounted");
    assert!(!path.join("a").exists());
    assert_eq!(fs::read_to_string(path.join("b")).expect("below"), "2");
    fs::write(path.join("c"), "3").expect("written");

    // The last one: the container goes, though it is mounted.
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Delete, Some(&sealed.id));
    let mut stack = vec![base.clone(), sealed.clone()];
    let diff_ids: Vec<_> = stack.iter().filter_map(|l| l.diff_id.clone()).chain([new.diff_id.clone()]).collect();
    let image = new_image_of(&diff_ids, vec![1, 1, 1], Some(new.id()), "localhost/app:2");
    let published = store.publish(&[(staged, new)], vec![image]).expect("published");
    stack.extend(published.layers);
    assert!(store.containers().expect("listed").is_empty());
    let names: Vec<_> = store.layers().expect("listed").into_iter().map(|layer| layer.id).collect();
    assert_eq!(names, stack.iter().map(|layer| layer.id.clone()).collect::<Vec<_>>());
    assert_eq!(store.image("app:2").expect("there").layer, Some(stack[2].id.clone()));
    assert_records_sound(&sandbox);
}

#[test]
fn root_sealing_what_exists_already_keeps_the_older_layer() {
    let (sandbox, store) = sandbox();
    let make = || {
        let container = store.create_container(NewContainer::new("work", None)).expect("made");
        fs::write(store.upper_dir(&container.id).expect("known").join("a"), "1").expect("written");
        let path = store.upper_dir(&container.id).expect("known").join("a");
        let file = fs::File::options().write(true).open(path).expect("open");
        file.set_modified(std::time::UNIX_EPOCH).expect("set");
        let (staged, new) = stage_upper(&store, &container, AfterSeal::Delete, None);
        store.put_layer(staged, new).expect("sealed")
    };
    let (one, two) = (make(), make());
    assert_eq!((one.id.clone(), one.created), (two.id, two.created));
    assert!(store.containers().expect("listed").is_empty());
    assert_eq!(store.layers().expect("listed").len(), 1);
    image(&store, &[one], "localhost/app:1");
    assert_records_sound(&sandbox);
}

#[test]
fn root_container_goes_on_over_another_layer() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let other = put_file(&store, Some(&base.id), "b", "2");
    let image = image(&store, &[base, other.clone()], "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(image.id.clone()))).expect("made");
    let path = store.mount(&container.id).expect("mounted");
    fs::write(path.join("own"), "3").expect("written");
    store.move_container(&container.id, &other.id).expect("moved");
    let moved = store.container("work").expect("still there");
    assert!(moved.layer != container.layer && moved.image == container.image);
    assert!(store.layer(&container.layer).expect_err("gone").is_not_found());
    let path = store.mount(&container.id).expect("mounted");
    assert!(path.join("b").exists() && !path.join("own").exists());

    let missing = LayerId::parse(&"0".repeat(64)).expect("an ID");
    assert!(store.move_container(&container.id, &missing).expect_err("no layer").is_not_found());
    assert_eq!(store.container("work").expect("as it was").layer, moved.layer);
    store.delete_container(&container.id).expect("deleted");
    assert!(store.move_container(&container.id, &other.id).expect_err("no container").is_not_found());
    assert_records_sound(&sandbox);
}

#[test]
fn root_unknown_fields_survive_every_change() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let image = image(&store, &[base], "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(image.id.clone()))).expect("made");
    for kind in ["layers", "images", "containers"] {
        let path = sandbox.graph_root().join(format!("overlay-{kind}/{kind}.json"));
        let mut rows: Vec<Value> = records(&sandbox.graph_root(), kind);
        for row in &mut rows {
            row["future"] = json!({"kept": [1]});
            row["flags"]["future-flag"] = json!(7);
        }
        rows.push(json!({"id": "no such form of id", "names": ["x"]}));
        fs::write(path, serde_json::to_vec(&rows).expect("JSON")).expect("written");
    }
    let store = open(&sandbox);
    store.add_image_names(&image.id, &["localhost/app:2".into()]).expect("named");
    store.rename_container(&container.id, "other").expect("renamed");
    put_file(&store, None, "b", "2");
    for kind in ["layers", "images", "containers"] {
        let rows = records(&sandbox.graph_root(), kind);
        let kept = rows.iter().filter(|row| row["future"]["kept"][0] == 1 && row["flags"]["future-flag"] == 7).count();
        assert_eq!(kept, rows.iter().filter(|row| row["future"].is_object()).count(), "{kind}");
        assert!(kept > 0, "{kind}");
        assert!(rows.iter().any(|row| row["id"] == "no such form of id"), "{kind}");
    }
}

#[test]
fn root_layers_that_unreadable_records_name_are_kept() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let middle = put_file(&store, Some(&base.id), "b", "2");
    let top = put_file(&store, Some(&middle.id), "c", "3");
    let image = image(&store, &[base.clone(), middle.clone(), top.clone()], "localhost/app:1");
    let path = sandbox.graph_root().join("overlay-images/images.json");
    let mut rows = records(&sandbox.graph_root(), "images");
    rows.push(json!({"id": "no such form of id", "Layer": middle.id.as_str(), "mapped-layers": []}));
    fs::write(&path, serde_json::to_vec(&rows).expect("JSON")).expect("written");
    let store = open(&sandbox);
    assert_eq!(store.delete_image(&image.id).expect("deleted").layers, [top.id]);
    assert!(store.remove_unused_layers(&middle.id).expect("nothing to do").is_empty());
    assert_eq!(store.layer_stack(&middle.id).expect("complete").len(), 2);

    fs::write(&path, "[]").expect("written");
    let store = open(&sandbox);
    assert_eq!(store.remove_unused_layers(&middle.id).expect("removed"), [middle.id, base.id]);
}

#[test]
fn root_a_layer_whose_record_cannot_be_read_is_not_replaced() {
    let (sandbox, store) = sandbox();
    let layer = put_file(&store, None, "a", "1");
    let path = sandbox.graph_root().join("overlay-layers/layers.json");
    let mut rows = records(&sandbox.graph_root(), "layers");
    rows[0]["diff-size"] = json!("no number");
    fs::write(&path, serde_json::to_vec(&rows).expect("JSON")).expect("written");
    let store = open(&sandbox);
    let (staged, new) = stage(&store, None, |dir| {
        fs::copy(sandbox.graph_root().join(format!("overlay/{}/diff/a", layer.id)), dir.join("a")).expect("copied");
    });
    let new = NewLayer { diff_id: layer.diff_id.clone().expect("known"), ..new };
    let refused = store.put_layer(staged, new).expect_err("its record is unreadable");
    assert!(refused.to_string().contains(layer.id.as_str()), "{refused}");
    assert!(sandbox.graph_root().join(format!("overlay/{}/diff/a", layer.id)).exists());
    assert_eq!(records(&sandbox.graph_root(), "layers").len(), 1);
}

#[test]
fn root_incomplete_layers_are_removed_by_the_next_reader() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    image(&store, std::slice::from_ref(&base), "localhost/app:1");
    let child = put_file(&store, Some(&base.id), "b", "2");
    let path = sandbox.graph_root().join("overlay-layers/layers.json");
    let mut rows: Vec<Value> = records(&sandbox.graph_root(), "layers");
    rows[1]["flags"] = json!({"incomplete": true});
    fs::write(path, serde_json::to_vec(&rows).expect("JSON")).expect("written");
    let layers = open(&sandbox).layers().expect("listed");
    assert_eq!(layers.into_iter().map(|layer| layer.id).collect::<Vec<_>>(), [base.id]);
    assert!(!sandbox.graph_root().join("overlay").join(child.id.as_str()).exists());
    assert_records_sound(&sandbox);
}

#[test]
fn root_volatile_records_of_newer_tools_are_seen_and_kept_apart() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let image = image(&store, &[base], "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(image.id.clone()))).expect("made");
    let root = sandbox.graph_root();
    for kind in ["layers", "containers"] {
        let (moved, rest): (Vec<Value>, Vec<Value>) = records(&root, kind)
            .into_iter()
            .partition(|row| row["id"] == container.id.as_str() || row["id"] == container.layer.as_str());
        let dir = root.join(format!("overlay-{kind}"));
        fs::write(dir.join(format!("volatile-{kind}.json")), serde_json::to_vec(&moved).expect("JSON"))
            .expect("written");
        fs::write(dir.join(format!("{kind}.json")), serde_json::to_vec(&rest).expect("JSON")).expect("written");
    }
    let store = open(&sandbox);
    assert!(matches!(store.delete_image(&image.id), Err(Error::ImageInUse { .. })));
    store.rename_container(&container.id, "other").expect("renamed");
    assert!(records(&root, "containers").is_empty());
    let path = store.mount(&container.id).expect("mounted");
    assert!(path.join("a").exists());
    store.delete_container(&container.id).expect("deleted");
    let volatile = fs::read_to_string(root.join("overlay-layers/volatile-layers.json")).expect("there");
    assert_eq!(volatile, "[]");
}

#[test]
fn root_store_filled_by_a_mount_program_is_not_mounted() {
    let (sandbox, store) = sandbox();
    let container = store.create_container(NewContainer::new("work", None)).expect("made");
    fs::write(sandbox.graph_root().join("overlay/.has-mount-program"), "true").expect("written");
    let store = open(&sandbox);
    assert_eq!(store.containers().expect("listed").len(), 1);
    assert!(matches!(store.mount(&container.id), Err(Error::MountProgram(_))));
    assert!(matches!(store.stage_layer(), Err(Error::MountProgram(_))));
}

#[test]
fn root_store_of_another_driver_is_refused() {
    let sandbox = test_support::Sandbox::new("/bin/false");
    fs::create_dir_all(sandbox.graph_root().join("btrfs-images")).expect("made");
    let options = store::StoreOptions::new(sandbox.graph_root(), sandbox.run_root());
    let error = store::Store::open(options).expect_err("another driver");
    assert_eq!(error.to_string(), "storage driver \"btrfs\" is not supported: expected \"overlay\" or \"vfs\"");
    assert!(!sandbox.graph_root().join("overlay").exists());
}

#[test]
fn root_layer_tree_is_private_and_read_only() {
    let (sandbox, store) = sandbox();
    let base = put_file(&store, None, "a", "1");
    let child = put_file(&store, Some(&base.id), "b", "2");
    for (top, names) in [(&base.id, vec!["a"]), (&child.id, vec!["a", "b"])] {
        let tree = store.open_layer_tree(top).expect("stacked");
        let mut found: Vec<_> =
            fs::read_dir(tree.path()).expect("read").map(|e| e.expect("entry").file_name()).collect();
        found.sort();
        assert_eq!(found, names);
        assert!(fs::write(tree.path().join("c"), "3").is_err());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("readable");
        assert!(!mounts.contains(sandbox.dir().to_str().expect("text")));
    }
    let target = sandbox.path("tree");
    fs::create_dir(&target).expect("made");
    store.open_layer_tree(&child.id).expect("stacked").attach(&target).expect("attached");
    assert_eq!(fs::read_to_string(target.join("b")).expect("readable"), "2");
}

#[test]
fn root_images_of_additional_stores_are_used_and_not_changed() {
    let (other, source) = sandbox();
    let base = put_file(&source, None, "a", "1");
    let image = image(&source, std::slice::from_ref(&base), "localhost/base:1");
    let (sandbox, _) = sandbox();
    let mut options = store::StoreOptions::new(sandbox.graph_root(), sandbox.run_root());
    options.additional_image_stores = vec![other.graph_root()];
    let store = store::Store::open(options).expect("opens");
    assert!(store.image("base:1").expect("found").read_only);
    assert!(store.image_config(&image.id).is_ok());
    assert!(matches!(store.delete_image(&image.id), Err(Error::ReadOnly { .. })));
    let child = put_file(&store, Some(&base.id), "b", "2");
    assert_eq!(tar_digest(&store, &base.id), base.diff_id.clone().expect("recorded").0);
    let ours = support::image(&store, &[base.clone(), child], "localhost/app:1");
    let container = store.create_container(NewContainer::new("work", Some(ours.id))).expect("made");
    let path = store.mount(&container.id).expect("mounted");
    assert!(path.join("a").exists() && path.join("b").exists());
    store.delete_container(&container.id).expect("deleted");
    assert_eq!(store.layers().expect("listed").len(), 2);
    assert_eq!(records(&sandbox.graph_root(), "layers").len(), 1);
}

#[test]
fn root_500_layers_are_mounted_and_501_are_not() {
    let (_sandbox, store) = sandbox();
    let mut stack = Vec::new();
    let mut staged = Vec::new();
    let mut parent: Option<LayerId> = None;
    for n in 0..501 {
        let (stage, new) = support::stage(&store, parent.as_ref(), |dir| {
            fs::write(dir.join(format!("f{n}")), n.to_string()).expect("written");
        });
        parent = Some(new.id());
        stack.push(new.diff_id.clone());
        staged.push((stage, new));
    }
    let layers = store.publish(&staged, Vec::new()).expect("published").layers;
    for (count, fits) in [(500, true), (501, false)] {
        let image = image(&store, &layers[..count], &format!("localhost/deep:{count}"));
        let container =
            store.create_container(NewContainer::new(format!("work{count}"), Some(image.id))).expect("made");
        match store.mount(&container.id) {
            Ok(path) => {
                assert!(fits && path.join("f0").exists() && path.join("f499").exists());
            }
            Err(error) => assert!(!fits && matches!(error, Error::TooDeep { .. }), "{error}"),
        }
    }
}
