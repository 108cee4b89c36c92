//! Files of variables: what is read, what is refused and how, and that nothing changes on its way through a file.

#![allow(clippy::panic, reason = "a helper of a test fails as the test does")]

mod docker;
mod dotenv;
mod hostile;
mod json;
mod kubernetes;
mod round_trip;
mod yaml;

use outrigger_configuration::format::{
    ExportedVariable, Form, Format, LineProblemKind, ObjectName, ParsedVariable, WriteOptions, parse,
};
use outrigger_protocol::environment::VariableKind;
use zeroize::Zeroizing;

/// The variables of a file that is right.
#[track_caller]
fn read(format: Format, file: &str) -> Vec<ParsedVariable> {
    match parse(format, file.as_bytes()) {
        Ok(variables) => variables,
        Err(problems) => panic!("{problems:?}"),
    }
}

/// Names and values of a file that is right.
#[track_caller]
fn values(format: Format, file: &str) -> Vec<(String, Option<String>)> {
    read(format, file).into_iter().map(|v| (v.name, v.value.map(|value| value.to_string()))).collect()
}

/// The value of the only variable of a file that is right.
#[track_caller]
fn value(format: Format, file: &str) -> String {
    let variables = read(format, file);
    let [ParsedVariable { value: Some(value), .. }] = &variables[..] else { panic!("{variables:?}") };
    value.to_string()
}

/// Line, column and kind of everything that is wrong with a file.
#[track_caller]
fn problems(format: Format, file: &str) -> Vec<(usize, usize, LineProblemKind)> {
    let found = parse(format, file.as_bytes()).expect_err("the file is wrong");
    assert!(found.iter().all(|problem| !problem.to_string().contains('\n')), "{found:?}");
    found.into_iter().map(|problem| (problem.line, problem.column, problem.kind)).collect()
}

fn variable(name: &str, value: &str) -> ExportedVariable {
    ExportedVariable {
        name: name.to_owned(),
        value: Some(Zeroizing::new(value.to_owned())),
        literal: true,
        kind: VariableKind::String,
        secret: false,
        required: false,
        description: String::new(),
        origin: None,
        removed: false,
    }
}

fn options(form: Form) -> WriteOptions {
    WriteOptions { form, object: Some(ObjectName::new("shop", Some("prod")).expect("names")) }
}
