mod properties;
mod rules;

use super::*;
use crate::template::{Stage, Template};

/// A template with these fields of its one variable beside `key` and `kind`.
fn with_variable(fields: &str) -> String {
    let fields = fields.replace('\n', "\n    ");
    format!("id: t\nname: T\ncategory: c\nversion: '1'\nvariables:\n  - key: KEY\n    {fields}\n")
}

fn parse(source: &str) -> Template {
    Template::parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

fn problems(source: &str) -> Vec<Problem> {
    Template::parse(source).err().map(|error| error.problems).unwrap_or_default()
}

/// What is wrong, each with its line.
fn told(source: &str) -> Vec<(u64, String, ProblemKind)> {
    let line = |problem: &Problem| problem.place.map_or(0, |place| place.line);
    problems(source).into_iter().map(|problem| (line(&problem), problem.path, problem.kind)).collect()
}

fn default_of(source: &str) -> String {
    parse(source).variables()[0].default().at(Stage::Production).expect("a default").to_owned()
}

#[test]
fn a_template_is_read_with_everything_it_says() {
    let template = parse(
        "id: shop\nname: The shop\ncategory: framework\nversion: 1.0.0\ndescription: Sells.\n\
         documentation: https://shop.example/docs\nvariables:\n\
         - key: STAGE\n  kind: string\n  required: true\n  description: Where it runs.\n  \
         default: {staging: s, production: p}\n  values: [s, p]\n  example: s\n\
         - {key: TOKEN, kind: secret, generate: {kind: hex, bytes: 16}}\n",
    );
    assert_eq!((template.id(), template.name(), template.category()), ("shop", "The shop", "framework"));
    assert_eq!((template.version(), template.description()), ("1.0.0", "Sells."));
    assert_eq!(template.documentation(), Some("https://shop.example/docs"));
    let [stage, token] = template.variables() else { panic!("two variables") };
    assert!(stage.is_required() && !stage.is_secret() && stage.values() == ["s", "p"]);
    assert_eq!(Stage::ALL.map(|at| stage.default().at(at)), [None, Some("s"), Some("p")]);
    assert!(token.is_secret() && !token.is_required() && token.generate().is_some());
    assert_eq!(template.variable("TOKEN"), Some(token));
}

#[test]
fn json_is_read_as_well() {
    let json = r#"{"id": "t", "name": "T", "category": "c", "version": "1",
        "variables": [{"key": "PORT", "kind": "number", "required": true, "default": 8080}]}"#;
    assert_eq!(default_of(json), "8080");
}

#[test]
fn an_unquoted_value_keeps_the_text_that_was_written() {
    for text in ["1.50", "1e3", "007", "-3", "+3", ".5", "yes", "True", "off", "0x1F", "12:30:45", "2024-01-01"] {
        assert_eq!(default_of(&with_variable(&format!("kind: string\ndefault: {text}"))), text);
        assert_eq!(default_of(&with_variable(&format!("kind: string\ndefault: {text}   # why"))), text);
        let crlf = with_variable(&format!("kind: string\ndescription: é😀\ndefault: {text}")).replace('\n', "\r\n");
        assert_eq!(default_of(&crlf), text);
        let with_mark = format!("\u{feff}{}", with_variable(&format!("kind: string\ndefault: {text}")));
        assert_eq!(default_of(&with_mark), text);
        assert_eq!(default_of(&with_variable(&format!("kind: string\ndefault: {{production: {text}}}"))), text);
    }
}

#[test]
fn places_are_those_of_an_editor() {
    let source = with_variable("kind: nonsense\ndescription: é😀é\nexampel: x");
    let told: Vec<String> = problems(&source).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 7, column 11: `variables[0].kind`: unknown variable type: expected string, number, boolean, json, \
             url or secret",
            "line 9, column 5: `variables[0].exampel`: unknown; did you mean `example`?",
        ]
    );
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_file() {
    let source = "id: No Slug\nname: ''\nversion: 'v 1'\ncolour: red\nvariables:\n\
                  - kind: number\n  default: many\n  required: perhaps\n\
                  - key: 1ST\n  kind: string\n- {key: A, kind: json, example: '{'}\n- {key: A, kind: string}\n- text\n";
    let told = told(source);
    let lines: Vec<(u64, &str)> = told.iter().map(|(line, path, _)| (*line, path.as_str())).collect();
    assert_eq!(
        lines,
        [
            (1, "category"),
            (1, "id"),
            (2, "name"),
            (3, "version"),
            (4, "colour"),
            (6, "variables[0].key"),
            (7, "variables[0].default"),
            (8, "variables[0].required"),
            (9, "variables[1].key"),
            (11, "variables[2].example"),
            (12, "variables[3].key"),
            (13, "variables[4]"),
        ]
    );
    assert_eq!(told[10].2, ProblemKind::Repeated { first: 11 });
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    let found = problems("id: t\nname: [\n");
    assert!(matches!(found[..], [Problem { place: Some(_), kind: ProblemKind::Unreadable(_), .. }]), "{found:?}");
    for source in
        ["", "---\n", "# nothing\n", "just a text", "- a\n- list\n", "a: 1\n---\nb: 2\n", "\t- x", "? [a]\n: b"]
    {
        let found = problems(source);
        assert!(!found.is_empty() && found.iter().all(|problem| !problem.to_string().contains('\n')), "{found:?}");
    }
}

#[test]
fn anchors_aliases_and_merges_are_refused() {
    let bomb = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n";
    for source in [bomb, &with_variable("kind: &k string"), &with_variable("<<: {kind: string}")] {
        assert!(!problems(source).is_empty(), "{source}");
    }
}

#[test]
fn a_tag_does_not_smuggle_in_a_value() {
    let source = with_variable("kind: string\ndefault: !!bool \"true\"");
    assert_eq!(told(&source).into_iter().map(|(_, _, kind)| kind).collect::<Vec<_>>(), [ProblemKind::NotText]);
}

#[test]
fn nothing_is_not_a_text() {
    for nothing in ["", "~", "null"] {
        let told = told(&with_variable(&format!("kind: string\ndefault: {nothing}")));
        assert!(matches!(&told[..], [(8, path, ProblemKind::NotText)] if path == "variables[0].default"), "{told:?}");
    }
    assert_eq!(default_of(&with_variable("kind: string\ndefault: ''")), "", "an empty text is one");
}

#[test]
fn a_file_is_bounded_in_size_and_depth() {
    let large = format!("{}# {}", with_variable("kind: string"), "x".repeat(crate::limits::FILE_BYTES));
    assert!(matches!(problems(&large)[..], [Problem { kind: ProblemKind::FileTooLarge { .. }, .. }]));
    let deep = format!("id: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(matches!(problems(&deep)[..], [Problem { kind: ProblemKind::Unreadable(_), .. }]));
}

#[test]
fn the_canonical_form_is_short_and_ordered() {
    let template = parse(
        "version: 1.0.0\nvariables:\n- {kind: url, key: A, default: {development: 'http://x', staging: 'http://x', \
         production: 'http://x'}, required: false}\n- {secret: true, key: B, kind: secret, description: ''}\n- {key: C, \
         kind: string, secret: true, generate: {alphabet: ab, kind: custom, characters: 128}}\n\
         category: c\nname: T\nid: t\n",
    );
    let canonical = "id: t\nname: T\ncategory: c\nversion: \"1.0.0\"\nvariables:\n- key: A\n  kind: url\n  default: http://x\n\
                     - key: B\n  kind: secret\n- key: C\n  kind: string\n  secret: true\n  generate:\n    kind: custom\n    \
                     characters: 128\n    alphabet: ab\n";
    assert_eq!(template.to_yaml(), canonical);
    assert_eq!(parse(canonical), template);
}
