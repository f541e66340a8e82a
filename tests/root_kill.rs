//! gabion killed (SIGKILL) at random moments: what is listed is whole, a retry works, Podman still
//! opens the store. The seed is printed; `GABION_TEST_SEED` sets it.
#![allow(clippy::expect_used, reason = "tests")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use test_support::store_check::{assert_records_sound, assert_sound};
use test_support::{DockerRegistry, Sandbox, Tool, base_image};

/// How many random moments each command is killed at.
const MOMENTS: u32 = 20;
/// What the image has on top of the base image: enough for a command to be caught in each phase.
const SMALL_FILES: usize = 500;
const BIG_FILE: usize = 8 << 20;

/// A random number generator (xorshift), good enough to choose moments.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let given =
            std::env::var("GABION_TEST_SEED").ok().map(|text| text.parse().expect("GABION_TEST_SEED is a number"));
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
        let seed = given.unwrap_or_else(now) | 1;
        println!("GABION_TEST_SEED={seed}");
        Dice(seed)
    }

    /// A moment before `end`.
    fn moment(&mut self, end: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        end.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// Starts `tool` and kills it after `delay`; says whether it had ended by itself, which then must
/// have been in success.
fn kill_after(tool: Tool, delay: Duration) -> bool {
    let line = tool.line();
    let mut child = tool.spawn();
    // The moment is what this test is about, so it has to be waited for.
    std::thread::sleep(delay);
    child.kill().expect("kill a child");
    let output = child.wait_with_output().expect("wait for a child");
    let ended = output.status.code().is_some();
    assert!(!ended || output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    ended
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    // What the killed commit has to carry: many small files and a big one.
    for number in 0..SMALL_FILES {
        sandbox.write(format!("files/small/{number}"), format!("{number} ").repeat(100));
    }
    sandbox.write("files/big", random_bytes(BIG_FILE));
    sandbox
}

/// Bytes that do not compress.
fn random_bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(size / 8).flatten().collect()
}

fn changed_container(sandbox: &Sandbox) -> String {
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    sandbox.gabion(["copy", "-q", &container]).arg(sandbox.path("files")).arg("/files").ok();
    container
}

fn listed(sandbox: &Sandbox, command: &str, key: &str) -> Vec<String> {
    let all = sandbox.gabion([command, "--json"]).json();
    let texts = |value: &Value| match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        value => value.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    all.as_array().map_or(Vec::new(), |all| all.iter().flat_map(|one| texts(&one[key])).collect())
}

fn committed(sandbox: &Sandbox) -> bool {
    listed(sandbox, "images", "names").contains(&"localhost/new:latest".to_owned())
}

fn assert_image_works(sandbox: &Sandbox) {
    let script = "ls /files/small | wc -l; stat -c %s /files/big";
    assert_eq!(sandbox.podman_run(["localhost/new", "sh", "-c", script]).ok(), format!("{SMALL_FILES}\n{BIG_FILE}"));
}

fn commit_killed(arguments: &[&str]) {
    let sandbox = sandbox();
    let mut dice = Dice::new();
    let commit = |container: &str| sandbox.gabion(["commit", "-q"]).args(arguments).args([container, "localhost/new"]);
    let container = changed_container(&sandbox);
    let start = Instant::now();
    commit(&container).ok();
    let duration = start.elapsed();
    sandbox.gabion(["rm", "--all"]).ok();
    sandbox.gabion(["rmi", "localhost/new"]).ok();
    for _ in 0..MOMENTS {
        let container = changed_container(&sandbox);
        let delay = dice.moment(duration);
        println!("killed after {delay:?} of {duration:?}");
        let ended = kill_after(commit(&container), delay);
        let whole = committed(&sandbox);
        assert!(whole || !ended, "a commit that succeeded is listed");
        sandbox.podman(["images"]).ok();
        if whole {
            assert_image_works(&sandbox);
        }
        if listed(&sandbox, "containers", "containername").contains(&container) {
            commit(&container).ok();
        } else {
            assert!(whole, "{container} is gone, but so is its image");
        }
        assert_image_works(&sandbox);
        assert_records_sound(&sandbox);
        sandbox.gabion(["rm", "--all"]).ok();
        sandbox.gabion(["rmi", "localhost/new"]).ok();
        sandbox.gabion(["rmi", "--prune"]).ok();
    }
    assert_sound(&sandbox);
    assert_nothing_left(&sandbox);
}

/// Nothing but the base image is on the disk.
fn assert_nothing_left(sandbox: &Sandbox) {
    let usage = Tool::new("du").arg("-sm").arg(sandbox.graph_root()).ok();
    let megabytes: u64 =
        usage.split_whitespace().next().and_then(|number| number.parse().ok()).expect("du gives a number");
    assert!(megabytes < 16, "{megabytes} MB are left in an empty store");
}

#[test]
fn root_commit_killed_at_any_moment() {
    commit_killed(&[]);
}

#[test]
fn root_commit_rm_killed_at_any_moment() {
    commit_killed(&["--rm"]);
}

/// A copy that is done, and one that is known: the container goes on over another layer in both.
#[test]
fn root_cached_copy_killed_at_any_moment() {
    let sandbox = sandbox();
    let mut dice = Dice::new();
    let from = || sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    let copy = |container: &str| {
        sandbox.gabion(["copy", "--cached", "-q", container]).arg(sandbox.path("files")).arg("/files")
    };
    let duration = || {
        let container = from();
        let start = Instant::now();
        copy(&container).ok();
        start.elapsed()
    };
    let (done, known) = (duration(), duration());
    for turn in 0..MOMENTS {
        let is_known = turn % 2 == 1;
        if !is_known {
            sandbox.gabion(["rm", "--all"]).ok();
            sandbox.gabion(["prune"]).ok();
        }
        let container = from();
        let delay = dice.moment(if is_known { known } else { done });
        println!("killed after {delay:?} of {:?}", if is_known { known } else { done });
        kill_after(copy(&container), delay);
        sandbox.podman(["images"]).ok();
        sandbox.gabion(["umount", "--all"]).ok();
        copy(&container).ok();
        sandbox.gabion(["commit", "-q", &container, "localhost/new"]).ok();
        assert_image_works(&sandbox);
        assert_records_sound(&sandbox);
        sandbox.gabion(["rmi", "localhost/new"]).ok();
    }
    sandbox.gabion(["rm", "--all"]).ok();
    sandbox.gabion(["prune"]).ok();
    assert_sound(&sandbox);
    assert_nothing_left(&sandbox);
}

#[test]
fn root_pull_killed_at_any_moment() {
    let sandbox = sandbox();
    let mut dice = Dice::new();
    let registry = DockerRegistry::plain();
    let layers = [base_image::layer_tar(), layer(&sandbox, "big"), layer(&sandbox, "small")];
    let layout = sandbox.path("layout");
    base_image::write_layout(&layout, "latest", &layers, true, &json!({"Cmd": ["sh"]}));
    let (source, remote) = (format!("oci:{}:latest", layout.display()), registry.image("new"));
    sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &source, &remote]).ok();

    let pull = || sandbox.gabion(["pull", "-q", "--tls-verify=false", &remote]);
    let name = remote.replace("docker://", "");
    let remove = || {
        sandbox.gabion(["rmi", &name]).ok();
    };
    let start = Instant::now();
    pull().ok();
    let duration = start.elapsed();
    remove();
    for _ in 0..MOMENTS {
        let delay = dice.moment(duration);
        println!("killed after {delay:?} of {duration:?}");
        let ended = kill_after(pull(), delay);
        let whole = listed(&sandbox, "images", "names").contains(&format!("{name}:latest"));
        assert!(whole || !ended, "a pull that succeeded is listed");
        sandbox.podman(["images"]).ok();
        let script = "ls /files/small | wc -l; stat -c %s /files/big";
        let expected = format!("{SMALL_FILES}\n{BIG_FILE}");
        if whole {
            assert_eq!(sandbox.podman_run([&name, "sh", "-c", script]).ok(), expected);
        }
        pull().ok();
        assert_eq!(sandbox.podman_run([&name, "sh", "-c", script]).ok(), expected);
        assert_records_sound(&sandbox);
        remove();
    }
    assert_sound(&sandbox);
    assert_nothing_left(&sandbox);
}

/// A tar of what is in `files/<name>`.
fn layer(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    let tar = sandbox.path(format!("{name}.tar"));
    Tool::new("tar")
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(&tar)
        .arg("-C")
        .arg(sandbox.dir())
        .arg(format!("files/{name}"))
        .ok();
    std::fs::read(tar).expect("read a tar")
}
