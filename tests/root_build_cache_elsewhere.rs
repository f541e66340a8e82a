//! Caches outside of the store: what one store's build wrote, another store's build takes.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use test_support::Machine;
use test_support::registry::{self, DockerRegistry};
use test_support::store_check::assert_sound;
use test_support::validate::sha256;

const INSECURE: &str = "--tls-verify=false";

/// Four steps with files and one without, in three stages.
const STAGES: &str = "FROM localhost/base AS tools\nRUN echo tool > /tool\nRUN echo more > /more\n\
    FROM localhost/base AS below\nRUN echo below > /below\nWORKDIR /tmp\n\
    FROM below\nENV E=1\nCOPY --from=tools /tool /tool\nCOPY --link dir /l/\nRUN cat /tool /l/b > /end\nCMD [\"x\"]\n";

fn machine() -> Machine {
    Machine::new(env!("CARGO_BIN_EXE_gabion"))
}

/// An OCI layout that was written as a cache.
struct Layout(PathBuf);

impl Layout {
    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    fn read(&self, digest: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob(digest.as_str().expect("a digest"))).expect("read")).expect("JSON")
    }

    fn manifest(&self) -> Value {
        let index: Value = serde_json::from_slice(&fs::read(self.0.join("index.json")).expect("read")).expect("JSON");
        self.read(&index["manifests"][0]["digest"])
    }

    fn config(&self) -> Value {
        self.read(&self.manifest()["config"]["digest"])
    }

    fn write(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.blob(&digest), bytes).expect("written");
        json!({ "digest": digest, "size": bytes.len() })
    }

    /// Puts another config in the place of the cache's.
    fn set_config(&self, config: &[u8]) {
        let mut manifest = self.manifest();
        let written = self.write(config);
        manifest["config"]["digest"] = written["digest"].clone();
        manifest["config"]["size"] = written["size"].clone();
        let written = self.write(manifest.to_string().as_bytes());
        let index = self.0.join("index.json");
        let mut json: Value = serde_json::from_slice(&fs::read(&index).expect("read")).expect("JSON");
        json["manifests"][0]["digest"] = written["digest"].clone();
        json["manifests"][0]["size"] = written["size"].clone();
        fs::write(index, json.to_string()).expect("written");
    }
}

fn layout(machine: &Machine, name: &str) -> (Layout, String, String) {
    let dir = machine.sandbox.path(name);
    let (to, from) = (format!("type=local,dest={}", dir.display()), format!("type=local,src={}", dir.display()));
    (Layout(dir), to, from)
}

#[test]
fn root_another_store_takes_every_step() {
    let registry = DockerRegistry::plain();
    let at = |name: &str| format!("{}/{name}", registry.address());
    let one = machine();
    let (cache, to_layout, from_layout) = layout(&one, "cache");
    let (to_ref, from_ref) = (format!("type=registry,ref={},mode=max", at("cache:x")), at("cache:x"));
    let (to_layout, to_repository) = (format!("{to_layout},mode=max,compression=zstd"), at("repository"));
    let to = [&to_ref, &to_layout, &to_repository].map(|to| format!("--cache-to={to}"));
    let first = one.build_with(STAGES, &[INSECURE, "--timestamp=1", &to[0], &to[1], &to[2]]);
    assert_eq!((first.done().len(), first.warnings.len()), (7, 0), "{}", first.outcome);
    assert_eq!(cache.config()["io.gabion.cache.v1"].as_array().expect("steps").len(), 7);
    assert_eq!(cache.config()["rootfs"]["diff_ids"].as_array().expect("layers").len(), 6);
    assert!(cache.manifest()["layers"][0]["mediaType"].as_str().expect("a type").ends_with("+zstd"));
    for from in [&format!("type=registry,ref={from_ref}"), &from_layout, &to_repository] {
        let two = machine();
        let second = two.build_with(STAGES, &[INSECURE, "--timestamp=1", &format!("--cache-from={from}")]);
        assert_eq!((second.done(), second.warnings.len()), (vec![], 0), "{from}: {}", second.outcome);
        assert_eq!((second.blobs.len(), &second.id), (6, &first.id), "{from}");
        assert!(second.steps.iter().filter(|(text, _)| !text.starts_with("FROM")).all(|(_, cached)| *cached));
        // It is the store's own now.
        let third = two.build_with(STAGES, &["--timestamp=1"]);
        assert_eq!((third.done(), &third.id), (vec![], &first.id), "{from}: {}", third.outcome);
        assert_sound(&two.sandbox);
        // Of the image there is nothing that a build without a cache has not.
        let fresh = two.build_with(STAGES, &["--no-cache", "--timestamp=1"]);
        assert_eq!(two.files(&second.id), two.files(&fresh.id), "{from}");
    }
}

#[test]
fn root_only_layers_of_hits_are_fetched() {
    let registry = DockerRegistry::plain();
    let reference = format!("{}/cache:x", registry.address());
    let (to, from) = (format!("--cache-to=type=registry,ref={reference}"), format!("type=registry,ref={reference}"));
    let from = format!("--cache-from={from}");
    let file = |second: &str| {
        format!(
            "FROM localhost/base\nRUN echo 1 > /1\nRUN {second}\nRUN cat /2 > /3\nCOPY --link dir /l\nRUN cat /l/b /3 > /4\n"
        )
    };
    let one = machine();
    let first = one.build_with(&file("echo 2 > /2"), &[INSECURE, &to]);
    let raw = one.sandbox.skopeo(["inspect", "--raw", INSECURE, &format!("docker://{reference}")]).json();
    let blobs: Vec<&str> =
        raw["layers"].as_array().expect("layers").iter().filter_map(|l| l["digest"].as_str()).collect();
    assert_eq!(blobs.len(), 5, "{}", first.outcome);
    // Those of the second, third and last step are of no use: nobody asks for them.
    for index in [1, 2, 4] {
        fs::remove_file(registry.blob(blobs[index])).expect("removed");
    }
    let two = machine();
    let changed = two.build_with(&file("echo changed > /2"), &[INSECURE, &from]);
    assert_eq!(changed.done(), ["RUN echo changed > /2", "RUN cat /2 > /3", "RUN cat /l/b /3 > /4"]);
    assert_eq!((changed.blobs.as_slice(), changed.warnings.len()), (&[blobs[0], blobs[3]].map(str::to_owned)[..], 0));
    let fresh = two.build_with(&file("echo changed > /2"), &["--no-cache"]);
    assert_eq!(two.files(&changed.id), two.files(&fresh.id));
    // What gives the same files again has hits after it, and what is missing there is done.
    let three = machine();
    let same = three.build_with(&file("echo  2 > /2"), &[INSECURE, &from]);
    assert_eq!(same.done(), ["RUN echo  2 > /2", "RUN cat /2 > /3", "RUN cat /l/b /3 > /4"]);
    assert_eq!(same.warnings.len(), 2, "{}", same.outcome);
    assert!(same.warnings.iter().all(|warning| warning.contains(&reference)), "{}", same.outcome);
    assert_sound(&three.sandbox);
}

#[test]
fn root_a_cache_has_the_steps_of_the_result_or_of_all_stages() {
    let one = machine();
    let (min, to_min, from_min) = layout(&one, "min");
    let (max, to_max, _) = layout(&one, "max");
    one.build_with(STAGES, &[&format!("--cache-to={to_min}"), &format!("--cache-to={to_max},mode=max")]);
    let texts = |layout: &Layout| {
        let config = layout.config();
        let steps = config["io.gabion.cache.v1"].as_array().expect("steps").clone();
        let layers = config["rootfs"]["diff_ids"].as_array().expect("layers").len();
        let texts = steps.iter().map(|step| step["createdBy"].as_str().expect("a text").to_owned());
        (layers, texts.collect::<Vec<_>>())
    };
    let (layers, steps) = texts(&min);
    assert_eq!((layers, steps.len()), (4, 5), "{steps:?}");
    assert!(!steps.iter().any(|text| text.contains("/more") || text.contains("echo tool")), "{steps:?}");
    let (layers, steps) = texts(&max);
    assert_eq!((layers, steps.len()), (6, 7), "{steps:?}");
    // The other stage is done again; what it gives is the same, and so are the steps that use it.
    let two = machine();
    let second = two.build_with(STAGES, &[&format!("--cache-from={from_min}")]);
    assert_eq!(second.done(), ["RUN echo tool > /tool", "RUN echo more > /more"], "{}", second.outcome);
    assert_eq!(second.blobs.len(), 4);
    // A build that has all of it from the store writes the same cache.
    let (again, to_again, _) = layout(&one, "again");
    one.build_with(STAGES, &[&format!("--cache-to={to_again}")]);
    assert_eq!(again.manifest(), min.manifest());
}

#[test]
fn root_an_image_is_its_own_cache() {
    let registry = DockerRegistry::plain();
    let image = format!("{}/app:1", registry.address());
    let one = machine();
    let args = [INSECURE, "--timestamp=1", "--cache-to=type=inline"];
    let first = one.build_with(STAGES, &[&args[..], &["-t", &format!("docker://{image}")]].concat());
    assert_eq!(first.warnings.len(), 0, "{}", first.outcome);
    let two = machine();
    let from = format!("--cache-from=type=registry,ref={image}");
    let second = two.build_with(STAGES, &[&args[..], &[&from]].concat());
    assert_eq!(second.done(), ["RUN echo tool > /tool", "RUN echo more > /more"], "{}", second.outcome);
    assert_eq!((second.blobs.len(), &second.id), (4, &first.id));
    // Unless it is asked for, an image says nothing of its steps, nor of those of its base.
    one.sandbox
        .write("registries.conf", format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address()));
    let over = one.build_with(&format!("FROM {image}\nRUN echo over > /over\n"), &[]);
    let config = |id: &str| {
        let image = one.sandbox.storage(&format!("@{id}"));
        one.sandbox.skopeo(["inspect", "--config", "--raw", &image]).json()
    };
    assert_eq!(config(&first.id)["io.gabion.cache.v1"].as_array().expect("steps").len(), 5);
    assert_eq!(config(&over.id)["io.gabion.cache.v1"], Value::Null);
    assert_eq!(config(&over.id)["rootfs"]["diff_ids"].as_array().expect("layers").len(), 6);
}

/// Changes the config of a cache.
fn changed(change: impl Fn(&mut Value)) -> impl Fn(&Layout) {
    move |cache| {
        let mut config = cache.config();
        change(&mut config);
        cache.set_config(config.to_string().as_bytes());
    }
}

#[test]
fn root_what_is_wrong_with_a_cache_is_a_warning() {
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\nRUN echo 2 > /2\n";
    let one = machine();
    let fresh = one.build_with(dockerfile, &["--no-cache"]);
    let files = one.files(&fresh.id);
    let wrong = |what: &str, spoil: &dyn Fn(&Layout), warnings: &[&[&str]], hits: usize| {
        let (cache, to, from) = layout(&one, what);
        one.build_with(dockerfile, &[&format!("--cache-to={to}")]);
        spoil(&cache);
        let two = machine();
        let built = two.build_with(dockerfile, &[&format!("--cache-from={from}")]);
        assert_eq!(built.warnings.len(), warnings.len(), "{what}: {}", built.outcome);
        for (warning, words) in built.warnings.iter().zip(warnings) {
            assert!(words.iter().all(|word| warning.contains(word)), "{what}: {words:?} in {warning}");
            assert!(warning.contains(what) && !warning.contains('\n'), "{what}: {warning}");
        }
        assert_eq!(built.done().len(), 2 - hits, "{what}: {}", built.outcome);
        assert_eq!(two.files(&built.id), files, "{what}");
        assert_sound(&two.sandbox);
        // Nothing of it stays.
        let again = two.build_with(dockerfile, &["--no-cache"]);
        assert_eq!(two.files(&again.id), files, "{what}");
    };
    let blob = |cache: &Layout, index: usize| {
        let digest = cache.manifest()["layers"][index]["digest"].clone();
        cache.blob(digest.as_str().expect("a digest"))
    };
    wrong("whole", &|_| {}, &[], 2);
    wrong("no-blob", &|cache| fs::remove_file(blob(cache, 0)).expect("removed"), &[&["cannot read"]], 1);
    wrong("bad-blob", &|cache| fs::write(blob(cache, 1), "x").expect("written"), &[&["shorter than"]], 1);
    wrong("no-manifest", &|cache| fs::remove_dir_all(cache.0.join("blobs")).expect("removed"), &[&["cannot read"]], 0);
    wrong("no-index", &|cache| fs::write(cache.0.join("index.json"), "[").expect("written"), &[&["index.json"]], 0);
    wrong("no-json", &|cache| cache.set_config(b"{"), &[&["invalid image config"]], 0);
    wrong("huge", &|cache| cache.set_config(&vec![b' '; 5 << 20]), &[&["longer than"]], 0);
    let swap = |config: &mut Value| {
        let ids = config["rootfs"]["diff_ids"].as_array_mut().expect("layers");
        ids.swap(0, 1);
    };
    wrong("wrong-diff-id", &changed(swap), &[&["unpacks to"], &["unpacks to"]], 0);
    wrong(
        "no-steps",
        &changed(|config| _ = config.as_object_mut().expect("an object").remove("io.gabion.cache.v1")),
        &[&["says nothing of steps"]],
        0,
    );
    wrong(
        "no-key",
        &changed(|config| config["io.gabion.cache.v1"][0]["keys"][0] = json!("../../../../etc/passwd")),
        &[&["its step 0", "64 hexadecimal"]],
        0,
    );
    wrong(
        "no-layer",
        &changed(|config| config["io.gabion.cache.v1"][1]["layer"] = json!(7)),
        &[&["its step 1", "no layer 7"]],
        0,
    );
    wrong("no-list", &changed(|config| config["io.gabion.cache.v1"] = json!("x")), &[&["no list"]], 0);
    wrong("too-many-layers", &changed(|config| config["rootfs"]["diff_ids"] = json!([])), &[&["2 layers"]], 0);
}

#[test]
fn root_a_cache_that_cannot_be_written_is_a_warning_unless_it_must_be() {
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\n";
    let nowhere = "type=registry,ref=127.0.0.1:1/cache";
    let one = machine();
    let built =
        one.build_with(dockerfile, &[INSECURE, &format!("--cache-to={nowhere}"), &format!("--cache-from={nowhere}")]);
    let expected = [
        "the cache docker://127.0.0.1:1/cache:latest is not used: ",
        "the cache is not written to docker://127.0.0.1:1/cache:latest: ",
    ];
    assert_eq!(built.warnings.len(), 2, "{}", built.outcome);
    assert!(built.warnings.iter().zip(expected).all(|(warning, text)| warning.starts_with(text)), "{}", built.outcome);
    let outcome =
        one.tool(dockerfile, &[INSECURE, &format!("--cache-to={nowhere},ignore-error=false"), "-t", "must"]).fails();
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr.contains("the cache is not written to docker://127.0.0.1:1/cache:latest: "), "{outcome}");
    // The image is there.
    assert_eq!(one.sandbox.gabion(["images", "-q", "--no-trunc", "must"]).ok(), format!("sha256:{}", built.id));
    // A file is in the way.
    let file = one.sandbox.write("file", "");
    let built = one.build_with(dockerfile, &[&format!("--cache-to=type=local,dest={}", file.display())]);
    built.warned(&["is not written to oci:"]);
    // No cache is there yet, which is no reason to warn.
    let (_, _, from) = layout(&one, "none");
    assert_eq!(one.build_with(dockerfile, &["--no-cache", &format!("--cache-from={from}")]).warnings.len(), 0);
    let registry = DockerRegistry::plain();
    let two = machine();
    let built = two.build_with(dockerfile, &[INSECURE, &format!("--cache-from={}/none", registry.address())]);
    assert_eq!(built.warnings.len(), 0, "{}", built.outcome);
}

#[test]
fn root_caches_are_reached_as_images_are() {
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\n";
    let closed = DockerRegistry::with_password();
    let tls = DockerRegistry::with_tls();
    let creds = format!("--creds={}:{}", registry::USER, registry::PASSWORD);
    let certificates = format!("--cert-dir={}", tls.ca_dir().display());
    for (address, flags) in
        [(closed.address(), [INSECURE, &creds]), (tls.address(), ["--tls-verify=true", &certificates])]
    {
        let (to, from) = (format!("--cache-to={address}/c"), format!("--cache-from={address}/c"));
        let one = machine();
        assert_eq!(one.build_with(dockerfile, &[&flags[..], &[&to]].concat()).warnings.len(), 0);
        let two = machine();
        two.build_with(dockerfile, &[&flags[..1], &["--no-cache", &to]].concat()).warned(&["is not written", address]);
        let third = machine();
        let denied = third.build_with(dockerfile, &[flags[0], &from]);
        denied.warned(&["is not used", address]);
        assert_eq!(denied.done().len(), 1);
        let fourth = machine();
        let taken = fourth.build_with(dockerfile, &[&flags[..], &[&from]].concat());
        assert_eq!((taken.done().len(), taken.warnings.len()), (0, 0), "{}", taken.outcome);
    }
}

#[test]
fn root_caches_follow_the_other_flags() {
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\n";
    let one = machine();
    let (_, to, from) = layout(&one, "cache");
    let (to, from) = (format!("--cache-to={to}"), format!("--cache-from={from}"));
    one.build_with(dockerfile, &[&to]);
    let (_, _, other) = layout(&one, "other");
    let other = format!("--cache-from={other}");
    for (args, done, warnings) in [
        (&[&*from][..], 0, 0),
        (&[&*other, &*from], 0, 0),
        (&[&*from, "--no-cache"], 1, 0),
        (&[&*from, "--cache-ttl=1ns"], 1, 0),
        (&[&*from, "--cache-ttl=1h"], 0, 0),
        (&[&*from, "--layers=false"], 1, 1),
        (&[&*from, "--timestamp=7"], 1, 0),
    ] {
        let two = machine();
        let built = two.build_with(dockerfile, args);
        assert_eq!((built.done().len(), built.warnings.len()), (done, warnings), "{args:?}: {}", built.outcome);
    }
    one.build_with(dockerfile, &["--squash", &to]).warned(&["no cache is written"]);
    // The signature policy holds for caches.
    let two = machine();
    two.sandbox.write("policy.json", r#"{"default": [{"type": "reject"}]}"#);
    let policy = format!("--signature-policy={}", two.sandbox.path("policy.json").display());
    two.build_with(dockerfile, &[&from, &policy]).warned(&["is not used", "is rejected by policy"]);
    for (flag, words) in [
        ("--cache-to=type=s3,bucket=x", "unknown type \"s3\""),
        ("--cache-to=type=registry,ref=x,scope=y", "scope= is not supported here"),
        ("--cache-from=type=inline", "type=registry,ref=IMAGE"),
        ("--cache-from=quay.io/x:1", "a repository without a tag"),
    ] {
        one.sandbox.gabion(["build", flag]).arg(one.sandbox.path("context")).fails().says(125, &[words]);
    }
}

#[test]
fn root_layers_are_sent_while_later_steps_run() {
    let registry = DockerRegistry::plain();
    let unsent = registry.blob(&format!("sha256:{}", "0".repeat(64)));
    let kept = unsent.ancestors().find(|dir| dir.is_dir()).expect("where the registry keeps its files");
    // The second step ends when the first one's layer is on the registry.
    let wait = "until find /registry -name data -size +2000k | grep -q .; do :; done";
    let file = format!(
        "FROM localhost/base\nRUN head -c 3000000 /dev/urandom > /big\nRUN timeout 200 sh -c '{wait}'\nRUN echo 1 > /1\n"
    );
    let volume = format!("--volume={}:/registry", kept.display());
    let reference = format!("{}/cache:x", registry.address());
    let one = machine();
    let first = one.build_with(&file, &[INSECURE, &volume, &format!("--cache-to=type=registry,ref={reference}")]);
    assert_eq!((first.done().len(), first.warnings.len()), (3, 0), "{}", first.outcome);
    // What was published for it stays only as part of the result.
    assert_eq!(one.sandbox.gabion(["images", "-q", "--no-trunc"]).ok().lines().count(), 2);
    assert_sound(&one.sandbox);
    let two = machine();
    let from = format!("--cache-from=type=registry,ref={reference}");
    let second = two.build_with(&file, &[INSECURE, &volume, &from]);
    assert_eq!((second.done(), second.warnings.len()), (vec![], 0), "{}", second.outcome);
    // A failed build writes no cache, whatever it has sent.
    let failing = format!("FROM localhost/base\nRUN head -c 3000000 /dev/urandom > /big\nRUN {wait}; exit 3\n");
    let other = format!("--cache-to=type=registry,ref={}/cache:failed", registry.address());
    assert_eq!(one.tool(&failing, &[INSECURE, &volume, &other]).fails().code(), Some(3));
    let tags = one.sandbox.skopeo(["list-tags", INSECURE, &format!("docker://{}/cache", registry.address())]).json();
    assert_eq!(tags["Tags"], json!(["x"]));
    assert_sound(&one.sandbox);
}
