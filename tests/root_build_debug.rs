//! `build --debug`: a shell where a RUN has failed, and what may come after it.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use test_support::{Sandbox, Terminal};

const QUESTION: &str = "or [s]top? ";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn context(sandbox: &Sandbox, dockerfile: &str) -> PathBuf {
    sandbox.write("context/Dockerfile", dockerfile).parent().expect("has a parent").to_owned()
}

/// A build on a terminal.
fn build(sandbox: &Sandbox, term: &str, args: &[&str], dockerfile: &str) -> Terminal {
    let tool = sandbox.gabion(["build", "--network=none"]).args(args).arg(context(sandbox, dockerfile));
    tool.env("TERM", term).on_terminal(80, 24)
}

#[test]
fn root_the_shell_has_all_that_the_step_had() {
    let sandbox = sandbox();
    sandbox.write("secret", "hidden");
    let secret = format!("--secret=id=s,src={}", sandbox.path("secret").display());
    let dockerfile = "FROM localhost/base\nENV COLOR=red\nWORKDIR /w\nRUN chmod 777 /w\nUSER 1000\n\
        RUN --mount=type=secret,id=s,uid=1000 --mount=type=tmpfs,target=/m echo half > half; exit 3\n";
    for (term, args) in [("xterm", vec!["--debug"]), ("dumb", vec!["--on-failure=shell", "--layers=false"])] {
        let mut terminal = build(&sandbox, term, &[&args[..], &[&secret]].concat(), dockerfile);
        let told = terminal.shows("leave it to go on.");
        assert!(told.contains("exit code 3") && told.contains("Dockerfile:6"), "{told}");
        terminal.shows("$ ");
        terminal.types(
            "echo $COLOR-$(id -u)-$(pwd)-$(cat half)-$(cat /run/secrets/s)-$(grep -c ' /m tmpfs' /proc/mounts)\r",
        );
        terminal.shows("red-1000-/w-half-hidden-1");
        terminal.types("exit\r");
        let question = terminal.shows(QUESTION);
        assert_eq!(question.contains("[r]etry"), term == "xterm", "{question}");
        // The terminal is as it was.
        assert!(!terminal.is_raw());
        terminal.types("what\r");
        terminal.shows(QUESTION);
        terminal.types("s\r");
        assert_eq!(terminal.ends().0, 3);
        assert_eq!(sandbox.gabion(["containers", "--quiet"]).ok(), "");
    }
}

#[test]
fn root_a_retried_step_begins_anew_with_what_there_is_now() {
    let sandbox = sandbox();
    sandbox.write("context/go", "no");
    let dockerfile = "FROM localhost/base AS one\n\
        RUN --mount=type=bind,source=go,target=/go echo x >> /tries; grep yes /go\n\
        FROM one\nRUN echo more >> /tries\n";
    let mut terminal = build(&sandbox, "dumb", &["--debug", "-t", "new"], dockerfile);
    terminal.shows("# ");
    terminal.types("exit\r");
    terminal.shows(QUESTION);
    terminal.types("r\r");
    // Once more the same.
    terminal.shows("leave it to go on.");
    terminal.shows("# ");
    terminal.types("cat /tries\r");
    fs::write(sandbox.path("context/go"), "yes").expect("written");
    terminal.types("exit\r");
    terminal.shows(QUESTION);
    terminal.types("retry\r");
    assert_eq!(terminal.ends().0, 0);
    let container = sandbox.gabion(["from", "new"]).ok();
    assert_eq!(sandbox.gabion(["run", &container, "cat", "/tries"]).ok(), "x\nmore");
    // The result counts for the file that it was made with, and for no other.
    let again = || {
        let context = context(&sandbox, dockerfile);
        sandbox.gabion(["build", "--network=none"]).arg(context).run()
    };
    let cached = again();
    assert!(cached.status.success() && cached.stdout.matches("Using cache").count() == 2, "{cached}");
    fs::write(sandbox.path("context/go"), "no").expect("written");
    assert_eq!(again().code(), Some(1));
}

#[test]
fn root_a_kept_container_has_the_files() {
    let sandbox = sandbox();
    let dockerfile = "FROM localhost/base AS other\nRUN echo other > /other\nFROM localhost/base\nRUN echo before > /before\n\
        COPY --from=other /other /other\n\
        RUN echo half > /half; exit 4\n";
    for args in [&["--debug"][..], &["--debug", "--layers=false"]] {
        let mut terminal = build(&sandbox, "dumb", args, dockerfile);
        terminal.shows("# ");
        terminal.types("echo mine > /mine; exit\r");
        terminal.shows(QUESTION);
        terminal.types("k\r");
        terminal.shows("The working container ");
        let name = terminal.shows(" is kept.").trim_end_matches(" is kept.").to_owned();
        assert_eq!(terminal.ends().0, 4);
        let kept = sandbox.gabion(["run", &name, "cat", "/before", "/other", "/half", "/mine"]).ok();
        assert_eq!(kept, "before\nother\nhalf\nmine");
        assert_eq!(sandbox.gabion(["containers", "--quiet"]).ok().lines().count(), 1);
        sandbox.gabion(["rm", &name]).ok();
    }
}

#[test]
fn root_where_no_shell_can_be_the_choice_is_left() {
    let sandbox = sandbox();
    let dockerfile = "FROM localhost/base AS one\nFROM scratch\nCOPY --from=one /bin/busybox /busybox\n\
        RUN [\"/busybox\", \"false\"]\n";
    let mut terminal = build(&sandbox, "dumb", &["--debug"], dockerfile);
    terminal.shows("the image has no shell: there is no /bin/sh");
    terminal.shows(QUESTION);
    // The end of input.
    terminal.types("\u{4}");
    assert_eq!(terminal.ends().0, 1);
    // Nobody could be asked.
    let context = context(&sandbox, dockerfile);
    for flag in ["--debug", "--on-failure=shell"] {
        let refused = sandbox.gabion(["build", flag]).arg(&context).fails();
        refused.says(125, &[flag, "terminal"]);
        assert!(!refused.stdout.contains("STEP"), "{refused}");
    }
    sandbox.gabion(["build", "--debug", "--jobs=2"]).arg(&context).fails().says(125, &["--debug", "--jobs"]);
}
