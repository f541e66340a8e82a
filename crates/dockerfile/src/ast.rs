//! The syntax tree: what is written, before it means anything.

use crate::text::{Span, Text, Word};

/// A Dockerfile as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ast {
    /// The directives at its top.
    pub directives: Vec<Directive>,
    /// The escape character, `\` unless a directive says otherwise.
    pub escape: char,
    /// The instructions.
    pub nodes: Vec<Node>,
    /// Where the comments are that are no directives.
    pub comments: Vec<Span>,
    /// The file.
    pub(crate) text: Text,
}

impl Ast {
    /// A comment of the file, its `#` included.
    pub fn comment(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}

/// `# name=value` at the top of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// In lower case.
    pub name: Word,
    /// Everything behind `=`, without blanks around it.
    pub value: Word,
}

/// One instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The instruction's name as written.
    pub keyword: Text,
    /// `--name` and `--name=value` right behind it.
    pub flags: Vec<Flag>,
    /// Everything behind that, lines joined.
    pub arguments: Text,
    /// Keyword, flags and arguments, lines joined.
    pub text: Text,
    /// The heredocs, in order.
    pub heredocs: Vec<Heredoc>,
    /// From the keyword to the end of the last line, heredocs included.
    pub span: Span,
    /// The first blank line inside.
    pub blank: Option<Span>,
}

/// A flag of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: Word,
    /// What stands behind `=`, without quotes and escapes.
    pub value: Option<Text>,
    /// Dashes, name and value.
    pub span: Span,
}

/// `<<NAME` with the lines that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// What ends it.
    pub name: String,
    /// Whether variables in it are expanded; they are unless the name is quoted.
    pub expand: bool,
    /// `<<-`: tabs at the start of lines do not count.
    pub strip_tabs: bool,
    /// The lines as written, up to the one that ends it.
    pub raw: String,
    /// Where those lines stand.
    pub span: Span,
}

impl Heredoc {
    /// The lines, without leading tabs if it is a `<<-`.
    pub fn content(&self) -> String {
        if !self.strip_tabs {
            return self.raw.clone();
        }
        self.raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// Reads `<<NAME`, `<<-NAME`, `<<"NAME"` or `3<<NAME`, and nothing else.
    pub fn parse_marker(word: &str) -> Option<Heredoc> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let written = rest.trim_start();
        if written.is_empty() || written.contains('<') {
            return None;
        }
        let name = crate::words::unquote(written)?;
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        let expand = quotes(&name) == quotes(written);
        Some(Heredoc { name, expand, strip_tabs, raw: String::new(), span: Span::default() })
    }
}
