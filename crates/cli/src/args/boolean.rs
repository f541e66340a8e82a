//! Flags that are on or off take a value, too, as Go's programs have it: `--quiet=false`, `--rm=1`.

use std::any::TypeId;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Command};

/// The words of Go's booleans.
const TRUE: [&str; 6] = ["true", "1", "t", "T", "TRUE", "True"];
const FALSE: [&str; 6] = ["false", "0", "f", "F", "FALSE", "False"];

/// What a boolean flag takes.
#[derive(Clone)]
struct Boolean;

impl TypedValueParser for Boolean {
    type Value = bool;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<bool, clap::Error> {
        match value.to_str() {
            Some(word) if TRUE.contains(&word) => Ok(true),
            Some(word) if FALSE.contains(&word) => Ok(false),
            _ => PossibleValuesParser::new(["true", "false"]).parse_ref(command, arg, value).map(|_| false),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["true", "false"].into_iter().map(PossibleValue::new)))
    }
}

/// The same command line with flags that take `=true` and `=false`. Help is clearer without, and
/// nearly all command lines are, so this is for those that were not understood.
pub fn with_values_of_switches(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values_of_switches)
}

fn with_value(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .default_missing_value("true")
            .default_value("false")
            .value_parser(Boolean),
        ArgAction::Set if arg.get_value_parser().type_id() == TypeId::of::<bool>() => arg.value_parser(Boolean),
        _ => arg,
    }
}
