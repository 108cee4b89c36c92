use serde_json::json;

use super::*;

fn one(more: Value) -> Result<Destination, SettingsError> {
    let mut written = json!({ "name": "mine", "type": "remote_write", "url": "http://127.0.0.1:9090/api/v1/write" });
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Destination::from_settings(&json!([written])).map(|mut all| all.remove(0))
}

fn refused(more: Value) -> String {
    one(more).unwrap_err().to_string()
}

#[test]
fn little_has_to_be_written() {
    let destination = one(json!({})).unwrap();
    assert!(matches!(destination.protocol, Protocol::RemoteWrite { .. }));
    assert_eq!((destination.limits.points, destination.queue_bytes), (default::BATCH, default::QUEUE));
    assert_eq!(destination.persistence.retry_for, default::RETRY_FOR);
    assert!(Destination::from_settings(&json!([])).unwrap().is_empty());
}

#[test]
fn otlp_has_an_address_per_signal_below_its_endpoint() {
    let urls = |written: Value| match one(written).unwrap().protocol {
        Protocol::Otlp { signals, .. } => {
            signals.into_iter().map(|(_, url)| url.as_str().to_owned()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let both = urls(json!({ "type": "otlp", "url": "http://127.0.0.1:4318" }));
    assert_eq!(both, ["http://127.0.0.1:4318/v1/metrics", "http://127.0.0.1:4318/v1/logs"]);
    let logs = urls(json!({ "type": "otlp", "url": "https://a.example/otlp/?key=x", "signals": ["logs", "logs"] }));
    assert_eq!(logs, ["https://a.example/otlp/v1/logs?key=x"]);
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    for (written, expected) in [
        (json!({ "name": "a b" }), "`export[0].name` is not 1 to 64"),
        (json!({ "type": "kafka" }), "`export[0].type` cannot be used: unknown variant `kafka`"),
        (json!({ "ulr": "x" }), "`export[0].ulr` cannot be used: unknown field `ulr`"),
        (json!({ "url": "nowhere" }), "`export[0].url` is not an address"),
        (json!({ "url": "file:///etc/passwd" }), "`export[0].url` is not an address that begins with http"),
        (json!({ "url": "http://a/#x" }), "`export[0].url` has a fragment"),
        (json!({ "batch": 0 }), "`export[0].batch` is not a whole number from 1"),
        (json!({ "batch": "many" }), "`export[0].batch` is not usize"),
        (json!({ "queue": "1" }), "`export[0].queue` is not a size"),
        (json!({ "queue": "1KiB" }), "`export[0].queue` is not a size"),
        (json!({ "queue": "99999999999999999999MiB" }), "`export[0].queue` is not a size"),
        (json!({ "flush_interval": "0s" }), "`export[0].flush_interval` is not a duration"),
        (json!({ "retry_for": "2d" }), "`export[0].retry_for` is not a duration"),
        (json!({ "signals": ["metrics"] }), "`export[0].signals` is for `otlp`"),
        (json!({ "compression": "gzip" }), "`export[0].compression` is for `otlp`"),
        (json!({ "type": "otlp", "signals": [] }), "`export[0].signals` is empty"),
        (json!({ "type": "otlp", "signals": ["traces"] }), "`export[0].signals[0]` cannot be used: unknown variant"),
        (json!({ "external_labels": { "__name__": "x" } }), "`export[0].external_labels.__name__` is no label"),
        (json!({ "external_labels": { "1a": "x" } }), "`export[0].external_labels.1a` is no label"),
        (json!({ "external_labels": { "instance": "x" } }), "is a label that every series has already"),
        (json!({ "external_labels": { "zone": "" } }), "`export[0].external_labels.zone` is not a text"),
        (
            json!({ "type": "otlp", "external_labels": { "service.name": "x" } }),
            "is no attribute of the operator's own",
        ),
        (json!({ "headers": { "Authorization": "x" } }), "`export[0].headers.Authorization` is set by"),
        (json!({ "headers": { "a b": "x" } }), "`export[0].headers.a b` is no name of a header"),
        (json!({ "headers": { "X-Scope": "a\nb" } }), "`export[0].headers.X-Scope` is not visible text"),
        (json!({ "basic_auth": { "username": "a:b", "password_file": "/p" } }), "`export[0].basic_auth.username`"),
        (json!({ "basic_auth": { "username": "a" } }), "missing field `password_file`"),
        (
            json!({ "bearer_token_file": "/t", "basic_auth": { "username": "a", "password_file": "/p" } }),
            "`export[0]` has both",
        ),
    ] {
        let error = refused(written);
        assert!(error.contains(expected), "{error}");
    }
    assert!(Destination::from_settings(&json!({})).unwrap_err().to_string().contains("is not a list"));
    let two = json!({ "name": "a", "type": "otlp", "url": "http://a" });
    let error = Destination::from_settings(&json!([two, two])).unwrap_err().to_string();
    assert_eq!(error, "`export[1].name` is `a`, as another one already is");
}

#[test]
fn no_secret_is_in_an_error_or_in_debug_output() {
    for written in [
        json!({ "url": "http://user:canary@127.0.0.1" }),
        json!({ "basic_auth": "user:canary" }),
        json!({ "headers": { "X-Scope": "canary\n" } }),
        json!({ "headers": "canary" }),
        json!({ "bearer_token_file": ["canary"] }),
        json!({ "batch": "canary" }),
    ] {
        let error = refused(written);
        assert!(!error.contains("canary"), "{error}");
    }
    let destination = one(json!({ "headers": { "X-Scope-OrgID": "canary" } })).unwrap();
    assert!(!format!("{destination:?}").contains("canary"));
    let destination = one(json!({ "url": "http://127.0.0.1/write?key=canary" })).unwrap();
    assert!(!format!("{destination:?}").contains("canary"));
}

#[test]
fn a_destination_keeps_what_is_written() {
    let destination = one(json!({
        "external_labels": { "zone": "eu", "Cluster": "a" },
        "headers": { "X-Scope-OrgID": "7" },
        "bearer_token_file": "/run/token",
        "batch": 10, "queue": "64KiB", "flush_interval": "500ms", "timeout": "2s", "connect_timeout": "1m", "retry_for": "0s",
    }))
    .unwrap();
    assert_eq!(destination.labels, [("Cluster", "a"), ("zone", "eu")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(destination.access.credentials, Credentials::Bearer { file: "/run/token".into() });
    assert_eq!((destination.limits.points, destination.queue_bytes), (10, 64 * 1024));
    assert_eq!(destination.limits.linger, Duration::from_millis(500));
    assert_eq!(destination.access.connect_timeout, Duration::from_secs(2), "no longer than the whole");
    assert_eq!(destination.persistence.retry_for, Duration::ZERO);
}
