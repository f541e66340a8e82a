//! The rules there are.

use std::fmt;

/// A rule, named as in BuildKit's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "Rule::description says what each is about")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

use Rule::*;

impl Rule {
    /// All rules, in the reference's order.
    pub const ALL: [Rule; 22] = [
        StageNameCasing,
        FromAsCasing,
        NoEmptyContinuation,
        ConsistentInstructionCasing,
        DuplicateStageName,
        ReservedStageName,
        JSONArgsRecommended,
        MaintainerDeprecated,
        UndefinedArgInFrom,
        WorkdirRelativePath,
        UndefinedVar,
        MultipleInstructionsDisallowed,
        LegacyKeyValueFormat,
        InvalidBaseImagePlatform,
        RedundantTargetPlatform,
        SecretsUsedInArgOrEnv,
        InvalidDefaultArgInFrom,
        FromPlatformFlagConstDisallowed,
        CopyIgnoredFile,
        InvalidDefinitionDescription,
        ExposeProtoCasing,
        ExposeInvalidFormat,
    ];

    /// Its name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The rule of this name.
    pub fn find(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Whether it is applied only where a file asks for it.
    pub fn is_experimental(self) -> bool {
        self == InvalidDefinitionDescription
    }

    /// What it wants, in one line.
    pub fn description(self) -> &'static str {
        match self {
            StageNameCasing => "A stage's name is written in lower case",
            FromAsCasing => "AS is written in the same case as FROM",
            NoEmptyContinuation => "No blank line stands inside an instruction",
            ConsistentInstructionCasing => "All instructions are written in the same case",
            DuplicateStageName => "Every stage has a name of its own",
            ReservedStageName => "No stage is called scratch or context",
            JSONArgsRecommended => "CMD and ENTRYPOINT are JSON lists, so that signals reach the program",
            MaintainerDeprecated => "A label names the author, not MAINTAINER",
            UndefinedArgInFrom => "FROM uses arguments that an ARG before it declares",
            WorkdirRelativePath => "The first WORKDIR of a file is an absolute path",
            UndefinedVar => "A variable is set before it is used",
            MultipleInstructionsDisallowed => "CMD, ENTRYPOINT and HEALTHCHECK stand once in a stage",
            LegacyKeyValueFormat => "ENV and LABEL are written with =",
            InvalidBaseImagePlatform => "The base image is of the platform that is built for",
            RedundantTargetPlatform => "FROM does not ask for the platform that it has anyway",
            SecretsUsedInArgOrEnv => "No secret is given by ARG or ENV",
            InvalidDefaultArgInFrom => "FROM names an image even if no build argument is given",
            FromPlatformFlagConstDisallowed => "FROM --platform holds a variable",
            CopyIgnoredFile => "COPY and ADD name nothing that the ignore file leaves out",
            InvalidDefinitionDescription => "A comment above ARG or a named FROM begins with that name",
            ExposeProtoCasing => "EXPOSE writes the protocol in lower case",
            ExposeInvalidFormat => "EXPOSE names ports of the container only",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
