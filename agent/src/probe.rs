//! Whether anything listens at an address, as far as its machine tells.
//!
//! QUIC cannot say "refused": its socket is not connected, so the kernel has nobody to hand the ICMP answer to, and a
//! closed port looks like silence until the handshake times out. A second, connected socket gets that answer at once.
//! It sends one empty datagram, which every QUIC server ignores.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

/// Completes when the address refuses, and only then. Cancel safe.
pub(crate) async fn refused(address: SocketAddr) -> io::Error {
    match ask(address).await {
        Err(error) if is_refusal(&error) => error,
        // Silence, an answer, or no way to ask: the handshake tells the rest.
        _ => std::future::pending().await,
    }
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 1]).await.map(|_| ())
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_closed_port_refuses_at_once_and_an_open_one_never() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut open = std::pin::pin!(refused(address));
        let mut buffer = [0; 1];
        // The datagram has arrived, so the question was asked; and there is no answer.
        tokio::select! {
            error = &mut open => panic!("an open port refused: {error}"),
            received = listener.recv(&mut buffer) => assert_eq!(received.expect("received"), 0),
        }
        drop(listener);
        timeout(Duration::from_secs(10), refused(address)).await.expect("a closed port refuses");
    }
}
