//! A person on the command line: `bob@lab`, or `bob` for `bob` of this node's own net.

use std::str::FromStr;

use nearmesh_common::{NetName, UserAddress, UserName, name::ParseNameError};

use crate::control::{api::ApiError, client::Client};

/// Somebody, as they were typed.
#[derive(Clone, Debug)]
pub(super) enum Person {
    /// Of the net that is meant.
    Bare(UserName),
    /// Of a named net.
    Full(UserAddress),
}

impl FromStr for Person {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if text.contains('@') { text.parse().map(Self::Full) } else { text.parse().map(Self::Bare) }
    }
}

impl Person {
    /// The whole address; for a bare name the running node is asked for its net.
    pub(super) async fn address(self, client: &Client) -> Result<UserAddress, ApiError> {
        match self {
            Self::Full(address) => Ok(address),
            Self::Bare(user) => Ok(UserAddress { user, net: client.status().await?.net }),
        }
    }

    /// The name, if it is one of this node's own net.
    pub(super) async fn of_this_net(self, client: &Client) -> Result<UserName, ApiError> {
        match self {
            Self::Bare(user) => Ok(user),
            Self::Full(address) => belongs(address, client.status().await?.net),
        }
    }
}

fn belongs(address: UserAddress, net: NetName) -> Result<UserName, ApiError> {
    if address.net == net {
        return Ok(address.user);
    }
    Err(ApiError::refused(format!("{address} is not of this node's net, which is {net}")))
}
