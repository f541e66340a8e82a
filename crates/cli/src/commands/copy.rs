//! `gabion copy`, and what it shares with `gabion add`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use buildkit_core::build::StepError;
use buildkit_core::build::cached_step::{self, CachedCopy, Copied};
use buildkit_core::commit::Times;
use buildkit_core::copy::{Chmod, CopyError, CopyOptions, Source, Tree, Unpack, copy, copy_linked};
use buildkit_core::transfer::Remotes;
use buildkit_core::transfer::pull::{PullOptions, PullPolicy, resolve_or_pull};
use buildkit_core::working_container::WorkingContainer;
use dockerfile::ignore::Ignore;
use dockerfile::instruction::Checksum;
use jiff::Timestamp;
use oci::{History, Platform};
use store::Store;

use crate::args::registry::RegistryArgs;
use crate::args::value;
use crate::command_error::CommandError;
use crate::ignore_file;
use crate::session::{Progress, Session};

/// Copy files, directories or URLs into a working container
///
/// Prints a digest of what was copied. Of a directory the content is copied; a pattern may match
/// several things. Without a destination everything goes to the container's working directory.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    shared: SharedArgs,
    /// Keep the directories that the sources are in, those after /./ only if that is in a source
    #[arg(long)]
    parents: bool,
}

/// What `copy` and `add` have in common.
#[derive(clap::Args)]
pub struct SharedArgs {
    /// Add an entry to the image's history
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false",
          env = "BUILDAH_HISTORY", hide_env = true, action = clap::ArgAction::Set)]
    pub add_history: bool,
    /// Let a pattern match nothing; where all do, nothing is copied
    #[arg(long)]
    pub allow_empty_wildcard: bool,
    /// Take patterns in the sources for what they match; otherwise they are refused
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    pub allow_wildcard: bool,
    /// Do not copy what was copied before over the same files: the container goes on over that. What is copied becomes a
    /// layer of its own
    #[arg(long)]
    pub cached: bool,
    /// Digest that a download, or hash that a repository's commit must have
    #[arg(long, value_name = "DIGEST")]
    #[arg(value_parser = Checksum::parse)]
    pub checksum: Option<Checksum>,
    /// Mode of what is made: octal, or changes such as u+x,go-w
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, value_parser = Chmod::parse)]
    pub chmod: Option<Chmod>,
    /// Owner of what is made, looked up in the container [default: root]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = value::text())]
    pub chown: Option<String>,
    /// Directory that the sources are in; nothing outside can be copied
    #[arg(long, value_name = "DIR", value_parser = value::directory())]
    pub contextdir: Option<PathBuf>,
    /// Pattern of what is left out
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub exclude: Vec<String>,
    /// Container or image that the sources are in
    #[arg(long, value_name = "NAME", value_parser = value::text())]
    pub from: Option<String>,
    /// File with patterns of what is left out [default: .containerignore or .dockerignore in the context directory]
    #[arg(long, value_name = "FILE", value_parser = value::file())]
    pub ignorefile: Option<PathBuf>,
    /// Make what is copied a layer of its own at the commit, over all that the container changes; the container does not
    /// show it
    #[arg(long)]
    pub link: bool,
    /// Copy a source that is a symlink as a symlink, not what it points to
    #[arg(long)]
    pub no_follow_symlinks: bool,
    /// Do not print the digest
    #[arg(short, long)]
    pub quiet: bool,
    /// Time of what is copied, in seconds since 1970 [default: that of the source]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = value::seconds)]
    pub timestamp: Option<i64>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Name or ID of the working container
    pub container: String,
    /// Sources, then the destination unless there is a single source
    #[arg(value_name = "SOURCE [SOURCE…] [DESTINATION]", required = true, num_args = 1..)]
    pub paths: Vec<String>,
}

/// Whether archives are unpacked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// They are copied as they are.
    Copy,
    /// They are unpacked.
    Add,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    run_as(Verb::Copy, args.parents, &args.shared, session)
}

/// Runs `copy` or `add`.
pub fn run_as(verb: Verb, parents: bool, args: &SharedArgs, session: &Session) -> Result<ExitCode, CommandError> {
    let (sources, destination) = match args.paths.as_slice() {
        [source] => (std::slice::from_ref(source), ""),
        [sources @ .., destination] => (sources, destination.as_str()),
        [] => return Err(CommandError::new("a source must be given")),
    };
    if args.ignorefile.is_some() && args.contextdir.is_none() {
        return Err(CommandError::new(
            "--ignorefile option requires that you specify a context dir using --contextdir",
        ));
    }
    if args.from.is_some() && args.contextdir.is_some() {
        return Err(CommandError::new("--from and --contextdir cannot be used together"));
    }
    if args.link && args.cached {
        return Err(CommandError::new(
            "--link and --cached cannot be used together: what is linked becomes a layer at the commit only",
        ));
    }
    let store = session.store()?;
    let remotes = session.remotes(&args.registry)?;
    let mut container = WorkingContainer::open(&store, &args.container)?;
    let tree = match (&args.from, &args.contextdir) {
        (Some(name), _) => Tree::Named(named_tree(&store, name, &remotes, args, session)?),
        (None, Some(dir)) => Tree::Directory(dir.clone()),
        (None, None) => Tree::Host,
    };
    let typed = sources;
    let sources = sources.iter().map(|text| source(text, &tree)).collect::<Result<Vec<_>, _>>()?;
    let refused = sources.iter().filter(|_| !args.allow_wildcard).find(|source| source.is_pattern());
    if let Some(Source::Path(text)) = refused {
        return Err(CommandError::new(format!(
            "cannot copy {text:?}: wildcards are not allowed with --allow-wildcard=false"
        )));
    }
    let mut options = CopyOptions::new(sources, tree, destination);
    options.unpack = if verb == Verb::Add { Unpack::Local } else { Unpack::Nothing };
    options.parents = parents;
    options.link = args.link;
    options.git.search_path = session.env("PATH");
    options.git.proxies = proxies(session);
    options.git.ssh_auth_sock = session.env("SSH_AUTH_SOCK").map(PathBuf::from);
    options.git.known_hosts = session.known_hosts();
    // As with Buildah, files of a container or image keep their owners.
    options.preserve_owner = args.from.is_some();
    options.keep_symlinks = args.no_follow_symlinks;
    options.may_match_nothing = args.allow_empty_wildcard;
    options.timestamp = args.timestamp;
    options.chown.clone_from(&args.chown);
    options.chmod.clone_from(&args.chmod);
    options.checksum.clone_from(&args.checksum);
    options.exclude = Ignore::from_patterns(args.exclude.iter().map(String::as_str))?;
    if let Some(dir) = &args.contextdir {
        options.ignore = ignore_file::read(dir, args.ignorefile.as_deref())?;
    }
    options.remotes = Some(&remotes);
    if args.cached {
        let copied = match copy_cached(&mut container, &options, typed, session.times(None, None, None)?, args, session)
        {
            Err(StepError::Copy(CopyError::NoSources)) if args.allow_empty_wildcard => return Ok(ExitCode::SUCCESS),
            copied => copied?,
        };
        if !args.quiet {
            println!("{}", copied.digest);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let copied = if args.link { copy_linked(&mut container, &options) } else { copy(&container, &options) };
    let digest = match copied {
        Err(CopyError::NoSources) if args.allow_empty_wildcard => return Ok(ExitCode::SUCCESS),
        Err(CopyError::User { user, reason }) => return Err(CommandError::invalid("--chown", user, reason)),
        digest => digest?,
    };
    if args.add_history {
        let verb = if verb == Verb::Add { "ADD" } else { "COPY" };
        container.state_mut().prepended_empty_layers.push(History {
            created: Some(Timestamp::now()),
            created_by: format!("/bin/sh -c #(nop) {verb} {digest}"),
            empty_layer: true,
            ..History::default()
        });
        container.save()?;
    }
    if !args.quiet {
        println!("{}", digest.hex());
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies unless that was done before. Where the current directory is does not count, if all sources are
/// given from there.
fn copy_cached(
    container: &mut WorkingContainer<'_>,
    options: &CopyOptions<'_>,
    typed: &[String],
    times: Times,
    args: &SharedArgs,
    session: &Session,
) -> Result<Copied, StepError> {
    let is_relative = |text: &String| matches!(Source::parse(text), Source::Path(path) if !path.starts_with('/'));
    let base = match options.from {
        Tree::Host if typed.iter().all(is_relative) => std::env::current_dir().ok(),
        _ => None,
    };
    let copy = CachedCopy { options, sources: typed.to_vec(), base };
    let events = session.events(Progress::from_quiet(args.quiet));
    cached_step::copy(container, &copy, times, &events)
}

/// A pattern that is well-formed.
fn pattern(text: &str) -> Result<String, String> {
    match Ignore::from_patterns(std::iter::once(text)) {
        _ if text.trim().is_empty() => Err("expected a pattern".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected a pattern such as *.o: a [ lacks its ], or a \\ what it stands before".to_owned()),
    }
}

/// The proxies of the environment, for git.
fn proxies(session: &Session) -> Vec<String> {
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY"];
    names.into_iter().filter_map(|name| Some(format!("{name}={}", session.env(name)?))).collect()
}

/// A source as typed: on the host, relative to where we are; in a context directory, below it also
/// where its whole path is typed.
fn source(text: &str, tree: &Tree) -> Result<Source, CommandError> {
    match (Source::parse(text), tree) {
        (Source::Path(path), Tree::Directory(dir)) => {
            let below = std::path::absolute(dir).ok().and_then(|dir| Path::new(&path).strip_prefix(dir).ok());
            Ok(Source::Path(below.map_or(path.clone(), |below| format!("/{}", below.display()))))
        }
        (Source::Path(path), Tree::Host) if !path.starts_with('/') => {
            let here = std::env::current_dir()
                .map_err(|error| CommandError::new(format!("cannot tell the current directory: {error}")))?;
            let here = here
                .to_str()
                .ok_or_else(|| CommandError::new("the current directory's name is not UTF-8: give absolute paths"))?;
            // The directory's own name may hold characters that mean something in a pattern.
            let literal: String = here
                .chars()
                .flat_map(|c| {
                    let escape = matches!(c, '*' | '?' | '[' | '\\').then_some('\\');
                    escape.into_iter().chain([c])
                })
                .collect();
            Ok(Source::Path(format!("{literal}/{path}")))
        }
        (source, _) => Ok(source),
    }
}

/// The container or image that `--from` names; an image that is not in the store is pulled.
fn named_tree(
    store: &Store,
    name: &str,
    remotes: &Remotes,
    args: &SharedArgs,
    session: &Session,
) -> Result<String, CommandError> {
    if store.container(name).is_ok() {
        return Ok(name.to_owned());
    }
    let options = PullOptions { policy: PullPolicy::Missing, platform: Platform::host() };
    let events = session.events(Progress::from_quiet(args.quiet));
    let image = resolve_or_pull(store, remotes, name, &options, &events);
    Ok(image.map_err(|error| CommandError::invalid("--from", name, error))?.id().to_string())
}
