//! What must hold for any bytes that are given as a Dockerfile. The fuzz target and the test that
//! replays its corpus share it.
#![allow(clippy::expect_used, reason = "tests")]

#[path = "../../../dockerfile/tests/support/properties.rs"]
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;

use buildkit_core::plan::{PlanError, PlanOptions, plan};
use buildkit_core::stage_state::{Scope, StageState};
use dockerfile::{Diagnostic, Source};
use oci::{ImageConfig, Platform};

/// Goes the whole way from text to steps, without an image or a file. Whatever the bytes are, it
/// ends without a panic, soon, and every complaint has a place in the text.
pub fn check(bytes: &[u8]) {
    let source = Source::new("Dockerfile", bytes);
    let file = dockerfile::parse(&source);
    file.diagnostics.iter().for_each(|diagnostic| check_diagnostic(&source, diagnostic));
    for instruction in &file.instructions {
        let text = source.text().get(instruction.span.start..instruction.span.end);
        assert!(text.is_some_and(|text| !text.is_empty()), "no text at {:?}", instruction.span);
        let keyword = &instruction.keyword;
        let written =
            source.text().get(keyword.full_span().start..keyword.full_span().end).expect("between characters");
        assert!(written == keyword.as_str() || written.contains('\n'), "{keyword:?} is {written:?}");
    }
    properties::check_properties(&source, &file, dockerfile::parse);
    let platform = Platform::host();
    let build_args: BTreeMap<String, String> = [("A", "a value"), ("VERSION", "1.2.3"), ("HTTP_PROXY", "http://proxy")]
        .map(|(n, v)| (n.into(), v.into()))
        .into();
    let options = PlanOptions {
        without_cache: Vec::new(),
        from: None,
        target: None,
        build_args,
        contexts: Default::default(),
        platform: platform.clone(),
        build_platform: platform.clone(),
    };
    let plan = match plan(&file, &options) {
        Ok(plan) => plan,
        Err(PlanError::File(errors)) => {
            assert!(!errors.is_empty(), "no plan, and nothing wrong");
            errors.iter().for_each(|error| check_diagnostic(&source, error));
            return;
        }
        Err(PlanError::Target(..) | PlanError::WithoutCache(..)) => return,
    };
    assert_eq!(file.errors().count(), 0, "a plan in spite of errors");
    let scope = Arc::new(Scope {
        build_args: options.build_args,
        global_args: plan.global_args.clone(),
        escape: plan.escape,
        put_in: Default::default(),
    });
    for stage in &plan.stages {
        let mut state = StageState::new(scope.clone(), ImageConfig::new(&platform));
        for instruction in &stage.instructions {
            if let Err(error) = state.apply(instruction) {
                check_diagnostic(&source, &error);
            }
        }
    }
}

fn check_diagnostic(source: &Source, diagnostic: &Diagnostic) {
    let line = diagnostic.line(source);
    assert!(!line.contains(['\n', '\x1b']), "{line:?}");
    assert!(!diagnostic.render(source).contains('\x1b'));
    let place = source.text().get(diagnostic.span.start..diagnostic.span.end);
    assert!(place.is_some(), "{diagnostic:?} is not between characters of the text");
}
