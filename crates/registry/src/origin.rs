//! Origins: scheme, host and port of a URL, and to which of them a secret may go.
//!
//! Credentials belong to the origin that the user named. A redirect, an upload location or a token
//! service is named by the other side, so each is checked here before a request goes there.

use std::net::IpAddr;

use reqwest::Url;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `url`, which must be http or https.
    pub(crate) fn of(url: &Url) -> Option<Origin> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Origin {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }

    fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    fn is_link_local(&self) -> bool {
        match self.ip() {
            Some(IpAddr::V4(ip)) => ip.is_link_local(),
            Some(IpAddr::V6(ip)) => {
                ip.segments()[0] & 0xffc0 == 0xfe80 || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local())
            }
            None => false,
        }
    }

    /// Why a request from this origin must not be led to `target`, if it must not.
    pub(crate) fn refuses(&self, target: &Url) -> Option<&'static str> {
        let Some(target) = Origin::of(target) else { return Some("it is no http or https address") };
        if self.is_https() && !target.is_https() {
            return Some("it leads from https to http");
        }
        if target.is_link_local() && !self.is_link_local() {
            return Some("it is a link-local address");
        }
        None
    }

    /// Whether a token service at `realm` may see the credentials given for this origin: the same
    /// origin, or over https a host of the same domain (`registry.gitlab.com` and `gitlab.com`,
    /// `registry-1.docker.io` and `auth.docker.io`).
    pub(crate) fn trusts_realm(&self, realm: &Url) -> bool {
        let Some(realm) = Origin::of(realm) else { return false };
        if realm == *self {
            return true;
        }
        if !self.is_https() || !realm.is_https() || self.ip().is_some() || realm.ip().is_some() {
            return false;
        }
        if self.host == realm.host {
            return true;
        }
        let parent =
            |host: &str| host.split_once('.').map(|(_, rest)| rest.to_owned()).filter(|rest| rest.contains('.'));
        match (parent(&self.host), parent(&realm.host)) {
            (Some(ours), Some(theirs)) => ours == theirs || ours == realm.host || theirs == self.host,
            (Some(ours), None) => ours == realm.host,
            (None, Some(theirs)) => theirs == self.host,
            (None, None) => false,
        }
    }
}

/// `url` as it may be shown: queries hold signatures, user parts hold passwords.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).expect(text)).expect(text)
    }

    #[test]
    fn pure_realm_of_the_same_domain_is_trusted_over_https_only() {
        for (registry, realm, trusted) in [
            ("https://quay.io/v2/", "https://quay.io/v2/auth", true),
            ("https://registry-1.docker.io/", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com/", "https://gitlab.com/jwt/auth", true),
            ("https://gitlab.example.com:5050/", "https://gitlab.example.com/jwt/auth", true),
            ("https://quay.io/", "https://evil.io/token", false),
            ("https://quay.io/", "https://auth.quay.io/token", true),
            ("https://a.example.com/", "http://a.example.com/token", false),
            ("http://a.example.com/", "https://b.example.com/token", false),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token", false),
            ("https://127.0.0.1:5000/", "https://127.0.0.1:5001/token", false),
            ("http://localhost:5000/", "http://localhost:5000/token", true),
            ("https://a.example.com/", "ftp://a.example.com/token", false),
        ] {
            assert_eq!(origin(registry).trusts_realm(&Url::parse(realm).expect(realm)), trusted, "{registry} {realm}");
        }
    }

    #[test]
    fn pure_downgrades_and_link_local_targets_are_refused() {
        let https = origin("https://quay.io");
        for (target, refused) in [
            ("https://cdn.example.com/x", false),
            ("http://quay.io/x", true),
            ("ftp://quay.io/x", true),
            ("file:///etc/passwd", true),
            ("https://169.254.169.254/latest", true),
            ("https://[fe80::1]/", true),
            ("https://[::ffff:169.254.169.254]/", true),
        ] {
            assert_eq!(https.refuses(&Url::parse(target).expect(target)).is_some(), refused, "{target}");
        }
        assert!(origin("http://127.0.0.1:5000").refuses(&Url::parse("http://127.0.0.1:5001/").expect("url")).is_none());
    }
}
