//! What takes room, and what of it goes: dangling images, cache mounts, what killed builds left.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Child;

use serde_json::Value;
use test_support::store_check::{assert_records_sound, assert_sound, records};
use test_support::{Outcome, Sandbox, Tool};

const CACHED: &str =
    "FROM localhost/base\nRUN --mount=type=cache,id=ID,target=/c echo x > /c/x; ln -s / /c/root; echo made\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn build(sandbox: &Sandbox, args: &[&str], dockerfile: &str) -> Tool {
    let file = sandbox.write("context/Dockerfile", dockerfile);
    let context: PathBuf = file.parent().expect("has a parent").to_owned();
    sandbox.gabion(["build", "--network=none"]).args(args).arg(context)
}

/// Makes a cache mount with this ID.
fn cache(sandbox: &Sandbox, id: &str) {
    build(sandbox, &["-q", "--no-cache", "-t", &format!("cached-{id}")], &CACHED.replace("ID", id)).ok();
}

/// Starts a build and waits for its step to print `ready`.
fn started(sandbox: &Sandbox, dockerfile: &str) -> Child {
    let mut child = build(sandbox, &["-t", "killed"], dockerfile).spawn();
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let is_ready = stdout.lines().map_while(Result::ok).any(|line| line == "ready");
    assert!(is_ready, "the step has begun");
    child
}

fn kill(mut child: Child) {
    child.kill().expect("kill a child");
    child.wait().expect("wait for a child");
}

fn du(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    let all = sandbox.gabion(["du", "--json"]).json();
    all.as_array().expect("a list").iter().filter(|item| item["type"] == kind).cloned().collect()
}

fn names(items: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = items.iter().filter_map(|item| item["names"][0].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn prune(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let outcome = sandbox.gabion(["prune"]).args(args).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome
}

/// Where cache mounts are; what is there, locks and records too.
fn cache_files(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.graph_root().join("gabion/cache-mounts")).expect("a directory").count()
}

#[test]
fn root_cache_mounts_are_listed_and_pruned() {
    let sandbox = sandbox();
    cache(&sandbox, "one");
    cache(&sandbox, "two");
    let caches = du(&sandbox, "cache mount");
    assert_eq!(names(&caches), ["one", "two"]);
    assert!(caches.iter().all(|cache| cache["size"].as_u64() >= Some(4096) && cache["inuse"] == false), "{caches:?}");
    assert!(caches.iter().all(|cache| cache["created"].is_string() && cache["lastused"].is_string()), "{caches:?}");

    let dry = prune(&sandbox, &["--dry-run"]);
    assert!(dry.stdout.contains("cache mount") && dry.stdout.contains("would free "), "{dry}");
    assert_eq!(names(&du(&sandbox, "cache mount")), ["one", "two"]);

    let pruned = prune(&sandbox, &[]);
    assert!(pruned.stdout.contains("cache mount: one\ncache mount: two"), "{pruned}");
    assert!(pruned.stderr.starts_with("freed "), "{pruned}");
    assert!(du(&sandbox, "cache mount").is_empty());
    assert_eq!(cache_files(&sandbox), 0);
    assert!(PathBuf::from("/etc/passwd").exists());
    // The images that used them stay, and a cache is made anew.
    cache(&sandbox, "one");
    assert_eq!(names(&du(&sandbox, "cache mount")), ["one"]);
    assert_sound(&sandbox);
}

#[test]
fn root_a_cache_in_use_stays() {
    let sandbox = sandbox();
    cache(&sandbox, "free");
    let running = "FROM localhost/base\nRUN --mount=type=cache,id=busy,target=/c touch /c/x; echo ready; sleep 1000\n";
    let child = started(&sandbox, running);
    let busy = du(&sandbox, "cache mount").into_iter().find(|cache| cache["names"][0] == "busy").expect("listed");
    assert_eq!(busy["inuse"], true);
    prune(&sandbox, &[]);
    assert_eq!(names(&du(&sandbox, "cache mount")), ["busy"]);
    // Nor is the running build's container a leftover.
    assert_eq!(du(&sandbox, "container").len(), 1);
    kill(child);
    prune(&sandbox, &[]);
    assert_eq!(cache_files(&sandbox), 0);
    assert!(du(&sandbox, "container").is_empty() && du(&sandbox, "leftover").is_empty());
}

#[test]
fn root_leftovers_of_a_killed_build_are_found_and_freed() {
    let sandbox = sandbox();
    let own = sandbox.gabion(["from", "--name", "own", "localhost/base"]).ok();
    let dockerfile = "FROM localhost/base\n\
        RUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null; echo ready; sleep 1000\n";
    kill(started(&sandbox, dockerfile));
    let leftovers = du(&sandbox, "leftover");
    assert_eq!(leftovers.len(), 1);
    // What the step wrote went as soon as another command opened the store.
    let staged = sandbox.graph_root().join("overlay/tempdirs");
    assert_eq!(fs::read_dir(&staged).expect("a directory").count(), 0);
    assert_eq!(names(&du(&sandbox, "container")), std::slice::from_ref(&own));

    let dry = prune(&sandbox, &["--dry-run"]);
    assert!(dry.stdout.contains("leftover"), "{dry}");
    assert_eq!(du(&sandbox, "leftover").len(), 1);
    let pruned = prune(&sandbox, &[]);
    assert!(pruned.stdout.contains("leftover"), "{pruned}");
    assert!(du(&sandbox, "leftover").is_empty());
    assert_eq!(names(&du(&sandbox, "container")), [own]);
    assert_eq!(names(&du(&sandbox, "image")), ["localhost/base:latest"]);
    assert_eq!(fs::read_dir(sandbox.graph_root().join("gabion/builds")).expect("a directory").count(), 0);
    assert!(prune(&sandbox, &["--dry-run"]).stdout.ends_with("would free 0 B\n"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&*sandbox.dir().to_string_lossy()), "{mounts}");
    // Podman and Buildah see the same.
    assert_eq!(sandbox.podman(["ps", "-a", "--external", "-q"]).ok().lines().count(), 1);
    assert_eq!(sandbox.buildah(["containers", "-q"]).ok().lines().count(), 1);
    assert_sound(&sandbox);
}

#[test]
fn root_any_command_removes_what_killed_builds_left() {
    let sandbox = sandbox();
    let dockerfile = |text: &str| format!("FROM localhost/base\nRUN echo {text} > /x; echo ready; sleep 1000\n");
    let running = started(&sandbox, &dockerfile("running"));
    let containers = || {
        let all = records(&sandbox.graph_root(), "containers");
        all.iter().map(|container| container["id"].as_str().expect("an ID").to_owned()).collect::<Vec<_>>()
    };
    let files = || {
        ["gabion/builds", "gabion/claims-of-steps", "overlay/tempdirs"]
            .map(|dir| fs::read_dir(sandbox.graph_root().join(dir)).expect("a directory").count())
    };
    let (of_running, files_of_running) = (containers(), files());
    assert_eq!(of_running.len(), 1);
    let mut own = 0;
    for command in [&["images"][..], &["containers"], &["from", "--name=own", "localhost/base"], &["inspect", "own"]] {
        kill(started(&sandbox, &dockerfile("killed")));
        assert_eq!(containers().len(), 1 + own + 1);
        sandbox.gabion(command.iter().copied()).ok();
        own += usize::from(command[0] == "from");
        let left = containers();
        assert!(left.len() == 1 + own && left.contains(&of_running[0]), "{left:?} after {command:?}");
        assert_eq!(files(), files_of_running, "{command:?}");
        assert_eq!(sandbox.podman(["ps", "-a", "--external", "-q"]).ok().lines().count(), 1 + own);
        assert_records_sound(&sandbox);
    }
    kill(running);
    sandbox.gabion(["rm", "own"]).ok();
    assert!(containers().is_empty());
    assert_sound(&sandbox);
}

#[test]
fn root_containers_kept_on_purpose_are_no_leftovers() {
    let sandbox = sandbox();
    build(&sandbox, &["-q", "--rm=false"], "FROM localhost/base\nRUN true\n").ok();
    build(&sandbox, &["-q", "--force-rm=false"], "FROM localhost/base\nRUN false\n").fails();
    assert!(du(&sandbox, "leftover").is_empty());
    let kept = du(&sandbox, "container").len();
    assert!(kept >= 2, "{kept}");
    prune(&sandbox, &[]);
    assert_eq!(du(&sandbox, "container").len(), kept);
}

#[test]
fn root_dangling_images_go_and_those_in_use_stay() {
    let sandbox = sandbox();
    let dangling = |text: &str| {
        let args = ["-q"];
        build(&sandbox, &args, &format!("FROM localhost/base\nRUN echo {text} > /x\n")).ok()
    };
    let (one, two) = (dangling("one"), dangling("two"));
    sandbox.gabion(["from", "--pull=never", "--name", "user", &two]).ok();
    let dry = prune(&sandbox, &["--dry-run"]).stdout;
    assert!(dry.contains(&one[..12]) && !dry.contains(&two[..12]), "{dry}");
    assert_eq!(du(&sandbox, "image").len(), 3);
    let as_buildah = prune(&sandbox, &[]).stdout;
    assert!(as_buildah.contains(&one), "{as_buildah}");
    assert_eq!(du(&sandbox, "image").len(), 2);
    sandbox.gabion(["run", "user", "cat", "/x"]).ok();

    // Named images only with --all, those in use only with --force.
    let all = prune(&sandbox, &["--all"]).stdout;
    assert!(all.contains("untagged: localhost/base:latest"), "{all}");
    assert_eq!(du(&sandbox, "image").len(), 1);
    prune(&sandbox, &["--force"]);
    assert!(du(&sandbox, "image").is_empty() && du(&sandbox, "container").is_empty());
    assert_sound(&sandbox);
    assert_eq!(sandbox.podman(["images", "-q"]).ok(), "");
}

#[test]
fn root_age_and_budget_decide_what_goes() {
    let sandbox = sandbox();
    for id in ["old", "new"] {
        cache(&sandbox, id);
    }
    let old = du(&sandbox, "cache mount").into_iter().find(|cache| cache["names"][0] == "old").expect("listed");
    let lock = sandbox.graph_root().join(format!("gabion/cache-mounts/{}.lock", old["id"].as_str().expect("an ID")));
    Tool::new("touch").args(["-d", "2020-01-01T00:00:00Z"]).arg(&lock).ok();

    let none = prune(&sandbox, &["--dry-run", "--filter=until=2019-01-01T00:00:00Z"]).stdout;
    assert!(none.ends_with("would free 0 B\n"), "{none}");
    let by_age = prune(&sandbox, &["--dry-run", "--filter=until=24h"]).stdout;
    assert!(by_age.contains("old") && !by_age.contains("new"), "{by_age}");
    // Both fit; one does; none does.
    let going = |budget: &str| prune(&sandbox, &["--dry-run", "--keep-storage", budget]).stdout.lines().count() - 2;
    let size = old["size"].as_u64().expect("bytes");
    assert_eq!((going("1g"), going(&size.to_string()), going("0")), (0, 1, 2));
    prune(&sandbox, &["--keep-storage", &size.to_string()]);
    assert_eq!(names(&du(&sandbox, "cache mount")), ["new"]);
    sandbox.gabion(["prune", "--filter=label=x"]).fails().says(125, &["label=x", "until="]);
    sandbox.gabion(["prune", "--keep-storage=much"]).fails().says(125, &["much"]);
}

#[test]
fn root_du_has_tables_templates_and_totals() {
    let sandbox = sandbox();
    cache(&sandbox, "one");
    let table = sandbox.gabion(["du"]).ok();
    let kinds: Vec<&str> = table.lines().filter_map(|line| line.split("  ").next()).collect();
    assert!(kinds.starts_with(&["TYPE", "image"]) && kinds.contains(&"cache mount"), "{table}");
    assert!(table.lines().last().is_some_and(|line| line.starts_with("total: ")), "{table}");
    let bare = sandbox.gabion(["du", "--noheading", "--no-trunc"]).ok();
    assert!(!bare.contains("TYPE") && !bare.contains("total"), "{bare}");
    let templated = sandbox.gabion(["du", "--format", "{{.Type}}:{{.Names}}"]).ok();
    assert!(templated.contains("image:localhost/base:latest") && templated.contains("mount:one"), "{templated}");
    // The new image shares its base's layers.
    let images = du(&sandbox, "image");
    assert!(images.iter().all(|image| image["shared"].as_u64() > Some(0)), "{images:?}");
}

/// Paths of gabion's records below `folder`, of those that hold `text`.
fn cache_records(sandbox: &Sandbox, folder: &str, text: &str) -> Vec<PathBuf> {
    let dir = sandbox.graph_root().join("gabion").join(folder);
    let found = sandbox.any("grep").args(["-rlF", "--", text]).arg(&dir).run();
    found.stdout.lines().map(PathBuf::from).collect()
}

/// Makes it look as if they were last used in 2020.
fn make_old(paths: &[PathBuf]) {
    assert!(!paths.is_empty());
    Tool::new("touch").args(["-d", "2020-01-01T00:00:00Z"]).args(paths).ok();
}

const STAGES: &str = "FROM localhost/base AS one\nRUN echo stage > /one\n\
    FROM localhost/base\nRUN echo result > /result\nCOPY --from=one /one /one\nCOPY Dockerfile /\n";

#[test]
fn root_the_build_cache_is_listed_and_pruned() {
    let sandbox = sandbox();
    build(&sandbox, &["-q", "-t", "named"], STAGES).ok();
    let kept = du(&sandbox, "build cache");
    assert_eq!(kept.len(), 1, "the stage: {kept:?}");
    let folders: Vec<String> =
        du(&sandbox, "records").iter().map(|item| item["id"].as_str().expect("an ID").to_owned()).collect();
    assert_eq!(folders, ["cache", "explained", "contexts"]);
    let (stage, result) =
        (cache_records(&sandbox, "cache/steps", "echo stage"), cache_records(&sandbox, "cache/steps", "echo result"));
    assert_eq!((stage.len(), result.len()), (1, 1));

    let dry = prune(&sandbox, &["--dry-run"]).stdout;
    assert!(dry.contains("build cache") && dry.contains("records"), "{dry}");
    assert!(stage[0].exists() && du(&sandbox, "build cache").len() == 1);
    let pruned = prune(&sandbox, &[]);
    assert!(pruned.stdout.contains(kept[0]["id"].as_str().expect("an ID")), "{pruned}");
    assert!(pruned.stdout.contains("records: what steps made"), "{pruned}");
    // What the named image has is still known.
    assert!(!stage[0].exists() && result[0].exists());
    assert!(du(&sandbox, "build cache").is_empty());
    assert_eq!(names(&du(&sandbox, "image")), ["localhost/base:latest", "localhost/named:latest"]);
    assert!(prune(&sandbox, &["--dry-run"]).stdout.ends_with("would free 0 B\n"));
    let again = build(&sandbox, &["--progress=plain", "-t", "named"], STAGES).run();
    assert!(again.status.success() && again.stdout.contains("Using cache"), "{again}");
    assert_sound(&sandbox);

    // Without the image, nothing of it is remembered but how to explain the next build.
    prune(&sandbox, &["--all"]);
    for folder in ["cache", "unfinished", "explained/images"] {
        assert_eq!(cache_records(&sandbox, folder, ""), Vec::<PathBuf>::new(), "{folder}");
    }
    let kinds = sandbox.any("find").arg(sandbox.graph_root().join("gabion/cache")).args(["-type", "f"]).ok();
    assert_eq!(kinds, "");
    assert_eq!(cache_records(&sandbox, "explained/builds", "").len(), 1);
}

#[test]
fn root_old_memories_and_claims_of_the_dead_go() {
    let sandbox = sandbox();
    build(&sandbox, &["-q", "-t", "named"], STAGES).ok();
    let claim = sandbox.graph_root().join("gabion/claims-of-steps/0123");
    fs::write(&claim, "").expect("written");
    prune(&sandbox, &[]);
    assert!(!claim.exists());
    let contexts = || cache_records(&sandbox, "contexts", "gabfile");
    let sources = || cache_records(&sandbox, "explained/sources", "").len();
    assert!(contexts().len() == 1 && sources() == 1);
    make_old(&contexts());
    make_old(&cache_records(&sandbox, "explained/builds", ""));
    // A build from there uses them again.
    build(&sandbox, &["-q", "-t", "named"], STAGES).ok();
    prune(&sandbox, &[]);
    assert!(contexts().len() == 1 && sources() == 1);
    make_old(&contexts());
    make_old(&cache_records(&sandbox, "explained/builds", ""));
    prune(&sandbox, &["--filter=until=2019-01-01T00:00:00Z"]);
    // They are a month old, and more.
    assert!(contexts().is_empty());
    assert_eq!(cache_records(&sandbox, "explained/builds", "").len(), 0);
}

#[test]
fn root_layers_that_containers_stand_on_keep_their_images() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    sandbox.gabion(["run", "--cached", "--network=none", &container, "--", "/bin/sh", "-c", "echo x > /x"]).ok();
    let kept = du(&sandbox, "build cache");
    assert!(kept.len() == 1 && kept[0]["inuse"] == true, "{kept:?}");
    for args in [&["--dry-run"][..], &[], &["--keep-storage=0"], &["--all"], &["--filter=until=0s"]] {
        prune(&sandbox, args);
        assert_eq!(du(&sandbox, "build cache").len(), 1, "{args:?}");
    }
    sandbox.gabion(["rm", &container]).ok();
    prune(&sandbox, &[]);
    assert!(du(&sandbox, "build cache").is_empty());
    assert_sound(&sandbox);
}

#[test]
fn root_layers_that_only_a_container_had_go_with_it() {
    let sandbox = sandbox();
    let layers = || records(&sandbox.graph_root(), "layers").len();
    let before = layers();
    // A container on layers of steps whose image is gone.
    let container = || {
        let container = sandbox.gabion(["from", "localhost/base"]).ok();
        for file in ["one", "two"] {
            let command = format!("echo {file} > /{file}");
            sandbox.gabion(["run", "--cached", "--network=none", &container, "--", "/bin/sh", "-c", &command]).ok();
        }
        sandbox.gabion(["commit", "-q", &container, "localhost/new"]).ok();
        sandbox.gabion(["rmi", "localhost/new"]).ok();
        assert_eq!(layers(), before + 3);
        container
    };
    sandbox.gabion(["rm", &container()]).ok();
    assert_eq!(layers(), before);
    // Another tool knows nothing of that.
    sandbox.buildah(["rm", &container()]).ok();
    assert_eq!(layers(), before + 2);
    let listed = du(&sandbox, "layer");
    assert!(listed.len() == 1 && listed[0]["size"].as_u64() > Some(0), "{listed:?}");
    let id = listed[0]["id"].as_str().expect("an ID");
    let would_go = |args: &[&str]| prune(&sandbox, &[&["--dry-run"], args].concat()).stdout.contains(&id[..12]);
    assert_eq!(
        [would_go(&["--filter=until=24h"]), would_go(&["--keep-storage=1g"]), would_go(&[])],
        [false, false, true]
    );
    let pruned = prune(&sandbox, &[]);
    assert!(pruned.stdout.contains(&format!("layer: {id}")), "{pruned}");
    assert_eq!(layers(), before);
    assert!(cache_records(&sandbox, "cache/steps", "echo two").is_empty());
    assert_sound(&sandbox);
}

#[test]
fn root_age_takes_no_mark_of_what_stays() {
    let sandbox = sandbox();
    build(&sandbox, &["-q", "-t", "named"], STAGES).ok();
    let folders = ["cache/files", "cache/kinds", "cache/images", "explained/images", "unfinished"];
    let files = |folder: &str| -> Vec<PathBuf> {
        let found = sandbox.any("find").arg(sandbox.graph_root().join("gabion").join(folder)).args(["-type", "f"]).ok();
        found.lines().map(PathBuf::from).collect()
    };
    let all = || folders.map(|folder| files(folder).len());
    let (before, id) = (all(), sandbox.gabion(["images", "-q", "--no-trunc", "named"]).ok());
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    folders.iter().for_each(|folder| make_old(&files(folder)));
    prune(&sandbox, &["--filter=until=24h"]);
    assert_eq!((all(), du(&sandbox, "build cache").len()), (before, 1));
    let again = build(&sandbox, &["-q", "-t", "named"], STAGES).ok();
    assert!(id.contains(&again), "{id} {again}");
}

#[test]
fn root_the_cache_goes_by_its_last_use() {
    let sandbox = sandbox();
    // Their images say that they are from 1970.
    let dangling = |text: &str| {
        let dockerfile = format!("FROM localhost/base\nRUN echo {text}; dd if=/dev/zero of=/{text} bs=1M count=2\n");
        build(&sandbox, &["-q", "--timestamp=0"], &dockerfile).ok().lines().last().expect("an ID").to_owned()
    };
    let (one, two) = (dangling("one"), dangling("two"));
    let going = |args: &[&str]| {
        let dry = prune(&sandbox, &[&["--dry-run"], args].concat()).stdout;
        (dry.contains(&one[..12]), dry.contains(&two[..12]))
    };
    assert_eq!(going(&["--filter=until=24h"]), (false, false));
    make_old(&cache_records(&sandbox, "cache/steps", "echo one"));
    assert_eq!(going(&["--filter=until=24h"]), (true, false));
    assert_eq!(going(&["--keep-storage=3m"]), (true, false));
    // A hit is a use.
    assert_eq!(dangling("one"), one);
    make_old(&cache_records(&sandbox, "cache/steps", "echo two"));
    assert_eq!(going(&["--filter=until=24h"]), (false, true));
    assert_eq!(going(&["--keep-storage=3m"]), (false, true));
    assert_eq!(going(&["--keep-storage=9m"]), (false, false));
    prune(&sandbox, &["--keep-storage=3m"]);
    assert!(cache_records(&sandbox, "cache/steps", "echo two").is_empty());
    assert_eq!(dangling("one"), one);
    assert_sound(&sandbox);
}

#[test]
fn root_builds_keep_the_cache_to_its_budget() {
    let sandbox = sandbox();
    let one = build(&sandbox, &["-q"], "FROM localhost/base\nRUN echo one > /x\n").ok();
    cache(&sandbox, "old");
    let images = || -> Vec<String> {
        let all = [du(&sandbox, "image"), du(&sandbox, "build cache")].concat();
        all.iter().map(|item| item["id"].as_str().expect("an ID").to_owned()).collect()
    };
    build(&sandbox, &["-q", "-t", "named", "--cache-budget=1g"], "FROM localhost/base\nRUN echo two > /x\n").ok();
    assert!(images().contains(&one) && cache_files(&sandbox) > 0);
    build(&sandbox, &["-q", "-t", "result"], STAGES).env("GABION_CACHE_BUDGET", "0").ok();
    assert!(!images().contains(&one));
    assert_eq!(cache_files(&sandbox), 0);
    // Named images and what the build has just used stay.
    let expected = ["base", "cached-old", "named", "result"].map(|name| format!("localhost/{name}:latest"));
    assert_eq!(names(&du(&sandbox, "image")), expected);
    assert_eq!(du(&sandbox, "build cache").len(), 1);
    // A nameless result is the build's own, too, and a build that does nothing removes nothing.
    let nameless = build(&sandbox, &["-q", "--timestamp=0", "--cache-budget=0"], "FROM localhost/base\nCMD [\"x\"]\n");
    let nameless = nameless.ok();
    assert!(images().contains(&nameless));
    let again = build(&sandbox, &["-t", "result", "--cache-budget=0"], STAGES).run();
    assert_eq!(again.stdout.matches("Using cache").count(), 4, "{again}");
    assert!(images().contains(&nameless));
    build(&sandbox, &["--cache-budget=much"], STAGES).fails().says(125, &["much"]);
    assert_sound(&sandbox);
}
