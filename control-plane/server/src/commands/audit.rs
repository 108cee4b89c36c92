//! `outrigger audit …`

use anyhow::bail;

use super::{id, output, resolve, with_query};
use crate::cli::Remote;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// List who did what, newest first
    List {
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
        /// At most this many entries
        #[arg(long, default_value_t = 50)]
        limit: usize,
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
        AuditCommand::List { project, actor, action, from, to, limit, remote } => {
            let client = remote.client()?;
            let project = match project {
                Some(wanted) => Some(id(&resolve(&client, "/api/projects", &wanted, "project").await?)?.to_owned()),
                None => None,
            };
            let filters = [("projectId", project), ("actor", actor), ("action", action), ("from", from), ("to", to)];
            let given = filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            let entries = client.list_up_to(&with_query("/api/audit", given), limit).await?;
            output::list(remote.output, &entries, &COLUMNS)
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
