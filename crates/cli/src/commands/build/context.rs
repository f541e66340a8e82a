//! The build contexts: the main one, and those that have a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buildkit_core::context::{Context, ContextSource, NamedContext, NamedSource};
use buildkit_core::git::GitOptions;
use buildkit_core::plan::PROXY_ARGS;
use buildkit_core::ssh::{Agents, Served, SocketOwner};
use buildkit_core::transfer::Remotes;
use clap::Args;
use dockerfile::Source;
use dockerfile::ignore::Ignore;
use store::{Store, TemporaryDirectory};

use super::file::{Beside, DockerfileText, read_dockerfile, read_in_context};
use super::preprocess::{is_for_preprocessor, preprocess};
use crate::args::value;
use crate::command_error::CommandError;
use crate::ignore_file;
use crate::session::Session;

/// Where files come from.
#[derive(Args)]
pub(super) struct ContextArgs {
    /// Context that FROM, --from and from= find by its name, in place of a stage or image: a directory, a git or http URL,
    /// docker-image://IMAGE or oci-layout://DIR[:TAG|@DIGEST] (may be repeated)
    #[arg(long, value_name = "NAME=WHERE", value_parser = NamedSource::parse)]
    build_context: Vec<(String, NamedSource)>,
    /// Option for the C preprocessor, which Dockerfiles with names that end in .in go through (may be repeated)
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true, value_parser = value::text())]
    cpp_flag: Vec<String>,
    /// Dockerfile, or its URL; - for standard input; several are one behind the other [default: Containerfile or Dockerfile
    /// in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Ignore file [default: DOCKERFILE.containerignore or DOCKERFILE.dockerignore beside the Dockerfile, else
    /// .containerignore or .dockerignore in the context]
    #[arg(long, value_name = "FILE", value_parser = value::file())]
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
    /// Whether standard input is the context or a Dockerfile.
    pub fn reads_stdin(&self) -> bool {
        self.context == "-" || self.file.iter().any(|file| file == Path::new("-"))
    }

    pub fn open(
        &self,
        session: &Session,
        store: &Store,
        remotes: &Remotes,
        agents: &Agents,
    ) -> Result<Contexts, CommandError> {
        let main = ContextSource::parse(&self.context);
        let files = |source: &NamedSource| matches!(source, NamedSource::Files(ContextSource::Git(_)));
        let is_git =
            matches!(main, ContextSource::Git(_)) || self.build_context.iter().any(|(_, source)| files(source));
        let agent = is_git.then(|| Agent::of_build(store, agents)).transpose()?.flatten();
        let git = &git_options(session, agent.as_ref());
        let of_stdin = self.file.iter().filter(|file| *file == Path::new("-")).count();
        if of_stdin + usize::from(self.context == "-") > 1 {
            let message = match self.context.as_str() {
                "-" => "standard input cannot be both the context and the Dockerfile",
                _ => "standard input cannot be two Dockerfiles",
            };
            return Err(CommandError::new(message));
        }
        let stdin = || std::io::stdin();
        let main = Context::open(store, remotes, git, &main, stdin())?;
        let (dockerfile, beside) = match (main.dockerfile(), self.file.as_slice()) {
            (Some([]), []) => return Err(CommandError::new(format!("no contents in {:?}", self.context))),
            (Some(bytes), []) => (Source::new(&self.context, bytes), Beside::Nothing),
            (Some(_), files) if files.iter().any(|file| file != Path::new("-")) => {
                let message = format!("build context {} is a Dockerfile itself, so --file finds nothing", self.context);
                return Err(CommandError::new(message));
            }
            (_, []) => {
                let read = read_in_context(main.dir())?;
                (Source::joined(&[(read.name, read.bytes)]), read.beside)
            }
            (_, files) => {
                let mut read = Vec::new();
                for file in files {
                    read.push(self.read(session, remotes, file, &main)?);
                }
                let texts: Vec<_> = read.iter().map(|file| (file.name.clone(), file.bytes.clone())).collect();
                (Source::joined(&texts), read.swap_remove(0).beside)
            }
        };
        let ignore = ignore_file::read_for_build(main.dir(), self.ignorefile.as_deref(), &beside)?;
        let dir = main.dir().to_owned();
        let mut contexts = Contexts { dockerfile, dir, ignore, named: BTreeMap::new(), _held: vec![main] };
        for (name, source) in &self.build_context {
            let unusable =
                |reason: &dyn std::fmt::Display| CommandError::new(format!("--build-context {name}: {reason}"));
            let context = match source {
                NamedSource::Image(image) => NamedContext::Image(image.clone()),
                NamedSource::Files(source) => {
                    let context = Context::open(store, remotes, git, source, std::io::empty())
                        .map_err(|error| unusable(&error))?;
                    if context.dockerfile().is_some() {
                        return Err(unusable(&"expected a tar"));
                    }
                    let dir = context.dir().to_owned();
                    let ignore = ignore_file::read(&dir, None)?;
                    contexts._held.push(context);
                    NamedContext::Directory { dir, ignore }
                }
            };
            if contexts.named.insert(name.clone(), context).is_some() {
                return Err(unusable(&"it is given twice"));
            }
        }
        Ok(contexts)
    }

    /// Reads one of the Dockerfiles that are named, through the preprocessor if it is for that.
    fn read(
        &self,
        session: &Session,
        remotes: &Remotes,
        file: &Path,
        context: &Context,
    ) -> Result<DockerfileText, CommandError> {
        let read = read_dockerfile(file, context.dir(), context.is_private(), remotes)?;
        if !is_for_preprocessor(file) {
            return Ok(read);
        }
        if !matches!(read.beside, Beside::Host(_)) {
            // It could include any file of this machine.
            let message = format!("Dockerfile {} is somebody else's and is not preprocessed", file.display());
            return Err(CommandError::new(message).hint("fetch the context, look at the file, and build from there"));
        }
        let bytes = preprocess(file, &read.bytes, context.dir(), &self.cpp_flag, session)?;
        Ok(DockerfileText { bytes, ..read })
    }
}

/// The build's default SSH agent, for as long as repositories are fetched.
struct Agent {
    served: Served,
    _dir: TemporaryDirectory,
}

impl Agent {
    /// None if the command line names none.
    fn of_build(store: &Store, agents: &Agents) -> Result<Option<Agent>, CommandError> {
        if !agents.has("default") {
            return Ok(None);
        }
        let dir = store.temporary_directory()?;
        let served = agents.serve("default", dir.path(), "agent", SocketOwner { mode: 0o600, uid: 0, gid: 0 })?;
        Ok(served.map(|served| Agent { served, _dir: dir }))
    }
}

/// How git repositories are reached: with the agent of the command line, or else the user's own.
fn git_options(session: &Session, agent: Option<&Agent>) -> GitOptions {
    let own = || session.env("SSH_AUTH_SOCK").map(PathBuf::from);
    GitOptions {
        search_path: session.env("PATH"),
        proxies: PROXY_ARGS.iter().filter_map(|name| Some(format!("{name}={}", session.env(name)?))).collect(),
        ssh_auth_sock: agent.map(|agent| agent.served.path().to_owned()).or_else(own),
        known_hosts: session.known_hosts(),
        ..GitOptions::default()
    }
}
