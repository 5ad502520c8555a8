//! The net itself: who is in it, and who may come.

use nearmesh_common::{NetName, NodeId, UnixMillis, UserAddress, UserName};
use serde::{Deserialize, Serialize};

use super::AsText;

/// Who is to be invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// A new user; `null` for another node of the user that asks.
    #[serde(default)]
    pub user: Option<UserName>,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// What the newcomer types.
    pub ticket: String,
    /// For whom it is; `null` where anybody may use it.
    pub user: Option<UserAddress>,
    /// When it is no longer good; `null` if it stays good.
    pub expires: Option<UnixMillis>,
}

/// Who is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The user.
    pub user: UserName,
}

/// A user who is no longer a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Who.
    pub user: UserAddress,
    /// The nodes whose certificates were revoked.
    pub nodes: Vec<AsText<NodeId>>,
}

/// A profile that has become a member of a net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Whose node it is.
    pub user: UserAddress,
    /// The net.
    pub net: NetName,
    /// The node.
    pub node_id: AsText<NodeId>,
}
