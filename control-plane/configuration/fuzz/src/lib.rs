//! What holds for every format.

use outrigger_configuration::format::{
    ExportedVariable, FILE_BYTES, Form, Format, ObjectName, ParsedVariable, WriteOptions, parse, write,
};
use outrigger_protocol::environment::VariableKind;

/// Any bytes are variables or problems, and variables survive being written and read again.
pub fn round_trip(format: Format, bytes: &[u8]) {
    let variables = match parse(format, bytes) {
        Ok(variables) => variables,
        Err(problems) => return assert!(!problems.is_empty(), "a file is refused for a reason"),
    };
    let exported: Vec<_> = variables.iter().map(exported).collect();
    let object = ObjectName::new("fuzz", None).expect("a name");
    let options = WriteOptions { form: Form::Full, object: Some(object) };
    let file = match write(format, &exported, &options) {
        Ok(file) => file,
        // A line that it reads may be longer than what Docker does, and may end in two carriage returns.
        Err(_) if format == Format::Docker => return,
        Err(problems) => panic!("what was read can be written: {problems:?}"),
    };
    let again = match parse(format, file.as_bytes()) {
        Ok(again) => again,
        // An escape takes more bytes than what it stands for.
        Err(_) if file.len() > FILE_BYTES => return,
        Err(problems) => panic!("what was written can be read: {problems:?}"),
    };
    let (mut before, mut after) = (meant(&variables, format), meant(&again, format));
    before.sort_unstable();
    after.sort_unstable();
    assert!(before == after, "what was written is what is read");
}

fn exported(variable: &ParsedVariable) -> ExportedVariable {
    ExportedVariable {
        name: variable.name.clone(),
        value: variable.value.clone(),
        literal: variable.literal,
        kind: variable.kind.unwrap_or(VariableKind::String),
        secret: variable.secret.unwrap_or_default(),
        required: variable.required.unwrap_or_default(),
        description: variable.description.clone().unwrap_or_default(),
        origin: None,
        removed: variable.removed,
    }
}

/// Names and written values, of which only JSON and YAML tell those that are absent, and not every form those that are
/// removed.
fn meant(variables: &[ParsedVariable], format: Format) -> Vec<(String, Option<String>)> {
    let tells_unset = matches!(format, Format::Json | Format::Yaml);
    let told = variables.iter().filter(|variable| variable.value.is_some() || (tells_unset && !variable.removed));
    told.map(|variable| (variable.name.clone(), variable.written().map(|value| value.to_string()))).collect()
}
