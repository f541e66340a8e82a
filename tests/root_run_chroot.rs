//! Steps without an OCI runtime: `--isolation chroot` of `run`, `from` and `build`.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;
use test_support::{Sandbox, Tool};

/// A store with the base image and a container `work` on it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    sandbox
}

/// `gabion run` with `flags` and a shell script, in the isolation `kind` and without a network.
fn run_in(sandbox: &Sandbox, kind: &str, flags: &[&str], script: &str) -> Tool {
    let words = [&["run", "--isolation", kind, "--network=none"], flags, &["work", "sh", "-c", script]];
    sandbox.gabion(words.concat())
}

fn run(sandbox: &Sandbox, flags: &[&str], script: &str) -> Tool {
    run_in(sandbox, "chroot", flags, script)
}

/// Changes the container's root file system from the host.
fn change(sandbox: &Sandbox, change: impl FnOnce(&Path)) {
    let root = sandbox.gabion(["mount", "work"]).ok();
    change(Path::new(&root));
    sandbox.gabion(["umount", "work"]).ok();
}

/// Asserts that nothing of a step is left: no mount, no file of a run's.
fn assert_clean(sandbox: &Sandbox) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let home = format!(" {} ", sandbox.graph_root().join("overlay").display());
    let dir = sandbox.dir().to_string_lossy().into_owned();
    let own: Vec<_> = mounts.lines().filter(|line| line.contains(&dir) && !line.contains(&home)).collect();
    assert!(own.is_empty(), "{own:?}");
    let containers = fs::read_dir(sandbox.graph_root().join("overlay-containers")).expect("dir").flatten();
    for entry in containers.filter(|entry| entry.path().is_dir()) {
        let left = fs::read_dir(entry.path().join("userdata")).expect("dir").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["buildah.json"]);
    }
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
fn root_chroot_needs_no_runtime_and_is_like_one() {
    let sandbox = sandbox();
    assert_eq!(run(&sandbox, &[], "echo alone").env("PATH", "/nowhere").ok(), "alone");
    // What a step sees is the same either way.
    let seen = "id; id -G; umask; pwd; hostname; env | grep -v SHLVL | sort; ulimit -n; ulimit -Hn; ulimit -u; cat /etc/hosts
        grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; for f in /dev/*; do stat -c '%n %A %u %g %t %T' $f; readlink $f; done | grep -v console
        cat /run/.containerenv; echo $$; ls /proc/self/fd | wc -l; stat -c '%n %a %u %g' /dev /dev/* /proc /sys /etc/hosts
        awk '{print $5}' /proc/self/mountinfo | grep -v -E '^/dev/(null|zero|full|random|urandom|tty)$' | sort
        awk '{print $2, $1, $4}' /proc/self/mounts | grep -E '^/(proc|dev/pts|dev/shm|dev/mqueue) ' | sort
        ls /sys/class/net; ip link | grep -c 'LOOPBACK,UP'; cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline | head -c 5
        cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware /proc/acpi | wc -l; stat -f -c '%T %S' /dev/shm";
    let usual: &[&str] = &[];
    let rows = [
        usual,
        &["--user", "mason"],
        &["--user", "mason", "--cap-add", "net_admin", "--security-opt", "no-new-privileges"],
        &["--user", "7:8", "--workingdir", "/srv/new"],
        &["--cap-drop", "all"],
        &["--cap-add", "all"],
        &["--hostname", "box", "--env", "HOME=", "--no-hosts"],
        &["--mount", "type=tmpfs,target=/srv/mem,tmpfs-size=1m", "--env", "PATH=/usr/bin:/bin"],
    ];
    for flags in rows {
        let of = |kind: &str| {
            let outcome = run_in(&sandbox, kind, flags, seen).run();
            (outcome.code(), outcome.stdout.replace("relatime,", ""), outcome.stderr)
        };
        let (ours, theirs) = (of("chroot"), of("oci"));
        for (one, other) in ours.1.lines().zip(theirs.1.lines()) {
            assert_eq!(one, other, "{flags:?}");
        }
        assert_eq!(ours, theirs, "{flags:?}");
    }
    let moved =
        run(&sandbox, &["--no-pivot"], "ls /; awk '{print $2}' /proc/self/mounts | grep -c -E '^/(proc)?$'").ok();
    assert!(moved.starts_with("bin\ndev\netc\n") && moved.ends_with("usr\nvar\n2"), "{moved}");
    assert_clean(&sandbox);
}

#[test]
fn root_chroot_fails_as_with_a_runtime() {
    let sandbox = sandbox();
    change(&sandbox, |root| {
        fs::write(root.join("usr/bin/script"), "#!/no/such/interpreter\n").expect("write");
        fs::write(root.join("usr/bin/text"), "words\n").expect("write");
        fs::write(root.join("usr/bin/elf"), b"\x7fELF\x02\x01\x01").expect("write");
        for name in ["script", "text", "elf"] {
            let mode = Mode::from_raw_mode(if name == "text" { 0o644 } else { 0o755 });
            rustix::fs::chmod(root.join("usr/bin").join(name), mode).expect("chmod");
        }
    });
    // With a mount, nobody looks the command up beforehand.
    let none: &[&str] = &[];
    for mount in [none, &["--mount", "type=tmpfs,target=/srv/mem"]] {
        let usual: &[&str] = &[];
        let rows: [(&[&str], &[&str]); 10] = [
            (usual, &["nosuch"]),
            (usual, &["/no/such"]),
            (usual, &["/etc/passwd"]),
            (usual, &["/etc"]),
            (usual, &["/usr/bin/text"]),
            (usual, &["sh", "-c", "exit 37"]),
            (usual, &["sh", "-c", "sh -c 'kill -KILL $$'"]),
            (&["--user", "ghost"], &["true"]),
            (&["--cap-add", "root"], &["true"]),
            (&["--ulimit", "nofile=8:7"], &["true"]),
        ];
        for (flags, command) in rows {
            let of = |kind: &str| {
                let words = [&["run", "--isolation", kind, "--network=none"], flags, mount, &["work"], command];
                let outcome = sandbox.gabion(words.concat()).run();
                // A runtime may have told, too, before gabion does.
                let told = outcome.stderr.lines().next_back().map(str::to_owned);
                (outcome.code(), outcome.stdout, told)
            };
            assert_eq!(of("chroot"), of("oci"), "{mount:?} {flags:?} {command:?}");
        }
    }
    // Of these, runc may tell by the command's own output, and its own exit code.
    let outcome = sandbox.gabion(["run", "--isolation=chroot", "work", "elf"]).fails();
    outcome.says(126, &["command not executable in the container: elf"]);
    for mount in [none, &["--mount", "type=tmpfs,target=/srv/mem"]] {
        let outcome = sandbox.gabion(["run", "--isolation=chroot"]).args(mount).args(["work", "script"]).fails();
        outcome.says(127, &["command not found in the container: ", "script"]);
    }
    // What only a runtime and its control groups give is refused by its name.
    for (flags, word) in [
        (&["--device", "/dev/null:/dev/nought:r"][..], "device /dev/nought"),
        (&["--device", "/dev/null:/srv/null"], "device /srv/null"),
        (&["--workingdir", "/proc/self/fd/3"], "working directory /proc/self/fd/3"),
        (&["--workingdir", "/etc/passwd"], "working directory /etc/passwd"),
        (&["--network=private"], "--network=host, none"),
    ] {
        let words = [&["run", "--isolation", "chroot"], flags, &["work", "true"]].concat();
        sandbox.gabion(words).fails().says(125, &[word]);
    }
    for flags in [["--memory", "64m"], ["--cpuset-cpus", "0"], ["--cpu-shares", "5"], ["--cgroup-parent", "/x"]] {
        sandbox.gabion(["from", "--name", "limited"]).args(flags).arg("localhost/base").ok();
        let outcome = sandbox.gabion(["run", "--isolation=chroot", "limited", "true"]).fails();
        outcome.says(125, &["needs an OCI runtime", "there is no control group"]);
        sandbox.gabion(["rm", "limited"]).ok();
    }
    assert_clean(&sandbox);
}

#[test]
fn root_chroot_nothing_of_a_step_outlives_it() {
    let sandbox = sandbox();
    let mark = format!("{}", 200_000 + u64::from(std::process::id()));
    for pid in ["private", "host"] {
        // Neither a session of its own nor a parent that is gone keeps a process.
        let script = format!("(setsid sleep {mark} > /dev/null 2>&1 < /dev/null &); sleep {mark} & exit 3");
        let outcome = run(&sandbox, &["--pid", pid], &script).fails();
        assert_eq!((outcome.code(), processes_with(&mark).len()), (Some(3), 0), "{pid}");
        // Nor when gabion is killed.
        let script = format!("(setsid sleep {mark} &); sleep {mark} & echo ready; wait");
        let mut child = run(&sandbox, &["--pid", pid], &script).spawn();
        let mut output = ready(&mut child);
        child.kill().expect("kill");
        child.wait().expect("wait");
        // It ends when the last process that has it is gone.
        output.read_to_string(&mut String::new()).expect("read");
        assert!(processes_with(&mark).iter().all(|process| !is_running(process)), "{pid}");
        // The mounts of the run have gone with the processes; that of the container is noted as its own.
        sandbox.gabion(["umount", "--all"]).ok();
    }
    assert_eq!(run(&sandbox, &[], "echo again").ok(), "again");
    assert_clean(&sandbox);
}

/// Waits for the first line of a step that says that it is ready.
fn ready(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");
    output
}

/// Whether a process is more than what waits for being forgotten.
fn is_running(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:\t"));
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[test]
fn root_chroot_keeps_gabion_out_of_reach() {
    let sandbox = sandbox();
    // gabion's environment and processes are not to be seen, nor is its program to be written to.
    let script = "cat /proc/[0-9]*/environ 2> /dev/null | tr '\\0' '\\n' | grep -c HIDDEN; ls -d /proc/[0-9]* | wc -l
        echo ready; read line";
    for (flags, most) in [(&["--cap-add=all"][..], 4), (&["--pid=host"], usize::MAX)] {
        let mut child = run(&sandbox, flags, script).env("HIDDEN", "secret").stdin("").spawn();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        assert_eq!(line(), "0", "{flags:?}");
        let processes: usize = line().parse().expect("number");
        assert!(processes <= most, "{flags:?}: {processes}");
        assert_eq!(line(), "ready");
        child.wait().expect("wait");
    }
    let mut child = run(&sandbox, &[], "echo ready; exec sleep 1000").spawn();
    let _output = ready(&mut child);
    // As long as it is executed, nobody can write to it anyway.
    let mount = rustix::fs::statvfs(format!("/proc/{}/exe", child.id())).expect("its program");
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn root_chroot_in_hostile_images() {
    let sandbox = sandbox();
    let canary = sandbox.path("canary");
    fs::create_dir_all(canary.join("sub")).expect("mkdir");
    fs::write(canary.join("file"), "canary").expect("write");
    let target = canary.clone();
    change(&sandbox, |root| {
        for name in ["etc/hosts", "etc/resolv.conf", "etc/hostname"] {
            let _ = fs::remove_file(root.join(name));
            symlink(target.join("file"), root.join(name)).expect("symlink");
        }
        symlink(&target, root.join("out")).expect("symlink");
        symlink("../../../../../../../..", root.join("up")).expect("symlink");
        // Device nodes of an image are none.
        let (mode, character) = (Mode::from_raw_mode(0o666), FileType::CharacterDevice);
        mknodat(CWD, root.join("null"), character, mode, makedev(1, 3)).expect("mknod");
        mknodat(CWD, root.join("loop"), FileType::BlockDevice, mode, makedev(7, 0)).expect("mknod");
    });
    fs::create_dir(sandbox.path("data")).expect("mkdir");
    let node = sandbox.path("data/null");
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).expect("mknod");
    let volume = format!("{}:/out/sub", sandbox.path("data").display());
    let script = "grep -c localhost /etc/hosts; cat /etc/hostname | wc -l; touch /out/sub/f
        for dir in /dev /tmp /out/mem; do mknod $dir/mine c 1 3; done
        for node in /null /loop /out/sub/null /dev/mine /tmp/mine /out/mem/mine; do
            (: < $node) 2>&1 | grep -o 'Permission denied'
        done
        echo x > /dev/null; head -c 2 /dev/zero | wc -c
        echo x > /up/made; ls /up/made";
    let flags = ["--volume", &volume, "--mount", "type=tmpfs,target=/out/mem", "--cap-add=mknod"];
    let seen = run(&sandbox, &flags, script).ok();
    assert!(seen.ends_with(&format!("1\n{}2\n/up/made", "Permission denied\n".repeat(6))), "{seen}");
    // Those of the host's /dev are what it is mounted for.
    assert_eq!(run(&sandbox, &["--volume=/dev:/dev"], "echo x > /dev/null && echo works").ok(), "works");
    assert_eq!(fs::read_to_string(canary.join("file")).expect("read"), "canary");
    assert_eq!(fs::read_dir(canary.join("sub")).expect("dir").count(), 0);
    assert_eq!(fs::read_dir(&canary).expect("dir").count(), 2, "nothing is made outside");
    assert!(!Path::new("/made").exists() && sandbox.path("data/f").exists());
    // Where the kernel's file systems belong, there are directories or nothing is run.
    for name in ["proc", "sys", "dev"] {
        change(&sandbox, |root| {
            let _ = fs::remove_dir(root.join(name));
            symlink("/tmp", root.join(name)).expect("symlink");
        });
        run(&sandbox, &[], "true").fails().says(125, &[&format!("/{name} of the root file system is a symlink")]);
        change(&sandbox, |root| fs::remove_file(root.join(name)).expect("remove"));
    }
    assert_clean(&sandbox);
}

/// The member `Isolation` of what is kept of a container.
fn kept(sandbox: &Sandbox, name: &str) -> Value {
    let directory = sandbox.graph_root().join("overlay-containers");
    let records: Value =
        serde_json::from_slice(&fs::read(directory.join("containers.json")).expect("records")).expect("JSON");
    let record = records.as_array().expect("list").iter().find(|record| record["names"][0] == name).expect(name);
    let state = directory.join(record["id"].as_str().expect("ID")).join("userdata/buildah.json");
    serde_json::from_slice::<Value>(&fs::read(state).expect("state")).expect("JSON")["Isolation"].take()
}

#[test]
fn peers_chroot_is_kept_and_obeyed_by_either_tool() {
    let sandbox = sandbox();
    // Buildah may lose what is written by a step that ends at once.
    let show =
        |file: &str| format!("(readlink /proc/self/ns/net; cat /proc/self/cgroup; id; umask) > /root/{file}; exit 5");
    for (kind, number) in [("oci", 1), ("chroot", 2), ("rootless", 3)] {
        for tool in ["gabion", "buildah"] {
            let name = format!("{tool}-{kind}");
            let words = ["from", "--isolation", kind, "--name", &name, "localhost/base"];
            if tool == "gabion" {
                sandbox.gabion(words).ok()
            } else {
                sandbox.buildah(words).ok()
            };
            assert_eq!(kept(&sandbox, &name), number, "{name}");
            assert_eq!(sandbox.gabion(["inspect", "--format", "{{.Isolation}}", &name]).ok(), kind);
        }
    }
    for name in ["gabion-chroot", "buildah-chroot"] {
        let (ours, theirs) = (show("ours"), show("theirs"));
        let ours = sandbox.gabion(["run", name, "sh", "-c", &ours]).env("PATH", "/nowhere").run();
        let theirs = sandbox.buildah(["run", name, "sh", "-c", &theirs]).run();
        assert_eq!((ours.code(), theirs.code()), (Some(5), Some(5)), "{name}: {ours} {theirs}");
        let same = "cmp /root/ours /root/theirs && grep -c . /root/ours";
        assert!(sandbox.gabion(["run", name, "sh", "-c", same]).ok().parse::<usize>().expect("lines") > 2);
    }
    // The variable counts where no flag does, and before what is kept.
    let in_chroot = |words: &[&str]| {
        let outcome = sandbox.gabion(words).env("BUILDAH_ISOLATION", "chroot").env("PATH", "/nowhere").run();
        outcome.status.success()
    };
    assert!(in_chroot(&["run", "gabion-oci", "true"]));
    assert!(!in_chroot(&["run", "--isolation", "oci", "--network=none", "gabion-chroot", "true"]));
    sandbox.gabion(["run", "gabion-oci", "true"]).env("BUILDAH_ISOLATION", "x").fails().says(125, &["chroot"]);
    // The host's network without a word, loopback alone on request.
    let network = |flags: &[&str]| {
        let words = [&["run"], flags, &["gabion-chroot", "readlink", "/proc/self/ns/net"]].concat();
        sandbox.gabion(words).ok()
    };
    let host = fs::read_link("/proc/self/ns/net").expect("a namespace").to_string_lossy().into_owned();
    assert_eq!(network(&[]), host);
    assert_ne!(network(&["--network=none"]), host);
    let rootless = ["run", "gabion-rootless", "readlink", "/proc/self/ns/net"];
    assert_eq!(sandbox.gabion(rootless).ok(), host);
}

#[test]
fn root_chroot_called_as_buildah_shares_the_hosts_namespaces() {
    let sandbox = sandbox();
    let link = sandbox.path("bin/buildah");
    fs::create_dir(sandbox.path("bin")).expect("mkdir");
    symlink(env!("CARGO_BIN_EXE_gabion"), &link).expect("symlink");
    let buildah = |words: &[&str]| sandbox.on_store(&link).args(words);
    buildah(&["from", "--isolation=chroot", "--name", "kept", "localhost/base"]).ok();
    let show = "for kind in pid ipc cgroup net; do readlink /proc/self/ns/$kind; done";
    let of_host = sandbox.any("sh").args(["-c", show]).ok();
    let shown = buildah(&["run", "--pid=private", "kept", "sh", "-c", show]).ok();
    assert_eq!(shown, of_host);
    assert_ne!(sandbox.gabion(["run", "kept", "sh", "-c", show]).ok(), of_host);
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN true\n");
    let context = sandbox.path("context").to_string_lossy().into_owned();
    for words in [["run", "work", "true"].as_slice(), &["build", &context]] {
        let (command, rest) = words.split_first().expect("a command");
        let words = [&[*command, "--isolation=chroot", "--network=none"], rest].concat();
        buildah(&words).fails().says(125, &["cannot set --network other than host with --isolation chroot"]);
    }
}

#[test]
fn root_chroot_in_an_unprivileged_container() {
    let sandbox = Sandbox::with_driver("vfs", env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    // Root of a user namespace, as in a container, which may show all of /proc or hide parts of it.
    let contained = |setup: &str, flags: &[&str], script: &str| {
        let setup = format!("{setup} exec unshare --user --map-root-user --mount \"$@\"");
        let tool = sandbox.any("unshare").args(["--mount", "sh", "-c", &setup, "sh"]);
        let tool = tool.args(sandbox.store_command(env!("CARGO_BIN_EXE_gabion")));
        tool.args(["run", "--isolation=chroot"]).args(flags).args(["work", "sh", "-c", script])
    };
    let script = "echo x > /dev/null; head -c 2 /dev/zero | wc -c; id -u; ls /sys/class/net | grep -c lo; echo $$; tty
        grep CapEff /proc/self/status; touch /root/made && ls /root/made";
    let seen = contained("", &["--terminal"], script).ok().replace('\r', "");
    assert_eq!(seen, "2\n0\n1\n1\n/dev/pts/0\nCapEff:\t00000000800405fb\n/root/made");
    let hides = "mount -t tmpfs none /proc/irq &&";
    contained(hides, &[], "true").fails().says(125, &["mount /proc", "--pid=host"]);
    let shown = contained(hides, &["--pid=host"], "test -d /proc/$$ && ls /proc/irq | wc -l; sleep 1000 &").ok();
    assert_eq!(shown, "0");
}

#[test]
fn root_chroot_builds() {
    let sandbox = sandbox();
    let secret = sandbox.write("secret", "t0p");
    sandbox.write("context/file", "of the context\n");
    sandbox.write(
        "context/Dockerfile",
        "FROM localhost/base AS made\n\
         RUN --mount=type=cache,target=/cache --mount=type=bind,target=/src --mount=type=secret,id=s \\\n\
         \x20   cat /src/file /run/secrets/s > /made && echo kept > /cache/f && ! touch /src/x\n\
         RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/mem cat /cache/f > /mem/f && cat /mem/f >> /made\n\
         RUN <<EOT\n\
         #!/bin/sh\n\
         echo $0 | grep -c . >> /made\n\
         readlink /proc/self/ns/net >> /made\n\
         EOT\n\
         FROM localhost/base\n\
         RUN --network=none ls /sys/class/net > /devices\n\
         USER mason\n\
         RUN (sleep 1000 > /dev/null 2>&1 &) && id -u > /tmp/user\n\
         COPY --from=made /made /\n",
    );
    let (context, id) = (sandbox.path("context"), format!("id=s,src={}", secret.display()));
    let build = |flags: &[&str]| {
        sandbox.gabion(["build", "--isolation=chroot", "--secret", &id, "-t", "built"]).args(flags).arg(&context)
    };
    build(&[]).env("PATH", "/nowhere").ok();
    let made = sandbox.gabion(["from", "--name", "made", "localhost/built"]).ok();
    let root = PathBuf::from(sandbox.gabion(["mount", &made]).ok());
    let host = fs::read_link("/proc/self/ns/net").expect("a namespace");
    let expected = format!("of the context\nt0pkept\n1\n{}\n", host.display());
    assert_eq!(fs::read_to_string(root.join("made")).expect("read"), expected);
    assert_eq!(fs::read_to_string(root.join("devices")).expect("read"), "lo\n");
    assert_eq!(fs::metadata(root.join("tmp/user")).expect("stat").uid(), 1000);
    assert!(!root.join("cache").exists() && !root.join("src").exists(), "mount points are gone");
    sandbox.gabion(["rm", &made]).ok();
    // A failing step tells its code, its command and the end of what it wrote.
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN echo words && exit 7\n");
    build(&[]).fails().says(7, &["exit 7", "words"]);
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN [\"/nosuch\"]\n");
    build(&[]).fails().says(127, &["command not found", "/nosuch"]);
    for (flag, word) in [("--memory=64m", "a limit on memory"), ("--network=private", "--isolation=chroot")] {
        build(&[flag]).fails().says(125, &[word]);
    }
    assert_clean(&sandbox);
}
