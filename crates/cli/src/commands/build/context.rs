//! The build contexts: the main one, and those that have a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buildkit_core::context::{Context, ContextSource, NamedContext, NamedSource};
use buildkit_core::git::GitOptions;
use buildkit_core::transfer::Remotes;
use clap::Args;
use dockerfile::Source;
use dockerfile::ignore::Ignore;
use store::Store;

use super::file::{Beside, read_dockerfile};
use crate::command_error::CommandError;
use crate::ignore_file;

/// Where files come from.
#[derive(Args)]
pub(super) struct ContextArgs {
    /// Context that FROM, --from and from= find by its name, in place of a stage or image: a directory, a git or http URL,
    /// docker-image://IMAGE or oci-layout://DIR[:TAG|@DIGEST] (may be repeated)
    #[arg(long, value_name = "NAME=WHERE")]
    build_context: Vec<String>,
    /// Dockerfile; - for standard input [default: Containerfile or Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Ignore file [default: DOCKERFILE.containerignore or DOCKERFILE.dockerignore beside the Dockerfile, else
    /// .containerignore or .dockerignore in the context]
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// Directory with the files that COPY and ADD copy, git URL, URL of a tar or of a Dockerfile, or - for a tar or a
    /// Dockerfile on standard input
    #[arg(default_value = ".")]
    context: String,
}

/// What the flags stand for; what was fetched is there as long as this lives.
pub(super) struct Contexts {
    pub dockerfile: Source,
    pub dir: PathBuf,
    pub ignore: Ignore,
    pub named: BTreeMap<String, NamedContext>,
    _held: Vec<Context>,
}

impl ContextArgs {
    pub fn open(&self, store: &Store, remotes: &Remotes, git: &GitOptions) -> Result<Contexts, CommandError> {
        let file = match self.file.as_slice() {
            [] => None,
            [only] => Some(only.as_path()),
            _ => {
                let error = CommandError::new("several Dockerfiles cannot be built as one");
                return Err(error.hint("put them into one file, or build one upon the other's image"));
            }
        };
        if self.context == "-" && file == Some(Path::new("-")) {
            return Err(CommandError::new("standard input cannot be both the context and the Dockerfile"));
        }
        let stdin = || std::io::stdin();
        let main = Context::open(store, remotes, git, &ContextSource::parse(&self.context), stdin())?;
        let (dockerfile, beside) = match main.dockerfile() {
            Some(_) if file.is_some_and(|file| file != Path::new("-")) => {
                let message = format!("build context {} is a Dockerfile itself, so --file finds nothing", self.context);
                return Err(CommandError::new(message));
            }
            Some(bytes) if file.is_none() => (Source::new(&self.context, bytes), Beside::Nothing),
            _ => read_dockerfile(file, main.dir(), main.is_private())?,
        };
        let ignore = ignore_file::read_for_build(main.dir(), self.ignorefile.as_deref(), &beside)?;
        let dir = main.dir().to_owned();
        let mut contexts = Contexts { dockerfile, dir, ignore, named: BTreeMap::new(), _held: vec![main] };
        for text in &self.build_context {
            let (name, source) = NamedSource::parse(text)?;
            let context = match source {
                NamedSource::Image(image) => NamedContext::Image(image),
                NamedSource::Files(source) => {
                    let context = Context::open(store, remotes, git, &source, std::io::empty())?;
                    if context.dockerfile().is_some() {
                        return Err(CommandError::new(format!("build context {text:?} is no tar")));
                    }
                    let dir = context.dir().to_owned();
                    let ignore = ignore_file::read(&dir, None)?;
                    contexts._held.push(context);
                    NamedContext::Directory { dir, ignore }
                }
            };
            if contexts.named.insert(name.clone(), context).is_some() {
                return Err(CommandError::new(format!("build context {name} is given twice")));
            }
        }
        Ok(contexts)
    }
}
