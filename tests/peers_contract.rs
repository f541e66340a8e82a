//! The contract with scripts written for Buildah: on the same store the same command says the same
//! on stdout, key for key, and ends with the same exit code. Debian's Buildah is 1.28; where the
//! newest Buildah differs from it the newest counts, and a row says so.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::{DockerRegistry, Outcome, Sandbox};

/// What a row claims.
#[derive(Clone, Copy, Debug)]
enum Is {
    /// Stdout and exit code are the same.
    Same,
    /// Debian's Buildah says something else, for this reason.
    Other(&'static str),
}
use Is::{Other, Same};

/// A store with images and containers of both tools, tags that moved, and a step on the way.
fn store_of_both() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let container = sandbox.gabion(["from", "base"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    fs::write(Path::new(&root).join("file"), "content").expect("write");
    let config = "config --label a=b --port 80 --env X=1 --annotation n=v --user 1:2 --volume /v --workingdir /w";
    sandbox.gabion(config.split(' ').chain([container.as_str()])).ok();
    sandbox.gabion(["commit", "-q", &container, "app:1"]).ok();
    sandbox.gabion(["tag", "app:1", "quay.io/x/app:2"]).ok();
    let step = sandbox.gabion(["commit", "-q", &container]).ok();
    let next = sandbox.buildah(["from", "--name", "next", &step]).ok();
    sandbox.buildah(["config", "--created-by", "the step", &next]).ok();
    sandbox.buildah(["commit", "-q", &next, "localhost/moving"]).ok();
    sandbox.buildah(["commit", "-q", &next, "localhost/moving"]).ok();
    let docker = sandbox.buildah(["from", "--name", "docker", "-f", "docker", "base"]).ok();
    let words = ["--healthcheck", "CMD true", "--hostname", "h", "--shell", "/bin/ash -c", "--entrypoint", "[\"/e\"]"];
    sandbox.buildah(["config"].iter().chain(&words).copied().chain([docker.as_str()])).ok();
    sandbox.buildah(["commit", "-q", "-f", "docker", &docker, "dock:1"]).ok();
    sandbox.gabion(["from", "--name", "ours", "-f", "docker", "dock:1"]).ok();
    sandbox.gabion(["from", "--name", "empty", "scratch"]).ok();
    sandbox
}

/// A row for each command that only looks, in each form of its output.
const LOOKING: &[(&[&str], Is)] = &[
    (&["images"], Same),
    (&["images", "-a"], Same),
    (&["images", "--json"], Same),
    (&["images", "--json", "-a", "--no-trunc"], Same),
    (&["images", "--json", "--history"], Other("Buildah has the key, and null in it always")),
    (&["images", "-q"], Same),
    (&["images", "-a", "-q"], Same),
    (&["images", "-q", "--json"], Same),
    (&["images", "--digests"], Other("1.28 has no heading over the digests, but <no value>")),
    (&["images", "--digests", "-n"], Same),
    (&["images", "--no-trunc"], Same),
    (&["images", "-n"], Same),
    (&["images", "--history"], Same),
    (&["images", "--format", "{{.ID}} {{.Name}}:{{.Tag}} {{.Digest}} {{.Size}} {{.ReadOnly}} {{.CreatedAtRaw}}"], Same),
    (&["images", "--format", "{{if .ReadOnly}}r{{else}}w{{end}}{{upper .Name}}"], Same),
    (&["images", "--format", "{{.ID}}\\t{{.Tag}}"], Same),
    (&["images", "--format", "{{.Nope}}"], Same),
    (&["images", "-q", "--format", "{{.ID}}"], Same),
    (&["images", "app:1"], Same),
    (&["images", "-q", "quay.io/x/app:2"], Same),
    (&["images", "nosuch"], Same),
    (&["images", "--all", "app:1"], Same),
    (&["images", "base", "app:1"], Same),
    (&["images", "-q", "-f", "dangling=true"], Same),
    (&["images", "-q", "-f", "dangling=false"], Same),
    (&["images", "-q", "-f", "label=a"], Same),
    (&["images", "-q", "-f", "label=a=b"], Same),
    (&["images", "-q", "-f", "label=a=c"], Same),
    (&["images", "-q", "-f", "label=a,dangling=false"], Same),
    (&["images", "-q", "-f", "since=localhost/base"], Same),
    (&["images", "-q", "-f", "after=localhost/base"], Same),
    (&["images", "-q", "-f", "before=localhost/moving"], Same),
    (&["images", "-q", "-f", "until=1h"], Same),
    (&["images", "-q", "-f", "reference=*app*"], Same),
    (&["images", "-q", "-f", "readonly=false"], Same),
    (&["images", "-q", "-f", "readonly=true"], Same),
    (&["images", "-q", "-f", "containers=true"], Same),
    (&["images", "-q", "-f", "containers=false"], Same),
    (
        &["images", "-q", "-f", "intermediate=true"],
        Other("Buildah adds intermediate=false itself and then refuses both"),
    ),
    (&["images", "-a", "-q", "-f", "intermediate=true"], Same),
    (&["images", "-f", "nosuch=x"], Same),
    (&["images", "-f", "dangling=x"], Same),
    (&["images", "-f", "dangling"], Same),
    (&["images", "-f", "since=nosuch"], Same),
    (&["containers"], Same),
    (&["containers", "-a"], Same),
    (&["containers", "--json"], Same),
    (&["containers", "-a", "--json"], Same),
    (&["containers", "-q"], Same),
    (&["containers", "-n"], Same),
    (&["containers", "--notruncate"], Same),
    (&["containers", "--format", "{{.ContainerID}} {{.Builder}} {{.ImageID}} {{.ImageName}} {{.ContainerName}}"], Same),
    (
        &["containers", "--format", "{{.ContainerName}}\\t{{.ImageName}}"],
        Other("Buildah prints a written-out \\t as it is"),
    ),
    (&["containers", "-q", "-f", "name=ou"], Same),
    (&["containers", "-q", "-f", "ancestor=dock"], Same),
    (&["containers", "-q", "-f", "ancestor=dock:2"], Same),
    (&["containers", "-q", "-f", "name=o,ancestor=dock"], Same),
    (&["containers", "-q", "-f", "id=0"], Same),
    (&["containers", "--json", "-f", "name=nosuch"], Same),
    (&["containers", "-f", "nosuch=x"], Same),
    (&["containers", "-f", "name"], Same),
    (&["containers", "-q", "--format", "{{.ContainerID}}"], Same),
    (&["containers", "word"], Same),
    (&["list"], Same),
    (&["ls", "-q"], Same),
    (&["ps", "-n"], Same),
    (&["inspect", "base"], Same),
    (&["inspect", "--type", "image", "app:1"], Same),
    (&["inspect", "-t", "image", "dock:1"], Same),
    (&["inspect", "next"], Same),
    (&["inspect", "docker"], Same),
    (&["inspect", "ours"], Same),
    (&["inspect", "empty"], Same),
    (&["inspect", "base-working-container"], Same),
    (&["inspect", "--format", "{{.FromImage}} {{.FromImageID}} {{.ContainerID}} {{.Container}}", "next"], Same),
    (&["inspect", "--format", "{{.OCIv1.Config.Env}} {{.Docker.Config.Labels}}", "app:1"], Same),
    (&["inspect", "--format", "{{range .OCIv1.History}}{{.CreatedBy}};{{end}}", "app:1"], Same),
    (&["inspect", "--format", "{{.Docker.Config.Hostname}} {{.Docker.Config.Healthcheck.Test}}", "dock:1"], Same),
    (&["inspect", "--format", "{{json .OCIv1.Config.Env}}", "base"], Other("the function json came after 1.28")),
    (&["inspect", "--format", "word", "base"], Same),
    (&["inspect", "--format", "{{.Nope}}", "base"], Same),
    (&["inspect", "--type", "container", "base"], Same),
    (&["inspect", "--type", "nosuch", "base"], Same),
    (&["inspect", "nosuch"], Same),
    (&["inspect"], Same),
    (&["mount"], Same),
    (&["mount", "--json"], Same),
    (&["mount", "nosuch"], Same),
    (&["mount", "--json", "nosuch"], Same),
    (&["info", "--format", "{{.store.GraphDriverName}} {{.host.cpus}}"], Same),
    (&["info", "--format", "json"], Same),
    (&["version"], Other("gabion is no Go program: it has other parts to tell versions of")),
    (&["version", "word"], Same),
    (&["rename", "ours", "ours"], Same),
    (&["rename", "ours", "next"], Same),
    (&["rename", "ours"], Same),
    (&["tag", "nosuch", "x"], Same),
    (&["tag", "base"], Same),
    (&["tag", "base", "Bad:Name"], Same),
    (&["rm"], Same),
    (&["rm", "nosuch"], Same),
    (&["rm", "-a", "ours"], Same),
    (&["rmi"], Same),
    (&["rmi", "nosuch"], Same),
    (&["rmi", "-a", "-p"], Same),
    (&["rmi", "-a", "base"], Same),
    (&["rmi", "dock:1"], Same),
    (&["from"], Same),
    (&["from", "a", "b"], Same),
    (&["from", "--pull=never", "nosuch"], Same),
    (&["from", "--name", "ours", "base"], Same),
    (&["commit"], Same),
    (&["commit", "nosuch", "x"], Same),
    (&["commit", "ours", "Bad:Name"], Same),
    (&["config"], Same),
    (&["config", "nosuch"], Same),
    (&["config", "--env", "NOSUCHVARIABLE", "ours"], Same),
    (&["config", "--healthcheck-interval", "x", "ours"], Same),
    (&["push"], Same),
    (&["push", "nosuch", "dir:x"], Same),
    (&["pull"], Same),
    (&["pull", "oci:nosuch"], Same),
    (&["umount"], Same),
    (&["umount", "nosuch"], Same),
    (&["umount", "-a", "ours"], Same),
    (&["nosuch"], Same),
    (&["images", "--nosuch"], Same),
];

/// `text` with null in the place of lists and maps that were emptied: Buildah has both.
fn with_null(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["Cmd", "Entrypoint"] {
        text = text.replace(&format!("\"{name}\": []"), &format!("\"{name}\": null"));
    }
    for name in ["Volumes", "Labels", "ImageAnnotations"] {
        text = text.replace(&format!("\"{name}\": {{}}"), &format!("\"{name}\": null"));
    }
    text
}

/// Stdout without what may differ: how long ago something was, with the width of that column.
fn shown(outcome: &Outcome) -> Vec<String> {
    let line = |line: &str| {
        let cells = line.split("   ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(|cell| if cell.contains(" ago") { "AGO" } else { cell }).collect::<Vec<_>>().join("|")
    };
    outcome.stdout.lines().map(line).collect()
}

#[test]
fn peers_commands_that_look_say_what_buildah_says() {
    let sandbox = store_of_both();
    let mut wrong = Vec::new();
    for (args, is) in LOOKING {
        let (ours, theirs) = (sandbox.gabion(*args).run(), sandbox.buildah(*args).run());
        let same = shown(&ours) == shown(&theirs) && ours.code() == theirs.code();
        match is {
            Same if !same => wrong.push(format!("{ours}\n=== Buildah:\n{theirs}")),
            Other(reason) if same => wrong.push(format!("{args:?} is the same, but: {reason}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn peers_info_and_version_have_buildahs_keys() {
    let sandbox = store_of_both();
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let (ours, theirs) = (sandbox.gabion(["info", "-d"]).json(), sandbox.buildah(["info", "-d"]).json());
    assert_eq!(ours["store"], theirs["store"]);
    for key in keys(&theirs["host"]) {
        assert!(ours["host"].get(&key).is_some(), "host.{key}");
    }
    let (ours, theirs) = (sandbox.gabion(["version", "--json"]).json(), sandbox.buildah(["version", "--json"]).json());
    // Go's own, and those of libraries that gabion does not have.
    let others = ["goVersion", "cniSpec", "libcniVersion", "imageVersion", "gitCommit", "built"];
    for key in keys(&theirs).iter().filter(|key| !others.contains(&key.as_str())) {
        assert!(ours.get(key).is_some(), "{key}");
    }
}

/// Two stores alike: gabion, called as buildah, works on the first, Buildah on the second.
struct Pair {
    ours: Sandbox,
    theirs: Sandbox,
    link: PathBuf,
}

impl Pair {
    fn new() -> Pair {
        let pair = || {
            let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
            sandbox.import_base();
            sandbox
        };
        let (ours, theirs) = (pair(), pair());
        let link = ours.path("buildah");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gabion"), &link).expect("make a link");
        Pair { ours, theirs, link }
    }

    /// Runs the words, which part at blanks, with both; `DIR` is a directory of their own, `DIGEST` that of their
    /// `localhost/amd64`.
    #[track_caller]
    fn both(&self, line: &str) -> [Outcome; 2] {
        let run = |sandbox: &Sandbox, program: &Path| {
            let dir = sandbox.dir().to_str().expect("UTF-8");
            let mut line = line.to_owned();
            if line.contains("DIGEST") {
                let digest = sandbox.buildah(["images", "--format", "{{.Digest}}", "localhost/amd64"]).ok();
                line = line.replace("DIGEST", &digest);
            }
            let words: Vec<String> = line.split(' ').map(|word| word.replace("DIR", dir).replace('~', " ")).collect();
            sandbox.on_store(program).args(words).run()
        };
        [run(&self.ours, &self.link), run(&self.theirs, Path::new("buildah"))]
    }

    /// Both say the same, IDs and directories apart, and end alike.
    #[track_caller]
    fn same(&self, line: &str) {
        let [ours, theirs] = self.both(line);
        let texts = [self.text(&ours.stdout), self.text(&theirs.stdout)];
        assert_eq!(texts[0], texts[1], "{ours}\n=== Buildah:\n{theirs}");
        assert_eq!(ours.code(), theirs.code(), "{ours}\n=== Buildah:\n{theirs}");
    }

    /// Both end alike; what they say differs.
    #[track_caller]
    fn same_code(&self, line: &str) {
        let [ours, theirs] = self.both(line);
        assert_eq!(ours.code(), theirs.code(), "{ours}\n=== Buildah:\n{theirs}");
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for sandbox in [&self.ours, &self.theirs] {
            text = text.replace(sandbox.dir().to_str().expect("UTF-8"), "DIR");
        }
        without_ids(&text)
    }

    /// What Buildah's inspect says of `name` in both stores, without what must differ.
    #[track_caller]
    fn same_inspection(&self, kind: &str, name: &str) {
        let of = |sandbox: &Sandbox| {
            let mut value = sandbox.buildah(["inspect", "--type", kind, name]).json();
            for key in ["Config", "Manifest", "FromImageID", "FromImageDigest", "ContainerID", "MountPoint"] {
                value[key] = Value::Null;
            }
            // 1.28 forgets the blank.
            let history = value["OCIv1"]["history"].as_array_mut().into_iter().flatten();
            for comment in history.filter_map(|entry| entry.get_mut("comment")) {
                *comment = comment.as_str().unwrap_or_default().replace("whyFROM", "why FROM").into();
            }
            value["History"] = value["OCIv1"]["history"].clone();
            // gabion leaves out which container and image it was: the same build would differ by it.
            for key in ["history", "container", "parent"] {
                value["Docker"].as_object_mut().and_then(|docker| docker.shift_remove(key));
            }
            // An image with several names is shown by its first.
            if kind == "image" {
                value["FromImage"] = Value::Null;
            }
            // Three of the default ones were dropped after 1.28.
            value["Capabilities"] = Value::Null;
            // Written since 1.41, and no part of what 1.28 does.
            if let Some(annotations) = value["ImageAnnotations"].as_object_mut() {
                annotations.remove("org.opencontainers.image.created");
            }
            let text = serde_json::to_string_pretty(&value).expect("JSON");
            // The two have the label, with their own versions.
            let lines = text.lines().map(|line| if line.contains("io.buildah.version") { "VERSION" } else { line });
            with_null(&without_times(&lines.collect::<Vec<_>>().join("\n")))
        };
        assert_eq!(of(&self.ours), of(&self.theirs), "{name}");
    }
}

/// `text` with IDs and digests, long and short, replaced.
fn without_ids(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_hex) {
        let (before, run) = rest.split_at(start);
        let (run, after) = run.split_at(run.find(|c| !is_hex(c)).unwrap_or(run.len()));
        out.push_str(before);
        out.push_str(if run.len() == 64 || run.len() == 12 { "ID" } else { run });
        rest = after;
    }
    out + rest
}

/// `text` with the times of today replaced; those of the base image are of 2020.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once("\"20") {
        Some((before, rest)) if rest.contains('T') && rest.contains('Z') && !rest.starts_with("20-") => {
            format!("{before}TIME")
        }
        _ => line.to_owned(),
    };
    without_ids(&text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn peers_commands_that_change_say_what_buildah_says() {
    let pair = Pair::new();
    for line in [
        "from base",
        "from base",
        "from --name one --cidfile DIR/cid base",
        "from -q localhost/base:latest",
        "from scratch",
        "from --name one base",
        "mount one",
        "mount --json one",
        "mount one base-working-container",
        "mount --json",
        // Buildah takes one mount back and forgets the others; gabion counts them.
        "umount one base-working-container nosuch",
        "mount base-working-container-1",
        "umount base-working-container-1",
        "umount base-working-container-1",
        "rename one two",
        "rename nosuch three",
        "tag base x y:1 quay.io/z/z",
        "images -q",
        "commit --timestamp 0 -q two first",
        "commit --timestamp 0 two first:2",
        "commit --iidfile DIR/iid -q two",
        "commit --format docker --timestamp 1 --squash --omit-history -q two squashed",
        // The newest prints the ID of every image, 1.28 only that of one in the store.
        "~commit --rm -q working-container oci:DIR/layout:x",
        "~commit -q two dir:DIR/dir",
        "~commit -q two docker-archive:DIR/archive.tar:x:1",
        "commit -q two nosuch:x",
        "push -q --digestfile DIR/digest first oci:DIR/pushed:x",
        "push -q first dir:DIR/pushed-dir",
        "push -q first docker-archive:DIR/pushed.tar:a:1",
        "push -q --format v2s2 first dir:DIR/pushed-docker",
        "push --format nosuch first dir:DIR/nosuch",
        "pull -q oci:DIR/pushed:x",
        "pull -q dir:DIR/pushed-dir",
        "pull -q docker-archive:DIR/pushed.tar",
        "pull -q oci:DIR/nosuch:x",
        "pull --policy never nosuch.example/x",
        "pull --policy nosuch base",
        "rmi y:1",
        "rmi y:1",
        "rmi base",
        "rmi x z/z:latest",
        "rm two",
        "rm two base-working-container",
        "rm -a",
        "containers -q",
        "rmi -f squashed",
        "rmi --prune",
        // Buildah removes them in any order.
        "~rmi -a -f",
        "images -q",
    ] {
        match line.strip_prefix('~') {
            None => pair.same(line),
            Some(line) => pair.same_code(line),
        }
    }
    for file in ["cid", "iid", "digest"] {
        let read = |sandbox: &Sandbox| without_ids(&fs::read_to_string(sandbox.path(file)).expect(file));
        assert_eq!(read(&pair.ours), read(&pair.theirs), "{file}");
    }
}

#[test]
fn peers_config_has_buildahs_effects() {
    let pair = Pair::new();
    pair.same("from --name c base");
    pair.same("from --name d --format docker base");
    for flags in [
        "--label a=b --label c --label d=e=f",
        "--label a- --label x=",
        "--env A=1 --env B=$A:x --env PATH=$PATH:/y",
        "--env A-",
        "--port 80,443/tcp --port 53/udp",
        "--port 443/tcp-",
        "--volume /v --volume /w,/x",
        "--volume /w-",
        "--annotation n=v --annotation o",
        "--annotation n-",
        "--cmd a~b~'c~d'",
        "--cmd [\"x\",\"y~z\"]",
        "--cmd ~",
        "--entrypoint /bin/e~1",
        "--entrypoint [\"/bin/e\",\"1\"]",
        "--entrypoint ~",
        "--user 1:2 --workingdir /w --author me --arch arm64 --variant v8 --os linux --os-version 1 --os-feature f",
        "--stop-signal INT --created-by someone --history-comment why",
        "--hostname h --domainname d --comment free --shell /bin/ash~-c --onbuild RUN~x",
        "--healthcheck CMD~true --healthcheck-interval 1m --healthcheck-timeout 5s --healthcheck-retries 2",
        "--healthcheck-start-period 3s",
        "--label - --annotation - --port - --volume -",
    ] {
        for container in ["c", "d"] {
            pair.same(&format!("config {flags} {container}"));
            pair.same_inspection("container", container);
        }
    }
    for container in ["c", "d"] {
        pair.same(&format!("commit --identity-label=true --timestamp 0 -q {container} image-{container}"));
        pair.same_inspection("image", &format!("image-{container}"));
        pair.same(&format!(
            "commit --identity-label=true --format docker --timestamp 0 -q {container} docker-{container}"
        ));
        pair.same_inspection("image", &format!("docker-{container}"));
    }
}

#[test]
fn peers_config_writes_buildahs_history() {
    let pair = Pair::new();
    pair.same("from --name c base");
    let history = |sandbox: &Sandbox| {
        let value = sandbox.buildah(["inspect", "--type", "image", "x"]).json();
        let entries = value["History"].as_array().expect("a list").clone();
        let texts = entries.iter().map(|entry| entry["created_by"].as_str().unwrap_or_default().to_owned());
        // Buildah adds an entry for ENV where there is none to be set.
        texts.filter(|text| text != "/bin/sh -c #(nop) ENV ").collect::<Vec<_>>()
    };
    pair.same(
        "config --add-history --label a=b --label c=d --env X=1 --env Y=$X --port 80,81 --cmd [\"a\",\"b~c\"] \
         --entrypoint /x~y --volume /v,/w --user u --workingdir /w --author me --stop-signal INT --comment c c",
    );
    pair.same(
        "config --add-history --healthcheck CMD~true --healthcheck-interval 1m --shell /bin/x~-c --onbuild RUN~x c",
    );
    pair.same("commit -q c x");
    assert_eq!(history(&pair.ours), history(&pair.theirs));
}

#[test]
fn peers_manifest_commands_say_what_buildah_says() {
    let pair = Pair::new();
    for arch in ["amd64", "arm64"] {
        pair.same(&format!("from --name {arch} base"));
        pair.same(&format!("config --arch {arch} {arch}"));
        pair.same(&format!("commit -q {arch} localhost/{arch}"));
    }
    for line in [
        "manifest create list",
        "manifest create list",
        "manifest create --amend list",
        "manifest create other localhost/amd64 localhost/arm64",
        "manifest create --all third localhost/amd64",
        "manifest create Bad:Name",
        "manifest create",
        "manifest add list localhost/amd64",
        "manifest add --os linux --arch arm64 --variant v8 list localhost/arm64",
        "manifest add list",
        "manifest add nosuch localhost/amd64",
        "manifest add localhost/amd64 localhost/arm64",
        // 1.28 tells nothing of what it changed, and takes digests only.
        "~manifest annotate --arch ppc64le --os-version 1 --features f,g list DIGEST",
        "~manifest annotate list nosuch:nosuch",
        "manifest exists list",
        "manifest exists nosuch",
        "manifest exists localhost/amd64",
        "manifest exists",
        "manifest inspect localhost/amd64",
        "manifest push -q list dir:DIR/list",
        "manifest push -q --all --digestfile DIR/digest other oci:DIR/layout:x",
        "manifest push -q nosuch dir:DIR/nosuch",
        "manifest push -q localhost/amd64 dir:DIR/nosuch",
        "manifest push --rm -q third dir:DIR/third",
        "manifest exists third",
        "manifest remove list DIGEST",
        "manifest remove list DIGEST",
        "manifest remove list",
        "tag other more",
        "manifest rm other",
        "manifest rm nosuch",
        "manifest rm",
        "manifest rm more list",
        "manifest exists list",
    ] {
        match line.strip_prefix('~') {
            None => pair.same(line),
            Some(line) => pair.same_code(line),
        }
        for inspect in ["manifest inspect list", "inspect -t manifest other"] {
            let [ours, theirs] = pair.both(inspect);
            // 1.28 says Docker's type of each list; annotations of the images make manifests longer.
            let is_same = |line: &&str| !line.starts_with("    \"mediaType\"") && !line.contains("\"size\": ");
            let texts = [ours, theirs].map(|outcome| {
                let lines = outcome.stdout.lines().filter(is_same);
                (without_ids(&lines.collect::<Vec<_>>().join("\n")), outcome.code())
            });
            assert_eq!(texts[0], texts[1], "{inspect} after {line}");
        }
    }
}

#[test]
fn peers_registries_get_and_give_the_same() {
    let pair = Pair::new();
    let registry = DockerRegistry::plain();
    let at = registry.address();
    for line in [
        format!("push -q --tls-verify=false --digestfile DIR/digest base docker://{at}/NAME:1"),
        format!("push -q --tls-verify=false base {at}/NAME:2"),
        format!("push -q --tls-verify=false --format v2s2 -D base docker://{at}/NAME:3"),
        format!("pull -q --tls-verify=false {at}/NAME:1"),
        format!("pull -q --tls-verify=false docker://{at}/NAME:2"),
        format!("pull -q --tls-verify=false --policy always {at}/NAME:3"),
        format!("pull -q --tls-verify=false --all-tags {at}/NAME"),
        format!("pull -q --tls-verify=false {at}/NAME:nosuch"),
        // Without a name, Buildah would call it 127.0.0.1-working-container, after the host.
        format!("from --name NAME --tls-verify=false --pull=always {at}/NAME:1"),
        "images -q --no-trunc".to_owned(),
    ] {
        let [ours, theirs] = [("a", 0), ("b", 1)].map(|(name, which)| {
            let [ours, theirs] = if which == 0 { [Some(&pair.ours), None] } else { [None, Some(&pair.theirs)] };
            let line = line.replace("NAME", name);
            let run = |sandbox: &Sandbox, program: &Path| {
                let dir = sandbox.dir().to_str().expect("UTF-8");
                sandbox.on_store(program).args(line.split(' ').map(|word| word.replace("DIR", dir))).run()
            };
            match (ours, theirs) {
                (Some(sandbox), _) => run(sandbox, &pair.link),
                (_, Some(sandbox)) => run(sandbox, Path::new("buildah")),
                _ => unreachable!("one of them"),
            }
        });
        assert_eq!(ours.code(), theirs.code(), "{ours}\n=== Buildah:\n{theirs}");
        assert_eq!(
            ours.stdout.replace("a\n", "b\n"),
            theirs.stdout.replace("a\n", "b\n"),
            "{ours}\n=== Buildah:\n{theirs}"
        );
    }
}
