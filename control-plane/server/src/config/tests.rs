use super::settings::SETTINGS;
use super::*;

fn load(dir: &tempfile::TempDir, env: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<(String, String)> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let path = dir.path().join("outrigger.yaml");
    let flags = SettingFlags::default();
    let layers =
        Layers::load(&Sources { config: path.exists().then_some(&path), env, variables: &variables, flags: &flags })?;
    Config::compile(&layers)
}

fn written(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outrigger.yaml"), text).unwrap();
    dir
}

#[test]
fn every_setting_has_one_row_and_every_default_is_valid() {
    for setting in SETTINGS {
        assert_eq!(setting.key.setting().name, setting.name);
    }
    load(&tempfile::tempdir().unwrap(), None, &[]).expect("the defaults are a configuration");
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let dir = written("http:\n  listen: 127.0.0.1:1\nagents.listen: 127.0.0.1:2\n");
    std::fs::write(dir.path().join("outrigger.staging.yaml"), "http.listen: 127.0.0.1:3\n").unwrap();
    let plain = load(&dir, None, &[]).unwrap();
    assert_eq!((plain.http_listen.port(), plain.agents_listen.port()), (1, 2));
    assert_eq!(load(&dir, Some("staging"), &[]).unwrap().http_listen.port(), 3);
    let variable = [("OUTRIGGER_HTTP_LISTEN", "127.0.0.1:4")];
    assert_eq!(load(&dir, Some("staging"), &variable).unwrap().http_listen.port(), 4);
    let flags = SettingFlags::default().with("http-listen", "127.0.0.1:5".to_owned());
    let variables = [("OUTRIGGER_HTTP_LISTEN".to_owned(), "127.0.0.1:4".to_owned())];
    let path = dir.path().join("outrigger.yaml");
    let sources = Sources { config: Some(&path), env: None, variables: &variables, flags: &flags };
    assert_eq!(Config::compile(&Layers::load(&sources).unwrap()).unwrap().http_listen.port(), 5);
}

#[test]
fn an_unknown_key_is_refused_with_file_and_nearest_name() {
    let error = load(&written("http:\n  lisen: 127.0.0.1:1\n"), None, &[]).unwrap_err().to_string();
    assert!(error.contains("outrigger.yaml: unknown setting `http.lisen`; did you mean `http.listen`?"), "{error}");
    let error = load(&written("htp:\n  listen: 127.0.0.1:1\n"), None, &[]).unwrap_err().to_string();
    assert!(error.contains("outrigger.yaml: unknown setting `htp`; did you mean `http`?"), "{error}");
}

#[test]
fn a_mistyped_variable_is_refused_and_a_foreign_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let error = load(&dir, None, &[("OUTRIGGER_HTTP_LISTN", "x")]).unwrap_err().to_string();
    assert!(error.contains("OUTRIGGER_HTTP_LISTN") && error.contains("http.listen"), "{error}");
    load(&dir, None, &[("OUTRIGGER_SERVICE_HOST", "10.0.0.1"), ("OUTRIGGER_TOKEN", "t")]).unwrap();
}

#[test]
fn a_bad_value_names_setting_place_and_what_is_expected() {
    let error = load(&written("http.listen: nowhere\n"), None, &[]).unwrap_err().to_string();
    assert!(
        error.contains("outrigger.yaml") && error.contains("`http.listen`") && error.contains("address"),
        "{error}"
    );
    let error = load(&written("http.listen: [1, 2]\n"), None, &[]).unwrap_err().to_string();
    assert!(error.contains("not a single value"), "{error}");
    let error = load(&written("http: {listen: [\n"), None, &[]).unwrap_err().to_string();
    assert!(error.contains("not valid YAML"), "{error}");
}

#[test]
fn what_is_too_short_or_too_many_is_refused_with_the_bound() {
    for (setting, bad, good, words) in [
        ("agents.certificate_lifetime", "599s", "10m", "10m or more"),
        ("agents.certificate_lifetime", "0s", "24h", "10m or more"),
        ("http.header_timeout", "999ms", "1s", "1s or more"),
        ("master_key_command_timeout", "999ms", "1s", "1s or more"),
        ("http.max_connections", "0", "1", "from 1 to 100000"),
        ("http.max_connections", "100001", "100000", "from 1 to 100000"),
        ("logs.keep_for", "59s", "1m", "1m or more"),
        ("logs.keep_mib", "0", "1", "from 1 to 65536"),
        ("drain_timeout", "0s", "1ms", "a duration"),
    ] {
        let error = load(&written(&format!("{setting}: {bad}\n")), None, &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("`{setting}` is \"{bad}\"")) && error.contains(words), "{error}");
        load(&written(&format!("{setting}: {good}\n")), None, &[]).unwrap();
    }
}

#[test]
fn a_master_key_is_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let both = [("OUTRIGGER_MASTER_KEY", "canary"), ("OUTRIGGER_MASTER_KEY_FILE", "/k")];
    let config = load(&dir, None, &both).unwrap();
    assert!(config.master_key.file.is_some() && config.master_key.inline.is_some());
    assert!(!format!("{config:?}").contains("canary"));
    let config = load(&dir, None, &[("OUTRIGGER_NEXT_MASTER_KEY", "canary")]).unwrap();
    assert!(config.master_key.are_unset() && config.next_master_key.inline.is_some());
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn a_command_is_a_list_in_yaml_and_a_json_array_in_a_variable() {
    let of = |config: Config| config.master_key.command.map(|command| (command.program, command.arguments));
    let expected = Some(("kms".to_owned(), vec!["get".to_owned(), "a key; rm".to_owned()]));
    assert_eq!(of(load(&written("master_key_command: [kms, get, a key; rm]\n"), None, &[]).unwrap()), expected);
    let variable = [("OUTRIGGER_MASTER_KEY_COMMAND", r#"["kms", "get", "a key; rm"]"#)];
    assert_eq!(of(load(&tempfile::tempdir().unwrap(), None, &variable).unwrap()), expected);
    for bad in ["kms get key", "[]", "['']", "[kms, 1]", "{a: b}"] {
        let error = load(&written(&format!("master_key_command: {bad}\n")), None, &[]).unwrap_err().to_string();
        assert!(error.contains("`master_key_command`") && error.contains("a program and its arguments"), "{error}");
    }
}

#[test]
fn exports_are_a_list_in_yaml_and_a_json_array_in_a_variable_and_there_are_none_by_default() {
    let none = tempfile::tempdir().unwrap();
    assert!(load(&none, None, &[]).unwrap().export.is_empty());
    let yaml = "export:\n  - {name: a, type: remote_write, url: 'http://127.0.0.1:9090/api/v1/write'}\n  \
                - {name: b, type: otlp, url: 'http://127.0.0.1:4318', headers: {X-Key: canary}}\n";
    let config = load(&written(yaml), None, &[]).unwrap();
    assert_eq!(config.export.len(), 2);
    assert!(!format!("{config:?}").contains("canary"));
    let variable = [("OUTRIGGER_EXPORT", r#"[{"name": "a", "type": "otlp", "url": "http://127.0.0.1:4318"}]"#)];
    assert_eq!(load(&none, None, &variable).unwrap().export.len(), 1);
}

#[test]
fn a_wrong_export_is_named_with_its_place_and_without_its_values() {
    let of = |yaml: &str| load(&written(yaml), None, &[]).unwrap_err().to_string();
    let error = of("export:\n  - {name: a, type: otlp, url: 'http://u:canary@a'}\n");
    assert!(error.contains("outrigger.yaml: `export[0].url` holds credentials"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    let error = of("export: {name: a}\n");
    assert!(error.contains("outrigger.yaml: `export` is not a list"), "{error}");
    let variable = [("OUTRIGGER_EXPORT", "[canary")];
    let error = load(&tempfile::tempdir().unwrap(), None, &variable).unwrap_err().to_string();
    assert!(error.contains("OUTRIGGER_EXPORT: `export`") && !error.contains("canary"), "{error}");
}

#[test]
fn the_past_is_kept_for_as_long_as_it_says_and_no_coarser_tier_for_less() {
    let kept = |yaml: &str| {
        let config = load(&written(yaml), None, &[])?;
        Ok::<_, ConfigError>(config.history.tiers.as_slice().iter().map(|tier| tier.retention).collect::<Vec<_>>())
    };
    let hours = |hours: [u64; 4]| hours.map(|hours| Duration::from_secs(3_600 * hours)).to_vec();
    assert_eq!(kept("").unwrap(), hours([2, 24, 7 * 24, 90 * 24]));
    assert_eq!(kept("history: {keep_1s: 6h, keep_5m: 365d}\n").unwrap(), hours([6, 24, 7 * 24, 365 * 24]));
    for (yaml, name) in [("history.keep_1s: 5m\n", "history.keep_1s"), ("history.keep_1s: 2d\n", "history.keep_10s")] {
        let error = kept(yaml).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
}
