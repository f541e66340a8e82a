//! Which rules are applied.

use super::{Comments, Finding, Rule};
use crate::diagnostic::Diagnostic;
use crate::directive::Check;
use crate::parser::Dockerfile;
use crate::text::{Span, Word};

/// Which rules are applied, and whether what they find is an error.
///
/// `# check=…` at the top of a file speaks for all of it; `# check=skip=…` among the comments above
/// an instruction speaks for that one besides.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    check: Check,
    comments: Comments<'a>,
}

impl<'a> Selection<'a> {
    /// What `file` asks for, or `instead` of that the build argument BUILDKIT_DOCKERFILE_CHECK.
    pub fn new(file: &'a Dockerfile, instead: Option<Check>) -> Selection<'a> {
        let check = instead.or_else(|| file.check.clone()).unwrap_or_default();
        Selection { check, comments: Comments::new(&file.ast) }
    }

    /// Whether findings are errors.
    pub fn is_error(&self) -> bool {
        self.check.error
    }

    /// Whether this finding is wanted.
    pub fn wants(&self, finding: &Finding) -> bool {
        allows(&self.check, finding.rule, self.own_check(finding.instruction).as_ref())
    }

    /// Rules that the file's directive names and nobody knows.
    pub fn unknown_rules(file: &Dockerfile) -> Vec<Diagnostic> {
        let names: Vec<String> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        let check = file.check.iter();
        let asked = check.flat_map(|check| check.skip.iter().chain(&check.experimental));
        let unknown = asked.filter(|word| Rule::find(&word.text).is_none());
        let warning = |word: &Word| {
            let warning = Diagnostic::warning(format!("there is no rule {:?}", word.text), word.span);
            warning.suggest(&word.text, names.iter().map(String::as_str))
        };
        unknown.map(warning).collect()
    }

    /// What the first `check` above the instruction at `start` asks for. Words behind it are a
    /// remark; what can't be read counts for nothing.
    fn own_check(&self, start: usize) -> Option<Check> {
        let comments = self.comments.above(start);
        let value = comments.iter().find_map(|comment| {
            let (name, value) = comment.text.split_once('=')?;
            name.trim().eq_ignore_ascii_case("check").then_some(value.trim())
        })?;
        let value = value.split(' ').next().unwrap_or_default();
        Check::parse(&Word::new(value, Span::default())).ok()
    }
}

fn allows(file: &Check, rule: Rule, own: Option<&Check>) -> bool {
    let checks = || std::iter::once(file).chain(own);
    let names = |words: &[Word]| words.iter().any(|word| word.text == rule.name());
    if rule.is_experimental() {
        return checks().any(|check| check.experimental_all || names(&check.experimental));
    }
    !checks().any(|check| check.skip_all || names(&check.skip))
}
