//! Configuration as a file, where plaintext may be.

use outrigger_protocol::message::ApplyStrategy;

use crate::plane::{Plane, secret};
use crate::sandbox::Sandbox;

#[test]
fn without_a_name_it_is_in_shared_memory_private_and_gone_with_the_agent() {
    let plane = Plane::offering(vec![secret("PASSWORD", "canary-in-memory")]);
    plane.apply_by(ApplyStrategy::File);
    let sandbox = Sandbox::new(&plane);
    let script = "echo \"$OUTRIGGER_ENV_FILE\"; stat -c '%a %u' \"$OUTRIGGER_ENV_FILE\"; id -u
        stat -f -c %T \"$OUTRIGGER_ENV_FILE\"; cat \"$OUTRIGGER_ENV_FILE\"; exec sleep 1000";
    let agent = sandbox.start(&[], script);
    let path = std::path::PathBuf::from(agent.line());
    assert!(path.to_str().is_some_and(|path| path.starts_with("/dev/shm/outrigger-ins_")), "{}", path.display());
    let (private, own) = (agent.line(), agent.line());
    assert_eq!(private, format!("600 {own}"));
    agent.expect_line("tmpfs");
    agent.expect_line("PASSWORD='canary-in-memory'");
    assert!(path.exists());
    agent.stop();
    assert!(!path.exists(), "plaintext does not stay behind");
}
