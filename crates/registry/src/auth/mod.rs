//! Credentials, from where the ecosystem keeps them.
//!
//! Files are containers-auth.json(5) and Docker's config.json. In each, a credential helper named
//! for the registry comes first, then the entry of the most specific name: for
//! `quay.io/team/app` the keys `quay.io/team/app`, `quay.io/team`, `quay.io`.

mod file; // auth.json and config.json
mod helper; // docker-credential-*

use std::path::PathBuf;

pub use file::AuthFileKind;

/// Who we are to one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password or access token.
        password: String,
    },
    /// A refresh token for the token service.
    IdentityToken(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Login::Basic { username, .. } => write!(f, "Basic({username})"),
            Login::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// One place to look for credentials.
#[derive(Clone, Debug)]
pub struct AuthFile {
    /// The file; one that does not exist is skipped.
    pub path: PathBuf,
    /// How its keys are to be read.
    pub kind: AuthFileKind,
}

/// Where credentials come from.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// `--creds`: for every registry, before any file.
    pub given: Option<Login>,
    /// The files, first match wins.
    pub files: Vec<AuthFile>,
}

/// Credentials that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file cannot be read.
    #[error("cannot read credentials from {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not what it should be.
    #[error("invalid credentials file {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The helper failed.
    #[error("credential helper docker-credential-{helper} failed for {registry}: {reason}")]
    Helper {
        /// Its name without prefix.
        helper: String,
        /// What it was asked for.
        registry: String,
        /// Why.
        reason: String,
    },
    /// `--creds` without a user.
    #[error("invalid --creds: expected USER[:PASSWORD]")]
    Given,
}

impl Credentials {
    /// No credentials at all.
    pub fn none() -> Credentials {
        Credentials::default()
    }

    /// `--creds USER[:PASSWORD]`.
    pub fn parse_given(text: &str) -> Result<Login, AuthError> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        if username.is_empty() {
            return Err(AuthError::Given);
        }
        Ok(Login::Basic { username: username.to_owned(), password: password.to_owned() })
    }

    /// The credentials for `repository` on `registry` (host and port as in references).
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Login>, AuthError> {
        if let Some(login) = &self.given {
            return Ok(Some(login.clone()));
        }
        for file in &self.files {
            if let Some(login) = file::find(file, registry, repository)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}
