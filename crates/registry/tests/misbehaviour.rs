//! What the client does when a registry misbehaves, and whom it shows credentials.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fake::{Answer, FakeRegistry};
use oci::{Digest, Reference};
use registry::auth::{Credentials, Login};
use registry::{Client, ClientOptions, Endpoint, Mount, RegistryError, Repository, RetryOptions, Selector};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `user:secret`
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn options() -> ClientOptions {
    ClientOptions {
        retry: RetryOptions { count: 2, delay: Some(Duration::from_millis(1)) },
        stall_timeout: Duration::from_secs(20),
        ..ClientOptions::default()
    }
}

fn with_login() -> ClientOptions {
    let given = Some(Login::Basic { username: "user".into(), password: "secret".into() });
    ClientOptions { credentials: Credentials { given, files: Vec::new() }, ..options() }
}

fn repository(registry: &FakeRegistry, options: ClientOptions) -> Repository {
    let reference = Reference::parse_qualified(&format!("{}/app:1", registry.address())).unwrap();
    Client::new(options).unwrap().repository(&Endpoint { reference, insecure: true }).unwrap()
}

fn tag() -> Selector {
    Selector::Tag("1".into())
}

fn read(repository: &Repository, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut reader = repository.blob(digest, size).map_err(|error| error.to_string())?;
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn content() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn tree_anonymous_pull_sends_no_credentials_even_if_there_are_some() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).header("Content-Type", MANIFEST).body("{}"),
    });
    let manifest = repository(&registry, with_login()).manifest(&tag()).unwrap();
    assert_eq!((manifest.bytes.as_slice(), manifest.digest), (&b"{}"[..], Digest::of(b"{}")));
    assert_eq!(registry.authorized().len(), 0);
}

#[test]
fn tree_wrong_password_is_one_clear_line_and_no_loop() {
    let registry = FakeRegistry::start(|_, _| {
        Answer::new(401)
            .header("WWW-Authenticate", "Basic realm=\"x\"")
            .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
    });
    let error = repository(&registry, with_login()).manifest(&tag()).unwrap_err();
    let name = registry.address();
    assert_eq!(
        error.to_string(),
        format!("registry {name} denies access to {name}/app:1: authentication required (as user user)")
    );
    assert_eq!(registry.count("GET", "/manifests/"), 1);
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("no credentials were found"), "{error}");
}

fn bearer(address: &str, seen: &[fake::Request]) -> Answer {
    let last = seen.last().unwrap();
    if last.target.starts_with("/token") {
        if last.header("authorization") != Some(BASIC) {
            return Answer::new(401).body(r#"{"details":"incorrect username or password"}"#);
        }
        return Answer::new(200).body(r#"{"token":"abc","expires_in":300}"#);
    }
    if last.header("authorization") == Some("Bearer abc") {
        return Answer::new(200).header("Content-Type", MANIFEST).body("{}");
    }
    let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"s\",scope=\"repository:app:pull\"");
    Answer::new(401).header("WWW-Authenticate", challenge)
}

#[test]
fn tree_bearer_token_is_fetched_once_with_the_credentials() {
    let registry = FakeRegistry::start(bearer);
    let repository = repository(&registry, with_login());
    for _ in 0..3 {
        repository.manifest(&tag()).unwrap();
    }
    assert_eq!(registry.count("GET", "/token"), 1);
    let token = registry.requests().into_iter().find(|r| r.target.starts_with("/token")).unwrap();
    assert_eq!(token.target, "/token?service=s&scope=repository%3Aapp%3Apull&account=user");
    // The registry itself sees the token only.
    let basic = registry.authorized().into_iter().filter(|r| r.header("authorization") == Some(BASIC));
    assert!(basic.clone().all(|r| r.target.starts_with("/token")) && basic.count() == 1);
}

#[test]
fn tree_bearer_without_credentials_says_what_the_token_service_said() {
    let registry = FakeRegistry::start(bearer);
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("incorrect username or password"), "{error}");
}

#[test]
fn tree_endless_401_ends_after_two_tries() {
    let registry = FakeRegistry::start(|address, seen| match seen.last().unwrap().target.as_str() {
        target if target.starts_with("/token") => Answer::new(200).body(format!(r#"{{"token":"t{}"}}"#, seen.len())),
        _ => Answer::new(401).header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{address}/token\",error=\"insufficient_scope\""),
        ),
    });
    let error = repository(&registry, with_login()).manifest(&tag()).unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!((registry.count("GET", "/manifests/"), registry.count("GET", "/token")), (2, 2));
}

#[test]
fn tree_expired_token_is_renewed_once() {
    let registry = FakeRegistry::start(|address, seen| {
        let last = seen.last().unwrap();
        let tokens = seen.iter().filter(|r| r.target.starts_with("/token")).count();
        if last.target.starts_with("/token") {
            return Answer::new(200).body(format!(r#"{{"access_token":"t{tokens}","expires_in":300}}"#));
        }
        if last.header("authorization") == Some("Bearer t2") {
            return Answer::new(200).header("Content-Type", MANIFEST).body("{}");
        }
        Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"http://{address}/token\""))
    });
    repository(&registry, with_login()).manifest(&tag()).unwrap();
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[test]
fn tree_token_service_of_another_origin_gets_no_credentials() {
    let thief = FakeRegistry::start(|_, _| Answer::new(200).body(r#"{"token":"anonymous"}"#));
    let realm = format!("http://{}/token", thief.address());
    let registry = FakeRegistry::start(move |_, _| {
        Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    let error = repository(&registry, with_login()).manifest(&tag()).unwrap_err();
    assert!(error.to_string().contains("is another origin and was not given the credentials"), "{error}");
    assert!(!thief.requests().is_empty());
    assert_eq!(thief.authorized().len(), 0);
}

#[test]
fn tree_redirect_to_another_origin_carries_no_credentials() {
    for method in ["GET", "HEAD"] {
        let digest = Digest::of(b"brick");
        let storage = FakeRegistry::start(|_, _| Answer::new(200).body("brick"));
        let target = format!("http://user:pass@{}/blob?signature=1", storage.address());
        let registry = FakeRegistry::start(move |_, seen| {
            let last = seen.last().unwrap();
            if last.header("authorization") != Some(BASIC) {
                return Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"");
            }
            Answer::new(307).header("Location", &target)
        });
        let repository = repository(&registry, with_login());
        match method {
            "GET" => assert_eq!(read(&repository, &digest, Some(5)).as_deref(), Ok(&b"brick"[..])),
            _ => assert_eq!(repository.has_blob(&digest).unwrap(), Some(5)),
        }
        assert_eq!(storage.requests().len(), 1);
        assert_eq!(storage.authorized().len(), 0);
        assert_eq!(registry.authorized().len(), 1);
    }
}

#[test]
fn tree_redirect_loops_and_odd_targets_are_errors() {
    for (target, reason) in [
        ("/v2/app/manifests/1", "too many redirects"),
        ("file:///etc/passwd", "no http or https address"),
        ("http://169.254.169.254/latest", "link-local"),
    ] {
        let registry = FakeRegistry::start(move |_, seen| match seen.last().unwrap().target.as_str() {
            "/v2/" => Answer::new(200),
            _ => Answer::new(302).header("Location", target),
        });
        let error = repository(&registry, options()).manifest(&tag()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(registry.count("GET", "/manifests/") <= 11);
    }
}

#[test]
fn tree_busy_registry_is_asked_again_as_often_as_told() {
    let registry = FakeRegistry::start(|_, seen| match seen.len() {
        1 => Answer::new(200),
        2 => Answer::new(429).header("Retry-After", "0"),
        3 => Answer::new(503).header("Retry-After", "junk"),
        _ => Answer::new(200).header("Content-Type", MANIFEST).body("{}"),
    });
    repository(&registry, options()).manifest(&tag()).unwrap();
    assert_eq!(registry.count("GET", "/manifests/"), 3);

    let busy = FakeRegistry::start(|_, seen| match seen.len() {
        1 => Answer::new(200),
        _ => Answer::new(429).body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u001b[2J down"}]}"#),
    });
    let error = repository(&busy, options()).manifest(&tag()).unwrap_err();
    assert_eq!(busy.count("GET", "/manifests/"), 3);
    assert!(!error.is_transient() && error.to_string().contains("answered 429"), "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
}

/// Cuts the body of the first blob requests after `cuts[n]` bytes, and serves ranges if asked to.
fn cutting(content: Vec<u8>, cuts: &'static [usize], ranges: bool) -> FakeRegistry {
    let served = AtomicUsize::new(0);
    FakeRegistry::start(move |_, seen| {
        let last = seen.last().unwrap();
        if last.target == "/v2/" {
            return Answer::new(200);
        }
        let from =
            last.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let mut answer = match from.filter(|_| ranges) {
            Some(from) => Answer::new(206)
                .header("Content-Range", format!("bytes {from}-{}/{}", content.len() - 1, content.len()))
                .body(&content[from..]),
            None => Answer::new(200).body(content.clone()),
        };
        answer.cut = cuts.get(served.fetch_add(1, Ordering::Relaxed)).map(|cut| (*cut).min(answer.body.len()));
        answer
    })
}

#[test]
fn tree_broken_downloads_go_on_where_they_broke() {
    let content = content();
    let digest = Digest::of(&content);
    for ranges in [true, false] {
        let registry = cutting(content.clone(), &[1_500_000, 1], ranges);
        let bytes = read(&repository(&registry, options()), &digest, Some(content.len() as u64));
        assert!(bytes.is_ok_and(|bytes| bytes == content));
        assert_eq!(registry.count("GET", "/blobs/"), 3);
    }
    // Every cut that comes after progress begins a new count of retries.
    let registry = cutting(content.clone(), &[1_200_000; 2], true);
    assert!(read(&repository(&registry, options()), &digest, None).is_ok_and(|bytes| bytes == content));
}

#[test]
fn tree_download_that_breaks_for_ever_ends_as_an_error() {
    let content = content();
    let registry = cutting(content.clone(), &[1000, 0, 0, 0, 0, 0, 0], true);
    let error = read(&repository(&registry, options()), &Digest::of(&content), Some(content.len() as u64)).unwrap_err();
    assert!(error.contains("broke off"), "{error}");
    assert_eq!(registry.count("GET", "/blobs/"), 3);
}

#[test]
fn tree_wrong_range_is_refused() {
    let registry = FakeRegistry::start(|_, seen| match (seen.last().unwrap().target.as_str(), seen.len()) {
        ("/v2/", _) => Answer::new(200),
        (_, 2) => Answer { cut: Some(3), ..Answer::new(200).body("bricks") },
        _ => Answer::new(206).header("Content-Range", "bytes 0-5/6").body("bricks"),
    });
    let error = read(&repository(&registry, options()), &Digest::of(b"bricks"), Some(6)).unwrap_err();
    assert!(error.contains("another range"), "{error}");
}

#[test]
fn tree_blobs_that_are_not_what_was_asked_for_are_errors() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).body("brick"),
    });
    let repository = repository(&registry, options());
    let right = Digest::of(b"brick");
    for (digest, size, expected) in [
        (Digest::of(b"brock"), Some(5), "expected digest"),
        (right.clone(), Some(4), "expected 4 bytes, got more than 4"),
        (right.clone(), Some(6), "expected 6 bytes, got 5"),
        (right.clone(), Some(1 << 62), "got 5"),
    ] {
        let error = read(&repository, &digest, size).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(read(&repository, &right, Some(5)).is_ok());
    assert!(repository.small_blob(&right, None, 4).is_err_and(|e| e.to_string().contains("more than 4 bytes")));
}

#[test]
fn tree_endless_answers_are_cut() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).body(vec![b' '; 4 * 1024 * 1024 + 1]),
    });
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error}");

    let registry = FakeRegistry::start(|address, seen| match seen.last().unwrap().target.starts_with("/token") {
        true => Answer::new(200).body(vec![b' '; 1024 * 1024 + 1]),
        false => Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"http://{address}/token\"")),
    });
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 1_048_576, .. }), "{error}");

    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(418).body(vec![b'x'; 2_000_000]),
    });
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err().to_string();
    assert!(error.len() < 500, "{}", error.len());
}

#[test]
fn tree_manifest_must_have_the_digest_asked_for() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer::new(200).header("Docker-Content-Digest", Digest::of(b"A").to_string()).body("{}"),
    });
    let repository = repository(&registry, options());
    for selector in [Selector::Digest(Digest::of(b"A")), tag()] {
        let error = repository.manifest(&selector).unwrap_err();
        assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    }
}

#[test]
fn tree_silence_is_given_up() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        _ => Answer { cut: Some(3), hang: true, ..Answer::new(200).body("bricks") },
    });
    let retry = RetryOptions { count: 0, delay: None };
    let options = ClientOptions { stall_timeout: Duration::from_millis(300), retry, ..options() };
    let error = read(&repository(&registry, options), &Digest::of(b"bricks"), Some(6)).unwrap_err();
    assert!(error.contains("made no progress"), "{error}");
}

#[test]
fn tree_what_is_no_registry_is_called_so() {
    let registry = FakeRegistry::start(|_, _| Answer::new(403).body("<html>go away</html>"));
    let error = repository(&registry, options()).manifest(&tag()).unwrap_err().to_string();
    assert!(error.contains("does not answer as a registry"), "{error}");
    let nobody = Reference::parse_qualified("127.0.0.1:1/app").unwrap();
    let client = Client::new(options()).unwrap();
    let error =
        client.repository(&Endpoint { reference: nobody, insecure: true }).unwrap().manifest(&tag()).unwrap_err();
    assert_eq!(error.to_string(), "cannot reach registry 127.0.0.1:1: connection refused");
}

#[test]
fn tree_tags_are_read_page_by_page() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().target.as_str() {
        "/v2/" => Answer::new(200),
        "/v2/app/tags/list" => Answer::new(200)
            .header("Link", "</v2/app/tags/list?last=b&n=2>; rel=\"next\"")
            .body(r#"{"name":"app","tags":["a","b"]}"#),
        "/v2/app/tags/list?last=b&n=2" => Answer::new(200).body(r#"{"name":"app","tags":["c"]}"#),
        _ => Answer::new(404),
    });
    assert_eq!(repository(&registry, options()).tags().unwrap(), ["a", "b", "c"]);
}

/// A registry that takes uploads at `location`.
fn accepting(location: impl Fn(&str) -> String + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::start(move |address, seen| {
        let last = seen.last().unwrap();
        if last.target == "/v2/" || last.header("authorization") != Some(BASIC) {
            return Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match last.method.as_str() {
            "POST" => Answer::new(202).header("Location", location(address)),
            "PATCH" => Answer::new(202).header("Location", "/v2/app/blobs/uploads/2?state=x%2By"),
            "PUT" => Answer::new(201),
            _ => Answer::new(204),
        }
    })
}

#[test]
fn tree_uploads_follow_relative_and_absolute_locations() {
    let content = content();
    let digest = Digest::of(&content);
    let relative = accepting(|_| "/v2/app/blobs/uploads/1?state=a".into());
    let absolute = accepting(|address| format!("http://{address}/v2/app/blobs/uploads/1?state=a"));
    for registry in [relative, absolute] {
        let mut upload = repository(&registry, with_login()).upload().unwrap();
        upload.write_all(&content).unwrap();
        upload.finish(&digest).unwrap();
        let requests = registry.requests();
        let patch = requests.iter().find(|r| r.method == "PATCH").unwrap();
        assert_eq!(patch.target, "/v2/app/blobs/uploads/1?state=a");
        assert!(patch.body == content);
        let put = requests.iter().find(|r| r.method == "PUT").unwrap();
        assert_eq!(put.target, format!("/v2/app/blobs/uploads/2?state=x%2By&digest=sha256%3A{}", digest.hex()));
        assert_eq!(registry.count("DELETE", ""), 0);
    }
}

#[test]
fn tree_upload_location_of_another_origin_gets_no_credentials() {
    let digest = Digest::of(b"brick");
    let other = FakeRegistry::start(|address, seen| match seen.last().unwrap().method.as_str() {
        "PATCH" => Answer::new(202).header("Location", format!("http://{address}/second")),
        _ => Answer::new(201),
    });
    let target = format!("http://{}/first", other.address());
    let registry = accepting(move |_| target.clone());
    let mut upload = repository(&registry, with_login()).upload().unwrap();
    upload.write_all(b"brick").unwrap();
    upload.finish(&digest).unwrap();
    assert_eq!(other.requests().len(), 2);
    assert_eq!(other.authorized().len(), 0);
}

#[test]
fn tree_abandoned_uploads_are_cancelled() {
    let registry = accepting(|_| "/v2/app/blobs/uploads/1".into());
    let mut upload = repository(&registry, with_login()).upload().unwrap();
    upload.write_all(b"br").unwrap();
    drop(upload);
    assert_eq!((registry.count("DELETE", "/v2/app/blobs/uploads/1"), registry.count("PUT", "")), (1, 0));
}

#[test]
fn tree_refused_upload_says_why() {
    let registry = FakeRegistry::start(|_, seen| match (seen.last().unwrap().method.as_str(), seen.len()) {
        ("GET", _) => Answer::new(200),
        ("POST", _) => Answer::new(202).header("Location", "/u"),
        ("PATCH", _) => Answer::new(507).body(r#"{"errors":[{"message":"disk is full"}]}"#),
        _ => Answer::new(204),
    });
    let mut upload = repository(&registry, options()).upload().unwrap();
    let error = upload
        .write_all(b"brick")
        .map_err(|e| e.to_string())
        .and_then(|()| upload.finish(&Digest::of(b"brick")).map_err(|e| e.to_string()));
    assert!(error.as_ref().is_err_and(|e| e.contains("disk is full") && e.contains("507")), "{error:?}");
}

#[test]
fn tree_mount_that_is_not_possible_leaves_no_session() {
    let registry = accepting(|_| "/v2/app/blobs/uploads/7".into());
    let mounted = repository(&registry, with_login()).mount_blob(&Digest::of(b"x"), "other/app").unwrap();
    assert_eq!(mounted, Mount::NotPossible);
    assert_eq!(registry.count("DELETE", "/v2/app/blobs/uploads/7"), 1);
    let post = registry.requests().into_iter().find(|r| r.method == "POST").unwrap();
    assert!(post.target.contains("mount=sha256%3A") && post.target.ends_with("&from=other%2Fapp"), "{}", post.target);
}

#[test]
fn tree_manifest_stored_as_something_else_is_an_error() {
    let registry = FakeRegistry::start(|_, seen| match seen.last().unwrap().method.as_str() {
        "PUT" => Answer::new(201).header("Docker-Content-Digest", Digest::of(b"other").to_string()),
        _ => Answer::new(200),
    });
    let error = repository(&registry, options()).put_manifest(&tag(), MANIFEST, b"{}").unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
}

/// A client that does not wait between attempts.
fn impatient() -> Client {
    Client::new(options()).unwrap()
}

fn download(client: &Client, url: &str, authorization: Option<&str>) -> Result<Vec<u8>, String> {
    let mut download = client.download_with(url, authorization).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    loop {
        match download.read_to_end(&mut bytes) {
            Ok(_) => return Ok(bytes),
            Err(error) if error.to_string().contains("cannot go on where it was") => bytes.clear(),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn tree_files_are_asked_for_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = FakeRegistry::start(move |_, seen| match seen.len() {
            1 | 2 => Answer::new(status),
            _ => Answer::new(200).body("file"),
        });
        let url = format!("http://{}/f", server.address());
        assert_eq!(download(&impatient(), &url, None), Ok(b"file".to_vec()), "{status}");
    }
    let server = FakeRegistry::start(|_, _| Answer::new(503));
    let error = download(&impatient(), &format!("http://{}/f", server.address()), None).unwrap_err();
    assert!(error.contains("invalid response status 503"), "{error}");
    assert_eq!(server.count("GET", "/f") as u32, options().retry.count + 1);
    let server = FakeRegistry::start(|_, _| Answer::new(404));
    download(&impatient(), &format!("http://{}/f", server.address()), None).unwrap_err();
    assert_eq!(server.count("GET", "/f"), 1, "what is missing stays missing");
}

#[test]
fn tree_files_that_break_off_are_resumed_or_begun_anew() {
    let content = content();
    // With something to tell that it is the same, without, and with a file that changes meanwhile.
    for (tag, range, changes) in [
        (Some("\"1\""), true, false),
        (Some("W/\"1\""), false, false),
        (None, false, false),
        (Some("\"1\""), true, true),
    ] {
        let (whole, other) = (content.clone(), content.iter().rev().copied().collect::<Vec<u8>>());
        let expected = if changes { other.clone() } else { whole.clone() };
        let server = FakeRegistry::start(move |_, seen| {
            let last = seen.last().unwrap();
            let mut answer = match last.header("range") {
                Some(text) if !changes => {
                    let from: usize = text["bytes=".len()..text.len() - 1].parse().unwrap();
                    assert_eq!(last.header("if-range"), Some("\"1\""));
                    Answer::new(206)
                        .header("Content-Range", format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()))
                        .body(&whole[from..])
                }
                Some(_) => Answer::new(200).body(other.clone()),
                None => Answer::new(200).body(whole.clone()),
            };
            if let Some(tag) = tag {
                answer = answer.header("ETag", tag);
            }
            if seen.len() == 1 {
                answer.cut = Some(1_200_000);
            }
            answer
        });
        let bytes = download(&impatient(), &format!("http://{}/f", server.address()), None);
        assert!(bytes.is_ok_and(|bytes| bytes == expected), "{tag:?} {range} {changes}");
        assert_eq!(server.requests()[1].header("range").is_some(), range, "{tag:?}");
    }
}

#[test]
fn tree_credentials_of_files_stay_with_their_origin() {
    let other = FakeRegistry::start(|_, _| Answer::new(200).body("file"));
    let target = format!("http://x:y@{}/there", other.address());
    let server = FakeRegistry::start(move |_, seen| match seen.last().unwrap().target.as_str() {
        "/here" => Answer::new(302).header("Location", "/moved"),
        _ => Answer::new(302).header("Location", target.clone()),
    });
    let url = format!("http://{}/here", server.address());
    assert_eq!(download(&impatient(), &url, Some("Bearer geheim")), Ok(b"file".to_vec()));
    assert_eq!(server.authorized().len(), 2);
    assert_eq!(other.authorized().len(), 0);
}
