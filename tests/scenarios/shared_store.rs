//! One store, several tools: what gabion builds the peers use, and the other way round.

use std::path::Path;

use test_support::store_check::assert_sound;
use test_support::validate::{Image, dir_image, oci_layout};
use test_support::{DockerRegistry, Sandbox, base_image, tree};

/// An image made by gabion's commands and one made from a Dockerfile work with Podman, Buildah and
/// Skopeo in the same store.
pub fn peers_use_what_gabion_builds(sandbox: &Sandbox) {
    for format in ["oci", "docker"] {
        build_by_commands(sandbox, format);
        use_with_peers(sandbox, "localhost/by-commands", format);
        build_from_dockerfile(sandbox, format);
        use_with_peers(sandbox, "localhost/by-dockerfile", format);
    }
    assert_sound(sandbox);
}

/// From the base image: `greet` says what is in `/srv/greeting`.
fn build_by_commands(sandbox: &Sandbox, format: &str) {
    tree! { "greeting" => "hello" }
        .file_with_mode("greet", "#!/bin/sh\ncat $FILE\n", 0o755)
        .write_to(sandbox.path("files"));
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    sandbox.gabion(["run", &container, "--", "sh", "-c", "mkdir /srv && rmdir /home"]).ok();
    sandbox.gabion(["copy", "-q", &container]).arg(sandbox.path("files/greeting")).arg("/srv/").ok();
    sandbox.gabion(["copy", "-q", &container]).arg(sandbox.path("files/greet")).arg("/usr/bin/").ok();
    let config = [
        "--env",
        "FILE=/srv/greeting",
        "--cmd",
        "greet",
        "--label",
        "made=here",
        "--workingdir",
        "/srv",
        "--user",
        "mason",
    ];
    sandbox.gabion(["config"]).args(config).arg(&container).ok();
    sandbox.gabion(["commit", "-q", "--format", format, &container, "localhost/by-commands"]).ok();
    sandbox.gabion(["rm", &container]).ok();
}

fn build_from_dockerfile(sandbox: &Sandbox, format: &str) {
    let context = sandbox.path("context");
    tree! { "greeting" => "hello" }.file_with_mode("greet", "#!/bin/sh\ncat $FILE\n", 0o755).write_to(&context);
    let dockerfile = "FROM localhost/base AS first\nRUN echo hello > /made\n\
        FROM localhost/base\nRUN mkdir /srv && rmdir /home\nCOPY --from=first /made /srv/greeting\nCOPY greet /usr/bin/\n\
        ENV FILE=/srv/greeting\nLABEL made=here\nWORKDIR /srv\nUSER mason\nCMD [\"greet\"]\n";
    sandbox.write("context/Dockerfile", dockerfile);
    let build = ["build", "--pull=never", "--format", format, "-t", "localhost/by-dockerfile"];
    sandbox.gabion(build).arg(&context).ok();
}

fn use_with_peers(sandbox: &Sandbox, image: &str, format: &str) {
    assert_eq!(sandbox.podman_run([image]).ok(), "hello", "{image} {format}");
    let inspected = &sandbox.podman(["inspect", image]).json()[0];
    assert_eq!(inspected["Labels"]["made"], "here", "{inspected}");
    assert_eq!(inspected["User"], "mason", "{inspected}");
    assert_eq!(inspected["Config"]["WorkingDir"], "/srv", "{inspected}");
    let media_type = if format == "oci" { "vnd.oci.image.manifest.v1" } else { "vnd.docker.distribution.manifest.v2" };
    assert!(inspected["ManifestType"].as_str().is_some_and(|found| found.contains(media_type)), "{inspected}");

    let container = sandbox.buildah(["from", "--pull-never", image]).ok();
    assert_eq!(sandbox.buildah(["run", "--network=none", &container, "--", "greet"]).ok(), "hello");
    sandbox.buildah(["rm", &container]).ok();

    // Skopeo's copy out of the store and gabion's own push agree.
    let (by_skopeo, by_gabion) = (fresh(sandbox, "by-skopeo"), fresh(sandbox, "by-gabion"));
    sandbox.skopeo(["copy", "-q", &sandbox.storage(image), &dir(&by_skopeo)]).ok();
    sandbox.gabion(["push", "-q", "--disable-compression", image, &dir(&by_gabion)]).ok();
    let (expected, pushed) = (dir_image(&by_skopeo), dir_image(&by_gabion));
    assert_eq!(expected.config_digest, pushed.config_digest, "{image} {format}");
    assert_eq!(expected.digests(), pushed.digests(), "{image} {format}");
    assert!(!pushed.files().contains_key("home"), "{image} {format}");
    pushed.assert_media_types();

    let (by_skopeo, by_gabion) = (fresh(sandbox, "oci-by-skopeo"), fresh(sandbox, "oci-by-gabion"));
    sandbox.skopeo(["copy", "-q", &sandbox.storage(image), &oci(&by_skopeo)]).ok();
    sandbox.gabion(["push", "-q", image, &oci(&by_gabion)]).ok();
    assert_eq!(layout(&by_skopeo).diff_ids(), layout(&by_gabion).diff_ids(), "{image} {format}");
}

/// Images built by Buildah or pulled by Skopeo: gabion lists them, builds on them, runs, commits,
/// pushes and deletes them.
pub fn gabion_uses_what_peers_build(sandbox: &Sandbox) {
    let registry = DockerRegistry::plain();
    sandbox.write(
        "peer/Dockerfile",
        "FROM localhost/base\nRUN echo buildah > /by && rm -r /home\nENV BY=buildah\nCMD cat /by\n",
    );
    sandbox.write("peer/Dockerfile.docker", "FROM localhost/base\nRUN echo docker > /by && rm -r /home\nCMD cat /by\n");
    let context = sandbox.path("peer");
    let bud = ["bud", "-q", "--pull-never", "--network=none"];
    sandbox.buildah(bud).args(["-t", "localhost/by-buildah"]).arg(&context).ok();
    sandbox
        .buildah(bud)
        .args(["--format=docker", "-t", "localhost/by-buildah-docker", "-f"])
        .arg(context.join("Dockerfile.docker"))
        .arg(&context)
        .ok();
    // Through a registry, so that the layers come as gzip.
    let remote = registry.image("by-buildah:1");
    sandbox.buildah(["push", "-q", "--tls-verify=false", "localhost/by-buildah", &remote]).ok();
    sandbox.buildah(["rmi", "localhost/by-buildah"]).ok();
    sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", &remote, &sandbox.storage("localhost/by-skopeo")]).ok();

    let listed = image_names(sandbox);
    for name in ["localhost/base:latest", "localhost/by-buildah-docker:latest", "localhost/by-skopeo:latest"] {
        assert!(listed.contains(&name.to_owned()), "{name} is not in {listed:?}");
    }
    assert_eq!(listed, podman_names(sandbox));

    for (image, content, format) in
        [("localhost/by-skopeo", "buildah", "oci"), ("localhost/by-buildah-docker", "docker", "docker")]
    {
        let container = sandbox.gabion(["from", "--pull=never", image]).ok();
        assert_eq!(sandbox.gabion(["run", &container, "--", "cat", "/by"]).ok(), content);
        sandbox.gabion(["run", &container, "--", "sh", "-c", "echo gabion > /by; touch /usr/bin/more"]).ok();
        sandbox.gabion(["commit", "-q", "--rm", "--format", format, &container, "localhost/on-top"]).ok();
        assert_eq!(sandbox.podman_run(["localhost/on-top", "cat", "/by"]).ok(), "gabion");

        let (own, peers) = (fresh(sandbox, "own"), fresh(sandbox, "peers"));
        sandbox.gabion(["push", "-q", "--disable-compression", "localhost/on-top", &dir(&own)]).ok();
        sandbox.skopeo(["copy", "-q", &sandbox.storage("localhost/on-top"), &dir(&peers)]).ok();
        let (pushed, expected) = (dir_image(&own), dir_image(&peers));
        assert_eq!((pushed.digests(), &pushed.config_digest), (expected.digests(), &expected.config_digest));
        pushed.assert_media_types();
        assert!(pushed.layers[2].paths().contains(&"by"), "{:?}", pushed.layers[2].paths());

        sandbox.gabion(["rmi", "localhost/on-top"]).ok();
        sandbox.gabion(["rmi", image]).ok();
    }
    assert_eq!(image_names(sandbox), ["localhost/base:latest"]);
    assert_eq!(podman_names(sandbox), ["localhost/base:latest"]);
    assert_sound(sandbox);
}

/// What is uncompressed keeps its digest on every way through gabion; what is gzip keeps its diff
/// ID, and its digest where the destination has the blob.
pub fn digests_are_kept(sandbox: &Sandbox) {
    let registry = DockerRegistry::plain();
    let plain = sandbox.path("plain");
    let more = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_size(4);
        // A form that gabion's own writer would not choose: a GNU header with padded owner names.
        header.set_username("mason").expect("a short name");
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        tar.append_data(&mut header, "./more", &b"more"[..]).expect("append a file");
        tar.into_inner().expect("end a tar")
    };
    base_image::write_layout(
        &plain,
        "latest",
        &[base_image::layer_tar(), more],
        false,
        &serde_json::json!({"Cmd": ["cat", "/more"]}),
    );
    let source = layout(&plain);
    assert_eq!(source.digests(), source.diff_ids());

    // Uncompressed: in from a layout, out to a directory, an archive, a layout, a registry and back.
    let name = sandbox.gabion(["pull", "-q", &format!("oci:{}:latest", plain.display())]).ok();
    sandbox.gabion(["tag", &name, "localhost/plain"]).ok();
    let out = fresh(sandbox, "out");
    sandbox.gabion(["push", "-q", "--disable-compression", "localhost/plain", &dir(&out)]).ok();
    assert_eq!(dir_image(&out).digests(), source.digests());
    let out = fresh(sandbox, "out-oci");
    sandbox.gabion(["push", "-q", "--disable-compression", "localhost/plain", &oci(&out)]).ok();
    assert_eq!(layout(&out).digests(), source.digests());
    let push = ["push", "-q", "--tls-verify=false", "--disable-compression", "localhost/plain"];
    sandbox.gabion(push).arg(registry.image("plain:1")).ok();
    for digest in source.digests() {
        assert!(registry.blob(digest).exists(), "{digest} is in the registry");
    }
    assert_eq!(sandbox.podman_run(["localhost/plain"]).ok(), "more");
    sandbox.gabion(["rmi", "--force", &name]).ok();
    sandbox.gabion(["pull", "-q", "--tls-verify=false", &registry.image("plain:1")]).ok();
    let again = registry.image("plain:1").replace("docker://", "");
    let out = fresh(sandbox, "out-again");
    sandbox.gabion(["push", "-q", "--disable-compression", &again, &dir(&out)]).ok();
    assert_eq!(dir_image(&out).digests(), source.digests());
    sandbox.gabion(["rmi", &again]).ok();

    // gzip: the registry has the blobs, so that they are not made again.
    let remote = registry.image("zipped:1");
    let base = format!("oci:{}:latest", base_image::layout().display());
    sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &base, &remote]).ok();
    let zipped = layout(base_image::layout());
    sandbox.gabion(["pull", "-q", "--tls-verify=false", &remote]).ok();
    let local = remote.replace("docker://", "");
    sandbox.gabion(["push", "-q", "--tls-verify=false", &local, &registry.image("zipped:2")]).ok();
    let out = fresh(sandbox, "zipped");
    sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", &registry.image("zipped:2"), &dir(&out)]).ok();
    let back = dir_image(&out);
    assert_eq!(back.digests(), zipped.digests());
    assert_eq!(back.config_digest, zipped.config_digest);
    // Elsewhere the diff ID is what stays.
    let elsewhere = DockerRegistry::plain();
    sandbox.gabion(["push", "-q", "--tls-verify=false", &local, &elsewhere.image("zipped:1")]).ok();
    let out = fresh(sandbox, "elsewhere");
    sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", &elsewhere.image("zipped:1"), &dir(&out)]).ok();
    assert_eq!(dir_image(&out).diff_ids(), zipped.diff_ids());
    sandbox.gabion(["rmi", &local]).ok();
    assert_sound(sandbox);
}

/// Names of all images by `gabion images`, sorted.
pub fn image_names(sandbox: &Sandbox) -> Vec<String> {
    names(sandbox.gabion(["images", "--json"]).json(), "names")
}

/// Names of all images by `podman images`, sorted.
pub fn podman_names(sandbox: &Sandbox) -> Vec<String> {
    names(sandbox.podman(["images", "--format", "json"]).json(), "Names")
}

fn names(images: serde_json::Value, key: &str) -> Vec<String> {
    let images = images.as_array().cloned().unwrap_or_default();
    let names = images.iter().flat_map(|image| image[key].as_array().cloned().unwrap_or_default());
    let mut names: Vec<String> = names.map(|name| name.as_str().expect("a name").to_owned()).collect();
    names.sort();
    // Podman repeats an image for each of its names.
    names.dedup();
    names
}

fn fresh(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let path = sandbox.path(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).expect("remove a directory");
    }
    path
}

fn dir(path: &Path) -> String {
    format!("dir:{}", path.display())
}

fn oci(path: &Path) -> String {
    format!("oci:{}:latest", path.display())
}

fn layout(path: &Path) -> Image {
    oci_layout(path, "latest")
}
