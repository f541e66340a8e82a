//! Credentials files, credential helpers and registries.conf, as the ecosystem writes them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use oci::Reference;
use registry::auth::{AuthFile, AuthFileKind, Credentials, Login};
use registry::registries_conf::{Registries, RegistriesError, RegistriesFiles};

fn basic(text: &str) -> Option<Login> {
    let (username, password) = text.split_once(':').unwrap();
    Some(Login::Basic { username: username.into(), password: password.into() })
}

fn credentials(dir: &Path, kind: AuthFileKind, text: &str) -> Credentials {
    let path = dir.join("auth.json");
    fs::write(&path, text).unwrap();
    Credentials { given: None, files: vec![AuthFile { path, kind }] }
}

#[test]
fn tree_the_most_specific_name_wins() {
    let dir = tempfile::tempdir().unwrap();
    // a:b, c:d and e:f:g
    let text = r#"{"auths":{"quay.io":{"auth":"YTpi"},"quay.io/team":{"auth":"Yzpk"},"quay.io/team/app":{"auth":"ZTpmOmc="}}}"#;
    let containers = credentials(dir.path(), AuthFileKind::Containers, text);
    for (repository, expected) in [("team/app", "e:f:g"), ("team/other", "c:d"), ("teams/app", "a:b"), ("x", "a:b")] {
        assert_eq!(containers.find("quay.io", repository).unwrap(), basic(expected), "{repository}");
    }
    assert_eq!(containers.find("quay.example.io", "team/app").unwrap(), None);
    assert_eq!(containers.find("quay.io:443", "team/app").unwrap(), None);
    let docker = credentials(dir.path(), AuthFileKind::Docker, text);
    assert_eq!(docker.find("quay.io", "team/app").unwrap(), basic("a:b"));
}

#[test]
fn tree_docker_writes_urls_and_identity_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"http://r.io:5000":{"username":"u","password":"p"},
        "t.io":{"auth":"YTpi","identitytoken":"T"},"empty.io":{}},"HttpHeaders":{"x":"y"}}"#;
    let docker = credentials(dir.path(), AuthFileKind::Docker, text);
    assert_eq!(docker.find("docker.io", "library/x").unwrap(), basic("a:b"));
    assert_eq!(docker.find("r.io:5000", "x").unwrap(), basic("u:p"));
    assert_eq!(docker.find("t.io", "x").unwrap(), Some(Login::IdentityToken("T".into())));
    assert_eq!(docker.find("empty.io", "x").unwrap(), None);
    let legacy =
        credentials(dir.path(), AuthFileKind::DockerLegacy, r#"{"https://r.io/v1/":{"auth":"YTpi","email":"e"}}"#);
    assert_eq!(legacy.find("r.io", "x").unwrap(), basic("a:b"));
}

#[test]
fn tree_files_are_tried_in_order_and_bad_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        AuthFile { path: dir.path().join(name), kind: AuthFileKind::Containers }
    };
    let missing = AuthFile { path: dir.path().join("none"), kind: AuthFileKind::Containers };
    let files = vec![
        missing,
        file("empty", ""),
        file("one", r#"{"auths":{"a.io":{"auth":"YTpi"}}}"#),
        file("two", r#"{"auths":{"a.io":{"auth":"Yzpk"},"b.io":{"auth":"Yzpk"}}}"#),
    ];
    let credentials = Credentials { given: None, files };
    assert_eq!(credentials.find("a.io", "x").unwrap(), basic("a:b"));
    assert_eq!(credentials.find("b.io", "x").unwrap(), basic("c:d"));
    for (text, reason) in [
        ("{", "invalid credentials file"),
        (r#"{"auths":{"a.io":{"auth":"%%%"}}}"#, "not base64"),
        (r#"{"auths":{"a.io":{"auth":"YWI="}}}"#, "not user:password"),
    ] {
        let error =
            Credentials { given: None, files: vec![file("bad", text)] }.find("a.io", "x").unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("/bad"), "{error}");
    }
    let directory = AuthFile { path: dir.path().into(), kind: AuthFileKind::Docker };
    assert!(Credentials { given: None, files: vec![directory] }.find("a.io", "x").is_err());
}

#[test]
fn pure_given_credentials_come_first_and_need_a_user() {
    let given = Some(Credentials::parse_given("me:pass:word").unwrap());
    assert_eq!(Credentials { given, files: Vec::new() }.find("a.io", "x").unwrap(), basic("me:pass:word"));
    assert!(Credentials::parse_given(":x").is_err());
    assert!(!format!("{:?}", Credentials::parse_given("me:secret")).contains("secret"));
}

fn registries(files: &[(&str, &str)]) -> Result<Registries, RegistriesError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    }
    Registries::from_files(&RegistriesFiles {
        main: vec![dir.path().join("absent.conf"), dir.path().join("registries.conf")],
        drop_in_dirs: vec![dir.path().join("system.d"), dir.path().join("user.d")],
        aliases: Some(dir.path().join("aliases.conf")),
    })
}

fn reference(text: &str) -> Reference {
    Reference::parse_normalized(text).unwrap()
}

fn endpoints(registries: &Registries, text: &str) -> Vec<(String, bool)> {
    let endpoints = registries.pull_endpoints(&reference(text)).unwrap();
    endpoints.into_iter().map(|endpoint| (endpoint.reference.to_string(), endpoint.insecure)).collect()
}

#[test]
fn tree_short_names_follow_aliases_then_the_search_list() {
    let registries = registries(&[
        ("registries.conf", "unqualified-search-registries = ['a.io', 'docker.io']\nshort-name-mode = 'enforcing'\n"),
        ("system.d/10.conf", "[aliases]\n'app' = 'quay.io/team/app'\n'off' = 'x.io/off'\n"),
        ("user.d/20.conf", "[aliases]\n'off' = ''\n"),
        ("aliases.conf", "[aliases]\n'mine/tool' = 'c.io/tool'\n"),
    ])
    .unwrap();
    let names = |text: &str| registries.candidates(text).unwrap().iter().map(Reference::to_string).collect::<Vec<_>>();
    assert_eq!(names("app:2"), ["quay.io/team/app:2"]);
    assert_eq!(names("mine/tool"), ["c.io/tool"]);
    assert_eq!(names("off"), ["a.io/off", "docker.io/library/off"]);
    assert_eq!(names("r.io:5000/x"), ["r.io:5000/x"]);
    assert_eq!(names("localhost/x:1"), ["localhost/x:1"]);
    let digest = format!("app@sha256:{}", "a".repeat(64));
    assert_eq!(names(&digest), [format!("quay.io/team/{digest}")]);
}

#[test]
fn tree_short_name_without_registries_is_an_error_that_names_the_file() {
    let registries = registries(&[("registries.conf", "unqualified-search-registries = []")]).unwrap();
    let error = registries.candidates("app").unwrap_err().to_string();
    assert!(error.starts_with("short name \"app\" did not resolve") && error.ends_with("/registries.conf"), "{error}");
}

#[test]
fn tree_mirrors_come_first_and_the_longest_prefix_decides() {
    let registries = registries(&[
        (
            "registries.conf",
            "[[registry]]\nlocation = 'a.io'\ninsecure = true\n\
             [[registry.mirror]]\nlocation = 'm.io/a'\n[[registry.mirror]]\nlocation = 'n.io'\ninsecure = true\npull-from-mirror = 'digest-only'\n\
             [[registry]]\nprefix = 'a.io/secret'\nblocked = true\n\
             [[registry]]\nprefix = '*.corp.io'\nlocation = 'hub.io/corp'\n",
        ),
        ("system.d/1.conf", "[[registry]]\nprefix = 'b.io/x'\nlocation = 'c.io/y'\n"),
    ])
    .unwrap();
    let list = |items: &[(&str, bool)]| items.iter().map(|(name, flag)| (name.to_string(), *flag)).collect::<Vec<_>>();
    assert_eq!(endpoints(&registries, "a.io/app:1"), list(&[("m.io/a/app:1", false), ("a.io/app:1", true)]));
    let digest = format!("app@sha256:{}", "a".repeat(64));
    assert_eq!(
        endpoints(&registries, &format!("a.io/{digest}")).iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(),
        [format!("m.io/a/{digest}"), format!("n.io/{digest}"), format!("a.io/{digest}")]
    );
    assert_eq!(endpoints(&registries, "b.io/x/app"), list(&[("c.io/y/app", false)]));
    assert_eq!(endpoints(&registries, "b.io/xy/app"), list(&[("b.io/xy/app", false)]));
    assert_eq!(endpoints(&registries, "dev.corp.io/app"), list(&[("hub.io/corp/app", false)]));
    assert_eq!(endpoints(&registries, "corp.io/app"), list(&[("corp.io/app", false)]));
    let blocked = registries.pull_endpoints(&reference("a.io/secret/app")).unwrap_err();
    assert_eq!(blocked.to_string(), "registry a.io/secret is blocked in the registries configuration");
    assert!(registries.push_endpoint(&reference("a.io/secret/app")).is_err());
    let push = registries.push_endpoint(&reference("b.io/x/app")).unwrap();
    assert_eq!((push.reference.to_string().as_str(), push.insecure), ("b.io/x/app", false));
}

#[test]
fn tree_bad_configuration_is_named() {
    for (text, reason) in [
        ("x = [", "invalid registries configuration"),
        ("[registries.search]\nregistries = ['x']", "version 1"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ("[[registry]]\nlocation = 'x.io'\n[[registry.mirror]]\n", "no location"),
        ("unqualified-search-registries = 'x'", "invalid registries configuration"),
    ] {
        let error = registries(&[("registries.conf", text)]).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("registries.conf"), "{error}");
    }
    assert!(registries(&[]).unwrap().pull_endpoints(&reference("a.io/b")).is_ok());
}
