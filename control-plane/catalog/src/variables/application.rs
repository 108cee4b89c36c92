//! Variables from templates. What a template comes to is [`outrigger_templates`]'s to say.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::diff::{Difference, diff};
use outrigger_configuration::resolve::{Variable, secret_names};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId, ProjectId};
use outrigger_secrets::SecretString;
use outrigger_templates::{Application, Applied, AppliedVariable, ApplyError, Refusal, Template};
use zeroize::Zeroizing;

use super::change::check_shape;
use super::composition::{Composition, empty_layer};
use super::publish::{Cause, Publication, Published};
use crate::catalog::{Catalog, fill_random};
use crate::environments::{ENVIRONMENT, NewEnvironment};
use crate::error::{CatalogError, FieldProblem};
use crate::keys;
use crate::model::{Actor, AppliedTemplate, AuditAction, ChangeKind, Environment, Role, Stage, VariableChange};
use crate::mutation::{Decided, Draft};
use crate::projects::PROJECT;
use crate::record::{Outcome, ProjectRow};
use crate::validate::listed;

/// Which template to apply, to what, and how.
#[derive(Debug)]
pub struct TemplateApplication {
    pub template: String,
    pub project: ProjectId,
    pub stage: Stage,
    /// The environment of that name. Without one, the only active environment of the stage; if the project has none of
    /// that stage, it is made, with the stage as its name.
    pub name: Option<String>,
    /// Values by name; they may be references.
    pub overrides: BTreeMap<String, SecretString>,
    /// Whether existing values, inherited ones included, are replaced by what the template and the overrides say.
    pub replace: bool,
    /// Whether random secrets are made where the template wants them.
    pub generate: bool,
    /// The generation that the environment is taken to be at; 0 for one that is not there.
    pub if_match: Option<u64>,
    /// Why, for the history; of an empty one, the template is the reason.
    pub message: String,
}

impl Catalog {
    /// Writes the variables that a template comes to, in one new generation, or none of them, and counts it as a use of
    /// the template. Developer; admin where the environment is made for it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the project, the template, or an environment that is named;
    /// [`CatalogError::Validation`] with every required variable that has no value and every override that cannot be;
    /// and as [`change_variables`](Self::change_variables), [`CatalogError::AwaitsApproval`] among them.
    pub async fn apply_template(
        &self,
        actor: &Actor,
        application: TemplateApplication,
    ) -> Result<AppliedTemplate, CatalogError> {
        let application = &application;
        let outcome = self.mutate(actor, Role::Developer, "apply template", async |mut draft| {
            let (_, applied, held) = self.template_applied(&mut draft, actor, application).await?;
            if !applied.is_changed && !applied.is_new {
                return Ok(Decided::Already(Outcome::Done(applied)));
            }
            self.count_template_use(&mut draft, actor.organization, &application.template).await?;
            if let Some(id) = held {
                return draft.then(Outcome::Held(id));
            }
            let AppliedTemplate { environment, generation, written, kept, .. } = &applied;
            let detail = format!(
                "template {}: {} variables written, {} kept, as generation {}",
                application.template,
                written.len(),
                kept.len(),
                generation.number
            );
            draft.audit(AuditAction::Import, environment.id, &detail);
            draft.then(Outcome::Done(applied))
        });
        let outcome = outcome.await?;
        self.settle(actor, outcome).await
    }

    /// What [`apply_template`](Self::apply_template) would do and change, without doing it. It fails where that would.
    /// Random secrets are made and forgotten.
    ///
    /// # Errors
    /// Those of [`apply_template`](Self::apply_template).
    pub async fn preview_template(
        &self,
        actor: &Actor,
        application: &TemplateApplication,
    ) -> Result<(AppliedTemplate, Vec<Difference>), CatalogError> {
        actor.require(Role::Developer)?;
        // Decided like the real one, and not committed.
        let (composition, mut applied, _) = self.template_applied(&mut self.draft(actor), actor, application).await?;
        let id = applied.environment.id;
        if let Some(present) = composition.environment(id) {
            applied.environment = present.clone();
            applied.generation = self.present_generation(actor.organization, present).await?;
        }
        let secrets: BTreeSet<&str> = secret_names(&composition, id);
        let before = composition.written.get(&id).into_iter().flat_map(|layer| layer.views(&secrets));
        let after = composition.layers.get(&id).into_iter().flat_map(|layer| layer.views(&secrets));
        let differences = if applied.is_changed { diff(before, after) } else { Vec::new() };
        Ok((applied, differences))
    }

    /// Adds to a draft what an application comes to; or that it awaits approval, as what.
    async fn template_applied(
        &self,
        draft: &mut Draft,
        actor: &Actor,
        application: &TemplateApplication,
    ) -> Result<(Composition, AppliedTemplate, Option<ChangeId>), CatalogError> {
        let organization = actor.organization;
        let target = self.environment_for(organization, application).await?;
        let template = self.template_to_apply(draft, organization, &application.template).await?;
        let is_new = target.is_none();
        let (environment, mut composition) = match target {
            Some(environment) => {
                let composition = self.present(organization, environment.id, application.if_match).await?;
                // Of the moment of everything else that is read.
                (composition.environment(environment.id).cloned().unwrap_or(environment), composition)
            }
            None => self.environment_to_be(draft, actor, application).await?,
        };
        let id = environment.id;
        draft.concerns(environment.project);
        self.complete(&mut composition, id).await?;
        let applied = fill_in(&template, &composition, id, application)?;
        let message = match application.message.as_str() {
            "" => format!("template {} {}", template.name(), template.version()),
            message => message.to_owned(),
        };
        let changes = changes(&composition.written_by(id)?.variables, &applied.variables);
        check_shape(&changes, &message)?;
        self.change(&mut composition, id, &changes).await?;
        let cause = if is_new { Cause::Everything } else { Cause::Content };
        let publication = Publication { cause, ..Publication::of(actor, id, &message, ChangeKind::Import) };
        let published = self.publish(draft, &mut composition, &publication).await?;
        let is_changed = !matches!(published, Published::Nothing);
        let (generation, held) = match published {
            Published::Generation(generation) => (generation, None),
            Published::Nothing => (self.present_of(&composition, id).await?, None),
            Published::Held(held) => (self.present_of(&composition, id).await?, Some(held)),
        };
        let environment = Environment {
            generation: generation.number,
            updated_at: if is_changed { draft.now } else { environment.updated_at },
            ..environment
        };
        let Applied { variables, kept, unset } = applied;
        let written = variables.into_iter().map(|variable| (variable.key, variable.origin)).collect();
        let applied = AppliedTemplate { environment, is_new, generation, is_changed, written, kept, unset };
        Ok((composition, applied, held))
    }

    /// The environment that is meant; `None` when the project has none of the stage, and none is named.
    async fn environment_for(
        &self,
        organization: OrganizationId,
        application: &TemplateApplication,
    ) -> Result<Option<Environment>, CatalogError> {
        let TemplateApplication { project, stage, name, .. } = application;
        self.expect_row::<ProjectRow>(keys::project(organization, *project), PROJECT).await?;
        let mut of_stage = Vec::new();
        for id in self.environments_of(organization, *project).await? {
            // One that was deleted since is not found.
            let row = self.row::<Environment>(keys::environment(organization, id)).await?;
            of_stage.extend(row.map(|row| row.value).filter(|environment| environment.stage == *stage));
        }
        if let Some(name) = name {
            let named = of_stage.into_iter().find(|environment| environment.name == *name);
            return named.map(Some).ok_or(CatalogError::NotFound { what: ENVIRONMENT });
        }
        let mut active: Vec<&Environment> = of_stage.iter().filter(|environment| environment.is_active).collect();
        match (active.pop(), active.is_empty()) {
            (Some(only), true) => Ok(Some(only.clone())),
            (Some(_), false) => Err(name_one("may be one of several", &of_stage)),
            (None, _) if of_stage.is_empty() => Ok(None),
            (None, _) => Err(name_one("is not active", &of_stage)),
        }
    }

    /// Adds to a draft the environment that a project does not have yet.
    async fn environment_to_be(
        &self,
        draft: &mut Draft,
        actor: &Actor,
        application: &TemplateApplication,
    ) -> Result<(Environment, Composition), CatalogError> {
        actor.require(Role::Admin)?;
        if application.if_match.is_some_and(|expected| expected != 0) {
            return Err(CatalogError::conflict("the environment is not there yet"));
        }
        let new = NewEnvironment {
            project: application.project,
            stage: application.stage,
            name: application.stage.name().to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        let environment = self.begin_environment(draft, &new).await?;
        let mut composition = self.composition(actor.organization, environment.project);
        composition.layers.insert(environment.id, empty_layer(&environment, None));
        composition.renewed.insert(environment.id, environment.clone());
        Ok((environment, composition))
    }
}

fn name_one(problem: &str, environments: &[Environment]) -> CatalogError {
    let names = environments.iter().map(|environment| &environment.name);
    CatalogError::invalid(ENVIRONMENT, format!("{problem}, name one: {}", listed(names)))
}

/// What the template comes to in an environment.
fn fill_in(
    template: &Template,
    composition: &Composition,
    environment: EnvironmentId,
    application: &TemplateApplication,
) -> Result<Applied, CatalogError> {
    let value = |value: &SecretString| Zeroizing::new(value.expose().to_owned());
    let overrides = application.overrides.iter().map(|(key, text)| (key.clone(), value(text))).collect();
    let application = Application {
        stage: stage(application.stage),
        overrides: &overrides,
        existing: &with_value(composition, environment),
        replace: application.replace,
        generate: application.generate,
    };
    outrigger_templates::apply(template, &application, &mut fill_random).map_err(refused)
}

const fn stage(stage: Stage) -> outrigger_templates::Stage {
    match stage {
        Stage::Development => outrigger_templates::Stage::Development,
        Stage::Staging => outrigger_templates::Stage::Staging,
        Stage::Production => outrigger_templates::Stage::Production,
    }
}

/// The names that have a value in an environment, be it one that it inherits.
fn with_value(composition: &Composition, environment: EnvironmentId) -> BTreeSet<String> {
    let (mut names, mut removed, mut seen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut next = Some(environment);
    while let Some(layer) = next.filter(|id| seen.insert(*id)).and_then(|id| composition.layers.get(&id)) {
        let set = layer.variables.iter().filter(|variable| variable.value.is_some());
        names.extend(set.map(|variable| &variable.name).filter(|name| !removed.contains(*name)).cloned());
        removed.extend(&layer.tombstones);
        next = layer.extends;
    }
    names
}

fn refused(error: ApplyError) -> CatalogError {
    match error {
        ApplyError::Refused { problems } => {
            let problem = |problem: outrigger_templates::ApplyProblem| {
                let field = match &problem.refusal {
                    Refusal::Missing { .. } => problem.key,
                    Refusal::TooManyOverrides { .. } => "overrides".to_owned(),
                    _ => format!("overrides.{}", problem.key),
                };
                FieldProblem { field, problem: problem.refusal.to_string() }
            };
            CatalogError::Validation(problems.into_iter().map(problem).collect())
        }
        source @ ApplyError::Randomness { .. } => CatalogError::Randomness { source },
    }
}

/// What is to be written. A value that is there already, or declared, only ever becomes stricter: a template knows less
/// of it than whoever called it secret.
fn changes(present: &[Variable], applied: &[AppliedVariable]) -> Vec<VariableChange> {
    let by_name: BTreeMap<&str, &Variable> =
        present.iter().map(|variable| (variable.name.as_str(), variable)).collect();
    let put = |variable: &AppliedVariable| {
        let present = by_name.get(variable.key.as_str());
        let described = present.filter(|_| variable.description.is_empty());
        VariableChange::Put {
            key: variable.key.clone(),
            value: Some(SecretString::from(variable.value.as_str().to_owned())),
            is_secret: variable.secret
                || variable.kind == VariableKind::Secret
                || present.is_some_and(|one| one.is_secret()),
            is_required: variable.required || present.is_some_and(|one| one.required),
            kind: variable.kind,
            description: described.map_or(&variable.description, |one| &one.description).clone(),
            expand: true,
        }
    };
    applied.iter().map(put).collect()
}
