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
fn a_master_key_is_given_once_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let both = [("OUTRIGGER_MASTER_KEY", "canary"), ("OUTRIGGER_MASTER_KEY_FILE", "/k")];
    let error = load(&dir, None, &both).unwrap_err().to_string();
    assert!(error.contains("both set") && !error.contains("canary"), "{error}");
    let config = load(&dir, None, &[("OUTRIGGER_MASTER_KEY", "canary")]).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
}
