//! `gabion config`

use std::process::ExitCode;

use buildkit_core::configure::{ConfigChanges, Edit, HealthcheckChanges, configure};
use buildkit_core::stage_state::check_signal;
use buildkit_core::working_container::WorkingContainer;
use dockerfile::instruction::parse_ports;
use dockerfile::{Source, parse_instructions};
use jiff::Timestamp;
use oci::History;

use crate::args::{parse_duration, value};
use crate::command_error::CommandError;
use crate::session::Session;

/// Change the config that an image made from a working container will have
///
/// Where a value is NAME=value, `NAME-` removes one and `-` removes all.
#[derive(clap::Args)]
pub struct Args {
    /// Annotation of the image's manifest
    #[arg(short, long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    annotation: Vec<String>,
    /// Add an entry to the image's history for each change
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false",
          env = "BUILDAH_HISTORY", hide_env = true, action = clap::ArgAction::Set)]
    add_history: bool,
    /// CPU architecture of the image
    #[arg(long, value_parser = value::platform_word)]
    arch: Option<String>,
    /// Who made the image
    #[arg(long, value_name = "CONTACT")]
    author: Option<String>,
    /// Default command, or the default arguments of the entrypoint: words as a shell splits them, or a JSON array
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    cmd: Option<String>,
    /// Free text (Docker format only)
    #[arg(long)]
    comment: Option<String>,
    /// What the history says made the new layer
    #[arg(long, value_name = "TEXT")]
    created_by: Option<String>,
    /// Domain name of containers (Docker format only)
    #[arg(long, value_name = "NAME", value_parser = value::host_name_or_none)]
    domainname: Option<String>,
    /// Entrypoint: a JSON array, or a command for /bin/sh -c
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    entrypoint: Option<String>,
    /// Environment variable; without a value, that of gabion's own environment
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Health check: NONE, CMD words or CMD-SHELL command; empty removes it (Docker format only)
    #[arg(long, value_name = "COMMAND")]
    healthcheck: Option<String>,
    /// Time between health checks, such as 30s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    healthcheck_interval: Option<i64>,
    /// Failures in a row that mean unhealthy
    #[arg(long, value_name = "NUMBER", value_parser = value::number(0, i64::from(i32::MAX)))]
    healthcheck_retries: Option<i64>,
    /// Time between health checks while the container starts
    #[arg(long, value_name = "TIME", value_parser = duration)]
    healthcheck_start_interval: Option<i64>,
    /// Time in which failing health checks do not count
    #[arg(long, value_name = "TIME", value_parser = duration)]
    healthcheck_start_period: Option<i64>,
    /// Time after which a health check has failed
    #[arg(long, value_name = "TIME", value_parser = duration)]
    healthcheck_timeout: Option<i64>,
    /// Comment of the new layer's history entry
    #[arg(long, value_name = "TEXT")]
    history_comment: Option<String>,
    /// Host name of containers (Docker format only)
    #[arg(long, value_name = "NAME", value_parser = value::host_name_or_none)]
    hostname: Option<String>,
    /// Label of the image's config
    #[arg(short, long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    label: Vec<String>,
    /// Instruction that builds on the image run; `-` removes all (Docker format only)
    #[arg(long, value_name = "INSTRUCTION", allow_hyphen_values = true, value_parser = instruction)]
    onbuild: Vec<String>,
    /// Operating system of the image
    #[arg(long, value_parser = value::platform_word)]
    os: Option<String>,
    /// Operating system feature that the image needs
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    os_feature: Vec<String>,
    /// Operating system version that the image needs
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Port that containers listen on, such as 80 or 53/udp
    #[arg(short, long, value_name = "PORT", value_delimiter = ',', allow_hyphen_values = true)]
    port: Vec<String>,
    /// Shell of the shell form, in words (Docker format only)
    #[arg(long, value_name = "COMMAND")]
    shell: Option<String>,
    /// Signal that stops containers
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    stop_signal: Option<String>,
    /// Annotation to remove
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::name)]
    unsetannotation: Vec<String>,
    /// Label to remove
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::name)]
    unsetlabel: Vec<String>,
    /// User of containers' command: name or number, with a group after a colon
    #[arg(short, long, value_parser = value::user)]
    user: Option<String>,
    /// Variant of the CPU architecture
    #[arg(long, value_parser = value::platform_word_or_none)]
    variant: Option<String>,
    /// Path of a volume
    #[arg(short, long, value_name = "PATH", value_delimiter = ',', allow_hyphen_values = true)]
    volume: Vec<String>,
    /// Directory that containers' command starts in
    #[arg(long, value_name = "DIR", value_parser = value::absolute_path_or_none)]
    workingdir: Option<String>,
    /// Name or ID of the working container
    container: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let changes = changes(args, session)?;
    let store = session.store()?;
    let mut container = WorkingContainer::open(&store, &args.container)?;
    let old_cmd = container.state().config.config.cmd.clone();
    let lost = configure(container.state_mut(), &changes);
    if args.add_history {
        let created = Some(Timestamp::now());
        let entry = |text| History {
            created,
            created_by: format!("/bin/sh -c #(nop) {text}"),
            empty_layer: true,
            ..History::default()
        };
        container.state_mut().prepended_empty_layers.extend(history_texts(args).into_iter().map(entry));
    }
    container.save()?;
    if let (Some(entrypoint), Some(cmd), None) = (&changes.entrypoint, old_cmd, &args.cmd) {
        let fate = match entrypoint.as_slice() {
            [] => None,
            [shell, option, _] if shell == "/bin/sh" && option == "-c" => {
                Some("will be ignored because of the new entrypoint")
            }
            _ => Some("will be passed to the new entrypoint as parameters"),
        };
        if let Some(fate) = fate {
            session.warn(&format!("the command {:?} stays and {fate}: --cmd sets another", cmd.join(" ")));
        }
    }
    for field in lost {
        session.warn(&format!(
            "{} is not supported for OCI image format and will be ignored. Must use `docker` format",
            field.to_uppercase()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the history tells of the changes, in Buildah's words and order: one entry for each flag
/// that a Dockerfile has an instruction for, with the text as it was given.
fn history_texts(args: &Args) -> Vec<String> {
    let one = |instruction: &str, text: &Option<String>| text.as_ref().map(|text| format!("{instruction} {text}"));
    let all =
        |instruction: &str, texts: &[String]| (!texts.is_empty()).then(|| format!("{instruction} {}", texts.join(" ")));
    let each = |instruction: &str, texts: &[String]| {
        texts.iter().map(|text| format!("{instruction} {text}")).collect::<Vec<_>>()
    };
    let mut entries: Vec<String> = [
        one("USER", &args.user),
        one("SHELL", &args.shell),
        one("STOPSIGNAL", &args.stop_signal),
        all("EXPOSE", &args.port),
        all("ENV", &args.env),
        one("ENTRYPOINT", &args.entrypoint),
        one("CMD", &args.cmd),
    ]
    .into_iter()
    .flatten()
    .collect();
    entries.extend(each("VOLUME", &args.volume));
    entries.extend(healthcheck_text(args));
    entries.extend(all("LABEL", &args.label));
    entries.extend(one("WORKDIR", &args.workingdir));
    entries.extend(each("ONBUILD", &args.onbuild));
    entries
}

fn healthcheck_text(args: &Args) -> Option<String> {
    let flag = |name: &str, nanoseconds: Option<i64>| {
        nanoseconds.map(|nanoseconds| format!("--{name}={} ", go_duration(nanoseconds)))
    };
    let flags = [
        flag("interval", args.healthcheck_interval),
        args.healthcheck_retries.map(|retries| format!("--retries={retries} ")),
        flag("start-period", args.healthcheck_start_period),
        flag("start-interval", args.healthcheck_start_interval),
        flag("timeout", args.healthcheck_timeout),
    ];
    let flags: String = flags.into_iter().flatten().collect();
    match args.healthcheck.as_deref() {
        None if flags.is_empty() => None,
        Some(text) if text.trim().is_empty() => Some("HEALTHCHECK NONE".to_owned()),
        text => Some(format!("HEALTHCHECK {flags}{}", text.unwrap_or_default())),
    }
}

/// Nanoseconds in Go's notation, in the largest unit that holds them whole.
fn go_duration(nanoseconds: i64) -> String {
    let units =
        [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)];
    let whole = units.iter().find(|(_, unit)| nanoseconds != 0 && nanoseconds % unit == 0);
    whole.map_or_else(|| format!("{nanoseconds}ns"), |(name, unit)| format!("{}{name}", nanoseconds / unit))
}

fn changes(args: &Args, session: &Session) -> Result<ConfigChanges, CommandError> {
    let words = |text: &Option<String>, flag: &str| text.as_deref().map(|text| split_words(text, flag)).transpose();
    let maps = |texts: &[String], flag| edits(texts, flag, Edit::of_map);
    let sets = |texts: &[String], flag| edits(texts, flag, Edit::of_set);
    let removals = |names: &[String]| names.iter().cloned().map(Edit::Remove).collect::<Vec<_>>();
    let env = maps(&args.env, "env")?.into_iter().map(|edit| match edit {
        Edit::Set(name, None) => match session.env(&name) {
            Some(value) => Ok(Edit::Set(name, Some(value))),
            None => Err(CommandError::new(format!(
                "setting env {name:?}: no value given: --env takes it from the environment, which has none"
            ))),
        },
        edit => Ok(edit),
    });
    Ok(ConfigChanges {
        author: args.author.clone(),
        created_by: args.created_by.clone(),
        history_comment: args.history_comment.clone(),
        architecture: args.arch.clone(),
        variant: args.variant.clone(),
        os: args.os.clone(),
        os_version: args.os_version.clone(),
        os_features: sets(&args.os_feature, "os-feature")?,
        user: args.user.clone(),
        ports: ports(&args.port)?,
        env: env.collect::<Result<_, _>>()?,
        entrypoint: args.entrypoint.as_deref().map(entrypoint),
        cmd: words(&args.cmd, "cmd")?,
        shell: words(&args.shell, "shell")?,
        volumes: sets(&args.volume, "volume")?,
        labels: [maps(&args.label, "label")?, removals(&args.unsetlabel)].concat(),
        annotations: [maps(&args.annotation, "annotation")?, removals(&args.unsetannotation)].concat(),
        working_dir: args.workingdir.clone(),
        comment: args.comment.clone(),
        domainname: args.domainname.clone(),
        hostname: args.hostname.clone(),
        on_build: args.onbuild.clone(),
        stop_signal: args.stop_signal.clone(),
        healthcheck: HealthcheckChanges {
            test: words(&args.healthcheck, "healthcheck")?,
            interval: args.healthcheck_interval,
            timeout: args.healthcheck_timeout,
            start_period: args.healthcheck_start_period,
            start_interval: args.healthcheck_start_interval,
            retries: args.healthcheck_retries,
        },
    })
}

/// The edits that a flag's values ask for; each must have a name.
fn edits(texts: &[String], flag: &str, parse: fn(&str) -> Edit) -> Result<Vec<Edit>, CommandError> {
    let edit = |text: &String| match parse(text) {
        Edit::Set(name, _) | Edit::Remove(name) if name.is_empty() => {
            Err(CommandError::new(format!("invalid --{flag} {text:?}: expected a NAME, before any = or -")))
        }
        edit => Ok(edit),
    };
    texts.iter().map(edit).collect()
}

fn ports(texts: &[String]) -> Result<Vec<Edit>, CommandError> {
    let edits = edits(texts, "port", Edit::of_set)?;
    for edit in &edits {
        if let Edit::Set(port, _) = edit
            && parse_ports(port).is_err()
        {
            return Err(CommandError::new(format!("invalid --port {port:?}: expected a port such as 80 or 53/udp")));
        }
    }
    Ok(edits)
}

/// A JSON array of strings as it is, anything else as a shell would split it.
fn split_words(text: &str, flag: &str) -> Result<Vec<String>, CommandError> {
    if let Ok(words) = serde_json::from_str(text) {
        return Ok(words);
    }
    shlex::split(text).ok_or_else(|| {
        CommandError::new(format!("parsing --{flag} {text:?}: invalid command line string: a quote is not closed"))
    })
}

fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str(text) {
        Ok(words) => words,
        Err(_) if text.trim().is_empty() => Vec::new(),
        Err(_) => vec!["/bin/sh".into(), "-c".into(), text.into()],
    }
}

/// An instruction that an image can have for later builds, or `-`.
fn instruction(text: &str) -> Result<String, String> {
    let onbuild = format!("ONBUILD {text}");
    let parsed = parse_instructions(&Source::new("onbuild", onbuild.as_bytes()));
    match parsed.errors().next() {
        _ if text == "-" => Ok(text.to_owned()),
        Some(error) => Err(format!("expected an instruction, or -: {}", error.message)),
        None => Ok(text.to_owned()),
    }
}

/// A signal, or nothing.
fn signal(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { check_signal(text).map(|()| text.to_owned()) }
}

/// Nanoseconds of a time in Go's notation, such as `1m30s`.
fn duration(text: &str) -> Result<i64, String> {
    let duration = parse_duration(text)?;
    i64::try_from(duration.as_nanos()).map_err(|_| "expected a shorter time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn pure_durations_are_written_as_go_does() {
        for (nanoseconds, expected) in
            [(30_000_000_000, "30s"), (90_000_000_000, "90s"), (60_000_000_000, "1m"), (1500, "1500ns"), (0, "0ns")]
        {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }
}
