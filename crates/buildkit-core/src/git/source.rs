//! The address of a repository, and what of it is meant: `REMOTE#REF:SUBDIR`, or
//! `REMOTE?ref=REF&subdir=SUBDIR&…`.

use super::GitError;

/// A repository, and what of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitSource {
    /// The address for git, without what comes after `?` or `#`.
    pub remote: String,
    /// Branch, tag, full reference or commit hash; `None` for the default branch.
    pub reference: Option<String>,
    /// Directory in the repository, relative, without `..`.
    pub subdir: Option<String>,
    /// Beginning of the hash that the commit must have.
    pub checksum: Option<String>,
    /// Whether `.git` comes along, if the address says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules come along, if the address says so; by default they do.
    pub submodules: Option<bool>,
    /// Whether files get the commit's time.
    pub commit_times: bool,
    /// Whether the checksum is fetched, whatever the reference is at now.
    pub fetch_by_commit: bool,
}

/// Schemes of addresses.
const SCHEMES: [&str; 4] = ["http", "https", "git", "ssh"];

impl GitSource {
    /// Reads an address; `None` if it is no repository's. An http address is one only if its path
    /// ends in `.git`, as with BuildKit.
    pub fn parse(text: &str) -> Option<Result<GitSource, GitError>> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = address.split_once('?').unwrap_or((address, ""));
        match remote.split_once("://") {
            Some((scheme, rest)) => {
                let scheme = scheme.to_ascii_lowercase();
                let http = matches!(scheme.as_str(), "http" | "https");
                let path = rest.split_once('/').map_or("", |(_, path)| path);
                if !SCHEMES.contains(&scheme.as_str()) || http && !path.ends_with(".git") {
                    return None;
                }
            }
            None if is_scp_like(remote) => {}
            None => return None,
        }
        let source = GitSource { remote: remote.to_owned(), ..GitSource::default() };
        let shown = source.shown();
        let read = source.read(fragment, query);
        Some(read.map_err(|reason| GitError::Invalid { text: shown, reason }))
    }

    /// As BuildKit's contexts have it besides: `github.com/…` is short for `https://github.com/…`.
    pub fn parse_context(text: &str) -> Option<Result<GitSource, GitError>> {
        if !text.starts_with("github.com/") {
            return GitSource::parse(text);
        }
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        let path = path.strip_suffix(".git").unwrap_or(path);
        GitSource::parse(&format!("https://{path}.git{rest}"))
    }

    /// The address without user and password; the user of ssh stays, as it is part of the name.
    pub fn shown(&self) -> String {
        match self.remote.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = match host.rsplit_once('@') {
                    Some((user, host)) if scheme.eq_ignore_ascii_case("ssh") => {
                        format!("{}@{host}", user.split(':').next().unwrap_or_default())
                    }
                    Some((_, host)) => host.to_owned(),
                    None => host.to_owned(),
                };
                format!("{scheme}://{host}{path}")
            }
            None => self.remote.clone(),
        }
    }

    /// Scheme and host of an http address, with the port; what secrets and headers go by.
    pub fn http_origin(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.remote.split_once("://")?;
        if !scheme.to_ascii_lowercase().starts_with("http") {
            return None;
        }
        let authority = rest.split('/').next()?;
        Some((scheme, authority.rsplit_once('@').map_or(authority, |(_, host)| host)))
    }

    fn read(mut self, fragment: &str, query: &str) -> Result<GitSource, String> {
        let host = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        let host = host.split_once('@').map_or(host, |(_, host)| host);
        if self.remote.starts_with('-') || host.starts_with('-') {
            return Err("a name that begins with - is refused".into());
        }
        if self.remote.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("it contains blanks or control characters".into());
        }
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let (mut reference, mut subdir) = (decode(reference)?, decode(subdir)?);
        let (mut tag, mut branch) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key)?, decode(&value.replace('+', " "))?);
            let flag = || match value.as_str() {
                "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                other => Err(format!("{key} is true or false, not {other:?}")),
            };
            let is_flag = matches!(key.as_str(), "keep-git-dir" | "submodules" | "fetch-by-commit");
            if value.is_empty() && !is_flag {
                return Err(format!("{key} needs a value"));
            }
            match key.as_str() {
                "ref" => agree("ref", &mut reference, value)?,
                "subdir" => agree("subdir", &mut subdir, value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "checksum" | "commit" => self.checksum = Some(value.to_ascii_lowercase()),
                "keep-git-dir" => self.keep_git_dir = Some(flag()?),
                "submodules" => self.submodules = Some(flag()?),
                "fetch-by-commit" => self.fetch_by_commit = flag()?,
                "mtime" if value == "checkout" => self.commit_times = false,
                "mtime" if value == "commit" => self.commit_times = true,
                "mtime" => return Err(format!("mtime is checkout or commit, not {value:?}")),
                _ => {
                    return Err(format!(
                        "unknown option {key:?}, expected ref, branch, tag, subdir, checksum, keep-git-dir, \
                         submodules, mtime or fetch-by-commit"
                    ));
                }
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err("tag and branch contradict each other".into());
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            if let Some(name) = name {
                let full = if name.starts_with(prefix) { name } else { format!("{prefix}{name}") };
                agree("ref", &mut reference, full)?;
            }
        }
        if !reference.is_empty() {
            check_reference(&reference)?;
            self.reference = Some(reference);
        }
        if let Some(checksum) = &self.checksum
            && !(checksum.len() <= 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(format!("the checksum {checksum:?} is no commit hash"));
        }
        let parts: Vec<&str> = subdir.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") || subdir.contains('\0') {
            return Err(format!("the directory {subdir:?} leaves the repository"));
        }
        self.subdir = Some(parts.join("/")).filter(|subdir| !subdir.is_empty());
        Ok(self)
    }
}

/// `user@host:path`
fn is_scp_like(text: &str) -> bool {
    let Some((user, (host, _))) = text.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?)))
    else {
        return false;
    };
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || more.contains(c))
    };
    plain(user, "_") && plain(host, ".")
}

fn agree(name: &str, place: &mut String, value: String) -> Result<(), String> {
    if !place.is_empty() && *place != value {
        return Err(format!("{name} is given as {place:?} and as {value:?}"));
    }
    *place = value;
    Ok(())
}

/// Whether git could take it for a reference, and for nothing else.
fn check_reference(text: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || " :^~?*[\\".contains(c);
    if text.starts_with(['-', '+', '/']) || text.contains(odd) || text.contains("..") || text.contains("@{") {
        return Err(format!("{text:?} is no name of a branch, tag or commit"));
    }
    Ok(())
}

/// Undoes `%41`.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.ok_or_else(|| format!("% without two hexadecimal digits in {text:?}"))?);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> GitSource {
        GitSource::parse(text).expect("a repository").unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn pure_git_addresses_are_told_from_paths_and_files() {
        for text in [
            "a",
            "./git@host:x",
            "dir/a.git",
            "https://host/file.tar",
            "https://host/x?from=a.git",
            "https://host",
            "ftp://host/a.git",
            "file:///a.git",
            "ext::sh",
            "github.com/me/repo",
            "a b@host:x",
            "@host:x",
        ] {
            assert_eq!(GitSource::parse(text).map(|result| result.is_ok()), None, "{text}");
        }
        for (text, remote) in [
            ("https://host/me/repo.git", "https://host/me/repo.git"),
            ("http://host:8080/repo.git#main", "http://host:8080/repo.git"),
            ("git@host:me/repo.git#v1", "git@host:me/repo.git"),
            ("git@host:me/repo?ref=v1", "git@host:me/repo"),
            ("ssh://git@host:22/me/repo", "ssh://git@host:22/me/repo"),
            ("git://host/repo", "git://host/repo"),
        ] {
            assert_eq!(source(text).remote, remote);
        }
        let short = GitSource::parse_context("github.com/me/repo#main").expect("a repository").expect("valid");
        assert_eq!(
            (short.remote.as_str(), short.reference.as_deref()),
            ("https://github.com/me/repo.git", Some("main"))
        );
    }

    #[test]
    fn pure_git_addresses_say_what_is_meant() {
        let plain = source("https://h/r.git#feature/x:a/./b/");
        assert_eq!((plain.reference.as_deref(), plain.subdir.as_deref()), (Some("feature/x"), Some("a/b")));
        assert_eq!(source("https://h/r.git#:/sub").subdir.as_deref(), Some("sub"));
        let query =
            source("https://h/r.git?branch=main&subdir=a%2Fb&keep-git-dir&submodules=false&commit=ABC1&mtime=commit");
        let expected = GitSource {
            remote: "https://h/r.git".into(),
            reference: Some("refs/heads/main".into()),
            subdir: Some("a/b".into()),
            checksum: Some("abc1".into()),
            keep_git_dir: Some(true),
            submodules: Some(false),
            commit_times: true,
            fetch_by_commit: false,
        };
        assert_eq!(query, expected);
        assert_eq!(source("https://h/r.git?tag=refs/tags/v1").reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(source("https://h/r.git?ref=a#a").reference.as_deref(), Some("a"));
    }

    #[test]
    fn pure_bad_git_addresses_are_refused_without_their_password() {
        for (text, reason) in [
            ("https://h/r.git#--upload-pack=x", "no name of a branch"),
            ("https://h/r.git#a..b", "no name of a branch"),
            ("https://h/r.git?ref=+a:b", "no name of a branch"),
            ("https://h/r.git?ref=%2Drf", "no name of a branch"),
            ("https://h/r.git#main:..", "leaves the repository"),
            ("https://h/r.git#main:a/../../b", "leaves the repository"),
            ("https://h/r.git#main:%2e%2e/x", "leaves the repository"),
            ("https://h/r.git#%zz", "hexadecimal"),
            ("https://h/r.git?nosuch=1", "unknown option"),
            ("https://h/r.git?ref=", "needs a value"),
            ("https://h/r.git?ref=a#b", "is given as"),
            ("https://h/r.git?tag=a&branch=b", "contradict"),
            ("https://h/r.git?submodules=maybe", "true or false"),
            ("https://h/r.git?mtime=now", "checkout or commit"),
            ("https://h/r.git?checksum=xyz", "no commit hash"),
            ("ssh://-oProxyCommand=x/r", "begins with -"),
            ("git@-oProxyCommand:r", "begins with -"),
            ("https://user:geheim@h/r.git#-x", "no name of a branch"),
        ] {
            let error = GitSource::parse(text).expect(text).expect_err(text).to_string();
            assert!(error.contains(reason) && !error.contains("geheim"), "{text}: {error}");
        }
    }

    #[test]
    fn pure_addresses_are_shown_without_secrets() {
        assert_eq!(source("https://u:p@h/r.git").shown(), "https://h/r.git");
        assert_eq!(source("https://token@h:1/r.git").shown(), "https://h:1/r.git");
        assert_eq!(source("ssh://git:p@h/r").shown(), "ssh://git@h/r");
        assert_eq!(source("git@h:r").shown(), "git@h:r");
        assert_eq!(source("https://u:p@h:8/r.git").http_origin(), Some(("https", "h:8")));
        assert_eq!(source("git@h:r").http_origin(), None);
    }
}
