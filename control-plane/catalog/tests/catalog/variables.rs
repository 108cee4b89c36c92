use outrigger_catalog::model::{DeploymentStatus, Role, VariableChange};
use outrigger_catalog::{CatalogError, FieldProblem};
use outrigger_protocol::environment::{ProblemKind, VariableKind};
use outrigger_secrets::SecretString;

use crate::world::{World, assert_error, delete, owner, plain, put, secret, with_role};

fn problems<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> Vec<FieldProblem> {
    match result {
        Err(CatalogError::Validation(problems)) => problems,
        other => panic!("expected a validation error, got {other:?}"),
    }
}

#[tokio::test]
async fn plain_values_are_read_and_secret_ones_only_revealed() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let changes = vec![
        plain("HOST", "example"),
        secret("TOKEN", "hunter2"),
        put("KEY", Some("hunter3"), VariableKind::Secret, false),
        put("LATER", None, VariableKind::String, false),
        put("UNSET", None, VariableKind::Secret, true),
    ];
    world.change(&actor, &environment, changes).await;

    let variables = world.catalog.variables(&actor, environment.id).await.unwrap();
    let seen: Vec<_> = variables.iter().map(|v| (v.key.as_str(), v.value.as_deref(), v.is_secret, v.is_set)).collect();
    let expected = [
        ("HOST", Some("example"), false, true),
        ("KEY", None, true, true),
        ("LATER", None, false, false),
        ("TOKEN", None, true, true),
        ("UNSET", None, true, false),
    ];
    assert_eq!(seen, expected);
    for (key, value) in [("HOST", "example"), ("TOKEN", "hunter2"), ("KEY", "hunter3")] {
        assert_eq!(world.catalog.reveal(&actor, environment.id, key).await.unwrap(), SecretString::from(value));
    }
    for key in ["LATER", "UNSET", "ABSENT", &"X".repeat(5_000)] {
        assert_error!(world.catalog.reveal(&actor, environment.id, key).await, CatalogError::NotFound { .. });
    }
    assert_eq!(world.catalog.encryptions(&actor, project.id).await.unwrap(), 2);
}

#[tokio::test]
async fn every_problem_is_named_at_once_and_nothing_is_changed() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let changes = vec![
        put("PORT", Some("eighty"), VariableKind::Number, false),
        plain("1BAD", "x"),
        plain("OUTRIGGER_TOKEN", "x"),
        put("FLAG", Some("hunter2"), VariableKind::Boolean, true),
        plain("NUL", "a\0b"),
        plain("GOOD", "x"),
    ];
    let result = world.catalog.change_variables(&actor, environment.id, changes, None, String::new()).await;
    let mut fields: Vec<_> = problems(result).into_iter().map(|problem| problem.field).collect();
    fields.sort();
    assert_eq!(fields, ["1BAD", "FLAG", "NUL", "OUTRIGGER_TOKEN", "PORT"]);
    assert!(world.catalog.variables(&actor, environment.id).await.unwrap().is_empty());

    let changes = vec![plain("A", "1"), plain("A", "2"), plain(&"N".repeat(200), "x")];
    let result = world.catalog.change_variables(&actor, environment.id, changes, None, "m".repeat(5_000)).await;
    assert_eq!(problems(result).len(), 3);
    let absent = world.catalog.change_variables(&actor, environment.id, vec![delete("A")], None, String::new()).await;
    assert_error!(absent, CatalogError::NotFound { what: "variable" });
}

#[tokio::test]
async fn totals_are_refused_at_write_time_with_their_numbers() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let value = "x".repeat(120_000);
    for round in 0..3 {
        let changes = (0..4).map(|index| secret(&format!("V{round}{index}"), &value)).collect();
        world.change(&actor, &environment, changes).await;
    }
    let result = world.catalog.change_variables(
        &actor,
        environment.id,
        vec![plain("ONE_MORE", &value), plain("AND", &value)],
        None,
        String::new(),
    );
    let problems = problems(result.await);
    assert_eq!(problems[0].field, "variables");
    assert!(problems[0].problem.contains("1572864"), "{problems:?}");
    let too_long = vec![plain("LONG", &"x".repeat(200_000))];
    let result = world.catalog.change_variables(&actor, environment.id, too_long, None, String::new()).await;
    assert!(format!("{result:?}").contains("131072"), "{result:?}");
}

#[tokio::test]
async fn a_required_variable_without_a_value_is_declared_and_named_at_delivery() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let required = |key: &str| VariableChange::Put {
        key: key.to_owned(),
        value: None,
        is_secret: true,
        is_required: true,
        kind: VariableKind::Url,
        description: "where the data is".to_owned(),
        expand: true,
    };
    world.change(&actor, &environment, vec![required("DATABASE_URL"), required("QUEUE_URL"), plain("A", "1")]).await;
    let (_, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    let missing: Vec<_> = effective.validate(&[]).unwrap_err().into_iter().map(|p| (p.name, p.kind)).collect();
    let expected = ["DATABASE_URL", "QUEUE_URL"].map(|name| (name.to_owned(), ProblemKind::Missing));
    assert_eq!(missing, expected);
}

#[tokio::test]
async fn what_a_running_deployment_could_not_run_with_is_refused_when_it_is_written() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let environment = deployment.spec.environment;
    let required = || VariableChange::Put {
        key: "DATABASE_URL".to_owned(),
        value: None,
        is_secret: true,
        is_required: true,
        kind: VariableKind::Url,
        description: String::new(),
        expand: true,
    };
    let broken = || vec![required(), plain("NODE_OPTIONS", "--inspect"), plain("A", "1")];
    let change = async |changes| {
        world.catalog.change_variables(&actor, environment, changes, None, String::new()).await.map(|one| one.number)
    };
    world.catalog.begin_deployment(&actor, deployment.id).await.unwrap();
    let mut named = problems(change(broken()).await);
    named.sort_by(|a, b| a.field.cmp(&b.field));
    assert_eq!(named.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["DATABASE_URL", "NODE_OPTIONS"]);
    assert!(named.iter().all(|one| one.problem.ends_with("; web runs with this environment")), "{named:?}");
    assert!(world.catalog.variables(&actor, environment).await.unwrap().is_empty(), "nothing was changed");
    assert_eq!(change(vec![plain("A", "1")]).await.unwrap(), 1);

    // While nothing runs, an environment may be written in any order; it is the start that is refused then.
    let stopped = DeploymentStatus::Stopped;
    world.catalog.set_status(&actor, deployment.id, stopped, None).await.unwrap();
    change(broken()).await.unwrap();
    let begin = async || world.catalog.begin_deployment(&actor, deployment.id).await;
    let fields: Vec<String> = problems(begin().await).into_iter().map(|one| one.field).collect();
    assert_eq!(fields, ["DATABASE_URL", "NODE_OPTIONS"]);
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap().status, stopped);

    // What the deployment allows is no problem of its.
    let mut spec = deployment.spec.clone();
    spec.allowed_names = vec!["NODE_OPTIONS".to_owned()];
    world.catalog.update_deployment(&actor, deployment.id, spec).await.unwrap();
    change(vec![put("DATABASE_URL", Some("postgres://db"), VariableKind::Url, true)]).await.unwrap();
    begin().await.unwrap();
    let strict = world.catalog.update_deployment(&actor, deployment.id, deployment.spec.clone()).await;
    assert_eq!(problems(strict)[0].field, "NODE_OPTIONS");
    change(vec![delete("NODE_OPTIONS")]).await.unwrap();
    world.catalog.update_deployment(&actor, deployment.id, deployment.spec).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_change_that_exclude_each_other_do_not_both_happen() {
    let world = World::new().await;
    let actor = owner();
    for round in 0..20 {
        let deployment = world.deployment(&actor).await;
        let name = format!("LD_{round}");
        let changes = vec![plain(&name, "x")];
        let (begun, changed) = tokio::join!(
            world.catalog.begin_deployment(&actor, deployment.id),
            world.catalog.change_variables(&actor, deployment.spec.environment, changes, None, String::new()),
        );
        assert_ne!(begun.is_ok(), changed.is_ok(), "{begun:?} {changed:?}");
    }
}

#[tokio::test]
async fn a_dangerous_name_is_kept_for_the_deployment_to_judge() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![plain("NODE_OPTIONS", "--max-old-space-size=256")]).await;
    let (_, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    assert!(effective.validate(&[]).is_err());
    assert!(effective.validate(&["NODE_OPTIONS".to_owned()]).is_ok());
}

#[tokio::test]
async fn a_description_changes_without_knowing_the_secret() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![secret("TOKEN", "hunter2")]).await;
    let described = VariableChange::Put {
        key: "TOKEN".to_owned(),
        value: None,
        is_secret: true,
        is_required: true,
        kind: VariableKind::String,
        description: "for the queue".to_owned(),
        expand: true,
    };
    assert_eq!(world.change(&actor, &environment, vec![described]).await, 2);
    let variable = world.catalog.variables(&actor, environment.id).await.unwrap().remove(0);
    assert_eq!((variable.description.as_str(), variable.changed_in), ("for the queue", 1));
    assert_eq!(world.catalog.reveal(&actor, environment.id, "TOKEN").await.unwrap().expose(), "hunter2");
}

#[tokio::test]
async fn whoever_may_write_a_secret_cannot_read_it_by_calling_it_plain() {
    let world = World::new().await;
    let actor = owner();
    let developer = with_role(&actor, Role::Developer);
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![secret("TOKEN", "hunter2")]).await;
    let declassified = vec![put("TOKEN", None, VariableKind::String, false)];
    let result = world.catalog.change_variables(&developer, environment.id, declassified, None, String::new()).await;
    assert_eq!(problems(result)[0].field, "TOKEN");
    assert_eq!(world.change(&developer, &environment, vec![plain("TOKEN", "public")]).await, 2);
}

#[tokio::test]
async fn what_is_delivered_is_what_was_written_whatever_it_holds() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let value = "line one\nline \"two\"\t\u{7f}\u{1}\\ ünï";
    world.change(&actor, &environment, vec![plain("P", value), secret("S", value), plain("EMPTY", "")]).await;
    let (generation, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    let values: Vec<_> =
        effective.entries.iter().map(|e| (e.name.as_str(), e.value.as_ref().unwrap().as_str())).collect();
    assert_eq!(values, [("EMPTY", ""), ("P", value), ("S", value)]);
    assert_eq!(generation.content_hash, effective.hash());
}
