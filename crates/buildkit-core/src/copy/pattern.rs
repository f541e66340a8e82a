//! Patterns of one path component, with the meaning of Go's `filepath.Match`: `*`, `?`, `[a-z]`,
//! `[^a-z]` and `\` before a character that means itself.

/// A malformed pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern;

/// Whether the text is a pattern rather than a name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

#[derive(Debug)]
enum Token {
    Any,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern of one component.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let mut chars = text.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Literal(chars.next().ok_or(BadPattern)?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.peek() != Some(&']') {
                        let low = class_char(&mut chars)?;
                        let high = if chars.next_if_eq(&'-').is_some() { class_char(&mut chars)? } else { low };
                        ranges.push((low, high));
                    }
                    chars.next();
                    Token::Class { negated, ranges }
                }
                c => Token::Literal(c),
            });
        }
        Ok(Pattern(tokens))
    }

    /// Whether the whole name matches. Time is at most its length times the pattern's.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where to go on if what follows the last star does not match.
        let mut star: Option<(usize, usize)> = None;
        loop {
            let matched = match (self.0.get(token), name.get(at)) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    star = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                (Some(Token::One), Some(_)) => true,
                (Some(Token::Literal(wanted)), Some(c)) => wanted == c,
                (Some(Token::Class { negated, ranges }), Some(c)) => {
                    ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated
                }
                _ => false,
            };
            if matched {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            match star {
                Some((after, from)) if from < name.len() => {
                    star = Some((after, from + 1));
                    (token, at) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_patterns_match_as_in_go() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Pattern::parse(pattern).expect(pattern).matches(name), expected, "{pattern} {name}");
        };
        check("abc", "abc", true);
        check("*", "", true);
        check("*", ".hidden", true);
        check("*c", "abc", true);
        check("a*", "a", true);
        check("a*b?c*x", "abxbbxdbxebxczzx", true);
        check("a*b?c*x", "abxbbxdbxebxczzy", false);
        check("ab[c]", "abc", true);
        check("ab[b-d]", "abc", true);
        check("ab[e-g]", "abc", false);
        check("ab[^c]", "abc", false);
        check("ab[^e-g]", "abc", true);
        check("a\\*b", "a*b", true);
        check("a\\*b", "ab", false);
        check("a?b", "aé", false);
        check("a??b", "aéxb", true);
        check("[\\]a]", "]", true);
        check("[\\-x]", "-", true);
        check(&"*a".repeat(30), &"a".repeat(29), false);
    }

    #[test]
    fn pure_malformed_patterns_are_told() {
        for pattern in ["[]a]", "[-]", "[x-]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
