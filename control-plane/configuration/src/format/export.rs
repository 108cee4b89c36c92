//! What is the same for every format that is written.

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::exact::By;
use super::kubernetes::ObjectName;
use super::name::{OneLine, is_name};
use super::notation;
use super::problem::{WriteProblem, WriteProblemKind};
use super::variable::ExportedVariable;

/// How a file is to look. What does not concern a format is left alone by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// For JSON and YAML.
    pub form: Form,
    /// For Kubernetes, which needs it.
    pub object: Option<ObjectName>,
}

/// How JSON and YAML are written. Both [`Flat`](Self::Flat) and [`Full`](Self::Full) read back as what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `KEY: value`, with values as they are written here: a literal `${` is `$${`.
    #[default]
    Flat,
    /// `KEY: value`, with values as a program gets them, for whoever reads no `${`. Reading one back takes a `${` in it
    /// for a reference.
    Plain,
    /// All that is known about each variable, in an envelope with a version.
    Full,
}

/// A variable that can be written, with what its value comes to.
pub(super) struct Prepared<'a> {
    pub(super) variable: &'a ExportedVariable,
    pub(super) content: Content<'a>,
}

pub(super) enum Content<'a> {
    Unset,
    /// What a program gets.
    Text(Text<'a>),
    /// A written value, with a reference.
    Expression(&'a str),
}

pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl<'a> Prepared<'a> {
    /// Checks what no format can carry.
    pub(super) fn all(variables: &'a [ExportedVariable]) -> Result<Vec<Self>, Vec<WriteProblem>> {
        let mut names = HashSet::with_capacity(variables.len());
        let mut problems = Vec::new();
        for variable in variables {
            let mut report = |kind| problems.push(WriteProblem::new(&variable.name, kind));
            if !is_name(&variable.name) {
                report(WriteProblemKind::InvalidName);
            }
            if !names.insert(variable.name.as_str()) {
                report(WriteProblemKind::Duplicate);
            }
            if variable.value.as_ref().is_some_and(|value| value.contains('\0')) {
                report(WriteProblemKind::NulByte);
            }
        }
        if problems.is_empty() { Ok(variables.iter().map(Self::new).collect()) } else { Err(problems) }
    }

    fn new(variable: &'a ExportedVariable) -> Self {
        let content = match &variable.value {
            None => Content::Unset,
            Some(value) if variable.literal || !value.contains("${") => Content::Text(Text::Borrowed(value)),
            Some(value) => match notation::text_of(value) {
                Some(text) => Content::Text(Text::Owned(text)),
                None => Content::Expression(value),
            },
        };
        Self { variable, content }
    }

    pub(super) fn name(&self) -> &str {
        &self.variable.name
    }

    pub(super) fn problem(&self, kind: WriteProblemKind) -> WriteProblem {
        WriteProblem::new(self.name(), kind)
    }

    /// The value as it is written here.
    pub(super) fn written(&self) -> Option<Text<'_>> {
        match &self.content {
            Content::Unset => None,
            Content::Text(text) if text.contains("${") => Some(Text::Owned(notation::double_dollars(text))),
            Content::Text(text) => Some(Text::Borrowed(text)),
            Content::Expression(written) => Some(Text::Borrowed(written)),
        }
    }

    /// The value as a program gets it, where that is known.
    pub(super) fn text(&self) -> Option<Text<'_>> {
        if let Content::Text(text) = &self.content { Some(Text::Borrowed(text)) } else { None }
    }

    /// The line above the variable in formats that have comments: where the value comes from.
    pub(super) fn origin_comment(&self) -> impl fmt::Display {
        By(|f: &mut fmt::Formatter<'_>| match &self.variable.origin {
            Some(origin) => writeln!(f, "# from {}", OneLine(origin)),
            None => Ok(()),
        })
    }

    /// The line instead of the variable in formats that cannot say that it has no value.
    pub(super) fn unset_comment(&self) -> impl fmt::Display {
        let what = if self.variable.removed { "removed here, and so not inherited" } else { "not set" };
        By(move |f: &mut fmt::Formatter<'_>| writeln!(f, "# {} is {what}", self.name()))
    }
}

/// The variables of a format without references, with their text; those that are not set have none.
pub(super) fn texts<'p>(
    prepared: &'p [Prepared<'_>],
    problems: &mut Vec<WriteProblem>,
) -> Vec<(&'p Prepared<'p>, Option<&'p str>)> {
    let mut texts = Vec::with_capacity(prepared.len());
    for each in prepared {
        match &each.content {
            Content::Unset => texts.push((each, None)),
            Content::Text(text) => texts.push((each, Some(&**text))),
            Content::Expression(_) => problems.push(each.problem(WriteProblemKind::Reference)),
        }
    }
    texts
}
