//! A step: an instruction with the words expanded and the paths resolved, ready to be done.

use dockerfile::instruction::{Checksum, Mount, Network, Security};
use dockerfile::{Span, Word};

/// What an instruction comes to in its stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is to be done besides what has changed in the config already.
    pub action: Action,
    /// What the history says.
    pub created_by: String,
    /// Where the instruction stands.
    pub span: Span,
    /// Things the image's format has no room for, by their instruction.
    pub lost_in_oci: Option<&'static str>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing more: the instruction changed the config.
    Config,
    /// Make this directory if it is not there.
    Workdir(String),
    /// Run a command.
    Run(RunStep),
    /// Copy files.
    Copy(CopyStep),
}

/// A command to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStep {
    /// The arguments, program first.
    pub args: Vec<String>,
    /// A file that the command needs: name and content. It is mounted in [`SCRIPTS`].
    pub script: Option<(String, String)>,
    /// Build arguments that join the environment, `NAME=value`.
    pub args_env: Vec<String>,
    /// What is mounted, with the stage or image that `from` names. Targets are absolute; only a
    /// secret that is in a variable alone has none.
    pub mounts: Vec<(Mount, Option<Word>, Span)>,
    /// The network, if the instruction names one.
    pub network: Option<(Network, Span)>,
    /// The host name it sees, if the build says so.
    pub hostname: Option<String>,
    /// How closely it is confined, if the instruction says so.
    pub security: Option<(Security, Span)>,
    /// Devices it sees.
    pub devices: Vec<StepDevice>,
}

/// A device that a command sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDevice {
    /// Its name in CDI's notation.
    pub name: String,
    /// Whether the command fails without it.
    pub required: bool,
    /// Where it is asked for.
    pub span: Span,
}

/// Directory of the root file system in which scripts with an interpreter of their own are mounted.
pub const SCRIPTS: &str = "/dev/pipes";

/// Files to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStep {
    /// Whether it is ADD: archives are unpacked, URLs fetched.
    pub is_add: bool,
    /// What.
    pub sources: Vec<StepSource>,
    /// Where to: absolute; with a slash at the end it is a directory.
    pub destination: String,
    /// The same as it is written: for the history.
    pub written_destination: String,
    /// Stage or image that it comes from.
    pub from: Option<Word>,
    /// `user[:group]`.
    pub chown: Option<String>,
    /// Octal or symbolic mode, and where it stands.
    pub chmod: Option<(String, Span)>,
    /// What a download's content or a git commit must be.
    pub checksum: Option<(Checksum, Span)>,
    /// Whether `.git` of a git source comes along; if the instruction says so.
    pub keep_git_dir: Option<bool>,
    /// Whether archives are unpacked; if the instruction says so. By default ADD unpacks local ones.
    pub unpack: Option<bool>,
    /// Whether the files make a layer that does not depend on what is below.
    pub link: bool,
    /// Whether the sources' parent directories are made in the destination.
    pub parents: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepSource {
    /// A path, a pattern or a URL.
    Path(String),
    /// A file with this name and content.
    Content {
        /// Name where the destination is a directory.
        name: String,
        /// Content.
        content: String,
    },
}
