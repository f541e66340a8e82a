//! The text of a Dockerfile: directives, byte order mark, line ends, continuations, heredocs.

mod support;

use dockerfile::{Severity, Source, parse};
use support::{check, check_errors, check_warnings};

#[test]
fn pure_directives() {
    check("# escape=`\n# syntax=docker/dockerfile:1\nRUN a`\nb", &["RUN shell(ab)"]);
    check("\u{feff}# escape=`\nRUN a`\nb", &["RUN shell(ab)"]);
    check("  # escape=`\r\nRUN a`\r\nb", &["RUN shell(ab)"]);
    check("#Escape=`\nRUN a`\nb", &["RUN shell(ab)"]);
    // Anything but a directive ends them.
    check("# eskape=`\n# escape=`\nRUN a\\\nb", &["RUN shell(ab)"]);
    check("# escape\n# escape=`\nRUN a\\\nb", &["RUN shell(ab)"]);
    check("# escape=\n# escape=`\nRUN a\\\nb", &["RUN shell(ab)"]);
    check("FROM a\n# escape=`\nRUN a\\\nb", &["FROM a", "RUN shell(ab)"]);
    // A first line for who runs the file: escape can't follow it.
    check("#!/usr/bin/env x\n# escape=`\nRUN a\\\nb", &["RUN shell(ab)"]);
    check("#!/usr/bin/env x\nRUN a", &["RUN shell(a)"]);
    check_errors("# escape=``\nFROM a", &["1:10: invalid escape character \"``\": expected \\ or `"]);
    check_errors("# syntax=a\n# SYNTAX=b\nFROM a", &["2:3: the directive syntax stands here a second time"]);
}

#[test]
fn pure_syntax_of_others_is_noted() {
    for ours in [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker.io/docker/dockerfile:1.7-labs",
        "docker/dockerfile@sha256:0",
        "docker/dockerfile-upstream:master",
        "docker/dockerfile:1 --opt",
    ] {
        check_warnings(&format!("# syntax={ours}\nFROM a"), &[]);
    }
    for other in ["example.org/docker/dockerfile:1", "docker/dockerfiles", "dockerfile:1", "localhost/x"] {
        let text = format!("# syntax={other}\nFROM a");
        check_warnings(
            &text,
            &[&format!("1:10: the syntax {other} is not used: this file is read as docker/dockerfile")],
        );
        let source = Source::new("f", text.as_bytes());
        assert_eq!(parse(&source).diagnostics[0].severity, Severity::Note);
    }
    check_warnings(
        "#!/bin/x\n# syntax=x/y\nFROM a",
        &["2:10: the syntax x/y is not used: this file is read as docker/dockerfile"],
    );
}

#[test]
fn pure_files_for_other_frontends_are_told_apart() {
    let message = "this file is for the frontend x/y:1, and no Dockerfile";
    check_errors("// syntax=x/y:1\nmessage: hello", &[&format!("1:1: {message}")]);
    check_errors("//SYNTAX = x/y:1  \n", &[&format!("1:1: {message}")]);
    check_errors("#!/bin/x\n// syntax=x/y:1\n", &[&format!("2:1: {message}")]);
    check_errors("{\n \"syntax\": \"x/y:1\"\n}", &[&format!("1:1: {message}")]);
    check_errors("// no syntax\nFROM a", &["1:1: unknown instruction \"//\""]);
    check_errors("{\"a\": 1}\nFROM a", &["1:1: unknown instruction \"{\\\"a\\\":\""]);
}

#[test]
fn pure_check_directive() {
    let read = |text: &str| {
        let source = Source::new("f", text.as_bytes());
        let file = parse(&source);
        let errors: Vec<String> = file.errors().map(|error| error.line(&source)).collect();
        (file.check.unwrap_or_default(), errors)
    };
    let (check, errors) = read("# check=skip=A, B ; error=true\nFROM a");
    let names: Vec<_> = check.skip.iter().map(|name| (name.text.as_str(), name.span.start)).collect();
    assert_eq!((names, check.error, errors.len()), (vec![("A", 13), ("B", 16)], true, 0));
    let (check, _) = read("# check=skip=all;experimental=all\nFROM a");
    assert!(check.skip_all && check.experimental_all && !check.error);
    let (check, _) = read("# check=experimental=X\nFROM a");
    assert_eq!((check.experimental.len(), check.experimental_all), (1, false));
    let (check, _) = read("# check=error=false;skip=\nFROM a");
    assert_eq!(check, dockerfile::directive::Check::default());
    for (text, error) in [
        ("# check=error=maybe\nFROM a", "f:1:15: invalid value \"maybe\" of error: expected true or false"),
        ("# check=skipp=A\nFROM a", "f:1:9: unknown option \"skipp\" of check"),
        ("# check=A\nFROM a", "f:1:9: invalid option \"A\" of check: expected name=value"),
    ] {
        assert_eq!(read(text).1, [error], "{text}");
    }
}

#[test]
fn pure_continuations() {
    check("RUN a \\\r\n  b\r\n", &["RUN shell(a   b)"]);
    check("RUN a \\\t \n b", &["RUN shell(a  b)"]);
    check("RUN a\\\n\\\n\\\nb", &["RUN shell(ab)"]);
    check("RUN a \\\n\t # comment \\\n b", &["RUN shell(a  b)"]);
    check("RUN a \\\n# one\n\n# two\n  b", &["RUN shell(a   b)"]);
    check("RUN a \\\nFROM b", &["RUN shell(a FROM b)"]);
    check("RUN echo '# no \\\n# comment \\\n' x", &["RUN shell(echo '# no ' x)"]);
    check("\\\nRUN a", &["RUN shell(a)"]);
    check("COPY a \\\n\n\n b", &["COPY [a]→b"]);
    check("RUN a\u{a0}\\\n b", &["RUN shell(a\u{a0} b)"]);
    let source = dockerfile::Source::new("f", b"FROM a\nRUN b \\\n\n\n c\n");
    let blanks: Vec<_> = dockerfile::parse(&source).ast.nodes.iter().map(|node| node.blank.is_some()).collect();
    assert_eq!(blanks, [false, true]);
}

#[test]
fn pure_continuations_that_the_file_ends() {
    check("RUN a \\  \n \\", &["RUN shell(a)"]);
    check("RUN a \\\n  # b\n \\\n # c", &["RUN shell(a)"]);
    check("RUN a\\ \\", &["RUN shell(a\\)"]);
    check("FROM -- a  \\\n \\\n # c", &["FROM a"]);
    check("RUN a \\\u{b}", &["RUN shell(a \\)"]);
}

#[test]
fn pure_keywords_in_any_case() {
    check("from a AS b\nRuN c\nenV d=e\ncoPY f g", &["FROM a as=b", "RUN shell(c)", "ENV [d=e]", "COPY [f]→g"]);
    check("healthcheck none\nonbuild run x", &["HEALTHCHECK NONE [0, 0, 0, 0, 0]", "ONBUILD {RUN shell(x)} \"run x\""]);
    check("RUN\ta", &["RUN shell(a)"]);
    // Only ASCII's blanks separate a keyword.
    check_errors("FROM a\nRUN\u{a0}a", &["2:1: unknown instruction \"RUN\\u{a0}a\""]);
}

#[test]
fn pure_heredocs_of_every_kind() {
    check("COPY <<A <<'B' <<-\"C\" /d/\na$x\nA\nb$x\nB\n\tc\n\tC\n", &["COPY [A$:a$x\n][B:b$x\n][C:c\n]→/d/"]);
    check("COPY <<a.txt <<b.txt /d/\n1\na.txt\n2\nb.txt\n", &["COPY [a.txt$:1\n][b.txt$:2\n]→/d/"]);
    check("COPY x <<A y /d/\nA\n", &["COPY [x][A$:][y]→/d/"]);
    check("RUN 3<<A cat <&3\nx\nA", &["RUN shell(3<<A cat <&3\nx\nA)"]);
    check("RUN cat <<A | sed s/x/y/ > /z\nx\nA", &["RUN shell(cat <<A | sed s/x/y/ > /z\nx\nA)"]);
    check("RUN a && cat <<A && b\nx\nA\nRUN c", &["RUN shell(a && cat <<A && b\nx\nA)", "RUN shell(c)"]);
    check("RUN --network=none <<A\nx\nA", &["RUN None shell(x\n)"]);
    check(
        "RUN --mount=type=cache,target=\"/a b\" <<A\n[1]\nA",
        &[
            "RUN Cache { id: \"/a b\", sharing: Shared, source: \"\", mode: None, uid: None, gid: None } at /a b; shell([1]\n)",
        ],
    );
    check("RUN <<A \\\n b\nx\nA", &["RUN shell(<<A  b\nx\nA)"]);
    check("RUN <<A\nx \\\n# y\n\nRUN z\nA", &["RUN shell(x \\\n# y\n\nRUN z\n)"]);
    check("RUN <<A\nA\nRUN b", &["RUN shell()", "RUN shell(b)"]);
}

#[test]
fn pure_heredocs_with_interpreters() {
    check("RUN <<EOF python3\nprint(1)\nEOF", &["RUN shell(<<EOF python3\nprint(1)\nEOF)"]);
    check("RUN python3 <<EOF\nprint(1)\nEOF", &["RUN shell(python3 <<EOF\nprint(1)\nEOF)"]);
    check("RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF", &["RUN file EOF(#!/usr/bin/env python3\nprint(1)\n)"]);
    check("RUN <<-EOF\n#!/bin/sh\n\tx\n\tEOF", &["RUN file EOF(#!/bin/sh\nx\n)"]);
    // The first bytes as written count.
    check("RUN <<-EOF\n\t#!/bin/sh\n\tEOF", &["RUN shell(#!/bin/sh\n)"]);
    check("RUN cat <<EOF\n#!/bin/sh\nEOF", &["RUN shell(cat <<EOF\n#!/bin/sh\nEOF)"]);
}

#[test]
fn pure_what_is_no_heredoc() {
    check("RUN echo '<<A'", &["RUN shell(echo '<<A')"]);
    check("RUN echo \\<<A", &["RUN shell(echo \\<<A)"]);
    check("RUN echo $((1<<2))", &["RUN shell(echo $((1<<2)))"]);
    check("RUN a <<", &["RUN shell(a <<)"]);
    check("CMD cat <<A", &["CMD shell(cat <<A)"]);
    check("COPY [\"<<A\", \"/b\"]", &["COPY [<<A]→/b"]);
    check("RUN --network=none [\"cat\", \"<<A\"]", &["RUN None exec[\"cat\", \"<<A\"]"]);
    check(
        "ONBUILD RUN [\"cat\", \"<<A\"]",
        &["ONBUILD {RUN exec[\"cat\", \"<<A\"]} \"RUN [\\\"cat\\\", \\\"<<A\\\"]\""],
    );
    check("WORKDIR <<A", &["WORKDIR <<A"]);
}

#[test]
fn pure_heredocs_that_do_not_end() {
    check_errors("FROM a\nRUN <<A\n A\n", &["2:5: unterminated heredoc: no line is just \"A\""]);
    check_errors("FROM a\nRUN <<A", &["2:5: unterminated heredoc: no line is just \"A\""]);
    check_errors("FROM a\nCOPY <<A <<B /d\nA\nx\n", &["2:6: unterminated heredoc: no line is just \"B\""]);
    check_errors("FROM a\nONBUILD COPY <<A /d\nx", &["2:14: unterminated heredoc: no line is just \"A\""]);
}

#[test]
fn pure_exec_form_and_its_fallback() {
    check("CMD [ \"a\" , \"b\" ]  ", &["CMD exec[a][b]"]);
    check("CMD [\"a\",]", &["CMD shell([\"a\",])"]);
    check("CMD [\"a\"", &["CMD shell([\"a\")"]);
    check("CMD [a, b]", &["CMD shell([a, b])"]);
    check("CMD [\"a\\b\\/\\n\\t\\\"\"]", &["CMD exec[a\u{8}/\n\t\"]"]);
    check("CMD [\"a\\x\"]", &["CMD shell([\"a\\x\"])"]);
    check("CMD [\"a\", \\\n  \"b\"]", &["CMD exec[a][b]"]);
    check("CMD \"a\"", &["CMD shell(\"a\")"]);
    check("ENTRYPOINT []", &["ENTRYPOINT exec"]);
    check("VOLUME [\"/a\", \"/b c\"]", &["VOLUME [/a][/b c]"]);
    check("VOLUME [/a, /b]", &["VOLUME [[/a,][/b]]"]);
    check("ADD [\"a b\", \"c\", \"d/\"]", &["ADD [a b][c]→d/"]);
    check("HEALTHCHECK CMD [\"a\", \"b\"]", &["HEALTHCHECK exec[a][b] [0, 0, 0, 0, 0]"]);
    check("HEALTHCHECK CMD [a]", &["HEALTHCHECK shell([a]) [0, 0, 0, 0, 0]"]);
    check_errors("FROM a\nCMD [\"a\", 1]", &["2:5: a JSON list here can hold only strings"]);
    check_errors("FROM a\nCMD [null]", &["2:5: a JSON list here can hold only strings"]);
    check_errors("FROM a\nENTRYPOINT [[\"a\"]]", &["2:12: a JSON list here can hold only strings"]);
    check_errors("FROM a\nRUN [\"a\", true]", &["2:5: a JSON list here can hold only strings"]);
}

#[test]
fn pure_flags_are_cut_as_the_reference_does() {
    check("COPY --chown=a\\ b x y", &["COPY chown=a b [x]→y"]);
    check("COPY --chown=\"a\\\"b\" x y", &["COPY chown=a\"b [x]→y"]);
    check("COPY --chown='a\\'b' x y", &["COPY chown=a'b [x]→y"]);
    check("COPY \"--chown=a\" x y", &["COPY [\"--chown=a\"][x]→y"]);
    check("COPY --chown=a --chmod=1 -- --from=b c", &["COPY chown=a chmod=1 [--from=b]→c"]);
    check("COPY a --chown=b c", &["COPY [a][--chown=b]→c"]);
    check("RUN -- a", &["RUN shell(a)"]);
    check("RUN -a", &["RUN shell(-a)"]);
    check("# escape=`\nCOPY --chown=a` b x y", &["COPY chown=a b [x]→y"]);
    check("COPY --chown=\\$x y z", &["COPY chown=$x [y]→z"]);
    check_errors("FROM a\nRUN --mout=x y", &["2:5: unknown flag --mout of RUN | did you mean --mount?"]);
    check_errors("FROM a\nADD --from=x y z", &["2:5: unknown flag --from of ADD"]);
    check_errors("FROM a\nCOPY --chown y z", &["2:6: COPY --chown needs a value: --chown=…"]);
    check_errors("FROM a\nWORKDIR --x y", &["2:9: WORKDIR takes no flag like --x"]);
}
