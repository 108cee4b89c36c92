//! Builds the policies of `plugins/` for WebAssembly and encodes each as a component.
//!
//! They are a cargo workspace of their own, with its own lock file and profile. Its target directory lies within ours
//! (`OUT_DIR`), so the two builds never wait for each other's lock.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
/// Package, and the name of the file that it becomes.
const POLICIES: &[(&str, &str)] = &[
    ("outrigger-policy-threshold", "threshold"),
    ("outrigger-policy-weighted", "weighted"),
    ("outrigger-policy-target", "target"),
    ("outrigger-policy-concurrency", "concurrency"),
    ("outrigger-policy-schedule", "schedule"),
];
const TEST_GUESTS: &[(&str, &str)] =
    &[("outrigger-policy-hostile", "hostile"), ("outrigger-policy-foreign", "foreign")];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failing build script's standard error is what cargo shows.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("cannot build the policies: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let plugins = root.join("plugins");
    watch(&root);

    let mut guests = POLICIES.to_vec();
    if env::var_os("CARGO_FEATURE_TEST_SUPPORT").is_some() {
        guests.extend(TEST_GUESTS);
    }
    let target = out.join("plugins-target");
    compile(&plugins, &target, &guests)?;
    for (package, name) in guests {
        let module = target.join(TARGET).join("release").join(format!("{}.wasm", package.replace('-', "_")));
        let component = encode(&module).map_err(|error| format!("{}: {error}", module.display()))?;
        fs::write(out.join(format!("{name}.component.wasm")), component)?;
        fs::copy(&module, out.join(format!("{name}.module.wasm")))?;
    }
    Ok(())
}

/// Everything that shapes a component, and nothing that a build of them writes.
#[allow(clippy::print_stdout)] // It is how a build script talks to cargo.
fn watch(root: &Path) {
    let plugins = root.join("plugins");
    let mut watched =
        vec![root.join("wit"), plugins.join("Cargo.toml"), plugins.join("Cargo.lock"), plugins.join(".cargo")];
    for guest in ["sdk", "threshold", "weighted", "targets", "concurrency", "schedule", "hostile", "foreign"] {
        for part in ["Cargo.toml", "src", "config.schema.json"] {
            watched.push(plugins.join(guest).join(part));
        }
    }
    for path in watched.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn compile(plugins: &Path, target: &Path, guests: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set: run this by cargo")?);
    cargo.current_dir(plugins).args(["build", "--release", "--locked", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target);
    for (package, _) in guests {
        cargo.args(["--package", package]);
    }
    for name in inherited_settings() {
        cargo.env_remove(name);
    }
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("target may not be installed") {
        return Err(format!("the target {TARGET} is not installed; run `rustup target add {TARGET}`").into());
    }
    Err(format!("cargo ended with {}:\n{text}", output.status).into())
}

/// What cargo, clippy, a coverage tool or a user's shell set for the build of this crate must not reach the guests:
/// flags for another target, a linter in place of the compiler, profiles that are not theirs.
fn inherited_settings() -> Vec<String> {
    const EXACT: &[&str] = &[
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOC",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_ENCODED_RUSTDOCFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_INCREMENTAL",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "LLVM_PROFILE_FILE",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
    ];
    const PREFIXES: &[&str] = &[
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_LLVM_COV",
        "CARGO_TARGET_",
    ];
    env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| EXACT.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

fn encode(module: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    // Its error is an anyhow one; the alternate form is the whole chain.
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&fs::read(module)?)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))?;
    Ok(component)
}
