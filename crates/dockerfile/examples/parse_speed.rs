//! How long reading takes: ten files of 10 MB, each of another shape.
//! `cargo run --release -p dockerfile --example parse_speed`.

use std::time::Instant;

use dockerfile::Source;

const SIZE: usize = 10_000_000;

fn main() {
    println!("{:<40} {:>8} {:>12} {:>10} {:>8}", "shape", "MB", "instructions", "parse ms", "MB/s");
    for (name, text) in shapes() {
        let bytes = text.into_bytes();
        let begun = Instant::now();
        let source = Source::new("Dockerfile", &bytes);
        let file = dockerfile::parse(&source);
        let seconds = begun.elapsed().as_secs_f64();
        let megabytes = bytes.len() as f64 / 1e6;
        let count = file.ast.nodes.len();
        println!("{name:<40} {megabytes:>8.1} {count:>12} {:>10.0} {:>8.0}", seconds * 1e3, megabytes / seconds);
    }
}

/// Files that are hard on one part of the reader or another.
fn shapes() -> Vec<(&'static str, String)> {
    let fill = |piece: &str| piece.repeat(SIZE / piece.len());
    vec![
        ("an ordinary file, again and again", fill(ORDINARY)),
        ("one line", format!("FROM a\nRUN {}\n", fill("x "))),
        ("tiny instructions", fill("FROM a\n")),
        ("tiny unknown instructions", fill("x y\n")),
        ("one instruction over many lines", format!("FROM a\nRUN {}b\n", fill("a \\\n"))),
        ("comments inside one instruction", format!("FROM a\nRUN {}b\n", fill("a \\\n# c\n"))),
        ("heredocs", format!("FROM a\n{}", fill("RUN <<A\nx\nA\n"))),
        ("heredocs of one instruction", format!("FROM a\nRUN {}\n{}", "<<A ".repeat(SIZE / 6), "A\n".repeat(SIZE / 6))),
        ("one heredoc", format!("FROM a\nRUN <<A\n{}A\n", fill("x y z\n"))),
        ("quotes", format!("FROM a\nENV {}\n", fill("a='b' c=\"d\" "))),
        ("an open quote", format!("FROM a\nENV a='{}\n", fill("b "))),
        ("nested variables", format!("FROM a\nRUN <<A {}\nA\n", fill("${a:-"))),
        ("a JSON list", format!("FROM a\nCMD [{}\"\"]\n", fill("\"a\", "))),
        ("brackets", format!("FROM a\nCMD {}\n", fill("["))),
        ("flags", format!("FROM a\nCOPY {}b c\n", fill("--exclude=a "))),
        ("options of one mount", format!("FROM a\nRUN --mount=target=/a,{}ro b\n", fill("ro,"))),
        ("comments", format!("FROM a\n{}", fill("# c\n"))),
        ("blank lines", format!("FROM a\n{}", fill("\n"))),
        ("directives", format!("{}FROM a\n", fill("# escape=`\n"))),
    ]
}

const ORDINARY: &str = "# A stage\nFROM --platform=$BUILDPLATFORM golang:1.22 AS build\nWORKDIR /src\nARG VERSION=1.0\n\
    COPY --chown=1:1 go.mod go.sum ./\nRUN --mount=type=cache,target=/root/.cache \\\n    go mod download && \\\n    # why\n    go build\n\
    ENV A=\"b c\" D=e\nCOPY <<EOF /etc/x\nhello $A\nEOF\nEXPOSE 80 443/tcp\nENTRYPOINT [\"/app\", \"-v\"]\n\n";
