//! Steps of a build: staged layers mounted over each other, where nobody else sees them.
#![allow(clippy::expect_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oci::LayerId;
use rootfs::Root;
use store::{NewLayer, StagedLayer, enter_private_mounts};
use support::{put_file, sandbox};

/// Runs `work` on a thread with mounts of its own.
fn privately<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let on_thread = || {
        enter_private_mounts().expect("a mount namespace");
        work()
    };
    std::thread::scope(|scope| scope.spawn(on_thread).join().expect("no panic"))
}

/// The staged layer's files become a layer over `parent`.
fn seal(staged: &StagedLayer, parent: LayerId) -> NewLayer {
    let upper = Root::open(staged.diff_dir()).expect("opened");
    let options = layers::DiffOptions::default();
    layers::clean(&upper, &[], &options).expect("cleaned");
    let tar_split = staged.tar_split_file().expect("made");
    let summary = layers::diff(&upper, &[], io::sink(), tar_split, &options).expect("read");
    NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(Some(parent), summary.diff_id, summary.size)
    }
}

fn is_mounted(mounts: &str, path: &Path) -> bool {
    let mounts = fs::read_to_string(mounts).expect("read");
    mounts.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

#[test]
fn root_steps_are_stacked_unseen_and_published_at_once() {
    let (_sandbox, store) = sandbox();
    let base = put_file(&store, None, "base", "0");
    let base_dirs = store.lower_directories(&base.id).expect("directories");
    let (first, second) = privately(|| {
        let first = store.stage_layer().expect("staged");
        let mount = store.mount_staged(&first, &base_dirs).expect("mounted");
        let path = mount.path().to_owned();
        fs::write(path.join("one"), "1").expect("written");
        fs::remove_file(path.join("base")).expect("removed");
        // The main thread's namespace is the process's.
        assert!(!is_mounted("/proc/self/mountinfo", &path) && is_mounted("/proc/thread-self/mountinfo", &path));
        drop(mount);

        let second = store.stage_layer().expect("staged");
        let lowers: Vec<PathBuf> = std::iter::once(first.diff_dir().to_owned()).chain(base_dirs.clone()).collect();
        let mount = store.mount_staged(&second, &lowers).expect("mounted");
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).expect("read").map(|entry| entry.expect("entry").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(mount.path()), ["one"]);
        fs::write(mount.path().join("two"), "2").expect("written");
        drop(mount);
        (first, second)
    });
    let layers_before = store.layers().expect("layers").len();
    let one = seal(&first, base.id);
    let two = seal(&second, one.id());
    let top = two.id();
    store.publish(&[(first, one), (second, two)], Vec::new()).expect("published");
    assert_eq!(store.layers().expect("layers").len(), layers_before + 2);
    let tree = store.open_layer_tree(&top).expect("tree");
    assert_eq!(fs::read_to_string(tree.path().join("two")).expect("read"), "2");
    assert!(!tree.path().join("base").exists());
}

#[test]
fn root_mounts_of_a_thread_end_with_it() {
    let (_sandbox, store) = sandbox();
    let (staged, path) = privately(|| {
        let staged = store.stage_layer().expect("staged");
        let mount = store.mount_staged(&staged, &[]).expect("mounted");
        fs::write(mount.path().join("file"), "").expect("written");
        let path = mount.path().to_owned();
        assert!(is_mounted("/proc/thread-self/mountinfo", &path));
        // As if the process were killed: nothing is unmounted.
        std::mem::forget(mount);
        (staged, path)
    });
    assert!(!is_mounted("/proc/self/mountinfo", &path));
    assert!(staged.diff_dir().join("file").exists());
}

#[test]
fn root_more_than_500_lower_directories_are_refused() {
    let (_sandbox, store) = sandbox();
    let lowers = vec![PathBuf::from("/"); 501];
    privately(|| {
        let staged = store.stage_layer().expect("staged");
        let error = store.mount_staged(&staged, &lowers).expect_err("refused").to_string();
        assert_eq!(error, "501 layers below a step: at most 500 can be mounted");
    });
}

#[test]
fn root_a_layer_is_copied_over_another_one_without_being_read() {
    let (_sandbox, store) = sandbox();
    let one = put_file(&store, None, "one", "1");
    let made = put_file(&store, Some(&one.id), "made", "content");
    let two = put_file(&store, None, "two", "2");
    let (staged, new) = store.stage_copy(&made.id, Some(two.id.clone())).expect("copied");
    assert_eq!((Some(&new.diff_id), new.parent.as_ref()), (made.diff_id.as_ref(), Some(&two.id)));
    let image = |config: &str, top: &LayerId| store::NewImage::new(config.into(), b"{}".to_vec(), Some(top.clone()));
    let images = vec![image(r#"{"os":"linux"}"#, &new.id()), image(r#"{"os":"linux","author":"a"}"#, &two.id)];
    let published = store.publish(&[(staged, new.clone())], images).expect("published");
    assert_eq!(
        published.images.iter().map(|image| image.layer.clone()).collect::<Vec<_>>(),
        [Some(new.id()), Some(two.id)]
    );
    let tars = [made.id, new.id()].map(|id| {
        let mut bytes = Vec::new();
        store.layer_tar(&id).expect("tar-split").read_to_end(&mut bytes).expect("read");
        bytes
    });
    assert!(!tars[0].is_empty() && tars[0] == tars[1]);
    let tree = store.open_tree(&store.lower_directories(&new.id()).expect("directories")).expect("tree");
    assert_eq!(fs::read_to_string(tree.path().join("made")).expect("read"), "content");
    assert!(store.open_tree(&[]).expect("empty").path().read_dir().expect("read").next().is_none());
}

#[test]
fn root_others_may_enter_the_top_of_a_staged_layer() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_sandbox, store) = sandbox();
    privately(|| {
        let staged = store.stage_layer().expect("staged");
        let mount = store.mount_staged(&staged, &[]).expect("mounted");
        assert_eq!(fs::metadata(mount.path()).expect("stat").permissions().mode() & 0o7777, 0o555);
    });
}
