//! An example for each command, shown by `--help` and in its man page.

use clap::Command;

use crate::args::at_path;

/// Command and example lines.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "add",
        &[
            "gabion add app https://example.com/data.tar.gz /srv/",
            "gabion add --chown 1000:1000 app site.tar.gz /srv/site",
        ],
    ),
    (
        "build",
        &[
            "gabion build -t app:1 .",
            "gabion build -f Containerfile --build-arg VERSION=2 --target test .",
            "gabion build --platform linux/amd64,linux/arm64 --manifest app .",
        ],
    ),
    ("commit", &["gabion commit --rm app localhost/app:1", "gabion commit app docker://registry.example.com/app:1"]),
    ("completion", &["gabion completion bash"]),
    ("config", &["gabion config --env MODE=fast --cmd /app/serve app"]),
    ("containers", &["gabion containers --filter name=app --format '{{.ContainerName}}'"]),
    ("copy", &["gabion copy --chmod 0755 app serve.sh /app/", "gabion copy --from builder app /out/serve /app/"]),
    ("du", &["gabion du"]),
    ("from", &["gabion from --name app docker.io/library/debian", "gabion from scratch"]),
    ("help", &["gabion help short-names"]),
    ("history", &["gabion history --no-trunc app:1"]),
    ("images", &["gabion images --filter dangling=true -q", "gabion images --format '{{.Name}}:{{.Tag}} {{.Size}}'"]),
    ("info", &["gabion info --format '{{.store.GraphRoot}}'"]),
    ("inspect", &["gabion inspect --type image --format '{{json .OCIv1.Config.Env}}' app:1"]),
    ("manifest add", &["gabion manifest add --arch arm64 app docker://registry.example.com/app:arm64"]),
    ("manifest annotate", &["gabion manifest annotate --variant v8 app localhost/app:arm64"]),
    ("manifest create", &["gabion manifest create app localhost/app:amd64 localhost/app:arm64"]),
    ("manifest exists", &["gabion manifest exists app"]),
    ("manifest inspect", &["gabion manifest inspect app"]),
    ("manifest push", &["gabion manifest push app docker://registry.example.com/app:1"]),
    ("manifest remove", &["gabion manifest remove app localhost/app:arm64"]),
    ("manifest rm", &["gabion manifest rm app"]),
    ("mount", &["gabion mount app"]),
    ("prune", &["gabion prune --dry-run"]),
    ("pull", &["gabion pull --policy newer docker.io/library/debian", "gabion pull oci-archive:app.tar"]),
    ("push", &["gabion push app:1 docker://registry.example.com/app:1", "gabion push app:1 oci:layout:app"]),
    ("rename", &["gabion rename app old-app"]),
    ("rm", &["gabion rm app", "gabion rm --all"]),
    ("rmi", &["gabion rmi app:1", "gabion rmi --prune"]),
    ("run", &["gabion run app -- make install", "gabion run --network none -v /srv/tests:/src:ro app -- /src/run.sh"]),
    ("tag", &["gabion tag app:1 app:latest"]),
    ("umount", &["gabion umount app"]),
    ("untag", &["gabion untag app:1"]),
    ("version", &["gabion version --json"]),
];

/// Shows each command's examples behind its help.
pub fn with_examples(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (name, lines)| {
        let text = format!("Examples:\n  {}", lines.join("\n  "));
        at_path(command, name, &|subcommand| subcommand.after_help(text.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_every_command_has_examples_that_can_be_typed() {
        let command = crate::args::command(false);
        for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let name = subcommand.get_name();
            // A command that has commands itself shows them.
            let has_own = subcommand.get_subcommands().next().is_some();
            assert!(has_own || subcommand.get_after_help().is_some(), "{name}");
        }
        for (name, lines) in EXAMPLES {
            for line in *lines {
                let words = shlex::split(line).expect("quotes");
                assert!(line.starts_with(&format!("gabion {name}")), "{line}");
                let matches = crate::args::command(false).try_get_matches_from(words);
                assert!(matches.is_ok(), "{line}: {:?}", matches.err().map(|error| error.to_string()));
            }
        }
    }
}
