//! What a command works with: the store, the environment, and where messages go.

mod remotes; // how registries are reached

use std::path::{Path, PathBuf};

use buildkit_core::commit::Times;
use buildkit_core::containers_conf::ContainersConf;
use buildkit_core::event::Event;
use buildkit_core::prune;
use buildkit_core::working_container::{WorkingContainer, WorkingContainerError};
use jiff::Timestamp;
use store::{ConfigFile, Store, StoreOptions};

use crate::args::{GlobalArgs, LogLevel};
use crate::command_error::CommandError;
use crate::progress::{lines, print_on_stderr};

const DEFAULT_GRAPH_ROOT: &str = "/var/lib/containers/storage";
const DEFAULT_RUN_ROOT: &str = "/run/containers/storage";
/// Where storage.conf is looked for; the first one there is read.
const STORAGE_CONF: [&str; 2] = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];

/// Where containers.conf is looked for; each one there is read.
const CONTAINERS_CONF: [&str; 2] = ["/usr/share/containers/containers.conf", "/etc/containers/containers.conf"];
/// Its parts.
const CONTAINERS_CONF_DIR: &str = "/etc/containers/containers.conf.d";

/// One run of gabion.
pub struct Session {
    global: GlobalArgs,
    called_as_buildah: bool,
}

/// The release of Buildah whose command line and defaults gabion follows.
pub const BUILDAH_VERSION: &str = "1.44.0";

/// Whether a command tells of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A line on stderr for each blob and step.
    Lines,
    /// Warnings only.
    Quiet,
}

impl Progress {
    /// What a `--quiet` flag asks for.
    pub fn from_quiet(quiet: bool) -> Progress {
        if quiet { Progress::Quiet } else { Progress::Lines }
    }
}

impl Session {
    /// A run with the options that precede the subcommand.
    pub fn new(global: GlobalArgs, called_as_buildah: bool) -> Session {
        Session { global, called_as_buildah }
    }

    /// Whether gabion goes by the name `buildah`, as a link may: then Buildah's defaults hold where
    /// gabion's own are others.
    pub fn called_as_buildah(&self) -> bool {
        self.called_as_buildah
    }

    /// The options that precede the subcommand.
    pub fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// Environment variable `name`, unless it is unset or empty.
    pub fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// The host's proxy settings, which a command needs to get out.
    pub fn proxies(&self) -> Vec<String> {
        const NAMES: [&str; 8] = [
            "http_proxy",
            "https_proxy",
            "ftp_proxy",
            "no_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "FTP_PROXY",
            "NO_PROXY",
        ];
        NAMES.iter().filter_map(|name| Some(format!("{name}={}", self.env(name)?))).collect()
    }

    /// Files with the keys of SSH servers, the user's and the machine's, as ssh looks them up.
    pub fn known_hosts(&self) -> Vec<PathBuf> {
        let own = [".ssh/known_hosts", ".ssh/known_hosts2"].map(|path| self.home_file(path));
        own.into_iter().flatten().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect()
    }

    /// The store named by flags, environment and storage.conf, in this order, without what killed builds left.
    pub fn store(&self) -> Result<Store, CommandError> {
        let store = self.store_with_leftovers()?;
        self.log(LogLevel::Debug, &format!("using the store at {}", store.graph_root().display()));
        prune::remove_leftovers(&store);
        Ok(store)
    }

    /// The same as it is found.
    pub fn store_with_leftovers(&self) -> Result<Store, CommandError> {
        if !rustix::process::geteuid().is_root() {
            return Err(CommandError::new("gabion must be run as root for now: rootless use is not there yet"));
        }
        Ok(Store::open(self.store_options()?)?)
    }

    fn store_options(&self) -> Result<StoreOptions, CommandError> {
        let mut options = StoreOptions::new(DEFAULT_GRAPH_ROOT, DEFAULT_RUN_ROOT);
        let named = self.env("CONTAINERS_STORAGE_CONF").map(PathBuf::from);
        let usual = || STORAGE_CONF.iter().map(PathBuf::from).find(|path| path.exists());
        let mut config = match named.or_else(usual) {
            Some(path) => ConfigFile::read(&path)?,
            None => ConfigFile::default(),
        };
        config.driver = self.global.storage_driver.clone().or_else(|| self.env("STORAGE_DRIVER")).or(config.driver);
        let given = &self.global.storage_opt;
        let driver_options = match self.env("STORAGE_OPTS") {
            _ if !given.is_empty() => given.clone(),
            Some(text) => text.split(',').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        if !driver_options.is_empty() {
            set_driver_options(&mut config, &driver_options)?;
        }
        options.apply(&config)?;
        // As with Buildah, a root given here leaves the configuration's other root behind only where it is given too.
        if let Some(root) = &self.global.root {
            options.graph_root = absolute(root)?;
        }
        if let Some(runroot) = &self.global.runroot {
            options.run_root = absolute(runroot)?;
        }
        Ok(options)
    }

    /// The defaults of the host: the file that CONTAINERS_CONF names, or else the usual ones.
    pub fn containers_conf(&self) -> Result<ContainersConf, CommandError> {
        let mut paths: Vec<PathBuf> = match self.env("CONTAINERS_CONF") {
            Some(path) => vec![path.into()],
            None => {
                let mut paths: Vec<PathBuf> = CONTAINERS_CONF.iter().map(PathBuf::from).collect();
                let entries = std::fs::read_dir(CONTAINERS_CONF_DIR).into_iter().flatten().flatten();
                let mut parts: Vec<_> = entries.map(|entry| entry.path()).collect();
                parts.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
                parts.sort();
                paths.extend(parts);
                paths
            }
        };
        paths.extend(self.env("CONTAINERS_CONF_OVERRIDE").map(PathBuf::from));
        Ok(ContainersConf::from_files(&paths)?)
    }

    /// The times of what is written: `set` (seconds) is everything's; `epoch`, or else
    /// SOURCE_DATE_EPOCH, is the image's and, with `rewrite`, that of files which are later.
    /// Without a word on `rewrite` files are rewritten, but not by what is called Buildah.
    pub fn times(&self, set: Option<i64>, epoch: Option<i64>, rewrite: Option<bool>) -> Result<Times, CommandError> {
        let date = |source: &str, seconds: i64| {
            Timestamp::from_second(seconds).map_err(|_| {
                CommandError::new(format!("invalid {source} {seconds}: expected seconds since 1970 of a possible date"))
            })
        };
        let time = match (set, epoch, self.env("SOURCE_DATE_EPOCH")) {
            (Some(seconds), _, _) => return Ok(Times::Set(date("--timestamp", seconds)?)),
            (None, Some(seconds), _) => date("--source-date-epoch", seconds)?,
            (None, None, Some(text)) => {
                let seconds = text.parse().map_err(|_| {
                    CommandError::new(format!("invalid SOURCE_DATE_EPOCH {text:?}: expected seconds since 1970"))
                })?;
                date("SOURCE_DATE_EPOCH", seconds)?
            }
            (None, None, None) => return Ok(Times::Now),
        };
        let rewrite = rewrite.unwrap_or(!self.called_as_buildah);
        Ok(if rewrite { Times::Clamp(time) } else { Times::Image(time) })
    }

    /// Writes the small file that a flag such as `--iidfile` asks for.
    pub fn write_file(&self, path: &Path, text: &str) -> Result<(), CommandError> {
        std::fs::write(path, text).map_err(|error| CommandError::new(format!("writing {}: {error}", path.display())))
    }

    /// Draws events; those below the log level are dropped.
    pub fn events(&self, progress: Progress) -> impl Fn(Event) + Sync + '_ {
        move |event| match event {
            Event::Warning(text) => self.warn(&text),
            Event::Info(text) => self.log(LogLevel::Info, &text),
            Event::Debug(text) => self.log(LogLevel::Debug, &text),
            event => {
                let line = lines::of_event(event).filter(|_| progress == Progress::Lines);
                line.iter().for_each(|line| print_on_stderr(line));
            }
        }
    }

    /// The working containers of `store` whose state can be read; warns of the others.
    pub fn working_containers<'s>(&self, store: &'s Store) -> Result<Vec<WorkingContainer<'s>>, CommandError> {
        let readable =
            |found: Result<_, WorkingContainerError>| found.map_err(|error| self.warn(&error.to_string())).ok();
        Ok(WorkingContainer::list(store)?.filter_map(readable).collect())
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.log(LogLevel::Warn, text);
    }

    /// Prints a message unless the log level keeps it back.
    pub fn log(&self, severity: LogLevel, text: &str) {
        self.logger().log(severity, text);
    }

    /// Where messages go, for whoever outlives the session.
    fn logger(&self) -> Logger {
        Logger { level: self.global.log_level(), called_as_buildah: self.called_as_buildah }
    }

    /// The label that says which builder made an image.
    pub fn identity_label(&self) -> (String, String) {
        match self.called_as_buildah {
            true => ("io.buildah.version".to_owned(), BUILDAH_VERSION.to_owned()),
            false => ("io.gabion.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// A file that the user's home directory has, such as `.config/containers/auth.json`.
    pub fn home_file(&self, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.env("HOME")?).join(path))
    }
}

/// Prints messages on stderr.
#[derive(Clone, Copy)]
struct Logger {
    /// The least severe ones.
    level: LogLevel,
    /// Whether a message is a line of `key=value` pairs, for which scripts look in Buildah's output.
    called_as_buildah: bool,
}

impl Logger {
    fn log(self, severity: LogLevel, text: &str) {
        let label = match severity {
            LogLevel::Error => "error",
            LogLevel::Warn => "warning",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        if severity > self.level {
            return;
        }
        print_on_stderr(&match self.called_as_buildah {
            true => format!("time=\"{:.0}\" level={label} msg={text:?}", Timestamp::now()),
            false => format!("{label}: {text}"),
        });
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| CommandError::new(format!("{}: {error}", path.display())))
}

/// Driver options given for one run replace all those of storage.conf.
fn set_driver_options(config: &mut ConfigFile, options: &[String]) -> Result<(), CommandError> {
    config.additional_image_stores = None;
    config.mount_options = None;
    config.mount_program = None;
    config.skip_mount_home = None;
    for option in options {
        let (key, value) = option.split_once('=').ok_or_else(|| unknown_option(option))?;
        match key.trim_start_matches("overlay2.").trim_start_matches("overlay.").trim_start_matches("vfs.") {
            "mountopt" => config.mount_options = Some(value.split(',').map(str::to_owned).collect()),
            "imagestore" | "additionalimagestore" => {
                config.additional_image_stores.get_or_insert_default().push(PathBuf::from(value));
            }
            "mount_program" => config.mount_program = Some(value.to_owned()),
            "skip_mount_home" => config.skip_mount_home = Some(value == "true"),
            _ => return Err(unknown_option(option)),
        }
    }
    Ok(())
}

fn unknown_option(option: &str) -> CommandError {
    CommandError::new(format!(
        "invalid --storage-opt {option:?}: expected overlay.mountopt=, overlay.imagestore= or overlay.skip_mount_home="
    ))
}
