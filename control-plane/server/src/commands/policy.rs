//! `outrigger policy …`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use outrigger_catalog::MAX_COMPONENT_BYTES;
use outrigger_policy_host::json::{input_from_json, proposal_to_json};
use outrigger_policy_host::{HostConfig, PolicyHost, compile_worker};
use serde_json::{Value, json};

use super::{id, output, resolve};
use crate::cli::Remote;
use crate::client::Body;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// List the policies that deployments can use
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Upload a component
    Upload {
        #[arg(value_name = "FILE.wasm")]
        component: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the JSON Schema of a policy's configuration
    Schema {
        /// Id or name
        policy: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a policy take part in a deployment's scaling
    Bind {
        /// Deployment, by id or name
        deployment: String,
        /// Policy, by id or name
        policy: String,
        /// Name of the binding; the policy's own by default
        #[arg(long)]
        name: Option<String>,
        /// JSON file with the policy's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// active, shadow or disabled
        #[arg(long, default_value = "active")]
        mode: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Ask a policy what it would propose; needs no control plane
    Eval(EvalArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// A built-in policy's name, or a component
    #[arg(long, value_name = "NAME|FILE.wasm")]
    policy: String,
    /// JSON file with the policy's configuration
    #[arg(long, value_name = "FILE")]
    policy_config: PathBuf,
    /// JSON file with the fields of the `input` record in camelCase
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Says on standard error what the evaluation took: fuel, time and memory, to be held against the limits
    #[arg(long)]
    stats: bool,
}

const POLICIES: [output::Column; 5] =
    [("id", "/id"), ("name", "/name"), ("version", "/version"), ("built in", "/builtin"), ("digest", "/digest")];
const DEPLOYMENT: [output::Column; 4] =
    [("id", "/id"), ("name", "/name"), ("status", "/status"), ("policies", "/policies")];

pub(crate) async fn run(command: PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::List { remote } => {
            let policies = remote.client()?.list("/api/policies").await?;
            output::list(remote.output, &policies, &POLICIES)
        }
        PolicyCommand::Upload { component, remote } => {
            let bytes = std::fs::read(&component).with_context(|| format!("cannot read {}", component.display()))?;
            let policy = remote.client()?.call(reqwest::Method::POST, "/api/policies", Body::Wasm(bytes)).await?;
            output::item(remote.output, &policy, &POLICIES)
        }
        PolicyCommand::Schema { policy, remote } => {
            let policy = resolve(&remote.client()?, "/api/policies", &policy, "policy").await?;
            output::json(&policy["configSchema"])
        }
        PolicyCommand::Bind { deployment, policy, name, config, mode, remote } => {
            let client = remote.client()?;
            let deployment = resolve(&client, "/api/deployments", &deployment, "deployment").await?;
            let policy = resolve(&client, "/api/policies", &policy, "policy").await?;
            let name = name.as_deref().or(policy["name"].as_str()).context("the policy has no name")?;
            let path = format!("/api/deployments/{}/policies/{name}", id(&deployment)?);
            let body = json!({ "policyId": id(&policy)?, "config": json_file(&config)?, "mode": mode });
            let answer = client.call(reqwest::Method::PUT, &path, Body::Json(body)).await?;
            output::item(remote.output, &answer, &DEPLOYMENT)
        }
        PolicyCommand::Eval(args) => eval(&args),
    }
}

fn json_file(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", path.display()))
}

/// Reads the component and the two files, evaluates once, prints the proposal.
fn eval(args: &EvalArgs) -> anyhow::Result<()> {
    let component = outrigger_builtin_policies::resolve(&args.policy, MAX_COMPONENT_BYTES)?;
    let host = PolicyHost::new(HostConfig::in_process()).context("cannot set up the policy host")?;
    let policy = host.load(&component).with_context(|| format!("cannot use the policy {}", args.policy))?;
    let config = json_file(&args.policy_config)?.to_string();
    host.validate(&policy, &config).with_context(|| format!("{}", args.policy_config.display()))?;
    let text = std::fs::read_to_string(&args.input).with_context(|| format!("cannot read {}", args.input.display()))?;
    let mut input = input_from_json(&text).with_context(|| format!("{}", args.input.display()))?;
    input.config = config;
    let evaluation = host.evaluate(&policy, &input);
    for line in &evaluation.log.lines {
        eprintln!("{}", line.message);
    }
    if args.stats {
        let milliseconds = evaluation.elapsed.as_secs_f64() * 1e3;
        let kibibytes = evaluation.peak_memory / 1024;
        eprintln!("{} units of fuel, {milliseconds:.3} ms, {kibibytes} KiB of memory", evaluation.fuel);
    }
    let proposal = evaluation.outcome.with_context(|| format!("the policy {} failed", args.policy))?;
    output::json(&proposal_to_json(&proposal))
}

/// The whole life of the process that compiles one policy for the control plane.
pub(crate) fn compile_from_stdin() -> ExitCode {
    ExitCode::from(compile_worker(std::io::stdin().lock(), std::io::stdout().lock(), std::io::stderr().lock()))
}
