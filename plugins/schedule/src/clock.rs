//! The local time, which does not go back when the clocks do.

use outrigger_policy_sdk::Input;

use crate::cron::Moment;

/// The furthest that clocks are put back, in minutes, with room for what a legislature may think of.
const FURTHEST_BACK: u16 = 180;

/// A minute of the local calendar and its day of the week; all that the policy remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) moment: Moment,
    /// 1 (Monday) to 7 (Sunday).
    pub(crate) weekday: u8,
}

impl Clock {
    /// The time now; or, in the hour that is repeated when the clocks are put back, the latest that it was before: what
    /// has begun or ended in that hour has done so once.
    pub(crate) fn of(input: &Input) -> Self {
        let now = Self { moment: Moment::of(&input.local), weekday: input.local.weekday.clamp(1, 7) };
        match Self::remembered(&input.state) {
            Some(before) if before.moment.is_within(FURTHEST_BACK, now.moment) => before,
            _ => now,
        }
    }

    /// Nine bytes; any other number of them is the state of something else.
    fn remembered(state: &[u8]) -> Option<Self> {
        let (moment, &[weekday]) = state.split_first_chunk::<8>()? else { return None };
        (1..=7).contains(&weekday).then(|| Self { moment: Moment::from_bytes(*moment), weekday })
    }

    pub(crate) fn state(self) -> Vec<u8> {
        [self.moment.to_bytes().as_slice(), &[self.weekday]].concat()
    }
}
