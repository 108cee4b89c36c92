//! Which of a program's series are meant, in a line of text: `jobs_waiting{queue="mail",state!="dead"}`.
//!
//! A name and a value may hold `*` for any number of characters. `a|b="x|y"` asks for the first of the labels that is
//! there and accepts either value. StatsD has tags where Prometheus has labels: here they are the same.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::limits::SELECTOR_BYTES;

/// Labels of a series, in the order in which they came. Names are distinct, or the first one counts.
pub type Labels<'a> = [(&'a str, Cow<'a, str>)];

/// A selector, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    name: Pattern,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    labels: Vec<String>,
    negated: bool,
    values: Vec<Pattern>,
}

/// A text in which `*` stands for any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

/// What a series is to a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// None of it.
    None,
    /// It has the name and the labels, and other values: proof that there is nothing else to count.
    Beside,
    Meant,
}

/// Quotes at most one character of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    #[error("a selector begins with the name of a metric, for example jobs_waiting{{queue=\"mail\"}}")]
    NoName,
    #[error("`{0}` cannot be in the name of a metric")]
    NameCharacter(char),
    #[error("the labels of a selector end with }}, as in jobs_waiting{{queue=\"mail\"}}")]
    Open,
    /// Which one, from 1 on.
    #[error("condition {0} on the labels is none: expected LABEL=\"VALUE\" or LABEL!=\"VALUE\"")]
    Condition(usize),
    #[error("a selector has at most {SELECTOR_BYTES} bytes")]
    TooLong,
}

impl Selector {
    /// Whether a series of this name can be meant.
    #[must_use]
    pub fn takes_name(&self, name: &str) -> bool {
        self.name.matches(name)
    }

    /// How a series whose name was taken fits.
    #[must_use]
    pub fn fit(&self, labels: &Labels<'_>) -> Fit {
        let mut fit = Fit::Meant;
        for condition in &self.conditions {
            match condition.holds(labels) {
                Some(true) => {}
                Some(false) => fit = Fit::Beside,
                None => return Fit::None,
            }
        }
        fit
    }
}

impl Condition {
    /// `None` when the series has no such label, which only a negated condition accepts.
    fn holds(&self, labels: &Labels<'_>) -> Option<bool> {
        let wanted = self.labels.iter().find_map(|wanted| labels.iter().find(|(label, _)| label == wanted));
        match wanted {
            Some((_, value)) => Some(self.values.iter().any(|pattern| pattern.matches(value)) != self.negated),
            None => self.negated.then_some(true),
        }
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where to go on when what follows the last star does not fit: one byte further into the text.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p + 1, t));
                p += 1;
            } else if pattern.get(p) == Some(&text[t]) {
                (p, t) = (p + 1, t + 1);
            } else if let Some((after, from)) = star {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > SELECTOR_BYTES {
            return Err(ParseSelectorError::TooLong);
        }
        let (name, conditions) = match text.split_once('{') {
            None => (text, None),
            Some((name, rest)) => (name, Some(rest.strip_suffix('}').ok_or(ParseSelectorError::Open)?)),
        };
        if name.is_empty() {
            return Err(ParseSelectorError::NoName);
        }
        let is_foreign = |c: &char| c.is_whitespace() || c.is_control() || matches!(c, '=' | '|' | '@' | '"' | '}');
        if let Some(foreign) = name.chars().find(is_foreign) {
            return Err(ParseSelectorError::NameCharacter(foreign));
        }
        let conditions = match conditions {
            None => Vec::new(),
            Some(list) => {
                let numbered = split_outside_quotes(list).zip(1..);
                numbered.map(|(text, number)| Condition::parse(text, number)).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { name: Pattern(name.to_owned()), conditions })
    }
}

impl Condition {
    fn parse(text: &str, number: usize) -> Result<Self, ParseSelectorError> {
        let wrong = || ParseSelectorError::Condition(number);
        let (labels, value) = text.split_once('=').ok_or_else(wrong)?;
        let labels = labels.trim_end();
        let (labels, negated) = labels.strip_suffix('!').map_or((labels, false), |labels| (labels, true));
        let quoted = |value: &str| value.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
        let value = if value.starts_with('"') { quoted(value).ok_or_else(wrong)? } else { value.to_owned() };
        let labels: Vec<String> = labels.split('|').map(|label| label.trim().to_owned()).collect();
        let is_foreign = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '!' | '"' | '{' | '}');
        if labels.iter().any(|label| label.is_empty() || label.contains(is_foreign)) || value.contains('"') {
            return Err(wrong());
        }
        Ok(Self { labels, negated, values: value.split('|').map(|value| Pattern(value.to_owned())).collect() })
    }
}

/// The parts between commas that are not within quotes; none of an empty list, and none after a last comma.
fn split_outside_quotes(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = list.split(move |c: char| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.0)?;
        for (at, condition) in self.conditions.iter().enumerate() {
            let values: Vec<&str> = condition.values.iter().map(|value| value.0.as_str()).collect();
            let (lead, sign) = (if at == 0 { '{' } else { ',' }, if condition.negated { "!=" } else { "=" });
            write!(f, "{lead}{}{sign}\"{}\"", condition.labels.join("|"), values.join("|"))?;
        }
        if self.conditions.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fit(selector: &str, labels: &[(&'static str, &'static str)]) -> Fit {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect();
        selector.parse::<Selector>().expect("a selector").fit(&labels)
    }

    #[test]
    fn a_name_may_hold_stars() {
        let takes = |pattern: &str, name: &str| pattern.parse::<Selector>().expect("a selector").takes_name(name);
        assert!(takes("jobs", "jobs") && !takes("jobs", "jobs_done") && !takes("jobs", "job"));
        assert!(
            takes("*gunicorn.requests", "gunicorn.requests") && takes("*gunicorn.requests", "app.gunicorn.requests")
        );
        assert!(takes("app_*_total", "app_a_total_b_total") && !takes("app_*_total", "app_total"));
        assert!(takes("*", "") && takes("a**", "a"));
    }

    #[test]
    fn every_condition_has_to_hold() {
        let selector = "http_requests_total{status|code=\"5*|0\",method!=GET}";
        assert_eq!(fit(selector, &[("code", "503"), ("method", "POST")]), Fit::Meant);
        assert_eq!(fit(selector, &[("status", "0")]), Fit::Meant, "a label that is missing is not GET");
        assert_eq!(fit(selector, &[("code", "200"), ("method", "POST")]), Fit::Beside);
        assert_eq!(fit(selector, &[("code", "503"), ("method", "GET")]), Fit::Beside);
        assert_eq!(fit(selector, &[("method", "POST")]), Fit::None);
        assert_eq!(fit(selector, &[("status", "200"), ("code", "500")]), Fit::Beside, "the first label counts");
        assert_eq!(fit("jobs", &[("queue", "mail")]), Fit::Meant);
    }

    #[test]
    fn a_value_may_hold_what_separates_when_it_is_quoted() {
        assert_eq!(fit("jobs{queue=\"a,b\", kind=\"=\",}", &[("queue", "a,b"), ("kind", "=")]), Fit::Meant);
    }

    #[test]
    fn what_is_no_selector_is_refused_in_words() {
        let error = |text: &str| text.parse::<Selector>().expect_err("refused");
        assert_eq!(error(""), ParseSelectorError::NoName);
        assert_eq!(error("{a=b}"), ParseSelectorError::NoName);
        assert_eq!(error("a b"), ParseSelectorError::NameCharacter(' '));
        assert_eq!(error("a{b=c"), ParseSelectorError::Open);
        assert_eq!(error("a{b}"), ParseSelectorError::Condition(1));
        assert_eq!(error("a{b=c,=c}"), ParseSelectorError::Condition(2));
        assert_eq!(error("a{b=\"c}"), ParseSelectorError::Condition(1));
        assert_eq!(error("a{b!!=c}"), ParseSelectorError::Condition(1));
        assert_eq!(error("a{b c=d}"), ParseSelectorError::Condition(1));
        assert_eq!(error(&"a".repeat(SELECTOR_BYTES + 1)), ParseSelectorError::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}", name in ".{0,40}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse(), Ok(selector.clone()));
                let _ = selector.takes_name(&name);
            }
        }

        #[test]
        fn stars_match_as_a_naive_matcher_does(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|from| naive(rest, &text[from..])),
                    Some((byte, rest)) => text.split_first().is_some_and(|(t, more)| t == byte && naive(rest, more)),
                }
            }
            prop_assert_eq!(Pattern(pattern.clone()).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
