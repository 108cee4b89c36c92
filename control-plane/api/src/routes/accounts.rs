//! `/api/auth`

use axum::extract::State;
use outrigger_catalog::NewAccount;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, created, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Anonymous, Mutation, NoParameters, Query};
use crate::shape::account::{Login, Me, NewUser, Registration, SignedIn, User};
use crate::state::ApiState;

pub(super) fn public_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(register)).routes(routes!(login))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(me)).routes(routes!(add))
}

/// Make an account, and an organisation that it owns
#[utoipa::path(
    operation_id = "registerAccount",
    post, path = "/api/auth/register", tag = "accounts", request_body = Registration, security(()),
    responses(
        (status = 201, body = Envelope<SignedIn>),
        (status = 400, body = Failure),
        (status = 409, description = "The e-mail address is taken", body = Failure),
    ),
)]
async fn register(
    State(state): State<ApiState>,
    request: Anonymous<Registration>,
) -> Result<Answer<SignedIn>, ApiError> {
    let Registration { email, password, name } = request.body;
    let (user, token) = state.catalog.register(NewAccount { email, password, name }, request.origin).await?;
    Ok(created(SignedIn { token: token.expose().to_owned(), user: user.into() }))
}

/// Exchange an e-mail address and a password for a token
#[utoipa::path(
    operation_id = "logIn",
    post, path = "/api/auth/login", tag = "accounts", request_body = Login, security(()),
    responses(
        (status = 200, body = Envelope<SignedIn>), (status = 400, body = Failure), (status = 401, body = Failure),
    ),
)]
async fn login(State(state): State<ApiState>, request: Anonymous<Login>) -> Result<Answer<SignedIn>, ApiError> {
    let Login { email, password } = request.body;
    let (user, token) = state.catalog.login(&email, &password, request.origin).await?;
    Ok(ok(SignedIn { token: token.expose().to_owned(), user: user.into() }))
}

/// Who the token belongs to
#[utoipa::path(
    operation_id = "showCaller",
    get, path = "/api/auth/me", tag = "accounts",
    responses((status = 200, body = Envelope<Me>), (status = 401, body = Failure)),
)]
async fn me(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    _: Query<NoParameters>,
) -> Result<Answer<Me>, ApiError> {
    let user = state.catalog.me(&actor).await?;
    Ok(ok(Me::new(&actor, user, state.agents_address.clone(), &state.ingest.ca_fingerprint())))
}

/// Make an account for somebody else in one's own organisation; needs the role owner
#[utoipa::path(
    operation_id = "addUser",
    post, path = "/api/users", tag = "accounts", request_body = NewUser,
    responses(
        (status = 201, body = Envelope<User>), (status = 400, body = Failure), (status = 401, body = Failure),
        (status = 403, body = Failure), (status = 409, description = "The e-mail address is taken", body = Failure),
    ),
)]
async fn add(State(state): State<ApiState>, request: Mutation<NewUser>) -> Result<Answer<User>, ApiError> {
    let (account, role) = request.body.check()?;
    Ok(created(state.catalog.add_user(&request.actor, account, role).await?.into()))
}
