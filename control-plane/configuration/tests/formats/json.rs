use outrigger_configuration::format::{Form, Format, LineProblemKind, write};
use outrigger_protocol::environment::{ProblemKind, VariableKind};

use crate::{options, problems, read, value, values, variable};

fn wrong(file: &str) -> Vec<(usize, usize, LineProblemKind)> {
    problems(Format::Json, file)
}

fn not_json(reason: &str) -> LineProblemKind {
    LineProblemKind::NotJson { reason: reason.to_owned() }
}

#[test]
fn scalars_are_their_text_byte_for_byte() {
    for (json, expected) in [
        (r#""""#, ""),
        (r#""a\n\"\u00e9\ud83d\ude00""#, "a\n\"é😀"),
        ("8080", "8080"),
        ("1.10", "1.10"),
        ("-0", "-0"),
        ("1E400", "1E400"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
    ] {
        assert_eq!(value(Format::Json, &format!("{{\"A\": {json}}}")), expected);
    }
    let null = read(Format::Json, "\u{feff}{\"A\":null}");
    assert!(null[0].value.is_none() && null[0].kind.is_none());
    assert_eq!(values(Format::Json, "{}"), []);
}

#[test]
fn a_nested_value_is_compact_json_of_that_type() {
    let variables = read(Format::Json, "{\"A\": { \"b\" : [ 1.0 , \"c d\\u0041\" , null, true ], \"e\": {} }}");
    assert_eq!(variables[0].kind, Some(VariableKind::Json));
    assert_eq!(variables[0].value.as_ref().expect("a value").as_str(), r#"{"b":[1.0,"c dA",null,true],"e":{}}"#);
}

#[test]
fn the_full_form_tells_everything() {
    let file = r#"{"outrigger": 1, "variables": {
        "A": {"value": 5, "type": "number", "secret": true, "required": true, "description": "d", "origin": "base"},
        "B": "${A}",
        "C": {"value": {"x": 1}, "literal": false},
        "D": {"literal": true, "value": "${A}"},
        "E": {}
    }}"#;
    let variables = read(Format::Json, file);
    let [a, b, c, d, e] = &variables[..] else { panic!("{variables:?}") };
    assert_eq!((a.kind, a.secret, a.required), (Some(VariableKind::Number), Some(true), Some(true)));
    assert_eq!((a.value.as_ref().unwrap().as_str(), a.description.as_deref(), a.line), ("5", Some("d"), 2));
    assert_eq!((b.value.as_ref().unwrap().as_str(), b.kind, b.secret, b.literal), ("${A}", None, None, false));
    assert_eq!((c.value.as_ref().unwrap().as_str(), c.kind), ("{\"x\":1}", Some(VariableKind::Json)));
    assert_eq!((d.written().unwrap().as_str(), d.literal), ("$${A}", true));
    assert!(e.value.is_none());
}

#[test]
fn a_variable_named_like_the_envelope_is_none() {
    assert_eq!(values(Format::Json, r#"{"outrigger": "1", "variables": "x"}"#).len(), 2);
}

#[test]
fn every_wrong_line_is_named() {
    let file = "{\n\"A\": 1,\n\"A\": 2,\n\"B-C\": 3,\n\"D\": {\"x\": 1,\n \"x\": 2},\n\"OUTRIGGER_E\": \"\",\n\"F\": \"\\u0000\"\n}";
    assert_eq!(
        wrong(file),
        [
            (3, 1, LineProblemKind::Duplicate { first: 2 }),
            (4, 1, LineProblemKind::InvalidName),
            (6, 2, LineProblemKind::Duplicate { first: 5 }),
            (7, 1, LineProblemKind::Rule(ProblemKind::ReservedName)),
            (8, 1, LineProblemKind::Rule(ProblemKind::NulByte)),
        ]
    );
}

#[test]
fn what_is_wrong_with_an_envelope_is_named() {
    let file = r#"{"outrigger": 2, "x": 1, "variables": {
"A": {"value": "x", "type": "number"},
"B": {"valeu": "x"},
"C": {"type": "int", "secret": "yes", "required": 1, "description": 2, "literal": null, "origin": []},
"D": {"type": "json", "value": "{"}
}}"#;
    let found = wrong(file);
    let places: Vec<_> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    let expected = [(1, 15), (1, 18), (2, 1), (3, 7), (4, 15), (4, 32), (4, 51), (4, 69), (4, 83), (4, 99), (5, 1)];
    assert_eq!(places, expected, "{found:?}");
    assert_eq!(found[0].2, LineProblemKind::UnknownVersion { known: 1 });
    assert_eq!(found[2].2, LineProblemKind::Rule(ProblemKind::NotNumber));
    assert!(matches!(found[10].2, LineProblemKind::Rule(ProblemKind::NotJson { .. })));
    assert_eq!(wrong("\n{\"outrigger\": 1}"), [(2, 1, LineProblemKind::MissingField { field: "variables" })]);
}

#[test]
fn a_value_that_refers_is_judged_when_it_is_resolved() {
    let file = r#"{"outrigger": 1, "variables": {"A": {"value": "${B}", "type": "number"}}}"#;
    assert_eq!(read(Format::Json, file).len(), 1);
    let literal = r#"{"outrigger": 1, "variables": {"A": {"value": "${B}", "type": "number", "literal": true}}}"#;
    assert_eq!(wrong(literal)[0].2, LineProblemKind::Rule(ProblemKind::NotNumber));
}

#[test]
fn broken_syntax_is_told_with_its_place() {
    assert_eq!(wrong(""), [(1, 1, LineProblemKind::Empty)]);
    assert_eq!(wrong(" \n"), [(1, 1, LineProblemKind::Empty)]);
    assert_eq!(wrong("{\n \"A\": \"é\",\n}"), [(3, 1, not_json("key must be a string"))]);
    assert_eq!(wrong("{\"é\" 1}"), [(1, 6, not_json("expected `:`"))]);
    assert_eq!(wrong("{} x"), [(1, 4, not_json("trailing characters"))]);
    assert_eq!(wrong("{\"A\": 01}")[0].0, 1);
    assert_eq!(wrong("{\n\"A\": \"\\ud800\"}"), [(2, 6, not_json("unexpected end of hex escape"))]);
    assert!(matches!(wrong("[1]")[0], (1, 1, LineProblemKind::Expected { .. })));
    assert!(matches!(wrong("\"x\"")[0], (1, 1, LineProblemKind::Expected { .. })));
}

#[test]
fn the_forms_look_like_this() {
    let mut variables = vec![variable("A", "a\"${B}\n"), variable("C", "")];
    variables[1].value = None;
    variables[1].description = "tells".to_owned();
    variables[1].origin = Some("base".to_owned());
    variables[1].literal = false;
    let written = |form| write(Format::Json, &variables, &options(form)).expect("written").to_string();
    assert_eq!(written(Form::Flat), "{\n  \"A\": \"a\\\"$${B}\\n\",\n  \"C\": null\n}\n");
    assert_eq!(written(Form::Plain), "{\n  \"A\": \"a\\\"${B}\\n\",\n  \"C\": null\n}\n");
    let full = r#"{
  "outrigger": 1,
  "variables": {
    "A": {
      "value": "a\"${B}\n",
      "literal": true,
      "type": "string",
      "secret": false,
      "required": false,
      "description": ""
    },
    "C": {
      "value": null,
      "type": "string",
      "secret": false,
      "required": false,
      "description": "tells",
      "origin": "base"
    }
  }
}
"#;
    assert_eq!(written(Form::Full), full);
}
