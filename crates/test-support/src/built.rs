//! Builds whose steps are told apart: those that were done, and those that the cache knew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::tool::{Outcome, Tool};
use crate::validate::sha256;

/// A store with the base image, and beside it a small build context.
pub struct Machine {
    /// The store; the context is its `context`.
    pub sandbox: Sandbox,
}

/// What a build did.
pub struct Built {
    /// All that it printed.
    pub outcome: Outcome,
    /// The image's ID.
    pub id: String,
    /// Its steps, by their texts, and whether they were cached.
    pub steps: Vec<(String, bool)>,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Digests of blobs that went from place to place.
    pub blobs: Vec<String>,
}

impl Machine {
    /// A new one. `gabion` is the binary: `env!("CARGO_BIN_EXE_gabion")`.
    pub fn new(gabion: impl Into<PathBuf>) -> Machine {
        let sandbox = Sandbox::new(gabion);
        sandbox.import_base();
        for (name, content) in [("context/a", "a"), ("context/dir/b", "b"), ("context/dir/c", "c")] {
            sandbox.write(name, content);
        }
        Machine { sandbox }
    }

    /// The context's directory.
    pub fn context(&self) -> PathBuf {
        self.sandbox.path("context")
    }

    /// A build of this Dockerfile, which names its image `new` and tells of its steps as JSON.
    pub fn tool(&self, dockerfile: &str, args: &[&str]) -> Tool {
        self.sandbox.write("context/Dockerfile", dockerfile);
        let tool = self.sandbox.gabion(["build", "--network=none", "--progress=json", "--retry=0", "-t", "new"]);
        tool.args(args).arg(self.context())
    }

    /// Builds this Dockerfile, which must succeed.
    #[track_caller]
    pub fn build(&self, dockerfile: &str) -> Built {
        self.build_with(dockerfile, &[])
    }

    /// The same with more flags.
    #[track_caller]
    pub fn build_with(&self, dockerfile: &str, args: &[&str]) -> Built {
        let outcome = self.tool(dockerfile, args).run();
        assert!(outcome.status.success(), "{outcome}");
        Built::new(outcome)
    }

    /// What the image's files are, by path.
    pub fn files(&self, image: &str) -> BTreeMap<String, String> {
        let container = self.sandbox.gabion(["from", "--pull-never", image]).ok();
        let mounted = self.sandbox.gabion(["mount", &container]).ok();
        let find = self.sandbox.any("find").arg(&mounted).args(["-mindepth", "1", "-printf", "%P\\t%y %m %U:%G %l\\n"]);
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for line in find.ok().lines() {
            let (path, what) = line.split_once('\t').expect("two columns");
            let content = match what.starts_with('f') {
                true => sha256(&fs::read(Path::new(&mounted).join(path)).expect("read")),
                false => String::new(),
            };
            files.insert(path.to_owned(), format!("{what} {content}"));
        }
        self.sandbox.gabion(["rm", &container]).ok();
        files
    }
}

impl Built {
    /// What a build did that [`Machine::tool`] began.
    pub fn new(outcome: Outcome) -> Built {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let (mut steps, mut warnings, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        for line in outcome.stderr.lines().filter(|line| line.starts_with('{')) {
            let event: Value = serde_json::from_str(line).expect("JSON");
            let id = format!("{} {}", event["stage"], event["step"]);
            let text = |name: &str| event[name].as_str().expect("a text").to_owned();
            match event["event"].as_str() {
                Some("step-started") => _ = texts.insert(id, text("text")),
                Some("step-finished") => steps.push((texts[&id].clone(), event["outcome"] == "cached")),
                Some("warning") => warnings.push(text("message")),
                Some("blob-finished") => blobs.push(text("digest")),
                _ => {}
            }
        }
        let id = outcome.stdout.lines().last().unwrap_or_default().to_owned();
        Built { outcome, id, steps, warnings, blobs }
    }

    /// Which of the steps with files were done, by their texts.
    pub fn done(&self) -> Vec<&str> {
        let files = |text: &str| ["RUN", "COPY", "ADD", "WORKDIR"].iter().any(|word| text.starts_with(word));
        self.steps.iter().filter(|(text, cached)| files(text) && !cached).map(|(text, _)| text.as_str()).collect()
    }

    /// Asserts that there was one warning, with all of these words.
    #[track_caller]
    pub fn warned(&self, words: &[&str]) {
        let [warning] = self.warnings.as_slice() else { panic!("one warning: {}", self.outcome) };
        assert!(words.iter().all(|word| warning.contains(word)), "{words:?} in {warning}");
    }
}
