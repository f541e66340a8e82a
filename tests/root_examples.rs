//! The examples of real shapes of Dockerfiles, built as their READMEs say on base images made on the spot, and run.
#![allow(clippy::expect_used, reason = "tests")]

use std::path::Path;

use serde_json::json;
use test_support::validate::{Image, dir_image};
use test_support::{Sandbox, store_check};

/// A sandbox with the base images of `example`, and the example's directory.
fn sandbox(example: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let script = sandbox.any(examples.join("local-images")).env("GABION", env!("CARGO_BIN_EXE_gabion"));
    script.arg(example).ok();
    (sandbox, examples.join(example).to_str().expect("UTF-8").to_owned())
}

/// Builds without a network; gives what was printed.
#[track_caller]
fn build(sandbox: &Sandbox, directory: &str, args: &[&str]) -> String {
    let outcome = sandbox.gabion(["build", "--network=none", "-t", "app"]).args(args).arg(directory).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.stdout + &outcome.stderr
}

fn taken_out(sandbox: &Sandbox, to: &str) -> Image {
    let dir = sandbox.path(to);
    sandbox.skopeo(["copy", "-q", &sandbox.storage("localhost/app"), &format!("dir:{}", dir.display())]).ok();
    dir_image(dir)
}

#[test]
fn root_go_service() {
    let (sandbox, directory) = sandbox("go-service");
    let go_image = "--build-arg=GO_IMAGE=localhost/golang";
    let printed = build(&sandbox, &directory, &[go_image, "--build-arg=VERSION=1.0"]);
    assert!(printed.contains("go: downloading modules") && printed.contains("go: compiling"), "{printed}");
    assert_eq!(sandbox.podman_run(["localhost/app"]).ok(), "greeter 1.0, user 10001, trusts some authorities: true");
    let image = taken_out(&sandbox, "out");
    let files = image.files();
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = ["etc", "etc/passwd", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", "greeter"];
    assert_eq!(paths, expected);
    assert_eq!(files["greeter"].file.mode, 0o555);
    let config = &image.config["config"];
    assert_eq!((&config["User"], &config["Entrypoint"]), (&json!("greeter"), &json!(["/greeter"])));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], "1.0");
    // Another version: the caches of modules and of packages are there.
    let printed = build(&sandbox, &directory, &[go_image, "--no-cache", "--build-arg=VERSION=2.0"]);
    assert!(printed.contains("are in the cache") && printed.contains("compiled"), "{printed}");
    assert_eq!(sandbox.podman_run(["localhost/app"]).ok(), "greeter 2.0, user 10001, trusts some authorities: true");
    store_check::assert_records_sound(&sandbox);
}

#[test]
fn root_node_app() {
    let (sandbox, directory) = sandbox("node-app");
    let token = "npm_a-token-that-stays-out";
    let secret = sandbox.write("npmrc", format!("//registry.npmjs.org/:_authToken={token}\n"));
    let secret = format!("--secret=id=npmrc,src={}", secret.display());
    let node_image = "--build-arg=NODE_IMAGE=localhost/node";
    let printed = build(&sandbox, &directory, &[node_image, &secret]);
    assert!(printed.contains("npm: downloading ms 2.1.3") && !printed.contains(token), "{printed}");
    assert!(printed.contains("npm: ms 2.1.3 is in the cache"), "{printed}");
    assert_eq!(sandbox.podman_run(["localhost/app"]).ok(), "the app is up");
    let image = taken_out(&sandbox, "out");
    let files = image.files();
    for path in ["app/dist/server.js", "app/node_modules/ms/index.js", "app/package.json"] {
        assert!(files.contains_key(path), "{path} of {:?}", files.keys());
    }
    for path in ["app/node_modules/semver", "app/src", "root/.npmrc", "root/.npm"] {
        assert!(!files.contains_key(path), "{path}");
    }
    let config = &image.config["config"];
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("app"), &json!("/app")));
    assert_eq!((&config["Cmd"], &config["StopSignal"]), (&json!(["node", "dist/server.js"]), &json!("SIGINT")));
    // The token is nowhere in the store: not in a layer, a config or a cache.
    let found = sandbox.any("grep").args(["-rlF", token]).arg(sandbox.graph_root()).run();
    assert_eq!(found.stdout, "", "files with the token");
    // Without it, the registry says no.
    let outcome = sandbox.gabion(["build", "--no-cache", "--network=none", node_image]).arg(&directory).fails();
    assert!(outcome.stderr.contains("Dockerfile:"), "{outcome}");
}

#[test]
fn root_python_app() {
    let (sandbox, directory) = sandbox("python-app");
    let python_image = "--build-arg=PYTHON_IMAGE=localhost/python";
    let printed = build(&sandbox, &directory, &[python_image, "--build-arg=GREETING=Hi"]);
    assert!(printed.contains("pip: downloading six 1.17.0"), "{printed}");
    let ran = sandbox.podman_run(["localhost/app", "every", "body"]).ok();
    assert_eq!(ran, "Hi, every body!\nuser 10003 six 1.17.0 built with Python 3");
    assert!(sandbox.podman_run(["localhost/app"]).ok().starts_with("Hi, world!\n"));
    let image = taken_out(&sandbox, "out");
    let files = image.files();
    assert_eq!(files["etc/app/settings.conf"].file.start, b"greeting=Hi\nhome=$HOME\n");
    assert_eq!(files["app/app/__main__.py"].file.owner, (10003, 10003));
    assert!(!files.contains_key("app/Dockerfile") && !files.contains_key("root/.cache/pip/six-1.17.0"));
    assert_eq!(image.config["config"]["Volumes"], json!({"/var/lib/app": {}}));
    let printed = build(&sandbox, &directory, &[python_image, "--no-cache"]);
    assert!(printed.contains("pip: using cached six 1.17.0"), "{printed}");
}
