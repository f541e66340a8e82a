//! `build --debug`: a shell where a RUN has failed, and what may come after it.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use test_support::Sandbox;

const QUESTION: &str = "or [s]top? ";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn context(sandbox: &Sandbox, dockerfile: &str) -> PathBuf {
    sandbox.write("context/Dockerfile", dockerfile).parent().expect("has a parent").to_owned()
}

/// A build on a terminal, with somebody at its keys.
struct Watched {
    child: Child,
    terminal: File,
    /// What was shown and not yet waited for.
    seen: String,
}

impl Watched {
    fn build(sandbox: &Sandbox, term: &str, args: &[&str], dockerfile: &str) -> Watched {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("text");
        let user = File::options().read(true).write(true).open(&name).expect("open");
        let stream = || Stdio::from(user.try_clone().expect("clone"));
        let words = sandbox.store_command(env!("CARGO_BIN_EXE_gabion"));
        let (program, global) = words.split_first().expect("words");
        let mut command = Command::new(program);
        command.args(global).args(["build", "--network=none"]).args(args).arg(context(sandbox, dockerfile));
        command.env("TERM", term).stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.spawn().expect("spawn");
        Watched { child, terminal: File::from(master), seen: String::new() }
    }

    /// Waits until the terminal shows `text`; gives what it has shown until then.
    fn shows(&mut self, text: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let length = self.terminal.read(&mut buffer).unwrap_or_else(|_| panic!("no {text:?} in {}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("write");
    }

    fn ends(mut self) -> i32 {
        // The terminal takes what is written to it until the end.
        let mut buffer = [0; 1024];
        while self.terminal.read(&mut buffer).is_ok_and(|length| length > 0) {}
        self.child.wait().expect("wait").code().expect("a code")
    }
}

#[test]
fn root_the_shell_has_all_that_the_step_had() {
    let sandbox = sandbox();
    sandbox.write("secret", "hidden");
    let secret = format!("--secret=id=s,src={}", sandbox.path("secret").display());
    let dockerfile = "FROM localhost/base\nENV COLOR=red\nWORKDIR /w\nRUN chmod 777 /w\nUSER 1000\n\
        RUN --mount=type=secret,id=s,uid=1000 --mount=type=tmpfs,target=/m echo half > half; exit 3\n";
    for (term, args) in [("xterm", vec!["--debug"]), ("dumb", vec!["--on-failure=shell", "--layers=false"])] {
        let mut build = Watched::build(&sandbox, term, &[&args[..], &[&secret]].concat(), dockerfile);
        let told = build.shows("leave it to go on.");
        assert!(told.contains("exit code 3") && told.contains("Dockerfile:6"), "{told}");
        build.shows("$ ");
        build.types(
            "echo $COLOR-$(id -u)-$(pwd)-$(cat half)-$(cat /run/secrets/s)-$(grep -c ' /m tmpfs' /proc/mounts)\r",
        );
        build.shows("red-1000-/w-half-hidden-1");
        build.types("exit\r");
        let question = build.shows(QUESTION);
        assert_eq!(question.contains("[r]etry"), term == "xterm", "{question}");
        // The terminal is as it was.
        assert!(tcgetattr(&build.terminal).expect("attributes").local_modes.contains(LocalModes::ICANON));
        build.types("what\r");
        build.shows(QUESTION);
        build.types("s\r");
        assert_eq!(build.ends(), 3);
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
    let mut build = Watched::build(&sandbox, "dumb", &["--debug", "-t", "new"], dockerfile);
    build.shows("# ");
    build.types("exit\r");
    build.shows(QUESTION);
    build.types("r\r");
    // Once more the same.
    build.shows("leave it to go on.");
    build.shows("# ");
    build.types("cat /tries\r");
    fs::write(sandbox.path("context/go"), "yes").expect("written");
    build.types("exit\r");
    build.shows(QUESTION);
    build.types("retry\r");
    assert_eq!(build.ends(), 0);
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
        let mut build = Watched::build(&sandbox, "dumb", args, dockerfile);
        build.shows("# ");
        build.types("echo mine > /mine; exit\r");
        build.shows(QUESTION);
        build.types("k\r");
        build.shows("The working container ");
        let name = build.shows(" is kept.").trim_end_matches(" is kept.").to_owned();
        assert_eq!(build.ends(), 4);
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
    let mut build = Watched::build(&sandbox, "dumb", &["--debug"], dockerfile);
    build.shows("the image has no shell: there is no /bin/sh");
    build.shows(QUESTION);
    // The end of input.
    build.types("\u{4}");
    assert_eq!(build.ends(), 1);
    // Nobody could be asked.
    let context = context(&sandbox, dockerfile);
    for flag in ["--debug", "--on-failure=shell"] {
        let refused = sandbox.gabion(["build", flag]).arg(&context).fails();
        refused.says(125, &[flag, "terminal"]);
        assert!(!refused.stdout.contains("STEP"), "{refused}");
    }
    sandbox.gabion(["build", "--debug", "--jobs=2"]).arg(&context).fails().says(125, &["--debug", "--jobs"]);
}
