use std::time::Duration;

use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::CloseCode;
use tokio::net::UdpSocket;

use super::world::{World, config, eventually, soon};
use crate::{Count, IngestConfig, LaneLimits, Rate, Reject};

fn sample() -> Sample {
    let mut sample = Sample::new(UnixMillis::now());
    sample.set(Metric::Cpu, 1.0);
    sample
}

#[tokio::test]
async fn one_that_does_not_say_hello_is_closed() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let connection = world.fleet.dial(&agent).await.unwrap();
    let (_reader, mut writer) = connection.open_control().await.unwrap();
    writer.send(&AgentMessage::Program(ProgramState::Waiting)).await.unwrap();
    let code = soon("the end", connection.closed()).await.closed_by_peer();
    assert_eq!(code, Some(CloseCode::ProtocolError));
    assert_eq!(world.ingest.stats().rejected(Reject::UnexpectedMessage), 1);
}

#[tokio::test]
async fn one_that_says_nothing_is_closed_in_time() {
    let world = World::with(IngestConfig { hello_timeout: Duration::from_millis(50), ..config() }).await;
    let agent = world.enroll().await;
    let connection = world.fleet.dial(&agent).await.unwrap();
    let code = soon("the end", connection.closed()).await.closed_by_peer();
    assert_eq!(code, Some(CloseCode::Unresponsive));
    assert_eq!(world.ingest.stats().rejected(Reject::NoHello), 1);
}

#[tokio::test]
async fn a_second_hello_is_not_a_second_chance() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    let hello = AgentMessage::Hello {
        agent_version: String::new(),
        epoch: 9,
        now: UnixMillis::now(),
        seal_key: [1; 32],
        status: ConfigStatus::default(),
        program: ProgramState::Waiting,
    };
    session.say(&hello).await.unwrap();
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::ProtocolError));
}

#[tokio::test]
async fn a_flood_ends_the_session_of_the_one_who_sends_it() {
    let metrics = LaneLimits {
        frames: Rate { per_second: 50.0, burst: 10.0 },
        patience: Duration::from_millis(200),
        ..config().metrics
    };
    let world = World::with(IngestConfig { metrics, ..config() }).await;
    let (_, mut flooder) = world.connect_new().await;
    let (_, mut neighbour) = world.connect_new().await;
    let flood = async {
        // Ends when the server has had enough.
        while flooder.send_samples(vec![sample()]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the server has had enough", flood).await;
    assert_eq!(flooder.closed().await, Some(CloseCode::Overloaded));
    assert_eq!(world.ingest.stats().rejected(Reject::OverBudget), 1);
    let id = neighbour.send_samples(vec![sample()]).await.unwrap();
    soon("the neighbour's acknowledgement", neighbour.accepted(id)).await.unwrap();
}

#[tokio::test]
async fn a_key_of_small_order_gets_no_environment_and_harms_nobody() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let connection = world.fleet.dial(&agent).await.unwrap();
    let (mut reader, mut writer) = connection.open_control().await.unwrap();
    let hello = AgentMessage::Hello {
        agent_version: String::new(),
        epoch: 1,
        now: UnixMillis::now(),
        seal_key: [0; 32],
        status: ConfigStatus::default(),
        program: ProgramState::Waiting,
    };
    writer.send(&hello).await.unwrap();
    soon("a welcome", reader.next()).await.unwrap();
    let (_, mut other) = world.connect_new().await;
    world.offer().await;
    eventually("counted", || world.ingest.stats().count(Count::OffersFailed) == 1).await;
    soon("an offer for another", other.next_offer()).await.unwrap();
}

#[tokio::test]
async fn noise_on_the_socket_disturbs_nobody() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [1, 20, 1_200, 9_000] {
        for fill in [0x00, 0x40, 0xc0, 0xff] {
            socket.send_to(&vec![fill; length], world.ingest.local_addr()).await.unwrap();
        }
    }
    let id = session.send_samples(vec![sample()]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    assert_eq!(world.ingest.live_agents_count(), 1);
}

#[tokio::test]
async fn lies_about_extreme_numbers_are_survived() {
    let world = World::new().await;
    let mut agent = world.enroll().await;
    agent.epoch = u64::MAX;
    let far = || UnixMillis::from_millis(u64::MAX);
    let mut session = world.fleet.connect_by(&agent, ConfigStatus::default(), far).await.unwrap();
    session.say(&AgentMessage::Heartbeat { now: UnixMillis::EPOCH }).await.unwrap();
    session.next_batch = u64::MAX - 1;
    let id = session.send_samples(vec![sample()]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let (_, mut other) = world.connect_new().await;
    world.offer().await;
    soon("an offer for another", other.next_offer()).await.unwrap();
}
