use std::time::Duration;

/// What clients may take, and how long anything may last.
#[derive(Debug, Clone, Copy)]
pub struct LiveConfig {
    /// Connections that have not shown a valid token yet.
    pub waiting: usize,
    /// Connections with a valid token.
    pub sockets: usize,
    /// Of those, the ones of one user.
    pub sockets_per_user: usize,
    /// Subscriptions of one socket.
    pub subscriptions: usize,
    /// Requests and answers of one socket that may be under way. A client that asks for more at once is sent away.
    pub requests: usize,
    /// Updates that wait for one socket, in number and in bytes of text. The text is shared between sockets.
    pub queue: usize,
    pub queue_bytes: usize,
    /// How long a client may go without catching up once its queue was full. Then it is dropped.
    pub patience: Duration,
    /// How long a client that is dropped has to read why.
    pub grace: Duration,
    /// Between two looks at whether a token is still valid.
    pub recheck: Duration,
    /// From a connection to a valid token.
    pub sign_in: Duration,
    /// Between two questions whether a client is still there, and how long it may take to answer.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            waiting: 1024,
            sockets: 4096,
            sockets_per_user: 1024,
            subscriptions: 64,
            requests: 128,
            queue: 4096,
            queue_bytes: 1024 * 1024,
            patience: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            recheck: Duration::from_secs(5),
            sign_in: Duration::from_secs(10),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
        }
    }
}
