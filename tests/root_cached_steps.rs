//! Steps of scripts on working containers that are not done again: `run --cached`, `copy --cached`, `add --cached`.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::store_check::{assert_sound, records};
use test_support::{Machine, Outcome, Sandbox, Tool};

const HIT: &str = "--> Using cache ";

struct Steps {
    sandbox: Sandbox,
}

impl Steps {
    fn new() -> Steps {
        Steps { sandbox: Machine::new(env!("CARGO_BIN_EXE_gabion")).sandbox }
    }

    fn from(&self) -> String {
        self.sandbox.gabion(["from", "localhost/base"]).ok()
    }

    fn context(&self) -> PathBuf {
        self.sandbox.path("context")
    }

    fn tool(&self, args: &[&str]) -> Tool {
        self.sandbox.gabion(args.iter().copied())
    }

    /// Runs a step; gives whether it was a hit.
    #[track_caller]
    fn is_hit(&self, args: &[&str]) -> bool {
        let outcome = self.tool(args).run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.stderr.contains(HIT)
    }

    /// Runs a shell's `command`; gives whether it was a hit.
    #[track_caller]
    fn run(&self, container: &str, flags: &[&str], command: &str) -> bool {
        self.is_hit(
            &[&["run", "--cached", "--network=none"], flags, &[container, "--", "/bin/sh", "-c", command]].concat(),
        )
    }

    #[track_caller]
    fn copy(&self, container: &str, args: &[&str]) -> bool {
        let context = self.context();
        let context = context.to_str().expect("UTF-8");
        self.is_hit(&[&["copy", "--cached", "--contextdir", context, container], args].concat())
    }

    fn cat(&self, container: &str, path: &str) -> String {
        self.tool(&["run", "--network=none", container, "cat", path]).ok()
    }

    fn config(&self, image: &str) -> Value {
        self.sandbox.gabion(["inspect", "--type=image", image]).json()["OCIv1"].clone()
    }

    fn commit(&self, container: &str, image: &str) -> Value {
        self.tool(&["commit", "-q", container, image]).ok();
        self.config(image)
    }
}

fn created_by(config: &Value) -> Vec<String> {
    let all = config["history"].as_array().expect("a history");
    all.iter().map(|entry| entry["created_by"].as_str().unwrap_or_default().to_owned()).collect()
}

fn layers(config: &Value) -> Vec<Value> {
    config["rootfs"]["diff_ids"].as_array().expect("layers").clone()
}

#[test]
fn root_a_script_runs_its_steps_once() {
    let steps = Steps::new();
    let script = || {
        let container = steps.from();
        let hits = [
            steps.run(&container, &[], "echo one > /one; date +%N > /when"),
            steps.copy(&container, &["a", "dir", "/copied/"]),
            {
                steps.tool(&["config", "--env", "WHO=me", "--workingdir", "/copied", &container]).ok();
                steps.run(&container, &[], "echo $WHO > who; ls > /list")
            },
        ];
        let config = steps.commit(&container, "localhost/new");
        steps.tool(&["rm", &container]).ok();
        (hits, config)
    };
    let (first, config) = script();
    assert_eq!(first, [false; 3]);
    let base = layers(&steps.config("localhost/base")).len();
    assert_eq!(layers(&config).len(), base + 3, "a layer a step, and no empty one");
    let history = created_by(&config);
    let own: Vec<&str> = history.iter().rev().take(3).rev().map(String::as_str).collect();
    assert_eq!(own[0], "/bin/sh -c echo one > /one; date +%N > /when");
    assert!(own[1].starts_with("/bin/sh -c #(nop) COPY multi:"), "{own:?}");
    let layers_of_history = |config: &Value| {
        config["history"].as_array().expect("a history").iter().filter(|entry| entry["empty_layer"] != true).count()
    };
    assert_eq!(layers_of_history(&config), base + 3);

    let (second, again) = script();
    assert_eq!(second, [true; 3]);
    assert_eq!((layers(&again), created_by(&again)), (layers(&config), history));
    assert_eq!(again, config, "the very same image");
    assert_eq!(steps.sandbox.podman_run(["localhost/new", "cat", "who", "/list"]).ok(), "me\na\nb\nc\nwho");
    // Nothing keeps the layers but the image.
    let unfinished = steps.sandbox.graph_root().join("gabion/unfinished");
    assert_eq!(fs::read_dir(unfinished).expect("a directory").count(), 0);
    assert_sound(&steps.sandbox);

    // A changed file: it is copied again, and what follows is run again.
    steps.sandbox.write("context/a", "changed");
    let (third, _) = script();
    assert_eq!(third, [true, false, false]);
    let (fourth, _) = script();
    assert_eq!(fourth, [true; 3]);
    assert_sound(&steps.sandbox);
}

/// A script with config between its steps; prints the image's ID.
const SCRIPT: &str = r#"set -eu
container=$("$GABION" from localhost/base)
"$GABION" config --env MODE="$MODE" --label told="$TOLD" --workingdir "$DIR" "$container"
"$GABION" run --cached --network=none "$container" -- /bin/sh -c 'echo "$MODE" > mode; date +%N > when'
"$GABION" config --user 1:1 --shell '/bin/sh -ec' "$container"
"$GABION" copy --cached -q "$container" a dir made/
"$GABION" run --cached --network=none "$container" -- /bin/sh -c 'id -u > /tmp/user'
"$GABION" config --cmd '["cat", "mode"]' "$container"
"$GABION" commit -q --rm "$container" localhost/app
"#;

#[test]
fn root_a_whole_script_with_config_runs_again_without_a_runtime() {
    let steps = Steps::new();
    let script = steps.sandbox.write("script", SCRIPT);
    let runtime = steps.sandbox.write("runtime", "#!/bin/sh\necho >> \"$0.calls\"\nexec runc \"$@\"\n");
    Tool::new("chmod").arg("755").arg(&runtime).ok();
    let run = |mode: &str, told: &str, dir: &str| {
        let calls = steps.sandbox.write("runtime.calls", "");
        let tool = steps.sandbox.any("sh").arg(&script).in_dir(steps.context());
        let tool = tool.env("GABION", env!("CARGO_BIN_EXE_gabion")).env("BUILDAH_RUNTIME", &runtime);
        let outcome = tool.env("MODE", mode).env("TOLD", told).env("DIR", dir).run();
        assert!(outcome.status.success(), "{outcome}");
        let is_called = fs::read_to_string(&calls).expect("read").lines().count() > 0;
        (outcome.stdout.trim().to_owned(), is_called, outcome.stderr.matches(HIT).count())
    };
    let (first, is_called, hits) = run("fast", "1", "/tmp/app");
    assert!(is_called && hits == 0);
    // `copy -q` tells of no hit.
    assert_eq!(run("fast", "1", "/tmp/app"), (first.clone(), false, 2));
    let images = || records(&steps.sandbox.graph_root(), "images").len();
    let before = images();
    // What no step uses makes another image of the same layers.
    let (labelled, is_called, hits) = run("fast", "2", "/tmp/app");
    assert!(labelled != first && !is_called && hits == 2);
    assert_eq!(layers(&steps.config(&labelled)), layers(&steps.config(&first)));
    // What a step uses has it done again, and what comes behind it if that made other files.
    for (mode, dir) in [("slow", "/tmp/app"), ("fast", "/tmp/other")] {
        let (other, is_called, hits) = run(mode, "1", dir);
        assert!(other != first && is_called && hits == 0, "{mode} {dir}");
        assert_eq!(steps.sandbox.podman_run([other.as_str()]).ok(), mode);
        assert_eq!(run(mode, "1", dir), (other, false, 2));
    }
    assert_eq!(run("fast", "1", "/tmp/app"), (first, false, 2));
    assert_eq!(images(), before + 3);
    assert_sound(&steps.sandbox);
}

#[test]
fn root_commands_share_what_dockerfiles_have_run() {
    let steps = Steps::new();
    let dockerfile = "FROM localhost/base\nENV E=1\nRUN echo built > /x; date +%N > /when\n\
        RUN --mount=type=bind,source=dir,target=/m cat /m/b /when > /y\n";
    steps.sandbox.write("context/Dockerfile", dockerfile);
    let build = || {
        let tool = steps.sandbox.gabion(["build", "--network=none", "-q", "-t", "built"]);
        tool.arg(steps.context()).ok();
        steps.config("localhost/built")
    };
    let built = build();
    let container = steps.from();
    steps.tool(&["config", "--env", "E=1", &container]).ok();
    assert!(steps.run(&container, &[], "echo built > /x; date +%N > /when"));
    let context = steps.context();
    let mount = ["--contextdir", context.to_str().expect("UTF-8"), "--mount=type=bind,source=dir,target=/m"];
    assert!(steps.run(&container, &mount, "cat /m/b /when > /y"));
    assert_eq!(layers(&steps.commit(&container, "localhost/by-steps")), layers(&built));
    // And the reverse.
    assert!(!steps.run(&container, &[], "date +%N > /z"));
    steps.sandbox.write("context/Dockerfile", format!("{dockerfile}RUN date +%N > /z\n"));
    let again = build();
    assert_eq!(layers(&again), layers(&steps.commit(&container, "localhost/by-steps")));
    assert_sound(&steps.sandbox);
}

#[test]
fn root_what_a_step_uses_is_in_its_key() {
    let steps = Steps::new();
    steps.sandbox.write("elsewhere/file", "1");
    let elsewhere = steps.sandbox.path("elsewhere");
    let bind = format!("--mount=type=bind,source={},target=/m", elsewhere.display());
    let command = "date +%N > /x";
    // Each differs from all others, and is known again.
    let all: &[&[&str]] = &[
        &[],
        &["--env", "A=1"],
        &["--env", "A=2"],
        &["--user", "1:1", "--workingdir", "/tmp"],
        &["--workingdir", "/tmp"],
        &["--hostname", "box"],
        &["--cap-drop", "CHOWN"],
        &["--no-hosts"],
        &["--mount=type=tmpfs,target=/t"],
        &["--mount=type=cache,target=/t"],
        &["--mount=type=cache,target=/t,id=other"],
        &[&bind],
    ];
    for flags in all {
        let command = if flags.contains(&"--user") { "true" } else { command };
        for is_hit in [false, true] {
            assert_eq!(steps.run(&steps.from(), flags, command), is_hit, "{flags:?}");
        }
    }
    steps.sandbox.write("elsewhere/file", "2");
    assert!(!steps.run(&steps.from(), &[&bind], command));

    // The config of the container.
    for config in [["--user", "root"], ["--env", "B=1"], ["--hostname", "named"], ["--volume", "/v"]] {
        for is_hit in [false, true] {
            let container = steps.from();
            steps.tool(&[&["config"], &config[..], &[&container]].concat()).ok();
            assert_eq!(steps.run(&container, &[], command), is_hit, "{config:?}");
        }
    }
    // Without the flag nothing is looked up.
    let container = steps.from();
    steps.tool(&["run", "--cached=false", "--network=none", &container, "--", "/bin/sh", "-c", "date +%N > /y"]).ok();
    assert!(!steps.run(&steps.from(), &[], "date +%N > /y"));
}

#[test]
fn root_copies_follow_content() {
    let steps = Steps::new();
    let twice = |args: &[&str]| [steps.copy(&steps.from(), args), steps.copy(&steps.from(), args)];
    for args in [
        &["a", "/x"][..],
        &["a", "/x/"],
        &["dir", "/x"],
        &["--exclude=b", "dir", "/x"],
        &["--chmod=600", "a", "/x"],
        &["--chown=7:8", "a", "/x"],
        &["a", "x"],
    ] {
        // Flags come before the container's name.
        let (flags, rest): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with("--"));
        if flags.is_empty() {
            assert_eq!(twice(&rest), [false, true], "{args:?}");
        } else {
            assert_eq!(twice(&[&flags[..], &rest].concat()), [false, true], "{args:?}");
        }
    }
    // A new time is no change; a mode is one.
    Tool::new("touch").args(["-d", "2020-01-01"]).arg(steps.context().join("a")).ok();
    assert!(steps.copy(&steps.from(), &["a", "/x"]));
    Tool::new("chmod").arg("700").arg(steps.context().join("a")).ok();
    assert!(!steps.copy(&steps.from(), &["a", "/x"]));
    // The digest is printed either way.
    let printed = |container: &str| {
        let tool = steps.tool(&["copy", "--cached", "--contextdir"]).arg(steps.context());
        tool.args([container, "dir", "/printed"]).ok()
    };
    let digest = printed(&steps.from());
    assert_eq!((digest.len(), &printed(&steps.from())), (64, &digest));

    // From the current directory: where that is does not count.
    for (place, is_hit) in [("one", false), ("one", true), ("two/deep", true)] {
        let dir = steps.sandbox.write(format!("{place}/tree/file"), "same").parent().expect("a parent").to_owned();
        let tool = steps.tool(&["copy", "--cached", &steps.from(), "tree/file", "tree", "/x/"]);
        let outcome = tool.in_dir(dir.parent().expect("a parent")).run();
        assert!(outcome.status.success() && outcome.stderr.contains(HIT) == is_hit, "{place}: {outcome}");
    }
    // An archive that is unpacked is none that is copied.
    Tool::new("tar").args(["-C"]).arg(steps.context()).args(["-cf"]).arg(steps.context().join("t.tar")).arg("dir").ok();
    assert!(!steps.copy(&steps.from(), &["t.tar", "/t/"]));
    let context = steps.context();
    let add = |container: &str| {
        steps.is_hit(&["add", "--cached", "--contextdir", context.to_str().expect("UTF-8"), container, "t.tar", "/t/"])
    };
    assert_eq!([add(&steps.from()), add(&steps.from())], [false, true]);
}

#[test]
fn root_copies_from_other_containers() {
    let steps = Steps::new();
    let build = |command: &str| {
        let (builder, app) = (steps.from(), steps.from());
        let built = steps.run(&builder, &[], command);
        let copied = steps.is_hit(&["copy", "--cached", "--from", &builder, &app, "/out", "/app"]);
        (built, copied, app)
    };
    let (built, copied, _) = build("echo 1 > /out; date +%N > /other");
    assert!(!built && !copied);
    let (built, copied, app) = build("echo 1 > /out; date +%N > /other");
    assert!(built && copied);
    assert_eq!(steps.cat(&app, "/app"), "1");
    // Other files, but the same one is copied.
    let (built, copied, _) = build("echo 1 > /out; date +%N > /more");
    assert!(!built && copied);
    let (built, copied, app) = build("echo 2 > /out");
    assert!(!built && !copied);
    assert_eq!(steps.cat(&app, "/app"), "2");
    // What was written without a key counts, too.
    let (builder, app) = (steps.from(), steps.from());
    steps.tool(&["run", "--network=none", &builder, "sh", "-c", "echo 1 > /out"]).ok();
    assert!(steps.is_hit(&["copy", "--cached", "--from", &builder, &app, "/out", "/app"]));
    // From an image.
    steps.commit(&builder, "localhost/builder");
    for is_hit in [true, true] {
        assert_eq!(steps.is_hit(&["copy", "--cached", "--from=builder", &steps.from(), "/out", "/app"]), is_hit);
    }
    assert_sound(&steps.sandbox);
}

#[test]
fn root_what_was_written_without_a_key_is_part_of_it() {
    let steps = Steps::new();
    let prepared = |text: &str| {
        let container = steps.from();
        let mounted = steps.tool(&["mount", &container]).ok();
        fs::write(Path::new(&mounted).join("by-hand"), text).expect("written");
        let refused = steps.tool(&["run", "--cached", "--network=none", &container, "true"]).fails();
        refused.says(125, &[&container, "mounted"]);
        steps.tool(&["umount", &container]).ok();
        container
    };
    let command = "cp /by-hand /copy; date +%N > /when";
    let first = prepared("1");
    assert!(!steps.run(&first, &[], command));
    let second = prepared("1");
    assert!(steps.run(&second, &[], command));
    let third = prepared("2");
    assert!(!steps.run(&third, &[], command));
    assert_eq!((steps.cat(&second, "/copy"), steps.cat(&third, "/copy")), ("1".into(), "2".into()));
    // All of it is in the image, what is written at the end without a key as well.
    steps.tool(&["run", "--network=none", &second, "sh", "-c", "echo end > /end"]).ok();
    let base = layers(&steps.config("localhost/base")).len();
    assert_eq!(layers(&steps.commit(&second, "localhost/all")).len(), base + 3);
    assert_eq!(steps.sandbox.podman_run(["localhost/all", "cat", "/by-hand", "/copy", "/end"]).ok(), "11end");
    assert_sound(&steps.sandbox);
}

#[test]
fn root_a_failing_step_is_not_remembered() {
    let steps = Steps::new();
    for _ in 0..2 {
        let container = steps.from();
        let args = ["run", "--cached", "--network=none", &container, "sh", "-c", "echo ran; exit 7"];
        let outcome: Outcome = steps.tool(&args).run();
        assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(7), "ran\n"), "{outcome}");
        steps.tool(&["run", "--cached", "--network=none", &container, "no-such-program"]).fails().says(127, &[]);
    }
    let container = steps.from();
    let context = steps.context();
    let context = context.to_str().expect("UTF-8");
    steps.tool(&["copy", "--cached", "--contextdir", context, &container, "none", "/x"]).fails().says(125, &["none"]);
    assert_sound(&steps.sandbox);
}

#[test]
fn root_two_scripts_at_once_do_a_step_once() {
    let steps = Steps::new();
    let started = steps.sandbox.path("started");
    fs::create_dir_all(&started).expect("made");
    let volume = format!("{}:/started", started.display());
    let containers: Vec<String> = (0..4).map(|_| steps.from()).collect();
    std::thread::scope(|scope| {
        for container in &containers {
            let volume = ["--volume", volume.as_str()];
            let steps = &steps;
            scope.spawn(move || steps.run(container, &volume, "mktemp /started/XXXXXX; date +%N > /when"));
        }
    });
    assert_eq!(fs::read_dir(&started).expect("a directory").count(), 1, "run once");
    let times: Vec<String> = containers.iter().map(|container| steps.cat(container, "/when")).collect();
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
    assert_sound(&steps.sandbox);
}

#[test]
fn root_hits_need_their_layers() {
    let steps = Steps::new();
    let container = steps.from();
    assert!(!steps.run(&container, &[], "date +%N > /x"));
    // Nothing but the container and the cache's own image keep the layer.
    assert!(steps.run(&steps.from(), &[], "date +%N > /x"));
    steps.tool(&["rm", "-a"]).ok();
    assert_sound(&steps.sandbox);
    steps.sandbox.podman(["image", "prune", "-f"]).ok();
    assert!(!steps.run(&steps.from(), &[], "date +%N > /x"));
    // Without gabion's folder everything is done again, and right.
    fs::remove_dir_all(steps.sandbox.graph_root().join("gabion")).expect("removed");
    assert!(!steps.run(&steps.from(), &[], "date +%N > /x"));
    steps.tool(&["rm", "-a"]).ok();
    assert_sound(&steps.sandbox);
}

#[test]
fn root_buildah_goes_on_with_such_a_container() {
    let steps = Steps::new();
    let command = "date +%N > /x";
    steps.run(&steps.from(), &[], command);
    let container = steps.from();
    assert!(steps.run(&container, &[], command));
    let when = steps.cat(&container, "/x");
    steps.sandbox.buildah(["run", "--isolation=chroot", &container, "--", "sh", "-c", "cp /x /y"]).ok();
    steps.sandbox.buildah(["config", "--env", "B=1", &container]).ok();
    // Its own change is a layer under the next step.
    assert!(!steps.run(&container, &[], "cat /y > /z"));
    steps.sandbox.buildah(["commit", "-q", &container, "localhost/by-buildah"]).ok();
    assert_eq!(steps.sandbox.podman_run(["localhost/by-buildah", "cat", "/y", "/z"]).ok(), format!("{when}\n{when}"));
    let config = steps.config("localhost/by-buildah");
    assert_eq!(layers(&config).len(), layers(&steps.config("localhost/base")).len() + 4, "Buildah adds an empty one");
    assert!(created_by(&config).iter().any(|text| text.ends_with(command)), "{config}");
    assert_sound(&steps.sandbox);
}

#[test]
fn root_times_are_those_of_source_date_epoch() {
    let steps = Steps::new();
    let image = |name: &str| {
        let container = steps.from();
        steps
            .tool(&["run", "--cached", "--network=none", &container, "touch", "/x"])
            .env("SOURCE_DATE_EPOCH", "1")
            .ok();
        steps.tool(&["commit", "-q", &container, name]).env("SOURCE_DATE_EPOCH", "1").ok()
    };
    let first = image("localhost/one");
    fs::remove_dir_all(steps.sandbox.graph_root().join("gabion/cache")).expect("removed");
    assert_eq!(image("localhost/two"), first);
    let mtime = steps.sandbox.podman_run(["localhost/one", "stat", "-c", "%Y", "/x"]).ok();
    assert_eq!(mtime, "1");
}

#[test]
fn root_a_container_killed_between_store_and_state_is_whole() {
    let steps = Steps::new();
    let container = steps.from();
    steps.run(&container, &[], "echo one > /one");
    let id = steps.sandbox.gabion(["inspect", "--format", "{{.ContainerID}}", &container]).ok();
    let directory = steps.sandbox.graph_root().join("overlay-containers").join(id).join("userdata");
    let state = fs::read(directory.join("buildah.json")).expect("a state");
    let notes = fs::read(directory.join("gabion-steps.json")).expect("a note");
    steps.run(&container, &[], "echo two > /two");
    // The store has the second step, the state does not.
    fs::write(directory.join("buildah.json"), &state).expect("written");
    let base = layers(&steps.config("localhost/base")).len();
    let config = steps.commit(&container, "localhost/healed");
    assert_eq!(layers(&config).len(), base + 2);
    assert_eq!(created_by(&config).iter().filter(|text| text.contains("> /")).count(), 2);
    // The note says more than there is.
    let other = steps.from();
    assert!(steps.run(&other, &[], "echo one > /one"));
    let id = steps.sandbox.gabion(["inspect", "--format", "{{.ContainerID}}", &other]).ok();
    let beside = steps.sandbox.graph_root().join("overlay-containers").join(id).join("userdata");
    fs::copy(directory.join("gabion-steps.json"), beside.join("gabion-steps.json")).expect("copied");
    assert!(steps.run(&other, &[], "echo two > /two"));
    // Damaged, it is none.
    let last = steps.from();
    assert!(steps.run(&last, &[], "echo one > /one"));
    let id = steps.sandbox.gabion(["inspect", "--format", "{{.ContainerID}}", &last]).ok();
    let beside = steps.sandbox.graph_root().join("overlay-containers").join(id).join("userdata");
    fs::write(beside.join("gabion-steps.json"), &notes[..notes.len() / 2]).expect("cut short");
    assert!(!steps.run(&last, &[], "echo two > /two"));
    assert_eq!(layers(&steps.commit(&last, "localhost/damaged")).len(), base + 2);
    assert_eq!(steps.sandbox.podman_run(["localhost/damaged", "cat", "/one", "/two"]).ok(), "one\ntwo");
    assert_eq!(records(&steps.sandbox.graph_root(), "containers").len(), 3);
    assert_sound(&steps.sandbox);
}

#[test]
fn root_the_example_runs_twice() {
    let steps = Steps::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    Tool::new("cp").arg("-r").arg(&examples).arg(steps.sandbox.path("examples")).ok();
    let run = || {
        let script = steps.sandbox.any(steps.sandbox.path("examples/cached-steps.sh"));
        let outcome = script.env("GABION", env!("CARGO_BIN_EXE_gabion")).run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.stderr.matches(HIT).count()
    };
    // `copy -q` tells of no hit.
    assert_eq!((run(), run()), (0, 2));
    let first = layers(&steps.config("localhost/hello-cached"));
    let greeting = steps.sandbox.podman_run(["localhost/hello-cached"]).ok();
    assert!(greeting.contains("Hello from a cached step!"), "{greeting}");
    steps.sandbox.write("examples/hello/hello.sh", "#!/bin/sh\necho changed\n");
    assert_eq!(run(), 1);
    assert_eq!(steps.sandbox.podman_run(["localhost/hello-cached"]).ok(), "changed");
    let second = layers(&steps.config("localhost/hello-cached"));
    assert_eq!(first.iter().zip(&second).take_while(|(one, other)| one == other).count(), second.len() - 2);
}
