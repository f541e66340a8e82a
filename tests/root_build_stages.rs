//! What stages may begin with, what becomes of them, and what their commands read and use.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use test_support::{Outcome, Sandbox, Tool, store_check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn build(sandbox: &Sandbox, dockerfile: &str, args: &[&str]) -> Tool {
    sandbox.write("context/Dockerfile", dockerfile);
    let words = ["build", "--network=none", "-t", "built"];
    sandbox.gabion(words).args(args).arg("context").in_dir(sandbox.dir())
}

#[track_caller]
fn ok(tool: Tool) -> Outcome {
    let outcome = tool.run();
    assert!(outcome.status.success(), "{outcome}");
    outcome
}

/// The configs of all images whose labels name a stage, by that name.
fn stages(sandbox: &Sandbox) -> Vec<(String, String, String)> {
    let listed = sandbox.gabion(["images", "-a", "--no-trunc", "--format", "{{.ID}}"]).ok();
    let mut stages: Vec<_> = listed
        .lines()
        .filter_map(|id| {
            let id = id.trim_start_matches("sha256:");
            let image = sandbox.gabion(["inspect", "--type", "image", id]).json();
            let label = |name: &str| Some(image["OCIv1"]["config"]["Labels"][name].as_str()?.to_owned());
            Some((label("io.buildah.stage.name")?, label("io.buildah.stage.base")?, id.to_owned()))
        })
        .collect();
    stages.sort();
    stages.dedup();
    stages
}

const STAGES: &str = "FROM localhost/base AS tools\nRUN echo tool > /tool\nFROM tools AS more\nENV A=1\n\
    FROM scratch\nCOPY --from=tools /tool /\nFROM more AS plain\nFROM plain\nCOPY --from=2 /tool /copied\nCMD [\"x\"]\n";

#[test]
fn root_stages_are_saved_as_images() {
    let sandbox = sandbox();
    let count = |sandbox: &Sandbox| store_check::records(&sandbox.graph_root(), "images").len();
    // Without the flag, nameless images are there for the cache only.
    ok(build(&sandbox, STAGES, &["--layers=false"]));
    assert_eq!(count(&sandbox), 2, "the base and the result");
    for (layers, times) in [("--layers=false", 2), ("--layers=true", 1)] {
        sandbox.gabion(["rmi", "--force", "built"]).ok();
        sandbox.gabion(["prune", "--all", "--force"]).run();
        sandbox.import_base();
        ok(build(&sandbox, STAGES, &[layers, "--save-stages"]));
        assert_eq!((count(&sandbox), stages(&sandbox).len()), (5, 0), "{layers}");
        // What has not changed is not made again, where steps are remembered.
        ok(build(&sandbox, STAGES, &[layers, "--save-stages"]));
        assert_eq!(count(&sandbox), 1 + 4 * times, "{layers}");
        store_check::assert_records_sound(&sandbox);
    }
    let result = ok(build(&sandbox, STAGES, &["--save-stages", "--stage-labels"])).stdout;
    let result = result.lines().last().expect("an ID").to_owned();
    let found = stages(&sandbox);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["2", "4", "more", "tools"]);
    let of = |name: &str| found.iter().find(|stage| stage.0 == name).expect("a stage");
    assert_eq!((of("2").1.as_str(), of("tools").1.as_str()), ("scratch", "localhost/base"));
    assert_eq!((&of("more").1, &of("4").1, &of("4").2), (&of("tools").2, &of("more").2, &result));
    // They are images as others are.
    assert_eq!(sandbox.podman_run([of("more").2.as_str(), "sh", "-c", "cat /tool; echo $A"]).ok(), "tool\n1");
    store_check::assert_records_sound(&sandbox);
    build(&sandbox, STAGES, &["--stage-labels"]).fails().says(125, &["--stage-labels", "--save-stages"]);
}

#[test]
fn root_commands_read_standard_input_on_request() {
    let sandbox = sandbox();
    let steps = "FROM localhost/base\nRUN read one; echo \"$one\" > /one; read two; echo \"$two\" > /two\n";
    for (number, flags) in
        [&["--stdin"][..], &["--stdin", "--quiet"], &["--stdin", "--progress=json"]].iter().enumerate()
    {
        let text = format!("{number}-1\n{number}-2\n");
        ok(build(&sandbox, steps, &[&["--no-cache"], *flags].concat()).stdin(text.clone()));
        assert_eq!(sandbox.podman_run(["localhost/built", "cat", "/one", "/two"]).ok(), text.trim_end(), "{flags:?}");
    }
    // Without the flag there is nothing to read.
    ok(build(&sandbox, steps, &["--no-cache"]).stdin("never\n"));
    assert_eq!(sandbox.podman_run(["localhost/built", "cat", "/one"]).ok(), "");
    build(&sandbox, steps, &["--stdin", "-f", "-"]).stdin("FROM scratch").fails().says(125, &["--stdin", "Dockerfile"]);
}

#[test]
fn root_what_steps_use_is_told() {
    let sandbox = sandbox();
    let steps = "FROM localhost/base\nRUN true\nENV A=1\n";
    let is_line = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        matches!(words[..], [system, user, elapsed, _, "input", _, "output"]
            if system.ends_with("(system)") && user.ends_with("(user)") && elapsed.ends_with("s(elapsed)"))
    };
    let told = ok(build(&sandbox, steps, &["--log-rusage"])).stdout;
    assert_eq!(told.lines().filter(is_line).count(), 3, "{told}");
    let log = sandbox.path("usage");
    let told = ok(build(&sandbox, steps, &["--log-rusage", "--rusage-logfile", "usage"])).stdout;
    assert_eq!(told.lines().filter(is_line).count(), 0, "{told}");
    assert_eq!(fs::read_to_string(&log).expect("written").lines().filter(is_line).count(), 3);
    build(&sandbox, steps, &["--rusage-logfile", "usage"]).fails().says(125, &["--log-rusage"]);
}

#[test]
fn root_source_policies_are_obeyed() {
    let sandbox = sandbox();
    for name in ["one", "two"] {
        let file = format!("FROM localhost/base\nRUN echo {name} > /name\n");
        ok(build(&sandbox, &file, &["-t", &format!("localhost/{name}:1")]));
    }
    let policy = |rules: &str| sandbox.write("policy.json", format!("{{\"rules\": [{rules}]}}"));
    let with_policy = |file: &str| build(&sandbox, file, &["--source-policy-file", "policy.json"]);
    let cat = || sandbox.podman_run(["localhost/built", "cat", "/name"]).ok();

    policy(
        r#"{"action": "CONVERT", "selector": {"identifier": "docker-image://localhost/one:1"},
            "updates": {"identifier": "docker-image://localhost/two:1"}}"#,
    );
    for file in [
        "FROM localhost/one:1\n",
        "FROM localhost/base\nCOPY --from=localhost/one:1 /name /\n",
        "FROM localhost/base\nRUN --mount=type=bind,from=localhost/one:1,target=/m cp /m/name /\n",
    ] {
        ok(with_policy(file));
        assert_eq!(cat(), "two", "{file}");
        ok(build(&sandbox, file, &[]));
        assert_eq!(cat(), "one", "{file}");
    }
    // Stages are no sources, whatever they are called.
    policy(r#"{"action": "DENY", "selector": {"identifier": "docker-image://*/one*"}}"#);
    ok(with_policy("FROM localhost/two:1 AS one\nFROM one\nCMD [\"x\"]\n"));
    let before = images(&sandbox);
    for (file, words) in [
        ("FROM localhost/one:1\nRUN true\n", "localhost/one:1 is denied by source policy: rule 0"),
        (
            "FROM localhost/base\nCOPY --from=localhost/one:1 /name /\n",
            "localhost/one:1 is denied by source policy: rule 0",
        ),
    ] {
        with_policy(file).fails().says(125, &["Dockerfile:", words]);
    }
    policy(r#"{"action": "DENY", "selector": {"identifier": "https://*"}}"#);
    with_policy("FROM localhost/base\nADD https://localhost/x /\n")
        .fails()
        .says(125, &["https://localhost/x is denied"]);
    let named = ["--build-context", "localhost/missing=docker-image://localhost/one:1", "--source-policy-file"];
    policy(r#"{"action": "DENY", "selector": {"identifier": "*one:1"}}"#);
    build(&sandbox, "FROM localhost/missing\nRUN true\n", &[&named[..], &["policy.json"]].concat())
        .fails()
        .says(125, &["localhost/one:1 is denied"]);
    assert_eq!(images(&sandbox), before);
    for (text, words) in [
        ("{", "policy.json"),
        (r#"{"rules": [{"action": "WARN", "selector": {"identifier": "*"}}]}"#, "rule 0: unknown action \"WARN\""),
    ] {
        sandbox.write("policy.json", text);
        with_policy("FROM scratch\nENV A=1\n").fails().says(125, &["--source-policy-file", words]);
    }
    fs::remove_file(Path::new(&sandbox.path("policy.json"))).expect("removed");
    with_policy("FROM scratch\nENV A=1\n").fails().says(125, &["--source-policy-file", "policy.json"]);
}

fn images(sandbox: &Sandbox) -> Vec<Value> {
    store_check::records(&sandbox.graph_root(), "images")
}
