//! `outrigger env diff`: what is compared, and how it is shown.

use serde_json::Value;

use super::{HIDDEN, REMOVED, Target, find_environment};
use crate::cli::Output;
use crate::commands::{id, output};

const DIFFERENCE: [output::Column; 5] =
    [("key", "/key"), ("change", "/change"), ("before", "/before"), ("after", "/after"), ("different", "/aspects")];

/// What a person wants compared.
#[derive(Debug, PartialEq, Eq)]
enum Comparison<'a> {
    /// The newest change.
    Newest,
    /// Two generations of one environment; without a second, with the newest.
    Generations(u64, Option<u64>),
    /// Two environments; without a first, the one that `--environment` says.
    Environments(Option<&'a str>, &'a str),
}

fn comparison(sides: &[String]) -> anyhow::Result<Comparison<'_>> {
    let number = |text: &String| text.parse::<u64>().ok();
    Ok(match sides {
        [] => Comparison::Newest,
        [one] => number(one).map_or(Comparison::Environments(None, one), |one| Comparison::Generations(one, None)),
        [one, other] => match (number(one), number(other)) {
            (Some(one), Some(other)) => Comparison::Generations(one, Some(other)),
            (None, None) => Comparison::Environments(Some(one), other),
            _ => anyhow::bail!("compare two generations or two environments, not one with the other"),
        },
        _ => anyhow::bail!("compare at most two generations or environments"),
    })
}

pub(super) async fn run(sides: &[String], effective: bool, target: &Target) -> anyhow::Result<()> {
    let comparison = comparison(sides)?;
    let (client, project) = target.project().await?;
    let own = match comparison {
        Comparison::Environments(Some(one), _) => one,
        _ => target.environment.as_str(),
    };
    let own = find_environment(&client, &project, own).await?;
    let mut query: Vec<String> = match comparison {
        Comparison::Newest => Vec::new(),
        Comparison::Generations(from, to) => {
            let to = to.map(|to| format!("to={to}"));
            [format!("from={from}")].into_iter().chain(to).collect()
        }
        Comparison::Environments(_, other) => {
            let other = find_environment(&client, &project, other).await?;
            vec![format!("environment={}", id(&other)?)]
        }
    };
    query.extend(effective.then(|| "effective=true".to_owned()));
    let path = format!("/api/config/environments/{}/diff?{}", id(&own)?, query.join("&"));
    let mut differences = client.list(&path).await?;
    if target.remote.output == Output::Json {
        return output::json(&Value::Array(differences));
    }
    table(&mut differences)
}

/// Shows differences to a person.
pub(super) fn table(differences: &mut [Value]) -> anyhow::Result<()> {
    differences.iter_mut().for_each(flatten);
    output::list(Output::Table, differences, &DIFFERENCE)
}

/// One side as one text: the value, or that there is one which is not shown.
pub(crate) fn flatten(difference: &mut Value) {
    for side in ["before", "after"] {
        let shown = &difference[side];
        difference[side] = match (&shown["removed"], &shown["masked"]) {
            (Value::Bool(true), _) => REMOVED.into(),
            (_, Value::Bool(true)) => HIDDEN.into(),
            _ => shown["value"].clone(),
        };
    }
    let aspects = difference["aspects"].as_array().into_iter().flatten().filter_map(Value::as_str);
    difference["aspects"] = aspects.collect::<Vec<_>>().join(", ").into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sides_are_generations_or_environments() {
        let sides = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(comparison(&[]).unwrap(), Comparison::Newest);
        assert_eq!(comparison(&sides(&["3"])).unwrap(), Comparison::Generations(3, None));
        assert_eq!(comparison(&sides(&["3", "7"])).unwrap(), Comparison::Generations(3, Some(7)));
        assert_eq!(comparison(&sides(&["staging"])).unwrap(), Comparison::Environments(None, "staging"));
        let two = sides(&["staging", "production"]);
        assert_eq!(comparison(&two).unwrap(), Comparison::Environments(Some("staging"), "production"));
        assert!(comparison(&sides(&["staging", "7"])).is_err());
        assert!(comparison(&sides(&["1", "2", "3"])).is_err());
    }

    #[test]
    fn a_secret_is_hidden_and_absence_is_told_from_it() {
        let mut difference = json!({
            "key": "A", "change": "changed", "aspects": ["value", "secrecy"],
            "before": null, "after": { "value": null, "masked": true },
        });
        flatten(&mut difference);
        assert_eq!((&difference["before"], &difference["after"]), (&Value::Null, &json!(HIDDEN)));
        assert_eq!(difference["aspects"], "value, secrecy");

        let mut difference =
            json!({ "key": "A", "before": { "value": "x" }, "after": { "value": null, "removed": true } });
        flatten(&mut difference);
        assert_eq!((&difference["before"], &difference["after"]), (&json!("x"), &json!(REMOVED)));
    }
}
