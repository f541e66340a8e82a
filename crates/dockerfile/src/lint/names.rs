//! Rules about names and the case of letters.

use std::collections::BTreeSet;

use super::{Comments, Finding, Rule, staged};
use crate::ast::Node;
use crate::diagnostic::Diagnostic;
use crate::instruction::Kind;
use crate::parser::Dockerfile;
use crate::source::Source;
use crate::text::{Span, Word};

fn is_lower(text: &str) -> bool {
    if text.is_ascii() { !text.bytes().any(|byte| byte.is_ascii_uppercase()) } else { text == text.to_lowercase() }
}

fn is_upper(text: &str) -> bool {
    if text.is_ascii() { !text.bytes().any(|byte| byte.is_ascii_lowercase()) } else { text == text.to_uppercase() }
}

/// ConsistentInstructionCasing: the case that most instructions have is everyone's; capitals
/// if there is no majority. ARGs before the first FROM do not count.
pub(super) fn instruction_casing(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let (mut all, mut lower, mut upper) = (0, 0, 0);
    for (_, instruction) in staged(file) {
        all += 1;
        lower += usize::from(is_lower(&instruction.keyword));
        upper += usize::from(is_upper(&instruction.keyword));
    }
    if lower.max(upper) == all {
        return;
    }
    for (_, instruction) in staged(file) {
        let keyword = &instruction.keyword;
        if !(if lower > upper { is_lower(keyword.as_str()) } else { is_upper(keyword.as_str()) }) {
            let (case, wanted) = match lower > upper {
                true => ("lower case", keyword.to_lowercase()),
                false => ("capitals", keyword.to_uppercase()),
            };
            let message = format!("{} is not in {case} as most instructions are", keyword.as_str());
            let diagnostic = Diagnostic::warning(message, keyword.full_span()).hint(format!("write {wanted}"));
            findings.push(Finding::new(Rule::ConsistentInstructionCasing, instruction, diagnostic));
        }
    }
}

/// StageNameCasing, FromAsCasing.
pub(super) fn stage_casing(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let from = |node: &&Node| node.keyword.eq_ignore_ascii_case("FROM");
    for node in file.ast.nodes.iter().filter(from) {
        let words = node.arguments.split_blanks();
        let [_, word, name] = words.as_slice() else { continue };
        let at = |rule, diagnostic| Finding { rule, diagnostic, instruction: node.span.start, stage: None };
        if !is_lower(&name.text) && !name.text.contains('$') {
            let message = format!("the stage name {} is not in lower case", name.text);
            let hint = format!("write {}", name.text.to_lowercase());
            findings.push(at(Rule::StageNameCasing, Diagnostic::warning(message, name.span).hint(hint)));
        }
        let keyword = node.keyword.as_str();
        let fits = match (is_lower(keyword), is_upper(keyword)) {
            (true, _) => is_lower(&word.text),
            (_, true) => is_upper(&word.text),
            // That keyword has a finding of its own.
            (false, false) => true,
        };
        if !fits {
            let message = format!("{} is not in the same case as {keyword}", word.text);
            findings.push(at(Rule::FromAsCasing, Diagnostic::warning(message, word.span)));
        }
    }
}

/// DuplicateStageName, ReservedStageName.
pub(super) fn stage_names(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for instruction in &file.instructions {
        let Kind::From(from) = &instruction.kind else { continue };
        let Some(Word { text: name, span }) = &from.name else { continue };
        if matches!(name.as_str(), "scratch" | "context") {
            let message = format!("a stage can't be found by the name {name}, which means something else");
            let diagnostic = Diagnostic::warning(message, *span);
            findings.push(Finding::new(Rule::ReservedStageName, instruction, diagnostic));
        }
        if !seen.insert(name) {
            let diagnostic = Diagnostic::warning(format!("an earlier stage has the name {name} too"), *span);
            findings.push(Finding::new(Rule::DuplicateStageName, instruction, diagnostic));
        }
    }
}

/// InvalidDefinitionDescription: the comment right above ARG or a named FROM begins with a name that
/// is declared there; a blank line or an empty comment in between makes it a comment like others.
pub(super) fn descriptions(source: &Source, file: &Dockerfile, findings: &mut Vec<Finding>) {
    let comments = Comments::new(&file.ast);
    for instruction in &file.instructions {
        let names: Vec<&str> = match &instruction.kind {
            Kind::From(from) => from.name.iter().map(|name| name.text.as_str()).collect(),
            Kind::Arg(args) => args.iter().map(|arg| arg.name.text.as_str()).collect(),
            _ => continue,
        };
        let Some(example) = (match names.as_slice() {
            [only] => Some(*only),
            [] => None,
            _ => Some("NAME"),
        }) else {
            continue;
        };
        let Some(last) = comments.above(instruction.span.start).pop() else { continue };
        let is_right_above = source.slice(Span::new(last.span.end, instruction.span.start)).matches('\n').count() == 1;
        let first = last.text.split(' ').next().unwrap_or_default();
        if is_right_above && !names.contains(&first) {
            let message = format!("the comment does not tell of what {} declares", instruction.name());
            let hint = format!("write # {example} and what it is, or leave a blank line below the comment");
            let diagnostic = Diagnostic::warning(message, last.span).hint(hint);
            findings.push(Finding::new(Rule::InvalidDefinitionDescription, instruction, diagnostic));
        }
    }
}
