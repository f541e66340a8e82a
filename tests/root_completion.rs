//! Completion in bash: the script asks gabion for names of containers, images and stages.
#![allow(clippy::expect_used, reason = "tests")]

use test_support::Sandbox;

/// What bash offers for the last of `words`.
fn offers(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "eval \"$(gabion completion bash)\"\n\
         function=$(complete -p gabion | sed 's/.* -F \\([^ ]*\\) .*/\\1/')\n\
         COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9\n\
         current=\"${{COMP_WORDS[COMP_CWORD]}}\"; case \"$current\" in :|=) current=;; esac\n\
         \"$function\" gabion \"$current\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" ")
    );
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_gabion")).parent().expect("a directory");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").expect("PATH is set"));
    let text = sandbox.any("bash").env("PATH", path).args(["-c", &script]).ok();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn root_bash_completes_names() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work-one", "base"]).ok();
    sandbox.gabion(["from", "--name", "work-two", "base"]).ok();
    sandbox.write("empty/Dockerfile", "FROM base AS first\nFROM first AS second\nFROM second\n");
    let (root, run) = (sandbox.graph_root(), sandbox.run_root());
    let (root, run) = (root.to_str().expect("UTF-8"), run.to_str().expect("UTF-8"));
    let start = ["gabion", "--root", root, "--runroot", run];
    let with = |words: &[&str]| offers(&sandbox, &[&start, words].concat());
    assert_eq!(with(&["rm", "work-"]), ["work-one", "work-two"]);
    assert_eq!(with(&["config", "work-o"]), ["work-one"]);
    assert_eq!(with(&["from", "ba"]), ["base:latest"]);
    assert_eq!(with(&["rmi", "localhost/b"]), ["localhost/base:latest"]);
    assert_eq!(with(&["build", "--target", ""]), ["first", "second"]);
    assert_eq!(with(&["build", "--target", "s"]), ["second"]);
    sandbox.gabion(["manifest", "create", "batch", "base"]).ok();
    assert_eq!(with(&["manifest", "push", "ba"]), ["batch:latest"]);
    assert_eq!(with(&["manifest", "cr"]), ["create"]);
    assert_eq!(with(&["build", "--manifest", "ba"]), ["batch:latest"]);
    assert_eq!(with(&["cont"]), ["containers"]);
    assert_eq!(with(&["images", "--no-t"]), ["--no-trunc"]);
    assert_eq!(with(&["rm", "nosuch"]), [""; 0]);
    // Bash's words end at colons and equals signs, and what is offered goes on behind them.
    assert_eq!(with(&["rmi", "base", ":"]), ["latest"]);
    assert_eq!(with(&["rmi", "localhost/base", ":", "la"]), ["latest"]);
    assert_eq!(with(&["build", "--target", "=", "f"]), ["first"]);
    assert_eq!(offers(&sandbox, &["gabion", "--root", "=", root, "--runroot", "=", run, "rm", "work-o"]), ["work-one"]);
}
