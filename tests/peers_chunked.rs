//! zstd:chunked layers, read by those who fetch parts of them.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use serde_json::Value;
use test_support::{DockerRegistry, Sandbox};

const INSECURE: &str = "--tls-verify=false";
const PREFIX: &str = "io.github.containers.zstd-chunked.";

/// Two images with a large file each, which begins otherwise and goes on alike.
fn images(sandbox: &Sandbox) {
    for name in ["one", "two"] {
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let large: Vec<u8> = name.bytes().chain((0..1_000_000).map(|_| byte())).collect();
        sandbox.write(format!("{name}/tree/large"), large);
        sandbox.write(format!("{name}/tree/small"), name);
        sandbox.write(format!("{name}/Dockerfile"), "FROM scratch\nCOPY tree /tree\n");
        sandbox.gabion(["build", "-q", "-t", &format!("localhost/{name}")]).arg(sandbox.path(name)).ok();
    }
}

#[test]
fn peers_zstd_chunked_layers_can_be_fetched_in_parts() {
    let registry = DockerRegistry::plain();
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    images(&sandbox);
    let reader = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let (store, run) = (reader.graph_root(), reader.run_root());
    reader.write(
        "storage.conf",
        format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {store:?}\nrunroot = {run:?}\n[storage.options]\n\
             pull_options = {{enable_partial_images = \"true\", use_hard_links = \"false\", ostree_repos = \"\"}}\n"
        ),
    );
    for name in ["one", "two"] {
        let place = registry.image(&format!("{name}:1"));
        let flags = ["push", "-q", INSECURE, "--compression-format=zstd:chunked"];
        sandbox.gabion(flags).args([format!("localhost/{name}").as_str(), place.as_str()]).ok();
        let dir = sandbox.path(format!("{name}-pushed"));
        let copied = format!("dir:{}", dir.display());
        sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", &place, &copied]).ok();
        let path = dir.join("manifest.json");
        let text = fs::read_to_string(&path).expect("a manifest");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        for key in ["manifest-checksum", "manifest-position", "tarsplit-position"] {
            assert!(layer["annotations"][format!("{PREFIX}{key}")].is_string(), "{key}: {text}");
        }
        // What Debian's Podman looks for has the name that it had before 2022-11.
        fs::write(&path, text.replace("io.github.containers.zstd", "io.containers.zstd")).expect("write");
        let old = registry.image(&format!("{name}:old"));
        sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &copied, &old]).ok();
        let podman = reader.any("podman").arg("--tmpdir").arg(reader.path("run/podman"));
        let outcome = podman.args(["--log-level=debug", "pull", INSECURE, &old["docker://".len()..]]).run();
        assert!(outcome.status.success(), "{outcome}");
        assert!(outcome.stderr.contains("Retrieved partial blob"), "{outcome}");
        let id = outcome.stdout.trim().to_owned();
        let root = reader.podman(["image", "mount", &id]).ok();
        for file in ["large", "small"] {
            let expected = fs::read(sandbox.path(format!("{name}/tree/{file}"))).expect("read");
            assert!(fs::read(format!("{root}/tree/{file}")).expect("read") == expected, "{name} {file}");
        }
        reader.podman(["image", "unmount", &id]).ok();
    }
}

#[test]
fn peers_zstd_chunked_is_zstd_to_everybody_else_and_made_once() {
    let registry = DockerRegistry::plain();
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    images(&sandbox);
    let push = |tag: &str| {
        let place = registry.image(tag);
        let outcome =
            sandbox.gabion(["push", INSECURE, "--compression-format=zstd:chunked", "localhost/one", &place]).run();
        assert!(outcome.status.success(), "{outcome}");
        (sandbox.skopeo(["inspect", "--raw", INSECURE, &place]).ok(), outcome.stderr)
    };
    let (first, _) = push("one:1");
    let (second, said) = push("one:2");
    assert_eq!(first, second);
    assert!(said.contains("skipped: already exists"), "{said}");
    // Read as a whole, and pushed on as it was received.
    let other = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    other.buildah(["pull", "-q", INSECURE, &registry.image("one:1")]).ok();
    let name = format!("{}/one:1", registry.address());
    other.gabion(["push", "-q", INSECURE, &name, &registry.image("one:3")]).ok();
    let third: Value = other.skopeo(["inspect", "--raw", INSECURE, &registry.image("one:3")]).json();
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(first["layers"], third["layers"], "with the annotations");

    let refused = ["push", "--compression-format=zstd:chunked", "--format=v2s2", "localhost/one"];
    sandbox.gabion(refused).arg(registry.image("one:4")).fails().says(125, &["zstd", "--format oci"]);
}
