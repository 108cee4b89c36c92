//! The recent past of a deployment in memory, at the resolution in which it was sampled.
//!
//! Samples go in one by one, as agents send them; aggregated series come out, for policies and for people. Time is cut
//! into slots of one [`WindowConfig::resolution`]; an instance has at most one value per metric and slot. Everything
//! is bounded: slots, metrics per instance, instances. What is kept per instance is small, because there are thousands
//! of them: 4 bytes a value, and a metric that does not change costs a few bytes a minute (see `column`).
//!
//! Clocks lie. A sample is never placed later than it was received: an agent whose clock is ahead is shifted by what
//! it is ahead, sample by sample, so that the distances between its samples stay. An agent whose clock is behind looks
//! old, and old metrics hold. When the control plane's own clock is set back, what now lies in the future is forgotten.

mod column;
mod series;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::limits::CUSTOM_METRICS_PER_SAMPLE;
use outrigger_protocol::metric::{Metric, Unit};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use column::{Column, Presence};
pub use series::{Aggregate, Span};
pub use usage::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    /// The length of a slot: the interval at which agents sample. At least a millisecond.
    pub resolution: Duration,
    /// Slots that are kept.
    pub points: usize,
    /// Metrics of a program's own in one instance; further ones are dropped. Those of the registry are kept beside them.
    /// One that changes with every sample takes up to 1.8 KiB (6 chunks of 256 bytes, and their list), one that never
    /// does 0.25 KiB: with the defaults, at most 115 KiB an instance for a program's own and 58 KiB for the registry's.
    pub custom_metrics: usize,
    /// Instances of one deployment; samples of further ones are dropped.
    pub instances: usize,
    /// For how long a value stands where nothing newer is known. Agents send every few seconds what they sample every
    /// second, so the newest slots are often still on their way.
    pub carry: Duration,
}

impl Default for WindowConfig {
    /// Five minutes of seconds; all that an agent may send; a value stands as long as the default guard calls it fresh.
    fn default() -> Self {
        Self {
            resolution: Duration::from_secs(1),
            points: 300,
            custom_metrics: CUSTOM_METRICS_PER_SAMPLE,
            instances: 10_000,
            carry: crate::GuardConfig::FRESHNESS,
        }
    }
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Stored,
    /// Stored, at the moment it was received: it claimed to be from the future.
    Retimed,
    /// Its slot has a sample that is as new.
    Duplicate,
    /// From before the window.
    TooOld,
    /// Nothing in it that can be used.
    Empty,
    /// The deployment has as many instances as it may.
    Full,
}

/// The samples of all instances of one deployment.
#[derive(Debug)]
pub struct DeploymentWindow {
    config: WindowConfig,
    instances: BTreeMap<InstanceId, InstanceWindow>,
    /// Response times of all instances together, by slot. They are merged on arrival: percentiles of single
    /// instances cannot be put together afterwards.
    latency: BTreeMap<u64, LatencyHistogram>,
    /// Every name of a program's own metric, once.
    names: BTreeSet<Arc<str>>,
}

/// Which metric a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Known(Metric),
    Custom(Arc<str>),
}

impl Key {
    fn name(&self) -> &str {
        match self {
            Self::Known(metric) => metric.name(),
            Self::Custom(name) => name,
        }
    }
}

#[derive(Debug, Default)]
struct InstanceWindow {
    columns: Vec<(Key, Column)>,
    presence: Presence,
    /// When the newest sample was taken, by the control plane's clock.
    newest: UnixMillis,
    received: UnixMillis,
    /// Milliseconds by which the agent's clock is ahead.
    ahead: u64,
    /// Quantiles of the newest sample that had requests; see [`QUANTILES`].
    quantiles: Option<(UnixMillis, [f32; 3])>,
}

/// The metrics that are computed from response times.
const QUANTILES: [(Metric, f64); 3] =
    [(Metric::ResponseTimeP50, 0.50), (Metric::ResponseTimeP95, 0.95), (Metric::ResponseTimeP99, 0.99)];

impl Default for DeploymentWindow {
    fn default() -> Self {
        Self::new(WindowConfig::default())
    }
}

impl DeploymentWindow {
    #[must_use]
    pub fn new(config: WindowConfig) -> Self {
        Self { config, instances: BTreeMap::new(), latency: BTreeMap::new(), names: BTreeSet::new() }
    }

    #[must_use]
    pub const fn config(&self) -> &WindowConfig {
        &self.config
    }

    /// Takes in one sample. Values that are not finite, or that nothing real can have, are left out.
    pub fn push(&mut self, instance: InstanceId, sample: &Sample, received_at: UnixMillis) -> Pushed {
        let usable = sample.values.iter().any(|(metric, value)| plausible(metric.unit(), *value))
            || sample.custom.iter().any(|(_, value)| plausible(Unit::Count, value.abs()))
            || sample.latency.as_ref().is_some_and(|latency| !latency.is_empty());
        if !usable {
            return Pushed::Empty;
        }
        if !self.instances.contains_key(&instance) && self.instances.len() >= self.config.instances {
            return Pushed::Full;
        }
        let config = self.config;
        let now_slot = self.slot(received_at);
        let window = self.instances.entry(instance).or_default();
        if window.newest > received_at {
            *window = InstanceWindow::default();
        }
        let (at, retimed) = window.place(sample.at, received_at, &config);
        let slot = slot_of(&config, at);
        if slot.saturating_add(config.points as u64) <= now_slot {
            if window.presence.is_empty() {
                self.instances.remove(&instance);
            }
            return Pushed::TooOld;
        }
        let newer = at > window.newest || (retimed && at == window.newest);
        if !newer && window.presence.contains(slot) {
            return Pushed::Duplicate;
        }
        window.store(&config, slot, sample, &mut self.names);
        if newer {
            (window.newest, window.received) = (at, received_at);
        }
        if let Some(latency) = sample.latency.as_ref().filter(|latency| !latency.is_empty()) {
            window.quantiles = Some((at, QUANTILES.map(|(_, q)| millis(latency.quantile(q)))));
            self.latency.entry(slot).or_default().merge(latency);
            self.trim_latency(now_slot);
        }
        if retimed { Pushed::Retimed } else { Pushed::Stored }
    }

    /// Forgets an instance. The response times it reported stay: those requests were answered.
    pub fn remove_instance(&mut self, instance: InstanceId) {
        if self.instances.remove(&instance).is_some() {
            forget_unused(&mut self.names);
        }
    }

    /// In the order of their ids.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.instances.keys().copied()
    }

    /// The newest value of a metric of one instance and when it was taken. `metric` is a name without a suffix.
    #[must_use]
    pub fn latest(&self, instance: InstanceId, metric: &str) -> Option<(UnixMillis, f64)> {
        let window = self.instances.get(&instance)?;
        if let Some(at) = QUANTILES.iter().position(|(quantile, _)| quantile.name() == metric) {
            return window.quantiles.map(|(taken, values)| (taken, f64::from(values[at])));
        }
        let (slot, value) = window.column(metric)?.newest()?;
        let start = UnixMillis::from_millis(slot.saturating_mul(resolution(&self.config)));
        let at = if slot == self.slot(window.newest) { window.newest } else { start };
        Some((at, f64::from(value)))
    }

    /// When the newest sample of an instance was taken.
    #[must_use]
    pub fn newest(&self, instance: InstanceId) -> Option<UnixMillis> {
        self.instances.get(&instance).map(|window| window.newest)
    }

    /// When the newest sample of all was taken.
    #[must_use]
    pub fn freshest(&self) -> Option<UnixMillis> {
        self.instances.values().map(|window| window.newest).max()
    }

    /// When the newest sample of all was received.
    #[must_use]
    pub fn received(&self) -> Option<UnixMillis> {
        self.instances.values().map(|window| window.received).max()
    }

    /// How many of the instances that `include` accepts have a sample that is at most `age` old.
    #[must_use]
    pub fn fresh(&self, now: UnixMillis, age: Duration, include: impl Fn(InstanceId) -> bool) -> u32 {
        let fresh = self.instances.iter().filter(|(id, window)| include(**id) && now.since(window.newest) <= age);
        u32::try_from(fresh.count()).unwrap_or(u32::MAX)
    }

    /// Every metric that some instance has reported lately, by name.
    #[must_use]
    pub fn metrics(&self) -> BTreeSet<&str> {
        let columns = self.instances.values().flat_map(|window| &window.columns).map(|(key, _)| key.name());
        let quantiles = QUANTILES.iter().filter(|_| !self.latency.is_empty()).map(|(metric, _)| metric.name());
        columns.chain(quantiles).collect()
    }

    /// Forgets response times from before the window, and from a future that a clock has taken back.
    fn trim_latency(&mut self, now_slot: u64) {
        let first = now_slot.saturating_sub(self.config.points as u64);
        while self.latency.first_key_value().is_some_and(|(slot, _)| *slot <= first) {
            self.latency.pop_first();
        }
        while self.latency.last_key_value().is_some_and(|(slot, _)| *slot > now_slot) {
            self.latency.pop_last();
        }
    }

    fn slot(&self, at: UnixMillis) -> u64 {
        slot_of(&self.config, at)
    }
}

impl InstanceWindow {
    /// Where on the control plane's time line a sample belongs, and whether it had to be moved.
    fn place(&mut self, at: UnixMillis, received_at: UnixMillis, config: &WindowConfig) -> (UnixMillis, bool) {
        let (at, received) = (at.as_millis(), received_at.as_millis());
        if at <= received {
            self.ahead = 0;
            return (UnixMillis::from_millis(at), false);
        }
        self.ahead = self.ahead.max(at - received);
        // Out of the window: the agent was far ahead and now is less, so what was learnt no longer holds.
        if at.saturating_sub(self.ahead).saturating_add(resolution(config) * config.points as u64) < received {
            self.ahead = at - received;
        }
        (UnixMillis::from_millis(at - self.ahead), true)
    }

    fn store(&mut self, config: &WindowConfig, slot: u64, sample: &Sample, names: &mut BTreeSet<Arc<str>>) {
        if self.presence.insert(slot, config.points) {
            // A new chunk has begun: metrics that went silent make room.
            let before = self.columns.len();
            self.columns.retain(|(_, column)| column.reaches(slot, config.points));
            if self.columns.len() < before {
                forget_unused(names);
            }
        }
        for &(metric, value) in &sample.values {
            if plausible(metric.unit(), value) {
                self.set(config, slot, value, |key| *key == Key::Known(metric), |_| Some(Key::Known(metric)));
            }
        }
        for (name, value) in &sample.custom {
            if plausible(Unit::Count, value.abs()) {
                let same = |key: &Key| matches!(key, Key::Custom(custom) if **custom == **name);
                let key = |columns: &[(Key, Column)]| {
                    let others = columns.iter().filter(|(key, _)| matches!(key, Key::Custom(_))).count();
                    (others < config.custom_metrics).then(|| Key::Custom(interned(names, name)))
                };
                self.set(config, slot, *value, same, key);
            }
        }
    }

    /// `key` is asked for a metric that is not there yet, and says whether it may be.
    fn set(
        &mut self,
        config: &WindowConfig,
        slot: u64,
        value: f64,
        same: impl Fn(&Key) -> bool,
        key: impl FnOnce(&[(Key, Column)]) -> Option<Key>,
    ) {
        #[allow(clippy::cast_possible_truncation, reason = "half the memory; seven digits are kept")]
        let value = value as f32;
        let at = self.columns.iter().position(|(key, _)| same(key));
        let column = match at {
            Some(at) => &mut self.columns[at].1,
            None => {
                let Some(key) = key(&self.columns) else { return };
                self.columns.push((key, Column::default()));
                let Some((_, column)) = self.columns.last_mut() else { return };
                column
            }
        };
        column.set(slot, value, config.points);
    }

    fn column(&self, metric: &str) -> Option<&Column> {
        self.columns.iter().find(|(key, _)| key.name() == metric).map(|(_, column)| column)
    }
}

/// No single reading of a sandbox is larger, whatever it counts; what is, is a lie or a bug, and would drown the
/// others in a mean.
const LARGEST: f64 = 1e15;
/// A thousand cores, in percent.
const LARGEST_PERCENT: f64 = 100_000.0;

fn plausible(unit: Unit, value: f64) -> bool {
    let largest = if unit == Unit::Percent { LARGEST_PERCENT } else { LARGEST };
    (0.0..=largest).contains(&value)
}

fn interned(names: &mut BTreeSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let name: Arc<str> = Arc::from(name);
    names.insert(Arc::clone(&name));
    name
}

fn forget_unused(names: &mut BTreeSet<Arc<str>>) {
    // One reference is the set's own.
    names.retain(|name| Arc::strong_count(name) > 1);
}

fn resolution(config: &WindowConfig) -> u64 {
    u64::try_from(config.resolution.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn slot_of(config: &WindowConfig, at: UnixMillis) -> u64 {
    at.as_millis() / resolution(config)
}

fn millis(duration: Option<Duration>) -> f32 {
    duration.map_or(f32::NAN, |duration| duration.as_secs_f32() * 1000.0)
}

#[cfg(test)]
mod tests;
