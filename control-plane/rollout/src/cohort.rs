//! The order in which instances get a new generation.

use outrigger_protocol::id::InstanceId;

/// Where an instance stands in the order of a rollout: the lowest come first. It depends on nothing but the seed and the
/// id, so whoever else comes or goes, two instances keep their order, and the cohorts of one share and of a greater
/// one contain each other.
///
/// The mixing function is the finaliser of `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, OOPSLA 2014; the constants are Stafford's variant 13). It is part of what is stored: a rollout that was
/// begun by one release goes on with the same cohorts in the next. Ids are made by the control plane, so nobody chooses
/// theirs by its rank.
#[must_use]
pub(crate) fn rank(seed: u64, instance: InstanceId) -> u64 {
    let id = u128::from_be_bytes(instance.to_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (high, low) = ((id >> 64) as u64, id as u64);
    mix(mix(mix(seed) ^ high) ^ low)
}

const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u8) -> InstanceId {
        InstanceId::from_bytes([number; 16])
    }

    #[test]
    fn ranks_are_the_same_in_every_release() {
        // The first output of SplitMix64 with seed 0, as its reference implementation has it.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rank(7, instance(1)), 0xa7b5_3b50_4e0b_c44e);
    }

    #[test]
    fn another_seed_gives_another_order() {
        let order = |seed| {
            let mut order: Vec<u8> = (0..50).collect();
            order.sort_by_key(|number| rank(seed, instance(*number)));
            order
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn ids_of_one_moment_are_spread_evenly() {
        let now = outrigger_protocol::time::UnixMillis::from_millis(1_700_000_000_000);
        let low = (0..10_000_u32)
            .filter(|number| {
                let mut entropy = [0; 10];
                entropy[6..].copy_from_slice(&number.to_be_bytes());
                rank(3, InstanceId::new(now, entropy)) < u64::MAX / 10
            })
            .count();
        // Binomial: 1,000 expected, 30 is one standard deviation.
        assert!((880..1_120).contains(&low), "{low} of 10,000 in the lowest tenth");
    }
}
