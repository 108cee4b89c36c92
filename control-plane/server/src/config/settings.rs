//! The registry of settings: one row each, from which YAML keys, variables, flags and help are derived.

/// A setting, as an index into [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    DataDir,
    HttpListen,
    HttpMaxConnections,
    HttpHeaderTimeout,
    AgentsListen,
    AgentsAdvertise,
    AgentsServerName,
    AgentsCertificateLifetime,
    MasterKeyFile,
    MasterKey,
    MasterKeyCommand,
    MasterKeyCommandTimeout,
    NextMasterKeyFile,
    NextMasterKey,
    NextMasterKeyCommand,
    ProcessAgentBinary,
    LogLevel,
    LogFormat,
    MetricsAccess,
    MetricsTokenFile,
    Export,
    LogsKeepMib,
    LogsKeepFor,
    HistoryKeepSeconds,
    HistoryKeepTenSeconds,
    HistoryKeepMinutes,
    HistoryKeepFiveMinutes,
    DrainTimeout,
    StoreCacheMib,
}

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: Item,
    /// The dotted name in YAML.
    pub(crate) name: &'static str,
    pub(crate) default: Option<&'static str>,
    /// Completes "which is not …" in an error and stands in the help.
    pub(crate) expected: &'static str,
    pub(crate) help: &'static str,
    /// Never repeated in an error or a log.
    pub(crate) secret: bool,
}

const fn row(
    key: Item,
    name: &'static str,
    default: Option<&'static str>,
    expected: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, name, default, expected, help, secret: false }
}

pub(crate) const SETTINGS: &[Setting] = &[
    row(
        Item::DataDir,
        "data_dir",
        Some("outrigger-data"),
        "a directory",
        "Where the database, the generated keys and the instances' directories live",
    ),
    row(
        Item::HttpListen,
        "http.listen",
        Some("127.0.0.1:7700"),
        "an address like 127.0.0.1:7700",
        "Address of the admin API; port 0 takes a free one",
    ),
    row(
        Item::HttpMaxConnections,
        "http.max_connections",
        Some("2048"),
        "a whole number from 1 to 100000",
        "Connections to the admin API at a time, live streams among them; more wait until one ends",
    ),
    row(
        Item::HttpHeaderTimeout,
        "http.header_timeout",
        Some("30s"),
        "a duration of 1s or more, like 30s",
        "How long a connection may be silent or take for the head of a request",
    ),
    row(
        Item::AgentsListen,
        "agents.listen",
        Some("127.0.0.1:7701"),
        "an address like 127.0.0.1:7701",
        "UDP address that agents connect to; port 0 takes a free one",
    ),
    row(
        Item::AgentsAdvertise,
        "agents.advertise",
        None,
        "an address like 10.0.0.5:7701",
        "Address that drivers hand to new instances; by default the bound one",
    ),
    row(
        Item::AgentsServerName,
        "agents.server_name",
        Some("outrigger"),
        "a DNS name",
        "Name in the server certificate, which agents verify",
    ),
    row(
        Item::AgentsCertificateLifetime,
        "agents.certificate_lifetime",
        Some("24h"),
        "a duration of 10m or more, like 24h: agents renew before the end, and need time for it",
        "How long an agent's certificate lives, 10m at least; agents renew at 70 to 90 % of it",
    ),
    row(
        Item::MasterKeyFile,
        "master_key_file",
        None,
        "a file",
        "File with the master key: 32 bytes as base64 or hexadecimal; by default <data_dir>/master.key, made at the first start",
    ),
    Setting {
        key: Item::MasterKey,
        name: "master_key",
        default: None,
        expected: "32 bytes as base64 or hexadecimal",
        help: "The master key itself, taken when there is no master_key_file; better in the variable than on a command line",
        secret: true,
    },
    row(
        Item::MasterKeyCommand,
        "master_key_command",
        None,
        r#"a list of a program and its arguments, like ["vault", "kv", "get", "-field=key", "secret/outrigger"]"#,
        "Program that prints the master key, with its arguments, run without a shell when neither the file nor master_key is there",
    ),
    row(
        Item::MasterKeyCommandTimeout,
        "master_key_command_timeout",
        Some("30s"),
        "a duration of 1s or more, like 30s",
        "How long master_key_command and next_master_key_command may take",
    ),
    row(
        Item::NextMasterKeyFile,
        "next_master_key_file",
        None,
        "a file",
        "File with the master key that is to take over when the keys are rotated; by default <data_dir>/next-master.key",
    ),
    Setting {
        key: Item::NextMasterKey,
        name: "next_master_key",
        default: None,
        expected: "32 bytes as base64 or hexadecimal",
        help: "The next master key itself, taken when there is no next_master_key_file",
        secret: true,
    },
    row(
        Item::NextMasterKeyCommand,
        "next_master_key_command",
        None,
        r#"a list of a program and its arguments, like ["vault", "kv", "get", "-field=next", "secret/outrigger"]"#,
        "Program that prints the next master key, run when neither the file nor next_master_key is there",
    ),
    row(
        Item::ProcessAgentBinary,
        "process.agent_binary",
        None,
        "a file",
        "The outrigger-agent that the process driver starts; by default the one beside this program, else the one on PATH",
    ),
    row(
        Item::LogLevel,
        "log.level",
        Some("info"),
        "a level (error, warn, info, debug, trace) or a list of target=level",
        "How much the control plane says about itself",
    ),
    row(Item::LogFormat, "log.format", Some("text"), "text or json", "How log lines look; json is an object a line"),
    row(
        Item::MetricsAccess,
        "metrics.access",
        Some("loopback"),
        "loopback, token or open",
        "Who may read /metrics without a token: whoever asks from this machine, nobody, or everybody",
    ),
    row(
        Item::MetricsTokenFile,
        "metrics.token_file",
        None,
        "a file",
        "File with a bearer token that reads /metrics and nothing else, for Prometheus",
    ),
    Setting {
        key: Item::Export,
        name: "export",
        default: None,
        expected: "a list of destinations, in a variable or a flag as a JSON array",
        help: "Where the deployments' metrics and logs go on to: a list of destinations, as docs/telemetry.md says; by default nowhere",
        // Headers of a destination may be.
        secret: true,
    },
    row(
        Item::LogsKeepMib,
        "logs.keep_mib",
        Some("64"),
        "a number of MiB from 1 to 65536",
        "Compressed log lines that each deployment keeps, in MiB; beyond them the oldest go",
    ),
    row(
        Item::LogsKeepFor,
        "logs.keep_for",
        Some("7d"),
        "a duration of 1m or more, like 7d",
        "How long the log lines of deployments are kept",
    ),
    row(
        Item::HistoryKeepSeconds,
        "history.keep_1s",
        Some("2h"),
        "a duration of 1h to 3660d, like 2h",
        "How long metrics are kept by the second",
    ),
    row(
        Item::HistoryKeepTenSeconds,
        "history.keep_10s",
        Some("24h"),
        "a duration like 24h, no shorter than history.keep_1s, at most 3660d",
        "How long metrics are kept by ten seconds",
    ),
    row(
        Item::HistoryKeepMinutes,
        "history.keep_1m",
        Some("7d"),
        "a duration like 7d, no shorter than history.keep_10s, at most 3660d",
        "How long metrics are kept by the minute",
    ),
    row(
        Item::HistoryKeepFiveMinutes,
        "history.keep_5m",
        Some("90d"),
        "a duration like 90d, no shorter than history.keep_1m, at most 3660d",
        "How long metrics are kept by five minutes, and so at all",
    ),
    row(
        Item::DrainTimeout,
        "drain_timeout",
        Some("20s"),
        "a duration like 90s, 5m or 24h",
        "How long running work may take after TERM or ctrl-c",
    ),
    row(
        Item::StoreCacheMib,
        "store.cache_mib",
        Some("64"),
        "a number of MiB from 1 to 65536",
        "Memory for the database's page cache, in MiB",
    ),
];

impl Setting {
    /// `OUTRIGGER_HTTP_LISTEN`
    pub(crate) fn variable(&self) -> String {
        format!("OUTRIGGER_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// `http-listen`
    pub(crate) fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }
}

impl Item {
    pub(crate) fn setting(self) -> &'static Setting {
        SETTINGS.iter().find(|s| s.key == self).expect("every key has a row, which a test asserts")
    }
}
