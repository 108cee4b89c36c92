//! What every official template has to hold to, beyond what any template has to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_protocol::environment::{Entry, Environment, VariableKind, danger_of};
use outrigger_templates::{
    Application, ApplyError, BROWSER_PREFIXES, Origin, Refusal, Stage, Template, Variable, apply, official,
    official_by_id,
};
use zeroize::Zeroizing;

const CATEGORIES: &[&str] = &["framework", "database", "cloud", "monitoring", "container"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn variables() -> impl Iterator<Item = (&'static Template, &'static Variable)> {
    official().iter().flat_map(|template| template.variables().iter().map(move |variable| (template, variable)))
}

fn texts(variable: &Variable) -> impl Iterator<Item = &str> {
    Stage::ALL.into_iter().filter_map(|stage| variable.default().at(stage)).chain(variable.example())
}

#[test]
fn every_file_of_the_folder_is_compiled_in_under_its_name() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(here("official")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "yaml", "{}", path.display());
        let template = Template::parse(&fs::read_to_string(&path).unwrap());
        found
            .insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), template.unwrap_or_else(|e| panic!("{e}")));
    }
    let listed: Vec<&str> = official().iter().map(Template::id).collect();
    assert!(listed.is_sorted_by(|a, b| a < b), "{listed:?}");
    assert_eq!(listed, found.keys().collect::<Vec<_>>());
    for (id, template) in &found {
        assert_eq!(official_by_id(id), Some(template));
    }
}

#[test]
fn every_template_says_what_it_is_and_where_that_is_documented() {
    for template in official() {
        assert!(CATEGORIES.contains(&template.category()), "{}", template.id());
        assert!(!template.description().is_empty() && template.documentation().is_some(), "{}", template.id());
    }
    for (template, variable) in variables() {
        assert!(!variable.description().is_empty(), "{}: {}", template.id(), variable.key());
        let shows = variable.generate().is_some() || texts(variable).next().is_some();
        assert!(shows, "{}: {} has neither default nor example", template.id(), variable.key());
    }
}

#[test]
fn no_template_sets_a_name_that_takes_over_the_program() {
    for (template, variable) in variables() {
        assert_eq!(danger_of(variable.key()), None, "{}: {}", template.id(), variable.key());
    }
}

#[test]
fn what_every_visitor_gets_is_said_to_be_public() {
    let is_public = |key: &str| BROWSER_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let public: Vec<&Variable> = variables().map(|(_, variable)| variable).filter(|v| is_public(v.key())).collect();
    assert!(!public.is_empty());
    for variable in public {
        assert!(!variable.is_secret() && variable.description().starts_with("PUBLIC"), "{}", variable.key());
    }
}

#[test]
fn what_looks_like_a_credential_is_secret() {
    let suffixes =
        ["SECRET", "SECRET_KEY", "PASSWORD", "_PASS", "TOKEN", "API_KEY", "ACCESS_KEY", "LICENSE_KEY", "_AUTH"];
    let not_a_credential = ["MONGODB_ATLAS_PUBLIC_API_KEY"];
    for (template, variable) in variables() {
        let looks = suffixes.iter().any(|suffix| variable.key().ends_with(suffix));
        let expected = looks && !not_a_credential.contains(&variable.key());
        assert!(variable.is_secret() || !expected, "{}: {}", template.id(), variable.key());
    }
}

/// Those of RFC 2606, RFC 6761 and this machine; sockets have none.
fn is_reserved(host: &str) -> bool {
    let domains = ["example.com", "example.net", "example.org", "example"];
    let within = |domain: &&str| host == *domain || host.strip_suffix(*domain).is_some_and(|rest| rest.ends_with('.'));
    host.is_empty() || host == "localhost" || host == "127.0.0.1" || domains.iter().any(within)
}

#[test]
fn no_example_works_anywhere() {
    for (template, variable) in variables() {
        let name = format!("{}: {}", template.id(), variable.key());
        for text in texts(variable) {
            assert!(!text.contains("${"), "{name} depends on another variable");
        }
        let Some(example) = variable.example() else { continue };
        if variable.is_secret() {
            assert!(example.to_lowercase().contains("example"), "{name}: {example}");
        }
        if let Some((_, rest)) = example.split_once("://") {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            assert!(is_reserved(host), "{name}: {example}");
        }
        if let Some((_, domain)) = example.split_once('@')
            && variable.kind() == VariableKind::String
            && domain.contains('.')
        {
            assert!(is_reserved(domain) || domain.starts_with(|c: char| c.is_ascii_digit()), "{name}: {example}");
        }
    }
}

#[test]
fn every_template_survives_its_canonical_form() {
    for template in official() {
        assert_eq!(Template::parse(&template.to_yaml()).as_ref(), Ok(template), "{}", template.to_yaml());
    }
}

fn fill(buffer: &mut [u8]) {
    for (byte, value) in buffer.iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = value;
    }
}

fn no_overrides() -> BTreeMap<String, Zeroizing<String>> {
    BTreeMap::new()
}

#[test]
fn without_overrides_exactly_the_required_ones_that_nothing_fills_are_missing() {
    for template in official() {
        for stage in Stage::ALL {
            let (overrides, existing) = (no_overrides(), BTreeSet::new());
            let application =
                Application { stage, overrides: &overrides, existing: &existing, replace: false, generate: true };
            let missing: Vec<String> = match apply(template, &application, &mut fill) {
                Ok(_) => Vec::new(),
                Err(ApplyError::Refused { problems }) => {
                    assert!(problems.iter().all(|problem| matches!(problem.refusal, Refusal::Missing { .. })));
                    problems.into_iter().map(|problem| problem.key).collect()
                }
                Err(error) => panic!("{error}"),
            };
            let is_missing =
                |v: &&Variable| v.is_required() && v.default().at(stage).is_none() && v.generate().is_none();
            let expected: Vec<&str> = template.variables().iter().filter(is_missing).map(Variable::key).collect();
            assert_eq!(missing, expected, "{} {stage}", template.id());
        }
    }
}

#[test]
fn with_what_is_missing_every_template_makes_an_environment_that_an_agent_takes() {
    for template in official() {
        for stage in Stage::ALL {
            let required = template.variables().iter().filter(|v| v.is_required() && v.default().at(stage).is_none());
            let overrides: BTreeMap<String, Zeroizing<String>> = required
                .filter(|variable| variable.generate().is_none())
                .map(|v| (v.key().to_owned(), Zeroizing::new(v.example().expect("an example").to_owned())))
                .collect();
            let existing = BTreeSet::new();
            let application =
                Application { stage, overrides: &overrides, existing: &existing, replace: false, generate: true };
            let applied = apply(template, &application, &mut fill).unwrap_or_else(|error| panic!("{error}"));
            for variable in &applied.variables {
                let is_overridden = overrides.contains_key(&variable.key);
                assert_eq!(variable.origin == Origin::Override, is_overridden, "{}", variable.key);
            }
            let entry = |variable: outrigger_templates::AppliedVariable| Entry {
                name: variable.key,
                value: Some(variable.value),
                kind: variable.kind,
                secret: variable.secret,
                required: variable.required,
            };
            let environment = Environment { entries: applied.variables.into_iter().map(entry).collect() };
            assert_eq!(environment.validate(&[]), Ok(()), "{} {stage}", template.id());
        }
    }
}

#[test]
fn production_never_debugs() {
    for (id, key) in [("django", "DEBUG"), ("flask", "FLASK_DEBUG")] {
        let variable = official_by_id(id).and_then(|template| template.variable(key)).expect("it is there");
        for stage in [Stage::Staging, Stage::Production] {
            assert!(variable.default().at(stage).is_some_and(|value| value.eq_ignore_ascii_case("false")), "{id}");
        }
    }
}

#[test]
fn the_manual_lists_every_template() {
    let manual = fs::read_to_string(here("../../docs/templates.md")).unwrap();
    for template in official() {
        let row = format!("| `{}` | {} | {} |", template.id(), template.name(), template.category());
        assert!(manual.contains(&row), "docs/templates.md lacks: {row}");
    }
}
