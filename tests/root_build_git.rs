//! ADD of git repositories, served by `git daemon` on a loopback port.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use test_support::{Outcome, Sandbox, Tool, store_check};

/// Repositories below a directory, served until the test ends.
struct Server {
    sandbox: Sandbox,
    daemon: Child,
    port: u16,
    commits: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The daemon that listens is a child of the one that was started.
        let _ = kill_process_group(Pid::from_child(&self.daemon), Signal::KILL);
        let _ = self.daemon.wait();
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let config = ["-c", "protocol.file.allow=always", "-c", "user.name=a", "-c", "user.email=a@b"];
    Tool::new("git").args(config).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").in_dir(dir).ok()
}

impl Server {
    fn start() -> Server {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        let repos = sandbox.path("repos");
        let repo = repos.join("app.git");
        fs::create_dir_all(&repo).expect("mkdir");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("bind").port();
        git(&repo, &["init", "-q", "-b", "main"]);
        let mut commits = Vec::new();
        let mut commit = |message: &str| {
            git(&repo, &["add", "-A"]);
            git(&repo, &["commit", "-qm", message]);
            commits.push(git(&repo, &["rev-parse", "HEAD"]));
        };
        fs::write(repo.join("f"), "first").expect("write");
        fs::create_dir_all(repo.join("dir/sub")).expect("mkdir");
        fs::write(repo.join("dir/sub/run.sh"), "#!/bin/sh\n").expect("write");
        Tool::new("chmod").args(["777"]).arg(repo.join("dir/sub/run.sh")).ok();
        symlink("/etc", repo.join("out")).expect("symlink");
        symlink("dir", repo.join("lnk")).expect("symlink");
        commit("one");
        git(&repo, &["tag", "-am", "v1", "v1"]);
        git(&repo, &["branch", "old"]);
        fs::write(repo.join("f"), "second").expect("write");
        fs::write(repo.join(".gitattributes"), "f filter=evil\n").expect("write");
        commit("two");
        let module = repos.join("module.git");
        fs::create_dir_all(&module).expect("mkdir");
        git(&module, &["init", "-q", "-b", "main"]);
        fs::write(module.join("m"), "module").expect("write");
        git(&module, &["add", "-A"]);
        git(&module, &["commit", "-qm", "m"]);
        git(&repo, &["checkout", "-qb", "with-module"]);
        git(&repo, &["submodule", "--quiet", "add", module.to_str().expect("text"), "mod"]);
        // By the path of the host.
        git(&repo, &["commit", "-qam", "by path"]);
        git(&repo, &["branch", "by-path"]);
        git(&repo, &["config", "-f", ".gitmodules", "submodule.mod.url", "../module.git"]);
        commit("three");
        git(&repo, &["checkout", "-q", "main"]);
        let daemon = Command::new("git")
            .process_group(0)
            .args(["daemon", "--export-all", "--listen=127.0.0.1", "--reuseaddr"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", repos.display()))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git daemon");
        let server = Server { sandbox, daemon, port, commits };
        // It listens soon, or never.
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(std::time::Instant::now() < give_up, "git daemon does not listen");
            std::thread::yield_now();
        }
        server
    }

    fn url(&self, rest: &str) -> String {
        format!("git://127.0.0.1:{}/app.git{rest}", self.port)
    }

    fn try_build(&self, body: &str) -> Outcome {
        let dir = self.sandbox.path("context");
        fs::create_dir_all(&dir).expect("mkdir");
        fs::write(dir.join("Dockerfile"), format!("FROM localhost/base\n{body}\n")).expect("write");
        self.sandbox.gabion(["build", "-q", "--network=none", "-t", "built"]).arg(dir).run()
    }

    #[track_caller]
    fn build<T>(&self, body: &str, look: impl FnOnce(&Path) -> T) -> T {
        let outcome = self.try_build(body);
        assert!(outcome.status.success(), "{outcome}");
        let container = self.sandbox.gabion(["from", "built"]).ok();
        let root = PathBuf::from(self.sandbox.gabion(["mount", &container]).ok());
        let result = look(&root);
        self.sandbox.gabion(["rm", &container]).ok();
        result
    }
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

fn names(dir: PathBuf) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn root_add_takes_git_repositories() {
    let server = Server::start();
    let [first, second, third] = server.commits.as_slice() else { panic!("three commits") };
    let line = |rest: &str, to: &str| format!("ADD {} /{to}\n", server.url(rest));
    let body = [
        line("", "default"),
        line("#v1", "tag"),
        line("#old:dir/sub", "subdir"),
        line(&format!("#{first}"), "commit"),
        line("?branch=with-module", "modules"),
        line("?ref=with-module&submodules=false", "no-modules"),
        line("?ref=main&keep-git-dir=true&mtime=commit", "kept"),
        format!("ADD --checksum={second} --chown=7:8 --chmod=u=rwX,go= {} /flags\n", server.url("#main")),
        format!("ADD --keep-git-dir {} /kept-by-flag", server.url("#v1")),
    ];
    server.build(&body.concat(), |root| {
        assert_eq!(names(root.join("default")), [".gitattributes", "dir", "f", "lnk", "out"]);
        assert_eq!(read(root.join("default/f")), "second");
        assert_eq!(read(root.join("tag/f")), "first");
        assert_eq!(names(root.join("subdir")), ["run.sh"]);
        assert_eq!(read(root.join("commit/f")), "first");
        assert_eq!(
            (names(root.join("modules/mod")), read(root.join("modules/mod/m"))),
            (vec!["m".into()], "module".into())
        );
        assert_eq!(names(root.join("no-modules/mod")), [""; 0]);
        let stat = |path: &str| fs::symlink_metadata(root.join(path)).expect("there");
        assert_eq!(fs::read_link(root.join("default/out")).ok(), Some("/etc".into()));
        assert_eq!((stat("default/f").mode() & 0o7777, stat("default/dir/sub/run.sh").mode() & 0o7777), (0o644, 0o755));
        assert_eq!((stat("flags/f").uid(), stat("flags/f").gid(), stat("flags/f").mode() & 0o7777), (7, 8, 0o600));
        let kept = git(&root.join("kept"), &["-c", "safe.directory=*", "log", "-1", "--format=%H %ct"]);
        assert_eq!(kept, format!("{second} {}", stat("kept/f").mtime()));
        assert_eq!(read(root.join("kept-by-flag/f")), "first");
        assert!(root.join("kept-by-flag/.git/HEAD").exists());
        assert!(!third.is_empty());
    });
    // The command takes them too.
    let container = server.sandbox.gabion(["from", "scratch"]).ok();
    server.sandbox.gabion(["add", &container, &server.url("#v1"), "/x"]).ok();
    let root = PathBuf::from(server.sandbox.gabion(["mount", &container]).ok());
    assert_eq!(read(root.join("x/f")), "first");
    store_check::assert_sound(&server.sandbox);
}

#[test]
fn root_git_repositories_are_kept_in() {
    let server = Server::start();
    let url = |rest: &str| server.url(rest);
    let closed = "git://127.0.0.1:1/x.git".to_owned();
    for (body, words) in [
        (format!("ADD {} /x", url("#nosuch")), &["no branch or tag nosuch"][..]),
        (format!("ADD {} /x", url("#main:nosuch")), &["no directory \"nosuch\""]),
        (format!("ADD {} /x", url("#main:out")), &["\"out\" is not a directory"]),
        (format!("ADD {} /x", url("#main:lnk/sub")), &["is not a directory"]),
        (format!("ADD {} /x", url("#main:../x")), &["leaves the repository"]),
        (format!("ADD {} /x", url("#main:%2e%2e/x")), &["leaves the repository"]),
        (format!("ADD {} /x", url("#--upload-pack=touch")), &["no name of a branch"]),
        (format!("ADD {} /x", url(&format!("#{}", "0".repeat(40)))), &["no branch or tag has 000"]),
        (format!("ADD --checksum={} {} /x", server.commits[0], url("#main")), &["has commit", "expected"]),
        (format!("ADD --checksum=abc {} /x", url("?ref=main&checksum=abd")), &["contradict"]),
        (format!("ADD --keep-git-dir=false {} /x", url("?keep-git-dir=true")), &["contradict"]),
        (format!("ADD --checksum=sha256:{} {} /x", "0".repeat(64), url("")), &["hash of a commit"]),
        (format!("COPY {} /x", url("")), &["COPY takes no git repository"]),
        (format!("ADD {closed} /x"), &["127.0.0.1:1"]),
        // A submodule by a path of this machine.
        (format!("ADD {} /x", url("#by-path")), &["submodules of"]),
    ] {
        server.try_build(&body).says(125, words);
    }
    // Nothing was run that a repository or an address says, and nothing stays.
    let left = server.sandbox.any("find").arg(server.sandbox.graph_root()).args(["-name", "temp-dir-*"]).ok();
    assert_eq!(left, "");
    store_check::assert_sound(&server.sandbox);
}

#[test]
fn root_git_is_named_when_it_is_missing() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let container = sandbox.gabion(["from", "scratch"]).ok();
    let outcome = sandbox.gabion(["add", &container, "git://127.0.0.1:1/x", "/"]).env("PATH", "/nowhere").run();
    outcome.says(125, &["git program is missing", "package git"]);
}

/// Serves the repositories below `root` over HTTP by git's own program, to who has this header.
fn serve_http(root: PathBuf, authorization: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Who breaks off has seen enough.
            let _ = answer(&mut stream.expect("a connection"), &root, authorization);
        }
    });
    port
}

fn answer(stream: &mut TcpStream, root: &Path, authorization: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let found = head
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    if header("Authorization").unwrap_or_default() != authorization {
        return stream.write_all(
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let mut body = vec![0; header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut words = head.first().map_or("", String::as_str).split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut program = Tool::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", body.len().to_string());
    for (variable, name) in [
        ("CONTENT_TYPE", "Content-Type"),
        ("HTTP_CONTENT_ENCODING", "Content-Encoding"),
        ("GIT_PROTOCOL", "Git-Protocol"),
    ] {
        program = program.env(variable, header(name).unwrap_or_default());
    }
    let output = program.stdin(body).spawn().wait_with_output()?.stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(0);
    let (head, body) = output.split_at(end);
    let status = String::from_utf8_lossy(head).lines().find_map(|line| Some(line.strip_prefix("Status: ")?.to_owned()));
    let status = status.unwrap_or_else(|| "200 OK".to_owned());
    stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes())?;
    stream.write_all(head)?;
    stream.write_all(body)
}

#[test]
fn root_git_over_http_takes_credentials() {
    let server = Server::start();
    // base64 of x-access-token:t0ken
    let port = serve_http(server.sandbox.path("repos"), "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=");
    server.sandbox.write("token", "t0ken\n");
    server.sandbox.write("header", "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=");
    server.sandbox.write("wrong", "other");
    server
        .sandbox
        .write("http/Dockerfile", format!("FROM localhost/base\nADD http://127.0.0.1:{port}/app.git#v1 /x\n"));
    let build = |id: &str, file: &str| {
        let secret = format!("--secret=id={id},src={}", server.sandbox.path(file).display());
        let args = ["build", "-q", "--no-cache", "--network=none", "-t", "built", &secret];
        server.sandbox.gabion(args).arg(server.sandbox.path("http")).run()
    };
    let of_host = format!("GIT_AUTH_TOKEN.127.0.0.1:{port}");
    for (id, file) in [("GIT_AUTH_TOKEN", "token"), (&of_host, "token"), ("GIT_AUTH_HEADER", "header")] {
        let outcome = build(id, file);
        assert!(outcome.status.success(), "{id}: {outcome}");
    }
    let container = server.sandbox.gabion(["from", "built"]).ok();
    let root = PathBuf::from(server.sandbox.gabion(["mount", &container]).ok());
    assert_eq!(read(root.join("x/f")), "first");
    for (id, file) in [("GIT_AUTH_TOKEN", "wrong"), ("GIT_AUTH_TOKEN.127.0.0.1:1", "token"), ("other", "token")] {
        let outcome = build(id, file);
        outcome.says(125, &["Dockerfile:2:1", &format!("127.0.0.1:{port}/app.git")]);
        assert!(!outcome.stderr.contains("t0ken"), "{outcome}");
    }
}

#[test]
fn root_git_dies_with_a_killed_gabion() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    for name in ["up", "never"] {
        sandbox.any("mkfifo").arg(sandbox.path(name)).ok();
    }
    let script = format!("#!/bin/sh\necho $$ > {0}/up\nexec cat {0}/never\n", sandbox.dir().display());
    sandbox.write("bin/git", script);
    sandbox.any("chmod").arg("755").arg(sandbox.path("bin/git")).ok();
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").expect("PATH"));
    let container = sandbox.gabion(["from", "scratch"]).ok();
    let mut gabion = sandbox.gabion(["add", &container, "git://127.0.0.1:1/x", "/"]).env("PATH", path).spawn();
    let pid: i32 = read(sandbox.path("up")).trim().parse().expect("a process ID");
    let process = rustix::process::pidfd_open(Pid::from_raw(pid).expect("not 0"), rustix::process::PidfdFlags::empty());
    let process = process.expect("git runs");
    gabion.kill().expect("kill gabion");
    gabion.wait().expect("gabion's end");
    // Its descriptor tells of its end; that comes at once, or never.
    let mut ends = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ends, Some(&patience)).expect("poll"), 1, "git outlives gabion");
}
