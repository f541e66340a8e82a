//! Scanners that have a name: the command lines that their makers document.

use super::{MergeStrategy, Scanner, ScannerCommand};

/// Names, image, command without what it looks at, format, how the documents become one.
type Preset = (&'static [&'static str], &'static str, fn(&str, &str) -> String, &'static str, MergeStrategy);

const SYFT: &str = "ghcr.io/anchore/syft";
const TRIVY: &str = "ghcr.io/aquasecurity/trivy";

const PRESETS: [Preset; 4] = [
    (&["syft", "syft-cyclonedx", ""], SYFT, syft, "cyclonedx-json", MergeStrategy::CycloneDx),
    (&["syft-spdx"], SYFT, syft, "spdx-json", MergeStrategy::Spdx),
    (&["trivy", "trivy-cyclonedx"], TRIVY, trivy, "cyclonedx", MergeStrategy::CycloneDx),
    (&["trivy-spdx"], TRIVY, trivy, "spdx-json", MergeStrategy::Spdx),
];

fn syft(place: &str, format: &str) -> String {
    format!("/syft scan -q dir:{place} --output {format}={{OUTPUT}}")
}

fn trivy(place: &str, format: &str) -> String {
    format!("trivy filesystem -q {place} --format {format} --output {{OUTPUT}}")
}

impl Scanner {
    /// The scanner that goes by this name; the empty one is syft's.
    pub fn named(name: &str) -> Result<Scanner, String> {
        let preset = PRESETS.into_iter().find(|(names, ..)| names.contains(&name));
        let Some((_, image, command, format, strategy)) = preset else {
            let names = PRESETS.iter().flat_map(|(names, ..)| *names).filter(|name| !name.is_empty());
            return Err(format!("expected one of {}", names.copied().collect::<Vec<_>>().join(", ")));
        };
        let commands = ["{ROOTFS}", "{CONTEXT}"].map(|place| ScannerCommand::parse(&command(place, format)));
        Ok(Scanner { image: image.to_owned(), commands: commands.into_iter().collect::<Result<_, _>>()?, strategy })
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Plan;
    use super::*;

    #[test]
    fn pure_presets_say_what_is_run() {
        for (name, image, first, strategy) in [
            ("syft", SYFT, "/syft scan -q dir:/.rootfs --output cyclonedx-json=/.scans/scan0.json", "cyclonedx"),
            (
                "syft-cyclonedx",
                SYFT,
                "/syft scan -q dir:/.rootfs --output cyclonedx-json=/.scans/scan0.json",
                "cyclonedx",
            ),
            ("syft-spdx", SYFT, "/syft scan -q dir:/.rootfs --output spdx-json=/.scans/scan0.json", "spdx"),
            (
                "trivy",
                TRIVY,
                "trivy filesystem -q /.rootfs --format cyclonedx --output /.scans/scan0.json",
                "cyclonedx",
            ),
            (
                "trivy-cyclonedx",
                TRIVY,
                "trivy filesystem -q /.rootfs --format cyclonedx --output /.scans/scan0.json",
                "cyclonedx",
            ),
            (
                "trivy-spdx",
                TRIVY,
                "trivy filesystem -q /.rootfs --format spdx-json --output /.scans/scan0.json",
                "spdx",
            ),
        ] {
            let scanner = Scanner::named(name).expect(name);
            assert_eq!(scanner.image, image);
            assert!(scanner.strategy.to_string().contains(strategy), "{name}");
            let alone = Plan::of(&scanner.commands, 0, &[]);
            assert_eq!(alone.iter().map(|plan| plan.words.join(" ")).collect::<Vec<_>>(), [first], "{name}");
            let words: Vec<String> =
                Plan::of(&scanner.commands, 2, &[]).iter().map(|plan| plan.words.join(" ")).collect();
            let of_context = |number: usize| {
                first
                    .replace("/.rootfs", &format!("/.context{number}"))
                    .replace("scan0", &format!("scan{}", number + 1))
            };
            assert_eq!(words, [first.to_owned(), of_context(0), of_context(1)], "{name}");
        }
        assert_eq!(Scanner::named(""), Scanner::named("syft"));
        let names = "syft, syft-cyclonedx, syft-spdx, trivy, trivy-cyclonedx, trivy-spdx";
        assert_eq!(Scanner::named("grype"), Err(format!("expected one of {names}")));
    }
}
