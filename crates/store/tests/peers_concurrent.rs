//! Several processes and threads change one store at once; some are killed.
#![allow(clippy::expect_used, reason = "tests may fail")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use store::{AfterSeal, NewContainer, Store, StoreOptions};
use support::*;
use test_support::Sandbox;
use test_support::store_check::assert_sound;

/// What a child process is to do, and where.
const TASK: &str = "GABION_STORE_TEST_TASK";

/// This test binary again: [`peers_a_writer_alone`] does `task` on the sandbox's store.
fn spawn(sandbox: &Sandbox, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a binary"));
    command
        .args(["--exact", "peers_a_writer_alone", "--nocapture", "--test-threads=1"])
        .env(TASK, format!("{task} {} {}", sandbox.graph_root().display(), sandbox.run_root().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// What [`spawn`] starts does its task here; without one, this is the test that a task can be done.
#[test]
fn peers_a_writer_alone() {
    if let Ok(task) = std::env::var(TASK) {
        let words: Vec<&str> = task.split(' ').collect();
        let [task, graph_root, run_root] = words[..] else { panic!("{words:?}") };
        return write(task, &StoreOptions::new(PathBuf::from(graph_root), PathBuf::from(run_root)));
    }
    let sandbox = Sandbox::new("/bin/false");
    write("write:alone", &StoreOptions::new(sandbox.graph_root(), sandbox.run_root()));
    let mut names: Vec<String> =
        open(&sandbox).images().expect("listed").into_iter().flat_map(|image| image.names).collect();
    names.sort();
    let own = |round: usize, name: &str| format!("localhost/alone-{round}:{name}");
    let mut expected: Vec<String> = (0..6).map(|round| own(round, "a")).collect();
    expected.extend([0, 2, 4].map(|round| own(round, "b")));
    expected.push("localhost/contended:latest".into());
    expected.sort();
    assert_eq!(names, expected);
    assert_sound(&sandbox);
}

/// Does `task` (`write:NAME`, `forever:NAME`) on a store that is opened anew for each round.
fn write(task: &str, options: &StoreOptions) {
    let (task, name) = task.split_once(':').expect("task:name");
    let rounds = match task {
        "write" => 0..6,
        "forever" => 0..usize::MAX,
        _ => panic!("{task}"),
    };
    for round in rounds {
        write_once(&Store::open(options.clone()).expect("opens"), &format!("{name}-{round}"));
    }
}

/// Every kind of change: layers, an image, a container, a seal, names, deletions.
fn write_once(store: &Store, tag: &str) {
    let base = put(store, None, |dir| fill(dir, "shared"));
    let child = put(store, Some(&base.id), |dir| fill(dir, tag));
    let first = image(store, &[base.clone(), child.clone()], &format!("localhost/{tag}:a"));
    let container =
        store.create_container(NewContainer::new(format!("work-{tag}"), Some(first.id.clone()))).expect("made");
    let tree = store.mount(&container.id).expect("mounted");
    fs::write(tree.join(format!("more-{tag}")), tag).expect("written");
    store.unmount(&container.id, false).expect("unmounted");
    let (staged, new) = stage_upper(store, &container, AfterSeal::Delete, Some(&child.id));
    let diff_ids: Vec<_> =
        [&base, &child].into_iter().filter_map(|l| l.diff_id.clone()).chain([new.diff_id.clone()]).collect();
    let sizes = vec![base.diff_size, child.diff_size, i64::try_from(new.diff_size).expect("small")];
    let image = new_image_of(&diff_ids, sizes, Some(new.id()), &format!("localhost/{tag}:b"));
    let published = store.publish(&[(staged, new)], vec![image]).expect("published");
    store.add_image_names(&first.id, &["localhost/contended:latest".into()]).expect("named");
    let number = tag.rsplit('-').next().and_then(|n| n.parse::<u32>().ok()).expect("numbered");
    if number % 2 == 1 {
        store.delete_image(&published.images[0].id).expect("deleted");
    }
}

/// Files with fixed times, so that the same tag gives the same layer.
fn fill(dir: &std::path::Path, tag: &str) {
    for n in 0..5 {
        let path = dir.join(format!("{tag}-{n}"));
        fs::write(&path, tag.repeat(1000)).expect("written");
        let file = fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(std::time::UNIX_EPOCH).expect("set");
    }
}

#[test]
fn peers_nothing_is_lost_with_writers_of_all_kinds_at_once() {
    let sandbox = Sandbox::new("/bin/false");
    drop(open(&sandbox));
    let mut ours: Vec<_> = (0..3).map(|n| spawn(&sandbox, &format!("write:p{n}")).spawn().expect("started")).collect();
    let done = AtomicBool::new(false);
    let base = format!("oci:{}:latest", test_support::base_image::layout().display());
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (sandbox, base) = (&sandbox, &base);
            scope.spawn(move || {
                for round in 0..5 {
                    let target = sandbox.storage(&format!("localhost/skopeo{n}:{round}"));
                    sandbox.skopeo(["copy", "-q", base, &target]).ok();
                }
            });
        }
        scope.spawn(|| {
            sandbox.import_base();
            for round in 0..4 {
                let name = format!("theirs{round}");
                sandbox.buildah(["from", "--pull-never", "--name", &name, "localhost/base"]).ok();
                sandbox.buildah(["config", "--env", &format!("N={round}"), &name]).ok();
                sandbox.buildah(["commit", "-q", "--rm", &name, &format!("localhost/buildah:{round}")]).ok();
            }
        });
        scope.spawn(|| {
            let store = open(&sandbox);
            while !done.load(Ordering::Relaxed) {
                for image in store.images().expect("listed") {
                    // It may be deleted by now, but never half there.
                    match store.image_config(&image.id) {
                        Ok(config) => assert_eq!(oci::ImageId::of_config(&config), image.id),
                        Err(error) => {
                            // The Go tools record an image before its data, and name it last.
                            let now = store.image_by_id(&image.id);
                            assert!(now.is_err() || image.names.is_empty(), "{error}: {image:?}");
                        }
                    }
                }
                // Podman reads the list and then each image, which may be gone by then.
                let listed = sandbox.podman(["images", "-q"]).run();
                assert!(listed.status.success() || listed.stderr.contains("image not known"), "{listed}");
            }
        });
        for child in &mut ours {
            assert!(child.wait().expect("waited").success());
        }
        done.store(true, Ordering::Relaxed);
    });
    let store = open(&sandbox);
    let mut names: Vec<String> = store.images().expect("listed").into_iter().flat_map(|image| image.names).collect();
    names.sort();
    for n in 0..3 {
        for round in 0..6 {
            assert!(names.contains(&format!("localhost/p{n}-{round}:a")), "p{n}-{round}:a in {names:?}");
            assert_eq!(names.contains(&format!("localhost/p{n}-{round}:b")), round % 2 == 0, "p{n}-{round}:b");
        }
    }
    for n in 0..2 {
        assert!((0..5).all(|round| names.contains(&format!("localhost/skopeo{n}:{round}"))), "{names:?}");
    }
    assert!((0..4).all(|round| names.contains(&format!("localhost/buildah:{round}"))), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "localhost/contended:latest").count(), 1);
    let listed = sandbox.podman(["images", "--format", "{{range .Names}}{{.}}\n{{end}}"]).ok();
    let mut theirs: Vec<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    theirs.sort_unstable();
    // A row for each name, and in it all names of the image.
    theirs.dedup();
    assert_eq!(theirs, names);
    assert!(store.containers().expect("listed").is_empty());
    assert_sound(&sandbox);
}

#[test]
fn peers_a_kill_at_any_moment_leaves_a_whole_store() {
    let sandbox = Sandbox::new("/bin/false");
    drop(open(&sandbox));
    sandbox.import_base();
    for kill in 0..20_u32 {
        let mut child = spawn(&sandbox, &format!("forever:k{kill}")).stderr(Stdio::null()).spawn().expect("started");
        // The moment: after so many more steps that the records show, plus a bit that differs.
        let token = sandbox.graph_root().join("overlay-layers/layers.lock");
        let changes = |seen: &mut Vec<Vec<u8>>| {
            let now = fs::read(&token).unwrap_or_default();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            seen.len()
        };
        let mut seen = Vec::new();
        while changes(&mut seen) < 2 + (kill % 9) as usize {
            assert!(child.try_wait().expect("waited").is_none(), "it goes on until it is killed");
            std::thread::yield_now();
        }
        for _ in 0..(kill * 7919) % 4000 {
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("ended");

        // The other tools first: what they list must be whole.
        if kill % 4 == 0 {
            for id in sandbox.podman(["images", "-q", "--no-trunc", "-a"]).ok().lines() {
                sandbox.podman(["image", "inspect", id.trim_start_matches("sha256:")]).ok();
            }
        }
        let store = open(&sandbox);
        for image in store.images().expect("listed") {
            store.image_config(&image.id).expect("whole");
            for layer in store.layer_stack(image.layer.as_ref().expect("has layers")).expect("complete") {
                assert_eq!(tar_digest(&store, &layer.id), layer.diff_id.expect("an image's").0);
            }
        }
        for container in store.containers().expect("listed") {
            store.mount(&container.id).expect("mountable");
            store.delete_container(&container.id).expect("deleted");
        }
        write_once(&store, &format!("retry{kill}-0"));
        for image in store.images().expect("listed").into_iter().rev() {
            if !image.names.iter().any(|name| name.contains("base")) {
                store.delete_image(&image.id).expect("deleted");
            }
        }
        let used = store.layer_stack(store.image("base").expect("there").layer.as_ref().expect("has layers"));
        // A layer may be waiting for its image when the kill comes; nothing else is left.
        let used: Vec<_> = used.expect("complete").into_iter().map(|layer| layer.id).collect();
        let left = store.layers().expect("listed").into_iter().filter(|layer| !used.contains(&layer.id));
        assert!(left.count() <= 2 * (kill as usize + 1));
        for dir in ["overlay/tempdirs", "gabion/journal"] {
            assert_eq!(fs::read_dir(sandbox.graph_root().join(dir)).expect("there").count(), 0, "{dir}");
        }
    }
    assert_sound(&sandbox);
}
