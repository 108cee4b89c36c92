//! What a template may say.

use outrigger_protocol::environment;

use super::{told, with_variable};
use crate::document::ProblemKind;
use crate::limits;
use crate::template::{Template, Unfit};

fn kinds(fields: &str) -> Vec<ProblemKind> {
    told(&with_variable(fields)).into_iter().map(|(_, _, kind)| kind).collect()
}

fn with_key(key: &str) -> Vec<ProblemKind> {
    let source = with_variable("kind: secret").replace("KEY", key);
    told(&source).into_iter().map(|(_, _, kind)| kind).collect()
}

#[test]
fn a_name_is_held_to_the_rules_of_variables() {
    assert_eq!(with_key("1ST"), [ProblemKind::Name(environment::ProblemKind::InvalidName)]);
    assert_eq!(with_key("OUTRIGGER_TOKEN"), [ProblemKind::Name(environment::ProblemKind::ReservedName)]);
    assert_eq!(with_key("NODE_OPTIONS"), [], "a deployment may allow it by name");
    let limit = limits::KEY_BYTES;
    assert_eq!(with_key(&"K".repeat(limit)), []);
    assert_eq!(with_key(&"K".repeat(limit + 1)), [ProblemKind::TooLong { length: limit + 1, unit: "bytes", limit }]);
}

#[test]
fn a_secret_has_no_default() {
    for fields in ["kind: secret\ndefault: x", "kind: url\nsecret: true\ndefault: {staging: 'https://x'}"] {
        assert_eq!(kinds(fields), [ProblemKind::SecretDefault], "{fields}");
    }
    assert_eq!(kinds("kind: secret\nsecret: false"), [ProblemKind::SecretByKind]);
    assert_eq!(kinds("kind: secret\nsecret: true\nexample: x"), []);
}

#[test]
fn what_every_visitor_gets_is_no_secret() {
    assert_eq!(with_key("NEXT_PUBLIC_TOKEN"), [ProblemKind::BrowserSecret { prefix: "NEXT_PUBLIC_" }]);
    assert_eq!(with_key("VITE_TOKEN"), [ProblemKind::BrowserSecret { prefix: "VITE_" }]);
    assert_eq!(with_key("MY_NEXT_PUBLIC_TOKEN"), []);
}

#[test]
fn only_secrets_of_enough_bits_are_generated() {
    let generate = |kind: &str, generate: &str| kinds(&format!("{kind}\ngenerate: {{{generate}}}"));
    assert_eq!(generate("kind: secret", "kind: hex, bytes: 16"), []);
    assert_eq!(generate("kind: string\nsecret: true", "kind: base64, bytes: 32"), []);
    assert_eq!(generate("kind: string", "kind: base64url, bytes: 32"), [ProblemKind::GeneratedPlain]);
    assert_eq!(generate("kind: number\nsecret: true", "kind: hex, bytes: 32"), [ProblemKind::GeneratedConstrained]);
    assert_eq!(
        generate("kind: secret\npattern: '.+'", "kind: ascii, characters: 32"),
        [ProblemKind::GeneratedConstrained]
    );
    assert_eq!(generate("kind: secret", "kind: hex, bytes: 15"), [ProblemKind::WeakSecret { bits: 120 }]);
    assert_eq!(generate("kind: secret", "kind: alphanumeric, characters: 21"), [ProblemKind::WeakSecret { bits: 125 }]);
    assert_eq!(generate("kind: secret", "kind: alphanumeric, characters: 22"), []);
    let most = limits::GENERATED_LENGTH;
    assert_eq!(
        generate("kind: secret", &format!("kind: hex, bytes: {}", most + 1)),
        [ProblemKind::NotCount { least: 1, most }]
    );
    assert_eq!(generate("kind: secret", "kind: hex, bytes: -16"), [ProblemKind::NotCount { least: 1, most }]);
    assert_eq!(generate("kind: secret", "kind: dice, bytes: 16"), [ProblemKind::UnknownGenerator]);
    assert_eq!(generate("kind: secret", "kind: hex"), [ProblemKind::Missing]);
}

#[test]
fn each_way_to_generate_takes_its_own_fields() {
    let kinds = kinds("kind: secret\ngenerate: {kind: hex, bytes: 16, characters: 5, alphabet: ab}");
    let misplaced = ProblemKind::GeneratorField { generator: "hex".to_owned(), takes: "`bytes`" };
    assert_eq!(kinds, [misplaced.clone(), misplaced]);
}

#[test]
fn an_alphabet_is_distinct_and_never_spells_a_reference() {
    let custom = |alphabet: &str| {
        kinds(&format!("kind: secret\ngenerate: {{kind: custom, characters: 128, alphabet: '{alphabet}'}}"))
    };
    assert_eq!(custom("ab"), []);
    assert_eq!(custom("a$"), []);
    for alphabet in ["", "a", "aab", "a b", "aé"] {
        assert_eq!(custom(alphabet), [ProblemKind::NotAlphabet], "{alphabet}");
    }
    assert_eq!(custom("a${"), [ProblemKind::ReferringAlphabet]);
}

#[test]
fn defaults_examples_and_values_fit_the_variable() {
    let not_number = ProblemKind::Unfit(Unfit::Value(environment::ProblemKind::NotNumber));
    assert_eq!(kinds("kind: number\ndefault: many\nexample: few"), [not_number.clone(), not_number.clone()]);
    assert_eq!(kinds("kind: number\ndefault: {staging: 1, production: many}").len(), 1);
    assert_eq!(kinds("kind: number\nvalues: [1, two]"), [not_number]);
    let allowed = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(kinds("kind: string\nvalues: [a, b]\nexample: c"), [ProblemKind::Unfit(Unfit::NotAllowed { allowed })]);
    let pattern = "[0-9]+".to_owned();
    assert_eq!(
        kinds("kind: string\npattern: '[0-9]+'\ndefault: x1"),
        [ProblemKind::Unfit(Unfit::NotMatching { pattern })]
    );
    assert_eq!(kinds("kind: string\nvalues: [a, b, a]"), [ProblemKind::RepeatedValue]);
    assert_eq!(kinds("kind: number\ndefault: ${BASE_PORT}"), [], "what a reference comes to is known later");
    assert_eq!(kinds("kind: string\ndefault: {}"), [ProblemKind::Empty]);
    assert!(matches!(
        kinds("kind: string\ndefault: {prodution: x}")[..],
        [ProblemKind::UnknownField { nearest: Some("production") }]
    ));
    assert_eq!(
        kinds("kind: string\nexample: \"a\\0b\""),
        [ProblemKind::Unfit(Unfit::Value(environment::ProblemKind::NulByte))]
    );
}

#[test]
fn a_pattern_is_compiled_within_limits() {
    for pattern in ["[", "(a{900}){900}", "(?=x)x"] {
        let found = kinds(&format!("kind: string\npattern: '{pattern}'"));
        assert!(matches!(found[..], [ProblemKind::NotPattern(_)]), "{pattern}: {found:?}");
    }
}

#[test]
fn links_are_https() {
    for url in ["http://x.example", "https://", "https:///x", "ftp://x", "'https://a b'"] {
        assert_eq!(kinds(&format!("kind: string\ndocumentation: {url}")), [ProblemKind::NotHttps], "{url}");
    }
}

#[test]
fn slugs_and_versions_have_their_form() {
    for slug in ["Upper", "a--b", "-a", "a-", "a_b", "é", "''"] {
        let source = with_variable("kind: string").replace("id: t", &format!("id: {slug}"));
        assert_eq!(
            told(&source).into_iter().map(|(_, _, kind)| kind).collect::<Vec<_>>(),
            [ProblemKind::NotSlug],
            "{slug}"
        );
    }
    for version in ["''", "'1 2'", ".1", "-1", "'1\u{e9}'"] {
        let source = with_variable("kind: string").replace("version: '1'", &format!("version: {version}"));
        assert_eq!(told(&source)[0].2, ProblemKind::NotVersion, "{version}");
    }
}

#[test]
fn texts_are_bounded() {
    for (field, limit) in [
        ("description", limits::VARIABLE_DESCRIPTION_BYTES),
        ("example", limits::TEXT_BYTES),
        ("default", limits::TEXT_BYTES),
        ("pattern", limits::PATTERN_BYTES),
    ] {
        let fields = |length| format!("kind: string\n{field}: {}", "x".repeat(length));
        assert!(kinds(&fields(limit)).iter().all(|kind| !matches!(kind, ProblemKind::TooLong { .. })), "{field}");
        let over = kinds(&fields(limit + 1));
        assert!(over.contains(&ProblemKind::TooLong { length: limit + 1, unit: "bytes", limit }), "{field}: {over:?}");
    }
}

#[test]
fn lists_are_bounded_and_only_their_beginning_is_looked_at() {
    let values: Vec<String> = (0..=limits::VALUES).map(|value| value.to_string()).collect();
    let (count, limit) = (limits::VALUES + 1, limits::VALUES);
    assert_eq!(
        kinds(&format!("kind: string\nvalues: [{}]", values.join(", "))),
        [ProblemKind::TooMany { count, limit }]
    );
    let elements = "- {key: A, kind: string}\n".repeat(limits::VARIABLES + 100);
    let found = told(&format!("id: t\nname: T\ncategory: c\nversion: '1'\nvariables:\n{elements}"));
    assert_eq!(found.len(), limits::VARIABLES, "one less than all looked at are doubles");
    let (count, limit) = (limits::VARIABLES + 100, limits::VARIABLES);
    assert_eq!(found[0].2, ProblemKind::TooMany { count, limit });
    let none = told("id: t\nname: T\ncategory: c\nversion: '1'\nvariables: []\n");
    assert!(matches!(&none[..], [(5, path, ProblemKind::Empty)] if path == "variables"));
}

#[test]
fn problems_beyond_what_anybody_reads_are_counted() {
    let fields: String = (0..1_000).map(|at| format!("f{at}: 1\n")).collect();
    let error = Template::parse(&fields).expect_err("unknown fields");
    assert_eq!((error.problems.len(), error.omitted), (limits::PROBLEMS, 1_000 + 5 - limits::PROBLEMS));
    assert!(error.to_string().ends_with("\nand 749 more"), "{error}");
}

#[test]
fn no_problem_spans_lines() {
    let source = "\"a\\nb\": 1\nid: \"x\\ny\"\nname: \"x\\ny\"\ncategory: c\nversion: '1'\nvariables:\n- {key: \"A\\nB\", kind: string}\n";
    let found = super::problems(source);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|problem| !problem.to_string().contains('\n')), "{found:?}");
}
