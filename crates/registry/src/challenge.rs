//! The `WWW-Authenticate` header: how a registry asks for credentials (RFC 9110 §11.6.1).

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from a token service.
    Bearer {
        /// URL of the token service.
        realm: String,
        /// What to ask a token for.
        service: Option<String>,
        /// The scope that was missing.
        scope: Option<String>,
        /// `insufficient_scope`, `invalid_token`…
        error: Option<String>,
    },
}

/// The challenges in `header`, unknown schemes left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '\t']).unwrap_or(rest.len());
        let (scheme, mut tail) = rest.split_at(end);
        let mut parameters = Vec::new();
        // Parameters go on until something that is not `name=`: the next scheme.
        loop {
            let trimmed = tail.trim_start_matches([' ', ',', '\t']);
            match parameter(trimmed) {
                Some((name, value, after)) => {
                    parameters.push((name, value));
                    tail = after;
                }
                None => {
                    rest = trimmed;
                    break;
                }
            }
        }
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = get("realm")
        {
            challenges.push(Challenge::Bearer {
                realm,
                service: get("service"),
                scope: get("scope"),
                error: get("error"),
            });
        }
    }
    challenges
}

/// `name=value` or `name="value"` at the head of `text`, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b)) {
        return None;
    }
    let rest = rest.trim_start();
    let name = name.to_ascii_lowercase();
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                '"' => return Some((name, value, quoted.get(at + 1..).unwrap_or(""))),
                c => value.push(c),
            }
        }
        return Some((name, value, ""));
    }
    let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    Some((name, value.to_owned(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_challenges_are_read_in_any_order() {
        let header = r#"Basic realm="x, \"y\"", Bearer realm="https://a.io/token?x=1,2",service=reg, scope="repository:a/b:pull,push" error="invalid_token",Negotiate"#;
        assert_eq!(
            parse(header),
            [
                Challenge::Basic,
                Challenge::Bearer {
                    realm: "https://a.io/token?x=1,2".into(),
                    service: Some("reg".into()),
                    scope: Some("repository:a/b:pull,push".into()),
                    error: Some("invalid_token".into()),
                },
            ]
        );
    }

    #[test]
    fn pure_odd_headers_do_no_harm() {
        for text in
            ["", ",", "=", "Bearer", "Bearer realm", "Bearer realm=\"", "Bearer =\"x\"", "é=\"\\", "Basic,,Basic=="]
        {
            let _ = parse(text);
        }
        assert_eq!(parse("basic"), [Challenge::Basic]);
    }
}
