//! From what environments are to be to new generations of them, and of all that depend on them.
//!
//! Every environment whose effective content may be different is resolved before anything is written. If one of them
//! could not be resolved any more, or breaks a rule, or what runs with it could not go on, nothing is changed, and
//! the error names it. Each whose effective content is different, or is put together from others, gets a new
//! generation in the same transaction: what is delivered is always what the newest generation says.
//!
//! It is the one place at which anything is published, and so the one at which a change may be held until somebody
//! approves it (`approval.rs`).
//!
//! The graph row of a project says when it last changed which environments there are and which of them depend on which.
//! Whoever publishes relies on it, and so on having seen every dependent.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::resolve::{Effective, Problem, ProblemKind, Unresolvable};
use outrigger_protocol::environment::{Environment as Plaintext, Problem as Broken};
use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId, ProjectId};
use outrigger_store::{Compare, Revision};

use super::composition::Composition;
use super::demands::is_demand;
use super::version::{differences, versions};
use crate::catalog::{Catalog, Row};
use crate::error::{CatalogError, FieldProblem};
use crate::keys;
use crate::model::{Actor, AuditAction, ChangeKind, Environment, Generation};
use crate::mutation::Draft;
use crate::record::{Empty, GenerationRow};

/// Most environments whose effective content may depend on one: they are published with it in one transaction.
const MAX_DEPENDENTS: usize = 64;
/// Variables that one transaction writes: with their audit entries, they fit into it.
pub(super) const MAX_WRITES: usize = 1_000;
/// Problems that are told one by one.
const PROBLEMS_TOLD: usize = 256;

/// What is to be published.
#[derive(Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) actor: &'a Actor,
    /// The environment that is changed. It gets a new generation if anything is different about what it writes.
    pub(crate) root: EnvironmentId,
    /// Why, in the caller's words.
    pub(crate) message: &'a str,
    pub(crate) cause: Cause,
    /// What the caller does, for whoever may have to approve it.
    pub(crate) kind: ChangeKind,
    /// On whose behalf `actor` publishes what was held before; nothing is held a second time.
    pub(crate) on_behalf_of: Option<&'a str>,
}

impl<'a> Publication<'a> {
    /// Of variables.
    pub(crate) const fn of(actor: &'a Actor, root: EnvironmentId, message: &'a str, kind: ChangeKind) -> Self {
        Self { actor, root, message, cause: Cause::Content, kind, on_behalf_of: None }
    }
}

/// What came of publishing.
#[derive(Debug)]
pub(crate) enum Published {
    /// The root has no new generation. Others may.
    Nothing,
    /// The new generation of the root.
    Generation(Generation),
    /// Nothing is published: it awaits approval. The draft has that and nothing else.
    Held(ChangeId),
}

/// What the change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its variables, or what it extends.
    Content,
    /// How it is called, or whether it is active: references by name may mean another one now.
    Name,
    /// Both: it is new, or everything about it may be different.
    Everything,
}

/// An environment whose effective content may be different, with what its newest generation says.
struct Affected {
    id: EnvironmentId,
    effective: Effective,
    names: Vec<(String, EnvironmentId)>,
    present: GenerationRow,
}

impl Catalog {
    /// Adds to a draft what `composition` makes of the root and of everything that depends on it; or, where an
    /// environment that would be different is protected from it, makes the draft one of a change that awaits approval.
    pub(super) async fn publish(
        &self,
        draft: &mut Draft,
        composition: &mut Composition,
        publication: &Publication<'_>,
    ) -> Result<Published, CatalogError> {
        let (organization, project, at) = (composition.organization, composition.project, composition.at);
        let graph = keys::environment_graph(organization, project);
        let graph_row = self.row_at::<Empty>(&graph, at).await?;
        draft.relies_on_or_absence(graph.clone(), graph_row.as_ref());

        let ids = self.affected(composition, publication).await?;
        for id in &ids {
            self.complete(composition, *id).await?;
        }
        for id in &ids {
            if composition.restoration_of(*id).is_none() {
                composition.tighten(*id);
            }
        }
        let mut affected = Vec::with_capacity(ids.len());
        for (id, effective) in resolve_all(composition, &ids, publication.root)? {
            let names = match composition.restoration_of(id) {
                Some(back) => back.names.clone(),
                None => composition.names(effective.dependencies.iter().copied().chain([id])),
            };
            let present = self.present_row(composition, id).await?;
            affected.push(Affected { id, effective, names, present });
        }

        let mut numbers = BTreeMap::new();
        for each in &affected {
            if is_different(composition, each) {
                numbers.insert(each.id, each.present.generation.number + 1);
            }
        }
        if publication.on_behalf_of.is_none() && composition.restoration.is_none() {
            let different: Vec<(EnvironmentId, &Effective)> = affected
                .iter()
                .filter(|each| numbers.contains_key(&each.id) || composition.renewed.contains_key(&each.id))
                .map(|each| (each.id, &each.effective))
                .collect();
            if let Some(verdict) = self.judge(composition, publication, &different).await? {
                return self.hold(draft, composition, publication, verdict).await.map(Published::Held);
            }
        }
        let mut published = Published::Nothing;
        let mut writes = 0;
        for each in affected.iter().filter(|each| numbers.contains_key(&each.id)) {
            let generation = self.publish_one(draft, composition, publication, each, &numbers, &mut writes).await?;
            if each.id == publication.root {
                published = Published::Generation(generation);
            }
        }
        let restructured = affected.iter().any(|each| {
            numbers.contains_key(&each.id)
                && (each.names != each.present.names || !each.present.has_inputs(&each.effective.dependencies))
        });
        if restructured || publication.cause != Cause::Content {
            draft.mark(graph);
        }
        write_environments(draft, composition, &numbers);
        Ok(published)
    }

    /// The root, and every environment whose effective content may change with it.
    async fn affected(
        &self,
        composition: &Composition,
        publication: &Publication<'_>,
    ) -> Result<Vec<EnvironmentId>, CatalogError> {
        let (organization, project, at) = (composition.organization, composition.project, composition.at);
        let root = publication.root;
        let mut affected = BTreeSet::new();
        if publication.cause != Cause::Name {
            affected.extend(self.dependents(organization, project, root, at).await?);
        }
        if publication.cause != Cause::Content {
            affected.extend(self.referring_by_name(organization, project, at).await?);
        }
        affected.remove(&root);
        if affected.len() > MAX_DEPENDENTS {
            let what = format!(
                "{} environments depend on this one, and at most {MAX_DEPENDENTS} are published at once; let fewer \
                 extend or refer to it",
                affected.len()
            );
            return Err(CatalogError::conflict(what));
        }
        Ok([root].into_iter().chain(affected).collect())
    }

    /// The environments whose effective content depends on one.
    pub(crate) async fn dependents(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        id: EnvironmentId,
        at: Revision,
    ) -> Result<Vec<EnvironmentId>, CatalogError> {
        let rows = self.rows::<Empty>(&keys::dependents(organization, project, id), Some(at)).await?;
        Ok(rows.iter().filter_map(|row| keys::last_id(&row.key)).map(EnvironmentId::from_bytes).collect())
    }

    /// The environments of a project that need to know what another one is called.
    async fn referring_by_name(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        at: Revision,
    ) -> Result<Vec<EnvironmentId>, CatalogError> {
        let mut referring = Vec::new();
        for id in self.environments_of_at(organization, project, at).await? {
            let Some(row) = self.row_at::<Environment>(&keys::environment(organization, id), at).await? else {
                continue;
            };
            let key = keys::generation(organization, id, row.value.generation);
            let generation = self.row_at::<GenerationRow>(&key, at).await?;
            referring.extend(generation.filter(|row| !row.value.names.is_empty()).map(|_| id));
        }
        Ok(referring)
    }

    async fn present_row(&self, composition: &Composition, id: EnvironmentId) -> Result<GenerationRow, CatalogError> {
        let environment = composition.environment(id).ok_or(CatalogError::NotFound { what: "environment" })?;
        self.generation_row_or_beginning(composition.organization, environment, environment.generation).await
    }

    async fn publish_one(
        &self,
        draft: &mut Draft,
        composition: &Composition,
        publication: &Publication<'_>,
        affected: &Affected,
        numbers: &BTreeMap<EnvironmentId, u64>,
        writes: &mut usize,
    ) -> Result<Generation, CatalogError> {
        let Affected { id, effective, names, present } = affected;
        let (id, organization) = (*id, composition.organization);
        let number = present.generation.number + 1;
        let content = effective.to_environment();
        self.demand_of_runners(draft, organization, id, &demands(&content)).await?;

        let environment = composition.environment(id).ok_or(CatalogError::NotFound { what: "environment" })?;
        let nothing = BTreeMap::new();
        let variables = composition.snapshots.get(&id).map_or(&nothing, |snapshot| &snapshot.variables);
        let layer = composition.layers.get(&id).ok_or(CatalogError::NotFound { what: "environment" })?;
        let differences = composition.written.get(&id).map_or_else(Vec::new, |before| differences(before, layer));
        *writes += differences.len();
        if *writes > MAX_WRITES {
            let what = format!("more than {MAX_WRITES} variables would be written at once; change fewer");
            return Err(CatalogError::conflict(what));
        }
        if !differences.is_empty() {
            // Versions are moved aside sealed as they were read; whoever has sealed them anew since is noticed.
            let resealed = keys::resealed(organization, id);
            let row = self.row_at::<Empty>(&resealed, composition.at).await?;
            draft.relies_on_or_absence(resealed, row.as_ref());
        }
        self.write_versions(draft, organization, environment, variables, &differences, number).await?;
        self.retire_generation(draft, organization, id, number).await?;

        let message = if id == publication.root {
            publication.message.to_owned()
        } else {
            let detail = caused_by(composition, publication, numbers);
            draft.audit(AuditAction::Update, id, &format!("generation {number}, {detail}"));
            detail
        };
        let actor = publication.actor.subject.to_string();
        let (author, approver) = match publication.on_behalf_of {
            Some(author) => (author.to_owned(), Some(actor)),
            None => (actor, None),
        };
        let generation = Generation {
            environment: id,
            number,
            author,
            approver,
            message,
            created_at: draft.now,
            content_hash: content.hash(),
        };
        let number_of = |input: &EnvironmentId| {
            let present = composition.environment(*input).map_or(0, |environment| environment.generation);
            (*input, numbers.get(input).copied().unwrap_or(present))
        };
        let back = composition.restoration_of(id);
        let row = GenerationRow {
            generation: generation.clone(),
            variables: versions(variables, layer, &differences, number),
            extends: layer.extends,
            inputs: back
                .map_or_else(|| effective.dependencies.iter().map(number_of).collect(), |back| back.inputs.clone()),
            names: names.clone(),
            restores: back.map(|back| back.to),
        };
        draft.put(keys::generation(organization, id, number), &row);
        let before: BTreeSet<EnvironmentId> = present.inputs.iter().map(|(input, _)| *input).collect();
        for input in effective.dependencies.difference(&before) {
            draft.mark(keys::dependent(organization, composition.project, *input, id));
        }
        for input in before.difference(&effective.dependencies) {
            draft.delete(keys::dependent(organization, composition.project, *input, id));
        }
        Ok(generation)
    }
}

impl GenerationRow {
    fn has_inputs(&self, dependencies: &BTreeSet<EnvironmentId>) -> bool {
        self.inputs.iter().map(|(input, _)| input).eq(dependencies)
    }
}

/// Whether an environment needs a new generation. What it writes is one of the reasons, even where it comes to the same.
fn is_different(composition: &Composition, affected: &Affected) -> bool {
    let Affected { id, effective, names, present } = affected;
    let layer = composition.layers.get(id);
    let rewritten =
        composition.written.get(id).zip(layer).is_some_and(|(before, after)| !differences(before, after).is_empty());
    // What was restored is put together from the present at the next opportunity, whatever comes of that.
    rewritten
        || present.restores.is_some()
        || composition.restoration_of(*id).is_some()
        || layer.is_some_and(|layer| layer.extends != present.extends)
        || !present.has_inputs(&effective.dependencies)
        || *names != present.names
        || effective.to_environment().hash() != present.generation.content_hash
}

/// Puts the rows of the environments that are different, and relies on the others being what was read.
fn write_environments(draft: &mut Draft, composition: &Composition, numbers: &BTreeMap<EnvironmentId, u64>) {
    for id in composition.layers.keys() {
        let Some(environment) = composition.environment(*id) else { continue };
        let number = numbers.get(id);
        let is_written = number.is_some() || composition.renewed.contains_key(id);
        let row: Option<&Row<Environment>> = composition.snapshots.get(id).map(|snapshot| &snapshot.environment);
        let newer = Environment {
            generation: number.copied().unwrap_or(environment.generation),
            updated_at: draft.now,
            ..environment.clone()
        };
        match row {
            Some(row) if is_written => draft.replace(row, &newer),
            Some(row) => draft.relies_on(row),
            None => {
                let key = keys::environment(composition.organization, *id);
                draft.when(Compare::Absent(key.clone()));
                draft.put(key, &newer);
            }
        }
    }
}

fn caused_by(
    composition: &Composition,
    publication: &Publication<'_>,
    numbers: &BTreeMap<EnvironmentId, u64>,
) -> String {
    let label = composition.label(publication.root);
    match numbers.get(&publication.root) {
        Some(number) => format!("because {label} is at generation {number}"),
        None => format!("because {label} was renamed"),
    }
}

fn resolve_all(
    composition: &Composition,
    ids: &[EnvironmentId],
    root: EnvironmentId,
) -> Result<Vec<(EnvironmentId, Effective)>, CatalogError> {
    let (mut resolved, mut problems) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in ids {
        match composition.resolve(*id) {
            Ok(effective) => resolved.push((*id, effective)),
            Err(unresolvable) => {
                tell(&mut problems, unresolvable, root);
                // What depends on the root has the same problems, and they are the root's to solve.
                if *id == root {
                    break;
                }
            }
        }
    }
    problems.truncate(PROBLEMS_TOLD);
    if problems.is_empty() { Ok(resolved) } else { Err(CatalogError::Validation(problems)) }
}

/// The root's own variables by their names; those of others as `stage/name/KEY`.
fn tell(problems: &mut Vec<FieldProblem>, unresolvable: Unresolvable, root: EnvironmentId) {
    let Unresolvable { problems: found, omitted, .. } = unresolvable;
    for Problem { label, environment, variable, position, written_in, kind } in found {
        let is_chain = matches!(
            kind,
            ProblemKind::AbsentBase | ProblemKind::ExtendsLoop { .. } | ProblemKind::ExtendsTooDeep { .. }
        );
        let field = match (environment == root, variable.is_empty()) {
            (_, true) if is_chain => "extends".to_owned(),
            (true, true) => "variables".to_owned(),
            (true, false) => variable,
            (false, true) => label,
            (false, false) => format!("{label}/{variable}"),
        };
        let written_in = written_in.map_or_else(String::new, |label| format!("written in `{label}`: "));
        let position = position.map_or_else(String::new, |position| format!("in the value, {position}: "));
        let problem = FieldProblem { field, problem: format!("{written_in}{position}{kind}") };
        if problems.len() < PROBLEMS_TOLD && !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if omitted > 0 {
        let problem = format!("has {omitted} more problems, which are not listed");
        problems.push(FieldProblem { field: "variables".to_owned(), problem });
    }
}

/// What is left to judge about an effective environment, because it depends on who runs with it: required variables
/// without a value, which are declarations here, and dangerous names, which a deployment may allow.
fn demands(content: &Plaintext) -> Vec<Broken> {
    let found = content.validate(&[]).err().unwrap_or_default();
    found.into_iter().filter(is_demand).collect()
}
