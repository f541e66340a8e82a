//! Dockerfile text to syntax tree to typed instructions. No I/O.
//!
//! ```
//! use dockerfile::{Source, instruction::Kind};
//!
//! let source = Source::new("Dockerfile", b"FROM alpine AS base\nRUN echo hi\nCPY a b\n");
//! let dockerfile = dockerfile::parse(&source);
//! assert!(matches!(dockerfile.instructions[1].kind, Kind::Run(_)));
//! let error = dockerfile.errors().next().unwrap();
//! assert_eq!(error.line(&source), "Dockerfile:3:1: unknown instruction \"CPY\"");
//! assert_eq!(error.hint.as_deref(), Some("did you mean COPY?"));
//! ```
//!
//! The way of the text: [`Source`] → lines (directives, continuations, heredocs) → [`ast`] →
//! [`instruction`]s. Reading never fails: what is wrong comes as [`diagnostic`]s beside what is
//! right. Variables are expanded later, with [`words`], when the stage's state is known.
//!
//! # Read
//!
//! [`parse`] reads a Dockerfile, [`parse_instructions`] a piece of one. Every word knows where it
//! stands, and a diagnostic draws its place:
//!
//! ```
//! # use dockerfile::Source;
//! let source = Source::new("Dockerfile", b"FROM alpine\nRUN --mount=type=cahe,target=/c make\n");
//! let file = dockerfile::parse(&source);
//! let drawn: Vec<String> = file.diagnostics.iter().map(|it| it.render(&source)).collect();
//! assert!(drawn[0].contains("2 | RUN --mount=type=cahe,target=/c make"));
//! assert!(drawn[0].ends_with("did you mean cache?"));
//! ```
//!
//! # Walk
//!
//! Instructions are values to match on; what they hold are [`Word`]s with variables in them.
//!
//! ```
//! # use dockerfile::{Source, instruction::Kind};
//! let source = Source::new("Dockerfile", b"FROM a AS one\nFROM b\nCOPY --from=one /x /y\n");
//! let mut copied = Vec::new();
//! for instruction in dockerfile::parse(&source).instructions {
//!     if let Kind::Copy(copy) = &instruction.kind {
//!         copied.extend(copy.from.iter().map(|stage| (stage.text.clone(), source.line_column(stage.span.start))));
//!     }
//! }
//! assert_eq!(copied, [("one".to_owned(), (3, 13))]);
//! ```
//!
//! [`words::Expander`] gives words their value:
//!
//! ```
//! # use dockerfile::words::Expander;
//! let variables = |name: &str| (name == "VERSION").then(|| "3.22".to_owned());
//! let expander = Expander::new(&variables, '\\');
//! assert_eq!(expander.expand("alpine:${VERSION%.*}-${FLAVOR:-slim}").as_deref(), Ok("alpine:3-slim"));
//! ```
//!
//! # Format
//!
//! [`format`] writes a file in its canonical form, with its comments.
#![forbid(unsafe_code)]

pub mod ast; // what is written
pub mod diagnostic; // what is wrong with it
pub mod directive; // what its first lines ask for
mod duration; // times in Go's notation
mod format; // its canonical text
pub mod ignore; // ignore files of build contexts
pub mod instruction; // what it means
mod lexer; // lines
pub mod lint; // what can be written better
mod parser; // lines → tree → instructions
mod source; // the text and its places
pub mod text; // spans
pub mod words; // variables and quotes

pub use diagnostic::{Diagnostic, Severity};
pub use duration::parse_duration;
pub use format::format;
pub use instruction::Instruction;
pub use parser::{Dockerfile, parse, parse_instructions};
pub use source::Source;
pub use text::{Span, Word};
