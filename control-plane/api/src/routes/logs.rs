//! The lines of a deployment's programs: a page, a stream, a file.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use outrigger_logbook::{Direction, Followed, Follower, LogBook, LogFilter, LogLine, LogPage, LogQuery, ReadError};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::SecretString;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, bearer};
use crate::envelope::{Envelope, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Query};
use crate::shape::log::{How, Line, LogParameters, LogsAsked, write_plain};
use crate::state::ApiState;
use crate::text::write_time;

/// A silent stream says so often that it is there: most proxies close one that is silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream looks whether its caller may still read it.
const RECHECK: Duration = Duration::from_secs(10);
/// Lines of one piece of a file.
const FILE_LINES: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(logs))
}

/// The lines of a deployment's programs
///
/// A page as JSON, newest first; with `follow=true` a stream of server-sent events, whose ids are the lines' numbers; with
/// `download=true` a text file. A search that has to look at very much ends its page early: then there is a `next` with
/// few lines or none, and `page.searchedTo` says how far it got.
#[utoipa::path(
    operation_id = "readLogs",
    get, path = "/api/deployments/{id}/logs", tag = "instances",
    params(
        ("id" = String, Path), LogParameters,
        ("Last-Event-ID" = Option<u64>, Header, description = "Go on after this line, when following"),
    ),
    responses(
        (status = 200, body = Envelope<Vec<Line>>),
        (status = 400, body = Failure), (status = 404, body = Failure),
    ),
)]
async fn logs(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    headers: HeaderMap,
    Query(parameters): Query<LogParameters>,
) -> Result<Response, ApiError> {
    state.catalog.deployment(&actor, id).await?;
    let LogsAsked { filter, how } = parameters.check(last_event(&headers)?, UnixMillis::now())?;
    match how {
        How::Page { limit, after, ascending } => {
            let direction = if ascending { Direction::Forward } else { Direction::Backward };
            let query = LogQuery { deployment: id, filter, after, limit, direction };
            let LogPage { lines, next, searched_to } = state.logs.read(&query).await?;
            let lines: Vec<Line> = lines.iter().map(|line| Line::from(line.as_ref())).collect();
            let searched_to = searched_to.filter(|_| next.is_some()).map(write_time);
            Ok(paged(lines, next.map(|next| next.to_string())).searched_to(searched_to).into_response())
        }
        How::Follow { after, past } => follow(state, bearer(&headers)?, id, filter, after, past).await,
        How::Download => Ok(download(state.logs, id, filter)),
    }
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // What a client has before its first event.
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ApiError::malformed("Last-Event-ID has to be the id of an event of this stream"))
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::internal(&error)
    }
}

/// A file, read as fast as the client takes it. An error in the middle breaks the connection off, so that a part is not
/// taken for the whole.
fn download(book: LogBook, deployment: DeploymentId, filter: LogFilter) -> Response {
    let query = LogQuery { deployment, filter, after: None, limit: FILE_LINES, direction: Direction::Forward };
    let pieces = stream::try_unfold(Some(query), move |query| {
        let book = book.clone();
        async move {
            let Some(query) = query else { return Ok(None) };
            let page = book.read(&query).await?;
            let mut text = String::new();
            page.lines.iter().for_each(|line| write_plain(&mut text, line));
            let next = page.next.map(|next| LogQuery { after: Some(next), ..query });
            Ok::<_, ReadError>(Some((Bytes::from(text), next)))
        }
    });
    let name = format!("attachment; filename=\"deployment-{deployment}-logs.txt\"");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).expect("an id is letters and digits")),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// The lines as they come.
async fn follow(
    state: ApiState,
    token: &str,
    deployment: DeploymentId,
    filter: LogFilter,
    after: Option<u64>,
    past: usize,
) -> Result<Response, ApiError> {
    // From a time on means from the first line on that is not older, unless a number of lines is asked for.
    let after = after.or_else(|| (past == 0 && filter.from.is_some()).then_some(0));
    // Before its past is read, so that no line falls in between.
    let follower = state.logs.follow(deployment, filter.clone(), after).without_gaps();
    let mut first = String::from("retry: 1000\n\n");
    if after.is_none() && past > 0 {
        let before = Some(follower.position().saturating_add(1));
        let mut query = LogQuery { deployment, filter, after: before, limit: past, direction: Direction::Backward };
        let mut lines: Vec<Arc<LogLine>> = Vec::new();
        while lines.len() < past {
            query.limit = past - lines.len();
            let page = state.logs.read(&query).await?;
            lines.extend(page.lines);
            if page.next.is_none() {
                break;
            }
            query.after = page.next;
        }
        lines.iter().rev().for_each(|line| write_event(&mut first, line));
    }
    let beat = |every| {
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat
    };
    let token = SecretString::from(token.to_owned());
    let watcher = Watcher { state, token, follower, heartbeat: beat(HEARTBEAT), recheck: beat(RECHECK) };
    let events = stream::unfold((Some(watcher), Some(first)), |(watcher, first)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(Bytes::from(first)), (watcher, None)));
        }
        let mut watcher = watcher?;
        let (text, goes_on) = watcher.next().await;
        Some((Ok(Bytes::from(text)), (goes_on.then_some(watcher), None)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // For a proxy in front: nothing of this is to be kept back.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// Somebody who follows, for as long as they may.
struct Watcher {
    state: ApiState,
    token: SecretString,
    follower: Follower,
    heartbeat: tokio::time::Interval,
    recheck: tokio::time::Interval,
}

impl Watcher {
    /// The next piece of the stream, and whether another one comes after it.
    async fn next(&mut self) -> (String, bool) {
        let mut text = String::new();
        loop {
            tokio::select! {
                // A stream that is never silent is looked at all the same.
                biased;
                _ = self.recheck.tick() => {
                    if let Err(why) = self.may_read().await {
                        return (ending(why), false);
                    }
                }
                followed = self.follower.next() => match followed {
                    Ok(Some(Followed::Lines(lines))) => {
                        lines.iter().for_each(|line| write_event(&mut text, line));
                        self.heartbeat.reset();
                        return (text, true);
                    }
                    // It follows without gaps.
                    Ok(Some(Followed::Lagged(_))) => {}
                    Ok(None) => {
                        let why = if self.may_read().await.is_ok() { "closing" } else { "deleted" };
                        return (ending(why), false);
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a stream of log lines broke off");
                        return (ending("failed"), false);
                    }
                },
                _ = self.heartbeat.tick() => return (":\n\n".to_owned(), true),
            }
        }
    }

    /// Whether the token is still good, and the deployment still there to be read by its bearer; or else why not.
    async fn may_read(&self) -> Result<(), &'static str> {
        let catalog = &self.state.catalog;
        let actor = catalog.authenticate(self.token.expose()).await.map_err(|_| "unauthorized")?;
        match catalog.deployment(&actor, self.follower.deployment()).await {
            Ok(deployment) if deployment.status != outrigger_catalog::model::DeploymentStatus::Destroyed => Ok(()),
            _ => Err("deleted"),
        }
    }
}

fn write_event(out: &mut String, line: &Arc<LogLine>) {
    use std::fmt::Write as _;
    let data = serde_json::to_string(&Line::from(line.as_ref())).expect("a line is texts and numbers");
    // JSON has no line breaks of its own. Writing into a string cannot fail.
    let _ = write!(out, "id: {}\ndata: {data}\n\n", line.number);
}

/// The last event, which says why there is no more.
fn ending(why: &str) -> String {
    format!("event: end\ndata: {{\"reason\":\"{why}\"}}\n\n")
}
