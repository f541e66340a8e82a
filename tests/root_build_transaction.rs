//! A build is a transaction: whatever happens meanwhile, the store is sound, and there is the right
//! image, or the old state and one clear error.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use test_support::store_check::{assert_records_sound, assert_sound, records};
use test_support::{Sandbox, Tool};

/// A store with a base image, and a directory of the host that steps see as `/host`.
struct Site {
    sandbox: Sandbox,
}

impl Site {
    fn new() -> Site {
        Site::on(Sandbox::new(env!("CARGO_BIN_EXE_gabion")))
    }

    fn on(sandbox: Sandbox) -> Site {
        sandbox.import_base();
        sandbox.write("context/a", "a");
        fs::create_dir(sandbox.path("host")).expect("made");
        for fifo in ["ready", "go"] {
            sandbox.any("mkfifo").arg(sandbox.path("host").join(fifo)).ok();
        }
        Site { sandbox }
    }

    fn build(&self, dockerfile: &str, args: &[&str]) -> Tool {
        self.sandbox.write("context/Dockerfile", dockerfile);
        let volume = format!("{}:/host", self.sandbox.path("host").display());
        let tool = self.sandbox.gabion(["build", "-q", "--network=none", "-v", &volume]).args(args);
        tool.arg(self.sandbox.path("context"))
    }

    /// Starts a build; when its step has come to [`MEET`], does something and lets it go on. Gives the
    /// exit code and what the build wrote.
    fn meet(&self, build: Tool, then: impl FnOnce()) -> (Option<i32>, String) {
        let child = build.spawn();
        fs::read(self.sandbox.path("host/ready")).expect("read");
        then();
        fs::write(self.sandbox.path("host/go"), "").expect("written");
        let output = child.wait_with_output().expect("waited for");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn says(&self, image: &str, command: &str) -> String {
        self.sandbox.podman_run([image, "sh", "-c", command]).ok()
    }

    /// The directory of an image's top layer.
    fn top_layer(&self, image: &str) -> PathBuf {
        let images = records(&self.sandbox.graph_root(), "images");
        let named = |record: &&Value| record["names"].as_array().is_some_and(|names| names.iter().any(|n| n == image));
        let layer = images.iter().find(named).and_then(|record| record["layer"].as_str()).expect("has a layer");
        self.sandbox.graph_root().join("overlay").join(layer).join("diff")
    }

    #[track_caller]
    fn assert_every_layer_is_reached(&self) {
        let root = self.sandbox.graph_root();
        let parents: BTreeMap<String, String> =
            records(&root, "layers").iter().map(|layer| (text(&layer["id"]), text(&layer["parent"]))).collect();
        let tops = records(&root, "images").into_iter().chain(records(&root, "containers"));
        let mut reached = BTreeSet::new();
        for top in tops {
            let mut next = text(&top["layer"]);
            while !next.is_empty() && reached.insert(next.clone()) {
                next = parents.get(&next).cloned().unwrap_or_default();
            }
        }
        assert_eq!(parents.into_keys().collect::<BTreeSet<_>>(), reached);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Where [`Site::meet`] comes in.
const MEET: &str = "echo > /host/ready; cat /host/go";

#[test]
fn root_published_while_buildah_holds_a_mount() {
    let site = Site::new();
    let container = site.sandbox.buildah(["from", "--pull-never", "localhost/base"]).ok();
    site.sandbox.buildah(["mount", &container]).ok();
    site.build("FROM localhost/base\nRUN echo 1 > /1\nCOPY a /a\n", &["-t", "new"]).ok();
    assert_eq!(site.says("new", "cat /1 /a"), "1\na");
    site.sandbox.buildah(["umount", &container]).ok();
    site.sandbox.buildah(["rm", &container]).ok();
    site.assert_every_layer_is_reached();
    assert_sound(&site.sandbox);
}

#[test]
fn root_published_directories_are_what_their_tars_say() {
    let site = Site::new();
    let dockerfile = "FROM localhost/base\nRUN mkdir /d && echo 1 > /d/1\n\
        RUN rm -r /d && mkdir /d && echo 2 > /d/2 && chmod 1750 / && chown 0:7 / && mkfifo /fifo && ln /d/2 /hard\n";
    site.build(dockerfile, &["-t", "new", "--timestamp=1000", "-v", "/etc:/stub/of/a/mount"]).ok();
    let top = site.top_layer("localhost/new:latest");
    let names = |dir: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(dir).expect("read").map(|entry| entry.expect("read").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    // Nothing that was only there to be mounted upon.
    assert_eq!(names(&top), ["d", "etc", "fifo", "hard", "run"].map(str::to_owned).into());
    assert_eq!(names(&top.join("etc")).len() + names(&top.join("run")).len(), 0);
    assert!(fs::metadata(top.join("fifo")).expect("there").file_type().is_fifo());
    for path in ["d", "d/2", "fifo", "hard"] {
        assert_eq!(fs::metadata(top.join(path)).expect("there").mtime(), 1000, "{path}");
    }
    let root = fs::metadata(&top).expect("there");
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o555, 0, 0), "no tar says anything of it");
    let xattrs = site.sandbox.any("getfattr").args(["-R", "-d", "-m", "-", "--absolute-names"]).arg(&top).run();
    let attributes: Vec<&str> = xattrs.stdout.lines().filter(|line| line.starts_with("trusted.")).collect();
    assert_eq!(attributes, ["trusted.overlay.opaque=\"y\""], "{xattrs}");
    assert_eq!(site.says("new", "ls /d; stat -c '%a %u %g' /"), "2\n555 0 0");
    assert_sound(&site.sandbox);
}

#[test]
fn root_the_root_directory_is_what_the_base_says_in_every_step() {
    let site = Site::new();
    let dockerfile = "FROM localhost/base\nRUN chmod 700 /\nCOPY --link a /l/a\nUSER 7\n\
        RUN cat /l/a && stat -c '%a %u %g' / > /tmp/during\n";
    // The second time, the linked copy is an earlier layer once more.
    for first in ["", "RUN echo another parent > /p\n"] {
        site.build(&dockerfile.replace("COPY", &format!("{first}COPY")), &["-t", "new"]).ok();
        assert_eq!(site.says("new", "cat /tmp/during; stat -c '%a %u %g' / /l"), "555 0 0\n555 0 0\n755 0 0");
    }
    assert_sound(&site.sandbox);
}

#[test]
fn root_every_published_layer_is_reached_by_an_image() {
    let site = Site::new();
    let stages = "FROM localhost/base AS one\nRUN echo 1 > /1\nRUN echo x > /x\nFROM localhost/base AS two\nCOPY a /a\n\
        FROM localhost/base\nCOPY --from=one /1 /\nCOPY --from=two /a /\n";
    assert_eq!(site.build(&format!("{stages}RUN exit 3\n"), &[]).run().code(), Some(3));
    site.assert_every_layer_is_reached();
    for args in [&["-t", "new"][..], &["-t", "new", "--layers=false"], &["-t", "new", "--squash"]] {
        site.build(stages, args).ok();
        site.assert_every_layer_is_reached();
    }
    site.sandbox.gabion(["rmi", "new"]).ok();
    site.sandbox.gabion(["prune"]).ok();
    assert_eq!(records(&site.sandbox.graph_root(), "layers").len(), 1);
    assert_sound(&site.sandbox);
}

#[test]
fn root_an_earlier_layer_that_is_deleted_meanwhile_is_made_again() {
    let site = Site::new();
    site.build("FROM localhost/base\nRUN echo x > /x\n", &["-t", "old"]).ok();
    let dockerfile = format!(
        "FROM localhost/base AS x\nRUN echo x > /x\nFROM localhost/base AS y\nRUN echo y > /y; {MEET}\n\
         FROM x\nCOPY --from=y /y /\n"
    );
    let build = site.build(&dockerfile, &["-t", "new", "--jobs=1"]);
    let (code, said) = site.meet(build, || _ = site.sandbox.podman(["rmi", "old"]).ok());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("beginning anew"), "{said}");
    assert_eq!(site.says("new", "cat /x /y"), "x\ny");
    assert_eq!(records(&site.sandbox.graph_root(), "containers").len(), 0);
    site.assert_every_layer_is_reached();
    assert_sound(&site.sandbox);
}

#[test]
fn root_a_base_image_that_is_removed_meanwhile() {
    let site = Site::new();
    let dockerfile = format!("FROM localhost/base\nRUN echo y > /y; {MEET}\nCOPY a /a\n");
    // In use it stays; without its name the image is made all the same.
    let build = site.build(&dockerfile, &["-t", "new"]);
    let remove = || {
        site.sandbox.podman(["rmi", "localhost/base"]).fails();
        site.sandbox.podman(["untag", "localhost/base"]).ok();
    };
    let (code, said) = site.meet(build, remove);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.says("new", "cat /y /a"), "y\na");
    assert_sound(&site.sandbox);
}

#[test]
fn root_a_base_image_that_is_removed_before_it_is_used() {
    let site = Site::new();
    let other = site.sandbox.gabion(["from", "--pull-never", "localhost/base"]).ok();
    site.sandbox.gabion(["copy", "-q", &other]).arg(site.sandbox.path("context/a")).arg("/other").ok();
    site.sandbox.gabion(["commit", "-q", "--rm", "--squash", &other, "localhost/other"]).ok();
    let dockerfile = format!(
        "FROM localhost/base AS x\nFROM localhost/other AS y\nRUN echo y > /y; {MEET}\nFROM x\nCOPY --from=y /y /\n"
    );
    let build = site.build(&dockerfile, &["-t", "new", "--jobs=1", "--pull=never"]);
    let (code, said) = site.meet(build, || _ = site.sandbox.podman(["rmi", "localhost/base"]).ok());
    assert_eq!(code, Some(125), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{said}");
    assert!(said.lines().any(|line| line.starts_with("Error: ") && line.contains("localhost/base")), "{said}");
    assert_eq!(records(&site.sandbox.graph_root(), "containers").len(), 0);
    assert_sound(&site.sandbox);
}

#[test]
fn root_a_full_disk_leaves_the_old_state() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    fs::create_dir(sandbox.graph_root()).expect("made");
    let options = CString::new("size=16m,mode=0700").expect("text");
    mount("tmpfs", sandbox.graph_root(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("mounted");
    let site = Site::on(sandbox);
    let root = site.sandbox.graph_root();
    site.build("FROM localhost/base\nRUN echo old > /old\n", &["-t", "new"]).ok();
    let state = || ["layers", "images", "containers"].map(|kind| records(&root, kind));
    let before = state();
    let dockerfile = format!("FROM localhost/base\nRUN echo 1 > /1\nCOPY a /a\nRUN echo 2 > /2; {MEET}\n");
    let build = site.build(&dockerfile, &["-t", "new"]);
    let fill = || {
        let mut file = File::create(root.join("filler")).expect("made");
        while file.write_all(&[1; 4096]).is_ok() {}
        let mut rest = 0;
        while fs::write(root.join(format!("filler-{rest}")), [1]).is_ok() {
            rest += 1;
        }
    };
    let (code, said) = site.meet(build, fill);
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    for entry in fs::read_dir(&root).expect("read").map(|entry| entry.expect("read").path()) {
        if entry.to_string_lossy().contains("filler") {
            fs::remove_file(entry).expect("removed");
        }
    }
    site.sandbox.gabion(["prune"]).ok();
    assert_eq!(state(), before, "{said}");
    assert_eq!(site.says("new", "cat /old"), "old");
    site.build(&dockerfile.replace(MEET, ":"), &["-t", "new"]).ok();
    assert_eq!(site.says("new", "cat /1 /2 /a"), "1\n2\na");
    assert_records_sound(&site.sandbox);
}

#[test]
fn root_containers_that_stay_hold_the_files_of_their_stages() {
    let site = Site::new();
    let stages = "FROM localhost/base AS one\nRUN echo 1 > /1\nRUN rm -r /home\nFROM one AS two\nRUN echo 2 > /2\n\
        FROM localhost/base\nCOPY --from=two /2 /2\nRUN echo 3 > /3\n";
    let shown = |container: &str, command: &str| {
        let said = site.sandbox.buildah(["run", container, "sh", "-c", command]).ok();
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let containers = || -> Vec<String> {
        let ids = site.sandbox.buildah(["containers", "-q"]).ok();
        ids.lines().map(str::to_owned).collect()
    };
    for style in ["--layers", "--layers=false", "--squash"] {
        site.build(stages, &["-t", "new", "--rm=false", "--no-cache", style]).ok();
        let found: BTreeSet<Vec<String>> =
            containers().iter().map(|id| shown(id, "cd /; ls -d 1 2 3 home 2> /dev/null || :")).collect();
        let expected = [vec!["1"], vec!["1", "2"], vec!["2", "3", "home"]];
        let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(found, expected.into(), "{style}");
        site.assert_every_layer_is_reached();
        assert_sound(&site.sandbox);
        site.sandbox.buildah(["rm", "--all"]).ok();
    }
    for style in ["--layers", "--layers=false"] {
        let failing = stages.replace("RUN echo 3 > /3", "ENV E=kept\nRUN echo 3 > /3; rm -r /home; exit 5");
        let failed = site.build(&failing, &["--force-rm=false", "--no-cache", "--jobs=1", style]).run();
        assert_eq!(failed.code(), Some(5), "{failed}");
        let all = containers();
        assert_eq!(all.len(), 1, "{style}");
        assert_eq!(shown(&all[0], "cd /; cat 2 3; ls -d home 2> /dev/null || :"), ["2", "3"], "{style}");
        assert_sound(&site.sandbox);
        // Buildah goes on with it where the build stopped.
        let id = site.sandbox.buildah(["commit", "--rm", "-q", &all[0], "localhost/went-on"]).ok();
        assert_eq!(site.says("localhost/went-on", "cat /2 /3; echo $E"), "2\n3\nkept");
        site.sandbox.gabion(["rmi", &id]).ok();
    }
}

#[test]
fn root_triggers_read_stages_of_the_file_that_sets_them_off() {
    let site = Site::new();
    let parent = "FROM localhost/base\nONBUILD COPY --from=build /x /y\nONBUILD RUN --mount=from=other,target=/m cat /m/z > /z\n";
    site.build(parent, &["-t", "parent", "--format=docker"]).ok();
    let child = "FROM localhost/base AS first\nRUN echo z > /z\nFROM localhost/base AS unused\nRUN exit 1\n\
        FROM localhost/base AS build\nRUN echo x > /x\nFROM first AS other\nRUN cat /z > /zz\n\
        FROM localhost/parent\nRUN cat /y /z > /both\n";
    for args in [&["--jobs=1"][..], &["--jobs=4", "--no-cache"], &["--layers=false"], &[]] {
        site.build(child, args).args(["-t", "child"]).ok();
        assert_eq!(site.says("child", "cat /both"), "x\nz", "{args:?}");
        site.assert_every_layer_is_reached();
    }
    let failing = child.replace("RUN echo x > /x", "RUN exit 6");
    assert_eq!(site.build(&failing, &[]).run().code(), Some(6));
    let later = child.replace("AS build", "AS another");
    site.build(&later, &["--pull=never"]).fails().says(125, &["build"]);
    assert_sound(&site.sandbox);
}

#[test]
fn root_no_secret_stays_in_the_cache() {
    let site = Site::new();
    let secret = site.sandbox.write("secret", "s3cr3t-of-a-mount");
    site.sandbox
        .any("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "comment-of-a-key", "-f"])
        .arg(site.sandbox.path("key"))
        .ok();
    let done = "FROM localhost/base AS x\n\
        RUN --mount=type=secret,id=s,target=/s --mount=type=secret,id=s,env=S --mount=type=ssh test -n \"$S\"\n";
    let dockerfile = format!(
        "{done}FROM x\nARG TOKEN\nADD --checksum=sha256:{} http://user:$TOKEN@127.0.0.1:9/x?token=$TOKEN /x\n",
        "0".repeat(64)
    );
    let secret = format!("--secret=id=s,src={}", secret.display());
    let key = format!("--ssh=default={}", site.sandbox.path("key").display());
    let proxy = "--build-arg=http_proxy=http://user:s3cr3t-of-a-proxy@127.0.0.1:9";
    let token = "--build-arg=TOKEN=s3cr3t-of-a-url";
    let failed = site.build(&dockerfile, &[&secret, &key, proxy, token, "--explain"]).fails();
    assert!(!failed.stderr.contains("s3cr3t"), "{failed}");
    site.build(done, &[&secret, &key, proxy, "-t", "new"]).ok();
    let key = fs::read_to_string(site.sandbox.path("key")).expect("read");
    let line_of_key = key.lines().nth(2).expect("has lines");
    for word in ["s3cr3t", line_of_key] {
        let found = site.sandbox.any("grep").args(["-r", "-l", "-F", "-e", word]).arg(site.sandbox.graph_root()).run();
        assert_eq!(found.stdout, "", "{word}");
    }
    let private = fs::metadata(site.sandbox.graph_root().join("gabion")).expect("there");
    assert_eq!(private.mode() & 0o777, 0o700);
}
