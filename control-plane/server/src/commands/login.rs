//! `outrigger login` and `outrigger whoami`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use outrigger_secrets::SecretString;
use serde_json::json;

use super::credentials::{Credentials, save};
use super::{DEFAULT_URL, output};
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
            let password = prompt("Password: ")?;
            let body = json!({ "email": email, "password": password.expose() });
            let answer = Client::new(&args.url, None)?.post("/api/auth/login", body).await?;
            SecretString::from(answer["token"].as_str().context("the answer has no token")?.to_owned())
        }
        None => prompt("Token: ")?,
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

/// Reads one line, without an echo where a person types it.
fn prompt(text: &str) -> anyhow::Result<SecretString> {
    let stdin = std::io::stdin();
    let silent = stdin.is_terminal().then(|| Silence::start(text)).transpose()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read standard input")?;
    drop(silent);
    let line = line.trim_end_matches(['\n', '\r']).to_owned();
    anyhow::ensure!(!line.is_empty(), "nothing was typed");
    Ok(SecretString::from(line))
}

/// Turns the terminal's echo off, and on again when it is dropped.
struct Silence {
    before: rustix::termios::Termios,
}

impl Silence {
    fn start(text: &str) -> anyhow::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        eprint!("{text}");
        std::io::stderr().flush()?;
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // Failing here leaves a silent terminal, which `stty sane` mends; there is nobody to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
        eprintln!();
    }
}
