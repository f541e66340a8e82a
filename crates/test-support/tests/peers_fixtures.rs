//! The fixtures themselves, with the peers alone: what fails here is the machine's or the
//! fixture's fault, not gabion's.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::{DockerRegistry, Sandbox, registry, validate};

#[test]
fn peers_share_a_sandbox() {
    let sandbox = Sandbox::new("/nonexistent/gabion");
    sandbox.import_base();
    assert_eq!(sandbox.podman(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok(), "localhost/base:latest");
    assert_eq!(sandbox.podman_run(["localhost/base", "echo", "hello"]).ok(), "hello");
    let container = sandbox.buildah(["from", "localhost/base"]).ok();
    assert_eq!(sandbox.buildah(["run", &container, "cat"]).stdin("in").ok(), "in");
    sandbox.buildah(["mount", &container]).ok();
    sandbox.buildah(["commit", "-q", &container, "localhost/new"]).ok();
    let layout = sandbox.path("layout");
    sandbox.skopeo(["copy", "-q", &sandbox.storage("localhost/new"), &format!("oci:{}", layout.display())]).ok();
    validate::oci_layout(&layout, "");
}

#[test]
fn peers_use_the_registries() {
    let sandbox = Sandbox::new("/nonexistent/gabion");
    let base = format!("oci:{}:latest", test_support::base_image::layout().display());
    let plain = DockerRegistry::plain();
    sandbox.skopeo(["copy", "-q", "--dest-tls-verify=false", &base, &plain.image("base")]).ok();

    let password = DockerRegistry::with_password();
    let copy = ["copy", "-q", "--dest-tls-verify=false", &base, &password.image("base")];
    assert!(sandbox.skopeo(copy).fails().stderr.contains("authentication required"));
    let credentials = format!("--dest-creds={}:{}", registry::USER, registry::PASSWORD);
    sandbox.skopeo(copy).arg(credentials).ok();

    let tls = DockerRegistry::with_tls();
    let copy = ["copy", "-q", &base, &tls.image("base")];
    assert!(sandbox.skopeo(copy).fails().stderr.contains("certificate"));
    sandbox.skopeo(copy).arg("--dest-cert-dir").arg(tls.ca_dir()).ok();
}
