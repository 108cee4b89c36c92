//! One effect, from the first call of the driver to the last word in the catalog.

use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::model::{self, Actor, Deployment, Event, EventKind, InstancePhase, Intent, IntentKind};
use outrigger_catalog::{CatalogError, IntentOutcome, JOIN_TOKEN_TTL};
use outrigger_drivers::{Created, Driver, DriverError, FailureKind, InstanceSpec, Limits, Observation, Scrape};
use outrigger_protocol::id::InstanceId;
use tokio::time::Instant;

use super::Ending;
use super::queue::Job;
use crate::backoff::full_jitter;
use crate::core::Core;
use crate::policies::chain;
use crate::stats::{Count, Timing};
use crate::{lifecycle, reconciler};

/// Carries one effect out, as far as it goes.
pub(super) async fn carry_out(mut ending: Ending<'_>) {
    let (core, job) = (ending.core, ending.job);
    let done = match job.intent.kind {
        IntentKind::Create => create(core, job).await,
        IntentKind::Destroy => destroy(core, job).await,
    };
    let intent = &job.intent;
    match done {
        Ok(Done::Finished) => {}
        Ok(Done::Rest(rest)) => ending.rest_until = Some(Instant::now() + rest),
        // The store is full or overloaded, or the deployment is gone. The intent is still there, or it is not needed.
        Err(error) => {
            core.stats.add(Count::EffectsFailed, 1);
            ending.rest_until = Some(Instant::now() + core.config.executor.max_backoff);
            tracing::warn!(
                deployment = %intent.deployment, instance = %intent.instance, intent = %intent.id,
                error = &error as &dyn std::error::Error, "an effect could not be carried out and stays pending",
            );
        }
    }
    core.pokes.poke(intent.deployment);
}

enum Done {
    Finished,
    /// Still pending; try again after this.
    Rest(Duration),
}

async fn create(core: &Arc<Core>, job: &Job) -> Result<Done, CatalogError> {
    let intent = &job.intent;
    let actor = Actor::system(intent.organization);
    let deployment = core.catalog.deployment(&actor, intent.deployment).await?;
    let Some(driver) = core.driver_of(&deployment) else {
        let reason = format!("there is no driver `{}`", deployment.spec.driver);
        return give_up(core, &deployment, intent, DriverError::permanent("create an instance", reason)).await;
    };
    let attempts = core.config.executor.attempts.max(1);
    for attempt in 0..attempts {
        let instance = core.catalog.instance(&actor, intent.instance).await?;
        if job.overtaken.is_cancelled() || instance.phase != InstancePhase::Creating {
            let reason = "given up before it was created".to_owned();
            finish(core, intent, IntentOutcome::Failed { reason }, None).await?;
            return Ok(Done::Finished);
        }
        let spec = spec(core, &actor, &deployment, intent.instance).await?;
        if let Some(sampled) = job.sampled.filter(|_| attempt == 0) {
            core.stats.time(Timing::SampleToCall, core.ambient().now().since(sampled));
        }
        match call(core, "create an instance", driver.create(&spec)).await {
            Ok(created) => return created_by(core, intent, driver.as_ref(), created).await,
            Err(error) if error.kind == FailureKind::Permanent || attempt + 1 == attempts => {
                return give_up(core, &deployment, intent, error).await;
            }
            Err(error) => {
                let wait = backoff(core, attempt);
                tracing::info!(instance = %intent.instance, %error, ?wait, "trying again to create an instance");
                tokio::select! {
                    () = job.overtaken.cancelled() => {}
                    // The intent is in the store.
                    () = core.cancel.cancelled() => return Ok(Done::Finished),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
    // Every way out of the last attempt returns.
    Ok(Done::Finished)
}

async fn created_by(core: &Core, intent: &Intent, driver: &dyn Driver, created: Created) -> Result<Done, CatalogError> {
    core.stats.add(Count::Created, 1);
    let place = created.endpoint.as_deref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    let kind = EventKind::InstanceCreated { instance: intent.instance };
    let message = format!("{} created by {}{place}", intent.instance, driver.name());
    let event = core.ambient().event(intent.organization, intent.deployment, kind, message, None);
    finish(core, intent, IntentOutcome::Created { endpoint: created.endpoint }, Some(event)).await?;
    Ok(Done::Finished)
}

/// A creation that will not succeed. The instance is gone; whether there will be another is the reconciler's to say.
async fn give_up(
    core: &Arc<Core>,
    deployment: &Deployment,
    intent: &Intent,
    error: DriverError,
) -> Result<Done, CatalogError> {
    core.stats.add(Count::EffectsFailed, 1);
    let reason = chain(&error);
    let (id, instance) = (intent.deployment, intent.instance);
    tracing::warn!(deployment = %id, %instance, reason, "an instance could not be created");
    let event = driver_failed(core, intent, "create", &reason);
    finish(core, intent, IntentOutcome::Failed { reason: reason.clone() }, Some(event)).await?;
    reconciler::died(core, intent.deployment, Duration::ZERO);
    if error.kind == FailureKind::Permanent {
        lifecycle::cannot_provision(core, deployment.id, &reason).await;
    }
    core.reconcile.notify_one();
    Ok(Done::Finished)
}

fn driver_failed(core: &Core, intent: &Intent, operation: &str, reason: &str) -> Event {
    let kind = EventKind::DriverFailed { instance: intent.instance, operation: operation.to_owned() };
    core.ambient().event(intent.organization, intent.deployment, kind, reason, None)
}

/// The last word about an effect: written down first, told after it.
async fn finish(
    core: &Core,
    intent: &Intent,
    outcome: IntentOutcome,
    event: Option<Event>,
) -> Result<(), CatalogError> {
    core.catalog.finish_intent(intent, outcome, event.clone()).await?;
    if let Some(event) = event {
        core.tell_event(&event);
    }
    Ok(())
}

async fn destroy(core: &Arc<Core>, job: &Job) -> Result<Done, CatalogError> {
    let intent = &job.intent;
    let actor = Actor::system(intent.organization);
    let deployment = core.catalog.deployment(&actor, intent.deployment).await?;
    let instance = core.catalog.instance(&actor, intent.instance).await?;
    if let Some(sampled) = job.sampled {
        core.stats.time(Timing::SampleToCall, core.ambient().now().since(sampled));
    }
    match end(core, &deployment, instance.id).await {
        Ok(()) => {
            core.stats.add(Count::Destroyed, 1);
            let kind = EventKind::InstanceDestroyed { instance: intent.instance };
            let message = format!("{} destroyed", intent.instance);
            let event = core.ambient().event(intent.organization, intent.deployment, kind, message, None);
            finish(core, intent, IntentOutcome::Destroyed, Some(event)).await?;
            if let Some(agent) = instance.agent {
                core.ingest.revoke(agent);
            }
            Ok(Done::Finished)
        }
        Err(error) => {
            core.stats.add(Count::EffectsFailed, 1);
            let reason = chain(&error);
            let (id, instance) = (intent.deployment, intent.instance);
            tracing::warn!(deployment = %id, %instance, reason, "an instance could not be destroyed");
            // A destruction stays pending; its event is told once.
            let event = (intent.attempts == 0).then(|| driver_failed(core, intent, "destroy", &reason));
            finish(core, intent, IntentOutcome::Failed { reason }, event).await?;
            Ok(Done::Rest(backoff(core, intent.attempts) + core.config.executor.backoff))
        }
    }
}

/// Ends a sandbox.
async fn end(core: &Arc<Core>, deployment: &Deployment, instance: InstanceId) -> Result<(), DriverError> {
    let Some(driver) = core.driver_of(deployment) else {
        let reason = format!("there is no driver `{}`", deployment.spec.driver);
        return Err(DriverError::permanent("destroy an instance", reason));
    };
    let config = &core.config.executor;
    let mut attempt = 0;
    loop {
        let result =
            call(core, "destroy an instance", driver.destroy(instance, config.stop_grace + config.agent_grace)).await;
        match result {
            Err(error) if error.kind == FailureKind::Transient && attempt + 1 < config.attempts => {
                tokio::select! {
                    () = core.cancel.cancelled() => return Err(error),
                    () = tokio::time::sleep(backoff(core, attempt)) => attempt += 1,
                }
            }
            result => return result,
        }
    }
}

/// See [`super::clear`].
pub(super) async fn clear(core: &Arc<Core>, driver: &str, instance: InstanceId) {
    let Some(driver) = core.drivers.get(driver) else { return };
    let grace = core.config.executor.stop_grace + core.config.executor.agent_grace;
    if let Err(error) = call(core, "clear an instance away", driver.destroy(instance, grace)).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(%instance, error, "a sandbox cannot be cleared away");
    }
}

/// A driver call with a limit to its time.
async fn call<T>(
    core: &Core,
    operation: &'static str,
    call: impl Future<Output = Result<T, DriverError>>,
) -> Result<T, DriverError> {
    let (started, limit) = (Instant::now(), core.config.executor.call_timeout);
    let result = tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        Err(DriverError::transient(operation, format!("the driver took more than {} s", limit.as_secs())))
    });
    core.stats.time(Timing::Call, started.elapsed());
    core.stats.add(Count::Calls, 1);
    if result.is_err() {
        core.stats.add(Count::CallsFailed, 1);
    }
    result
}

fn backoff(core: &Core, attempt: u32) -> Duration {
    let config = &core.config.executor;
    full_jitter(attempt, config.backoff, config.max_backoff, core.ambient().dice())
}

async fn spec(
    core: &Core,
    actor: &Actor,
    deployment: &Deployment,
    instance: InstanceId,
) -> Result<InstanceSpec, CatalogError> {
    let (token, secret) = core.catalog.create_join_token(actor, deployment.id, Some(instance), JOIN_TOKEN_TTL).await?;
    let text = core.ingest.join_token_text(token.id, &secret);
    let spec = &deployment.spec;
    Ok(InstanceSpec {
        instance,
        deployment: deployment.id,
        command: spec.command.clone(),
        limits: Limits { cpu_cores: spec.resources.cpu_cores, memory_bytes: spec.resources.memory_bytes },
        http: spec.http,
        observe: observation(&spec.observe),
        join_token: text.into(),
        agents_address: core.config.agents_address,
        server_name: core.config.server_name.clone(),
        stop_grace: core.config.executor.stop_grace,
    })
}

fn observation(observe: &model::Observation) -> Observation {
    let model::Observation { scrape, statsd, metrics } = observe;
    let scrape = scrape.clone().map(|model::Scrape { port, path, interval }| Scrape { port, path, interval });
    Observation { scrape, statsd: *statsd, metrics: metrics.clone() }
}
