//! What can go wrong between us and a registry, each as one line for the user.

use std::time::Duration;

use oci::Digest;

/// A failed exchange with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection: name resolution, refused, reset, TLS.
    #[error("cannot reach registry {host}: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The lowest cause that could be found.
        reason: String,
        /// Whether another attempt may help.
        transient: bool,
    },
    /// The server at the host does not answer as a registry does.
    #[error("{host} does not answer as a registry: {detail}")]
    NotARegistry {
        /// Host and port.
        host: String,
        /// What it answered.
        detail: String,
    },
    /// Credentials are missing, wrong or not enough.
    #[error("registry {host} denies access to {subject}: {detail}")]
    Denied {
        /// Host and port.
        host: String,
        /// Repository, manifest or blob.
        subject: String,
        /// What the registry said, and with what we asked.
        detail: String,
    },
    /// The repository, manifest or blob is not there.
    #[error("{subject} not found on registry {host}: {detail}")]
    NotFound {
        /// Host and port.
        host: String,
        /// Repository, manifest or blob.
        subject: String,
        /// What the registry said.
        detail: String,
    },
    /// Any other status.
    #[error("registry {host} answered {status} to {request}: {detail}")]
    Status {
        /// Host and port.
        host: String,
        /// Method and subject.
        request: String,
        /// HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
        /// What the registry asks us to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// A body is longer than we are willing to read.
    #[error("registry {host} sent more than {limit} bytes for {subject}")]
    TooLarge {
        /// Host and port.
        host: String,
        /// What was asked for.
        subject: String,
        /// The cap in bytes.
        limit: u64,
    },
    /// Bytes stopped flowing.
    #[error("registry {host} made no progress for {} seconds with {subject}", .after.as_secs())]
    Stalled {
        /// Host and port.
        host: String,
        /// What was transferred.
        subject: String,
        /// How long we waited.
        after: Duration,
    },
    /// The body ended early, or the connection broke.
    #[error("transfer of {subject} with registry {host} broke off: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What was transferred.
        subject: String,
        /// The cause.
        reason: String,
    },
    /// The bytes are not those asked for.
    #[error("registry {host} sent wrong content for {subject}: expected digest {expected}, got {actual}")]
    WrongDigest {
        /// Host and port.
        host: String,
        /// What was asked for.
        subject: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The bytes are not as many as the manifest says.
    #[error("registry {host} sent wrong content for {subject}: expected {expected} bytes, got {}{actual}", if *.more { "more than " } else { "" })]
    WrongSize {
        /// Host and port.
        host: String,
        /// What was asked for.
        subject: String,
        /// The size expected.
        expected: u64,
        /// Bytes seen.
        actual: u64,
        /// Whether there was more.
        more: bool,
    },
    /// A redirect, upload location or token service that we do not follow.
    #[error("registry {host} points to {target} for {subject}, which is refused: {reason}")]
    Refused {
        /// Host and port.
        host: String,
        /// What was asked for.
        subject: String,
        /// Where it pointed, without query.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// An answer that the protocol does not allow.
    #[error("registry {host} broke the protocol with {subject}: {reason}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What was asked for.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificates or keys that cannot be used.
    #[error("cannot use TLS file {path}: {reason}")]
    TlsFile {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
    /// A call that failed each time it was repeated; the last failure.
    #[error(transparent)]
    Exhausted(Box<RegistryError>),
    /// Credentials could not be read.
    #[error(transparent)]
    Credentials(#[from] crate::auth::AuthError),
    /// The caller's own stream failed during an upload.
    #[error("cannot read {subject} for its upload: {reason}")]
    Source {
        /// What was uploaded.
        subject: String,
        /// The cause.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same call may succeed when it is repeated. A failure that was repeated as often
    /// as the options allow is not.
    pub fn is_transient(&self) -> bool {
        match self {
            RegistryError::Unreachable { transient, .. } => *transient,
            RegistryError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            RegistryError::Stalled { .. } | RegistryError::Broken { .. } => true,
            _ => false,
        }
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, RegistryError::NotFound { .. })
    }

    /// Whether access was denied.
    pub fn is_denied(&self) -> bool {
        matches!(self, RegistryError::Denied { .. })
    }

    /// The same failure after it was repeated in vain.
    pub(crate) fn exhausted(self) -> RegistryError {
        if self.is_transient() { RegistryError::Exhausted(Box::new(self)) } else { self }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<RegistryError> for std::io::Error {
    fn from(error: RegistryError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// The lowest cause below `error`: its outer layers only repeat the URL.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // An operating system error prints its number, which says nothing to a user.
    let text = cause.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => lower_first(text),
        None => lower_first(&text),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
