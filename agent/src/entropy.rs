//! The system's random source, for the shells around logic that takes entropy as an argument.

/// Uniform in [0, 1). Spreads agents over time; never a key. Without a random source it is the middle: a herd that is
/// not spread is better than an agent that is not there.
#[must_use]
pub fn uniform() -> f64 {
    const BITS: u32 = 53;
    getrandom::u64().map_or(0.5, |random| {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
        let numerator = (random >> (u64::BITS - BITS)) as f64;
        numerator / (1_u64 << BITS) as f64
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_in_range_and_differ() {
        let drawn: Vec<f64> = (0..100).map(|_| super::uniform()).collect();
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
