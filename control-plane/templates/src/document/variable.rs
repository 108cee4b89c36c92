//! One element of `variables`.

use std::collections::HashSet;

use outrigger_protocol::environment::VariableKind;

use super::fields::{Field, Fields, Problems, Text};
use super::problem::ProblemKind;
use super::read::{bounded, description, documentation};
use crate::generate::{Alphabet, Encoding, Generator};
use crate::limits;
use crate::template::{BROWSER_PREFIXES, Defaults, Pattern, Stage, Variable, name_problem};

const FIELDS: &[&str] = &[
    "key",
    "kind",
    "required",
    "secret",
    "description",
    "documentation",
    "default",
    "example",
    "generate",
    "values",
    "pattern",
];
const STAGES: &[&str] = &[Stage::Development.name(), Stage::Staging.name(), Stage::Production.name()];
const GENERATE_FIELDS: &[&str] = &["kind", "bytes", "characters", "alphabet"];
pub(super) const GENERATORS: &[&str] = &["hex", "base64", "base64url", "alphanumeric", "ascii", "custom"];

/// `None`, or anything, when there are problems.
pub(super) fn read(element: Field, problems: &mut Problems) -> Option<Variable> {
    let mut fields = element.mapping(FIELDS, problems)?;
    let key = key(&mut fields, problems);
    // Of a variable whose kind is not known, the rest is looked at as if it took anything.
    let kind = kind(&mut fields, problems).unwrap_or(VariableKind::String);
    let required = fields.take("required").and_then(|field| field.boolean(problems)).unwrap_or(false);
    let secret = secret(&mut fields, kind, problems);
    if secret && let Some(key) = &key {
        check_browser(key, problems);
    }
    let mut variable = Variable {
        key: key.map(|key| key.text).unwrap_or_default(),
        kind,
        required,
        secret,
        description: description(&mut fields, limits::VARIABLE_DESCRIPTION_BYTES, problems),
        documentation: documentation(&mut fields, problems),
        default: Defaults::default(),
        example: None,
        generate: None,
        values: Vec::new(),
        pattern: pattern(&mut fields, problems),
    };
    variable.values = values(&mut fields, &variable, problems);
    variable.generate = generate(&mut fields, &variable, problems);
    variable.default = default(&mut fields, &variable, problems);
    variable.example =
        fields.text("example", problems).map(|text| fitting(text, limits::TEXT_BYTES, &variable, problems));
    Some(variable)
}

fn key(fields: &mut Fields, problems: &mut Problems) -> Option<Text> {
    let key = bounded(fields.required_text("key", problems)?, limits::KEY_BYTES, problems);
    if let Some(problem) = name_problem(&key.text) {
        problems.add(&key.path, key.place, ProblemKind::Name(problem));
    }
    Some(key)
}

fn kind(fields: &mut Fields, problems: &mut Problems) -> Option<VariableKind> {
    let kind = fields.required_text("kind", problems)?;
    kind.text.parse().map_err(|unknown| problems.add(&kind.path, kind.place, ProblemKind::Kind(unknown))).ok()
}

fn secret(fields: &mut Fields, kind: VariableKind, problems: &mut Problems) -> bool {
    let by_kind = kind == VariableKind::Secret;
    let Some(field) = fields.take("secret") else { return by_kind };
    let (path, place) = (field.path.clone(), field.place());
    let marked = field.boolean(problems);
    problems.require(!(by_kind && marked == Some(false)), &path, place, || ProblemKind::SecretByKind);
    by_kind || marked == Some(true)
}

fn check_browser(key: &Text, problems: &mut Problems) {
    if let Some(prefix) = BROWSER_PREFIXES.iter().find(|prefix| key.text.starts_with(**prefix)) {
        problems.add(&key.path, key.place, ProblemKind::BrowserSecret { prefix });
    }
}

fn pattern(fields: &mut Fields, problems: &mut Problems) -> Option<Pattern> {
    let source = fields.text("pattern", problems)?;
    let (path, place) = (source.path.clone(), source.place);
    let source = bounded(source, limits::PATTERN_BYTES, problems).text;
    if source.len() > limits::PATTERN_BYTES {
        return None;
    }
    Pattern::compile(&source).map_err(|message| problems.add(&path, place, ProblemKind::NotPattern(message))).ok()
}

fn values(fields: &mut Fields, variable: &Variable, problems: &mut Problems) -> Vec<String> {
    let Some(field) = fields.take("values") else { return Vec::new() };
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for element in field.list(limits::VALUES, problems) {
        let Some(text) = element.text(problems) else { continue };
        let (path, place) = (text.path.clone(), text.place);
        let value = fitting(text, limits::VALUE_BYTES, variable, problems);
        let is_new = seen.insert(value.clone());
        problems.require(is_new, &path, place, || ProblemKind::RepeatedValue);
        values.push(value);
    }
    values
}

fn default(fields: &mut Fields, variable: &Variable, problems: &mut Problems) -> Defaults {
    let Some(field) = fields.take("default") else { return Defaults::default() };
    if variable.secret {
        problems.add(&field.path, field.place(), ProblemKind::SecretDefault);
        return Defaults::default();
    }
    if !field.is_mapping() {
        let text = field.text(problems).map(|text| fitting(text, limits::TEXT_BYTES, variable, problems));
        return text.as_deref().map(Defaults::everywhere).unwrap_or_default();
    }
    problems.require(!field.is_empty_mapping(), &field.path, field.place(), || ProblemKind::Empty);
    let mut defaults = Defaults::default();
    let Some(stages) = field.mapping(STAGES, problems) else { return defaults };
    for (stage, field) in stages.remaining() {
        let text = field.text(problems).map(|text| fitting(text, limits::TEXT_BYTES, variable, problems));
        if let (Ok(stage), Some(text)) = (stage.parse(), text) {
            defaults.set(stage, text);
        }
    }
    defaults
}

/// The text, after everything that keeps it from being the variable's value was reported.
fn fitting(text: Text, limit: usize, variable: &Variable, problems: &mut Problems) -> String {
    let text = bounded(text, limit, problems);
    for unfit in variable.unfit(&text.text) {
        problems.add(&text.path, text.place, ProblemKind::Unfit(unfit));
    }
    text.text
}

fn generate(fields: &mut Fields, variable: &Variable, problems: &mut Problems) -> Option<Generator> {
    let field = fields.take("generate")?;
    let (path, place) = (field.path.clone(), field.place());
    problems.require(variable.secret, &path, place, || ProblemKind::GeneratedPlain);
    let is_free = variable.values.is_empty()
        && variable.pattern.is_none()
        && matches!(variable.kind, VariableKind::String | VariableKind::Secret);
    problems.require(is_free, &path, place, || ProblemKind::GeneratedConstrained);
    let generator = generator(field.mapping(GENERATE_FIELDS, problems)?, problems)?;
    let bits = generator.entropy_bits();
    if bits < limits::MIN_ENTROPY_BITS {
        problems.add(&path, place, ProblemKind::WeakSecret { bits });
    }
    Some(generator)
}

fn generator(mut fields: Fields, problems: &mut Problems) -> Option<Generator> {
    let kind = fields.required_text("kind", problems)?;
    let encoding = Encoding::ALL.iter().copied().find(|encoding| encoding.name() == kind.text);
    let (length, takes) = match (encoding, kind.text.as_str()) {
        (Some(_), _) => ("bytes", "`bytes`"),
        (None, "alphanumeric" | "ascii") => ("characters", "`characters`"),
        (None, "custom") => ("characters", "`alphabet` and `characters`"),
        (None, _) => {
            problems.add(&kind.path, kind.place, ProblemKind::UnknownGenerator);
            return None;
        }
    };
    let length = fields.require(length, problems);
    let length = length.and_then(|field| field.count(1, limits::GENERATED_LENGTH, problems));
    let alphabet = match kind.text.as_str() {
        "custom" => fields.required_text("alphabet", problems).and_then(|text| custom(text, problems)),
        "ascii" => Some(Alphabet::Ascii),
        _ => Some(Alphabet::Alphanumeric),
    };
    for (_, field) in fields.remaining() {
        let kind = ProblemKind::GeneratorField { generator: kind.text.clone(), takes };
        problems.add(&field.path, field.place(), kind);
    }
    Some(match encoding {
        Some(encoding) => Generator::Bytes { encoding, bytes: length? },
        None => Generator::Characters { alphabet: alphabet?, characters: length? },
    })
}

fn custom(text: Text, problems: &mut Problems) -> Option<Alphabet> {
    let symbols = text.text;
    let distinct: HashSet<char> = symbols.chars().collect();
    let is_alphabet =
        distinct.len() >= 2 && distinct.len() == symbols.len() && symbols.bytes().all(|byte| byte.is_ascii_graphic());
    problems.require(is_alphabet, &text.path, text.place, || ProblemKind::NotAlphabet);
    let refers = symbols.contains('$') && symbols.contains('{');
    problems.require(!refers, &text.path, text.place, || ProblemKind::ReferringAlphabet);
    is_alphabet.then_some(Alphabet::Custom(symbols))
}
