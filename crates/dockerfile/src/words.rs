//! Variable expansion and quoting of words.
//!
//! `$a`, `${a}`, `${a:-b}`, `${a-b}`, `${a:+b}`, `${a+b}`, `${a:?b}`, `${a?b}`, `${a#p}`,
//! `${a##p}`, `${a%p}`, `${a%%p}`, `${a/p/r}`, `${a//p/r}`; single and double quotes; the escape
//! character; all of it nested. Expansion comes first and quotes second in one pass, as BuildKit
//! does it: what a variable holds is never expanded or unquoted again.

use std::iter::Peekable;
use std::str::CharIndices;

use regex_lite::Regex;

use crate::diagnostic::Diagnostic;
use crate::text::{Span, Word};

/// How deep `${a:-${b:-…}}` may go.
const MAX_DEPTH: usize = 100;
/// Bytes that the variables of one word may give: `A=$A$A` a few dozen times is more than memory.
const MAX_EXPANDED: usize = 1 << 20;

/// Expands words with the variables that `lookup` knows.
pub struct Expander<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    escape: char,
    quotes: Quotes,
    keep_unset: bool,
}

/// What becomes of quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They quote, and are taken away.
    Remove,
    /// They quote, and stay.
    Keep,
    /// They are characters like any other.
    Ignore,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WordError {
    /// Byte of the word.
    pub at: usize,
    /// One line.
    pub message: String,
}

impl WordError {
    /// The error at its place in the file. Of a word whose text is put together from pieces, that
    /// is the whole word.
    pub fn at_word(self, word: &Word) -> Diagnostic {
        let Span { start, end } = word.span;
        let is_one_piece = end - start == word.text.len();
        let from = if is_one_piece && self.at < word.text.len() { start + self.at } else { start };
        Diagnostic::error(self.message, Span::new(from, end))
    }
}

impl<'a> Expander<'a> {
    /// An expander; `escape` is the file's escape character.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>, escape: char) -> Expander<'a> {
        Expander { lookup, escape, quotes: Quotes::Remove, keep_unset: false }
    }

    /// The word with its variables put in and its quotes taken away.
    pub fn expand(&self, word: &str) -> Result<String, WordError> {
        if self.is_plain(word) {
            return Ok(word.to_owned());
        }
        self.run(word, false).map(|(text, _)| text)
    }

    /// Like [`Expander::expand`], then split at blanks that are not quoted.
    pub fn expand_to_words(&self, word: &str) -> Result<Vec<String>, WordError> {
        self.run(word, false).map(|(_, words)| words)
    }

    /// The text of an unquoted heredoc with its variables put in. Quotes stay; the escape
    /// character is always `\`.
    pub fn expand_heredoc(&self, text: &str) -> Result<String, WordError> {
        Expander { quotes: Quotes::Ignore, escape: '\\', ..*self }.run(text, false).map(|(text, _)| text)
    }

    /// Whether the text is its own value.
    fn is_plain(&self, text: &str) -> bool {
        !text.bytes().any(|byte| matches!(byte, b'$' | b'\'' | b'"') || char::from(byte) == self.escape)
    }

    fn run(&self, word: &str, raw_escapes: bool) -> Result<(String, Vec<String>), WordError> {
        let mut scan =
            Scan { expander: self, chars: word.char_indices().peekable(), len: word.len(), depth: 0, expanded: 0 };
        scan.until(None, raw_escapes)
    }
}

/// The words of `text` between blanks, with quotes and escapes as written; a quote that is never
/// closed makes the rest one word. For finding heredocs.
pub(crate) fn split_raw(text: &str) -> Vec<String> {
    let none = |_: &str| None;
    let expander = Expander { lookup: &none, escape: '\\', quotes: Quotes::Keep, keep_unset: true };
    expander.run(text, true).map(|(_, words)| words).unwrap_or_default()
}

/// `text` without quotes and escapes.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let none = |_: &str| None;
    let expander = Expander { lookup: &none, escape: '\\', quotes: Quotes::Remove, keep_unset: true };
    let (_, mut words) = expander.run(text, false).ok()?;
    if words.len() == 1 { words.pop() } else { None }
}

struct Scan<'e, 'a, 'w> {
    expander: &'e Expander<'a>,
    chars: Peekable<CharIndices<'w>>,
    len: usize,
    depth: usize,
    /// Bytes that variables have given so far.
    expanded: usize,
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: Option<String>,
}

impl Words {
    /// Text in which blanks separate.
    fn push_split(&mut self, text: &str) {
        for (index, part) in text.split(char::is_whitespace).enumerate() {
            if index > 0 {
                // An empty quoted string alone is no word, as in BuildKit.
                self.done.extend(self.current.take().filter(|word| !word.is_empty()));
            }
            if !part.is_empty() {
                self.push(part);
            }
        }
    }

    /// Text in which they don't.
    fn push(&mut self, text: &str) {
        self.current.get_or_insert_default().push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        self.done.extend(self.current.filter(|word| !word.is_empty()));
        self.done
    }
}

impl Scan<'_, '_, '_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|&(_, c)| c)
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|&(_, c)| c == wanted).is_some()
    }

    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.len, |&(at, _)| at)
    }

    fn error<T>(at: usize, message: impl Into<String>) -> Result<T, WordError> {
        Err(WordError { at, message: message.into() })
    }

    /// Everything up to `stop`, which is consumed, or up to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), WordError> {
        let start = self.at();
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    words.push_split(&value);
                }
                '\'' | '"' if self.expander.quotes != Quotes::Ignore => {
                    let value = if c == '"' { self.double_quoted(raw_escapes)? } else { self.single_quoted()? };
                    text.push_str(&value);
                    words.push(&value);
                }
                '<' => {
                    // The blanks of `<< EOF` do not end a word.
                    self.next();
                    let mut mark = String::from('<');
                    if self.take('<') {
                        mark.push('<');
                        while let Some((_, blank)) = self.chars.next_if(|&(_, c)| matches!(c, ' ' | '\t' | '\r')) {
                            mark.push(blank);
                        }
                    }
                    text.push_str(&mark);
                    words.push(&mark);
                }
                c if c == self.expander.escape => {
                    self.next();
                    let mut piece = String::new();
                    if raw_escapes {
                        piece.push(c);
                    }
                    piece.extend(self.next());
                    text.push_str(&piece);
                    words.push(&piece);
                }
                c => {
                    self.next();
                    text.push(c);
                    words.push_split(c.encode_utf8(&mut [0; 4]));
                }
            }
        }
        match stop {
            Some(stop) => Scan::error(start, format!("missing {stop:?} of a ${{…}}")),
            None => Ok((text, words.finish())),
        }
    }

    fn single_quoted(&mut self) -> Result<String, WordError> {
        let start = self.at();
        let mut text = String::new();
        let keep = self.expander.quotes == Quotes::Keep;
        text.extend(self.next().filter(|_| keep));
        loop {
            match self.next() {
                None => return Scan::error(start, "missing closing '"),
                Some('\'') => {
                    text.extend(keep.then_some('\''));
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, WordError> {
        let start = self.at();
        let mut text = String::new();
        let keep = self.expander.quotes == Quotes::Keep;
        text.extend(self.next().filter(|_| keep));
        loop {
            match self.peek() {
                None => return Scan::error(start, "missing closing \""),
                Some('"') => {
                    self.next();
                    text.extend(keep.then_some('"'));
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.expander.escape => {
                    self.next();
                    match self.peek() {
                        Some(next) if matches!(next, '"' | '$') || next == self.expander.escape => {
                            self.next();
                            text.extend(raw_escapes.then_some(c));
                            text.push(next);
                        }
                        // Before any other character it stands for itself.
                        Some(_) => text.push(c),
                        None => {}
                    }
                }
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        let start = self.at();
        let value = self.variable(start)?;
        self.expanded += value.len();
        match self.expanded <= MAX_EXPANDED {
            true => Ok(value),
            false => Scan::error(start, format!("variables make this longer than {} MiB", MAX_EXPANDED >> 20)),
        }
    }

    fn variable(&mut self, start: usize) -> Result<String, WordError> {
        self.next();
        if !self.take('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.expander.lookup)(&name) {
                Some(value) => value,
                None if self.expander.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        if self.depth >= MAX_DEPTH {
            return Scan::error(start, "${…} nested too deeply");
        }
        self.depth += 1;
        let value = self.braced(start)?;
        self.depth -= 1;
        Ok(value)
    }

    /// The rest of `${`.
    fn braced(&mut self, start: usize) -> Result<String, WordError> {
        let name = self.name();
        if name.is_empty() {
            return Scan::error(
                start,
                if self.peek().is_none() { "missing } of a ${…}" } else { "bad substitution: ${ needs a name" },
            );
        }
        let value = (self.expander.lookup)(&name);
        let unset = value.is_none() && self.expander.keep_unset;
        match self.next() {
            None => Scan::error(start, "missing } of a ${…}"),
            Some('}') => Ok(if unset { format!("${{{name}}}") } else { value.unwrap_or_default() }),
            Some('/') => {
                let all = self.take('/');
                let at = self.at();
                let (pattern, _) = self.until(Some('/'), true)?;
                let (replacement, _) = self.until(Some('}'), true)?;
                if unset {
                    let slash = if all { "//" } else { "/" };
                    return Ok(format!("${{{name}{slash}{pattern}/{replacement}}}"));
                }
                let value = value.unwrap_or_default();
                let regex = Pattern::parse(&pattern, at)?.regex(true, false, at)?;
                let limit = if all { 0 } else { 1 };
                Ok(regex.replacen(&value, limit, regex_lite::NoExpand(&replacement)).into_owned())
            }
            Some(first) => {
                let empty_is_unset = first == ':';
                let operator = if empty_is_unset { self.next().unwrap_or('}') } else { first };
                if !matches!(operator, '-' | '+' | '?' | '#' | '%') || (empty_is_unset && matches!(operator, '#' | '%'))
                {
                    let shown = if empty_is_unset { format!(":{operator}") } else { operator.to_string() };
                    return Scan::error(start, format!("unknown modifier {shown} in ${{{name}{shown}…}}"));
                }
                let at = self.at();
                let (word, _) = self.until(Some('}'), matches!(operator, '#' | '%'))?;
                if unset {
                    let colon = if empty_is_unset { ":" } else { "" };
                    return Ok(format!("${{{name}{colon}{operator}{word}}}"));
                }
                let usable = value.as_deref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
                let value_or_empty = || value.clone().unwrap_or_default();
                match operator {
                    '-' => Ok(if usable { value_or_empty() } else { word }),
                    '+' => Ok(if usable { word } else { String::new() }),
                    '?' if usable => Ok(value_or_empty()),
                    '?' => {
                        let what =
                            if value.is_none() { "is not allowed to be unset" } else { "is not allowed to be empty" };
                        Scan::error(start, format!("{name}: {}", if word.is_empty() { what } else { &word }))
                    }
                    end => {
                        let longest = word.starts_with(end);
                        let pattern = Pattern::parse(if longest { &word[1..] } else { &word }, at)?;
                        cut(&value_or_empty(), pattern, end == '%', longest, at)
                    }
                }
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some((_, c)) = self.chars.next_if(|&(_, c)| c.is_ascii_digit()) {
                    name.push(c);
                }
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.next();
                name.push(c);
            }
            _ => {
                while let Some((_, c)) = self.chars.next_if(|&(_, c)| c.is_alphanumeric() || c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }
}

/// A shell pattern without bracket expressions.
struct Pattern(Vec<Token>);

enum Token {
    Any,
    One,
    Char(char),
}

impl Pattern {
    fn parse(text: &str, at: usize) -> Result<Pattern, WordError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    Some(c) => return Scan::error(at, format!("invalid escape \\{c} in the pattern {text:?}")),
                    None => return Scan::error(at, format!("nothing after the last \\ of the pattern {text:?}")),
                },
                c => Token::Char(c),
            });
        }
        Ok(Pattern(tokens))
    }

    fn regex(&self, longest: bool, anchored: bool, at: usize) -> Result<Regex, WordError> {
        let mut regex = String::from(if anchored { "(?s)^" } else { "(?s)" });
        for token in &self.0 {
            match token {
                Token::Any => regex.push_str(if longest { ".*" } else { ".*?" }),
                Token::One => regex.push('.'),
                Token::Char(c) => {
                    if c.is_ascii_punctuation() {
                        regex.push('\\');
                    }
                    regex.push(*c);
                }
            }
        }
        Regex::new(&regex).map_err(|_| WordError { at, message: "the pattern is too long".into() })
    }
}

/// `value` without what `pattern` matches at its start or end.
fn cut(value: &str, mut pattern: Pattern, at_end: bool, longest: bool, at: usize) -> Result<String, WordError> {
    // A search finds the leftmost match, so the shortest one at the end is found from behind.
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    let text = if at_end { reversed(value) } else { value.to_owned() };
    if at_end {
        pattern.0.reverse();
    }
    let end = pattern.regex(longest, true, at)?.find(&text).map_or(0, |found| found.end());
    let rest = text.get(end..).unwrap_or_default();
    Ok(if at_end { reversed(rest) } else { rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "a" => "x",
            "empty" => "",
            "path" => "/usr/local/lib.tar.gz",
            "spaced" => "one two",
            "quoted" => "'q' $a",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn pure_words_expand() {
        for (word, expected) in [
            ("plain", "plain"),
            ("$a", "x"),
            ("${a}b", "xb"),
            ("$a-$a", "x-x"),
            ("$ab", ""),
            ("$", "$"),
            ("a$", "a$"),
            ("$.", "$."),
            ("\\$a", "$a"),
            ("\\a\\\\", "a\\"),
            ("'$a'", "$a"),
            ("\"$a\"", "x"),
            ("\"\\$a \\\" \\n\"", "$a \" \\n"),
            ("'a\\'", "a\\"),
            ("a'b c'd\"e\"", "ab cde"),
            ("${a:-d}", "x"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${none-d}", "d"),
            ("${none:-}", ""),
            ("${a:+d}", "d"),
            ("${empty:+d}", ""),
            ("${empty+d}", "d"),
            ("${none+d}", ""),
            ("${a:?m}", "x"),
            ("${none:-${a}y}", "xy"),
            ("${none:-${none:-'$a'}}", "$a"),
            ("${none:-\"a}b\"}", "a}b"),
            ("${none:-a\\}b}", "a}b"),
            ("${path#*/}", "usr/local/lib.tar.gz"),
            ("${path##*/}", "lib.tar.gz"),
            ("${path%.*}", "/usr/local/lib.tar"),
            ("${path%%.*}", "/usr/local/lib"),
            ("${path%/*}", "/usr/local"),
            ("${path#nothing}", "/usr/local/lib.tar.gz"),
            ("${path/l/L}", "/usr/Local/lib.tar.gz"),
            ("${path//l/L}", "/usr/LocaL/Lib.tar.gz"),
            ("${path//\\//_}", "_usr_local_lib.tar.gz"),
            ("${path/t?r/$a}", "/usr/local/lib.x.gz"),
            ("${path//./\\$1}", "/usr/local/lib\\$1tar\\$1gz"),
            ("${quoted}", "'q' $a"),
            ("$spaced", "one two"),
            ("$1$@", ""),
            ("a<b<<c", "a<b<<c"),
            ("ä$aö", "ä"),
            ("ä${a}ö", "äxö"),
        ] {
            assert_eq!(Expander::new(&lookup, '\\').expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn pure_words_split() {
        for (word, expected) in [
            ("$spaced three", &["one", "two", "three"][..]),
            ("\"$spaced\" b", &["one two", "b"]),
            ("a\\ b  c ", &["a b", "c"]),
            ("$empty", &[]),
            ("'' a", &["a"]),
        ] {
            assert_eq!(Expander::new(&lookup, '\\').expand_to_words(word).expect(word), expected, "{word}");
        }
    }

    #[test]
    fn pure_backtick_escapes() {
        let expander = Expander::new(&lookup, '`');
        assert_eq!(expander.expand("c:\\dir\\`$a \"`\"\"").as_deref(), Ok("c:\\dir\\$a \""));
        assert_eq!(expander.expand_heredoc("\"$a\" '\\$a' `x").as_deref(), Ok("\"x\" '$a' `x"));
    }

    #[test]
    fn pure_words_that_double_are_refused_before_memory_is_full() {
        let mut value = "x".repeat(1 << 10);
        let doubled = (0..40).find_map(|_| {
            let lookup = |_: &str| Some(value.clone());
            let next = Expander::new(&lookup, '\\').expand("$A$A");
            next.map(|next| value = next).err()
        });
        assert_eq!(doubled.expect("refused").message, "variables make this longer than 1 MiB");
    }

    #[test]
    fn pure_bad_words_are_refused() {
        let deep = "${a:-".repeat(10_000);
        for (word, at, message) in [
            ("${", 0, "missing } of a ${…}"),
            ("x${a", 1, "missing } of a ${…}"),
            ("${a:-b", 5, "missing '}' of a ${…}"),
            ("${}", 0, "bad substitution: ${ needs a name"),
            ("${:a}", 0, "bad substitution: ${ needs a name"),
            ("${a!b}", 0, "unknown modifier ! in ${a!…}"),
            ("${a:#b}", 0, "unknown modifier :# in ${a:#…}"),
            ("'a", 0, "missing closing '"),
            ("b\"a", 1, "missing closing \""),
            ("${none?}", 0, "none: is not allowed to be unset"),
            ("${empty:?}", 0, "empty: is not allowed to be empty"),
            ("${none:?set it}", 0, "none: set it"),
            ("${a#\\x}", 4, "invalid escape \\x in the pattern \"\\\\x\""),
            (&deep, 500, "${…} nested too deeply"),
        ] {
            let error = Expander::new(&lookup, '\\').expand(word).expect_err(word);
            assert_eq!((error.at, error.message.as_str()), (at, message), "{}", &word[..word.len().min(40)]);
        }
    }
}
