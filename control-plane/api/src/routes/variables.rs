//! `/api/config/environments/{configId}/variables`

use axum::extract::State;
use outrigger_catalog::{At, CatalogError};
use outrigger_protocol::id::EnvironmentId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, IdAnd, IfMatch, Mutation, NoBody, Query, shown};
use crate::shape::change::ChangeRequest;
use crate::shape::environment::{
    ChangedVariable, Generation, Reveal, Revealed, Variable, VariableChange, VariablesChange,
};
use crate::shape::history::{Names, StateParameters};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, change_many)).routes(routes!(put, delete)).routes(routes!(reveal))
}

/// List the variables, as written or as programs get them; secrets are masked
#[utoipa::path(
    operation_id = "listVariables",
    get, path = "/api/config/environments/{configId}/variables", tag = "variables",
    params(("configId" = String, Path), StateParameters),
    responses((status = 200, body = Envelope<Vec<Variable>>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    Query(parameters): Query<StateParameters>,
) -> Result<Answer<Vec<Variable>>, ApiError> {
    let at = parameters.at()?;
    if parameters.effective {
        let (generation, variables) = state.catalog.effective_variables(&actor, id, at).await?;
        let needed: Vec<EnvironmentId> = variables.iter().flat_map(Names::needed).collect();
        let names = Names(state.catalog.labels(&actor, needed).await?);
        let variables = variables.into_iter().map(|variable| {
            let provenance = names.provenance(id, &variable);
            Variable::effective(variable, provenance)
        });
        return Ok(ok(variables.collect()).at_generation(generation.number));
    }
    if at != At::Now {
        let (generation, variables) = state.catalog.variables_at(&actor, id, at).await?;
        return Ok(ok(variables.into_iter().map(Variable::from).collect()).at_generation(generation.number));
    }
    // The generation is read first: a change in between makes the tag too old, which refuses a write, and never too new.
    let generation = state.catalog.environment(&actor, id).await?.generation;
    let variables = state.catalog.variables(&actor, id).await?;
    Ok(ok(variables.into_iter().map(Variable::from).collect()).at_generation(generation))
}

/// Change many variables in one generation
#[utoipa::path(
    operation_id = "changeVariables",
    patch, path = "/api/config/environments/{configId}/variables", tag = "variables", request_body = VariablesChange,
    params(("configId" = String, Path), ("If-Match" = Option<String>, Header, description = "The generation that was read")),
    responses(
        (status = 200, body = Envelope<Generation>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
        (status = 409, description = "Somebody changed the environment since", body = Failure),
    ),
)]
async fn change_many(
    State(state): State<ApiState>,
    Id(id): Id<EnvironmentId>,
    IfMatch(if_match): IfMatch,
    request: Mutation<VariablesChange>,
) -> Result<Answer<Generation>, ApiError> {
    let message = request.body.reason();
    let present = state.catalog.variables(&request.actor, id).await?;
    let absent = request.body.absent(&present).unwrap_or_default();
    let changes = request.body.check(&present)?;
    let changed = state.catalog.change_variables(&request.actor, id, changes, if_match, message).await;
    let generation = changed.map_err(naming(&absent))?;
    let number = generation.number;
    Ok(ok(Generation::from(generation)).at_generation(number))
}

/// Create a variable, or change what is given of it
#[utoipa::path(
    operation_id = "putVariable",
    put, path = "/api/config/environments/{configId}/variables/{key}", tag = "variables", request_body = VariableChange,
    params(
        ("configId" = String, Path), ("key" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The generation that was read"),
    ),
    responses(
        (status = 200, body = Envelope<ChangedVariable>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
        (status = 409, description = "Somebody changed the environment since", body = Failure),
    ),
)]
async fn put(
    State(state): State<ApiState>,
    IdAnd(id, key): IdAnd<EnvironmentId>,
    IfMatch(if_match): IfMatch,
    request: Mutation<VariableChange>,
) -> Result<Answer<ChangedVariable>, ApiError> {
    let present = state.catalog.variables(&request.actor, id).await?;
    let changes = request.body.check(&key, &present)?;
    let message = format!("set {}", shown(&key));
    let generation = state.catalog.change_variables(&request.actor, id, changes, if_match, message).await?.number;
    let variables = state.catalog.variables(&request.actor, id).await?;
    let variable = variables.into_iter().find(|variable| variable.key == key);
    let variable = variable.ok_or_else(|| ApiError::conflict("the variable was deleted at the same time"))?;
    Ok(ok(ChangedVariable { variable: variable.into(), generation }).at_generation(generation))
}

/// Delete a variable, or let in again an inherited one that was removed
#[utoipa::path(
    operation_id = "deleteVariable",
    delete, path = "/api/config/environments/{configId}/variables/{key}", tag = "variables",
    params(
        ("configId" = String, Path), ("key" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The generation that was read"),
    ),
    responses(
        (status = 200, body = Envelope<Generation>), (status = 404, body = Failure), (status = 409, body = Failure),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    IdAnd(id, key): IdAnd<EnvironmentId>,
    IfMatch(if_match): IfMatch,
    request: Mutation<NoBody>,
) -> Result<Answer<Generation>, ApiError> {
    let message = format!("delete {}", shown(&key));
    let changes = vec![outrigger_catalog::model::VariableChange::Delete { key: key.clone() }];
    let deleted = state.catalog.change_variables(&request.actor, id, changes, if_match, message).await;
    let generation = deleted.map_err(naming(&key))?;
    let number = generation.number;
    Ok(ok(Generation::from(generation)).at_generation(number))
}

/// Show a secret's value, as it is written or as programs get it; needs the role admin and is audited
#[utoipa::path(
    operation_id = "revealVariable",
    post, path = "/api/config/environments/{configId}/variables/{key}/reveal", tag = "variables",
    params(("configId" = String, Path), ("key" = String, Path)), request_body = Reveal,
    responses((status = 200, body = Envelope<Revealed>), (status = 403, body = Failure), (status = 404, body = Failure)),
)]
async fn reveal(
    State(state): State<ApiState>,
    IdAnd(id, key): IdAnd<EnvironmentId>,
    request: Mutation<Reveal>,
) -> Result<Answer<Revealed>, ApiError> {
    let revealed = if request.body.effective {
        state.catalog.reveal_effective(&request.actor, id, &key).await
    } else {
        state.catalog.reveal(&request.actor, id, &key).await
    };
    let value = revealed.map_err(naming(&key))?;
    Ok(ok(Revealed { key, value: value.expose().to_owned() }))
}

/// Says which variable it is that is not there.
fn naming(key: &str) -> impl FnOnce(CatalogError) -> ApiError {
    let name = shown(key);
    move |error| match error {
        CatalogError::NotFound { what: what @ "variable" } if !name.is_empty() => {
            ApiError::not_found(format_args!("{what} `{name}`"))
        }
        error => error.into(),
    }
}
