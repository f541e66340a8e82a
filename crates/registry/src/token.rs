//! The `Authorization` header for a registry: basic credentials, or a token from its service
//! (distribution's token authentication specification).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::auth::Login;
use crate::challenge::Challenge;
use crate::client::{Client, Host, Reached, capped_body};
use crate::error::RegistryError;
use crate::origin;

/// Longest answer of a token service that is read.
const MAX_TOKEN_BODY: usize = 1024 * 1024;
/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a token lives if its service does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// What a request needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) repository: String,
    pub(crate) push: bool,
    /// A repository on the same registry that a blob is mounted from.
    pub(crate) mount_from: Option<String>,
}

impl Access {
    fn scopes(&self) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{}:{actions}", self.repository)];
        scopes.extend(self.mount_from.iter().map(|from| format!("repository:{from}:pull")));
        scopes
    }
}

/// What is known of who we are to one registry.
#[derive(Default)]
pub(crate) struct Tokens {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logins: HashMap<String, Option<Login>>,
    bearer: HashMap<Access, (HeaderValue, Instant)>,
    identity: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who we were to the registry, for an error that denies access.
    pub(crate) fn identity(&self) -> String {
        self.state().identity.clone().unwrap_or_else(|| "no credentials were found for it".to_owned())
    }

    /// The header for `access`. `fresh` are the challenges of an answer that refused the last one.
    pub(crate) async fn header(
        &self,
        host: &Host,
        client: &Client,
        reached: &Reached,
        access: &Access,
        fresh: Option<&[Challenge]>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let challenges = fresh.filter(|list| !list.is_empty()).unwrap_or(&reached.challenges);
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope, .. } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        if let Some((realm, service, scope)) = bearer {
            if fresh.is_none() {
                let known = self.state().bearer.get(access).cloned();
                if let Some((header, until)) = known
                    && Instant::now() + MARGIN < until
                {
                    return Ok(Some(header));
                }
            }
            let mut scopes = access.scopes();
            if let (Some(_), Some(scope)) = (fresh, scope) {
                let more: Vec<_> =
                    scope.split(' ').filter(|s| !scopes.iter().any(|own| own == s)).map(str::to_owned).collect();
                scopes.extend(more);
            }
            let (header, lifetime) =
                self.fetch(host, client, reached, access, realm, service.as_deref(), &scopes).await?;
            self.state().bearer.insert(access.clone(), (header.clone(), Instant::now() + lifetime));
            return Ok(Some(header));
        }
        if challenges.contains(&Challenge::Basic)
            && let Some(Login::Basic { username, password }) = self.login(host, client, access)?
        {
            return Ok(Some(basic(&username, &password)));
        }
        Ok(None)
    }

    fn login(&self, host: &Host, client: &Client, access: &Access) -> Result<Option<Login>, RegistryError> {
        if let Some(login) = self.state().logins.get(&access.repository) {
            return Ok(login.clone());
        }
        let login = client.shared.options.credentials.find(&host.name, &access.repository)?;
        let mut state = self.state();
        state.identity = login.as_ref().map(|login| match login {
            Login::Basic { username, .. } => format!("as user {username}"),
            Login::IdentityToken(_) => "with an identity token".to_owned(),
        });
        state.logins.insert(access.repository.clone(), login.clone());
        Ok(login)
    }

    #[allow(clippy::too_many_arguments)] // one call site; a struct would only rename them
    async fn fetch(
        &self,
        host: &Host,
        client: &Client,
        reached: &Reached,
        access: &Access,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<(HeaderValue, Duration), RegistryError> {
        let subject = "the token service";
        let broken =
            |reason: String| RegistryError::Protocol { host: host.name.clone(), subject: subject.to_owned(), reason };
        let mut url = reached.base.join(realm).map_err(|_| broken("its realm is no address".into()))?;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if let Some(reason) = reached.origin.refuses(&url) {
            let target = origin::shown(&url);
            return Err(RegistryError::Refused {
                host: host.name.clone(),
                subject: subject.to_owned(),
                target,
                reason,
            });
        }
        let mut login = self.login(host, client, access)?;
        if login.is_some() && !reached.origin.trusts_realm(&url) {
            // Credentials were given for the registry; this host is one that only the registry named.
            login = None;
            self.state().identity = Some(format!(
                "its token service {} is another origin and was not given the credentials",
                origin::shown(&url)
            ));
        }
        let http = host.http_for(client, reached, &url);
        let request = match &login {
            Some(Login::IdentityToken(token)) => {
                let mut form = Url::parse("form:?").map_err(|error| broken(error.to_string()))?;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("service", service.unwrap_or_default())
                    .append_pair("client_id", "gabion")
                    .append_pair("refresh_token", token)
                    .append_pair("scope", &scopes.join(" "));
                let body = form.query().unwrap_or_default().to_owned();
                http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            other => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for scope in scopes {
                        query.append_pair("scope", scope);
                    }
                    if let Some(Login::Basic { username, .. }) = other {
                        query.append_pair("account", username);
                    }
                }
                match other {
                    Some(Login::Basic { username, password }) => {
                        http.get(url).header(AUTHORIZATION, basic(username, password))
                    }
                    _ => http.get(url),
                }
            }
        };
        let response = host.in_time(client, subject, request.header(ACCEPT, "application/json").send()).await?;
        if !response.status().is_success() {
            return Err(host.status_error(response, "the request for a token", &access.repository).await);
        }
        let body = capped_body(host, client, response, MAX_TOKEN_BODY, subject).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|error| broken(format!("its answer is no token: {error}")))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
            .ok()
            .filter(|_| !token.is_empty())
            .ok_or_else(|| broken("its answer holds no token".into()))?;
        header.set_sensitive(true);
        let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(Duration::from_secs(86400));
        Ok((header, lifetime))
    }
}

fn basic(username: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    // Base64 is always a valid header.
    let mut header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}
