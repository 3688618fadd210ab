//! The dashboard of Grafana. In: its JSON. Out: its queries, and what is wrong with it.

use std::collections::BTreeSet;

use serde_json::Value;

fn panels(json: &str) -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(json).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// Every query, with the variables as Grafana would set them.
pub fn queries(json: &str) -> Vec<String> {
    let targets = panels(json).into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let of = |target: Value| target["expr"].as_str().unwrap().to_owned();
    targets.map(|target| of(target).replace("$__rate_interval", "1m").replace("$node", ".*")).collect()
}

/// Queries as recording rules, which promtool parses.
pub fn as_rules(queries: &[String]) -> String {
    let rule =
        |(number, expr): (usize, &String)| serde_json::json!({"record": format!("query:{number}"), "expr": expr});
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    serde_json::json!({"groups": [{"name": "queries", "rules": rules}]}).to_string()
}

/// Each panel has a place of its own, a title that says what it shows, a data source and a unit of Grafana.
pub fn check(json: &str) {
    let panels = panels(json);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title} has no description");
            for target in panel["targets"].as_array().unwrap() {
                assert!(target["expr"].as_str().unwrap().contains("node=~\"$node\""), "{title} is of all nodes");
            }
        }
    }
    assert!(panels.len() > 15);
}
