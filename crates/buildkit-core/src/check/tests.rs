//! What a check finds, and what it leaves alone.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn plan_options(target: Option<&str>, build_args: &[(&str, &str)]) -> PlanOptions {
    let platform: oci::Platform = "linux/amd64".parse().expect("valid");
    PlanOptions {
        without_cache: Vec::new(),
        from: None,
        target: target.map(str::to_owned),
        build_args: build_args
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        contexts: BTreeSet::new(),
        platform: platform.clone(),
        build_platform: platform,
    }
}

/// The images there are: `base` sets BASED, `shelled` has a shell, `armed` is of another platform.
fn image(name: &str) -> Option<ImageConfig> {
    let mut config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() };
    match name {
        "base" => config.config.set_env("BASED", "x"),
        "shelled" => config.config.shell = vec!["/bin/bash".into(), "-c".into()],
        "armed" => config.architecture = "arm64".into(),
        "later" => config.config.on_build = vec!["ENV LATER=1".into(), "WORKDIR /later".into()],
        _ => return None,
    }
    Some(config)
}

fn with<T>(
    text: &str,
    plan: &PlanOptions,
    ignore: &str,
    run: impl FnOnce(&Source, &Dockerfile, &CheckOptions<'_>) -> T,
) -> T {
    let source = Source::new("f", text.as_bytes());
    let file = dockerfile::parse(&source);
    let ignore = Ignore::parse(ignore).expect("valid");
    run(&source, &file, &CheckOptions { plan, needed_only: false, ignore: &ignore, env: &[], base: &image })
}

/// `line:column Rule`, `line:column error`.
fn found(text: &str, plan: &PlanOptions, ignore: &str) -> Vec<String> {
    with(text, plan, ignore, |source, file, options| {
        let report = check(source, file, options);
        let place = |span: Span| {
            let (line, column) = source.line_column(span.start);
            format!("{line}:{column}")
        };
        let errors = report.errors.iter().map(|error| format!("{} error", place(error.span)));
        let failures = report.failures.iter().map(|(message, _)| message.clone());
        let findings =
            report.findings.iter().map(|finding| format!("{} {}", place(finding.diagnostic.span), finding.rule));
        failures.chain(errors).chain(findings).collect()
    })
}

#[test]
fn pure_rules_that_depend_on_values() {
    for (text, expected) in [
        ("FROM scratch\nCMD echo hi", &["2:5 JSONArgsRecommended"][..]),
        ("FROM scratch\nENTRYPOINT run it", &["2:12 JSONArgsRecommended"]),
        ("FROM scratch\nCMD [\"echo\"]\nHEALTHCHECK CMD true\nRUN x", &[]),
        ("FROM scratch\nSHELL [\"/bin/bash\", \"-c\"]\nCMD echo hi", &[]),
        ("FROM shelled\nCMD echo hi", &[]),
        ("FROM base:$TAG", &["1:11 UndefinedArgInFrom", "1:6 InvalidDefaultArgInFrom"]),
        ("ARG TAG=1\nFROM base:${TAG}", &[]),
        ("FROM --platform=${BULDPLATFORM:-linux/amd64} base", &["1:17 UndefinedArgInFrom"]),
        ("ARG TAG\nFROM base:${TAG}", &["2:6 InvalidDefaultArgInFrom"]),
        ("ARG TAG\nFROM base${TAG:+:$TAG}", &[]),
        ("FROM --platform=$TARGETPLATFORM base", &["1:17 RedundantTargetPlatform"]),
        ("FROM --platform=${TARGETPLATFORM} base", &["1:17 RedundantTargetPlatform"]),
        ("FROM --platform=$BUILDPLATFORM base", &[]),
        ("FROM --platform=linux/amd64 base", &["1:17 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=linux/amd64 base AS build-amd64", &[]),
        ("FROM --platform=linux/amd64 base AS linux", &[]),
        ("FROM scratch\nWORKDIR app", &["2:9 WorkdirRelativePath"]),
        ("FROM scratch\nWORKDIR /app\nWORKDIR src", &[]),
        ("FROM scratch\nWORKDIR a\nWORKDIR b", &["2:9 WorkdirRelativePath"]),
        ("FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b", &[]),
        ("FROM scratch\nENV D=/d\nWORKDIR $D/x", &[]),
        ("FROM scratch\nLABEL a=$NONE", &["2:9 UndefinedVar"]),
        ("FROM scratch\nCOPY x$NONE ${NONE}y", &["2:7 UndefinedVar", "2:13 UndefinedVar"]),
        ("FROM scratch\nENV A=1 B=$A", &["2:11 UndefinedVar"]),
        ("FROM scratch\nENV A=1\nENV B=$A\nARG C\nENV D=$C P=$PATH", &[]),
        ("FROM base\nENV A=$BASED", &[]),
        ("FROM base AS a\nARG X\nFROM a\nENV A=$BASED$X", &[]),
        ("FROM base\nARG A=1 B=$A C=$D", &["2:16 UndefinedVar"]),
        ("FROM base\nRUN --mount=target=/x,source=$SRC echo $OTHER", &["2:30 UndefinedVar"]),
        ("FROM base\nCOPY <<E /x\na $NONE\nE\n", &["3:3 UndefinedVar"]),
        ("FROM base\nCOPY <<'E' /x\na $NONE\nE\n", &[]),
        ("FROM base\nRUN echo $NONE\nCMD [\"$NONE\"]\nEXPOSE 80", &[]),
        ("FROM later\nENV A=$LATER\nWORKDIR here", &[]),
        // Nothing is known of that image.
        ("FROM elsewhere\nENV A=$ITS", &[]),
        ("FROM armed", &["1:6 InvalidBaseImagePlatform"]),
        ("FROM scratch\nEXPOSE 80/TCP", &["2:8 ExposeProtoCasing"]),
        ("FROM scratch\nEXPOSE 80 81/udp", &[]),
        ("FROM scratch\nEXPOSE 80:80", &["2:8 ExposeInvalidFormat"]),
        ("FROM scratch\nEXPOSE 9 127.0.0.1:80:80/Udp", &["2:10 ExposeProtoCasing", "2:10 ExposeInvalidFormat"]),
    ] {
        let mut expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        let mut found = found(text, &plan_options(None, &[]), "");
        found.retain(|line| !(text.starts_with("FROM base:$TAG") && line.ends_with("error")));
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
    let with_arg = plan_options(None, &[("TAG", "1"), ("X", "2")]);
    assert_eq!(found("ARG TAG\nFROM base:$TAG\nARG X=$NONE", &with_arg, ""), ["2:6 InvalidDefaultArgInFrom"]);
}

#[test]
fn pure_ignored_files() {
    let text = |copy: &str| format!("FROM scratch\n{copy}");
    for (copy, ignore, is_found) in [
        ("COPY secret /", "secret", true),
        ("ADD ./secret /", "secret", true),
        ("COPY dir/x /", "dir", true),
        ("COPY open /", "secret", false),
        ("COPY . /", "secret", false),
        ("COPY . /", "*", true),
        ("COPY secret /", "*\n!secret", false),
        ("COPY other secret /d/", "*\n!open", false),
        ("COPY --from=image secret /", "secret", false),
        ("ADD https://secret/secret /", "**", false),
        ("COPY secret /", "", false),
    ] {
        let place = if copy.starts_with("ADD") { "2:5 CopyIgnoredFile" } else { "2:6 CopyIgnoredFile" };
        let expected = Vec::from_iter(is_found.then_some(place));
        assert_eq!(found(&text(copy), &plan_options(None, &[]), ignore), expected, "{copy} {ignore}");
    }
}

#[test]
fn pure_stages_that_are_not_built_are_checked_by_text_only() {
    let text = "FROM scratch AS A\nCMD x\nFROM scratch AS b\nCMD y\nFROM b";
    let all = found(text, &plan_options(None, &[]), "");
    assert_eq!(all, ["1:17 StageNameCasing", "2:5 JSONArgsRecommended", "4:5 JSONArgsRecommended"]);
    assert_eq!(found(text, &plan_options(Some("b"), &[]), ""), ["1:17 StageNameCasing", "4:5 JSONArgsRecommended"]);
    assert_eq!(
        found(text, &plan_options(Some("bb"), &[]), "").first().map(String::as_str),
        Some("no stage \"bb\" in the Dockerfile")
    );
}

#[test]
fn pure_the_build_argument_wins() {
    let text = "# check=skip=all\nFROM scratch\nCMD x";
    let given = |value| plan_options(None, &[("BUILDKIT_DOCKERFILE_CHECK", value)]);
    assert_eq!(found(text, &plan_options(None, &[]), ""), [""; 0]);
    assert_eq!(found(text, &given("error=true"), ""), ["3:5 JSONArgsRecommended"]);
    assert_eq!(found(text, &given("skip=JSONArgsRecommended"), ""), [""; 0]);
    assert_eq!(found(text, &given("nonsense"), "").len(), 1, "it is told");
    let is_error = |text: &str, plan: &PlanOptions| with(text, plan, "", |s, f, o| check(s, f, o).findings_are_errors);
    assert!(is_error(text, &given("error=true")));
    assert!(is_error("# check=error=true\nFROM scratch", &plan_options(None, &[])));
    assert!(!is_error("# check=error=true\nFROM scratch", &given("skip=all")));
}

#[test]
fn pure_values_are_errors_and_hints_are_near() {
    let text = "FROM scratch\nEXPOSE x\nUSER ''\nSTOPSIGNAL SIGNO\nENV HOME=$PAHT";
    let found = found(text, &plan_options(None, &[]), "");
    assert_eq!(found, ["2:8 error", "3:6 error", "4:12 error", "5:10 UndefinedVar"]);
    with("FROM scratch\nENV A=$PAHT", &plan_options(None, &[]), "", |source, file, options| {
        let report = check(source, file, options);
        assert_eq!(report.findings.first().and_then(|it| it.diagnostic.hint.as_deref()), Some("did you mean $PATH?"));
    });
    with("FROM elsewhere\nENV A=$ITS", &plan_options(None, &[]), "", |source, file, options| {
        let notes = check(source, file, options).notes;
        assert_eq!(
            notes.first().map(|note| note.line(source)).as_deref(),
            Some("f:1:6: the image elsewhere is not in the store: whether it sets this stage's variables is not known")
        );
    });
}

#[test]
fn pure_json_and_sarif() {
    with("FROM scratch\nCMD é x\n", &plan_options(None, &[]), "", |source, file, options| {
        let report = check(source, file, options);
        let json = json(&report, source);
        assert_eq!(json["warnings"][0]["ruleName"], "JSONArgsRecommended");
        let range = serde_json::json!({"start": {"line": 2, "character": 4}, "end": {"line": 2, "character": 7}});
        assert_eq!(json["warnings"][0]["location"]["ranges"][0], range);
        assert_eq!(json["sources"][0]["filename"], "f");
        assert_eq!(json["buildError"], serde_json::Value::Null);
        let sarif = sarif(&report, source, "1");
        assert_eq!(sarif["version"], "2.1.0");
        let run = &sarif["runs"][0];
        let result = &run["results"][0];
        let index = result["ruleIndex"].as_u64().and_then(|index| usize::try_from(index).ok()).expect("a number");
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        let region = serde_json::json!({"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 8});
        assert_eq!(result["locations"][0]["physicalLocation"]["region"], region);
        assert_eq!(result["level"], "warning");
    });
    with("FROM scratch\nRUNN x\n", &plan_options(None, &[]), "", |source, file, options| {
        let report = check(source, file, options);
        assert_eq!(json(&report, source)["buildError"]["message"], "unknown instruction \"RUNN\"");
        assert_eq!(sarif(&report, source, "1")["runs"][0]["results"][0]["level"], "error");
    });
}

const OUTLINED: &str = "# TAG of the base\nARG TAG=1\nARG FULL=base:$TAG\nARG UNUSED\n\
# build compiles it\nFROM $FULL AS build\n# MODE of the compiler\nARG MODE=fast\nARG TARGETARCH\nARG FREE\n\
RUN --mount=type=secret,id=key,required --mount=type=ssh --mount=type=cache,target=/c make\n\
FROM scratch AS other\nARG NEVER\nFROM scratch\nCOPY --from=build /x /x\n";

#[test]
fn pure_outline_and_targets() {
    let outlined = |target| {
        with(OUTLINED, &plan_options(target, &[("FREE", "yes")]), "", |source, file, options| {
            outline(source, file, options).expect("can be planned")
        })
    };
    let tables = "BUILD ARG   VALUE    DESCRIPTION\nTAG         1        of the base\nFULL        base:1\n\
                  MODE        fast     of the compiler\nFREE        yes\n\nSECRET   REQUIRED\nkey      true\n\n\
                  SSH       REQUIRED\ndefault\n\nCACHE MOUNT\n/c\n";
    assert_eq!(outlined(Some("build")).text(), format!("TARGET:      build\nDESCRIPTION: compiles it\n\n{tables}"));
    assert_eq!(outlined(None).text(), tables);
    let json = serde_json::to_value(outlined(Some("build"))).expect("JSON");
    let location = serde_json::json!({"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]});
    assert_eq!(
        json["args"][2],
        serde_json::json!({"name": "MODE", "description": "of the compiler", "value": "fast", "location": location})
    );
    assert_eq!(json["cache"][0]["ID"], "/c");
    with(OUTLINED, &plan_options(None, &[]), "", |source, file, _| {
        let targets = targets(source, file);
        assert_eq!(targets.text(), "TARGET      DESCRIPTION\nbuild       compiles it\nother\n(default)\n");
        let json = serde_json::to_value(&targets).expect("JSON");
        let location = serde_json::json!({"ranges": [{"start": {"line": 14}, "end": {"line": 14}}]});
        assert_eq!(json["targets"][2], serde_json::json!({"default": true, "base": "scratch", "location": location}));
    });
}

#[test]
fn pure_the_documentation_tells_the_truth() {
    let text = include_str!("../../../../docs/lint-rules.md");
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    let names: Vec<String> = sections.iter().filter_map(|section| section.lines().next()).map(str::to_owned).collect();
    assert_eq!(names, Rule::ALL.map(Rule::name));
    for (section, name) in sections.iter().zip(&names) {
        let snippet = |title: &str| {
            let (_, rest) = section.split_once(&format!("\n{title}:\n\n```dockerfile\n")).expect("has the example");
            rest.split_once("\n```").expect("it ends").0.to_owned()
        };
        let names_rule = |text: &str| {
            let found = found(text, &plan_options(None, &[]), "secret");
            assert!(!found.iter().any(|line| line.ends_with("error")), "{name}: {found:?}");
            found.iter().any(|line| line.ends_with(&format!(" {name}")))
        };
        assert!(names_rule(&snippet("Bad")), "{name} is not found in its bad example");
        assert!(!names_rule(&snippet("Good")), "{name} is found in its good example");
    }
}
