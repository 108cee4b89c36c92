//! `outrigger user …`

use serde_json::json;

use super::{output, prompt};
use crate::cli::Remote;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account for somebody else in your organisation; the password is asked for, or read from a pipe
    Add {
        /// E-mail address, with which they sign in
        email: String,
        /// viewer, developer, admin or owner
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// How they are called [default: their e-mail address]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
}

const USER: [output::Column; 4] = [("id", "/id"), ("email", "/email"), ("name", "/name"), ("role", "/role")];

pub(crate) async fn run(command: UserCommand) -> anyhow::Result<()> {
    let UserCommand::Add { email, role, name, remote } = command;
    let client = remote.client()?;
    let password = prompt::secret(&format!("Password for {email}: "))?;
    let body = json!({ "email": email, "password": password.expose(), "name": name, "role": role });
    output::item(remote.output, &client.post("/api/users", body).await?, &USER)
}
