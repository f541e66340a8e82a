//! The same Dockerfile built by gabion and by Buildah gives the same files and the same config.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use test_support::validate::{Image, oci_layout};
use test_support::{Sandbox, Tree, store_check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// The image as Skopeo takes it out of the store, with every digest recomputed.
fn taken_out(sandbox: &Sandbox, image: &str) -> Image {
    let dir = sandbox.path(format!("out-{image}"));
    let to = format!("oci:{}:latest", dir.display());
    sandbox.skopeo(["copy", "-q", &sandbox.storage(&format!("localhost/{image}")), &to]).ok();
    oci_layout(&dir, "latest")
}

/// Kind, mode, owner, content and target of every file; directories' times and sizes say nothing.
fn files(image: &Image) -> BTreeMap<String, String> {
    let describe = |file: &test_support::validate::File| {
        let (kind, content) =
            (file.kind, if file.kind == '0' || file.kind == '\0' { file.content.as_str() } else { "" });
        format!("{kind} {:o} {}:{} {content} {}", file.mode, file.owner.0, file.owner.1, file.link)
    };
    // Buildah leaves mount points behind, which gabion removes.
    let stubs = ["dev", "etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv", "run/secrets"];
    let files = image.files();
    files
        .iter()
        .filter(|(path, _)| !stubs.contains(&path.as_str()))
        .map(|(path, seen)| (path.clone(), describe(&seen.file)))
        .collect()
}

/// What differs, path by path: ours and theirs.
fn differences<'a>(
    ours: &'a BTreeMap<String, String>,
    theirs: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, Option<&'a String>, Option<&'a String>)> {
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let pairs = paths.into_iter().map(|path| (path.as_str(), ours.get(path), theirs.get(path)));
    pairs.filter(|(_, ours, theirs)| ours != theirs).collect()
}

/// The part of the config that a Dockerfile decides.
fn run_config(image: &Image) -> Value {
    let mut run = image.config["config"].clone();
    if let Some(labels) = run["Labels"].as_object_mut() {
        labels.retain(|name, _| !name.ends_with(".version"));
        if labels.is_empty() {
            run.as_object_mut().expect("an object").remove("Labels");
        }
    }
    // Buildah writes "/" where nothing was said.
    if run["WorkingDir"] == "/" {
        run.as_object_mut().expect("an object").remove("WorkingDir");
    }
    run
}

fn tree() -> Tree {
    Tree::new()
        .file_with_mode("a", "a", 0o600)
        .file_with_mode("run.sh", "#!/bin/sh\necho ran\n", 0o755)
        .dir("d", 0o750)
        .file("d/one", "1")
        .file("d/two.txt", "2")
        .dir("d/sub", 0o755)
        .file("d/sub/deep.txt", "deep")
        .symlink("d/link", "one")
        .file("spaced name", "s")
        .file("skip.log", "log")
        .file("d/skip.log", "log")
        .file("d/keep.log", "log")
        .file(".dockerignore", "**/*.log\n!**/keep.log\n.dockerignore\nDockerfile*\n")
}

const SHELL_AND_CMD: &str = "SHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN echo x > /x\nCMD echo hi";

/// Where Debian's Buildah gives another image, and why gabion's is the right one.
const EXCEPTIONS: &[(&str, &str)] =
    &[(SHELL_AND_CMD, "in the OCI format Buildah forgets SHELL for CMD; the reference says that SHELL is CMD's shell")];

#[test]
fn peers_dockerfiles_mean_what_they_mean_to_buildah() {
    let sandbox = sandbox();
    let context = sandbox.path("context");
    fs::create_dir(&context).expect("make the context");
    tree().write_to(&context);
    let mut wrong = Vec::new();
    for (index, body) in [
        "COPY a /x",
        "COPY a /x/",
        "COPY a run.sh /y/",
        "COPY d /d",
        "COPY d /d/",
        "COPY d/ .",
        "COPY . /all",
        "COPY . /all/",
        "COPY d/*.txt /t/",
        "COPY d/one d/sub /mixed/",
        "COPY [\"spaced name\", \"/with space\"]",
        "COPY --chown=mason a /x",
        "COPY --chown=1000:7 d /d",
        // Directories that are made on the way get an octal mode too, as with BuildKit.
        "RUN mkdir /d\nCOPY --chmod=0705 d /d",
        "RUN mkdir /m\nCOPY --chmod=640 --chown=mason:nogroup a d/one /m/",
        "WORKDIR /w\nCOPY a .\nCOPY a b\nCOPY a c/",
        "WORKDIR /w\nRUN ln -s /w/real lnk && mkdir real\nCOPY a lnk/\nCOPY d/one /w/lnk",
        "RUN mkdir -p /into/sub && echo old > /into/sub/deep.txt\nCOPY d /into",
        "ADD a /added",
        "ADD d/sub /added/",
        "RUN mkdir /gone && rm -r /gone /home && chmod 700 /var && chown mason /tmp",
        "RUN cp /bin/busybox /copy && rm /copy && ln /bin/busybox /hard && mkfifo /fifo",
        "RUN rm -r /usr && mkdir -p /usr/new",
        "ENV A=1 B=\"two words\" C=$PATH\nENV D $A $B\nRUN echo \"$A $B $D\" > /env",
        "ARG X=def\nARG Y\nENV Z=${X}-${Y:-none}\nRUN echo $X > /arg",
        "LABEL a=b \"c d\"='e f'\nLABEL multi=\"line \\\ncontinued\"",
        "USER mason\nRUN touch /tmp/mine\nWORKDIR /tmp",
        "EXPOSE 80 81/udp\nVOLUME /v /w\nSTOPSIGNAL 9\nCMD echo hi\nENTRYPOINT [\"/bin/sh\", \"-c\"]",
        "CMD [\"a\"]\nENTRYPOINT b $HOME\nCMD []",
        "COPY a /1\nRUN mv /1 /2\nCOPY a /1",
        "COPY d/link /followed\nCOPY d/li* /by-star/",
        "COPY . /all\nRUN rm -r /all/d\nCOPY d/one /all/d/one",
        "COPY d /etc/\nCOPY a run.sh d /etc/more/",
        "COPY /a /1\nCOPY ./d/../a /2",
        "RUN ln -s /home /lnk\nCOPY a /lnk/\nCOPY d /lnk/sub",
        "ADD a d/one /y/\nADD --chown=nobody:7 d /z",
        "RUN [\"/bin/sh\", \"-c\", \"echo $0 > /zero\"]\nRUN [\"touch\", \"/a b\"]",
        "RUN echo one \\\n# a comment\n  two > /words",
        "ENV A=1\nENV A=2 B=$A\nENV C ${A:+set}${N:-not}\nLABEL x=$B y='$B' z=\\$B",
        "ARG A=1\nARG B=$A\nRUN echo $A $B > /args\nENV A=2\nRUN echo $A $B >> /args",
        "WORKDIR /a\nWORKDIR b/../c\nRUN pwd > /pwd",
        "USER 1000:7\nRUN touch /tmp/x\nUSER nobody\nRUN touch /tmp/y && echo $HOME > /tmp/z",
        SHELL_AND_CMD,
        "RUN chmod 4755 /bin/busybox && mkdir -m 1777 /sticky && ln -s nowhere /dangling && ln /etc/group /etc/again",
        "STOPSIGNAL SIGTERM\nEXPOSE 53/udp 80 443/tcp\nLABEL only=one",
        "ENTRYPOINT [\"e\"]",
        "FROM localhost/base AS two\nRUN mkdir /o && echo o > /o/x && chown mason /o/x\nFROM localhost/base\nCOPY --from=two /o /o\nCOPY --from=1 /o/x /y",
    ]
    .iter()
    .enumerate()
    {
        let dockerfile = format!("FROM localhost/base\n{body}\n");
        fs::write(context.join("Dockerfile"), &dockerfile).expect("write");
        let (ours, theirs) = (format!("ours{index}"), format!("theirs{index}"));
        sandbox.gabion(["build", "-q", "--network=none", "-t", &ours]).arg(&context).ok();
        sandbox.buildah(["bud", "-q", "--network=none", "--pull-never", "-t", &theirs]).arg(&context).ok();
        let (ours, theirs) = (taken_out(&sandbox, &ours), taken_out(&sandbox, &theirs));
        let (our_files, their_files) = (files(&ours), files(&theirs));
        let (our_config, their_config) = (run_config(&ours), run_config(&theirs));
        let same = differences(&our_files, &their_files).is_empty() && our_config == their_config;
        let exception = EXCEPTIONS.iter().find(|(what, _)| what == body);
        match (same, exception) {
            (true, None) | (false, Some(_)) => {}
            (true, Some((_, why))) => wrong.push(format!("no exception any more ({why}): {dockerfile}")),
            (false, None) => wrong.push(format!(
                "{dockerfile}files: {:#?}\nconfig: {our_config} and {their_config}",
                differences(&our_files, &their_files)
            )),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    store_check::assert_sound(&sandbox);
}

#[test]
fn peers_run_what_a_dockerfile_makes() {
    let sandbox = sandbox();
    let context = sandbox.path("context");
    fs::create_dir(&context).expect("make the context");
    tree().write_to(&context);
    let dockerfile = "FROM localhost/base AS made\nWORKDIR /out\nCOPY d .\nRUN cat one two.txt > both\n\
        FROM localhost/base\nCOPY --from=made --chown=mason --chmod=u=r,go= /out/both /out/sub/deep.txt /srv/\n\
        COPY <<EOF run.sh /usr/bin/\necho $HOME is ${PATH}\nEOF\nADD --chmod=a+x <<'END' /usr/bin/say\n#!/bin/sh\necho \"$@\" is $(id -un)\nEND\n\
        USER mason\nWORKDIR /srv\nENV WHO=me\nENTRYPOINT [\"say\"]\nCMD [\"I\"]\n";
    fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    for format in ["oci", "docker"] {
        sandbox.gabion(["build", "-q", "--network=none", "--format", format, "-t", "made"]).arg(&context).ok();
        assert_eq!(sandbox.podman_run(["localhost/made"]).ok(), "I is mason");
        let cat = [
            "--entrypoint",
            "/bin/sh",
            "localhost/made",
            "-c",
            "cat both deep.txt; stat -c %a:%U both; cat /usr/bin/EOF; run.sh",
        ];
        assert_eq!(sandbox.podman_run(cat).ok(), "12deep400:mason\necho  is /bin:/usr/bin\nran");
        let inspected = &sandbox.podman(["inspect", "localhost/made"]).json()[0];
        assert_eq!(inspected["Config"]["Entrypoint"], json!(["say"]));
        assert_eq!((&inspected["User"], &inspected["Config"]["WorkingDir"]), (&json!("mason"), &json!("/srv")));
        let skopeo = sandbox.skopeo(["inspect", &sandbox.storage("localhost/made")]).json();
        assert_eq!(skopeo["Layers"].as_array().map(Vec::len), Some(4));
        let history = sandbox.podman(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "localhost/made"]).ok();
        assert!(history.starts_with("/bin/sh -c #(nop) CMD [\"I\"]"), "{history}");
        let container = sandbox.buildah(["from", "--pull-never", "localhost/made"]).ok();
        assert_eq!(sandbox.buildah(["run", "--network=none", &container, "say", "you"]).ok(), "you is mason");
        sandbox.buildah(["rm", &container]).ok();
    }
    // Buildah builds on what gabion built, and gabion on that.
    fs::write(context.join("Dockerfile"), "FROM localhost/made\nUSER root\nRUN echo buildah > /by\n").expect("write");
    sandbox.buildah(["bud", "-q", "--network=none", "--pull-never", "--layers", "-t", "theirs"]).arg(&context).ok();
    fs::write(context.join("Dockerfile"), "FROM localhost/theirs\nRUN echo gabion >> /by\n").expect("write");
    sandbox.gabion(["build", "-q", "--network=none", "-t", "again"]).arg(&context).ok();
    assert_eq!(sandbox.podman_run(["--entrypoint", "cat", "localhost/again", "/by"]).ok(), "buildah\ngabion");
    store_check::assert_sound(&sandbox);
}
