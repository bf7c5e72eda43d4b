//! Who asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{OrganisationId, UserId};

/// What a person may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Hands in and unseals bids for a supplier (供应商).
    Supplier,
    /// Runs projects and rooms for the organiser (采购代理机构经办人).
    Agent,
    /// Acts for the purchaser (采购人).
    Purchaser,
    /// Watches everything, changes nothing (监督).
    Supervisor,
    /// Evaluates (评标专家).
    Expert,
    /// Keeps the platform's organisations, users and roots of trust.
    Administrator,
}

impl Role {
    /// Every role, in a fixed order.
    pub const ALL: [Role; 6] =
        [Role::Supplier, Role::Agent, Role::Purchaser, Role::Supervisor, Role::Expert, Role::Administrator];
}

/// A part of the platform that acts by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reactor {
    /// Takes in uploads and stamps them.
    Intake,
    /// Wakes projects when something is due.
    Timer,
    /// Runs an opening: orders, keys, unsealing, the barrier.
    Opening,
    /// The operator at the server's own console (the administration socket).
    Console,
}

/// Who gives a command: a signed-in person or a part of the platform.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "who", rename_all = "snake_case", deny_unknown_fields)]
pub enum Asker {
    /// A signed-in person.
    Person {
        /// The account.
        user: UserId,
        /// The organisation the account belongs to.
        organisation: OrganisationId,
        /// The role the session was opened with.
        role: Role,
    },
    /// A part of the platform.
    Platform {
        /// Which part.
        reactor: Reactor,
    },
}
