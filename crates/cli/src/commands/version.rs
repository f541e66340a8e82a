//! `gabion version`

use std::process::ExitCode;

use crate::args::{IMAGE_SPEC, RUNTIME_SPEC};
use crate::command_error::CommandError;
use crate::output::indented;
use crate::session::{BUILDAH_VERSION, Session};

/// Show gabion's version and the specifications it writes
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let platform = oci::Platform::host();
    let os_and_architecture = format!("{}/{}", platform.os, platform.architecture);
    let version = if session.called_as_buildah() { BUILDAH_VERSION } else { env!("CARGO_PKG_VERSION") };
    let platform = platform.to_string();
    let fields = [
        ("Version", "version", version),
        ("Image Spec", "imageSpec", IMAGE_SPEC),
        ("Runtime Spec", "runtimeSpec", RUNTIME_SPEC),
        ("OS/Arch", "osArch", &os_and_architecture),
        ("BuildPlatform", "buildPlatform", &platform),
        ("gabion", "gabionVersion", env!("CARGO_PKG_VERSION")),
    ];
    if args.json {
        let map = fields.iter().map(|(_, key, value)| ((*key).to_owned(), (*value).into())).collect();
        println!("{}", indented(&serde_json::Value::Object(map))?);
    } else {
        for (label, _, value) in fields {
            println!("{:<16} {value}", format!("{label}:"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
