//! How this run reaches registries: flags, environment and the files of /etc and the home directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use buildkit_core::transfer::{Policy, RegistrySources, Remotes};
use registry::auth::{AuthFile, AuthFileKind, Credentials};
use registry::registries_conf::RegistriesFiles;
use registry::{ClientOptions, Notice, ProxyOptions, RetryOptions, TlsOptions};

use super::{Logger, Session};
use crate::args::LogLevel;
use crate::args::registry::RegistryArgs;
use crate::args::value;
use crate::command_error::CommandError;

impl Session {
    /// Registries, reached when first needed.
    pub fn remotes(&self, args: &RegistryArgs) -> Result<Remotes, CommandError> {
        if let Some(Err(error)) = args.authfile.as_deref().map(std::fs::metadata) {
            let file = args.authfile.as_deref().unwrap_or(Path::new("")).display();
            return Err(CommandError::new(format!(
                "credential file is not accessible: stat {file}: {} (--authfile or REGISTRY_AUTH_FILE)",
                value::reason(&error)
            )));
        }
        let given = args.creds.as_deref().map(Credentials::parse_given).transpose()?;
        let client = ClientOptions {
            tls: TlsOptions {
                verify: args.tls_verify,
                cert_dir: args.cert_dir.clone(),
                cert_base_dirs: self.certificate_directories(),
            },
            credentials: Credentials { given, files: self.auth_files(args) },
            retry: RetryOptions { count: args.retry, delay: Some(args.retry_delay) },
            proxy: ProxyOptions {
                http: self.either_case("http_proxy"),
                https: self.either_case("https_proxy"),
                none: self.either_case("no_proxy"),
            },
            notices: Some(Arc::new(notice(self.logger()))),
            ..ClientOptions::default()
        };
        let policy = self.policy_file(args.signature_policy.as_deref())?;
        let remotes = Remotes::new(client, self.registries_files()).with_policy_file(policy);
        Ok(remotes.with_sources(self.registry_sources()?))
    }

    fn registry_sources(&self) -> Result<RegistrySources, CommandError> {
        let Some(text) = self.env("BUILD_REGISTRY_SOURCES") else { return Ok(RegistrySources::default()) };
        serde_json::from_str(&text)
            .map_err(|error| CommandError::new(format!("invalid BUILD_REGISTRY_SOURCES {text:?}: {error}")))
    }

    /// The file with the signature policy, if there is one. One that is `given` is looked at in any case.
    pub fn policy_file(&self, given: Option<&Path>) -> Result<Option<PathBuf>, CommandError> {
        if let Some(path) = given {
            Policy::read(path)?;
            return Ok(Some(path.to_owned()));
        }
        let system = PathBuf::from("/etc/containers/policy.json");
        let usual = self.home_file(".config/containers/policy.json").into_iter().chain([system]);
        Ok(usual.into_iter().find(|path| path.exists()))
    }

    fn certificate_directories(&self) -> Vec<PathBuf> {
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        self.home_file(".config/containers/certs.d").into_iter().chain(system).collect()
    }

    /// Files with credentials, first match first. A file named by flag or variable is the only one.
    fn auth_files(&self, args: &RegistryArgs) -> Vec<AuthFile> {
        let file = |kind| move |path| AuthFile { path, kind };
        if let Some(path) = args.authfile.clone() {
            return vec![file(AuthFileKind::Containers)(path)];
        }
        if let Some(dir) = self.env("DOCKER_CONFIG") {
            return vec![file(AuthFileKind::Docker)(PathBuf::from(dir).join("config.json"))];
        }
        let runtime_dir = self.env("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("containers/auth.json"));
        let config_dir = match self.env("XDG_CONFIG_HOME") {
            Some(dir) => Some(PathBuf::from(dir).join("containers/auth.json")),
            None => self.home_file(".config/containers/auth.json"),
        };
        let of_root = Some(PathBuf::from("/run/containers/0/auth.json"));
        let containers = [runtime_dir, of_root, config_dir].into_iter().flatten().map(file(AuthFileKind::Containers));
        let docker = self.home_file(".docker/config.json").into_iter().map(file(AuthFileKind::Docker));
        let legacy = self.home_file(".dockercfg").into_iter().map(file(AuthFileKind::DockerLegacy));
        containers.chain(docker).chain(legacy).collect()
    }

    fn registries_files(&self) -> RegistriesFiles {
        let global = self.global();
        let user = self.home_file(".config/containers");
        let main = match &global.registries_conf {
            Some(path) => vec![path.clone()],
            None => {
                let system = PathBuf::from("/etc/containers/registries.conf");
                user.iter().map(|dir| dir.join("registries.conf")).chain([system]).collect()
            }
        };
        let drop_in_dirs = match (&global.registries_conf_dir, &global.registries_conf) {
            (Some(dir), _) => vec![dir.clone()],
            (None, Some(_)) => Vec::new(),
            (None, None) => {
                let system = PathBuf::from("/etc/containers/registries.conf.d");
                [system].into_iter().chain(user.iter().map(|dir| dir.join("registries.conf.d"))).collect()
            }
        };
        let aliases = match self.env("XDG_CACHE_HOME") {
            _ if global.short_name_alias_conf.is_some() => global.short_name_alias_conf.clone(),
            Some(dir) => Some(PathBuf::from(dir).join("containers/short-name-aliases.conf")),
            None => self.home_file(".cache/containers/short-name-aliases.conf"),
        };
        RegistriesFiles { main, drop_in_dirs, aliases }
    }

    /// A proxy variable, which programs read in lower case first.
    fn either_case(&self, name: &str) -> Option<String> {
        self.env(name).or_else(|| self.env(&name.to_uppercase()))
    }
}

fn notice(logger: Logger) -> impl Fn(Notice) + Send + Sync {
    move |notice| match notice {
        Notice::Retry { error, wait } => {
            logger.log(LogLevel::Warn, &format!("{error}; trying again in {} s", wait.as_secs()));
        }
        Notice::PlainHttp { host } => {
            logger.log(LogLevel::Debug, &format!("{host} is reached by plain http"));
        }
    }
}
