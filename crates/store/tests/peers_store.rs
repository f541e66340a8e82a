//! The store together with Podman, Buildah and Skopeo: they read ours, we read theirs.
#![allow(clippy::expect_used, reason = "tests may fail")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use store::{AfterSeal, Error, NewContainer};
use support::*;
use test_support::store_check::assert_sound;
use test_support::{Sandbox, validate};

fn app(store: &store::Store) -> (store::Image, Vec<store::Layer>) {
    let base = busybox_layer(store);
    let child = put(store, Some(&base.id), |dir| {
        fs::create_dir(dir.join("app")).expect("made");
        fs::write(dir.join("app/data"), "hello").expect("written");
        std::os::unix::fs::lchown(dir.join("app/data"), Some(7), Some(8)).expect("owned");
    });
    let layers = vec![base, child];
    (image(store, &layers, "localhost/app:1"), layers)
}

#[test]
fn peers_list_copy_and_mount_our_image() {
    let (sandbox, store) = sandbox();
    let (image, layers) = app(&store);
    let listed = sandbox.podman(["images", "--format", "json"]).json();
    assert_eq!(
        (&listed[0]["Id"], &listed[0]["Names"][0]),
        (&Value::from(image.id.as_str()), &"localhost/app:1".into())
    );
    let seen = sandbox.podman(["image", "inspect", "localhost/app:1"]).json();
    assert_eq!(seen[0]["Id"], image.id.as_str());
    assert_eq!(seen[0]["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    for name in ["dir", "oci"] {
        let target = sandbox.path(format!("copy-{name}"));
        sandbox
            .skopeo(["copy", "-q", &sandbox.storage("localhost/app:1"), &format!("{name}:{}", target.display())])
            .ok();
    }
    let copied = validate::dir_image(sandbox.path("copy-dir"));
    assert_eq!(copied.config_digest, format!("sha256:{}", image.id));
    let expected: Vec<String> = layers.iter().filter_map(|l| l.diff_id.as_ref()).map(|id| id.to_string()).collect();
    assert_eq!(copied.digests(), expected);
    sandbox.podman(["save", "-q", "-o", sandbox.path("app.tar").to_str().expect("text"), "localhost/app:1"]).ok();
    let tree = sandbox.podman(["image", "mount", "localhost/app:1"]).ok();
    let data = fs::metadata(Path::new(&tree).join("app/data")).expect("there");
    assert_eq!((data.uid(), data.gid(), data.len()), (7, 8, 5));
    sandbox.podman(["image", "umount", "localhost/app:1"]).ok();
    assert_sound(&sandbox);
}

#[test]
fn peers_buildah_works_on_our_image() {
    let (sandbox, store) = sandbox();
    let (image, layers) = app(&store);
    sandbox.buildah(["from", "--pull-never", "--name", "work", "localhost/app:1"]).ok();
    let tree = sandbox.buildah(["mount", "work"]).ok();
    fs::write(Path::new(&tree).join("new"), "1").expect("written");
    sandbox.buildah(["commit", "-q", "work", "localhost/app:2"]).ok();
    assert!(matches!(store.delete_image(&image.id), Err(Error::ImageInUse { .. })));
    sandbox.buildah(["rm", "work"]).ok();
    let theirs = store.image("localhost/app:2").expect("there");
    let stack = store.layer_stack(&theirs.layer.expect("has layers")).expect("complete");
    assert_eq!(stack[..2].iter().map(|l| &l.id).collect::<Vec<_>>(), layers.iter().map(|l| &l.id).collect::<Vec<_>>());
    assert_eq!(tar_digest(&store, &stack[2].id), stack[2].diff_id.clone().expect("recorded").0);

    sandbox.write("ctx/Dockerfile", "FROM localhost/app:1\nRUN echo 1 > /one\nRUN echo 2 > /two\n");
    let build = || {
        sandbox
            .buildah(["bud", "--layers", "--isolation", "chroot", "--pull-never", "-t", "localhost/built:1"])
            .arg(sandbox.path("ctx"))
    };
    build().ok();
    assert_eq!(build().ok().matches("Using cache").count(), 2);
    assert_sound(&sandbox);
    for image in store.images().expect("listed").into_iter().rev() {
        store.delete_image(&image.id).expect("deleted");
    }
    assert!(store.layers().expect("listed").is_empty());
}

#[test]
fn peers_podman_runs_our_image_and_removes_everything() {
    let (sandbox, store) = sandbox();
    let (image, _) = app(&store);
    assert_eq!(sandbox.podman_run(["localhost/app:1", "cat", "/app/data"]).ok(), "hello");
    sandbox.podman(["create", "--network=none", "--name", "theirs", "localhost/app:1", "true"]).ok();
    assert!(matches!(store.delete_image(&image.id), Err(Error::ImageInUse { .. })));
    sandbox.podman(["rm", "theirs"]).ok();
    sandbox.podman(["rmi", "-af"]).ok();
    let names = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(sandbox.graph_root().join(path)).expect("there");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("overlay"), [".has-mount-program", "l", "tempdirs"]);
    assert_eq!(names("overlay/l"), [""; 0]);
    assert!(store.images().expect("listed").is_empty() && store.layers().expect("listed").is_empty());
}

#[test]
fn peers_images_of_skopeo_and_buildah_are_ours_too() {
    let (sandbox, store) = sandbox();
    sandbox.import_base();
    sandbox.buildah(["from", "--pull-never", "--name", "work", "localhost/base"]).ok();
    sandbox.buildah(["config", "--env", "A=1", "work"]).ok();
    sandbox.buildah(["commit", "-q", "--rm", "work", "localhost/more:1"]).ok();
    let images = store.images().expect("listed");
    assert_eq!(images.len(), 2);
    let seen: BTreeMap<String, String> =
        images.iter().flat_map(|i| i.names.iter().map(|name| (name.clone(), i.id.to_string()))).collect();
    let listed = sandbox.podman(["images", "--format", "json", "--no-trunc"]).json();
    for image in listed.as_array().expect("a list") {
        assert_eq!(seen.get(image["Names"][0].as_str().expect("named")).map(String::as_str), image["Id"].as_str());
    }
    for layer in store.layers().expect("listed") {
        assert_eq!(tar_digest(&store, &layer.id), layer.diff_id.expect("an image's layer").0);
    }
    for image in &images {
        let config = oci::ImageConfig::parse(&store.image_config(&image.id).expect("stored")).expect("valid");
        let stack = store.layer_stack(image.layer.as_ref().expect("has layers")).expect("complete");
        assert_eq!(stack.iter().filter_map(|l| l.diff_id.clone()).collect::<Vec<_>>(), config.rootfs.diff_ids);
    }
    // And building on them.
    let base = store.image("base").expect("there");
    let container = store.create_container(NewContainer::new("ours", Some(base.id))).expect("made");
    let tree = store.mount(&container.id).expect("mounted");
    fs::write(tree.join("ours"), "1").expect("written");
    store.unmount(&container.id, false).expect("unmounted");
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Delete, base.layer.as_ref());
    let config = oci::ImageConfig::parse(&store.image_config(&images[0].id).expect("stored")).expect("valid");
    let diff_ids: Vec<_> = config.rootfs.diff_ids.into_iter().chain([new.diff_id.clone()]).collect();
    let image = new_image_of(&diff_ids, vec![1; diff_ids.len()], Some(new.id()), "localhost/ours:1");
    store.publish(&[(staged, new)], vec![image]).expect("published");
    assert_eq!(sandbox.podman_run(["localhost/ours:1", "cat", "/ours"]).ok(), "1");
}

#[test]
fn peers_all_of_it_works_while_buildah_holds_a_mount() {
    let (sandbox, store) = sandbox();
    let (image, layers) = app(&store);
    sandbox.buildah(["from", "--pull-never", "--name", "held", "localhost/app:1"]).ok();
    let held = sandbox.buildah(["mount", "held"]).ok();
    assert!(is_mounted(&sandbox.graph_root().join("overlay")), "buildah's bind mount is there");

    let container = store.create_container(NewContainer::new("work", Some(image.id.clone()))).expect("made");
    let tree = store.mount(&container.id).expect("mounted");
    fs::write(tree.join("b"), "2").expect("written");
    store.unmount(&container.id, true).expect("unmounted");
    let (staged, new) = stage_upper(&store, &container, AfterSeal::Delete, Some(&layers[1].id));
    let mut stack = layers.clone();
    stack.push(store.put_layer(staged, new).expect("sealed"));
    let ours = support::image(&store, &stack, "localhost/app:2");
    let more = put_file(&store, Some(&stack[2].id), "c", "3");
    stack.push(more);
    support::image(&store, &stack, "localhost/app:3");
    assert_eq!(sandbox.podman_run(["localhost/app:3", "cat", "/b", "/c"]).ok(), "23");
    store.delete_image(&store.image("app:3").expect("there").id).expect("deleted");
    store.delete_image(&ours.id).expect("deleted");
    assert!(Path::new(&held).join("app/data").exists(), "still mounted");
    sandbox.buildah(["rm", "held"]).ok();
    assert_sound(&sandbox);
}

fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    table.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(path))
}

#[test]
fn peers_mounts_are_counted_together() {
    let (sandbox, store) = sandbox();
    app(&store);
    sandbox.buildah(["from", "--pull-never", "--name", "work", "localhost/app:1"]).ok();
    let container = store.container("work").expect("there");
    for theirs_first in [true, false] {
        let path = if theirs_first {
            let path = sandbox.buildah(["mount", "work"]).ok();
            assert_eq!(store.mount(&container.id).expect("counted").to_str(), Some(path.as_str()));
            path
        } else {
            let path = store.mount(&container.id).expect("mounted");
            assert_eq!(sandbox.buildah(["mount", "work"]).ok(), path.to_str().expect("text"));
            path.to_str().expect("text").to_owned()
        };
        let path = Path::new(&path);
        assert_eq!(store.mounts().expect("listed")[0].count, 2);
        assert!(sandbox.buildah(["mount"]).ok().contains(path.to_str().expect("text")));
        if theirs_first {
            sandbox.buildah(["umount", "work"]).ok();
            assert!(path.join("app/data").exists(), "ours is left");
            assert!(store.unmount(&container.id, false).expect("unmounted"));
        } else {
            assert!(!store.unmount(&container.id, false).expect("counted"));
            assert!(path.join("app/data").exists(), "theirs is left");
            sandbox.buildah(["umount", "work"]).ok();
        }
        assert!(!path.join("app").exists());
        assert!(store.mounts().expect("listed").is_empty());
    }
    sandbox.buildah(["rm", "work"]).ok();
}

#[test]
fn peers_a_reboot_resets_the_counts() {
    let (sandbox, store) = sandbox();
    app(&store);
    sandbox.buildah(["from", "--pull-never", "--name", "work", "localhost/app:1"]).ok();
    let container = store.container("work").expect("there");
    sandbox.buildah(["mount", "work"]).ok();
    test_support::sandbox::unmount_below(&sandbox.graph_root());
    fs::remove_dir_all(sandbox.run_root()).expect("gone");
    let store = open(&sandbox);
    assert!(store.mounts().expect("listed").is_empty());
    let path = store.mount(&container.id).expect("mounted, though `volatile` was left");
    assert!(path.join("app/data").exists());
    assert!(store.unmount(&container.id, false).expect("unmounted"));
    let path = sandbox.buildah(["mount", "work"]).ok();
    assert!(Path::new(&path).join("app/data").exists());
    sandbox.buildah(["rm", "work"]).ok();
}

#[test]
fn peers_wait_for_our_locks_and_see_our_changes() {
    let (sandbox, store) = sandbox();
    let (image, _) = app(&store);
    // An open-file-description lock, as ours are, held by this test.
    let held = fs::File::options().read(true).write(true).open(sandbox.graph_root().join("overlay-images/images.lock"));
    let held = held.expect("there");
    let range = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&held, nix::fcntl::FcntlArg::F_OFD_SETLKW(&range)).expect("locked");
    let mut podman = sandbox.podman(["images", "-q"]).spawn();
    // It has reached the lock when the kernel lists it as waiting for it.
    let inode = held.metadata().expect("there").ino();
    let waiting = || {
        let table = fs::read_to_string("/proc/locks").expect("readable");
        table.lines().any(|line| line.contains("->") && line.contains(&format!(":{inode} ")))
    };
    while !waiting() {
        assert!(podman.try_wait().expect("podman").is_none(), "podman did not wait for the lock");
        std::thread::yield_now();
    }
    drop(held);
    assert!(podman.wait().expect("podman").success());

    // A daemon that has read the store notices what we change.
    let socket = sandbox.path("podman.sock");
    let mut daemon =
        sandbox.podman(["system", "service", "--time", "0", &format!("unix://{}", socket.display())]).spawn();
    let list = || {
        sandbox
            .any("curl")
            .args(["-s", "--retry", "50", "--retry-delay", "0", "--retry-connrefused", "--retry-all-errors"])
            .args(["--unix-socket", socket.to_str().expect("text"), "http://d/v4.0.0/libpod/images/json"])
            .json()
    };
    while !socket.exists() {
        assert!(daemon.try_wait().expect("podman").is_none(), "the service runs");
        std::thread::yield_now();
    }
    assert_eq!(list()[0]["Names"].as_array().map(Vec::len), Some(1));
    store.add_image_names(&image.id, &["localhost/app:new".into()]).expect("named");
    let names = list()[0]["Names"].clone();
    daemon.kill().expect("killed");
    daemon.wait().expect("ended");
    assert!(names.to_string().contains("localhost/app:new"), "{names}");
}

#[test]
fn tree_changed_layers_are_never_given_out() {
    let (sandbox, store) = sandbox();
    let (image, layers) = app(&store);
    drop(store);
    let sandbox: Sandbox = sandbox;
    let path = sandbox.graph_root().join("overlay-layers").join(format!("{}.tar-split.gz", layers[1].id));
    fs::remove_file(path).expect("removed");
    let store = open(&sandbox);
    let error = store.layer_tar(&layers[1].id).err().expect("no tar-split");
    assert!(matches!(&error, Error::NoTarSplit { id } if *id == layers[1].id), "{error}");
    // Content that was changed is noticed while reading.
    let busybox = store.layer_diff_directory(&layers[0].id).expect("known").join("bin/busybox");
    let mut bytes = fs::read(&busybox).expect("read");
    bytes[1000] ^= 1;
    fs::write(&busybox, bytes).expect("written");
    let mut tar = store.layer_tar(&layers[0].id).expect("opens");
    let error = std::io::copy(&mut tar, &mut std::io::sink()).expect_err("changed");
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(store.image_by_id(&image.id).is_ok());
}
