//! `--logfile`: what a build prints, in a file.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use oci::Platform;
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

use crate::args::value::new_file;
use crate::command_error::CommandError;

/// Where what is printed goes.
#[derive(Args)]
pub(super) struct LogArgs {
    /// File for what gabion and the steps print, in place of standard output and standard error
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    logfile: Option<PathBuf>,
    /// Add the platform to the name of the log file: FILE_OS_ARCH
    #[arg(long, requires = "logfile")]
    logsplit: bool,
}

/// Standard output and standard error lead to the file as long as this lives.
pub(super) struct LogFile {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl LogArgs {
    pub fn open(&self, platform: &Platform) -> Result<Option<LogFile>, CommandError> {
        let Some(path) = &self.logfile else { return Ok(None) };
        let path = match self.logsplit {
            true => PathBuf::from(format!("{}_{}_{}", path.display(), platform.os, platform.architecture)),
            false => path.clone(),
        };
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|file| redirect(&file)).map(Some).map_err(|error| failed(&path, &error))
    }
}

fn redirect(file: &File) -> std::io::Result<LogFile> {
    let saved = LogFile { stdout: stdout().try_clone_to_owned()?, stderr: stderr().try_clone_to_owned()? };
    dup2_stdout(file.as_fd())?;
    dup2_stderr(file.as_fd())?;
    Ok(saved)
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(format!("--logfile {}: {error}", path.display()))
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // Whoever waits for the end of the build is to see why it failed.
        let _ = (dup2_stdout(&self.stdout), dup2_stderr(&self.stderr));
    }
}
