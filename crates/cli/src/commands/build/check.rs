//! `gabion build --check` and its kin: what a Dockerfile says of itself, without building.

use std::process::ExitCode;

use buildkit_core::build::{BuildError, BuildOptions, MOST_TOLD};
use buildkit_core::check::{self, CheckOptions, Report};
use buildkit_core::image::Image;
use buildkit_core::plan::PlanError;
use dockerfile::{Dockerfile, Source};
use store::Store;

use crate::command_error::{CommandError, printable};

/// Exit code of a check with findings, as Docker's.
const FOUND: u8 = 1;

/// What is wanted instead of a build.
#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// Check the Dockerfile by the lint rules and build nothing (as --call=check); what is found makes the exit code 1
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// Form of what --check says: text, json or sarif
    #[arg(long, value_name = "FORMAT", requires = "check")]
    check_format: Option<Format>,
    /// Tell of the Dockerfile and build nothing: check (its findings), outline (what the target can be given) or targets
    /// (its stages); with ,format=json in JSON, check with ,format=sarif too; ,ignorestatus=true makes the exit code 0
    #[arg(long, visible_alias = "print", value_name = "METHOD[,format=FORMAT]", value_parser = parse_call)]
    call: Option<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Build,
    Check,
    Outline,
    Targets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    method: Method,
    format: Format,
    ignores_status: bool,
}

fn parse_call(text: &str) -> Result<Call, String> {
    let mut parts = text.split(',');
    let method = match parts.next().unwrap_or_default() {
        "build" => Method::Build,
        "check" | "lint" => Method::Check,
        "outline" => Method::Outline,
        "targets" => Method::Targets,
        other => return Err(format!("unknown method {other:?}: expected build, check, outline or targets")),
    };
    let mut call = Call { method, format: Format::Text, ignores_status: false };
    for part in parts {
        match part.split_once('=') {
            Some(("format", "text")) => call.format = Format::Text,
            Some(("format", "json")) => call.format = Format::Json,
            Some(("format", "sarif")) if method == Method::Check => call.format = Format::Sarif,
            Some(("ignorestatus", "true")) => call.ignores_status = true,
            Some(("ignorestatus", "false")) => call.ignores_status = false,
            _ => return Err(format!("unknown option {part:?}: expected format=text or json, or ignorestatus=true")),
        }
    }
    Ok(call)
}

impl CheckArgs {
    fn call(&self) -> Option<Call> {
        let format = self.check_format.unwrap_or(Format::Text);
        let of_flag = self.check.then_some(Call { method: Method::Check, format, ignores_status: false });
        of_flag.or(self.call).filter(|call| call.method != Method::Build)
    }

    /// # Errors
    /// There is to be a picture of a build, and nothing is built.
    pub fn refuse_report(&self, is_asked_for: bool) -> Result<(), CommandError> {
        match self.call().filter(|_| is_asked_for) {
            Some(_) => {
                let flag = if self.check { "--check" } else { "--call" };
                Err(CommandError::new(format!("--report and {flag} cannot be used together: nothing is built")))
            }
            None => Ok(()),
        }
    }

    /// Does what is wanted instead of a build, if something is. Of base images counts what the
    /// store has.
    pub fn run(
        &self,
        store: &Store,
        source: &Source,
        options: &BuildOptions,
    ) -> Result<Option<ExitCode>, CommandError> {
        let Some(call) = self.call() else { return Ok(None) };
        let file = dockerfile::parse(source);
        let base = |name: &str| Image::find(store, name).ok().map(|image| image.config().clone());
        let checked = CheckOptions {
            plan: &options.plan,
            needed_only: false,
            ignore: &options.ignore,
            env: &options.env,
            base: &base,
        };
        let text = match call.method {
            Method::Targets => {
                refuse_errors(source, &file)?;
                let targets = check::targets(source, &file);
                if call.format == Format::Json { pretty(&targets)? } else { targets.text() }
            }
            Method::Outline => {
                let outline = check::outline(source, &file, &checked).map_err(|error| plan_error(source, &error))?;
                if call.format == Format::Json { pretty(&outline)? } else { outline.text() }
            }
            Method::Check | Method::Build => {
                let report = check::check(source, &file, &checked);
                let text = match call.format {
                    Format::Text => text(&report, source),
                    Format::Json => pretty(&check::json(&report, source))?,
                    Format::Sarif => pretty(&check::sarif(&report, source, env!("CARGO_PKG_VERSION")))?,
                };
                print!("{}", printable_lines(&text));
                return Ok(Some(match report {
                    _ if call.ignores_status => ExitCode::SUCCESS,
                    report if report.has_errors() => ExitCode::from(crate::command_error::FAILURE),
                    report if !report.findings.is_empty() => ExitCode::from(FOUND),
                    _ => ExitCode::SUCCESS,
                }));
            }
        };
        print!("{}", printable_lines(&text));
        Ok(Some(ExitCode::SUCCESS))
    }
}

/// Errors, findings and notes, each with its source line, and how many there are.
fn text(report: &Report, source: &Source) -> String {
    let mut parts = Vec::new();
    for (message, hint) in &report.failures {
        let hint = hint.iter().map(|hint| format!("\n  {hint}"));
        parts.push(format!("error: {message}{}", hint.collect::<String>()));
    }
    parts.extend(report.errors.iter().take(MOST_TOLD).map(|error| format!("error: {}", error.render(source))));
    parts.extend(more(&report.errors, "errors"));
    let level = if report.findings_are_errors { "error" } else { "warning" };
    let findings = report.findings.iter().take(MOST_TOLD);
    parts.extend(findings.map(|finding| format!("{level}: {}", finding.render(source))));
    parts.extend(more(&report.findings, "findings of rules"));
    parts.extend(report.notes.iter().take(MOST_TOLD).map(|note| format!("note: {}", note.render(source))));
    parts.extend(more(&report.notes, "notes"));
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let errors = report.errors.len() + report.failures.len();
    parts.push(match (errors, report.findings.len()) {
        (0, 0) => "Nothing found.".to_owned(),
        (0, findings) => format!("{} found.", count(findings, level)),
        (errors, 0) => format!("{} found.", count(errors, "error")),
        (errors, findings) => format!("{} and {} of rules found.", count(errors, "error"), count(findings, level)),
    });
    parts.join("\n\n") + "\n"
}

/// How many there are beyond those that are told.
fn more<T>(all: &[T], what: &str) -> Option<String> {
    let more = all.len().checked_sub(MOST_TOLD).filter(|more| *more > 0)?;
    Some(format!("… and {more} more {what}"))
}

fn refuse_errors(source: &Source, file: &Dockerfile) -> Result<(), CommandError> {
    let errors: Vec<_> = file.errors().cloned().collect();
    if errors.is_empty() { Ok(()) } else { Err(plan_error(source, &PlanError::File(errors))) }
}

fn plan_error(source: &Source, error: &PlanError) -> CommandError {
    match error {
        PlanError::Target(message, hint) => super::report::flag_error("--target", message, hint.as_deref()),
        PlanError::WithoutCache(message, hint) => {
            super::report::flag_error("--no-cache-filter", message, hint.as_deref())
        }
        PlanError::File(errors) => {
            let failure = BuildError::file(source, errors);
            let (details, failure) = super::report::report(&failure, false);
            details.iter().for_each(|text| eprintln!("{text}"));
            failure
        }
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<String, CommandError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Text of the file cannot drive the terminal.
fn printable_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => format!("{}\n", printable(line)),
            None => printable(line).to_string(),
        })
        .collect()
}
