//! The state of a stage while its instructions are gone through: the config in progress, and
//! which build arguments are in scope.
//!
//! Pure: an instruction and the state give a [`Step`] and the next state.
//!
//! Scopes of names, the first one that has it wins: ENV (the base image's included), ARG of this
//! stage (and of the stages it begins with). An ARG's value is that of `--build-arg`, else its
//! default, else that of the ARG before the first FROM or of the predefined one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockerfile::instruction::{
    Checksum, Command, Copy, CopySource, Healthcheck, Kind, MountKind, Pairs, Run, Script, Test, parse_ports,
};
use dockerfile::words::Expander;
use dockerfile::{Diagnostic, Instruction, Span, Word};
use oci::ImageConfig;
use oci::config::Empty;

use crate::plan::{CACHE_MOUNT_NAMESPACE, PROXY_ARGS, SANDBOX_HOSTNAME};
use crate::step::{Action, CopyStep, RunStep, SCRIPTS, Step, StepDevice, StepSource};

/// What all stages of a build share.
#[derive(Debug)]
pub struct Scope {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// ARGs before the first FROM, and the predefined ones.
    pub global_args: BTreeMap<String, String>,
    /// The file's escape character.
    pub escape: char,
    /// Bytes of the words that variables were put into.
    pub put_in: AtomicUsize,
}

impl Scope {
    /// Whether variables have made more of the file than is read.
    pub fn is_full(&self) -> bool {
        self.put_in.load(Ordering::Relaxed) > MAX_PUT_IN
    }
}

/// The state of a stage.
#[derive(Clone, Debug)]
pub struct StageState {
    scope: Arc<Scope>,
    /// The config of the image to be; its history and layers are no business of this module.
    pub config: ImageConfig,
    /// Where the config has the variables that ENV set.
    variables: HashMap<String, usize>,
    /// ARGs in scope that have a value.
    args: BTreeMap<String, String>,
    /// ARGs in scope.
    declared: BTreeSet<String>,
    cmd_is_own: bool,
    /// Ports that EXPOSE has named so far.
    exposed: usize,
}

/// Ports that a stage can name: every port of every protocol, and some more.
const MAX_EXPOSED: usize = 1 << 18;

/// Variables that a stage can have; Linux gives no program more.
const MAX_VARIABLES: usize = 100_000;

/// Bytes that the words of a file with variables in them can come to.
const MAX_PUT_IN: usize = 64 << 20;

/// Longest path of a working directory, as in Linux.
const MAX_PATH: usize = 4096;

type Result<T> = std::result::Result<T, Diagnostic>;

impl StageState {
    /// The state behind FROM; `config` is the base's.
    pub fn new(scope: Arc<Scope>, config: ImageConfig) -> StageState {
        StageState {
            variables: variables(&config),
            scope,
            config,
            args: BTreeMap::new(),
            declared: BTreeSet::new(),
            cmd_is_own: false,
            exposed: 0,
        }
    }

    /// The state behind a FROM that names the stage which ended in `base`: its ARGs stay in scope.
    pub fn on_stage(base: &StageState, config: ImageConfig) -> StageState {
        StageState { variables: variables(&config), config, cmd_is_own: false, ..base.clone() }
    }

    /// Names of the ARGs that were declared.
    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(String::as_str)
    }

    /// Whether an ARG of this name was declared.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// Sets an environment variable.
    pub fn set_env(&mut self, name: &str, value: &str) {
        match self.variables.get(name).and_then(|&place| self.config.config.env.get_mut(place)) {
            Some(entry) => *entry = format!("{name}={value}"),
            None => {
                self.variables.insert(name.to_owned(), self.config.config.env.len());
                self.config.config.env.push(format!("{name}={value}"));
            }
        }
    }

    /// What ENV has set a variable to, the base image's included.
    fn env(&self, name: &str) -> Option<&str> {
        let entry = self.config.config.env.get(*self.variables.get(name)?)?;
        entry.strip_prefix(name)?.strip_prefix('=')
    }

    /// The value of a variable: ENV's, or else ARG's.
    pub fn value(&self, name: &str) -> Option<String> {
        self.lookup(name)
    }

    /// The value of the ARG `name`.
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    /// The shell of the shell form.
    pub fn shell(&self) -> Vec<String> {
        match self.config.config.shell.as_slice() {
            [] => vec!["/bin/sh".into(), "-c".into()],
            shell => shell.to_vec(),
        }
    }

    /// Where relative paths begin.
    pub fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// Goes through one instruction.
    pub fn apply(&mut self, instruction: &Instruction) -> Result<Step> {
        let action = self.change(instruction)?;
        let created_by = match (&instruction.kind, &action) {
            (Kind::Arg(_), _) => {
                format!("/bin/sh -c #(nop) ARG {}", self.declared.iter().cloned().collect::<Vec<_>>().join(" "))
            }
            (Kind::Run(run), _) => self.run_created_by(instruction, run),
            (_, Action::Copy(step)) => copy_created_by(step),
            _ => format!("/bin/sh -c #(nop) {}", instruction.text),
        };
        let lost_in_oci = match &instruction.kind {
            Kind::Shell(_) => Some("SHELL"),
            Kind::Healthcheck(_) => Some("HEALTHCHECK"),
            Kind::OnBuild(_) => Some("ONBUILD"),
            _ => None,
        };
        Ok(Step { action, created_by, span: instruction.span, lost_in_oci })
    }

    /// Goes through one instruction whose history nobody asks for.
    pub(crate) fn change(&mut self, instruction: &Instruction) -> Result<Action> {
        let mut action = Action::Config;
        match &instruction.kind {
            Kind::From(_) => {}
            Kind::Arg(args) => {
                for arg in args {
                    self.declare(&arg.name, arg.default.as_ref())?;
                    not_too_many(self.declared.len(), arg.name.span)?;
                }
            }
            Kind::Env(pairs) => {
                for (name, value) in self.expand_pairs(pairs)? {
                    self.set_env(&name, &value);
                    not_too_many(self.variables.len(), instruction.span)?;
                }
            }
            Kind::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                self.config.config.labels.extend(pairs);
            }
            Kind::Workdir(word) => {
                let path = self.expand(word)?;
                let path = clean(&join(self.workdir(), &path));
                if path.len() > MAX_PATH {
                    return Err(Diagnostic::error("the path of the working directory is too long", word.span));
                }
                self.config.config.working_dir.clone_from(&path);
                action = Action::Workdir(path);
            }
            Kind::User(word) => self.config.config.user = self.not_empty(word, "user")?,
            Kind::Expose(words) => {
                for word in words {
                    for port in self.words(word)? {
                        let ports = parse_ports(&port).map_err(|message| Diagnostic::error(message, word.span))?;
                        self.exposed += ports.len();
                        if self.exposed > MAX_EXPOSED {
                            return Err(Diagnostic::error("EXPOSE names too many ports", word.span));
                        }
                        self.config.config.exposed_ports.extend(ports.into_iter().map(|port| (port, Empty {})));
                    }
                }
            }
            Kind::Volume(words) => {
                for word in words {
                    let path = self.not_empty(word, "volume's path")?;
                    self.config.config.volumes.insert(path, Empty {});
                }
            }
            Kind::Cmd(command) => {
                let args = self.command(command);
                self.config.config.cmd = (!args.is_empty()).then_some(args);
                self.cmd_is_own = true;
            }
            Kind::Entrypoint(command) => {
                let args = self.command(command);
                self.config.config.entrypoint = (!args.is_empty()).then_some(args);
                if !self.cmd_is_own {
                    // The base's arguments belong to the base's entrypoint.
                    self.config.config.cmd = None;
                }
            }
            Kind::Shell(words) => {
                self.config.config.shell = words.iter().map(|word| word.text.clone()).collect();
            }
            Kind::StopSignal(word) => {
                let signal = self.not_empty(word, "signal")?;
                check_signal(&signal).map_err(|message| Diagnostic::error(message, word.span))?;
                self.config.config.stop_signal = signal;
            }
            Kind::Healthcheck(check) => {
                self.config.config.healthcheck = Some(self.healthcheck(check));
            }
            Kind::OnBuild(later) => {
                self.config.config.on_build.push(later.expression.clone());
            }
            Kind::Maintainer(word) => self.config.author = word.text.clone(),
            Kind::Run(run) => {
                action = Action::Run(self.run(run)?);
            }
            Kind::Copy(copy) | Kind::Add(copy) => {
                let is_add = matches!(instruction.kind, Kind::Add(_));
                action = Action::Copy(self.copy(copy, is_add)?);
            }
        }
        Ok(action)
    }

    fn declare(&mut self, name: &Word, default: Option<&Word>) -> Result<()> {
        let name_text = self.expand(name)?;
        let value = if let Some(value) = self.scope.build_args.get(&name_text) {
            Some(value.clone())
        } else if let Some(default) = default {
            Some(self.expand(default)?)
        } else {
            self.scope.global_args.get(&name_text).cloned()
        };
        if let Some(value) = value {
            self.args.insert(name_text.clone(), value);
        }
        self.declared.insert(name_text);
        Ok(())
    }

    fn lookup(&self, name: &str) -> Option<String> {
        self.env(name).map(str::to_owned).or_else(|| self.args.get(name).cloned())
    }

    fn expand(&self, word: &Word) -> Result<String> {
        // What is too much already is not made longer.
        self.count(&word.text, 0, word.span)?;
        let lookup = |name: &str| self.lookup(name);
        let text = Expander::new(&lookup, self.scope.escape).expand(&word.text).map_err(|error| error.at_word(word))?;
        self.count(&word.text, text.len(), word.span)?;
        Ok(text)
    }

    /// Keeps a file from making much out of little.
    fn count(&self, written: &str, length: usize, span: Span) -> Result<()> {
        if !written.contains('$') {
            return Ok(());
        }
        self.scope.put_in.fetch_add(length, Ordering::Relaxed);
        if self.scope.is_full() {
            let message = format!("variables make this file longer than {} MiB", MAX_PUT_IN >> 20);
            return Err(Diagnostic::error(message, span));
        }
        Ok(())
    }

    fn words(&self, word: &Word) -> Result<Vec<String>> {
        self.count(&word.text, 0, word.span)?;
        let lookup = |name: &str| self.lookup(name);
        Expander::new(&lookup, self.scope.escape).expand_to_words(&word.text).map_err(|error| error.at_word(word))
    }

    fn not_empty(&self, word: &Word, what: &str) -> Result<String> {
        let text = self.expand(word)?;
        if text.is_empty() {
            return Err(Diagnostic::error(
                format!("the {what} {} is empty once variables are put in", word.text),
                word.span,
            ));
        }
        Ok(text)
    }

    /// The pairs of one instruction do not see each other.
    fn expand_pairs(&self, pairs: &Pairs) -> Result<Vec<(String, String)>> {
        let expand = |pair: &dockerfile::instruction::Pair| {
            let name = self.not_empty(&pair.name, "name")?;
            Ok((name, self.expand(&pair.value)?))
        };
        pairs.pairs.iter().map(expand).collect()
    }

    fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.iter().map(|word| word.text.clone()).collect(),
            Command::Shell(line) => [self.shell(), vec![line.text.clone()]].concat(),
        }
    }

    fn healthcheck(&self, check: &Healthcheck) -> oci::config::Healthcheck {
        let test = match &check.test {
            Test::None => vec!["NONE".to_owned()],
            Test::Command(Command::Shell(line)) => vec!["CMD-SHELL".to_owned(), line.text.clone()],
            Test::Command(Command::Exec(words)) => {
                std::iter::once("CMD".to_owned()).chain(words.iter().map(|word| word.text.clone())).collect()
            }
        };
        oci::config::Healthcheck {
            test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }
    }

    fn run(&self, run: &Run) -> Result<RunStep> {
        let mut script = None;
        let args = match run.script() {
            Script::Exec(args) => args,
            Script::Shell(text) => [self.shell(), vec![text]].concat(),
            Script::File { name, content } => {
                let file_name = name.replace('/', "_");
                let path = format!("{SCRIPTS}/{file_name}");
                script = Some((file_name, content));
                [self.shell(), vec![path]].concat()
            }
        };
        let mut mounts = Vec::with_capacity(run.mounts.len());
        let mut agents = 0_usize;
        let cache_namespace = self.builder_arg(CACHE_MOUNT_NAMESPACE);
        for mount in &run.mounts {
            let mut resolved = mount.resolve(&|word| self.expand(word))?;
            if let (MountKind::Ssh { .. }, true) = (&resolved.kind, resolved.target.is_empty()) {
                resolved.target = format!("/run/buildkit/ssh_agent.{agents}");
            }
            if let (MountKind::Cache { id, .. }, Some(namespace)) = (&mut resolved.kind, &cache_namespace) {
                *id = format!("{namespace}/{id}");
            }
            agents += usize::from(matches!(resolved.kind, MountKind::Ssh { .. }));
            if !resolved.target.is_empty() {
                resolved.target = clean(&join(self.workdir(), &resolved.target));
            }
            if resolved.target == "/" {
                return Err(Diagnostic::error("a mount can't be at /", mount.span));
            }
            mounts.push((resolved, mount.from.as_ref().map(|word| self.origin(word)).transpose()?, mount.span));
        }
        Ok(RunStep {
            args,
            script,
            args_env: self.args_env(),
            mounts,
            network: run.network.as_ref().map(|(network, word)| (*network, word.span)),
            hostname: self.builder_arg(SANDBOX_HOSTNAME),
            security: run.security.as_ref().map(|(security, word)| (*security, word.span)),
            devices: run.devices.iter().map(device).collect(),
        })
    }

    /// The name of a stage or an image. In a file the plan has put the variables in; in a trigger there
    /// may be some.
    fn origin(&self, word: &Word) -> Result<Word> {
        if !word.text.contains('$') {
            return Ok(word.clone());
        }
        let lookup = |name: &str| self.lookup(name).or_else(|| self.scope.global_args.get(name).cloned());
        let expanded = Expander::new(&lookup, self.scope.escape).expand(&word.text);
        Ok(Word::new(expanded.map_err(|error| error.at_word(word))?, word.span))
    }

    /// ARGs as environment variables: those in scope, and proxies that were given without ARG.
    fn args_env(&self) -> Vec<String> {
        let given = PROXY_ARGS.iter().filter(|name| !self.declared.contains(**name));
        let proxies = given.filter_map(|name| Some((*name, self.scope.build_args.get(*name)?)));
        let args = self.args.iter().map(|(name, value)| (name.as_str(), value));
        let unshadowed = proxies.chain(args).filter(|(name, _)| self.env(name).is_none());
        unshadowed.map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// `|2 A=1 B=2 /bin/sh -c make`
    fn run_created_by(&self, instruction: &Instruction, run: &Run) -> String {
        let mut text = String::new();
        let args: Vec<String> =
            self.args.iter().map(|(name, value)| format!("{name}={}", self.env(name).unwrap_or(value))).collect();
        if !args.is_empty() {
            text = format!("|{} {} ", args.len(), args.join(" "));
        }
        let line = instruction.text.get(instruction.keyword.len()..).unwrap_or_default();
        text += &format!("/bin/sh -c {}", line.trim_start());
        for heredoc in &run.heredocs {
            text.push('\n');
            text.push_str(heredoc.content().trim());
        }
        text
    }

    /// An argument that is for the builder; no stage needs to declare it.
    fn builder_arg(&self, name: &str) -> Option<String> {
        let value = self.scope.build_args.get(name).or_else(|| self.scope.global_args.get(name));
        value.filter(|value| !value.is_empty()).cloned()
    }

    fn copy(&self, copy: &Copy, is_add: bool) -> Result<CopyStep> {
        let mut sources = Vec::with_capacity(copy.sources.len());
        for source in &copy.sources {
            sources.push(match source {
                // As for BuildKit and Buildah, no path at all is that of the context.
                CopySource::Path(word) if matches!(word.text.as_str(), "" | "\"\"" | "''") => {
                    StepSource::Path(".".to_owned())
                }
                CopySource::Path(word) => StepSource::Path(self.not_empty(word, "source")?),
                CopySource::Heredoc(heredoc) => {
                    let mut content = heredoc.content();
                    if heredoc.expand {
                        let lookup = |name: &str| self.lookup(name);
                        content = Expander::new(&lookup, self.scope.escape)
                            .expand_heredoc(&content)
                            .map_err(|error| Diagnostic::error(error.message, heredoc.span))?;
                        self.count(&heredoc.raw, content.len(), heredoc.span)?;
                    }
                    StepSource::Content { name: heredoc.name.clone(), content }
                }
            });
        }
        let destination = self.not_empty(&copy.destination, "destination")?;
        let with_span = |word: &Option<Word>| -> Result<Option<(String, Span)>> {
            word.as_ref().map(|word| Ok((self.expand(word)?, word.span))).transpose()
        };
        let not_blank = |pair: &(String, Span)| !pair.0.is_empty();
        let joined = join(self.workdir(), &destination);
        let is_directory = ["/", "/.", "/.."].iter().any(|end| joined.ends_with(end));
        let mut path = clean(&joined);
        if is_directory && !path.ends_with('/') {
            path.push('/');
        }
        Ok(CopyStep {
            is_add,
            sources,
            destination: path,
            written_destination: copy.destination.text.clone(),
            from: copy.from.as_ref().map(|word| self.origin(word)).transpose()?,
            chown: with_span(&copy.chown)?.filter(not_blank).map(|(text, _)| text),
            chmod: with_span(&copy.chmod)?.filter(not_blank),
            checksum: with_span(&copy.checksum)?.filter(not_blank).map(checksum).transpose()?,
            keep_git_dir: copy.keep_git_dir,
            unpack: copy.unpack,
            link: copy.link,
            parents: copy.parents,
            exclude: copy.exclude.iter().map(|word| word.text.clone()).collect(),
        })
    }
}

fn checksum((text, span): (String, Span)) -> Result<(Checksum, Span)> {
    Checksum::parse(&text).map(|checksum| (checksum, span)).map_err(|message| Diagnostic::error(message, span))
}

fn device(device: &dockerfile::instruction::Device) -> StepDevice {
    StepDevice { name: device.name.text.clone(), required: device.required, span: device.span }
}

fn copy_created_by(step: &CopyStep) -> String {
    let keyword = if step.is_add { "ADD" } else { "COPY" };
    let names = step.sources.iter().map(|source| match source {
        StepSource::Path(path) => path.as_str(),
        StepSource::Content { name, .. } => name.as_str(),
    });
    format!("/bin/sh -c #(nop) {keyword} {} in {} ", names.collect::<Vec<_>>().join(" "), step.written_destination)
}

fn not_too_many(variables: usize, span: Span) -> Result<()> {
    if variables > MAX_VARIABLES {
        return Err(Diagnostic::error(format!("more than {MAX_VARIABLES} variables"), span));
    }
    Ok(())
}

/// Where a config has its variables.
fn variables(config: &ImageConfig) -> HashMap<String, usize> {
    let names = config.config.env.iter().map(|entry| entry.split('=').next().unwrap_or_default().to_owned());
    names.zip(0..).collect()
}

/// `path`, from `base` on if it is relative.
fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") }
}

/// An absolute path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Signals are names with or without SIG, real-time ones with an offset, or numbers.
///
/// # Errors
/// What is none, with what it may have been meant to be.
pub fn check_signal(text: &str) -> std::result::Result<(), String> {
    const NAMES: [&str; 33] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
        "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
        "USR2", "VTALRM", "WINCH", "XCPU",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |name: &str| {
        ["RTMIN", "RTMAX"].iter().any(|base| match name.strip_prefix(base) {
            Some("") => true,
            Some(offset) => offset.trim_start_matches(['+', '-']).parse::<u8>().is_ok_and(|offset| offset <= 30),
            None => false,
        })
    };
    if NAMES.contains(&name)
        || name == "XFSZ"
        || real_time(name)
        || text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number))
    {
        return Ok(());
    }
    let near = dockerfile::diagnostic::nearest(name, NAMES)
        .map_or(String::new(), |near| format!(" (did you mean SIG{near}?)"));
    Err(format!("unknown signal {text:?}: expected a name like SIGTERM or a number up to 64{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerfile::Source;
    use oci::Platform;

    fn scope(build_args: &[(&str, &str)]) -> Arc<Scope> {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Arc::new(Scope {
            build_args: map(build_args),
            global_args: map(&[("GLOBAL", "g"), ("TARGETARCH", "amd64")]),
            escape: '\\',
            put_in: Default::default(),
        })
    }

    fn base() -> ImageConfig {
        let mut config = ImageConfig::new(&Platform::host());
        config.config.env = vec!["PATH=/bin".into(), "FROM_BASE=b".into()];
        config.config.cmd = Some(vec!["base".into()]);
        config
    }

    /// Applies the instructions of `text`; gives the state and the last step.
    fn apply(text: &str, build_args: &[(&str, &str)]) -> Result<(StageState, Step)> {
        let source = Source::new("f", text.as_bytes());
        let read = dockerfile::parse_instructions(&source);
        assert_eq!(read.errors().count(), 0, "{text}");
        let mut state = StageState::new(scope(build_args), base());
        let mut last = None;
        for instruction in &read.instructions {
            last = Some(state.apply(instruction)?);
        }
        Ok((state, last.expect("an instruction")))
    }

    #[test]
    fn pure_scopes() {
        for (text, expected) in [
            ("LABEL l=$FROM_BASE", "b"),
            ("LABEL l=$GLOBAL", ""),
            ("ARG GLOBAL\nLABEL l=$GLOBAL", "g"),
            ("ARG GLOBAL=own\nLABEL l=$GLOBAL", "own"),
            ("ARG TARGETARCH\nLABEL l=$TARGETARCH", "amd64"),
            ("ARG GIVEN\nLABEL l=$GIVEN", "1"),
            ("ARG GIVEN=2\nLABEL l=$GIVEN", "1"),
            ("LABEL l=$GIVEN", ""),
            ("ARG A=1 B=$A\nLABEL l=$B", "1"),
            ("ARG A=1\nENV A=2\nLABEL l=$A", "2"),
            ("ENV A=2\nARG A=1\nLABEL l=$A", "2"),
            ("ENV A=1 B=$A\nLABEL l=x$B", "x"),
            ("ENV A=1\nENV A=2 B=$A\nLABEL l=$B", "1"),
            ("ENV A one two\nLABEL l=$A", "one two"),
            ("ENV A=\"x y\" B='$A'\nLABEL l=\"$A$B\"", "x y$A"),
            ("ARG A\nLABEL l=${A:-none}", "none"),
        ] {
            let (state, _) = apply(text, &[("GIVEN", "1")]).expect(text);
            assert_eq!(state.config.config.labels["l"], expected, "{text}");
        }
    }

    #[test]
    fn pure_variables_make_no_file_endless() {
        let grow = "ENV a=0123456789\n".to_owned() + &"ENV a=$a$a\n".repeat(15);
        let error = apply(&format!("{grow}{}", "LABEL l=$a\n".repeat(1000)), &[]).expect_err("endless");
        assert_eq!(error.message, "variables make this file longer than 64 MiB");
        assert!(apply(&format!("{grow}{}", "LABEL l=$a\n".repeat(100)), &[]).is_ok());
        let many: String = (0..100_001).map(|number| format!(" a{number}=1")).collect();
        for keyword in ["ENV", "ARG"] {
            let error = apply(&format!("{keyword}{many}"), &[]).expect_err("endless");
            assert_eq!(error.message, "more than 100000 variables");
        }
        let deep = apply(&"WORKDIR deep\n".repeat(1000), &[]).expect_err("endless");
        assert_eq!(deep.message, "the path of the working directory is too long");
    }

    #[test]
    fn pure_variables_are_set_in_place() {
        let (state, _) = apply("ENV FROM_BASE=1 A=2\nENV A=3 PATH=/x\nLABEL l=$A$FROM_BASE", &[]).expect("valid");
        assert_eq!(state.config.config.env, ["PATH=/x", "FROM_BASE=1", "A=3"]);
        assert_eq!(state.config.config.labels["l"], "31");
    }

    #[test]
    fn pure_config_instructions() {
        let text = "ENV D=dir PORT=81\nWORKDIR /a\nWORKDIR $D/../b//\nUSER u:$D\nEXPOSE 80 $PORT/udp\nVOLUME /v [\"/w\"]\n\
            VOLUME [\"/x y\"]\nSTOPSIGNAL SIGTERM\nMAINTAINER Me\nSHELL [\"/bin/bash\", \"-c\"]\nCMD echo $D\n\
            ONBUILD RUN x\nHEALTHCHECK --interval=2s CMD y";
        let (state, step) = apply(text, &[]).expect("valid");
        let run = &state.config.config;
        assert_eq!(run.working_dir, "/a/b");
        assert_eq!(run.user, "u:dir");
        assert_eq!(run.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp", "81/udp"]);
        assert!(run.volumes.contains_key("/v") && run.volumes.contains_key("/x y"));
        assert_eq!(run.stop_signal, "SIGTERM");
        assert_eq!(state.config.author, "Me");
        assert_eq!(run.cmd.as_deref(), Some(&["/bin/bash".to_owned(), "-c".into(), "echo $D".into()][..]));
        assert_eq!(run.on_build, ["RUN x"]);
        assert_eq!(run.healthcheck.as_ref().map(|check| check.interval), Some(2_000_000_000));
        assert_eq!(
            (step.created_by.as_str(), step.lost_in_oci),
            ("/bin/sh -c #(nop) HEALTHCHECK --interval=2s CMD y", Some("HEALTHCHECK"))
        );
    }

    #[test]
    fn pure_entrypoint_and_cmd() {
        let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| words.join(" "));
        for (text, entrypoint, cmd) in [
            ("ENTRYPOINT [\"e\"]", Some("e"), None),
            ("CMD [\"c\"]\nENTRYPOINT [\"e\"]", Some("e"), Some("c")),
            ("ENTRYPOINT e", Some("/bin/sh -c e"), None),
            ("ENTRYPOINT []", None, None),
            ("CMD []", None, None),
            ("ENV A=1", None, Some("base")),
        ] {
            let (state, _) = apply(text, &[]).expect(text);
            let run = &state.config.config;
            assert_eq!((words(&run.entrypoint).as_deref(), words(&run.cmd).as_deref()), (entrypoint, cmd), "{text}");
        }
    }

    #[test]
    fn pure_run_steps() {
        let run = |text: &str, args: &[(&str, &str)]| match apply(text, args).expect(text).1 {
            Step { action: Action::Run(step), created_by, .. } => (step, created_by),
            other => panic!("{other:?}"),
        };
        let (step, created_by) = run("ARG A=1\nARG B\nRUN echo $A", &[("http_proxy", "p"), ("A", "2")]);
        assert_eq!(step.args, ["/bin/sh", "-c", "echo $A"]);
        assert_eq!(step.args_env, ["http_proxy=p", "A=2"]);
        assert_eq!(created_by, "|1 A=2 /bin/sh -c echo $A");
        let (step, created_by) = run("ARG PATH=x\nRUN [\"a\", \"$b\"]", &[]);
        assert_eq!((step.args, step.args_env.len()), (vec!["a".into(), "$b".into()], 0));
        assert_eq!(created_by, "|1 PATH=/bin /bin/sh -c [\"a\", \"$b\"]");
        let (step, created_by) = run("RUN <<EOF\na\nb\nEOF", &[]);
        assert_eq!(step.args, ["/bin/sh", "-c", "a\nb\n"]);
        assert_eq!(created_by, "/bin/sh -c <<EOF\na\nb");
        let (step, _) = run("RUN <<EOF\n#!/bin/x\nb\nEOF", &[]);
        assert_eq!(step.args, ["/bin/sh", "-c", "/dev/pipes/EOF"]);
        assert_eq!(step.script, Some(("EOF".into(), "#!/bin/x\nb\n".into())));
        let (step, _) = run("WORKDIR /w\nENV D=c\nRUN --mount=type=cache,target=$D/x y", &[]);
        assert_eq!(step.mounts[0].0.target, "/w/c/x");
        assert!(matches!(&step.mounts[0].0.kind, MountKind::Cache { id, .. } if id == "c/x"));
    }

    #[test]
    fn pure_run_flags_are_resolved() {
        let text = "ARG V=v\nRUN --security=insecure --device=a/b=c,required --mount=type=ssh --mount=type=ssh,id=$V \\\n\
            --mount=type=secret,id=s --mount=type=secret,id=s,env=S --mount=type=ssh,target=/s \\\n\
            --mount=type=cache,target=/c,id=i x";
        let args = [("BUILDKIT_SANDBOX_HOSTNAME", "h"), ("BUILDKIT_CACHE_MOUNT_NS", "n")];
        let Action::Run(step) = apply(text, &args).expect("valid").1.action else { panic!("no RUN") };
        let targets: Vec<&str> = step.mounts.iter().map(|(mount, ..)| mount.target.as_str()).collect();
        let agent = "/run/buildkit/ssh_agent";
        assert_eq!(targets, [&format!("{agent}.0"), &format!("{agent}.1"), "/run/secrets/s", "", "/s", "/c"]);
        assert!(matches!(&step.mounts[1].0.kind, MountKind::Ssh { id, .. } if id == "v"));
        assert!(matches!(&step.mounts[5].0.kind, MountKind::Cache { id, .. } if id == "n/i"));
        assert_eq!(step.hostname.as_deref(), Some("h"));
        assert_eq!(step.security.map(|(security, _)| security), Some(dockerfile::instruction::Security::Insecure));
        assert_eq!((step.devices[0].name.as_str(), step.devices[0].required), ("a/b=c", true));
        assert_eq!(step.args_env, ["V=v"]);
    }

    #[test]
    fn pure_copy_flags_are_resolved() {
        let text = "ENV X=a SUM=ABC1\nADD --link --unpack=false --keep-git-dir --exclude=$X --checksum=$SUM s /d";
        let Action::Copy(step) = apply(text, &[]).expect("valid").1.action else { panic!("no ADD") };
        assert!(step.link && !step.parents);
        assert_eq!((step.unpack, step.keep_git_dir), (Some(false), Some(true)));
        assert_eq!(step.checksum.map(|(checksum, _)| checksum), Some(Checksum::Commit("abc1".into())));
        // Patterns hold no variables.
        assert_eq!(step.exclude, ["$X"]);
    }

    #[test]
    fn pure_exposed_ports_are_bounded() {
        let text = "EXPOSE 0-65535 0-65535/udp 0-65535/sctp 0-65535\nEXPOSE 1";
        assert_eq!(apply(text, &[]).expect_err("too many").message, "EXPOSE names too many ports");
    }

    #[test]
    fn pure_copy_steps() {
        let copy = |text: &str| match apply(text, &[]).expect(text).1 {
            Step { action: Action::Copy(step), created_by, .. } => (step, created_by),
            other => panic!("{other:?}"),
        };
        for (destination, expected) in [
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("a", "/w/a"),
            (".", "/w/"),
            ("./", "/w/"),
            ("..", "/"),
            ("../x/..//y", "/y"),
            ("/", "/"),
            ("$FROM_BASE/", "/w/b/"),
        ] {
            assert_eq!(copy(&format!("WORKDIR /w\nCOPY s {destination}")).0.destination, expected, "{destination}");
        }
        let (step, created_by) = copy("ENV U=me\nADD --chown=$U:1 --chmod=u=rwX <<A x$U /d/\nx $U \"\\$U\"\nA\n");
        assert_eq!(created_by, "/bin/sh -c #(nop) ADD A xme in /d/ ");
        assert_eq!((step.chown.as_deref(), step.is_add), (Some("me:1"), true));
        let content = StepSource::Content { name: "A".into(), content: "x me \"$U\"\n".into() };
        assert_eq!(step.sources, [content, StepSource::Path("xme".into())]);
    }

    #[test]
    fn pure_bad_values_say_where() {
        for (text, message, start) in [
            (
                "EXPOSE 80 x",
                "invalid port \"x\": expected a number up to 65535, a range of them, and perhaps /tcp or /udp",
                10,
            ),
            (
                "STOPSIGNAL SIGTREM",
                "unknown signal \"SIGTREM\": expected a name like SIGTERM or a number up to 64 (did you mean SIGTERM?)",
                11,
            ),
            ("USER $none", "the user $none is empty once variables are put in", 5),
            ("COPY $none /a", "the source $none is empty once variables are put in", 5),
            ("LABEL a=${x", "missing } of a ${…}", 8),
            ("LABEL a=${x:?needed}", "x: needed", 8),
            ("LABEL a=bc${x:?needed}", "x: needed", 10),
            ("LABEL a=\"b\\\n  ${x?}\"", "x: is not allowed to be unset", 8),
            (
                "ADD --checksum=${x}1:2 a b",
                "invalid checksum \"1:2\": expected sha256: and 64 hexadecimal digits, or the hash of a git commit",
                15,
            ),
            (
                "RUN --mount=type=$T,target=/x y",
                "unknown mount type \"\": expected bind, cache, tmpfs, secret or ssh",
                17,
            ),
            ("RUN --mount=type=tmpfs,target=$T y", "a mount needs a target: target=path", 4),
            ("RUN --mount=type=tmpfs,target=.. y", "a mount can't be at /", 4),
        ] {
            let error = apply(text, &[]).expect_err(text);
            assert_eq!((error.message.as_str(), error.span.start), (message, start), "{text}");
        }
        for good in ["9", "SIGKILL", "kill", "SIGRTMIN+3", "RTMAX-1"] {
            assert_eq!(check_signal(good), Ok(()), "{good}");
        }
    }
}
