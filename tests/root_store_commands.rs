//! Images and the store by command: listed, filtered, named, removed, described.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use test_support::Sandbox;
use test_support::store_check::assert_sound;

/// A store with `localhost/base:latest`, and `localhost/app:1` made of it by two steps.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    commit(&sandbox, "localhost/base", "one", "localhost/app:1");
    sandbox
}

/// Commits a container on `base` with a file more and a label, and removes it.
fn commit(sandbox: &Sandbox, base: &str, file: &str, name: &str) -> String {
    let container = sandbox.gabion(["from", base]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    fs::write(Path::new(&root).join(file), file).expect("write");
    sandbox.gabion(["config", "--label", &format!("file={file}"), &container]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &container, name]).ok()
}

/// The cells of a table without those that say how long ago something was, which decides widths too.
fn without_times(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty() && !cell.ends_with(" ago")).collect()
        })
        .collect()
}

#[test]
fn root_images_lists_as_buildah_does() {
    let sandbox = sandbox();
    sandbox.gabion(["tag", "app:1", "two", "quay.io/x/three:4"]).ok();
    let nameless = commit(&sandbox, "localhost/base", "moved", "localhost/moving");
    commit(&sandbox, "localhost/base", "moved again", "localhost/moving");
    for args in [
        vec!["images"],
        vec!["images", "-q"],
        vec!["images", "-a", "-q", "--no-trunc"],
        vec!["images", "-n"],
        vec!["images", "--no-trunc", "--history"],
        vec!["images", "two"],
        vec!["images", "-q", "--filter", "label=file=one"],
        vec!["images", "-q", "--filter", "label=file"],
        vec!["images", "-q", "--filter", "dangling=true"],
        vec!["images", "-q", "--filter", "since=localhost/base"],
        vec!["images", "-q", "--filter", "before=localhost/moving"],
        vec!["images", "-q", "--filter", "reference=*app*"],
        vec!["images", "-q", "--filter", "readonly=true"],
        vec!["images", "-q", "--filter", "intermediate=false"],
        vec![
            "images",
            "--format",
            "{{.ID}} {{.Name}}:{{.Tag}} {{.Digest}} {{.CreatedAtRaw}} {{.Size}} {{.ReadOnly}} {{.History}}",
        ],
    ] {
        let (ours, theirs) = (sandbox.gabion(&args).ok(), sandbox.buildah(&args).ok());
        assert_eq!(without_times(&ours), without_times(&theirs), "{args:?}");
    }
    let mut rows = [sandbox.gabion(["images", "--json"]).json(), sandbox.buildah(["images", "--json"]).json()];
    for row in rows.iter_mut().flat_map(|rows| rows.as_array_mut().expect("a list")) {
        assert!(row["createdat"].as_str().is_some_and(|text| text.ends_with(" ago")));
        row["createdat"] = Value::Null;
    }
    assert_eq!(rows[0], rows[1]);
    assert!(sandbox.gabion(["images", "--digests"]).ok().starts_with("REPOSITORY"));
    assert_eq!(
        sandbox.gabion(["images", "-q", "--no-trunc", "-f", &format!("id={nameless}")]).ok(),
        format!("sha256:{nameless}")
    );
    assert_eq!(sandbox.gabion(["images", "--format", "table {{.Name}}\\t{{.Tag}}", "base"]).ok().lines().count(), 2);

    sandbox.gabion(["images", "nosuch"]).fails().says(125, &["nosuch", "not known"]);
    sandbox.gabion(["images", "--filter", "colour=red"]).fails().says(125, &["--filter", "colour", "reference="]);
    sandbox.gabion(["images", "--filter", "dangling=perhaps"]).fails().says(125, &["true or false"]);
    sandbox.gabion(["images", "--format", "{{.Bad}}"]).fails().says(125, &["Bad"]);
    sandbox.gabion(["images", "-q", "--format", "x"]).fails().says(125, &["--quiet", "--format"]);
}

#[test]
fn root_steps_on_the_way_to_other_images_are_hidden() {
    let sandbox = sandbox();
    let first = commit(&sandbox, "localhost/base", "first", "localhost/step");
    commit(&sandbox, &first, "second", "localhost/result");
    sandbox.gabion(["untag", "step"]).ok();
    let short = &first[..12];
    assert!(!sandbox.gabion(["images", "-q"]).ok().contains(short));
    assert!(sandbox.gabion(["images", "-a", "-q"]).ok().contains(short));
    assert_eq!(sandbox.gabion(["images", "-q", "--filter", "intermediate=true"]).ok(), short);
    assert_eq!(sandbox.gabion(["images", "-q", "--filter", "dangling=true"]).ok(), "");
    // As with the newest Buildah, != turns a filter round.
    let others = |filter: &str| sandbox.gabion(["images", "-q", "--filter", filter]).ok();
    assert_eq!(others("intermediate!=false"), short);
    let result = others("reference=result");
    for turned in ["reference!=result", "reference!=*sult", &format!("id!={result}")] {
        assert!(others(turned).lines().count() == 2 && !others(turned).contains(&result), "{turned}");
    }
    assert_eq!(others("label!=nosuch").lines().count(), 3);
    assert_eq!(sandbox.gabion(["rmi", "--prune"]).ok(), "");
    sandbox.gabion(["rmi", &first]).fails().says(125, &["dependent child images"]);
    // It goes with what was made of it.
    let removed = sandbox.gabion(["rmi", "result"]).ok();
    assert_eq!(removed.lines().next(), Some("untagged: localhost/result:latest"));
    assert_eq!(removed.lines().last(), Some(first.as_str()));
    assert_eq!(sandbox.gabion(["images", "-a", "-n"]).ok().lines().count(), 2);
    assert_sound(&sandbox);
}

#[test]
fn root_rmi_takes_names_first_and_refuses_what_is_in_use() {
    let sandbox = sandbox();
    sandbox.gabion(["tag", "app:1", "two:2"]).ok();
    let id = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.FromImageID}}", "two:2"]).ok();
    sandbox.gabion(["rmi", &id[..12]]).fails().says(125, &["more than one tag", "localhost/app:1", "localhost/two:2"]);
    assert_eq!(sandbox.gabion(["rmi", "two:2"]).ok(), "untagged: localhost/two:2");
    sandbox.gabion(["rmi", "two:2"]).fails().says(125, &["two:2", "image not known"]);

    let container = sandbox.gabion(["from", "app:1"]).ok();
    let container_id = sandbox.gabion(["containers", "-q"]).ok();
    sandbox.gabion(["rmi", "app:1"]).fails().says(125, &["in use by a container", &container_id]);
    let failed = sandbox.gabion(["rmi", "nosuch", "app:1", "base"]).fails();
    assert_eq!(failed.stderr.lines().filter(|line| line.starts_with("Error: ")).count(), 2, "{failed}");
    assert!(failed.stdout.contains("untagged: localhost/base:latest"), "the others are removed: {failed}");
    sandbox.gabion(["rmi", "--all"]).fails().says(125, &["in use by a container"]);
    let removed = sandbox.gabion(["rmi", "-f", "app:1"]).ok();
    assert_eq!(removed, format!("untagged: localhost/app:1\n{id}"));
    assert_eq!(sandbox.gabion(["containers", "-q"]).ok(), "", "{container} went too");
    assert_eq!(sandbox.gabion(["images", "-a", "-q"]).ok(), "");
    assert_sound(&sandbox);

    sandbox.gabion(["rmi"]).fails().says(125, &["IMAGE"]);
    sandbox.gabion(["rmi", "-a", "x"]).fails().says(125, &["--all"]);
    sandbox.gabion(["rmi", "-a", "-p"]).fails().says(125, &["--all", "--prune"]);
}

#[test]
fn root_rmi_removes_everything_or_what_dangles() {
    let sandbox = sandbox();
    let old = commit(&sandbox, "localhost/base", "old", "localhost/moving");
    commit(&sandbox, "localhost/base", "new", "localhost/moving");
    assert_eq!(sandbox.gabion(["rmi", "--prune"]).ok(), old);
    let removed = sandbox.gabion(["rmi", "--all"]).ok();
    assert_eq!(removed.lines().filter(|line| line.starts_with("untagged: ")).count(), 3);
    assert_eq!(sandbox.gabion(["images", "-a", "-n"]).ok(), "");
    assert_eq!(sandbox.gabion(["rmi", "--all"]).ok(), "");
    assert_sound(&sandbox);
}

#[test]
fn root_untag_takes_one_name_or_all() {
    let sandbox = sandbox();
    sandbox.gabion(["tag", "app:1", "two", "three"]).ok();
    sandbox.gabion(["untag", "app:1", "two"]).ok();
    sandbox.gabion(["untag", "app:1", "two"]).fails().says(125, &["two"]);
    let names = |sandbox: &Sandbox| {
        sandbox.gabion(["images", "--json", "--filter", "label=file=one"]).json()[0]["names"].clone()
    };
    assert_eq!(names(&sandbox), json!(["localhost/app:1", "localhost/three:latest"]));
    sandbox.gabion(["untag", "three"]).ok();
    assert_eq!(names(&sandbox), Value::Null);
}

#[test]
fn root_history_is_podmans() {
    let sandbox = sandbox();
    commit(&sandbox, "app:1", "two", "localhost/app:2");
    for args in [
        vec!["history", "app:2"],
        vec!["history", "--no-trunc", "app:2"],
        vec!["history", "-q", "app:2"],
        vec!["history", "--human=false", "app:2"],
        vec!["history", "--format", "{{.ID}} {{.CreatedAt}} {{.CreatedBy}} {{.Size}} {{.Comment}}", "app:2"],
    ] {
        assert_eq!(without_times(&sandbox.gabion(&args).ok()), without_times(&sandbox.podman(&args).ok()), "{args:?}");
    }
    let (ours, theirs) = (
        sandbox.gabion(["history", "--format", "json", "app:2"]).json(),
        sandbox.podman(["history", "--format", "json", "app:2"]).json(),
    );
    for (ours, theirs) in ours.as_array().expect("rows").iter().zip(theirs.as_array().expect("rows")) {
        for key in ["id", "created", "CreatedBy", "size", "Created", "comment"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
    }
    sandbox.gabion(["history", "nosuch"]).fails().says(125, &["nosuch", "not known"]);
}

#[test]
fn root_info_has_buildahs_keys() {
    let sandbox = sandbox();
    let (ours, theirs) = (sandbox.gabion(["info"]).json(), sandbox.buildah(["info"]).json());
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), ["host", "kernel", "programs", "store"]);
    assert_eq!(keys(&theirs), ["host", "store"]);
    let bare = sandbox.gabion(["info"]).env("PATH", sandbox.path("empty")).json();
    for (program, package) in [("git", "git"), ("cpp", "cpp"), ("ssh", "openssh-client")] {
        let found = ours["programs"][program].as_str().expect("a text");
        assert!(found.starts_with('/') || found.starts_with("missing: "), "{found}");
        let missing = bare["programs"][program].as_str().expect("a text");
        assert!(missing.starts_with("missing: ") && missing.ends_with(&format!("{package} has it")), "{missing}");
    }
    assert_eq!(ours["kernel"]["overlay"], "usable");
    assert_eq!(keys(&ours["host"]), keys(&theirs["host"]));
    assert_eq!(ours["store"], theirs["store"]);
    for key in ["CgroupVersion", "Distribution", "MemTotal", "arch", "cpus", "hostname", "kernel", "os", "rootless"] {
        assert_eq!(ours["host"][key], theirs["host"][key], "{key}");
    }
    assert_eq!(sandbox.gabion(["info", "--format", "{{.store.GraphDriverName}}"]).ok(), "overlay");
    assert!(sandbox.gabion(["version"]).ok().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.gabion(["version", "--json"]).json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn root_gabion_introduces_itself() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let nothing: [&str; 0] = [];
    assert!(sandbox.gabion(nothing).ok().contains("Commands:"));
    let version = sandbox.gabion(["--version"]).ok();
    assert_eq!(version, format!("gabion {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sandbox.gabion(["-v"]).ok(), version);
}

#[test]
fn root_a_signature_policy_says_where_images_may_come_from() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let layout = test_support::base_image::layout();
    let place = format!("oci:{}:latest", layout.display());
    let policy = |text: &str| sandbox.write("policy.json", text);
    let pull = || sandbox.gabion(["pull", "-q", "--signature-policy", "../policy.json", &place]);

    policy(r#"{"default": [{"type": "reject"}]}"#);
    let outcome = pull().fails();
    assert_eq!(outcome.code(), Some(125));
    assert!(outcome.stderr.contains("is rejected by policy ../policy.json"), "{outcome}");
    // What would have to be signed is not let in either.
    policy(r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/nosuch"}]}"#);
    assert!(pull().fails().stderr.contains("signatures cannot be checked yet"));
    assert_eq!(sandbox.gabion(["images", "-q"]).ok(), "");

    let parent = layout.canonicalize().expect("resolve").parent().expect("a directory").display().to_string();
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    policy(&format!(r#"{{"default": [{{"type": "reject"}}], "transports": {{"oci": {{"{parent}": {accept}}}}}}}"#));
    let image = pull().ok();
    // An image that is in the store was let in before.
    policy(r#"{"default": [{"type": "reject"}]}"#);
    sandbox.gabion(["from", "--signature-policy", "../policy.json", &image]).ok();
    // A build system can say which registries are used at all.
    for (sources, reason) in [
        (r#"{"blockedRegistries": ["r.example.com"]}"#, "\"r.example.com\" denied by policy"),
        (r#"{"allowedRegistries": ["other.example.com"]}"#, "not in allowed registries list"),
        ("nonsense", "invalid BUILD_REGISTRY_SOURCES"),
    ] {
        for args in [&["pull", "docker://r.example.com/x"][..], &["push", &image, "docker://r.example.com/x"]] {
            let outcome = sandbox.gabion(args).env("BUILD_REGISTRY_SOURCES", sources).fails();
            assert!(outcome.stderr.contains(reason), "{sources}: {outcome}");
        }
    }
    // The user's own policy counts without a flag.
    sandbox.write("home/.config/containers/policy.json", r#"{"default": [{"type": "reject"}]}"#);
    assert!(sandbox.gabion(["pull", "-q", &place]).fails().stderr.contains("home/.config/containers/policy.json"));
}
