//! At which resolution the past is kept, and for how long.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

use crate::error::TierError;

/// One resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    pub step: Duration,
    /// How long it is kept.
    pub retention: Duration,
}

impl Tier {
    #[must_use]
    pub fn step_millis(&self) -> u64 {
        u64::try_from(self.step.as_millis()).unwrap_or(u64::MAX)
    }

    /// The time before which it keeps nothing.
    #[must_use]
    pub fn horizon(&self, now: UnixMillis) -> UnixMillis {
        now.saturating_sub(self.retention)
    }
}

/// All resolutions, the finest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

impl Default for Tiers {
    /// 1 s for 2 hours, 10 s for a day, 1 min for a week, 5 min for 90 days.
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        let tiers = [(1, 2 * HOUR), (10, 24 * HOUR), (60, 7 * 24 * HOUR), (300, 90 * 24 * HOUR)];
        let tier =
            |(step, retention)| Tier { step: Duration::from_secs(step), retention: Duration::from_secs(retention) };
        Self(tiers.map(tier).into())
    }
}

impl Tiers {
    /// # Errors
    /// A step that is not a multiple of the one before, or a retention that is shorter than the one before: a coarser
    /// tier is made of the finer one, and takes over where that one ends.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, TierError> {
        let first = *tiers.first().ok_or(TierError::None)?;
        let mut before = Tier { step: Duration::ZERO, retention: first.step };
        for (at, tier) in tiers.iter().enumerate() {
            let whole = tier.step.subsec_nanos() % 1_000_000 == 0;
            if tier.step_millis() == 0 || !whole {
                return Err(TierError::Step(at));
            }
            if at > 0 && (tier.step <= before.step || tier.step_millis() % before.step_millis() != 0) {
                return Err(TierError::Multiple(at));
            }
            if tier.retention < tier.step || tier.retention < before.retention {
                return Err(TierError::Retention(at));
            }
            before = *tier;
        }
        Ok(Self(tiers))
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Tier] {
        &self.0
    }

    /// The finest of all.
    #[must_use]
    pub fn finest(&self) -> Tier {
        self.0[0]
    }

    /// The steps above the finest, in milliseconds: what a [`Cascade`](crate::rollup::Cascade) rolls up.
    pub fn rolled_up(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().skip(1).map(Tier::step_millis)
    }

    /// Which tier answers a query that begins at `from` and wants a point every `step`: the coarsest that is fine enough
    /// and divides it, or the finest, and of those from there on the first that reaches back to `from`. When none does,
    /// the one that reaches back furthest.
    #[must_use]
    pub fn choose(&self, now: UnixMillis, from: UnixMillis, step: Duration) -> usize {
        let step = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let fits = |tier: &Tier| tier.step_millis() <= step && step % tier.step_millis() == 0;
        let wanted = self.0.iter().rposition(fits).unwrap_or(0);
        let reaches = |tier: &Tier| tier.horizon(now) <= from;
        self.0[wanted..].iter().position(reaches).map_or(self.0.len() - 1, |beyond| wanted + beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_790_000_000_000);

    fn chosen(hours_back: u64, step: u64) -> usize {
        let from = NOW.saturating_sub(Duration::from_secs(3_600 * hours_back));
        Tiers::default().choose(NOW, from, Duration::from_secs(step))
    }

    #[test]
    fn the_coarsest_tier_that_is_fine_enough_and_reaches_back_answers() {
        assert_eq!(chosen(1, 1), 0);
        assert_eq!(chosen(1, 15), 0, "ten seconds do not divide fifteen");
        assert_eq!(chosen(1, 30), 1);
        assert_eq!(chosen(3, 1), 1, "seconds are kept for two hours");
        assert_eq!(chosen(48, 10), 2);
        assert_eq!(chosen(1, 86_400), 3);
        assert_eq!(chosen(24 * 60, 1), 3);
        assert_eq!(chosen(24 * 1_000, 1), 3, "nothing reaches back so far");
    }

    #[test]
    fn tiers_that_cannot_be_made_of_each_other_are_refused() {
        let tier =
            |step, retention| Tier { step: Duration::from_millis(step), retention: Duration::from_secs(retention) };
        let refused = |tiers: &[Tier]| Tiers::new(tiers.to_vec()).expect_err("refused");
        assert_eq!(refused(&[]), TierError::None);
        assert_eq!(refused(&[tier(0, 1)]), TierError::Step(0));
        assert_eq!(refused(&[tier(1_000, 60), tier(1_500, 60)]), TierError::Multiple(1));
        assert_eq!(refused(&[tier(1_000, 60), tier(1_000, 60)]), TierError::Multiple(1));
        assert_eq!(refused(&[tier(1_000, 60), tier(2_000, 30)]), TierError::Retention(1));
        assert_eq!(refused(&[tier(120_000, 60)]), TierError::Retention(0));
        let defaults = Tiers::default();
        assert_eq!(Tiers::new(defaults.as_slice().to_vec()), Ok(defaults));
    }
}
