//! How much the agent says about itself, and how that looks.

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

#[derive(Debug, Args)]
pub(crate) struct LoggingArgs {
    /// How much the agent itself says on stderr: off, error, warn, info, debug or trace, or a list of levels and
    /// target=level, such as warn,outrigger_agent::session=debug.
    #[arg(long, value_name = "LEVEL", env = "OUTRIGGER_LOG_LEVEL", default_value = "warn")]
    #[arg(value_parser = parse_filter, help_heading = "Observation")]
    log_level: Targets,

    /// How the agent's own lines on stderr look. `json` is an object a line. What the program writes stays as it is.
    #[arg(long, value_name = "FORM", value_enum, env = "OUTRIGGER_LOG_FORMAT", default_value_t = LogFormat::Text)]
    #[arg(help_heading = "Observation")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// What the agent says about itself.
#[derive(Debug, Clone)]
pub struct Logging {
    pub filter: Targets,
    pub format: LogFormat,
}

impl From<LoggingArgs> for Logging {
    fn from(args: LoggingArgs) -> Self {
        Self { filter: args.log_level, format: args.log_format }
    }
}

fn parse_filter(text: &str) -> Result<Targets, String> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    // A word alone would be taken for a target, of which then everything is logged: a mistyped level would be loud.
    if let Some(word) = text.split(',').map(str::trim).find(|word| !word.contains('=') && !is_level(word)) {
        return Err(format!("`{word}` is no level: expected off, error, warn, info, debug or trace, or target=level"));
    }
    text.parse().map_err(|error| format!("{error}: expected a level, or a list of target=level"))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list_with_targets() {
        let filter = parse_filter("warn,outrigger_agent::session=debug").unwrap();
        assert!(filter.would_enable("outrigger_agent::session", &Level::DEBUG));
        assert!(!filter.would_enable("outrigger_agent", &Level::INFO));
        assert!(parse_filter("DEBUG").unwrap().would_enable("anything", &Level::DEBUG));
        assert!(!parse_filter("off").unwrap().would_enable("anything", &Level::ERROR));
    }

    #[test]
    fn what_is_no_level_is_refused_by_name() {
        for (text, word) in [("wran", "wran"), ("warn,session", "session"), ("a=loud", "level"), ("", "``")] {
            let error = parse_filter(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
