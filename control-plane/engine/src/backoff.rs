//! How long to wait before the next try. Pure: the dice are an argument.

use std::time::Duration;

/// `base`, doubled `doublings` times, at most `cap`.
fn ceiling(doublings: u32, base: Duration, cap: Duration) -> Duration {
    let factor = 1_u32.checked_shl(doublings.min(31)).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(cap)
}

/// A share of `whole` that is as likely to be anything from nothing to all of it.
fn share(whole: Duration, dice: u64) -> Duration {
    let nanos = u128::from(dice) * whole.as_nanos() / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Anything from nothing to the ceiling: spreads those who failed together as far as it can. The jitter comes after
/// the cap, or everybody would meet again at the cap ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
pub(crate) fn full_jitter(doublings: u32, base: Duration, cap: Duration, dice: u64) -> Duration {
    share(ceiling(doublings, base, cap), dice)
}

/// Half the ceiling and a share of the other half: never at once, for what should have time to calm down.
pub(crate) fn equal_jitter(doublings: u32, base: Duration, cap: Duration, dice: u64) -> Duration {
    let half = ceiling(doublings, base, cap) / 2;
    half + share(half, dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(10);

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_the_jitter_comes_after_it() {
        let longest: Vec<u128> = (0..7).map(|n| full_jitter(n, BASE, CAP, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(full_jitter(60, BASE, CAP, u64::MAX / 2).as_millis(), 4_999);
        assert_eq!(full_jitter(3, BASE, CAP, 0), Duration::ZERO);
        assert_eq!(equal_jitter(3, BASE, CAP, 0), Duration::from_secs(2));
        assert_eq!(equal_jitter(40, BASE, CAP, u64::MAX), CAP);
    }
}
