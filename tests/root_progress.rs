//! What a build shows of its progress: lines for scripts, events, a live view on a terminal.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use test_support::{DockerRegistry, Outcome, Sandbox, Tool, terminal};

/// Two stages, output on both streams, an escape sequence and a line that is drawn anew.
const DOCKERFILE: &str = "FROM localhost/base AS one\n\
    RUN echo out; echo err >&2; printf '\\033[2Jbad\\rprogress 1\\rprogress 2\\n'\n\
    FROM localhost/base\n\
    COPY --from=one /bin/busybox /copied\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn context(sandbox: &Sandbox, dockerfile: &str) -> PathBuf {
    sandbox.write("context/Dockerfile", dockerfile).parent().expect("has a parent").to_owned()
}

fn build(sandbox: &Sandbox, args: &[&str], dockerfile: &str) -> Tool {
    let context = context(sandbox, dockerfile);
    sandbox.gabion(["build", "--network=none"]).args(args).arg(context)
}

fn image_id(outcome: &Outcome) -> String {
    let id = outcome.stdout.lines().last().unwrap_or_default().to_owned();
    assert!(id.len() == 64, "{outcome}");
    id
}

/// The events of a build, each an object.
fn events(outcome: &Outcome) -> Vec<Value> {
    outcome.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{outcome}"))).collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Runs a build on a terminal of `columns` and `rows`; gives its exit code, what the terminal shows at
/// the end, and everything that was written to it.
fn on_terminal(tool: Tool, columns: u16, rows: u16) -> (i32, String, String) {
    let (code, written) = tool.env("TERM", "xterm").env_remove("NO_COLOR").on_terminal(columns, rows).ends();
    (code, terminal::screen(&written, columns, rows), written)
}

#[test]
fn root_plain_is_what_buildah_prints() {
    let sandbox = sandbox();
    for args in [&["-t", "new"][..], &["--progress=auto", "-t", "new"], &["--progress=plain", "-t", "new"]] {
        let outcome = build(&sandbox, &[args, &["--jobs=1", "--no-cache"]].concat(), DOCKERFILE).run();
        let id = image_id(&outcome);
        let stdout: Vec<&str> = outcome.stdout.lines().map(|line| line.split('\r').next().unwrap_or(line)).collect();
        let expected = [
            "[1/2] STEP 1/2: FROM localhost/base AS one",
            "[1/2] STEP 2/2: RUN echo out; echo err >&2; printf '\\033[2Jbad\\rprogress 1\\rprogress 2\\n'",
            "out",
            "\u{1b}[2Jbad",
            "[2/2] STEP 1/2: FROM localhost/base",
            "[2/2] STEP 2/2: COPY --from=one /bin/busybox /copied",
            "COMMIT localhost/new:latest",
            &format!("--> {}", &id[..12]),
            "Successfully tagged localhost/new:latest",
            &id,
        ];
        assert_eq!(stdout, expected, "{outcome}");
        // What is chosen explicitly says what the build cost; scripts that choose nothing see nothing new.
        let is_chosen = args[0] == "--progress=plain";
        assert_eq!(outcome.stderr.lines().next(), Some("err"));
        assert_eq!(outcome.stderr.contains("4 steps in "), is_chosen, "{outcome}");
        assert_eq!(outcome.stderr.contains("by layer:"), is_chosen, "{outcome}");
        assert!(is_chosen || outcome.stderr == "err\n" || outcome.stderr == "err", "{outcome}");
    }
}

#[test]
fn root_quiet_is_the_id() {
    let sandbox = sandbox();
    for flag in ["--quiet", "--progress=quiet"] {
        let outcome = build(&sandbox, &[flag, "--no-cache", "-t", "new"], DOCKERFILE).run();
        assert_eq!(outcome.stdout.trim_end(), image_id(&outcome));
        assert_eq!(outcome.stderr.trim_end(), "err");
    }
}

#[test]
fn root_json_tells_each_step_once_in_order() {
    let sandbox = sandbox();
    let outcome = build(&sandbox, &["--progress=json", "-t", "new"], DOCKERFILE).run();
    assert_eq!(outcome.stdout.trim_end(), image_id(&outcome));
    let events = events(&outcome);
    let mut running: BTreeSet<(i64, i64)> = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for event in &events {
        assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
        let step = (event["stage"].as_i64().unwrap_or(0), event["step"].as_i64().unwrap_or(0));
        match event["event"].as_str().expect("a name") {
            "step-started" => assert!(running.insert(step) && !ended.contains(&step), "{event}"),
            "step-finished" => assert!(running.remove(&step) && ended.insert(step), "{event}"),
            "output" => assert!(running.contains(&step), "{event}"),
            _ => {}
        }
    }
    assert!(running.is_empty(), "{running:?}");
    assert_eq!(ended, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
    let output = |stream: &str| -> Vec<&str> {
        let lines = named(&events, "output").into_iter().filter(|event| event["stream"] == stream);
        lines.map(|event| event["line"].as_str().expect("text")).collect()
    };
    assert_eq!(output("stdout"), ["out", "\u{1b}[2Jbad\rprogress 1\rprogress 2"]);
    assert_eq!(output("stderr"), ["err"]);
    assert!(
        named(&events, "step-finished").iter().all(|event| event["outcome"] == "done" && event["seconds"].is_f64())
    );
    let last = events.last().expect("events");
    assert_eq!(
        (&last["event"], &last["image"], &last["steps"]),
        (&"finished".into(), &image_id(&outcome).into(), &4.into())
    );
    assert_eq!(named(&events, "tagged")[0]["name"], "localhost/new:latest");
}

#[test]
fn root_json_tells_failures() {
    let sandbox = sandbox();
    let outcome =
        build(&sandbox, &["--progress=json"], "FROM localhost/base\nRUN echo last; exit 7\nRUN true\n").fails();
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (Some(7), ""));
    let found = events(&outcome);
    let outcomes: Vec<&Value> = named(&found, "step-finished").iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["done", "failed"]);
    let last = found.last().expect("events");
    assert_eq!((&last["event"], &last["exit_code"]), (&"failed".into(), &7.into()));
    assert!(last["message"].as_str().is_some_and(|message| message.contains("exit code 7")), "{last}");

    let outcome = build(&sandbox, &["--progress=json"], "FROM localhost/base\nRUNN true\n").fails();
    let found = events(&outcome);
    let details = found.last().expect("events")["details"].to_string();
    assert!(details.contains("RUNN"), "{outcome}");
}

#[test]
fn root_transfers_are_told() {
    let sandbox = sandbox();
    let registry = DockerRegistry::plain();
    let remote = registry.image("base");
    let push = sandbox.gabion(["push", "--progress=json", "--tls-verify=false", "localhost/base", &remote]).run();
    let told = events(&push);
    assert!(push.status.success() && push.stdout.is_empty(), "{push}");
    assert_eq!(named(&told, "blob-started").len(), named(&told, "blob-finished").len());
    sandbox.gabion(["rmi", "localhost/base"]).ok();
    let pull = sandbox.gabion(["pull", "--progress=json", "--tls-verify=false", &remote]).run();
    let told = events(&pull);
    image_id(&pull);
    let digests = |name: &str| -> Vec<String> {
        named(&told, name).iter().map(|event| event["digest"].as_str().expect("text").to_owned()).collect()
    };
    assert!(!digests("blob-started").is_empty());
    assert_eq!(digests("blob-started"), digests("blob-finished"));
    assert!(named(&told, "blob-finished").iter().all(|event| event["size"].as_u64().is_some_and(|size| size > 0)));
    sandbox.gabion(["rmi", "--all"]).ok();
    let quiet = sandbox.gabion(["pull", "--progress=quiet", "--tls-verify=false", &remote]).run();
    assert_eq!((quiet.stderr.as_str(), quiet.stdout.trim_end().len()), ("", 64));
}

#[test]
fn root_a_terminal_shows_steps_folded() {
    let sandbox = sandbox();
    let (code, screen, written) = on_terminal(build(&sandbox, &["--jobs=1", "-t", "new"], DOCKERFILE), 100, 40);
    assert_eq!(code, 0, "{screen}");
    let lines: Vec<&str> = screen.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with("[1/2] STEP 1/2: FROM localhost/base AS one  0."), "{screen}");
    assert!(lines[1].starts_with("[1/2] STEP 2/2: RUN echo out"), "{screen}");
    assert!(lines[2].starts_with("[2/2] STEP 1/2: FROM localhost/base  0."), "{screen}");
    assert!(lines[3].starts_with("[2/2] STEP 2/2: COPY --from=one"), "{screen}");
    assert!(screen.contains("4 steps in ") && screen.contains("by layer:"), "{screen}");
    assert!(screen.contains("Successfully tagged localhost/new:latest"), "{screen}");
    // What the step wrote was seen only while it ran, and could not drive the terminal.
    assert!(!lines.iter().any(|line| line.trim() == "progress 2") && !written.contains("\u{1b}[2J"), "{written:?}");
    assert!(written.contains("\u{1b}[32m"), "{written:?}");
    // The cursor is where it was left and was never hidden.
    assert!(!written.contains("\u{1b}[?25l"), "{written:?}");
}

#[test]
fn root_a_terminal_shows_the_end_of_a_failed_step() {
    let sandbox = sandbox();
    let dockerfile = "FROM localhost/base\nRUN for i in $(seq 1 50); do echo line $i; done; exit 3\n";
    let (code, screen, _) = on_terminal(build(&sandbox, &[], dockerfile), 100, 40);
    let place = |text: &str| screen.find(text).unwrap_or_else(|| panic!("{text:?} in\n{screen}"));
    assert!(place("line 50") < place("Error: ") && screen.matches("line 50").count() == 1, "{screen}");
    assert!(code == 3 && !screen.contains("line 20"), "{screen}");
}

#[test]
fn root_terminals_may_be_narrow_dumb_or_without_colors() {
    let sandbox = sandbox();
    let tool = || build(&sandbox, &[], DOCKERFILE);
    let (_, written) = tool().env("TERM", "xterm").env("NO_COLOR", "1").on_terminal(100, 40).ends();
    let screen = terminal::screen(&written, 100, 40);
    assert!(
        screen.contains("4 steps in ")
            && !["2", "32", "36"].iter().any(|color| written.contains(&format!("\u{1b}[{color}m"))),
        "{written:?}"
    );
    for (columns, rows) in [(12, 3), (1, 1), (0, 0)] {
        let (code, _, written) = on_terminal(tool(), columns, rows);
        assert_eq!(code, 0, "{columns}: {written:?}");
    }
    let (_, written) = tool().env("TERM", "dumb").on_terminal(100, 40).ends();
    assert!(written.contains("STEP 1/2: FROM localhost/base AS one\r\n"), "{written:?}");
    assert!(!written.replace("\u{1b}[2Jbad", "").contains('\u{1b}'), "{written:?}");
    build(&sandbox, &["--progress=tty"], DOCKERFILE).fails().says(125, &["--progress tty", "no terminal"]);
}
