//! How much a connection may cost. quinn's defaults let one peer hold 250 MB and keep a dead one for ever.
//!
//! The windows bound what a peer can make this side hold, not what a frame may be: a 2 MiB offer flows through a 64 KiB
//! window because the reader empties it as it goes. The connection's window is larger than all its streams'
//! together, so that a lane nobody reads cannot take another lane's share.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// An agent says something this often, so that a NAT keeps its binding (RFC 9308, 3.2: 30 s expire many).
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Three keep-alives lost in a row.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// From the first packet to a verified peer. Beyond it the path or the peer is not usable.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const _: () = assert!(3 * STREAM_WINDOW < CONNECTION_WINDOW, "three lanes must not starve each other");

/// Control.
const BIDIRECTIONAL_STREAMS: u32 = 1;
/// Metrics and logs.
const UNIDIRECTIONAL_STREAMS: u32 = 2;

/// An agent's side: it keeps the connection alive and accepts no streams.
pub(super) fn agent() -> Arc<TransportConfig> {
    let mut config = bounded();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Agents send little, and sandboxes' network devices often get segmentation offload wrong.
        .enable_segmentation_offload(false);
    Arc::new(config)
}

/// The control plane's side of every agent.
pub(super) fn server() -> Arc<TransportConfig> {
    let mut config = bounded();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDIRECTIONAL_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(UNIDIRECTIONAL_STREAMS));
    Arc::new(config)
}

fn bounded() -> TransportConfig {
    let idle = VarInt::from_u32(u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX));
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        // Probing costs packets and memory per connection, and frames are small.
        .mtu_discovery_config(None);
    config
}
