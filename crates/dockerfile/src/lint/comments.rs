//! What is written above an instruction.

use crate::ast::Ast;
use crate::text::Word;

/// The comments of a file by the instruction that they stand above.
#[derive(Clone, Copy, Debug)]
pub struct Comments<'a> {
    ast: &'a Ast,
}

impl<'a> Comments<'a> {
    /// The comments of a file.
    pub fn new(ast: &'a Ast) -> Comments<'a> {
        Comments { ast }
    }

    /// The comments above the instruction that begins at byte `start`, without `#` and blanks;
    /// behind an empty comment they begin anew.
    pub fn above(&self, start: usize) -> Vec<Word> {
        let node = self.ast.nodes.partition_point(|node| node.span.start < start);
        let begin = node.checked_sub(1).and_then(|before| self.ast.nodes.get(before)).map_or(0, |node| node.span.end);
        let first = self.ast.comments.partition_point(|comment| comment.start < begin);
        let mut found = Vec::new();
        for comment in self.ast.comments.iter().skip(first).take_while(|comment| comment.start < start) {
            let text = self.ast.comment(*comment).trim_start_matches('#').trim();
            if text.is_empty() {
                found.clear();
            } else {
                found.push(Word::new(text, *comment));
            }
        }
        found
    }

    /// What the comments above the instruction at `start` tell of `name`: the rest of the first one
    /// that begins with it.
    pub fn description(&self, start: usize, name: &str) -> Option<String> {
        let told = |comment: &Word| Some(comment.text.strip_prefix(name)?.strip_prefix(' ')?.trim().to_owned());
        self.above(start).iter().find_map(told)
    }
}
