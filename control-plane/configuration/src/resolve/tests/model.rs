//! Random projects against a model that is too simple to be wrong, and too slow to be used.

use std::collections::BTreeSet;

use outrigger_protocol::limits as kernel;
use proptest::prelude::*;

use super::*;

const ENVIRONMENTS: usize = 4;
const KEYS: usize = 6;

/// A piece of a value.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Own(usize),
    Foreign(usize, usize),
}

/// What a layer says about a key.
#[derive(Debug, Clone)]
enum Said {
    Nothing,
    Tombstone,
    Declared { secret: bool },
    Set { parts: Vec<Part>, secret: bool },
}

/// An environment extends none or one of those before it.
#[derive(Debug, Clone)]
struct Written {
    extends: Option<usize>,
    said: Vec<Said>,
}

fn label(environment: usize) -> String {
    format!("stage/e{environment}")
}

fn key(key: usize) -> String {
    format!("K{key}")
}

fn text() -> impl Strategy<Value = Part> {
    prop_oneof!["[a-z{} ]{0,3}", Just("é\n🚀".to_owned())].prop_map(Part::Text)
}

/// References to any key.
fn any_part() -> impl Strategy<Value = Part> {
    let foreign = (0..ENVIRONMENTS, 0..KEYS).prop_map(|(environment, key)| Part::Foreign(environment, key));
    prop_oneof![4 => text(), 2 => (0..KEYS).prop_map(Part::Own), 1 => foreign]
}

/// References to keys of a higher number only, so that no loop is possible.
fn forward_part(from: usize) -> BoxedStrategy<Part> {
    if from + 1 == KEYS {
        return text().boxed();
    }
    let later = from + 1..KEYS;
    let foreign = (0..ENVIRONMENTS, later.clone()).prop_map(|(environment, key)| Part::Foreign(environment, key));
    prop_oneof![text(), later.prop_map(Part::Own), foreign].boxed()
}

fn any_said() -> impl Strategy<Value = Said> {
    let set = (prop::collection::vec(any_part(), 0..4), prop::bool::weighted(0.2));
    prop_oneof![
        2 => Just(Said::Nothing),
        1 => Just(Said::Tombstone),
        1 => any::<bool>().prop_map(|secret| Said::Declared { secret }),
        6 => set.prop_map(|(parts, secret)| Said::Set { parts, secret }),
    ]
}

fn forward_said(key: usize, always: bool) -> impl Strategy<Value = Said> {
    let set = prop::collection::vec(forward_part(key), 0..4).prop_map(|parts| Said::Set { parts, secret: false });
    prop_oneof![1 => Just(!always), 1 => Just(false)]
        .prop_flat_map(move |nothing| if nothing { Just(Said::Nothing).boxed() } else { set.clone().boxed() })
}

fn any_project() -> impl Strategy<Value = Vec<Written>> {
    let one = |at: usize| {
        let extends = prop::option::of(0..at.max(1)).prop_map(move |base| base.filter(|_| at > 0));
        (extends, prop::collection::vec(any_said(), KEYS)).prop_map(|(extends, said)| Written { extends, said })
    };
    (0..ENVIRONMENTS).map(one).collect::<Vec<_>>()
}

/// Every key has a value everywhere, and no loop is possible.
fn sound_project() -> impl Strategy<Value = Vec<Written>> {
    let one = |at: usize| {
        let said: Vec<_> = (0..KEYS).map(|key| forward_said(key, at == 0)).collect();
        ((0..at.max(1)), said).prop_map(move |(base, said)| Written { extends: (at > 0).then_some(base), said })
    };
    (0..ENVIRONMENTS).map(one).collect::<Vec<_>>()
}

fn world(project: &[Written]) -> World {
    let mut world = World::default();
    for (environment, Written { extends, said }) in project.iter().enumerate() {
        let variable = |(at, said): (usize, &Said)| {
            let (variable, is_secret) = match said {
                Said::Nothing | Said::Tombstone => return None,
                Said::Declared { secret } => (declared(&key(at)), *secret),
                Said::Set { parts, secret } => (set(&key(at), &written(parts)), *secret),
            };
            Some(Variable { secret: is_secret, ..variable })
        };
        let variables = said.iter().enumerate().filter_map(variable).collect();
        world = world.with(&label(environment), extends.map(label).as_deref(), variables);
        for (at, _) in said.iter().enumerate().filter(|(_, said)| matches!(said, Said::Tombstone)) {
            world = world.without(&label(environment), &key(at));
        }
    }
    world
}

fn written(parts: &[Part]) -> String {
    let written = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Own(at) => format!("${{{}}}", key(*at)),
        Part::Foreign(environment, at) => format!("${{env:{}/{}}}", label(*environment), key(*at)),
    };
    parts.iter().map(written).collect()
}

/// The layers of an environment, itself first.
fn chain(project: &[Written], environment: usize) -> Vec<&Written> {
    std::iter::successors(project.get(environment), |written| project.get(written.extends?)).collect()
}

/// The parts of a key in effect: `None` for one that is not there, `Some(None)` for one that is not set.
fn in_effect(project: &[Written], environment: usize, key: usize) -> Option<Option<&[Part]>> {
    let mut is_declared = None;
    for written in chain(project, environment) {
        match &written.said[key] {
            Said::Nothing => {}
            Said::Tombstone => return is_declared,
            Said::Declared { .. } => is_declared = Some(None),
            Said::Set { parts, .. } => return Some(Some(parts)),
        }
    }
    is_declared
}

/// Texts and secrecy of all values that have one: found again and again, until nothing new is found.
fn expanded(project: &[Written]) -> BTreeMap<(usize, usize), (String, bool)> {
    let mut known: BTreeMap<(usize, usize), (String, bool)> = BTreeMap::new();
    loop {
        let before = known.len();
        for (environment, at) in (0..ENVIRONMENTS).flat_map(|e| (0..KEYS).map(move |at| (e, at))) {
            let Some(Some(parts)) = in_effect(project, environment, at) else { continue };
            let said_secret = chain(project, environment).iter().any(|written| {
                matches!(written.said[at], Said::Declared { secret: true } | Said::Set { secret: true, .. })
            });
            let piece = |part: &Part| match part {
                Part::Text(text) => Some((text.clone(), false)),
                Part::Own(other) => known.get(&(environment, *other)).cloned(),
                Part::Foreign(other_environment, other) => known.get(&(*other_environment, *other)).cloned(),
            };
            let Some(pieces) = parts.iter().map(piece).collect::<Option<Vec<_>>>() else { continue };
            let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            if key(at).len() + text.len() + 2 <= kernel::ENVIRONMENT_ENTRY_BYTES {
                let secret = said_secret || pieces.iter().any(|(_, secret)| *secret);
                known.insert((environment, at), (text, secret));
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

/// What a key of a project without loops comes to, by the definition.
fn naively(project: &[Written], environment: usize, key: usize) -> String {
    let parts = in_effect(project, environment, key).flatten().expect("every key has a value");
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Own(other) => naively(project, environment, *other),
        Part::Foreign(other_environment, other) => naively(project, *other_environment, *other),
    };
    parts.iter().map(text).collect()
}

/// Text with much in it that looks like a reference.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["${", "}", "$", "$$", "{", "/", "env:", "A", "B", "S", ":-", "\n", "e", "\u{0}", "é"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
        2 => prop::sample::select(vec!["${A}", "${S}", "${env:other/A}", "${env:other/S}", "$${A}"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn without_loops_values_are_what_naive_recursion_makes_of_them(project in sound_project()) {
        let world = world(&project);
        for environment in 0..ENVIRONMENTS {
            for at in 0..KEYS {
                let value = world.value(&label(environment), &key(at));
                prop_assert_eq!(value, Some(naively(&project, environment, at)));
            }
        }
    }

    #[test]
    fn any_project_resolves_as_the_model_says_or_is_refused(project in any_project()) {
        let (world, known) = (world(&project), expanded(&project));
        for environment in 0..ENVIRONMENTS {
            let in_effect: Vec<_> = (0..KEYS).filter_map(|at| Some((at, in_effect(&project, environment, at)?))).collect();
            let is_sound = |&(at, parts): &(usize, Option<&[Part]>)| parts.is_none() || known.contains_key(&(environment, at));
            match world.resolve(&label(environment)) {
                Err(unresolvable) => prop_assert!(!in_effect.iter().all(is_sound), "{}", unresolvable),
                Ok(effective) => {
                    let model: Vec<_> = in_effect
                        .iter()
                        .map(|(at, parts)| (key(*at), parts.map(|_| known[&(environment, *at)].clone())))
                        .collect();
                    prop_assert_eq!(effective.entries.len(), model.len());
                    for (found, (name, value)) in effective.entries.iter().zip(model) {
                        prop_assert_eq!(&found.entry.name, &name);
                        let text = found.entry.value.as_ref().map(|text| text.as_str());
                        prop_assert_eq!(text, value.as_ref().map(|(text, _)| text.as_str()));
                        prop_assert!(value.is_none_or(|(_, secret)| found.entry.secret == secret));
                    }
                }
            }
        }
    }

    #[test]
    fn dependencies_are_all_that_a_result_depends_on(project in any_project()) {
        let world = world(&project);
        for environment in 0..ENVIRONMENTS {
            let resolved = world.resolve(&label(environment));
            let mut looked_at = match &resolved {
                Ok(effective) => effective.dependencies.clone(),
                Err(unresolvable) => unresolvable.dependencies.clone(),
            };
            looked_at.insert(id(&label(environment)));
            // Of all others nothing is left but their names.
            let mut others = World { layers: world.layers.clone(), by_label: world.by_label.clone() };
            for layer in others.layers.values_mut().filter(|layer| !looked_at.contains(&layer.environment)) {
                (layer.extends, layer.variables, layer.tombstones) = (None, Vec::new(), Vec::new());
            }
            prop_assert_eq!(others.resolve(&label(environment)), resolved);
        }
    }

    #[test]
    fn any_text_is_a_value_or_refused(text in hostile_text(), other in hostile_text()) {
        let world = World::default()
            .with("e", None, vec![set("A", &text), set("B", &other), secret(set("S", "x"))])
            .with("other", None, vec![set("A", "1"), secret(set("S", "2"))]);
        match world.resolve("e") {
            Ok(effective) => prop_assert!(effective.to_environment().validate(&[]).is_ok()),
            Err(unresolvable) => prop_assert!(unresolvable.problems.len() <= limits::PROBLEMS),
        }
        let literally = World::default().with("e", None, vec![literal(set("A", &text))]);
        prop_assert!(text.contains('\0') || literally.value("e", "A") == Some(text));
    }

    #[test]
    fn a_secret_is_in_no_output(
        before in hostile_text(), canary in "canary[a-z0-9]{8}", after in hostile_text(), beside in hostile_text(),
    ) {
        let value = [before.as_str(), &canary, &after].concat();
        let world = World::default()
            .with("base", None, vec![secret(declared("B"))])
            .with("e", Some("base"), vec![secret(set("S", &value)), set("A", &beside), set("B", &canary), set("C", "${S}")])
            .with("other", None, vec![set("A", "${env:e/S}"), set("S", "${A}")]);
        for label in ["e", "other"] {
            let shown = match world.resolve(label) {
                Ok(effective) => format!("{effective:?} {effective:#?}"),
                Err(unresolvable) => format!("{unresolvable:?} {unresolvable}"),
            };
            prop_assert!(!shown.contains(&canary), "{}", shown);
        }
        let shown = format!("{:?}", world.layers.values().collect::<Vec<_>>());
        prop_assert!(!shown.contains(&canary));
    }

    #[test]
    fn loops_end_in_an_error_that_names_them(keys in prop::collection::vec(0..8_usize, 8), start in 0..8_usize) {
        // Each variable refers to one other: whoever follows them for long enough is in a loop.
        let variables = keys.iter().enumerate().map(|(at, to)| set(&key(at), &format!("${{{}}}", key(*to)))).collect();
        let unresolvable = World::default().with("e", None, variables).resolve("e").expect_err("there is a loop");
        let in_loop = (0..8).fold(start, |at, _| keys[at]);
        let members: BTreeSet<String> = std::iter::successors(Some(keys[in_loop]), |at| Some(keys[*at]))
            .take_while(|at| *at != in_loop)
            .chain([in_loop])
            .map(key)
            .collect();
        let is_told = unresolvable.problems.iter().any(|problem| match &problem.kind {
            ProblemKind::ReferenceLoop { circle } => circle.steps.iter().cloned().collect::<BTreeSet<_>>() == members,
            _ => false,
        });
        prop_assert!(is_told, "{}", unresolvable);
    }
}
