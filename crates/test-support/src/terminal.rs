//! A command on a terminal, with somebody at its keys.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A running command, and the terminal that it reads from and writes to.
pub struct Terminal {
    child: Child,
    keys: File,
    /// What was shown and not yet waited for.
    seen: String,
}

impl Terminal {
    /// Starts `command` on a new terminal of this size.
    pub(crate) fn start(command: &mut Command, columns: u16, rows: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("text");
        let keys = File::from(master);
        set_size(&keys, columns, rows);
        let user = File::options().read(true).write(true).open(&name).expect("open a terminal");
        let stream = || Stdio::from(user.try_clone().expect("clone a terminal"));
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("start a command");
        // The command alone holds the terminal from now on: it ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Terminal { child, keys, seen: String::new() }
    }

    /// Waits until the terminal shows `text`; gives what it has shown until then.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let length = self.keys.read(&mut buffer).unwrap_or_else(|_| panic!("no {text:?} in {}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// Types `text`.
    pub fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("type on a terminal");
    }

    /// Gives the terminal another size, and the command the signal that says so.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.keys, columns, rows);
        kill_process(Pid::from_child(&self.child), Signal::WINCH).expect("send a signal");
    }

    /// Whether keys reach the command one by one, as they are.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.keys).expect("read a terminal's settings").local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the command's end, at which the terminal must be as it was; gives its exit code, and all that was shown since [`Terminal::shows`].
    pub fn ends(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        let mut buffer = [0; 1024];
        // Reading from a terminal that nobody holds is an error.
        while let Ok(length @ 1..) = self.keys.read(&mut buffer) {
            rest.extend_from_slice(&buffer[..length]);
        }
        assert!(!self.is_raw(), "the terminal is as it was");
        let code = self.child.wait().expect("wait for a command").code().expect("an exit code");
        (code, self.seen + &String::from_utf8_lossy(&rest))
    }
}

fn set_size(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("set a terminal's size");
}

/// The lines that a terminal of this size shows once `written` is on it, those that were scrolled off
/// before them.
pub fn screen(written: &str, columns: u16, rows: u16) -> String {
    let at_least_one = |number| NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
    let mut terminal = vt100::Parser::new(at_least_one(rows), at_least_one(columns), 1000);
    terminal.process(written.as_bytes());
    terminal.screen_mut().set_scrollback(1000);
    let above = terminal.screen().scrollback();
    let mut lines: Vec<String> = Vec::new();
    for offset in (0..=above).rev() {
        terminal.screen_mut().set_scrollback(offset);
        let screen: Vec<String> = terminal.screen().rows(0, columns).collect();
        match offset {
            0 => lines.extend(screen),
            _ => lines.extend(screen.into_iter().next()),
        }
    }
    lines.join("\n")
}
