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
#![forbid(unsafe_code)]

pub mod ast; // what is written
pub mod diagnostic; // what is wrong with it
mod duration; // times in Go's notation
pub mod ignore; // ignore files of build contexts
pub mod instruction; // what it means
mod lexer; // lines
mod parser; // lines → tree → instructions
mod source; // the text and its places
pub mod text; // spans
pub mod words; // variables and quotes

pub use diagnostic::{Diagnostic, Severity};
pub use duration::parse_duration;
pub use instruction::Instruction;
pub use parser::{Dockerfile, parse, parse_instructions};
pub use source::Source;
pub use text::{Span, Word};
