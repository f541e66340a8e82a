//! `--logfile`: what a build prints, in a file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use oci::Platform;
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

use crate::args::value::new_file;
use crate::command_error::{CommandError, printable};

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

/// A log file for each of several platforms.
pub(super) struct SplitLog(Vec<(Platform, File)>);

impl LogArgs {
    /// The log file of a build for `platform`, or for several if none is given.
    pub fn open(&self, platform: Option<&Platform>) -> Result<Option<LogFile>, CommandError> {
        let Some(path) = &self.logfile else { return Ok(None) };
        let path = match platform {
            Some(platform) if self.logsplit => split(path, platform),
            Some(_) => path.clone(),
            None if self.logsplit => return Ok(None),
            None => path.clone(),
        };
        create(&path).and_then(|file| redirect(&file)).map(Some).map_err(|error| failed(&path, &error))
    }

    /// A log file for each of `platforms`, if that is wanted.
    pub fn open_split(&self, platforms: &[Platform]) -> Result<Option<SplitLog>, CommandError> {
        let Some(path) = self.logfile.as_deref().filter(|_| self.logsplit) else { return Ok(None) };
        let open = |platform: &Platform| {
            let mut path = split(path, platform);
            let is_like =
                |other: &&Platform| (&other.os, &other.architecture) == (&platform.os, &platform.architecture);
            if let Some(variant) = platform.variant.as_ref().filter(|_| platforms.iter().filter(is_like).count() > 1) {
                path.as_mut_os_string().push(format!("_{variant}"));
            }
            let file = create(&path).map_err(|error| failed(&path, &error))?;
            Ok((platform.clone(), file))
        };
        platforms.iter().map(open).collect::<Result<_, CommandError>>().map(SplitLog).map(Some)
    }
}

impl SplitLog {
    /// Writes a line to the platform's file. A full disk is no reason to end a build.
    pub fn write(&self, platform: &Platform, line: &str) {
        if let Some((_, file)) = self.0.iter().find(|(own, _)| own == platform) {
            let mut file: &File = file;
            let _ = file.write_all(format!("{}\n", printable(line)).as_bytes());
        }
    }

    /// Writes the line to all files.
    pub fn write_to_all(&self, line: &str) {
        self.0.iter().for_each(|(platform, _)| self.write(platform, line));
    }
}

fn split(path: &Path, platform: &Platform) -> PathBuf {
    PathBuf::from(format!("{}_{}_{}", path.display(), platform.os, platform.architecture))
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
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
