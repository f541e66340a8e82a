//! Signals to gabion while a process runs: passed on, or the process is killed.
//!
//! The process is the first one of its PID namespace, and to that one the kernel delivers only
//! signals it has a handler for. So a signal that would end an ordinary process and finds no
//! handler is turned into SIGKILL; with a handler, the process decides, and a second signal kills.
//!
//! A common handler cleans up, takes itself away and raises the signal again; shells do so with
//! SIGINT even without a trap, once their child has died of it. To a first process that does
//! nothing, and a shell would go on with the next command. So the process is traced from the
//! signal on: then the kernel asks here first, and the answer is SIGKILL. As a terminal would, the
//! signal also goes to the children, but for SIGTERM.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd;
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal as Raw, kill_process};

use crate::sys::Listener;

/// Signals that are passed on.
const FORWARDED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// Receives signals for a running process.
#[derive(Debug)]
pub(crate) struct Signals {
    reader: OwnedFd,
    _listener: Listener,
    /// Last signal that asked the process to end.
    asked_to_end: Option<i32>,
    /// The process that is to be sent a signal it handles, and that is traced since.
    traced: Option<unistd::Pid>,
    /// The signal, until the process has been stopped and sent it.
    to_send: Option<Signal>,
}

/// How often a traced process is attended to.
pub(crate) const WATCH_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// What a batch of signals asks for beside what has been done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Nothing more.
    Nothing,
    /// The terminal has another size.
    Resize,
}

impl Signals {
    /// Begins to receive.
    pub fn listen() -> std::io::Result<Signals> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Signals {
            reader,
            _listener: Listener::new(&FORWARDED, writer)?,
            asked_to_end: None,
            traced: None,
            to_send: None,
        })
    }

    /// What to poll for reading.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Signal that asked the process to end, if one did.
    pub fn asked_to_end(&self) -> Option<i32> {
        self.asked_to_end
    }

    /// Passes on what has come to the process whose runtime is `runtime`. Without `own_processes` it
    /// is no first process of a PID namespace: the signal does to it what it does to any.
    pub fn pass_on(&mut self, runtime: Pid, own_processes: bool) -> Request {
        let mut request = Request::Nothing;
        let mut byte = [0u8; 1];
        while rustix::io::read(&self.reader, &mut byte) == Ok(1) {
            let Ok(signal) = Signal::try_from(i32::from(byte[0])) else { continue };
            match signal {
                Signal::SIGWINCH => request = Request::Resize,
                Signal::SIGUSR1 | Signal::SIGUSR2 => {
                    if let Some(process) = first_process(runtime).filter(|process| process.handles(signal)) {
                        send(process.pid, signal);
                    }
                }
                _ => {
                    let again = self.asked_to_end.replace(signal as i32).is_some();
                    match first_process(runtime).filter(|process| process.is_running_step(own_processes)) {
                        Some(process) if !own_processes && !again => send(process.pid, signal),
                        Some(process) if process.handles(signal) && !again && self.trace(process.pid) => {
                            self.to_send = Some(signal);
                        }
                        Some(process) => send(process.pid, Signal::SIGKILL),
                        // Not begun: ending the runtime ends its whole PID namespace.
                        None => send(runtime, Signal::SIGKILL),
                    }
                }
            }
        }
        request
    }

    /// Begins to trace, stopping the process; false where that is not allowed.
    fn trace(&mut self, pid: Pid) -> bool {
        let pid = unistd::Pid::from_raw(pid.as_raw_nonzero().get());
        let seized = ptrace::seize(pid, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(pid)).is_ok();
        self.traced = Some(pid).filter(|_| seized);
        seized
    }

    /// Sends what is to be sent. The process is stopped: it makes no child that would be missed.
    fn send_to_stopped(&mut self, pid: unistd::Pid) {
        let Some(signal) = self.to_send.take() else { return };
        let children = if signal == Signal::SIGTERM { Vec::new() } else { children_of(pid) };
        for pid in children.into_iter().chain([pid]) {
            let _ = nix::sys::signal::kill(pid, signal);
        }
    }

    /// Attends to the traced process: hands on what it is sent, kills it for a signal that would
    /// end it. False when there is none, or no more. To be called by the thread that traces.
    pub fn attend(&mut self) -> bool {
        let Some(pid) = self.traced else { return false };
        loop {
            let handed_on = match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(WaitStatus::Stopped(_, signal))
                    if ends(signal) && !caught(pid).is_some_and(|caught| handles(caught, signal)) =>
                {
                    Signal::SIGKILL.into()
                }
                Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                Ok(WaitStatus::PtraceEvent(..)) => {
                    self.send_to_stopped(pid);
                    None
                }
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => {
                    self.traced = None;
                    return false;
                }
                Ok(_) => None,
            };
            match handed_on {
                Some(Signal::SIGKILL) => drop(nix::sys::signal::kill(pid, Signal::SIGKILL)),
                signal => drop(ptrace::cont(pid, signal)),
            }
        }
    }
}

/// Whether a signal ends a process that has no handler for it.
fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)
}

fn send(pid: Pid, signal: Signal) {
    if let Some(raw) = Raw::from_named_raw(signal as i32) {
        // Gone already is as good.
        let _: Result<(), Errno> = kill_process(pid, raw);
    }
}

/// The first process of the container.
struct FirstProcess {
    pid: Pid,
    /// Signals it has a handler for, one bit each, from SIGHUP on.
    caught: u64,
    /// Whether it is the first of its PID namespace.
    is_first: bool,
    /// Whether it is still the runtime's preparation.
    is_preparing: bool,
}

impl FirstProcess {
    /// Whether it is the step's command.
    fn is_running_step(&self, own_processes: bool) -> bool {
        !self.is_preparing && (self.is_first || !own_processes)
    }

    fn handles(&self, signal: Signal) -> bool {
        handles(self.caught, signal)
    }
}

fn handles(caught: u64, signal: Signal) -> bool {
    caught >> (signal as i32 - 1) & 1 == 1
}

/// Signals that a process has a handler for.
fn caught(pid: unistd::Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(field.trim(), 16).ok()
}

/// All other processes of the PID namespace that `first` is the first one of.
fn children_of(first: unistd::Pid) -> Vec<unistd::Pid> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(first.as_raw()) else { return Vec::new() };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inside = pids.filter(|pid| *pid != first.as_raw() && namespace(*pid).as_ref() == Some(&own));
    inside.map(unistd::Pid::from_raw).collect()
}

/// Finds the child of the runtime that is to become, or is, the step.
fn first_process(runtime: Pid) -> Option<FirstProcess> {
    let parent = runtime.as_raw_nonzero().get().to_string();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
        if field("PPid")? != parent {
            return None;
        }
        let caught = u64::from_str_radix(field("SigCgt")?, 16).ok()?;
        // The first of its PID namespace, one below the runtime's.
        let is_first = field("NSpid")?.split_whitespace().next_back()? == "1";
        let name = field("Name")?;
        let is_preparing =
            name.starts_with("runc:[") || name.starts_with("gabion:[") || name == "runc" || name == "crun";
        Some(FirstProcess { pid: Pid::from_raw(pid)?, caught, is_first, is_preparing })
    })
}
