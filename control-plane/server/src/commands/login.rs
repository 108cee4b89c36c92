//! `outrigger login` and `outrigger whoami`.

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use serde_json::json;

use super::credentials::{Credentials, save};
use super::{DEFAULT_URL, output, prompt};
use crate::cli::Remote;
use crate::client::Client;
use crate::console;

#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Address of the admin API
    #[arg(long, value_name = "URL", env = "OUTRIGGER_URL", default_value = DEFAULT_URL)]
    url: String,
    /// E-mail address; the password is read from standard input. Without it a token is read instead
    #[arg(long, value_name = "EMAIL")]
    email: Option<String>,
}

pub(crate) async fn login(args: LoginArgs) -> anyhow::Result<()> {
    let token = match &args.email {
        Some(email) => {
            let password = prompt::secret("Password: ")?;
            let body = json!({ "email": email, "password": password.expose() });
            let answer = Client::new(&args.url, None)?.post("/api/auth/login", body).await?;
            SecretString::from(answer["token"].as_str().context("the answer has no token")?.to_owned())
        }
        None => prompt::secret("Token: ")?,
    };
    let me = Client::new(&args.url, Some(token.clone()))?.get("/api/auth/me").await?;
    let path = save(&Credentials { url: args.url.trim_end_matches('/').to_owned(), token })?;
    let who = me["email"].as_str().or(me["subject"].as_str()).unwrap_or("unknown");
    console::line(format_args!("signed in to {} as {who}; the token is kept in {}", args.url, path.display()))?;
    Ok(())
}

pub(crate) async fn whoami(remote: Remote) -> anyhow::Result<()> {
    let me = remote.client()?.get("/api/auth/me").await?;
    let fields = [
        ("subject", "/subject"),
        ("email", "/email"),
        ("name", "/name"),
        ("role", "/role"),
        ("organisation", "/organizationId"),
        ("agents connect to", "/agentsAddress"),
        ("CA fingerprint", "/caFingerprint"),
    ];
    output::item(remote.output, &me, &fields)
}
