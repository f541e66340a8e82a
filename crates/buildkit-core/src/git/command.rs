//! The git program, held tight.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{GitError, GitOptions, GitSource};

/// Bytes of git's output that are kept.
const LONGEST_OUTPUT: u64 = 1 << 20;
/// Time between looks at whether git is done.
const POLL: Duration = Duration::from_millis(10);
/// Where programs are looked up unless told.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a repository may be reached by; git applies it to submodules and redirects too.
const PROTOCOLS: &str = "git:http:https:ssh";
/// Settings beside git's own defaults.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",
    "protocol.ext.allow=never",
    "protocol.file.allow=never",
    "credential.helper=",
    "gc.auto=0",
    "submodule.fetchJobs=1",
];

/// No configuration and no keys of the user's, only what the agent offers; and no question is
/// asked, neither for a passphrase nor about a host that is not known.
const SSH: &str = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o ForwardAgent=no -o UpdateHostKeys=no \
    -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=\"\\\"$HOME/known_hosts\\\"\"";

/// Git in one directory, for one repository.
pub(super) struct Git<'a> {
    pub source: &'a GitSource,
    pub options: &'a GitOptions,
    /// Where it works.
    pub dir: &'a Path,
    /// An empty directory that it takes for the user's.
    pub home: &'a Path,
}

impl Git<'_> {
    /// Runs git; gives what it printed.
    pub fn run(&self, doing: &'static str, args: &[&str]) -> Result<String, GitError> {
        let failed = |reason: String| GitError::Failed { doing, remote: self.source.shown(), reason };
        let mut command = self.command(args);
        runtime::die_with_thread(&mut command);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::Missing { remote: self.source.shown() },
            _ => failed(error.to_string()),
        })?;
        let mut running = Running(child);
        let stdout = reader(running.0.stdout.take());
        let stderr = reader(running.0.stderr.take());
        let status = loop {
            if let Some(status) = running.0.try_wait().map_err(|error| failed(error.to_string()))? {
                break status;
            }
            if self.options.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
                return Err(GitError::Interrupted);
            }
            thread::sleep(POLL);
        };
        let collect = |thread: thread::JoinHandle<Vec<u8>>| {
            thread.join().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        if status.success() { Ok(stdout) } else { Err(failed(self.explain(&stderr, status))) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .args(args)
            .current_dir(self.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .env("PATH", self.options.search_path.as_deref().unwrap_or(USUAL_PATH))
            .env("HOME", self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CEILING_DIRECTORIES", self.home)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_SSH_COMMAND", SSH);
        for variable in &self.options.proxies {
            if let Some((name, value)) = variable.split_once('=') {
                command.env(name, value);
            }
        }
        if let Some(socket) = &self.options.ssh_auth_sock {
            command.env("SSH_AUTH_SOCK", socket);
        }
        if let (Some(value), Some((scheme, host))) = (&self.options.authorization, self.source.http_origin()) {
            // By the environment, as arguments are for everybody to see. Git would send the header
            // to wherever a redirect leads, so none is followed.
            command
                .env("GIT_CONFIG_COUNT", "2")
                .env("GIT_CONFIG_KEY_0", format!("http.{scheme}://{host}/.extraHeader"))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {value}"))
                .env("GIT_CONFIG_KEY_1", "http.followRedirects")
                .env("GIT_CONFIG_VALUE_1", "false");
        }
        command
    }

    /// What git says went wrong, in a line and without the address's password.
    fn explain(&self, stderr: &str, status: ExitStatus) -> String {
        if let Some(reason) = ssh_reason(stderr) {
            return printable(&reason);
        }
        let telling = |line: &&str| line.starts_with("fatal:") || line.starts_with("error:");
        let mut lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.iter().any(telling) {
            lines.retain(telling);
        }
        let text = lines.last().map_or_else(|| format!("git ended with {status}"), |line| (*line).to_owned());
        let text = text.trim_start_matches("fatal: ").trim_start_matches("error: ");
        let text = text.replace(&self.source.remote, &self.source.shown());
        printable(&text)
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// What SSH says went wrong; git says only that something did.
fn ssh_reason(stderr: &str) -> Option<String> {
    let between = |line: &str, before: &str, behind: &str| {
        let (_, rest) = line.split_once(before)?;
        Some(rest.split_once(behind)?.0.to_owned())
    };
    let of_host = |before: &str, behind: &str| stderr.lines().find_map(|line| between(line, before, behind));
    if let Some(host) = of_host("Host key for ", " has changed") {
        return Some(format!("the host key of {host} is not the one in known_hosts: somebody may be in between"));
    }
    if let Some(host) = of_host("host key is known for ", " and you have requested") {
        let keyscan = match host.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((name, port)) => format!("ssh-keyscan -p {port} {name}"),
            None => format!("ssh-keyscan {host}"),
        };
        return Some(format!(
            "the host {host} is not in known_hosts: add what `{keyscan}` shows, if it is the right key"
        ));
    }
    let line = |is: &dyn Fn(&str) -> bool| stderr.lines().map(str::trim).find(|line| is(line)).map(str::to_owned);
    if let Some(line) = line(&|line| line.contains(": Permission denied (")) {
        return Some(format!("{} (--ssh default=KEY gives a key)", line.trim_end_matches('.')));
    }
    line(&|line| line.starts_with("ssh: ") && !line.starts_with("ssh: warning"))
}

/// Collects what a stream brings, the first part of it if it is long.
fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(stream) = stream {
            let mut limited = stream.take(LONGEST_OUTPUT);
            // An error ends it as the end does: git's exit status says whether all went well.
            let _ = limited.read_to_end(&mut kept);
            let _ = io::copy(&mut limited.into_inner(), &mut io::sink());
        }
        kept
    })
}

/// A running git; it and all it started end with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.0.try_wait(), i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ssh_reason;

    #[test]
    fn pure_what_ssh_says_is_told() {
        for (stderr, expected) in [
            (
                "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\n\
                 Host key verification failed.\r\nfatal: Could not read from remote repository.\n",
                "the host [127.0.0.1]:2222 is not in known_hosts: add what `ssh-keyscan -p 2222 127.0.0.1` shows, if it \
                 is the right key",
            ),
            (
                "No RSA host key is known for host and you have requested strict checking.",
                "the host host is not in known_hosts: add what `ssh-keyscan host` shows, if it is the right key",
            ),
            (
                "@@@\nHost key for [h]:1 has changed and you have requested strict checking.\nfatal: x",
                "the host key of [h]:1 is not the one in known_hosts: somebody may be in between",
            ),
            (
                "git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.",
                "git@h: Permission denied (publickey) (--ssh default=KEY gives a key)",
            ),
            (
                "ssh: connect to host h port 22: Connection refused\r\nfatal: Could not read from remote repository.",
                "ssh: connect to host h port 22: Connection refused",
            ),
        ] {
            assert_eq!(ssh_reason(stderr).as_deref(), Some(expected));
        }
        assert_eq!(ssh_reason("fatal: repository 'x' not found"), None);
    }
}
