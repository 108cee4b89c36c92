use outrigger_protocol::environment::ProblemKind;

use super::*;
use crate::template::Unfit;

const TEMPLATE: &str = "\
id: t
name: T
category: c
version: '1'
variables:
- {key: HOST, kind: string, required: true, example: db.example.com}
- {key: USER, kind: string, required: true, example: app}
- {key: PORT, kind: number, required: true, default: 5432, description: The port.}
- {key: MODE, kind: string, values: [fast, safe], default: {production: safe}}
- {key: TOKEN, kind: secret, required: true, generate: {kind: hex, bytes: 16}, example: example}
- {key: NOTE, kind: string, example: example}
";

struct Case {
    stage: Stage,
    overrides: BTreeMap<String, Zeroizing<String>>,
    existing: BTreeSet<String>,
    replace: bool,
    generate: bool,
}

fn case(overrides: &[(&str, &str)], existing: &[&str]) -> Case {
    let zeroizing = |(key, value): &(&str, &str)| ((*key).to_owned(), Zeroizing::new((*value).to_owned()));
    Case {
        stage: Stage::Production,
        overrides: overrides.iter().map(zeroizing).collect(),
        existing: existing.iter().map(|key| (*key).to_owned()).collect(),
        replace: false,
        generate: true,
    }
}

impl Case {
    fn apply(&self) -> Result<Applied, ApplyError> {
        self.apply_with(&mut |buffer| buffer.fill(0xa5))
    }

    fn apply_with(&self, fill: &mut dyn FnMut(&mut [u8])) -> Result<Applied, ApplyError> {
        let template = Template::parse(TEMPLATE).expect("a template");
        let Self { stage, overrides, existing, replace, generate } = self;
        let application = Application { stage: *stage, overrides, existing, replace: *replace, generate: *generate };
        apply(&template, &application, fill)
    }

    fn written(&self) -> Vec<(String, String, Origin)> {
        let applied = self.apply().expect("it can be applied");
        applied.variables.into_iter().map(|v| (v.key, v.value.to_string(), v.origin)).collect()
    }

    fn refused(&self) -> Vec<(String, Refusal)> {
        match self.apply() {
            Err(ApplyError::Refused { problems }) => problems.into_iter().map(|p| (p.key, p.refusal)).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn owned(written: &[(&str, &str, Origin)]) -> Vec<(String, String, Origin)> {
    written.iter().map(|(key, value, origin)| ((*key).to_owned(), (*value).to_owned(), *origin)).collect()
}

const SECRET: &str = "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";

#[test]
fn values_come_from_overrides_defaults_and_chance_but_not_from_examples() {
    let case = case(&[("HOST", "h"), ("USER", "u")], &[]);
    let expected = [
        ("HOST", "h", Origin::Override),
        ("USER", "u", Origin::Override),
        ("PORT", "5432", Origin::Default),
        ("MODE", "safe", Origin::Default),
        ("TOKEN", SECRET, Origin::Generated),
    ];
    assert_eq!(case.written(), owned(&expected));
    assert_eq!(case.apply().expect("applied").unset, ["NOTE"]);
}

#[test]
fn a_variable_carries_what_the_template_says_of_it() {
    let applied = case(&[("HOST", "h"), ("USER", "u")], &[]).apply().expect("applied");
    let port = &applied.variables[2];
    assert_eq!(
        (port.kind, port.secret, port.required, port.description.as_str()),
        (VariableKind::Number, false, true, "The port.")
    );
    let token = &applied.variables[4];
    assert!(token.secret && token.kind == VariableKind::Secret);
}

#[test]
fn defaults_are_those_of_the_stage() {
    let mut case = case(&[("HOST", "h"), ("USER", "u")], &[]);
    case.stage = Stage::Staging;
    assert_eq!(case.apply().expect("applied").unset, ["MODE", "NOTE"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_no_secret_is_drawn() {
    let case = case(&[("PROT", "1"), ("PORT", "many"), ("MODE", "slow"), ("TOKEN", "a\0b"), ("ZZZZZZ", "")], &[]);
    let example = |example: &str| Refusal::Missing { example: Some(example.to_owned()), can_be_generated: false };
    let unknown = |nearest: Option<&str>| Refusal::Unknown { nearest: nearest.map(str::to_owned) };
    let allowed = vec!["fast".to_owned(), "safe".to_owned()];
    let expected = [
        ("PROT", unknown(None)),
        ("ZZZZZZ", unknown(None)),
        ("HOST", example("db.example.com")),
        ("USER", example("app")),
        ("PORT", Refusal::Unfit(Unfit::Value(ProblemKind::NotNumber))),
        ("MODE", Refusal::Unfit(Unfit::NotAllowed { allowed })),
        ("TOKEN", Refusal::Unfit(Unfit::Value(ProblemKind::NulByte))),
    ];
    assert_eq!(case.refused(), expected.map(|(key, refusal)| (key.to_owned(), refusal)));
    case.apply_with(&mut |_| panic!("nothing is drawn")).expect_err("refused");
}

#[test]
fn an_unknown_override_is_refused_with_the_nearest_name() {
    let refused = case(&[("HOST", "h"), ("USER", "u"), ("TOKNE", "t"), ("USERS", "u")], &[]).refused();
    let nearest = |name: &str| Refusal::Unknown { nearest: Some(name.to_owned()) };
    assert_eq!(refused[1], ("USERS".to_owned(), nearest("USER")));
    let refused = case(&[("HOST", "h"), ("USER", "u"), ("TOKENS\n", "t")], &[]).refused();
    assert_eq!(refused[0].0, "TOKENS\u{fffd}");
}

#[test]
fn existing_values_are_kept() {
    let case = case(&[("USER", "u")], &["HOST", "PORT", "TOKEN", "NOTE", "ELSEWHERE"]);
    assert_eq!(case.written(), owned(&[("USER", "u", Origin::Override), ("MODE", "safe", Origin::Default)]));
    assert_eq!(case.apply().expect("applied").kept, ["HOST", "PORT", "TOKEN", "NOTE"]);
}

#[test]
fn an_override_of_an_existing_value_is_refused_instead_of_ignored() {
    let refused = case(&[("HOST", "h"), ("USER", "u"), ("PORT", "x")], &["HOST", "PORT"]).refused();
    let not_number = Refusal::Unfit(Unfit::Value(ProblemKind::NotNumber));
    let expected = [("HOST", Refusal::AlreadySet), ("PORT", not_number), ("PORT", Refusal::AlreadySet)];
    assert_eq!(refused, expected.map(|(key, refusal)| (key.to_owned(), refusal)));
}

#[test]
fn replacing_takes_what_the_template_has_and_keeps_the_rest() {
    let mut case = case(&[("HOST", "h")], &["HOST", "USER", "PORT", "TOKEN", "NOTE"]);
    case.replace = true;
    let expected = [
        ("HOST", "h", Origin::Override),
        ("PORT", "5432", Origin::Default),
        ("MODE", "safe", Origin::Default),
        ("TOKEN", SECRET, Origin::Generated),
    ];
    assert_eq!(case.written(), owned(&expected));
    assert_eq!(case.apply().expect("applied").kept, ["USER", "NOTE"]);
}

#[test]
fn what_is_not_to_be_generated_is_passed_in_kept_or_missing() {
    let mut case = case(&[("HOST", "h"), ("USER", "u")], &[]);
    case.generate = false;
    let missing = Refusal::Missing { example: Some("example".to_owned()), can_be_generated: true };
    assert_eq!(case.refused(), [("TOKEN".to_owned(), missing)]);
    case.overrides.insert("TOKEN".to_owned(), Zeroizing::new("t".to_owned()));
    assert_eq!(case.written().last(), Some(&("TOKEN".to_owned(), "t".to_owned(), Origin::Override)));
    case.overrides.remove("TOKEN");
    (case.existing, case.replace) = (BTreeSet::from(["TOKEN".to_owned()]), true);
    assert_eq!(case.apply().expect("applied").kept, ["TOKEN"]);
}

#[test]
fn an_override_may_be_empty_or_a_reference() {
    let case =
        case(&[("HOST", ""), ("USER", "${DB_USER}"), ("PORT", "${env:base/PORT}"), ("MODE", "${MODE_OF_ALL}")], &[]);
    let written = case.written();
    assert_eq!(written[0], ("HOST".to_owned(), String::new(), Origin::Override));
    assert_eq!(written[2].1, "${env:base/PORT}");
    assert_eq!(written[3].1, "${MODE_OF_ALL}");
}

#[test]
fn more_overrides_than_a_template_can_have_variables_are_not_looked_at() {
    let mut many = case(&[], &[]);
    let (count, limit) = (limits::VARIABLES + 1, limits::VARIABLES);
    many.overrides = (0..count).map(|at| (format!("HOSTS{at}"), Zeroizing::new(String::new()))).collect();
    let refused = many.refused();
    assert_eq!(refused[0], (String::new(), Refusal::TooManyOverrides { count, limit }));
    assert!(refused.iter().all(|(_, refusal)| !matches!(refusal, Refusal::Unknown { .. })));
}

#[test]
fn a_source_that_is_stuck_is_told_with_the_variable() {
    let template = "id: t\nname: T\ncategory: c\nversion: '1'\nvariables:\n\
                    - {key: TOKEN, kind: secret, generate: {kind: alphanumeric, characters: 32}}\n";
    let template = Template::parse(template).expect("a template");
    let none = case(&[], &[]);
    let application = Application {
        stage: Stage::Staging,
        overrides: &none.overrides,
        existing: &none.existing,
        replace: false,
        generate: true,
    };
    let refused = apply(&template, &application, &mut |buffer| buffer.fill(255)).expect_err("stuck");
    assert!(matches!(refused, ApplyError::Randomness { key, .. } if key == "TOKEN"));
}

#[test]
fn neither_debug_nor_an_error_shows_a_value() {
    let case = case(&[("HOST", "hunter2"), ("USER", "hunter2")], &[]);
    let application = Application {
        stage: case.stage,
        overrides: &case.overrides,
        existing: &case.existing,
        replace: false,
        generate: true,
    };
    let shown = format!("{application:?} {:?}", case.apply());
    assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{shown}");
    let case = super::tests::case(&[("PORT", "hunter2"), ("MODE", "hunter2")], &["PORT"]);
    let error = case.apply().expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    assert!(error.to_string().lines().count() == 6, "{error}");
}
