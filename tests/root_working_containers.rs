//! Working containers by command: made, named, listed, mounted, changed, committed, removed.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use test_support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

fn config_of(sandbox: &Sandbox, image: &str) -> Value {
    let inspected = sandbox.gabion(["inspect", "--type", "image", image]).json();
    serde_json::from_str(inspected["Config"].as_str().expect("text")).expect("JSON")
}

/// `gabion from` on the base image, with a file written to it.
fn changed_container(sandbox: &Sandbox, content: &str) -> String {
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    fs::write(Path::new(&root).join("new"), content).expect("write");
    sandbox.gabion(["umount", &container]).ok();
    container
}

#[test]
fn root_from_names_containers_as_buildah_does() {
    let sandbox = sandbox();
    assert_eq!(sandbox.gabion(["from", "scratch"]).ok(), "working-container");
    assert_eq!(sandbox.gabion(["from", "localhost/base"]).ok(), "base-working-container");
    assert_eq!(sandbox.gabion(["from", "base:latest"]).ok(), "base-working-container-1");
    let id = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "base"]).ok();
    let cidfile = sandbox.path("cid");
    let by_id = ["from", "--name", "mine", "--cidfile", cidfile.to_str().expect("text"), &id[..12]];
    assert_eq!(sandbox.gabion(by_id).ok(), "mine");
    let cid = fs::read_to_string(&cidfile).expect("written");
    assert_eq!(sandbox.gabion(["inspect", "--format", "{{.ContainerID}}", "mine"]).ok(), cid);
    sandbox.gabion(["from", "--name", "mine", "scratch"]).fails().says(125, &["\"mine\"", "already in use", &cid]);

    let ids = sandbox.gabion(["containers", "-q"]).ok();
    assert_eq!(ids.lines().count(), 4);
    let json = sandbox.gabion(["containers", "--json"]).json();
    let row = json.as_array().and_then(|rows| rows.iter().find(|row| row["containername"] == "mine")).expect("listed");
    assert_eq!((&row["imagename"], &row["imageid"]), (&json!("localhost/base:latest"), &json!(id)));
    assert_eq!(
        sandbox.gabion(["containers", "--filter", "name=mine", "--format", "{{.ImageName}}"]).ok(),
        "localhost/base:latest"
    );
    assert_eq!(sandbox.gabion(["containers", "--json"]).json(), sandbox.buildah(["containers", "--json"]).json());

    sandbox.gabion(["rename", "mine", "yours"]).ok();
    sandbox
        .gabion(["rename", "yours", "working-container"])
        .fails()
        .says(125, &["working-container", "already in use"]);
    assert_eq!(sandbox.gabion(["rm", "yours"]).ok(), cid);
    assert_eq!(sandbox.gabion(["rm", "--all"]).ok().lines().count(), 3);
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok(), "");
}

#[test]
fn root_rm_goes_on_after_an_unknown_name() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "a", "scratch"]).ok();
    let outcome = sandbox.gabion(["rm", "nosuch", "a"]).run();
    assert_eq!(outcome.code(), Some(125));
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok(), "");
}

#[test]
fn peers_mounts_are_counted_together_with_buildah() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    assert!(Path::new(&root).join("bin/busybox").exists());
    assert_eq!(sandbox.gabion(["mount"]).ok(), format!("{container} {root}"));
    assert_eq!(sandbox.buildah(["mount"]).ok(), format!("{container} {root}"));
    assert_eq!(sandbox.buildah(["mount", &container]).ok(), root);
    sandbox.gabion(["umount", &container]).ok();
    assert!(Path::new(&root).join("bin/busybox").exists(), "Buildah's mount keeps it");
    assert_eq!(sandbox.gabion(["mount", "--json"]).json(), json!([{"container": container, "mountPoint": root}]));
    sandbox.buildah(["umount", &container]).ok();
    assert!(!Path::new(&root).join("bin").exists());
    assert_eq!(sandbox.gabion(["mount"]).ok(), "");
}

#[test]
fn peers_config_edits_what_buildah_reads() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "--format", "docker", "localhost/base"]).ok();
    let edits = [
        "--env=A=1",
        "--env=PATH=$PATH:/x",
        "--label=l=v",
        "--label=gone=1",
        "--label=gone-",
        "-p=80",
        "--cmd=run \"a b\"",
        "--entrypoint=[\"/e\"]",
        "--user=1:2",
        "--workingdir=/w",
        "--volume=/v",
        "--stop-signal=INT",
        "--author=me",
        "--annotation=n=v",
        "--healthcheck=CMD-SHELL true",
        "--healthcheck-interval=1m30s",
        "--onbuild=RUN x",
        "--shell=/bin/ash -c",
        "--hostname=h",
        "--comment=c",
    ];
    let args = ["config"].into_iter().chain(edits).chain([container.as_str()]);
    sandbox.gabion(args.collect::<Vec<_>>()).ok();
    let ours = sandbox.gabion(["inspect", &container]).json();
    let buildahs = sandbox.buildah(["inspect", &container]).json();
    let run = &buildahs["Docker"]["config"];
    assert_eq!(run["Cmd"], json!(["run", "a b"]));
    assert_eq!(run["Entrypoint"], json!(["/e"]));
    assert_eq!(run["Labels"]["l"], "v");
    assert_eq!(run["Labels"].get("gone"), None);
    assert!(run["Env"].as_array().expect("list").contains(&json!("A=1")), "{run}");
    assert!(run["Env"].to_string().contains(":/x\""), "{run}");
    assert_eq!(run["Healthcheck"]["Interval"], 90_000_000_000_i64);
    assert_eq!((&run["OnBuild"], &run["Shell"]), (&json!(["RUN x"]), &json!(["/bin/ash", "-c"])));
    assert_eq!(buildahs["ImageAnnotations"]["n"], "v");
    for member in [
        "Container",
        "ContainerID",
        "FromImage",
        "FromImageID",
        "FromImageDigest",
        "Config",
        "Manifest",
        "ImageAnnotations",
    ] {
        assert_eq!(ours[member], buildahs[member], "{member}");
    }
    let keys =
        |value: &Value| value.as_object().expect("object").keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys(&ours), keys(&buildahs));

    sandbox.buildah(["config", "--env", "B=2", "--label", "l-", &container]).ok();
    let again = sandbox.gabion(["inspect", "--format", "{{json .Docker.Config}}", &container]).json();
    assert!(again["Env"].to_string().contains("B=2"), "{again}");
    assert_eq!(again["Labels"].get("l"), None);
    assert_eq!(again["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
}

#[test]
fn peers_each_tool_goes_on_with_the_others_container() {
    let sandbox = sandbox();
    let ours = sandbox.gabion(["from", "localhost/base"]).ok();
    sandbox.buildah(["run", "--network", "none", &ours, "sh", "-c", "echo x > /by-buildah"]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &ours, "localhost/one"]).ok();
    assert_eq!(sandbox.podman_run(["localhost/one", "cat", "/by-buildah"]).ok(), "x");

    let theirs = sandbox.buildah(["from", "localhost/one"]).ok();
    sandbox.gabion(["config", "--label", "by=gabion", &theirs]).ok();
    let root = sandbox.gabion(["mount", &theirs]).ok();
    fs::remove_file(Path::new(&root).join("by-buildah")).expect("remove");
    sandbox.gabion(["umount", &theirs]).ok();
    sandbox.buildah(["commit", "-q", "--rm", &theirs, "localhost/two"]).ok();
    assert_eq!(sandbox.podman_run(["localhost/two", "sh", "-c", "test ! -e /by-buildah && echo gone"]).ok(), "gone");
    assert_eq!(config_of(&sandbox, "localhost/two")["config"]["Labels"]["by"], "gabion");
}

#[test]
fn root_history_tells_steps_and_base() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "x");
    sandbox
        .gabion([
            "config",
            "--add-history",
            "--env",
            "A=B",
            "--created-by",
            "me",
            "--history-comment",
            "why",
            &container,
        ])
        .ok();
    sandbox.gabion(["commit", "-q", &container, "localhost/x"]).ok();
    let config = config_of(&sandbox, "localhost/x");
    let history = config["history"].as_array().expect("list");
    let [.., env, layer] = history.as_slice() else { panic!("{config}") };
    assert_eq!((&env["created_by"], &env["empty_layer"]), (&json!("/bin/sh -c #(nop) ENV A=B"), &json!(true)));
    assert_eq!((&layer["created_by"], &layer["comment"]), (&json!("me"), &json!("why")));
    assert_eq!(config["config"]["Labels"]["io.gabion.version"], env!("CARGO_PKG_VERSION"));

    let plain = sandbox.gabion(["from", "localhost/base"]).ok();
    sandbox.gabion(["commit", "-q", "--identity-label=false", &plain, "localhost/plain"]).ok();
    let config = config_of(&sandbox, "localhost/plain");
    let last = config["history"].as_array().and_then(|history| history.last()).expect("an entry");
    assert_eq!((&last["created_by"], &last["comment"]), (&json!("/bin/sh"), &json!("FROM localhost/base:latest")));
    assert_eq!(config["config"]["Labels"].get("io.gabion.version"), None);
    sandbox.gabion(["commit", "-q", "--omit-history", &plain, "localhost/plain"]).ok();
    assert_eq!(config_of(&sandbox, "localhost/plain").get("history"), None);
}

#[test]
fn root_a_kept_container_is_unharmed_by_commit() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "one");
    let first = sandbox.gabion(["commit", "-q", "--timestamp=1000", &container, "localhost/x"]).ok();
    assert_eq!(
        sandbox.gabion(["commit", "-q", "--timestamp=1000", &container, "localhost/x"]).ok(),
        first,
        "same again"
    );
    let root = sandbox.gabion(["mount", &container]).ok();
    let metadata = fs::metadata(Path::new(&root).join("new")).expect("still there");
    assert!(metadata.modified().expect("time").elapsed().expect("past").as_secs() < 3600, "its times are its own");
    fs::write(Path::new(&root).join("new"), "two").expect("write");
    sandbox.gabion(["umount", &container]).ok();
    let second = sandbox.gabion(["commit", "-q", "--timestamp=1000", "--rm", &container, "localhost/y"]).ok();
    assert_ne!(first, second);
    assert_eq!(sandbox.podman_run(["localhost/x", "cat", "/new"]).ok(), "one");
    assert_eq!(sandbox.podman_run(["localhost/y", "cat", "/new"]).ok(), "two");
}

#[test]
fn root_commit_is_bit_identical_at_one_time() {
    let sandbox = sandbox();
    let image = |format: &str, rm: bool| {
        let container = changed_container(&sandbox, "same");
        let mut args = vec!["commit", "-q", "--format", format];
        args.extend(rm.then_some("--rm"));
        let by_flag = sandbox.gabion(args.iter().copied().chain(["--timestamp=1000", &container])).ok();
        let container = changed_container(&sandbox, "same");
        let by_variable =
            sandbox.gabion(args.iter().copied().chain([container.as_str()])).env("SOURCE_DATE_EPOCH", "1000").ok();
        assert_eq!(by_flag, by_variable);
        by_flag
    };
    for format in ["oci", "docker"] {
        assert_eq!(image(format, false), image(format, true), "{format}");
    }
}

#[test]
fn root_squash_keeps_what_is_visible_in_one_layer() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "x");
    let root = sandbox.gabion(["mount", &container]).ok();
    fs::remove_dir(Path::new(&root).join("home")).expect("remove a directory of the base");
    sandbox.gabion(["umount", &container]).ok();
    sandbox.gabion(["commit", "-q", "--squash", "--rm", &container, "localhost/squashed"]).ok();
    let config = config_of(&sandbox, "localhost/squashed");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(1));
    assert_eq!(config["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(sandbox.podman_run(["localhost/squashed", "sh", "-c", "test ! -e /home && cat /new"]).ok(), "x");
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok(), "");
}

#[test]
fn root_commit_writes_the_iidfile_and_moves_names() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "x");
    let iidfile = sandbox.path("iid");
    let silent = ["commit", "-q", "--iidfile", iidfile.to_str().expect("text"), &container, "app:1"];
    assert_eq!(sandbox.gabion(silent).ok(), "", "the ID is in the file instead");
    let id = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "app:1"]).ok();
    assert_eq!(fs::read_to_string(&iidfile).expect("written"), format!("sha256:{id}"));
    let other = sandbox.gabion(["commit", "-q", "--rm", "--unsetenv", "PATH", &container, "app:1"]).ok();
    assert_ne!(id, other);
    let found = |name: &str| sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", name]).ok();
    assert_eq!(found("localhost/app:1"), other);
    assert_eq!(found(&id), id, "the older image stays, without its name");

    sandbox.gabion(["tag", &id, "old", "example.org/old:2"]).ok();
    assert_eq!((found("localhost/old:latest"), found("example.org/old:2")), (id.clone(), id.clone()));
    sandbox.gabion(["untag", &id, "old"]).ok();
    sandbox.gabion(["untag", &id, "old"]).fails().says(125, &["old", "no such name"]);
    sandbox.gabion(["tag", &id, "Not A Name"]).fails().says(125, &["Not A Name"]);
}

#[test]
fn peers_commit_to_another_place_leaves_the_store_as_it_was() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "x");
    let images = sandbox.buildah(["images", "--all", "--json"]).json();
    let layout = format!("oci:{}:app", sandbox.path("layout").display());
    sandbox.gabion(["commit", "-q", &container, &layout]).ok();
    let archive = format!("docker-archive:{}:example.org/app:1", sandbox.path("app.tar").display());
    sandbox.gabion(["commit", "-q", "--rm", "--format", "docker", &container, &archive]).ok();
    assert_eq!(sandbox.buildah(["images", "--all", "--json"]).json(), images);
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok(), "");
    for place in [layout, archive] {
        let inspected = sandbox.skopeo(["inspect", &place]).json();
        assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(2), "{place}");
    }
}

#[test]
fn root_a_commit_that_cannot_arrive_keeps_the_container() {
    let sandbox = sandbox();
    let container = changed_container(&sandbox, "x");
    let images = sandbox.buildah(["images", "--all", "--json"]).json();
    let nowhere = ["commit", "-q", "--rm", "--retry=0", &container, "docker://localhost:1/app"];
    sandbox.gabion(nowhere).fails().says(125, &["localhost:1"]);
    assert_eq!(sandbox.buildah(["images", "--all", "--json"]).json(), images);
    assert_eq!(sandbox.gabion(["containers", "--format", "{{.ContainerName}}"]).ok(), container);
}

#[test]
fn root_a_missing_authfile_is_an_error() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let from = ["from", "--authfile", "/nonexistent/auth.json", "docker://localhost:1/app"];
    sandbox.gabion(from).fails().says(125, &["/nonexistent/auth.json", "credential file is not accessible"]);
}

#[test]
fn root_from_understands_the_older_pull_flags() {
    let sandbox = sandbox();
    assert_eq!(sandbox.gabion(["from", "--pull-never", "localhost/base"]).ok(), "base-working-container");
    sandbox.gabion(["from", "--pull-never", "localhost/nosuch"]).fails().says(125, &["nosuch", "not known"]);
    let unreachable = ["from", "--pull-always", "--retry=0", "localhost:1/base"];
    sandbox.gabion(["tag", "base", "localhost:1/base"]).ok();
    sandbox.gabion(unreachable).fails().says(125, &["localhost:1"]);
    sandbox.gabion(["from", "--pull-never", "--pull=always", "base"]).fails().says(125, &["--pull", "cannot be used"]);
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok().lines().count(), 1);
}

#[test]
fn peers_inspect_shows_the_history_that_waits_for_the_commit() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    sandbox.gabion(["config", "--add-history", "--env", "A=b", "--user", "1", &container]).ok();
    let template = "{{range .History}}{{.CreatedBy}};{{end}}{{len .History}}";
    let shown = sandbox.gabion(["inspect", "--format", template, &container]).ok();
    assert!(shown.contains("#(nop) ENV A=b;") && shown.contains("#(nop) USER 1;"), "{shown}");
    assert_eq!(shown, sandbox.buildah(["inspect", "--format", template, &container]).ok());
}

#[test]
fn root_inspect_takes_the_type_by_its_word() {
    let sandbox = sandbox();
    let id = sandbox.gabion(["inspect", "--format", "{{.FromImageID}}", "base"]).ok();
    assert_eq!(id.len(), 64, "without a type, an image will do");
    sandbox.gabion(["inspect", "-t", "container", "base"]).fails().says(125, &["base", "container not known"]);
    let outcome = sandbox.gabion(["inspect", "--format", "{{.Nope}}", "base"]).fails();
    outcome.says(125, &["Nope"]);
    assert!(!outcome.stderr.contains("FromImageDigest"), "what there is instead is not poured out");
}

#[test]
fn root_config_tells_of_what_it_cannot_do_as_asked() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "localhost/base"]).ok();
    sandbox
        .gabion(["config", "--env", "NOT_THERE", &container])
        .env_remove("NOT_THERE")
        .fails()
        .says(125, &["NOT_THERE", "no value"]);
    sandbox.gabion(["config", "--env", "THERE", &container]).env("THERE", "here").ok();
    assert_eq!(config_env(&sandbox, &container), "here");
    sandbox.gabion(["config", "--cmd", "old words", &container]).ok();
    let warned = |args: &[&str]| sandbox.gabion(args).arg(&container).run().stderr;
    let exec = warned(&["config", "--entrypoint", r#"["/e"]"#]);
    assert!(exec.contains("old words") && exec.contains("as parameters"), "{exec}");
    let shell = warned(&["config", "--entrypoint", "/e"]);
    assert!(shell.contains("old words") && shell.contains("ignored"), "{shell}");
    assert_eq!(warned(&["config", "--entrypoint", "/e", "--cmd", "new"]), "");
}

fn config_env(sandbox: &Sandbox, container: &str) -> String {
    let inspected = sandbox.gabion(["inspect", container]).json();
    let env = inspected["OCIv1"]["config"]["Env"].as_array().cloned().unwrap_or_default();
    let value = env.iter().filter_map(Value::as_str).find_map(|entry| entry.strip_prefix("THERE="));
    value.expect("set").to_owned()
}

#[test]
fn root_default_names_come_from_what_was_asked_for() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let id = sandbox.gabion(["images", "-q", "--no-trunc", "base"]).ok();
    sandbox.gabion(["push", "-q", "base", "dir:image"]).ok();
    let from = |args: &[&str]| sandbox.gabion(["from", "-q"]).args(args).ok();
    assert_eq!(from(&[&id]), "base-working-container");
    assert_eq!(from(&["--suffix", "mine", "base"]), "base-mine");
    sandbox.gabion(["rm", "-a"]).ok();
    sandbox.gabion(["untag", "base"]).ok();
    assert_eq!(from(&["dir:image"]), "dir-working-container");
    assert_eq!(from(&[&id]), format!("{}-working-container", &id[7..19]));
    // An ID of nothing is not looked for in registries.
    let nothing = format!("sha256:{}", "1".repeat(64));
    assert!(sandbox.gabion(["from", &nothing]).fails().stderr.contains("image not known"));
}
