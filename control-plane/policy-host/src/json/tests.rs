use std::error::Error;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> String {
    let error = input_from_json(text).expect_err("the input is to be refused");
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[test]
fn what_is_left_out_is_filled_in() {
    let input = input_from_json(
        r#"{ "now": 1709249400000, "deployment": { "replicas": 3 },
             "series": [{ "name": "cpu", "points": [70, null, 80.5] }],
             "instances": { "ids": ["a", "b"], "latest": [{ "name": "cpu", "values": [1, null] }] },
             "prices": { "replica-hour": 0.12 }, "labels": [["team", "web"]], "state": [1, 2] }"#,
    )
    .unwrap();
    assert_eq!((input.local.year, input.local.month, input.local.day, input.local.weekday), (2024, 2, 29, 4));
    assert_eq!((input.step, input.series_start), (1000, 1_709_249_398_000));
    assert_eq!((input.deployment.ready_replicas, input.deployment.min, input.deployment.max), (3, 0, REPLICAS));
    assert!(input.series[0].points[1].is_nan());
    assert_eq!(input.instances.ready, [true, true]);
    assert_eq!(input.prices, [("replica-hour".to_owned(), 0.12)]);
    assert_eq!(input.labels, [("team".to_owned(), "web".to_owned())]);
    assert_eq!((input.state.as_slice(), input.config.as_str()), ([1, 2].as_slice(), "{}"));
}

#[test]
fn what_does_not_belong_is_named_with_its_place() {
    let unknown = refused("{ \"now\": 1,\n \"deployment\": { \"replicas\": 1, \"maximum\": 3 } }");
    assert!(unknown.contains("unknown field `maximum`") && unknown.contains("line 2"), "{unknown}");
    let missing = refused(r#"{ "now": 1 }"#);
    assert!(missing.contains("missing field `deployment`"), "{missing}");
    let typed = refused(r#"{ "now": "today", "deployment": { "replicas": 1 } }"#);
    assert!(typed.contains("invalid type: string \"today\", expected u64"), "{typed}");
    let state = refused(r#"{ "now": 1, "deployment": { "replicas": 1 }, "state": "not base64!" }"#);
    assert!(state.contains("Base64"), "{state}");
    let ragged = refused(
        r#"{ "now": 1, "deployment": { "replicas": 1 },
             "series": [{ "name": "cpu", "points": [1] }, { "name": "memory", "points": [] }] }"#,
    );
    assert!(ragged.contains("`series[memory]` has 0 entries where 1 are needed"), "{ragged}");
    assert!(refused("").contains("EOF"));
}

#[test]
fn a_proposal_is_written_with_the_names_of_the_contract() {
    let proposal = Proposal {
        replicas: 3,
        confidence: 0.5,
        reason: "cpu".to_owned(),
        signals: vec![("cpu".to_owned(), 70.5), ("memory".to_owned(), f64::NAN)],
        state: vec![1, 2, 3],
        next_look: Some(Duration::from_secs(2)),
    };
    let expected = json!({
        "replicas": 3, "confidence": 0.5, "reason": "cpu", "signals": [["cpu", 70.5], ["memory", null]],
        "state": "AQID", "nextLookMs": 2000,
    });
    assert_eq!(proposal_to_json(&proposal), expected);
}

prop_compose! {
    fn any_series()(
        columns in prop::collection::vec(prop::collection::vec(prop::num::f64::ANY, 5), 0..4)
    ) -> Vec<Series> {
        columns
            .into_iter()
            .enumerate()
            .map(|(number, points)| Series { name: format!("m{number}"), unit: Some("count".to_owned()), points })
            .collect()
    }
}

proptest! {
    #[test]
    fn an_input_comes_back_bit_for_bit(
        now in any::<u64>(), series in any_series(), history in any_series(), state in prop::collection::vec(any::<u8>(), 0..50),
        price in prop::num::f64::NORMAL,
    ) {
        let deployment = Deployment { replicas: 3, max: 9, last_scale_up: Some(now), ..Deployment::default() };
        let prices = vec![("replica-hour".to_owned(), price)];
        let input = Input {
            now, local: LocalTime::utc(now), step: 1, deployment, series, history, history_step: 60_000, prices, state,
            ..Input::default()
        };
        let back = input_from_json(&input_to_json(&input).to_string()).unwrap();
        let bits = |list: &[Series]| -> Vec<Option<u64>> {
            let points = list.iter().flat_map(|one| &one.points);
            points.map(|point| point.is_finite().then(|| point.to_bits())).collect()
        };
        prop_assert_eq!(bits(&back.series), bits(&input.series));
        prop_assert_eq!(bits(&back.history), bits(&input.history));
        let plain = |input: Input| Input { series: Vec::new(), history: Vec::new(), ..input };
        prop_assert_eq!(plain(back), plain(input));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = input_from_json(&text);
    }
}
