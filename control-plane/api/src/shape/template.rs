//! Templates, and what is asked and answered when one is applied.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use jiff::Timestamp;
use outrigger_catalog::{TemplateApplication, model};
use outrigger_configuration::diff;
use outrigger_protocol::id::ProjectId;
use outrigger_templates as templates;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problems;
use super::environment::{Generation, Value, parse_stage};
use super::history::Difference;
use crate::error::{ApiError, Detail};
use crate::text::write_time;

/// Which templates, and which part of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TemplateQuery {
    /// Only those of this category: framework, database, cloud, monitoring, container, or one's own.
    pub(crate) category: Option<String>,
    /// Most items to answer: 50 by default, at most 200.
    limit: Option<usize>,
    /// `page.next` of the answer before.
    cursor: Option<String>,
}

impl TemplateQuery {
    pub(crate) fn page(&self) -> outrigger_catalog::Page {
        outrigger_catalog::Page { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// Reads a template from a body: JSON, or the YAML of its file, which JSON is a part of.
pub(crate) fn parse_document(body: &[u8]) -> Result<templates::Template, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::malformed("the body is not UTF-8"))?;
    templates::Template::parse(text).map_err(|error| {
        let mut details: Vec<Detail> = error.problems.iter().map(detail).collect();
        if error.omitted > 0 {
            details.push(Detail::new(WHOLE, format!("has {} more problems, which are not listed", error.omitted)));
        }
        ApiError::validation(details)
    })
}

/// What a problem of all of a document is called.
const WHOLE: &str = "template";

fn detail(problem: &templates::Problem) -> Detail {
    let field = if problem.path.is_empty() { WHOLE } else { &problem.path };
    let place = problem.place.map_or_else(String::new, |place| format!("{place}: "));
    Detail::new(field, format!("{place}{}", problem.kind))
}

/// A template as its file has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateDocument {
    /// Lower-case letters, digits and single hyphens between them; no other template has it.
    #[schema(example = "shop")]
    id: String,
    /// No other template has it either.
    name: String,
    #[schema(example = "framework")]
    category: String,
    /// The template's own.
    #[schema(example = "1.0.0")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// An https URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
    /// 1 to 256
    variables: Vec<TemplateVariable>,
}

/// A variable of a template. What is not said is left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateVariable {
    #[schema(example = "SHOP_REGION")]
    key: String,
    /// string, number, boolean, json, url or secret
    kind: &'static str,
    #[schema(required = false)]
    required: bool,
    /// Kept encrypted and never read back; always so for the kind secret.
    #[schema(required = false)]
    secret: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<TemplateDefault>,
    /// What a value looks like; never used as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<TemplateGenerator>,
    /// All that the value may be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    /// A regular expression that the whole value matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
}

/// A text for all stages, or one for some of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TemplateDefault {
    Everywhere(String),
    ByStage(BTreeMap<&'static str, String>),
}

/// How a secret is made that nobody passes in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateGenerator {
    /// hex, base64, base64url, alphanumeric, ascii or custom
    kind: &'static str,
    /// Of hex, base64 and base64url: how many random bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    /// Of the others: how many characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    characters: Option<usize>,
    /// Of custom: what is drawn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    alphabet: Option<String>,
}

impl From<&templates::Template> for TemplateDocument {
    fn from(template: &templates::Template) -> Self {
        Self {
            id: template.id().to_owned(),
            name: template.name().to_owned(),
            category: template.category().to_owned(),
            version: template.version().to_owned(),
            description: template.description().to_owned(),
            documentation: template.documentation().map(str::to_owned),
            variables: template.variables().iter().map(TemplateVariable::from).collect(),
        }
    }
}

impl From<&templates::Variable> for TemplateVariable {
    fn from(variable: &templates::Variable) -> Self {
        Self {
            key: variable.key().to_owned(),
            kind: variable.kind().name(),
            required: variable.is_required(),
            secret: variable.is_secret(),
            description: variable.description().to_owned(),
            documentation: variable.documentation().map(str::to_owned),
            default: default(variable.default()),
            example: variable.example().map(str::to_owned),
            generate: variable.generate().map(TemplateGenerator::from),
            values: variable.values().to_vec(),
            pattern: variable.pattern().map(|pattern| pattern.as_str().to_owned()),
        }
    }
}

fn default(defaults: &templates::Defaults) -> Option<TemplateDefault> {
    if let Some(text) = defaults.common() {
        return Some(TemplateDefault::Everywhere(text.to_owned()));
    }
    let at = |stage: templates::Stage| Some((stage.name(), defaults.at(stage)?.to_owned()));
    let by_stage: BTreeMap<_, _> = templates::Stage::ALL.into_iter().filter_map(at).collect();
    (!by_stage.is_empty()).then_some(TemplateDefault::ByStage(by_stage))
}

impl From<&templates::Generator> for TemplateGenerator {
    fn from(generator: &templates::Generator) -> Self {
        let (kind, none) = (generator.name(), None);
        match generator {
            templates::Generator::Bytes { bytes, .. } => {
                Self { kind, bytes: Some(*bytes), characters: None, alphabet: none }
            }
            templates::Generator::Characters { alphabet, characters } => {
                let alphabet = match alphabet {
                    templates::Alphabet::Custom(symbols) => Some(symbols.clone()),
                    _ => none,
                };
                Self { kind, bytes: None, characters: Some(*characters), alphabet }
            }
        }
    }
}

/// Whose a template is, and how it is used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateStatus {
    /// It comes with the control plane, and nobody changes it.
    official: bool,
    /// How often the organisation has applied it.
    usage_count: u64,
    /// Which state of it this is, for `If-Match`. Null for an official one, like what follows.
    revision: Option<u64>,
    /// Who made this state.
    author: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

impl TemplateStatus {
    fn new(uses: u64, edition: Option<model::TemplateEdition>) -> Self {
        Self {
            official: edition.is_none(),
            usage_count: uses,
            revision: edition.as_ref().map(|edition| edition.revision),
            created_at: edition.as_ref().map(|edition| write_time(edition.created_at)),
            updated_at: edition.as_ref().map(|edition| write_time(edition.updated_at)),
            author: edition.map(|edition| edition.author),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Template {
    #[serde(flatten)]
    document: TemplateDocument,
    #[serde(flatten)]
    status: TemplateStatus,
}

impl From<model::StoredTemplate> for Template {
    fn from(stored: model::StoredTemplate) -> Self {
        Self { document: (&stored.template).into(), status: TemplateStatus::new(stored.uses, stored.edition) }
    }
}

/// A template without its variables.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateSummary {
    id: String,
    name: String,
    category: String,
    version: String,
    description: String,
    variable_count: usize,
    #[serde(flatten)]
    status: TemplateStatus,
}

impl From<model::TemplateSummary> for TemplateSummary {
    fn from(summary: model::TemplateSummary) -> Self {
        let model::TemplateSummary { id, name, category, version, description, variables, uses, edition } = summary;
        let status = TemplateStatus::new(uses, edition);
        Self { id, name, category, version, description, variable_count: variables, status }
    }
}

/// Which template to apply, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApplyTemplate {
    #[schema(example = "django")]
    template_id: String,
    /// development, staging or production
    #[schema(example = "production")]
    environment: String,
    /// Which environment of the stage. Without a name it is the only active one; a project that has none of the stage
    /// gets one with the stage as its name, for which the role admin is needed.
    name: Option<String>,
    /// Values by the names of variables; a value may be a reference.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    overrides: Overrides,
    /// keep (what has a value keeps it, inherited ones included, and an override of it is refused) or overwrite; keep if
    /// absent
    mode: Option<String>,
    /// Make the random secrets that nobody passes in. Otherwise those that are required are missing.
    #[serde(default = "yes")]
    generate: bool,
    /// Only say what would change.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Why, for the history; the template if absent.
    #[serde(default)]
    message: String,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default)]
struct Overrides(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Overrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OverridesVisitor)
    }
}

struct OverridesVisitor;

impl<'de> Visitor<'de> for OverridesVisitor {
    type Value = Overrides;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and values")
    }

    /// A map would take the last of two values of one name, and nobody would know of the first.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Overrides, A::Error> {
        let mut overrides = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            match overrides.entry(key) {
                Entry::Occupied(first) => {
                    return Err(A::Error::custom(format_args!("duplicate field `{}`", first.key())));
                }
                Entry::Vacant(free) => free.insert(value),
            };
        }
        Ok(Overrides(overrides))
    }
}

impl ApplyTemplate {
    pub(crate) fn check(self, project: ProjectId, if_match: Option<u64>) -> Result<TemplateApplication, ApiError> {
        let mut problems = Problems::default();
        let stages = "one of development, staging, production";
        let stage = problems.parse("environment", Some(&self.environment), stages, parse_stage);
        let replace = problems.parse("mode", self.mode.as_deref(), "keep or overwrite", |text| match text {
            "keep" => Some(false),
            "overwrite" => Some(true),
            _ => None,
        });
        problems.finish(|| TemplateApplication {
            template: self.template_id,
            project,
            stage: stage.expect("an absent stage is a problem"),
            name: self.name,
            overrides: self.overrides.0.into_iter().map(|(key, value)| (key, value.0)).collect(),
            replace: replace.unwrap_or(false),
            generate: self.generate,
            if_match,
            message: self.message,
        })
    }
}

/// What the application of a template changed, or would change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppliedTemplate {
    /// The newest generation; of a dry run the present one.
    #[serde(flatten)]
    generation: Generation,
    dry_run: bool,
    environment: AppliedEnvironment,
    /// The variables that got a value, in the template's order.
    written: Vec<WrittenVariable>,
    /// Variables that had a value, and keep it.
    kept: Vec<String>,
    /// Optional variables that nothing gives a value.
    unset: Vec<String>,
    /// Of the variables as written; secrets are only said to differ.
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AppliedEnvironment {
    /// Null for one that a dry run would make.
    id: Option<String>,
    environment: &'static str,
    name: String,
    /// It was made for the template.
    is_new: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct WrittenVariable {
    key: String,
    /// override, default or generated
    origin: &'static str,
}

impl AppliedTemplate {
    pub(crate) fn new(applied: model::AppliedTemplate, dry_run: bool, differences: Vec<diff::Difference>) -> Self {
        let model::AppliedTemplate { environment, is_new, generation, written, kept, unset, .. } = applied;
        let written = written.into_iter().map(|(key, origin)| WrittenVariable { key, origin: origin.name() });
        Self {
            generation: generation.into(),
            dry_run,
            environment: AppliedEnvironment {
                id: (!(dry_run && is_new)).then(|| environment.id.to_string()),
                environment: environment.stage.name(),
                name: environment.name,
                is_new,
            },
            written: written.collect(),
            kept,
            unset,
            differences: differences.into_iter().map(Difference::from).collect(),
        }
    }
}
