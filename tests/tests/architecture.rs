//! The direction rules of ARCHITECTURE.md, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Direct dependencies of each workspace crate, by kind.
struct Workspace {
    normal: BTreeMap<String, BTreeSet<String>>,
    all: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    fn read() -> Self {
        let metadata = MetadataCommand::new().no_deps().exec().expect("cargo can describe this workspace");
        let mut workspace = Self { normal: BTreeMap::new(), all: BTreeMap::new() };
        for package in metadata.workspace_packages() {
            let name = package.name.to_string();
            let named = |wanted: fn(DependencyKind) -> bool| {
                package.dependencies.iter().filter(|d| wanted(d.kind)).map(|d| d.name.clone()).collect()
            };
            workspace.normal.insert(name.clone(), named(|kind| kind == DependencyKind::Normal));
            workspace.all.insert(name, named(|_| true));
        }
        assert!(workspace.all.len() > 10, "the workspace was read");
        workspace
    }

    fn users_of(&self, dependency: &str) -> Vec<&str> {
        self.all.iter().filter(|(_, deps)| deps.contains(dependency)).map(|(name, _)| name.as_str()).collect()
    }

    /// Everything in the workspace that a crate reaches through normal dependencies.
    fn reach(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            for next in self.normal.get(&name).into_iter().flatten() {
                if self.normal.contains_key(next) && reached.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        reached
    }
}

#[test]
fn protocol_depends_on_no_crate_of_the_workspace() {
    assert_eq!(Workspace::read().reach("outrigger-protocol"), BTreeSet::new());
}

#[test]
fn the_agent_reaches_protocol_and_logging_and_nothing_else() {
    let shared = BTreeSet::from(["outrigger-logging".to_owned(), "outrigger-protocol".to_owned()]);
    assert_eq!(Workspace::read().reach("outrigger-agent"), shared);
    assert_eq!(Workspace::read().reach("outrigger-logging"), BTreeSet::from(["outrigger-protocol".to_owned()]));
}

#[test]
fn no_crate_of_the_control_plane_knows_the_agent() {
    let workspace = Workspace::read();
    let allowed = ["outrigger-tests", "outrigger-bench"];
    for user in workspace.users_of("outrigger-agent") {
        assert!(allowed.contains(&user), "{user} depends on outrigger-agent");
    }
}

#[test]
fn heavy_crates_stay_in_their_own_room() {
    let workspace = Workspace::read();
    for (dependency, owner) in [
        ("quinn", "outrigger-protocol"),
        ("quinn-proto", "outrigger-protocol"),
        ("bincode", "outrigger-protocol"),
        ("redb", "outrigger-store"),
        ("wasmtime", "outrigger-policy-host"),
    ] {
        assert_eq!(workspace.users_of(dependency), [owner], "users of {dependency}");
    }
}

#[test]
fn pure_crates_have_no_runtime_and_no_io() {
    let workspace = Workspace::read();
    let impure = [
        "tokio",
        "tokio-util",
        "quinn",
        "redb",
        "wasmtime",
        "axum",
        "reqwest",
        "rustix",
        "libc",
        "socket2",
        "getrandom",
    ];
    for pure in [
        "outrigger-scaling",
        "outrigger-configuration",
        "outrigger-rollout",
        "outrigger-templates",
        "outrigger-history",
    ] {
        for dependency in &workspace.normal[pure] {
            assert!(!impure.contains(&dependency.as_str()), "{pure} depends on {dependency}");
        }
    }
}

#[test]
fn plugins_are_a_workspace_of_their_own() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo can describe the plugins");
    let ours = Workspace::read();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            assert!(!ours.all.contains_key(&dependency.name), "{} depends on {}", package.name, dependency.name);
        }
    }
}
