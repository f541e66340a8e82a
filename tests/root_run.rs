//! `gabion run`: what a step sees, what it leaves, how it ends.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_support::Sandbox;

/// A store with the base image and a container `work` on it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    sandbox
}

/// Directories of the base that mount points were made in: overlayfs copies them up, unchanged.
const MOUNT_POINT_DIRS: [&str; 2] = ["etc", "run"];

/// What may run a step.
const RUNNERS: [[&str; 2]; 3] = [["--runtime", "runc"], ["--runtime", "crun"], ["--isolation", "chroot"]];

/// The words of `gabion run --network none` with `flags` and a shell script.
fn script<'a>(flags: &[&'a str], text: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "none"], flags, &["work", "--", "sh", "-c", text]].concat()
}

/// Paths of the container's upper directory, sorted.
fn upper_paths(sandbox: &Sandbox) -> Vec<String> {
    fn walk(dir: &Path, base: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("dir").flatten() {
            found.push(entry.path().strip_prefix(base).expect("below").to_string_lossy().into_owned());
            if entry.file_type().expect("type").is_dir() {
                walk(&entry.path(), base, found);
            }
        }
    }
    let root = sandbox.gabion(["mount", "work"]).ok();
    sandbox.gabion(["umount", "work"]).ok();
    let upper = Path::new(&root).with_file_name("diff");
    let mut found = Vec::new();
    walk(&upper, &upper, &mut found);
    found.sort();
    found
}

/// Asserts that nothing of a run is left beside the container.
fn assert_clean(sandbox: &Sandbox) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    // The peers leave their bind mount of the driver's directory on itself.
    let home = format!(" {} ", sandbox.graph_root().join("overlay").display());
    let own: Vec<_> = mounts
        .lines()
        .filter(|line| line.contains(&*sandbox.dir().to_string_lossy()) && !line.contains(&home))
        .collect();
    assert!(own.is_empty(), "{own:?}");
    for entry in fs::read_dir(sandbox.graph_root().join("overlay-containers"))
        .expect("dir")
        .flatten()
        .filter(|e| e.path().is_dir())
    {
        let left: Vec<_> = fs::read_dir(entry.path().join("userdata"))
            .expect("dir")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, ["buildah.json"]);
    }
}

#[test]
fn root_run_exit_codes_and_messages() {
    let sandbox = sandbox();
    assert_eq!(sandbox.gabion(script(&[], "echo out; echo err >&2")).ok(), "out");
    let failed = sandbox.gabion(script(&[], "echo out; exit 37")).fails();
    assert_eq!(failed.stdout, "out\n");
    assert_eq!((failed.code(), failed.stderr.as_str()), (Some(37), "Error: while running runtime: exit status 37\n"));
    let run = |words: &[&str]| sandbox.gabion([&["run", "--network", "none"], words].concat()).fails();
    run(&["work", "nosuch"]).says(127, &["command not found in the container: nosuch"]);
    run(&["work", "/etc/passwd"]).says(126, &["command not executable in the container: /etc/passwd"]);
    run(&["nowork", "true"]).says(125, &["nowork"]);
    run(&["work"]).says(125, &["COMMAND"]);
    run(&["--runtime", "/no/runc", "work", "true"]).says(125, &["invalid --runtime \"/no/runc\"", "installed"]);
    let nowhere = sandbox.gabion(["run", "--network", "none", "work", "true"]).env("PATH", "/nowhere").fails();
    nowhere.says(125, &["OCI runtime \"runc\" not found", "apt install runc"]);
    run(&["--user", "ghost", "work", "true"]).says(125, &["unknown user \"ghost\""]);
    run(&["--cap-add", "root", "work", "true"]).says(125, &["unknown capability \"root\""]);
    sandbox.gabion(["run", "--network", "../x", "work", "true"]).fails().says(125, &["invalid --network"]);
    run(&["--mount", "type=bind,src=/a,target=/b,bind-propagation=x", "work", "true"])
        .says(125, &["invalid --mount", "\"x\""]);
    run(&["-v", "/no/such/dir:/m", "work", "true"]).says(125, &["mount source /no/such/dir"]);
    run(&["--device", "/dev/nosuch", "work", "true"]).says(125, &["--device", "/dev/nosuch"]);
    assert_eq!(sandbox.gabion(script(&[], "cat; echo end")).stdin("typed\n").ok(), "typed\nend");
    assert_eq!(sandbox.gabion(["run", "--network=none", "work", "echo", "-n", "--", "-t"]).ok(), "-- -t");
    assert_clean(&sandbox);
    assert_eq!(upper_paths(&sandbox), MOUNT_POINT_DIRS);
}

#[test]
fn root_run_sees_the_config_and_the_flags() {
    let sandbox = sandbox();
    sandbox
        .gabion([
            "config",
            "--env",
            "A=image",
            "--env",
            "B=image",
            "--user",
            "mason",
            "--workingdir",
            "/srv/app",
            "work",
        ])
        .ok();
    let seen = sandbox.gabion(script(&[], "echo $A $B $(id -u) $(id -g) $(pwd) $PATH; stat -c '%u %a' ."));
    let path = "/bin:/usr/bin";
    assert_eq!(seen.ok(), format!("image image 1000 1000 /srv/app {path}\n1000 755"));
    let flags = ["-e", "A=flag", "--env", "C=x=y", "--user", "65534:7", "--workingdir", "/tmp", "--hostname", "anvil"];
    let seen = sandbox
        .gabion(script(&flags, "echo $A $B $C $(id -u):$(id -g) $(pwd) $(hostname) $(cat /etc/hostname) $HOSTNAME"));
    assert_eq!(seen.ok(), "flag image x=y 65534:7 /tmp anvil anvil anvil");
    let host = sandbox.gabion(script(
        &["-e", "FROM_HOST", "-e", "PRE_*", "-e", "UNSET_THERE"],
        "env | grep -E 'FROM|PRE|UNSET|SECRET|proxy' | sort",
    ));
    let seen = host.env("FROM_HOST", "1").env("PRE_A", "2").env("SECRET", "s").env("https_proxy", "http://p").ok();
    assert_eq!(seen, "FROM_HOST=1\nPRE_A=2\nhttps_proxy=http://p");
    let capabilities =
        |flags: &[&str]| sandbox.gabion(script(&[flags, &["--user=0"]].concat(), "grep CapEff /proc/self/status")).ok();
    assert_eq!(capabilities(&[]), "CapEff:\t00000000800405fb");
    assert_eq!(capabilities(&["--cap-add", "CAP_NET_RAW,sys_time", "--cap-drop=chown"]), "CapEff:\t00000000820425fa");
    assert_eq!(capabilities(&["--cap-drop=all"]), "CapEff:\t0000000000000000");
    for runtime in ["crun", "/usr/bin/crun"] {
        assert_eq!(sandbox.gabion(script(&["--runtime", runtime], "echo crun")).ok(), "crun");
    }
    assert_eq!(sandbox.gabion(script(&["--runtime-flag", "debug"], "echo flag")).ok(), "flag");
    assert!(!sandbox.gabion(["run", "--network=none", "--no-hosts", "work", "ls", "/etc"]).ok().contains("hosts"));
    assert!(
        !sandbox.gabion(["run", "--network=none", "--no-hostname", "work", "ls", "/etc"]).ok().contains("hostname")
    );
    assert_clean(&sandbox);
}

#[test]
fn root_run_leaves_only_what_the_command_wrote() {
    let sandbox = sandbox();
    let data = sandbox.path("data");
    fs::create_dir(&data).expect("mkdir");
    let volume = format!("{}:/mnt/volume", data.display());
    let flags = ["-v", &volume, "--mount", "type=tmpfs,target=/mnt/memory", "--mount", "type=cache,target=/mnt/cache"];
    sandbox
        .gabion(script(
            &flags,
            "for d in volume memory cache; do echo x > /mnt/$d/f; done; rm /bin/vi; echo 1 > /tmp/made",
        ))
        .ok();
    sandbox.gabion(["run", "work", "sh", "-c", "grep -q nameserver /etc/resolv.conf && mkdir /var/lib"]).ok();
    let mut expected = vec!["bin", "bin/vi", "tmp", "tmp/made", "var", "var/lib"];
    expected.extend(MOUNT_POINT_DIRS);
    expected.sort_unstable();
    assert_eq!(upper_paths(&sandbox), expected);
    let root = PathBuf::from(sandbox.gabion(["mount", "work"]).ok());
    for dir in MOUNT_POINT_DIRS {
        let metadata = fs::metadata(root.join(dir)).expect("stat");
        assert_eq!((metadata.mtime(), metadata.mode() & 0o7777), (1_600_000_000, 0o755), "{dir} is as the base has it");
    }
    sandbox.gabion(["umount", "work"]).ok();
    assert!(data.join("f").exists());
    sandbox.gabion(["commit", "work", "stepped"]).ok();
    let copy = sandbox.path("copy");
    sandbox.skopeo(["copy", &sandbox.storage("localhost/stepped"), &format!("dir:{}", copy.display())]).ok();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(copy.join("manifest.json")).expect("read")).expect("JSON");
    let layer = manifest["layers"]
        .as_array()
        .and_then(|layers| layers.last())
        .and_then(|layer| layer["digest"].as_str())
        .expect("layer");
    let file = copy.join(layer.trim_start_matches("sha256:"));
    let names = sandbox.any("tar").args(["tf"]).arg(&file).ok();
    for name in ["hosts", "resolv.conf", "hostname", "mnt", "containerenv", "proc", "sys", "dev"] {
        assert!(!names.contains(name), "{names}");
    }
    assert_clean(&sandbox);
}

#[test]
fn root_run_mounts() {
    let sandbox = sandbox();
    let context = sandbox.path("context");
    fs::create_dir_all(context.join("sub")).expect("mkdir");
    fs::write(context.join("sub/f"), "content\n").expect("write");
    std::os::unix::fs::symlink("/etc", context.join("out")).expect("symlink");
    let dir = context.to_str().expect("text");
    let run = |flags: &[&str], text: &str| sandbox.gabion(script(flags, text)).run();

    let bind = run(
        &["--contextdir", dir, "--mount", "type=bind,source=sub,target=/m,rw"],
        "cat /m/f; echo new > /m/f; cat /m/f",
    );
    assert_eq!(bind.stdout, "content\nnew\n", "{bind}");
    assert_eq!(fs::read_to_string(context.join("sub/f")).expect("read"), "content\n", "writes are dropped");
    let read_only = run(&["--contextdir", dir, "--mount", "type=bind,source=/sub,target=m"], "echo x > /m/f");
    assert!(read_only.stderr.contains("Read-only file system"), "{read_only}");
    // A source that leads out of the context stays in it.
    run(&["--contextdir", dir, "--mount", "type=bind,source=out,target=/m"], "ls /m").says(125, &["mount source"]);
    run(&["--contextdir", dir, "--mount", "type=bind,source=../..,target=/m"], "ls /m; test -e /m/sub/f");

    sandbox.gabion(["from", "--name", "other", "localhost/base"]).ok();
    sandbox.gabion(["run", "--network=none", "other", "sh", "-c", "echo mine > /root/f"]).ok();
    let from = run(&["--mount", "from=other,source=/root/f,target=/m/f"], "cat /m/f");
    assert_eq!(from.stdout, "mine\n", "{from}");
    let from =
        run(&["--mount", "type=bind,from=localhost/base,source=etc,target=/m,rw"], "cat /m/group; echo x > /m/group");
    assert!(from.stdout.starts_with("root:x:0:") && from.status.success(), "{from}");
    let from = run(&["--mount", "type=bind,from=base,source=/,target=/m"], "grep -c root /m/etc/group; touch /m/x");
    assert!(from.stdout.starts_with('1') && from.stderr.contains("Read-only"), "{from}");
    run(&["--mount", "type=bind,from=nosuch,target=/m"], "true")
        .says(125, &["nosuch", "no image or working container"]);

    for text in ["echo 1 >> /c/f", "echo 2 >> /c/f"] {
        assert!(run(&["--mount", "type=cache,id=../../x,target=/c,mode=0750,uid=7"], text).status.success());
    }
    let cached =
        run(&["--mount", "type=cache,id=../../x,uid=7,target=/d,ro"], "cat /d/f; stat -c '%a %u' /d; echo 3 > /d/f");
    assert_eq!(cached.stdout, "1\n2\n750 7\n", "{cached}");
    assert!(cached.stderr.contains("Read-only file system"), "{cached}");
    let caches = sandbox.graph_root().join("gabion/cache-mounts");
    assert_eq!(fs::read_dir(&caches).expect("caches").flatten().filter(|entry| entry.path().is_dir()).count(), 1);

    let memory = run(
        &["--mount", "type=tmpfs,target=/etc,tmpfs-size=1m,tmpcopyup"],
        "grep -c root /etc/group; df -k /etc | tail -1 | awk '{print $2}'",
    );
    assert_eq!(memory.stdout, "1\n1024\n", "{memory}");

    let owned = sandbox.path("owned");
    fs::create_dir(&owned).expect("mkdir");
    fs::write(owned.join("f"), "host\n").expect("write");
    let volume = |options: &str| format!("{}:/v{options}", owned.display());
    assert!(run(&["-v", &volume("")], "echo step > /v/f").status.success());
    assert_eq!(fs::read_to_string(owned.join("f")).expect("read"), "step\n");
    assert!(run(&["-v", &volume(":O")], "echo dropped > /v/f; cat /v/f").stdout.contains("dropped"));
    assert_eq!(fs::read_to_string(owned.join("f")).expect("read"), "step\n");
    assert!(run(&["-v", &volume(":ro")], "echo x > /v/f").stderr.contains("Read-only file system"));
    assert!(run(&["-v", &volume(":U"), "--user", "mason"], "echo mine > /v/f").status.success());
    assert_eq!(fs::metadata(owned.join("f")).expect("stat").uid(), 1000);
    assert_clean(&sandbox);
}

#[test]
fn root_run_volumes_of_the_image_exist() {
    let sandbox = sandbox();
    sandbox.gabion(["config", "--volume", "/srv/data", "work"]).ok();
    assert_eq!(sandbox.gabion(script(&[], "stat -c '%u %a %F' /srv/data")).ok(), "0 755 directory");
}

#[test]
fn root_run_adds_history() {
    let sandbox = sandbox();
    sandbox.gabion(["run", "--network=none", "--add-history", "work", "touch", "/new"]).ok();
    sandbox.gabion(["commit", "work", "told"]).ok();
    let config: serde_json::Value = serde_json::from_str(
        &sandbox.skopeo(["inspect", "--config", "--raw", &sandbox.storage("localhost/told")]).ok(),
    )
    .expect("JSON");
    let told = config["history"]
        .as_array()
        .expect("history")
        .iter()
        .filter_map(|entry| entry["created_by"].as_str())
        .collect::<Vec<_>>();
    assert!(told.contains(&"/bin/sh -c touch /new"), "{told:?}");
}

#[test]
fn root_run_networks() {
    let sandbox = sandbox();
    let devices = |network: &str| sandbox.gabion(["run", "--net", network, "work", "ls", "/sys/class/net"]).ok();
    assert_eq!(devices("none"), "lo");
    assert_eq!(devices("private"), "eth0\nlo");
    // The namespace and not its devices: other tests make and remove networks meanwhile.
    let namespace = ["readlink", "/proc/self/ns/net"];
    let of_host = sandbox.any(namespace[0]).arg(namespace[1]).ok();
    assert_eq!(sandbox.gabion([&["run", "--net", "host", "work"], &namespace[..]].concat()).ok(), of_host);
    assert_clean(&sandbox);
}

/// A step that says when it runs.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

fn start(sandbox: &Sandbox, flags: &[&str], text: &str) -> Running {
    let mut child = sandbox.gabion(script(flags, text)).spawn();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");
    Running { child, output }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("kill");
    }

    fn end(mut self) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("read");
        let mut errors = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut errors).expect("read");
        (self.child.wait().expect("wait").code(), rest, errors)
    }
}

#[test]
fn root_run_signals_end_the_step_and_leave_the_container_whole() {
    let sandbox = sandbox();
    for runner in RUNNERS {
        // Without a handler, the signal ends the step, though it is the first of its PID namespace.
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let running = start(&sandbox, &runner, "echo made > /tmp/made; echo ready; sleep 1000; echo never");
            running.signal(signal);
            let (ended, rest, errors) = running.end();
            assert_eq!((ended, rest.as_str()), (Some(code), ""), "{errors}");
            assert_eq!(errors, "Error: the command was interrupted\n");
            assert_clean(&sandbox);
        }
        // With one, the step decides.
        let running =
            start(&sandbox, &runner, "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done");
        running.signal(Signal::TERM);
        let (ended, rest, _) = running.end();
        assert_eq!((ended, rest.as_str()), (Some(143), "caught\n"));
        let running =
            start(&sandbox, &runner, "trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.1; done");
        running.signal(Signal::INT);
        assert_eq!(running.end().0, Some(0));
        // One that does not listen is killed by the second.
        let mut running = start(&sandbox, &runner, "trap 'echo no' INT; echo ready; while :; do sleep 0.1; done");
        running.signal(Signal::INT);
        let mut line = String::new();
        running.output.read_line(&mut line).expect("read");
        assert_eq!(line, "no\n");
        running.signal(Signal::INT);
        assert_eq!(running.end().0, Some(130));
    }
    // The container goes on.
    assert_eq!(sandbox.gabion(script(&[], "cat /tmp/made")).ok(), "made");
    assert_clean(&sandbox);
    sandbox.gabion(["rm", "work"]).ok();
}

#[test]
fn root_run_dies_with_gabion() {
    let sandbox = sandbox();
    for runner in RUNNERS {
        let mark = format!("{}", 100_000 + u64::from(std::process::id()));
        let text = format!("sleep {mark} & sleep {mark} & echo ready; wait");
        let mut child = sandbox.gabion(script(&runner, &text)).spawn();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("read");
        assert_eq!(line, "ready\n");
        child.kill().expect("kill");
        child.wait().expect("wait");
        // The pipe ends when the runtime is about to be gone, and then the kernel kills the rest.
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("read");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !processes_with(&mark).is_empty() {
            assert!(Instant::now() < deadline, "{:?}", processes_with(&mark));
            std::thread::yield_now();
        }
        assert_eq!(sandbox.gabion(script(&[], "echo again")).ok(), "again");
    }
    sandbox.gabion(["umount", "--all"]).ok();
    sandbox.gabion(["rm", "work"]).ok();
}

/// Processes with a word in their command line.
fn processes_with(word: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
    let has = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    };
    processes.filter(has).collect()
}

#[test]
fn root_run_on_a_terminal() {
    const SCRIPT: &str = "tty; stty size; until [ \"$(stty size)\" = '44 111' ]; do :; done; echo resized;
        read word; echo got $word; exit 5";
    let sandbox = sandbox();
    for runner in RUNNERS {
        let mut terminal = sandbox.gabion(script(&runner, SCRIPT)).on_terminal(99, 33);
        let seen = terminal.shows("33 99");
        assert!(seen.starts_with("/dev/pts/0\r\n") || seen.starts_with("/dev/console\r\n"), "{runner:?}: {seen:?}");
        terminal.resize(111, 44);
        terminal.shows("resized");
        assert!(terminal.is_raw(), "raw meanwhile");
        terminal.types("hello\r");
        terminal.shows("got hello");
        assert_eq!(terminal.ends().0, 5, "{runner:?}");
    }
    // Without one at hand, on request; the end of input is Ctrl-D.
    let asked = sandbox.gabion(script(&["-t"], "tty; cat; echo end")).stdin("typed\n").ok();
    assert!(asked.contains("/dev/pts/0") && asked.contains("typed") && asked.ends_with("end"), "{asked:?}");
    assert_eq!(sandbox.gabion(script(&["--terminal=false"], "tty")).run().stdout, "not a tty\n");
    assert_clean(&sandbox);
}

#[test]
fn peers_run_sees_what_buildah_run_shows() {
    let sandbox = sandbox();
    let status = "grep -E 'Cap|Seccomp:|NoNew' /proc/self/status; id; umask; env | grep -v -E 'SHLVL' | sort; ls /dev | sort;
        cat /proc/self/mountinfo | awk '{print $5, $6}' | grep -E '^/(proc|sys|dev)[ /]' | grep -v -E '^/(sys/devices|proc/(asound|sched|acpi|kcore|keys|timer|latency|scsi|interrupts)|sys/)' | sort -u";
    for user in ["root", "mason", "4242:7"] {
        let words = ["run", "--network", "host", "--user", user, "work", "--", "sh", "-c", status];
        let ours = sandbox.gabion(words).ok();
        let theirs = sandbox.buildah(words).ok();
        assert_eq!(ours, theirs, "{user}");
    }
}
