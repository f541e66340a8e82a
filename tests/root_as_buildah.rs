//! gabion under the name `buildah` says what scripts look for in Buildah's output.
#![allow(clippy::expect_used, reason = "tests")]

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use test_support::{Sandbox, Tool};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// Buildah's command line on the sandbox's store.
fn buildah(sandbox: &Sandbox, args: &[&str]) -> Tool {
    let link = sandbox.path("buildah");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_gabion"), &link).expect("make a link");
    }
    sandbox.on_store(link).args(args)
}

#[test]
fn root_flags_behind_the_first_argument_are_refused() {
    let sandbox = sandbox();
    for (line, flag) in [
        ("from localhost/base -q", "-q"),
        ("rm none --all", "--all"),
        ("rmi localhost/base -f", "-f"),
        ("push localhost/base dir:/x --format=oci", "--format=oci"),
        ("config none --author=me", "--author=me"),
        ("umount none -a", "-a"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let text = format!("no options ({flag}) can be specified after the image or container name");
        buildah(&sandbox, &words).fails().says(125, &[&text]);
    }
    // gabion's own name takes them anywhere.
    assert_eq!(sandbox.gabion(["from", "localhost/base", "--name", "mine"]).ok(), "mine");
}

#[test]
fn root_arguments_that_are_wrong_are_told_in_known_words() {
    let sandbox = sandbox();
    buildah(&sandbox, &["nosuch"]).fails().says(125, &["unknown command \"nosuch\" for \"buildah\""]);
    buildah(&sandbox, &["images", "--nosuch"]).fails().says(125, &["unknown flag: --nosuch"]);
    let wrong = buildah(&sandbox, &["--log-level=loud", "images"]).fails();
    wrong.says(125, &["unable to parse log level: not a valid logrus Level: \"loud\""]);
    let wrong = buildah(&sandbox, &["build", "--cpu-shares", "many"]).fails();
    wrong.says(125, &["invalid argument \"many\" for \"--cpu-shares\" flag: invalid syntax"]);
    // What follows a flag is its value.
    let wrong = buildah(&sandbox, &["build", "--cpu-shares", "--quiet"]).fails();
    wrong.says(125, &["invalid argument \"--quiet\" for \"--cpu-shares\" flag"]);
    let container = buildah(&sandbox, &["from", "localhost/base"]).ok();
    buildah(&sandbox, &["run", &container]).fails().says(125, &["command must be specified"]);
    buildah(&sandbox, &["run", "--network=none", &container, "/etc"]).fails().says(1, &["not executable"]);
    buildah(&sandbox, &["build", ".", "more"]).fails().says(125, &["accepts at most 1 arg(s), received 2"]);
}

#[test]
fn root_of_several_failures_each_is_told() {
    let sandbox = sandbox();
    let outcome = buildah(&sandbox, &["rm", "one", "two"]).fails();
    let told =
        ["removing container \"one\": container not known", "Error: removing container \"two\": container not known"];
    assert_eq!(outcome.stderr.lines().collect::<Vec<_>>(), told);
    let outcome = buildah(&sandbox, &["rmi", "one", "two"]).fails();
    let told = ["Error: 2 errors occurred:", "\t* one: image not known", "\t* two: image not known"];
    assert_eq!(outcome.stderr.lines().collect::<Vec<_>>(), told);
    let all = "when using the --all switch, you may not pass any";
    buildah(&sandbox, &["rm", "-a", "one"]).fails().says(125, &[all]);
    buildah(&sandbox, &["rmi", "-a", "one"]).fails().says(125, &[all]);
    buildah(&sandbox, &["rmi", "-p", "one"]).fails().says(125, &["when using the --prune switch"]);
    buildah(&sandbox, &["rmi", "-a", "-p"]).fails().says(125, &["you may not use --prune switch"]);
}

#[test]
fn root_messages_are_pairs_of_keys_and_values() {
    let sandbox = sandbox();
    let outcome = buildah(&sandbox, &["--log-level=debug", "images", "-q"]).run();
    assert!(outcome.stderr.starts_with("time=\"2"), "{outcome}");
    assert!(outcome.stderr.contains("\" level=debug msg=\"using the store at "), "{outcome}");
    assert_eq!(buildah(&sandbox, &["--log-level=info", "images", "-q"]).run().stderr, "");
}

/// A directory with a Dockerfile of this text.
fn context(sandbox: &Sandbox, dockerfile: &str) -> PathBuf {
    let file = sandbox.write("context/Dockerfile", dockerfile);
    file.parent().expect("a directory").to_owned()
}

#[test]
fn root_builds_tell_of_steps_as_buildah_does() {
    let sandbox = sandbox();
    let build = |dockerfile: &str, flags: &[&str]| {
        let dir = context(&sandbox, dockerfile);
        buildah(&sandbox, &["build", "--network=none"]).args(flags).arg(dir)
    };
    let outcome = build("from localhost/base AS Base\nRUN true\n", &["-t", "app"]).run();
    assert!(outcome.stdout.contains("\nCOMMIT app\n"), "{outcome}");
    // The lint rules are not Buildah's.
    assert_eq!(outcome.stderr, "");
    let failed = build("FROM localhost/base\nRUN exit 3\n", &[]).fails();
    failed.says(3, &["building at STEP \"RUN exit 3\": while running runtime: exit status 3"]);
    let missing = build("FROM localhost/base\nCOPY nosuch /x\n", &[]).fails();
    missing.says(125, &["building at STEP \"COPY nosuch /x\": ", "no such file or directory"]);
    let no_base = build("FROM localhost/nosuch\n", &["--pull=never"]).fails();
    no_base.says(125, &["creating build container: localhost/nosuch: image not known"]);
}

#[test]
fn root_a_dockerfile_stands_for_the_directory_it_is_in() {
    let sandbox = sandbox();
    let dir = context(&sandbox, "FROM localhost/base\nCOPY Dockerfile /\n");
    buildah(&sandbox, &["build", "-q"]).arg(dir.join("Dockerfile")).ok();
    buildah(&sandbox, &["build"]).arg(dir.join("nosuch")).fails().says(125, &["no such file or directory"]);
    let empty = sandbox.write("empty/Dockerfile", "");
    buildah(&sandbox, &["build"]).arg(&empty).fails().says(125, &["no contents in"]);
    std::fs::create_dir_all(sandbox.path("odd/Dockerfile")).expect("make a directory");
    buildah(&sandbox, &["build"]).arg(sandbox.path("odd")).fails().says(125, &["Dockerfile is not a file"]);
}

#[test]
fn root_an_image_on_a_nameless_one_names_no_base() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    let nameless = sandbox.gabion(["commit", "-q", "--rm", &container]).ok();
    let container = sandbox.gabion(["from", &nameless]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &container, "app"]).ok();
    let base = |part: &str| {
        let template = format!("{{{{index .ImageAnnotations \"org.opencontainers.image.base.{part}\"}}}}");
        sandbox.gabion(["inspect", "--format", &template, "app"]).ok()
    };
    assert_eq!(base("name"), "");
    assert!(base("digest").starts_with("sha256:"));
}

#[test]
fn root_a_container_is_a_host_of_its_name_if_containers_conf_says_so() {
    let sandbox = sandbox();
    let conf = sandbox.write("names.conf", "[containers]\ncontainer_name_as_hostname = true\n");
    buildah(&sandbox, &["from", "--name", "one_working.container", "localhost/base"]).ok();
    let hostname = |container: &str| {
        let run = ["run", "--network=none", container, "hostname"];
        buildah(&sandbox, &run).env("CONTAINERS_CONF", &conf).ok()
    };
    assert_eq!(hostname("one_working.container"), "oneworking.container");
    buildah(&sandbox, &["config", "--hostname", "own", "one_working.container"]).ok();
    assert_eq!(hostname("one_working.container"), "own");
}
