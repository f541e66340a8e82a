//! Every instruction by the letter of the reference.

mod support;

use support::{check, check_errors, check_warnings};

#[test]
fn pure_from() {
    check("FROM a AS a", &["FROM a as=a"]);
    check("FROM localhost:5000/a/b:c@sha256:00", &["FROM localhost:5000/a/b:c@sha256:00"]);
    check("FROM --platform=linux/arm64 a", &["FROM a platform=linux/arm64"]);
    check("FROM --platform=linux/arm64 \\\n a \\\n as \\\n b", &["FROM a as=b platform=linux/arm64"]);
    check("FROM ${A:-b} AS Stage_1.x-y", &["FROM ${A:-b} as=stage_1.x-y"]);
    check_errors("FROM a AS", &["1:8: FROM takes one image, and perhaps AS and a name behind it | did you mean AS?"]);
    check_errors(
        "FROM a AS b c",
        &["1:8: FROM takes one image, and perhaps AS and a name behind it | did you mean AS?"],
    );
    check_errors("FROM --platform=a --platform=b c", &["1:19: FROM --platform is given twice"]);
    check_errors("FROM a\nFROM", &["2:1: FROM needs an image or a stage"]);
    check_errors(
        "FROM a AS b:c",
        &["1:11: invalid stage name \"b:c\": it begins with a letter and has letters, digits, -, _, . and / only"],
    );
}

#[test]
fn pure_arg() {
    check("ARG A=$B C=${A:-x}", &["ARG [A=$B][C=${A:-x}]"]);
    check("ARG A \\\n  # why\n  B=\"x \\\n  y\"", &["ARG [A][B=\"x   y\"]"]);
    check("ARG A='x y' B=x\\ y", &["ARG [A='x y'][B=x\\ y]"]);
    check("ARG A=b=c", &["ARG [A=b=c]"]);
    check_errors("FROM a\nARG", &["2:1: ARG needs a name"]);
    check_errors("FROM a\nARG =b", &["2:5: a name is empty"]);
}

#[test]
fn pure_env_and_label() {
    check("ENV A b c", &["ENV legacy[A=b c]"]);
    check("ENV A \"b c\"", &["ENV legacy[A=\"b c\"]"]);
    check("ENV A   b=c", &["ENV legacy[A=b=c]"]);
    check("ENV A\tb", &["ENV legacy[A=b]"]);
    check("ENV A=b\\\n C=d", &["ENV [A=b][C=d]"]);
    check("ENV A=b \\\n    C='d e' \\\n    F=\"g h\"", &["ENV [A=b][C='d e'][F=\"g h\"]"]);
    check("ENV A=\"b 'c'\" D='e \"f\"'", &["ENV [A=\"b 'c'\"][D='e \"f\"']"]);
    check("ENV A=\"\" B=''", &["ENV [A=\"\"][B='']"]);
    check("# escape=`\nENV A=`\"x B=c:\\", &["ENV [A=`\"x][B=c:\\]"]);
    check("LABEL a.b-c=\"d\" \"e f\"='g'", &["LABEL [a.b-c=\"d\"][\"e f\"='g']"]);
    check("LABEL a b c", &["LABEL legacy[a=b c]"]);
    check("LABEL a=\"x\\\ny\"", &["LABEL [a=\"xy\"]"]);
    check_errors("FROM a\nENV", &["2:1: ENV needs a name and a value"]);
    check_errors("FROM a\nENV a=b =c", &["2:9: a name is empty"]);
    check_errors("FROM a\nLABEL a=b c d=e", &["2:11: \"c\" is no name=value | a value with blanks needs quotes"]);
}

#[test]
fn pure_healthcheck() {
    check(
        "HEALTHCHECK --interval=1h30m --timeout=1.5s --start-period=0 --start-interval=100ms --retries=0 CMD a",
        &["HEALTHCHECK shell(a) [5400000000000, 1500000000, 0, 100000000, 0]"],
    );
    check("HEALTHCHECK --interval= --retries= CMD a", &["HEALTHCHECK shell(a) [0, 0, 0, 0, 0]"]);
    check(
        "HEALTHCHECK \\\n --interval=5s \\\n CMD a || \\\n exit 1",
        &["HEALTHCHECK shell(a ||  exit 1) [5000000000, 0, 0, 0, 0]"],
    );
    check_warnings("FROM a\nHEALTHCHECK --interval=5s NONE", &["2:13: HEALTHCHECK NONE has no use for flags"]);
    check_errors("FROM a\nHEALTHCHECK", &["2:1: HEALTHCHECK needs CMD and a command, or NONE"]);
    check_errors("FROM a\nHEALTHCHECK CMD []", &["2:1: HEALTHCHECK needs a command after CMD"]);
    check_errors("FROM a\nHEALTHCHECK --interval=1us CMD a", &["2:24: --interval can't be less than 1ms"]);
    check_errors("FROM a\nHEALTHCHECK --timeout=-1s CMD a", &["2:23: --timeout can't be less than 1ms"]);
    check_errors("FROM a\nHEALTHCHECK --retries=x CMD a", &["2:23: --retries needs a number, 0 or more"]);
    check_errors(
        "FROM a\nHEALTHCHECK --intervall=1s CMD a",
        &["2:13: unknown flag --intervall of HEALTHCHECK | did you mean --interval?"],
    );
}

#[test]
fn pure_one_argument() {
    check("WORKDIR /a b/$c", &["WORKDIR /a b/$c"]);
    check("WORKDIR \"/a b\"", &["WORKDIR \"/a b\""]);
    check("USER  1000:1000 ", &["USER 1000:1000"]);
    check("STOPSIGNAL 9", &["STOPSIGNAL 9"]);
    check("STOPSIGNAL SIGRTMIN+3", &["STOPSIGNAL SIGRTMIN+3"]);
    check("MAINTAINER \"A\" $b", &["MAINTAINER \"A\" $b"]);
    for name in ["WORKDIR", "USER", "STOPSIGNAL", "MAINTAINER"] {
        check_errors(&format!("FROM a\n{name}"), &[&format!("2:1: {name} needs an argument")]);
    }
}

#[test]
fn pure_lists() {
    check(
        "EXPOSE 80 443/tcp 53/udp 8000-8010 $PORT ${A:-1}/sctp",
        &["EXPOSE [80][443/tcp][53/udp][8000-8010][$PORT][${A:-1}/sctp]"],
    );
    check("EXPOSE 127.0.0.1:80:80", &["EXPOSE [127.0.0.1:80:80]"]);
    check("VOLUME /a \\\n  /b", &["VOLUME [/a][/b]"]);
    check("VOLUME $A", &["VOLUME [$A]"]);
    check("SHELL [\"powershell\", \"-command\"]", &["SHELL [powershell][-command]"]);
    check_errors("FROM a\nEXPOSE", &["2:1: EXPOSE needs at least one argument"]);
    check_errors("FROM a\nVOLUME", &["2:1: VOLUME needs at least one path"]);
    check_errors("FROM a\nVOLUME []", &["2:1: VOLUME needs at least one path"]);
    check_errors("FROM a\nSHELL []", &["2:1: SHELL needs at least one argument"]);
    check_errors("FROM a\nSHELL", &["2:1: SHELL needs a JSON list of arguments"]);
}

#[test]
fn pure_onbuild() {
    check("ONBUILD COPY --from=x a b", &["ONBUILD {COPY from=x [a]→b} \"COPY --from=x a b\""]);
    check(
        "ONBUILD RUN --mount=type=secret,id=s x",
        &[
            "ONBUILD {RUN Secret { id: \"s\", env: None, required: false, mode: 256, uid: 0, gid: 0 } at /run/secrets/s ro; \
         shell(x)} \"RUN --mount=type=secret,id=s x\"",
        ],
    );
    check("ONBUILD   ENV a=b", &["ONBUILD {ENV [a=b]} \"ENV a=b\""]);
    check("ONBUILD RUN a \\\n  b", &["ONBUILD {RUN shell(a   b)} \"RUN a   b\""]);
    check(
        "ONBUILD COPY <<A <<B /d/\n1\nA\n2\nB",
        &["ONBUILD {COPY [A$:1\n][B$:2\n]→/d/} \"COPY <<A <<B /d/\\n1\\nA\\n2\\nB\""],
    );
    check_errors("FROM a\nONBUILD", &["2:1: ONBUILD needs an instruction"]);
    check_errors("FROM a\nONBUILD MAINTAINER b", &["2:9: MAINTAINER can't be left for later with ONBUILD"]);
    check_errors("FROM a\nONBUILD COPY a", &["2:9: COPY needs a source and a destination | \"a\" stands alone"]);
    check_errors(
        "FROM a\nONBUILD RUN --netwrok=x y",
        &["2:13: unknown flag --netwrok of RUN | did you mean --network?"],
    );
}

#[test]
fn pure_mounts() {
    let bind =
        |rest: &str| format!("RUN Bind {{ source: \"\", recursive: false, propagation: None }} at /t{rest}; shell(x)");
    for (options, rest) in [
        ("target=/t", " ro"),
        ("dst=/t", " ro"),
        ("destination=/t,rw", ""),
        ("target=/t,rw=false", " ro"),
        ("target=/t,readwrite=true", ""),
        ("target=/t,ro=false", ""),
        ("TYPE=BIND,Target=/t", " ro"),
        ("target=/t,from=", " ro"),
        ("\"target=/t\",rw", ""),
    ] {
        check(&format!("RUN --mount={options} x"), &[&bind(rest)]);
    }
    for sharing in ["shared", "private", "locked"] {
        let name = format!("{}{}", sharing[..1].to_uppercase(), &sharing[1..]);
        check(
            &format!("RUN --mount=type=cache,target=/t,sharing={sharing} x"),
            &[&format!(
                "RUN Cache {{ id: \"/t\", sharing: {name}, source: \"\", mode: None, uid: None, gid: None }} at /t; shell(x)"
            )],
        );
    }
    check_warnings(
        "FROM a\nRUN --mount=type=tmpfs,target=/t,id=x y",
        &["2:34: a mount of type tmpfs has no use for the option id"],
    );
    check_warnings(
        "FROM a\nRUN --mount=target=/t,env=X y",
        &["2:23: a mount of type bind has no use for the option env"],
    );
    for (options, error) in [
        ("target=/t,ro=maybe", "2:26: invalid value \"maybe\" of ro: expected true or false"),
        ("type=cache,target=/t,uid=-1", "2:38: invalid value \"-1\" of uid: expected a number"),
        ("type=cache,target=/t,mode=9", "2:39: invalid value \"9\" of mode: expected an octal mode"),
        ("type=cache,target=/t,size=1", "2:34: a mount of type cache has no option size"),
        ("target=/t,sharing=locked", "2:23: a mount of type bind has no option sharing"),
        ("target=/t,required", "2:23: a mount of type bind has no option required"),
        ("target", "2:13: the option target of --mount needs a value"),
        ("type=tmpfs,target=/t,size=1.x", "2:39: invalid value \"1.x\" of size: expected a size such as 64m"),
    ] {
        check_errors(&format!("FROM a\nRUN --mount={options} y"), &[error]);
    }
    check_errors(
        "FROM a\nRUN --mount=type=cache,target=/t,sharing=locekd y",
        &["2:42: invalid value \"locekd\" of sharing: expected shared, private or locked | did you mean locked?"],
    );
    check_errors("FROM a\nRUN --mount=, y", &["2:13: an option of --mount is empty"]);
}

#[test]
fn pure_several_errors_are_all_reported() {
    check_errors(
        "FROM a b\nRUN --x y\nCOPY a\nEXPOSE\nENV a\nSHELL x\nFOO\nRUN <<A\n",
        &[
            "1:8: FROM takes one image, and perhaps AS and a name behind it",
            "2:5: unknown flag --x of RUN",
            "3:1: COPY needs a source and a destination | \"a\" stands alone",
            "4:1: EXPOSE needs at least one argument",
            "5:5: ENV a has no value | write ENV a=value",
            "6:7: SHELL needs a JSON list of arguments | for example SHELL [\"/bin/bash\", \"-c\"]",
            "7:1: unknown instruction \"FOO\"",
            "8:5: unterminated heredoc: no line is just \"A\"",
        ],
    );
}

#[test]
fn pure_typos_of_every_keyword_are_known() {
    for keyword in dockerfile::instruction::KEYWORDS {
        let (head, tail) = keyword.split_at(1);
        let typo = format!("{head}{head}{tail}");
        check_errors(
            &format!("FROM a\n{typo} b"),
            &[&format!("2:1: unknown instruction \"{typo}\" | did you mean {keyword}?")],
        );
    }
}
