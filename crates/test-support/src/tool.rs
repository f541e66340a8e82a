//! A command, run and judged: `sandbox.gabion(["images"]).ok()`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::terminal::Terminal;

/// A command to be run. Its stdin is empty unless said otherwise.
pub struct Tool {
    command: Command,
    stdin: Option<Vec<u8>>,
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout, bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// What it wrote to stderr, bytes that are not UTF-8 replaced.
    pub stderr: String,
}

impl Tool {
    /// The command `program` without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Tool {
        Tool { command: Command::new(program), stdin: None }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Tool {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Tool {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Tool {
        self.command.env(name, value);
        self
    }

    /// Unsets an environment variable.
    pub fn env_remove(mut self, name: &str) -> Tool {
        self.command.env_remove(name);
        self
    }

    /// Gives the command this text on stdin. It should fit a pipe unless the command reads it all.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Tool {
        self.stdin = Some(text.into());
        self
    }

    /// Runs the command in this directory.
    pub fn in_dir(mut self, dir: impl AsRef<Path>) -> Tool {
        self.command.current_dir(dir);
        self
    }

    /// The command as it would be typed.
    pub fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    /// Starts the command on a terminal of this size.
    pub fn on_terminal(mut self, columns: u16, rows: u16) -> Terminal {
        Terminal::start(&mut self.command, columns, rows)
    }

    /// Starts the command with its output piped; the caller waits for it.
    pub fn spawn(mut self) -> Child {
        let line = self.line();
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
        if let Some(text) = self.stdin {
            // A command may end without reading what it was given.
            let _ = child.stdin.take().expect("stdin is piped").write_all(&text);
        }
        child
    }

    /// Runs the command to its end.
    pub fn run(self) -> Outcome {
        let line = self.line();
        let output = self.spawn().wait_with_output().expect("wait for a command");
        Outcome {
            line,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the command, which must succeed; gives its stdout without the space around it.
    #[track_caller]
    pub fn ok(self) -> String {
        let outcome = self.run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.stdout.trim().to_owned()
    }

    /// Runs the command, which must succeed; gives its stdout as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line();
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{line}` gave no JSON ({error}): {text}"))
    }

    /// Runs the command, which must fail by itself (not by a signal).
    #[track_caller]
    pub fn fails(self) -> Outcome {
        let outcome = self.run();
        assert!(outcome.status.code().is_some_and(|code| code != 0), "should have failed: {outcome}");
        outcome
    }
}

impl Outcome {
    /// The exit code, if the command was not ended by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts that gabion failed as it should: exit code `code`, nothing on stdout, and on stderr
    /// one `Error:` line (after any progress) that contains each of `words`, and no backtrace.
    #[track_caller]
    pub fn says(&self, code: i32, words: &[&str]) -> &Outcome {
        assert_eq!(self.code(), Some(code), "exit code: {self}");
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("Error: ")).collect();
        assert_eq!(errors.len(), 1, "one error line is expected: {self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        for word in words {
            assert!(errors.iter().all(|line| line.contains(word)), "{word:?} should be in the error: {self}");
        }
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}\n--- stdout\n{}\n--- stderr\n{}", self.line, self.status, self.stdout, self.stderr)
    }
}
