//! What a Dockerfile says of itself, without building: findings of the lint rules and errors
//! ([`check`]), what the target can be given ([`outline`]), and the stages there are ([`targets`]).
//!
//! ```text
//! Dockerfile ──lint──▶ findings of the text ─┐
//! plan::outline ──▶ stages ──from, stage─────┴──Selection──▶ Report ──▶ text, JSON, SARIF
//! ```
//!
//! Nothing is pulled: of a base image counts what [`CheckOptions::base`] knows. Where it knows
//! nothing, a variable could be the image's, so none of that stage is called undefined; a note says
//! so. Stages that are not built are checked by their text only, unless every stage is asked for.

mod from; // rules about FROM and the ARGs before it
mod outline; // what a build can be given
mod report; // findings as JSON and SARIF
mod stage; // a stage's instructions, one after the other
mod targets; // the stages by name
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dockerfile::directive::Check;
use dockerfile::ignore::Ignore;
use dockerfile::lint::{Finding, Rule, Selection};
use dockerfile::{Diagnostic, Dockerfile, Source, Span, Word};
use oci::ImageConfig;

use crate::plan::{self, PlanError, PlanOptions};
use crate::stage_state::Scope;

pub use outline::{BuildOutline, outline};
pub use report::{json, sarif};
pub use targets::{Targets, targets};

/// Build argument that stands in for the directive `# check`.
const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Findings that a report has at most: a file with more has nobody who reads them all.
const MOST_FINDINGS: usize = 10_000;

/// What a check depends on besides the Dockerfile.
pub struct CheckOptions<'a> {
    /// What is built. Without a target, every stage is checked.
    pub plan: &'a PlanOptions,
    /// Check the stages only that the target, or else the last stage, needs.
    pub needed_only: bool,
    /// What the ignore file leaves out of the context.
    pub ignore: &'a Ignore,
    /// Variables that every stage begins with, as `--env` gives them.
    pub env: &'a [(String, String)],
    /// The config of the image that a FROM names, if it is at hand.
    pub base: &'a dyn Fn(&str) -> Option<ImageConfig>,
}

/// What is to be said of a Dockerfile.
#[derive(Debug, Default)]
pub struct Report {
    /// What keeps it from being built, in the order of the file.
    pub errors: Vec<Diagnostic>,
    /// What keeps it from being built and has no place in the file; with a hint.
    pub failures: Vec<(String, Option<String>)>,
    /// What can be written better, in the order of the file.
    pub findings: Vec<Finding>,
    /// Whether the findings are errors.
    pub findings_are_errors: bool,
    /// What else is good to know.
    pub notes: Vec<Diagnostic>,
}

impl Report {
    /// Whether the file can be built at all.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.failures.is_empty()
    }
}

/// Checks a file.
pub fn check(source: &Source, file: &Dockerfile, options: &CheckOptions<'_>) -> Report {
    check_outline(source, file, &plan::outline(file, options.plan), options)
}

/// Checks a file whose stages are known.
pub fn check_outline(source: &Source, file: &Dockerfile, read: &plan::Outline, options: &CheckOptions<'_>) -> Report {
    let mut report = Report::default();
    let instead = match options.plan.build_args.get(CHECK_ARG) {
        Some(text) => match Check::parse(&Word::new(text.as_str(), Span::default())) {
            Ok(check) => Some(check),
            Err(error) => {
                report.failures.push((format!("build argument {CHECK_ARG}: {}", error.message), error.hint));
                None
            }
        },
        None => None,
    };
    let selection = Selection::new(file, instead);
    let all = (0..read.stages.len()).collect::<BTreeSet<_>>();
    let wanted = match read.needed(options.plan.target.as_deref()) {
        Ok((_, needed)) if options.needed_only || options.plan.target.is_some() => needed,
        Ok(_) => all,
        Err(PlanError::Target(message, hint)) if read.errors.is_empty() => {
            report.failures.push((message, hint));
            all
        }
        Err(_) => all,
    };
    let mut findings = dockerfile::lint::lint(source, file);
    findings.retain(|finding| finding.stage.is_none_or(|stage| wanted.contains(&stage)));
    let is_whole = read.errors.is_empty();
    let mut walk = walk(file, options, read, &wanted);
    if is_whole {
        from::check(file, options.plan, read, &mut findings);
        findings.append(&mut walk.findings);
    }
    findings.retain(|finding| selection.wants(finding));
    findings.sort_by_key(|finding| (finding.diagnostic.span.start, finding.rule));
    findings.dedup();
    findings.truncate(MOST_FINDINGS);
    report.errors.clone_from(&read.errors);
    report.errors.append(&mut walk.errors);
    report.errors.sort_by_key(|error| error.span.start);
    report.findings = findings;
    report.findings_are_errors = selection.is_error();
    let other = file.diagnostics.iter().filter(|diagnostic| diagnostic.severity != dockerfile::Severity::Error);
    report.notes = other.cloned().chain(Selection::unknown_rules(file)).collect();
    if selection.wants(&Finding {
        rule: Rule::UndefinedVar,
        diagnostic: Diagnostic::note("", Span::default()),
        instruction: 0,
        stage: None,
    }) {
        report.notes.append(&mut walk.notes);
    }
    report.notes.sort_by_key(|note| note.span.start);
    report
}

/// Goes through the `wanted` stages.
fn walk(file: &Dockerfile, options: &CheckOptions<'_>, read: &plan::Outline, wanted: &BTreeSet<usize>) -> stage::Walk {
    let scope = Scope {
        build_args: options.plan.build_args.clone(),
        global_args: read.global_args.clone(),
        escape: file.ast.escape,
        put_in: AtomicUsize::new(0),
    };
    let mut walk = stage::Walk::new(Arc::new(scope), read.errors.is_empty());
    let mut done = BTreeMap::new();
    for stage in read.stages.iter().filter(|stage| wanted.contains(&stage.index)) {
        let walked = walk.stage(stage, options, &done);
        done.insert(stage.index, walked);
    }
    walk.done = done;
    walk
}
