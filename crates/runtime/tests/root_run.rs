//! Runs of real processes through runc and crun. Needs root, runc, crun and a static busybox.
#![allow(clippy::expect_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use runtime::{BindSource, Capabilities, Exit, Mount, MountKind, Network, RunError, Seccomp, resolve_user};
use support::{RUNTIMES, Step};

#[test]
fn root_exit_codes_and_streams() {
    for runtime in RUNTIMES {
        let run = |script: &str| Step::new(runtime).sh(script).stdin("typed\n").run();
        let done = run("read line; echo out $line; echo err >&2; exit 37");
        assert_eq!((done.exit(), done.stdout.as_str(), done.stderr.as_str()), (Exit::Code(37), "out typed\n", "err\n"));
        assert_eq!(run("cat; cat").stdout, "typed\n");
        assert_eq!(
            run("kill -TERM $$; kill -KILL -1; echo alive").stdout,
            "alive\n",
            "the first process is out of reach"
        );
        assert_eq!(run("sh -c 'kill -KILL $$'; exit $?").exit(), Exit::Code(137));
        let mut step = Step::new(runtime).sh("true");
        step.options.process.args = vec!["false".into()];
        assert_eq!(step.run().exit(), Exit::Code(1));
    }
}

#[test]
fn root_commands_that_cannot_run() {
    for runtime in RUNTIMES {
        let step = |command: &str, mounted: bool| {
            let mut step = Step::new(runtime).sh("true");
            fs::write(step.rootfs().join("bin/text"), "words").expect("write");
            fs::write(step.rootfs().join("bin/script"), "#!/no/such/interpreter\n").expect("write");
            fs::set_permissions(step.rootfs().join("bin/script"), fs::Permissions::from_mode(0o755)).expect("chmod");
            step.options.process.args = vec![command.into()];
            if mounted {
                // With mounts, only the runtime can tell what is there.
                step = step.mount("/m", MountKind::Tmpfs { size: None, mode: None, copy_up: false, options: vec![] });
            }
            step.run().result.expect_err(command)
        };
        for mounted in [false, true] {
            for command in ["nosuch", "/no/such"] {
                let error = step(command, mounted);
                assert!(
                    matches!(&error, RunError::CommandNotFound(name) if name == command),
                    "{runtime} {command}: {error}"
                );
                assert_eq!(error.command_exit_code(), Some(127));
            }
            for command in ["/bin/text", "/bin"] {
                let error = step(command, mounted);
                assert!(
                    matches!(&error, RunError::CommandNotExecutable(name) if name == command),
                    "{runtime} {command}: {error}"
                );
                assert_eq!(error.command_exit_code(), Some(126));
            }
        }
        let error = step("script", false);
        assert_eq!(
            error.to_string(),
            "command not found in the container: /no/such/interpreter, which script is a script for"
        );
        assert_eq!(error.command_exit_code(), Some(127));
    }
    let error = Step::new("no-such-runtime").sh("true").run().result.expect_err("no runtime");
    assert_eq!(
        error.to_string(),
        "OCI runtime \"no-such-runtime\" not found: install it (Debian and Ubuntu: apt install runc) or name another with --runtime"
    );
    let mut step = Step::new("runc").sh("true");
    step.options.rootfs = "/no/such/root".into();
    assert!(
        step.run()
            .result
            .expect_err("no root")
            .to_string()
            .starts_with("unable to open the root file system /no/such/root")
    );
}

#[test]
fn root_environment_user_and_directory() {
    for runtime in RUNTIMES {
        let mut step = Step::new(runtime).sh("env | sort; pwd; stat -c '%u:%g %a' .; id -u; id -g; id -G");
        step.options.process.env.push("A=b c".into());
        step.options.process.working_dir = "/new/dir".into();
        let root = rootfs::Root::open(step.rootfs()).expect("root");
        step.options.process.user = resolve_user(&root, "tester").expect("user");
        let done = step.run();
        let lines: Vec<_> =
            done.stdout.lines().filter(|line| !line.starts_with("SHLVL") && !line.starts_with("PWD")).collect();
        let expected =
            ["A=b c", "HOME=/home/tester", "PATH=/bin", "/new/dir", "1000:1000 755", "1000", "1000", "1000 29"];
        assert_eq!(lines, expected, "{runtime}: {}", done.stderr);
        assert!(done.rootfs().join("new/dir").is_dir(), "a working directory stays");
    }
}

#[test]
fn root_capabilities_are_exact() {
    const DEFAULT: &str = "00000000800405fb";
    const NONE: &str = "0000000000000000";
    let status = |runtime: &str, capabilities: Capabilities, uid: u32| {
        let mut step = Step::new(runtime).sh("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status");
        step.options.capabilities = capabilities;
        step.options.process.user.uid = uid;
        let stdout = step.run().stdout;
        stdout.lines().filter_map(|line| Some(line.split_once(":\t")?.1.to_owned())).collect::<Vec<_>>()
    };
    for runtime in RUNTIMES {
        // CapInh, CapPrm, CapEff, CapBnd, CapAmb, NoNewPrivs, Seccomp
        assert_eq!(
            status(runtime, Capabilities::default(), 0),
            [NONE, DEFAULT, DEFAULT, DEFAULT, NONE, "0", "2"],
            "{runtime}"
        );
        assert_eq!(
            status(runtime, Capabilities::default(), 7),
            [NONE, NONE, NONE, DEFAULT, NONE, "0", "2"],
            "{runtime}"
        );
        let changed =
            Capabilities { add: vec!["net_raw".into()], drop: vec!["CAP_CHOWN".into()], ..Capabilities::default() };
        let changed_mask = "00000000800425fa";
        assert_eq!(
            status(runtime, changed, 0),
            [NONE, changed_mask, changed_mask, changed_mask, NONE, "0", "2"],
            "{runtime}"
        );
        let none = Capabilities { drop: vec!["all".into()], ..Capabilities::default() };
        assert_eq!(status(runtime, none, 0), [NONE, NONE, NONE, NONE, NONE, "0", "2"], "{runtime}");
    }
}

#[test]
fn root_system_calls_are_filtered() {
    for runtime in RUNTIMES {
        // Calls as root with the default capabilities; `unshare` reaches the kernel, which refuses it.
        let script = "
            chroot / true && echo chroot
            hostname other 2>&1 | grep -o 'Operation not permitted'
            swapoff /x 2>&1 | grep -o 'Operation not permitted'
            unshare -m true 2>&1 | grep -o 'Operation not permitted'";
        let done = Step::new(runtime).sh(script).run();
        let refused = "Operation not permitted\n";
        assert_eq!(done.stdout, format!("chroot\n{refused}{refused}{refused}"), "{runtime}");
        let mut step = Step::new(runtime).sh("grep Seccomp: /proc/self/status");
        step.options.seccomp = Seccomp::Unconfined;
        assert_eq!(step.run().stdout, "Seccomp:\t0\n");
        let mut step = Step::new(runtime).sh("chmod 700 /tmp || echo refused");
        let profile = step.dir().join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}],
            "syscalls":[{"names":["chmod","fchmodat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
        fs::write(&profile, text).expect("write");
        step.options.seccomp = Seccomp::File(profile);
        assert_eq!(step.run().stdout, "refused\n", "{runtime}");
    }
}

#[test]
fn root_kernel_files_are_masked_or_read_only() {
    for runtime in RUNTIMES {
        let script = "
            for f in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list; do test ! -e $f && echo 0 || wc -c < $f; done
            for f in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity /sys/kernel/profiling; do
                (echo 0 > $f) 2>&1 | grep -o 'Read-only file system' || echo WRITABLE $f
            done
            mknod /d b 7 0 2>/dev/null && echo MKNOD; (: < /dev/mem) 2>/dev/null && echo MEM
            ls /dev; ls /proc/self/fd | wc -l";
        let done = Step::new(runtime).sh(script).run();
        let lines: Vec<_> = done.stdout.lines().collect();
        assert_eq!(lines.get(..4), Some(["0"; 4].as_slice()), "{runtime}: {}{}", done.stdout, done.stderr);
        assert_eq!(
            lines.get(4..7).map(|lines| lines.iter().all(|line| *line == "Read-only file system")),
            Some(true),
            "{}",
            done.stdout
        );
        assert!(!done.stdout.contains("MKNOD") && !done.stdout.contains("MEM"), "{}", done.stdout);
        for device in ["full", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero", "mqueue", "stdin"] {
            assert!(lines.contains(&device), "{runtime}: /dev/{device}");
        }
        // Standard input, output, error, and `ls` reading the directory.
        assert_eq!(lines.last(), Some(&"4"), "{runtime}");
    }
}

#[test]
fn root_nothing_of_the_run_stays() {
    for runtime in RUNTIMES {
        let step = Step::new(runtime).sh(
            "cat /etc/hostname; head -c 9 /etc/resolv.conf | wc -c; grep -c localhost /etc/hosts; echo x > /etc/mine",
        );
        let bare = step.rootfs().to_path_buf();
        for name in ["proc", "dev", "sys", "tmp"] {
            let _ = fs::remove_dir(bare.join(name));
        }
        let before = fs::metadata(&bare).expect("stat");
        let done = step.run();
        assert_eq!(done.stdout.lines().next(), Some("step"), "{}", done.stderr);
        assert_eq!(done.result.as_ref().expect("ran").left_stubs, [""; 0].map(std::path::PathBuf::from));
        assert!(!done.bundle().exists(), "the bundle is gone");
        let mut names: Vec<_> = fs::read_dir(&bare).expect("dir").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["bin", "etc"], "{runtime}");
        let mut etc: Vec<_> =
            fs::read_dir(bare.join("etc")).expect("dir").flatten().map(|entry| entry.file_name()).collect();
        etc.sort();
        assert_eq!(etc, ["group", "mine", "passwd"]);
        let after = fs::metadata(&bare).expect("stat");
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        for group in ["memory", "devices", "pids"] {
            let left = support::cgroups_named(group, &done.id());
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[test]
fn root_mounts_of_each_kind() {
    for runtime in RUNTIMES {
        let step = Step::new(runtime);
        let data = step.dir().join("data");
        fs::create_dir(&data).expect("mkdir");
        fs::write(data.join("f"), "content\n").expect("write");
        let bind = |source: BindSource, discard_writes: bool| MountKind::Bind {
            source,
            propagation: Default::default(),
            recursive: true,
            discard_writes,
            hidden: Vec::new(),
            options: vec!["nosuid".into(), "nodev".into()],
        };
        let path = || BindSource::Path(data.clone());
        let fd = || BindSource::Fd(fs::File::open(&data).expect("open").into());
        let file = || BindSource::Path(data.join("f"));
        let done = step
            .sh("cat /m/ro/f; (echo x > /m/ro/f) 2>&1 | grep -o Read-only
                 echo more >> /m/rw/f; echo new > /m/drop/n; echo more >> /m/drop/f; cat /m/drop/n; wc -l < /m/drop/f
                 echo gone > /m/file; cat /m/file
                 stat -f -c %T /m/tmp; stat -c %a /m/tmp; df -k /m/tmp | tail -1 | awk '{print $2}'; cat /up/kept
                 grep -c ' /m/rw .*nosuid,nodev.* - ' /proc/self/mountinfo; grep ' /m/rw ' /proc/self/mountinfo | grep -c 'shared:'")
            .setup(|rootfs| {
                fs::create_dir(rootfs.join("up")).expect("mkdir");
                fs::write(rootfs.join("up/kept"), "kept\n").expect("write");
            })
            .read_only_mount("/m/ro", bind(path(), false))
            .mount("/m/rw", bind(fd(), false))
            .mount("/m/drop", bind(fd(), true))
            .mount("/m/file", bind(file(), true))
            .mount("/m/tmp", MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o1751), copy_up: false, options: vec![] })
            .mount("/up", MountKind::Tmpfs { size: None, mode: None, copy_up: true, options: vec![] })
            .run();
        let expected = "content\nRead-only\nnew\n3\ngone\ntmpfs\n1751\n1024\nkept\n1\n0\n";
        assert_eq!(done.stdout, expected, "{runtime}: {}", done.stderr);
        assert_eq!(fs::read_to_string(data.join("f")).expect("read"), "content\nmore\n");
        assert!(!data.join("n").exists(), "dropped");
        assert!(!done.rootfs().join("m").exists(), "mount points are gone");
    }
}

#[test]
fn root_networks() {
    for runtime in RUNTIMES {
        let of = |network: Network| {
            let mut step = Step::new(runtime).sh("readlink /proc/self/ns/net; ls /sys/class/net; echo; ls /etc");
            step.options.network = network;
            step.run().stdout
        };
        // The namespace and not its devices: other tests make and remove networks meanwhile.
        let namespace = std::fs::read_link("/proc/self/ns/net").expect("read");
        assert!(of(Network::Host).starts_with(&format!("{}\n", namespace.display())));
        let none = of(Network::None);
        assert!(none.contains("]\nlo\n\n") && !none.contains("resolv.conf") && none.contains("hosts"), "{none}");
    }
}

#[test]
fn root_private_network_reaches_the_bridge_and_not_the_loopback() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    for runtime in RUNTIMES {
        let script = format!(
            "ls /sys/class/net | tr '\\n' ' '; ip -4 addr show eth0 | grep -o '10[.]88[.][0-9]*[.][0-9]*/16' | head -1
             ip route | grep -o 'default via 10[.]88[.]0[.]1'; grep -o 'host.containers.internal' /etc/hosts; grep step /etc/hosts
             nc -w 1 127.0.0.1 {port} < /dev/null && echo REACHED; nc -w 1 10.88.0.1 {port} < /dev/null && echo REACHED"
        );
        let mut step = Step::new(runtime).sh(&script);
        let state = tempfile::tempdir().expect("temp dir");
        let state_dir = state.path().join("networks");
        let config = runtime::NetworkConfig { state_dir: state_dir.clone(), ..Default::default() };
        step.options.network = Network::Private(config);
        let done = step.run();
        let lines: Vec<_> = done.stdout.lines().collect();
        let [devices_and_address, route, internal, own] = lines.as_slice() else {
            panic!("{runtime}: {:?} {}{}", done.result, done.stdout, done.stderr)
        };
        let address = devices_and_address.strip_prefix("eth0 lo ").expect("two devices").trim_end_matches("/16");
        assert!(address.parse::<std::net::Ipv4Addr>().expect("address").octets()[2] >= 128, "{address}");
        assert_eq!((*route, *internal), ("default via 10.88.0.1", "host.containers.internal"));
        assert_eq!(own.split_whitespace().collect::<Vec<_>>(), [address, "step"]);
        assert_eq!(fs::read_dir(state_dir.join("podman")).expect("dir").count(), 0, "addresses are given back");

        // One network for several runs is the same for each, and goes with the last holder.
        let config = runtime::NetworkConfig { state_dir: state_dir.clone(), ..Default::default() };
        let shared = runtime::SharedNetwork::new(config);
        let address = || {
            let mut step =
                Step::new(runtime).sh("ip -4 addr show eth0 | grep -o '10[.]88[.][0-9]*[.][0-9]*/16' | head -1");
            step.options.network = Network::Shared(shared.clone());
            step.run().stdout
        };
        let first = address();
        assert!(first.starts_with("10.88."), "{first}");
        assert_eq!(address(), first);
        drop(shared);
    }
}

#[test]
fn root_hostile_root_file_systems() {
    for runtime in RUNTIMES {
        // Symlinks of the image that point out of it: everything stays inside.
        let step = Step::new(runtime);
        let canary = step.dir().join("canary");
        fs::create_dir_all(canary.join("sub")).expect("mkdir");
        fs::write(canary.join("hosts"), "canary").expect("write");
        let target = canary.clone();
        let done = step
            .setup(move |rootfs| {
                fs::rename(rootfs.join("etc"), rootfs.join("real-etc")).expect("rename");
                symlink("/real-etc", rootfs.join("etc")).expect("symlink");
                symlink(target.join("hosts"), rootfs.join("real-etc/hosts")).expect("symlink");
                symlink(&target, rootfs.join("m")).expect("symlink");
                symlink(target.join("created"), rootfs.join("real-etc/hostname")).expect("symlink");
            })
            .sh("grep -q localhost /etc/hosts && echo hosts; touch /m/sub/inside; cat /etc/hostname")
            .mount("/m/sub", MountKind::Tmpfs { size: None, mode: None, copy_up: false, options: vec![] })
            .run();
        assert_eq!(done.stdout, "hosts\nstep\n", "{runtime}: {}", done.stderr);
        assert_eq!(fs::read_to_string(canary.join("hosts")).expect("canary"), "canary");
        assert_eq!(fs::read_dir(&canary).expect("canary").count(), 2);
        assert_eq!(fs::read_dir(canary.join("sub")).expect("canary").count(), 0);

        // A working directory that is a descriptor of the runtime, or behind a symlink.
        for number in 3..12 {
            let mut step = Step::new(runtime).sh("pwd; ls | head -3");
            step.options.process.working_dir = format!("/proc/self/fd/{number}");
            let done = step.run();
            assert!(
                done.result.is_err() || !matches!(done.exit(), Exit::Code(0)),
                "{runtime} {number}: {}",
                done.stdout
            );
        }
        let canary = tempfile::tempdir().expect("temp dir");
        let target = canary.path().to_path_buf();
        let mut step = Step::new(runtime)
            .setup(move |rootfs| symlink(target, rootfs.join("w")).expect("symlink"))
            .sh("touch here");
        step.options.process.working_dir = "/w/new".into();
        assert_eq!(step.run().exit(), Exit::Code(0));
        assert_eq!(fs::read_dir(canary.path()).expect("canary").count(), 0);

        // `/proc`, `/dev` and `/sys` have to be directories.
        for name in ["proc", "dev", "sys"] {
            let link = format!("/{name}");
            let step = Step::new(runtime).setup(move |rootfs| {
                let _ = fs::remove_dir(rootfs.join(&link[1..]));
                symlink("/tmp", rootfs.join(&link[1..])).expect("symlink");
            });
            let error = step.sh("true").run().result.expect_err("refused");
            assert_eq!(
                error.to_string(),
                format!("/{name} of the root file system is a symlink or below one, and must be a directory")
            );
        }
    }
}

#[test]
fn root_the_runtimes_environment_is_empty() {
    // What gabion was given must not be readable from inside.
    let done = Step::new("runc").sh("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c CARGO").run();
    assert_eq!(done.stdout, "0\n");
}

#[test]
fn root_files_of_the_caller_keep_their_owner() {
    let mut step = Step::new("runc").sh("id -u; echo text");
    let out = step.dir().join("out");
    let file = fs::File::create(&out).expect("create");
    std::os::unix::fs::chown(&out, Some(4242), Some(4242)).expect("chown");
    step.stdout = Some(file.into());
    step.options.process.user.uid = 7;
    let done = step.run();
    assert_eq!(done.exit(), Exit::Code(0));
    assert_eq!(fs::read_to_string(&out).expect("read"), "7\ntext\n");
    assert_eq!(fs::metadata(&out).expect("stat").uid(), 4242);
}

#[test]
fn root_refused_options() {
    let error = |change: &dyn Fn(&mut runtime::RunOptions)| {
        let mut step = Step::new("runc").sh("true");
        change(&mut step.options);
        step.run().result.expect_err("refused").to_string()
    };
    assert_eq!(error(&|options| options.process.args.clear()), "no command to run");
    assert_eq!(error(&|options| options.id = "a/b".into()), r#"invalid container ID: "a/b""#);
    assert_eq!(error(&|options| options.hostname = Some("a\nb".into())), r#"invalid host name: "a\nb""#);
    assert!(error(&|options| options.process.env.push("A=\0".into())).starts_with("invalid argument or variable"));
    assert!(error(&|options| options.process.working_dir = "rel".into()).starts_with("invalid working directory"));
    let missing = Mount {
        target: "/m".into(),
        kind: MountKind::Bind {
            source: BindSource::Path("/no/such".into()),
            propagation: Default::default(),
            recursive: false,
            discard_writes: false,
            hidden: Vec::new(),
            options: vec![],
        },
        read_only: false,
    };
    let step = Step::new("runc").sh("true").with(missing);
    assert_eq!(
        step.run().result.expect_err("missing").to_string(),
        "unable to open mount source /no/such: No such file or directory (os error 2)"
    );
}
