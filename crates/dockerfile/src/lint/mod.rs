//! What can be written better: the lint rules of Dockerfiles, under the names that BuildKit's
//! reference gives them.
//!
//! [`lint`] goes through the rules that need the text only. Those that depend on build arguments,
//! base images or the ignore file are the build engine's; its findings have the same form. A
//! [`Selection`] leaves out what the file's `# check` asks to leave out.
//!
//! ```
//! use dockerfile::{Source, lint};
//!
//! let source = Source::new("Dockerfile", b"FROM alpine AS Base\nMAINTAINER me\n");
//! let found: Vec<String> =
//!     lint::lint(&source, &dockerfile::parse(&source)).iter().map(|it| it.line(&source)).collect();
//! assert_eq!(found[0], "Dockerfile:1:16: StageNameCasing: the stage name Base is not in lower case");
//! assert_eq!(found[1], "Dockerfile:2:1: MaintainerDeprecated: MAINTAINER is deprecated");
//! ```

mod comments; // what is written above an instruction
mod names; // rules about names and cases
mod repeats; // rules about a stage's instructions
mod rule; // the rules there are
mod selection; // which of them are applied

pub use comments::Comments;
pub use rule::Rule;
pub use selection::Selection;

use crate::diagnostic::Diagnostic;
use crate::instruction::{Instruction, Kind};
use crate::parser::Dockerfile;
use crate::source::Source;

/// Something that can be written better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that says so.
    pub rule: Rule,
    /// What, where, and what to do about it.
    pub diagnostic: Diagnostic,
    /// Where the instruction begins whose comments can ask to leave the finding out.
    pub instruction: usize,
    /// The stage, by its number, for rules that say nothing about stages that are not built.
    pub stage: Option<usize>,
}

impl Finding {
    /// A finding of `rule` in `instruction`.
    pub fn new(rule: Rule, instruction: &Instruction, diagnostic: Diagnostic) -> Finding {
        Finding { rule, diagnostic, instruction: instruction.span.start, stage: None }
    }

    /// The same in a stage that might not be built.
    pub fn in_stage(mut self, stage: usize) -> Finding {
        self.stage = Some(stage);
        self
    }

    /// `file:line:column: rule: message`.
    pub fn line(&self, source: &Source) -> String {
        self.named().line(source)
    }

    /// The line, the source with the place marked, and the hint.
    pub fn render(&self, source: &Source) -> String {
        self.named().render(source)
    }

    /// What it says, with the rule's name.
    pub fn named(&self) -> Diagnostic {
        let message = format!("{}: {}", self.rule, self.diagnostic.message);
        Diagnostic { message, ..self.diagnostic.clone() }
    }
}

/// Everything that the rules about the text find, in the order of the file; a [`Selection`] is not
/// applied yet.
pub fn lint(source: &Source, file: &Dockerfile) -> Vec<Finding> {
    let mut findings = Vec::new();
    names::instruction_casing(file, &mut findings);
    names::stage_names(file, &mut findings);
    names::stage_casing(file, &mut findings);
    names::descriptions(source, file, &mut findings);
    repeats::continuations(file, &mut findings);
    repeats::stages(file, &mut findings);
    findings.sort_by_key(|finding| (finding.diagnostic.span.start, finding.rule));
    findings
}

/// The instructions behind the first FROM, each with the number of its stage.
fn staged(file: &Dockerfile) -> impl Iterator<Item = (usize, &Instruction)> {
    let mut begun = 0_usize;
    file.instructions.iter().filter_map(move |instruction| {
        begun += usize::from(matches!(instruction.kind, Kind::From(_)));
        Some((begun.checked_sub(1)?, &**instruction))
    })
}
