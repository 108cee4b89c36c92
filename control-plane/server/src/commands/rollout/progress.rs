//! Where a rollout stands, in words that fit into a line.

use serde_json::Value;

/// `2 of 7 (4 %)`
pub(super) fn step(rollout: &Value) -> String {
    let share = rollout["share"].as_f64().unwrap_or_default();
    format!("{} of {} ({share} %)", rollout["step"], rollout["steps"])
}

/// `5 of 50 running it, 45 waiting`
pub(super) fn instances(rollout: &Value) -> String {
    let count = |field: &str| rollout[field].as_u64().unwrap_or_default();
    let mut text = format!("{} of {} running it", count("applied"), count("total"));
    let further = [
        ("pending", "to answer"),
        ("deferred", "deferred"),
        ("refused", "refused it"),
        ("silent", "silent"),
        ("waiting", "waiting"),
        ("unhealthy", "without service"),
    ];
    for (field, words) in further {
        if count(field) > 0 {
            text = format!("{text}, {} {words}", count(field));
        }
    }
    text
}

/// Cells of the bar.
const BAR: u64 = 20;

/// Everything in one line of at most `width` characters.
pub(super) fn line(rollout: &Value, width: usize) -> String {
    let count = |field: &str| rollout[field].as_u64().unwrap_or_default();
    let running = (count("applied") * BAR).checked_div(count("total")).unwrap_or_default().min(BAR);
    let bar: String = (0..BAR).map(|cell| if cell < running { '#' } else { '-' }).collect();
    let state = rollout["state"].as_str().unwrap_or_default();
    let text =
        format!("[{bar}] generation {} {state}, step {}: {}", rollout["generation"], step(rollout), instances(rollout));
    text.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_the_step_and_who_stands_where() {
        let rollout = json!({
            "generation": 7, "state": "progressing", "step": 1, "steps": 2, "share": 10.0,
            "total": 50, "applied": 5, "pending": 0, "refused": 1, "waiting": 44, "unhealthy": 1,
        });
        let told = "[##------------------] generation 7 progressing, step 1 of 2 (10 %): \
                    5 of 50 running it, 1 refused it, 44 waiting, 1 without service";
        assert_eq!(line(&rollout, 200), told);
        assert_eq!(line(&rollout, 30), told[..30]);
        assert!(line(&json!({}), 200).starts_with("[--------------------] generation null"));
    }
}
