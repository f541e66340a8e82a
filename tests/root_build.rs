//! Images built from Dockerfiles: what each instruction does to files and config, and what is
//! left in the store afterwards.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::{Value, json};
use test_support::{Outcome, Sandbox, Tree, store_check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// A build context with `dockerfile` and the files of `tree`.
fn context(sandbox: &Sandbox, name: &str, dockerfile: &str, tree: &Tree) -> PathBuf {
    let dir = sandbox.path(name);
    fs::create_dir_all(&dir).expect("make the context");
    tree.write_to(&dir);
    fs::write(dir.join("Dockerfile"), dockerfile).expect("write the Dockerfile");
    dir
}

/// Runs `gabion build` without a network, under the name `image`.
fn try_build(sandbox: &Sandbox, image: &str, dockerfile: &str, tree: &Tree, args: &[&str]) -> Outcome {
    let dir = context(sandbox, &format!("context-{image}"), dockerfile, tree);
    let tag = ["build", "--network=none", "-t", image];
    sandbox.gabion(tag).args(args).arg(&dir).run()
}

/// The same, which must succeed; gives what was printed.
#[track_caller]
fn build(sandbox: &Sandbox, image: &str, dockerfile: &str, tree: &Tree, args: &[&str]) -> String {
    let outcome = try_build(sandbox, image, dockerfile, tree, args);
    assert!(outcome.status.success(), "{outcome}");
    outcome.stdout
}

/// The image's config.
fn config(sandbox: &Sandbox, image: &str) -> Value {
    let inspected = sandbox.gabion(["inspect", "--type", "image", image]).json();
    serde_json::from_str(inspected["Config"].as_str().expect("text")).expect("JSON")
}

/// `created_by` of each history entry after the base's, with `-` in front of those without a layer.
fn history(sandbox: &Sandbox, image: &str) -> Vec<String> {
    let config = config(sandbox, image);
    let entries = config["history"].as_array().expect("history");
    let line = |entry: &Value| {
        let text = entry["created_by"].as_str().expect("text").trim_start_matches("/bin/sh -c ");
        if entry["empty_layer"] == true { format!("-{text}") } else { text.to_owned() }
    };
    entries.iter().skip(1).map(line).collect()
}

/// Mounts the image in a working container, looks at its files, and removes the container.
fn with_files<T>(sandbox: &Sandbox, image: &str, look: impl FnOnce(&Path) -> T) -> T {
    let container = sandbox.gabion(["from", image]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    let result = look(Path::new(&root));
    sandbox.gabion(["rm", &container]).ok();
    result
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

/// IDs of all images of the store, by another tool.
fn images(sandbox: &Sandbox) -> BTreeSet<String> {
    let records = store_check::records(&sandbox.graph_root(), "images");
    records.iter().map(|record| record["id"].as_str().expect("id").to_owned()).collect()
}

/// No container, no layer that no image has, and no mount.
#[track_caller]
fn assert_clean(sandbox: &Sandbox) {
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers"), Vec::<Value>::new());
    let layers = store_check::records(&sandbox.graph_root(), "layers");
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for image in store_check::records(&sandbox.graph_root(), "images") {
        let mut next = image["layer"].as_str().map(str::to_owned);
        while let Some(id) = next {
            let layer = layers.iter().find(|layer| layer["id"] == id.as_str()).expect("an image's layer");
            next = layer["parent"].as_str().filter(|parent| !parent.is_empty()).map(str::to_owned);
            reached.insert(id);
        }
    }
    let all: BTreeSet<String> = layers.iter().map(|layer| layer["id"].as_str().expect("id").to_owned()).collect();
    assert_eq!(all, reached, "layers without an image");
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let store = sandbox.graph_root();
    let mounted: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(&store) && Path::new(point) != store.join("overlay"))
        .collect();
    assert_eq!(mounted, Vec::<&str>::new());
}

#[test]
fn root_run_makes_a_layer_each_and_config_none() {
    let sandbox = sandbox();
    let dockerfile = "FROM localhost/base\nENV A=1\nRUN echo one > /one\nLABEL l=\"x y\"\nRUN rm /one; echo two > /two\n\
        CMD [\"cat\", \"/two\"]\n";
    let stdout = build(&sandbox, "steps", dockerfile, &Tree::new(), &[]);
    let lines: Vec<&str> = stdout.lines().filter(|line| !line.starts_with("--> ")).collect();
    let id = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "steps"]).ok();
    assert_eq!(
        lines,
        [
            "STEP 1/6: FROM localhost/base",
            "STEP 2/6: ENV A=1",
            "STEP 3/6: RUN echo one > /one",
            "STEP 4/6: LABEL l=\"x y\"",
            "STEP 5/6: RUN rm /one; echo two > /two",
            "STEP 6/6: CMD [\"cat\", \"/two\"]",
            "COMMIT localhost/steps:latest",
            "Successfully tagged localhost/steps:latest",
            &id,
        ]
    );
    assert!(stdout.contains(&format!("--> {}\n", &id[..12])), "{stdout}");
    let expected = [
        "-#(nop) ENV A=1",
        "echo one > /one",
        "-#(nop) LABEL l=\"x y\"",
        "rm /one; echo two > /two",
        "-#(nop) CMD [\"cat\", \"/two\"]",
    ];
    assert_eq!(history(&sandbox, "steps"), expected);
    let config = config(&sandbox, "steps");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(3));
    assert_eq!(config["config"]["Labels"]["l"], "x y");
    with_files(&sandbox, "steps", |root| {
        assert_eq!(read(root, "two"), "two\n");
        assert!(!root.join("one").exists());
    });
    assert_clean(&sandbox);

    build(&sandbox, "one", dockerfile, &Tree::new(), &["--layers=false"]);
    let expected = [
        "-#(nop) ENV A=1",
        "-echo one > /one",
        "-#(nop) LABEL l=\"x y\"",
        "-rm /one; echo two > /two",
        "#(nop) CMD [\"cat\", \"/two\"]",
    ];
    assert_eq!(history(&sandbox, "one"), expected);
    build(&sandbox, "squashed", dockerfile, &Tree::new(), &["--squash"]);
    build(&sandbox, "flat", dockerfile, &Tree::new(), &["--squash-all"]);
    for (image, layers) in [("one", 2), ("squashed", 2), ("flat", 1)] {
        let config = self::config(&sandbox, image);
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(layers), "{image}");
        with_files(&sandbox, image, |root| assert_eq!(read(root, "two"), "two\n"));
    }
    assert_clean(&sandbox);
}

#[test]
fn root_config_instructions_reach_the_image() {
    let sandbox = sandbox();
    let dockerfile = "ARG TAG=latest\nFROM localhost/base:$TAG\nMAINTAINER Me <me@here>\nARG P=80\nENV E=\"a b\" F=${E:-none} PATH=/x:$PATH\n\
        EXPOSE $P 53/udp\nVOLUME /v1 /v2\nVOLUME [\"/v 3\"]\nUSER mason:0\nWORKDIR /w\nWORKDIR sub\nSTOPSIGNAL SIGINT\n\
        LABEL a=1 \\\n  # a comment\n  b=\"$E\"\nSHELL [\"/bin/sh\", \"-ec\"]\nENTRYPOINT [\"/bin/echo\"]\nCMD hello $E\n\
        HEALTHCHECK --interval=3s --retries=2 CMD true\nONBUILD RUN echo later > /tmp/later\n";
    build(
        &sandbox,
        "docker-config",
        dockerfile,
        &Tree::new(),
        &["--format=docker", "--label", "c=2", "--annotation", "x=y"],
    );
    let config = config(&sandbox, "docker-config");
    let run = &config["config"];
    assert_eq!(config["author"], "Me <me@here>");
    assert_eq!(run["Env"], json!(["PATH=/x:/bin:/usr/bin", "E=a b", "F=none"]));
    assert_eq!(run["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
    assert_eq!(run["Volumes"], json!({"/v1": {}, "/v2": {}, "/v 3": {}}));
    assert_eq!((&run["User"], &run["WorkingDir"]), (&json!("mason:0"), &json!("/w/sub")));
    assert_eq!(run["StopSignal"], "SIGINT");
    assert_eq!(
        (&run["Labels"]["a"], &run["Labels"]["b"], &run["Labels"]["c"]),
        (&json!("1"), &json!("a b"), &json!("2"))
    );
    assert_eq!(run["Shell"], json!(["/bin/sh", "-ec"]));
    assert_eq!(run["Entrypoint"], json!(["/bin/echo"]));
    assert_eq!(run["Cmd"], json!(["/bin/sh", "-ec", "hello $E"]));
    assert_eq!(run["Healthcheck"], json!({"Test": ["CMD-SHELL", "true"], "Interval": 3_000_000_000_u64, "Retries": 2}));
    assert_eq!(run["OnBuild"], json!(["RUN echo later > /tmp/later"]));
    with_files(&sandbox, "docker-config", |root| {
        use std::os::unix::fs::MetadataExt;
        let made = fs::metadata(root.join("w/sub")).expect("WORKDIR makes it");
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (1000, 0, 0o755));
    });

    // The trigger runs in the build on it, once.
    let stdout = build(&sandbox, "triggered", "FROM docker-config\n", &Tree::new(), &["--format=docker"]);
    assert!(stdout.contains("STEP 1/1"), "{stdout}");
    with_files(&sandbox, "triggered", |root| assert_eq!(read(root, "tmp/later"), "later\n"));
    assert_eq!(self::config(&sandbox, "triggered")["config"]["OnBuild"], serde_json::json!([]));

    let outcome = try_build(&sandbox, "oci-config", "FROM localhost/base\nHEALTHCHECK CMD x\n", &Tree::new(), &[]);
    assert!(
        outcome.stderr.contains("Dockerfile:2:1: HEALTHCHECK is not persisted in the OCI image format"),
        "{outcome}"
    );
    assert_clean(&sandbox);
}

#[test]
fn root_run_sees_arguments_environment_and_scripts() {
    let sandbox = sandbox();
    let dockerfile = "ARG GLOBAL=g\nFROM localhost/base\nARG GLOBAL\nARG GIVEN=default\nARG UNSET\nARG SHADOWED=arg\nENV SHADOWED=env\n\
        RUN echo $GLOBAL $GIVEN ${UNSET-unset} $SHADOWED $TARGETARCH > /args\nARG TARGETARCH\nARG TARGETPLATFORM\n\
        RUN echo $TARGETPLATFORM-$TARGETARCH > /platform; echo $http_proxy > /proxy\n\
        RUN [\"/bin/sh\", \"-c\", \"echo exec $GIVEN > /exec\"]\n\
        WORKDIR /tmp\nRUN pwd > /pwd\nUSER mason\nRUN id -u > /tmp/user; echo $HOME >> /tmp/user\nUSER root\n\
        RUN <<EOF\nset -e\necho \"a heredoc for $GIVEN\" > /heredoc\nEOF\n\
        RUN <<'EOF' cat > /quoted\n$GIVEN \\n\nEOF\n\
        RUN <<-EOF\n#!/bin/ash\n\techo by $0 > /script\n\tEOF\n\
        RUN cat <<A <<B > /two\n1\nA\n2\nB\n\
        SHELL [\"/bin/ash\", \"-ec\"]\nRUN echo \"$0\" > /shell\n";
    let args = ["--build-arg", "GIVEN=x y", "--build-arg", "http_proxy=http://p", "--build-arg", "NOBODYS=1"];
    let outcome = try_build(&sandbox, "seen", dockerfile, &Tree::new(), &args);
    assert!(outcome.status.success(), "{outcome}");
    assert!(outcome.stderr.contains("one or more build args were not consumed: [NOBODYS]"), "{outcome}");
    let architecture = config(&sandbox, "seen")["architecture"].as_str().expect("text").to_owned();
    with_files(&sandbox, "seen", |root| {
        for (path, expected) in [
            ("args", "g x y unset env\n"),
            ("platform", &*format!("linux/{architecture}-{architecture}\n")),
            ("proxy", "http://p\n"),
            ("exec", "exec x y\n"),
            ("pwd", "/tmp\n"),
            ("tmp/user", "1000\n/home\n"),
            ("heredoc", "a heredoc for x y\n"),
            ("quoted", "$GIVEN \\n\n"),
            ("script", "by /dev/pipes/EOF\n"),
            ("two", "2\n"),
            ("shell", "/bin/ash\n"),
        ] {
            assert_eq!(read(root, path), expected, "{path}");
        }
        // Nothing of what was mounted for the steps.
        for gone in ["dev/pipes", "etc/resolv.conf", "etc/hosts", "etc/hostname", "run/.containerenv"] {
            assert!(!root.join(gone).exists(), "{gone} is left");
        }
    });
    let history = history(&sandbox, "seen");
    assert_eq!(
        history[5],
        "|3 GIVEN=x y GLOBAL=g SHADOWED=env /bin/sh -c echo $GLOBAL $GIVEN ${UNSET-unset} $SHADOWED $TARGETARCH > /args"
    );
    assert!(!history.join("\n").contains("http://p"), "{history:?}");
    assert_clean(&sandbox);
}

#[test]
fn root_stages_are_built_as_far_as_needed() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let dockerfile = "FROM localhost/base AS first\nARG SEEN=kept\nRUN echo first > /first\nENV STAGE=first\n\
        FROM localhost/base AS unneeded\nRUN exit 9\n\
        FROM first AS second\nRUN echo $STAGE $SEEN > /second\n\
        FROM localhost/base\nRUN --mount=from=second,target=/mnt cat /mnt/first /mnt/second > /last\n";
    let stdout = build(&sandbox, "stages", dockerfile, &Tree::new(), &[]);
    assert!(stdout.contains("[1/3] STEP 1/4: FROM localhost/base AS first"), "{stdout}");
    assert!(stdout.contains("[3/3] STEP 2/2: RUN --mount"), "{stdout}");
    with_files(&sandbox, "stages", |root| {
        assert_eq!(read(root, "last"), "first\nfirst kept\n");
        assert!(!root.join("first").exists() && !root.join("mnt").exists());
    });
    // One is nameless: it keeps the stage that the last one reads.
    assert_eq!(images(&sandbox).len(), before.len() + 2);
    assert_clean(&sandbox);
    for target in ["second", "2", "SECOND"] {
        build(&sandbox, "target", dockerfile, &Tree::new(), &["--target", target]);
        with_files(&sandbox, "target", |root| assert_eq!(read(root, "second"), "first kept\n"));
    }
    let config = config(&sandbox, "target");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(3));
    let manifest = sandbox.gabion(["inspect", "--type", "image", "target"]).json();
    assert_eq!(manifest["ImageAnnotations"]["org.opencontainers.image.base.name"], "localhost/base:latest");
    let failed = try_build(&sandbox, "target", dockerfile, &Tree::new(), &["--target", "unneeded"]);
    failed.says(9, &["Dockerfile:6:1: exit 9 ended with exit code 9"]);
    assert_clean(&sandbox);
}

#[test]
fn root_scratch_and_plain_bases() {
    let sandbox = sandbox();
    let id = build(&sandbox, "same", "FROM localhost/base\n", &Tree::new(), &["-q"]);
    let base = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "localhost/base"]).ok();
    assert_eq!(id.trim(), base);
    build(&sandbox, "empty", "FROM scratch\nLABEL a=b\n", &Tree::new(), &[]);
    assert_eq!(config(&sandbox, "empty")["rootfs"]["diff_ids"], json!([]));
    build(
        &sandbox,
        "labelled",
        "FROM localhost/base\n",
        &Tree::new(),
        &["--label", "a=b", "--env", "X=1", "-t", "again:2"],
    );
    assert_eq!(config(&sandbox, "again:2")["config"]["Labels"]["a"], "b");
    assert_eq!(config(&sandbox, "labelled")["config"]["Env"], json!(["PATH=/bin:/usr/bin", "X=1"]));
    assert_clean(&sandbox);
}

#[test]
fn root_mounts_of_run() {
    let sandbox = sandbox();
    let tree = Tree::new().dir("d", 0o755).file("d/f", "from the context").symlink("out", "/etc/hostname");
    let dockerfile = "FROM localhost/base AS other\nRUN mkdir /o && echo other > /o/f\n\
        FROM localhost/base\nENV D=d\n\
        RUN --mount=source=$D,target=/ctx cat /ctx/f > /bind && ! touch /ctx/new\n\
        RUN --mount=source=d,target=/ctx,rw touch /ctx/new && ls /ctx > /dropped\n\
        RUN --mount=from=other,source=/o/f,target=/one-file cat /one-file > /stage\n\
        RUN --mount=from=localhost/base,target=/img ls /img/bin/busybox > /image\n\
        RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && df /t | grep -c tmpfs > /tmpfs\n\
        RUN --mount=type=cache,target=/c,uid=1000,mode=0700 stat -c '%u %a' /c > /cache; echo x >> /c/x\n\
        RUN --mount=type=cache,target=/c,uid=1000,mode=0700 cat /c/x > /cached\n\
        RUN --mount=type=cache,target=/other,id=/c,uid=1000,mode=0700,ro ! touch /other/y\n";
    build(&sandbox, "mounts", dockerfile, &tree, &[]);
    with_files(&sandbox, "mounts", |root| {
        for (path, expected) in [
            ("bind", "from the context"),
            ("dropped", "f\nnew\n"),
            ("stage", "other\n"),
            ("image", "/img/bin/busybox\n"),
            ("tmpfs", "1\n"),
            ("cache", "1000 700\n"),
            ("cached", "x\n"),
        ] {
            assert_eq!(read(root, path), expected, "{path}");
        }
        for gone in ["ctx", "one-file", "img", "t", "c", "other"] {
            assert!(!root.join(gone).exists(), "{gone} is left");
        }
    });
    assert!(!sandbox.path("context-mounts/d/new").exists());
    // A second build finds the cache.
    let again = "FROM localhost/base\nRUN --mount=type=cache,target=/c,uid=1000,mode=0700 cat /c/x > /cached\n";
    build(&sandbox, "again", again, &Tree::new(), &[]);
    with_files(&sandbox, "again", |root| assert_eq!(read(root, "cached"), "x\n"));
    let escape = "FROM localhost/base\nRUN --mount=source=out,target=/x cat /x\n";
    let outcome = try_build(&sandbox, "escape", escape, &tree, &[]);
    assert!(!outcome.status.success(), "{outcome}");
    assert_clean(&sandbox);
}

#[test]
fn root_same_timestamp_gives_the_same_image() {
    let sandbox = sandbox();
    let dockerfile =
        "FROM localhost/base AS s\nRUN echo a > /a && mkdir /d\nFROM s\nENV A=1\nRUN echo b > /d/b\nWORKDIR /w\n";
    let build = |args: &[&str], epoch: Option<&str>| {
        let dir = context(&sandbox, "same", dockerfile, &Tree::new());
        let tool = sandbox.gabion(["build", "-q", "--network=none"]).args(args).arg(&dir);
        match epoch {
            Some(epoch) => tool.env("SOURCE_DATE_EPOCH", epoch).ok(),
            None => tool.ok(),
        }
    };
    assert_eq!(build(&["--timestamp=86400"], None), build(&["--timestamp=86400"], None));
    assert_eq!(build(&[], Some("100000")), build(&[], Some("100000")));
    assert_ne!(build(&["--no-cache"], None), build(&["--no-cache"], None));
    let id = build(&["--timestamp=86400"], None);
    assert_eq!(config(&sandbox, &id)["created"], "1970-01-02T00:00:00Z");
    assert_clean(&sandbox);
}

#[test]
fn root_files_are_found_where_buildah_finds_them() {
    let sandbox = sandbox();
    let dir = context(&sandbox, "found", "FROM localhost/base\nLABEL f=Dockerfile\n", &Tree::new());
    let label = |args: &[&str]| {
        let id = sandbox.gabion(["build", "-q"]).args(args).in_dir(&dir).ok();
        config(&sandbox, &id)["config"]["Labels"]["f"].as_str().expect("a label").to_owned()
    };
    assert_eq!(label(&[]), "Dockerfile");
    fs::write(dir.join("Containerfile"), "FROM localhost/base\nLABEL f=Containerfile\n").expect("write");
    fs::write(dir.join("other"), "FROM localhost/base\nLABEL f=other\n").expect("write");
    assert_eq!(label(&["."]), "Containerfile");
    assert_eq!(label(&["-f", "other"]), "other");
    fs::create_dir(dir.join("sub")).expect("make");
    fs::write(dir.join("sub/only-there"), "FROM localhost/base\nLABEL f=sub\n").expect("write");
    assert_eq!(label(&["-f", "only-there", "sub"]), "sub");
    let stdin =
        sandbox.gabion(["bud", "-q", "-f", "-", "sub"]).in_dir(&dir).stdin("FROM localhost/base\nLABEL f=stdin").ok();
    assert_eq!(config(&sandbox, &stdin)["config"]["Labels"]["f"], "stdin");
    let iidfile = sandbox.path("iid");
    let silent = sandbox.gabion(["build", "-q", "--pull-never", "-t", "silent", "--iidfile"]).arg(&iidfile).arg(&dir);
    assert_eq!(silent.ok(), "", "the ID is in the file instead");
    let id = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "silent"]).ok();
    assert_eq!(fs::read_to_string(&iidfile).expect("written"), format!("sha256:{id}"));
}

#[test]
fn root_failed_builds_leave_nothing_behind() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let base =
        "FROM localhost/base AS one\nRUN echo 1 > /1\nRUN echo 2 > /2\nFROM one\nRUN echo 3 > /3\nRUN echo 4 > /4\n";
    for (end, code, words) in [
        ("RUN echo oops >&2; exit 42", 42, "Dockerfile:7:1: echo oops >&2; exit 42 ended with exit code 42"),
        ("RUN sh -c 'kill -9 $$'; exit $?", 137, "Dockerfile:7:1"),
        ("RUN [\"/no/such/program\"]", 127, "/no/such/program"),
        ("USER nobody-at-all\nRUN true", 125, "nobody-at-all"),
        ("RUN --mount=source=missing,target=/x true", 125, "missing"),
        ("EXPOSE $PORTS/tcp", 125, "Dockerfile:7:8: invalid port \"/tcp\""),
        ("RUN --network=host true", 125, "network.host"),
        ("RUN rm -rf /bin && :\nRUN true", 127, ""),
        ("WORKDIR /bin/busybox/x", 125, "Dockerfile:7:1: WORKDIR /bin/busybox/x"),
        ("RUN --mount=from=localhost/missing,target=/x true", 125, "localhost/missing"),
        ("LABEL a=${b:?needed}", 125, "Dockerfile:7:9: b: needed"),
    ] {
        let outcome = try_build(&sandbox, "failed", &format!("{base}{end}\n"), &Tree::new(), &[]);
        outcome.says(code, &[words]);
        // What was finished is there for the next build, and nothing else.
        assert_eq!(images(&sandbox).len(), before.len() + 1, "{end}");
        assert_clean(&sandbox);
    }
    sandbox.gabion(["prune"]).ok();
    assert_eq!(images(&sandbox), before);
    let kept = try_build(&sandbox, "failed", &format!("{base}RUN exit 1"), &Tree::new(), &["--force-rm=false"]);
    kept.says(1, &[]);
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers").len(), 1);
    sandbox.gabion(["rm", "--all"]).ok();
}

#[test]
fn root_bad_dockerfiles_are_refused_before_anything_is_done() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    for (dockerfile, words) in [
        ("", "no instruction"),
        ("# nothing\n", "no instruction"),
        ("RUN x\n", "Dockerfile:1:1: RUN before the first FROM"),
        ("FROM localhost/base\nRUNN x\n", "Dockerfile:2:1: unknown instruction \"RUNN\""),
        ("FROM localhost/base\nCOPY --form=a b c\n", "Dockerfile:2:6: unknown flag --form of COPY"),
        (
            "FROM localhost/base\nCOPY --from=later b c\nFROM localhost/base AS later",
            "Dockerfile:2:13: stage later comes later",
        ),
        (
            "FROM localhost/base AS a\nCOPY --from=a b c\n",
            "Dockerfile:2:13: --from=a: no stage or image found with that name",
        ),
        ("FROM localhost/base\nCOPY --from=3 b c\n", "Dockerfile:2:13: there is no stage 3"),
        ("FROM localhost/base\nRUN <<EOF\nx\n", "Dockerfile:2:5: unterminated heredoc"),
        ("FROM localhost/base\nCOPY a\n", "Dockerfile:2:1: COPY needs a source and a destination"),
        ("FROM $MISSING\n", "Dockerfile:1:6: the base $MISSING is empty"),
        (
            "FROM --platform=plan9/amd64 localhost/base\n",
            "Dockerfile:1:17: platform plan9/amd64: only images for linux",
        ),
        ("FROM localhost/base\nRUN a\0b\n", "Dockerfile:2:6: a NUL byte"),
        ("FROM localhost/not-there\n", "localhost/not-there"),
        ("FROM UPPER/case\n", "UPPER/case"),
    ] {
        try_build(&sandbox, "bad", dockerfile, &Tree::new(), &[]).says(125, &[words]);
        assert_eq!(images(&sandbox), before, "{dockerfile}");
        assert_clean(&sandbox);
    }
    let several = try_build(&sandbox, "bad", "FROM localhost/base\nRUNN x\nCPY a b\nUSER\n", &Tree::new(), &[]);
    several.says(125, &["Dockerfile:2:1", "(and 2 more errors)"]);
    for marked in
        ["2 | RUNN x\n  | ^^^^", "did you mean RUN?", "Dockerfile:3:1", "did you mean COPY?", "Dockerfile:4:1"]
    {
        assert!(several.stderr.contains(marked), "{marked}: {several}");
    }
    let target = try_build(&sandbox, "bad", "FROM localhost/base AS final\n", &Tree::new(), &["--target=finl"]);
    target.says(125, &["no stage \"finl\""]);
    assert!(target.stderr.contains("did you mean final?"), "{target}");
    sandbox.gabion(["build", "/no/such/context"]).fails().says(125, &["/no/such/context"]);
    sandbox.gabion(["build", "-"]).fails().says(125, &["build context -: it is empty"]);
    let empty = sandbox.path("empty").display().to_string();
    sandbox.gabion(["build", &empty]).fails().says(125, &["no Containerfile or Dockerfile in"]);
    sandbox.gabion(["build", "-f", "gone", &empty]).fails().says(125, &["--file gone", "in the context"]);
    let plain = ["--runtime=/no/such/runtime"];
    let outcome = try_build(&sandbox, "bad", "FROM localhost/base\nRUN true\n", &Tree::new(), &plain);
    outcome.says(125, &["/no/such/runtime"]);
    assert_clean(&sandbox);
}

/// Starts a build that makes two layers and then waits in its third step.
fn waiting_build(sandbox: &Sandbox) -> Child {
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN echo begun; sleep 100\n";
    let dir = context(sandbox, "waiting", dockerfile, &Tree::new());
    let mut child = sandbox.gabion(["build", "--network=none"]).arg(&dir).spawn();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while line != "begun\n" {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).expect("read"), 0, "it ended too early");
    }
    child
}

#[test]
fn root_interrupted_builds_leave_nothing_behind() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let mut child = waiting_build(&sandbox);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    assert_clean(&sandbox);
    sandbox.gabion(["prune"]).ok();
    assert_eq!(images(&sandbox), before);
}

#[test]
fn root_killed_builds_leave_what_the_commands_remove() {
    let sandbox = sandbox();
    let before = images(&sandbox);
    let mut child = waiting_build(&sandbox);
    child.kill().expect("kill");
    child.wait().expect("wait");
    store_check::assert_records_sound(&sandbox);
    assert_eq!(images(&sandbox), before, "what was done is nowhere yet");
    // The next build removes what is left, as `gabion prune` would.
    build(&sandbox, "retried", "FROM localhost/base\nRUN echo 1 > /1\n", &Tree::new(), &[]);
    assert_clean(&sandbox);
}

#[test]
fn root_a_dockerfile_that_links_out_of_its_context_is_not_read() {
    let sandbox = sandbox();
    let secret = sandbox.write("secret", "FROM localhost/base\nTHE-SECRET\n");
    let dir = sandbox.path("linked");
    fs::create_dir(&dir).expect("a directory");
    std::os::unix::fs::symlink(&secret, dir.join("Dockerfile")).expect("a link");
    let outcome = sandbox.gabion(["build"]).arg(&dir).fails();
    outcome.says(125, &["no Containerfile or Dockerfile"]);
    assert!(!outcome.stderr.contains("SECRET"), "{}", outcome.stderr);
    fs::write(dir.join("real"), "FROM localhost/base\n").expect("a file");
    fs::remove_file(dir.join("Dockerfile")).expect("removed");
    std::os::unix::fs::symlink("real", dir.join("Dockerfile")).expect("a link");
    sandbox.gabion(["build", "-q"]).arg(&dir).ok();
}
