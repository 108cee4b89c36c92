//! The templates that are compiled in.

use std::sync::LazyLock;

use crate::template::Template;

/// The files of `official/`, in the order of their names.
const FILES: &[&str] = &[
    include_str!("../official/aws.yaml"),
    include_str!("../official/azure.yaml"),
    include_str!("../official/datadog.yaml"),
    include_str!("../official/django.yaml"),
    include_str!("../official/docker.yaml"),
    include_str!("../official/flask.yaml"),
    include_str!("../official/google-cloud.yaml"),
    include_str!("../official/mongodb.yaml"),
    include_str!("../official/new-relic.yaml"),
    include_str!("../official/nextjs.yaml"),
    include_str!("../official/nodejs.yaml"),
    include_str!("../official/postgresql.yaml"),
    include_str!("../official/redis.yaml"),
    include_str!("../official/sentry.yaml"),
];

static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let parse = |text: &&str| Template::parse(text).expect("a test parses every file that is compiled in");
    FILES.iter().map(parse).collect()
});

/// Every official template, in the order of their ids. Parsed at the first call.
#[must_use]
pub fn official() -> &'static [Template] {
    &TEMPLATES
}

/// The official template with this id.
#[must_use]
pub fn official_by_id(id: &str) -> Option<&'static Template> {
    official().iter().find(|template| template.id() == id)
}
