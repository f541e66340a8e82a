//! A build killed (SIGKILL) at random moments: the next command cleans up, prune finds and frees what
//! is left, other tools see nothing of it, and the next build gives the right image. The seed is
//! printed; `GABION_TEST_SEED` sets it.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use test_support::store_check::{assert_records_sound, assert_sound, records};
use test_support::{Sandbox, Tool};

/// How many moments a build is killed at.
const MOMENTS: u32 = 50;

/// Every build does all of it, whatever the ones before have done. The marker tells its processes from
/// others.
const DOCKERFILE: &str = "FROM localhost/base AS one
ARG TURN
RUN --mount=type=cache,target=/cache : MARKER; echo $TURN > /turn; echo $TURN > /cache/turn
COPY files /files
FROM localhost/base AS two
ARG TURN
RUN : MARKER; echo $TURN; dd if=/dev/urandom of=/big bs=65536 count=32 2> /dev/null
FROM localhost/base
ARG TURN
COPY --from=one /files /turn /
COPY --from=two /big /
RUN --mount=type=cache,target=/cache : MARKER $TURN; cat /cache/turn > /seen
COPY --link files/1 /linked
";

struct Killing {
    sandbox: Sandbox,
    marker: String,
}

impl Killing {
    fn new() -> Killing {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        for number in 0..200 {
            sandbox.write(format!("context/files/{number}"), number.to_string());
        }
        let marker = format!("gabion-killed-{}", std::process::id());
        sandbox.write("context/Dockerfile", DOCKERFILE.replace("MARKER", &marker));
        Killing { sandbox, marker }
    }

    fn build(&self, turn: u32) -> Tool {
        let turn = format!("--build-arg=TURN={turn}");
        let tool = self.sandbox.gabion(["build", "-q", "--network=none", "-t", "new", "--jobs=2", &turn]);
        tool.arg(self.sandbox.path("context"))
    }

    fn ids(&self, kind: &str) -> BTreeSet<String> {
        let all = records(&self.sandbox.graph_root(), kind);
        all.iter().filter_map(|record| record["id"].as_str().map(str::to_owned)).collect()
    }

    /// No process of a build is left, at the latest soon.
    fn wait_for_processes(&self) {
        let is_left = || {
            let all = fs::read_dir("/proc").expect("read").flatten();
            let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines.any(|line| String::from_utf8_lossy(&line).contains(&self.marker))
        };
        let end = Instant::now() + Duration::from_secs(30);
        while is_left() {
            assert!(Instant::now() < end, "processes are left");
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn assert_no_mount(&self) {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("read");
        let dir = self.sandbox.dir().display().to_string();
        let left: Vec<&str> =
            table.lines().filter(|line| line.contains(&dir) && !line.contains("/store/overlay ")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[track_caller]
    fn assert_image(&self, turn: u32) {
        let container = self.sandbox.gabion(["from", "--pull-never", "new"]).ok();
        let mounted = self.sandbox.gabion(["mount", &container]).ok();
        let root = Path::new(&mounted);
        let read = |name: &str| fs::read_to_string(root.join(name)).expect("read");
        assert_eq!(["turn", "linked", "199"].map(read), [format!("{turn}\n"), "1".into(), "199".into()]);
        assert_eq!(fs::metadata(root.join("big")).expect("there").len(), 32 * 65536);
        self.sandbox.gabion(["rm", &container]).ok();
    }
}

/// A random number generator (xorshift), good enough to choose moments.
fn seed() -> u64 {
    let given = std::env::var("GABION_TEST_SEED").ok().map(|text| text.parse().expect("GABION_TEST_SEED is a number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = given.unwrap_or_else(now) | 1;
    println!("GABION_TEST_SEED={seed}");
    seed
}

#[test]
fn root_build_killed_at_any_moment() {
    let killing = Killing::new();
    let sandbox = &killing.sandbox;
    let mut random = seed();
    let began = Instant::now();
    killing.build(u32::MAX).ok();
    let length = began.elapsed();
    sandbox.gabion(["rmi", "new"]).ok();
    sandbox.gabion(["prune"]).ok();
    let kinds = ["layers", "images"];
    let before = kinds.map(|kind| killing.ids(kind));
    for turn in 0..MOMENTS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let share = (f64::from(turn) + (random >> 11) as f64 / (1_u64 << 53) as f64) / f64::from(MOMENTS);
        let delay = length.mul_f64(share);
        println!("turn {turn}: killed after {delay:?} of {length:?}");
        let mut child = killing.build(turn).spawn();
        // The moment is what this test is about, so it has to be waited for.
        std::thread::sleep(delay);
        child.kill().expect("killed");
        let output = child.wait_with_output().expect("waited for");
        let ended = output.status.code().is_some();
        assert!(!ended || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        killing.wait_for_processes();
        killing.assert_no_mount();

        // Any command removes containers; what else there may be is found and freed by prune.
        if turn % 2 == 1 {
            sandbox.gabion(["images", "-q"]).ok();
            assert_eq!(killing.ids("containers").len(), 0);
        }
        let would = sandbox.gabion(["prune", "--dry-run"]).ok();
        sandbox.gabion(["prune"]).ok();
        assert_eq!(killing.ids("containers").len(), 0, "{would}");
        for dir in ["gabion/builds", "gabion/claims-of-steps", "overlay/tempdirs"] {
            let dir = sandbox.graph_root().join(dir);
            let left: Vec<_> = fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        let images = sandbox.gabion(["images", "--json"]).json();
        let named = |image: &Value| image["names"][0] == "localhost/new:latest";
        let is_there = images.as_array().expect("a list").iter().any(named);
        assert!(is_there || !ended, "a build that succeeded is there");
        if is_there {
            killing.assert_image(turn);
            sandbox.gabion(["rmi", "new"]).ok();
        }
        assert_eq!(kinds.map(|kind| killing.ids(kind)), before, "{would}");
        if turn % 5 == 0 {
            assert_eq!(sandbox.podman(["ps", "-a", "--external", "-q"]).ok(), "");
            assert_records_sound(sandbox);
            killing.build(turn).ok();
            killing.assert_image(turn);
            sandbox.gabion(["rmi", "new"]).ok();
        }
    }
    assert_sound(sandbox);
}
