//! UDP sockets as quinn takes them.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::TransportError;

/// Room for a burst of thousands of agents between two turns of the endpoint. The kernel may grant less
/// (`net.core.rmem_max`); what does not fit is retransmitted.
const SERVER_BUFFER_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn bind_server(address: SocketAddr) -> Result<UdpSocket, TransportError> {
    let bound = bind(address, |socket| {
        // Best effort: a smaller buffer works, and says so in nothing but retransmissions.
        if let Err(error) = socket.set_recv_buffer_size(SERVER_BUFFER_BYTES) {
            tracing::debug!(%error, "udp receive buffer not enlarged");
        }
        if let Err(error) = socket.set_send_buffer_size(SERVER_BUFFER_BYTES) {
            tracing::debug!(%error, "udp send buffer not enlarged");
        }
    })?;
    Ok(bound)
}

pub(super) fn bind_client(address: SocketAddr) -> Result<UdpSocket, TransportError> {
    bind(address, |_| {})
}

fn bind(address: SocketAddr, prepare: impl FnOnce(&Socket)) -> Result<UdpSocket, TransportError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            // `[::]` serves both families, whatever the system's default is.
            socket.set_only_v6(false)?;
        }
        prepare(&socket);
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| TransportError::Bind { address, source })
}
