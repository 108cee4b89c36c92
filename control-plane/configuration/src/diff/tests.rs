use std::collections::BTreeMap;

use outrigger_protocol::environment::Entry;
use outrigger_protocol::id::EnvironmentId;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

/// Variables by name; nothing is a tombstone.
type Set = BTreeMap<String, Option<Variable>>;

fn variable(name: &str, value: Option<&str>) -> Variable {
    Variable {
        name: name.to_owned(),
        value: value.map(|value| Zeroizing::new(value.to_owned())),
        kind: VariableKind::String,
        secret: false,
        required: false,
        description: String::new(),
        expand: true,
    }
}

fn secret(name: &str, value: &str) -> Variable {
    Variable { secret: true, ..variable(name, Some(value)) }
}

fn views(set: &Set) -> impl Iterator<Item = View<'_>> {
    set.iter().map(|(name, variable)| variable.as_ref().map_or_else(|| View::tombstone(name), View::from))
}

fn between(before: &[Variable], after: &[Variable]) -> Vec<Difference> {
    diff(before.iter().map(View::from), after.iter().map(View::from))
}

fn plain(text: &str) -> ShownValue {
    ShownValue::Text(text.to_owned())
}

#[test]
fn names_are_added_removed_and_changed_in_their_order() {
    let before = [variable("SAME", Some("x")), variable("PORT", Some("80")), variable("GONE", Some(""))];
    let port = Variable { kind: VariableKind::Number, required: true, ..variable("PORT", Some("81")) };
    let found = between(&before, &[port, variable("SAME", Some("x")), variable("NEW", None)]);
    let names: Vec<_> = found.iter().map(|difference| difference.name.as_str()).collect();
    assert_eq!(names, ["GONE", "NEW", "PORT"]);
    assert!(matches!(&found[0].change, Change::Removed(shown) if shown.value == plain("")));
    assert!(matches!(&found[1].change, Change::Added(shown) if shown.value == ShownValue::Unset));
    let Change::Changed { before, after, aspects } = &found[2].change else { panic!("{found:?}") };
    assert_eq!(*aspects, [Aspect::Value, Aspect::Kind, Aspect::Requiredness]);
    assert_eq!((&before.value, &after.value), (&plain("80"), &plain("81")));
}

#[test]
fn a_secret_is_changed_or_equal_and_never_shown() {
    assert_eq!(between(&[secret("A", "hunter2")], &[secret("A", "hunter2")]), []);
    for (before, after) in [
        (secret("A", "hunter2"), secret("A", "hunter3")),
        (variable("A", Some("hunter2")), secret("A", "hunter3")),
        (secret("A", "hunter2"), variable("A", Some("hunter3"))),
        (Variable { kind: VariableKind::Secret, ..variable("A", Some("hunter2")) }, secret("A", "hunter3")),
    ] {
        let found = between(&[before], &[after]);
        let Change::Changed { before, after, aspects } = &found[0].change else { panic!("{found:?}") };
        assert_eq!((&before.value, &after.value), (&ShownValue::Hidden, &ShownValue::Hidden));
        assert_eq!(aspects[0], Aspect::Value);
    }
    let added = between(&[], &[secret("A", "hunter2")]);
    assert!(matches!(&added[0].change, Change::Added(shown) if shown.value == ShownValue::Hidden));
    let became_secret = between(&[variable("A", Some("x"))], &[secret("A", "x")]);
    assert!(matches!(&became_secret[0].change, Change::Changed { aspects, .. } if *aspects == [Aspect::Secrecy]));
}

#[test]
fn what_a_base_makes_secret_is_not_shown_where_it_is_overridden() {
    let environment = EnvironmentId::from_bytes([1; 16]);
    let layer = |value| {
        let variables = vec![variable("A", Some(value)), variable("B", Some(value))];
        Layer { environment, label: "prod".to_owned(), extends: None, variables, tombstones: vec!["C".to_owned()] }
    };
    let (before, after, secrets) = (layer("1"), layer("2"), BTreeSet::from(["A"]));
    let found = diff(before.views(&secrets), after.views(&secrets));
    let shown: Vec<_> = found
        .iter()
        .map(|difference| match &difference.change {
            Change::Changed { after, .. } => &after.value,
            change => panic!("{change:?}"),
        })
        .collect();
    assert_eq!(shown, [&ShownValue::Hidden, &plain("2")]);
}

#[test]
fn a_tombstone_differs_from_a_variable_by_its_value_alone() {
    let required = Variable { required: true, kind: VariableKind::Number, ..variable("A", None) };
    let found = diff([View::tombstone("A")], [View::from(&required)]);
    let Change::Changed { before, aspects, .. } = &found[0].change else { panic!("{found:?}") };
    assert_eq!((&before.value, aspects.as_slice()), (&ShownValue::Tombstone, [Aspect::Value].as_slice()));
    assert_eq!(diff([View::tombstone("A")], [View::tombstone("A")]), []);
}

#[test]
fn effective_environments_are_compared_by_what_a_program_gets() {
    let environment = |id, origin, value: &str| {
        let value = Some(Zeroizing::new(value.to_owned()));
        let entry = Entry { name: "A".to_owned(), value, kind: VariableKind::String, secret: false, required: false };
        let entry = EffectiveEntry { entry, description: String::new(), origin, shadows: vec![], references: vec![] };
        Effective { environment: id, entries: vec![entry], dependencies: BTreeSet::new() }
    };
    let (one, other) = (EnvironmentId::from_bytes([1; 16]), EnvironmentId::from_bytes([2; 16]));
    let staging = environment(one, one, "x");
    assert_eq!(diff(staging.views(), environment(other, one, "x").views()), []);
    assert_eq!(diff(staging.views(), environment(other, other, "y").views()).len(), 1);
}

/// Does what `differences` say to `set`. What they do not show is looked up in `hidden`.
fn apply(differences: &[Difference], set: &Set, hidden: &Set) -> Set {
    let mut result = set.clone();
    for Difference { name, change } in differences {
        let (shown, keeps_value) = match change {
            Change::Removed(_) => {
                result.remove(name).expect("only what is there is removed");
                continue;
            }
            Change::Added(shown) => {
                assert!(!result.contains_key(name), "only what is not there is added");
                (shown, false)
            }
            Change::Changed { after, aspects, .. } => (after, !aspects.contains(&Aspect::Value)),
        };
        let text_in = |set: &Set| set[name].as_ref().and_then(|variable| variable.value.clone());
        let value = match &shown.value {
            ShownValue::Tombstone => {
                result.insert(name.clone(), None);
                continue;
            }
            ShownValue::Unset => None,
            ShownValue::Hidden => text_in(if keeps_value { set } else { hidden }),
            ShownValue::Text(text) => Some(Zeroizing::new(text.clone())),
        };
        let Shown { kind, secret, required, description, expand, .. } = shown.clone();
        let variable = Variable { name: name.clone(), value, kind, secret, required, description, expand };
        result.insert(name.clone(), Some(variable));
    }
    result
}

fn inverted(Difference { name, change }: Difference) -> Difference {
    let change = match change {
        Change::Added(shown) => Change::Removed(shown),
        Change::Removed(shown) => Change::Added(shown),
        Change::Changed { before, after, aspects } => Change::Changed { before: after, after: before, aspects },
    };
    Difference { name, change }
}

fn any_variable() -> impl Strategy<Value = Variable> {
    let value = prop::option::of("(canary)?[ab]{0,2}");
    let kind = prop::sample::select(VariableKind::ALL);
    (value, kind, any::<bool>(), any::<bool>(), "[ab]?", any::<bool>()).prop_map(
        |(value, kind, secret, required, description, expand)| {
            let is_canary = value.as_ref().is_some_and(|value| value.starts_with("canary"));
            let secret = secret || is_canary || kind == VariableKind::Secret;
            Variable { kind, secret, required, description, expand, ..variable("", value.as_deref()) }
        },
    )
}

fn any_set() -> impl Strategy<Value = Set> {
    prop::collection::btree_map("[A-E]", prop::option::weighted(0.8, any_variable()), 0..5).prop_map(|set| {
        let named = |name: &String, variable: Variable| Variable { name: name.clone(), ..variable };
        set.into_iter()
            .map(|(name, variable)| (name.clone(), variable.map(|variable| named(&name, variable))))
            .collect()
    })
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(set in any_set()) {
        prop_assert_eq!(diff(views(&set), views(&set)), []);
    }

    #[test]
    fn what_differs_turns_one_set_into_the_other(before in any_set(), after in any_set()) {
        prop_assert_eq!(apply(&diff(views(&before), views(&after)), &before, &after), after);
    }

    #[test]
    fn the_other_way_round_everything_is_the_other_way_round(before in any_set(), after in any_set()) {
        let there: Vec<_> = diff(views(&before), views(&after)).into_iter().map(inverted).collect();
        prop_assert_eq!(there, diff(views(&after), views(&before)));
    }

    #[test]
    fn differences_are_ordered_and_show_no_secret(before in any_set(), after in any_set()) {
        let differences = diff(views(&before), views(&after));
        prop_assert!(differences.is_sorted_by(|a, b| a.name < b.name));
        let inputs: Vec<_> = views(&before).collect();
        let shown = format!("{differences:?} {inputs:?}");
        prop_assert!(!shown.contains("canary"));
        for difference in &differences {
            let sides = match &difference.change {
                Change::Added(shown) | Change::Removed(shown) => vec![shown],
                Change::Changed { before, after, .. } => vec![before, after],
            };
            let is_told = |shown: &&Shown| matches!(&shown.value, ShownValue::Text(text) if text.contains("canary"));
            prop_assert!(!sides.iter().any(is_told));
        }
    }
}
