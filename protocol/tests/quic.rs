//! Real QUIC on loopback: who comes in, who does not, and what a broken rule costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use outrigger_protocol::codec::CodecError;
use outrigger_protocol::fetch::{FetchRequest, FetchResponse};
use outrigger_protocol::id::{AgentId, DeploymentId, EnvironmentId, InstanceId, JoinTokenId, ProjectId};
use outrigger_protocol::identity::{AgentKey, agent_uri};
use outrigger_protocol::limits;
use outrigger_protocol::log::{Level, LogBatch, LogRecord, LogStream};
use outrigger_protocol::message::{
    AgentMessage, ConfigOffer, ConfigRef, EnrollRefusal, EnrollRequest, EnrollResponse, ServerMessage,
};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::seal::Sealed;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{
    Accepted, AgentConnection, ClientConnection, ClientEndpoint, ClientIdentity, CloseCode, Lane, ServerEndpoint,
    ServerLimits, ServerOptions, TransportError, Trust, fingerprint,
};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

#[path = "quic/hostile.rs"]
mod hostile;

const SERVER_NAME: &str = "control.outrigger.test";

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a CA").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: Vec<SanType>, key: &KeyPair, expired: bool) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        params.signed_by(key, &self.issuer).expect("signed").der().clone()
    }

    fn agent(&self, agent: AgentId, expired: bool) -> ClientIdentity {
        self.identity(vec![SanType::URI(Ia5String::try_from(agent_uri(agent)).expect("ASCII"))], expired)
    }

    fn identity(&self, names: Vec<SanType>, expired: bool) -> ClientIdentity {
        let key = AgentKey::generate().expect("a key");
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.pkcs8_der())).expect("a key");
        ClientIdentity { chain: vec![self.issue(names, &pair, expired)], key: key.to_tls() }
    }

    fn listen(&self) -> ServerEndpoint {
        self.listen_with(ServerLimits::default())
    }

    /// A chain for a server of this name, and its key.
    fn server(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let name = SanType::DnsName(Ia5String::try_from(name).expect("ASCII"));
        let leaf = self.issue(vec![name], &key, false);
        (vec![leaf, self.certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn listen_with(&self, limits: ServerLimits) -> ServerEndpoint {
        let (chain, key) = self.server(SERVER_NAME);
        ServerEndpoint::bind(ServerOptions {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            chain,
            key,
            client_ca: self.certificate.clone(),
            reset_key: [1; 64],
            token_key: [2; 32],
            limits,
        })
        .expect("a server")
    }

    fn trust(&self) -> Trust {
        Trust::Ca(self.certificate.clone())
    }
}

fn agent(number: u8) -> AgentId {
    AgentId::new(UnixMillis::from_millis(1), [number; 10])
}

fn client_for(server: &ServerEndpoint) -> (ClientEndpoint, SocketAddr) {
    let address = server.local_addr().expect("an address");
    (ClientEndpoint::towards(address).expect("a client"), address)
}

async fn accept(server: &ServerEndpoint) -> Result<Accepted, TransportError> {
    server.accept().await.expect("the endpoint is open").handshake().await
}

fn agent_of(accepted: Result<Accepted, TransportError>) -> AgentConnection {
    let agent = match accepted.expect("accepted") {
        Accepted::Agent(connection) => Some(connection),
        Accepted::Enrollment(_) | Accepted::Fetch(_) => None,
    };
    agent.expect("asked for an agent's protocol")
}

/// Both ends of one enrolled agent's connection.
async fn connected(ca: &Authority, server: &ServerEndpoint) -> (ClientConnection, AgentConnection) {
    let (client, address) = client_for(server);
    let identity = ca.agent(agent(1), false);
    let trust = ca.trust();
    let (ours, theirs) = tokio::join!(client.connect(address, SERVER_NAME, &trust, &identity), accept(server));
    (ours.expect("connected"), agent_of(theirs))
}

/// Nothing in these tests takes longer than a handshake; what hangs fails.
async fn within_deadline<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test).await.expect("finished before the deadline")
}

fn heartbeat(now: u64) -> AgentMessage {
    AgentMessage::Heartbeat { now: UnixMillis::from_millis(now) }
}

fn request() -> EnrollRequest {
    EnrollRequest {
        token: JoinTokenId::new(UnixMillis::from_millis(1), [5; 10]),
        secret: [6; 32],
        csr: AgentKey::generate().expect("a key").csr().expect("a request"),
        seal_key: [7; 32],
        agent_version: "0.1.0".to_owned(),
    }
}

#[tokio::test]
async fn an_agent_enrols_without_a_certificate_and_by_fingerprint_alone() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (client, address) = client_for(&server);
        let request = request();
        let response = EnrollResponse::Issued {
            agent: agent(1),
            instance: InstanceId::new(UnixMillis::from_millis(1), [2; 10]),
            deployment: DeploymentId::new(UnixMillis::from_millis(1), [3; 10]),
            chain: vec![vec![1, 2, 3], ca.certificate.to_vec()],
            not_after: UnixMillis::from_millis(99),
        };
        let serve = async {
            let Accepted::Enrollment(mut enrollment) = accept(&server).await.expect("accepted") else {
                panic!("asked for enrolment");
            };
            let asked = enrollment.request().await.expect("a request");
            enrollment.respond(response.clone()).await.expect("delivered");
            asked
        };
        let trust = Trust::Fingerprint(fingerprint(&ca.certificate));
        let enroll = client.enroll(address, SERVER_NAME, &trust, request.clone());
        let (asked, answered) = tokio::join!(serve, enroll);
        assert!(asked == request);
        assert_eq!(answered.expect("an answer"), response);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_an_enrolment_is_an_answer() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (client, address) = client_for(&server);
        let refusal =
            EnrollResponse::Refused { reason: EnrollRefusal::UsedToken, message: "used by another key".to_owned() };
        let serve = async {
            let Accepted::Enrollment(mut enrollment) = accept(&server).await.expect("accepted") else {
                panic!("asked for enrolment");
            };
            enrollment.request().await.expect("a request");
            enrollment.respond(refusal.clone()).await.expect("delivered");
        };
        let trust = ca.trust();
        let ((), answered) = tokio::join!(serve, client.enroll(address, SERVER_NAME, &trust, request()));
        assert_eq!(answered.expect("an answer"), refusal);
    })
    .await;
}

#[tokio::test]
async fn an_environment_larger_than_any_window_is_fetched_without_a_certificate() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (client, address) = client_for(&server);
        let request = FetchRequest {
            token: Zeroizing::new("ogr_token".to_owned()),
            project: None,
            environment: "staging/eu".to_owned(),
            seal_key: [5; 32],
            agent_version: "0.1.0".to_owned(),
        };
        let response = FetchResponse::Lent {
            project: ProjectId::from_bytes([1; 16]),
            environment: EnvironmentId::from_bytes([2; 16]),
            config: ConfigRef { generation: 3, hash: [4; 32] },
            sealed: Sealed { encapsulated: [7; 32], ciphertext: vec![8; 1024 * 1024] },
        };
        let serve = async {
            let Accepted::Fetch(mut fetch) = accept(&server).await.expect("accepted") else {
                panic!("asked for an environment");
            };
            let asked = fetch.request().await.expect("a request");
            fetch.respond(response.clone()).await.expect("delivered");
            asked
        };
        let trust = Trust::Fingerprint(fingerprint(&ca.certificate));
        let (asked, answered) = tokio::join!(serve, client.fetch(address, SERVER_NAME, &trust, request.clone()));
        assert!(asked == request);
        assert_eq!(answered.expect("an answer"), response);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_fingerprint_name_or_ca_is_not_trusted() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (client, address) = client_for(&server);
        let door = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(incoming) = server.accept().await {
                    assert!(incoming.handshake().await.is_err(), "the client must not complete");
                }
            }
        });
        let good = Trust::Fingerprint(fingerprint(&ca.certificate));
        let cases = [
            (Trust::Fingerprint([0; 32]), SERVER_NAME),
            (Authority::new().trust(), SERVER_NAME),
            (good, "other.outrigger.test"),
        ];
        for (trust, name) in &cases {
            let error = client.enroll(address, name, trust, request()).await.expect_err("not trusted");
            assert!(matches!(error, TransportError::Handshake { .. }), "{error:?}");
            assert_eq!(error.closed_by_peer(), None, "it was the client that refused");
        }
        server.close(CloseCode::Normal, "");
        door.await.expect("no client completed");
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_who_comes_and_leaves_who_is_there_alone() {
    within_deadline(async {
        const NEW_NAME: &str = "new.outrigger.test";
        let ca = Authority::new();
        let server = ca.listen();
        let (ours, theirs) = connected(&ca, &server).await;

        let (chain, _) = ca.server(NEW_NAME);
        let (_, foreign_key) = ca.server(NEW_NAME);
        assert!(server.renew(chain, foreign_key).is_err(), "the key is another certificate's");
        connected(&ca, &server).await;

        let (chain, key) = ca.server(NEW_NAME);
        server.renew(chain, key).expect("they fit together");
        let (client, address) = client_for(&server);
        let (identity, trust) = (ca.agent(agent(2), false), ca.trust());
        let (by_the_old_name, _) =
            tokio::join!(client.connect(address, SERVER_NAME, &trust, &identity), accept(&server));
        assert!(matches!(by_the_old_name, Err(TransportError::Handshake { .. })));
        let (by_the_new, theirs_too) =
            tokio::join!(client.connect(address, NEW_NAME, &trust, &identity), accept(&server));
        by_the_new.expect("connected");
        assert_eq!(agent_of(theirs_too).peer().agent, agent(2));

        let (_from_server, mut to_server) = ours.open_control().await.expect("control");
        to_server.send(&heartbeat(1)).await.expect("sent");
        let (mut from_agent, _to_agent) = theirs.accept_control().await.expect("control");
        assert_eq!(from_agent.next().await.expect("read"), Some(heartbeat(1)));
    })
    .await;
}

#[tokio::test]
async fn lanes_carry_frames_both_ways_under_the_certificates_identity() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (ours, theirs) = connected(&ca, &server).await;
        assert_eq!(theirs.peer().agent, agent(1));
        assert!(theirs.peer().not_after > UnixMillis::now());

        let (mut from_server, mut to_server) = ours.open_control().await.expect("control");
        to_server.send(&heartbeat(1)).await.expect("sent");
        let (mut from_agent, mut to_agent) = theirs.accept_control().await.expect("control");
        assert_eq!(from_agent.next().await.expect("read"), Some(heartbeat(1)));
        to_agent.send(&ServerMessage::Drain).await.expect("sent");
        assert_eq!(from_server.next().await.expect("read"), Some(ServerMessage::Drain));

        let id = BatchId { epoch: 1, seq: 1 };
        let mut sample = Sample::new(UnixMillis::from_millis(5));
        sample.set(Metric::Cpu, 12.5);
        let metrics = MetricBatch { id, samples: vec![sample], dropped: 0 };
        // As large as its lane allows, sixteen times the stream's window.
        let record = LogRecord {
            at: UnixMillis::from_millis(5),
            stream: LogStream::Stdout,
            level: Level::Info,
            message: "x".repeat(limits::LOG_LINE_BYTES),
            truncated: true,
        };
        let logs = LogBatch { id, records: vec![record; 15], dropped: 3 };
        let send = async {
            let mut to_metrics = ours.open_metrics().await.expect("metrics");
            let mut to_logs = ours.open_logs().await.expect("logs");
            to_metrics.send(&metrics).await.expect("sent");
            to_metrics.finish().await.expect("finished");
            to_logs.send(&logs).await.expect("sent");
            to_logs.finish().await.expect("finished");
        };
        let receive = async {
            for _ in 0..2 {
                match theirs.accept_lane().await.expect("a lane") {
                    Lane::Metrics(mut reader) => {
                        assert_eq!(reader.next().await.expect("read").as_ref(), Some(&metrics));
                        assert_eq!(reader.next().await.expect("read"), None, "finished");
                    }
                    Lane::Logs(mut reader) => {
                        assert_eq!(reader.next().await.expect("read").as_ref(), Some(&logs));
                    }
                }
            }
        };
        tokio::join!(send, receive);

        theirs.close(CloseCode::Replaced, "a newer connection");
        assert_eq!(ours.closed().await.closed_by_peer(), Some(CloseCode::Replaced));
        let error = from_server.next().await.expect_err("closed");
        assert_eq!(error.closed_by_peer(), Some(CloseCode::Replaced));
        assert!(theirs.closed().await.closed_by_us());
    })
    .await;
}

#[tokio::test]
async fn an_offer_of_two_mebibytes_passes_the_small_windows() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (ours, theirs) = connected(&ca, &server).await;
        let sealed =
            Sealed { encapsulated: [1; 32], ciphertext: vec![0x5a; limits::CONTROL_TO_AGENT_BYTES as usize - 128] };
        let config = ConfigRef { generation: 1, hash: [2; 32] };
        let offer = ServerMessage::Offer(Box::new(ConfigOffer { config, nonce: [3; 16], sealed }));
        let (mut from_server, mut to_server) = ours.open_control().await.expect("control");
        to_server.send(&heartbeat(1)).await.expect("sent");
        let (_from_agent, mut to_agent) = theirs.accept_control().await.expect("control");
        let (sent, received) = tokio::join!(to_agent.send(&offer), from_server.next());
        sent.expect("sent");
        assert!(received.expect("read").as_ref() == Some(&offer));
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (ours, theirs) = connected(&ca, &server).await;
        let (_from_server, mut to_server) = ours.open_control().await.expect("control");
        to_server.send(&heartbeat(0)).await.expect("sent");
        let (mut from_agent, _to_agent) = theirs.accept_control().await.expect("control");
        assert_eq!(from_agent.next().await.expect("read"), Some(heartbeat(0)));

        let frames = 200;
        let send = async {
            for number in 1..=frames {
                to_server.send(&AgentMessage::Renew { csr: vec![number; 5_000] }).await.expect("sent");
            }
        };
        let receive = async {
            let mut number = 1;
            while number <= frames {
                // Polled once and dropped, over and over: what had arrived must not be lost.
                tokio::select! {
                    biased;
                    frame = from_agent.next() => {
                        assert_eq!(frame.expect("read"), Some(AgentMessage::Renew { csr: vec![number; 5_000] }));
                        number += 1;
                    }
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        tokio::join!(send, receive);
    })
    .await;
}

/// The close code that an agent sees.
async fn refused(identity: &ClientIdentity, ca: &Authority) -> Option<CloseCode> {
    let server = ca.listen();
    let (client, address) = client_for(&server);
    let trust = ca.trust();
    let (ours, theirs) = tokio::join!(client.connect(address, SERVER_NAME, &trust, identity), accept(&server));
    assert!(theirs.is_err(), "the server must not accept");
    ours.expect("TLS 1.3 completes on the client first").closed().await.closed_by_peer()
}

#[tokio::test]
async fn a_foreign_expired_or_nameless_certificate_is_refused() {
    within_deadline(async {
        let ca = Authority::new();
        let foreign = Authority::new().agent(agent(1), false);
        assert_eq!(refused(&foreign, &ca).await, Some(CloseCode::Unauthorized));
        let expired = ca.agent(agent(1), true);
        assert_eq!(refused(&expired, &ca).await, Some(CloseCode::CertificateExpired));
        let nameless = ca.identity(vec![SanType::DnsName(Ia5String::try_from("x.test").expect("ASCII"))], false);
        assert_eq!(refused(&nameless, &ca).await, Some(CloseCode::Unauthorized));
    })
    .await;
}

#[tokio::test]
async fn a_server_at_its_limit_turns_agents_away_and_serves_the_rest() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen_with(ServerLimits { connections: 1, ..ServerLimits::default() });
        let (_ours, _theirs) = connected(&ca, &server).await;
        let (client, address) = client_for(&server);
        let (trust, identity) = (ca.trust(), ca.agent(agent(2), false));
        tokio::select! {
            refused = client.connect(address, SERVER_NAME, &trust, &identity) => {
                assert!(matches!(refused, Err(TransportError::Handshake { .. })), "{refused:?}");
            }
            _ = server.accept() => panic!("the second agent is one too many"),
        }
    })
    .await;
}

#[tokio::test]
async fn under_load_an_address_is_validated_first_and_the_agent_still_comes_in() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen_with(ServerLimits { handshakes_before_retry: 0, ..ServerLimits::default() });
        connected(&ca, &server).await;
    })
    .await;
}

#[tokio::test]
async fn closing_the_server_tells_every_agent_why() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (ours, theirs) = connected(&ca, &server).await;
        server.close(CloseCode::Drain, "update");
        assert_eq!(ours.closed().await.closed_by_peer(), Some(CloseCode::Drain));
        drop(theirs);
        server.wait_idle().await;
        assert!(server.accept().await.is_none());
    })
    .await;
}
