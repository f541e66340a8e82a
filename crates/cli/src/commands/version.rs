//! `gabion version`

use std::process::ExitCode;

use crate::command_error::CommandError;
use crate::session::Session;

/// Show gabion's version and the specifications it writes
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, _session: &Session) -> Result<ExitCode, CommandError> {
    let platform = oci::Platform::host().to_string();
    let fields = [
        ("Version", "version", env!("CARGO_PKG_VERSION")),
        ("Image Spec", "imageSpec", "1.1.1"),
        ("Runtime Spec", "runtimeSpec", "1.0.2"),
        ("OS/Arch", "osArch", platform.as_str()),
    ];
    if args.json {
        let map: serde_json::Map<_, _> =
            fields.iter().map(|(_, key, value)| ((*key).into(), (*value).into())).collect();
        println!("{:#}", serde_json::Value::from(map));
    } else {
        for (label, _, value) in fields {
            println!("{:<14} {value}", format!("{label}:"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
