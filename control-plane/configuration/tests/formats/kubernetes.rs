use outrigger_configuration::format::{
    Form, Format, LineProblemKind, ObjectName, WriteOptions, WriteProblemKind, write,
};
use zeroize::Zeroizing;

use crate::{options, problems, read, variable};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\n";
const SECRET: &str = "apiVersion: v1\nkind: Secret\n";

fn wrong(file: &str) -> Vec<(usize, usize, LineProblemKind)> {
    problems(Format::K8s, file)
}

fn told(file: &str) -> Vec<(String, String, Option<bool>)> {
    let text = |value: Option<Zeroizing<String>>| value.expect("a value").to_string();
    read(Format::K8s, file).into_iter().map(|v| (v.name, text(v.value), v.secret)).collect()
}

#[test]
fn config_maps_are_plain_and_secrets_secret() {
    let file = format!(
        "{CONFIG_MAP}metadata:\n  name: x\n  annotations: {{a: b}}\nimmutable: true\ndata:\n  A: ${{B}}\n  C: |\n    d\n    e\n---\n\
         {SECRET}type: Opaque\ndata:\n  F: aMOpCg==\n  G: \"\"\n  H: |\n    aGVs\n    bG8=\nstringData:\n  I: plain\n---\n"
    );
    let expected = [
        ("A", "${B}", false),
        ("C", "d\ne\n", false),
        ("F", "hé\n", true),
        ("G", "", true),
        ("H", "hello", true),
        ("I", "plain", true),
    ];
    let expected = expected.map(|(name, value, secret)| (name.to_owned(), value.to_owned(), Some(secret)));
    assert_eq!(told(&file), expected);
    assert!(read(Format::K8s, &file).iter().all(|variable| variable.literal));
}

#[test]
fn what_kubectl_prints_is_read() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"A": "1"}},
        {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"B": "Mg=="}}
    ]}"#;
    assert_eq!(told(list).len(), 2);
    assert_eq!(told(&format!("{CONFIG_MAP}data: {{}}\n")), []);
    assert_eq!(told(CONFIG_MAP), []);
}

#[test]
fn every_wrong_line_is_named() {
    let file = format!(
        "{CONFIG_MAP}data:\n  A: 1\n  b.conf: x\n  C: null\nbinaryData:\n  D: AA==\nspec: {{}}\n---\n\
         {SECRET}data:\n  E: '!'\n  F: /w==\n  G: eA==\nstringData:\n  G: y\n---\napiVersion: apps/v1\nkind: Deployment\n---\nkind: ConfigMap\n---\nx\n"
    );
    let found = wrong(&file);
    let places: Vec<_> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    let expected =
        [(4, 6), (5, 3), (6, 6), (7, 1), (9, 1), (14, 6), (15, 6), (18, 3), (20, 13), (21, 7), (23, 1), (25, 1)];
    assert_eq!(places, expected, "{found:?}");
    assert_eq!(found[3].2, LineProblemKind::BinaryData);
    assert_eq!(found[5].2, LineProblemKind::NotBase64);
    assert_eq!(found[6].2, LineProblemKind::BinaryValue);
    assert_eq!(found[7].2, LineProblemKind::Duplicate { first: 16 });
    assert!(matches!(wrong("")[..], [(1, 1, LineProblemKind::Expected { .. })]));
}

#[test]
fn secrets_and_others_are_two_objects() {
    let mut variables = vec![variable("A", "a: b"), variable("S", "hé\n"), variable("L", "x\ny"), variable("U", "")];
    variables[1].secret = true;
    variables[2].origin = Some("base".to_owned());
    variables[3].value = None;
    let file = write(Format::K8s, &variables, &options(Form::Flat)).expect("written");
    let expected = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: "shop"
  namespace: "prod"
data:
  A: "a: b"
  # from base
  L: |-
    x
    y
  # U is not set
---
apiVersion: v1
kind: Secret
metadata:
  name: "shop"
  namespace: "prod"
type: Opaque
data:
  S: "aMOpCg=="
"#;
    assert_eq!(*file, expected);
    let only_secret = write(Format::K8s, &variables[1..2], &options(Form::Flat)).expect("written");
    assert!(only_secret.starts_with("apiVersion: v1\nkind: Secret\n"));
    let none = write(Format::K8s, &[], &options(Form::Flat)).expect("written");
    assert!(none.ends_with("data: {}\n"));
}

#[test]
fn an_object_needs_a_name_and_fits_kubernetes() {
    let no_name = write(Format::K8s, &[], &WriteOptions::default()).expect_err("no name");
    assert_eq!(no_name[0].kind, WriteProblemKind::NoObjectName);
    let large = "x".repeat(100_000);
    let variables: Vec<_> = (0..11).map(|i| variable(&format!("V{i}"), &large)).collect();
    let object = Some(ObjectName::new("shop", None).expect("a name"));
    let problems = write(Format::K8s, &variables, &WriteOptions { object, ..WriteOptions::default() });
    let problems = problems.expect_err("too large");
    let kind = WriteProblemKind::ObjectTooLarge { kind: "ConfigMap", bytes: 1_100_000, limit: 1_048_576 };
    assert_eq!(problems[0].kind, kind);
}
