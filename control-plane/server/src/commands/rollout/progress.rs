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
    let mut text = format!("[{bar}] {}; step {}", instances(rollout), step(rollout));
    if let Some(state) = rollout["state"].as_str().filter(|state| *state != "progressing") {
        text = format!("{text}; {state}");
    }
    text.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_the_step_and_who_stands_where() {
        let mut rollout = json!({
            "state": "progressing", "step": 1, "steps": 2, "share": 10.0,
            "total": 50, "applied": 5, "pending": 0, "refused": 1, "waiting": 44, "unhealthy": 1,
        });
        let told = "[##------------------] 5 of 50 running it, 1 refused it, 44 waiting, 1 without service; \
                    step 1 of 2 (10 %)";
        assert_eq!(line(&rollout, 200), told);
        assert_eq!(line(&rollout, 30), told[..30]);
        rollout["state"] = "paused".into();
        assert_eq!(line(&rollout, 200), format!("{told}; paused"));
        assert!(line(&json!({}), 200).starts_with("[--------------------] 0 of 0"));
    }
}
