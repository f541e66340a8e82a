//! Rules about FROM and the ARGs before it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use dockerfile::instruction::Kind;
use dockerfile::lint::{Finding, Rule};
use dockerfile::words::Expander;
use dockerfile::{Diagnostic, Dockerfile, Instruction, Word};
use oci::{Platform, Reference};

use super::stage::variable_span;
use crate::plan::{Outline, PlanOptions, global_args, platform_args};

const TARGET_PLATFORM: &str = "TARGETPLATFORM";

/// A word with its variables put in, and the names it asked for.
pub(super) struct Expanded {
    pub text: String,
    pub found: BTreeSet<String>,
    pub missing: BTreeSet<String>,
}

pub(super) fn expand(word: &Word, args: &BTreeMap<String, String>, escape: char) -> Option<Expanded> {
    let (found, missing) = (RefCell::default(), RefCell::default());
    let lookup = |name: &str| {
        let value = args.get(name).cloned();
        let names: &RefCell<BTreeSet<String>> = if value.is_some() { &found } else { &missing };
        names.borrow_mut().insert(name.to_owned());
        value
    };
    let text = Expander::new(&lookup, escape).expand(&word.text).ok()?;
    Some(Expanded { text, found: found.into_inner(), missing: missing.into_inner() })
}

pub(super) fn check(file: &Dockerfile, options: &PlanOptions, read: &Outline, findings: &mut Vec<Finding>) {
    let escape = file.ast.escape;
    let mut known: BTreeSet<&str> = read.global_args.keys().map(String::as_str).collect();
    let before = file.instructions.iter().take_while(|instruction| matches!(instruction.kind, Kind::Arg(_)));
    for instruction in before {
        let Kind::Arg(args) = &instruction.kind else { break };
        known.extend(args.iter().map(|arg| arg.name.text.as_str()));
    }
    let predefined = platform_args(options);
    let mut without_given = options.clone();
    without_given.build_args.retain(|name, _| predefined.contains_key(name));
    let defaults = global_args(file, &without_given, &mut Vec::new());
    for instruction in &file.instructions {
        let Kind::From(from) = &instruction.kind else { continue };
        undefined(instruction, &from.base, &read.global_args, &known, escape, findings);
        invalid_default(instruction, &from.base, &defaults, escape, findings);
        let Some(word) = &from.platform else { continue };
        undefined(instruction, word, &read.global_args, &known, escape, findings);
        let name = from.name.as_ref().map_or("", |name| name.text.as_str());
        if let Some(platform) = expand(word, &read.global_args, escape) {
            redundant(instruction, word, &platform, &read.global_args, findings);
            constant(instruction, word, &platform, name, findings);
        }
    }
}

/// UndefinedArgInFrom.
fn undefined(
    instruction: &Instruction,
    word: &Word,
    args: &BTreeMap<String, String>,
    known: &BTreeSet<&str>,
    escape: char,
    findings: &mut Vec<Finding>,
) {
    let missing = expand(word, args, escape).map(|expanded| expanded.missing).unwrap_or_default();
    for name in missing.iter().filter(|name| !known.contains(name.as_str())) {
        let message = format!("no ARG before the first FROM declares {name}");
        let diagnostic = Diagnostic::warning(message, variable_span(&word.text, word.span, name));
        let diagnostic = diagnostic.suggest(name, known.iter().copied());
        findings.push(Finding::new(Rule::UndefinedArgInFrom, instruction, diagnostic));
    }
}

/// InvalidDefaultArgInFrom: the base as it is when nobody gives a build argument.
fn invalid_default(
    instruction: &Instruction,
    word: &Word,
    defaults: &BTreeMap<String, String>,
    escape: char,
    findings: &mut Vec<Finding>,
) {
    if !word.text.contains('$') {
        // What is wrong with it then is no default's fault.
        return;
    }
    let Some(base) = expand(word, defaults, escape) else { return };
    if Reference::parse_normalized(&base.text).is_err() {
        let message = match base.text.as_str() {
            "" => format!("without build arguments the base {} is empty", word.text),
            text => format!("without build arguments the base {} is {text:?}, which is no image's name", word.text),
        };
        let diagnostic = Diagnostic::warning(message, word.span).hint("give the ARG a default value");
        findings.push(Finding::new(Rule::InvalidDefaultArgInFrom, instruction, diagnostic));
    }
}

/// RedundantTargetPlatform.
fn redundant(
    instruction: &Instruction,
    word: &Word,
    platform: &Expanded,
    args: &BTreeMap<String, String>,
    findings: &mut Vec<Finding>,
) {
    let is_only = platform.missing.is_empty() && platform.found.len() == 1 && platform.found.contains(TARGET_PLATFORM);
    if is_only && args.get(TARGET_PLATFORM) == Some(&platform.text) {
        let message = format!("{} is the platform that FROM has anyway", word.text);
        let diagnostic = Diagnostic::warning(message, word.span).hint("leave --platform out");
        findings.push(Finding::new(Rule::RedundantTargetPlatform, instruction, diagnostic));
    }
}

/// FromPlatformFlagConstDisallowed: allowed in a stage that is named after the platform.
fn constant(instruction: &Instruction, word: &Word, platform: &Expanded, stage: &str, findings: &mut Vec<Finding>) {
    if !platform.found.is_empty() || !platform.missing.is_empty() {
        return;
    }
    let Ok(Platform { os, architecture, .. }) = platform.text.parse() else { return };
    if !stage.contains(&os) && !stage.contains(&architecture) {
        let message = format!("the platform {} is the same for every build", platform.text);
        let hint = "write --platform=$BUILDPLATFORM, leave it out, or name the stage after the platform";
        let diagnostic = Diagnostic::warning(message, word.span).hint(hint);
        findings.push(Finding::new(Rule::FromPlatformFlagConstDisallowed, instruction, diagnostic));
    }
}
