//! Every flag of every command, given what it cannot take: one line that names the flag, what was
//! given and what is accepted; exit code 125; and nothing changed.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;

use test_support::Sandbox;

/// A flag as the help shows it.
#[derive(Debug)]
struct Flag {
    long: String,
    takes_value: bool,
    optional: bool,
}

/// The flags in a command's help, the global ones left out.
fn flags(help: &str) -> Vec<Flag> {
    let own = help.split("\nGlobal options:").next().unwrap_or_default();
    own.lines().filter_map(flag).collect()
}

fn flag(line: &str) -> Option<Flag> {
    let text = line.strip_prefix("  ")?.trim_start();
    if !text.starts_with('-') || line.len() - line.trim_start().len() > 6 {
        return None;
    }
    let text = text.get(text.find("--")?..)?;
    let head = text.split("  ").next().unwrap_or_default();
    let end = head.find([' ', '[', '=', '.']).unwrap_or(head.len());
    let (long, rest) = head.split_at(end);
    Some(Flag {
        long: long.to_owned(),
        takes_value: rest.contains('<') || rest.contains('['),
        optional: rest.starts_with('['),
    })
}

/// The commands in gabion's help.
fn commands(help: &str) -> Vec<String> {
    let section = help.split("Commands:\n").nth(1).unwrap_or_default();
    let section = section.split("\n\n").next().unwrap_or_default();
    let names = section.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// What commands need besides their flags, so that a flag is what is wrong.
fn arguments(command: &str) -> &'static [&'static str] {
    match command {
        "add" | "copy" => &["work", "file", "/"],
        "build" => &["."],
        "commit" => &["work", "new"],
        "completion" => &["bash"],
        "config" | "mount" | "rm" | "umount" => &["work"],
        "from" | "history" | "inspect" | "pull" | "rmi" => &["base"],
        "push" => &["base", "dir:pushed"],
        "rename" => &["work", "other"],
        "run" => &["work", "true"],
        "tag" | "untag" => &["base", "name"],
        _ => &[],
    }
}

/// What is in the store and beside it: names and IDs.
fn state(sandbox: &Sandbox) -> Vec<String> {
    let mut state = vec![
        sandbox.gabion(["images", "-a", "--json", "--no-trunc"]).ok(),
        sandbox.gabion(["containers", "--json"]).ok(),
        sandbox.gabion(["inspect", "--type", "container", "work"]).ok(),
    ];
    // Without the ages of images.
    state[0] = state[0].lines().filter(|line| !line.contains("createdat\"")).collect::<Vec<_>>().join("\n");
    let entries = fs::read_dir(sandbox.path("empty")).expect("list").map(|entry| entry.expect("an entry").file_name());
    state.extend(entries.map(|name| name.to_string_lossy().into_owned()).collect::<BTreeSet<_>>());
    state
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work", "base"]).ok();
    sandbox.write("empty/Dockerfile", "FROM base\n");
    sandbox.write("empty/file", "content");
    sandbox
}

/// Runs a command that must fail with one line that has `words` in it.
fn check(sandbox: &Sandbox, args: &[&str], words: &[&str], wrong: &mut Vec<String>) {
    let outcome = sandbox.gabion(args).run();
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("Error: ")).collect::<Vec<_>>();
    let says = errors.len() == 1 && words.iter().all(|word| errors[0].contains(word));
    if outcome.code() != Some(125) || !says || outcome.stderr.contains("panicked") {
        wrong.push(format!("{words:?} expected, exit code 125: {outcome}"));
    }
}

#[test]
fn root_flags_refuse_what_they_cannot_take() {
    let sandbox = sandbox();
    let before = state(&sandbox);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for command in commands(&sandbox.gabion(["--help"]).ok()) {
        let help = sandbox.gabion([command.as_str(), "--help"]).ok();
        for flag in flags(&help) {
            seen += 1;
            let long = flag.long.as_str();
            if !flag.takes_value {
                // A switch takes no value, or a boolean.
                let given = format!("{long}=nonsense");
                let args = [&[command.as_str(), &given], arguments(&command)].concat();
                check(&sandbox, &args, &[long, "nonsense"], &mut wrong);
            } else if !flag.optional && command != "run" {
                // The value is missing where the line ends.
                check(&sandbox, &[command.as_str(), long], &[long], &mut wrong);
            }
        }
    }
    assert!(seen > 150, "only {seen} flags were found");
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(state(&sandbox), before, "nothing changed");
}

/// Flags whose value has a form: what is out of form or range is refused, and what is accepted told.
const MALFORMED: &[(&str, &[&str], &[&str])] = &[
    ("add,copy,build,commit,from,pull,push", &["--tls-verify=perhaps"], &["--tls-verify", "perhaps", "true, false"]),
    ("commit,from,pull,push,build", &["--retry=x"], &["--retry", "x", "invalid digit"]),
    ("commit,from,pull,push,build", &["--retry=-1"], &["--retry", "-1"]),
    ("commit,from,pull,push,build", &["--retry-delay=soon"], &["--retry-delay", "soon", "30s"]),
    ("commit,from,pull,push,build", &["--authfile", "/nosuch"], &["/nosuch", "does not exist"]),
    ("commit,from,build", &["--format", "nosuch"], &["--format", "nosuch", "oci", "docker"]),
    ("commit,from,build", &["--format", ""], &["--format", "oci", "docker"]),
    ("push", &["--format", "nosuch"], &["--format", "nosuch", "oci", "v2s2"]),
    ("push", &["--format", "v2s1"], &["--format", "v2s1", "oci or v2s2"]),
    ("from,build", &["--pull=nosuch"], &["--pull", "nosuch", "always, missing, never or newer"]),
    ("pull", &["--policy", "nosuch"], &["--policy", "nosuch", "always, missing, never or newer"]),
    ("from,pull", &["--platform", "x"], &["--platform", "x"]),
    ("from,pull", &["--platform", "linux/amd64", "--arch", "arm64"], &["--platform", "--arch"]),
    ("commit,push", &["--compression-format", "lzma"], &["--compression-format", "lzma", "gzip or zstd"]),
    ("commit,push", &["--compression-level", "21"], &["--compression-level", "21", "1..=20"]),
    ("commit,push", &["--compression-level", "x"], &["--compression-level", "x"]),
    (
        "commit,push",
        &["--compression-format", "gzip", "--compression-level", "12"],
        &["--compression-level", "12", "1 to 9"],
    ),
    ("commit,push", &["-D", "--compression-format", "zstd"], &["--disable-compression", "--compression-format"]),
    ("commit", &["--timestamp", "x"], &["--timestamp", "x", "invalid digit"]),
    ("commit", &["--timestamp", "99999999999999"], &["--timestamp", "99999999999999", "possible date"]),
    ("commit", &["--timestamp", "1", "--source-date-epoch", "2"], &["--source-date-epoch", "--timestamp"]),
    ("commit", &["--source-date-epoch", "x"], &["--source-date-epoch", "x"]),
    ("commit", &["--reference-time", "/nosuch"], &["--reference-time", "/nosuch", "No such file"]),
    ("commit", &["--annotation", "x"], &["--annotation", "x", "NAME=VALUE"]),
    ("commit", &["--annotation", "=x"], &["--annotation", "NAME=VALUE"]),
    ("commit", &["--change", "RUN x"], &["RUN x", "more than to change the config"]),
    ("commit", &["--change", "nosuch"], &["nosuch", "unknown instruction"]),
    ("commit", &["--change", ""], &["change", "expected an instruction"]),
    ("commit", &["--config", "/nosuch"], &["--config", "/nosuch", "No such file"]),
    ("commit", &["--config", "file"], &["--config", "file", "expected value"]),
    ("commit", &["--identity-label=perhaps"], &["--identity-label", "perhaps", "true, false"]),
    ("commit", &["--manifest", "x"], &["--manifest", "x", "manifest lists are not supported"]),
    ("commit,push", &["--sign-by", "x"], &["--sign-by", "x", "signatures are not supported"]),
    ("commit,push", &["--encryption-key", "x"], &["--encryption-key", "x", "not supported"]),
    ("commit,from,pull,push", &["--signature-policy", "/nosuch"], &["signature policy", "/nosuch", "No such file"]),
    ("commit,from,pull,push,run", &["--signature-policy", "file"], &["signature policy", "file", "expected value"]),
    ("commit", &["--sbom", "x"], &["--sbom", "x", "scanner"]),
    ("add,copy", &["--timestamp", "x"], &["--timestamp", "x", "invalid digit"]),
    ("add,copy", &["--allow-wildcard=perhaps"], &["--allow-wildcard", "perhaps", "true, false"]),
    ("add,copy", &["--link"], &["--link", "one layer"]),
    ("build", &["--layer-label", "=x"], &["--layer-label", "=x", "NAME=VALUE"]),
    ("build", &["--os-feature", ""], &["--os-feature", "expected a name"]),
    ("build", &["--logsplit"], &["--logfile"]),
    ("build", &["--logfile", "/nosuch/log"], &["--logfile", "/nosuch/log", "No such file"]),
    ("build", &["--mount", "type=nosuch,target=/x"], &["nosuch"]),
    ("build", &["--from", "Not Valid"], &["Not Valid"]),
    ("build", &["-f", "/nosuch"], &["/nosuch", "not there"]),
    ("push", &["--all"], &["--all", "manifest lists are not supported"]),
    ("push", &["--rm=nonsense"], &["--rm", "nonsense"]),
    ("run,from,build", &["--cap-add", "root"], &["--cap-add", "root", "capabilities(7)"]),
    ("run,from,build", &["--cap-drop", ""], &["--cap-drop", "capabilities(7)"]),
    ("run,from,build", &["--device", "x"], &["--device", "x", "/dev/name", "vendor/class=name"]),
    ("run,from,build", &["--device", "/dev/null:/dev/x:z"], &["--device", "/dev/null:/dev/x:z", "rwm"]),
    ("run,from,build", &["--device", "/dev/nosuch"], &["--device", "/dev/nosuch", "No such file"]),
    ("run", &["--device", "v.org/c=nosuch", "--cdi-config-dir", "/nosuch"], &["v.org/c=nosuch", "/nosuch"]),
    ("run,from,build", &["--isolation", "nosuch"], &["--isolation", "nosuch", "oci"]),
    ("run,from,build", &["--isolation", "chroot"], &["--isolation", "chroot", "only oci is supported"]),
    ("run,from,build", &["--ipc", "nosuch"], &["--ipc", "nosuch", "private, host, or the path"]),
    ("run,from,build", &["--pid", "ns:/nosuch"], &["--pid", "ns:/nosuch", "private, host, or the path"]),
    ("run,from,build", &["--uts", "/nosuch"], &["--uts", "/nosuch", "private, host, or the path"]),
    ("run,from,build", &["--cgroupns", "x"], &["--cgroupns", "x", "private, host, or the path"]),
    ("run,from,build", &["--network", "nosuch"], &["--network", "nosuch", "private, host, none"]),
    ("run,from,build", &["--network", "../x"], &["--network", "../x", "private, host, none"]),
    ("run,from,build", &["--network", "ns:/nosuch"], &["--network", "ns:/nosuch", "private, host, none"]),
    ("run,from,build", &["--volume", "x"], &["--volume", "x", "host-dir:container-dir"]),
    ("run,from,build", &["--volume", "/a:b"], &["--volume", "/a:b", "absolute path"]),
    ("run,from,build", &["--volume", "/a:/b:nosuch"], &["--volume", "/a:/b:nosuch", "nosuch"]),
    ("run,from,build", &["--volume", "/a:/b:ro,rw"], &["--volume", "/a:/b:ro,rw", "contradicts"]),
    ("run", &["--runtime", "nosuch"], &["nosuch", "--runtime"]),
    ("from,build", &["--add-host", "x"], &["--add-host", "x", "HOST:IP"]),
    ("from,build", &["--add-host", "a:nosuch"], &["--add-host", "nosuch", "IP address", "host-gateway"]),
    ("build", &["--add-host", "a:1.1.1.1", "--no-hosts"], &["--add-host", "--no-hosts"]),
    ("from,build", &["--cgroup-parent", ""], &["--cgroup-parent", "path of a control group"]),
    ("from,build", &["--cgroup-parent", "/a/../b"], &["--cgroup-parent", "/a/../b", "path of a control group"]),
    ("from,build", &["--cpu-period", "x"], &["--cpu-period", "x", "invalid digit"]),
    ("from,build", &["--cpu-period", "-1"], &["-1"]),
    ("from,build", &["--cpu-quota", "1.5"], &["--cpu-quota", "1.5", "invalid digit"]),
    ("from,build", &["-c", "x"], &["--cpu-shares", "x", "invalid digit"]),
    ("from,build", &["--cpuset-cpus", "a-b"], &["--cpuset-cpus", "a-b", "0-3,5"]),
    ("from,build", &["--cpuset-mems", "3-1"], &["--cpuset-mems", "3-1", "0-3,5"]),
    ("from,build", &["--dns", "nosuch"], &["--dns", "nosuch", "IP address, or none"]),
    ("from,build", &["--dns", "none,1.1.1.1"], &["--dns=none", "another --dns"]),
    ("from,build", &["--dns", "none", "--dns-search", "x"], &["--dns=none", "--dns-search"]),
    ("from,build", &["--dns", "none", "--dns-option", "x"], &["--dns=none", "--dns-option"]),
    ("from,build", &["--dns-search", "a b"], &["--dns-search", "a b", "one word"]),
    ("from,build", &["--dns-option", ""], &["--dns-option", "one word"]),
    ("from,build", &["--group-add", "wheel"], &["--group-add", "wheel", "number"]),
    ("from,build", &["--group-add", "keep-groups"], &["--group-add", "keep-groups", "name the groups"]),
    ("from,build", &["--http-proxy=perhaps"], &["--http-proxy", "perhaps", "true, false"]),
    ("from,build", &["--memory", "x"], &["--memory", "x", "b, k, m or g"]),
    ("from,build", &["--memory", "99999999999g"], &["--memory", "99999999999g", "b, k, m or g"]),
    ("from,build", &["--memory-swap", "-2"], &["--memory-swap", "-2", "or -1"]),
    ("from,build", &["--security-opt", "x"], &["--security-opt", "x", "seccomp=", "apparmor=", "no-new-privileges"]),
    ("from,build", &["--security-opt", "label=type:x"], &["--security-opt", "label=type:x", "label=disable"]),
    ("from,build", &["--security-opt", "mask=x"], &["--security-opt", "mask=x", "mask=/PATH"]),
    ("from,build", &["--shm-size", "x"], &["--shm-size", "x", "k, m or g"]),
    ("from,build", &["--ulimit", "x"], &["--ulimit", "x", "NAME=SOFT[:HARD]"]),
    ("from,build", &["--ulimit", "files=1"], &["--ulimit", "files=1", "getrlimit(2)"]),
    ("from,build", &["--ulimit", "nofile=2:1"], &["--ulimit", "nofile=2:1", "soft limit"]),
    ("from,build", &["--userns", "auto"], &["--userns", "auto", "not supported"]),
    ("run", &["--default-mounts-file", "/nosuch"], &["--default-mounts-file", "/nosuch", "expected a file"]),
    ("build", &["--hooks-dir", "/nosuch"], &["--hooks-dir", "/nosuch", "expected a directory"]),
    ("run", &["--valid-exit-codes", "x"], &["--valid-exit-codes", "x", "invalid digit"]),
    ("run", &["--valid-exit-codes", "256"], &["--valid-exit-codes", "256", "0..=255"]),
    ("run,from,build", &["--volume", "/a:/b:O,z"], &["--volume", "/a:/b:O,z", "contradicts"]),
    ("run,from,build", &["--volume", "/a:/b:idmap"], &["--volume", "/a:/b:idmap", "not supported"]),
    ("config", &["--healthcheck-interval", "x"], &["--healthcheck-interval", "x", "30s"]),
    ("config", &["--healthcheck-retries", "x"], &["--healthcheck-retries", "x", "invalid digit"]),
    ("config", &["--healthcheck-timeout=-1s"], &["--healthcheck-timeout", "-1s", "30s"]),
    ("config", &["--cmd", "'open"], &["--cmd", "'open", "quote"]),
    ("config", &["--shell", "\"open"], &["--shell", "open", "quote"]),
    ("config", &["--healthcheck", "'open"], &["--healthcheck", "'open", "quote"]),
    ("config", &["--env", "NOSUCHVARIABLE"], &["--env", "NOSUCHVARIABLE", "no value"]),
    ("config", &["--port", ""], &["--port", "expected"]),
    ("config", &["--port", "x"], &["--port", "x", "80 or 53/udp"]),
    ("config", &["--port", "70000"], &["--port", "70000", "80 or 53/udp"]),
    ("config", &["--volume", ""], &["--volume", "expected"]),
    ("config", &["--env", "=x"], &["--env", "=x", "NAME"]),
    ("config", &["--label", "=x"], &["--label", "=x", "NAME"]),
    ("config", &["--annotation", "=x"], &["--annotation", "=x", "NAME"]),
    ("config", &["--add-history=perhaps"], &["--add-history", "perhaps", "true, false"]),
    ("images", &["--filter", "x"], &["filter", "x", "key=value"]),
    ("images", &["--filter", "nosuch=x"], &["filter", "nosuch"]),
    ("images", &["--filter", "dangling=perhaps"], &["filter", "perhaps", "true or false"]),
    ("images", &["--filter", "until=x"], &["filter", "until=x", "2h"]),
    ("images", &["--format", "{{.ID"], &["template", "{{.ID"]),
    ("images", &["--format", "{{nosuch .ID}}"], &["template", "nosuch"]),
    ("images", &["-q", "--format", "x"], &["--quiet", "--format"]),
    ("containers", &["--filter", "x"], &["filter", "x", "id=, name= or ancestor="]),
    ("containers", &["--format", "{{.Nope}}"], &["Nope"]),
    ("inspect,info", &["--format", "word"], &["--format", "word", "Go template"]),
    ("inspect,info", &["--format", ""], &["--format", "Go template"]),
    ("inspect", &["--type", "nosuch"], &["--type", "nosuch", "container, image"]),
    ("history", &["--human=perhaps"], &["--human", "perhaps", "true, false"]),
    ("rmi", &["--all"], &["--all"]),
    ("rmi", &["--prune"], &["--prune"]),
    ("rm,umount", &["--all"], &["--all"]),
];

/// The flags before the command.
const GLOBAL: &[(&[&str], &[&str])] = &[
    (&["--log-level", "nosuch"], &["--log-level", "nosuch", "error, warn, info, debug"]),
    (&["--log-level", ""], &["--log-level", "error, warn, info, debug"]),
    (&["--cgroup-manager", "systemd"], &["--cgroup-manager", "systemd", "cgroupfs"]),
    (&["--cgroup-manager", ""], &["--cgroup-manager", "cgroupfs"]),
    (&["--storage-driver", "nosuch"], &["nosuch", "overlay"]),
    (&["--storage-opt", "nosuch"], &["nosuch", "overlay.mountopt="]),
    (&["--storage-opt", "overlay.nosuch=x"], &["overlay.nosuch", "overlay.mountopt="]),
    (&["--userns-uid-map", "0:0:1"], &["--userns-uid-map", "0:0:1", "not supported"]),
    (&["--userns-gid-map", "0:0:1"], &["--userns-gid-map", "0:0:1", "not supported"]),
    (&["--imagestore", "x"], &["--imagestore", "x", "one store"]),
    (&["--transient-store"], &["--transient-store", "on disk"]),
    (&["--nosuch"], &["--nosuch"]),
];

#[test]
fn root_switches_take_a_boolean_as_gos_do() {
    let sandbox = sandbox();
    let quiet = sandbox.gabion(["images", "--quiet"]).ok();
    let table = sandbox.gabion(["images", "--no-trunc"]).ok();
    for (args, expected) in [
        (&["images", "-q=true"][..], &quiet),
        (&["images", "--quiet=1", "--digests=F"], &quiet),
        (&["images", "--quiet=false", "--no-trunc=TRUE"], &table),
        (&["images", "-q", "--quiet=0", "--no-trunc"], &table),
    ] {
        assert_eq!(&sandbox.gabion(args).ok(), expected, "{args:?}");
    }
    // What a variable of the environment says is read in the same way; an empty one says nothing.
    sandbox.gabion(["build", "--pull-never=1", "."]).env("BUILDAH_LAYERS", "0").ok();
    sandbox.gabion(["from", "--name", "other", "scratch"]).env("BUILDAH_FORMAT", "").ok();
    assert!(sandbox.gabion(["images", "--quiet=perhaps"]).fails().stderr.contains("true, false"));
}

#[test]
fn root_malformed_values_are_refused_by_name() {
    let sandbox = sandbox();
    let before = state(&sandbox);
    let mut wrong = Vec::new();
    for (commands, args, words) in MALFORMED {
        for command in commands.split(',').filter(|command| {
            // Not every command of a group has each of its flags.
            let long = args.iter().find(|arg| arg.starts_with("--")).map(|arg| arg.split('=').next().unwrap_or(arg));
            let refused = words.iter().any(|word| word.contains("not supported"));
            let help = sandbox.gabion([*command, "--help"]).ok();
            refused || long.is_none_or(|long| help.contains(long) || long == "--reference-time" || long == "--sbom")
        }) {
            check(&sandbox, &[&[command], *args, arguments(command)].concat(), words, &mut wrong);
        }
    }
    for (args, words) in GLOBAL {
        check(&sandbox, &[*args, &["rm", "work"]].concat(), words, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(state(&sandbox), before, "nothing changed");
}
