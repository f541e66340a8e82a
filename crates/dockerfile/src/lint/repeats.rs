//! Rules about the instructions of a stage, and about how one is written.

use super::{Finding, Rule, staged};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Instruction, Kind, Pairs};
use crate::parser::Dockerfile;
use crate::text::Word;

/// NoEmptyContinuation.
pub(super) fn continuations(file: &Dockerfile, findings: &mut Vec<Finding>) {
    for node in &file.ast.nodes {
        let Some(blank) = node.blank else { continue };
        let diagnostic = Diagnostic::warning("a blank line inside an instruction", blank)
            .hint("join the lines or remove the last \\");
        let instruction = node.span.start;
        findings.push(Finding { rule: Rule::NoEmptyContinuation, diagnostic, instruction, stage: None });
    }
}

/// The rules that look at a stage's instructions one by one.
pub(super) fn stages(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let mut once: [Option<&Instruction>; 3] = [None; 3];
    for (stage, instruction) in staged(file) {
        let mut find = |rule, diagnostic| findings.push(Finding::new(rule, instruction, diagnostic).in_stage(stage));
        match &instruction.kind {
            Kind::From(_) => once = [None; 3],
            Kind::Maintainer(_) => {
                let diagnostic = Diagnostic::warning("MAINTAINER is deprecated", instruction.keyword.full_span());
                let diagnostic = diagnostic.hint("write LABEL org.opencontainers.image.authors=\"…\"");
                findings.push(Finding::new(Rule::MaintainerDeprecated, instruction, diagnostic));
            }
            Kind::Env(pairs) => {
                legacy(instruction, pairs, &mut find);
                pairs.pairs.iter().for_each(|pair| secret("ENV", &pair.name, &mut find));
            }
            Kind::Label(pairs) => legacy(instruction, pairs, &mut find),
            Kind::Arg(args) => args.iter().for_each(|arg| secret("ARG", &arg.name, &mut find)),
            Kind::Cmd(_) | Kind::Entrypoint(_) | Kind::Healthcheck(_) => {
                let place = match &instruction.kind {
                    Kind::Cmd(_) => 0,
                    Kind::Entrypoint(_) => 1,
                    _ => 2,
                };
                let Some(before) = once.get_mut(place).and_then(|last| last.replace(instruction)) else { continue };
                let message = format!("a later {} in this stage takes the place of this one", instruction.name());
                find(Rule::MultipleInstructionsDisallowed, Diagnostic::warning(message, before.keyword.full_span()));
            }
            _ => {}
        }
    }
}

fn legacy(instruction: &Instruction, pairs: &Pairs, find: &mut impl FnMut(Rule, Diagnostic)) {
    if let (true, Some(pair)) = (pairs.legacy, pairs.pairs.first()) {
        let name = instruction.name();
        let diagnostic = Diagnostic::warning(format!("{name} is written without ="), pair.name.span);
        find(Rule::LegacyKeyValueFormat, diagnostic.hint(format!("write {name} {}=…", pair.name.text)));
    }
}

/// Words that tell of a secret in a name, and those that tell that it is none.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const HARMLESS: [&str; 3] = ["public", "file", "version"];

fn secret(instruction: &str, name: &Word, find: &mut impl FnMut(Rule, Diagnostic)) {
    let lower = name.text.to_lowercase();
    let holds = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    if holds(&SECRET) && !holds(&HARMLESS) {
        let message = format!("{instruction} {} seems to hold a secret, which stays in the image", name.text);
        let diagnostic = Diagnostic::warning(message, name.span).hint("give it by RUN --mount=type=secret");
        find(Rule::SecretsUsedInArgOrEnv, diagnostic);
    }
}
