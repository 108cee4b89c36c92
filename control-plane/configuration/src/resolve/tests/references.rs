use super::*;

#[test]
fn a_base_refers_to_what_the_environment_that_extends_it_says() {
    let world = World::default()
        .with(
            "base",
            None,
            vec![set("URL", "postgres://${HOST}:${PORT}/app"), set("HOST", "localhost"), set("PORT", "5432")],
        )
        .with("prod", Some("base"), vec![set("HOST", "db.internal")]);
    assert_eq!(world.value("base", "URL").as_deref(), Some("postgres://localhost:5432/app"));
    assert_eq!(world.value("prod", "URL").as_deref(), Some("postgres://db.internal:5432/app"));
    let effective = world.resolve("prod").unwrap();
    let source = |key: &str, origin| Source { environment: id("prod"), key: key.to_owned(), origin: id(origin) };
    assert_eq!(effective.entry("URL").unwrap().references, [source("HOST", "prod"), source("PORT", "base")]);
}

#[test]
fn another_environment_is_referred_to_by_name_and_seen_as_it_is_in_effect() {
    let world = World::default()
        .with("base", None, vec![set("HOST", "db-${REGION}"), set("REGION", "us")])
        .with("production/eu", Some("base"), vec![set("REGION", "eu")])
        .with("staging", None, vec![set("DB", "${env:production/eu/HOST}"), set("SAME", "${env:eu/HOST}")]);
    assert_eq!(world.value("staging", "DB").as_deref(), Some("db-eu"));
    assert_eq!(world.value("staging", "SAME").as_deref(), Some("db-eu"));
    let effective = world.resolve("staging").unwrap();
    let (environment, key, origin) = (id("production/eu"), "HOST".to_owned(), id("base"));
    assert_eq!(effective.entry("DB").unwrap().references, [Source { environment, key, origin }]);
    assert_eq!(effective.dependencies, [id("base"), id("production/eu")].into());
    assert_eq!(world.layers[&id("staging")].mentions(), ["production/eu", "eu"].into());
}

#[test]
fn only_what_is_in_effect_is_looked_at() {
    let world = World::default()
        .with("base", None, vec![set("A", "${env:gone/A} ${"), set("B", "${env:gone/B}")])
        .with("other", None, vec![set("GOOD", "1"), set("BAD", "${NOWHERE}")])
        .with("prod", Some("base"), vec![set("A", "${env:other/GOOD}")])
        .without("prod", "B");
    assert_eq!(world.value("prod", "A").as_deref(), Some("1"));
}

#[test]
fn literal_values_and_doubled_dollars_are_not_expanded() {
    let world = World::default().with(
        "base",
        None,
        vec![
            literal(set("LITERAL", "${X} $${Y} ${")),
            set("DOUBLED", "$${X} $$${A} $HOME"),
            set("A", ""),
            set("EMPTY", "${A}"),
        ],
    );
    assert_eq!(world.value("base", "LITERAL").as_deref(), Some("${X} $${Y} ${"));
    assert_eq!(world.value("base", "DOUBLED").as_deref(), Some("${X} $ $HOME"));
    assert_eq!(world.value("base", "EMPTY").as_deref(), Some(""), "an empty text is a value");
    assert!(world.layers[&id("base")].mentions().is_empty());
}

#[test]
fn values_survive_byte_for_byte() {
    let odd = "line one\r\n\tline two\n\u{feff}grün 🚀 \u{0} $ {} \\n $2b$10$";
    let world = World::default().with("base", None, vec![set("A", odd.trim_matches('x')), set("B", "<${A}>")]);
    let problems = world.problems("base");
    assert_eq!(problems.len(), 2, "the NUL alone: {problems:?}");
    let odd = odd.replace('\0', "");
    let world = World::default().with("base", None, vec![set("A", &odd), set("B", "<${A}>")]);
    assert_eq!(world.value("base", "A"), Some(odd.clone()));
    assert_eq!(world.value("base", "B"), Some(format!("<{odd}>")));
}

#[test]
fn what_contains_a_secret_is_secret() {
    let world = World::default()
        .with("vault", None, vec![of_kind(VariableKind::Secret, set("PASSWORD", "hunter2")), set("USER", "app")])
        .with(
            "prod",
            None,
            vec![
                set("LOGIN", "${env:vault/USER}:${env:vault/PASSWORD}"),
                set("URL", "https://${LOGIN}@db/"),
                set("USER", "${env:vault/USER}"),
            ],
        );
    let effective = world.resolve("prod").unwrap();
    let is_secret = |name| effective.entry(name).unwrap().entry.secret;
    assert!(is_secret("LOGIN") && is_secret("URL") && !is_secret("USER"));
    assert!(!format!("{effective:?} {:?}", world.layers).contains("hunter2"));
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_the_remedy() {
    let world = World::default()
        .with("production/eu", None, vec![set("A", "1"), set("BROKEN", "${MISSING}")])
        .with("staging/eu", None, vec![set("A", "1")])
        .with("base", None, vec![set("INHERITED", "x\n  ${ABSENT}")])
        .with(
            "prod",
            Some("base"),
            vec![
                set("ABSENT_KEY", "ü${NOPE} ${env:staging/eu/NOPE}"),
                set("AMBIGUOUS", "${env:eu/A}"),
                set("DEPENDENT", "${ABSENT_KEY}"),
                set("FOREIGN", "${env:production/eu/BROKEN}"),
                set("MALFORMED", "${a b} ${env:eu} ${A:-x}"),
                set("OPEN", "a${b"),
                of_kind(VariableKind::Number, set("PORT", "eighty")),
                set("REFERS_TO_UNSET", "${UNSET}"),
                set("UNKNOWN", "${env:no\u{7}where/A}"),
                declared("UNSET"),
            ],
        );
    let malformed = "this is not a reference; write `${KEY}`, `${env:NAME/KEY}`, or `$${` for a literal `${`";
    let absent = "does not have; set it there, or write `$${` for a literal `${`";
    assert_eq!(
        world.problems("prod"),
        [
            format!("`prod`, `ABSENT_KEY`, line 1, column 2: refers to variable `NOPE`, which `prod` {absent}"),
            format!("`prod`, `ABSENT_KEY`, line 1, column 10: refers to variable `NOPE`, which `staging/eu` {absent}"),
            "`prod`, `AMBIGUOUS`, line 1, column 1: refers to an environment by a name that may mean `production/eu`, \
             `staging/eu`; write one of these"
                .to_owned(),
            format!("`prod`, `INHERITED`, line 2, column 3 (written in `base`): refers to variable `ABSENT`, which `prod` {absent}"),
            format!("`prod`, `MALFORMED`, line 1, column 1: {malformed}"),
            "`prod`, `MALFORMED`, line 1, column 8: a reference to another environment is `${env:NAME/KEY}`; write \
             `$${` for a literal `${`"
                .to_owned(),
            format!("`prod`, `MALFORMED`, line 1, column 18: {malformed}"),
            "`prod`, `OPEN`, line 1, column 2: no `}` closes this `${`; write `${KEY}`, `${env:NAME/KEY}`, or `$${` \
             for a literal `${`"
                .to_owned(),
            "`prod`, `PORT`: the value is not a finite number".to_owned(),
            "`prod`, `REFERS_TO_UNSET`, line 1, column 1: refers to variable `UNSET`, which has no value in `prod`; set it there".to_owned(),
            "`prod`, `UNKNOWN`, line 1, column 1: refers to environment `no\u{fffd}where`, which the project does not have"
                .to_owned(),
            format!("`production/eu`, `BROKEN`, line 1, column 1: refers to variable `MISSING`, which `production/eu` {absent}"),
        ]
    );
}

#[test]
fn a_secret_value_is_not_quoted_where_it_looks_like_a_reference() {
    let variables = vec![
        secret(set("A", "pa${hunter2}")),
        secret(set("B", "${env:hunter2/hunter2}")),
        of_kind(VariableKind::Secret, set("C", "hunter2${")),
        set("D", "${hunter2}"),
    ];
    let world = World::default().with("base", None, vec![secret(declared("D"))]).with("prod", Some("base"), variables);
    let unresolvable = world.resolve("prod").unwrap_err();
    assert_eq!(unresolvable.problems.len(), 4);
    assert!(!format!("{unresolvable} {unresolvable:?}").contains("hunter2"), "{unresolvable}");
    assert!(
        unresolvable.to_string().contains("`A`, line 1, column 3: refers to variable (not named here"),
        "{unresolvable}"
    );
}

#[test]
fn a_loop_is_named_as_a_path_also_across_environments() {
    let world = World::default()
        .with(
            "a",
            None,
            vec![
                set("X", "${Y}"),
                set("Y", "${Z}${Z}"),
                set("Z", "${X}"),
                set("INTO", "${X}"),
                set("PATH", "${PATH}:/x"),
            ],
        )
        .with("b", None, vec![set("X", "${env:c/Y}")])
        .with("c", None, vec![set("Y", "${env:b/X}"), set("ONLY", "${LOOP}"), set("LOOP", "${ONLY}")]);
    assert_eq!(
        world.problems("a"),
        [
            "`a`, `PATH`: refers to itself: PATH -> PATH; the value of a base is `${env:NAME/KEY}`",
            "`a`, `X`: refers to itself: X -> Y -> Z -> X",
        ]
    );
    assert_eq!(world.problems("b"), ["`b`, `X`: refers to itself: X -> c/Y -> X"]);
}

#[test]
fn a_derived_value_can_extend_the_one_of_its_base() {
    let world = World::default().with("base", None, vec![set("PATH", "/bin")]).with(
        "prod",
        Some("base"),
        vec![set("PATH", "${env:base/PATH}:/opt/bin")],
    );
    assert_eq!(world.value("prod", "PATH").as_deref(), Some("/bin:/opt/bin"));
}

#[test]
fn a_broken_environment_is_told_once_however_many_refer_to_it() {
    let world = World::default()
        .with("broken", Some("gone"), vec![set("A", "1")])
        .with("text", None, vec![set("FAULT", "${")])
        .with("text/derived", Some("text"), vec![])
        .with(
            "prod",
            Some("text"),
            vec![
                set("A", "${env:broken/A}${env:broken/B}"),
                set("B", "${env:broken/A}"),
                set("C", "${env:text/FAULT}${env:text/derived/FAULT}"),
            ],
        );
    let problems = world.problems("prod");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("`broken`: it extends") && problems[1].starts_with("`text`, `FAULT`, line 1"));
}
