//! What to build, and how.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dockerfile::ignore::Ignore;
use jiff::SignedDuration;
use oci::{Format, Reference};

use super::on_failure::OnFailure;
use crate::cache::place::{CacheFrom, CacheTo};
use crate::commit::Times;
use crate::configure::Edit;
use crate::context::NamedContext;
use crate::copy::Meaning;
use crate::output::Output;
use crate::plan::PlanOptions;
use crate::run::{HostFiles, MountRequest, Network, Settings};
use crate::sbom::ScanOptions;
use crate::secret::Secrets;
use crate::source_policy::SourcePolicy;
use crate::ssh::Agents;
use crate::transfer::pull::PullPolicy;

use super::platforms::Together;
use super::schedule::Jobs;

/// What to build, and how.
#[derive(Debug)]
pub struct BuildOptions {
    /// Target, build arguments and platform.
    pub plan: PlanOptions,
    /// The build context.
    pub context_dir: PathBuf,
    /// What of the context stays out.
    pub ignore: Ignore,
    /// The contexts that [`PlanOptions::contexts`] names.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Names that the image gets, when all outputs are written.
    pub names: Vec<Reference>,
    /// The first name as it is to be told while the image is made; else it is told in full.
    pub typed_name: Option<String>,
    /// Where the result goes besides.
    pub outputs: Vec<Output>,
    /// Whether the store keeps an image without a name though there are outputs.
    pub keep_image: bool,
    /// Where an output goes that is for standard output.
    pub stdout: Option<File>,
    /// Format of the image.
    pub format: Format,
    /// What becomes a layer.
    pub layers: LayerStyle,
    /// What earlier builds did counts for this one, and the other way round: of layers of steps.
    pub cache: CacheUse,
    /// Caches outside of the store that steps are looked up in.
    pub cache_from: Vec<CacheFrom>,
    /// Caches outside of the store that the build's steps go to.
    pub cache_to: Vec<CacheTo>,
    /// Bytes that what only the cache needs may take when the build ends: nameless images and cache
    /// mounts. Those used longest ago go, never what this build has used.
    pub cache_budget: Option<u64>,
    /// Whether the build tells why steps were done again ([`crate::event::Event::Explanation`]).
    pub explain: bool,
    /// How many stages are built at once.
    pub jobs: usize,
    /// What is shared with builds for other platforms, places for stages among it.
    pub together: Option<Arc<Together>>,
    /// Times of what is new.
    pub times: Times,
    /// When base images are pulled.
    pub pull: PullPolicy,
    /// Which images and URLs may be used.
    pub source_policy: SourcePolicy,
    /// What becomes of the stages that are built beside the target.
    pub stage_images: StageImages,
    /// Environment variables of the image beside the Dockerfile's, for its steps too.
    pub env: Vec<(String, String)>,
    /// Environment variables to leave out of the image.
    pub unset_env: Vec<String>,
    /// Labels of the image beside the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// Labels of images that are not the result.
    pub layer_labels: Vec<(String, String)>,
    /// Version of the operating system that the image is for.
    pub os_version: Option<String>,
    /// Changes to the features of the operating system that the image needs.
    pub os_features: Vec<Edit>,
    /// Labels to leave out of the image.
    pub unset_labels: Vec<String>,
    /// Annotations of the image.
    pub annotations: Vec<(String, String)>,
    /// Annotations to leave out of the image.
    pub unset_annotations: Vec<String>,
    /// Whether the image has the base image's labels.
    pub inherit_labels: bool,
    /// Whether the image has the base image's annotations.
    pub inherit_annotations: bool,
    /// Whether an annotation tells when the image was made.
    pub created_annotation: bool,
    /// Whether to leave all history out of the image.
    pub omit_history: bool,
    /// Whether an image in Docker's format tells which container it was made in, unless times are given,
    /// and how that was set up.
    pub tells_container: bool,
    /// Whether what the lint rules find is worth a warning, not just a word for who asks.
    pub warn_of_findings: bool,
    /// Label that names the builder; `None` adds none.
    pub identity_label: Option<(String, String)>,
    /// Whose rules COPY and ADD follow where Buildah and BuildKit differ.
    pub copy_rules: Meaning,
    /// How RUN is run.
    pub run: RunDefaults,
    /// How the result is scanned for its parts, if it is; as RUN is run.
    pub scan: Option<ScanOptions>,
    /// Whether working containers stay.
    pub keep: Keep,
    /// Asked what is to become of a RUN that has failed; without it, the build ends. With it, stages
    /// are built one at a time.
    pub on_failure: Option<OnFailure>,
    /// Set by whoever wants the build to end: looked at between steps.
    pub cancelled: Arc<AtomicBool>,
}

impl BuildOptions {
    /// How many stages are really built at once: one, where a person or a script talks to a step.
    pub fn jobs(&self) -> Jobs {
        let is_talked_to = self.on_failure.is_some() || self.run.reads_stdin;
        let own = || Jobs::new(if is_talked_to { 1 } else { self.jobs });
        self.together.as_ref().map_or_else(own, |together| together.jobs.clone())
    }

    /// The use made of earlier builds' results, of which there are none where steps have no layers of
    /// their own.
    pub(super) fn cache_use(&self) -> &CacheUse {
        match self.layers {
            LayerStyle::PerStep => &self.cache,
            LayerStyle::PerStage | LayerStyle::WithBase => &CacheUse::None,
        }
    }
}

/// What becomes a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerStyle {
    /// What each RUN, COPY or ADD did.
    #[default]
    PerStep,
    /// Everything that a stage did.
    PerStage,
    /// Everything that the build did, and the base image too.
    WithBase,
}

/// What becomes of the stages that are built beside the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StageImages {
    /// They have no images of their own.
    #[default]
    None,
    /// Each is an image without a name.
    Saved,
    /// The same; labels of these and of the result tell the stage and what it begins with.
    Labelled,
}

/// What use is made of the results of earlier builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// None, and later builds make none of this one's.
    None,
    /// None, but this one's are there for later builds.
    Refresh,
    /// A step that an earlier build has done is not done again.
    Use {
        /// Results that are older count for nothing.
        max_age: Option<SignedDuration>,
    },
}

/// Whether working containers stay when the build has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None stays.
    #[default]
    Nothing,
    /// They stay if the build failed.
    OnFailure,
    /// They stay.
    Always,
}

/// Where what steps print goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepOutput {
    /// To the caller's own streams, as it is.
    #[default]
    Inherit,
    /// Nowhere; what they write to standard error still goes to the caller's.
    ErrorsOnly,
    /// To the caller as [`crate::event::Event::Output`], line by line.
    Events,
}

/// How RUN is run.
#[derive(Debug)]
pub struct RunDefaults {
    /// Name or path of the OCI runtime.
    pub runtime: PathBuf,
    /// Options given to it before its subcommand.
    pub runtime_flags: Vec<String>,
    /// Directories where programs of the host are looked up.
    pub search_path: Option<String>,
    /// The network.
    pub network: Network,
    /// Which files of `/etc` are made for the step.
    pub host_files: HostFiles,
    /// How steps are confined, and what of the machine they may use.
    pub settings: Settings,
    /// Secrets that RUN can mount.
    pub secrets: Secrets,
    /// SSH agents that RUN can mount.
    pub agents: Agents,
    /// Files with the keys of the SSH servers that repositories come from.
    pub known_hosts: Vec<PathBuf>,
    /// Mounts of every RUN.
    pub mounts: Vec<MountRequest>,
    /// Variables below the image's: the host's proxies.
    pub host_env: Vec<String>,
    /// Where what steps print goes.
    pub output: StepOutput,
    /// What RUN may ask for.
    pub allowed: Allowed,
    /// Whether RUN makes the directories of the image's volumes.
    pub make_volumes: bool,
    /// Whether RUN reads this process's standard input; otherwise it reads nothing. With it, stages are
    /// built one at a time.
    pub reads_stdin: bool,
}

/// What a Dockerfile may ask for on the user's word only.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// `RUN --network=host`.
    pub host_network: bool,
    /// `RUN --security=insecure`.
    pub insecure: bool,
    /// `RUN --device` with any device.
    pub all_devices: bool,
    /// `RUN --device` with these.
    pub devices: Vec<String>,
}

impl Default for RunDefaults {
    fn default() -> RunDefaults {
        RunDefaults {
            runtime: "runc".into(),
            runtime_flags: Vec::new(),
            search_path: None,
            network: Network::default(),
            host_files: HostFiles::default(),
            settings: Settings::default(),
            secrets: Secrets::default(),
            agents: Agents::default(),
            known_hosts: Vec::new(),
            mounts: Vec::new(),
            host_env: Vec::new(),
            output: StepOutput::default(),
            allowed: Allowed::default(),
            make_volumes: false,
            reads_stdin: false,
        }
    }
}
