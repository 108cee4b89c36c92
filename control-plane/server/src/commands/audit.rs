//! `outrigger audit …`

use anyhow::bail;
use reqwest::Url;

use super::{id, output, resolve};
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
        /// Only this: create, update, delete, reveal, export, import, rollback, reload, rotate, scale, login, enroll or failure
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

/// The list, with filters that may hold anything.
fn path<'a>(filters: impl Iterator<Item = (&'a str, &'a str)>) -> anyhow::Result<String> {
    let mut url = Url::parse("http://control-plane/api/audit")?;
    url.query_pairs_mut().extend_pairs(filters);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

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
            let entries = client.list_up_to(&path(given)?, limit).await?;
            output::list(remote.output, &entries, &COLUMNS)
        }
        AuditCommand::Verify { remote } => {
            let found = remote.client()?.get("/api/audit/verify").await?;
            output::item(remote.output, &found, &VERIFICATION)?;
            match found["fault"]["problem"].as_str() {
                Some(problem) => bail!("the audit log is not what was written: {problem}"),
                None => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_cannot_become_another_parameter() {
        assert_eq!(path([].into_iter()).unwrap(), "/api/audit?");
        let filters = [("actor", "a&action=x y"), ("to", "2026-01-01T00:00:00+01:00")];
        let expected = "/api/audit?actor=a%26action%3Dx+y&to=2026-01-01T00%3A00%3A00%2B01%3A00";
        assert_eq!(path(filters.into_iter()).unwrap(), expected);
    }
}
