//! How much a change may break, by rule.
//!
//! | risk | rules |
//! |---|---|
//! | low | a description is different |
//! | medium | a plain value is set or different; an inherited variable is let in again; the environment is called otherwise or (in)active |
//! | high | a secret is set or different; a variable is removed; whether one is required or secret, or its type, is different; more than 20 variables at once; a rollback; an import that replaces; the environment extends another one, is of another stage, or is protected otherwise |
//!
//! Every rule that holds is a reason, and the highest is the risk. Nothing here knows a secret: it is fed differences.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::diff::{Aspect, Change, Difference, Shown, ShownValue};

use crate::model::{ChangeKind, Environment, Risk, RiskReason};
use crate::validate::listed;

/// More variables than this at once are more than one can look at.
const MANY: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    SetsSecrets,
    Removes,
    Redefines,
    SetsValues,
    LetsIn,
    Describes,
}

impl Rule {
    const fn risk(self) -> Risk {
        match self {
            Self::SetsSecrets | Self::Removes | Self::Redefines => Risk::High,
            Self::SetsValues | Self::LetsIn => Risk::Medium,
            Self::Describes => Risk::Low,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::SetsSecrets => "sets secrets",
            Self::Removes => "removes variables",
            Self::Redefines => "changes whether variables are required or secret, or their type",
            Self::SetsValues => "sets values",
            Self::LetsIn => "lets in inherited variables again",
            Self::Describes => "describes variables differently",
        }
    }
}

/// What a change may break, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assessment {
    pub(super) risk: Risk,
    pub(super) reasons: Vec<RiskReason>,
}

impl Assessment {
    /// The highest of the reasons; nothing when there is none, and so nothing is different.
    fn of(reasons: Vec<RiskReason>) -> Option<Self> {
        let risk = reasons.iter().map(|reason| reason.risk).max()?;
        Some(Self { risk, reasons })
    }

    /// Of what cannot be compared with what it was.
    pub(super) fn unknown() -> Self {
        let text = "what it was before cannot be put together any more".to_owned();
        Self { risk: Risk::High, reasons: vec![RiskReason { risk: Risk::High, text }] }
    }
}

/// What is different about the variables that a program gets.
pub(super) fn of_content(differences: &[Difference]) -> Option<Assessment> {
    Assessment::of(reasons(differences))
}

/// What somebody changes themselves: the variables as written, and the environment.
pub(super) fn of_change(
    kind: ChangeKind,
    differences: &[Difference],
    environment: Option<(&Environment, &Environment)>,
) -> Option<Assessment> {
    let mut found = reasons(differences);
    let mut add = |holds: bool, risk: Risk, text: &str| {
        if holds {
            found.push(RiskReason { risk, text: text.to_owned() });
        }
    };
    if let Some((before, after)) = environment {
        add(before.approval != after.approval, Risk::High, "changes which changes have to be approved");
        add(before.extends != after.extends, Risk::High, "changes what the environment extends");
        add(before.stage != after.stage, Risk::High, "changes the environment's stage");
        add(before.name != after.name, Risk::Medium, "renames the environment");
        add(before.is_active != after.is_active, Risk::Medium, "changes whether the environment is active");
        add(before.description != after.description, Risk::Low, "describes the environment differently");
    }
    let is_anything = !differences.is_empty();
    add(is_anything && kind == ChangeKind::Rollback, Risk::High, "is a rollback");
    add(is_anything && kind == ChangeKind::Replacement, Risk::High, "is an import that replaces everything");
    Assessment::of(found)
}

fn reasons(differences: &[Difference]) -> Vec<RiskReason> {
    let mut found: BTreeMap<Rule, Vec<&str>> = BTreeMap::new();
    for difference in differences {
        for rule in rules(&difference.change) {
            found.entry(rule).or_default().push(&difference.name);
        }
    }
    let reason = |(rule, names): (Rule, Vec<&str>)| {
        let text = format!("{}: {}", rule.words(), listed(&names));
        RiskReason { risk: rule.risk(), text }
    };
    let mut reasons: Vec<RiskReason> = found.into_iter().map(reason).collect();
    if differences.len() > MANY {
        let text = format!("changes {} variables at once, which is more than {MANY}", differences.len());
        reasons.push(RiskReason { risk: Risk::High, text });
    }
    reasons
}

fn rules(change: &Change) -> BTreeSet<Rule> {
    let is_removed = |shown: &Shown| shown.value == ShownValue::Tombstone;
    let sets = |is_secret: bool| if is_secret { Rule::SetsSecrets } else { Rule::SetsValues };
    match change {
        Change::Added(after) if is_removed(after) => [Rule::Removes].into(),
        Change::Added(after) => [sets(after.secret)].into(),
        Change::Removed(before) if is_removed(before) => [Rule::LetsIn].into(),
        Change::Removed(_) => [Rule::Removes].into(),
        Change::Changed { after, .. } if is_removed(after) => [Rule::Removes].into(),
        Change::Changed { before, after, .. } if is_removed(before) => [sets(after.secret)].into(),
        Change::Changed { before, after, aspects } => {
            let rule = |aspect: &Aspect| match aspect {
                Aspect::Value | Aspect::Expansion => sets(before.secret || after.secret),
                Aspect::Kind | Aspect::Secrecy | Aspect::Requiredness => Rule::Redefines,
                Aspect::Description => Rule::Describes,
            };
            aspects.iter().map(rule).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_configuration::diff::{Value, View, diff};
    use outrigger_protocol::environment::VariableKind;
    use outrigger_protocol::id::{EnvironmentId, ProjectId};
    use outrigger_protocol::time::UnixMillis;

    use super::*;
    use crate::model::Stage;

    fn view<'a>(name: &'a str, value: &'a str) -> View<'a> {
        let (value, kind) = (Value::Text(value), VariableKind::String);
        View { name, value, kind, secret: false, required: false, description: "", expand: true }
    }

    fn secret<'a>(name: &'a str, value: &'a str) -> View<'a> {
        View { secret: true, ..view(name, value) }
    }

    fn told(kind: ChangeKind, before: &[View<'_>], after: &[View<'_>]) -> Option<(Risk, Vec<String>)> {
        let found = of_change(kind, &diff(before.iter().copied(), after.iter().copied()), None)?;
        Some((found.risk, found.reasons.into_iter().map(|reason| reason.text).collect()))
    }

    #[track_caller]
    fn assert_risk(before: &[View<'_>], after: &[View<'_>], risk: Risk, reason: &str) {
        assert_eq!(told(ChangeKind::Variables, before, after), Some((risk, vec![reason.to_owned()])));
    }

    #[test]
    fn each_rule_has_its_risk_and_names_what_it_found() {
        let a = view("A", "1");
        let described = View { description: "what it is for", ..a };
        assert_risk(&[a], &[described], Risk::Low, "describes variables differently: A");
        assert_risk(&[a], &[view("A", "2")], Risk::Medium, "sets values: A");
        assert_risk(&[], &[a], Risk::Medium, "sets values: A");
        assert_risk(&[a], &[View { expand: false, ..a }], Risk::Medium, "sets values: A");
        assert_risk(&[secret("S", "1")], &[secret("S", "2")], Risk::High, "sets secrets: S");
        assert_risk(&[], &[secret("S", "1")], Risk::High, "sets secrets: S");
        assert_risk(&[a], &[], Risk::High, "removes variables: A");
        assert_risk(&[], &[View::tombstone("A")], Risk::High, "removes variables: A");
        assert_risk(&[a], &[View::tombstone("A")], Risk::High, "removes variables: A");
        assert_risk(&[View::tombstone("A")], &[], Risk::Medium, "lets in inherited variables again: A");
        assert_risk(&[View::tombstone("A")], &[a], Risk::Medium, "sets values: A");
        let redefined = "changes whether variables are required or secret, or their type: A";
        assert_risk(&[a], &[View { required: true, ..a }], Risk::High, redefined);
        assert_risk(&[a], &[View { secret: true, ..a }], Risk::High, redefined);
        assert_risk(&[a], &[View { kind: VariableKind::Number, ..a }], Risk::High, redefined);
        assert_eq!(told(ChangeKind::Rollback, &[a], &[a]), None, "nothing is no risk, however it is done");
    }

    #[test]
    fn the_highest_of_several_counts_and_all_are_told() {
        let (before, after) = ([view("A", "1")], [view("A", "2"), secret("S", "1")]);
        let (risk, reasons) = told(ChangeKind::Rollback, &before, &after).unwrap();
        assert_eq!(risk, Risk::High);
        assert_eq!(reasons, ["sets secrets: S", "sets values: A", "is a rollback"]);
        let (risk, reasons) = told(ChangeKind::Replacement, &before, &[view("A", "2")]).unwrap();
        assert_eq!((risk, reasons[1].as_str()), (Risk::High, "is an import that replaces everything"));
        let names: Vec<String> = (0..=MANY).map(|number| format!("V{number:02}")).collect();
        let many: Vec<View<'_>> = names.iter().map(|name| view(name, "x")).collect();
        let (risk, reasons) = told(ChangeKind::Variables, &[], &many).unwrap();
        assert_eq!(risk, Risk::High);
        assert_eq!(reasons[0], "sets values: V00, V01, V02, V03, V04, V05, V06, V07, V08, V09 and 11 more");
        assert_eq!(reasons[1], "changes 21 variables at once, which is more than 20");
        assert_eq!(told(ChangeKind::Variables, &[], &many[1..]).unwrap().0, Risk::Medium);
    }

    #[test]
    fn what_an_environment_is_has_risks_of_its_own() {
        let at = UnixMillis::from_millis(0);
        let before = Environment {
            id: EnvironmentId::generate(),
            project: ProjectId::from_bytes([1; 16]),
            stage: Stage::Production,
            name: "main".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
            generation: 3,
            approval: Some(Risk::High),
            created_at: at,
            updated_at: at,
        };
        let risk = |after: Environment| {
            let found = of_change(ChangeKind::Environment, &[], Some((&before, &after)));
            found.map(|found| (found.risk, found.reasons.len()))
        };
        assert_eq!(risk(Environment { approval: None, ..before.clone() }), Some((Risk::High, 1)));
        assert_eq!(risk(Environment { approval: Some(Risk::Low), ..before.clone() }), Some((Risk::High, 1)));
        assert_eq!(
            risk(Environment { extends: Some(EnvironmentId::generate()), ..before.clone() }),
            Some((Risk::High, 1))
        );
        assert_eq!(risk(Environment { stage: Stage::Staging, ..before.clone() }), Some((Risk::High, 1)));
        assert_eq!(risk(Environment { name: "eu".to_owned(), ..before.clone() }), Some((Risk::Medium, 1)));
        let both = Environment { is_active: false, description: "old".to_owned(), ..before.clone() };
        assert_eq!(risk(both), Some((Risk::Medium, 2)));
        assert_eq!(risk(Environment { description: "old".to_owned(), ..before.clone() }), Some((Risk::Low, 1)));
        assert_eq!(risk(Environment { generation: 4, ..before.clone() }), None);
    }
}
