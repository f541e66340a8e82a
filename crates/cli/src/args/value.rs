//! What several flags take, told apart from what is none of it before anything is done.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use buildkit_core::image::store_name;
use clap::builder::{NonEmptyStringValueParser, PathBufValueParser, TypedValueParser};
use jiff::Timestamp;
use oci::Reference;

/// A text that is not empty.
pub fn text() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}

/// A whole number from `least` to `most`.
pub fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

/// Seconds since 1970, of a time that can be written down.
pub fn seconds(text: &str) -> Result<i64, String> {
    let seconds = text.parse().ok().filter(|seconds| Timestamp::from_second(*seconds).is_ok());
    seconds.ok_or_else(|| "expected seconds since 1970 of a possible date".to_owned())
}

/// A name, which has no `=` in it.
pub fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains('=') {
        true => Err("expected a NAME".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// `NAME=VALUE`, or `NAME` alone.
pub fn variable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('=') {
        true => Err("expected NAME[=VALUE]".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// The name of a manifest list, as it is in the store.
pub fn list_name(text: &str) -> Result<Reference, String> {
    let bad = |_| "expected a name that an image can have".to_owned();
    if text.is_empty() { Err("expected a name".to_owned()) } else { store_name(text).map_err(bad) }
}

/// One of the words that a platform is made of.
pub fn platform_word(text: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("expected a word of letters, digits, dots, - and _".to_owned()),
    }
}

/// As [`platform_word`], or nothing.
pub fn platform_word_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { platform_word(text) }
}

/// A name that a host can have.
pub fn host_name(text: &str) -> Result<String, String> {
    let outlandish = |b: u8| b.is_ascii_control() || matches!(b, b' ' | b'#' | b'/');
    match text.is_empty() || text.len() > 64 || text.bytes().any(outlandish) {
        true => Err("expected a host name".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// As [`host_name`], or nothing.
pub fn host_name_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { host_name(text) }
}

/// User and group, or nothing, which is what holds without them.
pub fn user(text: &str) -> Result<String, String> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == ':');
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    match text.is_empty() || (is_name(user) && group.is_none_or(is_name)) {
        true => Ok(text.to_owned()),
        false => Err("expected name, uid, name:group or uid:gid".to_owned()),
    }
}

/// An absolute path, or nothing, which is what holds without it.
pub fn absolute_path_or_none(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("expected an absolute path".to_owned()),
    }
}

/// A file that is there.
pub fn file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Err("expected a file: it is a directory".to_owned()),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("expected a file: {}", reason(&error))),
    })
}

/// A directory that is there.
pub fn directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => Err("expected a directory".to_owned()),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("expected a directory: {}", reason(&error))),
    })
}

/// What the system says of a failure, as its tools print it: `no such file or directory`.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// A directory that is there or can be made.
pub fn new_directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.exists() && !path.is_dir() {
        true => Err("expected a directory"),
        false => Ok(path),
    })
}

/// A file that can be there, so that nobody learns after long work that it cannot.
pub fn new_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| check_new_file(&path).map(|()| path))
}

/// Whether a file can be at `path`.
pub fn check_new_file(path: &Path) -> Result<(), String> {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.is_dir(), directory.is_dir()) {
        (true, _) => Err("expected the name of a file: it is a directory".to_owned()),
        (false, false) => {
            Err(format!("expected a file in a directory that is there: there is no {}", directory.display()))
        }
        (false, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_numbers_have_a_range() {
        let number = number(1u32, 20);
        assert_eq!((number("1"), number("20")), (Ok(1), Ok(20)));
        for text in ["", "0", "21", "-1", "x", "1.5", "99999999999"] {
            assert_eq!(number(text), Err("expected a whole number from 1 to 20".to_owned()), "{text}");
        }
    }

    #[test]
    fn pure_names_and_values_are_told_apart() {
        assert!(name("A").is_ok() && variable("A=").is_ok() && variable("A").is_ok() && seconds("-1").is_ok());
        assert!(platform_word("ppc64le").is_ok() && platform_word_or_none("").is_ok());
        for refused in [name(""), name("A=b"), variable(""), variable("=b"), platform_word(""), platform_word("a/b")] {
            assert!(refused.is_err(), "{refused:?}");
        }
        assert!(seconds("99999999999999").is_err() && seconds("").is_err());
    }
}
