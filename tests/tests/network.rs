//! A network that goes away and comes back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use outrigger_tests::{Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A UDP relay between agents and the control plane that can be cut.
struct Wire {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    _relay: JoinSet<()>,
}

impl Wire {
    async fn lay() -> Result<(Self, tokio::sync::oneshot::Sender<SocketAddr>)> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let cut = Arc::new(AtomicBool::new(false));
        let (target, server) = tokio::sync::oneshot::channel();
        let mut relay = JoinSet::new();
        let stop = Arc::clone(&cut);
        relay.spawn(async move {
            if let Ok(server) = server.await {
                forward(socket, server, stop).await;
            }
        });
        Ok((Self { address, cut, _relay: relay }, target))
    }
}

/// One socket towards the server for each agent, as a NAT has it.
async fn forward(front: Arc<UdpSocket>, server: SocketAddr, cut: Arc<AtomicBool>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0u8; 65_536];
    while let Ok((length, agent)) = front.recv_from(&mut packet).await {
        if cut.load(Ordering::Relaxed) {
            continue;
        }
        let back = match backs.get(&agent) {
            Some(back) => Arc::clone(back),
            None => {
                let Ok(back) = UdpSocket::bind("127.0.0.1:0").await else { continue };
                let back = Arc::new(back);
                let (front, from, cut) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&cut));
                answers.spawn(async move {
                    let mut packet = vec![0u8; 65_536];
                    while let Ok((length, _)) = from.recv_from(&mut packet).await {
                        if !cut.load(Ordering::Relaxed) {
                            let _ = front.send_to(&packet[..length], agent).await;
                        }
                    }
                });
                backs.insert(agent, Arc::clone(&back));
                back
            }
        };
        let _ = back.send_to(&packet[..length], server).await;
    }
}

#[tokio::test]
async fn after_a_cut_the_agent_comes_back_by_itself_and_gets_what_it_missed() -> Result<()> {
    let (wire, target) = Wire::lay().await?;
    let workplace = Workplace::new()?;
    let options = ServerOptions { advertise: Some(wire.address.to_string()), ..Default::default() };
    let server = Server::start(&workplace, &options).await?;
    let agents: SocketAddr = server.agents_address().parse()?;
    target.send(agents).ok().context("the relay waits for its target")?;

    let api = server.api();
    let (project, environment) = api.project_with(json!([{ "key": "GREETING", "value": "before" }])).await?;
    let deployment = api.deployment(&project, &test_program(&["serve"]), json!({ "http": true })).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let instances = format!("/api/deployments/{deployment}/instances");
    let first = eventually("the instance is ready", || async {
        let answer = api.get(&instances).await?;
        Ok((answer[0]["ready"] == true).then(|| answer[0].clone()))
    })
    .await?;
    let pid = first["program"]["pid"].clone();
    let endpoint = first["endpoint"].as_str().context("no endpoint")?.to_owned();

    wire.cut.store(true, Ordering::Relaxed);
    let path = format!("/api/config/environments/{environment}/variables/GREETING");
    api.call(Method::PUT, &path, Some(json!({ "value": "after" }))).await?;
    let answer = reqwest::get(format!("http://{endpoint}/env/GREETING")).await?.text().await?;
    assert_eq!(answer, "before", "the program goes on with what it has");

    wire.cut.store(false, Ordering::Relaxed);
    eventually("what was pushed meanwhile is effective", || async {
        let answer = match reqwest::get(format!("http://{endpoint}/env/GREETING")).await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        Ok((answer == "after").then_some(()))
    })
    .await?;
    let now = api.get(&instances).await?;
    let live: Vec<_> = now.as_array().into_iter().flatten().filter(|i| i["phase"] != "GONE").collect();
    assert_eq!(live.len(), 1, "no second instance was made for one that was only unreachable");
    assert_eq!(live[0]["id"], first["id"]);
    assert_ne!(live[0]["program"]["pid"], pid, "the program was restarted with the new value");

    api.post(&format!("/api/deployments/{deployment}/stop"), json!({})).await?;
    let status = format!("/api/deployments/{deployment}/status");
    eventually("it is stopped", || async { Ok((api.get(&status).await?["status"] == "STOPPED").then_some(())) })
        .await?;
    server.terminate().await
}
