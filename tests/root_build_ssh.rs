//! Git repositories over SSH, as sources of ADD and as contexts: a real server on a loopback port, with keys and known
//! hosts made here.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use test_support::{Outcome, Sandbox, Tool, store_check};

/// A server of the repository `app.git`, until the test ends.
struct Server {
    sandbox: Sandbox,
    daemon: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn keygen(path: &Path) {
    Tool::new("ssh-keygen").args(["-q", "-N", "", "-C", "a key", "-t", "ed25519", "-f"]).arg(path).ok();
}

impl Server {
    fn start() -> Server {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        let repo = sandbox.path("app.git");
        fs::create_dir_all(repo.join("sub")).expect("mkdir");
        let git = |args: &[&str]| {
            let config = ["-c", "user.name=a", "-c", "user.email=a@b"];
            Tool::new("git").args(config).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").in_dir(&repo).ok();
        };
        git(&["init", "-q", "-b", "main"]);
        fs::write(repo.join("f"), "first").expect("write");
        fs::write(repo.join("sub/Dockerfile"), "FROM localhost/base\nCOPY g /g\n").expect("write");
        fs::write(repo.join("sub/g"), "of a context").expect("write");
        git(&["add", "-A"]);
        git(&["commit", "-qm", "one"]);
        git(&["tag", "v1"]);
        fs::write(repo.join("f"), "second").expect("write");
        git(&["commit", "-qam", "two"]);
        for name in ["host", "other-host", "key", "other-key"] {
            keygen(&sandbox.path(name));
        }
        let path = |name: &str| sandbox.path(name).display().to_string();
        // What an installed service has made already.
        fs::create_dir_all("/run/sshd").expect("mkdir");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("bind").port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             SetEnv PATH={} GIT_CONFIG_GLOBAL=/dev/null\n",
            path("host"),
            path("key.pub"),
            std::env::var("PATH").expect("PATH"),
        );
        sandbox.write("sshd_config", config);
        let daemon = Command::new("/usr/sbin/sshd")
            .args(["-D", "-q", "-f"])
            .arg(sandbox.path("sshd_config"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd");
        let server = Server { sandbox, daemon, port };
        // It listens soon, or never.
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(std::time::Instant::now() < give_up, "sshd does not listen");
            std::thread::yield_now();
        }
        server.knows("host");
        server
    }

    /// Makes a key the one that the user knows the server by.
    fn knows(&self, key: &str) {
        let public = fs::read_to_string(self.sandbox.path(format!("{key}.pub"))).expect("key");
        self.sandbox.write("home/.ssh/known_hosts", format!("[127.0.0.1]:{} {public}", self.port));
    }

    fn url(&self, rest: &str) -> String {
        format!("ssh://root@127.0.0.1:{}{}/app.git{rest}", self.port, self.sandbox.dir().display())
    }

    fn build(&self, args: &[&str], context: &str) -> Outcome {
        self.gabion(args, context).run()
    }

    fn gabion(&self, args: &[&str], context: &str) -> Tool {
        let home = self.sandbox.path("home");
        let build = self.sandbox.gabion(["build", "--no-cache", "--network=none", "-t", "built"]).args(args);
        build.arg(context).env("HOME", home).env_remove("SSH_AUTH_SOCK")
    }

    /// Builds a Dockerfile that adds this source to `/x`.
    fn add(&self, args: &[&str], source: &str) -> Outcome {
        self.sandbox.write("context/Dockerfile", format!("FROM localhost/base\nADD {source} /x\n"));
        self.build(args, &self.sandbox.path("context").display().to_string())
    }

    fn key(&self, name: &str) -> String {
        format!("--ssh=default={}", self.sandbox.path(name).display())
    }

    fn built(&self, path: &str) -> String {
        let container = self.sandbox.gabion(["from", "built"]).ok();
        let root = PathBuf::from(self.sandbox.gabion(["mount", &container]).ok());
        let text = fs::read_to_string(root.join(path)).unwrap_or_else(|error| format!("{path}: {error}"));
        self.sandbox.gabion(["rm", &container]).ok();
        text
    }
}

#[track_caller]
fn went_well(outcome: &Outcome) {
    assert!(outcome.status.success(), "{outcome}");
}

#[test]
fn root_git_over_ssh_is_a_source_and_a_context() {
    let server = Server::start();
    let key = server.key("key");
    went_well(&server.add(&[&key], &server.url("#v1")));
    assert_eq!(server.built("x/f"), "first");
    went_well(&server.add(&[&key], &server.url("#main:sub")));
    assert_eq!(server.built("x/g"), "of a context");
    went_well(&server.build(&[&key], &server.url("#v1:sub")));
    assert_eq!(server.built("g"), "of a context");
    server.sandbox.write("context/Dockerfile", "FROM localhost/base\nCOPY --from=app f /f\n");
    let context = server.sandbox.path("context").display().to_string();
    went_well(&server.build(&[&key, "--build-context", &format!("app={}", server.url(""))], &context));
    assert_eq!(server.built("f"), "second");
    // As scp has it, which leaves no room for the port; and an agent of the user's.
    let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -p {} \"$@\"\n", server.port);
    let ssh = server.sandbox.write("bin/ssh", ssh);
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("chmod");
    let path = format!("{}:{}", server.sandbox.path("bin").display(), std::env::var("PATH").expect("PATH"));
    let socket = server.sandbox.path("agent").display().to_string();
    let mut agent = Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::null()).spawn().expect("agent");
    let add = || Tool::new("ssh-add").arg("-q").arg(server.sandbox.path("key")).env("SSH_AUTH_SOCK", &socket).run();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !add().status.success() {
        assert!(std::time::Instant::now() < give_up, "no agent");
    }
    let repository = format!("root@127.0.0.1:{}/app.git#v1:sub", server.sandbox.dir().display());
    let outcomes = [&["--ssh=default"][..], &[]]
        .map(|args| server.gabion(args, &repository).env("PATH", &path).env("SSH_AUTH_SOCK", &socket).run());
    agent.kill().and_then(|()| agent.wait()).expect("agent");
    outcomes.iter().for_each(went_well);
    assert_eq!(server.built("g"), "of a context");
    store_check::assert_sound(&server.sandbox);
}

#[test]
fn root_git_over_ssh_trusts_known_hosts_and_given_keys_only() {
    let server = Server::start();
    let key = server.key("key");
    let (source, place) = (server.url(""), format!("[127.0.0.1]:{}", server.port));
    let context = server.url("#:sub");
    let unknown = format!(
        "the host {place} is not in known_hosts: add what `ssh-keyscan -p {} 127.0.0.1` shows, if it is the right key",
        server.port
    );
    let refused = |args: &[&str], words: &[&str]| {
        for outcome in [server.add(args, &source), server.build(args, &context)] {
            outcome.says(125, words);
            assert!(!outcome.stderr.contains("PRIVATE"), "{outcome}");
        }
    };
    // A key that nobody gives, and one that the server does not take.
    refused(&[], &["Permission denied (publickey)", "--ssh default=KEY"]);
    refused(&[&server.key("other-key")], &["Permission denied (publickey)"]);
    // That the user has the right one in a file is no reason to use it.
    fs::copy(server.sandbox.path("key"), server.sandbox.path("home/.ssh/id_ed25519")).expect("copy");
    refused(&[], &["Permission denied (publickey)"]);
    server.knows("other-host");
    refused(&[&key], &[&format!("the host key of {place} is not the one in known_hosts")]);
    fs::remove_file(server.sandbox.path("home/.ssh/known_hosts")).expect("remove");
    refused(&[&key], &[&unknown]);
    assert!(!server.sandbox.path("home/.ssh/known_hosts").exists(), "a host became known by itself");
    // Nothing of it stays: neither the repository nor the agent, nor a key in an image.
    server.knows("host");
    went_well(&server.add(&[&key], &source));
    let secret = fs::read_to_string(server.sandbox.path("key")).expect("key");
    let line = secret.lines().nth(2).expect("a line");
    let found = server.sandbox.any("grep").args(["-rlF", line]).arg(server.sandbox.graph_root()).run();
    assert_eq!(found.stdout, "");
    let left = server.sandbox.any("find").arg(server.sandbox.graph_root()).args(["-name", "temp-dir-*"]).ok();
    assert_eq!(left, "");
}
