//! A peer that speaks QUIC and TLS as it should and then misbehaves.

use std::sync::Arc;

use super::*;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ApplicationClose, ClientConfig, Connection, ConnectionError, Endpoint};

async fn connect(ca: &Authority, server: &ServerEndpoint, alpn: &[u8], identity: Option<ClientIdentity>) -> Connection {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate.clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).expect("an identity"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("QUIC")));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a client");
    let address = server.local_addr().expect("an address");
    endpoint.connect_with(config, address, SERVER_NAME).expect("connecting").await.expect("connected")
}

fn code(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) => {
            Some(CloseCode::from_code(u32::try_from(error_code.into_inner()).expect("32 bits")))
        }
        _ => None,
    }
}

/// What the server does with an enrolled agent that writes `bytes` to its control stream and finishes it.
async fn writes(bytes: &[u8]) -> (TransportError, Option<CloseCode>) {
    let ca = Authority::new();
    let server = ca.listen();
    let connection = connect(&ca, &server, b"outrigger/1", Some(ca.agent(agent(1), false)));
    let (connection, accepted) = tokio::join!(connection, accept(&server));
    let theirs = agent_of(accepted);
    let (mut send, _receive) = connection.open_bi().await.expect("a stream");
    send.write_all(bytes).await.expect("written");
    send.finish().expect("finished");
    let (mut reader, _writer) = theirs.accept_control().await.expect("control");
    let error = reader.next().await.expect_err("refused");
    (error, code(&connection.closed().await))
}

#[tokio::test]
async fn an_oversize_frame_closes_with_its_code() {
    within_deadline(async {
        let (error, seen) = writes(&u32::MAX.to_be_bytes()).await;
        let TransportError::Frame { source: CodecError::TooLarge { length, .. } } = error else {
            panic!("{error:?}");
        };
        assert_eq!((length, seen), (u64::from(u32::MAX), Some(CloseCode::FrameTooLarge)));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_version_garbage_and_a_torn_frame_close_with_theirs() {
    within_deadline(async {
        let (_, seen) = writes(&[0, 0, 0, 2, 9, 0]).await;
        assert_eq!(seen, Some(CloseCode::UnknownVersion));
        let (_, seen) = writes(&[0, 0, 0, 2, 1, 200]).await;
        assert_eq!(seen, Some(CloseCode::ProtocolError));
        let (error, seen) = writes(&[0, 0, 0, 9, 1]).await;
        assert!(matches!(error, TransportError::Truncated { .. }), "{error:?}");
        assert_eq!(seen, Some(CloseCode::ProtocolError));
    })
    .await;
}

#[tokio::test]
async fn an_agent_without_a_certificate_is_unauthorised() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let (connection, accepted) = tokio::join!(connect(&ca, &server, b"outrigger/1", None), accept(&server));
        assert!(matches!(accepted, Err(TransportError::NoCertificate)), "{accepted:?}");
        assert_eq!(code(&connection.closed().await), Some(CloseCode::Unauthorized));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_lane_closes_the_connection() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let connection = connect(&ca, &server, b"outrigger/1", Some(ca.agent(agent(1), false)));
        let (connection, accepted) = tokio::join!(connection, accept(&server));
        let theirs = agent_of(accepted);
        connection.open_uni().await.expect("a stream").write_all(&[77]).await.expect("written");
        let error = theirs.accept_lane().await.expect_err("no such lane");
        assert!(matches!(error, TransportError::UnknownLane { number: 77 }), "{error:?}");
        assert_eq!(code(&connection.closed().await), Some(CloseCode::ProtocolError));
    })
    .await;
}

#[tokio::test]
async fn streams_beyond_the_lanes_are_not_granted() {
    within_deadline(async {
        let ca = Authority::new();
        let server = ca.listen();
        let connection = connect(&ca, &server, b"outrigger/1", Some(ca.agent(agent(1), false)));
        let (connection, _accepted) = tokio::join!(connection, accept(&server));
        let _control = connection.open_bi().await.expect("control");
        let _lanes = [connection.open_uni().await.expect("one"), connection.open_uni().await.expect("two")];
        tokio::select! {
            biased;
            _ = connection.open_bi() => panic!("a second control stream"),
            _ = connection.open_uni() => panic!("a third lane"),
            () = tokio::task::yield_now() => {}
        }
    })
    .await;
}
