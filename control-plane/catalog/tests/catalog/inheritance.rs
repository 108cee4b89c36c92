//! Environments that extend and refer to one another.

use std::collections::BTreeMap;

use outrigger_catalog::model::{Actor, Environment, Project, Role, Stage, VariableChange};
use outrigger_catalog::{At, Change, EnvironmentUpdate, FieldProblem, NewEnvironment, Page};
use outrigger_catalog::{CatalogError, Reference};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;

use crate::world::{World, assert_error, delete, environment_of, owner, plain, put, secret, spec, with_role};

struct Family {
    world: World,
    actor: Actor,
    project: Project,
}

impl Family {
    async fn new() -> Self {
        let (world, actor) = (World::new().await, owner());
        let project = world.project(&actor).await;
        Self { world, actor, project }
    }

    async fn make(&self, stage: Stage, name: &str, extends: Option<&Environment>) -> Environment {
        let new = NewEnvironment { stage, extends: extends.map(|base| base.id), ..environment_of(&self.project, name) };
        self.world.catalog.create_environment(&self.actor, new).await.expect("a new environment")
    }

    async fn change(&self, environment: &Environment, changes: Vec<VariableChange>) -> Result<u64, CatalogError> {
        let catalog = &self.world.catalog;
        let changed = catalog.change_variables(&self.actor, environment.id, changes, None, String::new()).await;
        changed.map(|generation| generation.number)
    }

    /// What a program gets; and that its hash is the generation's.
    async fn effective(&self, environment: &Environment) -> BTreeMap<String, String> {
        let organization = self.actor.organization;
        let (generation, content) = self.world.catalog.effective(organization, environment.id).await.unwrap();
        assert_eq!(generation.content_hash, content.hash());
        let value = |value: Option<zeroize::Zeroizing<String>>| value.map(|text| text.as_str().to_owned());
        content.entries.into_iter().map(|entry| (entry.name, value(entry.value).unwrap_or_default())).collect()
    }

    async fn generation(&self, environment: &Environment) -> u64 {
        self.world.catalog.environment(&self.actor, environment.id).await.unwrap().generation
    }

    async fn update(&self, id: EnvironmentId, update: EnvironmentUpdate) -> Result<Environment, CatalogError> {
        self.world.catalog.update_environment(&self.actor, id, update).await
    }
}

fn problems<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> Vec<FieldProblem> {
    match result {
        Err(CatalogError::Validation(problems)) => problems,
        other => panic!("expected a validation error, got {other:?}"),
    }
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn an_environment_begins_with_what_it_extends_and_follows_its_changes() {
    let family = Family::new().await;
    let base = family.make(Stage::Production, "base", None).await;
    family.change(&base, vec![plain("HOST", "db"), plain("URL", "postgres://${HOST}/app")]).await.unwrap();
    let eu = family.make(Stage::Production, "eu", Some(&base)).await;
    assert_eq!((eu.generation, eu.extends), (1, Some(base.id)), "it has content from the beginning");
    assert_eq!(family.effective(&eu).await, pairs([("HOST", "db"), ("URL", "postgres://db/app")]));

    family.change(&eu, vec![plain("HOST", "db.eu")]).await.unwrap();
    assert_eq!(family.effective(&eu).await["URL"], "postgres://db.eu/app", "a base leaves it to who extends it");
    assert_eq!(family.generation(&base).await, 1, "nothing goes upwards");

    let mut changes = family.world.catalog.changes();
    family.change(&base, vec![plain("LEVEL", "info")]).await.unwrap();
    assert_eq!(family.effective(&eu).await["LEVEL"], "info");
    assert_eq!((family.generation(&base).await, family.generation(&eu).await), (2, 3));
    let mut told = vec![changes.next().await.unwrap(), changes.next().await.unwrap()];
    told.sort_by_key(|change| matches!(change, Change::Environment { id, .. } if *id == eu.id));
    let organization = family.actor.organization;
    let expected =
        [(base.id, 2), (eu.id, 3)].map(|(id, generation)| Change::Environment { organization, id, generation });
    assert_eq!(told, expected, "whoever pushes is told of both");
    let latest = family.world.catalog.generation(&family.actor, eu.id, 3).await.unwrap();
    assert_eq!(latest.message, "because production/base is at generation 2");
    assert_eq!(latest.author, family.actor.subject.to_string());

    // What is overridden makes no difference to who overrides it.
    family.change(&base, vec![plain("HOST", "db2")]).await.unwrap();
    assert_eq!((family.generation(&base).await, family.generation(&eu).await), (3, 3));
    let audited = family.world.catalog.audit(&family.actor, Page::default()).await.unwrap().items;
    assert!(audited.iter().any(|entry| entry.target == eu.id.to_string() && entry.detail.contains("generation 3")));
}

#[tokio::test]
async fn references_reach_other_environments_and_secrets_stay_secret_through_them() {
    let family = Family::new().await;
    let shared = family.make(Stage::Staging, "shared", None).await;
    family.change(&shared, vec![secret("TOKEN", "hunter2"), plain("HOST", "db")]).await.unwrap();
    let app = family.make(Stage::Production, "app", None).await;
    let values = vec![
        plain("A", "${env:staging/shared/HOST}:1"),
        plain("B", "x-${env:staging/TOKEN}"),
        plain("C", "$${B}"),
        VariableChange::Put {
            key: "D".to_owned(),
            value: Some("${NOT A REFERENCE".into()),
            is_secret: false,
            is_required: false,
            kind: VariableKind::String,
            description: String::new(),
            expand: false,
        },
    ];
    family.change(&app, values).await.unwrap();
    let expected = pairs([("A", "db:1"), ("B", "x-hunter2"), ("C", "${B}"), ("D", "${NOT A REFERENCE")]);
    assert_eq!(family.effective(&app).await, expected);
    let viewer = with_role(&family.actor, Role::Viewer);
    let (_, seen) = family.world.catalog.effective_variables(&viewer, app.id, At::Now).await.unwrap();
    let b = seen.iter().find(|variable| variable.key == "B").unwrap();
    assert_eq!((b.value.as_deref(), b.is_secret, b.origin), (None, true, app.id));
    let reference = Reference { environment: shared.id, key: "TOKEN".to_owned(), origin: shared.id };
    assert_eq!(b.references, [reference]);
    assert_eq!(seen[0].value.as_deref(), Some("db:1"));

    family.change(&shared, vec![secret("TOKEN", "hunter3")]).await.unwrap();
    assert_eq!(family.effective(&app).await["B"], "x-hunter3");
    assert_eq!(family.generation(&app).await, 2);
    family.change(&app, vec![plain("A", "1"), plain("B", "2")]).await.unwrap();
    family.change(&shared, vec![secret("TOKEN", "hunter4")]).await.unwrap();
    assert_eq!(family.generation(&app).await, 3, "it does not refer to it any more");
}

#[tokio::test]
async fn what_cannot_be_resolved_is_refused_with_every_problem() {
    let family = Family::new().await;
    let app = family.make(Stage::Production, "app", None).await;
    let values = vec![
        plain("ABSENT", "${NOTHING}"),
        plain("LOOP", "${POOL}"),
        plain("POOL", "${LOOP}"),
        plain("OPEN", "a\n ${X"),
        plain("ELSEWHERE", "${env:staging/KEY}"),
        put("PORT", Some("${WORD}"), VariableKind::Number, false),
        plain("WORD", "eighty"),
    ];
    let found = problems(family.change(&app, values).await);
    let fields: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
    for field in ["ABSENT", "LOOP", "OPEN", "ELSEWHERE"] {
        assert!(fields.contains(&field), "{found:?}");
    }
    assert!(found.iter().any(|problem| problem.problem.starts_with("in the value, line 2, column 2: ")), "{found:?}");
    assert_eq!(family.generation(&app).await, 0);
}

#[tokio::test]
async fn a_change_that_breaks_a_dependent_is_refused_whole_and_names_it() {
    let family = Family::new().await;
    let base = family.make(Stage::Production, "base", None).await;
    family.change(&base, vec![plain("HOST", "db"), plain("PORT", "5432")]).await.unwrap();
    let eu = family.make(Stage::Production, "eu", Some(&base)).await;
    family.change(&eu, vec![plain("URL", "${HOST}:${PORT}")]).await.unwrap();
    let found = problems(family.change(&base, vec![delete("PORT"), plain("OTHER", "1")]).await);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, "production/eu/URL");
    assert!(found[0].problem.contains("`PORT`"), "{found:?}");
    assert_eq!((family.generation(&base).await, family.generation(&eu).await), (1, 2));

    // What runs with the dependent counts as what runs with the environment itself.
    let deployment = family.world.catalog.create_deployment(&family.actor, spec(&family.project, &eu)).await.unwrap();
    family.world.catalog.begin_deployment(&family.actor, deployment.id).await.unwrap();
    let found = problems(family.change(&base, vec![plain("LD_PRELOAD", "x.so")]).await);
    assert!(found[0].problem.ends_with("; web runs with this environment"), "{found:?}");
}

#[tokio::test]
async fn circles_and_foreign_bases_are_refused() {
    let family = Family::new().await;
    let a = family.make(Stage::Production, "a", None).await;
    let b = family.make(Stage::Production, "b", Some(&a)).await;
    let extends = |id| EnvironmentUpdate { extends: Some(Some(id)), ..EnvironmentUpdate::default() };
    assert_eq!(problems(family.update(a.id, extends(b.id)).await)[0].field, "extends");
    assert_eq!(problems(family.update(a.id, extends(a.id)).await)[0].field, "extends");
    let elsewhere = family.world.project(&family.actor).await;
    let foreign = family.world.environment(&family.actor, &elsewhere).await;
    assert_eq!(problems(family.update(a.id, extends(foreign.id)).await)[0].field, "extends");
    let absent = NewEnvironment { extends: Some(EnvironmentId::generate()), ..environment_of(&family.project, "c") };
    assert_eq!(problems(family.world.catalog.create_environment(&family.actor, absent).await)[0].field, "extends");

    let none = EnvironmentUpdate { extends: Some(None), ..EnvironmentUpdate::default() };
    family.change(&a, vec![plain("A", "1")]).await.unwrap();
    assert_eq!(family.effective(&b).await, pairs([("A", "1")]));
    let updated = family.update(b.id, none).await.unwrap();
    assert_eq!((updated.extends, updated.generation), (None, 3));
    assert_eq!(family.effective(&b).await, pairs([]));
    family.update(a.id, extends(b.id)).await.unwrap();
}

#[tokio::test]
async fn an_environment_that_others_need_is_not_deleted_and_they_are_named() {
    let family = Family::new().await;
    let base = family.make(Stage::Production, "base", None).await;
    family.change(&base, vec![plain("HOST", "db")]).await.unwrap();
    let eu = family.make(Stage::Production, "eu", Some(&base)).await;
    let test = family.make(Stage::Staging, "test", None).await;
    family.change(&test, vec![plain("HOST", "${env:base/HOST}")]).await.unwrap();
    let delete =
        async |environment: &Environment| family.world.catalog.delete_environment(&family.actor, environment.id).await;
    match delete(&base).await {
        Err(CatalogError::Conflict { what }) => {
            assert!(what.contains("production/eu") && what.contains("staging/test"), "{what}");
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    delete(&eu).await.unwrap();
    delete(&test).await.unwrap();
    delete(&base).await.unwrap();
}

#[tokio::test]
async fn a_name_that_a_reference_uses_stays_clear() {
    let family = Family::new().await;
    let shared = family.make(Stage::Staging, "shared", None).await;
    family.change(&shared, vec![plain("HOST", "db")]).await.unwrap();
    let app = family.make(Stage::Production, "app", None).await;
    family.change(&app, vec![plain("HOST", "${env:staging/HOST}")]).await.unwrap();

    let second = NewEnvironment { stage: Stage::Staging, ..environment_of(&family.project, "second") };
    let found = problems(family.world.catalog.create_environment(&family.actor, second.clone()).await);
    assert_eq!(found[0].field, "production/app/HOST");
    assert!(found[0].problem.contains("staging/shared"), "{found:?}");
    let idle = NewEnvironment { is_active: false, ..second };
    family.world.catalog.create_environment(&family.actor, idle).await.unwrap();
    let inactive = EnvironmentUpdate { is_active: Some(false), ..EnvironmentUpdate::default() };
    assert_eq!(problems(family.update(shared.id, inactive).await)[0].field, "production/app/HOST");
    let renamed = EnvironmentUpdate { name: Some("common".to_owned()), ..EnvironmentUpdate::default() };
    family.update(shared.id, renamed).await.unwrap();
    assert_eq!(family.effective(&app).await, pairs([("HOST", "db")]));
}

#[tokio::test]
async fn what_a_base_makes_secret_is_sealed_wherever_it_is_overridden() {
    let family = Family::new().await;
    let base = family.make(Stage::Production, "base", None).await;
    family.change(&base, vec![plain("PASSWORD", "in the open")]).await.unwrap();
    let eu = family.make(Stage::Production, "eu", Some(&base)).await;
    family.change(&eu, vec![plain("PASSWORD", "hunter2")]).await.unwrap();
    let seen = async || family.world.catalog.variables(&family.actor, eu.id).await.unwrap().remove(0);
    assert_eq!(seen().await.value.as_deref(), Some("hunter2"));

    family.change(&base, vec![secret("PASSWORD", "hunter3")]).await.unwrap();
    assert_eq!((seen().await.value, seen().await.is_secret), (None, true));
    // Whoever makes the base plain again does not read with it what others wrote under that name.
    family.change(&base, vec![plain("PASSWORD", "in the open")]).await.unwrap();
    assert_eq!((seen().await.value, seen().await.is_secret), (None, true));
    family.change(&eu, vec![plain("PASSWORD", "in the open, too")]).await.unwrap();
    assert_eq!(seen().await.value.as_deref(), Some("in the open, too"));
    assert_eq!(family.effective(&eu).await, pairs([("PASSWORD", "in the open, too")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependent_and_its_base_may_be_changed_at_the_same_time() {
    let family = Family::new().await;
    let base = family.make(Stage::Production, "base", None).await;
    family.change(&base, vec![plain("A", "0")]).await.unwrap();
    let eu = family.make(Stage::Production, "eu", Some(&base)).await;
    for round in 1..=20_u64 {
        let text = round.to_string();
        let (one, two) = tokio::join!(
            family.change(&base, vec![plain("A", &text)]),
            family.change(&eu, vec![plain("B", &format!("${{A}}-{text}"))]),
        );
        one.unwrap();
        two.unwrap();
        let expected = pairs([("A", &text), ("B", &format!("{text}-{text}"))]);
        assert_eq!(family.effective(&eu).await, expected);
    }
    let gone = family.change(&eu, vec![delete("A")]).await;
    assert_error!(gone, CatalogError::NotFound { what: "variable" });
}

#[tokio::test]
async fn a_name_that_could_not_be_referred_to_is_refused() {
    let family = Family::new().await;
    let (catalog, actor) = (&family.world.catalog, &family.actor);
    for name in ["a/b", "a}b", "a{b", "staging"] {
        let found = problems(catalog.create_environment(actor, environment_of(&family.project, name)).await);
        assert_eq!(found.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["name"], "{name}");
    }
    // That of its own stage says nothing wrong.
    let own = family.make(Stage::Production, "production", None).await;
    let update = EnvironmentUpdate { stage: Some(Stage::Staging), ..EnvironmentUpdate::default() };
    assert_eq!(problems(catalog.update_environment(actor, own.id, update).await)[0].field, "name");
}
