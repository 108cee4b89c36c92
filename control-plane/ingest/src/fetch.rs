//! An environment for one call of a program, on behalf of the person whose token comes with the request.
//!
//! The answer is sealed to a key that the caller made for it; what is sealed is what an agent of a deployment would get.
//! Who may have it is the catalog's to say, and the audit log tells of it before it leaves.

use std::sync::Arc;
use std::time::Instant;

use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, Origin, Role};
use outrigger_protocol::fetch::{FetchRefusal, FetchRequest, FetchResponse};
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::seal::{self, FetchContext};
use outrigger_protocol::transport::Fetch;
use tracing::{debug, info, warn};

use crate::server::Inner;
use crate::stats::{Count, Reject};

/// In the audit log.
const PURPOSE: &str = "for a program run with `outrigger-agent exec`";

/// A refusal, as it is told.
struct Refused(FetchRefusal, String);

/// Serves one fetch connection.
pub(crate) async fn serve(ingest: Arc<Inner>, mut fetch: Fetch) {
    let address = fetch.remote_address();
    let answer = if ingest.doorkeeper.admit(address.ip(), Instant::now()) {
        let request = match fetch.request().await {
            Ok(request) => request,
            Err(error) => {
                if let Some(reject) = Reject::of(&error) {
                    ingest.stats.reject(reject);
                    ingest.doorkeeper.punish(address.ip(), Instant::now());
                }
                debug!(%address, error = &error as &dyn std::error::Error, "no fetch request");
                return;
            }
        };
        let origin = Origin {
            address: Some(address.ip().to_canonical()),
            user_agent: Some(format!("outrigger-agent/{}", request.agent_version)),
            ..Origin::default()
        };
        lend(&ingest, &request, origin).await
    } else {
        Err(Refused(FetchRefusal::TryLater, "asked too often".to_owned()))
    };
    let response = answer.unwrap_or_else(|Refused(reason, message)| {
        let limited = reason == FetchRefusal::TryLater;
        ingest.stats.reject(if limited { Reject::FetchLimited } else { Reject::FetchRefused });
        info!(%address, ?reason, "fetch refused");
        if reason == FetchRefusal::BadToken {
            ingest.doorkeeper.punish(address.ip(), Instant::now());
        }
        FetchResponse::Refused { reason, message }
    });
    if let Err(error) = fetch.respond(response).await {
        debug!(%address, error = &error as &dyn std::error::Error, "fetched environment not delivered");
    }
}

async fn lend(ingest: &Inner, request: &FetchRequest, origin: Origin) -> Result<FetchResponse, Refused> {
    let later = || Refused(FetchRefusal::TryLater, "the control plane goes down for a while".to_owned());
    if ingest.is_draining() {
        return Err(later());
    }
    // A commit each, as for an enrolment: more at once would only wait for each other.
    let _permit = ingest.enrolling.acquire().await.map_err(|_| later())?;
    let catalog = &ingest.catalog;
    let actor = catalog.authenticate(&request.token).await.map_err(refusal)?;
    let actor = Actor { origin, ..actor };
    if actor.role < Role::Developer {
        return Err(refusal(CatalogError::Forbidden { need: Role::Developer }));
    }
    let environment =
        catalog.find_environment(&actor, request.project.as_deref(), &request.environment).await.map_err(refusal)?;
    let (generation, content) = catalog.export(&actor, environment.id, PURPOSE).await.map_err(refusal)?;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        warn!(environment = %environment.id, error, "an environment cannot be lent");
        Refused(FetchRefusal::BadRequest, error.to_string())
    };
    let plaintext = content.encode().map_err(|error| failed(&error))?;
    let config = ConfigRef { generation: generation.number, hash: content.hash() };
    let context =
        FetchContext { project: environment.project, environment: environment.id, generation: config.generation };
    let sealed = seal::seal(&request.seal_key, &plaintext, &context).map_err(|error| failed(&error))?;
    ingest.stats.add(Count::EnvironmentsFetched, 1);
    info!(actor = %actor.subject, environment = %environment.id, generation = config.generation, "environment lent");
    Ok(FetchResponse::Lent { project: environment.project, environment: environment.id, config, sealed })
}

fn refusal(error: CatalogError) -> Refused {
    let reason = match &error {
        CatalogError::Unauthenticated(_) => FetchRefusal::BadToken,
        CatalogError::Forbidden { .. } => FetchRefusal::Forbidden,
        CatalogError::NotFound { .. } => FetchRefusal::NotFound,
        CatalogError::Validation(_) | CatalogError::Conflict { .. } => FetchRefusal::BadRequest,
        _ => {
            warn!(error = &error as &dyn std::error::Error, "cannot lend an environment");
            return Refused(FetchRefusal::TryLater, "the control plane cannot read the environment now".to_owned());
        }
    };
    let message = match error {
        // Each names its field and what is wrong with it.
        CatalogError::Validation(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        error => error.to_string(),
    };
    Refused(reason, message)
}
