//! Builds: what a step costs, what a cached one does, what a large context does, stages at once.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use test_support::Tool;

use super::{Bench, Cost, MEGABYTE, Store, seconds, write_files};

/// Arguments of every build.
const BUILD: [&str; 7] = ["build", "-q", "--pull=never", "--network", "host", "-t", "localhost/built"];

fn build(bench: &Bench, store: &Store, arguments: &[&str], context: &Path) -> Cost {
    // Buildah makes no layers of steps unless it is told to.
    let layers: &[&str] = if bench.is_gabion(store) { &[] } else { &["--layers"] };
    let context = context.to_str().expect("UTF-8");
    store.timed(&[&BUILD[..], layers, arguments, &[context]].concat())
}

fn remove_built(store: &Store) {
    store.tool(&["rmi", "--force", "localhost/built"]).ok();
    store.tool(&["rmi", "--prune"]).ok();
}

fn context(bench: &Bench, name: &str, dockerfile: &str) -> PathBuf {
    let context = bench.files.path().join(name);
    fs::create_dir_all(&context).expect("make a directory");
    fs::write(context.join("Dockerfile"), dockerfile).expect("write a file");
    context
}

/// Twenty RUN steps that do next to nothing, against as many bare calls of the runtime.
pub fn steps(bench: &Bench) {
    let steps: String = (0..20).map(|number| format!("RUN echo {number} > /{number}\n")).collect();
    let context = context(bench, "steps", &format!("FROM localhost/base\n{steps}"));
    let mut floors = Vec::new();
    let bundle = bundle(bench);
    let [gabion, _] = bench.compare("build of 20 RUN steps, no cache", |store| {
        let cost = build(bench, store, &["--no-cache"], &context);
        remove_built(store);
        if bench.is_gabion(store) {
            let start = Instant::now();
            (0..20).for_each(|_| _ = Tool::new("runc").args(["run", "--bundle"]).arg(&bundle).arg("bare").ok());
            floors.push(start.elapsed());
        }
        cost
    });
    print_floor("the same by 20 × `runc run`", gabion, floors);
}

fn print_floor(name: &str, gabion: Duration, mut floors: Vec<Duration>) {
    floors.sort_unstable();
    let floor = floors[floors.len() / 2];
    let ratio = gabion.as_secs_f64() / floor.as_secs_f64();
    println!("| {name} | {} = {ratio:.2} × that | | | | |", seconds(floor));
}

/// A bundle whose process is `true` in the base image's files.
fn bundle(bench: &Bench) -> PathBuf {
    let bundle = bench.files.path().join("bundle");
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(rootfs.join("bin")).expect("make a directory");
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox-static is installed");
    Tool::new("runc").args(["spec", "--bundle"]).arg(&bundle).ok();
    let path = bundle.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("read the spec")).expect("runc writes JSON");
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/bin/busybox", "true"]);
    config["process"]["rlimits"] = serde_json::json!([]);
    fs::write(&path, config.to_string()).expect("write the spec");
    bundle
}

/// 122 instructions of which none is to be done, with few images in the store and with many.
pub fn cached(bench: &Bench) {
    let mut dockerfile = "FROM localhost/base\n".to_owned();
    for number in 0..40 {
        let _ =
            write!(dockerfile, "ENV V{number}={number}\nRUN echo $V{number} > /{number}\nCOPY file /file{number}\n");
    }
    dockerfile.push_str("CMD [\"sh\"]\n");
    let context = context(bench, "cached", &dockerfile);
    fs::write(context.join("file"), "content").expect("write a file");
    for store in &bench.stores {
        build(bench, store, &[], &context);
    }
    bench.compare("build of 122 instructions, all cached", |store| build(bench, store, &[], &context));
    for store in &bench.stores {
        many_images(bench, store, 2000);
    }
    bench.compare("the same, 2,000 images in the store", |store| build(bench, store, &[], &context));
    for store in &bench.stores {
        let all = store.tool(&["images", "-q", "--filter", "reference=localhost/many*"]).ok();
        all.lines().collect::<Vec<_>>().chunks(200).for_each(|ids| _ = store.tool(&["rmi", "--force"]).args(ids).ok());
        remove_built(store);
    }
}

/// Fills the store with images over the base's layer: other names, other configs.
fn many_images(bench: &Bench, store: &Store, count: usize) {
    let gabion = &bench.stores[0].program;
    let script = r#"ctr=$("$@" from --pull=never localhost/base)
        n=0; while [ $n -lt COUNT ]; do
            "$@" config --label n=$n $ctr && "$@" commit -q $ctr localhost/many:$n >/dev/null || exit 1
            n=$((n+1))
        done
        "$@" rm $ctr >/dev/null"#;
    let script = script.replace("COUNT", &count.to_string());
    Tool::new("sh").args(["-c", &script, "sh"]).args(store.sandbox.store_command(gabion)).ok();
}

/// A context of 20,000 files and 279 MB: unchanged, and copied anew with a RUN after it.
pub fn large_context(bench: &Bench) {
    let context = context(bench, "large", "FROM localhost/base\nCOPY . /all\nRUN true\n");
    for dir in 0..200 {
        write_files(&context.join(dir.to_string()), 100, 279 * MEGABYTE / 20_000);
    }
    for store in &bench.stores {
        build(bench, store, &[], &context);
    }
    bench.compare("build of a context of 20,000 files, 279 MB, cached", |store| build(bench, store, &[], &context));
    let mut floors = Vec::new();
    let [gabion, _] = bench.compare("the same without the cache, a RUN after it", |store| {
        remove_built(store);
        if bench.is_gabion(store) {
            let start = Instant::now();
            Tool::new("sh").args(["-c", r#"tar -C "$1" -cf - . | sha256sum"#, "sh"]).arg(&context).ok();
            floors.push(start.elapsed());
        }
        build(bench, store, &["--no-cache"], &context)
    });
    print_floor("`tar` and `sha256sum` of it", gabion, floors);
    bench.stores.iter().for_each(remove_built);
}

/// Four stages of a second each.
pub fn stages(bench: &Bench) {
    let mut dockerfile = String::new();
    (0..4).for_each(|n| _ = write!(dockerfile, "FROM localhost/base AS s{n}\nRUN sleep 1; echo {n} > /{n}\n"));
    dockerfile.push_str("FROM localhost/base\n");
    (0..4).for_each(|n| _ = writeln!(dockerfile, "COPY --from=s{n} /{n} /{n}"));
    let context = context(bench, "stages", &dockerfile);
    bench.compare("four independent stages of 1 s, `--jobs 4`", |store| {
        let cost = build(bench, store, &["--no-cache", "--jobs", "4"], &context);
        remove_built(store);
        cost
    });
}

/// What is in a small store.
pub fn images(bench: &Bench) {
    bench.compare("`images`, small store", |store| store.timed(&["images"]));
    bench.compare("`version`", |store| store.timed(&["version"]));
}

/// Start-up on a store of 500 images, each with a config of its own. gabion makes them in both stores.
pub fn start(bench: &Bench) {
    let ids = bench.stores.each_ref().map(|store| {
        let gabion = |args: &[&str]| store.sandbox.on_store(env!("CARGO_BIN_EXE_gabion")).args(args).ok();
        let container = gabion(&["from", "--pull=never", "localhost/base"]);
        let commit = |number: usize| {
            let (label, name) = (format!("LABEL n={number}"), format!("localhost/many:{number}"));
            gabion(&["commit", "-q", "--change", &label, &container, &name])
        };
        let ids: Vec<String> = (0..500).map(commit).collect();
        gabion(&["rm", &container]);
        ids
    });
    bench.compare("`images`, 500 images", |store| store.timed(&["images"]));
    bench.compare("`images --json`, 500 images", |store| store.timed(&["images", "--json"]));
    bench.compare("`version`, 500 images", |store| store.timed(&["version"]));
    for (store, ids) in bench.stores.iter().zip(&ids) {
        store.sandbox.on_store(env!("CARGO_BIN_EXE_gabion")).arg("rmi").args(ids).ok();
    }
}

/// Commit of 480 MB in 25,000 files by rename, against reading, hashing and syncing them.
pub fn commit_many(bench: &Bench) {
    let files = bench.files.path().join("480");
    for dir in 0..250 {
        write_files(&files.join(dir.to_string()), 100, 480 * MEGABYTE / 25_000);
    }
    let mut floors = Vec::new();
    let [gabion, _] = bench.compare("`commit --rm`, 480 MB in 25,000 files", |store| {
        let container = store.container("localhost/base", &files);
        if bench.is_gabion(store) {
            let upper = store.sandbox.graph_root();
            rustix::fs::sync();
            let script = r#"find "$1/overlay" -path "*/diff/480/*" -type f -print0 | sort -z | xargs -0 cat | openssl sha256 && sync -f "$1""#;
            let start = Instant::now();
            Tool::new("sh").args(["-c", script, "sh"]).arg(upper).ok();
            floors.push(start.elapsed());
        }
        let cost = store.timed(&["commit", "-q", "--rm", &container, "localhost/big"]);
        store.tool(&["rmi", "localhost/big"]).ok();
        cost
    });
    print_floor("walk, read, SHA-256 and sync of the same files", gabion, floors);
}

/// One changed file on a base of 10 files and on one of 100,000.
pub fn small_change(bench: &Bench) {
    let small = bench.files.path().join("small-change");
    fs::write(&small, "small").expect("write a file");
    let mut medians = Vec::new();
    for (name, dirs, each) in [("10", 1, 10), ("100,000", 1000, 100)] {
        let files = bench.files.path().join(format!("base-{dirs}"));
        for dir in 0..dirs {
            write_files(&files.join(dir.to_string()), each, 100);
        }
        for store in &bench.stores {
            let container = store.container("localhost/base", &files);
            store.tool(&["commit", "-q", "--rm", &container, "localhost/many-files"]).ok();
        }
        let [gabion, _] = bench.compare(&format!("`commit --rm`, one file on a base of {name}"), |store| {
            let container = store.container("localhost/many-files", &small);
            let cost = store.timed(&["commit", "-q", "--rm", &container, "localhost/more"]);
            store.tool(&["rmi", "localhost/more"]).ok();
            cost
        });
        medians.push(gabion.as_secs_f64());
    }
    println!("| the second to the first | {:.2} × | | | | |", medians[1] / medians[0]);
}
