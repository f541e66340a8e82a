//! `build --check`, `--call` and what lint rules say during a build.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;
use test_support::store_check::{assert_sound, records};

const GABION: &str = env!("CARGO_BIN_EXE_gabion");

fn sandbox(dockerfile: &str) -> Sandbox {
    let sandbox = Sandbox::new(GABION);
    sandbox.import_base();
    sandbox.write("context/Dockerfile", dockerfile);
    sandbox
}

/// How many images, layers and containers there are.
fn records_of(sandbox: &Sandbox) -> [usize; 3] {
    ["overlay-images", "overlay-layers", "overlay-containers"].map(|kind| records(&sandbox.graph_root(), kind).len())
}

const BAD: &str = "FROM localhost/base AS Build\nCMD echo $HOME\n";

#[test]
fn root_a_check_tells_and_builds_nothing() {
    let sandbox = sandbox(BAD);
    let before = records_of(&sandbox);
    let context = sandbox.path("context");
    let build = |flags: &[&str]| sandbox.gabion(["build"]).args(flags).arg(&context).run();
    let plain = build(&["--check"]);
    assert_eq!(plain.code(), Some(1));
    for words in [
        "warning: Dockerfile:1:24: StageNameCasing: the stage name Build is not in lower case",
        "1 | FROM localhost/base AS Build",
        "write build",
        "Dockerfile:2:5: JSONArgsRecommended",
        "2 warnings found.",
    ] {
        assert!(plain.stdout.contains(words), "{words} in {}", plain.stdout);
    }
    for (flags, ruled) in [
        (&["--check", "--check-format=json"][..], "/warnings/0/ruleName"),
        (&["--call=check,format=json"], "/warnings/0/ruleName"),
        (&["--print=lint,format=json"], "/warnings/0/ruleName"),
        (&["--check", "--check-format=sarif"], "/runs/0/results/0/ruleId"),
        (&["--call", "check,format=sarif"], "/runs/0/results/0/ruleId"),
    ] {
        let outcome = build(flags);
        assert_eq!(outcome.code(), Some(1), "{flags:?}");
        let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(json.pointer(ruled), Some(&"StageNameCasing".into()), "{flags:?}");
    }
    assert_eq!(build(&["--call=check,ignorestatus=true"]).code(), Some(0));
    assert_eq!(build(&["--check", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all"]).code(), Some(0));
    assert_eq!(build(&["--check", "--target=bild"]).code(), Some(125));
    assert_eq!(build(&["--call=nothing"]).code(), Some(125));
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUNN x\nUSER ''\n");
    let wrong = build(&["--check"]);
    assert_eq!(wrong.code(), Some(125));
    assert!(wrong.stdout.contains("error: Dockerfile:2:1: unknown instruction \"RUNN\""), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("error: Dockerfile:3:6: "), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("did you mean RUN?"), "{}", wrong.stdout);
    assert_eq!(records_of(&sandbox), before);
    assert_sound(&sandbox);
}

#[test]
fn root_outline_and_targets_are_printed() {
    let sandbox = sandbox(
        "# one is the first\nFROM localhost/base AS one\n# A is it\nARG A=1\nFROM one\nRUN --mount=type=secret,id=s true\n",
    );
    let context = sandbox.path("context");
    let print = |what: &str| sandbox.gabion(["build", what]).arg(&context).ok();
    assert_eq!(print("--print=targets").trim_end(), "TARGET      DESCRIPTION\none         is the first\n(default)");
    let outline = "BUILD ARG   VALUE   DESCRIPTION\nA           1       is it\n\nSECRET   REQUIRED\ns";
    assert_eq!(print("--call=outline").trim_end(), outline);
    let json = |what: &str| serde_json::from_str::<serde_json::Value>(&print(what)).expect("JSON");
    assert_eq!(json("--call=targets,format=json")["targets"][1]["default"], true);
    assert_eq!(json("--print=outline,format=json")["args"][0]["value"], "1");
}

#[test]
fn root_a_build_warns_or_fails_before_its_first_step() {
    let sandbox = sandbox(BAD);
    let context = sandbox.path("context");
    let outcome = sandbox.gabion(["build"]).arg(&context).run();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning: Dockerfile:2:5: JSONArgsRecommended"), "{}", outcome.stderr);
    let before = records_of(&sandbox);
    sandbox.write("context/Dockerfile", format!("# check=error=true\n{BAD}RUN touch /x\n"));
    let told = ["Dockerfile:2:24: StageNameCasing", "and 1 more error"];
    sandbox.gabion(["build"]).arg(&context).fails().says(125, &told);
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN touch /x\nEXPOSE none\nSTOPSIGNAL SIGNO\n");
    sandbox.gabion(["build"]).arg(&context).fails().says(125, &["Dockerfile:3:8", "and 1 more error"]);
    assert_eq!(records_of(&sandbox), before);
    assert_sound(&sandbox);
}

#[test]
fn root_a_base_that_is_not_there_is_a_note() {
    let sandbox = sandbox("FROM localhost/nowhere\nENV A=$B\n");
    let outcome = sandbox.gabion(["build", "--check"]).arg(sandbox.path("context")).run();
    assert_eq!(outcome.code(), Some(0));
    assert!(outcome.stdout.contains("note: Dockerfile:1:6: the image localhost/nowhere is not in the store"));
}
