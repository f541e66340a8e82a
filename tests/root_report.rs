//! `build --report`: what the page tells, and that nothing from outside becomes part of it.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;

use test_support::{Outcome, Sandbox};

struct Reported(Sandbox);

impl Reported {
    fn new() -> Reported {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.import_base();
        sandbox.write("context/a", "1");
        Reported(sandbox)
    }

    fn build(&self, dockerfile: &str, args: &[&str]) -> Outcome {
        self.0.write("context/Dockerfile", dockerfile);
        let (page, context) = (self.0.path("build.html"), self.0.path("context"));
        self.0.gabion(["build", "--network=none", "--report"]).arg(page).args(args).arg(context).run()
    }

    /// The page, of which all elements are closed in their order, and which needs nothing else.
    fn page(&self) -> String {
        let page = fs::read_to_string(self.0.path("build.html")).expect("the page");
        for tag in tags(&page) {
            let name = tag.split_whitespace().next().unwrap_or_default();
            assert!(!["script", "link", "img", "iframe", "a", "form", "object"].contains(&name), "{tag}");
            assert!(!["src=", "href=", " on"].iter().any(|word| tag.contains(word)), "{tag}");
        }
        let (style, _) = page.split_once("</style>").expect("a style");
        assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
        page
    }

    /// What is between the section's beginning and its end.
    fn section(&self, name: &str) -> String {
        let page = self.page();
        let (_, rest) =
            page.split_once(&format!("<section id=\"{name}\">")).unwrap_or_else(|| panic!("{name}: {page}"));
        rest.split_once("</section>").expect("an end").0.to_owned()
    }
}

/// What begins each element of a page, all of which must be closed where they may be.
fn tags(page: &str) -> Vec<String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let (mut open, mut all) = (Vec::new(), Vec::new());
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("the end of a tag");
        rest = after;
        assert!(!tag.contains('<'), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{page}");
            continue;
        }
        let name = tag.split_whitespace().next().expect("a name").to_owned();
        assert!(tag.matches('"').count() % 2 == 0, "{tag}");
        if !["meta", "br"].contains(&name.as_str()) {
            open.push(name);
        }
        all.push(tag.to_owned());
    }
    assert!(open.is_empty(), "{open:?}");
    all
}

#[test]
fn root_a_report_tells_of_steps_the_cache_layers_and_warnings() {
    let reported = Reported::new();
    let dockerfile = "FROM localhost/base AS one\nRUN head -c 300000 /dev/zero > /big; head -c 200000 /dev/zero > /gone\n\
        FROM one AS two\nMAINTAINER somebody\nRUN echo small > /big; rm /gone\nCOPY a /a\n";
    reported.build(dockerfile, &["-t", "new", "--jobs=1"]).status.success().then_some(()).expect("built");
    let page = reported.page();
    assert!(page.contains("Build of localhost/new:latest") && page.contains("prefers-color-scheme: dark"), "{page}");
    let timeline = reported.section("timeline");
    for text in ["Stage 1", "Stage 2", "RUN head -c", "COPY a /a", "commit", "<rect class=\"done\""] {
        assert!(timeline.contains(text), "{text}: {timeline}");
    }
    let steps = reported.section("steps");
    assert!(steps.contains("no earlier build of this file and target is known"), "{steps}");
    let layers = reported.section("layers");
    for text in ["/big", "300 KB", "/gone", "200 KB", "hidden by layer 3", "written anew by layer 3", "never seen"] {
        assert!(layers.contains(text), "{text}: {layers}");
    }
    let warnings = reported.section("warnings");
    assert!(warnings.contains("Dockerfile:4:1") && warnings.contains("MAINTAINER somebody</pre>"), "{warnings}");

    // The same again, with another file.
    reported.0.write("context/a", "2");
    let again = reported.build(dockerfile, &["-t", "new"]);
    assert!(again.status.success() && !again.stderr.contains("since"), "{again}");
    let steps = reported.section("steps");
    assert!(steps.contains("result cached\">hit") && steps.contains("a has another content"), "{steps}");
    assert!(reported.section("timeline").contains("<rect class=\"cached\""));
}

#[test]
fn root_a_report_is_no_place_for_foreign_markup() {
    let reported = Reported::new();
    let name = "x\"'><img src=q onerror=e>&amp;";
    reported.0.write(format!("context/names/{name}"), "content");
    let dockerfile = "FROM localhost/base\nRUN echo '<script>alert(1)</script>' > '/<b>\"&lt;'\nCOPY names /names\n\
        LABEL a=\"</style></title><script>\"\n";
    let built = reported.build(dockerfile, &["-t", "new"]);
    assert!(built.status.success(), "{built}");
    let layers = reported.section("layers");
    assert!(layers.contains("/names/x&quot;'&gt;&lt;img src=q onerror=e&gt;&amp;amp;"), "{layers}");
    assert!(reported.section("timeline").contains("&lt;script&gt;alert(1)"));
    // In the lines of an error, too.
    let failed = reported.build("FROM localhost/base\nRUN echo '<script>'; exit 3\n", &[]);
    assert_eq!(failed.code(), Some(3), "{failed}");
    assert!(reported.page().contains("&lt;script&gt;"));
}

#[test]
fn root_a_failed_build_is_reported_as_far_as_it_came() {
    let reported = Reported::new();
    fs::write(reported.0.path("build.html"), "earlier").expect("written");
    let failed = reported.build("FROM localhost/base\nRUN echo last words; exit 7\nRUN echo never\n", &[]);
    assert_eq!(failed.code(), Some(7), "{failed}");
    let page = reported.page();
    for text in ["A build that failed", "exit code 7", "last words", "result failed", "<rect class=\"failed\""] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!reported.section("timeline").contains("never") && !page.contains("id=\"layers\""), "{page}");
    // Of a file with errors, too: nothing was begun.
    reported.build("FROM localhost/base\nRUNN x\n", &[]).status.success().then(|| panic!("built"));
    assert!(reported.page().contains("RUNN"));
}

#[test]
fn root_a_report_that_cannot_be_written_is_refused_before_building() {
    let reported = Reported::new();
    let context = reported.0.write("context/Dockerfile", "FROM localhost/base\nRUN echo begun\n");
    let context = context.parent().expect("a directory");
    for (place, words) in [("gone/build.html", "a directory that is there"), ("context", "it is a directory")] {
        let path = reported.0.path(place);
        let refused = reported.0.gabion(["build", "--report"]).arg(&path).arg(context).fails();
        refused.says(125, &["--report", words]);
        assert!(!refused.stdout.contains("STEP"), "{refused}");
    }
}

#[test]
fn root_waits_are_told_and_drawn() {
    let reported = Reported::new();
    let dockerfile = "FROM localhost/base AS one\nRUN sleep 0.3\nFROM localhost/base AS two\nRUN echo 2 > /two\n\
        FROM localhost/base\nCOPY --from=one /bin/busybox /one\nCOPY --from=two /two /two\n";
    let built = reported.build(dockerfile, &["--jobs=1", "--progress=json"]);
    assert!(built.status.success(), "{built}");
    let events: Vec<serde_json::Value> =
        built.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let waits = |name: &str, what: &str| {
        events.iter().filter(|event| event["event"] == name && event["for"] == what).cloned().collect::<Vec<_>>()
    };
    let places = waits("waiting", "place");
    assert!(places.iter().any(|event| event["stage"] == 2 && event["stages"] == 3), "{built}");
    assert_eq!(places.len(), waits("waited", "place").len(), "{built}");
    assert!(waits("waited", "place").iter().all(|event| event["seconds"].is_f64()), "{built}");
    let timeline = reported.section("timeline");
    assert!(timeline.contains("a place among the stages that are built at once"), "{timeline}");
    // With a place for each, the last stage waits for the first.
    let built = reported.build(dockerfile, &["--jobs=3", "--progress=json", "--no-cache"]);
    assert!(built.status.success() && built.stderr.contains("\"for\":\"stage\",\"other_stage\":1"), "{built}");
    let timeline = reported.section("timeline");
    assert!(timeline.contains("for stage 1") && timeline.contains("<rect class=\"wait\""), "{timeline}");
}
