//! The inputs that the fuzzer kept, and variations of them: a short run that needs no fuzzer.
#![allow(clippy::expect_used, reason = "tests")]

mod fuzzed;

use std::fs;
use std::path::Path;

/// A small generator of numbers; the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }
}

/// Pieces that mean something.
const PIECES: [&str; 24] = [
    "FROM scratch\n",
    "FROM a AS b\n",
    "\nRUN ",
    "\nCOPY --from=",
    "\nARG A=",
    "\nENV ",
    "<<EOF\n",
    "\nEOF\n",
    "<<-'X' <<Y\n",
    "${A:-",
    "${A//x/",
    "}",
    "\\\n",
    "\r\n",
    "# escape=`\n",
    "--mount=type=cache,target=",
    "[\"a\", \"b\"]",
    "\"",
    "'",
    "$",
    "\u{feff}",
    "\0",
    "\u{1F980}",
    "ONBUILD ",
];

fn vary(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..(at + numbers.below(8)).min(bytes.len()))),
            2 => bytes.insert(at, u8::try_from(numbers.below(256)).expect("a byte")),
            3 => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].bytes())),
            4 => drop(bytes.splice(at..at, other[numbers.below(other.len() + 1)..].iter().copied())),
            _ => {
                let from = numbers.below(bytes.len() + 1);
                let copy = bytes[from.min(at)..from.max(at)].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes.truncate(8192);
    bytes
}

#[test]
fn pure_the_corpus_and_its_variations_hold() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(&dir)
        .expect("the corpus")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            (path.display().to_string(), fs::read(&path).expect("readable"))
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 100, "{} inputs in {}", inputs.len(), dir.display());
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for (name, input) in &inputs {
        let held = std::panic::catch_unwind(|| fuzzed::check(input));
        assert!(held.is_ok(), "{name}");
        for _ in 0..20 {
            let other = &inputs[numbers.below(inputs.len())].1;
            let bytes = vary(input, other, &mut numbers);
            let held = std::panic::catch_unwind(|| fuzzed::check(&bytes));
            assert!(held.is_ok(), "a variation of {name}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
