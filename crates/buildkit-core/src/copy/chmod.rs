//! Modes as `--chmod` takes them: octal (`644`) or symbolic (`u=rwX,go=rX`), as chmod(1) has them.

/// A mode that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode {0:?}: expected octal digits such as 644, or changes such as u+x,go-w")]
pub struct InvalidMode(pub String);

/// A change of a file's mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chmod(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Octal(u32),
    Symbolic(Vec<Change>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    /// Of `0o7777`, which bits the change may touch: those of u, g and o.
    who: u32,
    operator: char,
    permissions: String,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;

impl Chmod {
    /// Reads octal digits, also after `0o`, or changes separated by commas.
    pub fn parse(text: &str) -> Result<Chmod, InvalidMode> {
        let invalid = || InvalidMode(text.to_owned());
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(|mode| Chmod(Kind::Octal(mode))).ok_or_else(invalid);
        }
        let changes = text.split(',').map(parse_clause).collect::<Option<Vec<_>>>().ok_or_else(invalid)?;
        Ok(Chmod(Kind::Symbolic(changes.into_iter().flatten().collect())))
    }

    /// The mode, if it is the same for everything.
    pub fn octal(&self) -> Option<u32> {
        match self.0 {
            Kind::Octal(mode) => Some(mode),
            Kind::Symbolic(_) => None,
        }
    }

    /// The mode that `mode` becomes.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.0 {
            Kind::Octal(octal) => *octal,
            Kind::Symbolic(changes) => changes.iter().fold(mode, |mode, change| change.apply(mode, is_dir)),
        }
    }
}

/// `[ugoa]*([-+=][rwxXst]*|[ugo])+`
fn parse_clause(clause: &str) -> Option<Vec<Change>> {
    let operators = clause.find(['+', '-', '='])?;
    let (who_text, mut rest) = clause.split_at(operators);
    let mut who = 0;
    for letter in who_text.chars() {
        who |= match letter {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if who == 0 {
        who = 0o7777;
    }
    let mut changes = Vec::new();
    while let Some(operator) = rest.chars().next() {
        let after = rest.get(1..)?;
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let (permissions, next) = after.split_at(end);
        let copies = matches!(permissions, "u" | "g" | "o");
        if !copies && !permissions.chars().all(|c| "rwxXst".contains(c)) {
            return None;
        }
        changes.push(Change { who, operator, permissions: permissions.to_owned() });
        rest = next;
    }
    Some(changes)
}

impl Change {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let spread = |bits: u32| bits << 6 | bits << 3 | bits;
        let mut bits = match self.permissions.as_str() {
            "u" => spread(mode >> 6 & 7),
            "g" => spread(mode >> 3 & 7),
            "o" => spread(mode & 7),
            permissions => permissions.chars().fold(0, |bits, c| {
                bits | match c {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if is_dir || mode & 0o111 != 0 => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                }
            }),
        };
        bits &= self.who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            // As chmod(1), which leaves a directory's setuid and setgid alone unless told.
            _ if is_dir => mode & !(self.who & 0o1777) | bits,
            _ => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_modes_change_as_with_chmod() {
        let check = |text: &str, mode: u32, is_dir: bool, expected: u32| {
            assert_eq!(Chmod::parse(text).expect(text).apply(mode, is_dir), expected, "{text} on {mode:o}");
        };
        check("755", 0o600, false, 0o755);
        check("0o750", 0o600, false, 0o750);
        check("4711", 0o600, false, 0o4711);
        check("u+x", 0o644, false, 0o744);
        check("+x", 0o644, false, 0o755);
        check("a=r", 0o755, false, 0o444);
        check("go-rwx", 0o777, false, 0o700);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("g=u", 0o740, false, 0o770);
        check("u+s,+t", 0o755, false, 0o5755);
        check("u-x+w", 0o555, false, 0o655);
        check("g=rx", 0o2755, true, 0o2755);
    }

    #[test]
    fn pure_other_text_is_no_mode() {
        for text in ["", "8", "99999", "u", "x+u", "u+z", "u+x,", "-1", "0x1f", "0o", "0o8", "u+ug"] {
            assert!(Chmod::parse(text).is_err(), "{text:?}");
        }
    }
}
