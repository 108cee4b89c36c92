//! `outrigger logs`

mod events;
mod show;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::timeout;

use self::events::{Event, Events};
use self::show::Look;
use super::{id, resolve, with_query};
use crate::cli::{Output, Remote};
use crate::client::{Client, ClientError};
use crate::console;

/// The control plane says something every 15 s; a stream that is silent for so long is not one any more.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two attempts to get the stream back: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Lines that are asked for at a time.
const AT_ONCE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Id or name of a deployment
    deployment: String,
    /// Go on showing lines as they come
    #[arg(short, long)]
    follow: bool,
    /// Not before: a time such as 2026-01-31T12:00:00Z, or how long ago, such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before: as `--since`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only lines of this level or a higher one: trace, debug, info, warn, error
    #[arg(long)]
    level: Option<String>,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Only of this instance; may be given several times
    #[arg(long, value_name = "ID")]
    instance: Vec<String>,
    /// How many lines, the newest; 100 unless `--since` says from when on
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    #[command(flatten)]
    remote: Remote,
}

impl LogsArgs {
    /// The parameters that say which lines are wanted.
    fn filters(&self) -> Vec<(&'static str, String)> {
        let given =
            [("since", &self.since), ("until", &self.until), ("level", &self.level), ("contains", &self.contains)];
        let mut filters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        if !self.instance.is_empty() {
            filters.push(("instance", self.instance.join(",")));
        }
        filters
    }

    /// How many of the newest; `None` for all that there are.
    fn wanted(&self) -> Option<usize> {
        const USUAL: usize = 100;
        self.tail.or(if self.since.is_none() { Some(USUAL) } else { None })
    }
}

pub(crate) async fn run(args: LogsArgs) -> anyhow::Result<()> {
    let client = args.remote.client()?;
    let deployment = resolve(&client, "/api/deployments", &args.deployment, "deployment").await?;
    let path = format!("/api/deployments/{}/logs", id(&deployment)?);
    let look = match args.remote.output {
        Output::Json => Look::Json,
        Output::Table => Look::text(std::io::stdout().is_terminal()),
    };
    if args.follow { follow(&client, &path, &args, look).await } else { list(&client, &path, &args, look).await }
}

fn query(path: &str, filters: &[(&'static str, String)], more: &[(&'static str, String)]) -> String {
    with_query(path, filters.iter().chain(more).map(|(name, value)| (*name, value.as_str())))
}

/// What is kept. The newest lines have to be had first to know which they are; all of them come oldest first.
async fn list(client: &Client, path: &str, args: &LogsArgs, look: Look) -> anyhow::Result<()> {
    let filters = args.filters();
    let Some(wanted) = args.wanted() else {
        let mut cursor: Option<String> = None;
        loop {
            let page = page(client, path, &filters, "asc", AT_ONCE, cursor.as_deref()).await?;
            page.0.iter().try_for_each(|line| look.show(line))?;
            cursor = page.1;
            if cursor.is_none() {
                return Ok(());
            }
        }
    };
    let mut newest: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    while newest.len() < wanted {
        let limit = (wanted - newest.len()).min(AT_ONCE);
        let (lines, next) = page(client, path, &filters, "desc", limit, cursor.as_deref()).await?;
        newest.extend(lines);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    newest.iter().rev().try_for_each(|line| look.show(line))
}

async fn page(
    client: &Client,
    path: &str,
    filters: &[(&'static str, String)],
    order: &str,
    limit: usize,
    cursor: Option<&str>,
) -> Result<(Vec<Value>, Option<String>), ClientError> {
    let mut more = vec![("order", order.to_owned()), ("limit", limit.to_string())];
    more.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
    client.page(&query(path, filters, &more)).await
}

/// What comes, for as long as somebody reads it. A stream that breaks off is taken up where it was.
async fn follow(client: &Client, path: &str, args: &LogsArgs, look: Look) -> anyhow::Result<()> {
    let mut more = vec![("follow", "true".to_owned())];
    more.extend(args.wanted().map(|wanted| ("limit", wanted.min(AT_ONCE).to_string())));
    let path = query(path, &args.filters(), &more);
    let mut last: Option<String> = None;
    let mut pause = RETRY.0;
    let mut was_there = false;
    loop {
        match client.stream(&path, last.as_deref()).await {
            Ok(response) => {
                (was_there, pause) = (true, RETRY.0);
                let mut events = Events::new(response);
                while let Ok(Ok(Some(event))) = timeout(SILENCE, events.next()).await {
                    match event {
                        Event::Line { id, data } => {
                            last = Some(id);
                            look.show(
                                &serde_json::from_str(&data)
                                    .context("the control plane sent a line that is no JSON")?,
                            )?;
                        }
                        Event::End(reason) => match reason.as_str() {
                            "deleted" => return Ok(()),
                            "unauthorized" => bail!("the token is not valid any more"),
                            // It restarts, or could not read for a moment.
                            _ => break,
                        },
                    }
                }
            }
            Err(error) if !was_there || !is_passing(&error) => return Err(error.into()),
            Err(_) => {}
        }
        // What ends this wait is a signal, or that nobody reads.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// Whether another attempt may do better.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { status, .. } | ClientError::Foreign { status, .. } => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        ClientError::Url { .. } => false,
    }
}

impl Look {
    fn show(self, line: &Value) -> anyhow::Result<()> {
        console::line(format_args!("{}", self.write(line)))?;
        Ok(())
    }
}
