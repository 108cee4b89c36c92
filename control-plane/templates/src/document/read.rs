//! From the tree to the template.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::fields::{Field, Fields, Problems, Text};
use super::problem::{Problem, ProblemKind, TemplateError};
use super::{tree, variable};
use crate::limits;
use crate::template::{Template, Variable};

const FIELDS: &[&str] = &["id", "name", "category", "version", "description", "documentation", "variables"];

pub(crate) fn read(source: &str) -> Result<Template, TemplateError> {
    let (bytes, limit) = (source.len(), limits::FILE_BYTES);
    if bytes > limit {
        let kind = ProblemKind::FileTooLarge { bytes, limit };
        return Err(Problem { path: String::new(), place: None, kind }.into());
    }
    let root = Field { path: String::new(), node: tree::parse(source)? };
    let mut problems = Problems::default();
    let template = root.mapping(FIELDS, &mut problems).and_then(|fields| template(fields, &mut problems));
    match (problems.into_error(), template) {
        (None, Some(template)) => Ok(template),
        (error, _) => Err(error.expect("what is left out of a template was reported")),
    }
}

/// `None`, or anything, when there are problems.
fn template(mut fields: Fields, problems: &mut Problems) -> Option<Template> {
    let id = slug(&mut fields, "id", problems);
    let name = name(&mut fields, problems);
    let category = slug(&mut fields, "category", problems);
    let version = version(&mut fields, problems);
    let description = description(&mut fields, limits::DESCRIPTION_BYTES, problems);
    let documentation = documentation(&mut fields, problems);
    let variables = variables(&mut fields, problems);
    Some(Template {
        id: id?,
        name: name?,
        category: category?,
        version: version?,
        description,
        documentation,
        variables,
    })
}

fn slug(fields: &mut Fields, field: &str, problems: &mut Problems) -> Option<String> {
    let slug = bounded(fields.required_text(field, problems)?, limits::SLUG_BYTES, problems);
    let is_slug = slug
        .text
        .split('-')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    problems.require(is_slug, &slug.path, slug.place, || ProblemKind::NotSlug);
    Some(slug.text)
}

fn name(fields: &mut Fields, problems: &mut Problems) -> Option<String> {
    let name = fields.required_text("name", problems)?;
    problems.require(!name.text.trim().is_empty(), &name.path, name.place, || ProblemKind::Empty);
    let (length, limit) = (name.text.chars().count(), limits::NAME_CHARS);
    problems.require(length <= limit, &name.path, name.place, || ProblemKind::TooLong {
        length,
        unit: "characters",
        limit,
    });
    let is_line = !name.text.chars().any(char::is_control);
    problems.require(is_line, &name.path, name.place, || ProblemKind::ControlCharacter);
    Some(name.text)
}

fn version(fields: &mut Fields, problems: &mut Problems) -> Option<String> {
    let version = bounded(fields.required_text("version", problems)?, limits::VERSION_BYTES, problems);
    let is_version = version.text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'));
    problems.require(is_version, &version.path, version.place, || ProblemKind::NotVersion);
    Some(version.text)
}

/// Of a template or a variable; may be left out.
pub(super) fn description(fields: &mut Fields, limit: usize, problems: &mut Problems) -> String {
    let Some(text) = fields.text("description", problems) else { return String::new() };
    let text = bounded(text, limit, problems);
    let is_prose = !text.text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    problems.require(is_prose, &text.path, text.place, || ProblemKind::ControlCharacter);
    text.text
}

/// Of a template or a variable; may be left out.
pub(super) fn documentation(fields: &mut Fields, problems: &mut Problems) -> Option<String> {
    let url = bounded(fields.text("documentation", problems)?, limits::URL_BYTES, problems);
    let is_url = url.text.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
    });
    problems.require(is_url, &url.path, url.place, || ProblemKind::NotHttps);
    Some(url.text)
}

fn variables(fields: &mut Fields, problems: &mut Problems) -> Vec<Variable> {
    let Some(list) = fields.require("variables", problems) else { return Vec::new() };
    let mut variables = Vec::new();
    let mut lines = HashMap::new();
    for element in list.list(limits::VARIABLES, problems) {
        let place = element.place();
        let path = format!("{}.key", element.path);
        let Some(variable) = variable::read(element, problems) else { continue };
        match lines.entry(variable.key.clone()) {
            // Without a key: reported, and nobody's double.
            _ if variable.key.is_empty() => {}
            Entry::Occupied(first) => problems.add(&path, place, ProblemKind::Repeated { first: *first.get() }),
            Entry::Vacant(free) => {
                free.insert(place.line);
            }
        }
        variables.push(variable);
    }
    variables
}

/// Reports a text that is too long, which makes it useless but not harmful to look at: the file is bounded.
pub(super) fn bounded(text: Text, limit: usize, problems: &mut Problems) -> Text {
    let length = text.text.len();
    problems.require(length <= limit, &text.path, text.place, || ProblemKind::TooLong { length, unit: "bytes", limit });
    text
}
