use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use outrigger_protocol::environment::VariableKind;
use zeroize::Zeroizing;

use super::{API_VERSION, CONFIG_MAP, ObjectName, SECRET};
use crate::format::exact::{self, By};
use crate::format::export::{self, Prepared};
use crate::format::problem::{WriteProblem, WriteProblemKind};
use crate::format::quoted::Quoted;
use crate::format::yaml::{KeyName, ScalarAt};

/// All values of one object (`MaxSecretSize` of Kubernetes' API validation, which holds for both kinds).
const OBJECT_BYTES: usize = 1024 * 1024;

type Texts<'p> = Vec<(&'p Prepared<'p>, Option<&'p str>)>;

pub(in crate::format) fn write(
    prepared: &[Prepared<'_>],
    object: Option<&ObjectName>,
) -> Result<Zeroizing<String>, Vec<WriteProblem>> {
    let mut problems = Vec::new();
    if object.is_none() {
        problems.push(WriteProblem::new("", WriteProblemKind::NoObjectName));
    }
    let texts = export::texts(prepared, &mut problems);
    let is_secret = |each: &Prepared<'_>| each.variable.secret || each.variable.kind == VariableKind::Secret;
    let (secrets, plain): (Texts<'_>, Texts<'_>) = texts.into_iter().partition(|(each, _)| is_secret(each));
    for (kind, texts) in [(CONFIG_MAP, &plain), (SECRET, &secrets)] {
        let bytes = texts.iter().filter_map(|(_, text)| text.map(str::len)).sum();
        if bytes > OBJECT_BYTES {
            let kind = WriteProblemKind::ObjectTooLarge { kind, bytes, limit: OBJECT_BYTES };
            problems.push(WriteProblem::new("", kind));
        }
    }
    match object {
        Some(object) if problems.is_empty() => Ok(exact::text(&By(|f: &mut fmt::Formatter<'_>| {
            // A file without an object would not be one of Kubernetes.
            if !plain.is_empty() || secrets.is_empty() {
                config_map(object, &plain, f)?;
            }
            if !plain.is_empty() && !secrets.is_empty() {
                writeln!(f, "---")?;
            }
            if secrets.is_empty() { Ok(()) } else { secret(object, &secrets, f) }
        }))),
        _ => Err(problems),
    }
}

fn config_map(object: &ObjectName, texts: &Texts<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    head(CONFIG_MAP, object, f)?;
    data(texts, f, |text, f| write!(f, "{}", ScalarAt { text: Some(text), indent: 4 }))
}

fn secret(object: &ObjectName, texts: &Texts<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    head(SECRET, object, f)?;
    writeln!(f, "type: Opaque")?;
    data(texts, f, |text, f| write!(f, "\"{}\"", Base64Display::new(text.as_bytes(), &STANDARD)))
}

fn head(kind: &str, object: &ObjectName, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "apiVersion: {API_VERSION}\nkind: {kind}\nmetadata:\n  name: {}", Quoted(object.name()))?;
    match object.namespace() {
        Some(namespace) => writeln!(f, "  namespace: {}", Quoted(namespace)),
        None => Ok(()),
    }
}

fn data(
    texts: &Texts<'_>,
    f: &mut fmt::Formatter<'_>,
    value: impl Fn(&str, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    let is_empty = texts.iter().all(|(_, text)| text.is_none());
    writeln!(f, "data:{}", if is_empty { " {}" } else { "" })?;
    for (each, text) in texts {
        match text {
            Some(text) => {
                let comment = each.origin_comment().to_string();
                let indent = if comment.is_empty() { "" } else { "  " };
                write!(f, "{indent}{comment}  {}: ", KeyName(each.name()))?;
                value(text, f)?;
                writeln!(f)?;
            }
            None => write!(f, "  {}", each.unset_comment())?,
        }
    }
    Ok(())
}
