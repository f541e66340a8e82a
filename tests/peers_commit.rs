//! What a commit and a push make of what is given to them beside the container: files of the host, the
//! host's defaults, and Buildah's name.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use test_support::{DockerRegistry, Sandbox, store_check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// The config of an image as it is stored.
fn config(sandbox: &Sandbox, image: &str) -> Value {
    let text = sandbox.gabion(["inspect", "--type", "image", "--format", "{{.Config}}", image]).ok();
    serde_json::from_str(&text).expect("JSON")
}

fn layers(config: &Value) -> usize {
    config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len)
}

#[test]
fn root_files_are_added_to_an_image_only() {
    let sandbox = sandbox();
    sandbox.gabion(["from", "--name", "work", "localhost/base"]).ok();
    sandbox.gabion(["run", "--network=none", "work", "sh", "-c", "mkdir -m 700 /own; chown 7 /own; echo x > /x"]).ok();
    sandbox.write("a[1]", "added");
    let outcome = sandbox.any("chmod").args(["751"]).arg(sandbox.path("a[1]")).run();
    assert!(outcome.status.success());
    let below = layers(&config(&sandbox, "localhost/base"));
    let look = "cat /own/sub/file /a\\[1] /x; stat -c '%n %a %u' /own /own/sub/file; stat -c %Y /own/sub/file";
    for (flags, added) in [(&[][..], 2), (&["--squash"], 1 - below)] {
        let words = ["commit", "-q", "--timestamp", "77", "--add-file", "a[1]:/own/sub/file", "--add-file", "a[1]"];
        sandbox.gabion(words).args(flags).args(["work", "localhost/added"]).in_dir(sandbox.dir()).ok();
        let seen = sandbox.podman_run(["localhost/added", "sh", "-c", look]).ok();
        assert_eq!(seen, "addedaddedx\n/own 700 7\n/own/sub/file 644 0\n77", "{flags:?}");
        let image = config(&sandbox, "localhost/added");
        assert_eq!(layers(&image), below.wrapping_add(added), "{flags:?}");
        let history = image["history"].as_array().expect("a list");
        let with_layers = history.iter().filter(|entry| entry["empty_layer"] != true).count();
        assert_eq!(with_layers, layers(&image), "{flags:?}");
    }
    // Not to the container.
    let absent = "test ! -e /own/sub && test ! -e '/a[1]'";
    sandbox.gabion(["run", "--network=none", "work", "sh", "-c", absent]).ok();
    sandbox
        .gabion(["commit", "-q", "--rm", "--add-file", "a[1]:b", "work", "localhost/gone"])
        .in_dir(sandbox.dir())
        .ok();
    assert_eq!(sandbox.podman_run(["localhost/gone", "cat", "/b", "/x"]).ok(), "addedx");
    assert_eq!(store_check::records(&sandbox.graph_root(), "containers"), Vec::<Value>::new());
    store_check::assert_records_sound(&sandbox);
    let skopeo = sandbox.skopeo(["inspect", &sandbox.storage("localhost/gone")]).run();
    assert!(skopeo.status.success(), "{skopeo}");
}

#[test]
fn peers_images_in_dockers_format_tell_of_their_container() {
    let sandbox = sandbox();
    let buildah = sandbox.path("bin/buildah");
    fs::create_dir(sandbox.path("bin")).expect("mkdir");
    symlink(env!("CARGO_BIN_EXE_gabion"), &buildah).expect("symlink");
    let ours = |args: &[&str]| sandbox.on_store(&buildah).args(args);
    let theirs = |args: &[&str]| sandbox.buildah(args.iter().copied());
    let make = |tool: &dyn Fn(&[&str]) -> test_support::Tool, name: &str, flags: &[&str]| {
        let container = tool(&["from", "--name", name, "localhost/base"]).ok();
        tool(&["config", "--cmd", "/x", "--env", "A=1", "--label", "l=1", &container]).ok();
        tool(&[&["commit", "-q", "--format", "docker"], flags, &[&container, name]].concat()).ok();
        let id = tool(&["inspect", "--format", "{{.ContainerID}}", &container]).ok();
        let mut config = config(&sandbox, name);
        // Debian's Buildah tells of the container even where times are given, the newest does not.
        if flags.is_empty() {
            assert_eq!(config["container"].as_str(), Some(id.as_str()));
        }
        let set_up = config["container_config"].take();
        let subset = |of: &Value| ["Env", "Cmd", "Labels", "WorkingDir"].map(|name| of[name].clone());
        assert_eq!(subset(&set_up), subset(&config["config"]), "{name}");
        let mut members: Vec<String> = config.as_object().expect("an object").keys().cloned().collect();
        // Buildah's newest leaves the parent out.
        members.retain(|name| name != "parent" && name != "container");
        members.sort();
        members
    };
    for (number, flags) in [&[][..], &["--timestamp", "9"]].iter().enumerate() {
        let (own, other) = (format!("ours{number}"), format!("theirs{number}"));
        assert_eq!(make(&ours, &own, flags), make(&theirs, &other, flags), "{flags:?}");
    }
    assert!(config(&sandbox, "ours1").get("container").is_none());
    // Under its own name, and in the other format, gabion tells nothing of it.
    sandbox.gabion(["commit", "-q", "--format", "docker", "ours0", "plain"]).ok();
    ours(&["commit", "-q", "--format", "oci", "ours0", "oci"]).ok();
    for image in ["plain", "oci"] {
        let config = config(&sandbox, image);
        assert!(config.get("container").is_none() && config.get("container_config").is_none(), "{config}");
    }
    sandbox.write("context/Dockerfile", "FROM localhost/base\nRUN true\n");
    let context = sandbox.path("context");
    let context = context.to_str().expect("text");
    ours(&["bud", "-q", "--network=host", "--format", "docker", "-t", "built", context]).ok();
    let built = config(&sandbox, "built");
    assert_eq!(built["container"].as_str().map(str::len), Some(64), "{built}");
    assert_eq!(built["container_config"]["Env"], built["config"]["Env"]);
}

/// What there is to tell of an image.
const CONFIGURED: &[&str] = &[
    "--cmd=/x y",
    "--entrypoint=[\"/e\"]",
    "--env=A=1",
    "--port=80",
    "--volume=/v",
    "--user=u",
    "--workingdir=/w",
    "--author=me",
    "--stop-signal=TERM",
    "--shell=/bin/sh -c",
    "--comment=c",
    "--domainname=d",
    "--healthcheck=CMD true",
    "--healthcheck-interval=90s",
    "--onbuild=RUN x",
    "--annotation=a=b",
];

#[test]
fn peers_configs_have_the_members_that_buildah_gives_them() {
    let sandbox = sandbox();
    let buildah = sandbox.path("buildah");
    symlink(env!("CARGO_BIN_EXE_gabion"), &buildah).expect("symlink");
    let ours = |args: &[&str]| sandbox.on_store(&buildah).args(args);
    let theirs = |args: &[&str]| sandbox.buildah(args.iter().copied());
    for (format, base) in
        [("oci", "scratch"), ("docker", "scratch"), ("oci", "first"), ("docker", "theirs-docker-scratch")]
    {
        for flags in [&[][..], CONFIGURED] {
            let mut written = Vec::new();
            for (who, tool) in [("ours", &ours as &dyn Fn(&[&str]) -> test_support::Tool), ("theirs", &theirs)] {
                let image = if flags.is_empty() { format!("{who}-{format}-{base}") } else { "configured".to_owned() };
                tool(&["from", "--pull-never", "--format", format, "--name", "c", base]).ok();
                if !flags.is_empty() {
                    tool(&[&["config"], flags, &["c"]].concat()).ok();
                }
                tool(&["commit", "-q", "--format", format, "--timestamp", "7", "c", &image]).ok();
                for kind in ["container", "image"] {
                    let name = if kind == "image" { &image } else { "c" };
                    let look = |tool: &dyn Fn(&[&str]) -> test_support::Tool| {
                        let mut value = tool(&["inspect", "--type", kind, name]).json();
                        // Where none is given, Buildah makes one up whenever it looks.
                        for config in ["config", "container_config"] {
                            value["Docker"][config]["Hostname"].take();
                        }
                        value
                    };
                    assert_eq!(look(&ours), look(&theirs), "{kind} of {who}, {format} over {base}, {flags:?}");
                }
                let mut config = config(&sandbox, &image);
                for member in ["container", "parent"] {
                    config.as_object_mut().expect("an object").shift_remove(member);
                }
                // Debian's Buildah labels images in any case, and the host name is the container's ID.
                for run in
                    ["config", "container_config"].iter().filter(|name| config.get(name).is_some()).collect::<Vec<_>>()
                {
                    for member in ["Hostname", "Labels"] {
                        let members = config[*run].as_object_mut().expect("an object");
                        assert!(members.shift_remove(member).is_some() || format == "oci", "{member}");
                    }
                }
                written.push(config.to_string());
                tool(&["rm", "c"]).ok();
            }
            // Their order, too.
            assert_eq!(written[0], written[1], "{format} over {base}, {flags:?}");
        }
        if base == "scratch" {
            ours(&["tag", &format!("theirs-{format}-scratch"), "first"]).ok();
        }
    }
}

#[test]
fn root_the_hosts_compression_counts_without_a_flag() {
    let sandbox = sandbox();
    let types = |format: &str, flags: &[&str], name: &str| {
        let conf = sandbox.write("containers.conf", format!("[engine]\ncompression_format = \"{format}\"\n"));
        let to = format!("oci:{}", sandbox.path(name).display());
        let words = [&["push", "-q"], flags, &["localhost/base", &to]].concat();
        let outcome = sandbox.gabion(words).env("CONTAINERS_CONF", &conf).run();
        if !outcome.status.success() {
            return outcome.stderr;
        }
        let index: Value =
            serde_json::from_slice(&fs::read(sandbox.path(name).join("index.json")).expect("read")).expect("JSON");
        let digest = index["manifests"][0]["digest"].as_str().expect("a digest").replace(':', "/");
        let manifest = fs::read_to_string(sandbox.path(name).join("blobs").join(digest)).expect("read");
        ["gzip", "zstd"].into_iter().filter(|kind| manifest.contains(&format!("tar+{kind}"))).collect()
    };
    assert_eq!(types("zstd", &[], "a"), "zstd");
    assert_eq!(types("zstd:chunked", &[], "b"), "zstd");
    assert_eq!(types("gzip", &[], "c"), "gzip");
    assert_eq!(types("zstd", &["--compression-format=gzip"], "d"), "gzip");
    assert_eq!(types("zstd", &["--disable-compression"], "e"), "");
    let refused = types("lzma", &[], "f");
    assert!(refused.contains("compression_format \"lzma\": expected gzip, zstd or zstd:chunked"), "{refused}");
}

#[test]
fn peers_registries_that_build_systems_call_insecure_are_reached() {
    let sandbox = sandbox();
    let registry = DockerRegistry::plain();
    let address = registry.address();
    let place = format!("docker://{address}/app:1");
    let sources = |host: &str| format!("{{\"insecureRegistries\": [\"{host}\"]}}");
    let push = |host: &str| {
        sandbox
            .gabion(["push", "-q", "--retry=0", "localhost/base", &place])
            .env("BUILD_REGISTRY_SOURCES", sources(host))
    };
    push("other.example.com").fails();
    push(address).ok();
    let pull = sandbox.gabion(["pull", "-q", "--retry=0", &place]).env("BUILD_REGISTRY_SOURCES", sources(address));
    assert_eq!(pull.ok().len(), 64);
    // What the command line says counts more.
    let strict = sandbox.gabion(["push", "-q", "--retry=0", "--tls-verify=true", "localhost/base", &place]);
    strict.env("BUILD_REGISTRY_SOURCES", sources(address)).fails();
}
