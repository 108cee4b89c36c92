//! From several proposals to one number.

/// How the proposals of several active policies become one. Whatever the mode, replicas are given up only when
/// every one of them asks for fewer (see [`combine`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Combine {
    /// The largest wins, as in the Kubernetes HPA: whoever sees the most load is served.
    #[default]
    Max,
    /// The smallest wins.
    Min,
    /// The mean, weighted by the confidence of each proposal and rounded up.
    Weighted,
}

impl Combine {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Min => "min",
            Self::Weighted => "weighted",
        }
    }
}

/// One proposal as it takes part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vote {
    pub desired: u32,
    /// 0 to 1.
    pub confidence: f64,
}

/// The number that `votes` come to for a deployment of `current` replicas; `None` without a vote.
///
/// A result below `current` becomes `current` unless every vote is below it: one policy that sees load is enough to
/// keep what is there.
#[must_use]
pub fn combine(mode: Combine, current: u32, votes: &[Vote]) -> Option<u32> {
    let largest = votes.iter().map(|vote| vote.desired).max()?;
    let number = match mode {
        Combine::Max => largest,
        Combine::Min => votes.iter().map(|vote| vote.desired).min()?,
        Combine::Weighted => weighted(votes).unwrap_or(largest),
    };
    Some(if number < current && largest >= current { current } else { number })
}

/// `None` when nobody is confident at all.
fn weighted(votes: &[Vote]) -> Option<u32> {
    let weight: f64 = votes.iter().map(|vote| vote.confidence).sum();
    if weight <= 0.0 {
        return None;
    }
    let sum: f64 = votes.iter().map(|vote| f64::from(vote.desired) * vote.confidence).sum();
    // Half a millionth below the next whole number is that number: 0.1 * 3 / 0.1 must not become 4.
    let mean = (sum / weight - 5e-7).ceil().clamp(0.0, f64::from(u32::MAX));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32 above")]
    Some(mean as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(list: &[(u32, f64)]) -> Vec<Vote> {
        list.iter().map(|&(desired, confidence)| Vote { desired, confidence }).collect()
    }

    #[test]
    fn each_mode_answers_as_its_name_says() {
        let both = votes(&[(6, 1.0), (9, 0.5)]);
        assert_eq!(combine(Combine::Max, 2, &both), Some(9));
        assert_eq!(combine(Combine::Min, 2, &both), Some(6));
        assert_eq!(combine(Combine::Weighted, 2, &both), Some(7));
        assert_eq!(combine(Combine::Max, 2, &[]), None);
    }

    #[test]
    fn one_policy_that_does_not_ask_for_fewer_keeps_what_is_there() {
        let split = votes(&[(1, 1.0), (4, 0.1)]);
        for mode in [Combine::Max, Combine::Min, Combine::Weighted] {
            assert_eq!(combine(mode, 4, &split), Some(4), "{mode:?}");
        }
        assert_eq!(combine(Combine::Min, 5, &split), Some(1));
    }

    #[test]
    fn a_weighted_mean_is_exact_where_all_agree_and_never_divides_by_nothing() {
        assert_eq!(combine(Combine::Weighted, 1, &votes(&[(3, 0.1), (3, 0.2)])), Some(3));
        assert_eq!(combine(Combine::Weighted, 1, &votes(&[(3, 0.0), (5, 0.0)])), Some(5));
        assert_eq!(combine(Combine::Weighted, 1, &votes(&[(u32::MAX, 1.0), (u32::MAX, 1.0)])), Some(u32::MAX));
    }
}
