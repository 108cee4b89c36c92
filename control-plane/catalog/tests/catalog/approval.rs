//! Changes that somebody else has to approve.

use std::time::Duration;

use outrigger_catalog::model::{
    Actor, AuditAction, ChangeOutcome, ChangeRequest, Environment, Origin, Project, ReviewedChange, Risk, Role, Stage,
    Subject, VariableChange,
};
use outrigger_catalog::{
    Approval, AuditQuery, CHANGE_TTL, Catalog, CatalogError, EnvironmentUpdate, Import, ImportMode, MAX_OPEN_CHANGES,
    NewEnvironment, Page, RotationStep,
};
use outrigger_configuration::format::{Format, parse};
use outrigger_protocol::id::{ChangeId, EnvironmentId, UserId};
use outrigger_store::faults::{Disk, Fault};

use crate::retention::registered;
use crate::world::{
    World, assert_error, clock, delete, environment_of, owner, plain, secret, store_on, with_key, with_role,
};

/// Two people, a project, and a production environment that is protected from changes of high risk.
struct Team {
    world: World,
    /// Asks for changes.
    ann: Actor,
    /// Approves them.
    bob: Actor,
    project: Project,
    production: Environment,
}

fn colleague(actor: &Actor, role: Role) -> Actor {
    Actor { subject: Subject::User(UserId::generate()), role, origin: Origin::default(), ..actor.clone() }
}

impl Team {
    async fn new(from: Risk) -> Self {
        Self::of(World::new().await, owner(), from).await
    }

    /// Of an organisation that the control plane itself knows of.
    async fn registered(from: Risk) -> Self {
        let world = World::new().await;
        let ann = registered(&world).await;
        Self::of(world, ann, from).await
    }

    async fn of(world: World, ann: Actor, from: Risk) -> Self {
        let bob = colleague(&ann, Role::Admin);
        let project = world.project(&ann).await;
        let production = world.environment(&ann, &project).await;
        world.change(&ann, &production, vec![plain("HOST", "db"), secret("TOKEN", "hunter2")]).await;
        let team = Self { world, ann, bob, project, production };
        team.protect(team.production.id, Some(from)).await.unwrap();
        team
    }

    async fn protect(&self, id: EnvironmentId, from: Option<Risk>) -> Result<Environment, CatalogError> {
        let update = EnvironmentUpdate { approval: Some(from), ..EnvironmentUpdate::default() };
        self.world.catalog.update_environment(&self.ann, id, update).await
    }

    async fn try_change(&self, environment: &Environment, changes: Vec<VariableChange>) -> Result<u64, CatalogError> {
        let catalog = &self.world.catalog;
        let changed = catalog.change_variables(&self.ann, environment.id, changes, None, "because".to_owned()).await;
        changed.map(|generation| generation.number)
    }

    /// Asks for a change that is held.
    async fn ask(&self, changes: Vec<VariableChange>) -> ReviewedChange {
        held(self.try_change(&self.production, changes).await)
    }

    async fn approve(&self, actor: &Actor, id: ChangeId) -> Result<ChangeRequest, CatalogError> {
        self.world.catalog.approve_change(actor, id, Approval::default()).await
    }

    async fn generation(&self, environment: &Environment) -> u64 {
        self.world.catalog.environment(&self.ann, environment.id).await.unwrap().generation
    }

    async fn open(&self) -> Vec<ChangeId> {
        let found = self.world.catalog.change_requests(&self.ann, self.production.id).await.unwrap();
        found.into_iter().map(|request| request.id).collect()
    }

    async fn value(&self, key: &str) -> String {
        let value = self.world.catalog.reveal(&self.ann, self.production.id, key).await.unwrap();
        value.expose().to_owned()
    }

    async fn make(&self, name: &str, extends: Option<&Environment>) -> Environment {
        let extends = extends.map(|base| base.id);
        let new = NewEnvironment { stage: Stage::Staging, extends, ..environment_of(&self.project, name) };
        self.world.catalog.create_environment(&self.ann, new).await.unwrap()
    }
}

#[track_caller]
fn held<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> ReviewedChange {
    match result {
        Err(CatalogError::AwaitsApproval(held)) => *held,
        other => panic!("expected that it awaits approval, got {other:?}"),
    }
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> String {
    match result {
        Err(CatalogError::Conflict { what }) => what,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[tokio::test]
async fn a_change_below_the_risk_is_published_and_one_above_it_is_held_until_somebody_else_approves() {
    let team = Team::new(Risk::High).await;
    assert_eq!(team.try_change(&team.production, vec![plain("HOST", "db2")]).await.unwrap(), 2);

    let held = team.ask(vec![secret("TOKEN", "hunter3"), plain("NEW", "1"), delete("HOST")]).await;
    let request = &held.request;
    assert_eq!((request.author.as_str(), request.base), (team.ann.subject.to_string().as_str(), 2));
    assert_eq!((request.risk, request.approver, request.message.as_str()), (Risk::High, Role::Admin, "because"));
    let reasons: Vec<&str> = request.reasons.iter().map(|reason| reason.text.as_str()).collect();
    assert_eq!(reasons, ["sets secrets: TOKEN", "removes variables: HOST", "sets values: NEW"]);
    assert_eq!(request.expires_at, team.world.now().saturating_add(CHANGE_TTL));
    let names: Vec<&str> = held.differences.iter().map(|difference| difference.name.as_str()).collect();
    assert_eq!((names, held.outdated.len()), (vec!["HOST", "NEW", "TOKEN"], 0));
    assert!(!format!("{held:?}").contains("hunter"), "{held:?}");
    assert_eq!((team.generation(&team.production).await, team.open().await), (2, vec![request.id]));
    assert_eq!(team.value("TOKEN").await, "hunter2");

    assert!(conflict(team.approve(&team.ann, request.id).await).contains("somebody else than its author"));
    let developer = colleague(&team.ann, Role::Developer);
    assert_error!(team.approve(&developer, request.id).await, CatalogError::Forbidden { need: Role::Admin });
    let keyed = with_key(&team.bob, "approve", 1);
    let approved = team.approve(&keyed, request.id).await.unwrap();
    assert_eq!(team.approve(&keyed, request.id).await.unwrap(), approved, "a repeated request");
    let decision = approved.decision.unwrap();
    assert_eq!(
        (decision.outcome, decision.by),
        (ChangeOutcome::Approved { generation: 3 }, team.bob.subject.to_string())
    );
    let generation = team.world.catalog.generation(&team.ann, team.production.id, 3).await.unwrap();
    let people = (generation.author, generation.approver, generation.message);
    let expected = (team.ann.subject.to_string(), Some(team.bob.subject.to_string()), "because".to_owned());
    assert_eq!(people, expected);
    assert_eq!((team.value("TOKEN").await, team.value("NEW").await), ("hunter3".to_owned(), "1".to_owned()));
    assert_eq!(team.open().await, []);
    assert_eq!(conflict(team.approve(&team.bob, request.id).await), "the change was approved already");
    let after = team.world.catalog.change_request(&team.ann, request.id).await.unwrap();
    assert_eq!((after.differences.len(), after.request.decision.unwrap().outcome.name()), (0, "approved"));

    let query = AuditQuery { action: Some(AuditAction::Approve), ..AuditQuery::from(Page::default()) };
    let told = team.world.catalog.audit(&team.ann, query).await.unwrap().items;
    assert_eq!((told.len(), told[0].target.as_str()), (1, request.id.to_string().as_str()));
    assert!(told[0].detail.contains(&request.author) && told[0].detail.contains("generation 3"), "{}", told[0].detail);
    assert_eq!(told[0].project, Some(team.project.id));
    assert!(team.world.catalog.verify_audit(&team.ann).await.unwrap().fault.is_none());
}

#[tokio::test]
async fn what_was_changed_elsewhere_stays_and_what_was_touched_since_stops_it() {
    let team = Team::new(Risk::High).await;
    let held = team.ask(vec![secret("TOKEN", "hunter3")]).await;
    team.try_change(&team.production, vec![plain("HOST", "db2")]).await.unwrap();
    team.approve(&team.bob, held.request.id).await.unwrap();
    assert_eq!((team.value("TOKEN").await, team.value("HOST").await), ("hunter3".to_owned(), "db2".to_owned()));

    let first = team.ask(vec![secret("TOKEN", "first"), secret("OTHER", "x")]).await;
    let second = team.ask(vec![secret("TOKEN", "second"), delete("HOST")]).await;
    team.approve(&team.bob, second.request.id).await.unwrap();
    let outdated = team.world.catalog.change_request(&team.ann, first.request.id).await.unwrap().outdated;
    assert_eq!(outdated, ["TOKEN"]);
    let what = conflict(team.approve(&team.bob, first.request.id).await);
    assert!(what.contains("TOKEN") && !what.contains("OTHER"), "{what}");
    assert_eq!(team.value("TOKEN").await, "second");
    team.world.catalog.reject_change(&team.bob, first.request.id, "outdated".to_owned()).await.unwrap();
}

#[tokio::test]
async fn every_way_to_publish_is_held() {
    let team = Team::new(Risk::Low).await;
    let catalog = &team.world.catalog;
    team.ask(vec![plain("HOST", "db2")]).await;
    let import = |mode| Import {
        variables: parse(Format::Dotenv, b"HOST=db3").unwrap(),
        mode,
        if_match: None,
        message: String::new(),
    };
    for (mode, reasons) in [(ImportMode::Merge, 1), (ImportMode::Replace, 3)] {
        let (_, differences) = catalog.preview_import(&team.ann, team.production.id, &import(mode)).await.unwrap();
        assert!(!differences.is_empty());
        let found = held(catalog.import(&team.ann, team.production.id, import(mode)).await);
        assert_eq!(found.request.reasons.len(), reasons, "{:?}", found.request.reasons);
    }
    let rollback = held(catalog.rollback(&team.ann, team.production.id, 0, None, String::new()).await);
    assert_eq!(rollback.request.message, "rollback to generation 0");
    let base = team.make("base", None).await;
    let extends = EnvironmentUpdate { extends: Some(Some(base.id)), ..EnvironmentUpdate::default() };
    let extends = held(catalog.update_environment(&team.ann, team.production.id, extends).await);
    assert_eq!(extends.fields[0].field, "extends");
    let described = EnvironmentUpdate { description: Some("x".to_owned()), ..EnvironmentUpdate::default() };
    let described = held(catalog.update_environment(&team.ann, team.production.id, described).await);
    assert_eq!(described.request.risk, Risk::Low);
    let unprotected = held(team.protect(team.production.id, None).await);
    assert_eq!((unprotected.request.risk, unprotected.fields[0].field), (Risk::High, "approval"));
    assert_eq!((team.generation(&team.production).await, team.open().await.len()), (1, 7));
    assert!(conflict(catalog.delete_environment(&team.ann, team.production.id).await).contains("approved"));

    // They are independent of one another, as far as they touch other things.
    for request in [extends.request.id, described.request.id, unprotected.request.id] {
        team.approve(&team.bob, request).await.unwrap();
    }
    let after = catalog.environment(&team.ann, team.production.id).await.unwrap();
    assert_eq!((after.extends, after.description.as_str(), after.approval), (Some(base.id), "x", None));
    team.approve(&team.bob, rollback.request.id).await.unwrap();
    assert_eq!(catalog.variables(&team.ann, team.production.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_protected_environment_is_protected_from_what_it_is_made_of() {
    let team = Team::new(Risk::High).await;
    let (base, shared) = (team.make("base", None).await, team.make("shared", None).await);
    team.try_change(&base, vec![plain("LEVEL", "info"), secret("KEY", "1")]).await.unwrap();
    team.try_change(&shared, vec![plain("NAME", "n"), plain("UNUSED", "u")]).await.unwrap();
    let eu = NewEnvironment { extends: Some(base.id), ..environment_of(&team.project, "eu") };
    let eu = team.world.catalog.create_environment(&team.ann, eu).await.unwrap();
    team.try_change(&eu, vec![plain("GREETING", "hi ${env:shared/NAME}")]).await.unwrap();
    team.protect(eu.id, Some(Risk::Medium)).await.unwrap();

    let found = held(team.try_change(&base, vec![secret("KEY", "2")]).await);
    assert_eq!((found.request.environment, found.request.approver), (base.id, Role::Admin));
    assert_eq!(found.request.reasons[0].text, "in production/eu, which depends on it, sets secrets: KEY");
    held(team.try_change(&shared, vec![plain("NAME", "m")]).await);
    team.try_change(&shared, vec![plain("UNUSED", "v")]).await.expect("it makes no difference to what is protected");
    assert_eq!(team.generation(&eu).await, 2);
    team.approve(&team.bob, found.request.id).await.unwrap();
    assert_eq!(team.generation(&eu).await, 3);
    let generation = team.world.catalog.generation(&team.ann, eu.id, 3).await.unwrap();
    assert_eq!(generation.approver, Some(team.bob.subject.to_string()));

    // Nor does another environment take the place of what it refers to.
    let usurper = environment_of(&team.project, "shared");
    let usurper = NewEnvironment { stage: Stage::Development, ..usurper };
    assert!(team.world.catalog.create_environment(&team.ann, usurper).await.is_err());
    let renamed = EnvironmentUpdate { extends: Some(Some(shared.id)), ..EnvironmentUpdate::default() };
    let found = held(team.world.catalog.update_environment(&team.ann, base.id, renamed).await);
    assert!(found.request.reasons[0].text.contains("sets values: NAME, UNUSED"), "{:?}", found.request.reasons);
}

#[tokio::test]
async fn it_is_rejected_by_an_approver_and_withdrawn_by_its_author() {
    let team = Team::new(Risk::High).await;
    let catalog = &team.world.catalog;
    let (one, two) = (team.ask(vec![delete("HOST")]).await, team.ask(vec![delete("TOKEN")]).await);
    let developer = colleague(&team.ann, Role::Developer);
    let no = || "no".to_owned();
    assert_error!(
        catalog.reject_change(&developer, one.request.id, no()).await,
        CatalogError::Forbidden { need: Role::Admin }
    );
    let rejected = catalog.reject_change(&team.bob, one.request.id, no()).await.unwrap().decision.unwrap();
    assert_eq!((rejected.outcome, rejected.reason.as_str()), (ChangeOutcome::Rejected, "no"));
    let author = with_role(&team.ann, Role::Developer);
    let withdrawn = catalog.reject_change(&author, two.request.id, String::new()).await.unwrap();
    assert_eq!(withdrawn.decision.unwrap().outcome, ChangeOutcome::Withdrawn);
    assert_eq!(conflict(team.approve(&team.bob, one.request.id).await), "the change was rejected already");
    assert_eq!((team.open().await, team.generation(&team.production).await), (vec![], 1));
    let stranger = owner();
    assert_error!(catalog.change_request(&stranger, one.request.id).await, CatalogError::NotFound { .. });
    assert_error!(team.approve(&stranger, one.request.id).await, CatalogError::NotFound { .. });
    assert_error!(catalog.change_requests(&stranger, team.production.id).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn an_owner_overrides_with_a_reason_and_is_told_of() {
    let team = Team::new(Risk::High).await;
    let id = team.ask(vec![secret("TOKEN", "hunter3")]).await.request.id;
    let approval = |reason: &str| Approval { reason: reason.to_owned(), is_override: true };
    let catalog = &team.world.catalog;
    assert_error!(
        catalog.approve_change(&team.bob, id, approval("it burns")).await,
        CatalogError::Forbidden { need: Role::Owner }
    );
    assert_error!(
        catalog.approve_change(&team.ann, id, approval(" ")).await,
        CatalogError::Validation(problems) if problems[0].field == "reason"
    );
    let decision = catalog.approve_change(&team.ann, id, approval("it burns")).await.unwrap().decision.unwrap();
    assert_eq!(decision.outcome, ChangeOutcome::Overridden { generation: 2 });
    assert_eq!(team.value("TOKEN").await, "hunter3");
    let query = AuditQuery { action: Some(AuditAction::Override), ..AuditQuery::from(Page::default()) };
    let told = catalog.audit(&team.ann, query).await.unwrap().items;
    assert!(told[0].detail.ends_with(": it burns"), "{}", told[0].detail);
}

#[tokio::test]
async fn requests_are_bounded_and_expire() {
    let team = Team::registered(Risk::Low).await;
    for number in 0..MAX_OPEN_CHANGES {
        team.ask(vec![plain("HOST", &number.to_string())]).await;
    }
    let one_more = team.try_change(&team.production, vec![plain("HOST", "x")]).await;
    assert!(conflict(one_more).contains("50 changes"));
    let id = team.open().await[0];
    team.world.pass(CHANGE_TTL);
    assert_eq!(team.open().await, []);
    assert_eq!(conflict(team.approve(&team.bob, id).await), "the change has expired");
    let new = team.ask(vec![plain("HOST", "x")]).await.request.id;
    assert_eq!(team.world.catalog.sweep().await.unwrap().change_requests, MAX_OPEN_CHANGES);
    assert_error!(team.world.catalog.change_request(&team.ann, id).await, CatalogError::NotFound { .. });
    team.approve(&team.bob, new).await.unwrap();
    team.world.pass(Duration::from_secs(30 * 24 * 60 * 60));
    assert_eq!(team.world.catalog.sweep().await.unwrap().change_requests, 1);
}

#[tokio::test]
async fn a_held_request_is_answered_the_same_when_it_is_repeated() {
    let team = Team::new(Risk::High).await;
    let keyed = with_key(&team.ann, "set", 1);
    let ask = async || {
        let changes = vec![secret("TOKEN", "hunter3")];
        team.world.catalog.change_variables(&keyed, team.production.id, changes, None, String::new()).await
    };
    let (first, again) = (held(ask().await), held(ask().await));
    assert_eq!((first.request.id, team.open().await.len()), (again.request.id, 1));
}

#[tokio::test]
async fn two_who_approve_at_once_publish_it_once() {
    let team = Team::new(Risk::High).await;
    let id = team.ask(vec![secret("TOKEN", "hunter3")]).await.request.id;
    let eve = colleague(&team.ann, Role::Admin);
    let (one, other) = tokio::join!(team.approve(&team.bob, id), team.approve(&eve, id));
    assert_eq!([&one, &other].iter().filter(|result| result.is_ok()).count(), 1, "{one:?} {other:?}");
    assert_eq!(team.generation(&team.production).await, 2);
}

#[tokio::test]
async fn what_is_held_is_sealed_and_goes_with_its_environment_and_along_with_its_key() {
    let mut team = Team::registered(Risk::High).await;
    let asked = team.ask(vec![secret("TOKEN", "canary-of-a-request")]).await;
    let operator = Actor { subject: Subject::Operator, ..team.ann.clone() };
    let rotation = team.world.catalog.rotate_data_key(&operator, team.project.id).await.unwrap();
    while team.world.catalog.advance_rotation(rotation.kind).await.unwrap() == RotationStep::More {}
    team.world.store.close().await.unwrap();
    let needle = b"canary-of-a-request";
    let content = team.world.disk.content();
    assert!(!content.windows(needle.len()).any(|window| window == needle), "never in the clear");
    let master = team.world.master.clone();
    team.world = team.world.reopen(master).await.unwrap();
    team.approve(&team.bob, asked.request.id).await.unwrap();
    assert_eq!(team.value("TOKEN").await, "canary-of-a-request");

    let base = team.make("base", None).await;
    team.try_change(&base, vec![plain("A", "1")]).await.unwrap();
    team.protect(base.id, Some(Risk::Low)).await.unwrap();
    let left = held(team.try_change(&base, vec![plain("A", "2")]).await);
    team.world.catalog.delete_project(&team.ann, team.project.id).await.unwrap();
    assert_error!(team.world.catalog.change_request(&team.ann, left.request.id).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn a_request_may_be_as_large_as_a_change() {
    let team = Team::new(Risk::High).await;
    let all = |value: &str| (0..999).map(|number| secret(&format!("V{number}"), value)).collect::<Vec<_>>();
    for value in ["one", "two"] {
        let id = team.ask(all(value)).await.request.id;
        team.approve(&team.bob, id).await.unwrap();
    }
    assert_eq!((team.value("V0").await, team.value("V998").await), ("two".to_owned(), "two".to_owned()));
}

#[tokio::test]
async fn it_is_published_and_decided_or_neither_whatever_write_the_power_fails_in() {
    let team = Team::new(Risk::High).await;
    let id = team.ask(vec![secret("TOKEN", "hunter3"), delete("HOST")]).await.request.id;
    team.world.store.close().await.unwrap();
    let content = team.world.disk.content();
    // Each round fails one operation later, until none is left.
    for seed in 0.. {
        let disk = Disk::with_content(content.clone());
        let open = async || Catalog::open(store_on(&disk), team.world.master.clone(), clock().0).await.unwrap();
        let catalog = open().await;
        disk.set_fault(disk.operations() + seed, Fault::LosePower { seed });
        let approved = catalog.approve_change(&team.bob, id, Approval::default()).await;
        disk.restart();
        drop(catalog);

        let catalog = open().await;
        let generation = catalog.environment(&team.ann, team.production.id).await.unwrap().generation;
        let decision = catalog.change_request(&team.ann, id).await.unwrap().request.decision;
        let outcome = decision.map(|decision| decision.outcome);
        assert_eq!(outcome, (generation == 2).then_some(ChangeOutcome::Approved { generation: 2 }), "{seed}");
        assert!(approved.is_err() || generation == 2, "what was acknowledged is durable: {seed}");
        assert_eq!(catalog.verify_audit(&team.ann).await.unwrap().fault, None);
        if approved.is_ok() {
            assert!(seed > 3, "the fault was met {seed} times");
            return;
        }
    }
}
