//! What a build will do: the stages of a Dockerfile in order, those nobody needs left out.
//!
//! Pure: the same text and options give the same plan. Only what stands outside of stages is
//! expanded here (FROM and the ARGs before it); the rest depends on base images and is left to
//! [`crate::stage_state`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockerfile::instruction::{Arg, From, Kind};
use dockerfile::words::Expander;
use dockerfile::{Diagnostic, Dockerfile, Instruction, Span, Word};
use oci::Platform;

/// What the plan depends on besides the Dockerfile.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Stage to build, by name or number; the last one if `None`.
    pub target: Option<String>,
    /// Stages, by name or number, whose steps are all done again.
    pub without_cache: Vec<String>,
    /// What the first stage begins with, whatever its FROM says.
    pub from: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// Names of the contexts that stand in for stages and images, as
    /// [`crate::context::context_name`] has them.
    pub contexts: BTreeSet<String>,
    /// Platform of the image.
    pub platform: Platform,
    /// Platform of this machine.
    pub build_platform: Platform,
}

/// What a build will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The stages that are needed, in the order of the file; the last one is the target.
    pub stages: Vec<Stage>,
    /// Those before the target that nothing in the file needs: an ONBUILD trigger of a base image may.
    pub spare: Vec<Stage>,
    /// Arguments declared before the first FROM, and the predefined ones.
    pub global_args: BTreeMap<String, String>,
    /// The file's escape character.
    pub escape: char,
    /// The names of all stages of the file, needed or not.
    pub names: StageNames,
    /// What the user should know of.
    pub warnings: Vec<Diagnostic>,
}

/// The stages of a file by name and number.
#[derive(Clone, Debug, Default)]
pub struct StageNames {
    count: usize,
    /// Numbers of the stages with a name, ascending.
    by_name: BTreeMap<String, Vec<usize>>,
    contexts: BTreeSet<String>,
}

impl StageNames {
    fn push(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.by_name.entry(name.to_owned()).or_default().push(self.count);
        }
        self.count += 1;
    }

    /// The last stage of this name that comes before stage `index`.
    fn before(&self, index: usize, name: &str) -> Option<usize> {
        let numbers = self.by_name.get(&name.to_lowercase())?;
        numbers.get(..numbers.partition_point(|number| *number < index))?.last().copied()
    }

    /// Whether stage `index` or a later one has this name.
    fn at_or_after(&self, index: usize, name: &str) -> Option<usize> {
        let numbers = self.by_name.get(&name.to_lowercase())?;
        numbers.get(numbers.partition_point(|number| *number < index)).copied()
    }

    /// The named context that stands in for `name`, which is no stage.
    fn context(&self, name: &str) -> Option<String> {
        if self.contexts.is_empty() {
            return None;
        }
        let name = crate::context::context_name(name);
        self.contexts.contains(&name).then_some(name)
    }

    /// All names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// A stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its number in the file, from 0.
    pub index: usize,
    /// Its name.
    pub name: Option<String>,
    /// What it begins with.
    pub base: Base,
    /// The platform that it is for.
    pub platform: Platform,
    /// Its FROM.
    pub from: Arc<Instruction>,
    /// The instructions behind FROM.
    pub instructions: Vec<Arc<Instruction>>,
    /// Whether a later stage begins with it.
    pub is_base: bool,
    /// Whether what earlier builds did counts for it.
    pub uses_cache: bool,
    /// Number of the last stage that reads files of it.
    pub last_reader: Option<usize>,
}

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// A named context.
    Context(String),
    /// An image.
    Image(String),
}

/// Where `--from` or `from=` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An earlier stage, by its number in the file.
    Stage(usize),
    /// A named context.
    Context(String),
    /// An image.
    Image(String),
}

/// Errors after which no more are looked for.
const MAX_ERRORS: usize = 1000;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Something in the file.
    File(Vec<Diagnostic>),
    /// The target is no stage; with a hint.
    Target(String, Option<String>),
    /// A stage without cache is none; with a hint.
    WithoutCache(String, Option<String>),
}

/// The stages of a file, needed or not, and what is wrong with it.
pub struct Outline {
    /// In the order of the file.
    pub stages: Vec<Stage>,
    pub(crate) names: StageNames,
    pub(crate) global_args: BTreeMap<String, String>,
    /// In the order of the file.
    pub errors: Vec<Diagnostic>,
    /// Which stage reads which.
    readers: Vec<(usize, usize)>,
}

impl Outline {
    /// The plan, if the file has no errors.
    pub fn plan(self, file: &Dockerfile, options: &PlanOptions) -> Result<Plan, PlanError> {
        if !self.errors.is_empty() {
            return Err(PlanError::File(self.errors));
        }
        let (target, needed) = self.needed(options.target.as_deref())?;
        let Outline { mut stages, names, global_args, readers, .. } = self;
        for name in &options.without_cache {
            let index = find_stage(name, &names).map_err(|(message, hint)| PlanError::WithoutCache(message, hint))?;
            stages.get_mut(index).into_iter().for_each(|stage| stage.uses_cache = false);
        }
        stages.truncate(target + 1);
        let based_on: BTreeSet<usize> = stages
            .iter()
            .filter_map(|stage| match stage.base {
                Base::Stage(base) => Some(base),
                _ => None,
            })
            .collect();
        let mut last_readers: BTreeMap<usize, usize> = BTreeMap::new();
        for (reader, read) in readers.into_iter().filter(|(reader, _)| needed.contains(reader)) {
            let last = last_readers.entry(read).or_insert(reader);
            *last = reader.max(*last);
        }
        for stage in &mut stages {
            stage.is_base = based_on.contains(&stage.index);
            stage.last_reader = last_readers.get(&stage.index).copied();
        }
        let (stages, spare) = stages.into_iter().partition(|stage| needed.contains(&stage.index));
        let warnings = file.diagnostics.clone();
        Ok(Plan { stages, spare, global_args, escape: file.ast.escape, names, warnings })
    }

    /// The target, and the numbers of the stages that it needs, itself among them.
    pub(crate) fn needed(&self, target: Option<&str>) -> Result<(usize, BTreeSet<usize>), PlanError> {
        let last = self.names.count.saturating_sub(1);
        let found = target.map_or(Ok(last), |name| find_stage(name, &self.names));
        let target = found.map_err(|(message, hint)| PlanError::Target(message, hint))?;
        Ok((target, needed(target, &self.stages, &self.readers)))
    }
}

/// Puts the file's instructions into stages.
pub fn outline(file: &Dockerfile, options: &PlanOptions) -> Outline {
    let mut errors: Vec<Diagnostic> = file.errors().cloned().collect();
    let escape = file.ast.escape;
    let global = global_args(file, options, &mut errors);
    let mut stages: Vec<Stage> = Vec::new();
    let mut names = StageNames { contexts: options.contexts.clone(), ..StageNames::default() };
    let mut is_replaced = false;
    let mut variables = Variables { global: &global, given: &options.build_args, own: BTreeMap::new(), escape };
    for instruction in &file.instructions {
        if matches!(instruction.kind, Kind::From(_)) {
            variables.own.clear();
        }
        let expanded = with_origins_expanded(instruction, &variables).unwrap_or_else(|error| {
            errors.push(error);
            instruction.clone()
        });
        match &expanded.kind {
            Kind::From(from) => {
                let name = from.name.as_ref().and_then(|word| {
                    let name = stage_name(word, &variables);
                    name.map_err(|error| errors.push(error)).ok()
                });
                let own_context = name.as_ref().and_then(|name| names.context(name));
                is_replaced = own_context.is_some();
                let given = options.from.as_deref().filter(|_| stages.is_empty());
                let found = match (own_context, given) {
                    (Some(name), _) => Ok(Base::Context(name)),
                    (None, Some(given)) => Ok(named_base(given, &names)),
                    (None, None) => base(from, &names, &global, escape),
                };
                let base = found.unwrap_or_else(|error| {
                    errors.push(error);
                    Base::Scratch
                });
                let platform = platform(from, &base, &stages, &global, escape, options).unwrap_or_else(|error| {
                    errors.push(error);
                    options.platform.clone()
                });
                names.push(name.as_deref());
                stages.push(Stage {
                    index: stages.len(),
                    name,
                    base,
                    platform,
                    from: expanded,
                    instructions: Vec::new(),
                    is_base: false,
                    uses_cache: true,
                    last_reader: None,
                });
            }
            // A context in place of a stage is all of it.
            _ if is_replaced => {}
            kind => {
                if let Kind::Arg(args) = kind {
                    variables.declare(args);
                }
                if let Some(stage) = stages.last_mut() {
                    stage.instructions.push(expanded);
                }
            }
        }
    }
    let mut readers: Vec<(usize, usize)> = Vec::new();
    for stage in &stages {
        for instruction in std::iter::once(&stage.from).chain(&stage.instructions) {
            if errors.len() > MAX_ERRORS {
                break;
            }
            // Variables that are left belong to a stage that begins with this one.
            for from in origins(instruction).into_iter().filter(|word| !word.text.contains('$')) {
                match origin(from, stage.index, &names) {
                    Ok(Origin::Stage(read)) => readers.push((stage.index, read)),
                    Ok(Origin::Image(name) | Origin::Context(name)) if matches!(instruction.kind, Kind::From(_)) => {
                        errors.push(no_stage(&name, from.span, &names));
                    }
                    Ok(Origin::Image(_) | Origin::Context(_)) => {}
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    errors.sort_by_key(|error| error.span.start);
    Outline { stages, names, global_args: global, errors, readers }
}

/// Makes the plan.
pub fn plan(file: &Dockerfile, options: &PlanOptions) -> Result<Plan, PlanError> {
    outline(file, options).plan(file, options)
}

fn itself(name: &str) -> String {
    format!("--from={name}: no stage or image found with that name: it is this stage itself")
}

/// What `--from` or `from=` means in stage `index`.
pub fn origin(word: &Word, index: usize, names: &StageNames) -> Result<Origin, Diagnostic> {
    if let Some(found) = names.before(index, &word.text) {
        return Ok(Origin::Stage(found));
    }
    if let Ok(number) = word.text.parse::<usize>() {
        if number < index {
            return Ok(Origin::Stage(number));
        }
        if number == index {
            return Err(Diagnostic::error(itself(&word.text), word.span));
        }
        return Err(Diagnostic::error(format!("there is no stage {number} before this one"), word.span)
            .hint("stages are counted from 0"));
    }
    match names.at_or_after(index, &word.text) {
        Some(found) if found == index => Err(Diagnostic::error(itself(&word.text), word.span)),
        Some(_) => {
            let error = Diagnostic::error(format!("stage {} comes later in the file", word.text), word.span);
            Err(error.hint("a stage can use earlier stages only"))
        }
        None => Ok(match names.context(&word.text) {
            Some(name) => Origin::Context(name),
            None => Origin::Image(word.text.clone()),
        }),
    }
}

fn no_stage(name: &str, span: Span, names: &StageNames) -> Diagnostic {
    let message = format!("no stage {name:?} before this one");
    Diagnostic::error(message, span).suggest(name, names.iter())
}

/// The words of an instruction that name a stage or an image; those of FROM name a stage.
pub fn origins(instruction: &Instruction) -> Vec<&Word> {
    match &instruction.kind {
        Kind::From(from) => from.after.iter().collect(),
        Kind::Copy(copy) => copy.from.iter().collect(),
        Kind::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
        // What is left for later runs in a stage that begins with this one.
        Kind::OnBuild(later) => origins(&later.trigger),
        _ => Vec::new(),
    }
}

/// Names of the predefined arguments for proxies, which need no ARG and leave no trace.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Names of the arguments that tell the builder something and need no ARG. Those for a history of
/// builds, for the frontend, for a cache inside the image and for indexes tell this one nothing.
pub const BUILDER_ARGS: [&str; 9] = [
    CACHE_MOUNT_NAMESPACE,
    SANDBOX_HOSTNAME,
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
];

/// Argument that keeps the cache mounts of one build apart from those of others.
pub const CACHE_MOUNT_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// Argument that names the host that commands see.
pub const SANDBOX_HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

pub(crate) fn platform_args(options: &PlanOptions) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("TARGET", &options.platform), ("BUILD", &options.build_platform)] {
        let parts = [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ];
        args.extend(parts.map(|(name, value)| (format!("{prefix}{name}"), value)));
    }
    args.insert("TARGETSTAGE".into(), options.target.clone().unwrap_or_else(|| "default".into()));
    args
}

pub(crate) fn global_args(
    file: &Dockerfile,
    options: &PlanOptions,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    let mut args = platform_args(options);
    for name in args.clone().keys() {
        if let Some(value) = options.build_args.get(name) {
            args.insert(name.clone(), value.clone());
        }
    }
    for instruction in &file.instructions {
        let Kind::Arg(declared) = &instruction.kind else { break };
        for arg in declared {
            let name = &arg.name.text;
            if let Some(value) = options.build_args.get(name) {
                args.insert(name.clone(), value.clone());
            } else if let Some(default) = &arg.default {
                match expand(default, &args, file.ast.escape) {
                    Ok(value) => _ = args.insert(name.clone(), value),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    args
}

fn expand(word: &Word, args: &BTreeMap<String, String>, escape: char) -> Result<String, Diagnostic> {
    let lookup = |name: &str| args.get(name).cloned();
    Expander::new(&lookup, escape).expand(&word.text).map_err(|error| error.at_word(word))
}

/// What is put in for variables in `--from`, `from=` and names of stages: as with Buildah, ARGs of
/// the stage so far, and those before the first FROM.
struct Variables<'a> {
    global: &'a BTreeMap<String, String>,
    given: &'a BTreeMap<String, String>,
    own: BTreeMap<String, String>,
    escape: char,
}

impl Variables<'_> {
    fn declare(&mut self, args: &[Arg]) {
        for arg in args {
            let given = self.given.get(&arg.name.text).cloned();
            // What is wrong with a default is told when the instruction's turn comes.
            let value = given.or_else(|| arg.default.as_ref().and_then(|word| self.expand(word).ok()));
            if let Some(value) = value.or_else(|| self.global.get(&arg.name.text).cloned()) {
                self.own.insert(arg.name.text.clone(), value);
            }
        }
    }

    fn expand(&self, word: &Word) -> Result<String, Diagnostic> {
        let lookup = |name: &str| self.own.get(name).or_else(|| self.global.get(name)).cloned();
        Expander::new(&lookup, self.escape).expand(&word.text).map_err(|error| error.at_word(word))
    }

    /// Puts variables into the name of a stage or an image.
    fn put_into(&self, word: &mut Word) -> Result<(), Diagnostic> {
        if word.text.contains('$') {
            let text = self.expand(word)?;
            if text.is_empty() {
                let message = format!("the stage or image {} is empty once variables are put in", word.text);
                return Err(Diagnostic::error(message, word.span).hint("declare the variable by ARG in this stage"));
            }
            word.text = text;
        }
        Ok(())
    }
}

/// The instruction with variables put into the names of the stages and images that it reads.
fn with_origins_expanded(
    instruction: &Arc<Instruction>,
    variables: &Variables<'_>,
) -> Result<Arc<Instruction>, Diagnostic> {
    if !origins(instruction).iter().any(|word| word.text.contains('$')) {
        return Ok(instruction.clone());
    }
    let mut instruction = Instruction::clone(instruction);
    match &mut instruction.kind {
        Kind::From(from) => from.after.iter_mut().try_for_each(|word| variables.put_into(word))?,
        Kind::Copy(copy) => copy.from.iter_mut().try_for_each(|from| variables.put_into(from))?,
        Kind::Run(run) => {
            let mut words = run.mounts.iter_mut().filter_map(|mount| mount.from.as_mut());
            words.try_for_each(|word| variables.put_into(word))?;
        }
        _ => {}
    }
    Ok(Arc::new(instruction))
}

fn stage_name(word: &Word, variables: &Variables<'_>) -> Result<String, Diagnostic> {
    if !word.text.contains('$') {
        return Ok(word.text.clone());
    }
    Word::new(variables.expand(word)?, word.span).stage_name().map(|name| name.text)
}

/// The platform that a stage is for: that of the stage it begins with, or that it asks for, or else
/// that of the build.
fn platform(
    from: &From,
    base: &Base,
    stages: &[Stage],
    global: &BTreeMap<String, String>,
    escape: char,
    options: &PlanOptions,
) -> Result<Platform, Diagnostic> {
    let mut platform = options.platform.clone();
    if let Some(word) = &from.platform {
        let text = expand(word, global, escape)?;
        platform = text.parse().map_err(|error| Diagnostic::error(format!("{error}"), word.span))?;
        if platform.os != "linux" {
            let message = format!("platform {platform}: only images for linux can be built");
            return Err(Diagnostic::error(message, word.span));
        }
    }
    Ok(match base {
        Base::Stage(index) => stages.get(*index).map_or(platform, |stage| stage.platform.clone()),
        _ => platform,
    })
}

fn base(from: &From, names: &StageNames, global: &BTreeMap<String, String>, escape: char) -> Result<Base, Diagnostic> {
    let name = expand(&from.base, global, escape)?;
    if name.is_empty() {
        let error = Diagnostic::error(
            format!("the base {} is empty once variables are put in", from.base.text),
            from.base.span,
        );
        return Err(error.hint("declare the variable by ARG before the first FROM, or give it by --build-arg"));
    }
    Ok(named_base(&name, names))
}

fn named_base(name: &str, names: &StageNames) -> Base {
    if name == "scratch" {
        return Base::Scratch;
    }
    match names.before(names.count, name) {
        Some(index) => Base::Stage(index),
        None => match names.context(name) {
            Some(name) => Base::Context(name),
            None => Base::Image(name.to_owned()),
        },
    }
}

/// The stage with this name or number, or else what is wrong, and a hint.
fn find_stage(wanted: &str, names: &StageNames) -> Result<usize, (String, Option<String>)> {
    if let Some(index) = names.before(names.count, wanted) {
        return Ok(index);
    }
    if let Some(index) = wanted.parse().ok().filter(|index| *index < names.count) {
        return Ok(index);
    }
    let hint = match dockerfile::diagnostic::nearest(wanted, names.iter()) {
        Some(near) => Some(format!("did you mean {near}?")),
        None if names.by_name.is_empty() => None,
        None => Some(format!("stages: {}", names.iter().collect::<Vec<_>>().join(", "))),
    };
    Err((format!("no stage {wanted:?} in the Dockerfile"), hint))
}

/// The target and every stage that it begins with or reads from, directly or not.
fn needed(target: usize, stages: &[Stage], readers: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut reads: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (reader, read) in readers {
        reads.entry(*reader).or_default().push(*read);
    }
    let mut needed = BTreeSet::new();
    let mut next = vec![target];
    while let Some(index) = next.pop() {
        if !needed.insert(index) {
            continue;
        }
        if let Some(Stage { base: Base::Stage(base), .. }) = stages.get(index) {
            next.push(*base);
        }
        next.extend(reads.get(&index).into_iter().flatten());
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerfile::Source;

    fn options() -> PlanOptions {
        let platform: Platform = "linux/amd64".parse().expect("valid");
        PlanOptions {
            from: None,
            target: None,
            without_cache: Vec::new(),
            build_args: BTreeMap::new(),
            contexts: BTreeSet::new(),
            platform: platform.clone(),
            build_platform: platform,
        }
    }

    fn make(text: &str, options: &PlanOptions) -> Result<String, String> {
        let source = Source::new("f", text.as_bytes());
        match plan(&dockerfile::parse(&source), options) {
            Ok(plan) => {
                let show = |stage: &Stage| {
                    let base = match &stage.base {
                        Base::Scratch => "scratch".to_owned(),
                        Base::Stage(index) => format!("#{index}"),
                        Base::Image(name) => name.clone(),
                        Base::Context(name) => format!("={name}"),
                    };
                    let reader = stage.last_reader.map_or(String::new(), |reader| format!("<{reader}"));
                    format!(
                        "{}:{base}+{}{}{reader}",
                        stage.index,
                        stage.instructions.len(),
                        if stage.is_base { "b" } else { "" }
                    )
                };
                let spare = plan.spare.iter().map(|stage| format!("({})", show(stage)));
                Ok(plan.stages.iter().map(show).chain(spare).collect::<Vec<_>>().join(" "))
            }
            Err(PlanError::File(errors)) => {
                Err(errors.iter().map(|error| error.line(&source)).collect::<Vec<_>>().join("; "))
            }
            Err(PlanError::Target(message, hint) | PlanError::WithoutCache(message, hint)) => {
                Err(format!("{message} ({})", hint.unwrap_or_default()))
            }
        }
    }

    #[test]
    fn pure_plans() {
        for (text, expected) in [
            ("FROM a", "0:a+0"),
            ("FROM scratch\nRUN x", "0:scratch+1"),
            ("FROM a AS b\nFROM c\nCOPY --from=b x y", "0:a+0<1 1:c+1"),
            ("FROM a AS b\nFROM c\nCOPY --from=0 x y", "0:a+0<1 1:c+1"),
            ("FROM a AS b\nFROM b\nRUN x", "0:a+0b 1:#0+1"),
            ("FROM a AS b\nFROM c AS unused\nFROM b", "0:a+0b 2:#0+0 (1:c+0)"),
            ("FROM a AS B\nFROM b", "0:a+0b 1:#0+0"),
            (
                "FROM a AS b\nFROM c AS d\nRUN --mount=from=b,target=/x y\nFROM e\nCOPY --from=d x y",
                "0:a+0<1 1:c+1<2 2:e+1",
            ),
            ("FROM a AS a\nFROM a", "0:a+0b 1:#0+0"),
            ("FROM a AS b\nFROM c AS d\nFROM --after=b --after=1 e", "0:a+0<2 1:c+0<2 2:e+0"),
            ("FROM a\nCOPY --from=alpine:3 x y", "0:a+1"),
            ("FROM a AS b\nFROM c\nONBUILD COPY --from=b x y", "0:a+0<1 1:c+1"),
            ("ARG V=1\nFROM a:${V}", "0:a:1+0"),
            ("ARG V=1\nARG W=x$V\nFROM a:${W}-$TARGETARCH", "0:a:x1-amd64+0"),
            ("FROM --platform=$BUILDPLATFORM a", "0:a+0"),
            ("ARG V=1\nFROM a AS x$V\nFROM b\nCOPY --from=x$V c d", "0:a+0<1 1:b+1"),
            ("ARG V=1\nFROM a AS X/$V\nFROM b\nARG V=2\nCOPY --from=${V}:3 c d", "1:b+2 (0:a+0)"),
            ("FROM a AS b\nFROM c\nARG B=b\nARG D=$B\nRUN --mount=from=$D,target=/x y", "0:a+0<1 1:c+3"),
            ("FROM a AS b\nARG B=x\nFROM --after=${B:-b} c", "0:a+1<1 1:c+0"),
            ("FROM a\nONBUILD COPY --from=$B c d", "0:a+1"),
        ] {
            assert_eq!(make(text, &options()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn pure_named_contexts_stand_in_for_stages_and_images() {
        let contexts = BTreeSet::from(["a".to_owned(), "s".to_owned(), "quay.io/x:1".to_owned()]);
        let options = PlanOptions { contexts, ..options() };
        for (text, expected) in [
            ("FROM a", "0:=a+0"),
            ("FROM docker.io/library/a:latest", "0:=a+0"),
            ("FROM a:1", "0:a:1+0"),
            ("FROM quay.io/x:1\nRUN x", "0:=quay.io/x:1+1"),
            // The stage of that name is the context, whatever it says.
            ("FROM $nothing AS s\nRUN x\nFROM b\nCOPY --from=s x y", "0:=s+0<1 1:b+1"),
            ("FROM b AS S\nRUN x\nFROM s", "0:=s+0b 1:#0+0"),
            ("FROM b\nCOPY --from=s x y\nRUN --mount=from=a,target=/x y", "0:b+2"),
            // Another stage's name comes before a context's.
            ("FROM b AS c\nFROM c", "0:b+0b 1:#0+0"),
        ] {
            assert_eq!(make(text, &options).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn pure_stages_have_platforms() {
        let text = "FROM a AS own\nFROM --platform=linux/arm/v7 b AS arm\nFROM --platform=linux/s390x arm\n\
            FROM --platform=$BUILDPLATFORM scratch AS tools\nFROM own\nCOPY --from=tools x y\nCOPY --from=2 x y";
        let options = PlanOptions { platform: "linux/arm64".parse().expect("valid"), ..options() };
        let plan = plan(&dockerfile::parse(&Source::new("f", text.as_bytes())), &options).expect("a plan");
        let platforms: Vec<String> = plan.stages.iter().map(|stage| stage.platform.to_string()).collect();
        assert_eq!(platforms, ["linux/arm64", "linux/arm/v7", "linux/arm/v7", "linux/amd64", "linux/arm64"]);
    }

    #[test]
    fn pure_many_stages_take_linear_time() {
        let text: String = (0..50_000).map(|n| format!("FROM s{n} AS s{}\nCOPY --from=s{n} a b\n", n + 1)).collect();
        assert!(make(&text.replacen("COPY --from=s0", "COPY --from=x", 1), &options()).is_ok());
    }

    #[test]
    fn pure_target_and_arguments() {
        let text = "ARG V\nFROM a:$V AS one\nFROM b AS two\nFROM c";
        let mut options = PlanOptions { target: Some("ONE".into()), ..options() };
        options.build_args.insert("V".into(), "9".into());
        assert_eq!(make(text, &options).as_deref(), Ok("0:a:9+0"));
        options.target = Some("1".into());
        assert_eq!(make(text, &options).as_deref(), Ok("1:b+0 (0:a:9+0)"));
        options.target = Some("tow".into());
        assert_eq!(make(text, &options), Err("no stage \"tow\" in the Dockerfile (did you mean two?)".into()));
        options.target = Some("3".into());
        assert_eq!(make(text, &options), Err("no stage \"3\" in the Dockerfile (stages: one, two)".into()));
    }

    #[test]
    fn pure_bad_plans() {
        for (text, expected) in [
            (
                "FROM a AS b\nCOPY --from=b x y",
                "f:2:13: --from=b: no stage or image found with that name: it is this stage itself",
            ),
            (
                "FROM a\nCOPY --from=0 x y",
                "f:2:13: --from=0: no stage or image found with that name: it is this stage itself",
            ),
            ("FROM a\nCOPY --from=b x y\nFROM c AS b", "f:2:13: stage b comes later in the file"),
            ("FROM a\nCOPY --from=7 x y", "f:2:13: there is no stage 7 before this one"),
            ("FROM a\nRUN --mount=from=b,target=/t y\nFROM c AS b", "f:2:18: stage b comes later in the file"),
            ("FROM a AS b\nFROM --after=bb c", "f:2:14: no stage \"bb\" before this one"),
            ("FROM --after=b a\nFROM c AS b", "f:1:14: stage b comes later in the file"),
            ("FROM $x", "f:1:6: the base $x is empty once variables are put in"),
            ("FROM ${x", "f:1:6: missing } of a ${…}"),
            ("FROM --platform=windows/amd64 a", "f:1:17: platform windows/amd64: only images for linux can be built"),
            (
                "FROM a AS b\nARG B=b\nFROM c\nCOPY --from=$B d e",
                "f:4:13: the stage or image $B is empty once variables are put in",
            ),
            (
                "ARG V=:\nFROM a AS b$V",
                "f:2:11: invalid stage name \"b:\": it begins with a letter and has letters, digits, -, _, . and / only",
            ),
            (
                "FROM --platform=x a",
                "f:1:17: invalid platform \"x\": expected os/arch or os/arch/variant, such as linux/amd64",
            ),
            (
                "FROM a\nRUNN\nCOPY --from=9 a b",
                "f:2:1: unknown instruction \"RUNN\"; f:3:13: there is no stage 9 before this one",
            ),
        ] {
            assert_eq!(make(text, &options()), Err(expected.to_owned()), "{text}");
        }
    }
}
