//! Writes a Dockerfile in its canonical form to standard output:
//! `cargo run -p dockerfile --example format -- Dockerfile`.

use std::process::ExitCode;

use dockerfile::Source;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: format FILE");
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
    let errors: Vec<String> = file.errors().map(|error| error.render(&source)).collect();
    if !errors.is_empty() {
        eprintln!("{}", errors.join("\n"));
        return ExitCode::FAILURE;
    }
    print!("{}", dockerfile::format(&source, &file));
    ExitCode::SUCCESS
}
