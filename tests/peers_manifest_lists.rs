//! Manifest lists: those of Buildah and Podman are read, changed and pushed by gabion, and the
//! reverse; registries, layouts and directories get what Skopeo reads.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use test_support::store_check::assert_sound;
use test_support::validate::sha256;
use test_support::{DockerRegistry, Sandbox};

const INSECURE: &str = "--tls-verify=false";

/// A store with `localhost/amd64`, `localhost/arm64` and `localhost/riscv64`, each with a layer of its own over one
/// that they share.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    for arch in ["amd64", "arm64", "riscv64"] {
        image(&sandbox, arch, arch);
    }
    sandbox
}

fn image(sandbox: &Sandbox, arch: &str, name: &str) {
    let file = sandbox.write(format!("files/{name}"), format!("for {arch}\n").repeat(1000));
    let container = sandbox.gabion(["from", "base"]).ok();
    sandbox.gabion(["copy", "-q", &container]).arg(file).arg("/arch").ok();
    sandbox.gabion(["config", "--arch", arch, "--os", "linux", &container]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &container, &format!("localhost/{name}")]).ok();
}

/// The architectures in an index, in order.
fn architectures(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap_or_default().to_owned()).collect()
}

fn digest_of(sandbox: &Sandbox, image: &str) -> String {
    sandbox.gabion(["images", "--format", "{{.Digest}}", image]).ok()
}

/// The files beside a list's record, and the record.
fn stored(sandbox: &Sandbox, name: &str) -> (PathBuf, Value) {
    let images: Vec<Value> = serde_json::from_slice(
        &fs::read(sandbox.graph_root().join("overlay-images/images.json")).expect("the records"),
    )
    .expect("JSON");
    let has_name = |image: &Value| image["names"].as_array().into_iter().flatten().any(|own| own == name);
    let record = images.into_iter().find(has_name).expect(name);
    let id = record["id"].as_str().expect("an ID");
    (sandbox.graph_root().join("overlay-images").join(id), record)
}

/// What Skopeo reads at a place, byte for byte.
fn raw(sandbox: &Sandbox, place: &str) -> String {
    sandbox.skopeo(["inspect", "--raw", INSECURE, place]).run().stdout
}

#[test]
fn peers_lists_are_kept_as_buildah_keeps_them() {
    let sandbox = sandbox();
    let ours = sandbox.gabion(["manifest", "create", "ours"]).ok();
    let theirs = sandbox.buildah(["manifest", "create", "theirs"]).ok();
    let compare = |step: &str| {
        let ((our_dir, our_record), (their_dir, their_record)) =
            (stored(&sandbox, "localhost/ours:latest"), stored(&sandbox, "localhost/theirs:latest"));
        let read = |dir: &PathBuf, name: &str| fs::read_to_string(dir.join(name)).expect(name);
        assert_eq!(read(&our_dir, "manifest"), read(&their_dir, "manifest"), "{step}");
        assert_eq!(read(&our_dir, "instances.json").replace(&ours, &theirs), read(&their_dir, "instances.json"));
        // The newest Buildah keeps artifacts.json too.
        assert_eq!(our_record["big-data-names"], json!(["manifest", "instances.json", "artifacts.json"]));
        assert_eq!(our_record["big-data-digests"]["manifest"], their_record["big-data-digests"]["manifest"]);
        assert_eq!(our_record["digest"], our_record["big-data-digests"]["manifest"]);
        for key in ["layer", "metadata"] {
            assert_eq!((our_record.get(key), their_record.get(key)), (None, None), "{key}");
        }
    };
    compare("empty");
    for image in ["localhost/amd64", "localhost/arm64"] {
        let (a, b) = (
            sandbox.gabion(["manifest", "add", "ours", image]).ok(),
            sandbox.buildah(["manifest", "add", "theirs", image]).ok(),
        );
        assert_eq!(a.replace(&ours, &theirs), b);
        compare(image);
    }
    let digest = digest_of(&sandbox, "amd64");
    let annotate = ["--os", "windows", "--os-version", "10.0", "--os-features", "win32k", "--variant", "v3"];
    sandbox.gabion(["manifest", "annotate"].iter().chain(&annotate).copied().chain(["ours", &digest])).ok();
    sandbox.buildah(["manifest", "annotate"].iter().chain(&annotate).copied().chain(["theirs", &digest])).ok();
    compare("annotated");
    sandbox.gabion(["manifest", "annotate", "--features", "sse4,avx", "ours", &digest]).ok();
    sandbox.buildah(["manifest", "annotate", "--features", "sse4,avx", "theirs", &digest]).ok();
    compare("features make it a Docker list");
    sandbox.gabion(["manifest", "annotate", "--annotation", "a=b", "ours", "localhost/arm64"]).ok();
    sandbox.buildah(["manifest", "annotate", "--annotation", "a=b", "theirs", &digest_of(&sandbox, "arm64")]).ok();
    compare("annotations make it an OCI index");
    sandbox.gabion(["manifest", "remove", "ours", "amd64"]).ok();
    sandbox.buildah(["manifest", "remove", "theirs", &digest]).ok();
    compare("removed");
    // Each tool's list is one for the others, and sound.
    assert_eq!(
        sandbox.buildah(["manifest", "inspect", "ours"]).json()["manifests"][0]["platform"]["architecture"],
        "arm64"
    );
    assert_eq!(sandbox.podman(["manifest", "inspect", "ours"]).json()["manifests"][0]["annotations"]["a"], "b");
    assert_sound(&sandbox);
    sandbox.podman(["manifest", "rm", "ours"]).ok();
    sandbox.gabion(["manifest", "rm", "theirs"]).ok();
    assert_eq!(sandbox.gabion(["manifest", "exists", "theirs"]).run().code(), Some(1));
    assert_eq!(sandbox.gabion(["images", "-q"]).ok().lines().count(), 4, "the images stay");
}

#[test]
fn peers_no_change_of_a_list_is_lost() {
    let sandbox = sandbox();
    for name in ["a", "b", "c", "d"] {
        image(&sandbox, "amd64", name);
    }
    sandbox.buildah(["manifest", "create", "list"]).ok();
    let add = ["manifest", "add", "list"];
    // Those of gabion at once; Buildah 1.28 takes no lock.
    let names = ["amd64", "arm64", "riscv64", "a", "b", "c", "d"];
    let children = names.map(|name| sandbox.gabion(add).arg(format!("localhost/{name}")).spawn());
    for child in children {
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let index = sandbox.gabion(["manifest", "inspect", "list"]).json();
    assert_eq!(architectures(&index).len(), 7, "none is lost: {index}");
    sandbox.podman(["manifest", "add", "list", "containers-storage:localhost/base"]).ok();
    assert_eq!(architectures(&sandbox.gabion(["manifest", "inspect", "list"]).json()).len(), 8);
    assert_sound(&sandbox);
}

#[test]
fn peers_registries_get_lists_whole_and_once() {
    let (sandbox, registry) = (sandbox(), DockerRegistry::plain());
    sandbox.buildah(["manifest", "create", "list", "localhost/amd64", "localhost/arm64"]).ok();
    let place = registry.image("list:1");
    let digest_file = sandbox.path("digest");
    let push = ["manifest", "push", INSECURE, "--digestfile"];
    let first = sandbox.gabion(push).arg(&digest_file).args(["list", &place]).run();
    assert!(first.status.success() && first.stdout.is_empty(), "{first}");
    let index = raw(&sandbox, &place);
    assert_eq!(fs::read_to_string(&digest_file).expect("a digest"), sha256(index.as_bytes()));
    assert_eq!(architectures(&serde_json::from_str(&index).expect("JSON")), ["amd64", "arm64"]);
    let sent =
        |text: &str| text.lines().filter(|line| line.starts_with("Copying blob") && !line.contains("exists")).count();
    assert_eq!(sent(&first.stderr), 3, "the layer that both have is sent once: {first}");
    // Again, and by Buildah: what is there is not sent again, and is the same.
    let again = sandbox.gabion(push).arg(&digest_file).args(["list", &place]).run();
    assert_eq!(sent(&again.stderr), 0, "{again}");
    sandbox.gabion(["push", "-q", INSECURE, "--all", "list", &registry.image("list:2")]).ok();
    assert_eq!(raw(&sandbox, &registry.image("list:2")), index);
    // Every tool takes the image for the platform that it wants.
    for (arch, words) in [("arm64", &["--arch", "arm64"][..]), ("amd64", &["--platform", "linux/amd64"])] {
        let fresh = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        let from = ["from", "--name", "c", INSECURE];
        fresh.gabion(from.iter().chain(words).copied().chain([place.as_str()])).ok();
        let inspected = fresh.gabion(["inspect", "--type", "container", "c"]).json();
        assert_eq!(inspected["OCIv1"]["architecture"], arch);
        let pulled = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        pulled.buildah(["pull", "-q", INSECURE, "--arch", arch, &place]).ok();
        assert_eq!(
            pulled.buildah(["images", "-q", "--no-trunc"]).ok(),
            fresh.gabion(["images", "-q", "--no-trunc"]).ok()
        );
    }
    // Without --all it is the image for this machine; --rm takes the list from the store.
    sandbox.gabion(["push", "-q", INSECURE, "list", &registry.image("one")]).ok();
    assert!(raw(&sandbox, &registry.image("one")).contains("\"layers\""));
    let refused = sandbox.gabion(["push", "--rm", "localhost/arm64", "dir:x"]).run();
    refused.says(125, &["not a manifest list"]);
    sandbox.gabion(["manifest", "push", "-q", INSECURE, "--rm", "list", &registry.image("list:3")]).ok();
    assert_eq!(sandbox.gabion(["manifest", "exists", "list"]).run().code(), Some(1));
    assert_eq!(sandbox.gabion(["images", "-q", "localhost/arm64"]).ok().lines().count(), 1);
}

#[test]
fn peers_lists_of_places_are_added_and_go_on_as_they_are() {
    let (sandbox, registry) = (sandbox(), DockerRegistry::plain());
    sandbox.gabion(["manifest", "create", "list", "amd64", "arm64", "riscv64"]).ok();
    sandbox.gabion(["manifest", "push", "-q", INSECURE, "list", &registry.image("from/list")]).ok();
    let place = registry.image("from/list");
    let fresh = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    fresh.gabion(["manifest", "create", INSECURE, "--all", "all", &place]).ok();
    let listed = fresh.gabion(["manifest", "inspect", "all"]).json();
    let there: Value = serde_json::from_str(&raw(&sandbox, &place)).expect("JSON");
    let digests = |index: &Value| {
        index["manifests"].as_array().expect("entries").iter().map(|entry| entry["digest"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&listed), digests(&there));
    // Their digests stay, although no image of them is in the store.
    for to in [registry.image("to/list"), format!("oci:{}:x", fresh.path("layout").display())] {
        fresh.gabion(["manifest", "push", "-q", INSECURE, "all", &to]).ok();
        assert_eq!(digests(&serde_json::from_str(&raw(&fresh, &to)).expect("JSON")), digests(&there), "{to}");
    }
    // One of them by its platform, from a registry and from a list of the store.
    fresh.gabion(["manifest", "create", "one"]).ok();
    fresh.gabion(["manifest", "add", INSECURE, "--arch", "arm64", "one", &place]).ok();
    fresh.gabion(["manifest", "add", "--os", "linux", "--arch", "riscv64", "one", "all"]).ok();
    assert_eq!(architectures(&fresh.gabion(["manifest", "inspect", "one"]).json()), ["arm64", "riscv64"]);
    let error = fresh.gabion(["manifest", "add", INSECURE, "--arch", "s390x", "one", &place]).run();
    error.says(125, &["no image for platform linux/s390x", "linux/arm64"]);
    fresh.gabion(["manifest", "remove", "one", &place]).ok();
    let shown = fresh.gabion(["manifest", "inspect", INSECURE, &place]).json();
    assert_eq!(shown, there);
    fresh.gabion(["manifest", "inspect", INSECURE, &registry.image("nosuch")]).fails();
    // Buildah pushes what gabion made of a place.
    fresh.buildah(["manifest", "push", INSECURE, "--all", "all", &registry.image("by/buildah")]).ok();
    assert_eq!(
        digests(&serde_json::from_str(&raw(&fresh, &registry.image("by/buildah"))).expect("JSON")),
        digests(&there)
    );
}

#[test]
fn peers_layouts_archives_and_directories_hold_lists() {
    let sandbox = sandbox();
    sandbox.gabion(["manifest", "create", "list", "amd64", "arm64"]).ok();
    for kind in ["oci", "oci-archive", "dir"] {
        let name = if kind == "dir" { "" } else { ":v1" };
        let place = format!("{kind}:{}{name}", sandbox.path(format!("at-{kind}")).display());
        sandbox.gabion(["manifest", "push", "-q", "list", &place]).ok();
        assert_eq!(architectures(&serde_json::from_str(&raw(&sandbox, &place)).expect("JSON")), ["amd64", "arm64"]);
        // All images are there, whoever reads them.
        let copy = format!("dir:{}", sandbox.path(format!("copy-{kind}")).display());
        sandbox.skopeo(["copy", "-q", "--all", &place, &copy]).ok();
        let fresh = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        let id = fresh.gabion(["pull", "-q", "--arch", "arm64", &place]).ok();
        assert_eq!(
            id,
            sandbox.gabion(["images", "-q", "--no-trunc", "localhost/arm64"]).ok().trim_start_matches("sha256:")
        );
    }
    let docker = ["manifest", "push", "-q", "--format", "v2s2", "list"];
    let place = format!("dir:{}", sandbox.path("docker").display());
    sandbox.gabion(docker).arg(&place).ok();
    let index: Value = serde_json::from_str(&raw(&sandbox, &place)).expect("JSON");
    assert_eq!(index["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    assert_eq!(index["manifests"][0]["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let refused = |words: &[&str], expected: &[&str]| {
        sandbox.gabion(["manifest", "push", "-q"].iter().chain(words).copied()).run().says(125, expected);
    };
    refused(&["list", "docker-archive:nosuch.tar"], &["cannot hold a list"]);
    refused(&["list", "containers-storage:nosuch"], &["not pushed to a store"]);
    refused(&["--format", "v2s2", "list", "oci:nothing:x"], &["cannot hold an image of that format"]);
    refused(&["--format", "v2s2", "--add-compression", "zstd", "list", "dir:nosuch"], &["zstd needs --format oci"]);
    refused(&["localhost/amd64", "dir:nosuch"], &["localhost/amd64:latest", "not a manifest list"]);
    // An image that is gone is told of before anything is visible.
    sandbox.gabion(["rmi", "localhost/arm64"]).ok();
    refused(&["list", "oci:gone:x"], &["not in the store any more"]);
}

#[test]
fn peers_images_get_further_compressions() {
    let (sandbox, registry) = (sandbox(), DockerRegistry::plain());
    sandbox.gabion(["manifest", "create", "list", "amd64", "arm64"]).ok();
    let place = registry.image("both");
    sandbox.gabion(["manifest", "push", "-q", INSECURE, "--add-compression", "zstd", "list", &place]).ok();
    let index: Value = serde_json::from_str(&raw(&sandbox, &place)).expect("JSON");
    assert_eq!(architectures(&index), ["amd64", "arm64", "amd64", "arm64"]);
    let zstd = |entry: &Value| entry["annotations"]["io.github.containers.compression.zstd"] == "true";
    let marked: Vec<bool> = index["manifests"].as_array().expect("entries").iter().map(zstd).collect();
    assert_eq!(marked, [false, false, true, true]);
    for (i, compression) in [(0, "gzip"), (2, "zstd")] {
        let digest = index["manifests"][i]["digest"].as_str().expect("a digest");
        let manifest: Value =
            serde_json::from_str(&raw(&sandbox, &registry.image(&format!("both@{digest}")))).expect("JSON");
        for layer in manifest["layers"].as_array().expect("layers") {
            assert!(layer["mediaType"].as_str().expect("a type").ends_with(compression), "{layer}");
        }
    }
    sandbox.gabion(["manifest", "push", "-q", INSECURE, "--compression-format", "zstd", "list", &place]).ok();
    let index: Value = serde_json::from_str(&raw(&sandbox, &place)).expect("JSON");
    assert!(index["manifests"].as_array().expect("entries").iter().all(zstd), "{index}");
}

#[test]
fn peers_a_name_is_given_once_unless_asked() {
    let sandbox = sandbox();
    let id = sandbox.gabion(["manifest", "create", "list", "amd64"]).ok();
    sandbox.gabion(["manifest", "create", "list"]).run().says(125, &["localhost/list:latest", &id, "already in use"]);
    assert_eq!(sandbox.gabion(["manifest", "create", "--amend", "list", "arm64"]).ok(), id);
    assert_eq!(architectures(&sandbox.buildah(["manifest", "inspect", "list"]).json()), ["amd64", "arm64"]);
    let other = sandbox.gabion(["manifest", "create", "--replace", "--annotation", "a=b,c=d", "list", "riscv64"]).ok();
    assert_ne!(other, id);
    let shown = sandbox.gabion(["manifest", "inspect", "list"]).json();
    assert_eq!((architectures(&shown), &shown["annotations"]["c"]), (vec!["riscv64".to_owned()], &json!("d")));
    assert_eq!(
        architectures(&sandbox.gabion(["manifest", "inspect", &id]).json()).len(),
        2,
        "the other has its ID left"
    );
    // A plain image gives its name to a list of it, which keeps it from being pruned.
    let image = sandbox.gabion(["images", "-q", "--no-trunc", "localhost/arm64"]).ok();
    sandbox.gabion(["manifest", "create", "--amend", "localhost/arm64", "amd64"]).ok();
    assert!(!sandbox.gabion(["images", "-q", "--no-trunc", "-f", "dangling=true"]).ok().contains(&image));
    sandbox.gabion(["rmi", "--prune"]).ok();
    sandbox.gabion(["prune"]).ok();
    assert!(sandbox.gabion(["images", "-q", "--no-trunc"]).ok().contains(&image));
    assert_eq!(architectures(&sandbox.buildah(["manifest", "inspect", "localhost/arm64"]).json()), ["arm64", "amd64"]);
    sandbox.gabion(["from", "--name", "c", "--arch", "arm64", "localhost/arm64"]).ok();
    assert_eq!(sandbox.gabion(["inspect", "c"]).json()["OCIv1"]["architecture"], "arm64");
    sandbox
        .gabion(["manifest", "push", "-q", "localhost/arm64"])
        .arg(format!("dir:{}", sandbox.path("d").display()))
        .ok();
    // What fails leaves no list behind.
    sandbox.gabion(["manifest", "create", "new", "oci:nosuch:x"]).fails();
    assert_eq!(sandbox.gabion(["manifest", "exists", "new"]).run().code(), Some(1));
    assert_sound(&sandbox);
}

#[test]
fn peers_names_of_lists_mean_their_images_to_other_commands() {
    let sandbox = sandbox();
    sandbox.gabion(["manifest", "create", "list", "arm64", "amd64"]).ok();
    for (words, arch) in [(&["--arch", "arm64"][..], "arm64"), (&[], "amd64")] {
        let name = format!("from-{arch}");
        sandbox.gabion(["from", "--name", &name].iter().copied().chain(words.iter().copied()).chain(["list"])).ok();
        assert_eq!(sandbox.gabion(["inspect", &name]).json()["OCIv1"]["architecture"], arch);
    }
    let refused = sandbox.gabion(["from", "--arch", "s390x", "list"]).run();
    refused.says(125, &["list", "no image for platform linux/s390x", "linux/amd64, linux/arm64"]);
    assert_eq!(sandbox.gabion(["inspect", "list"]).json()["FromImage"], "localhost/amd64:latest");
    let list = sandbox.gabion(["inspect", "--type", "manifest", "list"]).json();
    assert_eq!(architectures(&list), ["arm64", "amd64"]);
    sandbox.gabion(["tag", "list", "other"]).ok();
    assert_eq!(sandbox.gabion(["rmi", "list"]).ok(), "untagged: localhost/list:latest");
    assert_eq!(sandbox.buildah(["manifest", "exists", "other"]).run().code(), Some(0));
    // A Dockerfile takes the image for the platform that it builds for.
    sandbox.write("context/Dockerfile", "FROM other\nCOPY Dockerfile /\n");
    let context = sandbox.path("context");
    sandbox.gabion(["build", "-q", "--arch", "arm64", "-t", "built"]).arg(context).ok();
    assert_eq!(sandbox.gabion(["inspect", "built"]).json()["OCIv1"]["architecture"], "arm64");
    let removed = sandbox.gabion(["rmi", "other"]).ok();
    assert!(removed.starts_with("untagged: localhost/other:latest\n"), "{removed}");
}

#[test]
fn peers_artifacts_are_pushed_with_their_files() {
    let (sandbox, registry) = (sandbox(), DockerRegistry::plain());
    let (text, data) = (sandbox.write("empty/notes.txt", "brick\n"), sandbox.write("empty/data", [0u8, 1, 2]));
    let config = sandbox.write("empty/config.json", "{\"a\":1}");
    sandbox.gabion(["manifest", "create", "list", "amd64"]).ok();
    let add = ["manifest", "add", "--artifact"];
    let added = sandbox.gabion(add).args(["--annotation", "k=v", "list", "notes.txt", "data"]).ok();
    let digest = added.split_once(": ").expect("two parts").1.to_owned();
    let options =
        ["--artifact-type", "application/x-wall", "--artifact-config", "config.json", "--artifact-config-type"];
    let more = ["application/json", "--artifact-layer-type", "text/x-wall", "--artifact-exclude-titles"];
    let last = ["--artifact-annotation", "of=brick", "--artifact-subject", "amd64", "list", "data"];
    sandbox.gabion(add.iter().chain(&options).chain(&more).chain(&last)).ok();
    let shown = sandbox.gabion(["manifest", "inspect", "list"]).json();
    assert_eq!(shown["manifests"][1]["artifactType"], "application/vnd.unknown.artifact.v1");
    assert_eq!(shown["manifests"][1]["files"], json!([text, data]));
    assert_eq!(shown["manifests"][1]["annotations"], json!({"k": "v"}));
    assert_eq!(shown["manifests"][2]["files"], json!([config, data]));
    let place = registry.image("artifacts");
    sandbox.gabion(["manifest", "push", "-q", INSECURE, "list", &place]).ok();
    let index: Value = serde_json::from_str(&raw(&sandbox, &place)).expect("JSON");
    let manifest = |i: usize| -> Value {
        let digest = index["manifests"][i]["digest"].as_str().expect("a digest");
        serde_json::from_slice(&fs::read(registry.blob(digest)).expect("a manifest")).expect("JSON")
    };
    assert_eq!(index["manifests"][1]["digest"], digest.as_str());
    let first = manifest(1);
    assert_eq!(first["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(first["layers"][0]["mediaType"], "text/plain");
    assert_eq!(first["layers"][0]["annotations"]["org.opencontainers.image.title"], "notes.txt");
    assert_eq!(first["layers"][1]["mediaType"], "application/octet-stream");
    let second = manifest(2);
    assert_eq!(
        (&second["artifactType"], &second["annotations"]),
        (&json!("application/x-wall"), &json!({"of": "brick"}))
    );
    assert_eq!(second["layers"], json!([{"mediaType": "text/x-wall", "digest": sha256(&[0, 1, 2]), "size": 3}]));
    assert_eq!(second["subject"]["digest"], digest_of(&sandbox, "amd64").as_str());
    for (bytes, file) in
        [(&b"brick\n"[..], "notes.txt"), (&[0, 1, 2], "data"), (b"{\"a\":1}", "config.json"), (b"{}", "")]
    {
        assert_eq!(fs::read(registry.blob(&sha256(bytes))).expect(file), bytes, "{file}");
    }
    // The image of the list is what a tool pulls.
    let fresh = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    fresh.gabion(["pull", "-q", INSECURE, &place]).ok();
    // A file that has changed is no part of it any more.
    sandbox.gabion(["manifest", "annotate", "--annotation", "x=y", "list", "notes.txt"]).ok();
    sandbox.write("empty/notes.txt", "other");
    let refused = sandbox.gabion(["manifest", "push", "-q", INSECURE, "list", "oci:changed:x"]).run();
    refused.says(125, &["notes.txt"]);
    sandbox.gabion(["manifest", "remove", "list", "notes.txt"]).ok();
    assert_eq!(sandbox.gabion(["manifest", "inspect", "list"]).json()["manifests"].as_array().map(Vec::len), Some(2));
    sandbox.gabion(["manifest", "add", "--artifact", "list", "nosuch"]).run().says(125, &["nosuch"]);
    sandbox.gabion(["manifest", "add", "--artifact", "list", "."]).run().says(125, &["not a regular file"]);
    sandbox.gabion(["manifest", "add", "list", "a", "b"]).run().says(125, &["one image", "--artifact"]);
}

#[test]
fn peers_new_images_of_both_tools_go_to_one_list() {
    let sandbox = sandbox();
    for (i, arch) in ["amd64", "arm64", "riscv64", "s390x"].iter().enumerate() {
        let (ours, theirs) = (sandbox.gabion(["from", "base"]).ok(), sandbox.buildah(["from", "base"]).ok());
        for (container, name) in [(&ours, format!("g{i}")), (&theirs, format!("b{i}"))] {
            sandbox.gabion(["config", "--arch", arch, "--label", &format!("n={name}"), container]).ok();
        }
        sandbox.gabion(["commit", "-q", "--rm", "--manifest", "list", &ours]).ok();
        sandbox.buildah(["commit", "-q", "--rm", "--manifest", "list", &theirs]).ok();
    }
    let index = sandbox.gabion(["manifest", "inspect", "list"]).json();
    assert_eq!(architectures(&index).len(), 8);
    sandbox.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let context = sandbox.path("context");
    sandbox.buildah(["bud", "-q", "--manifest", "built", "--platform", "linux/amd64"]).arg(&context).ok();
    sandbox
        .gabion(["build", "-q", "--manifest", "built", "--platform", "linux/arm64,linux/ppc64le"])
        .arg(&context)
        .ok();
    let index = sandbox.buildah(["manifest", "inspect", "built"]).json();
    assert_eq!(architectures(&index), ["amd64", "arm64", "ppc64le"]);
    let place = format!("oci:{}:x", sandbox.path("layout").display());
    sandbox.buildah(["manifest", "push", "-q", "--all", "built", &place]).ok();
    assert_eq!(architectures(&serde_json::from_str(&raw(&sandbox, &place)).expect("JSON")).len(), 3);
    // Images without a name stay as long as a list has them.
    sandbox.gabion(["rmi", "--prune"]).ok();
    sandbox.gabion(["manifest", "push", "-q", "built"]).arg(format!("dir:{}", sandbox.path("dir").display())).ok();
    assert_sound(&sandbox);
}

#[test]
fn peers_damaged_lists_are_told_in_one_line() {
    let sandbox = sandbox();
    for words in [
        &["add", "nosuch", "amd64"][..],
        &["annotate", "nosuch", "amd64"],
        &["push", "nosuch", "dir:x"],
        &["remove", "nosuch", "amd64"],
        &["rm", "nosuch"],
        &["inspect", "--retry=0", "localhost/nosuch"],
    ] {
        sandbox.gabion(["manifest"].iter().chain(words)).run().says(125, &["nosuch"]);
    }
    let id = sandbox.gabion(["manifest", "create", "list", "amd64"]).ok();
    let (dir, _) = stored(&sandbox, "localhost/list:latest");
    let digest = digest_of(&sandbox, "amd64");
    sandbox.gabion(["manifest", "create", "nested", "amd64"]).ok();
    let (of_nested, _) = stored(&sandbox, "localhost/nested:latest");
    let of_nested = sha256(&fs::read(of_nested.join("manifest")).expect("a manifest"));
    let entry = |digest: &str, size: i64| {
        let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size});
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]})
            .to_string()
    };
    let located = |place: &str| json!({"": id, digest.as_str(): place}).to_string();
    for (file, text, words) in [
        ("manifest", "{".to_owned(), &["list"][..]),
        ("manifest", entry("sha256:../../x", 1), &["list"]),
        ("manifest", entry(&digest, -1), &["list"]),
        ("manifest", entry(&sha256(b"nothing"), 1), &["not in the store any more"]),
        ("manifest", entry(&of_nested, 1), &["index"]),
        ("instances.json", "[]".to_owned(), &["instances.json"]),
        ("instances.json", located("docker-daemon:x"), &["docker-daemon"]),
        ("instances.json", located("oci:/nosuch:x"), &["/nosuch"]),
        ("artifacts.json", "{\"manifests\": 1}".to_owned(), &["artifacts.json"]),
        ("artifacts.json", json!({"manifests": {digest.as_str(): "{}"}}).to_string(), &["artifact"]),
    ] {
        let good = fs::read(dir.join(file)).expect(file);
        fs::write(dir.join(file), &text).expect("damage");
        let place = format!("dir:{}", sandbox.path("damaged").display());
        sandbox.gabion(["manifest", "push", "-q", "list", &place]).run().says(125, words);
        fs::write(dir.join(file), good).expect("mend");
    }
    let place = format!("dir:{}", sandbox.path("mended").display());
    sandbox.gabion(["manifest", "push", "-q", "list", &place]).ok();
}
