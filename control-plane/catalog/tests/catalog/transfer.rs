//! Variables from files and into files.

use outrigger_catalog::model::{Actor, AuditAction, Environment, Role};
use outrigger_catalog::{At, CatalogError, Import, ImportMode, Page};
use outrigger_configuration::format::{ExportedVariable, Form, Format, WriteOptions, parse, write};
use outrigger_secrets::SecretString;

use crate::world::{World, assert_error, owner, plain, secret, with_key, with_role};

fn file(format: Format, text: &str, mode: ImportMode) -> Import {
    let variables = parse(format, text.as_bytes()).expect("a good file");
    Import { variables, mode, if_match: None, message: "from a file".to_owned() }
}

async fn filled(world: &World, actor: &Actor) -> Environment {
    let environment = world.environment(actor, &world.project(actor).await).await;
    let changes = vec![plain("HOST", "db"), plain("URL", "http://${HOST}/$${x}"), secret("TOKEN", "hunter2")];
    world.change(actor, &environment, changes).await;
    environment
}

fn full(variables: &[ExportedVariable]) -> String {
    let options = WriteOptions { form: Form::Full, object: None };
    write(Format::Json, variables, &options).expect("everything can be written").as_str().to_owned()
}

#[tokio::test]
async fn a_file_makes_one_generation_and_a_look_at_it_makes_none() {
    let world = World::new().await;
    let actor = owner();
    let environment = filled(&world, &actor).await;
    let text = "HOST=db2\nNEW=1\n";
    let merge = || file(Format::Dotenv, text, ImportMode::Merge);
    let (present, differences) = world.catalog.preview_import(&actor, environment.id, &merge()).await.unwrap();
    let names: Vec<&str> = differences.iter().map(|one| one.name.as_str()).collect();
    assert_eq!((present.number, names), (1, vec!["HOST", "NEW"]));
    assert_eq!(world.catalog.environment(&actor, environment.id).await.unwrap().generation, 1);

    let keyed = with_key(&actor, "import", 1);
    let imported = world.catalog.import(&keyed, environment.id, merge()).await.unwrap();
    assert_eq!((imported.generation.number, imported.is_changed), (2, true));
    assert_eq!(world.catalog.import(&keyed, environment.id, merge()).await.unwrap(), imported, "a repeated request");
    let again = world.catalog.import(&actor, environment.id, merge()).await.unwrap();
    assert_eq!((again.generation.number, again.is_changed), (2, false));
    let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert_eq!(audited.iter().filter(|entry| entry.action == AuditAction::Import).count(), 1);

    let replace = file(Format::Dotenv, text, ImportMode::Replace);
    world.catalog.import(&actor, environment.id, replace).await.unwrap();
    let names: Vec<String> =
        world.catalog.variables(&actor, environment.id).await.unwrap().into_iter().map(|one| one.key).collect();
    assert_eq!(names, ["HOST", "NEW"]);
    let viewer = with_role(&actor, Role::Viewer);
    assert_error!(
        world.catalog.preview_import(&viewer, environment.id, &merge()).await,
        CatalogError::Forbidden { .. }
    );
    let stale = Import { if_match: Some(1), ..merge() };
    assert_error!(world.catalog.import(&actor, environment.id, stale).await, CatalogError::Conflict { .. });
}

#[tokio::test]
async fn what_was_exported_is_taken_back_as_it_was_with_and_without_its_secrets() {
    let world = World::new().await;
    let actor = owner();
    let environment = filled(&world, &actor).await;
    let exported = async |secrets| {
        let (_, variables) =
            world.catalog.export_variables(&actor, environment.id, At::Now, false, secrets).await.unwrap();
        full(&variables)
    };
    let (masked, told) = (exported(false).await, exported(true).await);
    assert!(!masked.contains("hunter2") && told.contains("hunter2"));
    for text in [&masked, &told] {
        let import = file(Format::Json, text, ImportMode::Replace);
        let imported = world.catalog.import(&actor, environment.id, import).await.unwrap();
        assert_eq!((imported.generation.number, imported.is_changed), (1, false), "{text}");
    }
    assert_eq!(world.catalog.reveal(&actor, environment.id, "TOKEN").await.unwrap(), SecretString::from("hunter2"));
}

#[tokio::test]
async fn secrets_leave_only_with_the_right_and_an_entry_of_the_audit_log() {
    let world = World::new().await;
    let actor = owner();
    let environment = filled(&world, &actor).await;
    let export = async |role, secrets| {
        let actor = with_role(&actor, role);
        world.catalog.export_variables(&actor, environment.id, At::Now, true, secrets).await.map(|(_, all)| all)
    };
    let told = async || {
        let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
        audited.iter().filter(|entry| entry.action == AuditAction::Export).count()
    };
    let shown = export(Role::Viewer, false).await.unwrap();
    let values: Vec<_> = shown.iter().map(|one| one.value.as_ref().map(|value| value.as_str())).collect();
    assert_eq!(values, [Some("db"), None, Some("http://db/${x}")]);
    assert_eq!(shown[0].origin.as_deref(), Some("production/main"));
    assert_error!(export(Role::Developer, true).await, CatalogError::Forbidden { .. });
    assert_eq!(told().await, 0);
    let shown = export(Role::Admin, true).await.unwrap();
    assert_eq!((shown[1].value.as_ref().unwrap().as_str(), told().await), ("hunter2", 1));
}
