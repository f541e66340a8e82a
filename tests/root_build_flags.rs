//! Flags of `build` that change what is read, what steps see, and where messages go.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;

use serde_json::Value;
use test_support::{Outcome, Sandbox, Tool};

const RUN_NOTHING: &str = "FROM base\nRUN true\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox
}

/// `gabion build -t built ARGS context`, in the sandbox's directory.
fn build(sandbox: &Sandbox, args: &[&str]) -> Tool {
    sandbox.gabion(["build", "--network=none", "-t", "built"]).args(args).arg("context").in_dir(sandbox.dir())
}

#[track_caller]
fn ok(tool: Tool) -> Outcome {
    let outcome = tool.run();
    assert!(outcome.status.success(), "{outcome}");
    outcome
}

fn config(sandbox: &Sandbox, image: &str) -> Value {
    sandbox.gabion(["inspect", "--type", "image", image]).json()["OCIv1"].take()
}

#[test]
fn root_from_replaces_the_first_base() {
    let sandbox = sandbox();
    sandbox.write(
        "context/Dockerfile",
        "ARG NOTHING\nFROM $NOTHING AS one\nLABEL of=one\nFROM scratch\nCOPY --from=one /etc /e\n",
    );
    ok(build(&sandbox, &["--from", "localhost/base"]));
    sandbox.write("context/Dockerfile", "FROM nosuch\nENV FROM=base\n");
    ok(build(&sandbox, &["--from", "base"]));
    let env = config(&sandbox, "built")["config"]["Env"].take();
    assert!(env.as_array().expect("a list").contains(&Value::from("FROM=base")), "{env}");
    // Nothing and a named context are bases, too.
    ok(build(&sandbox, &["--from", "scratch"]));
    assert_eq!(config(&sandbox, "built")["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len), 0);
    let outcome = build(&sandbox, &["--from", "Not Valid", "--pull=never"]).fails();
    assert_eq!(outcome.code(), Some(125), "{outcome}");
}

#[test]
fn root_several_dockerfiles_are_one() {
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM base\nENV ONE=1");
    sandbox.write("two", "ENV TWO=2\n");
    ok(build(&sandbox, &["-f", "Dockerfile", "-f", "two", "-f", "-"]).stdin("LABEL three=3\n"));
    let config = config(&sandbox, "built");
    let env = config["config"]["Env"].to_string();
    assert!(env.contains("ONE=1") && env.contains("TWO=2") && config["config"]["Labels"]["three"] == "3", "{config}");
    // A mistake is told with its own file and line.
    sandbox.write("two", "ENV TWO=2\nENX x\n");
    let outcome = build(&sandbox, &["-f", "Dockerfile", "-f", "two"]).fails();
    assert!(outcome.stderr.contains("two:2:1: unknown instruction"), "{outcome}");
    let outcome = build(&sandbox, &["-f", "-", "-f", "-"]).fails();
    assert!(outcome.stderr.contains("two Dockerfiles"), "{outcome}");
}

#[test]
fn root_names_that_end_in_in_are_preprocessed() {
    let sandbox = sandbox();
    let file = "FROM base\n#include \"common\"\n#ifdef EXTRA\nLABEL extra=EXTRA\n#endif\n";
    let file = sandbox.write("context/Containerfile.in", file);
    sandbox.write("context/common", "LABEL common=yes\n");
    let labels = |tool: Tool| {
        ok(tool);
        config(&sandbox, "built")["config"]["Labels"].take()
    };
    let file = file.to_str().expect("UTF-8");
    let plain = labels(build(&sandbox, &["-f", file]));
    assert_eq!((&plain["common"], &plain["extra"]), (&"yes".into(), &Value::Null));
    assert_eq!(labels(build(&sandbox, &["-f", file, "--cpp-flag=-DEXTRA=flag"]))["extra"], "flag");
    assert_eq!(
        labels(build(&sandbox, &["-f", file]).env("BUILDAH_CPPFLAGS", "-D 'EXTRA=variable'"))["extra"],
        "variable"
    );
    assert!(
        build(&sandbox, &["-f", file]).env("BUILDAH_CPPFLAGS", "'").fails().stderr.contains("a quote is not closed")
    );
    fs::remove_file(sandbox.path("context/common")).expect("remove");
    let outcome = build(&sandbox, &["-f", file]).run();
    assert!(outcome.stderr.contains("common: No such file"), "{outcome}");
    // The file of an unpacked context could include any file of the machine.
    let tar = sandbox.any("tar").args(["-C", "context", "-cf", "context.tar", "."]).in_dir(sandbox.dir());
    tar.ok();
    let bytes = fs::read(sandbox.path("context.tar")).expect("read");
    let tool = sandbox.gabion(["build", "-f", "Containerfile.in", "-"]).stdin(bytes);
    assert!(tool.fails().stderr.contains("is not preprocessed"));
}

#[test]
fn root_every_run_has_the_mounts_of_the_command_line() {
    let sandbox = sandbox();
    sandbox.write("context/from-context", "seen\n");
    sandbox.write(
        "context/Dockerfile",
        "FROM base\nRUN cat /m/from-context > /one\nRUN cat /m/from-context > /two; ls /t > /three\n",
    );
    ok(build(&sandbox, &["--mount", "type=bind,source=.,target=/m", "--mount=type=tmpfs,target=/t"]));
    let container = sandbox.gabion(["from", "built"]).ok();
    let root = sandbox.gabion(["mount", &container]).ok();
    let read = |name: &str| fs::read_to_string(format!("{root}/{name}")).expect("read");
    assert_eq!((read("one"), read("two"), read("three")), ("seen\n".into(), "seen\n".into(), String::new()));
    let outcome = build(&sandbox, &["--mount", "type=nosuch,target=/m"]).fails();
    assert!(outcome.stderr.contains("nosuch"), "{outcome}");
}

#[test]
fn root_images_of_steps_and_of_the_result_are_described() {
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM base AS one\nRUN touch /one\nFROM base\nCOPY --from=one /one /\n");
    let flags = [
        "--layer-label",
        "of=a-step",
        "--os-version",
        "1.2",
        "--os-feature=one",
        "--os-feature=two",
        "--os-feature=one-",
    ];
    ok(build(&sandbox, &flags));
    let built = config(&sandbox, "built");
    assert_eq!((&built["os.version"], built["os.features"].to_string()), (&"1.2".into(), r#"["two"]"#.to_owned()));
    assert_eq!(built["config"]["Labels"]["of"], Value::Null);
    let steps = sandbox.gabion(["images", "-a", "-q", "--filter", "label=of=a-step"]).ok();
    assert_eq!(steps.lines().count(), 1, "the image of the first stage");
    assert!(build(&sandbox, &["--os-feature="]).fails().stderr.contains("expected a name"));
}

#[test]
fn root_messages_go_to_the_log_file() {
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM base\nRUN echo out; echo err >&2\n");
    let outcome = ok(build(&sandbox, &["--logfile", "log"]));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    let log = fs::read_to_string(sandbox.path("log")).expect("read");
    let image = sandbox.gabion(["images", "-q", "--no-trunc", "built"]).ok();
    let id = image.trim_start_matches("sha256:");
    assert!(log.contains("out\n") && log.contains("err\n") && log.lines().last() == Some(id), "{log}");
    // Why a build failed is told outside, too; the files of platforms are apart.
    sandbox.write("context/Dockerfile", "FROM base\nRUN exit 7\n");
    let outcome = build(&sandbox, &["--logfile", "log", "--logsplit"]).fails();
    assert_eq!(outcome.code(), Some(7), "{outcome}");
    assert!(outcome.stderr.contains("Error: "), "{outcome}");
    let split = sandbox.any("sh").args(["-c", "cat log_linux_*"]).in_dir(sandbox.dir()).ok();
    assert!(split.contains("RUN exit 7"), "{split}");
    assert!(build(&sandbox, &["--logsplit"]).fails().stderr.contains("--logfile"));
    assert!(build(&sandbox, &["--logfile", "/nosuch/log"]).fails().stderr.contains("/nosuch/log"));
}

#[test]
fn root_a_dockerfile_is_fetched() {
    use std::io::{Read as _, Write as _};
    let sandbox = sandbox();
    sandbox.write("context/file", "of the context\n");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let url = format!("http://{}/Dockerfile", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).expect("a request");
        let body = format!("{RUN_NOTHING}COPY file /copied\n");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        connection.write_all((head + &body).as_bytes()).expect("answer");
    });
    ok(build(&sandbox, &["-f", &url]));
    server.join().expect("served");
    assert_eq!(config(&sandbox, "built")["history"].as_array().map_or(0, Vec::len), 3);
}
