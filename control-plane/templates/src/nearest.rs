//! "Did you mean": the known name that a mistyped one is closest to.

/// Edits beyond which two names are not slips of each other, however long they are.
const MOST_EDITS: usize = 4;

/// The candidate at the least edit distance, if that is close enough to be a slip of the hand.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = typed.chars().collect();
    let mut closest = None;
    for name in known {
        let candidate: Vec<char> = name.chars().collect();
        let allowed = (candidate.len() / 3).clamp(1, MOST_EDITS);
        if let Some(edits) = distance_within(&typed, &candidate, allowed)
            && closest.is_none_or(|(least, _)| edits < least)
        {
            closest = Some((edits, name));
        }
    }
    closest.map(|(_, name)| name)
}

/// What follows an unknown name in a message.
pub(crate) fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Levenshtein's distance if it is at most `most`. Only cells that near the diagonal can stay below it, so the work is
/// the length times `most`, not the product of two lengths that a caller chooses.
fn distance_within(a: &[char], b: &[char], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let beyond = most + 1;
    let mut row: Vec<usize> = (0..=b.len()).map(|column| column.min(beyond)).collect();
    for (i, from) in a.iter().enumerate() {
        let first = i.saturating_sub(most);
        let last = b.len().min(i + most + 1);
        let mut diagonal = row[first];
        row[first] = if first == 0 { (i + 1).min(beyond) } else { beyond };
        for j in first..last {
            let substituted = diagonal + usize::from(*from != b[j]);
            diagonal = row[j + 1];
            // What lies above the band's upper end was never reached from within it.
            let above = if j == i + most { beyond } else { row[j + 1] };
            row[j + 1] = substituted.min(above + 1).min(row[j] + 1).min(beyond);
        }
    }
    row.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["SECRET_KEY", "ALLOWED_HOSTS", "DEBUG"];
        assert_eq!(nearest("SECERT_KEY", known), Some("SECRET_KEY"));
        assert_eq!(nearest("ALLOWED_HOST", known), Some("ALLOWED_HOSTS"));
        assert_eq!(nearest("DEBUGG", known), Some("DEBUG"));
        assert_eq!(nearest("FROBNICATE", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn the_first_of_equally_close_names_is_told() {
        assert_eq!(nearest("PGXXX", ["PGXXY", "PGXXZ"]), Some("PGXXY"));
    }

    /// The textbook's table, whole.
    fn distance(a: &[char], b: &[char]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = match (i, j) {
                    (0, j) => j,
                    (i, 0) => i,
                    (i, j) => (table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]))
                        .min(table[i - 1][j] + 1)
                        .min(table[i][j - 1] + 1),
                };
            }
        }
        table[a.len()][b.len()]
    }

    proptest! {
        #[test]
        fn the_band_loses_no_distance_within_it(a in "[ABC]{0,12}", b in "[ABC]{0,12}", most in 1_usize..5) {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let exact = distance(&a, &b);
            prop_assert_eq!(distance_within(&a, &b, most), (exact <= most).then_some(exact));
        }
    }
}
