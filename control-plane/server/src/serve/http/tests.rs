use std::net::Ipv4Addr;

use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// For the head of a request, of a client that is to be too slow.
const SHORT: Duration = Duration::from_secs(1);
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const BODY: &str = "here you are";

async fn serve(router: Router, connections: usize, header_timeout: Duration) -> Http {
    let listener = Http::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    Http::serve(listener, router, HttpLimits { connections, header_timeout, stalled: SHORT }).unwrap()
}

fn quick() -> Router {
    Router::new().route("/", get(async || BODY))
}

/// A client that says what it is told to, byte for byte.
struct Client(TcpStream);

impl Client {
    async fn of(http: &Http) -> Self {
        Self(TcpStream::connect(http.address()).await.unwrap())
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes, until the end of an answer or of the connection.
    async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let listen = async {
            while !heard.ends_with(BODY.as_bytes()) && self.0.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
        };
        timeout(PATIENCE, listen).await.expect("an answer or an end");
        String::from_utf8(heard).unwrap()
    }

    async fn ask(&mut self) -> String {
        self.say(REQUEST).await;
        self.hear().await
    }
}

#[tokio::test]
async fn who_does_not_get_on_with_a_request_is_cut_off_and_others_are_served() {
    let http = serve(quick(), 8, SHORT).await;
    let (mut half, mut silent, mut kept) = (Client::of(&http).await, Client::of(&http).await, Client::of(&http).await);
    half.say("GET / HTTP/1.1\r\nhost: x\r\nx-slow").await;
    assert!(kept.ask().await.starts_with("HTTP/1.1 200"));
    for slow in [&mut half, &mut silent, &mut kept] {
        assert_eq!(slow.hear().await, "", "the connection ends without an answer");
    }
    assert!(Client::of(&http).await.ask().await.ends_with(BODY));
    http.stop().await;
}

#[tokio::test]
async fn who_is_one_too_many_is_served_when_there_is_a_place() {
    let http = serve(quick(), 2, PATIENCE * 10).await;
    let (mut first, mut second) = (Client::of(&http).await, Client::of(&http).await);
    assert!(first.ask().await.ends_with(BODY) && second.ask().await.ends_with(BODY));
    let mut third = Client::of(&http).await;
    third.say(REQUEST).await;
    assert!(timeout(Duration::from_millis(200), third.0.readable()).await.is_err(), "both places are taken");
    assert!(first.ask().await.ends_with(BODY), "those who have one are served");
    drop(second);
    assert!(third.hear().await.ends_with(BODY));
    http.stop().await;
}

#[tokio::test]
async fn a_slow_client_loses_its_place_to_who_waits() {
    let http = serve(quick(), 1, SHORT).await;
    let mut slow = Client::of(&http).await;
    slow.say("GET / HT").await;
    assert!(Client::of(&http).await.ask().await.ends_with(BODY));
    assert_eq!(slow.hear().await, "");
    http.stop().await;
}

#[tokio::test]
async fn who_does_not_take_its_answer_loses_its_place() {
    // More than the kernel keeps for both sides.
    let long = Router::new().route("/long", get(async || vec![b'x'; 64 * 1024 * 1024]));
    let http = serve(quick().merge(long), 1, PATIENCE * 10).await;
    let mut stuck = Client::of(&http).await;
    stuck.say("GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(Client::of(&http).await.ask().await.ends_with(BODY));
    http.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_until_it_is_closed() {
    let upgrade = async |mut request: Request| {
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut connection = TokioIo::new(upgrading.await.unwrap());
            connection.write_all(BODY.as_bytes()).await.unwrap();
            // Until the client leaves.
            let _ = connection.read(&mut [0]).await;
        });
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "mirror")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    };
    let http = serve(quick().route("/upgrade", get(upgrade)), 1, PATIENCE * 10).await;
    let mut upgraded = Client::of(&http).await;
    upgraded.say("GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: mirror\r\n\r\n").await;
    assert!(upgraded.hear().await.starts_with("HTTP/1.1 101"));
    let mut next = Client::of(&http).await;
    next.say(REQUEST).await;
    assert!(timeout(Duration::from_millis(200), next.0.readable()).await.is_err(), "the place is taken");
    drop(upgraded);
    assert!(next.hear().await.ends_with(BODY));
    http.stop().await;
}

#[tokio::test]
async fn what_is_under_way_when_the_server_stops_is_finished_and_nothing_begun() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
        async move || {
            entered.notify_one();
            release.notified().await;
            BODY
        }
    };
    let http = serve(Router::new().route("/", get(handler)), 8, PATIENCE * 10).await;
    let address = http.address();
    let (mut busy, mut idle) = (Client::of(&http).await, Client::of(&http).await);
    busy.say(REQUEST).await;
    entered.notified().await;
    let stopped = tokio::spawn(http.stop());
    assert_eq!(idle.hear().await, "", "nothing was under way here");
    release.notify_one();
    assert!(busy.hear().await.ends_with(BODY));
    timeout(PATIENCE, stopped).await.expect("it stops").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_handler_knows_who_asks() {
    let router =
        Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| format!("{peer} {BODY}")));
    let http = serve(router, 8, PATIENCE).await;
    let mut client = Client::of(&http).await;
    let from = client.0.local_addr().unwrap();
    assert!(client.ask().await.contains(&from.to_string()));
    http.stop().await;
}
