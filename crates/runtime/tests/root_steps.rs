//! What a run keeps off the disk, what it grants, what it limits, what it keeps of the output.
//! Needs root, runc, crun and a static busybox.
#![allow(clippy::expect_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rootfs::Owner;
use runtime::{
    BindSource, Confinement, Content, Device, Exit, Hook, MountKind, Namespace, Resources, Rlimit, RunError,
    RunOptions, Stop, User,
};
use support::{CHROOT, RUNTIMES, Step};

fn volume(path: &Path) -> MountKind {
    bind(path, false)
}

fn bind(path: &Path, discard_writes: bool) -> MountKind {
    let (source, propagation) = (BindSource::Path(path.to_owned()), Default::default());
    MountKind::Bind { source, propagation, recursive: true, discard_writes, hidden: Vec::new(), options: Vec::new() }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .expect("mkfifo");
}

/// Runs `step`, whose script is to write to `/v/up` and then to read `/v/go`; between the two, `look`.
fn meanwhile(step: Step, script: &str, look: impl FnOnce()) -> support::Done {
    let shared = tempfile::tempdir().expect("temp dir");
    for name in ["up", "go"] {
        fifo(&shared.path().join(name));
    }
    let step = step.sh(script).mount("/v", volume(shared.path()));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| step.run());
        fs::read(shared.path().join("up")).expect("the step is up");
        look();
        fs::write(shared.path().join("go"), "go\n").expect("go");
        run.join().expect("no panic")
    })
}

/// Whether a file below `dir` holds `text`.
fn holds(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).expect("dir").flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().expect("type") {
            kind if kind.is_dir() => holds(&path, text),
            kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path).expect("read")).contains(text),
            _ => false,
        }
    })
}

#[test]
fn root_secrets_are_never_on_a_disk() {
    for runtime in RUNTIMES {
        let file = |owner: Owner, mode| MountKind::File {
            content: Content::new(*b"c0ntent"),
            mode,
            owner,
            options: ["nosuid", "nodev", "noexec"].map(String::from).to_vec(),
        };
        let mut step = Step::new(runtime)
            .read_only_mount("/run/secrets/one", file(Owner::ROOT, 0o400))
            .read_only_mount("/run/secrets/two", file(Owner { uid: 7, gid: 8 }, 0o640));
        step.options.process.env.push("HIDDEN=envir0nment".into());
        let dir = step.dir().to_owned();
        let script = "echo > /v/up; cat /v/go; cd /run/secrets; cat one two; stat -c ' %a %u %g' one two; echo $HIDDEN
            grep -c 'secrets/... tmpfs\\|secrets/... none\\|tmpfs tmpfs' /proc/self/mounts > /dev/null
            echo x > one || echo refused";
        let done = meanwhile(step, script, || {
            for secret in ["c0ntent", "envir0nment"] {
                assert!(!holds(&dir, secret), "{runtime}: {secret} is on the disk");
            }
        });
        let expected = "go\nc0ntentc0ntent 400 0 0\n 640 7 8\nenvir0nment\nrefused\n";
        assert_eq!((done.exit(), done.stdout.as_str()), (Exit::Code(0), expected), "{runtime}: {}", done.stderr);
        assert!(!done.rootfs().join("run").exists(), "mount points are gone");
        assert!(!done.bundle().exists());
    }
}

#[test]
fn root_stopped_steps_leave_nothing() {
    for (runtime, pid) in [("runc", Namespace::Private), (CHROOT, Namespace::Private), (CHROOT, Namespace::Host)] {
        let shared = tempfile::tempdir().expect("temp dir");
        fifo(&shared.path().join("up"));
        let mut step = Step::new(runtime)
            .sh("(setsid sleep 1000 &); sleep 1000 & echo up > /v/up; wait")
            .mount("/v", volume(shared.path()));
        let stop = Arc::new(Stop::new().expect("a switch"));
        step.options.stop = Some(stop.clone());
        step.options.namespaces.pid = pid.clone();
        std::thread::scope(|scope| {
            // Its streams have ended when it returns: nobody has them any more.
            let run = scope.spawn(|| step.run());
            fs::read(shared.path().join("up")).expect("the step is up");
            stop.set();
            let done = run.join().expect("no panic");
            assert!(!matches!(done.exit(), Exit::Code(0)), "{runtime} {pid:?}: {:?}", done.exit());
            assert!(!done.bundle().exists());
        });
    }
}

#[test]
fn root_chroot_refuses_what_only_a_runtime_does() {
    let error = |change: &dyn Fn(&mut RunOptions)| {
        let mut step = Step::new(CHROOT).sh("true");
        change(&mut step.options);
        step.run().result.expect_err("refused").to_string()
    };
    let hook = || Hook { when: "prestart".into(), path: "/h".into(), args: vec![], env: vec![], timeout: None };
    assert!(error(&|options| options.hooks.push(hook())).starts_with("OCI hook /h needs an OCI runtime"));
    assert!(error(&|options| options.resources.memory = Some(1)).starts_with("a limit on memory needs"));
    let other = Device { access: "w".into(), ..Device::new("/dev/zero", "/dev/mine") };
    assert!(error(&|options| options.devices.push(other.clone())).starts_with("device /dev/mine with \"w\" alone"));
    let changes: [fn(&mut User); 3] =
        [|user| user.uid = u32::MAX, |user| user.gid = u32::MAX, |user| user.additional_gids.push(u32::MAX)];
    for change in changes {
        assert!(error(&|options| change(&mut options.process.user)).contains("4294967295 is no ID"));
    }
    let joined = Namespace::Path("/proc/self/ns/pid".into());
    assert!(error(&|options| options.namespaces.pid = joined.clone()).starts_with("PID namespace /proc/self/ns/pid"));
}

#[test]
fn root_output_end_is_kept() {
    for runtime in RUNTIMES {
        for (keep, expected) in [(true, &["9", "10", "out", "err"][..]), (false, &[])] {
            let mut step = Step::new(runtime).sh("seq 10; echo out; sleep 0; echo err >&2; exit 3");
            step.options.keep_output_end = keep;
            let done = step.run();
            assert!(done.stdout.ends_with("10\nout\n") && done.stderr == "err\n", "all is handed on");
            let outcome = done.result.expect("it ran");
            // The two streams are read by a thread each.
            let mut end = outcome.output_end.clone();
            end.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert!(expected.iter().all(|line| end.iter().any(|seen| seen == line)), "{end:?}");
            assert_eq!(end.len(), if keep { 12 } else { 0 });
        }
    }
}

#[test]
fn root_insecure_is_hardly_confined() {
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status; test -r /proc/timer_list && wc -c < /proc/timer_list
        test -e /dev/loop-control && echo loop; mknod /n b 7 0 && dd if=/n of=/dev/null count=0 2>/dev/null && echo opened
        test -w /proc/sys/kernel/hostname && echo writable";
    for runtime in RUNTIMES {
        let run = |confinement| {
            let mut step = Step::new(runtime).sh(script);
            step.options.confinement = confinement;
            let done = step.run();
            assert!(done.result.is_ok(), "{runtime}: {:?}", done.result);
            done.stdout
        };
        let sandbox = run(Confinement::Sandbox);
        assert!(sandbox.contains("Seccomp:\t2"), "{sandbox}");
        for word in ["loop", "opened"] {
            assert!(!sandbox.contains(word), "{runtime}: {sandbox}");
        }
        let insecure = run(Confinement::Insecure);
        let own = fs::read_to_string("/proc/self/status").expect("status");
        let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a set").trim().to_owned();
        assert!(insecure.contains(&format!("CapEff:\t{own}")), "{insecure}");
        assert!(insecure.contains("Seccomp:\t0"), "{insecure}");
        for word in ["opened", "writable"] {
            assert!(insecure.contains(word), "{runtime}: {insecure}");
        }
        assert_eq!(insecure.contains("loop"), Path::new("/dev/loop-control").exists(), "{insecure}");
    }
}

#[test]
fn root_devices_are_given() {
    for runtime in RUNTIMES {
        let script = "stat -c '%t %T %a %u' /dev/mine; head -c 3 /dev/mine | wc -c; echo x > /dev/mine || echo refused";
        let mut step = Step::new(runtime).sh(script);
        // Without a control group, a device is given whole or not at all.
        let access = if runtime == CHROOT { "rwm" } else { "r" };
        let device =
            Device { access: access.into(), mode: Some(0o640), uid: Some(9), ..Device::new("/dev/zero", "/dev/mine") };
        step.options.devices.push(device);
        let done = step.run();
        // A node of /dev/zero may be written to by everybody: the control group has the word only for others.
        assert!(done.stdout.starts_with("1 5 640 9\n3\n"), "{runtime}: {} {}", done.stdout, done.stderr);
        let mut step = Step::new(runtime).sh("true");
        step.options.devices.push(Device::new("/dev/none", "/dev/none"));
        let error = step.run().result.expect_err("no such device").to_string();
        assert!(error.starts_with("device /dev/none: "), "{error}");
    }
}

#[test]
fn root_limits_of_control_groups() {
    let resources = Resources {
        memory: Some(64 << 20),
        cpu_shares: Some(512),
        cpu_period: Some(100_000),
        cpu_quota: Some(50_000),
        cpuset_cpus: Some("0".into()),
        ..Resources::default()
    };
    resources.check().expect("the host has all of them");
    let mut step = Step::new("runc");
    step.options.resources = resources;
    let id = step.options.id.clone();
    let done = meanwhile(step, "echo > /v/up; cat /v/go; grep Cpus_allowed_list /proc/self/status", || {
        for (hierarchy, file, expected) in [
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpuset", "cpuset.cpus", "0"),
        ] {
            let groups = support::cgroups_named(hierarchy, &id);
            let group = groups.first().expect("a group");
            assert_eq!(fs::read_to_string(group.join(file)).expect(file).trim(), expected, "{file}");
        }
    });
    assert!(done.stdout.ends_with("Cpus_allowed_list:\t0\n"), "{}", done.stdout);
    assert!(support::cgroups_named("memory", &id).is_empty());
}

#[test]
fn root_hooks_are_run() {
    for runtime in RUNTIMES.into_iter().filter(|runtime| *runtime != CHROOT) {
        let mut step = Step::new(runtime).sh("true");
        let witness = step.dir().join("witness");
        step.options.hooks.push(Hook {
            when: "createRuntime".into(),
            path: "/bin/sh".into(),
            args: ["sh".into(), "-c".into(), format!("cat > /dev/null; echo $NAME > {}", witness.display())].to_vec(),
            env: vec!["NAME=hook".into()],
            timeout: Some(10),
        });
        let done = step.run();
        assert_eq!(done.exit(), Exit::Code(0));
        assert_eq!(fs::read_to_string(&witness).expect("the hook ran"), "hook\n");
    }
}

#[test]
fn root_binds_whose_writes_are_dropped_never_wait() {
    for runtime in RUNTIMES {
        let tree = tempfile::tempdir().expect("temp dir");
        fifo(&tree.path().join("fifo"));
        fs::write(tree.path().join("file"), "old\n").expect("write");
        // A file is copied, which may never end for these.
        for path in [tree.path().join("fifo"), "/dev/zero".into()] {
            let error = Step::new(runtime).sh("true").mount("/m", bind(&path, true)).run().result.expect_err("refused");
            assert!(matches!(error, RunError::Mount(_)), "{error}");
            assert!(error.to_string().ends_with("is neither a file nor a directory"), "{error}");
        }
        // A tree that has them is not copied.
        let script = "cd /m; test -p fifo && echo new > file && rm fifo && cat file";
        let done = Step::new(runtime).sh(script).mount("/m", bind(tree.path(), true)).run();
        assert_eq!((done.exit(), done.stdout.as_str()), (Exit::Code(0), "new\n"), "{}", done.stderr);
        assert_eq!(fs::read_to_string(tree.path().join("file")).expect("read"), "old\n");
        assert!(fs::metadata(tree.path().join("fifo")).expect("stat").mode() & 0o170_000 == 0o010_000);
    }
}

#[test]
fn root_limits_are_set_as_the_host_allows() {
    for runtime in RUNTIMES {
        let mut step = Step::new(runtime).sh("ulimit -Sn; ulimit -Hn");
        step.options.rlimits = vec![Rlimit { name: "nofile".into(), soft: 100, hard: 200, may_be_lowered: false }];
        assert_eq!(step.run().stdout, "100\n200\n");
    }
}
