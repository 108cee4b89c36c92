//! What the names of environments in references stand for.

use std::collections::HashMap;

use outrigger_configuration::resolve::LookupError;
use outrigger_protocol::id::EnvironmentId;

use crate::model::{Environment, Stage};

/// The names of one project's environments, all of one moment.
///
/// An environment is called by its stage and name, `production/eu`; by its stage alone, if it is the only active one of
/// that stage; and by its name alone, if no other has that name. A name that can be read in several of these ways means
/// the first that leads anywhere.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: HashMap<String, Result<EnvironmentId, Vec<String>>>,
}

impl Directory {
    pub(super) fn of(environments: &[Environment]) -> Self {
        let mut directory = Self::default();
        for environment in environments {
            directory.names.insert(environment.label(), Ok(environment.id));
        }
        for stage in Stage::ALL {
            let active = environments.iter().filter(|one| one.stage == stage && one.is_active);
            directory.add(stage.name(), active.collect());
        }
        let mut same_name: HashMap<&str, Vec<&Environment>> = HashMap::new();
        for environment in environments {
            same_name.entry(&environment.name).or_default().push(environment);
        }
        same_name.into_iter().for_each(|(name, meant)| directory.add(name, meant));
        directory
    }

    /// What names stood for at another time.
    pub(super) fn recorded(names: &[(String, EnvironmentId)]) -> Self {
        Self { names: names.iter().map(|(name, id)| (name.clone(), Ok(*id))).collect() }
    }

    fn add(&mut self, name: &str, meant: Vec<&Environment>) {
        let found = match meant.as_slice() {
            [] => return,
            [only] => Ok(only.id),
            several => Err(several.iter().map(|environment| environment.label()).collect()),
        };
        self.names.entry(name.to_owned()).or_insert(found);
    }

    pub(super) fn find(&self, name: &str) -> Result<EnvironmentId, LookupError> {
        match self.names.get(name) {
            Some(Ok(id)) => Ok(*id),
            Some(Err(candidates)) => Err(LookupError::Ambiguous { candidates: candidates.clone() }),
            None => Err(LookupError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::ProjectId;
    use outrigger_protocol::time::UnixMillis;

    use super::*;

    fn environment(stage: Stage, name: &str, is_active: bool) -> Environment {
        let at = UnixMillis::from_millis(0);
        Environment {
            id: EnvironmentId::generate(),
            project: ProjectId::from_bytes([1; 16]),
            stage,
            name: name.to_owned(),
            description: String::new(),
            is_active,
            extends: None,
            generation: 0,
            approval: None,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn an_environment_is_found_by_label_then_stage_then_name() {
        let all = [
            environment(Stage::Staging, "main", true),
            environment(Stage::Staging, "old", false),
            environment(Stage::Production, "eu", true),
            environment(Stage::Production, "us", true),
            environment(Stage::Development, "staging", true),
            environment(Stage::Development, "main", false),
        ];
        let directory = Directory::of(&all);
        assert_eq!(directory.find("production/us"), Ok(all[3].id));
        assert_eq!(directory.find("staging"), Ok(all[0].id), "the only active one of the stage");
        assert_eq!(directory.find("old"), Ok(all[1].id), "by its name alone");
        assert_eq!(directory.find("nowhere"), Err(LookupError::Unknown));
        let candidates = vec!["production/eu".to_owned(), "production/us".to_owned()];
        assert_eq!(directory.find("production"), Err(LookupError::Ambiguous { candidates }));
        let candidates = vec!["staging/main".to_owned(), "development/main".to_owned()];
        assert_eq!(directory.find("main"), Err(LookupError::Ambiguous { candidates }));
    }
}
