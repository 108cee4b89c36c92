//! Prints answers: as a table for people, as JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::cli::Output;
use crate::console;

/// Most characters and lines of a cell in a list: one long value would make the other columns unreadable.
const CELL_CHARS: usize = 200;
const CELL_LINES: usize = 8;

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
        table.add_row(columns.iter().map(|(_, pointer)| cut(cell(item.pointer(pointer)))));
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
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.1}"),
            _ => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// The beginning of what is too long for a table, and how long it is; JSON has all of it.
fn cut(text: String) -> String {
    let by_chars = text.char_indices().nth(CELL_CHARS).map_or(text.len(), |(at, _)| at);
    let by_lines = text.match_indices('\n').nth(CELL_LINES - 1).map_or(text.len(), |(at, _)| at);
    match by_chars.min(by_lines) {
        end if end == text.len() => text,
        end => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_a_list_is_cut_between_characters_and_says_how_long_it_is() {
        let fits = "é".repeat(CELL_CHARS);
        assert_eq!(cut(fits.clone()), fits);
        let long = "é".repeat(CELL_CHARS + 1);
        assert_eq!(cut(long), format!("{fits}… ({} bytes)", 2 * (CELL_CHARS + 1)));

        let lines = "x\n".repeat(CELL_LINES);
        assert_eq!(cut(lines), format!("{}x… ({} bytes)", "x\n".repeat(CELL_LINES - 1), 2 * CELL_LINES));
        assert_eq!(cut("x\n".repeat(CELL_LINES - 1)), "x\n".repeat(CELL_LINES - 1));
    }

    #[test]
    fn nothing_is_a_dash() {
        for nothing in [None, Some(&Value::Null), Some(&serde_json::json!([]))] {
            assert_eq!(cell(nothing), "-");
        }
    }
}
