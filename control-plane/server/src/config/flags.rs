//! One flag for each setting, made from the registry.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::settings::{SETTINGS, Setting};

/// The settings that were given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags {
    values: Vec<(usize, String)>,
}

impl SettingFlags {
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static Setting, &str)> {
        self.values.iter().map(|(index, value)| (&SETTINGS[*index], value.as_str()))
    }

    /// Flags from code, for a command that fixes some settings of the server it starts.
    pub(crate) fn with(mut self, flag: &str, value: String) -> Self {
        let index = SETTINGS.iter().position(|s| s.flag() == flag).expect("the caller names a flag of the registry");
        self.values.push((index, value));
        self
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(index, setting): (usize, &Setting)| {
            matches.get_one::<String>(&setting.flag()).map(|value| (index, value.clone()))
        };
        Ok(Self { values: SETTINGS.iter().enumerate().filter_map(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| {
            let default = setting.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
            command.arg(
                Arg::new(setting.flag())
                    .long(setting.flag())
                    .value_name("VALUE")
                    .help_heading("Settings")
                    .help(format!("{} [YAML: {}] [env: {}]{default}", setting.help, setting.name, setting.variable())),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
