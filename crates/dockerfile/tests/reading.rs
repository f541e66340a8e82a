//! What Dockerfiles are read as: small files with the instructions or the errors they give.

mod support;

use dockerfile::instruction::{CopySource, Kind};
use dockerfile::{Source, Word, parse, parse_instructions};
use support::{check, check_errors};

#[test]
fn pure_lines() {
    check("FROM a\nRUN b", &["FROM a", "RUN shell(b)"]);
    check("\u{feff}FROM a\r\n\r\n# c\r\n  run b\r\n", &["FROM a", "RUN shell(b)"]);
    check("RUN a \\\n  b \\\n\n # why\n\tc", &["RUN shell(a   b \tc)"]);
    check("RUN a \\  \n b", &["RUN shell(a  b)"]);
    check("RUN a \\\\\nRUN b", &["RUN shell(a \\\\)", "RUN shell(b)"]);
    check("RUN a \\", &["RUN shell(a)"]);
    check("RUN \\\n a", &["RUN shell(a)"]);
    check("R\\\nUN a", &["RUN shell(a)"]);
    check("# escape=`\nRUN a `\n b\\\nRUN c", &["RUN shell(a  b\\)", "RUN shell(c)"]);
    check("#ESCAPE = ` \nRUN a `\n b", &["RUN shell(a  b)"]);
    check("# x\n# escape=`\nRUN a \\\n b", &["RUN shell(a  b)"]);
    check("\n# escape=`\nRUN a \\\n b", &["RUN shell(a  b)"]);
    check("# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=`\nRUN a`\nb", &["RUN shell(ab)"]);
    check("RUN a # no comment", &["RUN shell(a # no comment)"]);
    check("  # comment\n\t\nRUN a", &["RUN shell(a)"]);
}

#[test]
fn pure_heredocs() {
    check("RUN <<EOF\na\n  b $c\nEOF\nRUN d", &["RUN shell(a\n  b $c\n)", "RUN shell(d)"]);
    check("RUN <<-EOF\n\ta\n\t\tb\n\tEOF\n", &["RUN shell(a\nb\n)"]);
    check("RUN <<'EOF'\n$a\nEOF", &["RUN shell($a\n)"]);
    check("RUN <<EOF sh\na\nEOF", &["RUN shell(<<EOF sh\na\nEOF)"]);
    check("RUN python3 <<EOF && x\na\nEOF", &["RUN shell(python3 <<EOF && x\na\nEOF)"]);
    check("RUN <<A cat <<B\n1\nA\n2\nB\n", &["RUN shell(<<A cat <<B\n1\nA\n2\nB)"]);
    check("RUN <<EOF\n#!/bin/awk -f\nx\nEOF", &["RUN file EOF(#!/bin/awk -f\nx\n)"]);
    check("RUN << EOF\na\nEOF", &["RUN shell(a\n)"]);
    check("RUN echo \"<<EOF\"", &["RUN shell(echo \"<<EOF\")"]);
    check("RUN echo a<<EOF", &["RUN shell(echo a<<EOF)"]);
    check("RUN cat <<<word", &["RUN shell(cat <<<word)"]);
    check("RUN [\"a\", \"<<EOF\"]", &["RUN exec[\"a\", \"<<EOF\"]"]);
    check("ENV A=<<EOF\nENV B=1", &["ENV [A=<<EOF]", "ENV [B=1]"]);
    check("COPY <<EOF /a\nx $y\nEOF\n", &["COPY [EOF$:x $y\n]→/a"]);
    check("COPY <<\"A\" <<-B c /d/\n1\nA\n\t2\n\tB\n", &["COPY [A:1\n][B$:2\n][c]→/d/"]);
    check("ADD --chmod=644 <<x /a\nx\n", &["ADD chmod=644 [x$:]→/a"]);
    check("COPY <<EOF /a\n# no comment \\\n\nEOF\n", &["COPY [EOF$:# no comment \\\n\n]→/a"]);
    check("COPY <<EOF /a\r\nx\r\nEOF\r\n", &["COPY [EOF$:x\r\n]→/a"]);
    check("ONBUILD RUN <<EOF\na\nEOF", &["ONBUILD {RUN shell(a\n)} \"RUN <<EOF\\na\\nEOF\""]);
}

#[test]
fn pure_from_and_arg() {
    check("FROM scratch", &["FROM scratch"]);
    check("FROM a:1@sha256:0 as B.c-d", &["FROM a:1@sha256:0 as=b.c-d"]);
    check("FROM --platform=$BUILDPLATFORM a AS b", &["FROM a as=b platform=$BUILDPLATFORM"]);
    check("ARG A", &["ARG [A]"]);
    check("ARG A=1 B C=\"x y\" D=", &["ARG [A=1][B][C=\"x y\"][D=]"]);
}

#[test]
fn pure_commands() {
    check("RUN [\"a\", \"b c\"]", &["RUN exec[\"a\", \"b c\"]"]);
    check("RUN [\"\\u0041\\\"\"]", &["RUN exec[\"A\\\"\"]"]);
    check("RUN ['a']", &["RUN shell(['a'])"]);
    check("RUN [ -d x ] && y", &["RUN shell([ -d x ] && y)"]);
    check("RUN [\"a\"] b", &["RUN shell([\"a\"] b)"]);
    check("CMD []", &["CMD exec"]);
    check("CMD", &["CMD shell()"]);
    check("CMD a   b", &["CMD shell(a   b)"]);
    check("ENTRYPOINT [\"a\"]", &["ENTRYPOINT exec[a]"]);
    check("SHELL [\"/bin/bash\", \"-c\"]", &["SHELL [/bin/bash][-c]"]);
    check("HEALTHCHECK NONE", &["HEALTHCHECK NONE [0, 0, 0, 0, 0]"]);
    check("HEALTHCHECK --interval=5s --retries=3 cmd x y", &["HEALTHCHECK shell(x y) [5000000000, 0, 0, 0, 3]"]);
    check(
        "HEALTHCHECK --timeout=1m --start-period=2s --start-interval=1ms CMD [\"a\"]",
        &["HEALTHCHECK exec[a] [0, 60000000000, 2000000000, 1000000, 0]"],
    );
    check("STOPSIGNAL $SIG", &["STOPSIGNAL $SIG"]);
    check("ONBUILD COPY . /a", &["ONBUILD {COPY [.]→/a} \"COPY . /a\""]);
    check("MAINTAINER A B <c>", &["MAINTAINER A B <c>"]);
    check(
        "USER a:b\nWORKDIR /a b\nEXPOSE 80 81/udp\nVOLUME /a /b\nVOLUME [\"/c d\"]",
        &["USER a:b", "WORKDIR /a b", "EXPOSE [80][81/udp]", "VOLUME [/a][/b]", "VOLUME [/c d]"],
    );
}

#[test]
fn pure_pairs() {
    check("ENV a=b c=\"d e\" f='g h' i=j\\ k", &["ENV [a=b][c=\"d e\"][f='g h'][i=j\\ k]"]);
    check("ENV a b  c=d", &["ENV legacy[a=b  c=d]"]);
    check("ENV a=b \\\n # c\n  d=e", &["ENV [a=b][d=e]"]);
    check("ENV a=\"x\\\"y z\" b=", &["ENV [a=\"x\\\"y z\"][b=]"]);
    check("LABEL \"a b\"=c", &["LABEL [\"a b\"=c]"]);
}

#[test]
fn pure_copy() {
    check("COPY a b", &["COPY [a]→b"]);
    check("COPY --from=x --chown=1:2 --chmod=u=rwX,g-w a b /c/", &["COPY from=x chown=1:2 chmod=u=rwX,g-w [a][b]→/c/"]);
    check("COPY [\"a b\", \"c\"]", &["COPY [a b]→c"]);
    check("COPY --chown=\"a b\" x y", &["COPY chown=a b [x]→y"]);
    check("COPY -- --x y", &["COPY [--x]→y"]);
    check("ADD --checksum=abc1 http://a/b /c", &["ADD checksum=abc1 [http://a/b]→/c"]);
    check("COPY \\\n  --chown=1 \\\n  a \\\n  b", &["COPY chown=1 [a]→b"]);
}

#[test]
fn pure_run_flags() {
    check("RUN --network=none a", &["RUN None shell(a)"]);
    check(
        "RUN --mount=target=/t a",
        &["RUN Bind { source: \"\", recursive: false, propagation: None } at /t ro; shell(a)"],
    );
    check(
        "RUN --mount=type=bind,from=x,src=/s,dst=/t,rw a",
        &["RUN Bind { source: \"/s\", recursive: false, propagation: None } at /t from x; shell(a)"],
    );
    check(
        "RUN --mount=type=tmpfs,target=/t,size=64m a",
        &["RUN Tmpfs { size: Some(67108864), mode: None, copy_up: false } at /t; shell(a)"],
    );
    check(
        "RUN --mount=type=cache,target=/t,id=i,sharing=locked,mode=0700,uid=1,gid=2 a",
        &[
            "RUN Cache { id: \"i\", sharing: Locked, source: \"\", mode: Some(448), uid: Some(1), gid: Some(2) } at /t; shell(a)",
        ],
    );
    check(
        "RUN --mount=type=cache,target=$HOME/c --mount=target=/x [\"a\"]",
        &[
            "RUN Cache { id: \"$HOME/c\", sharing: Shared, source: \"\", mode: None, uid: None, gid: None } at $HOME/c; \
         Bind { source: \"\", recursive: false, propagation: None } at /x ro; exec[\"a\"]",
        ],
    );
}

#[test]
fn pure_flags_that_relax_or_order() {
    check("FROM --after=a --after=1 b AS c", &["FROM b as=c after=a after=1"]);
    check("FROM --after=$A b AS C/$D", &["FROM b as=C/$D after=$A"]);
    check("RUN --security=insecure --device=v/c=d,required x", &["RUN Insecure device v/c=d required shell(x)"]);
    check(
        "RUN --security=sandbox --device=name=v/c=d --device=c,required=false x",
        &["RUN Sandbox device v/c=d device c shell(x)"],
    );
    check_errors("FROM --after= a", &["1:6: FROM --after needs a stage"]);
    check_errors("FROM a\nRUN --device=required x", &["2:5: RUN --device needs a name"]);
    check_errors("FROM a\nRUN --device=c,name=d x", &["2:16: a device has one name"]);
    check_errors(
        "FROM a\nRUN --device=c,require=1 x",
        &["2:16: unknown option \"require\" of --device | did you mean required?"],
    );
}

#[test]
fn pure_copy_flags() {
    check("COPY --link --parents a b", &["COPY link=true parents=true [a]→b"]);
    check("COPY --link=TRUE --parents=false a b", &["COPY link=true [a]→b"]);
    check("COPY --exclude=*.o --exclude=$x a b", &["COPY exclude=*.o exclude=$x [a]→b"]);
    check(
        "ADD --link=true --keep-git-dir --unpack=false --checksum=BE1F38e https://x/y.git z",
        &["ADD checksum=BE1F38e link=true keep-git-dir=true unpack=false [https://x/y.git]→z"],
    );
    check("ADD --checksum=$SUM a b", &["ADD checksum=$SUM [a]→b"]);
    check_errors("FROM a\nCOPY --unpack a b", &["2:6: unknown flag --unpack of COPY"]);
    check_errors("FROM a\nADD --parents a b", &["2:5: unknown flag --parents of ADD"]);
    check_errors("FROM a\nCOPY --link= a b", &["2:6: invalid value \"\" of --link: expected true or false"]);
    check_errors("FROM a\nCOPY --link --link a b", &["2:13: COPY --link is given twice"]);
    check_errors(
        "FROM a\nADD --checksum=sha256:1 a b",
        &[
            "2:16: invalid checksum \"sha256:1\": expected sha256: and 64 hexadecimal digits, or the hash of a git commit",
        ],
    );
}

#[test]
fn pure_secrets_and_agents() {
    let secret = |rest: &str, target: &str| vec![format!("RUN Secret {{ {rest} }} at {target} ro; shell(x)")];
    for (mount, rest, target) in [
        ("id=a", "id: \"a\", env: None, required: false, mode: 256, uid: 0, gid: 0", "/run/secrets/a"),
        ("source=d/a", "id: \"d/a\", env: None, required: false, mode: 256, uid: 0, gid: 0", "/run/secrets/a"),
        ("dst=/x/y", "id: \"y\", env: None, required: false, mode: 256, uid: 0, gid: 0", "/x/y"),
        ("id=a,env=A", "id: \"a\", env: Some(\"A\"), required: false, mode: 256, uid: 0, gid: 0", ""),
        ("id=a,env=A,target=t", "id: \"a\", env: Some(\"A\"), required: false, mode: 256, uid: 0, gid: 0", "t"),
        (
            "id=a,required,mode=0444,uid=1,gid=2",
            "id: \"a\", env: None, required: true, mode: 292, uid: 1, gid: 2",
            "/run/secrets/a",
        ),
        ("id=a,required=false", "id: \"a\", env: None, required: false, mode: 256, uid: 0, gid: 0", "/run/secrets/a"),
    ] {
        let expected = secret(rest, target);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&format!("RUN --mount=type=secret,{mount} x"), &expected);
    }
    check(
        "RUN --mount=type=ssh x",
        &["RUN Ssh { id: \"default\", required: false, mode: 384, uid: 0, gid: 0 } at  ro; shell(x)"],
    );
    check(
        "RUN --mount=type=ssh,id=k,target=/s,required=true,mode=0666,uid=1,gid=2 x",
        &["RUN Ssh { id: \"k\", required: true, mode: 438, uid: 1, gid: 2 } at /s ro; shell(x)"],
    );
    check_errors("FROM a\nRUN --mount=type=secret y", &["2:5: a secret needs an id: id=name"]);
    check_errors(
        "FROM a\nRUN --mount=type=secret,id=a,src=b y",
        &["2:5: source and id of a secret mean the same: give one"],
    );
    check_errors("FROM a\nRUN --mount=type=secret,id=a,from=b y", &["2:30: a mount of type secret has no option from"]);
    check_errors("FROM a\nRUN --mount=type=ssh,src=a y", &["2:22: a mount of type ssh has no option src"]);
}

#[test]
fn pure_mount_options_of_both_dialects() {
    check(
        "RUN --mount=type=tmpfs,target=/t,tmpfs-size=1.5k,tmpfs-mode=1777,tmpcopyup x",
        &["RUN Tmpfs { size: Some(1536), mode: Some(1023), copy_up: true } at /t; shell(x)"],
    );
    check(
        "RUN --mount=type=bind,target=/t,z,rslave,nosuid,bind-nonrecursive=false x",
        &["RUN Bind { source: \"\", recursive: true, propagation: Some(\"rslave\") } at /t ro; shell(x)"],
    );
    check(
        "RUN --mount=type=bind,target=/t,Z,bind-propagation=shared,consistency=cached x",
        &["RUN Bind { source: \"\", recursive: false, propagation: Some(\"shared\") } at /t ro; shell(x)"],
    );
    check(
        "RUN --mount=type=cache,TARGET=/t,from=s,src=/c,relabel=shared x",
        &[
            "RUN Cache { id: \"/t\", sharing: Shared, source: \"/c\", mode: None, uid: None, gid: None } at /t from s; shell(x)",
        ],
    );
    check_errors("FROM a\nRUN --mount=target=/t,U y", &["2:23: the option U of --mount is not supported"]);
    check_errors(
        "FROM a\nRUN --mount=target=/t,bind-propagation=x y",
        &[
            "2:40: invalid value \"x\" of bind-propagation: expected private, rprivate, slave, rslave, shared or rshared",
        ],
    );
    check_errors(
        "FROM a\nRUN --mount=target=/t,relabel=none y",
        &["2:31: invalid value \"none\" of relabel: expected shared or private"],
    );
}

#[test]
fn pure_errors_say_where_and_what() {
    check_errors("", &["1:1: no instruction in this file: expected FROM"]);
    check_errors("# only\n\n", &["3:1: no instruction in this file: expected FROM"]);
    check_errors("ARG a\n", &["2:1: no FROM in this file"]);
    check_errors("RUN a\nFROM b", &["1:1: RUN before the first FROM: only ARG can stand there"]);
    check_errors("FORM a\n", &["1:1: unknown instruction \"FORM\" | did you mean FROM?", "2:1: no FROM in this file"]);
    check_errors(
        "FROM a\nRUNN b\n  CPY c d\nXYZZY\n",
        &[
            "2:1: unknown instruction \"RUNN\" | did you mean RUN?",
            "3:3: unknown instruction \"CPY\" | did you mean COPY?",
            "4:1: unknown instruction \"XYZZY\"",
        ],
    );
    check_errors("FROM", &["1:1: FROM needs an image or a stage"]);
    check_errors("FROM a b", &["1:8: FROM takes one image, and perhaps AS and a name behind it"]);
    check_errors("FROM a SA b", &["1:8: FROM takes one image, and perhaps AS and a name behind it | did you mean AS?"]);
    check_errors(
        "FROM a AS 1b",
        &["1:11: invalid stage name \"1b\": it begins with a letter and has letters, digits, -, _, . and / only"],
    );
    check_errors("FROM --platfrom=x a", &["1:6: unknown flag --platfrom of FROM | did you mean --platform?"]);
    check_errors("FROM --platform a", &["1:6: FROM --platform needs a value: --platform=…"]);
    check_errors("FROM a\nCOPY --form=x a b", &["2:6: unknown flag --form of COPY | did you mean --from?"]);
    check_errors("FROM a\nCOPY --link=maybe a b", &["2:13: invalid value \"maybe\" of --link: expected true or false"]);
    check_errors("FROM a\nCOPY --from=a --from=b a b", &["2:15: COPY --from is given twice"]);
    check_errors("FROM a\nCOPY a", &["2:1: COPY needs a source and a destination | \"a\" stands alone"]);
    check_errors("FROM a\nCOPY", &["2:1: COPY needs a source and a destination"]);
    check_errors("FROM a\nCOPY [\"a\", 1]", &["2:6: a JSON list here can hold only strings"]);
    check_errors("FROM a\nCOPY a <<EOF\nEOF", &["2:8: a heredoc can't be the destination"]);
    check_errors("FROM a\nRUN", &["2:1: RUN needs a command"]);
    check_errors("FROM a\nRUN <<EOF\nx\n", &["2:5: unterminated heredoc: no line is just \"EOF\""]);
    check_errors(
        "FROM a\nRUN --network=hots x",
        &["2:15: unsupported value \"hots\" for --network: expected default, none or host | did you mean host?"],
    );
    check_errors(
        "FROM a\nRUN --security=insecur x",
        &["2:16: unknown security \"insecur\": expected sandbox or insecure | did you mean insecure?"],
    );
    check_errors(
        "FROM a\nRUN --mount=type=cahe,target=/x y",
        &["2:18: unknown mount type \"cahe\": expected bind, cache, tmpfs, secret or ssh | did you mean cache?"],
    );
    check_errors("FROM a\nRUN --mount=type=bind y", &["2:5: a mount needs a target: target=path"]);
    check_errors(
        "FROM a\nRUN --mount=target=/x,taget=y y",
        &["2:23: unknown option \"taget\" of --mount | did you mean target?"],
    );
    check_errors(
        "FROM a\nRUN --mount=type=tmpfs,target=/x,size=big y",
        &["2:39: invalid value \"big\" of size: expected a size such as 64m"],
    );
    check_errors(
        "FROM a\nRUN --mount=type=tmpfs,target=/x,mode=1 y",
        &["2:34: a mount of type tmpfs has no option mode"],
    );
    check_errors("FROM a\nENV a", &["2:5: ENV a has no value | write ENV a=value"]);
    check_errors("FROM a\nENV a=b c", &["2:9: \"c\" is no name=value | a value with blanks needs quotes"]);
    check_errors("FROM a\nENV =b", &["2:5: a name is empty"]);
    check_errors("FROM a\nLABEL", &["2:1: LABEL needs a name and a value"]);
    check_errors(
        "FROM a\nSHELL sh -c",
        &["2:7: SHELL needs a JSON list of arguments | for example SHELL [\"/bin/bash\", \"-c\"]"],
    );
    check_errors("FROM a\nHEALTHCHECK CMD", &["2:1: HEALTHCHECK needs a command after CMD"]);
    check_errors(
        "FROM a\nHEALTHCHECK --interval=5 CMD x",
        &["2:24: invalid time \"5\" of --interval | for example 30s, 1m30s or 500ms"],
    );
    check_errors("FROM a\nHEALTHCHECK --retries=-1 CMD x", &["2:23: --retries needs a number, 0 or more"]);
    check_errors("FROM a\nHEALTHCHECK NONE x", &["2:18: HEALTHCHECK NONE takes no arguments"]);
    check_errors(
        "FROM a\nHEALTHCHECK CDM x",
        &["2:13: unknown kind \"CDM\" of HEALTHCHECK: expected CMD or NONE | did you mean CMD?"],
    );
    check_errors("FROM a\nONBUILD FROM b", &["2:9: FROM can't be left for later with ONBUILD"]);
    check_errors("FROM a\nONBUILD ONBUILD RUN b", &["2:9: ONBUILD can't be left for later with ONBUILD"]);
    check_errors("FROM a\nONBUILD RUNN b", &["2:9: unknown instruction \"RUNN\" | did you mean RUN?"]);
    check_errors("FROM a\nUSER --x y", &["2:6: USER takes no flag like --x"]);
    check_errors("FROM a\nVOLUME [\"\"]", &["2:9: a volume's path is empty"]);
    check_errors("# escape=x\nFROM a", &["1:10: invalid escape character \"x\": expected \\ or `"]);
    check_errors("# escape=`\n# escape=`\nFROM a", &["2:3: the directive escape stands here a second time"]);
    check_errors("FROM a\nCOPY \\\n # c\n  --form=x a b", &["4:3: unknown flag --form of COPY | did you mean --from?"]);
    check_errors("FROM a\nRUN x\0y", &["2:6: a NUL byte: this is no text file"]);
}

#[test]
fn pure_legacy_label_needs_a_value() {
    check_errors("FROM a\nLABEL a", &["2:7: LABEL a has no value | write LABEL a=value"]);
}

#[test]
fn pure_binary_files_are_refused() {
    let source = Source::new("f", b"FROM a\nRUN \xff\xfe");
    let lines: Vec<_> = parse(&source).errors().map(|error| error.line(&source)).collect();
    assert_eq!(lines, ["f:2:5: a byte that is not UTF-8 text"]);
}

#[test]
fn pure_errors_are_drawn() {
    let source = Source::new("Dockerfile", "FROM a\nCOPY ü --form=x\n\tRUNN \x1b[2J\n".as_bytes());
    let read = parse(&source);
    let drawn: Vec<_> = read.errors().map(|error| error.render(&source)).collect();
    assert_eq!(
        drawn,
        ["Dockerfile:3:2: unknown instruction \"RUNN\"\n  |\n3 |  RUNN \u{fffd}[2J\n  |  ^^^^\n  did you mean RUN?"]
    );
}

#[test]
fn pure_every_prefix_of_a_file_is_read_without_panic() {
    let text = "# escape=`\nFROM --platform=\"a b\" ä AS b\nRUN --mount=type=cache,target=\"/x,y\" <<-\"E\" cat <<F\n\ta\n\tE\nF\n\
        COPY --chown='a' [\"ü\", \"b\"]\nENV a=\"x`\"y\" b\nHEALTHCHECK --interval=1.5s CMD [\"é\"]\nONBUILD RUN <<X\n`\nX\n";
    for end in 0..=text.len() {
        let source = Source::new("f", &text.as_bytes()[..end]);
        for diagnostic in parse(&source).diagnostics {
            assert!(!diagnostic.render(&source).is_empty());
        }
        let source = Source::new("f", &text.as_bytes()[end..]);
        for diagnostic in parse(&source).diagnostics {
            assert!(!diagnostic.render(&source).is_empty());
        }
    }
}

#[test]
fn pure_spans_point_at_their_text() {
    let text = "FROM a AS b\nRUN x \\\n  y\nCOPY --from=b \\\n  c /d/\nENV k='v w'\nARG \" \\\n # c\n  k=v\"\n";
    let source = Source::new("f", text.as_bytes());
    for instruction in parse(&source).instructions {
        assert_eq!(source.slice(instruction.keyword.full_span()), instruction.keyword.as_str());
        let found: Vec<&Word> = match &instruction.kind {
            Kind::From(from) => vec![&from.base],
            Kind::Copy(copy) => {
                assert!(matches!(&copy.sources[..], [CopySource::Path(path)] if source.slice(path.span) == "c"));
                vec![copy.from.as_ref().expect("from"), &copy.destination]
            }
            // A name that goes over lines.
            Kind::Arg(args) => vec![args[0].default.as_ref().expect("a default")],
            Kind::Env(pairs) => vec![&pairs.pairs[0].name, &pairs.pairs[0].value],
            _ => vec![],
        };
        for word in found {
            assert_eq!(source.slice(word.span), word.text);
        }
    }
}

#[test]
fn pure_large_files_take_linear_time() {
    let long_line = format!("FROM a\nRUN {}\nFOO {}\n", "x ".repeat(500_000), "y".repeat(1_000_000));
    let source = Source::new("f", long_line.as_bytes());
    let read = parse(&source);
    assert_eq!(read.errors().count(), 1);
    assert!(read.errors().next().expect("one").render(&source).len() < 2_000);
    let continued = format!("FROM a\nRUN {}b\n", "a \\\n# c\n\n".repeat(200_000));
    assert_eq!(parse(&Source::new("f", continued.as_bytes())).instructions.len(), 2);
    let many = "RUN <<A\nx\nA\n".repeat(100_000);
    assert_eq!(parse_instructions(&Source::new("f", many.as_bytes())).instructions.len(), 100_000);
    let nested = format!("FROM a\nCMD {}\n", "[".repeat(100_000));
    assert_eq!(parse(&Source::new("f", nested.as_bytes())).errors().count(), 0);
}

/// Each shape is large enough that anything but linear work would take minutes.
#[test]
fn pure_every_shape_of_a_large_file_is_read() {
    let fill = |piece: &str| piece.repeat(1_000_000 / piece.len());
    for text in [
        fill("FROM a\n"),
        fill("x y\n"),
        fill("\n"),
        fill("# c\n"),
        fill("# escape=`\n"),
        format!("FROM a\nRUN {}b\n", fill("a \\\n")),
        format!("FROM a\nRUN {}\n{}", "<<A ".repeat(100_000), "A\n".repeat(100_000)),
        format!("FROM a\nRUN {}\n", "<<A ".repeat(100_000)),
        format!("FROM a\nENV {}\n", fill("a='b' c=\"d\" ")),
        format!("FROM a\nENV a={}\n", fill("'\"")),
        format!("FROM a\nRUN <<A {}\nA\n", fill("${a:-")),
        format!("FROM a\nCMD [{}\"\"]\n", fill("\"a\", ")),
        format!("FROM a\nCOPY {}b c\n", fill("--exclude=a ")),
        format!("FROM a\nRUN --mount=target=/a,{}ro b\n", fill("ro,")),
    ] {
        let source = Source::new("f", text.as_bytes());
        let file = parse(&source);
        file.diagnostics.iter().take(3).for_each(|it| assert!(it.render(&source).len() < 2_000));
        // Past a thousand errors it is another kind of file.
        assert!(file.errors().count() <= 1_002, "{}", &text[..20]);
        assert_eq!(dockerfile::format(&source, &file).is_empty(), text.trim().is_empty());
    }
}

#[test]
fn pure_files_that_are_no_dockerfile_are_not_read_to_their_end() {
    let errors = |text: &str| {
        let source = Source::new("f", text.as_bytes());
        let file = parse(&source);
        // What was not read is not lost.
        let read_again = Source::new("f", dockerfile::format(&source, &file).as_bytes());
        assert_eq!(read_again.text().matches('\n').count(), text.matches('\n').count());
        file.errors().map(|error| error.line(&source)).collect::<Vec<_>>()
    };
    let many = errors(&format!("FROM a\n{}", "A\n".repeat(100_000)));
    assert_eq!(many.len(), 1001);
    assert_eq!(many.last().map(String::as_str), Some("f:1001:1: too many errors: the rest is not read"));
    // The rest might hold it.
    assert_eq!(errors(&"A\n".repeat(100_000)).len(), 1001);
    assert_eq!(errors(&format!("FROM a\n{}", "RUN a\n".repeat(299_999))), [""; 0]);
    let more = errors(&format!("FROM a\n{}", "RUN a\n".repeat(300_000)));
    assert_eq!(more, ["f:300001:1: more than 300000 instructions: the rest is not read"]);
}
