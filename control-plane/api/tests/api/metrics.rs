use serde_json::json;

use crate::world::{Shop, World};

#[tokio::test]
async fn a_range_is_answered_point_by_point_also_where_nothing_is_known() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.deployment(&world.api, json!({})).await + "/metrics";
    let series = world.api.get(&path).await.list();
    let named = |series: &[serde_json::Value]| {
        series.iter().map(|one| one["metric"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named(&series), ["cpu", "memory", "requests", "response_time_p95"]);
    assert_eq!((&series[0]["unit"], &series[0]["stepMs"]), (&json!("percent"), &json!(1_000)));
    let points = series[0]["points"].as_array().unwrap();
    assert!((300..=301).contains(&points.len()), "the steps that five minutes touch");
    assert!(points.iter().all(|point| point[1].is_null()));
    assert!(points.windows(2).all(|pair| pair[1][0].as_u64().unwrap() - pair[0][0].as_u64().unwrap() == 1_000));

    let query = "?metric=cpu,queue&metric=memory&from=2026-01-01T00:00:00Z&to=2026-01-01T00:10:00Z&step=1m";
    let series = world.api.get(&format!("{path}{query}")).await.list();
    assert_eq!(named(&series), ["cpu", "queue", "memory"]);
    assert!(series[1]["unit"].is_null());
    assert_eq!(series[0]["points"].as_array().unwrap().len(), 10);
    assert_eq!(series[0]["points"][0][0], 1_767_225_600_000_u64, "points stand where their steps begin");
    let future = world.api.get(&format!("{path}?metric=cpu&to=253402300799999")).await.list();
    assert!(future[0]["points"].as_array().unwrap().len() <= 301, "nothing is known of the future");
    let ever = world.api.get(&format!("{path}?metric=cpu&from=0")).await.list();
    assert!(ever[0]["stepMs"].as_u64().unwrap() > 3_600_000, "a step is chosen that gives some hundred points");
    let one = "?metric=response_time&aggregate=p95&instance=ins_01890a5dac96774bbcceb302099a8057";
    let series = world.api.get(&format!("{path}{one}")).await.list();
    assert_eq!((&series[0]["unit"], &series[0]["aggregate"]), (&json!("ms"), &json!("p95")));
}

#[tokio::test]
async fn a_bad_range_is_refused() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.deployment(&world.api, json!({})).await + "/metrics";
    let many = (0..65).map(|at| format!("m{at}")).collect::<Vec<_>>().join(",");
    for (query, fields) in [
        ("from=yesterday&to=x", vec!["to", "from"]),
        ("to=18446744073709551615", vec!["to"]),
        ("to=99999999999999999999999", vec!["to"]),
        ("from=5&to=5", vec!["from"]),
        ("from=253402300799999", vec!["from"]),
        ("from=0&step=1s", vec!["step"]),
        ("aggregate=mean", vec!["aggregate"]),
        ("metric=cpu&aggregate=p95", vec!["aggregate"]),
        ("metric=cpu&aggregate=rate", vec!["aggregate"]),
        ("instance=web-1", vec!["instance"]),
        ("step=0s", vec!["step"]),
        ("step=250ms", vec!["step"]),
        ("step=1500ms", vec!["step"]),
        ("step=365d", vec!["step"]),
        ("step=1s&step=2s", vec!["step"]),
        ("metric=", vec!["metric"]),
        (&format!("metric={many}"), vec!["metric"]),
        ("metrics=cpu", vec!["metrics"]),
    ] {
        assert_eq!(world.api.get(&format!("{path}?{query}")).await.wrong_fields(), fields, "{query}");
    }
}
