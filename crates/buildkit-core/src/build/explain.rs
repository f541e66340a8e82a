//! Why each step was done again, or was not: what it depends on, against the last build of the same
//! file, context and target.
//!
//! ```text
//! <graphroot>/gabion/explained/
//!   builds/<key of file, context and target>     the steps of the last such build, JSON
//!   images/<image id>                            the steps of the build that made it
//!   sources/<digest>                             the files that stand behind a digest, one a line
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::ImageId;
use serde::{Deserialize, Serialize};

use super::Build;
use super::step_key::{FILES_BEFORE, StepParts};
use crate::cache::key::{Key, Parts};
use crate::copy::{SourceDigest, SourceEntry};
use crate::event::StepId;

/// The steps of a build, in the order of its stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Explanation(pub Vec<ExplainedStep>);

/// A step with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// Which one, as the build shows it: `[1/2] STEP 3/7`.
    pub step: String,
    /// The instruction as written.
    pub text: String,
    /// What became of it.
    pub outcome: Explained,
    /// What it depends on. Nothing for a step that only changes the config.
    pub parts: Parts,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Explained {
    /// It only changes the config: nothing has to be remembered.
    Config,
    /// An earlier build had done it.
    Hit,
    /// It was done, for these reasons.
    Miss(Vec<Reason>),
}

/// Why a step was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Earlier results were not asked for.
    NotAsked,
    /// No earlier build of this file, context and target is known.
    FirstBuild,
    /// The last build had no such step.
    New,
    /// A part has another value, or is new, or gone.
    Part {
        /// Which one.
        name: String,
        /// What it was.
        before: Option<String>,
        /// What it is.
        now: Option<String>,
    },
    /// A file that it reads.
    File {
        /// Its path in the context.
        path: String,
        /// What is different.
        change: FileChange,
    },
    /// A step before it made other files.
    FilesBefore,
    /// Nothing is different, but what the last build made is too old, or was deleted.
    Gone,
}

/// How a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// It was not there.
    Added,
    /// It is not there.
    Removed,
    /// It has another content, or link target.
    Content,
    /// It has another mode, owner or type.
    Attributes,
}

/// So many changed files are told of.
const MAX_FILES: usize = 10;

/// What a stage's step left for the explanation.
#[derive(Clone, Debug)]
pub(super) struct StepLog {
    pub id: StepId,
    pub text: String,
    /// Nothing of a step that only changes the config.
    pub parts: Option<StepParts>,
    /// How many layers the stage had made before.
    pub before: usize,
    pub is_hit: bool,
}

/// What is remembered of builds, for explanations.
pub(super) struct Explanations {
    dir: PathBuf,
}

impl Explanation {
    /// Whether a step was done.
    pub(super) fn has_misses(&self) -> bool {
        self.0.iter().any(|step| matches!(step.outcome, Explained::Miss(_)))
    }

    /// How the build came about that made an image, if that is remembered in a store's private
    /// directory.
    pub fn of_image(private_directory: &Path, image: &ImageId) -> Option<Explanation> {
        read(&Explanations::new(private_directory).dir.join("images").join(image.as_str()))
    }
}

fn read(path: &Path) -> Option<Explanation> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Explanations {
    pub fn new(private_directory: &Path) -> Explanations {
        Explanations { dir: private_directory.join("explained") }
    }

    fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let dir = self.dir.join(folder);
        fs::create_dir_all(&dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&dir)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(dir.join(name)).map_err(|error| error.error)?;
        Ok(())
    }

    fn save_sources(&self, source: &SourceDigest) -> io::Result<()> {
        if self.dir.join("sources").join(&source.digest).exists() {
            return Ok(());
        }
        let line = |entry: &SourceEntry| format!("{}\t{}\n", entry.path.escape_debug(), entry.value.escape_debug());
        let text: String = source.entries.iter().map(line).collect();
        self.write("sources", &source.digest, text.as_bytes())
    }

    /// The files behind a digest; `None` if they are not remembered.
    fn sources(&self, digest: &str) -> Option<BTreeMap<String, String>> {
        // What is no digest leads nowhere.
        let digest = Some(digest).filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let text = fs::read_to_string(self.dir.join("sources").join(digest)).ok()?;
        let pair = |line: &str| line.split_once('\t').map(|(path, value)| (path.to_owned(), value.to_owned()));
        Some(text.lines().filter_map(pair).collect())
    }

    /// Why `now` is not what `before` was.
    fn reasons(&self, now: &Parts, before: &Parts) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for difference in now.differences(before) {
            if difference.name == FILES_BEFORE {
                reasons.push(Reason::FilesBefore);
                continue;
            }
            let files = match (&difference.before, &difference.now) {
                (Some(before), Some(now)) => self.sources(before).zip(self.sources(now)),
                _ => None,
            };
            match files {
                Some((before, now)) => reasons.extend(file_reasons(&now, &before)),
                None => {
                    let (name, before, now) = (difference.name, difference.before, difference.now);
                    reasons.push(Reason::Part { name, before, now });
                }
            }
        }
        if reasons.is_empty() {
            reasons.push(Reason::Gone);
        }
        // A changed file or argument says more than what follows from it.
        reasons.sort_by_key(|reason| matches!(reason, Reason::FilesBefore));
        reasons
    }
}

fn file_reasons(now: &BTreeMap<String, String>, before: &BTreeMap<String, String>) -> Vec<Reason> {
    let paths: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    let change = |path: &String| match (now.get(path), before.get(path)) {
        (Some(_), None) => Some(FileChange::Added),
        (None, Some(_)) => Some(FileChange::Removed),
        (Some(now), Some(before)) if now != before => {
            // Type, mode and owner come first.
            let attributes = |value: &str| value.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
            Some(if attributes(now) == attributes(before) { FileChange::Content } else { FileChange::Attributes })
        }
        _ => None,
    };
    let reason = |path: &String| change(path).map(|change| Reason::File { path: path.clone(), change });
    paths.into_iter().filter_map(reason).take(MAX_FILES).collect()
}

impl Build<'_> {
    /// What became of each step, and why; remembered for later builds, and with the image. Nothing if
    /// nothing was done and nobody asks.
    pub(super) fn explain(&self, image: Option<&ImageId>) -> Explanation {
        let Some(cache) = &self.cache else { return Explanation::default() };
        let explanations = Explanations::new(&cache.private_directory);
        let key = self.explanation_key();
        let path = explanations.dir.join("builds").join(key.as_str());
        let is_news = (0..self.works.len())
            .any(|position| self.work(position).logs.iter().any(|log| log.parts.is_some() && !log.is_hit));
        // Only when it is pruned depends on it.
        let is_known = fs::File::open(&path).map(|file| _ = file.set_modified(SystemTime::now())).is_ok();
        if !is_news && !self.options.explain && is_known {
            return Explanation::default();
        }
        let earlier = read(&path);
        let mut steps = Vec::new();
        for position in 0..self.works.len() {
            let files = self.files(position);
            let logs = std::mem::take(&mut self.work(position).logs);
            for log in logs {
                let parts = log.parts.as_ref().and_then(|parts| {
                    let parent = files.key_if_known(log.before)?;
                    parts.whole(Some(&parent)).ok()
                });
                if !log.is_hit {
                    let sources = log.parts.iter().flat_map(|parts| &parts.sources);
                    // Without them, an explanation says less.
                    sources.for_each(|(_, source)| _ = explanations.save_sources(source));
                }
                let outcome = match &parts {
                    _ if log.parts.is_none() => Explained::Config,
                    _ if log.is_hit => Explained::Hit,
                    _ if !cache.looks() => Explained::Miss(vec![Reason::NotAsked]),
                    Some(parts) => Explained::Miss(reasons_of(&explanations, &log, parts, earlier.as_ref(), &steps)),
                    None => Explained::Miss(Vec::new()),
                };
                let (step, text) = (log.id.to_string(), log.text);
                steps.push(ExplainedStep { step, text, outcome, parts: parts.unwrap_or_default() });
            }
        }
        let explanation = Explanation(steps);
        if is_news || earlier.is_none() {
            let bytes = serde_json::to_vec(&explanation).unwrap_or_default();
            let _ = explanations.write("builds", key.as_str(), &bytes);
            if let Some(image) = image {
                let _ = explanations.write("images", image.as_str(), &bytes);
            }
        }
        explanation
    }

    /// Stands for the file, its context and the target.
    fn explanation_key(&self) -> Key {
        let mut parts = Parts::default();
        parts.add("file", self.source.name());
        parts.add("context", self.options.context_dir.to_string_lossy());
        parts.add("target", self.options.plan.target.clone().unwrap_or_default());
        parts.key()
    }
}

fn reasons_of(
    explanations: &Explanations,
    log: &StepLog,
    parts: &Parts,
    earlier: Option<&Explanation>,
    so_far: &[ExplainedStep],
) -> Vec<Reason> {
    let Some(earlier) = earlier else { return vec![Reason::FirstBuild] };
    // Of steps with the same text, the first one that is not taken by a step before this one.
    let same_before = so_far.iter().filter(|step| step.text == log.text).count();
    let same_text = earlier.0.iter().filter(|step| step.text == log.text).nth(same_before);
    let same_place = || {
        let step = log.id.to_string();
        earlier.0.iter().find(|other| other.step == step && !other.parts.is_empty())
    };
    match same_text.or_else(same_place) {
        Some(before) => explanations.reasons(parts, &before.parts),
        None => vec![Reason::New],
    }
}
