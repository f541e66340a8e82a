//! Lists the stages of a Dockerfile: `cargo run -p dockerfile --example stages -- Dockerfile`.

use std::process::ExitCode;

use dockerfile::instruction::Kind;
use dockerfile::{Dockerfile, Source};

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: stages FILE");
        return ExitCode::from(2);
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let source = Source::new(path, &bytes);
    let file = dockerfile::parse(&source);
    for diagnostic in &file.diagnostics {
        eprintln!("{}", diagnostic.render(&source));
    }
    list(&source, &file);
    if file.errors().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One line a stage: number, line, name, base, and what it copies from.
fn list(source: &Source, file: &Dockerfile) {
    let mut stages = Vec::new();
    for instruction in &file.instructions {
        match &instruction.kind {
            Kind::From(from) => {
                let (line, _) = source.line_column(instruction.span.start);
                let name = from.name.as_ref().map_or("-", |name| name.text.as_str());
                stages.push(format!("{}\tline {line}\t{name}\tfrom {}", stages.len(), from.base.text));
            }
            Kind::Copy(copy) => {
                if let (Some(stage), Some(from)) = (stages.last_mut(), &copy.from) {
                    stage.push_str(&format!("\tcopies from {}", from.text));
                }
            }
            _ => {}
        }
    }
    for stage in stages {
        println!("{stage}");
    }
}
