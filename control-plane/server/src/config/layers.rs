//! Collects what each layer says, with where it was said.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use super::ConfigError;
use super::flags::SettingFlags;
use super::nearest::nearest;
use super::settings::{Item, SETTINGS, Setting};

/// Names with our prefix that are not settings of the server.
const OTHER_VARIABLES: &[&str] = &["OUTRIGGER_URL", "OUTRIGGER_TOKEN", "OUTRIGGER_ENV", "OUTRIGGER_CONFIG"];

/// A settings file is a page of text; more than this is not one.
const FILE_BYTES: u64 = 1024 * 1024;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Layered {
    value: Value,
    origin: Origin,
}

/// The strongest value of each setting.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    values: BTreeMap<Item, Layered>,
}

/// What [`Layers::load`] reads besides the defaults.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// A file that has to exist; otherwise `outrigger.yaml` of the working directory is read if it is there.
    pub(crate) config: Option<&'a Path>,
    /// Names `outrigger.<env>.yaml`.
    pub(crate) env: Option<&'a str>,
    pub(crate) variables: &'a [(String, String)],
    pub(crate) flags: &'a SettingFlags,
}

impl Layers {
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                layers.set(setting, Value::String(default.to_owned()), Origin::Default);
            }
        }
        let base = sources.config.unwrap_or(Path::new("outrigger.yaml"));
        layers.add_file(base, sources.config.is_some())?;
        if let Some(env) = sources.env {
            layers.add_file(&base.with_file_name(format!("outrigger.{env}.yaml")), false)?;
        }
        layers.add_variables(sources.variables)?;
        for (setting, value) in sources.flags.values() {
            layers.set(setting, Value::String(value.to_owned()), Origin::Flag(setting.flag()));
        }
        Ok(layers)
    }

    fn set(&mut self, setting: &Setting, value: Value, origin: Origin) {
        self.values.insert(setting.key, Layered { value, origin });
    }

    fn add_file(&mut self, path: &Path, required: bool) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(()),
            Err(error) => return Err(read(error)),
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        let yaml = |problem: String| ConfigError::Yaml { path: path.to_owned(), problem };
        let tree: Value = serde_saphyr::from_str(&text).map_err(|error| yaml(error.to_string()))?;
        match tree {
            Value::Null => Ok(()),
            Value::Object(map) => {
                let origin = Origin::File(path.to_owned());
                map.into_iter().try_for_each(|(key, value)| self.add_yaml(key, value, &origin))
            }
            _ => Err(yaml("the top level has to be a mapping of settings".to_owned())),
        }
    }

    /// `http: {listen: …}` and `http.listen: …` are the same.
    fn add_yaml(&mut self, name: String, value: Value, origin: &Origin) -> Result<(), ConfigError> {
        if let Some(setting) = SETTINGS.iter().find(|s| s.name == name) {
            if !value.is_null() {
                self.set(setting, value, origin.clone());
            }
            return Ok(());
        }
        let prefix = format!("{name}.");
        match value {
            Value::Object(map) if SETTINGS.iter().any(|s| s.name.starts_with(&prefix)) => {
                map.into_iter().try_for_each(|(key, value)| self.add_yaml(format!("{prefix}{key}"), value, origin))
            }
            _ => {
                let sections = SETTINGS.iter().filter_map(|s| s.name.rsplit_once('.')).map(|(section, _)| section);
                Err(ConfigError::Unknown {
                    origin: origin.clone(),
                    nearest: nearest(&name, SETTINGS.iter().map(|s| s.name).chain(sections)),
                    key: name,
                })
            }
        }
    }

    /// A variable that is nearly the name of a setting is refused. One that is nothing like any is left alone:
    /// orchestrators put variables of their own under a service's name (`OUTRIGGER_SERVICE_HOST`).
    fn add_variables(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        let names: Vec<(String, &'static Setting)> = SETTINGS.iter().map(|s| (s.variable(), s)).collect();
        for (name, value) in variables.iter().filter(|(name, _)| name.starts_with("OUTRIGGER_")) {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            if let Some((_, setting)) = names.iter().find(|(known, _)| known == name) {
                self.set(setting, Value::String(value.clone()), Origin::Variable(name.clone()));
            } else if let Some(near) = nearest(name, names.iter().map(|(known, _)| known.as_str())) {
                let setting = names.iter().find(|(known, _)| known == near).map(|(_, setting)| setting.name);
                return Err(ConfigError::Unknown {
                    origin: Origin::Variable(name.clone()),
                    key: name.clone(),
                    nearest: setting,
                });
            }
        }
        Ok(())
    }

    pub(super) fn parse<T: FromStr>(&self, key: Item) -> Result<T, ConfigError> {
        self.parse_with(key, |text| text.parse().ok())
    }

    pub(super) fn parse_optional<T: FromStr>(&self, key: Item) -> Result<Option<T>, ConfigError> {
        self.values.contains_key(&key).then(|| self.parse(key)).transpose()
    }

    /// A list of texts: as such in YAML, as a JSON array in a variable or a flag. The first is never empty.
    pub(super) fn list_optional(&self, key: Item) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(Layered { value, origin }) = self.values.get(&key) else { return Ok(None) };
        let list = match value {
            Value::String(text) => serde_json::from_str(text).ok(),
            other => serde_json::from_value(other.clone()).ok(),
        };
        let usable = list.filter(|list: &Vec<String>| list.first().is_some_and(|first| !first.is_empty()));
        usable.map(Some).ok_or_else(|| ConfigError::Invalid {
            origin: origin.clone(),
            key: key.setting().name,
            value: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            expected: key.setting().expected,
        })
    }

    /// A setting with an inner structure, and where it was written: as such in YAML, as JSON in a variable or a flag.
    pub(super) fn structure_optional(&self, key: Item) -> Result<Option<(Value, Origin)>, ConfigError> {
        let Some(Layered { value, origin }) = self.values.get(&key) else { return Ok(None) };
        let structure = match value {
            Value::String(text) => serde_json::from_str(text).ok(),
            other => Some(other.clone()),
        };
        // Not a word of it: it may hold a secret, and nobody can tell where.
        let invalid = || ConfigError::Invalid {
            origin: origin.clone(),
            key: key.setting().name,
            value: "(hidden)".to_owned(),
            expected: key.setting().expected,
        };
        Ok(Some((structure.ok_or_else(invalid)?, origin.clone())))
    }

    pub(super) fn parse_with<T>(&self, key: Item, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        let setting = key.setting();
        let layered = self.values.get(&key).expect("settings without a default are asked for by parse_optional");
        let text = match &layered.value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(ConfigError::NotScalar {
                    origin: layered.origin.clone(),
                    key: setting.name,
                    expected: setting.expected,
                });
            }
        };
        parse(&text).filter(|_| !text.is_empty()).ok_or_else(|| ConfigError::Invalid {
            origin: layered.origin.clone(),
            key: setting.name,
            value: if setting.secret { "(hidden)".to_owned() } else { text },
            expected: setting.expected,
        })
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES {
        let problem = format!("the file has {size} bytes, more than the {FILE_BYTES} that a settings file may have");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, problem));
    }
    std::fs::read_to_string(path)
}
