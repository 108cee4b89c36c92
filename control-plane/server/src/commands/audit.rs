//! `outrigger audit …`

use anyhow::bail;

use super::{id, output, resolve, with_query};
use crate::cli::Remote;
use crate::client::Client;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// List who did what, newest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// At most this many entries
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write all entries to standard output as JSON lines, newest first
    Export {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        remote: Remote,
    },
    /// Verify that the audit log is what was written; exits with 1 when it is not
    Verify {
        /// A head that an earlier verification told and that was kept elsewhere: it has to be in the log, or the log is
        /// another one or an older copy
        #[arg(long, value_name = "HEAD")]
        expect: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which entries are meant: those that all of it holds for.
#[derive(Debug, clap::Args)]
pub(crate) struct Filters {
    /// Only what happened in this project: id or name
    #[arg(long)]
    project: Option<String>,
    /// Only what this one did: a user's id, `operator`, `system` or an agent's id
    #[arg(long)]
    actor: Option<String>,
    /// Only this: create, update, delete, reveal, export, import, rollback, approve, reject, override, reload, rotate,
    /// scale, rollout, login, enroll or failure
    #[arg(long)]
    action: Option<String>,
    /// Not before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Filters {
    async fn path(self, client: &Client) -> anyhow::Result<String> {
        let project = match self.project {
            Some(wanted) => Some(id(&resolve(client, "/api/projects", &wanted, "project").await?)?.to_owned()),
            None => None,
        };
        let filters = [
            ("projectId", project),
            ("actor", self.actor),
            ("action", self.action),
            ("from", self.from),
            ("to", self.to),
        ];
        let given = filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        Ok(with_query("/api/audit", given))
    }
}

const COLUMNS: [output::Column; 6] = [
    ("at", "/at"),
    ("actor", "/actor"),
    ("action", "/action"),
    ("target", "/target"),
    ("detail", "/detail"),
    ("address", "/address"),
];

const VERIFICATION: [output::Column; 5] = [
    ("valid", "/valid"),
    ("entries", "/entries"),
    ("before the chain", "/beforeChain"),
    ("head", "/head"),
    ("fault", "/fault/problem"),
];

pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { filters, limit, remote } => {
            let client = remote.client()?;
            let entries = client.list_up_to(&filters.path(&client).await?, limit).await?;
            output::list(remote.output, &entries, &COLUMNS)
        }
        AuditCommand::Export { filters, remote } => {
            let client = remote.client()?;
            client.print_lines(&filters.path(&client).await?).await
        }
        AuditCommand::Verify { expect, remote } => {
            let expected = expect.iter().map(|head| ("expect", head.as_str()));
            let found = remote.client()?.get(&with_query("/api/audit/verify", expected)).await?;
            output::item(remote.output, &found, &VERIFICATION)?;
            match found["fault"]["problem"].as_str() {
                Some(problem) => bail!("the audit log is not what was written: {problem}"),
                None => Ok(()),
            }
        }
    }
}
