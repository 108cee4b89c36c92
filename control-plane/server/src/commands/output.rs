//! Prints answers: as a table for people, as JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::cli::Output;
use crate::console;

/// A column: its title and where its value stands (a JSON pointer).
pub(super) type Column = (&'static str, &'static str);

pub(super) fn list(output: Output, items: &[Value], columns: &[Column]) -> anyhow::Result<()> {
    if output == Output::Json {
        return json(&Value::Array(items.to_vec()));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))));
    }
    console::line(format_args!("{table}"))?;
    Ok(())
}

/// One thing, a line for each field.
pub(super) fn item(output: Output, item: &Value, fields: &[Column]) -> anyhow::Result<()> {
    if output == Output::Json {
        return json(item);
    }
    let width = fields.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    for (title, pointer) in fields {
        console::line(format_args!("{title:width$}  {}", cell(item.pointer(pointer))))?;
    }
    Ok(())
}

pub(super) fn json(value: &Value) -> anyhow::Result<()> {
    console::line(format_args!("{}", serde_json::to_string_pretty(value)?))?;
    Ok(())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.1}"),
            _ => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}
