use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::time::UnixMillis;

use super::scalar::{Base64, Digest, Text};
use super::{Content, GenerationRow, Record, RecordError, VariableRow, v1};
use crate::model::{Environment, Generation, Risk, SealedValue, Stage};
use crate::variables::Imported;

impl From<Stage> for v1::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Development => Self::Development,
            Stage::Staging => Self::Staging,
            Stage::Production => Self::Production,
        }
    }
}

impl From<v1::Stage> for Stage {
    fn from(stage: v1::Stage) -> Self {
        match stage {
            v1::Stage::Development => Self::Development,
            v1::Stage::Staging => Self::Staging,
            v1::Stage::Production => Self::Production,
        }
    }
}

impl From<VariableKind> for v1::VariableKind {
    fn from(kind: VariableKind) -> Self {
        match kind {
            VariableKind::String => Self::String,
            VariableKind::Number => Self::Number,
            VariableKind::Boolean => Self::Boolean,
            VariableKind::Json => Self::Json,
            VariableKind::Url => Self::Url,
            VariableKind::Secret => Self::Secret,
        }
    }
}

impl From<v1::VariableKind> for VariableKind {
    fn from(kind: v1::VariableKind) -> Self {
        match kind {
            v1::VariableKind::String => Self::String,
            v1::VariableKind::Number => Self::Number,
            v1::VariableKind::Boolean => Self::Boolean,
            v1::VariableKind::Json => Self::Json,
            v1::VariableKind::Url => Self::Url,
            v1::VariableKind::Secret => Self::Secret,
        }
    }
}

impl Record for Environment {
    const ROW: &'static str = "environment";
    type Stored = v1::Environment;

    fn to_stored(&self) -> v1::Environment {
        v1::Environment {
            id: Text(self.id),
            project: Text(self.project),
            stage: self.stage.into(),
            name: self.name.clone(),
            description: self.description.clone(),
            is_active: self.is_active,
            extends: self.extends.map(Text),
            generation: self.generation,
            approval: self.approval.map(v1::Risk::from),
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Environment) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            project: stored.project.0,
            stage: stored.stage.into(),
            name: stored.name,
            description: stored.description,
            is_active: stored.is_active,
            extends: stored.extends.map(|id| id.0),
            generation: stored.generation,
            approval: stored.approval.map(Risk::from),
            created_at: UnixMillis::from_millis(stored.created_at),
            updated_at: UnixMillis::from_millis(stored.updated_at),
        })
    }
}

impl Record for GenerationRow {
    const ROW: &'static str = "generation";
    type Stored = v1::Generation;

    fn to_stored(&self) -> v1::Generation {
        let Generation { environment, number, author, approver, message, created_at, content_hash } = &self.generation;
        v1::Generation {
            environment: Text(*environment),
            number: *number,
            author: author.clone(),
            approver: approver.clone(),
            message: message.clone(),
            created_at: created_at.as_millis(),
            content_hash: Digest(*content_hash),
            variables: self.variables.clone(),
            extends: self.extends.map(Text),
            inputs: self.inputs.iter().map(|(id, number)| (Text(*id), *number)).collect(),
            names: self.names.iter().map(|(name, id)| (name.clone(), Text(*id))).collect(),
            restores: self.restores,
        }
    }

    fn from_stored(stored: v1::Generation) -> Result<Self, RecordError> {
        let v1::Generation { environment, number, author, approver, message, created_at, content_hash, .. } = stored;
        let generation = Generation {
            environment: environment.0,
            number,
            author,
            approver,
            message,
            created_at: UnixMillis::from_millis(created_at),
            content_hash: content_hash.0,
        };
        Ok(Self {
            generation,
            variables: stored.variables,
            extends: stored.extends.map(|id| id.0),
            inputs: stored.inputs.into_iter().map(|(id, number)| (id.0, number)).collect(),
            names: stored.names.into_iter().map(|(name, id)| (name, id.0)).collect(),
            restores: stored.restores,
        })
    }
}

/// What `change_variables` keeps of its result: the generation without its list of versions.
impl Record for Generation {
    const ROW: &'static str = "generation result";
    type Stored = v1::Generation;

    fn to_stored(&self) -> v1::Generation {
        GenerationRow::alone(self.clone()).to_stored()
    }

    fn from_stored(stored: v1::Generation) -> Result<Self, RecordError> {
        GenerationRow::from_stored(stored).map(|row| row.generation)
    }
}

impl Record for Imported {
    const ROW: &'static str = "import result";
    type Stored = v1::Imported;

    fn to_stored(&self) -> v1::Imported {
        v1::Imported { generation: self.generation.to_stored(), changed: self.is_changed }
    }

    fn from_stored(stored: v1::Imported) -> Result<Self, RecordError> {
        let v1::Imported { generation, changed } = stored;
        Ok(Self { generation: Generation::from_stored(generation)?, is_changed: changed })
    }
}

impl From<Content> for v1::Content {
    fn from(content: Content) -> Self {
        match content {
            Content::Unset => Self::Unset,
            Content::Removed => Self::Removed,
            Content::Plain(text) => Self::Plain(Base64(text.into_bytes())),
            Content::Sealed(SealedValue { key, generation, ciphertext }) => {
                Self::Sealed(v1::SealedValue { key: Text(key), generation, ciphertext: Base64(ciphertext) })
            }
        }
    }
}

impl TryFrom<v1::Content> for Content {
    type Error = RecordError;

    fn try_from(content: v1::Content) -> Result<Self, RecordError> {
        match content {
            v1::Content::Unset => Ok(Self::Unset),
            v1::Content::Removed => Ok(Self::Removed),
            v1::Content::Plain(Base64(bytes)) => {
                String::from_utf8(bytes).map(Self::Plain).map_err(|_| RecordError::Unknown { field: "text" })
            }
            v1::Content::Sealed(v1::SealedValue { key, generation, ciphertext }) => {
                Ok(Self::Sealed(SealedValue { key: key.0, generation, ciphertext: ciphertext.0 }))
            }
        }
    }
}

impl Record for VariableRow {
    const ROW: &'static str = "variable";
    type Stored = v1::Variable;

    fn to_stored(&self) -> v1::Variable {
        v1::Variable {
            generation: self.generation,
            changed_in: self.changed_in,
            content: self.content.clone().into(),
            is_secret: self.is_secret,
            is_required: self.is_required,
            kind: self.kind.into(),
            description: self.description.clone(),
            expand: self.expand,
        }
    }

    fn from_stored(stored: v1::Variable) -> Result<Self, RecordError> {
        Ok(Self {
            generation: stored.generation,
            changed_in: stored.changed_in,
            content: stored.content.try_into()?,
            is_secret: stored.is_secret,
            is_required: stored.is_required,
            kind: stored.kind.into(),
            description: stored.description,
            expand: stored.expand,
        })
    }
}
