//! Dockerfiles and images that reach for what is outside: whatever they do, files beside the store stay as they are, and
//! nobody reads them. Each attack has a harmless twin that works.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use test_support::{Outcome, Sandbox, store_check};

const SECRET: &str = "what nobody reads";

/// A store, and beside it what is not to be touched.
struct Site {
    sandbox: Sandbox,
    canary: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Site {
    fn new() -> Site {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        let canary = sandbox.path("canary");
        fs::create_dir_all(canary.join("d/b")).expect("mkdir");
        fs::write(canary.join("f"), SECRET).expect("write");
        let before = state(&canary);
        Site { sandbox, canary, before }
    }

    /// Builds; `CANARY` stands for the place of what is not to be touched.
    #[track_caller]
    fn build(&self, text: &str, args: &[&str]) -> Outcome {
        let text = text.replace("CANARY", &self.canary.display().to_string());
        self.sandbox.write("context/Dockerfile", text);
        let context = self.sandbox.path("context");
        let outcome = self.sandbox.gabion(["build", "--network=none"]).args(args).arg(context).run();
        assert_eq!(state(&self.canary), self.before, "{outcome}");
        assert!(!outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET), "{outcome}");
        outcome
    }

    #[track_caller]
    fn goes_well(&self, text: &str, args: &[&str]) {
        let outcome = self.build(text, args);
        assert!(outcome.status.success(), "{outcome}");
    }

    #[track_caller]
    fn is_refused(&self, text: &str, words: &[&str]) {
        self.build(text, &[]).says(125, words);
    }
}

/// Everything below `dir`: kind, mode, owner, time, content.
fn state(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut next = vec![dir.to_owned()];
    while let Some(path) = next.pop() {
        let metadata = fs::symlink_metadata(&path).expect("there");
        let content = if metadata.is_file() { fs::read_to_string(&path).expect("text") } else { String::new() };
        if metadata.is_dir() {
            next.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        }
        let (mode, owner) = (metadata.mode(), metadata.uid());
        let time = (metadata.mtime(), metadata.mtime_nsec(), metadata.ino());
        found.insert(path, format!("{mode:o} {owner} {time:?} {content}"));
    }
    found
}

#[test]
fn root_sources_of_mounts_stay_in_their_root() {
    let site = Site::new();
    // A link to / of a stage is that stage's.
    site.goes_well(
        "FROM localhost/base AS one\nRUN ln -s / /all && ln -s CANARY /canary\nFROM localhost/base\n\
         RUN --mount=type=bind,from=one,source=/all,target=/m,rw touch /m/x && test -L /m/canary && test ! -e /mCANARY/f",
        &[],
    );
    let one =
        "FROM localhost/base AS one\nRUN ln -s CANARY /canary && mkdir /own && ln -s own /link\nFROM localhost/base\n";
    site.is_refused(
        &format!("{one}RUN --mount=type=bind,from=one,source=/canary,target=/m,rw touch /m/x; cat /m/f"),
        &["Dockerfile:4:", "mount source \"/canary\""],
    );
    site.goes_well(&format!("{one}RUN --mount=type=bind,from=one,source=/link,target=/m,rw touch /m/x"), &[]);
    let up = "../../../../../../../../..";
    for mount in ["type=bind,source", "type=bind,from=one,source", "type=cache,from=one,source"] {
        site.is_refused(&format!("{one}RUN --mount={mount}={up}CANARY,target=/m cat /m/f"), &["Dockerfile:4:"]);
    }
    // The name of a cache is no path.
    for id in [up, "../x", "/", "CANARY", &format!("{up}CANARY")] {
        site.goes_well(
            &format!("FROM localhost/base\nRUN --mount=type=cache,id={id},target=/c touch /c/x && test ! -e /c/f"),
            &[],
        );
    }
    // What a step leaves in a cache leads the next one nowhere.
    let cache = "RUN --mount=type=cache,id=k,target=/c mkdir -p /c/own && ln -sfn CANARY /c/out\n";
    site.is_refused(
        &format!("FROM localhost/base\n{cache}RUN --mount=type=cache,id=k,source=out,target=/d cat /d/f; touch /d/x"),
        &["Dockerfile:3:", "mount source"],
    );
    store_check::assert_sound(&site.sandbox);
}

#[test]
fn root_targets_of_mounts_stay_in_the_root_of_the_step() {
    let site = Site::new();
    // The directory that was made for a mount is taken away; what stands there by then is not.
    site.goes_well(
        "FROM localhost/base\nRUN --mount=type=tmpfs,target=/a/b mv /a /old; ln -s CANARY/d /a\nRUN test -L /a && test ! -e /old/b",
        &[],
    );
    site.goes_well("FROM localhost/base\nRUN --mount=type=tmpfs,target=/a/b true\nRUN test ! -e /a", &[]);
    let secret = format!("id=s,src={}", site.sandbox.write("s", "a secret").display());
    site.goes_well(
        "FROM localhost/base\nRUN mkdir -p /run && ln -s ../../../../../..CANARY /run/secrets\n\
         RUN --mount=type=secret,id=s test \"$(cat /run/secrets/s)\" = 'a secret' && test ! -e /run/secrets/f",
        &["--secret", &secret],
    );
    for (link, mount) in [("/l", "target=/l"), ("/l", "target=/l/d/b"), ("/l", "target=/x/../l")] {
        site.goes_well(
            &format!("FROM localhost/base\nRUN ln -s CANARY {link}\nRUN --mount=type=tmpfs,{mount} touch /l/x; test ! -e /l/f"),
            &[],
        );
    }
    store_check::assert_sound(&site.sandbox);
}

#[test]
fn root_config_of_an_image_leads_nowhere() {
    let site = Site::new();
    site.goes_well(
        "FROM localhost/base\nRUN ln -s CANARY /w\nWORKDIR /w/new\nRUN test \"$PWD\" = CANARY/new -o -d CANARY/new && test ! -e ../f",
        &[],
    );
    for number in 3..9 {
        // Whether the runtime takes such a directory is its own business.
        let text =
            format!("FROM localhost/base\nWORKDIR /proc/self/fd/{number}\nRUN cat ../../../../../../../..CANARY/f");
        assert!(!site.build(&text, &[]).status.success());
    }
    site.goes_well("FROM localhost/base\nVOLUME /../../../../../..CANARY/v\nRUN test ! -e CANARY/f", &[]);
    // No number becomes another one.
    for user in ["4294967296", "4294967295", "2147483648", "-1", "0x0", "1e3", "+0"] {
        site.is_refused(&format!("FROM localhost/base\nUSER {user}\nRUN true"), &["Dockerfile:3:"]);
    }
    site.goes_well("FROM localhost/base\nUSER 2147483647\nRUN test \"$(id -u)\" = 2147483647", &[]);
    store_check::assert_sound(&site.sandbox);
}

#[test]
fn root_triggers_of_a_base_stay_in_the_root() {
    let site = Site::new();
    site.goes_well(
        "FROM localhost/base\nRUN ln -s CANARY /out\nONBUILD COPY Dockerfile /out/d/\nONBUILD RUN touch /out/x; test ! -e /out/f",
        &["--format=docker", "-t", "hostile"],
    );
    site.goes_well("FROM localhost/hostile\nRUN test -e CANARY/d/Dockerfile", &["--format=docker"]);
    store_check::assert_sound(&site.sandbox);
}

#[test]
fn root_files_of_etc_are_not_looked_for_outside() {
    let site = Site::new();
    let etc = site.sandbox.path("context/etc");
    fs::create_dir_all(&etc).expect("mkdir");
    for name in ["hosts", "resolv.conf", "hostname", "passwd", "group"] {
        symlink(site.canary.join("f"), etc.join(name)).expect("symlink");
    }
    site.goes_well("FROM localhost/base\nCOPY etc /etc/\nUSER 7\nRUN ! grep reads /etc/hosts /etc/passwd", &[]);
    site.is_refused("FROM localhost/base\nCOPY etc /etc/\nUSER mason\nRUN true", &["Dockerfile:4:", "mason"]);
    // Nobody waits for who might write into it.
    let fifo = "FROM localhost/base\nRUN rm /etc/passwd /etc/group && mkfifo /etc/passwd /etc/group\n";
    for body in ["USER 7:7\nRUN true", "USER mason\nRUN true", "COPY --chown=mason Dockerfile /"] {
        site.is_refused(&format!("{fifo}{body}"), &["Dockerfile:", "etc/"]);
    }
    store_check::assert_sound(&site.sandbox);
}

#[test]
fn root_a_source_that_is_swapped_for_a_link_leads_nowhere() {
    let site = Site::new();
    let cache = "RUN --mount=type=cache,id=k,target=/c mkdir -p /c/own && ln -sfn CANARY /c/out\n";
    site.goes_well(&format!("FROM localhost/base\n{cache}"), &[]);
    let cache = find(&site.sandbox.graph_root().join("gabion"), "own").expect("the cache");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (own, out) = (cache.join("own"), cache.join("out"));
                renameat_with(CWD, own, CWD, out, RenameFlags::EXCHANGE).expect("exchange");
            }
        });
        let dockerfile =
            "FROM localhost/base\nRUN --mount=type=cache,id=k,source=own,target=/d test ! -e /d/f && touch /d/mine";
        let mut codes = BTreeMap::new();
        for _ in 0..40 {
            *codes.entry(site.build(dockerfile, &["--no-cache"]).code()).or_insert(0) += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(codes.keys().copied().collect::<Vec<_>>(), [Some(0), Some(125)], "{codes:?}");
    });
    store_check::assert_sound(&site.sandbox);
}

/// The directory below `dir` that has an entry of this name.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut below = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    if dir.join(name).exists() {
        return Some(dir.to_owned());
    }
    below.find_map(|path| find(&path, name))
}
