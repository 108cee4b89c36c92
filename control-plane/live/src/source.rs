use std::fmt;

use futures_util::stream::BoxStream;
use outrigger_protocol::id::{DeploymentId, OrganizationId};

use crate::request::Topic;
use crate::update::Update;

/// A deployment, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject {
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
}

/// What a source has next.
#[derive(Debug)]
pub enum Feed {
    Update(Update),
    /// So many updates came faster than they were taken.
    Missed(u64),
}

/// Where updates come from.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// What happens to a deployment from this call on. Of its status, what it is now comes first. Ends when the deployment is
    /// gone, and is dropped when nobody wants to know any more.
    fn updates(&self, topic: Topic, subject: Subject) -> BoxStream<'static, Feed>;
}
