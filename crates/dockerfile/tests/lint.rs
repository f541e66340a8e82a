//! The rules that need the text only: what they find and where, what they leave alone, and how a
//! file asks for less.
#![allow(clippy::expect_used, reason = "tests")]

use dockerfile::lint::{Comments, Rule, Selection, lint};
use dockerfile::{Source, parse};

/// `line:column Rule`, of what the file does not ask to leave out.
fn found(text: &str) -> Vec<String> {
    let source = Source::new("f", text.as_bytes());
    let file = parse(&source);
    assert_eq!(file.errors().map(|error| error.line(&source)).collect::<Vec<_>>(), [""; 0], "{text}");
    let selection = Selection::new(&file, None);
    let wanted = lint(&source, &file).into_iter().filter(|finding| selection.wants(finding));
    let place = |at| source.line_column(at);
    wanted
        .map(|finding| {
            let (line, column) = place(finding.diagnostic.span.start);
            format!("{line}:{column} {}", finding.rule)
        })
        .collect()
}

#[test]
fn pure_rules_find_and_leave_alone() {
    for (text, expected) in [
        ("FROM a AS Build", &["1:11 StageNameCasing"][..]),
        ("FROM a AS build-2", &[]),
        ("FROM --platform=$X a AS bUILD", &["1:25 StageNameCasing"]),
        ("FROM a as b", &["1:8 FromAsCasing"]),
        ("from a AS b", &["1:8 FromAsCasing"]),
        ("from a as b", &[]),
        ("FROM a As b", &["1:8 FromAsCasing"]),
        // FROM's own case is another rule's.
        ("From a As b", &["1:1 ConsistentInstructionCasing"]),
        ("FROM a\nRUN b \\\n\n  c", &["3:1 NoEmptyContinuation"]),
        ("FROM a\nRUN b \\\n  # why\n  c", &[]),
        ("FROM a\nRUN <<E\nb \\\n\nc\nE\n", &[]),
        ("FROM a\nrun b\nRUN c", &["2:1 ConsistentInstructionCasing"]),
        ("FROM a\nrun b", &["2:1 ConsistentInstructionCasing"]),
        ("from a\nrun b\nRUN c", &["3:1 ConsistentInstructionCasing"]),
        ("from a\nRun b", &["2:1 ConsistentInstructionCasing"]),
        ("arg X\nFROM a\nRUN b", &[]),
        ("FROM a\nONBUILD run b", &[]),
        ("FROM a AS b\nFROM c AS B", &["2:11 StageNameCasing", "2:11 DuplicateStageName"]),
        ("FROM a AS b\nFROM c AS d", &[]),
        ("FROM a AS scratch", &["1:11 ReservedStageName"]),
        ("FROM a AS context", &["1:11 ReservedStageName"]),
        ("FROM a AS contexts", &[]),
        ("FROM a\nMAINTAINER b", &["2:1 MaintainerDeprecated"]),
        ("FROM a\nLABEL org.opencontainers.image.authors=b", &[]),
        ("FROM a\nCMD [\"a\"]\nENV B=c\nCMD [\"d\"]", &["2:1 MultipleInstructionsDisallowed"]),
        ("FROM a\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"d\"]", &["2:1 MultipleInstructionsDisallowed"]),
        ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE", &["2:1 MultipleInstructionsDisallowed"]),
        ("FROM a\nCMD [\"a\"]\nENTRYPOINT [\"d\"]\nFROM b\nCMD [\"c\"]", &[]),
        ("FROM a\nENV A b c", &["2:5 LegacyKeyValueFormat"]),
        ("FROM a\nLABEL A b", &["2:7 LegacyKeyValueFormat"]),
        ("FROM a\nENV A=b C=\"d e\"\nLABEL A=\"b c\"\nONBUILD ENV a b", &[]),
        ("FROM a\nARG SECRET_WORD", &["2:5 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV ok=1 my_Password=x", &["2:10 SecretsUsedInArgOrEnv"]),
        ("FROM a\nARG auth=x token", &["2:5 SecretsUsedInArgOrEnv", "2:12 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV PUBLIC_KEY=x PASSWORD_FILE=y AUTH_VERSION=2 MONKEY=z SECRETS=1", &[]),
        // As in the reference, what stands before the first FROM is no stage's.
        ("ARG TOKEN\nFROM a", &[]),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
    for word in ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"]
    {
        for name in [word.to_owned(), format!("A_{word}"), format!("{word}_B"), word.to_uppercase()] {
            assert_eq!(found(&format!("FROM a\nENV {name}=x")), ["2:5 SecretsUsedInArgOrEnv"], "{name}");
        }
    }
}

#[test]
fn pure_experimental_rules_are_asked_for() {
    let body = "# what it is\nFROM a AS b\n";
    assert_eq!(found(body), [""; 0]);
    for ask in ["experimental=all", "experimental=InvalidDefinitionDescription", "skip=all;experimental=all"] {
        let text = format!("# check={ask}\n{body}");
        assert_eq!(found(&text), ["2:1 InvalidDefinitionDescription"], "{ask}");
    }
    for (body, expected) in [
        ("# b is it\nFROM a AS b", None),
        ("# what it is\n\nFROM a AS b", None),
        ("# what it is\n#\nFROM a AS b", None),
        ("# what it is\nFROM a", None),
        ("# what it is\nRUN x", None),
        ("# A first\nARG A", None),
        ("# C first\nARG A B C", None),
        ("# D first\nARG A B C", Some("3:1 InvalidDefinitionDescription")),
        ("# A first\n# of all\nARG A", Some("4:1 InvalidDefinitionDescription")),
    ] {
        let text = format!("# check=experimental=all\nFROM x\n{body}");
        assert_eq!(found(&text), expected.into_iter().collect::<Vec<_>>(), "{body}");
    }
}

#[test]
fn pure_a_file_asks_for_less() {
    let body = "FROM a AS B\nMAINTAINER c\n";
    for (check, expected) in [
        ("", &["1:11 StageNameCasing", "2:1 MaintainerDeprecated"][..]),
        ("# check=skip=StageNameCasing\n", &["3:1 MaintainerDeprecated"]),
        ("# check=skip=StageNameCasing, MaintainerDeprecated\n", &[]),
        ("# check=skip=all\n", &[]),
        ("# check=error=true\n", &["2:11 StageNameCasing", "3:1 MaintainerDeprecated"]),
        // Not at the top, it speaks for what stands below it.
        ("# top\n# check=skip=all\n", &["4:1 MaintainerDeprecated"]),
        ("# top\n# check=skip=all because of it\n\n", &["5:1 MaintainerDeprecated"]),
        ("# top\n# check=skip=all\n#\n", &["4:11 StageNameCasing", "5:1 MaintainerDeprecated"]),
        ("# top\n# check=nonsense\n", &["3:11 StageNameCasing", "4:1 MaintainerDeprecated"]),
    ] {
        assert_eq!(found(&format!("{check}{body}")), expected, "{check}");
    }
    let twice = "FROM a\nCMD [\"a\"]\n# check=skip=MultipleInstructionsDisallowed\nCMD [\"b\"]";
    assert_eq!(found(twice), [""; 0], "the later one's comment decides");
}

#[test]
fn pure_unknown_rules_are_told() {
    let source = Source::new("f", b"# check=skip=StageNameCasin,JSONArgsRecommended;experimental=Nothing\nFROM a\n");
    let file = parse(&source);
    let told: Vec<_> = Selection::unknown_rules(&file).into_iter().map(|it| (it.line(&source), it.hint)).collect();
    assert_eq!(
        told,
        [
            (
                "f:1:14: there is no rule \"StageNameCasin\"".to_owned(),
                Some("did you mean StageNameCasing?".to_owned())
            ),
            ("f:1:62: there is no rule \"Nothing\"".to_owned(), None),
        ]
    );
    assert!(Rule::ALL.iter().all(|rule| Rule::find(&rule.name()) == Some(*rule)));
}

#[test]
fn pure_descriptions() {
    let source =
        Source::new("f", b"# A first\n# more\nARG A\n# b the stage\n\nFROM x AS b\nRUN y \\\n# B no\n z\nARG B\n");
    let file = parse(&source);
    let comments = Comments::new(&file.ast);
    let told =
        |index: usize, name: &str| comments.description(file.instructions.get(index).expect("there").span.start, name);
    assert_eq!(told(0, "A").as_deref(), Some("first"));
    assert_eq!(told(1, "b").as_deref(), Some("the stage"));
    assert_eq!(told(1, "A"), None);
    assert_eq!(told(3, "B"), None);
}
