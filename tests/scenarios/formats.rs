//! What is hard to carry in a layer, in both formats: build → push → pull → run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use test_support::store_check::assert_sound;
use test_support::{DockerRegistry, Sandbox, Tool, tree};

/// Whiteouts, opaque directories, hardlinks, capabilities, sparse files, devices, FIFOs, owners and
/// odd names survive build → push → pull → run, as OCI and as Docker; `other` is a second machine.
pub fn what_is_hard_survives(sandbox: &Sandbox, other: &Sandbox) {
    let registry = DockerRegistry::plain();
    for format in ["oci", "docker"] {
        build(sandbox, format);
        let remote = registry.image(&format!("hard:{format}"));
        sandbox.gabion(["push", "-q", "--tls-verify=false", "localhost/hard", &remote]).ok();
        let inspected = sandbox.skopeo(["inspect", "--tls-verify=false", &remote]).json();
        assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(3), "{inspected}");
        let raw = sandbox.skopeo(["inspect", "--raw", "--tls-verify=false", &remote]).json();
        let media_type = if format == "oci" {
            "application/vnd.oci.image.manifest.v1+json"
        } else {
            "application/vnd.docker.distribution.manifest.v2+json"
        };
        assert_eq!(raw["mediaType"], media_type, "{raw}");

        other.gabion(["pull", "-q", "--tls-verify=false", &remote]).ok();
        let name = remote.replace("docker://", "");
        let container = other.gabion(["from", "--pull=never", &name]).ok();
        let root = other.gabion(["mount", &container]).ok();
        check(Path::new(&root), format);
        other.gabion(["umount", &container]).ok();
        other
            .gabion(["run", &container, "--", "sh", "-c", "test ! -e /home && test ! -e /srv/old && test -p /srv/fifo"])
            .ok();
        other.gabion(["rm", &container]).ok();
        assert_eq!(other.podman_run([&name, "sh", "-c", "ls /srv/opaque; stat -c %h /srv/two"]).ok(), "new\n2");
        other.gabion(["rmi", &name]).ok();
    }
    assert_sound(sandbox);
    assert_sound(other);
}

/// Two layers on the base; the second takes away from the first.
fn build(sandbox: &Sandbox, format: &str) {
    let container = sandbox.gabion(["from", "--pull=never", "localhost/base"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    tree! { "srv/old" => "old", "srv/opaque/old" => "old", "srv/opaque/dir/old" => "old" }.write_to(&root);
    sandbox.gabion(["umount", &container]).ok();
    sandbox.gabion(["commit", "-q", "--rm", "--format", format, &container, "localhost/first"]).ok();

    let container = sandbox.gabion(["from", "--pull=never", "localhost/first"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    let srv = Path::new(&root).join("srv");
    fs::remove_dir(Path::new(&root).join("home")).expect("remove a directory of the base");
    fs::remove_file(srv.join("old")).expect("remove a file of the first layer");
    fs::remove_dir_all(srv.join("opaque")).expect("remove a directory of the first layer");
    tree! { "opaque/new" => "new", "one" => "linked", "capable" => "content", "name with\nnewline" => "odd" }
        .hardlink("two", "one")
        .write_to(&srv);
    let sparse = fs::File::create(srv.join("sparse")).expect("make a file");
    sparse.set_len(64 << 20).expect("make a hole");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 48 << 20).expect("write beyond a hole");
    let host = |program: &str, args: &[&str]| Tool::new(program).args(args).in_dir(&srv).ok();
    host("setcap", &["cap_net_raw+ep", "capable"]);
    host("setfattr", &["-n", "user.colour", "-v", "red", "capable"]);
    host("mkfifo", &["fifo"]);
    host("mknod", &["null", "c", "1", "3"]);
    host("chown", &["1234567:7654321", "one"]);
    host("chmod", &["6751", "capable"]);
    // chmod leaves the capability; chown would not.
    host("touch", &["-d", "2001-02-03 04:05:06.789", "one"]);
    let long = "a-name-of-many-letters-".repeat(8);
    tree! {}.file(&format!("{long}/{long}"), "long").write_to(&srv);
    sandbox.gabion(["umount", &container]).ok();
    sandbox.gabion(["commit", "-q", "--rm", "--format", format, &container, "localhost/hard"]).ok();
}

fn check(root: &Path, format: &str) {
    let srv = root.join("srv");
    let metadata =
        |name: &str| fs::symlink_metadata(srv.join(name)).unwrap_or_else(|error| panic!("{format} {name}: {error}"));
    assert!(!root.join("home").exists() && !srv.join("old").exists(), "{format}");
    assert!(
        !srv.join("opaque/old").exists() && !srv.join("opaque/dir").exists() && srv.join("opaque/new").exists(),
        "{format}"
    );
    let (one, two) = (metadata("one"), metadata("two"));
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2), "{format}");
    assert_eq!(
        (one.uid(), one.gid(), one.mtime(), one.mtime_nsec()),
        (1_234_567, 7_654_321, 981_173_106, 789_000_000),
        "{format}"
    );
    let sparse = metadata("sparse");
    assert_eq!(sparse.len(), 64 << 20, "{format}");
    assert!(sparse.blocks() * 512 < 1 << 20, "holes stay holes: {} blocks ({format})", sparse.blocks());
    assert_eq!(metadata("capable").mode() & 0o7777, 0o6751, "{format}");
    assert_eq!((metadata("null").rdev(), metadata("null").mode()), (0x103, 0o020_644), "{format}");
    assert!(metadata("name with\nnewline").is_file(), "{format}");
    let long = "a-name-of-many-letters-".repeat(8);
    assert!(metadata(&format!("{long}/{long}")).is_file(), "{format}");
    let host = |program: &str, args: &[&str]| Tool::new(program).args(args).in_dir(&srv).ok();
    assert_eq!(host("getcap", &["capable"]), "capable cap_net_raw=ep", "{format}");
    assert_eq!(host("getfattr", &["--only-values", "-n", "user.colour", "capable"]), "red", "{format}");
}
