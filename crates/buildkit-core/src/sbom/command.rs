//! What a scanner is told to do: a command with names for places that only the scan knows.

/// Where a scanner sees the image to be.
pub(super) const ROOTFS: &str = "/.rootfs";
/// Where it leaves its documents.
pub(super) const SCANS: &str = "/.scans";
/// What the place of a context begins with, before its number.
pub(super) const CONTEXT: &str = "/.context";

/// A command of a scanner. `{ROOTFS}` in it stands for the image to be, `{CONTEXT}` for each context of the build, and
/// `{OUTPUT}` for the file that it is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerCommand(String);

impl ScannerCommand {
    /// A command that looks at something and leaves something.
    pub fn parse(text: &str) -> Result<ScannerCommand, String> {
        let has = |name: &str| text.contains(name);
        match (has("{ROOTFS}") || has("{CONTEXT}")) && has("{OUTPUT}") {
            true => Ok(ScannerCommand(text.to_owned())),
            false => Err("expected a command with {OUTPUT}, and with {ROOTFS} or {CONTEXT}".to_owned()),
        }
    }

    /// The words that are run: the shell's, if only a shell can understand the command. A scanner's image often has none.
    fn words(&self, shell: &[String]) -> Vec<String> {
        let needs_shell = self.0.contains(['<', '>', '|', ';', '&', '$', '`']);
        if let Some(words) = shlex::split(&self.0).filter(|_| !needs_shell) {
            return words;
        }
        let usual = || ["/bin/sh", "-c"].map(str::to_owned).to_vec();
        let mut words = if shell.is_empty() { usual() } else { shell.to_vec() };
        words.push(self.0.clone());
        words
    }
}

/// A command with the places filled in.
#[derive(Debug)]
pub(super) struct Plan {
    pub words: Vec<String>,
    /// Name of the document in the directory for them.
    pub document: String,
}

impl Plan {
    /// What is run in turn where there are so many contexts: a command for these once for each.
    pub fn of(commands: &[ScannerCommand], contexts: usize, shell: &[String]) -> Vec<Plan> {
        let mut plans = Vec::new();
        for command in commands {
            let times = if command.0.contains("{CONTEXT}") { contexts } else { 1 };
            for context in 0..times {
                let document = format!("scan{}.json", plans.len());
                let fill = |word: String| {
                    word.replace("{ROOTFS}", ROOTFS)
                        .replace("{CONTEXT}", &format!("{CONTEXT}{context}"))
                        .replace("{OUTPUT}", &format!("{SCANS}/{document}"))
                };
                plans.push(Plan { words: command.words(shell).into_iter().map(fill).collect(), document });
            }
        }
        plans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_a_shell_is_used_where_it_is_needed() {
        let words = |text: &str, shell: &[String]| {
            ScannerCommand::parse(text).map(|command| Plan::of(&[command], 1, shell).swap_remove(0).words)
        };
        let fish = ["/bin/fish".to_owned(), "-c".to_owned()];
        assert_eq!(
            words(r#"/x --name "a b" {ROOTFS} {OUTPUT}"#, &fish).expect("valid"),
            ["/x", "--name", "a b", "/.rootfs", "/.scans/scan0.json"]
        );
        assert_eq!(words("ls {CONTEXT} >{OUTPUT}", &[]).expect("valid")[2], "ls /.context0 >/.scans/scan0.json");
        assert_eq!(words("a {ROOTFS}; b {OUTPUT}", &fish).expect("valid")[..2], fish);
        assert_eq!(words("a ' {ROOTFS} {OUTPUT}", &[]).expect("valid")[0], "/bin/sh");
        for text in ["", "x {ROOTFS}", "x {OUTPUT}", "{CONTEXT}"] {
            assert!(ScannerCommand::parse(text).is_err(), "{text}");
        }
    }
}
