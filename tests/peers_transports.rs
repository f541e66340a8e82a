//! Every transport, in both directions, with Skopeo as the judge; registries as they are met.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use test_support::validate::{Image, dir_image, sha256};
use test_support::{DockerRegistry, Sandbox, registry};

const INSECURE: &str = "--tls-verify=false";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// `localhost/two`: the base image's layer, which was received compressed, and one made here.
fn two_layers(sandbox: &Sandbox, format: &str) -> String {
    let container = sandbox.buildah(["from", "--pull-never", "localhost/base"]).ok();
    let file = sandbox.write("brick", "clay\n".repeat(5000));
    sandbox.buildah(["copy", "-q", &container]).arg(file).arg("/brick").ok();
    sandbox.buildah(["config", "--env", "WALL=1", "--label", "a=b", &container]).ok();
    sandbox.buildah(["commit", "-q", "--rm", "--format", format, &container, "localhost/two"]).ok()
}

/// The image at `place` as Skopeo reads it, its layers uncompressed or not as they are there.
fn read(sandbox: &Sandbox, place: &str, into: &str) -> Image {
    let dir = sandbox.path(into);
    sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", place, &format!("dir:{}", dir.display())]).ok();
    dir_image(dir)
}

fn diff_ids(image: &Image) -> Vec<String> {
    image.diff_ids().into_iter().map(str::to_owned).collect()
}

fn places(sandbox: &Sandbox, registry: &DockerRegistry, stem: &str) -> Vec<String> {
    let path = |kind: &str| sandbox.path(format!("{stem}-{kind}")).display().to_string();
    vec![
        format!("dir:{}", path("dir")),
        format!("oci:{}:v1", path("oci")),
        format!("oci-archive:{}:v1", path("oci-archive")),
        format!("docker-archive:{}:localhost/archived:v1", path("docker-archive")),
        registry.image(&format!("{stem}/app:v1")),
    ]
}

#[test]
fn peers_skopeo_reads_what_gabion_pushes() {
    let registry = DockerRegistry::plain();
    for format in ["oci", "docker"] {
        let sandbox = sandbox();
        two_layers(&sandbox, format);
        let expected = read(&sandbox, &sandbox.storage("localhost/two"), "expected");
        for (i, place) in places(&sandbox, &registry, format).iter().enumerate() {
            let digest_file = sandbox.path("digest");
            let push = ["push", "-q", INSECURE, "--digestfile"];
            let out = sandbox.gabion(push).arg(&digest_file).args(["localhost/two", place]).ok();
            assert_eq!(out, "", "{place}");
            let image = read(&sandbox, place, &format!("got-{i}"));
            assert_eq!(diff_ids(&image), diff_ids(&expected), "{place}");
            // What Skopeo itself says of an archive's layers, which have no media type, is not ours to answer for.
            if !place.starts_with("docker-archive") {
                image.assert_media_types();
            }
            if !(place.starts_with("docker-archive") || format == "docker" && place.starts_with("oci")) {
                assert_eq!(image.config_digest, expected.config_digest, "{place}");
                let manifest = fs::read(sandbox.path(format!("got-{i}/manifest.json"))).expect("a manifest");
                assert_eq!(fs::read_to_string(&digest_file).expect("a digest"), sha256(&manifest), "{place}");
            }
            let inspected = sandbox.skopeo(["inspect", INSECURE, place]).json();
            assert_eq!((&inspected["Labels"]["a"], &inspected["Env"][1]), (&json!("b"), &json!("WALL=1")), "{place}");
        }
    }
}

#[test]
fn peers_gabion_pulls_what_skopeo_writes() {
    let registry = DockerRegistry::plain();
    let made = sandbox();
    two_layers(&made, "oci");
    for place in places(&made, &registry, "skopeo") {
        made.skopeo(["copy", "-q", "--dest-tls-verify=false", &made.storage("localhost/two"), &place]).ok();
        let (ours, theirs) = (Sandbox::new(env!("CARGO_BIN_EXE_gabion")), Sandbox::new(env!("CARGO_BIN_EXE_gabion")));
        theirs.skopeo(["copy", "-q", "--src-tls-verify=false", &place, &theirs.storage("localhost/x:1")]).ok();
        let id = ours.gabion(["pull", "-q", INSECURE, &place]).ok();
        assert_eq!(id, theirs.podman(["images", "-q", "--no-trunc"]).ok().trim_start_matches("sha256:"), "{place}");
        assert_eq!(records(&ours, "layers"), records(&theirs, "layers"), "{place}");
        let (own, peer) = (records(&ours, "images"), records(&theirs, "images"));
        assert_eq!(own[0]["layer"], peer[0]["layer"], "{place}");
        if !place.starts_with("docker-archive") {
            for key in ["digest", "big-data-digests", "big-data-sizes", "big-data-names", "metadata"] {
                assert_eq!(own[0][key], peer[0][key], "{key} of {place}");
            }
        }
        // The same image again changes nothing, and another tool reads it out whole.
        assert_eq!(ours.gabion(["pull", "-q", INSECURE, &place]).ok(), id);
        let back = read(&ours, &ours.storage(&format!("@{id}")), "back");
        assert_eq!(back.files().len(), read(&made, &made.storage("localhost/two"), "two").files().len());
    }
}

/// Records of the store without what differs from run to run, in the order of their layers.
fn records(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    let text = fs::read(sandbox.graph_root().join(format!("overlay-{kind}/{kind}.json"))).expect("records");
    let mut records: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    for record in &mut records {
        let record = record.as_object_mut().expect("a record");
        for key in ["created", "names", "names-history"] {
            record.remove(key);
        }
    }
    records.sort_by_key(|record| record["parent"].is_string());
    records
}

#[test]
fn peers_indexes_are_resolved_by_platform() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    two_layers(&sandbox, "oci");
    let push = |name: &str| sandbox.gabion(["push", "-q", INSECURE, "localhost/two", &registry.image(name)]).ok();
    push("multi:amd64");
    let container = sandbox.buildah(["from", "--pull-never", "localhost/two"]).ok();
    sandbox.buildah(["config", "--arch", "arm64", "--env", "OTHER=1", &container]).ok();
    sandbox.buildah(["commit", "-q", "--rm", &container, "localhost/two"]).ok();
    push("multi:arm64");
    let name = |tag: &str| format!("docker://{}/multi:{tag}", registry.address());
    sandbox.buildah(["manifest", "create", "localhost/list"]).ok();
    for tag in ["amd64", "arm64"] {
        sandbox.buildah(["manifest", "add", INSECURE, "localhost/list", &name(tag)]).ok();
    }
    sandbox.buildah(["manifest", "push", "-q", INSECURE, "--all", "localhost/list", &name("all")]).ok();
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let pull = |args: &[&str]| other.gabion(["pull", "-q", INSECURE]).args(args).arg(name("all"));
    let arch = |id: &str| {
        other.skopeo(["inspect", "--config", &other.storage(&format!("@{id}"))]).json()["architecture"].clone()
    };
    let host = pull(&[]).ok();
    assert_eq!(arch(&host), "amd64");
    let arm = pull(&["--policy=always", "--arch=arm64"]).ok();
    assert_eq!(arch(&arm), "arm64");
    pull(&["--policy=always", "--platform=linux/s390x"])
        .fails()
        .says(125, &["linux/s390x", "linux/amd64, linux/arm64"]);
    // The list is kept with the image, so that its digest finds the image.
    let raw = sandbox.skopeo(["inspect", "--raw", INSECURE, &name("all")]).run().stdout;
    let by_list = format!("{}/multi@{}", registry.address(), sha256(raw.as_bytes()));
    assert!([host, arm].contains(&other.gabion(["pull", "-q", INSECURE, &by_list]).ok()));
    other.podman(["run", "--rm", "--network=none", &by_list, "true"]).ok();
}

#[test]
fn peers_credentials_come_from_where_skopeo_puts_them() {
    let registry = DockerRegistry::with_password();
    let sandbox = sandbox();
    let push = |extra: &[&str]| {
        sandbox.gabion(["push", "-q", INSECURE]).args(extra).args(["localhost/base", &registry.image("team/app:1")])
    };
    push(&[]).fails().says(125, &[registry.address(), "no credentials were found"]);
    let wrong = format!("{}:wrong", registry::USER);
    push(&["--creds", &wrong]).fails().says(125, &["denies access", registry::USER]);
    let auth = sandbox.path("login.json");
    let login = ["login", INSECURE, "-u", registry::USER, "-p", registry::PASSWORD, "--authfile"];
    sandbox.skopeo(login).arg(&auth).arg(registry.address()).ok();
    push(&["--authfile", auth.to_str().expect("UTF-8")]).ok();
    sandbox
        .gabion(["pull", "-q", INSECURE, "--policy=always", &registry.image("team/app:1")])
        .env("REGISTRY_AUTH_FILE", &auth)
        .ok();
    let given = format!("{}:{}", registry::USER, registry::PASSWORD);
    push(&["--creds", &given]).ok();
    // A helper that Docker's config names, found on PATH.
    let bin = sandbox.path("bin");
    let script = format!(
        "#!/bin/sh\nread -r server\necho \"$1 $server\" >>{}/asked\nprintf '{{\"Username\":\"{}\",\"Secret\":\"{}\"}}'\n",
        sandbox.dir().display(),
        registry::USER,
        registry::PASSWORD
    );
    let helper = sandbox.write("bin/docker-credential-mortar", script);
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("make it executable");
    let config = sandbox.write("helped.json", json!({"credHelpers": {registry.address(): "mortar"}}).to_string());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    push(&["--authfile", config.to_str().expect("UTF-8")]).env("PATH", path).ok();
    let asked = fs::read_to_string(sandbox.path("asked")).expect("the helper was asked");
    assert_eq!(asked, format!("get {}\n", registry.address()));
}

#[test]
fn peers_certificates_are_checked_unless_told_otherwise() {
    let registry = DockerRegistry::with_tls();
    let sandbox = sandbox();
    let push = |extra: &[&str]| {
        sandbox.gabion(["push", "-q", "--retry=0"]).args(extra).args(["localhost/base", &registry.image("app:1")])
    };
    push(&[]).fails().says(125, &[registry.address(), "certificate signed by unknown authority"]);
    push(&["--tls-verify=true"]).fails();
    push(&["--cert-dir", registry.ca_dir().to_str().expect("UTF-8")]).ok();
    push(&[INSECURE]).ok();
    sandbox.write("empty-certs/ca.crt", "no certificate");
    let bad = sandbox.path("empty-certs");
    push(&["--cert-dir", bad.to_str().expect("UTF-8")]).fails().says(125, &["ca.crt"]);
    // What registries.conf calls insecure needs no flag.
    let insecure = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address());
    sandbox.write("registries.conf", insecure);
    push(&[]).ok();
    push(&["--tls-verify=true"]).fails();
}

#[test]
fn peers_a_registry_may_have_signed_its_own_certificate() {
    let registry = DockerRegistry::with_own_certificate();
    let sandbox = sandbox();
    let push = |address: &str, extra: &[&str]| {
        let target = format!("docker://{address}/app:1");
        sandbox.gabion(["push", "-q", "--retry=0"]).args(extra).args(["localhost/base", &target])
    };
    push(registry.address(), &[]).fails().says(125, &["certificate signed by unknown authority"]);
    let trusting = registry.ca_dir();
    let trusting = ["--cert-dir", trusting.to_str().expect("UTF-8")];
    push(registry.address(), &trusting).ok();
    // It vouches for the names it has.
    let other_name = registry.address().replace("127.0.0.1", "localhost");
    push(&other_name, &trusting).fails().says(125, &["certificate"]);
}

#[test]
fn peers_blobs_are_not_sent_twice() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    let base = read(&sandbox, &sandbox.storage("localhost/base"), "base");
    let push = |image: &str, name: &str| sandbox.gabion(["push", INSECURE, image, &registry.image(name)]).run();
    let layout = format!("oci:{}:latest", test_support::base_image::layout().display());
    sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &layout, &registry.image("theirs:1")]).ok();
    let received = read(&sandbox, &registry.image("theirs:1"), "theirs");
    assert_eq!(diff_ids(&received), diff_ids(&base));
    // The layer came as this blob, so it goes as this blob, though Skopeo's compressor made it.
    let first = push("localhost/base", "theirs:2");
    assert!(first.stderr.contains("skipped: already exists"), "{first}");
    assert_eq!(read(&sandbox, &registry.image("theirs:2"), "second").digests(), received.digests());
    // What was compressed for one push is not compressed again for the next.
    two_layers(&sandbox, "oci");
    let (once, twice) = (push("localhost/two", "two:1"), push("localhost/two", "two:2"));
    assert!(!once.stderr.contains("skipped") && twice.stderr.matches("skipped").count() == 2, "{once}{twice}");
    // In another repository of the same registry it is mounted.
    sandbox.gabion(["tag", "localhost/base", &format!("{}/theirs:1", registry.address())]).ok();
    let mounted = push("localhost/base", "ours:1");
    assert!(mounted.stderr.contains("skipped: already exists"), "{mounted}");
    assert_eq!(read(&sandbox, &registry.image("ours:1"), "third").digests(), received.digests());
}

#[test]
fn peers_compression_is_what_was_asked_for() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    two_layers(&sandbox, "oci");
    let plain = diff_ids(&read(&sandbox, &sandbox.storage("localhost/two"), "plain"));
    let place = registry.image("zip:1");
    let manifest = |flags: &[&str]| {
        sandbox.gabion(["push", "-q", INSECURE]).args(flags).args(["localhost/two", &place]).ok();
        let text = sandbox.skopeo(["inspect", "--raw", INSECURE, &place]).json();
        let layers = text["layers"].as_array().expect("layers").clone();
        let of = |key: &str| layers.iter().map(|l| l[key].as_str().expect("text").to_owned()).collect::<Vec<_>>();
        (of("mediaType"), of("digest"))
    };
    let (types, digests) = manifest(&["--disable-compression"]);
    assert!(types.iter().all(|kind| kind.ends_with(".tar")), "{types:?}");
    assert_eq!(digests, plain);
    let (types, _) = manifest(&["--compression-format=zstd"]);
    assert!(types.iter().all(|kind| kind.ends_with("+zstd")), "{types:?}");
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    other.gabion(["pull", "-q", INSECURE, &place]).ok();
    assert_eq!(diff_ids(&read(&other, &other.storage(&place["docker://".len()..]), "zstd")), plain);
    let (_, best) = manifest(&["--compression-level=9"]);
    let (_, fast) = manifest(&["--compression-level=1"]);
    assert_ne!(best[1], fast[1]);
    let (types, _) = manifest(&["--format=v2s2"]);
    assert!(types.iter().all(|kind| kind.ends_with("diff.tar.gzip")), "{types:?}");
    let zstd = ["push", "-q", INSECURE, "--compression-format=zstd", "--format=v2s2", "localhost/two", &place];
    sandbox.gabion(zstd).fails().says(125, &["zstd", "--format oci"]);
}

#[test]
fn peers_pull_policies_decide_when_the_registry_is_asked() {
    let sandbox = sandbox();
    let registry = DockerRegistry::plain();
    let name = format!("{}/app:1", registry.address());
    let push = || sandbox.gabion(["push", "-q", INSECURE, "localhost/two", &name]).ok();
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let pull = |policy: &str| other.gabion(["pull", "-q", INSECURE, "--retry=0", "--policy", policy, &name]);
    pull("never").fails().says(125, &["image not known"]);
    let first = two_layers(&sandbox, "oci");
    push();
    assert_eq!(pull("missing").ok(), first);
    let container = sandbox.buildah(["from", "--pull-never", "localhost/two"]).ok();
    sandbox.buildah(["config", "--env", "MORE=1", &container]).ok();
    let second = sandbox.buildah(["commit", "-q", "--rm", &container, "localhost/two"]).ok();
    push();
    assert_ne!(first, second);
    assert_eq!(pull("missing").ok(), first);
    assert_eq!(pull("never").ok(), first);
    assert_eq!(pull("newer").ok(), second);
    assert_eq!(pull("newer").ok(), second);
    assert_eq!(pull("always").ok(), second);
    drop(registry);
    assert_eq!(pull("missing").ok(), second);
    assert_eq!(pull("newer").ok(), second);
    pull("always").fails().says(125, &["cannot reach registry"]);
    assert_eq!(other.gabion(["pull", "-q", &second[..12]]).ok(), second);
}

#[test]
fn peers_short_names_and_mirrors_follow_registries_conf() {
    let (home, mirror) = (DockerRegistry::plain(), DockerRegistry::plain());
    let sandbox = sandbox();
    let id = two_layers(&sandbox, "oci");
    sandbox.gabion(["push", "-q", INSECURE, "localhost/two", &mirror.image("copy/team/app:1")]).ok();
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let (home, mirror) = (home.address(), mirror.address());
    let conf = |more: &str| {
        other.write(
            "registries.conf",
            format!(
                "unqualified-search-registries = [\"{home}\"]\n{more}\n[aliases]\n\"app\" = \"{home}/team/app\"\n\
                 [[registry]]\nlocation = \"{home}\"\ninsecure = true\n\
                 [[registry.mirror]]\nlocation = \"{mirror}/copy\"\ninsecure = true\n"
            ),
        )
    };
    conf("");
    assert_eq!(other.gabion(["pull", "-q", "app:1"]).ok(), id);
    let names = &records_with_names(&other)[0]["names"];
    assert_eq!(*names, json!([format!("{home}/team/app:1")]));
    other.gabion(["pull", "-q", "team/app:2"]).fails().says(125, &["team/app:2 not found", home]);
    other.write("registries.conf", format!("[[registry]]\nlocation = \"{home}\"\nblocked = true\n"));
    other.gabion(["pull", "-q", &format!("{home}/x")]).fails().says(125, &["blocked"]);
    other.gabion(["pull", "-q", "nothing"]).fails().says(125, &["short name", "registries.conf"]);
}

fn records_with_names(sandbox: &Sandbox) -> Vec<Value> {
    let text = fs::read(sandbox.graph_root().join("overlay-images/images.json")).expect("records");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn peers_all_tags_of_a_repository() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    for tag in ["a", "b", "c"] {
        sandbox.gabion(["push", "-q", INSECURE, "localhost/base", &registry.image(&format!("many:{tag}"))]).ok();
    }
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let ids = other.gabion(["pull", "-q", INSECURE, "--all-tags", &format!("{}/many", registry.address())]).ok();
    assert_eq!(ids.lines().count(), 1, "one image with three tags");
    assert_eq!(records_with_names(&other)[0]["names"].as_array().map(Vec::len), Some(3));
}

#[test]
fn peers_damaged_blobs_of_a_registry_leave_nothing_behind() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    two_layers(&sandbox, "oci");
    let place = registry.image("app:1");
    sandbox.gabion(["push", "-q", INSECURE, "localhost/two", &place]).ok();
    let image = read(&sandbox, &place, "image");
    let file = registry.blob(&image.layers[1].digest);
    let whole = fs::read(&file).expect("a blob");
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let pull = || other.gabion(["pull", "-q", INSECURE, "--retry=1", "--retry-delay=1ms", &place]);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [flipped, whole[..middle].to_vec(), [whole.clone(), vec![0]].concat(), Vec::new()] {
        fs::write(&file, damaged).expect("damage a blob");
        pull().fails().says(125, &[&image.layers[1].digest]);
        assert_eq!(other.podman(["images", "-q"]).ok(), "");
        let staged = fs::read_dir(other.graph_root().join("overlay")).expect("a store").flatten();
        assert!(staged.map(|entry| entry.file_name()).all(|name| name.len() != 64));
    }
    fs::write(&file, whole).expect("mend a blob");
    pull().ok();
    other.podman_run([&place["docker://".len()..], "cat", "/brick"]).ok();
}

#[test]
fn peers_memory_does_not_grow_with_layers() {
    let registry = DockerRegistry::plain();
    let sandbox = sandbox();
    let container = sandbox.buildah(["from", "--pull-never", "localhost/base"]).ok();
    big_file(&sandbox.path("big"), 200 << 20);
    sandbox.buildah(["copy", "-q", &container]).arg(sandbox.path("big")).arg("/big").ok();
    sandbox.buildah(["commit", "-q", "--rm", &container, "localhost/big"]).ok();
    fs::remove_file(sandbox.path("big")).expect("remove a file");
    let place = registry.image("big:1");
    // Stacks, heap and other private memory are limited; the program's own pages are not.
    let limited = |sandbox: &Sandbox, args: &[&str]| {
        let words = sandbox.store_command(env!("CARGO_BIN_EXE_gabion"));
        sandbox.any("sh").args(["-c", "ulimit -d 65536 && exec \"$@\"", "sh"]).args(words).args(args).ok();
    };
    limited(&sandbox, &["push", "-q", INSECURE, "localhost/big", &place]);
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    limited(&other, &["pull", "-q", INSECURE, &place]);
    let archive = format!("docker-archive:{}", other.path("big.tar").display());
    limited(&other, &["push", "-q", &place["docker://".len()..], &archive]);
    let third = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    limited(&third, &["pull", "-q", &archive]);
}

/// A file that neither compresses well nor has holes.
fn big_file(path: &Path, size: usize) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).expect("create a file"));
    let mut state = 1u64;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&(state & 0x0f0f_0f0f_ffff_ffff).to_le_bytes()).expect("write a file");
    }
}

#[test]
fn peers_other_stores_are_places_too() {
    let sandbox = sandbox();
    let id = two_layers(&sandbox, "oci");
    let [second, third] = [(); 2].map(|()| Sandbox::new(env!("CARGO_BIN_EXE_gabion")));
    sandbox.gabion(["push", "-q", "localhost/two", &second.storage("localhost/moved:1")]).ok();
    assert_eq!(records(&second, "layers"), records(&sandbox, "layers")[..2]);
    let run = ["localhost/moved:1", "tail", "-n1", "/brick"];
    assert_eq!(second.podman_run(run).ok(), "clay");
    assert_eq!(third.gabion(["pull", "-q", &second.storage("moved:1")]).ok(), id);
    assert_eq!(third.podman_run(run).ok(), "clay");
    // Into its own store an image gets another name and nothing else.
    sandbox.gabion(["push", "-q", "localhost/two", "containers-storage:localhost/again:2"]).ok();
    assert_eq!(sandbox.gabion(["pull", "-q", "--policy=never", "localhost/again:2"]).ok(), id);
}
