//! Whatever is written is read back, or the writer says which variable it cannot carry.

use std::collections::{BTreeMap, HashSet};

use outrigger_configuration::format::{
    ExportedVariable, Form, Format, ParsedVariable, WriteProblem, WriteProblemKind, parse, write,
};
use outrigger_protocol::environment::VariableKind;
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::options;

/// Names, and words that mean something to some format.
fn name() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &["NO", "y", "null", "True", "export", "outrigger", "variables", "data", "_"];
    prop_oneof![4 => "[A-Za-z_][A-Za-z0-9_]{0,6}", 1 => proptest::sample::select(WORDS).prop_map(str::to_owned)]
        .prop_filter("not reserved", |name| !name.starts_with("OUTRIGGER_"))
}

/// Everything that means something to some format, near each other; and any other text without a NUL.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "([ '\"`\\\\$#=:{}\\[\\],|>&*!%@~?nrtx\\-\n\r\t\u{1}\u{1b}\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{fffe}é😀]|\\$\\{A\\}|\r\n|---|null|1\\.10){0,12}",
        1 => "[a-z0-9/.:]{0,20}",
        1 => "([ -~]{0,20}\n){0,4}[ -~]{0,20}",
        1 => any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn exported() -> impl Strategy<Value = ExportedVariable> {
    let typed = prop_oneof![
        6 => text().prop_map(|text| (VariableKind::String, text)),
        1 => text().prop_map(|text| (VariableKind::Secret, text)),
        1 => Just((VariableKind::Number, "1.10".to_owned())),
        1 => Just((VariableKind::Boolean, "yes".to_owned())),
        1 => Just((VariableKind::Json, "{\"a\": [1]}".to_owned())),
        1 => Just((VariableKind::Url, "https://${HOST}/".to_owned())),
    ];
    let rest = (any::<bool>(), any::<bool>(), any::<bool>(), text(), proptest::option::of(text()));
    (name(), proptest::option::weighted(0.9, typed), rest).prop_map(|(name, typed, rest)| {
        let (literal, secret, required, description, origin) = rest;
        let (kind, value) = typed.map_or((VariableKind::String, None), |(kind, value)| (kind, Some(value)));
        let value = value.map(Zeroizing::new);
        ExportedVariable { name, value, literal, kind, secret, required, description, origin, removed: false }
    })
}

fn variables() -> impl Strategy<Value = Vec<ExportedVariable>> {
    proptest::collection::vec(exported(), 0..8).prop_map(|mut variables| {
        let mut names = HashSet::new();
        variables.retain(|variable| names.insert(variable.name.clone()));
        variables
    })
}

/// What is stored: a value, written.
fn written(variable: &ExportedVariable) -> Option<Zeroizing<String>> {
    let (name, value, literal) = (variable.name.clone(), variable.value.clone(), variable.literal);
    let (kind, secret, required, description) = (None, None, None, None);
    ParsedVariable { name, value, line: 1, literal, kind, secret, required, description, removed: false }.written()
}

/// Names and written values; those without one are left out where the format cannot tell of them.
fn meant(variables: &[ExportedVariable], tells_unset: bool) -> Vec<(String, Option<Zeroizing<String>>)> {
    let told = variables.iter().filter(|variable| tells_unset || variable.value.is_some());
    told.map(|variable| (variable.name.clone(), written(variable))).collect()
}

fn read(format: Format, file: &str) -> Vec<(String, Option<Zeroizing<String>>)> {
    let variables = parse(format, file.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}\n{file:?}"));
    variables.into_iter().map(|variable| (variable.name.clone(), variable.written())).collect()
}

/// Without those that the format refuses, it is written and read back.
fn carried(format: Format, variables: Vec<ExportedVariable>) -> (Vec<ExportedVariable>, String, Vec<WriteProblem>) {
    match write(format, &variables, &options(Form::Flat)) {
        Ok(file) => (variables, file.to_string(), Vec::new()),
        Err(problems) => {
            let refused: HashSet<&str> = problems.iter().map(|problem| problem.name.as_str()).collect();
            let fitting: Vec<_> = variables.iter().filter(|v| !refused.contains(v.name.as_str())).cloned().collect();
            assert!(fitting.len() < variables.len(), "{problems:?}");
            let file = write(format, &fitting, &options(Form::Flat)).expect("only what was named does not fit");
            (fitting, file.to_string(), problems)
        }
    }
}

fn has_reference(variable: &ExportedVariable) -> bool {
    // A run of an odd number of `$`s in front of a `{`.
    let opens =
        |text: &str| text.match_indices('{').any(|(at, _)| (at - text[..at].trim_end_matches('$').len()) % 2 == 1);
    !variable.literal && variable.value.as_deref().is_some_and(|value| opens(value))
}

/// The text that a program gets.
fn program_text(variable: &ExportedVariable) -> Option<String> {
    let value = variable.value.as_ref()?.to_string();
    if variable.literal {
        return Some(value);
    }
    let mut text = String::new();
    let mut rest = value.as_str();
    while let Some(brace) = rest.find('{') {
        let before = rest[..brace].trim_end_matches('$');
        text.push_str(before);
        text.push_str(&"$".repeat((brace - before.len()) / 2));
        text.push('{');
        rest = &rest[brace + 1..];
    }
    Some(text + rest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn dotenv(variables in variables()) {
        let file = write(Format::Dotenv, &variables, &options(Form::Flat)).expect("dotenv carries everything");
        prop_assert_eq!(read(Format::Dotenv, &file), meant(&variables, false), "{}", *file);
        let with_carriage_returns = file.replace('\n', "\r\n");
        prop_assert_eq!(read(Format::Dotenv, &with_carriage_returns), meant(&variables, false));
    }

    #[test]
    fn json_and_yaml_flat(variables in variables()) {
        for format in [Format::Json, Format::Yaml] {
            let file = write(format, &variables, &options(Form::Flat)).expect("it carries everything");
            prop_assert_eq!(read(format, &file), meant(&variables, true), "{}", *file);
        }
    }

    #[test]
    fn json_and_yaml_full(variables in variables()) {
        for format in [Format::Json, Format::Yaml] {
            let file = write(format, &variables, &options(Form::Full)).expect("it carries everything");
            let read = parse(format, file.as_bytes());
            prop_assert!(read.is_ok(), "{:?}\n{}", read, *file);
            let expected: Vec<_> = variables.iter().cloned().map(|variable| ParsedVariable {
                name: variable.name,
                value: variable.value,
                line: 0,
                literal: variable.literal,
                kind: Some(variable.kind),
                secret: Some(variable.secret),
                required: Some(variable.required),
                description: Some(variable.description),
                removed: false,
            }).collect();
            let read: Vec<_> = read.unwrap().into_iter().map(|v| ParsedVariable { line: 0, ..v }).collect();
            prop_assert!(read == expected, "{}", *file);
        }
    }

    /// By readers that know nothing of references: what a program gets.
    #[test]
    fn json_and_yaml_plain(variables in variables()) {
        for format in [Format::Json, Format::Yaml] {
            match write(format, &variables, &options(Form::Plain)) {
                Ok(file) => {
                    let read: BTreeMap<String, Option<String>> = match format {
                        Format::Json => serde_json::from_str(&file).expect("JSON"),
                        _ => serde_saphyr::from_str(&file).expect("YAML"),
                    };
                    let expected = variables.iter().map(|v| (v.name.clone(), program_text(v))).collect();
                    prop_assert_eq!(read, expected, "{}", *file);
                }
                Err(problems) => {
                    let refused: Vec<_> = problems.iter().map(|problem| problem.name.as_str()).collect();
                    let referring: Vec<_> = variables.iter().filter(|v| has_reference(v)).map(|v| v.name.as_str()).collect();
                    prop_assert_eq!(refused, referring);
                }
            }
        }
    }

    #[test]
    fn docker(variables in variables()) {
        let refused_rightly = |problem: &WriteProblem, variables: &[ExportedVariable]| {
            let variable = variables.iter().find(|variable| variable.name == problem.name).expect("a variable");
            match problem.kind {
                WriteProblemKind::Reference => has_reference(variable),
                WriteProblemKind::SeveralLines => variable.value.as_ref().is_some_and(|value| value.contains('\n')),
                WriteProblemKind::CarriageReturnAtEnd => variable.value.as_ref().is_some_and(|v| v.ends_with('\r')),
                _ => false,
            }
        };
        let (fitting, file, problems) = carried(Format::Docker, variables.clone());
        prop_assert_eq!(read(Format::Docker, &file), meant(&fitting, false), "{}", file);
        prop_assert!(problems.iter().all(|problem| refused_rightly(problem, &variables)), "{:?}", problems);
    }

    #[test]
    fn kubernetes(variables in variables()) {
        let (fitting, file, problems) = carried(Format::K8s, variables.clone());
        let mut expected = meant(&fitting, false);
        let mut found = read(Format::K8s, &file);
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        found.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, expected, "{}", file);
        let referring: HashSet<_> = variables.iter().filter(|v| has_reference(v)).map(|v| v.name.clone()).collect();
        prop_assert_eq!(problems.into_iter().map(|problem| problem.name).collect::<HashSet<_>>(), referring);
        let secrets: HashSet<_> = fitting.iter().filter(|v| v.secret || v.kind == VariableKind::Secret).map(|v| &v.name).collect();
        for variable in parse(Format::K8s, file.as_bytes()).unwrap() {
            prop_assert_eq!(variable.secret, Some(secrets.contains(&variable.name)));
        }
    }
}
