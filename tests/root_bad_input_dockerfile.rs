//! Dockerfiles that cannot be built: each error with its place, nothing built, nothing left.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;
use test_support::store_check::{assert_sound, records};

const GABION: &str = env!("CARGO_BIN_EXE_gabion");

fn records_of(sandbox: &Sandbox) -> [Vec<serde_json::Value>; 3] {
    ["overlay-images", "overlay-layers", "overlay-containers"].map(|kind| records(&sandbox.graph_root(), kind))
}

/// Builds `text`, which fails with `words`, and leaves the store as it was.
fn fails(sandbox: &Sandbox, text: &[u8], words: &[&str]) {
    let before = records_of(sandbox);
    sandbox.write("context/Dockerfile", text);
    let outcome = sandbox.gabion(["build", "--pull=never"]).arg(sandbox.path("context")).fails();
    assert_eq!(outcome.code(), Some(125), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word} in {}", outcome.stderr);
    }
    let shown = String::from_utf8_lossy(text.get(..60.min(text.len())).unwrap_or_default()).into_owned();
    assert_eq!(records_of(sandbox), before, "{shown}");
}

#[test]
fn root_bad_dockerfiles_are_refused_at_their_place() {
    let sandbox = Sandbox::new(GABION);
    sandbox.import_base();
    sandbox.write("context/here", "x");
    let base = "FROM localhost/base\n";
    for (text, words) in [
        ("RUNN x", &["Dockerfile:2:1", "unknown instruction \"RUNN\"", "did you mean RUN?"][..]),
        ("COPY --form=x a b", &["Dockerfile:2:", "form", "from"]),
        ("RUN --mount=type=cahe,target=/x y", &["Dockerfile:2:18", "cahe", "cache"]),
        ("COPY --from=later here /", &["Dockerfile:2:", "later"]),
        ("COPY --from=1 here /\nFROM localhost/base AS next", &["Dockerfile:2:13", "stage 1"]),
        ("COPY --from=next here /\nFROM localhost/base AS next", &["Dockerfile:2:13", "stage next comes later"]),
        ("COPY --from=0 here /", &["Dockerfile:2:13", "this stage itself"]),
        ("COPY ../outside /", &["Dockerfile:2:", "outside"]),
        ("COPY nothing /", &["Dockerfile:2:", "nothing"]),
        ("SHELL [\"a\", b]", &["Dockerfile:2:", "JSON"]),
        ("RUN <<END\necho x", &["Dockerfile:2:5", "unterminated heredoc"]),
        ("ENV A='x", &["Dockerfile:2:", "closing '"]),
        ("RUN true\nENV A=\"x", &["Dockerfile:3:", "closing \""]),
        ("EXPOSE http", &["Dockerfile:2:8", "invalid port \"http\""]),
        ("USER nobody-like-this\nRUN true", &["nobody-like-this"]),
        ("COPY --chmod=9z here /", &["Dockerfile:2:", "9z"]),
        ("HEALTHCHECK --interval=5parsecs CMD true", &["Dockerfile:2:", "5parsecs"]),
        ("STOPSIGNAL SIGNO", &["Dockerfile:2:12", "SIGNO"]),
        ("RUN --mount=type=secret,id=key,required true", &["Dockerfile:2:", "key"]),
    ] {
        fails(&sandbox, format!("{base}{text}\n").as_bytes(), words);
    }
    for (text, words) in [
        (&b"RUN x\n"[..], &["Dockerfile:1:1", "before the first FROM"][..]),
        (b"ARG A\n", &["Dockerfile:2:1", "no FROM"]),
        (b"", &["Dockerfile:1:1", "no instruction"]),
        (b"# nothing\n", &["Dockerfile:2:1", "no instruction"]),
        (b"FROM --platform=plan9 localhost/base\n", &["Dockerfile:1:17", "plan9"]),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", &["Dockerfile:1:8", "NUL"]),
        (b"FROM localhost/base\nRUN \xff\n", &["Dockerfile:2:5", "UTF-8"]),
    ] {
        fails(&sandbox, text, words);
    }
    let line = "x".repeat(1 << 20);
    fails(&sandbox, format!("{base}{line}\n").as_bytes(), &["Dockerfile:2:1", "unknown instruction"]);
    assert_sound(&sandbox);
}

#[test]
fn root_all_errors_of_a_file_are_told() {
    let sandbox = Sandbox::new(GABION);
    sandbox.import_base();
    let text = "FROM localhost/base AS build\nRUNN x\nEXPOSE y\nCOPY --from=9 a b\nSTOPSIGNAL z\n";
    sandbox.write("context/Dockerfile", text);
    let outcome = sandbox.gabion(["build"]).arg(sandbox.path("context")).fails();
    outcome.says(125, &["Dockerfile:2:1", "and 3 more errors"]);
    for place in ["Dockerfile:2:1", "Dockerfile:3:8", "Dockerfile:4:13", "Dockerfile:5:12"] {
        assert!(outcome.stderr.contains(place), "{place} in {}", outcome.stderr);
    }
    sandbox.write("context/Dockerfile", "FROM localhost/base AS build\n");
    let target = sandbox.gabion(["build", "--target=biuld"]).arg(sandbox.path("context")).fails();
    target.says(125, &["biuld"]);
    assert!(target.stderr.contains("did you mean build?"), "{}", target.stderr);
}
