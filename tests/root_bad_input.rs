//! Bad input and bad luck: one clear line, a non-zero exit code, and an unharmed store.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::mount::{MountFlags, mount};
use serde_json::json;
use test_support::store_check::assert_sound;
use test_support::{DockerRegistry, Sandbox, Tool, base_image, registry};

const GABION: &str = env!("CARGO_BIN_EXE_gabion");

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(GABION);
    sandbox.import_base();
    sandbox
}

#[test]
fn root_unknown_names_are_said() {
    let sandbox = sandbox();
    let container = [
        &["run", "nobody", "true"][..],
        &["mount", "nobody"],
        &["umount", "nobody"],
        &["copy", "nobody", "/etc/hostname", "/"],
        &["add", "nobody", "/etc/hostname", "/"],
        &["config", "--cmd", "x", "nobody"],
        &["commit", "nobody", "localhost/x"],
        &["rename", "nobody", "somebody"],
        &["rm", "nobody"],
        &["inspect", "--type", "container", "nobody"],
    ];
    let image = [
        &["from", "--pull=never", "localhost/nothing"][..],
        &["inspect", "--type", "image", "localhost/nothing"],
        &["push", "localhost/nothing", "dir:nothing"],
        &["tag", "localhost/nothing", "localhost/x"],
        &["untag", "localhost/nothing"],
        &["rmi", "localhost/nothing"],
        &["history", "localhost/nothing"],
    ];
    for arguments in container {
        sandbox.gabion(arguments).fails().says(125, &["nobody"]);
    }
    for arguments in image {
        sandbox.gabion(arguments).fails().says(125, &["localhost/nothing"]);
    }
    sandbox.gabion(["inspect", "nowhere"]).fails().says(125, &["nowhere"]);
    sandbox.gabion(["frobnicate"]).fails().says(125, &["frobnicate"]);
    sandbox.gabion(["images", "--frobnicate"]).fails().says(125, &["--frobnicate"]);
    assert_sound(&sandbox);
}

#[test]
fn root_ambiguous_ids_are_refused() {
    let sandbox = sandbox();
    // Seventeen IDs, sixteen digits: two begin alike.
    for number in 0..17 {
        let container = sandbox.gabion(["from", "scratch"]).ok();
        sandbox.gabion(["config", "--env", &format!("N={number}"), &container]).ok();
        sandbox.gabion(["commit", "-q", &container, &format!("localhost/image{number}")]).ok();
    }
    for (list, kind, remove) in [("containers", "container", "rm"), ("images", "image", "rmi")] {
        let before = sandbox.gabion([list, "--json"]).json();
        let mut first = BTreeMap::new();
        for one in before.as_array().expect("a list") {
            *first.entry(one["id"].as_str().and_then(|id| id.get(..1)).expect("an ID")).or_insert(0) += 1;
        }
        let (prefix, _) = first.into_iter().find(|(_, count)| *count > 1).expect("two IDs begin alike");
        sandbox.gabion(["inspect", "--type", kind, prefix]).fails().says(125, &[prefix]);
        sandbox.gabion([remove, prefix]).fails().says(125, &[prefix]);
        let after = sandbox.gabion([list, "--json"]).json();
        assert_eq!(after.as_array().map(Vec::len), before.as_array().map(Vec::len), "nothing was removed");
    }
    assert_sound(&sandbox);
}

#[test]
fn root_names_taken_and_images_in_use() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--pull=never", "--name", "one", "localhost/base"]).ok();
    sandbox.gabion(["from", "--name", "two", "scratch"]).ok();
    sandbox.gabion(["from", "--pull=never", "--name", "one", "localhost/base"]).fails().says(125, &["one"]);
    sandbox.gabion(["rename", "two", "one"]).fails().says(125, &["one"]);
    sandbox.gabion(["rmi", "localhost/base"]).fails().says(125, &["in use by a container", "remove the container"]);
    sandbox.gabion(["rm", "one"]).ok();
    // A container of Podman's counts as much as ours.
    sandbox.podman(["create", "--name", "peer", "--network=none", "localhost/base", "true"]).ok();
    sandbox.gabion(["rmi", "localhost/base"]).fails().says(125, &["in use by a container", "remove the container"]);
    sandbox.podman(["start", "--attach", "peer"]).ok();
    sandbox.podman(["rm", "peer"]).ok();
    assert_sound(&sandbox);
}

#[test]
fn root_damaged_images_are_refused() {
    let sandbox = sandbox();
    let base = format!("oci:{}:latest", base_image::layout().display());
    // A byte of the layer is another.
    let layout = sandbox.path("flipped");
    sandbox.skopeo(["copy", "-q", &base, &format!("oci:{}:latest", layout.display())]).ok();
    let digest = test_support::validate::oci_layout(&layout, "latest").layers[0].digest.clone();
    let blob = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let whole = fs::read(&blob).expect("read a blob");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, &bytes).expect("write a blob");
    sandbox.gabion(["rmi", "localhost/base"]).ok();
    let pull = |source: &str| sandbox.gabion(["pull", "-q", source]);
    pull(&format!("oci:{}:latest", layout.display())).fails().says(125, &[&digest]);
    // The layer ends too early.
    fs::write(&blob, &whole[..middle]).expect("write a blob");
    pull(&format!("oci:{}:latest", layout.display())).fails().says(125, &[]);
    // The layer is not there.
    fs::remove_file(&blob).expect("remove a blob");
    pull(&format!("oci:{}:latest", layout.display())).fails().says(125, &[]);
    // The manifest's digests are right, but the config says another diff ID.
    let layout = sandbox.path("lying");
    base_image::write_layout(&layout, "latest", &[base_image::layer_tar()], true, &json!({}));
    let lie = lie_about_diff_id(&layout);
    pull(&format!("oci:{}:latest", layout.display())).fails().says(125, &[&lie]);
    for kind in ["docker-archive", "oci-archive"] {
        let archive = sandbox.path(kind);
        sandbox.skopeo(["copy", "-q", &base, &format!("{kind}:{}:localhost/archived:latest", archive.display())]).ok();
        let whole = fs::read(&archive).expect("read an archive");
        for size in [whole.len() / 2, 1000, 0] {
            fs::write(&archive, &whole[..size]).expect("truncate an archive");
            pull(&format!("{kind}:{}", archive.display())).fails().says(125, &[]);
        }
    }
    assert_eq!(sandbox.gabion(["images", "-q", "--all"]).ok(), "");
    assert_sound(&sandbox);
    pull(&base).ok();
}

/// Rewrites the config of the layout's image with a wrong diff ID, all digests up to date.
fn lie_about_diff_id(layout: &Path) -> String {
    let read = |path: &Path| fs::read_to_string(path).expect("read a file");
    let put = |text: &str| {
        let digest = test_support::validate::sha256(text.as_bytes());
        fs::write(layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:")), text).expect("write a blob");
        (digest, text.len())
    };
    let mut index: serde_json::Value = serde_json::from_str(&read(&layout.join("index.json"))).expect("JSON");
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
        serde_json::from_str::<serde_json::Value>(&read(&layout.join("blobs/sha256").join(digest))).expect("JSON")
    };
    let mut manifest = blob(&index["manifests"][0]);
    let mut config = blob(&manifest["config"]);
    let lie = test_support::validate::sha256(b"something else");
    config["rootfs"]["diff_ids"][0] = json!(lie);
    let (digest, size) = put(&config.to_string());
    manifest["config"]["digest"] = json!(digest);
    manifest["config"]["size"] = json!(size);
    let (digest, size) = put(&manifest.to_string());
    index["manifests"][0]["digest"] = json!(digest);
    index["manifests"][0]["size"] = json!(size);
    fs::write(layout.join("index.json"), index.to_string()).expect("write the index");
    lie
}

#[test]
fn root_tars_cannot_leave_the_root() {
    let sandbox = sandbox();
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).expect("make a directory");
    let target = outside.to_str().expect("UTF-8").to_owned();
    let dots = format!("{}{target}/evil", "../".repeat(8).trim_end_matches('/'));
    let evil: [(&str, Vec<u8>); 5] = [
        ("dots", hostile_tar(&[(b'0', &dots, "")])),
        ("absolute", hostile_tar(&[(b'0', &format!("{target}/evil"), "")])),
        ("symlink", hostile_tar(&[(b'2', "link", &target), (b'0', "link/evil", "")])),
        ("relative-symlink", hostile_tar(&[(b'2', "link", &dots.replace("/evil", "")), (b'0', "link/evil", "")])),
        ("hardlink", hostile_tar(&[(b'1', "evil", "../../../../../../../../etc/shadow")])),
    ];
    for (name, tar) in evil {
        let layout = sandbox.path(name);
        base_image::write_layout(&layout, "latest", &[base_image::layer_tar(), tar.clone()], true, &json!({}));
        let pulled = sandbox.gabion(["pull", "-q", &format!("oci:{}:latest", layout.display())]).run();
        contained(&sandbox, &pulled, name);
        if pulled.status.success() {
            sandbox.gabion(["rmi", "--force", pulled.stdout.trim()]).ok();
        }
        let archive = sandbox.write(format!("{name}.tar"), &tar);
        let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
        let added = sandbox.gabion(["add", "-q", &container]).arg(archive).arg("/").run();
        contained(&sandbox, &added, name);
        sandbox.gabion(["rm", &container]).ok();
    }
    assert_sound(&sandbox);
}

/// Nothing came to lie outside; a path that climbs out is refused in one line, the other kinds
/// either so or taken as a path below the root.
fn contained(sandbox: &Sandbox, outcome: &test_support::Outcome, name: &str) {
    let left = fs::read_dir(sandbox.path("outside")).expect("read a directory").count();
    assert_eq!(left, 0, "{name}: something lies outside: {outcome}");
    if matches!(name, "dots" | "hardlink") || !outcome.status.success() {
        outcome.says(125, &["evil"]);
    }
}

/// A tar with headers as no honest writer would make them.
fn hostile_tar(entries: &[(u8, &str, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, name, link) in entries {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        let content: &[u8] = if *kind == b'0' { b"evil" } else { b"" };
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[test]
fn root_registries_that_refuse() {
    let sandbox = sandbox();
    let unreachable = ["--tls-verify=false", "--retry=0"];
    sandbox.gabion(["pull"]).args(unreachable).arg("docker://127.0.0.1:1/nothing").fails().says(125, &["127.0.0.1:1"]);
    sandbox
        .gabion(["push"])
        .args(unreachable)
        .args(["localhost/base", "docker://127.0.0.1:1/x"])
        .fails()
        .says(125, &["127.0.0.1:1"]);
    let locked = DockerRegistry::with_password();
    for credentials in [&[][..], &["--creds", "mason:wrong"]] {
        let address = locked.address();
        sandbox
            .gabion(["pull", "--tls-verify=false"])
            .args(credentials)
            .arg(locked.image("x"))
            .fails()
            .says(125, &[address]);
        let push = ["push", "-q", "--tls-verify=false"];
        sandbox
            .gabion(push)
            .args(credentials)
            .args(["localhost/base", &locked.image("x")])
            .fails()
            .says(125, &[address]);
    }
    let right = format!("{}:{}", registry::USER, registry::PASSWORD);
    sandbox.gabion(["push", "-q", "--tls-verify=false", "--creds", &right, "localhost/base", &locked.image("x")]).ok();
    // A certificate that nobody vouches for.
    let tls = DockerRegistry::with_tls();
    sandbox.gabion(["push", "-q", "--retry=0", "localhost/base", &tls.image("x")]).fails().says(125, &["certificate"]);
    sandbox.gabion(["push", "-q", "--cert-dir"]).arg(tls.ca_dir()).args(["localhost/base", &tls.image("x")]).ok();
    // An image that the registry does not have.
    let open = DockerRegistry::plain();
    sandbox.gabion(["pull", "--tls-verify=false", &open.image("nothing:1")]).fails().says(125, &["nothing"]);
    assert_sound(&sandbox);
}

#[test]
fn root_full_disk() {
    let sandbox = Sandbox::new(GABION);
    fs::create_dir(sandbox.graph_root()).expect("make a directory");
    mount("tmpfs", sandbox.graph_root(), "tmpfs", MountFlags::empty(), c"size=32m").expect("mount a small file system");
    sandbox.import_base();
    let big = sandbox.write("big", vec![7; 48 << 20]);
    let half = sandbox.write("half", vec![7; 18 << 20]);
    // Copying into a container.
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    sandbox.gabion(["copy", "-q", &container]).arg(&big).arg("/big").fails().says(125, &["No space left"]);
    sandbox.gabion(["rm", &container]).ok();
    // Committing what has no room twice.
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    sandbox.gabion(["copy", "-q", &container]).arg(&half).arg("/half").ok();
    sandbox.gabion(["commit", "-q", &container, "localhost/half"]).fails().says(125, &["No space left"]);
    assert_eq!(sandbox.gabion(["images", "--format", "{{.Name}}"]).ok(), "localhost/base");
    // What is there can be removed, and then there is room again.
    sandbox.gabion(["commit", "-q", "--rm", &container, "localhost/half"]).ok();
    sandbox.gabion(["rmi", "localhost/half"]).ok();
    // Pulling more than there is room for.
    let layout = sandbox.path("layout");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(&big, "big").expect("append a file");
    base_image::write_layout(
        &layout,
        "latest",
        &[base_image::layer_tar(), tar.into_inner().expect("end a tar")],
        true,
        &json!({}),
    );
    let source = format!("oci:{}:latest", layout.display());
    sandbox.gabion(["pull", "-q", &source]).fails().says(125, &["No space left"]);
    assert_eq!(sandbox.gabion(["images", "--format", "{{.Name}}"]).ok(), "localhost/base");
    assert_sound(&sandbox);
    assert_eq!(sandbox.podman_run(["localhost/base", "echo", "fine"]).ok(), "fine");
}

#[test]
fn root_locks_of_the_dead_do_not_bind() {
    let sandbox = sandbox();
    // A process holds the store's locks; gabion waits for it, and goes on when it is gone.
    let holder = |name: &str| {
        let path = sandbox.graph_root().join(name);
        let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("open a lock");
        fcntl_lock(&file, FlockOperation::LockExclusive).expect("lock a file");
        file
    };
    let locks = ["overlay-layers/layers.lock", "overlay-images/images.lock"].map(holder);
    let waiting = sandbox.gabion(["tag", "localhost/base", "localhost/tagged"]).spawn();
    drop(locks);
    let output = waiting.wait_with_output().expect("wait for gabion");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A process killed in the middle of a change leaves half a file and an incomplete layer.
    fs::write(sandbox.graph_root().join("overlay-images/.tmp-images.json123"), "[{").expect("write a file");
    let layers = sandbox.graph_root().join("overlay-layers/layers.json");
    let text = fs::read_to_string(&layers).expect("read layers.json");
    let id = "ab".repeat(32);
    let broken =
        format!(",{{\"id\":\"{id}\",\"created\":\"2026-01-01T00:00:00Z\",\"flags\":{{\"incomplete\":true}}}}]");
    fs::write(&layers, format!("{}{broken}", text.trim_end().trim_end_matches(']'))).expect("write layers.json");
    fs::create_dir_all(sandbox.graph_root().join("overlay").join(&id).join("diff")).expect("make a directory");
    let container = sandbox.gabion(["from", "--pull=never", "localhost/tagged"]).ok();
    sandbox.gabion(["commit", "-q", "--rm", &container, "localhost/after"]).ok();
    assert_sound(&sandbox);
}

#[test]
fn root_no_runtime_installed() {
    let sandbox = sandbox();
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    let nowhere = sandbox.path("empty");
    sandbox.gabion(["run", &container, "true"]).env("PATH", &nowhere).fails().says(125, &["runc", "install"]);
    let run = ["run", "--runtime", "no-such-runtime", &container, "true"];
    sandbox.gabion(run).fails().says(125, &["no-such-runtime"]);
    // What needs no runtime goes on.
    sandbox.gabion(["commit", "-q", "--rm", &container, "localhost/x"]).env("PATH", &nowhere).ok();
    assert_sound(&sandbox);
}

#[test]
fn root_is_needed_for_now() {
    let sandbox = sandbox();
    fs::set_permissions(sandbox.dir(), fs::Permissions::from_mode(0o755)).expect("set a mode");
    // The build directory may be closed to others.
    let gabion = sandbox.path("gabion");
    fs::copy(GABION, &gabion).expect("copy gabion");
    for arguments in [&["images"][..], &["from", "scratch"], &["pull", "docker://127.0.0.1:1/x"]] {
        let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let tool = Tool::new("setpriv").args(as_nobody).arg(&gabion).args(arguments);
        tool.in_dir("/").env("HOME", "/").fails().says(125, &["root"]);
    }
    assert_sound(&sandbox);
}

#[test]
fn root_one_unreadable_container_does_not_hide_the_others() {
    let sandbox = sandbox();
    let broken = sandbox.gabion(["from", "--name", "broken", "base"]).ok();
    sandbox.gabion(["from", "--name", "whole", "base"]).ok();
    let id = sandbox.gabion(["containers", "--quiet", "--filter", &format!("name={broken}")]).ok();
    let state = sandbox.graph_root().join("overlay-containers").join(&id).join("userdata/buildah.json");
    fs::write(&state, "{\"type\": \"buildah 0.0.1\", \"name").expect("break it");

    let listed = sandbox.gabion(["containers"]).run();
    assert!(listed.status.success() && listed.stdout.contains("whole"), "{listed}");
    assert!(listed.stderr.contains("broken"), "{listed}");
    assert!(sandbox.gabion(["mount"]).run().status.success());
    let unmounted = sandbox.gabion(["umount", "--all"]).run();
    assert_eq!(unmounted.status.code(), Some(125), "{unmounted}");
    assert!(unmounted.stderr.contains("broken"), "{unmounted}");
    sandbox.gabion(["rm", "--all"]).ok();
    assert_eq!(sandbox.gabion(["containers", "--all", "--quiet"]).ok(), "");
}

#[test]
fn root_a_reader_that_goes_away_is_no_fault() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(GABION);
    let output = command.args(["build", "--help"]).stdout(writer).stderr(std::process::Stdio::piped()).output();
    let output = output.expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}
