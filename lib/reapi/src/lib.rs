//! Talking to an endpoint: the embedded store, or a REAPI server.
//!
//! [`Endpoint`] is the one interface to both. What passes through it in whole messages keeps its
//! unknown fields ([`forerunner_proto::Kept`]).

mod asset;
mod capabilities;
mod config;
mod direct;
mod endpoint;
mod environment;
mod error;
mod execution;
pub mod http2;
mod line;
mod local;
mod nearby;
mod nice;
pub mod record;
mod remote;
mod security;
mod server;
mod stream;
pub mod unary;
mod upload;
mod whole;

pub use asset::AssetService;
pub use capabilities::Capabilities;
pub use config::{Config, Connection, LocalExecution, Remote, Tool};
pub use endpoint::{Content, Endpoint};
pub use environment::EnvironmentError;
pub use error::Error;
pub use execution::{ExecuteOptions, Execution, operation_action};
pub use line::Line;
pub use nice::at_lowest_priority;
pub use record::Record;
pub use security::{ClientIdentity, Credentials, Security};
pub use server::Wire;
pub use stream::BlobStream;
pub use whole::{WholeFile, put_in_place};

/// The worker that results in the action cache name which are none of actions: dependency
/// manifests of the wrappers, under keys of their own.
pub const MANIFEST_WORKER: &str = "forerunner-manifest";
