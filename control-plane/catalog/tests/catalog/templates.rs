//! Templates: kept, found, and applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_catalog::model::{Actor, AppliedTemplate, AuditAction, Environment, Project, Risk, Role, Stage, Subject};
use outrigger_catalog::{
    Approval, Catalog, CatalogError, EnvironmentUpdate, FieldProblem, MAX_TEMPLATES, NewEnvironment, Page,
    TemplateApplication,
};
use outrigger_protocol::id::UserId;
use outrigger_secrets::{MasterKey, SecretString};
use outrigger_store::{Options, RedbStore, SharedStore};
use outrigger_templates::{Origin, Template, limits, official};

use crate::world::{World, assert_error, clock, environment_of, owner, plain, secret, with_key, with_role};

/// A template with a variable of each sort.
fn template(id: &str, name: &str) -> Template {
    let text = format!(
        "id: {id}\nname: {name}\ncategory: own\nversion: '1'\ndescription: Of the shop.\nvariables:\n\
         - {{key: HOST, kind: string, required: true, example: db.example.com}}\n\
         - {{key: USER, kind: string, required: true}}\n\
         - {{key: PORT, kind: number, required: true, default: 5432, description: The port.}}\n\
         - {{key: TOKEN, kind: secret, required: true, generate: {{kind: hex, bytes: 32}}}}\n\
         - {{key: NOTE, kind: string}}\n"
    );
    Template::parse(&text).unwrap()
}

fn application(project: &Project, overrides: &[(&str, &str)]) -> TemplateApplication {
    let value = |(key, value): &(&str, &str)| ((*key).to_owned(), SecretString::from(*value));
    TemplateApplication {
        template: "shop".to_owned(),
        project: project.id,
        stage: Stage::Production,
        name: None,
        overrides: overrides.iter().map(value).collect::<BTreeMap<_, _>>(),
        replace: false,
        generate: true,
        if_match: None,
        message: String::new(),
    }
}

const NEEDED: &[(&str, &str)] = &[("HOST", "db"), ("USER", "app")];

/// A project with an environment, in an organisation that has the template.
async fn shop() -> (World, Actor, Project, Environment) {
    let world = World::new().await;
    let actor = owner();
    world.catalog.create_template(&actor, template("shop", "The shop")).await.unwrap();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    (world, actor, project, environment)
}

async fn ids(world: &World, actor: &Actor, category: Option<&str>) -> Vec<String> {
    let page = Page { limit: Some(200), cursor: None };
    let listed = world.catalog.templates(actor, category, &page).await.unwrap();
    assert_eq!(listed.next, None);
    listed.items.into_iter().map(|summary| summary.id).collect()
}

async fn uses(world: &World, actor: &Actor, id: &str) -> u64 {
    world.catalog.template(actor, id).await.unwrap().uses
}

fn problems(error: CatalogError) -> Vec<FieldProblem> {
    match error {
        CatalogError::Validation(problems) => problems,
        other => panic!("{other:?}"),
    }
}

fn fields(error: CatalogError) -> Vec<String> {
    problems(error).into_iter().map(|problem| problem.field).collect()
}

fn origins(applied: &AppliedTemplate) -> Vec<(&str, Origin)> {
    applied.written.iter().map(|(key, origin)| (key.as_str(), *origin)).collect()
}

#[tokio::test]
async fn official_templates_and_ones_own_are_one_list_in_pages() {
    let world = World::new().await;
    let (actor, other) = (owner(), owner());
    let all: Vec<&str> = official().iter().map(Template::id).collect();
    assert_eq!(ids(&world, &actor, None).await, all);
    let kept = world.catalog.create_template(&actor, template("shop", "The shop")).await.unwrap();
    assert_eq!(kept.edition.as_ref().map(|edition| edition.revision), Some(1));
    assert_eq!(world.catalog.template(&actor, "shop").await.unwrap(), kept);
    assert_eq!(ids(&world, &other, None).await, all, "it is nobody else's");
    assert_error!(world.catalog.template(&other, "shop").await, CatalogError::NotFound { .. });

    let mut expected = [&all[..], &["shop"]].concat();
    expected.sort_unstable();
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page { limit: Some(4), cursor };
        let listing = world.catalog.templates(&actor, None, &page).await.unwrap();
        paged.extend(listing.items.into_iter().map(|summary| summary.id));
        cursor = listing.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, expected);
    assert_eq!(ids(&world, &actor, Some("own")).await, ["shop"]);
    assert!(ids(&world, &actor, Some("database")).await.contains(&"redis".to_owned()));
    assert!(ids(&world, &actor, Some("nothing")).await.is_empty());
    let summary = world.catalog.templates(&actor, Some("own"), &Page::default()).await.unwrap().items.remove(0);
    assert_eq!((summary.name.as_str(), summary.variables, summary.uses), ("The shop", 5, 0));
}

#[tokio::test]
async fn an_id_and_a_name_are_one_templates_and_no_official_ones() {
    let world = World::new().await;
    let actor = owner();
    let create = async |id, name| world.catalog.create_template(&actor, template(id, name)).await;
    create("shop", "The shop").await.unwrap();
    for (id, name) in [("shop", "Other"), ("other", "The shop"), ("django", "Mine"), ("mine", "Django")] {
        assert_error!(create(id, name).await, CatalogError::Conflict { .. });
    }
    create("second", "Second").await.unwrap();
    let rename = async |name| world.catalog.update_template(&actor, "second", template("second", name), None).await;
    assert_error!(rename("The shop").await, CatalogError::Conflict { .. });
    rename("Third").await.unwrap();
    create("free-again", "Second").await.unwrap();
    world.catalog.delete_template(&actor, "second", None).await.unwrap();
    create("second", "Third").await.unwrap();
    let elsewhere = owner();
    world.catalog.create_template(&elsewhere, template("shop", "The shop")).await.unwrap();
}

#[tokio::test]
async fn a_change_makes_a_revision_and_a_stale_one_is_refused() {
    let (world, actor, ..) = shop().await;
    let update = async |text: &str, if_match| {
        let template = Template::parse(&template("shop", "The shop").to_yaml().replace("Of the shop.", text)).unwrap();
        world.catalog.update_template(&actor, "shop", template, if_match).await
    };
    let revision = |stored: outrigger_catalog::model::StoredTemplate| stored.edition.unwrap().revision;
    assert_eq!(revision(update("Of the shop.", Some(1)).await.unwrap()), 1, "nothing is different");
    assert_eq!(revision(update("Changed.", Some(1)).await.unwrap()), 2);
    assert_error!(update("Again.", Some(1)).await, CatalogError::Conflict { what } if what.contains("revision 2"));
    assert_eq!(world.catalog.template(&actor, "shop").await.unwrap().template.description(), "Changed.");
    let other = template("other", "Other");
    let error = world.catalog.update_template(&actor, "shop", other.clone(), None).await.unwrap_err();
    assert_eq!(fields(error), ["id"]);
    let absent = world.catalog.update_template(&actor, "other", other, None).await;
    assert_error!(absent, CatalogError::NotFound { .. });
    let stale = world.catalog.delete_template(&actor, "shop", Some(1)).await;
    assert_error!(stale, CatalogError::Conflict { .. });
    world.catalog.delete_template(&actor, "shop", Some(2)).await.unwrap();
    assert_error!(world.catalog.delete_template(&actor, "shop", None).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn an_official_template_stays_as_it_is() {
    let world = World::new().await;
    let actor = owner();
    let django = world.catalog.template(&actor, "django").await.unwrap();
    assert_eq!(django.edition, None);
    let changed = Template::parse(&django.template.to_yaml().replace("version: 1.0.0", "version: 2.0.0")).unwrap();
    let update = world.catalog.update_template(&actor, "django", changed, None).await;
    assert_error!(update, CatalogError::Conflict { .. });
    assert_error!(world.catalog.delete_template(&actor, "django", None).await, CatalogError::Conflict { .. });
}

#[tokio::test]
async fn an_id_that_is_too_long_for_a_key_is_just_not_there() {
    let world = World::new().await;
    let (actor, long) = (owner(), "x".repeat(100_000));
    assert_error!(world.catalog.template(&actor, &long).await, CatalogError::NotFound { .. });
    assert_error!(world.catalog.delete_template(&actor, &long, None).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn only_so_many_templates_are_kept_and_none_that_is_too_large_to_be_read() {
    let world = World::new().await;
    let actor = owner();
    for at in 0..MAX_TEMPLATES {
        world.catalog.create_template(&actor, template(&format!("t{at}"), &format!("T {at}"))).await.unwrap();
    }
    let one_more = world.catalog.create_template(&actor, template("shop", "The shop")).await;
    assert_error!(one_more, CatalogError::Conflict { what } if what.contains("200"));
    world.catalog.delete_template(&actor, "t7", None).await.unwrap();

    // Quotes that JSON does not need, once for each of many short values.
    let values: Vec<String> = (0..limits::VALUES).map(|at| format!("\"yes {at}:\"")).collect();
    let variable = |at| format!("{{\"key\":\"K{at}\",\"kind\":\"string\",\"values\":[{}]}}", values.join(","));
    let variables: Vec<String> = (0..160).map(variable).collect();
    let text = format!(
        "{{\"id\":\"large\",\"name\":\"Large\",\"category\":\"own\",\"version\":\"1\",\"variables\":[{}]}}",
        variables.join(",")
    );
    assert!(text.len() <= limits::FILE_BYTES, "{}", text.len());
    let large = Template::parse(&text).unwrap();
    assert!(large.to_yaml().len() > limits::FILE_BYTES, "{}", large.to_yaml().len());
    assert_eq!(fields(world.catalog.create_template(&actor, large).await.unwrap_err()), ["template"]);
}

#[tokio::test]
async fn roles_decide_and_every_change_is_told() {
    let (world, actor, project, _) = shop().await;
    let catalog = &world.catalog;
    let (viewer, developer) = (with_role(&actor, Role::Viewer), with_role(&actor, Role::Developer));
    catalog.template(&viewer, "shop").await.unwrap();
    catalog.templates(&viewer, None, &Page::default()).await.unwrap();
    let new = || template("new", "New");
    assert_error!(catalog.create_template(&viewer, new()).await, CatalogError::Forbidden { .. });
    assert_error!(catalog.update_template(&viewer, "new", new(), None).await, CatalogError::Forbidden { .. });
    assert_error!(catalog.delete_template(&viewer, "shop", None).await, CatalogError::Forbidden { .. });
    let forbidden = catalog.apply_template(&viewer, application(&project, NEEDED)).await;
    assert_error!(forbidden, CatalogError::Forbidden { .. });
    let forbidden = catalog.preview_template(&viewer, &application(&project, NEEDED)).await;
    assert_error!(forbidden, CatalogError::Forbidden { .. });

    let keyed = with_key(&developer, "k", 1);
    let created = catalog.create_template(&keyed, new()).await.unwrap();
    assert_eq!(catalog.create_template(&keyed, new()).await.unwrap(), created, "a repeated request");
    let changed = Template::parse(&new().to_yaml().replace("Of the shop.", "Changed.")).unwrap();
    catalog.update_template(&developer, "new", changed, None).await.unwrap();
    catalog.delete_template(&developer, "new", None).await.unwrap();
    let audit = catalog.audit(&actor, Page::default()).await.unwrap().items;
    let told: Vec<_> = audit.iter().filter(|entry| entry.target == "template/new").map(|entry| entry.action).collect();
    assert_eq!(told, [AuditAction::Delete, AuditAction::Update, AuditAction::Create]);
}

#[tokio::test]
async fn an_application_is_one_generation_one_use_and_one_entry() {
    let (world, actor, project, environment) = shop().await;
    let keyed = with_key(&actor, "apply", 1);
    let applied = world.catalog.apply_template(&keyed, application(&project, NEEDED)).await.unwrap();
    let expected = [
        ("HOST", Origin::Override),
        ("USER", Origin::Override),
        ("PORT", Origin::Default),
        ("TOKEN", Origin::Generated),
    ];
    assert_eq!(origins(&applied), expected);
    assert_eq!((applied.unset.as_slice(), applied.is_new, applied.is_changed), (&["NOTE".to_owned()][..], false, true));
    assert_eq!((applied.environment.id, applied.generation.number), (environment.id, 1));
    assert_eq!(applied.generation.message, "template The shop 1");
    assert_eq!(world.catalog.environment(&actor, environment.id).await.unwrap(), applied.environment);
    let repeated = world.catalog.apply_template(&keyed, application(&project, NEEDED)).await.unwrap();
    assert_eq!(repeated, applied, "a repeated request");
    assert_eq!(uses(&world, &actor, "shop").await, 1);

    let variables = world.catalog.variables(&actor, environment.id).await.unwrap();
    let told = |key: &str| variables.iter().find(|variable| variable.key == key).unwrap().clone();
    assert_eq!((told("PORT").value.as_deref(), told("PORT").description.as_str()), (Some("5432"), "The port."));
    assert!(told("TOKEN").is_secret && told("TOKEN").is_required && told("TOKEN").is_set);
    assert_eq!(world.catalog.reveal(&actor, environment.id, "TOKEN").await.unwrap().expose().len(), 64);

    let again = world.catalog.apply_template(&actor, application(&project, &[])).await.unwrap();
    assert_eq!((again.generation.number, again.is_changed, again.kept.len()), (1, false, 4));
    assert_eq!(uses(&world, &actor, "shop").await, 1, "what changes nothing is no use");
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let imports: Vec<_> = audit.iter().filter(|entry| entry.action == AuditAction::Import).collect();
    assert_eq!((imports.len(), imports[0].project), (1, Some(project.id)));
    assert!(imports[0].detail.contains("template shop: 4 variables written, 0 kept"), "{}", imports[0].detail);
}

#[tokio::test]
async fn all_that_is_missing_or_wrong_is_named_at_once_and_nothing_is_changed() {
    let (world, actor, project, environment) = shop().await;
    let wrong = application(&project, &[("PORT", "many"), ("USERS", "x")]);
    let found = problems(world.catalog.apply_template(&actor, wrong).await.unwrap_err());
    let named: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(named, ["overrides.USERS", "HOST", "USER", "overrides.PORT"]);
    assert!(found[0].problem.contains("did you mean `USER`"), "{}", found[0]);
    assert!(found[1].to_string().starts_with("HOST is required") && found[1].problem.contains("db.example.com"));
    let none = TemplateApplication { generate: false, ..application(&project, NEEDED) };
    let found = problems(world.catalog.preview_template(&actor, &none).await.unwrap_err());
    assert_eq!((found.len(), found[0].field.as_str()), (1, "TOKEN"));
    // What the template cannot know: a reference that leads nowhere.
    let nowhere = application(&project, &[("HOST", "${NOTHING}"), ("USER", "app")]);
    assert_eq!(fields(world.catalog.apply_template(&actor, nowhere).await.unwrap_err()), ["HOST"]);
    assert!(world.catalog.variables(&actor, environment.id).await.unwrap().is_empty());
    assert_eq!(uses(&world, &actor, "shop").await, 0);
    let absent = TemplateApplication { template: "nothing".to_owned(), ..application(&project, NEEDED) };
    assert_error!(world.catalog.apply_template(&actor, absent).await, CatalogError::NotFound { what: "template" });
}

#[tokio::test]
async fn what_has_a_value_keeps_it_unless_it_is_asked_for() {
    let (world, actor, project, environment) = shop().await;
    world.change(&actor, &environment, vec![secret("HOST", "mine"), plain("PORT", "1"), secret("TOKEN", "old")]).await;
    let refused = world.catalog.apply_template(&actor, application(&project, NEEDED)).await.unwrap_err();
    assert_eq!(fields(refused), ["overrides.HOST"]);
    let kept = world.catalog.apply_template(&actor, application(&project, &[("USER", "app")])).await.unwrap();
    assert_eq!((origins(&kept), kept.kept.len()), (vec![("USER", Origin::Override)], 3));

    let replacing = TemplateApplication { replace: true, ..application(&project, &[("HOST", "db")]) };
    let replaced = world.catalog.apply_template(&actor, replacing).await.unwrap();
    assert_eq!(replaced.kept, ["USER"]);
    let reveal = async |key| world.catalog.reveal(&actor, environment.id, key).await.unwrap();
    assert_eq!((reveal("HOST").await.expose(), reveal("PORT").await.expose()), ("db", "5432"));
    assert_ne!(reveal("TOKEN").await.expose(), "old");
    let host = world.catalog.variables(&actor, environment.id).await.unwrap().into_iter().find(|one| one.key == "HOST");
    assert!(host.unwrap().is_secret, "who called it secret knew better than the template");
}

#[tokio::test]
async fn an_inherited_value_is_a_value() {
    let (world, actor, project, base) = shop().await;
    world.change(&actor, &base, vec![plain("HOST", "db"), plain("USER", "${HOST}-user"), secret("TOKEN", "t")]).await;
    let new = NewEnvironment { stage: Stage::Staging, extends: Some(base.id), ..environment_of(&project, "eu") };
    let staging = world.catalog.create_environment(&actor, new).await.unwrap();
    let application = TemplateApplication { stage: Stage::Staging, ..application(&project, &[]) };
    let applied = world.catalog.apply_template(&actor, application).await.unwrap();
    assert_eq!((applied.environment.id, origins(&applied)), (staging.id, vec![("PORT", Origin::Default)]));
    assert_eq!(applied.kept, ["HOST", "USER", "TOKEN"]);
}

#[tokio::test]
async fn a_look_at_it_changes_nothing_and_fails_where_the_application_would() {
    let (world, actor, project, environment) = shop().await;
    world.change(&actor, &environment, vec![plain("HOST", "db")]).await;
    let revision = world.store.revision();
    let (applied, differences) =
        world.catalog.preview_template(&actor, &application(&project, &[("USER", "app")])).await.unwrap();
    let names: Vec<&str> = differences.iter().map(|one| one.name.as_str()).collect();
    assert_eq!((names, applied.generation.number), (vec!["PORT", "TOKEN", "USER"], 1));
    assert!(applied.is_changed && !applied.is_new);
    let stale = TemplateApplication { if_match: Some(7), ..application(&project, &[("USER", "app")]) };
    assert_error!(world.catalog.preview_template(&actor, &stale).await, CatalogError::Conflict { .. });
    assert_error!(world.catalog.apply_template(&actor, stale).await, CatalogError::Conflict { .. });
    assert_eq!(world.store.revision(), revision);
}

#[tokio::test]
async fn a_stage_without_an_environment_gets_one_with_the_template_in_it() {
    let (world, actor, project, _) = shop().await;
    let staging = || TemplateApplication { stage: Stage::Staging, ..application(&project, NEEDED) };
    let (looked, differences) = world.catalog.preview_template(&actor, &staging()).await.unwrap();
    assert_eq!((looked.is_new, looked.generation.number, differences.len()), (true, 0, 4));
    let developer = with_role(&actor, Role::Developer);
    let forbidden = world.catalog.apply_template(&developer, staging()).await;
    assert_error!(forbidden, CatalogError::Forbidden { need: Role::Admin });
    let stale = TemplateApplication { if_match: Some(1), ..staging() };
    assert_error!(world.catalog.apply_template(&actor, stale).await, CatalogError::Conflict { .. });
    let typed = TemplateApplication { name: Some("staging".to_owned()), ..staging() };
    assert_error!(world.catalog.apply_template(&actor, typed).await, CatalogError::NotFound { what: "environment" });
    assert_eq!(world.catalog.list_environments(&actor, project.id, Page::default()).await.unwrap().items.len(), 1);

    let keyed = with_key(&actor, "new", 1);
    let applied = world.catalog.apply_template(&keyed, staging()).await.unwrap();
    assert_eq!((applied.is_new, applied.environment.name.as_str(), applied.generation.number), (true, "staging", 1));
    assert_eq!(world.catalog.apply_template(&keyed, staging()).await.unwrap(), applied, "a repeated request");
    assert_eq!(world.catalog.environment(&actor, applied.environment.id).await.unwrap(), applied.environment);
    let (_, effective) = world.catalog.effective(actor.organization, applied.environment.id).await.unwrap();
    assert_eq!(effective.hash(), applied.generation.content_hash);
    world.catalog.reveal(&actor, applied.environment.id, "TOKEN").await.unwrap();
    // From then on it is the one of the stage.
    let again = TemplateApplication { overrides: BTreeMap::new(), ..staging() };
    let again = world.catalog.apply_template(&developer, again).await.unwrap();
    assert_eq!((again.environment.id, again.is_new), (applied.environment.id, false));
}

#[tokio::test]
async fn a_stage_that_may_be_one_of_several_has_to_be_named() {
    let (world, actor, project, _) = shop().await;
    world.catalog.create_environment(&actor, environment_of(&project, "eu")).await.unwrap();
    let found = problems(world.catalog.apply_template(&actor, application(&project, NEEDED)).await.unwrap_err());
    assert_eq!(found[0].field, "environment");
    assert!(found[0].problem.contains("eu, main"), "{}", found[0]);
    let named = TemplateApplication { name: Some("eu".to_owned()), ..application(&project, NEEDED) };
    assert_eq!(world.catalog.apply_template(&actor, named).await.unwrap().environment.name, "eu");
    for one in world.catalog.list_environments(&actor, project.id, Page::default()).await.unwrap().items {
        let update = EnvironmentUpdate { is_active: Some(false), ..EnvironmentUpdate::default() };
        world.catalog.update_environment(&actor, one.id, update).await.unwrap();
    }
    let found = problems(world.catalog.apply_template(&actor, application(&project, NEEDED)).await.unwrap_err());
    assert!(found[0].problem.contains("not active"), "{}", found[0]);
}

#[tokio::test]
async fn official_templates_are_counted_for_each_organisation() {
    let (world, actor, project, _) = shop().await;
    let redis = TemplateApplication {
        template: "redis".to_owned(),
        overrides: BTreeMap::from([("REDIS_URL".to_owned(), SecretString::from("redis://:p@cache.internal:6379/0"))]),
        ..application(&project, &[])
    };
    world.catalog.apply_template(&actor, redis).await.unwrap();
    assert_eq!((uses(&world, &actor, "redis").await, uses(&world, &owner(), "redis").await), (1, 0));
    let listed = world.catalog.templates(&actor, Some("database"), &Page::default()).await.unwrap().items;
    assert_eq!(listed.iter().find(|summary| summary.id == "redis").unwrap().uses, 1);
    world.catalog.delete_template(&actor, "shop", None).await.unwrap();
    world.catalog.create_template(&actor, template("shop", "The shop")).await.unwrap();
    assert_eq!(uses(&world, &actor, "shop").await, 0, "a new one begins anew");
}

#[tokio::test]
async fn where_changes_have_to_be_approved_an_application_has_to_be() {
    let (world, actor, project, environment) = shop().await;
    let protect = EnvironmentUpdate { approval: Some(Some(Risk::Low)), ..EnvironmentUpdate::default() };
    world.catalog.update_environment(&actor, environment.id, protect).await.unwrap();
    let (_, differences) = world.catalog.preview_template(&actor, &application(&project, NEEDED)).await.unwrap();
    assert_eq!(differences.len(), 4);
    let asked = world.catalog.apply_template(&actor, application(&project, NEEDED)).await;
    let Err(CatalogError::AwaitsApproval(held)) = asked else { panic!("it awaits approval: {asked:?}") };
    assert!(world.catalog.variables(&actor, environment.id).await.unwrap().is_empty());
    assert_eq!(uses(&world, &actor, "shop").await, 1);
    let colleague = Actor { subject: Subject::User(UserId::generate()), ..actor.clone() };
    world.catalog.approve_change(&colleague, held.request.id, Approval::default()).await.unwrap();
    let token = world.catalog.reveal(&actor, environment.id, "TOKEN").await.unwrap();
    assert_eq!(token.expose().len(), 64, "the secret that was made when it was asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_at_the_same_time_are_all_counted() {
    let (world, actor, project, _) = shop().await;
    let mut all = Vec::new();
    for at in 0..6 {
        let new = environment_of(&project, &format!("e{at}"));
        world.catalog.create_environment(&actor, new).await.unwrap();
        let (catalog, actor) = (world.catalog.clone(), actor.clone());
        let named = TemplateApplication { name: Some(format!("e{at}")), ..application(&project, NEEDED) };
        all.push(tokio::spawn(async move { catalog.apply_template(&actor, named).await }));
    }
    for one in all {
        assert!(one.await.unwrap().unwrap().is_changed);
    }
    assert_eq!(uses(&world, &actor, "shop").await, 6);
}

#[tokio::test]
async fn a_generated_secret_is_nowhere_in_the_file_nor_in_what_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outrigger.redb");
    let store: SharedStore = Arc::new(RedbStore::open(&path, Options::default()).unwrap());
    let catalog = Catalog::open(Arc::clone(&store), MasterKey::generate(), clock().0).await.unwrap();
    let actor = with_key(&owner(), "k", 1);
    let new = outrigger_catalog::NewProject { name: "visible-name".to_owned(), description: String::new() };
    let project = catalog.create_project(&actor, new).await.unwrap();
    let application = || TemplateApplication {
        template: "flask".to_owned(),
        overrides: BTreeMap::from([("FLASK_APP".to_owned(), SecretString::from("shop:create_app"))]),
        ..application(&project, &[])
    };
    let looked = catalog.preview_template(&actor, &application()).await.unwrap();
    let mut shown = format!("{:?} {looked:?}", application());
    let again = with_key(&actor, "k2", 2);
    let applied = catalog.apply_template(&again, application()).await.unwrap();
    shown += &format!("{applied:?}");
    shown += &format!("{:?}", catalog.audit(&actor, Page::default()).await.unwrap());
    shown += &format!("{:?}", catalog.variables(&actor, applied.environment.id).await.unwrap());
    let generated = applied.written.iter().find(|(_, origin)| *origin == Origin::Generated).expect("a random secret");
    let value = catalog.reveal(&actor, applied.environment.id, &generated.0).await.unwrap();
    store.close().await.unwrap();
    let content = std::fs::read(&path).unwrap();
    let holds = |needle: &str| content.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds("visible-name"), "the search works");
    assert!(!holds(value.expose()) && !shown.contains(value.expose()));
}
