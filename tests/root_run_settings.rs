//! How commands are run: what `from` keeps, what `run` and `build` are told, what Buildah was told.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use test_support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// What may run a step.
const RUNNERS: [[&str; 2]; 3] = [["--runtime", "runc"], ["--runtime", "crun"], ["--isolation", "chroot"]];

/// What is kept of a container, without what differs from one to the next.
fn kept(sandbox: &Sandbox, name: &str) -> Value {
    let records = fs::read(sandbox.graph_root().join("overlay-containers/containers.json")).expect("records");
    let records: Value = serde_json::from_slice(&records).expect("JSON");
    let record = records.as_array().expect("list").iter().find(|record| record["names"][0] == name).expect(name);
    let dir = sandbox.graph_root().join("overlay-containers").join(record["id"].as_str().expect("ID"));
    let mut value: Value =
        serde_json::from_slice(&fs::read(dir.join("userdata/buildah.json")).expect("state")).expect("JSON");
    let members = [
        "Isolation",
        "NamespaceOptions",
        "ConfigureNetwork",
        "IDMappingOptions",
        "Capabilities",
        "CommonBuildOpts",
        "Devices",
        "CNIPluginPath",
        "CNIConfigDir",
    ];
    // What a label is decided by has another value with each release; a list that is not there is empty.
    let common = value["CommonBuildOpts"].as_object_mut().expect("options");
    common.remove("IdentityLabel");
    common.entry("LabelOpts").and_modify(|list| {
        if list.is_null() {
            *list = Value::Array(Vec::new());
        }
    });
    members.iter().map(|name| ((*name).to_owned(), value[*name].take())).collect()
}

/// Flags of `from`, and a script that shows what a command makes of them.
const FLAGS: &[(&[&str], &str)] = &[
    (&[], "ulimit -n; ulimit -u; df -k /dev/shm | tail -1 | awk '{print $2}'; grep Cap /proc/self/status"),
    (&["--ulimit", "nofile=100:200,core=0", "--shm-size", "1m"], "ulimit -n; ulimit -Hn; ulimit -c; df -k /dev/shm"),
    (&["--cap-add", "sys_admin,CAP_NET_ADMIN", "--cap-drop", "chown"], "grep Cap /proc/self/status"),
    (&["--cap-drop", "all"], "grep Cap /proc/self/status"),
    (
        &["--device", "/dev/null:/dev/nought:r", "--device", "/dev/zero"],
        "ls -l /dev/nought /dev/zero | awk '{print $1, $5, $6, $NF}'",
    ),
    (&["--network", "none"], "ls /sys/class/net; cat /etc/resolv.conf 2>&1; true"),
    // The namespace and not its devices: other tests make and remove networks meanwhile.
    (&["--network", "host"], "readlink /proc/self/ns/net"),
    (
        &["--ipc", "host", "--pid", "host", "--uts", "host"],
        "readlink /proc/self/ns/ipc /proc/self/ns/pid /proc/self/ns/uts; hostname",
    ),
    (&["--cgroupns", "private"], "test $(readlink /proc/self/ns/cgroup) = HOST || echo own"),
    (
        &["--network", "host", "--dns", "1.2.3.4,5.6.7.8", "--dns-search", "a.example", "--dns-option", "ndots:3"],
        "sort /etc/resolv.conf",
    ),
    (&["--network", "host", "--dns", "none"], "ls -l /etc/resolv.conf 2>/dev/null; echo none"),
    (&["--network", "host", "--add-host", "box:10.1.2.3"], "grep box /etc/hosts"),
    (&["--isolation", "rootless"], "readlink /proc/self/ns/net; id; umask; pwd"),
    (&["--http-proxy=false"], "echo $https_proxy"),
    (&["--http-proxy"], "echo $https_proxy"),
    (&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status"),
    (&["--security-opt", "label=disable"], "grep Seccomp: /proc/self/status"),
    (
        &[
            "--cpu-shares",
            "512",
            "--cpu-period",
            "50000",
            "--cpu-quota",
            "25000",
            "--cpuset-cpus",
            "0",
            "--cpuset-mems",
            "0",
        ],
        "g() { cat /sys/fs/cgroup/$1$(grep ':'$1: /proc/self/cgroup | cut -d: -f3)/$2; }; grep Cpus_allowed_list /proc/self/status",
    ),
];

#[test]
fn peers_from_keeps_what_buildah_keeps_and_each_obeys_the_other() {
    let sandbox = sandbox();
    let volume = format!("{}:/mnt/v:ro", sandbox.path("data").display());
    fs::create_dir(sandbox.path("data")).expect("mkdir");
    let volumes: &[&str] = &["--volume", &volume];
    let rows = FLAGS.iter().copied().chain([(volumes, "touch /mnt/v/x 2>&1; ls /mnt")]);
    for (index, (flags, script)) in rows.enumerate() {
        let names = [format!("ours-{index}"), format!("theirs-{index}")];
        let words = [&["from", "--pull-never"], flags, &["--name"]].concat();
        sandbox.gabion(&words).args([&names[0], "localhost/base"]).ok();
        sandbox.buildah(&words).args([&names[1], "localhost/base"]).ok();
        let (mut ours, theirs) = (kept(&sandbox, &names[0]), kept(&sandbox, &names[1]));
        if !flags.iter().any(|flag| flag.starts_with("--cap")) {
            // Debian's defaults without its containers.conf are older ones.
            ours["Capabilities"] = theirs["Capabilities"].clone();
        } else {
            ours["Capabilities"] = Value::Null;
        }
        let theirs = match &ours["Capabilities"] {
            Value::Null => with(theirs, "Capabilities", Value::Null),
            _ => theirs,
        };
        assert_eq!(ours, theirs, "{flags:?}");
        let run = |tool: &str, name: &str| {
            // A network of its own takes both tools the longest.
            let has_network = flags.contains(&"--network") || flags.contains(&"--isolation");
            let network: &[&str] = if has_network { &[] } else { &["--network=none"] };
            let words = [&["run"], network, &[name, "--", "sh", "-c", script]].concat();
            let tool = if tool == "gabion" { sandbox.gabion(words) } else { sandbox.buildah(words) };
            tool.env("https_proxy", "http://proxy").ok()
        };
        for name in &names {
            assert_eq!(run("gabion", name), run("buildah", name), "{name} {flags:?}");
        }
    }
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

#[test]
fn root_run_settings_reach_the_command() {
    let sandbox = sandbox();
    let seen = |flags: &[&str], script: &str| {
        sandbox.gabion([&["from", "--name", "work"], flags, &["localhost/base"]].concat()).ok();
        let of_run = sandbox.gabion(["run", "--network", "none", "work", "sh", "-c", script]).ok();
        sandbox.gabion(["rm", "work"]).ok();
        // A build says the same.
        sandbox.write("context/Dockerfile", format!("FROM localhost/base\nRUN {script}\n"));
        let context = sandbox.path("context");
        let context = context.to_str().expect("text");
        let words = [&["build", "--network", "none", "--progress", "plain"], flags, &[context]].concat();
        let outcome = sandbox.gabion(words).run();
        let text = format!("{}{}", outcome.stdout, outcome.stderr);
        for line in of_run.lines() {
            assert!(text.contains(line), "{flags:?}: {line:?} is not in {text}");
        }
        of_run
    };
    assert_eq!(seen(&["--ulimit", "nofile=64:65"], "echo $(ulimit -n) $(ulimit -Hn)"), "64 65");
    assert_eq!(seen(&["--shm-size", "2m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "2048");
    assert_eq!(seen(&["--group-add", "7,4242", "--group-add", "8"], "echo groups $(id -G)"), "groups 0 7 8 4242");
    assert_eq!(seen(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1");
    assert_eq!(seen(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status"), "Seccomp:\t0");
    let mounts = "grep -c -E ' /proc/(acpi|keys|timer_list) ' /proc/self/mountinfo || true";
    let usual: usize = seen(&[], mounts).parse().expect("number");
    assert_eq!(seen(&["--security-opt", "unmask=/proc/k*"], mounts), (usual - 1).to_string());
    assert_eq!(seen(&["--security-opt", "unmask=all"], mounts), "0");
    assert_eq!(seen(&["--security-opt", "mask=/etc/group"], "wc -c < /etc/group"), "0");
    assert_eq!(seen(&["--cpuset-cpus", "0"], "grep Cpus_allowed_list /proc/self/status"), "Cpus_allowed_list:\t0");
    assert_eq!(seen(&["--dns", "none"], "test -e /etc/resolv.conf || echo without"), "without");
    assert_eq!(seen(&["--add-host", "a;b:10.1.2.3"], "grep -c 10.1.2.3 /etc/hosts"), "2");
    let profile = sandbox.write(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}"#,
    );
    let profile = format!("seccomp={}", profile.display());
    assert_eq!(seen(&["--security-opt", &profile], "mkdir /x 2>/dev/null || echo filtered"), "filtered");
    if Path::new("/sys/fs/cgroup/memory").is_dir() {
        let parent = format!("/gabion-test-{}", std::process::id());
        let script = "dirname $(grep :memory: /proc/self/cgroup | cut -d: -f3)";
        assert_eq!(seen(&["--cgroup-parent", &parent], script), parent);
        for entry in fs::read_dir("/sys/fs/cgroup").expect("hierarchies").flatten() {
            let _ = fs::remove_dir(entry.path().join(parent.trim_start_matches('/')));
        }
    }
}

#[test]
fn root_run_limits_of_control_groups() {
    let sandbox = sandbox();
    if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        return;
    }
    let flags =
        ["--memory", "64m", "--memory-swap", "-1", "-c", "512", "--cpu-period", "50000", "--cpu-quota", "20000"];
    sandbox.gabion([&["from", "--name", "work"], &flags[..], &["localhost/base"]].concat()).ok();
    let mut child =
        sandbox.gabion(["run", "--network=none", "work", "sh", "-c", "cat /proc/self/cgroup; exec sleep 1000"]).spawn();
    use std::io::{BufRead as _, BufReader};
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut read = |controller: &str, file: &str| {
        let path = loop {
            let line = lines.next().expect("a line").expect("text");
            let mut fields = line.split(':').skip(1);
            if fields.next() == Some(controller) {
                break fields.next().expect("a path").to_owned();
            }
        };
        let dir = Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'));
        fs::read_to_string(dir.join(file)).expect("a limit").trim().to_owned()
    };
    let seen = [read("memory", "memory.limit_in_bytes"), read("cpu", "cpu.shares")];
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("kill");
    child.wait().expect("wait");
    assert_eq!(seen, ["67108864", "512"]);
}

#[test]
fn root_run_asked_limits_are_kept_or_refused() {
    let sandbox = sandbox();
    let text = fs::read_to_string("/proc/self/limits").expect("limits");
    let most =
        text.lines().find(|line| line.starts_with("Max open files")).and_then(|line| line.split_whitespace().nth(4));
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("capabilities");
    let own = u64::from_str_radix(bounding.trim(), 16).expect("a set");
    if let Some(Ok(most)) = most.map(str::parse::<u64>)
        && own & (1 << 24) == 0
    {
        let limit = format!("nofile={}", most + 1);
        sandbox.gabion(["from", "--name", "work", "--ulimit", &limit, "localhost/base"]).ok();
        sandbox
            .gabion(["run", "--network=none", "work", "true"])
            .fails()
            .says(125, &["limit nofile cannot be", "CAP_SYS_RESOURCE"]);
        // What the host's defaults want is lowered.
        let conf = sandbox.write("more.conf", format!("[containers]\ndefault_ulimits = [\"{limit}\"]\n"));
        let tool = |words: &[&str]| sandbox.gabion(words).env("CONTAINERS_CONF", &conf);
        tool(&["from", "--name", "other", "localhost/base"]).ok();
        assert_eq!(tool(&["run", "--network=none", "other", "sh", "-c", "ulimit -n"]).ok(), most.to_string());
    }
}

/// A process in namespaces of its own; ended when dropped.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn root_run_joins_namespaces() {
    use std::io::Read as _;
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    let mut other = Command::new("unshare")
        .args(["--net", "--ipc", "--uts", "--cgroup", "sh", "-c", "hostname elsewhere; echo; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut byte = [0u8; 1];
    other.stdout.take().expect("piped").read_exact(&mut byte).expect("it is ready");
    let other = Other(other);
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", other.0.id());
    let link = |path: &str| fs::read_link(path).expect("a namespace").to_string_lossy().into_owned();
    for runner in RUNNERS {
        for (flag, kind) in
            [("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup"), ("--network", "net"), ("--pid", "pid")]
        {
            let shown = format!("/proc/self/ns/{kind}");
            let run = |how: &str| {
                let network: &[&str] = if flag == "--network" { &[] } else { &["--network", "none"] };
                let words = [&["run"], &runner[..], network, &[flag, how, "work", "readlink", &shown]].concat();
                sandbox.gabion(words)
            };
            assert_eq!(run("host").ok(), link(&shown), "{runner:?} {flag}");
            if flag != "--network" {
                assert_ne!(run("private").ok(), link(&shown), "{runner:?} {flag}");
            }
            if (runner[1], flag) == ("chroot", "--pid") {
                run(&path(kind)).fails().says(125, &["PID namespace /proc/", "needs an OCI runtime"]);
                continue;
            }
            assert_eq!(run(&path(kind)).ok(), link(&path(kind)), "{runner:?} {flag}");
            assert_eq!(run(&format!("ns:{}", path(kind))).ok(), link(&path(kind)), "{runner:?} {flag}");
        }
        let name = |how: &str| {
            let words = [&["run"], &runner[..], &["--network=none", "--uts", how, "work", "hostname"]].concat();
            sandbox.gabion(words).ok()
        };
        assert_eq!(name(&path("uts")), "elsewhere");
    }
    for flag in ["--ipc", "--uts", "--cgroupns", "--pid", "--network"] {
        for value in ["/nosuch", "ns:/nosuch"] {
            sandbox.gabion(["run", flag, value, "work", "true"]).fails().says(125, &[flag, value, "private"]);
        }
        sandbox.gabion(["run", flag, "/etc/passwd", "work", "true"]).fails().says(125, &["namespace /etc/passwd"]);
    }
}

#[test]
fn root_run_in_the_hosts_processes_ends_with_gabion() {
    use std::io::{BufRead as _, BufReader};
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    for runner in RUNNERS {
        for how in ["term", "kill"] {
            let script = "echo $$; exec sleep 1000";
            let words = [&["run"], &runner[..], &["--network=none", "--pid=host", "work", "sh", "-c", script]].concat();
            let mut child = sandbox.gabion(words).spawn();
            let mut line = String::new();
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            output.read_line(&mut line).expect("a line");
            let pid = rustix::process::Pid::from_raw(line.trim().parse().expect("a number")).expect("a process");
            let step = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it runs");
            let signal = if how == "term" { rustix::process::Signal::TERM } else { rustix::process::Signal::KILL };
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("kill");
            child.wait().expect("wait");
            let mut ends = [rustix::event::PollFd::new(&step, rustix::event::PollFlags::IN)];
            let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut ends, Some(&limit)), Ok(1), "{runner:?} {how}: it goes on");
        }
    }
}

#[test]
fn root_run_exit_codes_that_are_no_failure() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    let run = |codes: &str, code: &str| {
        let script = format!("exit {code}");
        let words = ["run", "--network=none", "--valid-exit-codes", codes, "work", "sh", "-c", &script];
        sandbox.gabion(words).run()
    };
    assert!(run("0,3", "3").status.success() && run("3", "3").status.success() && run("3,0", "0").status.success());
    run("3", "4").says(4, &["exit status 4"]);
    run("3", "0").says(125, &["exit status 0", "--valid-exit-codes"]);
    // Without pivot_root the command sees the same.
    for runtime in ["runc", "crun"] {
        let words = ["run", "--runtime", runtime, "--network=none", "--no-pivot", "work", "ls", "/"];
        let plain = ["run", "--runtime", runtime, "--network=none", "work", "ls", "/"];
        assert_eq!(sandbox.gabion(words).ok(), sandbox.gabion(plain).ok());
    }
}

#[test]
fn root_run_default_mounts_are_copies() {
    let sandbox = sandbox();
    let secrets = sandbox.path("secrets");
    fs::create_dir(&secrets).expect("mkdir");
    sandbox.write("key", "key\n");
    std::os::unix::fs::symlink(sandbox.path("key"), secrets.join("key")).expect("symlink");
    let conf = sandbox.write("mounts.conf", format!("{}:/run/secrets\n/nosuch:/nosuch\n", secrets.display()));
    let conf = conf.to_str().expect("text");
    let script = "cat /run/secrets/key; echo changed > /run/secrets/key; ls -d /nosuch 2>/dev/null; true";
    // Given to the command, or kept with the container.
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    let given = ["--default-mounts-file", conf, "run", "--network=none", "work", "sh", "-c", script];
    assert_eq!(sandbox.gabion(given).ok(), "key");
    sandbox.gabion(["--default-mounts-file", conf, "from", "--name", "kept", "localhost/base"]).ok();
    for _ in 0..2 {
        assert_eq!(sandbox.gabion(["run", "--network=none", "kept", "sh", "-c", script]).ok(), "key");
    }
    assert_eq!(fs::read_to_string(sandbox.path("key")).expect("read"), "key\n", "the host's stays");
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN cp /run/secrets/key /seen\n");
    let context = sandbox.path("context");
    let context = context.to_str().expect("text");
    sandbox.gabion(["--default-mounts-file", conf, "build", "--network=none", "-t", "built", context]).ok();
    let root = sandbox.gabion(["from", "--name", "seen", "localhost/built"]).ok();
    assert_eq!(sandbox.gabion(["run", "--network=none", &root, "cat", "/seen"]).ok(), "key");
    let listed = sandbox.gabion(["run", "--network=none", &root, "sh", "-c", "ls -A /run"]).ok();
    assert!(!listed.contains("secrets"), "{listed}");
}

#[test]
fn root_build_runs_oci_hooks() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = sandbox();
    let program = sandbox.write("hook.sh", "#!/bin/sh\ncat > \"$1\"\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let hook = |name: &str, when: &str| {
        let seen = sandbox.path(name);
        let text = format!(
            r#"{{"version": "1.0.0", "hook": {{"path": {program:?}, "args": ["hook.sh", {seen:?}], "env": ["PATH=/usr/bin:/bin"]}},
                "when": {when}, "stages": ["createRuntime"]}}"#
        );
        sandbox.write(format!("hooks/{name}.json"), text);
    };
    hook("always", r#"{"always": true}"#);
    hook("never", r#"{"commands": ["nosuch"]}"#);
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN true\n");
    let (hooks, context) = (sandbox.path("hooks"), sandbox.path("context"));
    let words =
        ["build", "--network=none", "--hooks-dir", hooks.to_str().expect("text"), context.to_str().expect("text")];
    sandbox.gabion(words).ok();
    let state: Value = serde_json::from_slice(&fs::read(sandbox.path("always")).expect("it was called")).expect("JSON");
    assert!(state["pid"].as_i64().is_some_and(|pid| pid > 0), "{state}");
    assert!(!sandbox.path("never").exists());
    sandbox.write("hooks/bad.json", "{}");
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN false\n");
    sandbox.gabion(words).fails().says(125, &["bad.json"]);
}
