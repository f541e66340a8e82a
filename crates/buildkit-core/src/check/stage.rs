//! A stage's instructions, gone through one after the other as a build does it: the rules that
//! depend on variables, and values that no build would take.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockerfile::instruction::{Command, Copy, CopySource, Kind, MountKind};
use dockerfile::lint::{Finding, Rule};
use dockerfile::words::Expander;
use dockerfile::{Diagnostic, Instruction, Source, Span, Word};
use oci::ImageConfig;

use super::CheckOptions;
use crate::plan::{Base, Stage};
use crate::stage_state::{Scope, StageState};
use crate::step::Action;

/// Arguments of the reference's that no environment has.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Variables of one word that are told not to be set.
const MAX_MISSING: usize = 100;

/// Names among which a near one is looked for.
const MAX_NEAR: usize = 1000;

/// Findings and errors after which no more are looked for.
const MAX_FOUND: usize = 1000;

/// Goes through stages.
pub(super) struct Walk {
    scope: Arc<Scope>,
    /// Whether the file has no errors; else what a stage knows is not all there is.
    is_whole: bool,
    pub findings: Vec<Finding>,
    pub errors: Vec<Diagnostic>,
    pub notes: Vec<Diagnostic>,
    pub done: BTreeMap<usize, Walked>,
}

/// A stage at its end.
pub(super) struct Walked {
    pub state: StageState,
    /// Whether its base image's variables are known.
    is_known: bool,
    has_workdir: bool,
    /// What the outline tells of it.
    pub uses: Uses,
}

/// What a stage can be given.
#[derive(Default)]
pub(super) struct Uses {
    /// Each ARG with its value behind it, and its instruction's place.
    pub args: Vec<(String, Option<String>, Span)>,
    /// ID, whether it is required, place.
    pub secrets: Vec<(String, bool, Span)>,
    pub agents: Vec<(String, bool, Span)>,
    pub caches: Vec<(String, Span)>,
}

/// A piece of text with variables.
struct Piece<'a> {
    text: &'a str,
    span: Span,
    is_heredoc: bool,
}

impl Walk {
    pub fn new(scope: Arc<Scope>, is_whole: bool) -> Walk {
        Walk { scope, is_whole, findings: Vec::new(), errors: Vec::new(), notes: Vec::new(), done: BTreeMap::new() }
    }

    pub fn stage(&mut self, stage: &Stage, options: &CheckOptions<'_>, done: &BTreeMap<usize, Walked>) -> Walked {
        let mut walked = self.begin(stage, options, done);
        for (name, value) in options.env {
            walked.state.set_env(name, value);
        }
        for text in std::mem::take(&mut walked.state.config.config.on_build) {
            let triggers = dockerfile::parse_instructions(&Source::new("ONBUILD", text.as_bytes()));
            for trigger in &triggers.instructions {
                // What is wrong with it is its image's business.
                walked.has_workdir |= matches!(trigger.kind, Kind::Workdir(_));
                let _ = walked.state.change(trigger);
            }
        }
        let mut is_told = false;
        for instruction in &stage.instructions {
            if self.errors.len() >= MAX_FOUND {
                break;
            }
            let is_enough = self.findings.len() >= MAX_FOUND;
            let undefined = if is_enough { Vec::new() } else { self.undefined(&walked.state, instruction) };
            if walked.is_known {
                self.findings.extend(
                    undefined.into_iter().map(|diagnostic| {
                        Finding::new(Rule::UndefinedVar, instruction, diagnostic).in_stage(stage.index)
                    }),
                );
            } else if !undefined.is_empty() && self.is_whole && !is_told {
                self.notes.push(unknown_base(stage));
                is_told = true;
            }
            if !is_enough {
                self.rules(stage, &mut walked, instruction, options);
            }
            self.apply(&mut walked, instruction);
        }
        walked
    }

    fn begin(&mut self, stage: &Stage, options: &CheckOptions<'_>, done: &BTreeMap<usize, Walked>) -> Walked {
        let uses = Uses::default();
        let earlier = match &stage.base {
            Base::Stage(index) => done.get(index),
            _ => None,
        };
        match (&stage.base, earlier) {
            (_, Some(base)) => {
                let state = StageState::on_stage(&base.state, base.state.config.clone());
                Walked { state, is_known: base.is_known, has_workdir: base.has_workdir, uses }
            }
            (base, None) => {
                let config = match base {
                    Base::Image(name) => (options.base)(name),
                    Base::Scratch => Some(ImageConfig::default()),
                    Base::Stage(_) | Base::Context(_) => None,
                };
                if let (Some(config), Base::Image(name)) = (&config, base) {
                    self.platform(stage, name, config, options);
                }
                let is_known = self.is_whole && config.is_some();
                let state = StageState::new(self.scope.clone(), config.unwrap_or_default());
                Walked { state, is_known, has_workdir: false, uses }
            }
        }
    }

    /// InvalidBaseImagePlatform.
    fn platform(&mut self, stage: &Stage, name: &str, config: &ImageConfig, options: &CheckOptions<'_>) {
        let Kind::From(from) = &stage.from.kind else { return };
        let wanted = &options.plan.platform;
        if from.platform.is_none() && (config.os != wanted.os || config.architecture != wanted.architecture) {
            let message = format!(
                "the image {name} is of the platform {}/{}, and {wanted} is built for",
                config.os, config.architecture
            );
            let diagnostic = Diagnostic::warning(message, from.base.span);
            self.findings.push(Finding::new(Rule::InvalidBaseImagePlatform, &stage.from, diagnostic));
        }
    }

    /// UndefinedVar.
    fn undefined(&self, state: &StageState, instruction: &Instruction) -> Vec<Diagnostic> {
        if !instruction.text.contains('$') && !matches!(instruction.kind, Kind::Copy(_) | Kind::Add(_)) {
            return Vec::new();
        }
        let mut own = BTreeSet::new();
        let mut found = Vec::new();
        if let Kind::Arg(args) = &instruction.kind {
            for arg in args {
                let default = arg.default.iter().filter(|_| !self.scope.build_args.contains_key(&arg.name.text));
                found.extend(default.flat_map(|word| self.missing(state, &piece(word), &own)));
                own.insert(arg.name.text.clone());
            }
            return found;
        }
        for piece in pieces(instruction).iter().filter(|piece| piece.text.contains('$')) {
            found.extend(self.missing(state, piece, &own));
        }
        found
    }

    fn missing(&self, state: &StageState, piece: &Piece<'_>, own: &BTreeSet<String>) -> Vec<Diagnostic> {
        // The file has an error already, and each word may be long.
        if self.scope.is_full() {
            return Vec::new();
        }
        let missing: RefCell<Vec<String>> = RefCell::default();
        let lookup = |name: &str| {
            let value = state.value(name);
            let is_known = value.is_some()
                || state.declares(name)
                || name == "PATH"
                || own.contains(name)
                || NO_VARIABLES.contains(&name);
            let mut missing = missing.borrow_mut();
            if !is_known && missing.len() < MAX_MISSING && !missing.iter().any(|old| old == name) {
                missing.push(name.to_owned());
            }
            value
        };
        let expander = Expander::new(&lookup, self.scope.escape);
        // What can't be expanded is an error of its own.
        let _ = if piece.is_heredoc { expander.expand_heredoc(piece.text) } else { expander.expand(piece.text) };
        let missing = missing.into_inner();
        if missing.is_empty() {
            return Vec::new();
        }
        let env = state.config.config.env.iter().filter_map(|entry| entry.split('=').next());
        let known: Vec<&str> = state.declared().chain(env).chain(["PATH"]).take(MAX_NEAR).collect();
        let diagnostic = |name: &String| {
            let span = variable_span(piece.text, piece.span, name);
            let near = dockerfile::diagnostic::nearest(name, known.iter().copied());
            let diagnostic = Diagnostic::warning(format!("the variable ${name} is not set"), span);
            match near {
                Some(near) => diagnostic.hint(format!("did you mean ${near}?")),
                None => diagnostic,
            }
        };
        missing.iter().map(diagnostic).collect()
    }

    /// The rules that look at one instruction with its variables put in.
    fn rules(&mut self, stage: &Stage, walked: &mut Walked, instruction: &Instruction, options: &CheckOptions<'_>) {
        let escape = self.scope.escape;
        let state = &walked.state;
        let lookup = |name: &str| state.value(name);
        let expander = Expander::new(&lookup, escape);
        let mut find = |rule, diagnostic| {
            self.findings.push(Finding::new(rule, instruction, diagnostic).in_stage(stage.index));
        };
        match &instruction.kind {
            Kind::Cmd(Command::Shell(line)) | Kind::Entrypoint(Command::Shell(line))
                if state.config.config.shell.is_empty() =>
            {
                let message = format!("signals do not reach a {} that is no JSON list", instruction.name());
                let hint =
                    format!("write {} [\"program\", \"argument\"], or name the shell by SHELL", instruction.name());
                find(Rule::JSONArgsRecommended, Diagnostic::warning(message, line.span).hint(hint));
            }
            Kind::Workdir(word) => {
                let path = expander.expand(&word.text).unwrap_or_else(|_| "/".to_owned());
                // An image that is not at hand may set what the path begins with.
                let may_be_absolute = !walked.is_known && word.text.starts_with('$');
                if !walked.has_workdir && !path.starts_with('/') && !may_be_absolute {
                    let message = format!("where {path} is depends on the base image");
                    let diagnostic = Diagnostic::warning(message, word.span).hint("write an absolute path first");
                    find(Rule::WorkdirRelativePath, diagnostic);
                }
                walked.has_workdir = true;
            }
            Kind::Expose(words) => {
                for word in words {
                    for port in expander.expand_to_words(&word.text).unwrap_or_default() {
                        expose(&port, word, &mut find);
                    }
                }
            }
            Kind::Copy(copy) if copy.from.is_none() => ignored(copy, &expander, options, &mut find),
            Kind::Add(copy) => ignored(copy, &expander, options, &mut find),
            _ => {}
        }
    }

    /// Brings the state behind the instruction.
    fn apply(&mut self, walked: &mut Walked, instruction: &Instruction) {
        match walked.state.change(instruction) {
            Ok(action) => {
                if let Action::Run(run) = action {
                    for (mount, _, _) in run.mounts {
                        let span = instruction.span;
                        match mount.kind {
                            MountKind::Secret { id, required, .. } => walked.uses.secrets.push((id, required, span)),
                            MountKind::Ssh { id, required, .. } => walked.uses.agents.push((id, required, span)),
                            MountKind::Cache { id, .. } => walked.uses.caches.push((id, span)),
                            _ => {}
                        }
                    }
                }
            }
            // A variable that is not known may make the value right.
            Err(error) if walked.is_known || !instruction.text.contains('$') => self.errors.push(error),
            Err(_) => {}
        }
        if let Kind::Arg(args) = &instruction.kind {
            for arg in args {
                let value = walked.state.arg(&arg.name.text).map(str::to_owned);
                walked.uses.args.push((arg.name.text.clone(), value, instruction.span));
            }
        }
    }
}

/// CopyIgnoredFile. With exceptions in the ignore file, the reference says nothing.
fn ignored(copy: &Copy, expander: &Expander<'_>, options: &CheckOptions<'_>, find: &mut impl FnMut(Rule, Diagnostic)) {
    let ignore = options.ignore;
    if ignore.is_empty() || ignore.has_exceptions() {
        return;
    }
    for source in &copy.sources {
        let CopySource::Path(word) = source else { continue };
        let Ok(path) = expander.expand(&word.text) else { continue };
        if path.contains("://") || crate::context::is_git(&path) {
            continue;
        }
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        let clean = parts.collect::<Vec<_>>().join("/");
        let is_ignored = if clean.is_empty() { ignore.is_everything() } else { ignore.matches(&clean) };
        if is_ignored {
            let message = format!("the ignore file leaves {path} out of the build context");
            find(Rule::CopyIgnoredFile, Diagnostic::warning(message, word.span));
        }
    }
}

/// ExposeProtoCasing, ExposeInvalidFormat.
fn expose(port: &str, word: &Word, find: &mut impl FnMut(Rule, Diagnostic)) {
    let (outside, own) = port.rsplit_once(':').unwrap_or(("", port));
    let protocol = own.split_once('/').map_or("", |(_, protocol)| protocol);
    if protocol != protocol.to_lowercase() {
        let message = format!("the protocol {protocol} is not in lower case");
        let diagnostic = Diagnostic::warning(message, word.span).hint(format!("write {}", protocol.to_lowercase()));
        find(Rule::ExposeProtoCasing, diagnostic);
    }
    if !outside.is_empty() {
        let message = format!("an address or port of the host counts for nothing in EXPOSE {port}");
        let diagnostic = Diagnostic::warning(message, word.span).hint(format!("write {own}"));
        find(Rule::ExposeInvalidFormat, diagnostic);
    }
}

fn piece(word: &Word) -> Piece<'_> {
    Piece { text: &word.text, span: word.span, is_heredoc: false }
}

/// The texts of an instruction in which variables are put in.
fn pieces(instruction: &Instruction) -> Vec<Piece<'_>> {
    match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.pairs.iter().flat_map(|pair| [piece(&pair.name), piece(&pair.value)]).collect()
        }
        Kind::Workdir(word) | Kind::User(word) | Kind::StopSignal(word) => vec![piece(word)],
        Kind::Volume(words) => words.iter().map(piece).collect(),
        Kind::Copy(copy) | Kind::Add(copy) => {
            let flags = [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten().map(piece);
            let sources = copy.sources.iter().filter_map(|source| match source {
                CopySource::Path(word) => Some(piece(word)),
                CopySource::Heredoc(heredoc) if heredoc.expand => {
                    Some(Piece { text: &heredoc.raw, span: heredoc.span, is_heredoc: true })
                }
                CopySource::Heredoc(_) => None,
            });
            flags.chain(sources).chain([piece(&copy.destination)]).collect()
        }
        Kind::Run(run) => {
            let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
            fields
                .filter(|(key, _)| !key.text.eq_ignore_ascii_case("from"))
                .filter_map(|(_, value)| value.as_ref())
                .map(piece)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Where `text`, which stands at `span`, uses the variable; all of it if that can't be told.
pub(super) fn variable_span(text: &str, span: Span, name: &str) -> Span {
    let is_plain = span.end - span.start >= text.len();
    let use_at = text.match_indices('$').find_map(|(at, _)| {
        let rest = text.get(at + 1..)?;
        let (brace, rest) = match rest.strip_prefix('{') {
            Some(rest) => (1, rest),
            None => (0, rest),
        };
        let behind = rest.strip_prefix(name)?;
        if behind.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let close = usize::from(brace == 1 && behind.starts_with('}'));
        Some((at, at + 1 + brace + name.len() + close))
    });
    match use_at {
        // A word of several lines is longer in the file than it is by itself.
        Some((from, to)) if is_plain && span.end - span.start == text.len() => {
            Span::new(span.start + from, span.start + to)
        }
        Some((from, to)) if is_plain && text.contains('\n') => Span::new(span.start + from, span.start + to),
        _ => span,
    }
}

fn unknown_base(stage: &Stage) -> Diagnostic {
    let (name, span) = match &stage.from.kind {
        Kind::From(from) => (from.base.text.as_str(), from.base.span),
        _ => ("", stage.from.span),
    };
    let message = format!("the image {name} is not in the store: whether it sets this stage's variables is not known");
    Diagnostic::note(message, span).hint("pull it, and check again")
}
