//! Flags of Buildah that gabion understands and refuses, each with the reason. They are no part of
//! a command's help; `docs/buildah-compatibility.md` lists them.
//!
//! Refusing is better than ignoring: whoever asks for a signature must not go without one.

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, Command};

use super::at_path;

/// A flag that is refused.
pub struct Refused {
    /// The commands that have it; empty for the flags before the command.
    pub commands: &'static [&'static str],
    /// Its name, without dashes.
    pub flag: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Why it is refused, to stand behind the flag and its value.
    pub reason: &'static str,
}

/// What a refused flag takes.
#[derive(Clone, Copy)]
pub enum Takes {
    /// A value; those listed ask for what gabion does anyway.
    Value(&'static [&'static str]),
    /// Nothing or a boolean: `=false` asks for what gabion does anyway.
    Switch,
    /// Nothing or a boolean: only `=false` asks for what gabion does not do.
    SwitchOff,
}

const NO_ENCRYPTION: &str = "encrypted images are not supported";
const NO_SIGNATURES: &str = "signatures are not supported yet: sign the pushed image with another tool, such as cosign";
const NO_BLOB_CACHE: &str = "blobs are not kept in a directory of their own: the store has the layers";
const NO_ATTESTATIONS: &str = "images are not attested: --sbom tells what an image is made of";
const NO_WORKLOADS: &str = "confidential workloads are not supported";
const NO_USERNS: &str = "user namespaces are not supported yet";

const VALUE: Takes = Takes::Value(&[]);

/// All of them.
pub const REFUSED: &[Refused] = &[
    Refused {
        commands: &[],
        flag: "imagestore",
        takes: VALUE,
        reason: "images and containers are kept in one store: use --root",
    },
    Refused {
        commands: &[],
        flag: "transient-store",
        takes: Takes::Switch,
        reason: "container records are always kept on disk",
    },
    Refused { commands: &[], flag: "userns-uid-map", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &[], flag: "userns-gid-map", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &[], flag: "cpu-profile", takes: VALUE, reason: "use perf or another profiler" },
    Refused { commands: &[], flag: "memory-profile", takes: VALUE, reason: "use heaptrack or another profiler" },
    Refused { commands: &["from", "build", "pull"], flag: "decryption-key", takes: VALUE, reason: NO_ENCRYPTION },
    Refused { commands: &["commit", "push"], flag: "encryption-key", takes: VALUE, reason: NO_ENCRYPTION },
    Refused { commands: &["commit", "push"], flag: "encrypt-layer", takes: VALUE, reason: NO_ENCRYPTION },
    Refused {
        commands: &["commit", "push", "build", "manifest push"],
        flag: "sign-by",
        takes: VALUE,
        reason: NO_SIGNATURES,
    },
    Refused {
        commands: &["commit", "build", "pull", "push", "from"],
        flag: "blob-cache",
        takes: VALUE,
        reason: NO_BLOB_CACHE,
    },
    Refused { commands: &["build"], flag: "attest", takes: VALUE, reason: NO_ATTESTATIONS },
    Refused { commands: &["build"], flag: "provenance", takes: Takes::Value(&["false"]), reason: NO_ATTESTATIONS },
    Refused {
        commands: &["build"],
        flag: "builder",
        takes: Takes::Value(&["default", ""]),
        reason: "gabion builds by itself: there is no builder to choose",
    },
    Refused { commands: &["commit", "build"], flag: "cw", takes: VALUE, reason: NO_WORKLOADS },
    Refused { commands: &["build", "from"], flag: "userns", takes: Takes::Value(&["host", ""]), reason: NO_USERNS },
    Refused { commands: &["build", "from"], flag: "userns-uid-map", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &["build", "from"], flag: "userns-gid-map", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &["build", "from"], flag: "userns-uid-map-user", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &["build", "from"], flag: "userns-gid-map-group", takes: VALUE, reason: NO_USERNS },
    Refused { commands: &["add", "copy"], flag: "blob-cache", takes: VALUE, reason: NO_BLOB_CACHE },
    Refused { commands: &["add", "copy"], flag: "decryption-key", takes: VALUE, reason: NO_ENCRYPTION },
    Refused {
        commands: &["add", "copy"],
        flag: "remove-signatures",
        takes: Takes::Switch,
        reason: "it is about images that are pulled: use `gabion pull`",
    },
    Refused {
        commands: &["build"],
        flag: "compat-volumes",
        takes: Takes::Switch,
        reason: "what a step writes to a volume always stays, as with BuildKit",
    },
    Refused {
        commands: &["build"],
        flag: "compress",
        takes: Takes::Switch,
        reason: "contexts are sent nowhere, so there is nothing to compress",
    },
    Refused {
        commands: &["build"],
        flag: "disable-content-trust",
        takes: Takes::SwitchOff,
        reason: "content trust is not supported",
    },
    Refused {
        commands: &["build"],
        flag: "skip-unused-stages",
        takes: Takes::SwitchOff,
        reason: "stages that nothing needs are never built",
    },
];

/// Adds the refused flags to `command` and its subcommands, but none that a command has itself.
pub fn with_refused(mut command: Command) -> Command {
    for refused in REFUSED {
        command = match refused.commands {
            [] => with_flag(command, refused, true),
            names => names.iter().fold(command, |command, name| {
                at_path(command, name, &|subcommand| with_flag(subcommand, refused, false))
            }),
        };
    }
    command
}

fn with_flag(command: Command, refused: &Refused, global: bool) -> Command {
    // A global flag has the name of a command's own: the ID keeps them apart.
    let id = if global { format!("refused-global-{}", refused.flag) } else { format!("refused-{}", refused.flag) };
    let arg = Arg::new(id).long(refused.flag).hide(true).action(ArgAction::Append).value_parser(parser(refused));
    command.arg(match refused.takes {
        Takes::Value(_) => arg.num_args(1).allow_hyphen_values(true),
        Takes::Switch | Takes::SwitchOff => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
    })
}

fn parser(refused: &Refused) -> ValueParser {
    let reason = refused.reason;
    match refused.takes {
        Takes::Value(accepted) => ValueParser::from(move |text: &str| match accepted.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(reason),
        }),
        Takes::Switch => switch("false", reason),
        Takes::SwitchOff => switch("true", reason),
    }
}

fn switch(accepted: &'static str, reason: &'static str) -> ValueParser {
    PossibleValuesParser::new(["true", "false"])
        .try_map(move |text| if text == accepted { Ok(text) } else { Err(reason) })
        .into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn parse(args: &[&str]) -> Result<clap::ArgMatches, clap::Error> {
        with_refused(Cli::command()).try_get_matches_from([&["gabion"], args].concat())
    }

    #[test]
    fn pure_refused_flags_name_the_reason() {
        for (args, reason) in [
            (&["push", "--sign-by", "ABC", "x"][..], NO_SIGNATURES),
            (&["manifest", "push", "--sign-by=A", "x"], NO_SIGNATURES),
            (&["--transient-store", "images"], "always kept"),
            (&["--userns-uid-map=0:1:2", "images"], NO_USERNS),
        ] {
            let error = parse(args).expect_err("refused").to_string();
            assert!(error.contains(reason), "{args:?}: {error}");
        }
        for args in [&["build", "--compress=false", "x"][..], &["from", "--userns", "host", "x"]] {
            assert!(parse(args).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn pure_commands_that_refuse_exist() {
        let command = Cli::command();
        for name in REFUSED.iter().flat_map(|refused| refused.commands) {
            let found = name.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            assert!(found.is_some(), "{name}");
        }
    }
}
