//! Connections: one [`Client`] for a command, one [`Host`] for each registry it talks to.
//!
//! The HTTP client is asynchronous and lives on a small runtime inside [`Client`]; every public
//! call blocks. Redirects are followed here and not in the HTTP library, because who may see the
//! `Authorization` header is decided hop by hop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use oci::Reference;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use crate::auth::Credentials;
use crate::challenge::{self, Challenge};
use crate::error::{RegistryError, root_cause};
use crate::origin::{self, Origin};
use crate::repository::Repository;
use crate::retry::{MAX_RETRY_AFTER, retry_after};
use crate::tls::{self, TlsOptions};
use crate::token::{Access, Tokens};

/// Longest error body that is read.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 10;

/// How often and when a failed call is repeated.
#[derive(Clone, Debug)]
pub struct RetryOptions {
    /// Attempts after the first.
    pub count: u32,
    /// Wait between attempts; `None` begins with one second and doubles.
    pub delay: Option<Duration>,
}

impl Default for RetryOptions {
    fn default() -> RetryOptions {
        RetryOptions { count: 3, delay: None }
    }
}

impl RetryOptions {
    /// The wait after failed attempt number `attempt` (from 0).
    pub fn wait(&self, attempt: u32) -> Duration {
        self.delay.unwrap_or_else(|| Duration::from_secs(1 << attempt.min(5)))
    }
}

/// What a client tells while it works.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A call failed and is repeated after a wait.
    Retry {
        /// The failure.
        error: String,
        /// The wait.
        wait: Duration,
    },
    /// A host that may be reached without TLS was.
    PlainHttp {
        /// Host and port.
        host: String,
    },
}

/// Receives notices, from any thread.
pub type NoticeSink = Arc<dyn Fn(Notice) + Send + Sync>;

/// Proxies, as the conventional variables give them.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// `http_proxy`.
    pub http: Option<String>,
    /// `https_proxy`.
    pub https: Option<String>,
    /// `no_proxy`: comma-separated hosts.
    pub none: Option<String>,
}

/// How a client connects.
#[derive(Clone)]
pub struct ClientOptions {
    /// Certificates.
    pub tls: TlsOptions,
    /// Who we are.
    pub credentials: Credentials,
    /// Repeating failed calls.
    pub retry: RetryOptions,
    /// A transfer without progress for this long is given up.
    pub stall_timeout: Duration,
    /// Proxies.
    pub proxy: ProxyOptions,
    /// `User-Agent`.
    pub user_agent: String,
    /// Receives what is worth telling.
    pub notices: Option<NoticeSink>,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            tls: TlsOptions::default(),
            credentials: Credentials::default(),
            retry: RetryOptions::default(),
            stall_timeout: Duration::from_secs(60),
            proxy: ProxyOptions::default(),
            user_agent: concat!("gabion/", env!("CARGO_PKG_VERSION")).to_owned(),
            notices: None,
        }
    }
}

/// Talks to registries. Cheap to clone; calls may come from several threads.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) runtime: Runtime,
    hosts: Mutex<HashMap<(String, bool), Arc<Host>>>,
    /// For other origins than a registry's own: always verifies, never shows a client certificate.
    pub(crate) foreign: reqwest::Client,
}

/// Which location to talk to, and how strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and repository as they are on the wire; tag and digest as the user meant them.
    pub reference: Reference,
    /// Whether unverified TLS and plain http are acceptable.
    pub insecure: bool,
}

impl Client {
    /// A client with its own connections.
    pub fn new(options: ClientOptions) -> Result<Client, RegistryError> {
        // The process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Setup(root_cause(&error)))?;
        let foreign = http_client(&options, tls::HostCertificates::default(), false)?;
        Ok(Client { shared: Arc::new(Shared { options, runtime, hosts: Mutex::default(), foreign }) })
    }

    /// The repository of `endpoint`; nothing is sent yet.
    pub fn repository(&self, endpoint: &Endpoint) -> Result<Repository, RegistryError> {
        let insecure = self.shared.options.tls.verify.map_or(endpoint.insecure, |verify| !verify);
        let name = endpoint.reference.domain().to_owned();
        let mut hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = match hosts.get(&(name.clone(), insecure)) {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(Host::new(&self.shared, &name, insecure)?);
                hosts.insert((name, insecure), host.clone());
                host
            }
        };
        Ok(Repository::new(self.clone(), host, endpoint.reference.clone()))
    }

    pub(crate) fn notice(&self, notice: Notice) {
        if let Some(sink) = &self.shared.options.notices {
            sink(notice);
        }
    }
}

pub(crate) fn http_client(
    options: &ClientOptions,
    certificates: tls::HostCertificates,
    insecure: bool,
) -> Result<reqwest::Client, RegistryError> {
    let failed = |error: reqwest::Error| RegistryError::Setup(root_cause(&error));
    let tls = tls::client_config(certificates, insecure).map_err(|error| RegistryError::Setup(root_cause(&error)))?;
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(&options.user_agent)
        .connect_timeout(Duration::from_secs(30).min(options.stall_timeout))
        .pool_max_idle_per_host(8)
        .tls_backend_preconfigured(tls)
        .no_proxy();
    let none = options.proxy.none.as_deref().and_then(reqwest::NoProxy::from_string);
    if let Some(url) = options.proxy.http.as_deref().filter(|url| !url.is_empty()) {
        builder = builder.proxy(reqwest::Proxy::http(url).map_err(failed)?.no_proxy(none.clone()));
    }
    if let Some(url) = options.proxy.https.as_deref().filter(|url| !url.is_empty()) {
        builder = builder.proxy(reqwest::Proxy::https(url).map_err(failed)?.no_proxy(none));
    }
    builder.build().map_err(failed)
}

/// One registry.
pub(crate) struct Host {
    /// As in references: `docker.io`, `localhost:5000`.
    pub(crate) name: String,
    insecure: bool,
    http: reqwest::Client,
    pub(crate) tokens: Tokens,
    /// Base URL and challenges, once the registry was reached.
    reached: tokio::sync::Mutex<Option<Arc<Reached>>>,
}

pub(crate) struct Reached {
    pub(crate) base: Url,
    pub(crate) origin: Origin,
    pub(crate) challenges: Vec<Challenge>,
}

/// A request without a streamed body: it can be repeated.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// What it is about, for errors.
    pub(crate) subject: &'a str,
    pub(crate) access: &'a Access,
    /// How often a transient failure is repeated.
    pub(crate) retries: u32,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, url: Url, subject: &'a str, access: &'a Access, retries: u32) -> Call<'a> {
        Call { method, url, headers: HeaderMap::new(), body: None, subject, access, retries }
    }

    pub(crate) fn accept(mut self, types: &str) -> Call<'a> {
        if let Ok(value) = HeaderValue::from_str(types) {
            self.headers.insert(ACCEPT, value);
        }
        self
    }

    pub(crate) fn range_from(mut self, offset: u64) -> Call<'a> {
        self.headers
            .insert(RANGE, HeaderValue::from_str(&format!("bytes={offset}-")).unwrap_or(HeaderValue::from_static("")));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, bytes: Bytes) -> Call<'a> {
        if let Ok(value) = HeaderValue::from_str(content_type) {
            self.headers.insert(CONTENT_TYPE, value);
        }
        self.body = Some(bytes);
        self
    }

    pub(crate) fn empty_body(mut self) -> Call<'a> {
        self.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        self
    }
}

impl Host {
    fn new(shared: &Shared, name: &str, insecure: bool) -> Result<Host, RegistryError> {
        let certificates = shared.options.tls.certificates(name)?;
        Ok(Host {
            name: name.to_owned(),
            insecure,
            http: http_client(&shared.options, certificates, insecure)?,
            tokens: Tokens::default(),
            reached: tokio::sync::Mutex::default(),
        })
    }

    /// Host and port on the wire: Docker Hub's registry is not at its name.
    fn address(&self) -> &str {
        if self.name == "docker.io" { "registry-1.docker.io" } else { &self.name }
    }

    /// Finds out where the registry answers: https, or http where that is acceptable.
    pub(crate) async fn reach(&self, client: &Client) -> Result<Arc<Reached>, RegistryError> {
        let mut reached = self.reached.lock().await;
        if let Some(reached) = &*reached {
            return Ok(reached.clone());
        }
        let mut attempt = 0;
        let found = loop {
            let error = match self.find(client).await {
                Ok(found) => break Arc::new(found),
                Err(error) => error,
            };
            if !error.is_transient() || attempt >= client.shared.options.retry.count {
                return Err(error.exhausted());
            }
            self.pause(client, &error, attempt).await;
            attempt += 1;
        };
        *reached = Some(found.clone());
        Ok(found)
    }

    async fn find(&self, client: &Client) -> Result<Reached, RegistryError> {
        let error = match self.ping(client, "https").await {
            Err(error) if self.insecure && matches!(error, RegistryError::Unreachable { .. }) => error,
            other => return other,
        };
        match self.ping(client, "http").await {
            Ok(found) => {
                client.notice(Notice::PlainHttp { host: self.name.clone() });
                Ok(found)
            }
            // Of two failures to connect the first one is the one to tell: http is only a fallback.
            Err(RegistryError::Unreachable { .. }) => Err(error),
            Err(other) => Err(other),
        }
    }

    async fn ping(&self, client: &Client, scheme: &str) -> Result<Reached, RegistryError> {
        let text = format!("{scheme}://{}/v2/", self.address());
        let base = Url::parse(&text).map_err(|error| RegistryError::Unreachable {
            host: self.name.clone(),
            reason: error.to_string(),
            transient: false,
        })?;
        let origin = Origin::of(&base).ok_or_else(|| RegistryError::Setup(format!("{text} is no http address")))?;
        let response = self.in_time(client, "the registry", self.http.get(base.clone()).send()).await?;
        match response.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED => {
                let challenges = challenges(&response);
                Ok(Reached { base, origin, challenges })
            }
            // Some registries have nothing at this path but serve what is below it.
            StatusCode::NOT_FOUND if response.headers().contains_key("docker-distribution-api-version") => {
                Ok(Reached { base, origin, challenges: Vec::new() })
            }
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(self.status_error(response, "GET /v2/", "the registry").await)
            }
            status => {
                let detail = format!("GET {} gave status {status}", origin::shown(&base));
                Err(RegistryError::NotARegistry { host: self.name.clone(), detail })
            }
        }
    }

    async fn pause(&self, client: &Client, error: &RegistryError, attempt: u32) {
        let own = client.shared.options.retry.wait(attempt);
        let wait = error.retry_after().map_or(own, |asked| asked.clamp(own, MAX_RETRY_AFTER.max(own)));
        client.notice(Notice::Retry { error: error.to_string(), wait });
        tokio::time::sleep(wait).await;
    }

    /// Sends `call`, following redirects, asking for a token when the registry wants one, and
    /// repeating what may succeed later. Any status below 400 is a success, and so is each of
    /// `accepted`.
    pub(crate) async fn send(
        &self,
        client: &Client,
        call: &Call<'_>,
        accepted: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        let mut attempt = 0;
        loop {
            let result = self.send_once(client, call, accepted).await;
            match result {
                Err(error) if error.is_transient() && attempt < call.retries => {
                    self.pause(client, &error, attempt).await;
                    attempt += 1;
                }
                other => return other.map_err(RegistryError::exhausted),
            }
        }
    }

    async fn send_once(
        &self,
        client: &Client,
        call: &Call<'_>,
        accepted: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        let reached = self.reach(client).await?;
        let mut header = self.tokens.header(self, client, &reached, call.access, None).await?;
        let mut asked_again = false;
        loop {
            let response = self.follow(client, &reached, call, header.as_ref()).await?;
            let status = response.status();
            if status.is_success() || accepted.contains(&status) {
                return Ok(response);
            }
            let own = Origin::of(response.url()).is_some_and(|origin| origin == reached.origin);
            if status == StatusCode::UNAUTHORIZED && own && !asked_again {
                // The token expired, or its scope did not cover this request.
                asked_again = true;
                let wanted = challenges(&response);
                let fresh = self.tokens.header(self, client, &reached, call.access, Some(&wanted)).await?;
                if fresh.is_some() && fresh != header {
                    header = fresh;
                    continue;
                }
            }
            let request = format!("{} of {}", call.method, call.subject);
            return Err(self.status_error(response, &request, call.subject).await);
        }
    }

    /// One request and its redirects. `header` goes to the registry's own origin only.
    async fn follow(
        &self,
        client: &Client,
        reached: &Reached,
        call: &Call<'_>,
        header: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut url = call.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self.request(client, reached, call.method.clone(), url.clone(), header, call.subject)?;
            builder = builder.headers(call.headers.clone());
            if let Some(body) = &call.body {
                builder = builder.body(body.clone());
            }
            let response = self.in_time(client, call.subject, builder.send()).await?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let safe = matches!(call.method, Method::GET | Method::HEAD);
            if !redirected || !safe && !matches!(response.status().as_u16(), 307 | 308) {
                return Ok(response);
            }
            url = self.location(&response, call.subject)?;
        }
        Err(RegistryError::Refused {
            host: self.name.clone(),
            subject: call.subject.to_owned(),
            target: origin::shown(&url),
            reason: "there are too many redirects",
        })
    }

    /// A request to `url`, which may be another origin than the registry's: then it carries no
    /// credentials, no client certificate, and its certificate is verified in any case.
    pub(crate) fn request(
        &self,
        client: &Client,
        reached: &Reached,
        method: Method,
        url: Url,
        header: Option<&HeaderValue>,
        subject: &str,
    ) -> Result<reqwest::RequestBuilder, RegistryError> {
        if let Some(reason) = reached.origin.refuses(&url) {
            return Err(RegistryError::Refused {
                host: self.name.clone(),
                subject: subject.to_owned(),
                target: origin::shown(&url),
                reason,
            });
        }
        if Origin::of(&url).is_some_and(|origin| origin == reached.origin) {
            let builder = self.http.request(method, url);
            return Ok(match header {
                Some(header) => builder.header(AUTHORIZATION, header),
                None => builder,
            });
        }
        let mut url = url;
        // A user part in the address would become an Authorization header of the other side's choice.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(client.shared.foreign.request(method, url))
    }

    /// The connection to use for a token service: the registry's own only for its own origin.
    pub(crate) fn http_for(&self, client: &Client, reached: &Reached, url: &Url) -> reqwest::Client {
        if Origin::of(url).is_some_and(|origin| origin == reached.origin) {
            self.http.clone()
        } else {
            client.shared.foreign.clone()
        }
    }

    /// Waits for `work`, but no longer than the stall timeout.
    pub(crate) async fn in_time<T>(
        &self,
        client: &Client,
        subject: &str,
        work: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, RegistryError> {
        let after = client.shared.options.stall_timeout;
        match tokio::time::timeout(after, work).await {
            Ok(result) => result.map_err(|error| self.send_error(&error, subject, client)),
            Err(_) => Err(RegistryError::Stalled { host: self.name.clone(), subject: subject.to_owned(), after }),
        }
    }

    /// Where `response` points, relative to where it came from.
    pub(crate) fn location(&self, response: &Response, subject: &str) -> Result<Url, RegistryError> {
        let broken = |reason: &str| RegistryError::Protocol {
            host: self.name.clone(),
            subject: subject.to_owned(),
            reason: reason.to_owned(),
        };
        let text = response.headers().get(LOCATION).ok_or_else(|| broken("an answer without a Location"))?;
        let text = text.to_str().map_err(|_| broken("a Location that is no address"))?;
        response.url().join(text).map_err(|_| broken("a Location that is no address"))
    }

    /// The error for a failure to send or receive.
    pub(crate) fn send_error(&self, error: &reqwest::Error, subject: &str, client: &Client) -> RegistryError {
        let host = self.name.clone();
        let reason = root_cause(error);
        if error.is_connect() {
            let transient = !is_permanent(error);
            let reason = if error.is_timeout() { "the connection timed out".into() } else { explain(&reason) };
            return RegistryError::Unreachable { host, reason, transient };
        }
        if error.is_timeout() {
            return RegistryError::Stalled {
                host,
                subject: subject.to_owned(),
                after: client.shared.options.stall_timeout,
            };
        }
        RegistryError::Broken { host, subject: subject.to_owned(), reason }
    }

    /// The error that `response` is, with what its body says.
    pub(crate) async fn status_error(&self, response: Response, request: &str, subject: &str) -> RegistryError {
        let status = response.status();
        let host = match Origin::of(response.url()) {
            Some(_) => self.name.clone(),
            None => response.url().host_str().unwrap_or(&self.name).to_owned(),
        };
        let retry_after = retry_after(response.headers());
        let body = tokio::time::timeout(Duration::from_secs(5), error_body(response)).await.unwrap_or_default();
        let detail =
            diagnosis(&body).unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_lowercase());
        let subject = subject.to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Denied { host, subject, detail: format!("{detail} ({})", self.tokens.identity()) }
            }
            StatusCode::NOT_FOUND => RegistryError::NotFound { host, subject, detail },
            _ => RegistryError::Status {
                host,
                request: request.to_owned(),
                status: status.as_u16(),
                detail,
                retry_after,
            },
        }
    }
}

/// The challenges of a 401.
pub(crate) fn challenges(response: &Response) -> Vec<Challenge> {
    let headers = response.headers().get_all("www-authenticate");
    headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
}

async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if body.len() >= MAX_ERROR_BODY {
            break;
        }
    }
    body
}

/// What an error body says, shortened: the specification's `errors`, a token service's `details`,
/// or plain text.
pub(crate) fn diagnosis(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => {
            let say = |value: &serde_json::Value, key: &str| {
                value.get(key).and_then(|v| v.as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let first = value.get("errors").and_then(|errors| errors.get(0));
            let listed = first.and_then(|error| say(error, "message").or_else(|| say(error, "code")));
            listed
                .or_else(|| say(&value, "details"))
                .or_else(|| say(&value, "message"))
                .or_else(|| say(&value, "error"))?
        }
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            if text.is_empty() || text.starts_with('<') {
                return None;
            }
            text.to_owned()
        }
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Whether no further attempt would mend it: a name that is not found, a certificate that is not
/// trusted.
pub(crate) fn is_permanent(error: &reqwest::Error) -> bool {
    let permanent = ["dns", "certificate", "lookup", "resolve", "name or service"];
    let text = format!("{error:?}").to_ascii_lowercase();
    error.is_builder() || error.is_connect() && permanent.iter().any(|word| text.contains(word))
}

/// A TLS library's words in ours, where they are common.
pub(crate) fn explain(reason: &str) -> String {
    let lower = reason.to_ascii_lowercase();
    if lower.contains("unknownissuer") || lower.contains("causedasendentity") {
        return "x509: certificate signed by unknown authority".into();
    }
    if lower.contains("name or service not known") || lower.contains("no address associated") {
        return "no such host".into();
    }
    if lower.contains("corrupt message") || lower.contains("invalidcontenttype") {
        return "it does not speak TLS".into();
    }
    reason.to_owned()
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn capped_body(
    host: &Host,
    client: &Client,
    mut response: Response,
    limit: usize,
    subject: &str,
) -> Result<Vec<u8>, RegistryError> {
    let mut body = Vec::new();
    loop {
        match host.in_time(client, subject, response.chunk()).await? {
            Some(chunk) if body.len() + chunk.len() > limit => {
                return Err(RegistryError::TooLarge {
                    host: host.name.clone(),
                    subject: subject.to_owned(),
                    limit: limit as u64,
                });
            }
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_error_bodies_become_one_short_line() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#, Some("manifest unknown")),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password")),
            ("plain\ntext\u{1b}[2J", Some("plain text [2J")),
            ("<html>", None),
            ("", None),
            ("{}", None),
        ] {
            assert_eq!(diagnosis(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(diagnosis("x".repeat(1000).as_bytes()).map(|text| text.len()), Some(300));
    }

    #[test]
    fn pure_waits_double_or_are_fixed() {
        let doubling = RetryOptions { count: 3, delay: None };
        assert_eq!([0, 1, 2].map(|n| doubling.wait(n).as_secs()), [1, 2, 4]);
        let fixed = RetryOptions { count: 3, delay: Some(Duration::from_secs(7)) };
        assert_eq!(fixed.wait(9).as_secs(), 7);
    }
}
