//! What lists have in common: aligned columns, and times and sizes as people read them.

use jiff::Timestamp;
use serde_json::Value;

use crate::command_error::CommandError;
use crate::template::Template;

/// Writes rows whose cells are parted by tabs so that the columns line up; `gap` blanks lie
/// between them, and each column but the last takes at least `narrowest`, blanks included.
pub fn align(rows: &[String], gap: usize, narrowest: usize) -> String {
    let cells: Vec<Vec<&str>> = rows.iter().map(|row| row.split('\t').collect()).collect();
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    // A cell decides its column's width only if something follows it.
    let width = |column: usize| {
        let padded = cells.iter().filter(|row| row.len() > column + 1);
        padded.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(|column| (width(column) + gap).max(narrowest)).collect();
    let mut text = String::new();
    for row in &cells {
        let last = row.len().saturating_sub(1);
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column < last {
                let filled = cell.chars().count();
                text.extend(std::iter::repeat_n(
                    ' ',
                    widths.get(column).map_or(0, |width| width.saturating_sub(filled)),
                ));
            }
        }
        text.push('\n');
    }
    text
}

/// Prints a heading, if the template asks for one, and a row for each of `rows`, in columns: as in
/// Buildah's lists, every blank outside of the template's actions begins a new one.
pub fn print_rows(
    format: &str,
    heading: Option<&Value>,
    rows: impl IntoIterator<Item = Value>,
) -> Result<(), CommandError> {
    let template = Template::parse(&blanks_to_tabs(format))?;
    let heading = heading.filter(|_| template.is_table()).map(|heading| template.render(heading));
    let rows = rows.into_iter().map(|row| template.render(&row));
    let lines: Vec<String> = heading.into_iter().chain(rows).collect::<Result<_, _>>()?;
    print!("{}", align(&lines, 3, 0));
    Ok(())
}

fn blanks_to_tabs(format: &str) -> String {
    let (table, body) = match format.strip_prefix("table ") {
        Some(body) => ("table ", body),
        None => ("", format),
    };
    let mut text = String::from(table);
    let mut rest = body;
    while let Some(at) = rest.find("{{") {
        let (before, action) = rest.split_at(at);
        let end = action.find("}}").map_or(action.len(), |end| end + 2);
        let (action, after) = action.split_at(end);
        text.push_str(&before.replace(' ', "\t"));
        text.push_str(action);
        rest = after;
    }
    text + &rest.replace(' ', "\t")
}

/// How long ago `time` was at `now`, as Docker says it.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration(now.as_second().saturating_sub(time.as_second())))
}

fn duration(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{} minutes", seconds / 60),
        _ if hours <= 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `bytes` with three significant digits and one of `units`, each 1000 times the one before.
pub fn size(bytes: u64, units: [&str; 5]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let digits = format!("{value:.decimals$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits} {}", units.get(unit).unwrap_or(&"B"))
}

/// The units of Buildah's lists.
pub const BUILDAH_UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
/// The units of Podman's lists.
pub const PODMAN_UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

/// `time` as Go prints it in templates.
pub fn go_time(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} +0000 UTC", text.replace('T', " ").trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_columns_line_up() {
        let rows = ["A\tLONG\tC".to_owned(), "1234\t2\t3".to_owned(), "x".to_owned()];
        assert_eq!(align(&rows, 3, 0), "A      LONG   C\n1234   2      3\nx\n");
        assert_eq!(align(&rows, 2, 6), "A     LONG  C\n1234  2     3\nx\n");
        assert_eq!(align(&[], 3, 0), "");
    }

    #[test]
    fn pure_blanks_of_a_format_part_columns() {
        for (format, expected) in [
            ("{{.ID}} {{.Name}}", "{{.ID}}\t{{.Name}}"),
            ("a b {{ .ID }}x", "a\tb\t{{ .ID }}x"),
            ("table {{.ID}} {{.Tag}}", "table {{.ID}}\t{{.Tag}}"),
            ("{{if .A}}a b{{end}} {{", "{{if .A}}a\tb{{end}}\t{{"),
        ] {
            assert_eq!(blanks_to_tabs(format), expected);
        }
    }

    #[test]
    fn pure_durations_are_dockers() {
        for (seconds, expected) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn pure_sizes_have_three_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 KB"),
            (3390, "3.39 KB"),
            (3399, "3.4 KB"),
            (12_345, "12.3 KB"),
            (99_960, "100 KB"),
            (123_456_789, "123 MB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(size(bytes, BUILDAH_UNITS), expected, "{bytes}");
        }
    }
}
