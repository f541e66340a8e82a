//! How long `build` thinks about a Dockerfile before its first step: files of 10 MB, each of another
//! shape, in milliseconds of processor time. Names as arguments choose.
//! `cargo run --release -p buildkit-core --example dockerfile_speed`.

use std::collections::{BTreeMap, BTreeSet};

use buildkit_core::build::BuildError;
use buildkit_core::check::{CheckOptions, check_outline};
use buildkit_core::plan::{PlanOptions, outline};
use dockerfile::Source;
use dockerfile::ignore::Ignore;
use oci::Platform;

const SIZE: usize = 10_000_000;

fn main() {
    println!(
        "{:<36} {:>12} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "shape", "instructions", "read", "check", "plan", "tell", "all"
    );
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let options = options();
    for (name, make) in shapes() {
        if !chosen.is_empty() && !chosen.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let text = make();
        let begun = processor_time();
        let source = Source::new("Dockerfile", text.as_bytes());
        let file = dockerfile::parse(&source);
        let read = processor_time();
        let ignore = Ignore::default();
        let base = |_: &str| None;
        let wanted = CheckOptions { plan: &options, needed_only: true, ignore: &ignore, env: &[], base: &base };
        let outline = outline(&file, &options);
        let report = check_outline(&source, &file, &outline, &wanted);
        let checked = processor_time();
        let plan = outline.plan(&file, &options);
        let planned = processor_time();
        let told = BuildError::file(&source, &report.errors).to_string().len() + usize::from(plan.is_ok());
        std::hint::black_box(told);
        let end = processor_time();
        let columns = [(begun, read), (read, checked), (checked, planned), (planned, end), (begun, end)];
        let columns = columns.map(|(from, to)| format!("{:>7.0}", (to - from) * 1e3));
        println!("{name:<36} {:>12} {}", file.ast.nodes.len(), columns.join(" "));
    }
}

/// Seconds that this thread has run so far.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn options() -> PlanOptions {
    PlanOptions {
        without_cache: Vec::new(),
        target: None,
        from: None,
        build_args: BTreeMap::new(),
        contexts: BTreeSet::new(),
        platform: Platform::host(),
        build_platform: Platform::host(),
    }
}

/// A shape's name, and what makes a file of it.
type Shape = (&'static str, fn() -> String);

/// Files that are hard on one part or another.
fn shapes() -> Vec<Shape> {
    vec![
        ("an ordinary file, again and again", || fill(ORDINARY)),
        ("one line", || format!("FROM a\nRUN {}\n", fill("x "))),
        ("one line that is no instruction", || fill("x")),
        ("tiny stages", || fill("FROM a\n")),
        ("tiny unknown instructions", || fill("A\n")),
        ("tiny unknown flags", || of_scratch("RUN --a b\n")),
        ("tiny wrong values", || of_scratch("EXPOSE a\n")),
        ("tiny wrong stages", || of_scratch("COPY --from=9 a b\n")),
        ("tiny instructions", || of_scratch("RUN a\n")),
        ("tiny lower case instructions", || of_scratch("RUN a\nrun b\n")),
        ("tiny variables", || of_scratch("ENV a=b\n")),
        ("variables of other names", || count(|number| format!("ENV a{number}=b\n"))),
        ("variables of an ENV", || count(|number| if number == 0 { "ENV".into() } else { format!(" a{number}=b") })),
        ("arguments of other names", || count(|number| format!("ARG a{number}=b\n"))),
        ("labels of other names", || count(|number| format!("LABEL a{number}=b\n"))),
        ("stages of other names", || count(|number| format!("FROM scratch AS a{number}\n"))),
        ("stages on each other", || format!("FROM scratch\n{}", fill("FROM 0\nFROM scratch AS b\nFROM b\n"))),
        ("copies", || of_scratch("COPY a b\n")),
        ("relative directories", || of_scratch("WORKDIR a\n")),
        ("volumes", || count(|number| format!("VOLUME /{number}\n"))),
        ("commands", || of_scratch("CMD a\n")),
        ("triggers", || of_scratch("ONBUILD RUN a\n")),
        ("uses of one variable", || format!("FROM scratch\nENV a={}\n", fill("$a"))),
        ("uses of variables not set", || count(|number| format!("LABEL a=$b{number}\n"))),
        ("such uses in one word", || {
            count(|number| if number == 0 { "LABEL a=".into() } else { format!("$b{number}") })
        }),
        ("growing variables", || of_scratch("ENV a=b$a\n")),
        ("one instruction over many lines", || format!("FROM a\nRUN {}b\n", fill("a \\\n"))),
        ("continuations alone", || of_scratch("\\\n")),
        ("comments inside one instruction", || format!("FROM a\nRUN {}b\n", fill("a \\\n# c\n"))),
        ("heredocs", || format!("FROM a\n{}", fill("RUN <<A\nx\nA\n"))),
        ("heredocs of one instruction", || {
            format!("FROM a\nRUN {}\n{}", "<<A ".repeat(SIZE / 6), "A\n".repeat(SIZE / 6))
        }),
        ("one heredoc", || format!("FROM a\nRUN <<A\n{}A\n", fill("x y z\n"))),
        ("one heredoc of empty lines", || format!("FROM scratch\nCOPY <<A b\n{}A\n", fill("\n"))),
        ("one heredoc of variables", || format!("FROM scratch\nCOPY <<A b\n{}A\n", fill("$a"))),
        ("quotes", || format!("FROM a\nENV {}\n", fill("a='b' c=\"d\" "))),
        ("an open quote", || format!("FROM a\nENV a='{}\n", fill("b "))),
        ("nested variables", || format!("FROM a\nRUN <<A {}\nA\n", fill("${a:-"))),
        ("a JSON list", || format!("FROM a\nCMD [{}\"\"]\n", fill("\"a\", "))),
        ("brackets", || format!("FROM a\nCMD {}\n", fill("["))),
        ("flags", || format!("FROM a\nCOPY {}b c\n", fill("--exclude=a "))),
        ("options of one mount", || format!("FROM a\nRUN --mount=target=/a,{}ro b\n", fill("ro,"))),
        ("mounts", || format!("FROM a\nRUN {} b\n", fill("--mount=target=/a "))),
        ("comments", || format!("{}FROM a\n", fill("#\n"))),
        ("comments above each instruction", || of_scratch("#a\nRUN b\n")),
        ("blank lines", || format!("{}FROM a\n", fill("\n"))),
        ("directives", || format!("{}FROM a\n", fill("# escape=`\n"))),
    ]
}

fn fill(piece: &str) -> String {
    piece.repeat(SIZE / piece.len())
}

fn of_scratch(piece: &str) -> String {
    format!("FROM scratch\n{}", fill(piece))
}

fn count(piece: fn(usize) -> String) -> String {
    let mut text = String::from("FROM scratch\n");
    for number in 0.. {
        if text.len() >= SIZE {
            break;
        }
        text += &piece(number);
    }
    text
}

const ORDINARY: &str = "# A stage\nFROM --platform=$BUILDPLATFORM golang:1.22 AS build\nWORKDIR /src\nARG VERSION=1.0\n\
    COPY --chown=1:1 go.mod go.sum ./\nRUN --mount=type=cache,target=/root/.cache \\\n    go mod download && \\\n    # why\n    go build\n\
    ENV A=\"b c\" D=e\nCOPY <<EOF /etc/x\nhello $A\nEOF\nEXPOSE 80 443/tcp\nENTRYPOINT [\"/app\", \"-v\"]\n\n";
