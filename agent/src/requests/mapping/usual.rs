//! The names that programs usually give to what Outrigger wants to know. Most telling first.
//!
//! Sources: the Prometheus client libraries' conventions (`http_requests_total`, `http_request_duration_seconds`),
//! OpenTelemetry's semantic conventions for HTTP as the Prometheus exporters spell them
//! (`http.server.request.duration`, before 1.20 `http.server.duration`), Micrometer
//! (`http_server_requests_seconds`), prometheus-fastapi-instrumentator (`http_request_duration_highr_seconds`),
//! go-grpc-prometheus (`grpc_server_handled_total`), celery exporters (`celery_queue_length`), gunicorn's StatsD
//! instrumentation.

/// A metric of Outrigger's and the selectors that are tried for it, in this order.
type Usual = &'static [(&'static str, &'static [&'static str])];

pub(super) const SCRAPED: Usual = &[
    (
        "requests",
        &[
            "http_requests_total",
            "http_server_requests_total",
            "http_server_request_duration_seconds_count",
            "http_request_duration_seconds_count",
            "http_server_requests_seconds_count",
            "http_server_duration_milliseconds_count",
            "http_request_duration_highr_seconds_count",
            "grpc_server_handled_total",
        ],
    ),
    (
        "request_errors",
        &[
            "http_requests_total{code|status|status_code|http_status=\"5*\"}",
            "http_server_requests_total{code|status|status_code|http_status=\"5*\"}",
            "http_server_request_duration_seconds_count{http_response_status_code|code|status|status_code=\"5*\"}",
            "http_request_duration_seconds_count{code|status|status_code|http_status=\"5*\"}",
            "http_server_requests_seconds_count{status=\"5*\"}",
            "http_server_duration_milliseconds_count{http_status_code|http_response_status_code=\"5*\"}",
            // The codes that become 5xx over HTTP (google.rpc.Code).
            "grpc_server_handled_total{grpc_code=\"Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss\"}",
        ],
    ),
    (
        "response_time",
        &[
            "http_server_request_duration_seconds",
            // The same answers as in http_request_duration_seconds, in more buckets.
            "http_request_duration_highr_seconds",
            "http_request_duration_seconds",
            "http_server_requests_seconds",
            "http_server_duration_milliseconds",
            "grpc_server_handling_seconds",
        ],
    ),
    (
        "requests_in_flight",
        &[
            "http_server_active_requests",
            "http_requests_in_flight",
            "http_requests_inprogress",
            "http_requests_in_progress",
        ],
    ),
    ("queue_depth", &["queue_depth", "queue_length", "celery_queue_length"]),
];

pub(super) const STATSD: Usual = &[
    ("requests", &["requests", "*gunicorn.requests"]),
    ("request_errors", &["request_errors", "*gunicorn.request.status.5*"]),
    ("response_time", &["response_time", "*gunicorn.request.duration"]),
    ("requests_in_flight", &["requests_in_flight"]),
    ("queue_depth", &["queue_depth", "queue.depth", "*.queue_depth", "*.queue.depth"]),
];
