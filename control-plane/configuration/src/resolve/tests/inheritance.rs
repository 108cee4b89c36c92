use super::*;

fn entry<'a>(effective: &'a Effective, name: &str) -> &'a EffectiveEntry {
    effective.entry(name).unwrap_or_else(|| panic!("{name} is there"))
}

#[test]
fn a_later_layer_overrides_an_earlier_one_and_says_which() {
    let world = World::default()
        .with("base", None, vec![set("A", "1"), set("B", "1"), set("C", "1")])
        .with("staging", Some("base"), vec![set("A", "2"), set("B", "2")])
        .with("staging/eu", Some("staging"), vec![set("A", "3"), set("D", "3")]);
    let effective = world.resolve("staging/eu").unwrap();
    let names: Vec<_> = effective.entries.iter().map(|found| found.entry.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "C", "D"]);
    let told = |name| {
        let found = entry(&effective, name);
        (found.origin, found.shadows.clone(), effective.is_inherited(found))
    };
    assert_eq!(told("A"), (id("staging/eu"), vec![id("base"), id("staging")], false));
    assert_eq!(told("B"), (id("staging"), vec![id("base")], true));
    assert_eq!(told("C"), (id("base"), vec![], true));
    assert_eq!(told("D"), (id("staging/eu"), vec![], false));
    assert_eq!(effective.dependencies, [id("base"), id("staging")].into());
    assert_eq!(world.value("staging/eu", "A").as_deref(), Some("3"));
    assert_eq!(world.value("base", "A").as_deref(), Some("1"), "a base does not see who extends it");
}

#[test]
fn a_declaration_keeps_the_value_and_only_tightens() {
    let base = vec![
        Variable { description: "listening port".to_owned(), ..of_kind(VariableKind::Number, set("PORT", "80")) },
        required(set("LEVEL", "info")),
        set("KEY", "k"),
    ];
    let derived = vec![required(declared("PORT")), declared("LEVEL"), of_kind(VariableKind::Secret, declared("KEY"))];
    let world = World::default().with("base", None, base).with("prod", Some("base"), derived);
    let effective = world.resolve("prod").unwrap();
    let port = entry(&effective, "PORT");
    assert_eq!(port.entry.value.as_ref().map(|value| value.as_str()), Some("80"));
    assert_eq!((port.entry.kind, port.entry.required, port.origin), (VariableKind::Number, true, id("base")));
    assert_eq!(port.description, "listening port");
    assert!(entry(&effective, "LEVEL").entry.required, "what a base requires stays required");
    assert!(entry(&effective, "KEY").entry.is_secret());
}

#[test]
fn what_is_secret_in_one_layer_is_secret_in_all_that_extend_it() {
    let world = World::default()
        .with("base", None, vec![secret(set("A", "1")), secret(declared("B")), secret(set("C", "1"))])
        .with("mid", Some("base"), vec![set("A", "2"), set("B", "2")])
        .without("mid", "C")
        .with("top", Some("mid"), vec![set("C", "3"), set("D", "3")]);
    let effective = world.resolve("top").unwrap();
    for name in ["A", "B", "C"] {
        assert!(entry(&effective, name).entry.secret, "{name}");
    }
    assert!(!entry(&effective, "D").entry.secret);
    assert_eq!(secret_names(&world, id("top")), ["A", "B", "C"].into());
}

#[test]
fn a_tombstone_takes_an_inherited_variable_away() {
    let world = World::default()
        .with("base", None, vec![required(set("A", "1")), set("B", "1")])
        .with("mid", Some("base"), vec![])
        .without("mid", "A")
        .without("mid", "NEVER_THERE")
        .with("top", Some("mid"), vec![set("A", "3")]);
    assert_eq!(world.value("mid", "A"), None);
    assert!(world.resolve("mid").unwrap().entry("A").is_none());
    let effective = world.resolve("top").unwrap();
    let again = entry(&effective, "A");
    assert_eq!((again.entry.required, again.shadows.as_slice()), (false, [].as_slice()), "it begins anew");
}

#[test]
fn a_required_variable_without_a_value_is_left_to_those_who_extend() {
    let world = World::default().with("base", None, vec![required(declared("A"))]).with(
        "prod",
        Some("base"),
        vec![set("A", "x")],
    );
    let base = world.resolve("base").unwrap();
    assert_eq!((entry(&base, "A").origin, base.to_environment().validate(&[]).is_err()), (id("base"), true));
    assert!(world.resolve("prod").unwrap().to_environment().validate(&[]).is_ok());
}

#[test]
fn a_dangerous_name_is_left_to_the_deployment() {
    let world = World::default().with("base", None, vec![set("NODE_OPTIONS", "--x")]);
    assert!(world.resolve("base").is_ok());
}

#[test]
fn environments_that_extend_each_other_are_refused_with_the_circle() {
    let world = World::default()
        .with("a", Some("b"), vec![set("A", "1")])
        .with("b", Some("c"), vec![])
        .with("c", Some("a"), vec![])
        .with("self", Some("self"), vec![])
        .with("beside", Some("a"), vec![]);
    assert_eq!(
        world.problems("a"),
        ["`a`: environments extend each other in a circle: a -> b -> c -> a; let one of them extend none"]
    );
    assert_eq!(
        world.problems("self"),
        ["`self`: environments extend each other in a circle: self -> self; let one of them extend none"]
    );
    let beside = world.resolve("beside").unwrap_err();
    assert!(beside.to_string().contains("a -> b -> c -> a"), "{beside}");
    assert_eq!(beside.dependencies, [id("a"), id("b"), id("c")].into(), "a change of these may be the remedy");
    assert!(secret_names(&world, id("a")).is_empty(), "and this ends");
}

#[test]
fn an_environment_that_is_not_there_is_named() {
    let world = World::default().with("orphan", Some("gone"), vec![]);
    assert_eq!(
        world.problems("orphan"),
        ["`orphan`: it extends an environment that the project does not have; let it extend another one, or none"]
    );
    let absent = world.problems("absent");
    assert!(absent[0].contains("does not have this environment") && absent[0].contains("env_"), "{absent:?}");
}

#[test]
fn a_name_is_written_once_in_a_layer() {
    let world = World::default()
        .with("base", None, vec![set("A", "1"), set("A", "2"), set("B", "1")])
        .without("base", "B")
        .with("prod", Some("base"), vec![set("C", "${env:base/B}")]);
    let twice = [
        "`base`, `A`: written more than once in one environment; keep one of them",
        "`base`, `B`: written more than once in one environment; keep one of them",
    ];
    assert_eq!(world.problems("base"), twice);
    assert_eq!(world.problems("prod"), twice, "once, although two environments have it");
}

#[test]
fn kinds_and_names_are_checked_on_what_comes_out() {
    let world = World::default()
        .with("base", None, vec![of_kind(VariableKind::Number, set("PORT", "${LOW}${HIGH}")), set("HIGH", "80")])
        .with("good", Some("base"), vec![set("LOW", "80")])
        .with(
            "bad",
            Some("base"),
            vec![set("LOW", "x"), set("9", ""), of_kind(VariableKind::Url, set("U", "u${LOW}"))],
        );
    assert_eq!(world.value("good", "PORT").as_deref(), Some("8080"));
    assert_eq!(
        world.problems("bad"),
        [
            "`bad`, `9`: a name is a letter or `_`, then letters, digits and `_`",
            "`bad`, `PORT` (written in `base`): the value is not a finite number",
            "`bad`, `U`: the value is not a URL (scheme://…)",
        ]
    );
}
