use outrigger_catalog::Page;
use outrigger_catalog::model::{AuditAction, Stage};
use outrigger_catalog::{NewAccount, NewEnvironment, NewProject};
use outrigger_protocol::environment::Environment;
use outrigger_protocol::fetch::{FetchRefusal, FetchRequest, FetchResponse};
use outrigger_protocol::seal::{FetchContext, SealKeyPair};
use outrigger_protocol::transport::{ClientEndpoint, Trust};
use zeroize::Zeroizing;

use super::world::{SERVER_NAME, World, config};
use crate::{Count, EnrollLimits, Rate, Reject};

impl World {
    async fn fetch(&self, token: &str, project: Option<&str>, environment: &str) -> (SealKeyPair, FetchResponse) {
        let key = SealKeyPair::generate().unwrap();
        let request = FetchRequest {
            token: Zeroizing::new(token.to_owned()),
            project: project.map(str::to_owned),
            environment: environment.to_owned(),
            seal_key: key.public(),
            agent_version: "test".to_owned(),
        };
        let server = self.ingest.local_addr();
        let trust = Trust::Fingerprint(self.ingest.ca_fingerprint());
        let endpoint = ClientEndpoint::towards(server).unwrap();
        (key, endpoint.fetch(server, SERVER_NAME, &trust, request).await.unwrap())
    }

    async fn refused(&self, token: &str, project: Option<&str>, environment: &str) -> (FetchRefusal, String) {
        match self.fetch(token, project, environment).await.1 {
            FetchResponse::Refused { reason, message } => (reason, message),
            lent @ FetchResponse::Lent { .. } => panic!("not refused: {lent:?}"),
        }
    }

    async fn add_environment(&self, stage: Stage, name: &str) {
        let new = NewEnvironment {
            project: self.deployment.spec.project,
            stage,
            name: name.to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        self.catalog.create_environment(&self.actor, new).await.unwrap();
    }
}

#[tokio::test]
async fn an_environment_is_lent_by_every_name_sealed_to_the_caller_and_audited() {
    let world = World::new().await;
    let id = world.environment.to_string();
    let project = world.deployment.spec.project.to_string();
    for (project, environment) in [
        (None, "production"),
        (Some("shop"), "production"),
        (Some(project.as_str()), "production/production"),
        (None, id.as_str()),
        (Some("shop"), id.as_str()),
    ] {
        let (key, answer) = world.fetch(&world.token, project, environment).await;
        let FetchResponse::Lent { project, environment, config, sealed } = answer else {
            panic!("{environment}: {answer:?}");
        };
        assert_eq!((environment, config.generation), (world.environment, 1));
        let context = FetchContext { project, environment, generation: config.generation };
        let content = Environment::decode(&key.open(&sealed, &context).unwrap()).unwrap();
        assert_eq!(content.hash(), config.hash);
        assert_eq!(content.entries[0].value.as_deref().map(String::as_str), Some("hello"));
    }
    assert_eq!(world.ingest.stats().count(Count::EnvironmentsFetched), 5);
    let audit = world.catalog.audit(&world.actor, Page::default()).await.unwrap().items;
    let exports: Vec<_> = audit.iter().filter(|entry| entry.action == AuditAction::Export).collect();
    assert_eq!(exports.len(), 5, "each of them");
    assert_eq!((exports[0].target.as_str(), exports[0].actor.as_str()), (id.as_str(), "operator"));
    assert!(exports[0].detail.contains("generation 1"), "{}", exports[0].detail);
    assert!(exports[0].origin.address.is_some_and(|address| address.is_loopback()));
}

#[tokio::test]
async fn what_is_not_one_environment_is_refused_in_words() {
    let world = World::new().await;
    world.add_environment(Stage::Staging, "eu").await;
    world.add_environment(Stage::Staging, "us").await;
    assert_eq!(world.refused(&world.token, None, "development").await.0, FetchRefusal::NotFound);
    assert_eq!(world.refused(&world.token, None, "staging/asia").await.0, FetchRefusal::NotFound);
    assert_eq!(world.refused(&world.token, Some("blog"), "production").await.0, FetchRefusal::NotFound);
    let (reason, message) = world.refused(&world.token, None, "staging").await;
    assert_eq!(reason, FetchRefusal::BadRequest);
    assert!(message.contains("staging/eu") && message.contains("staging/us"), "{message}");
    let (reason, message) = world.refused(&world.token, None, "stage").await;
    assert_eq!(reason, FetchRefusal::BadRequest);
    assert!(message.contains("development, staging or production"), "{message}");

    let blog = NewProject { name: "blog".to_owned(), description: String::new() };
    let blog = world.catalog.create_project(&world.actor, blog).await.unwrap();
    let (reason, message) = world.refused(&world.token, None, "production").await;
    assert_eq!(reason, FetchRefusal::BadRequest);
    assert!(message.contains("shop") && message.contains("blog"), "{message}");
    let elsewhere = (blog.id.to_string(), world.environment.to_string());
    assert_eq!(world.refused(&world.token, Some(&elsewhere.0), &elsewhere.1).await.0, FetchRefusal::NotFound);
}

#[tokio::test]
async fn strangers_get_nothing_and_other_tenants_nothing_of_this_one() {
    let world = World::new().await;
    assert_eq!(world.refused("ogr_nonsense", None, "production").await.0, FetchRefusal::BadToken);
    let account = NewAccount {
        email: "eve@example.org".to_owned(),
        password: "correct horse battery".into(),
        name: String::new(),
    };
    let (_, theirs) = world.catalog.register(account, Default::default()).await.unwrap();
    assert_eq!(world.refused(theirs.expose(), None, "production").await.0, FetchRefusal::NotFound);
    let id = world.environment.to_string();
    assert_eq!(world.refused(theirs.expose(), None, &id).await.0, FetchRefusal::NotFound);
    assert_eq!(world.ingest.stats().rejected(Reject::FetchRefused), 3);
    assert_eq!(world.ingest.stats().count(Count::EnvironmentsFetched), 0);
}

#[tokio::test]
async fn an_address_that_guesses_tokens_is_made_to_wait() {
    let enroll = EnrollLimits { rate: Rate { per_second: 0.001, burst: 10.0 }, refusal_cost: 5.0, ..config().enroll };
    let world = World::with(crate::IngestConfig { enroll, ..config() }).await;
    for _ in 0..2 {
        assert_eq!(world.refused("ogr_guess", None, "production").await.0, FetchRefusal::BadToken);
    }
    assert_eq!(world.refused(&world.token, None, "production").await.0, FetchRefusal::TryLater);
    assert_eq!(world.ingest.stats().rejected(Reject::FetchLimited), 1);
}
