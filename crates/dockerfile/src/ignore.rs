//! Ignore files (`.containerignore`, `.dockerignore`): which paths of a build context stay out.
//!
//! The meaning is that of Moby's pattern matcher: patterns are cleaned paths below the context's
//! root; `*` and `?` stay within one component, `**` crosses them; a pattern covers everything
//! below what it matches; `!` takes paths back in; the last pattern that matches decides.
//! Matching takes time linear in the path for each pattern, whatever the pattern.

use regex_lite::{Regex, RegexBuilder};

/// The patterns of an ignore file.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// Begins with `!`: takes back in.
    exception: bool,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// No special character.
    Exact(String),
    Regex(Regex),
}

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: invalid ignore pattern {pattern:?}: {reason}")]
pub struct InvalidPattern {
    /// Line in the ignore file, or position in the list, from 1.
    pub line: usize,
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Ignore {
    /// Parses an ignore file. A byte order mark, blank lines and lines beginning with `#` count
    /// for nothing.
    pub fn parse(text: &str) -> Result<Ignore, InvalidPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        Ignore::from_numbered(lines.map(|(index, line)| (index + 1, line)))
    }

    /// Takes the patterns of a list, as `--ignore` style options give them.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Ignore, InvalidPattern> {
        Ignore::from_numbered(patterns.into_iter().enumerate().map(|(index, pattern)| (index + 1, pattern)))
    }

    fn from_numbered<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Ignore, InvalidPattern> {
        let mut patterns = Vec::new();
        for (line, written) in lines {
            let trimmed = written.trim();
            if trimmed.is_empty() {
                continue;
            }
            let invalid = |reason| InvalidPattern { line, pattern: trimmed.to_owned(), reason };
            let (exception, rest) = match trimmed.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, trimmed),
            };
            if rest.is_empty() {
                return Err(invalid("! needs a pattern after it"));
            }
            let text = clean(rest);
            let matcher = compile(&text).map_err(invalid)?;
            patterns.push(Pattern { text, exception, matcher });
        }
        Ok(Ignore { patterns })
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a pattern takes something back in.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether a pattern by itself keeps out everything that is directly in the context.
    pub fn is_everything(&self) -> bool {
        let everything = |pattern: &Pattern| matches!(pattern.text.as_str(), "*" | "**" | "**/*");
        self.patterns.iter().any(|pattern| !pattern.exception && everything(pattern))
    }

    /// Whether `path`, relative to the context's root and written with `/`, stays out, be it by
    /// itself or through a directory above it.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        let mut matched = false;
        for pattern in &self.patterns {
            // A pattern that could not change the answer need not be tried.
            if pattern.exception == matched && pattern.covers(path) {
                matched = !pattern.exception;
            }
        }
        matched
    }

    /// Whether some path below the ignored directory `dir` might be taken back in by an
    /// exception, so that a walk has to go on below it.
    pub fn may_include_below(&self, dir: &str) -> bool {
        let dir = dir.trim_matches('/');
        self.patterns.iter().filter(|pattern| pattern.exception).any(|pattern| {
            // Compare component by component up to the first one with a special character.
            let mut components = pattern.text.split('/');
            for part in dir.split('/') {
                match components.next() {
                    None => return true,
                    Some(component) if component.contains(SPECIAL) => return true,
                    Some(component) if component != part => return false,
                    Some(_) => {}
                }
            }
            true
        })
    }
}

impl Pattern {
    /// Whether the pattern matches `path` or a directory above it.
    fn covers(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact(text) => {
                path.strip_prefix(text.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Matcher::Regex(regex) => {
                regex.is_match(path)
                    || path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|dir| regex.is_match(dir)))
            }
        }
    }
}

const SPECIAL: [char; 5] = ['*', '?', '[', ']', '\\'];

/// Lexical cleaning as Go's `filepath.Clean`, below the root, without a leading slash.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(".."),
            },
            // One ** covers what several in a row do.
            "**" if parts.last() == Some(&"**") => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

fn compile(pattern: &str) -> Result<Matcher, &'static str> {
    if !pattern.contains(SPECIAL) {
        return Ok(Matcher::Exact(pattern.to_owned()));
    }
    let mut regex = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                while chars.next_if_eq(&'*').is_some() {}
                chars.next_if_eq(&'/');
                regex.push_str(if chars.peek().is_none() { ".*" } else { "(?:.*/)?" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => push_literal(&mut regex, chars.next().ok_or("nothing after the last \\")?),
            '[' => class(&mut regex, &mut chars)?,
            c => push_literal(&mut regex, c),
        }
    }
    regex.push('$');
    RegexBuilder::new(&regex).build().map(Matcher::Regex).map_err(|_| "it is too long or too complex")
}

/// The rest of a character class: `[abc]`, `[a-z]`, `[^a-z]`.
fn class(regex: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), &'static str> {
    const OPEN: &str = "[ without its ]";
    regex.push_str(if chars.next_if_eq(&'^').is_some() { "[^/" } else { "[" });
    let mut empty = true;
    loop {
        let mut next = || match chars.next().ok_or(OPEN)? {
            '\\' => chars.next().map(|c| (c, true)).ok_or(OPEN),
            c => Ok((c, false)),
        };
        let (low, escaped) = next()?;
        if low == ']' && !escaped {
            break;
        }
        push_literal(regex, low);
        empty = false;
        if chars.next_if_eq(&'-').is_some() {
            let high = match chars.next().ok_or(OPEN)? {
                '\\' => chars.next().ok_or(OPEN)?,
                ']' => return Err("a range without its end"),
                c => c,
            };
            if high < low {
                return Err("a range that runs backwards");
            }
            regex.push('-');
            push_literal(regex, high);
        }
    }
    if empty {
        return Err("an empty []");
    }
    regex.push(']');
    Ok(())
}

fn push_literal(regex: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &str, path: &str, ignored: bool) {
        let ignore = Ignore::parse(patterns).expect("valid patterns");
        assert_eq!(ignore.matches(path), ignored, "{patterns:?} on {path:?}");
    }

    #[test]
    fn pure_ignore_patterns() {
        for (patterns, path, ignored) in [
            ("a", "a", true),
            ("a", "a/b/c", true),
            ("a", "ab", false),
            ("a", "b/a", false),
            ("/a/", "a", true),
            ("./a/../b", "b", true),
            ("*", "a", true),
            ("*", "a/b", true),
            ("*.md", "x.md", true),
            ("*.md", "d/x.md", false),
            ("*/temp*", "a/temporary", true),
            ("*/*/temp*", "a/temp", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "temp/", false),
            ("**/*.go", "x.go", true),
            ("**/*.go", "a/b/x.go", true),
            ("**/*.go", "a/b/x.gox", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("**/a/**/b", "x/a/y/b", true),
            ("a**z", "az", true),
            ("[ab].c", "a.c", true),
            ("[a-c].x", "d.x", false),
            ("[^a].x", "b.x", true),
            ("[^a].x", "a.x", false),
            ("a.b", "axb", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a+(b)", "a+(b)", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "x.md", true),
            ("!README.md\n*.md", "README.md", true),
            ("*\n!a/b", "a/b", false),
            ("*\n!a/b", "a/b/c", false),
            ("*\n!a/b", "a/c", true),
            ("d\n!d/keep\nd/keep/not", "d/keep/not/x", true),
            ("*\n! src ", "src/x", false),
            ("# a\n\n  b  ", "b", true),
            ("#a", "#a", false),
            (" #a", "#a", true),
            ("\u{feff}a\r\nb\r", "a", true),
            ("ü*", "über", true),
            (".", "a", false),
            ("..", "a", false),
        ] {
            check(patterns, path, ignored);
        }
    }

    /// Rows from the reference's documentation of patterns, read for what they promise.
    #[test]
    fn pure_ignore_patterns_mean_what_the_reference_says() {
        for (patterns, path, ignored) in [
            // `**` before a name: at any depth, none included.
            ("**/x", "x", true),
            ("**/x", "a/x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/x/b", true),
            ("**/x", "ax", false),
            ("**/x", "a/bx", false),
            ("**/x/", "a/x", true),
            ("**/.git", ".git/config", true),
            ("**/.*", ".env", true),
            ("**/.*", "a/.env", true),
            ("**/.*", "a/env", false),
            ("**/*_test.go", "pkg/a_test.go", true),
            ("**/*_test.go", "a_test.gox", false),
            ("/**/x", "a/x", true),
            // `**` between names.
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/b/c", true),
            ("a/**/b", "ab", false),
            ("a/**/b", "a/xb", false),
            ("a/**/b", "x/a/b", false),
            ("a/**/*.c", "a/x.c", true),
            ("a/**/*.c", "a/b/x.c", true),
            ("a/**/**/b", "a/b", true),
            // `**` after a name: what is below, not the directory itself.
            ("a/**", "a/x", true),
            ("a/**", "a/.x", true),
            ("a/**", "ab", false),
            // `**` alone, and within a name.
            ("**", "a", true),
            ("**", ".a", true),
            ("**", "a/b/c", true),
            ("***", "a/b", true),
            ("a**", "ab/c", true),
            ("**b", "a/b", true),
            // `*` and `?` stop at a slash and take dot-files.
            ("*", ".a", true),
            ("*.c", ".c", true),
            ("a*", "a", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("*/b", "b", false),
            ("*/b", "a/c/b", false),
            ("?", "ab", false),
            ("?", "\u{fc}", true),
            ("a?b", "a/b", false),
            ("??", ".a", true),
            // Slashes around and dots in a pattern.
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("a/", "a", true),
            ("a/", "a/b", true),
            ("//a//b/", "a/b", true),
            ("./a", "a", true),
            ("a/./b", "a/b", true),
            ("a/../b", "b", true),
            ("a/../b", "a", false),
            ("../a", "a", false),
            ("/../a", "a", true),
            ("a/..", "a", false),
            (".", "a/b", false),
            // Classes.
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[a-c]", "B", false),
            ("[^a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("a[^x]b", "a/b", false),
            ("[a\\-c]", "-", true),
            ("[a\\-c]", "b", false),
            ("[\\]]", "]", true),
            ("x[0-9].log", "x7.log", true),
            ("x[0-9].log", "x77.log", false),
            // What is special elsewhere is not here.
            ("a{b,c}", "ab", false),
            ("a{b,c}", "a{b,c}", true),
            ("a+", "aa", false),
            ("a.c", "abc", false),
            ("(a|b)", "a", false),
            ("^a$", "a", false),
            ("$a", "$a", true),
            ("A", "a", false),
            // Escapes; a path's own backslash is a character.
            ("\\?", "?", true),
            ("\\?", "a", false),
            ("\\[a]", "[a]", true),
            ("a\\b", "ab", true),
            ("a\\\\b", "a\\b", true),
            ("*", "a\\b", true),
            ("a/b", "a\\b", false),
            ("\\!a", "!a", true),
            // Order of exceptions: the last that matches decides.
            ("*\n!a", "a", false),
            ("!a\n*", "a", true),
            ("*\n!a\na", "a", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-more.md", false),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            ("a\n!a/b", "a", true),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/b/c", false),
            ("a\n!a/b", "a/c", true),
            ("a/b\n!a", "a/b", false),
            ("**\n!**/*.c", "a/b/x.c", false),
            ("**\n!**/*.c", "a/b/x.h", true),
            ("**\n!a/", "a/x", false),
            ("a\n!b", "a/b", true),
            ("! a", "a", false),
            ("a\n! a", "a", false),
        ] {
            check(patterns, path, ignored);
        }
    }

    #[test]
    fn pure_ignore_knows_where_to_walk_on() {
        let ignore = Ignore::parse("*\n!a/b/c\n!x*/y").expect("valid");
        for (dir, on) in [("a", true), ("a/b", true), ("a/b/c/d", true), ("q", true), ("a/x", true)] {
            assert_eq!(ignore.may_include_below(dir), on, "{dir}");
        }
        let ignore = Ignore::parse("*\n!a/b/c").expect("valid");
        for (dir, on) in [("a", true), ("a/b", true), ("q", false), ("a/x", false)] {
            assert_eq!(ignore.may_include_below(dir), on, "{dir}");
        }
    }

    #[test]
    fn pure_bad_ignore_patterns_say_their_line() {
        for (text, line, reason) in [
            ("a\n!", 2, "! needs a pattern after it"),
            ("[", 1, "[ without its ]"),
            ("[a", 1, "[ without its ]"),
            ("a\n\n[]", 3, "an empty []"),
            ("[z-a]", 1, "a range that runs backwards"),
            ("a\\", 1, "nothing after the last \\"),
        ] {
            let error = Ignore::parse(text).expect_err(text);
            assert_eq!((error.line, error.reason), (line, reason), "{text:?}");
        }
    }

    #[test]
    fn pure_hostile_patterns_stay_linear() {
        let stars = "*a".repeat(2_000);
        let ignore = Ignore::parse(&stars).expect("valid");
        assert!(!ignore.matches(&"a".repeat(3_000).replace("aaa", "ab")));
        assert!(Ignore::parse(&"**/".repeat(100_000)).expect("valid").matches("a/b"));
        let many = "some/file/name\n".repeat(200_000);
        assert!(!Ignore::parse(&many).expect("valid").matches("some/file"));
    }
}
