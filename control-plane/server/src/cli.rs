//! The command line, as data.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

use crate::commands::{audit, deployment, env, keys, login, logs, metrics, policy, project, rollout, template, user};
use crate::config::SettingFlags;
use crate::demo::DemoArgs;

/// Control plane of Outrigger: secrets, telemetry, scaling and configuration for sandboxes
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane
    Server(ServerArgs),
    /// Run everything on this machine, with load, for a look around
    Demo(DemoArgs),
    /// Sign in and keep the token for later commands
    Login(login::LoginArgs),
    /// Show who the token belongs to
    Whoami(Remote),
    /// Projects
    Project {
        #[command(subcommand)]
        command: project::ProjectCommand,
    },
    /// Environments and their variables
    Env {
        #[command(subcommand)]
        command: env::EnvCommand,
    },
    /// Ready-made sets of variables
    Template {
        #[command(subcommand)]
        command: template::TemplateCommand,
    },
    /// Deployments and their instances
    Deployment {
        #[command(subcommand)]
        command: deployment::DeploymentCommand,
    },
    /// The lines of a deployment's programs
    Logs(logs::LogsArgs),
    /// What a deployment's instances measured, over time
    Metrics(metrics::MetricsArgs),
    /// Configuration on its way to a deployment's instances
    Rollout {
        #[command(subcommand)]
        command: rollout::RolloutCommand,
    },
    /// Scaling policies
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// Accounts of your organisation
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// The audit log
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// The keys that secrets are sealed under; for the operator
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Compile a policy that stands on standard input; the control plane runs this in a process of its own
    #[command(hide = true)]
    CompilePolicy,
    /// The service that the demo deploys
    #[command(hide = true)]
    DemoService,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Settings file; without it `outrigger.yaml` of the working directory, if there is one
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Also read `outrigger.<NAME>.yaml` beside the settings file
    #[arg(long, value_name = "NAME", env = "OUTRIGGER_ENV")]
    pub(crate) env: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// How a command reaches the control plane and how it answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// Address of the admin API
    #[arg(long, value_name = "URL", env = "OUTRIGGER_URL", help_heading = "Connection")]
    pub(crate) url: Option<String>,
    /// Bearer token; better in the variable, where other users of the machine cannot see it
    #[arg(long, value_name = "TOKEN", env = "OUTRIGGER_TOKEN", hide_env_values = true, help_heading = "Connection")]
    pub(crate) token: Option<String>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Table, help_heading = "Connection")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[value(alias = "text")]
    Table,
    Json,
}
