//! Environments that do not have what they inherit.

use outrigger_catalog::model::{Actor, AuditAction, Environment, Stage, VariableChange};
use outrigger_catalog::{At, CatalogError, Import, ImportMode, NewEnvironment, Page, Side};
use outrigger_configuration::diff::{Change, ShownValue};
use outrigger_configuration::format::{Form, Format, WriteOptions, parse, write};

use crate::world::{World, assert_error, delete, environment_of, owner, plain, secret};

pub(crate) fn remove(key: &str) -> VariableChange {
    VariableChange::Remove { key: key.to_owned() }
}

/// A base with `HOST`, `DEBUG` and the secret `TOKEN`, and what extends it.
async fn family() -> (World, Actor, Environment, Environment) {
    let (world, actor) = (World::new().await, owner());
    let project = world.project(&actor).await;
    let base = world.environment(&actor, &project).await;
    world.change(&actor, &base, vec![plain("HOST", "db"), plain("DEBUG", "1"), secret("TOKEN", "hunter2")]).await;
    let new = NewEnvironment { stage: Stage::Staging, extends: Some(base.id), ..environment_of(&project, "eu") };
    let eu = world.catalog.create_environment(&actor, new).await.unwrap();
    (world, actor, base, eu)
}

async fn names(world: &World, actor: &Actor, environment: &Environment) -> Vec<String> {
    let effective = world.catalog.effective_variables(actor, environment.id, At::Now).await.unwrap();
    effective.1.into_iter().map(|variable| variable.key).collect()
}

#[tokio::test]
async fn what_is_removed_is_gone_until_it_is_let_in_again_or_set_anew() {
    let (world, actor, base, eu) = family().await;
    assert_eq!(world.change(&actor, &eu, vec![remove("DEBUG")]).await, 2);
    assert_eq!(names(&world, &actor, &eu).await, ["HOST", "TOKEN"]);
    assert_eq!(names(&world, &actor, &base).await, ["DEBUG", "HOST", "TOKEN"], "nothing goes upwards");
    let written = world.catalog.variables(&actor, eu.id).await.unwrap();
    let shown = (written[0].key.as_str(), written[0].is_removed, written[0].is_set, written[0].changed_in);
    assert_eq!((written.len(), shown), (1, ("DEBUG", true, false, 2)));

    assert_eq!(world.change(&actor, &eu, vec![remove("DEBUG")]).await, 2, "nothing is different");
    assert_eq!(world.change(&actor, &eu, vec![delete("DEBUG")]).await, 3);
    assert_eq!(names(&world, &actor, &eu).await, ["DEBUG", "HOST", "TOKEN"]);
    assert_error!(
        world.catalog.change_variables(&actor, eu.id, vec![delete("DEBUG")], None, String::new()).await,
        CatalogError::NotFound { .. }
    );

    // Removed and set anew: it is not made plain by that.
    world.change(&actor, &eu, vec![remove("TOKEN")]).await;
    world.change(&actor, &eu, vec![plain("TOKEN", "another")]).await;
    let written = world.catalog.variables(&actor, eu.id).await.unwrap();
    assert_eq!((written.len(), written[0].is_removed, written[0].is_secret), (1, false, true));
    let (_, effective) = world.catalog.effective_variables(&actor, eu.id, At::Now).await.unwrap();
    let token = effective.iter().find(|variable| variable.key == "TOKEN").unwrap();
    assert_eq!((token.value.as_ref(), token.origin), (None, eu.id));

    let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let told = |action, detail: &str| audited.iter().any(|entry| entry.action == action && entry.detail == detail);
    assert!(told(AuditAction::Delete, "removed what is inherited, in generation 2"));
    assert!(told(AuditAction::Update, "let in again what is inherited, in generation 3"));
}

#[tokio::test]
async fn only_what_is_inherited_can_be_removed_and_nothing_that_is_needed() {
    let (world, actor, base, eu) = family().await;
    for (environment, key) in [(&base, "HOST"), (&eu, "ABSENT"), (&eu, "not a name")] {
        let result =
            world.catalog.change_variables(&actor, environment.id, vec![remove(key)], None, String::new()).await;
        assert_error!(result, CatalogError::Validation(problems) if problems[0].problem.starts_with("is not inherited"));
    }
    world.change(&actor, &base, vec![plain("URL", "http://${HOST}")]).await;
    let result = world.catalog.change_variables(&actor, eu.id, vec![remove("HOST")], None, String::new()).await;
    assert_error!(result, CatalogError::Validation(problems) if problems[0].field == "URL");
    let both = vec![plain("HOST", "x"), remove("HOST")];
    let result = world.catalog.change_variables(&actor, eu.id, both, None, String::new()).await;
    assert_error!(result, CatalogError::Validation(problems) if problems[0].problem == "is changed twice");
}

#[tokio::test]
async fn it_has_a_history_and_is_a_difference() {
    let (world, actor, _, eu) = family().await;
    world.change(&actor, &eu, vec![plain("HOST", "db.eu")]).await;
    world.change(&actor, &eu, vec![remove("HOST")]).await;
    let side = |number| Side { environment: eu.id, at: At::Generation(number) };
    let found = world.catalog.diff(&actor, side(2), side(3), false).await.unwrap();
    let [difference] = found.as_slice() else { panic!("{found:?}") };
    let Change::Changed { before, after, .. } = &difference.change else { panic!("{difference:?}") };
    assert_eq!((&before.value, &after.value), (&ShownValue::Text("db.eu".to_owned()), &ShownValue::Tombstone));

    world.change(&actor, &eu, vec![delete("HOST")]).await;
    let (_, then) = world.catalog.variables_at(&actor, eu.id, At::Generation(3)).await.unwrap();
    assert_eq!(then.iter().map(|one| (one.key.as_str(), one.is_removed)).collect::<Vec<_>>(), [("HOST", true)]);
    let (_, then) = world.catalog.effective_variables(&actor, eu.id, At::Generation(3)).await.unwrap();
    assert!(then.iter().all(|variable| variable.key != "HOST"));
    world.catalog.rollback(&actor, eu.id, 3, None, String::new()).await.unwrap();
    assert_eq!(names(&world, &actor, &eu).await, ["DEBUG", "TOKEN"]);
}

#[tokio::test]
async fn it_goes_through_files_and_outlives_a_replacement() {
    let (world, actor, base, eu) = family().await;
    world.change(&actor, &eu, vec![remove("DEBUG"), plain("OWN", "1")]).await;
    let (_, exported) = world.catalog.export_variables(&actor, eu.id, At::Now, false, false).await.unwrap();
    let names: Vec<_> = exported.iter().map(|one| (one.name.as_str(), one.removed)).collect();
    assert_eq!(names, [("DEBUG", true), ("OWN", false)]);
    let file = write(Format::Yaml, &exported, &WriteOptions { form: Form::Full, object: None }).unwrap();

    let import = |text: &str, mode| Import {
        variables: parse(Format::Yaml, text.as_bytes()).unwrap(),
        mode,
        if_match: None,
        message: String::new(),
    };
    let again = world.catalog.import(&actor, eu.id, import(&file, ImportMode::Replace)).await.unwrap();
    assert!(!again.is_changed, "what was written is what is there");
    world.catalog.import(&actor, eu.id, import("OTHER: x", ImportMode::Replace)).await.unwrap();
    let written = world.catalog.variables(&actor, eu.id).await.unwrap();
    let names: Vec<_> = written.iter().map(|one| (one.key.as_str(), one.is_removed)).collect();
    assert_eq!(names, [("DEBUG", true), ("OTHER", false)], "a file that cannot say so does not let it in again");
    let result = world.catalog.import(&actor, base.id, import(&file, ImportMode::Merge)).await;
    assert_error!(result, CatalogError::Validation(problems) if problems[0].field == "DEBUG");
}
