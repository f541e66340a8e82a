//! `gabion run`

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::build::StepError;
use buildkit_core::build::cached_step::{self, Ran};
use buildkit_core::run::{MountRequest, Outcome, RunError, RunOptions, Stdio, run as run_in};
use buildkit_core::working_container::WorkingContainer;
use jiff::Timestamp;
use oci::History;

use crate::args::run_settings::{RuntimeArgs, SandboxArgs, prepare_isolation, set_default_mounts};
use crate::args::value;
use crate::command_error::{CommandError, FAILURE};
use crate::session::{Progress, Session};

/// Run a command in a working container
///
/// What the command writes stays in the container. The exit code is the command's own: 127 if it
/// is not found, 126 if it cannot be executed.
#[derive(clap::Args)]
pub struct Args {
    /// Add an entry to the image's history
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false",
          env = "BUILDAH_HISTORY", hide_env = true, action = clap::ArgAction::Set)]
    add_history: bool,
    /// Do not run what has run before over the same files, with the same environment and mounts: the container goes on
    /// over what was written then. What is run becomes a layer of its own
    #[arg(long)]
    cached: bool,
    /// Directory that the sources of bind mounts are in
    #[arg(long, value_name = "DIR", value_parser = value::directory())]
    contextdir: Option<PathBuf>,
    /// Environment variable of the command; without a value, that of gabion's own environment, for NAME* of all that
    /// begin so
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true, value_parser = value::variable)]
    env: Vec<String>,
    /// Host name in the container [default: the container's, or the beginning of its ID]
    #[arg(long, value_name = "NAME", value_parser = value::host_name)]
    hostname: Option<String>,
    /// Mount: type=bind|cache|tmpfs,target=PATH,… with source, from, ro, rw and further options of each type
    #[arg(long, value_name = "OPTIONS")]
    mount: Vec<String>,
    /// File with the signature policy, which a command needs none of
    #[arg(long, value_name = "FILE", hide = true, value_parser = value::file())]
    signature_policy: Option<PathBuf>,
    /// Give the command a terminal [default: if gabion is on one]
    #[arg(short = 't', long, visible_alias = "tty", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    terminal: Option<bool>,
    /// User the command runs as: name, uid, name:group or uid:gid [default: the container's]
    #[arg(long, value_name = "USER", value_parser = value::user)]
    user: Option<String>,
    /// Directory the command starts in [default: the container's]
    #[arg(long, value_name = "DIR", value_parser = value::absolute_path_or_none)]
    workingdir: Option<String>,
    /// Change the root directory without pivot_root, as a root file system in memory needs
    #[arg(long)]
    no_pivot: bool,
    /// Exit codes of the command that are no failure
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "0",
          value_parser = value::number(0, u8::MAX))]
    valid_exit_codes: Vec<u8>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Name or ID of the working container
    container: String,
    /// Command and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    session.policy_file(args.signature_policy.as_deref())?;
    if args.cached && !args.valid_exit_codes.contains(&0) {
        return Err(CommandError::new(
            "--cached and --valid-exit-codes without 0 contradict each other: only what \
                                      ends with 0 is remembered",
        ));
    }
    let store = session.store()?;
    let mut container = WorkingContainer::open(&store, &args.container)?;
    let mut command = args.command.clone();
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    let created_by = command.join(" ");
    let options = options(args, session, &container, command)?;
    let outcome =
        if args.cached { cached(&mut container, options, session) } else { run_now(&container, options, session) }?;
    if let Some(failure) = outcome.as_ref().and_then(|outcome| failure(outcome, &args.valid_exit_codes)) {
        return Err(failure);
    }
    // A step with a layer is in the history anyway.
    if args.add_history && !args.cached {
        let shell = &container.state().config.config.shell;
        let shell = if shell.is_empty() { "/bin/sh -c".to_owned() } else { shell.join(" ") };
        let entry = History {
            created: Some(Timestamp::now()),
            created_by: format!("{shell} {created_by}"),
            empty_layer: true,
            ..History::default()
        };
        container.state_mut().prepended_empty_layers.push(entry);
        container.save()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_now(
    container: &WorkingContainer<'_>,
    options: RunOptions,
    session: &Session,
) -> Result<Option<Outcome>, CommandError> {
    let user = options.user.clone();
    let outcome = run_in(container, options).map_err(|error| {
        let code = match error.command_exit_code() {
            // Buildah has one code for all that cannot be started.
            Some(_) if session.called_as_buildah() => 1,
            code => code.unwrap_or(FAILURE),
        };
        let failure = match (&error, &user) {
            (RunError::User(reason), Some(user)) => CommandError::invalid("--user", user, reason),
            _ => CommandError::from(error),
        };
        failure.exit_code(code)
    })?;
    Ok(Some(outcome))
}

/// Runs the command unless it has run before.
fn cached(
    container: &mut WorkingContainer<'_>,
    options: RunOptions,
    session: &Session,
) -> Result<Option<Outcome>, CommandError> {
    let times = session.times(None, None, None)?;
    let ran = cached_step::run(container, options, times, &session.events(Progress::Lines)).map_err(|error| {
        let code = match &error {
            StepError::Run(error) => error.command_exit_code(),
            _ => None,
        };
        CommandError::from(error).exit_code(code.unwrap_or(FAILURE))
    })?;
    match ran {
        Ran::Cached => Ok(None),
        Ran::Done(outcome) => Ok(Some(outcome)),
    }
}

/// How a command that did not succeed is told.
fn failure(outcome: &Outcome, valid: &[u8]) -> Option<CommandError> {
    let code = outcome.exit.code();
    match outcome.interrupted_by {
        _ if valid.contains(&code) => None,
        _ if code == 0 => {
            Some(CommandError::new("exit status 0 is not in the valid exit codes list of --valid-exit-codes"))
        }
        Some(signal) => {
            let code = 128u8.saturating_add(u8::try_from(signal).unwrap_or(0));
            Some(CommandError::new("the command was interrupted").exit_code(code))
        }
        None => Some(CommandError::new(format!("while running runtime: exit status {code}")).exit_code(code)),
    }
}

fn options(
    args: &Args,
    session: &Session,
    container: &WorkingContainer<'_>,
    command: Vec<String>,
) -> Result<RunOptions, CommandError> {
    let conf = session.containers_conf()?;
    let mut kept = container.state().settings.clone();
    args.sandbox.apply(&mut kept)?;
    args.sandbox.follow_buildah(&mut kept, session)?;
    prepare_isolation(kept.isolation)?;
    args.runtime.apply(&mut kept)?;
    set_default_mounts(&mut kept, session)?;
    let mut options = RunOptions::new(command);
    options.host_env = session.proxies();
    options.apply(kept.resolve(&conf)?);
    args.sandbox.change_capabilities(&mut options.settings.capabilities);
    options.env = args.env.iter().flat_map(|entry| variables(entry)).collect();
    options.user.clone_from(&args.user);
    options.working_dir.clone_from(&args.workingdir);
    options.hostname.clone_from(&args.hostname);
    if options.hostname.is_none() && conf.container_name_as_hostname {
        options.hostname = name_as_hostname(container);
    }
    for mount in &args.mount {
        options.mounts.push(MountRequest::parse(mount, args.contextdir.as_deref())?);
    }
    options.no_pivot = args.no_pivot || session.env("BUILDAH_NOPIVOT").is_some();
    options.annotations.clone_from(&container.state().annotations);
    options.search_path = session.env("PATH");
    options.runtime = args.runtime.program(session, &conf)?;
    options.runtime_flags = args.runtime.flags();
    options.stdio = match args.terminal {
        Some(true) => Stdio::Terminal,
        Some(false) => Stdio::Inherit,
        None if on_terminal() => Stdio::Terminal,
        None => Stdio::Inherit,
    };
    Ok(options)
}

/// The container's name less what no host name has; none where its config names a host.
fn name_as_hostname(container: &WorkingContainer<'_>) -> Option<String> {
    let has_one = !container.state().config.config.hostname.is_empty();
    let name: String = container.name().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    (!has_one && !name.is_empty()).then_some(name)
}

fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// What an `--env` stands for: itself, or variables of gabion's own environment.
fn variables(entry: &str) -> Vec<String> {
    if entry.contains('=') {
        return vec![entry.to_owned()];
    }
    let own =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let wanted = |name: &str| match entry.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == entry,
    };
    own.filter(|(name, _)| wanted(name)).map(|(name, value)| format!("{name}={value}")).collect()
}
