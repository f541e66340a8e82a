//! RUN with secrets, SSH agents, devices and rights, end to end; and how a failing one is told.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::{Outcome, Sandbox};

const SECRET: &str = "t0p-secret-c0ntent";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    fs::write(sandbox.path("secret"), SECRET).expect("write");
    sandbox
}

/// Builds `FROM localhost/base` and `steps` as the image `built`.
fn build(sandbox: &Sandbox, steps: &str, args: &[&str]) -> Outcome {
    let dir = sandbox.path("context");
    fs::create_dir_all(&dir).expect("mkdir");
    fs::write(dir.join("Dockerfile"), format!("FROM localhost/base\n{steps}\n")).expect("write");
    sandbox.gabion(["build", "--network=none", "-t", "built"]).args(args).arg(&dir).run()
}

#[track_caller]
fn built(sandbox: &Sandbox, steps: &str, args: &[&str]) -> String {
    let outcome = build(sandbox, steps, args);
    assert!(outcome.status.success(), "{outcome}");
    outcome.stdout
}

/// Files below `dir` that hold `text`, or that are named `name`.
fn found(dir: &Path, text: &str, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("type"));
        if path.file_name().is_some_and(|own| own == name) {
            found.push(path.clone());
        }
        if kind.is_dir() {
            found.extend(self::found(&path, text, name));
        } else if kind.is_file() && String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(text) {
            found.push(path);
        }
    }
    found
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[test]
fn root_secrets_are_seen_by_their_step_only() {
    let sandbox = sandbox();
    let flag = format!("id=s,src={}", sandbox.path("secret").display());
    let steps = "RUN --mount=type=secret,id=s stat -c '%n %a %u' /run/secrets/s && wc -c < /run/secrets/s\n\
        WORKDIR /w\nRUN --mount=type=secret,id=s,target=t,uid=1000,gid=5,mode=0440 stat -c '%n %a %u %g' /w/t\n\
        RUN --mount=type=secret,id=s,env=TOKEN test ${#TOKEN} = 18 && test ! -e /run/secrets && echo variable\n\
        RUN --mount=type=secret,id=s,env=TOKEN,target=/both test \"$(cat /both)\" = \"$TOKEN\" && echo both\n\
        RUN --mount=type=secret,id=other test ! -e /run/secrets && echo none\n\
        RUN --mount=type=secret,id=s echo x >> /run/secrets/s || echo refused\n\
        USER mason\nRUN --mount=type=secret,id=s cat /run/secrets/s || echo root\\'s\n\
        RUN --mount=type=secret,id=s,uid=1000 wc -c < /run/secrets/s";
    let stdout = built(&sandbox, steps, &["--secret", &flag]);
    let told = |line: &&str| !line.starts_with("STEP") && !line.starts_with("-->");
    let lines: Vec<&str> = stdout.lines().filter(told).take(9).collect();
    let expected =
        ["/run/secrets/s 400 0", "18", "/w/t 440 1000 5", "variable", "both", "none", "refused", "root's", "18"];
    assert_eq!(lines, expected);
    // Neither the content nor a mount point is anywhere: layers, history, config, logs, leftovers.
    let left = found(&sandbox.graph_root(), SECRET, "secrets");
    assert!(left.is_empty(), "{left:?}");
    let container = sandbox.gabion(["from", "built"]).ok();
    let root = PathBuf::from(sandbox.gabion(["mount", &container]).ok());
    assert!(!root.join("run/secrets").exists() && !root.join("w/t").exists() && !root.join("both").exists());
}

#[test]
fn root_secrets_that_are_missing_or_wrong() {
    let sandbox = sandbox();
    build(&sandbox, "RUN --mount=type=secret,id=q,required=true true", &[]).says(
        125,
        &["Dockerfile:2:5: ", "secret required but no secret with id \"q\" found: give it by --secret id=q"],
    );
    build(&sandbox, "RUN true", &["--secret", "id=q,src=/no/file"]).says(125, &["--secret", "/no/file"]);
    build(&sandbox, "RUN true", &["--secret", "id=q,env=NO_SUCH"]).says(125, &["no variable NO_SUCH"]);
    fs::write(sandbox.path("binary"), b"\xff\0").expect("write");
    let flag = format!("id=b,src={}", sandbox.path("binary").display());
    build(&sandbox, "RUN --mount=type=secret,id=b,env=B true", &["--secret", &flag])
        .says(125, &["the secret b is no text"]);
}

#[test]
fn root_agents_of_key_files_sign() {
    let sandbox = sandbox();
    let keys = ["ed25519", "ecdsa", "rsa"].map(|kind| {
        let path = sandbox.path(kind);
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-C", kind, "-t", kind, "-f"]).arg(&path).status();
        assert!(made.expect("ssh-keygen").success());
        path.display().to_string()
    });
    let shared = sandbox.path("shared");
    fs::create_dir(&shared).expect("mkdir");
    for name in ["up", "go"] {
        fifo(&shared.join(name));
    }
    let ssh = format!("default={}", keys.join(","));
    let volume = format!("{}:/v", shared.display());
    let step = "USER mason\nRUN --mount=type=ssh,uid=1000,mode=0600 test -S $SSH_AUTH_SOCK && test -w $SSH_AUTH_SOCK && \
        echo $SSH_AUTH_SOCK > /v/up && cat /v/go";
    let stdout = std::thread::scope(|scope| {
        let building = scope.spawn(|| built(&sandbox, step, &["--ssh", &ssh, "--volume", &volume]));
        fs::set_permissions(shared.join("up"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
        fs::set_permissions(shared.join("go"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
        let up = fs::read_to_string(shared.join("up")).expect("up");
        // The socket that the step sees, from outside; by a short name, as clients need it.
        let sockets = found(&sandbox.graph_root(), "in no file", "agent-0");
        let socket = sockets.iter().find(|path| path.ends_with("agent-0")).expect("a socket");
        std::os::unix::fs::symlink(socket.parent().expect("dir"), sandbox.path("d")).expect("symlink");
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).env("SSH_AUTH_SOCK", sandbox.path("d/agent-0")).output();
            let output = output.expect(program);
            let text = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&text).into_owned())
        };
        let listed = run("ssh-add", &["-l"]);
        // Without the private keys at hand, so that it is the agent who signs.
        let signed = keys.each_ref().map(|key| {
            let name = Path::new(key).file_name().expect("name").to_string_lossy().into_owned();
            let (public, data) = (sandbox.path(format!("d-{name}.pub")), sandbox.path(format!("data-{name}")));
            fs::copy(format!("{key}.pub"), &public).expect("copy");
            fs::write(&data, "data").expect("write");
            let (public, data) = (public.display().to_string(), data.display().to_string());
            let made = run("ssh-keygen", &["-Y", "sign", "-n", "file", "-f", &public, &data]);
            let check = format!("ssh-keygen -Y check-novalidate -n file -s {data}.sig < {data}");
            (made, run("sh", &["-c", &check]))
        });
        let removed = run("ssh-add", &["-D"]);
        // Whatever comes out of it, the step goes on.
        fs::write(shared.join("go"), "went\n").expect("go");
        let stdout = building.join().expect("no panic");
        assert_eq!(up, "/run/buildkit/ssh_agent.0\n");
        for kind in ["ed25519", "ecdsa", "rsa"] {
            assert!(listed.0 && listed.1.contains(kind), "{listed:?} {socket:?}");
        }
        assert!(signed.iter().all(|(made, checked)| made.0 && checked.0), "{signed:?}");
        assert!(!removed.0, "keys can't be removed");
        stdout
    });
    assert!(stdout.contains("went\n"), "{stdout}");
    assert!(found(&sandbox.graph_root(), "OPENSSH PRIVATE", "ssh_agent.0").is_empty());
}

#[test]
fn root_agents_that_are_missing_or_locked() {
    let sandbox = sandbox();
    build(&sandbox, "RUN --mount=type=ssh,required=true true", &[]).says(125, &[":2:5: ", "no SSH agent default"]);
    built(&sandbox, "RUN --mount=type=ssh test -z \"$SSH_AUTH_SOCK\"", &[]);
    let path = sandbox.path("locked");
    let made = Command::new("ssh-keygen").args(["-q", "-N", "passphrase", "-t", "ed25519", "-f"]).arg(&path).status();
    assert!(made.expect("ssh-keygen").success());
    let flag = format!("default={}", path.display());
    build(&sandbox, "RUN true", &["--ssh", &flag]).says(125, &["the key has a passphrase"]);
    let socket = sandbox.path("socket");
    let _listener = UnixListener::bind(&socket).expect("bind");
    let flag = format!("x={}", socket.display());
    built(
        &sandbox,
        "RUN --mount=type=ssh,id=x,target=/agent test -S /agent && test $SSH_AUTH_SOCK = /agent",
        &["--ssh", &flag],
    );
}

#[test]
fn root_rights_need_a_word_of_the_user() {
    let sandbox = sandbox();
    let cdi = sandbox.path("cdi");
    fs::create_dir(&cdi).expect("mkdir");
    let text = "cdiVersion: 0.6.0\nkind: v.org/z\ndevices:\n- name: a\n  containerEdits:\n    env: [Z=zero]\n    deviceNodes:\n    \
        - path: /dev/z\n      hostPath: /dev/zero\n";
    fs::write(cdi.join("z.yaml"), text).expect("write");
    let cdi = format!("--cdi-config-dir={}", cdi.display());
    let device = "RUN --device=v.org/z=a,required test -c /dev/z && test $Z = zero";
    for (step, allow) in [
        ("RUN --security=insecure grep -q 'Seccomp:.0' /proc/self/status", "security.insecure"),
        ("RUN --network=host true", "network.host"),
        (device, "device=v.org/z=a"),
        (device, "device"),
    ] {
        let refused = build(&sandbox, step, &[&cdi]);
        refused.says(125, &["is not allowed", &format!("--allow {allow}")]);
        built(&sandbox, step, &[&cdi, "--allow", allow]);
    }
    build(&sandbox, device, &[&cdi, "--allow", "device=v.org/z=b"]).says(125, &["is not allowed"]);
    let missing = "RUN --device=v.org/z=b,required true";
    build(&sandbox, missing, &[&cdi, "--allow=device"]).says(125, &["is in no CDI specification"]);
    built(&sandbox, "RUN --device=v.org/z=b true", &[&cdi, "--allow=device"]);
    built(&sandbox, "RUN test -c /dev/y", &["--device", "/dev/zero:/dev/y:r"]);
    build(&sandbox, "RUN true", &["--allow", "all"]).says(125, &["--allow", "expected network.host"]);
}

#[test]
fn root_failing_run_tells_its_end() {
    let sandbox = sandbox();
    for flags in [&[][..], &["--quiet"]] {
        let failed = build(&sandbox, "RUN seq 100; \\\n echo oops; exit 7", flags);
        assert_eq!(failed.code(), Some(7), "{failed}");
        for text in [
            "Dockerfile:2:1",
            "ended with exit code 7",
            "2 | RUN seq 100",
            "The end of its output:",
            "\n  100\n",
            "  oops\n",
        ] {
            assert!(failed.stderr.contains(text), "{text}: {failed}");
        }
        assert!(!failed.stderr.contains("\n  80\n"), "{failed}");
    }
}

#[test]
fn root_scripts_run_for_any_user_and_stay_nowhere() {
    let sandbox = sandbox();
    let stdout = built(&sandbox, "USER mason\nRUN <<END\n#!/bin/sh -e\nid -u\necho x >> $0 || echo refused\nEND", &[]);
    assert!(stdout.contains("1000\nrefused\n"), "{stdout}");
    assert!(
        found(&sandbox.graph_root(), "echo x >> $0 || echo refused\n", "pipes")
            .iter()
            .all(|path| !path.ends_with("END"))
    );
}

#[test]
fn root_programs_of_another_machine_are_told() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    // The beginning of a program for s390x, whose numbers begin with the high byte.
    let mut program = b"\x7fELF\x02\x02\x01".to_vec();
    program.resize(16, 0);
    program.extend([0, 2, 0, 22, 0, 0, 0, 1]);
    program.resize(512, 0);
    sandbox.write("context/program", program);
    sandbox.write(
        "context/Dockerfile",
        "FROM --platform=linux/s390x scratch\nCOPY --chmod=755 program /bin/sh\nRUN true\n",
    );
    let outcome = sandbox.gabion(["build", "--network=none"]).arg(sandbox.path("context")).run();
    let told = ["Dockerfile:3:1", "/bin/sh is a program for s390x", "does not run", "apt install qemu-user-static"];
    outcome.says(126, &told);
}

#[test]
fn root_a_locked_cache_has_one_user_at_a_time() {
    let sandbox = sandbox();
    let shared = sandbox.path("shared");
    fs::create_dir(&shared).expect("mkdir");
    for name in ["first", "go", "second"] {
        fifo(&shared.join(name));
    }
    let volume = format!("{}:/v", shared.display());
    let build = |name: &str, steps: &str| {
        sandbox.write(format!("{name}/Dockerfile"), format!("FROM localhost/base\n{steps}\n"));
        let args = ["build", "-q", "--network=none", "--volume", &volume, "-t", name];
        sandbox.gabion(args).arg(sandbox.path(name)).ok()
    };
    let mount = "RUN --mount=type=cache,id=l,sharing=locked,target=/c";
    std::thread::scope(|scope| {
        // It holds the cache until the other one is about to ask for it, and for a while after.
        scope.spawn(|| {
            let work = "for i in 1 2 3 4 5 6 7 8 9; do stat / > /dev/null; done; echo end 1 >> /c/log";
            build("one", &format!("{mount} echo begin 1 >> /c/log; echo > /v/first; cat /v/go; {work}"));
        });
        fs::read(shared.join("first")).expect("the first one has the cache");
        scope.spawn(|| {
            build("two", &format!("RUN echo > /v/second\n{mount} echo begin 2 >> /c/log; echo end 2 >> /c/log"))
        });
        fs::read(shared.join("second")).expect("the second one goes on to it");
        fs::write(shared.join("go"), "").expect("the first one ends");
    });
    build("three", &format!("{mount} cp /c/log /v/log"));
    assert_eq!(fs::read_to_string(shared.join("log")).expect("log"), "begin 1\nend 1\nbegin 2\nend 2\n");
}
