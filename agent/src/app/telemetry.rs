//! What is seen of the program, on its way to the spools.

use std::time::{Duration, Instant};

use outrigger_protocol::log::LogStream;
use outrigger_protocol::metric::SAMPLE_INTERVALS;
use tokio::sync::oneshot;

use crate::config::{ProxyConfig, RunConfig};
use crate::environment::Hint;
use crate::logs::LogRecords;
use crate::requests::RequestMeter;
use crate::requests::mapping::Mapping;
use crate::requests::proxy::{Proxy, ProxyError};
use crate::requests::scrape::Scraper;
use crate::requests::statsd::{Statsd, StatsdError};
use crate::sampler::{ProgramPid, Sampler, SamplerConfig};
use crate::session::Link;
use crate::spool::Reading;
use crate::status::{ScrapeStatus, StatsdStatus};

/// Until the control plane says otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum TelemetryError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Statsd(#[from] StatsdError),
}

/// Samples on a fixed beat, and where the part of them comes from that is about requests.
#[derive(Debug)]
pub(super) struct Telemetry {
    interval: Duration,
    /// The operator's word; the control plane's does not count then.
    is_fixed: bool,
    due: Instant,
    last: Instant,
    pid: ProgramPid,
    /// Opened with the first sample: a program that ends before it costs nothing.
    sampler: Option<Sampler>,
    requests: Option<RequestMeter>,
    stop_proxy: Option<oneshot::Sender<()>>,
    scraper: Option<Scraper>,
    statsd: Option<Statsd>,
    /// The program has printed something.
    program_spoke: bool,
}

impl Telemetry {
    /// Binds what is to listen before the program is started: it may be relied on.
    pub(super) async fn start(config: &RunConfig, pid: ProgramPid, now: Instant) -> Result<Self, TelemetryError> {
        let interval = config.sample_interval.unwrap_or(DEFAULT_INTERVAL);
        let mut telemetry = Self {
            interval,
            is_fixed: config.sample_interval.is_some(),
            due: now + interval,
            last: now,
            pid,
            sampler: None,
            requests: None,
            stop_proxy: None,
            scraper: None,
            statsd: None,
            program_spoke: false,
        };
        if let Some(ProxyConfig { route, limits }) = config.proxy.clone() {
            let proxy = Proxy::bind(route, limits).await?;
            telemetry.requests = Some(proxy.meter());
            let (stop, stopped) = oneshot::channel();
            telemetry.stop_proxy = Some(stop);
            tokio::spawn(proxy.run(async {
                // A sender that is gone means the same as one that spoke.
                let _ = stopped.await;
            }));
        }
        let proxied = config.proxy.is_some();
        let observed = &config.observed;
        if !observed.statsd.is_empty() {
            let mapping = Mapping::of_statsd(&observed.rules, proxied);
            telemetry.statsd = Some(Statsd::listen(&observed.statsd, mapping, config.account.as_ref()).await?);
        }
        if let Some(scrape) = &observed.scrape {
            let mapping = Mapping::of_scrape(&observed.rules, proxied);
            let pid = telemetry.pid.clone();
            telemetry.scraper = Some(Scraper::start(scrape, mapping, pid, telemetry.due, interval));
        }
        Ok(telemetry)
    }

    /// How often to sample, as the control plane says.
    pub(super) fn set_interval(&mut self, interval: Duration, now: Instant) {
        // One that is out of bounds is answered with the nearest.
        let interval = interval.clamp(*SAMPLE_INTERVALS.start(), *SAMPLE_INTERVALS.end());
        if !self.is_fixed && interval != self.interval {
            self.interval = interval;
            // Sooner at once, later from the next sample on: no change, however often it comes, puts off what is due.
            self.due = self.due.min(now + interval);
            self.announce();
        }
    }

    /// Tells when the next sample is taken, for what has to be there by then.
    fn announce(&self) {
        if let Some(scraper) = &self.scraper {
            scraper.expect(self.due, self.interval);
        }
    }

    /// What the program is told about where its metrics are heard.
    pub(super) fn hints(&self) -> Vec<Hint> {
        self.statsd.as_ref().map(Statsd::hints).unwrap_or_default()
    }

    /// What the program said of its state holds no longer.
    pub(super) fn program_ended(&self) {
        if let Some(statsd) = &self.statsd {
            statsd.program_ended();
        }
    }

    pub(super) fn scrape_status(&self) -> Option<ScrapeStatus> {
        self.scraper.as_ref().map(|scraper| ScrapeStatus::new(scraper.url(), scraper.figures()))
    }

    pub(super) fn statsd_status(&self) -> Option<StatsdStatus> {
        self.statsd.as_ref().map(|statsd| StatsdStatus::new(statsd.addresses(), statsd.figures()))
    }

    /// When the next sample is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Takes a sample and hands it to the spool, which sends it at once: a decision waits for it.
    pub(super) fn sample(&mut self, link: &Link, now: Instant) {
        let sampler = self.sampler.get_or_insert_with(|| Sampler::new(SamplerConfig::new(self.pid.clone())));
        let mut sample = sampler.sample(link.clock().now(), now);
        let elapsed = now.saturating_duration_since(self.last);
        if let Some(requests) = &self.requests {
            requests.take(elapsed, &mut sample);
        }
        if let Some(scraper) = &self.scraper {
            scraper.take(&mut sample);
        }
        if let Some(statsd) = &self.statsd {
            statsd.take(elapsed, now, &mut sample);
        }
        link.push_sample(Reading { sample, covers: elapsed });
        self.last = now;
        // On the beat; beats that were missed (a stopped agent, a suspended machine) are not made up for.
        self.due += self.interval;
        if self.due <= now {
            self.due = now + self.interval;
        }
        self.announce();
    }

    /// Hands log lines to the spool.
    pub(super) fn forward(&mut self, lines: LogRecords, link: &Link) {
        for record in lines.records {
            self.program_spoke |= record.stream != LogStream::Agent;
            link.push_record(record);
        }
        link.count_dropped_lines(lines.dropped);
    }

    /// Whether there are lines of the program that are worth waiting for at the end. The agent's own are not: what they
    /// say is in its messages.
    pub(super) const fn program_spoke(&self) -> bool {
        self.program_spoke
    }

    /// The program is being stopped for good: no new connections, so that clients go elsewhere, and time for the requests
    /// under way.
    pub(super) fn stop_proxy(&mut self) {
        self.stop_proxy = None;
    }
}
