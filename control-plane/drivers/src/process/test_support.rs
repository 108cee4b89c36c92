use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, InstanceId};

use crate::{InstanceSpec, Limits, Observation};

pub(crate) fn spec(command: &[&str]) -> InstanceSpec {
    InstanceSpec {
        instance: InstanceId::generate(),
        deployment: DeploymentId::generate(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        limits: Limits::default(),
        http: false,
        observe: Observation::default(),
        join_token: "canary-token".into(),
        agents_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7701)),
        server_name: "outrigger".to_owned(),
        stop_grace: Duration::from_secs(1),
    }
}
