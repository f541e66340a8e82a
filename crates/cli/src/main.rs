//! The `gabion` command: arguments in, terminal out, exit codes. What it does is in
//! `buildkit-core`; this crate alone reads the environment and prints.
#![forbid(unsafe_code)]

mod args; // what precedes the subcommand
mod command_error; // one line, an optional hint, an exit code
mod commands; // a file per subcommand
mod complete; // what shells may complete arguments with
mod examples; // an example for each command
mod explanation; // why steps were done again
mod ignore_file; // what stays out of copies and builds
mod output; // what several commands print alike
mod progress; // what the library tells, drawn
mod report; // a build as a page to look at
mod session; // the store and the environment a command works with
mod tabular; // lists: columns, times, sizes
mod template; // --format

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(command_error::report_fault));
    std::panic::catch_unwind(run).unwrap_or_else(|payload| command_error::exit_code_of_fault(&*payload))
}

fn run() -> ExitCode {
    let called_as_buildah = called_as_buildah();
    complete::answer_shell(called_as_buildah);
    match args::Cli::of_process(called_as_buildah) {
        Ok(cli) => match commands::run(cli.command, &session::Session::new(cli.global, called_as_buildah)) {
            Ok(code) => code,
            Err(error) => error.report(),
        },
        Err(error) => command_error::report_usage(&error, called_as_buildah),
    }
}

/// Whether the program was started by a link named `buildah`.
fn called_as_buildah() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == "buildah"))
}
