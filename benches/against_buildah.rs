//! gabion against Debian's Buildah on the same disk in the same run, as `make bench` runs it.
//!
//! Runs are interleaved (gabion, Buildah, gabion, …) and medians compared. Before each timed
//! command all that was prepared is synced, so that nobody pays for another's writes. gabion syncs
//! what it commits or pulls; Buildah by default does not. Names of benchmarks as arguments choose;
//! `GABION_BENCH_RUNS` (5) says how often each is run, `GABION_BENCH_BUILDAH` names another Buildah.
#![allow(clippy::expect_used, reason = "a benchmark that cannot run ends")]

mod builds; // Dockerfiles

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use test_support::{DockerRegistry, Sandbox, Tool, base_image};

const MEGABYTE: usize = 1 << 20;

/// Measures one kind of work and prints its row.
type Benchmark = fn(&Bench);

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = std::env::var("GABION_BENCH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let bench = Bench::new(runs);
    let all: [(&str, Benchmark); 13] = [
        ("build-steps", builds::steps),
        ("build-cached", builds::cached),
        ("build-context", builds::large_context),
        ("build-stages", builds::stages),
        ("images", builds::images),
        ("start", builds::start),
        ("commit-many", builds::commit_many),
        ("commit-change", builds::small_change),
        ("commit-big", commit_big),
        ("commit-small", commit_small),
        ("from-run-rm", from_run_rm),
        ("push", push),
        ("pull", pull),
    ];
    println!("| benchmark | gabion | Buildah | ratio | gabion's peak memory | Buildah's |");
    println!("|---|---|---|---|---|---|");
    for (name, run) in all {
        if chosen.is_empty() || chosen.iter().any(|one| one == name) {
            run(&bench);
        }
    }
}

/// Two stores on one disk, one for each tool.
struct Bench {
    runs: usize,
    stores: [Store; 2],
    files: tempfile::TempDir,
}

struct Store {
    sandbox: Sandbox,
    program: PathBuf,
}

/// What one command took.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    /// Peak resident memory of the largest process, in KiB.
    memory: u64,
}

impl Bench {
    fn new(runs: usize) -> Bench {
        let parent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        fs::create_dir_all(&parent).expect("make a directory below target");
        let parent = parent.canonicalize().expect("resolve target");
        let buildah = std::env::var_os("GABION_BENCH_BUILDAH").map_or_else(|| "buildah".into(), PathBuf::from);
        let stores = [PathBuf::from(env!("CARGO_BIN_EXE_gabion")), buildah].map(|program| {
            let sandbox = Sandbox::below(&parent, &program);
            sandbox.import_base();
            Store { sandbox, program }
        });
        Bench { runs, stores, files: tempfile::tempdir_in(parent).expect("make a temporary directory") }
    }

    fn is_gabion(&self, store: &Store) -> bool {
        std::ptr::eq(store, &self.stores[0])
    }

    /// Times what `measure` does with each store, run by run in turn, and prints a line.
    fn compare(&self, name: &str, mut measure: impl FnMut(&Store) -> Cost) -> [Duration; 2] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..self.runs {
            for (store, costs) in self.stores.iter().zip(&mut costs) {
                costs.push(measure(store));
            }
        }
        let [gabion, buildah] = costs.map(|costs| median(&costs));
        let ratio = buildah.time.as_secs_f64() / gabion.time.as_secs_f64();
        let memory = |cost: Cost| format!("{} MiB", cost.memory / 1024);
        let (own, peers) = (memory(gabion), memory(buildah));
        println!("| {name} | {} | {} | {ratio:.2} | {own} | {peers} |", seconds(gabion.time), seconds(buildah.time));
        [gabion.time, buildah.time]
    }
}

impl Store {
    /// The tool with `arguments`.
    fn tool(&self, arguments: &[&str]) -> Tool {
        self.sandbox.on_store(&self.program).args(arguments)
    }

    /// Runs the tool, timed; what was written before is synced first.
    fn timed(&self, arguments: &[&str]) -> Cost {
        rustix::fs::sync();
        let report = self.sandbox.path("memory");
        let time = self.sandbox.any("/usr/bin/time").args(["-f", "%M", "-o"]).arg(&report);
        let tool = time.args(self.sandbox.store_command(&self.program)).args(arguments);
        let start = Instant::now();
        tool.ok();
        let time = start.elapsed();
        let memory = fs::read_to_string(report).expect("read what time wrote").trim().parse().expect("a number");
        Cost { time, memory }
    }

    /// A container on `image` into which `files` were copied.
    fn container(&self, image: &str, files: &Path) -> String {
        let container = self.tool(&["from", "--pull=never", image]).ok();
        let root = self.tool(&["mount", &container]).ok();
        Tool::new("cp").arg("-a").arg(files).arg(root).ok();
        self.tool(&["umount", &container]).ok();
        container
    }
}

fn median(costs: &[Cost]) -> Cost {
    let mut times: Vec<Duration> = costs.iter().map(|cost| cost.time).collect();
    let mut memories: Vec<u64> = costs.iter().map(|cost| cost.memory).collect();
    times.sort_unstable();
    memories.sort_unstable();
    Cost { time: times[times.len() / 2], memory: memories[memories.len() / 2] }
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds @ ..0.1 => format!("{:.1} ms", seconds * 1000.0),
        seconds => format!("{seconds:.2} s"),
    }
}

/// Commit of a 500 MB upper dir: with `--rm`, and plain, which is compared to the floor as well.
fn commit_big(bench: &Bench) {
    let files = bench.files.path().join("big");
    write_files(&files, 100, 5 * MEGABYTE);
    bench.compare("`commit --rm`, 500 MB", |store| {
        let container = store.container("localhost/base", &files);
        let cost = store.timed(&["commit", "-q", "--rm", &container, "localhost/big"]);
        store.tool(&["rmi", "localhost/big"]).ok();
        cost
    });
    let containers = bench.stores.each_ref().map(|store| store.container("localhost/base", &files));
    let mut floors = Vec::new();
    let [gabion, _] = bench.compare("`commit`, 500 MB", |store| {
        let own = bench.is_gabion(store);
        let container = &containers[usize::from(!own)];
        let cost = store.timed(&["commit", "-q", container, "localhost/big"]);
        store.tool(&["rmi", "localhost/big"]).ok();
        if own {
            floors.push(floor(&files, &bench.files.path().join("copy")));
        }
        cost
    });
    floors.sort_unstable();
    let floor = floors[floors.len() / 2];
    let ratio = gabion.as_secs_f64() / floor.as_secs_f64();
    println!("| the same by `cp -a`, `sha256sum` and `sync` | {} = {ratio:.2} × that | | | | |", seconds(floor));
    for (store, container) in bench.stores.iter().zip(containers) {
        store.tool(&["rm", &container]).ok();
    }
}

/// Time to copy `files`, hash the copy and sync it.
fn floor(files: &Path, copy: &Path) -> Duration {
    rustix::fs::sync();
    let script = r#"cp -a "$1" "$2" && find "$2" -type f -exec sha256sum {} + >/dev/null && sync -f "$2""#;
    let start = Instant::now();
    Tool::new("sh").args(["-c", script, "sh"]).arg(files).arg(copy).ok();
    let time = start.elapsed();
    fs::remove_dir_all(copy).expect("remove a copy");
    time
}

/// Commit of one small file on a base of 30,000 files.
fn commit_small(bench: &Bench) {
    let (many, small) = (bench.files.path().join("many"), bench.files.path().join("small"));
    for dir in 0..300 {
        write_files(&many.join(dir.to_string()), 100, 2000);
    }
    fs::write(&small, "small").expect("write a file");
    for store in &bench.stores {
        let container = store.container("localhost/base", &many);
        store.tool(&["commit", "-q", "--rm", &container, "localhost/many"]).ok();
    }
    for (name, flags) in [("`commit --rm`, one file on 30,000", &["--rm"][..]), ("`commit`, one file on 30,000", &[])] {
        bench.compare(name, |store| {
            let container = store.container("localhost/many", &small);
            let arguments = [&["commit", "-q"], flags, &[&container, "localhost/more"]].concat();
            let cost = store.timed(&arguments);
            if flags.is_empty() {
                store.tool(&["rm", &container]).ok();
            }
            store.tool(&["rmi", "localhost/more"]).ok();
            cost
        });
    }
}

fn from_run_rm(bench: &Bench) {
    bench.compare("`from`, `run true`, `rm`", |store| {
        let from = store.timed(&["from", "--pull=never", "--name", "quick", "localhost/base"]);
        let run = store.timed(&["run", "--network", "host", "quick", "true"]);
        let rm = store.timed(&["rm", "quick"]);
        Cost { time: from.time + run.time + rm.time, memory: from.memory.max(run.memory).max(rm.memory) }
    });
}

/// Pushes a 300 MB image, committed by the tool itself, to an empty registry.
fn push(bench: &Bench) {
    let files = bench.files.path().join("pushed");
    write_files(&files, 60, 5 * MEGABYTE);
    for store in &bench.stores {
        let container = store.container("localhost/base", &files);
        store.tool(&["commit", "-q", "--rm", &container, "localhost/pushed"]).ok();
    }
    bench.compare("`push`, 300 MB", |store| {
        let registry = DockerRegistry::plain();
        store.timed(&["push", "-q", "--tls-verify=false", "localhost/pushed", &registry.image("pushed")])
    });
    for store in &bench.stores {
        store.tool(&["rmi", "localhost/pushed"]).ok();
    }
}

/// Pulls a 300 MB image of four gzip layers.
fn pull(bench: &Bench) {
    let registry = DockerRegistry::plain();
    let layout = bench.files.path().join("layout");
    let mut layers = vec![base_image::layer_tar()];
    for number in 0..3 {
        let (files, tar) = (bench.files.path().join(format!("layer{number}")), bench.files.path().join("layer.tar"));
        write_files(&files, 20, 5 * MEGABYTE);
        Tool::new("tar").arg("-cf").arg(&tar).arg("-C").arg(bench.files.path()).arg(format!("layer{number}")).ok();
        layers.push(fs::read(tar).expect("read a tar"));
    }
    base_image::write_layout(&layout, "latest", &layers, true, &json!({"Cmd": ["sh"]}));
    let (source, image) = (format!("oci:{}:latest", layout.display()), registry.image("pulled"));
    bench.stores[0].sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &source, &image]).ok();
    bench.compare("`pull`, 300 MB", |store| {
        let cost = store.timed(&["pull", "-q", "--tls-verify=false", &image]);
        store.tool(&["rmi", image.trim_start_matches("docker://")]).ok();
        cost
    });
}

/// `count` files of `size` bytes in `dir`, of which half compresses well.
fn write_files(dir: &Path, count: usize, size: usize) {
    fs::create_dir_all(dir).expect("make a directory");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ dir.as_os_str().len() as u64;
    for number in 0..count {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if bytes.len() / 4096 % 2 == 0 {
                bytes.extend_from_slice(&state.to_le_bytes());
            } else {
                bytes.extend_from_slice(b"gabion: ");
            }
        }
        bytes.truncate(size);
        fs::write(dir.join(number.to_string()), bytes).expect("write a file");
    }
}
