//! gabion under the name `buildah`: scripts as people write them have the same result as with
//! Buildah, and a script may go from one to the other between any two commands.
#![allow(clippy::expect_used, reason = "tests")]

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;
use test_support::{DockerRegistry, Sandbox, base_image};

/// From nothing, with files put in place by a tool of the host, as package managers do with an install root.
const FROM_SCRATCH: &str = r#"
set -e
container=$(buildah from scratch)
root=$(buildah mount "$container")
mkdir -p "$root/bin" "$root/etc"
install -m 0755 "$BUSYBOX" "$root/bin/busybox"
chroot "$root" /bin/busybox --install -s /bin
echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
buildah umount "$container" > /dev/null
buildah config --cmd '["/bin/sh"]' --env PATH=/bin --label maker=script --author 'A Script' "$container"
buildah commit -q --timestamp 0 --rm "$container" result > /dev/null
buildah containers -q
"#;

/// A rootfs looked at and changed by the host's tools.
const HOST_TOOLS: &str = r#"
set -e
container=$(buildah from --name edited base)
root=$(buildah mount edited)
sed -i 's/^mason:.*/mason:x:1234:1234::\/home:\/bin\/sh/' "$root/etc/passwd"
find "$root/tmp" "$root/var/tmp" -mindepth 1 -delete
ln -s busybox "$root/bin/tool"
chown 1234:1234 "$root/home"
buildah umount edited > /dev/null
buildah config --user mason --workingdir /home --port 8080 --volume /data edited
buildah commit -q --timestamp 0 --squash edited result > /dev/null
buildah rm edited > /dev/null
buildah images --format '{{.Name}}:{{.Tag}}'
"#;

/// A template over the list of images, for a clean-up.
const TEMPLATE: &str = r#"
set -e
for tag in 1 2 3; do
    container=$(buildah from base)
    buildah config --label round=$tag "$container"
    buildah commit -q --timestamp $tag "$container" result:$tag > /dev/null
    buildah rm "$container" > /dev/null
done
buildah images --format '{{.Name}} {{.Tag}}' | awk '$2 != "3" && $1 ~ /result/ {print $1 ":" $2}' |
    sort | xargs -r buildah rmi | grep untagged
buildah tag result:3 result
buildah images --filter label=round --format '{{range $n, $w := split .Name "/"}}{{$w}};{{end}}{{.Tag}}'
"#;

/// An image put together of the files of several containers.
const ASSEMBLY: &str = r##"
set -e
buildah from --name builder base > /dev/null
buildah run --network=none builder -- sh -c 'mkdir /out && printf "#!/bin/sh\necho hello\n" > /out/app && chmod 0755 /out/app'
data=$(buildah from scratch)
root=$(buildah mount "$data")
mkdir -p "$root/data"
echo 1 > "$root/data/version"
buildah umount "$data" > /dev/null
final=$(buildah from base)
buildah copy -q --from builder --chown 0:0 "$final" /out/app /usr/bin/app
buildah copy -q --from "$data" --chown 7:8 --chmod 0640 "$final" /data/version /srv/data/
buildah config --entrypoint '["/usr/bin/app"]' --cmd '' --env STAGE=final "$final"
buildah run --network=none "$final" -- /usr/bin/app
buildah commit -q --timestamp 0 --rm "$final" result > /dev/null
buildah rm builder "$data" > /dev/null
buildah containers -q | wc -l
"##;

/// What a pipeline does: a Containerfile built, pushed under two tags, pulled back and tagged.
const PIPELINE: &str = r#"
set -e
mkdir -p "$WORK"
printf '#!/bin/sh\necho app\n' > "$WORK/app"
cat > "$WORK/Containerfile" <<'EOF'
FROM base
ARG VERSION=0
LABEL version=$VERSION
COPY app /app
RUN chmod 0755 /app
CMD ["/app"]
EOF
buildah bud --quiet --network=none --layers=false --timestamp 0 --build-arg VERSION=7 --label commit=abc \
    --iidfile "$WORK/iid" -t "$REGISTRY/ci/app:7" "$WORK" > /dev/null
buildah push -q --tls-verify=false --digestfile "$WORK/digest" "$REGISTRY/ci/app:7"
buildah push -q --tls-verify=false "$REGISTRY/ci/app:7" "docker://$REGISTRY/ci/app:latest"
grep -c '^sha256:' "$WORK/digest"
buildah rmi "$REGISTRY/ci/app:7" > /dev/null
buildah pull -q --tls-verify=false "docker://$REGISTRY/ci/app:latest" > "$WORK/pulled"
test "sha256:$(cat "$WORK/pulled")" = "$(cat "$WORK/iid")"
buildah tag "$REGISTRY/ci/app" result
buildah images --format '{{.Name}}:{{.Tag}}' | sed "s,$REGISTRY,REGISTRY,g" | sort
"#;

/// Steps with a history of their own, made one layer, and tidied up.
const SQUASH: &str = r#"
set -e
container=$(buildah from base)
for n in 1 2 3; do
    buildah run --network=none --add-history "$container" -- sh -c "echo $n > /file$n; rm -f /file$((n - 1))"
    buildah config --label "round$n=$n" "$container"
    buildah commit -q --timestamp $n "$container" step:$n > /dev/null
done
buildah config --history-comment 'all in one' --created-by clean-up "$container"
buildah commit -q --timestamp 9 --squash --rm "$container" result > /dev/null
buildah inspect --type image --format '{{range .OCIv1.History}}{{.CreatedBy}} | {{.Comment}}; {{end}}' step:3
echo
buildah rmi step:1 step:2 step:3 | grep -c untagged
buildah inspect --type image --format '{{len .OCIv1.RootFS.DiffIDs}} {{range .OCIv1.History}}{{.CreatedBy | printf "%q"}} {{end}}' result
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.write("bin/.keep", "");
    sandbox
}

/// A directory whose `buildah` is gabion, or Buildah itself, on the sandbox's store.
fn tool(sandbox: &Sandbox, gabion: bool) -> PathBuf {
    let (directory, program) = match gabion {
        true => {
            let link = sandbox.path("link/buildah");
            std::fs::create_dir_all(sandbox.path("link")).expect("make a directory");
            if !link.exists() {
                symlink(env!("CARGO_BIN_EXE_gabion"), &link).expect("make a link");
            }
            ("ours", link.to_str().expect("UTF-8").to_owned())
        }
        false => ("theirs", "/usr/bin/buildah".to_owned()),
    };
    let words = sandbox.store_command(program);
    let words: Vec<String> = words.iter().map(|word| word.to_str().expect("UTF-8").to_owned()).collect();
    let script = sandbox.write(format!("{directory}/buildah"), format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")));
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    script.parent().expect("a directory").to_owned()
}

/// Runs a script; gives what it printed.
fn run(sandbox: &Sandbox, gabion: bool, script: &str) -> String {
    let path = format!("{}:{}", tool(sandbox, gabion).display(), std::env::var("PATH").expect("PATH is set"));
    let tool = sandbox.any("bash").env("PATH", path).env("BUSYBOX", base_image::busybox());
    let registry = script.contains("$REGISTRY").then(DockerRegistry::plain);
    let address = registry.as_ref().map(DockerRegistry::address).unwrap_or_default();
    tool.env("REGISTRY", address).env("WORK", sandbox.path("work")).args(["-c", script]).ok()
}

/// The image `result` as Buildah sees it, without the version of its builder.
fn result(sandbox: &Sandbox, name: &str) -> Value {
    let mut value = sandbox.buildah(["inspect", "--type", "image", name]).json();
    let mut image = value["OCIv1"].take();
    let version = image["config"]["Labels"].as_object_mut().and_then(|labels| labels.remove("io.buildah.version"));
    assert!(version.is_some_and(|version| version.as_str().is_some_and(|text| text.starts_with("1."))), "a version");
    image
}

/// The names, modes, owners and sizes of all files of an image.
fn files(sandbox: &Sandbox, name: &str) -> String {
    let container = sandbox.buildah(["from", "--pull-never", name]).ok();
    let root = sandbox.buildah(["mount", &container]).ok();
    let list = sandbox.any("find").args([&root, "-printf", "%P %m %U:%G %y %l %s\n"]).ok();
    sandbox.buildah(["rm", &container]).ok();
    // The size of a directory is its file system's business. Where a command had a file mounted, Buildah
    // leaves an empty one.
    let is_stub = |line: &str| {
        let path = line.split(' ').next().unwrap_or_default();
        ["etc/hostname", "etc/hosts", "etc/resolv.conf"].contains(&path) && line.ends_with(" 0")
    };
    let mut lines: Vec<_> = list.lines().filter(|line| !line.contains(" d ") && !is_stub(line)).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn peers_scripts_on_roots_have_the_same_result() {
    same_result(&[(FROM_SCRATCH, "result"), (HOST_TOOLS, "result"), (TEMPLATE, "result:3")]);
}

#[test]
fn peers_scripts_of_pipelines_have_the_same_result() {
    same_result(&[(ASSEMBLY, "result"), (PIPELINE, "result"), (SQUASH, "result")]);
}

/// Runs each script with gabion and with Buildah; both say the same, and so does the image with the name.
#[track_caller]
fn same_result(scripts: &[(&str, &str)]) {
    for (script, tag) in scripts {
        let (ours, theirs) = (sandbox(), sandbox());
        assert_eq!(run(&ours, true, script), run(&theirs, false, script), "{script}");
        let image = |sandbox: &Sandbox| {
            let mut image = sandbox.buildah(["inspect", "--type", "image", tag]).json()["OCIv1"].take();
            image["rootfs"] = Value::Null;
            image["history"] = Value::Null;
            // With times given the newest Buildah writes no label of its own, 1.28 does.
            let config = image["config"].as_object_mut().expect("a config");
            let mut labels = config.remove("Labels").unwrap_or_default();
            labels.as_object_mut().and_then(|labels| labels.remove("io.buildah.version"));
            (image, labels.as_object().cloned().unwrap_or_default())
        };
        assert_eq!(image(&ours), image(&theirs), "{script}");
        let (ours, theirs) = (files(&ours, tag), files(&theirs, tag));
        let differ = ours.lines().chain(theirs.lines()).filter(|line| !(ours.contains(line) && theirs.contains(line)));
        assert_eq!(differ.collect::<Vec<_>>(), [""; 0], "{script}");
    }
}

/// The tutorial: each step is one command on the container `tutorial`.
const TUTORIAL: [&str; 10] = [
    "from --name tutorial base",
    "copy -q tutorial FILE /srv/index.html",
    "config --author tutor --label lesson=1 tutorial",
    "config --env MODE=learn --workingdir /srv tutorial",
    "add -q tutorial FILE /srv/copy/",
    "config --cmd /bin/httpd~-f --port 80/tcp tutorial",
    "rename tutorial lesson",
    "config --annotation kept=yes --created-by tutor lesson",
    "tag base lesson-base",
    "commit -q --format oci lesson result",
];

#[test]
fn peers_steps_of_a_tutorial_go_from_one_to_the_other() {
    let images: Vec<(Value, String)> = [true, false]
        .into_iter()
        .map(|first| {
            let sandbox = sandbox();
            let file = sandbox.write("index.html", "<h1>hello</h1>\n");
            let mut gabion = first;
            for step in TUTORIAL {
                let step = step.replace("FILE", file.to_str().expect("UTF-8")).replace('~', "\\ ");
                run(&sandbox, gabion, &format!("buildah {step}"));
                gabion = !gabion;
            }
            let mut image = result(&sandbox, "result");
            // When, and the digests of layers whose files have times of today.
            image["created"] = Value::Null;
            image["rootfs"] = Value::Null;
            for entry in image["history"].as_array_mut().expect("a list") {
                entry["created"] = Value::Null;
            }
            (image, files(&sandbox, "result"))
        })
        .collect();
    assert_eq!(images[0], images[1]);
    assert_eq!(images[0].0["config"]["WorkingDir"], "/srv");
}

/// COPY as Buildah has it, which BuildKit does otherwise.
const COPIES: &str = r#"
mkdir -p "$WORK/a/b/.c" && cd "$WORK"
for file in 1.txt a/2.txt a/b/3.txt a/b/.c/4.txt; do echo $file > $file; done
printf '#!/bin/sh\n' > tool; chmod 6755 tool
printf 'FROM scratch\nCOPY tool a/*.txt missing* /\nENV A=1\n' > Containerfile
buildah build -q --format docker -t result . > /dev/null
printf 'FROM scratch\nCOPY missing* /\n' > Nothing
buildah build -q -f Nothing . > /dev/null 2>&1 || echo failed
"#;

#[test]
fn peers_builds_copy_as_buildah_does() {
    let (ours, theirs) = (sandbox(), sandbox());
    let said = [run(&ours, true, COPIES), run(&theirs, false, COPIES)];
    assert_eq!(said, ["failed", "failed"]);
    let list = files(&ours, "result");
    assert_eq!(list, files(&theirs, "result"));
    assert!(list.contains("tool 755 0:0"), "{list}");
    // The entry of the last step stands for the layer of all.
    let entries = |sandbox: &Sandbox| {
        let history = result(sandbox, "result")["history"].take();
        let entries = history.as_array().expect("history").iter().map(|entry| {
            let text = entry["created_by"].as_str().expect("text");
            (text.split(' ').next_back().map(str::to_owned), entry["empty_layer"] == true, entry["comment"].clone())
        });
        entries.collect::<Vec<_>>()
    };
    assert_eq!(entries(&ours), entries(&theirs));
    // The newest Buildah only: two stars go through directories.
    run(
        &ours,
        true,
        "cd \"$WORK\" && printf 'FROM scratch\\nCOPY **/*.txt /\\n' > Stars && buildah build -q -f Stars -t stars .",
    );
    let names = files(&ours, "stars");
    let names: Vec<_> = names.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["1.txt", "2.txt", "3.txt", "4.txt"]);
}
