//! Hostile projects: bounded in time, memory and words.

use outrigger_protocol::environment::ProblemKind as Rule;
use outrigger_protocol::limits as kernel;

use super::*;

fn kinds(unresolvable: &Unresolvable) -> Vec<&ProblemKind> {
    unresolvable.problems.iter().map(|problem| &problem.kind).collect()
}

/// Each refers to the next one `times`, the last is `end`.
fn chain(length: usize, times: usize, end: &str) -> Vec<Variable> {
    let link = |at| set(&format!("V{at}"), &format!("${{V{}}}", at + 1).repeat(times));
    (0..length).map(link).chain([set(&format!("V{length}"), end)]).collect()
}

#[test]
fn two_thousand_variables_in_a_row_resolve() {
    let world = World::default().with("a", None, chain(2_000, 1, "end"));
    let effective = world.resolve("a").unwrap();
    assert!(effective.entries.iter().all(|found| found.entry.value.as_ref().unwrap().as_str() == "end"));
}

#[test]
fn a_row_that_winds_through_environments_ends_at_a_depth() {
    let length = kernel::ENVIRONMENT_ENTRIES - 1;
    let second = || chain(length, 1, "end");
    let too_deep = World::default().with("a", None, chain(length, 1, "${env:b/V0}")).with("b", None, second());
    let unresolvable = too_deep.resolve("a").unwrap_err();
    assert_eq!(kinds(&unresolvable), [&ProblemKind::TooDeep { limit: limits::DEPTH }]);
    let deep = World::default().with("a", None, vec![set("A", "${env:b/V0}")]).with("b", None, second());
    assert_eq!(deep.value("a", "A").as_deref(), Some("end"));
}

#[test]
fn a_circle_of_thousands_is_told_in_a_few_words() {
    let mut variables = chain(4_000, 1, "${V0}");
    let message = &World::default().with("a", None, variables.clone()).problems("a")[0];
    assert!(
        message.contains("V0 -> V1 -> ") && message.contains("3985 more") && message.ends_with("V4000 -> V0"),
        "{message}"
    );
    assert!(message.len() < 500, "{message}");
    variables.iter_mut().for_each(|variable| variable.value = Some(Zeroizing::new("${V0}${V1}${V2}".to_owned())));
    assert!(World::default().with("a", None, variables).problems("a").len() <= limits::PROBLEMS);
}

#[test]
fn an_expansion_that_explodes_is_stopped_before_it_is_built() {
    let world = World::default().with("a", None, chain(100, 1_000, "lol"));
    let unresolvable = world.resolve("a").unwrap_err();
    let (bytes, limit) = (3_000_000 + "V98".len() + 2, kernel::ENVIRONMENT_ENTRY_BYTES);
    assert_eq!(kinds(&unresolvable), [&ProblemKind::Rule(Rule::EntryTooLarge { bytes, limit })]);
    let nothing = World::default().with("a", None, chain(100, 1_000, ""));
    assert_eq!(nothing.value("a", "V0").as_deref(), Some(""), "nor does an explosion of nothing take its time");
}

#[test]
fn what_many_values_come_to_together_is_bounded() {
    let large = "x".repeat(100_000);
    let environment = (0..20).map(|at| set(&format!("V{at}"), &large)).collect();
    let total = World::default().with("a", None, environment).resolve("a").unwrap_err();
    assert!(matches!(kinds(&total)[..], [ProblemKind::Rule(Rule::TooLarge { .. })]), "{total}");

    // Nothing of this is too large for a program; the copies are made on the way.
    let copies =
        World::default().with("a", None, vec![set("A", "${env:b/V0}")]).with("b", None, chain(1_000, 1, &large));
    let unresolvable = copies.resolve("a").unwrap_err();
    assert_eq!(kinds(&unresolvable), [&ProblemKind::ExpandedTooLarge { limit: limits::EXPANDED_BYTES }]);
}

#[test]
fn chains_and_numbers_of_environments_are_bounded() {
    let label = |at: usize| format!("e{at}");
    let mut world = World::default().with("e0", None, vec![set("A", "1")]);
    for at in 1..=limits::CHAIN {
        world = world.with(&label(at), Some(&label(at - 1)), vec![]);
    }
    assert!(world.resolve(&label(limits::CHAIN - 1)).is_ok());
    let unresolvable = world.resolve(&label(limits::CHAIN)).unwrap_err();
    assert_eq!(kinds(&unresolvable), [&ProblemKind::ExtendsTooDeep { limit: limits::CHAIN }]);

    let mut world = World::default();
    for at in 0..limits::ENVIRONMENTS {
        world = world.with(&label(at), None, vec![set("A", &format!("${{env:{}/A}}", label(at + 1)))]);
    }
    world = world.with(&label(limits::ENVIRONMENTS), None, vec![set("A", "1")]);
    assert_eq!(world.value("e1", "A").as_deref(), Some("1"));
    let unresolvable = world.resolve("e0").unwrap_err();
    assert_eq!(kinds(&unresolvable), [&ProblemKind::TooManyEnvironments { limit: limits::ENVIRONMENTS }]);
    assert!(unresolvable.dependencies.len() < limits::ENVIRONMENTS);
}

#[test]
fn problems_are_told_up_to_a_number_and_then_counted() {
    let faults = limits::PROBLEMS * 100;
    let world = World::default().with("a", None, vec![set("A", &"${".repeat(faults))]);
    let unresolvable = world.resolve("a").unwrap_err();
    assert_eq!((unresolvable.problems.len(), unresolvable.omitted), (limits::PROBLEMS, faults - limits::PROBLEMS));
    assert!(unresolvable.to_string().ends_with(&format!("; and {} more", unresolvable.omitted)));
}

#[test]
fn names_in_problems_are_on_one_line_and_bounded() {
    let name = "N\n".repeat(10_000);
    let unresolvable = World::default().with(&name, None, vec![set(&name, "${")]).resolve(&name).unwrap_err();
    let message = unresolvable.to_string();
    assert!(!message.contains('\n') && message.len() < 4_000, "{message}");
}
