//! The seam between the command line and the running node.
//!
//! `cli` calls these three and nothing else here; whoever builds the node puts it behind them.

use std::pin::Pin;

use nearmesh_common::{NetName, UserName};
use thiserror::Error;

use crate::{
    config::Settings,
    control::api::{ApiError, Membership, Ready},
    profile::{Profile, ProfileLock},
};

/// What `up` hands over.
pub struct UpOptions {
    /// How to run.
    pub settings: Settings,
    /// That nobody else runs the profile; to be kept until the end.
    pub lock: ProfileLock,
    /// To be called once, when the node takes orders and has looked for a home.
    pub ready: Box<dyn FnOnce(&Ready) + Send>,
    /// Comes true when the node should end: a signal. `NodeApi::stop` is the other way.
    pub interrupted: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Why the node did not run, or not to its end.
#[derive(Debug, Error)]
pub enum UpError {
    /// There is no node behind the seam.
    #[error("this program was built without its node")]
    Missing,
}

impl From<UpError> for ApiError {
    fn from(error: UpError) -> Self {
        ApiError::failed(error.to_string())
    }
}

/// Runs the node until it is stopped.
///
/// # Errors
/// As [`UpError`] tells.
pub async fn run(_profile: Profile, _options: UpOptions) -> Result<(), UpError> {
    Err(UpError::Missing)
}

/// Makes a net and this profile its authority and first member.
///
/// # Errors
/// If the profile is in a net already, or cannot be written.
pub async fn create_net(
    _profile: &Profile,
    _net: NetName,
    _user: UserName,
    _open: bool,
) -> Result<Membership, ApiError> {
    Err(UpError::Missing.into())
}

/// Makes this profile a member of the ticket's net. `user` is for tickets that leave the name open.
///
/// # Errors
/// If the ticket makes no sense, the authority refuses or cannot be reached, or the profile is in a net already.
pub async fn join_net(
    _profile: &Profile,
    _ticket: &str,
    _user: Option<UserName>,
) -> Result<Membership, ApiError> {
    Err(UpError::Missing.into())
}
