//! Findings for programs: BuildKit's JSON, and SARIF 2.1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::lint::Rule;
use dockerfile::{Source, Span};
use serde::Serialize;
use serde_json::{Value, json as value};

use super::Report;

/// Lines from 1; characters of a line from 0.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Position {
    line: usize,
    #[serde(skip_serializing_if = "is_zero")]
    character: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Range {
    start: Position,
    end: Position,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Location {
    ranges: [Range; 1],
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Location {
    fn of(source: &Source, span: Span) -> Location {
        let position = |at| {
            let (line, column) = source.line_column(at);
            Position { line, character: column - 1 }
        };
        Location { ranges: [Range { start: position(span.start), end: position(span.end) }] }
    }

    /// The lines of an instruction.
    pub fn of_lines(source: &Source, span: Span) -> Location {
        let text = source.slice(span).trim_end();
        let position = |at| Position { line: source.line_column(at).0, character: 0 };
        Location { ranges: [Range { start: position(span.start), end: position(span.start + text.len()) }] }
    }
}

/// The report in the form of BuildKit's lint results.
pub fn json(report: &Report, source: &Source) -> Value {
    let warnings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            value!({
                "ruleName": finding.rule.name(),
                "description": finding.rule.description(),
                "detail": finding.diagnostic.message,
                "location": Location::of(source, finding.diagnostic.span),
            })
        })
        .collect();
    let mut all = value!({
        "warnings": warnings,
        "sources": [{
            "filename": source.name(),
            "language": "Dockerfile",
            "data": STANDARD.encode(source.text()),
        }],
    });
    let error = report
        .errors
        .first()
        .map(|error| value!({ "message": error.message, "location": Location::of(source, error.span) }));
    let failure = || report.failures.first().map(|(message, _)| value!({ "message": message, "location": {} }));
    if let (Some(error), Some(all)) = (error.or_else(failure), all.as_object_mut()) {
        all.insert("buildError".to_owned(), error);
    }
    all
}

/// The report as a SARIF log of one run; `version` is the program's.
pub fn sarif(report: &Report, source: &Source, version: &str) -> Value {
    let rules: Vec<Value> = Rule::ALL
        .iter()
        .map(|rule| value!({ "id": rule.name(), "shortDescription": { "text": rule.description() } }))
        .collect();
    let level = if report.findings_are_errors { "error" } else { "warning" };
    let place = |span: Span| {
        let ((line, column), (end_line, end_column)) = (source.line_column(span.start), source.line_column(span.end));
        value!([{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(source.name_at(span.start)) },
                "region": {
                    "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
                },
            },
        }])
    };
    let errors = report.errors.iter().map(
        |error| value!({ "level": "error", "message": { "text": error.message }, "locations": place(error.span) }),
    );
    let failures =
        report.failures.iter().map(|(message, _)| value!({ "level": "error", "message": { "text": message } }));
    let findings = report.findings.iter().map(|finding| {
        value!({
            "ruleId": finding.rule.name(),
            "ruleIndex": Rule::ALL.iter().position(|rule| *rule == finding.rule),
            "level": level,
            "message": { "text": finding.diagnostic.message },
            "locations": place(finding.diagnostic.span),
        })
    });
    let results: Vec<Value> = failures.chain(errors).chain(findings).collect();
    value!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gabion", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A file's name as a URI reference.
fn uri(name: &str) -> String {
    let mut uri = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

/// Columns three blanks apart, none behind the last.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line += &format!("{cell:0$}", width(column).unwrap_or(0) + 3);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
