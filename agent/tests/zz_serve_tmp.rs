#![allow(dead_code, clippy::unwrap_used, clippy::panic)]
#[path = "agent/plane.rs"]
mod plane;
#[test]
fn serve() {
    let Ok(out) = std::env::var("SERVE_TMP") else { return };
    let plane = plane::Plane::offering(vec![plane::plain("MODE", "one"), plane::secret("S", "secret-value-123")]);
    let mut s = plane::settings(plane::restart_at_once());
    s.sample_interval = std::time::Duration::from_secs(1);
    s.heartbeat_interval = std::time::Duration::from_secs(10);
    plane.allow(s);
    std::fs::write(&out, format!("{}\n{}\n", plane.address, *plane.token())).unwrap();
    while std::path::Path::new(&out).exists() { std::thread::sleep(std::time::Duration::from_millis(200)); let mut s = plane.seen(); s.samples.clear(); s.logs.clear(); s.messages.clear(); s.batches.clear(); }
}
