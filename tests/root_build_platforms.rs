//! Builds for several platforms: images, the list of them, outputs, logs, failures.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use serde_json::Value;
use test_support::{DockerRegistry, Sandbox};

const BOTH: &str = "--platform=linux/amd64,linux/arm64";

/// A store with `multi`, a list of two images whose programs all run on this machine, and a context.
fn sandbox(dockerfile: &str) -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    for arch in ["amd64", "arm64"] {
        let container = sandbox.gabion(["from", "base"]).ok();
        sandbox.gabion(["config", "--arch", arch, &container]).ok();
        sandbox.gabion(["commit", "-q", "--rm", "--manifest", "multi", &container, arch]).ok();
    }
    sandbox.write("context/Dockerfile", dockerfile);
    sandbox
}

const DOCKERFILE: &str =
    "FROM multi AS made\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\nFROM multi\nCOPY --from=made /arch /\n";

fn build(sandbox: &Sandbox, args: &[&str]) -> test_support::Tool {
    let context = sandbox.path("context");
    sandbox.gabion(["build", "--network=none"].iter().chain(args)).arg(context)
}

fn architectures(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap_or_default().to_owned()).collect()
}

fn list(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.gabion(["manifest", "inspect", name]).json()
}

#[test]
fn root_images_of_several_platforms_are_in_one_list() {
    let sandbox = sandbox(DOCKERFILE);
    let ids = build(&sandbox, &["-q", BOTH, "--manifest", "app"]).ok();
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(architectures(&list(&sandbox, "app")), ["amd64", "arm64"]);
    for (id, arch) in ids.iter().zip(["amd64", "arm64"]) {
        assert_eq!(sandbox.gabion(["inspect", "--type", "image", id]).json()["OCIv1"]["architecture"], arch);
        let container = sandbox.gabion(["from", "--arch", arch, "app"]).ok();
        let root = sandbox.gabion(["mount", &container]).ok();
        assert_eq!(fs::read_to_string(format!("{root}/arch")).expect("a file"), format!("{arch}\n"));
    }
    // The same again changes nothing; a further platform is added; --tag names the list too.
    assert_eq!(build(&sandbox, &["-q", BOTH, "--manifest", "app"]).ok().lines().collect::<Vec<_>>(), ids);
    assert_eq!(architectures(&list(&sandbox, "app")).len(), 2);
    sandbox.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    build(&sandbox, &["-q", "--arch=riscv64", "--manifest", "app", "-t", "one"]).ok();
    assert_eq!(architectures(&list(&sandbox, "app")), ["amd64", "arm64", "riscv64"]);
    sandbox.gabion(["inspect", "--type", "image", "one"]).ok();
    let out = build(&sandbox, &[BOTH, "-t", "tagged:1", "-t", "tagged:2"]).ok();
    assert!(out.contains("[linux/arm64] STEP 2/2: COPY Dockerfile /"), "{out}");
    assert!(out.contains("Successfully tagged localhost/tagged:2"), "{out}");
    assert_eq!(list(&sandbox, "tagged:1"), list(&sandbox, "tagged:2"));
    assert_eq!(architectures(&list(&sandbox, "tagged:1")), ["amd64", "arm64"]);
    // A name goes to the new list.
    build(&sandbox, &["-q", "--platform=linux/amd64,linux/s390x", "-t", "tagged:1"]).ok();
    assert_eq!(architectures(&list(&sandbox, "tagged:1")), ["amd64", "s390x"]);
    assert_eq!(architectures(&list(&sandbox, "tagged:2")), ["amd64", "arm64"]);
    // A cache without room keeps the images all the same.
    sandbox.write("context/Dockerfile", DOCKERFILE);
    let ids = build(&sandbox, &["-q", BOTH, "--no-cache", "--cache-budget=0"]).ok();
    ids.lines().for_each(|id| drop(sandbox.gabion(["inspect", "--type", "image", id]).ok()));
    assert_eq!(ids.lines().count(), 2);
    build(&sandbox, &["-q", "--manifest", "localhost/amd64"])
        .run()
        .says(125, &["localhost/amd64", "not a manifest list"]);
    let elsewhere = sandbox.gabion(["commit", "--manifest", "app", "nosuch", "oci:x"]).run();
    elsewhere.says(125, &["--manifest", "oci:x"]);
}

#[test]
fn root_outputs_hold_the_images_of_all_platforms() {
    let (sandbox, registry) = (sandbox(DOCKERFILE), DockerRegistry::plain());
    let path = |name: &str| sandbox.path(name).display().to_string();
    build(&sandbox, &["-q", BOTH, "-o", &path("files")]).ok();
    for arch in ["amd64", "arm64"] {
        let file = sandbox.path(format!("files/linux_{arch}/arch"));
        assert_eq!(fs::read_to_string(file).expect("a file"), format!("{arch}\n"));
    }
    build(&sandbox, &["-q", BOTH, "-o", &format!("type=tar,dest={}", path("files.tar"))]).ok();
    let names = sandbox.any("tar").args(["-tf", &path("files.tar")]).ok();
    assert!(names.contains("linux_amd64/arch") && names.contains("linux_arm64/arch"), "{names}");
    let raw = |place: &str| -> Value { sandbox.skopeo(["inspect", "--raw", "--tls-verify=false", place]).json() };
    build(&sandbox, &["-q", BOTH, "-t", "x:v1", "-o", &format!("type=oci,dest={}", path("app.tar"))]).ok();
    assert_eq!(architectures(&raw(&format!("oci-archive:{}:v1", path("app.tar")))), ["amd64", "arm64"]);
    assert_eq!(architectures(&list(&sandbox, "x:v1")), ["amd64", "arm64"]);
    let archive = sandbox.any("sh").arg("-c").arg(format!(
        "{} --root {} --runroot {} build -q --network=none {BOTH} -o type=oci {} | tar -xO index.json",
        env!("CARGO_BIN_EXE_gabion"),
        path("store"),
        path("run"),
        path("context")
    ));
    assert_eq!(archive.json()["manifests"][0]["mediaType"], "application/vnd.oci.image.index.v1+json");
    let (pushed, tagged) = (registry.image("app:1"), registry.image("app:2"));
    let name = pushed.trim_start_matches("docker://");
    build(&sandbox, &["-q", BOTH, "--tls-verify=false", "-t", name, "--push", "-t", &tagged]).ok();
    for place in [&pushed, &tagged] {
        assert_eq!(architectures(&raw(place)), ["amd64", "arm64"], "{place}");
    }
    let before = sandbox.gabion(["images", "-a", "-q"]).ok();
    let docker = format!("type=docker,dest={}", path("docker.tar"));
    sandbox.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /new\n");
    let refused = build(&sandbox, &[BOTH, "-o", &docker]).run();
    refused.says(125, &["docker.tar", "several platforms"]);
    assert!(!refused.stdout.contains("STEP"), "nothing is built: {refused}");
    assert_eq!(sandbox.gabion(["images", "-a", "-q"]).ok(), before);
}

#[test]
fn root_a_platform_that_fails_is_named() {
    let sandbox = sandbox("FROM multi\nARG TARGETARCH\nRUN test $TARGETARCH = amd64 || exit 7\n");
    let outcome = build(&sandbox, &[BOTH, "--manifest", "app"]).run();
    outcome.says(7, &["[linux/arm64]", "Dockerfile:3:1"]);
    assert_eq!(sandbox.gabion(["manifest", "exists", "app"]).run().code(), Some(1));
    // What is wrong with the file is told once, and so are warnings.
    sandbox.write("context/Dockerfile", "FROM multi\nNOSUCH\n");
    let outcome = build(&sandbox, &[BOTH]).run();
    outcome.says(125, &["Dockerfile:2:1"]);
    sandbox.write("context/Dockerfile", "FROM multi as one\n");
    let outcome = build(&sandbox, &[BOTH]).run();
    assert_eq!(outcome.stderr.matches("FromAsCasing").count(), 1, "{outcome}");
}

#[test]
fn root_each_platform_has_a_log_of_its_own() {
    let sandbox = sandbox("FROM multi\nARG TARGETARCH\nRUN echo built for $TARGETARCH\n");
    let log = sandbox.path("log").display().to_string();
    let out = build(&sandbox, &[BOTH, "--logfile", &log, "--logsplit"]).run();
    assert_eq!((out.code(), out.stdout.as_str(), out.stderr.as_str()), (Some(0), "", ""));
    for (arch, other) in [("amd64", "arm64"), ("arm64", "amd64")] {
        let text = fs::read_to_string(format!("{log}_linux_{arch}")).expect("a log");
        assert!(text.contains(&format!("\nbuilt for {arch}\n")) && text.contains("STEP 3/3"), "{text}");
        assert!(!text.contains(&format!("built for {other}")), "{text}");
    }
    build(&sandbox, &[BOTH, "--no-cache", "--logfile", &log]).ok();
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains("[linux/amd64] built for amd64") && text.contains("[linux/arm64] built for arm64"), "{text}");
    // As events, with the platform as a member.
    let events = build(&sandbox, &[BOTH, "--no-cache", "--progress=json"]).run().stderr;
    let has = |arch: &str| {
        let is_it = |event: &Value| {
            event["line"] == format!("built for {arch}") && event["platform"] == format!("linux/{arch}")
        };
        events.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|event: Value| is_it(&event))
    };
    assert!(has("amd64") && has("arm64"), "{events}");
}

#[test]
fn root_all_platforms_are_those_of_the_base_images() {
    let sandbox = sandbox("FROM multi\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n");
    build(&sandbox, &["-q", "--all-platforms", "-t", "all"]).ok();
    assert_eq!(architectures(&list(&sandbox, "all")), ["amd64", "arm64"]);
    sandbox.gabion(["manifest", "create", "narrow", "arm64"]).ok();
    sandbox.write("context/Dockerfile", "FROM narrow AS other\nFROM multi\nCOPY --from=other /etc/passwd /\n");
    build(&sandbox, &["-q", "--all-platforms", "-t", "common"]).ok();
    assert_eq!(architectures(&list(&sandbox, "common")), ["arm64"]);
    sandbox.gabion(["manifest", "create", "foreign", "--annotation", "a=b"]).ok();
    sandbox.write("context/Dockerfile", "FROM foreign AS other\nFROM multi\nCOPY --from=other /etc/passwd /\n");
    build(&sandbox, &["--all-platforms"]).run().says(125, &["--all-platforms", "no platform in common"]);
    sandbox.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    build(&sandbox, &["--all-platforms"]).run().says(125, &["--all-platforms", "no stage begins with an image"]);
    // Of an image on a registry, although the store has it for one platform.
    let registry = DockerRegistry::plain();
    let place = registry.image("base");
    sandbox.gabion(["push", "-q", "--tls-verify=false", "--all", "multi", &place]).ok();
    let name = place.trim_start_matches("docker://");
    sandbox.gabion(["pull", "-q", "--tls-verify=false", &place]).ok();
    sandbox.write("context/Dockerfile", format!("FROM {name}\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n"));
    build(&sandbox, &["-q", "--tls-verify=false", "--all-platforms", "-t", "pulled"]).ok();
    assert_eq!(architectures(&list(&sandbox, "pulled")), ["amd64", "arm64"]);
}

#[test]
fn root_called_buildah_the_name_goes_to_the_last_image() {
    let sandbox = sandbox(DOCKERFILE);
    let link = sandbox.path("buildah");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gabion"), &link).expect("make a link");
    let build = ["build", "-q", "--network=none", BOTH, "-t", "named", "--manifest", "app"];
    sandbox.on_store(&link).args(build).arg(sandbox.path("context")).ok();
    assert_eq!(architectures(&list(&sandbox, "app")), ["amd64", "arm64"]);
    let named = sandbox.gabion(["inspect", "--type", "image", "named"]).json();
    assert!(["amd64", "arm64"].contains(&named["OCIv1"]["architecture"].as_str().expect("text")), "an image: {named}");
}

#[test]
fn root_a_cache_elsewhere_has_the_steps_for_all_platforms() {
    let sandbox = sandbox(DOCKERFILE);
    let dir = sandbox.path("cache").display().to_string();
    let (to, from) =
        (format!("--cache-to=type=local,mode=max,dest={dir}"), format!("--cache-from=type=local,src={dir}"));
    build(&sandbox, &["-q", BOTH, &to]).ok();
    let index = sandbox.skopeo(["inspect", "--raw", &format!("oci:{dir}:latest")]).json();
    assert_eq!(architectures(&index), ["amd64", "arm64"]);
    let other = self::sandbox(DOCKERFILE);
    let events = build(&other, &[BOTH, &from, "--progress=json"]).run().stderr;
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for arch in ["amd64", "arm64"] {
        let is_run = |event: &&Value| {
            event["event"] == "step-finished"
                && event["platform"] == format!("linux/{arch}")
                && (&event["stage"], &event["step"]) == (&1.into(), &3.into())
        };
        assert_eq!(events.iter().find(is_run).expect("a RUN")["outcome"], "cached", "{arch}");
    }
}
