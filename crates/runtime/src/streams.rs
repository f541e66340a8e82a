//! Where a process's standard streams lead: to the caller's, through a relay, or to a terminal.

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;

use crate::relay::{self, Relays};
use crate::tail::Tail;
use crate::terminal::{self, RawMode};
use crate::{Isolation, RunOptions, Stdio};

/// The process's streams and what joins them to the caller's.
#[derive(Default)]
pub(crate) struct Streams {
    /// For the runtime; handed over once. Before `relays`, which wait for its end: dropped first.
    child: Option<[OwnedFd; 3]>,
    relays: Relays,
    /// The terminal's master side.
    pub terminal: Option<OwnedFd>,
    raw_mode: Option<RawMode>,
    /// The end of what the process writes, if that is wanted.
    tail: Option<Tail>,
}

impl Streams {
    /// Streams for a run, as far as they can be joined before it begins.
    pub fn new(options: &RunOptions) -> std::io::Result<Streams> {
        let mut streams = Streams { tail: options.keep_output_end.then(Tail::default), ..Streams::default() };
        let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
        let (stdin, stdout, stderr) = match &options.stdio {
            // It is made in the step's own tree.
            Stdio::Terminal if options.isolation == Isolation::Chroot => return Ok(streams),
            Stdio::Terminal => {
                let (master, slave) = terminal::open()?;
                streams.child = Some([slave.try_clone()?, slave.try_clone()?, slave]);
                streams.terminal = Some(master);
                streams.copy_size();
                return Ok(streams);
            }
            Stdio::Inherit => {
                (own(std::io::stdin().as_fd())?, own(std::io::stdout().as_fd())?, own(std::io::stderr().as_fd())?)
            }
            Stdio::InheritOutput => (relay::null()?, own(std::io::stdout().as_fd())?, own(std::io::stderr().as_fd())?),
            Stdio::Descriptors { stdin, stdout, stderr } => {
                (stdin.try_clone()?, stdout.try_clone()?, stderr.try_clone()?)
            }
        };
        let uid = options.process.user.uid;
        let (relays, tail) = (&mut streams.relays, streams.tail.clone());
        let is_relayed = |stream: &OwnedFd| tail.is_some() || relay::needs_relay(stream, uid);
        let input = if relay::needs_relay(&stdin, uid) { relays.input(stdin)? } else { stdin };
        let same = relay::same_file(&stdout, &stderr);
        let output = if is_relayed(&stdout) { relays.output(stdout, tail.clone())? } else { stdout };
        let errors = match is_relayed(&stderr) {
            // One pipe for both keeps the lines in order.
            true if same => output.try_clone()?,
            true => relays.output(stderr, tail)?,
            false => stderr,
        };
        streams.child = Some([input, output, errors]);
        Ok(streams)
    }

    /// Hands the process's ends to the runtime.
    pub fn give_to(&mut self, command: &mut Command) {
        if let Some([stdin, stdout, stderr]) = self.child.take() {
            command.stdin(stdin).stdout(stdout).stderr(stderr);
        }
    }

    /// The process's ends, if they are no terminal.
    pub fn take(&mut self) -> Option<[OwnedFd; 3]> {
        self.child.take()
    }

    /// Joins the terminal to the caller's streams. The runtime has its side by now.
    pub fn join_terminal(&mut self) -> std::io::Result<()> {
        let Some(master) = &self.terminal else { return Ok(()) };
        let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
        self.raw_mode = RawMode::set(stdin.try_clone()?);
        self.relays.copy_output(master.try_clone()?, stdout, self.tail.clone())?;
        // End of input is Ctrl-D to a terminal.
        self.relays.copy_input(stdin, master.try_clone()?, b"\x04")
    }

    /// Gives the process's terminal the size of the caller's.
    pub fn copy_size(&self) {
        if let Some(terminal) = &self.terminal {
            terminal::copy_size(&[&std::io::stdin(), &std::io::stdout(), &std::io::stderr()], terminal);
        }
    }

    /// Waits for all output; the process has ended. Gives the end of it, if that is wanted.
    pub fn finish(&mut self) -> Vec<String> {
        self.terminal = None;
        self.relays.finish();
        self.raw_mode = None;
        self.tail.take().map(|tail| tail.lines()).unwrap_or_default()
    }
}
