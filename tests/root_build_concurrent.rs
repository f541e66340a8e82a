//! Builds at once on one store: what they share is done once, nobody waits for ever.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use test_support::store_check::{assert_sound, records};
use test_support::{Sandbox, Tool};

const BUILDS: usize = 8;

/// A store, and a directory of the host where steps leave a line each time they are done.
struct Shop {
    sandbox: Sandbox,
}

impl Shop {
    fn new() -> Shop {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        sandbox.write("context/a", "a");
        fs::create_dir(sandbox.path("count")).expect("made");
        Shop { sandbox }
    }

    fn build(&self, name: &str, dockerfile: &str, args: &[&str]) -> Tool {
        let file = self.sandbox.path(format!("files/{name}"));
        // Others may be reading it.
        if fs::read_to_string(&file).ok().as_deref() != Some(dockerfile) {
            self.sandbox.write(&file, dockerfile);
        }
        let volume = format!("{}:/count", self.count_dir().display());
        let tool = self.sandbox.gabion(["build", "-q", "--network=none", "-t", name, "-v", &volume]).args(args);
        tool.arg("-f").arg(file).arg(self.sandbox.path("context"))
    }

    fn count_dir(&self) -> PathBuf {
        self.sandbox.path("count")
    }

    /// How often a step was done.
    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.count_dir().join(name)).unwrap_or_default().lines().count()
    }

    fn says(&self, image: &str, command: &str) -> String {
        self.sandbox.podman_run([image, "sh", "-c", command]).ok()
    }

    /// Nothing is left of the builds but images, with these many names.
    #[track_caller]
    fn assert_tidy(&self, names: usize) {
        assert_sound(&self.sandbox);
        let root = self.sandbox.graph_root();
        assert_eq!(records(&root, "containers").len(), 0);
        let images = records(&root, "images");
        assert_eq!(images.iter().filter_map(|image| image["names"].as_array()).flatten().count(), names);
        for dir in ["gabion/builds", "gabion/claims-of-steps", "overlay/tempdirs"] {
            let left: Vec<_> = fs::read_dir(root.join(dir)).into_iter().flatten().flatten().map(|e| e.path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// All builds have gone well.
#[track_caller]
fn all_well(builds: Vec<Child>) {
    for child in builds {
        let output = child.wait_with_output().expect("waited");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A step that leaves a line each time it is done.
fn counted(name: &str) -> String {
    format!("RUN echo done >> /count/{name}; echo {name} > /{name}\n")
}

#[test]
fn root_eight_builds_at_once_do_what_they_share_once() {
    let shop = Shop::new();
    let shared = format!("FROM localhost/base\n{}COPY a /a\n{}", counted("one"), counted("two"));
    let file = |number: usize| format!("{shared}RUN echo {number} > /last\n{}", counted(&format!("own{number}")));
    let builds = (0..BUILDS).map(|number| shop.build(&format!("new{number}"), &file(number), &[]).spawn()).collect();
    all_well(builds);
    assert_eq!((shop.count("one"), shop.count("two")), (1, 1));
    for number in 0..BUILDS {
        assert_eq!(shop.count(&format!("own{number}")), 1);
    }
    for number in [0, BUILDS - 1] {
        let expected = format!("one\natwo\n{number}\nown{number}");
        assert_eq!(shop.says(&format!("new{number}"), &format!("cat /one /a /two /last /own{number}")), expected);
    }
    shop.assert_tidy(BUILDS + 1);
}

#[test]
fn root_eight_times_the_same_build_at_once_is_one() {
    let shop = Shop::new();
    let file = format!(
        "FROM localhost/base AS made\n{}FROM localhost/base\n{}COPY --from=made /one /x\nCOPY --link a /l\n{}",
        counted("one"),
        counted("two"),
        counted("three")
    );
    all_well((0..BUILDS).map(|_| shop.build("new", &file, &[]).spawn()).collect());
    assert_eq!(["one", "two", "three"].map(|name| shop.count(name)), [1; 3]);
    assert_eq!(shop.says("new", "cat /two /x /l /three"), "two\none\nathree");
    shop.assert_tidy(2);
}

#[test]
fn root_stages_of_one_file_share_their_steps() {
    let shop = Shop::new();
    let shared = format!("{}{}", counted("one"), counted("two"));
    let file = format!(
        "FROM localhost/base AS x\n{shared}RUN echo x > /out\nFROM localhost/base AS y\n{shared}RUN echo y > /out\n\
         FROM localhost/base\nCOPY --from=x /out /x\nCOPY --from=y /out /y\n"
    );
    for jobs in ["--jobs=1", "--jobs=3"] {
        shop.build("new", &file.replace("echo", &format!("echo {jobs}")), &[jobs]).ok();
        assert_eq!(shop.says("new", "cat /x /y"), format!("{jobs} x\n{jobs} y"));
    }
    assert_eq!((shop.count("one"), shop.count("two")), (2, 2));
    shop.assert_tidy(2);
}

#[test]
fn root_builds_that_wait_for_each_other_crosswise_go_on() {
    let shop = Shop::new();
    shop.sandbox.any("mkfifo").arg(shop.count_dir().join("fifo")).ok();
    // Neither is done before the other has begun.
    let one = format!("FROM localhost/base AS x\nRUN echo go > /count/fifo\n{}", counted("one"));
    let two = format!("FROM localhost/base AS y\nRUN cat /count/fifo\n{}", counted("two"));
    let end = "FROM localhost/base\nCOPY --from=x /one /\nCOPY --from=y /two /\n";
    let there = shop.build("there", &format!("{one}{two}{end}"), &["--jobs=1"]).spawn();
    let back = shop.build("back", &format!("{two}{one}{end}"), &["--jobs=1"]).spawn();
    all_well(vec![there, back]);
    assert_eq!((shop.count("one"), shop.count("two")), (1, 1));
    for image in ["there", "back"] {
        assert_eq!(shop.says(image, "cat /one /two"), "one\ntwo");
    }
    shop.assert_tidy(3);
}
