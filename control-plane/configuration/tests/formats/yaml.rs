use outrigger_configuration::format::{Form, Format, LineProblemKind, write};
use outrigger_protocol::environment::VariableKind;

use crate::{options, problems, read, value, values, variable};

fn wrong(file: &str) -> Vec<(usize, usize, LineProblemKind)> {
    problems(Format::Yaml, file)
}

#[test]
fn scalars_are_their_text_byte_for_byte() {
    for (yaml, expected) in [
        ("yes", "yes"),
        ("NO", "NO"),
        ("True", "True"),
        ("1.10", "1.10"),
        ("0x1F", "0x1F"),
        ("012", "012"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("2026-01-02", "2026-01-02"),
        ("12:30", "12:30"),
        ("a # comment", "a"),
        ("a#b", "a#b"),
        ("'it''s'", "it's"),
        ("\"a\\n\\u00e9\\x41\"", "a\néA"),
        ("!!str 1", "1"),
        ("\"null\"", "null"),
        ("|\n  a\n    b\n\n  c\n", "a\n  b\n\nc\n"),
        ("|-\n  a\n  b\n", "a\nb"),
        ("|+\n  a\n\n", "a\n\n"),
        (">\n  a\n  b\n", "a b\n"),
        ("postgres://${HOST}/x?y=1", "postgres://${HOST}/x?y=1"),
    ] {
        assert_eq!(value(Format::Yaml, &format!("A: {yaml}")), expected, "{yaml:?}");
    }
    for null in ["", "~", "null", "Null", "NULL", " # comment"] {
        assert!(read(Format::Yaml, &format!("A: {null}\n"))[0].value.is_none(), "{null:?}");
    }
}

#[test]
fn names_are_text_whatever_they_look_like() {
    let names: Vec<_> = values(Format::Yaml, "NO: 1\ntrue: 2\n\"Y\": 3\n").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["NO", "true", "Y"]);
}

#[test]
fn nested_values_are_compact_json() {
    let variables = read(Format::Yaml, "A:\n  b: [1, true, ~, x, 'y']\n  2: {c: \"\\t\"}\n");
    assert_eq!(variables[0].kind, Some(VariableKind::Json));
    assert_eq!(variables[0].value.as_ref().unwrap().as_str(), r#"{"b":[1,true,null,"x","y"],"2":{"c":"\t"}}"#);
    let found = wrong("A: [0x1F, .inf,\n +1, 012, 1.5]\n");
    assert_eq!(
        found.iter().map(|(line, column, _)| (*line, *column)).collect::<Vec<_>>(),
        [(1, 5), (1, 11), (2, 2), (2, 6)]
    );
    assert!(found.iter().all(|(.., kind)| *kind == LineProblemKind::NoJsonNumber));
}

#[test]
fn json_is_yaml() {
    let file = "{\"outrigger\": 1, \"variables\": {\"A\": {\"value\": \"x\", \"secret\": true}}}";
    assert_eq!(read(Format::Yaml, file)[0].secret, Some(true));
}

#[test]
fn every_wrong_line_is_named() {
    let file =
        "A: 1\nA: 2\nB: &x y\nC: *x\nD: *nowhere\nE: !vault z\n<<: {F: 1}\n? [G]\n: 1\nH: {i: 1, i: 2}\nJ.K: 1\n";
    assert_eq!(
        wrong(file),
        [
            (2, 1, LineProblemKind::Duplicate { first: 1 }),
            (3, 7, LineProblemKind::Alias),
            (4, 4, LineProblemKind::Alias),
            (5, 4, LineProblemKind::Alias),
            (6, 11, LineProblemKind::Tag),
            (7, 1, LineProblemKind::InvalidName),
            (8, 3, LineProblemKind::KeyNotText),
            (10, 11, LineProblemKind::Duplicate { first: 10 }),
            (11, 1, LineProblemKind::InvalidName),
        ]
    );
}

#[test]
fn one_document_is_read() {
    assert_eq!(values(Format::Yaml, "# head\n---\nA: 1\n...\n").len(), 1);
    assert_eq!(
        wrong("A: 1\n---\nB: 2\n---\nC: 3\n"),
        [(3, 1, LineProblemKind::SecondDocument), (5, 1, LineProblemKind::SecondDocument)]
    );
    for empty in ["", "# nothing\n", "---\n", "~"] {
        assert_eq!(wrong(empty)[0].2, LineProblemKind::Empty, "{empty:?}");
    }
    assert_eq!(values(Format::Yaml, "{}"), []);
    assert!(matches!(wrong("- A\n")[0], (1, 1, LineProblemKind::Expected { .. })));
    assert!(matches!(wrong("A=1\nB=2\n")[0], (1, 1, LineProblemKind::Expected { .. })));
}

#[test]
fn broken_syntax_is_told_with_its_place() {
    for (file, line) in [("A: 1\nB: [\n", 2), ("A: 1\n B: 2\n", 2), ("A: 'x", 1), ("A: 1\n\tB: 2\n", 2), ("A: @x\n", 1)]
    {
        let found = wrong(file);
        assert!(matches!(&found[..], [(at, _, LineProblemKind::NotYaml { .. })] if *at == line), "{file:?}: {found:?}");
    }
}

#[test]
fn the_forms_look_like_this() {
    let mut variables =
        vec![variable("A", "a\nb\n"), variable("NO", "yes"), variable("B", "x $${C}"), variable("D", "")];
    variables[2].literal = false;
    variables[3].value = None;
    variables[0].origin = Some("base".to_owned());
    let written = |form| write(Format::Yaml, &variables, &options(form)).expect("written").to_string();
    assert_eq!(written(Form::Flat), "# from base\nA: |\n  a\n  b\n\"NO\": \"yes\"\nB: \"x $${C}\"\nD: null\n");
    assert_eq!(written(Form::Plain), "# from base\nA: |\n  a\n  b\n\"NO\": \"yes\"\nB: \"x ${C}\"\nD: null\n");
    let full = "outrigger: 1\nvariables:\n  A:\n    value: |\n      a\n      b\n    literal: true\n    type: string\n    \
                secret: false\n    required: false\n    description: \"\"\n    origin: \"base\"\n";
    assert!(written(Form::Full).starts_with(full), "{}", written(Form::Full));
}

#[test]
fn what_is_removed_is_said_where_that_can_be_read_back_and_told_in_a_comment_elsewhere() {
    let mut variables = vec![variable("A", "a"), variable("GONE", "")];
    (variables[1].value, variables[1].removed) = (None, true);
    for format in [Format::Yaml, Format::Json] {
        let written = write(format, &variables, &options(Form::Full)).expect("written");
        let again = read(format, &written);
        assert_eq!(
            again.iter().map(|one| (one.name.as_str(), one.removed)).collect::<Vec<_>>(),
            [("A", false), ("GONE", true)]
        );
        let flat = write(format, &variables, &options(Form::Flat)).expect("written");
        assert_eq!(values(format, &flat), [("A".to_owned(), Some("a".to_owned()))], "{}", *flat);
    }
    for format in [Format::Yaml, Format::Dotenv, Format::Docker, Format::K8s] {
        let flat = write(format, &variables, &options(Form::Flat)).expect("written");
        assert!(flat.contains("# GONE is removed here, and so not inherited\n"), "{format}: {}", *flat);
    }
    let both = "outrigger: 1\nvariables:\n  A:\n    removed: true\n    value: a\n";
    assert!(matches!(wrong(both)[..], [(3, 3, LineProblemKind::Expected { .. })]), "{:?}", wrong(both));
    let only = write(Format::Yaml, &variables[1..], &options(Form::Flat)).expect("written");
    assert_eq!(values(Format::Yaml, &only), []);
}
