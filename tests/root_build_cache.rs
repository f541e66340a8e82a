//! The build cache: each rule has two builds, of which the second does what it must and no more.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use test_support::Machine;
use test_support::store_check::{assert_sound, records};

fn machine() -> Machine {
    Machine::new(env!("CARGO_BIN_EXE_gabion"))
}

#[test]
fn root_nothing_is_done_twice() {
    let cached = machine();
    let dockerfile = "FROM localhost/base AS one\nARG V=1\nRUN echo $V > /one\nCOPY a /a\n\
        FROM localhost/base\nWORKDIR /w\nENV E=1\nRUN echo two > two\nCOPY --from=one /one /a /x/\nCOPY --link dir /l/\n\
        RUN --mount=type=bind,source=dir,target=/m cat /m/b > /b\nCMD [\"x\"]\n";
    let first = cached.build(dockerfile);
    assert_eq!(first.done().len(), 7, "{}", first.outcome);
    let store = |kind: &str| records(&cached.sandbox.graph_root(), kind);
    let before = ["layers", "images", "containers"].map(store);
    let second = cached.build(dockerfile);
    assert!(second.done().is_empty(), "{}", second.outcome);
    assert_eq!(second.id, first.id);
    assert_eq!(["layers", "images", "containers"].map(store), before, "nothing was written");
    assert_sound(&cached.sandbox);
}

#[test]
fn root_changes_are_seen_and_nothing_else_is() {
    let cached = machine();
    let base = "FROM localhost/base\n";
    // Of each pair of builds, which steps the second one does.
    for (before, after, done) in [
        // Heredocs.
        ("RUN <<E\necho 1 > /x\nE\nRUN :", "RUN <<E\necho 2 > /x\nE\nRUN :", vec!["RUN <<E", "RUN :"]),
        ("COPY <<E /x\n1\nE", "COPY <<E /x\n2\nE", vec!["COPY <<E /x"]),
        // The same files in the end: what comes after is not done again.
        (
            "RUN echo 1 > /same\nRUN cat /same > /copy",
            "RUN echo  1 > /same\nRUN cat /same > /copy",
            vec!["RUN echo  1 > /same"],
        ),
        // Modes and owners.
        ("COPY a /x", "COPY --chmod=600 a /x", vec!["COPY --chmod=600 a /x"]),
        ("COPY a /x", "COPY --chown=7:8 a /x", vec!["COPY --chown=7:8 a /x"]),
        // What a step does not see.
        ("LABEL a=1\nRUN echo l > /l", "LABEL a=2\nRUN echo l > /l", vec![]),
        ("RUN echo e > /e\nENV A=1", "RUN echo e > /e\nENV A=2", vec![]),
        ("ENV A=1\nRUN echo $A > /e", "ENV A=2\nRUN echo $A > /e", vec!["RUN echo $A > /e"]),
        ("USER 1\nRUN id -u > /tmp/u", "USER 2\nRUN id -u > /tmp/u", vec!["RUN id -u > /tmp/u"]),
        ("ENV A=1\nCOPY a /$A", "ENV A=1 B=2\nCOPY a /$A", vec![]),
        ("SHELL [\"/bin/sh\", \"-c\"]\nRUN :", "SHELL [\"/bin/sh\", \"-ec\"]\nRUN :", vec!["RUN :"]),
        (
            "RUN --mount=type=tmpfs,target=/t :",
            "RUN --mount=type=tmpfs,target=/u :",
            vec!["RUN --mount=type=tmpfs,target=/u :"],
        ),
    ] {
        cached.build(&format!("{base}{before}\n"));
        let second = cached.build(&format!("{base}{after}\n"));
        let firsts: Vec<&str> = second.done().iter().map(|text| text.lines().next().unwrap_or_default()).collect();
        assert_eq!(firsts, done, "{before} then {after}: {}", second.outcome);
        let fresh = cached.build_with(&format!("{base}{after}\n"), &["--no-cache"]);
        assert_eq!(cached.files(&second.id), cached.files(&fresh.id), "{after}");
    }
    assert_sound(&cached.sandbox);
}

#[test]
fn root_files_of_the_context_count_by_content() {
    let cached = machine();
    let dockerfile = "FROM localhost/base\nRUN echo before > /before\nCOPY dir /d\nRUN --mount=source=a,target=/m cat /m > /m-copy\n";
    cached.build(dockerfile);
    let (a, b, link) = (cached.context().join("a"), cached.context().join("dir/b"), cached.context().join("dir/link"));
    let done = |what: &str| {
        let built = cached.build(dockerfile);
        let fresh = cached.build_with(dockerfile, &["--no-cache"]);
        assert_eq!(cached.files(&built.id), cached.files(&fresh.id), "{what}");
        built.done().into_iter().map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let file = fs::File::options().write(true).open(&b).expect("opened");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
    assert!(done("another time").is_empty());
    fs::write(&b, "B").expect("written");
    assert_eq!(done("another content"), ["COPY", "RUN"]);
    fs::set_permissions(&b, fs::Permissions::from_mode(0o600)).expect("changed");
    assert_eq!(done("another mode"), ["COPY", "RUN"]);
    std::os::unix::fs::symlink("b", &link).expect("made");
    assert_eq!(done("a link more"), ["COPY", "RUN"]);
    fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("c", &link).expect("made");
    assert_eq!(done("another link target"), ["COPY", "RUN"]);
    std::os::unix::fs::chown(&b, Some(7), Some(7)).expect("changed");
    assert!(done("the owner, which is root in the image").is_empty());
    fs::write(&a, "A").expect("written");
    assert_eq!(done("what a mount shows"), ["RUN"]);
    fs::write(cached.context().join("unread"), "x").expect("written");
    assert!(done("a file that nothing reads").is_empty());
}

#[test]
fn root_arguments_count_where_they_are_in_scope() {
    let cached = machine();
    let dockerfile = "FROM localhost/base\nRUN echo before > /before\nARG V=0\nCOPY a /a\nRUN echo $V > /v\n";
    let build = |value: &str| cached.build_with(dockerfile, &["--build-arg", value]);
    build("V=1");
    assert_eq!(build("V=2").done(), ["RUN echo $V > /v"]);
    assert!(build("V=1").done().is_empty());
    // Proxies change how, not what.
    assert!(
        cached.build_with(dockerfile, &["--build-arg", "V=1", "--build-arg", "HTTP_PROXY=http://x"]).done().is_empty()
    );
}

#[test]
fn root_secrets_do_not_count() {
    let cached = machine();
    let dockerfile =
        "FROM localhost/base\nRUN --mount=type=secret,id=s,target=/s cat /s > /dev/null; echo made > /made\n";
    let secret = cached.sandbox.write("secret", "one");
    let arg = format!("id=s,src={}", secret.display());
    cached.build_with(dockerfile, &["--secret", &arg]);
    cached.sandbox.write("secret", "another");
    assert!(cached.build_with(dockerfile, &["--secret", &arg]).done().is_empty());
    let found = cached.sandbox.any("grep").args(["-rl", "another"]).arg(cached.sandbox.graph_root()).run();
    assert_eq!(found.stdout, "", "no secret is remembered");
}

#[test]
fn root_a_stage_that_changes_but_gives_the_same_files() {
    let cached = machine();
    let file = |how: &str| {
        format!(
            "FROM localhost/base AS made\nRUN {how}\nFROM localhost/base\nCOPY --from=made /out /out\nRUN cat /out > /copy\n"
        )
    };
    cached.build(&file("echo out > /out; echo 1 > /other"));
    let second = cached.build(&file("echo out > /out; echo 2 > /other"));
    assert_eq!(second.done(), ["RUN echo out > /out; echo 2 > /other"]);
    let third = cached.build(&file("echo changed > /out"));
    assert_eq!(third.done().len(), 3, "{}", third.outcome);
}

#[test]
fn root_linked_copies_count_over_any_files() {
    let cached = machine();
    let file = |first: &str| {
        format!("FROM localhost/base\nRUN {first}\nCOPY --link dir /l\nCOPY --link --chown=root:7 a /c\n")
    };
    cached.build(&file("echo 1 > /1"));
    let second = cached.build(&file("echo 2 > /2"));
    assert_eq!(second.done(), ["RUN echo 2 > /2"]);
    let fresh = cached.build_with(&file("echo 2 > /2"), &["--no-cache"]);
    assert_eq!(cached.files(&second.id), cached.files(&fresh.id));
    assert_sound(&cached.sandbox);
}

#[test]
fn root_no_cache_and_age() {
    let cached = machine();
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\n";
    cached.build(dockerfile);
    for (args, done) in [
        (&["--no-cache"][..], 1),
        (&["--cache-ttl=0s"], 1),
        (&["--cache-ttl=1h"], 0),
        (&["--cache-ttl=1ns"], 1),
        (&["--layers=false"], 1),
        (&["--squash"], 1),
        (&[], 0),
    ] {
        let built = cached.build_with(dockerfile, args);
        assert_eq!(built.done().len(), done, "{args:?}: {}", built.outcome);
    }
}

#[test]
fn root_what_others_delete_is_made_again() {
    let cached = machine();
    let dockerfile = "FROM localhost/base\nRUN echo 1 > /1\nCOPY a /a\n";
    let first = cached.build(dockerfile);
    cached.sandbox.podman(["rmi", "--force", &first.id]).ok();
    let second = cached.build(dockerfile);
    assert_eq!(second.done().len(), 2, "{}", second.outcome);
    assert_eq!(cached.files(&second.id), {
        fs::remove_dir_all(cached.sandbox.graph_root().join("gabion")).expect("removed");
        let third = cached.build(dockerfile);
        assert_eq!(third.done().len(), 2, "{}", third.outcome);
        cached.files(&third.id)
    });
    assert_sound(&cached.sandbox);
}

#[test]
fn root_a_failed_build_goes_on_where_it_failed() {
    let cached = machine();
    let file =
        |last: &str| format!("FROM localhost/base AS one\nRUN echo 1 > /1\nFROM one\nRUN echo 2 > /2\nRUN {last}\n");
    assert_eq!(cached.tool(&file("exit 3"), &[]).run().status.code(), Some(3));
    let second = cached.build(&file("echo 3 > /3"));
    assert_eq!(second.done(), ["RUN echo 3 > /3"]);
    // The image that kept the layers is of no more use.
    let nameless = records(&cached.sandbox.graph_root(), "images");
    assert_eq!(nameless.iter().filter(|image| image["names"].as_array().is_none_or(Vec::is_empty)).count(), 0);
    assert_sound(&cached.sandbox);
}

#[test]
fn root_explanations_name_what_changed() {
    let cached = machine();
    let file = |run: &str| format!("FROM localhost/base\nARG V=1\nRUN echo {run} > /x\nCOPY dir /d\nRUN cat /x > /y\n");
    let explained = |dockerfile: &str, args: &[&str]| {
        cached.sandbox.write("context/Dockerfile", dockerfile);
        let tool = cached.sandbox.gabion(["build", "-q", "--network=none", "--explain", "-t", "new"]).args(args);
        let outcome = tool.arg(cached.context()).run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.stderr
    };
    assert!(explained(&file("$V"), &[]).contains("since no earlier build of this file and target is known"));
    let unchanged = explained(&file("$V"), &[]);
    assert!(unchanged.contains("cached STEP 3/5: RUN echo $V > /x") && !unchanged.contains("since"), "{unchanged}");
    fs::write(cached.context().join("dir/b"), "changed").expect("written");
    let files = explained(&file("$V"), &[]);
    assert!(files.contains("done   STEP 4/5: COPY dir /d\n       since dir/b has another content"), "{files}");
    assert!(
        files.contains("done   STEP 5/5: RUN cat /x > /y\n       since a step before it made other files"),
        "{files}"
    );
    let argument = explained(&file("$V"), &["--build-arg=V=2"]);
    assert!(argument.contains("since ARG V changed: 1 -> 2"), "{argument}");
    let text = explained(&file("$V $V"), &["--build-arg=V=2"]);
    assert!(text.contains("since RUN changed: echo $V > /x -> echo $V $V > /x"), "{text}");
    let told = cached.sandbox.gabion(["cache", "explain", "new"]).ok();
    assert!(text.trim_end().ends_with(told.trim_end()), "{text}\n{told}");
    let json = cached.sandbox.gabion(["cache", "explain", "--json", "new"]).json();
    assert_eq!(json[1]["outcome"]["miss"][0]["part"]["name"], "RUN");
    cached.sandbox.gabion(["cache", "explain", "base"]).fails().says(125, &["nothing is remembered"]);
}

#[test]
fn root_stages_are_done_again_when_asked() {
    let cached = machine();
    let dockerfile = "FROM localhost/base AS one\nRUN echo 1 > /1\nFROM localhost/base AS two\nRUN echo 2 > /2\n\
        FROM localhost/base\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n";
    let first = cached.build(dockerfile);
    for (value, done) in [("two", "RUN echo 2 > /2"), ("0", "RUN echo 1 > /1"), ("TWO,none-such", "")] {
        let flag = format!("--no-cache-filter={value}");
        if done.is_empty() {
            let refused = cached.tool(dockerfile, &[&flag, "--progress=plain"]).fails();
            refused.says(125, &["--no-cache-filter", "no stage \"none-such\""]);
            continue;
        }
        let again = cached.build_with(dockerfile, &[&flag]);
        // What comes of it is the same, so that the last stage has hits.
        assert_eq!(again.done(), [done], "{}", again.outcome);
        assert_eq!(again.id, first.id);
    }
}
