//! `outrigger policy eval`, which needs no control plane.

#![allow(clippy::unwrap_used, reason = "a test's own set-up")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn eval(directory: &Path, policy: &str, config: &Value, input: &Value) -> Output {
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    std::fs::write(directory.join("input.json"), input.to_string()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["policy", "eval", "--policy", policy, "--policy-config", "config.json", "--input", "input.json"])
        .current_dir(directory)
        .output()
        .unwrap()
}

fn input(requests: f64) -> Value {
    json!({
        "now": 1_700_000_000_000u64,
        "step": 1000,
        "deployment": { "replicas": 2, "readyReplicas": 2, "min": 1, "max": 10 },
        "seriesStart": 1_699_999_941_000u64,
        "series": [{ "name": "requests", "unit": "1/s", "points": vec![requests; 60] }],
    })
}

fn rules() -> Value {
    json!({ "rules": [{ "metric": "requests", "above": 100.0, "below": 10.0, "stepUp": 2 }] })
}

#[test]
fn a_built_in_policy_answers_with_its_proposal_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let output = eval(directory.path(), "threshold", &rules(), &input(150.0));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let proposal: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proposal["replicas"], 4, "{proposal}");
    assert!(proposal["reason"].as_str().unwrap().contains("requests"), "{proposal}");
}

#[test]
fn what_is_wrong_is_said_on_stderr_with_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (eval(directory.path(), "treshold", &rules(), &input(1.0)), "threshold"),
        (eval(directory.path(), "threshold", &json!({ "rulez": [] }), &input(1.0)), "config.json"),
        (eval(directory.path(), "threshold", &rules(), &json!({ "now": "yesterday" })), "input.json"),
    ];
    for (output, word) in cases {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(word) && output.stdout.is_empty(), "{stderr}");
    }
}
