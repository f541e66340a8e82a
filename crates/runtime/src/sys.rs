//! The unsafe part: what happens between fork and exec, and signal handlers.

mod step; // processes of a step without an OCI runtime

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::MountFlags;
use rustix::process::Signal as DeathSignal;

pub(crate) use step::{
    Keeper, LateMount, LateSource, Program, Rights, Stage, StepProcess, attributes, set_mount_attributes,
    start_loopback,
};

/// Prepares `command` for being the first process of a PID namespace that its thread has just
/// unshared: it is sent `death` when that thread dies, sees `/proc` of its own namespace, and gets no
/// descriptor of the caller beyond standard input, output and error.
///
/// The thread must have a mount namespace of its own, which is what `/proc` is mounted in.
/// `alive` is the reading end of a pipe whose writing end, `lifeline`, only the caller holds.
pub fn prepare_child(command: &mut Command, alive: OwnedFd, lifeline: BorrowedFd<'_>, death: DeathSignal) {
    let lifeline = lifeline.as_raw_fd();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(death))?;
        // The caller may have died before the line above: then nobody holds the pipe open.
        // SAFETY: the descriptor is this process's own copy; nothing else here uses it.
        unsafe { rustix::io::close(lifeline) };
        let mut ends = [PollFd::new(&alive, PollFlags::empty())];
        if poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? != 0 {
            return Err(rustix::io::Errno::PIPE.into());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None)?;
        // SAFETY: plain numbers; it only marks descriptors. Without the call (before Linux 5.11)
        // the marks that every descriptor of ours has anyway must do.
        unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe { command.pre_exec(prepare) };
}

/// Has what `command` starts killed when the thread that starts it ends, whatever ends it.
pub fn die_with_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(DeathSignal::KILL))?;
        // The caller may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe { command.pre_exec(prepare) };
}

/// Descriptors that the handler writes signal numbers to; -1 is a free place.
static LISTENERS: [AtomicI32; 16] = [const { AtomicI32::new(-1) }; 16];

/// How many listen, and what the signals did before the first one came.
static INSTALLED: Mutex<(usize, Vec<(Signal, SigAction)>)> = Mutex::new((0, Vec::new()));

/// While it lives, each of some signals to this process is written to a descriptor, as one byte,
/// instead of doing what it did. The last one dropped restores what was.
#[derive(Debug)]
pub struct Listener {
    place: usize,
    _writer: OwnedFd,
}

extern "C" fn on_signal(number: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    for listener in &LISTENERS {
        let fd = listener.load(Ordering::Acquire);
        if fd >= 0 {
            let byte = number as u8;
            // SAFETY: write is async-signal-safe; the byte lives on this stack. The descriptor is
            // open and does not block: a place is freed before its descriptor is closed.
            unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
        }
    }
    nix::errno::Errno::set_raw(errno);
}

impl Listener {
    /// Begins to listen. A signal that is ignored (as `nohup` makes SIGHUP) stays ignored.
    /// `writer` must not block. Fails when 16 listen already.
    pub fn new(signals: &[Signal], writer: OwnedFd) -> std::io::Result<Listener> {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let fd = writer.as_raw_fd();
        let place = LISTENERS
            .iter()
            .position(|place| place.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed).is_ok())
            .ok_or_else(|| std::io::Error::other("too many processes are run at once"))?;
        if installed.0 == 0 {
            let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
            for &signal in signals {
                // SAFETY: the handler only loads atomics and writes to descriptors.
                if let Ok(previous) = unsafe { sigaction(signal, &action) } {
                    if matches!(previous.handler(), SigHandler::SigIgn) {
                        // SAFETY: what was there before is put back.
                        let _ = unsafe { sigaction(signal, &previous) };
                    } else {
                        installed.1.push((signal, previous));
                    }
                }
            }
        }
        installed.0 += 1;
        Ok(Listener { place, _writer: writer })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(place) = LISTENERS.get(self.place) {
            place.store(-1, Ordering::Release);
        }
        installed.0 = installed.0.saturating_sub(1);
        if installed.0 == 0 {
            for (signal, previous) in installed.1.drain(..) {
                // SAFETY: what was there before is put back.
                let _ = unsafe { sigaction(signal, &previous) };
            }
        }
    }
}
