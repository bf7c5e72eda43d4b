//! What a procurement project is, before anything happens to it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{LotNo, OrganisationId, ProjectId},
    moment::Moment,
    money::{Fen, PriceKind},
};

/// Whether the project counts in law.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectKind {
    /// A public tender.
    Real,
    /// An exercise (演练): may shorten legal periods, says so everywhere, never becomes real.
    Exercise,
}

/// The procurement method (采购方式).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// 公开招标
    OpenTender,
    /// 邀请招标
    InvitedTender,
    /// 竞争性磋商
    CompetitiveConsultation,
    /// 竞争性谈判
    CompetitiveNegotiation,
    /// 询价
    Inquiry,
    /// 单一来源
    SingleSource,
}

/// Who opens the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// The room opens by itself at the deadline.
    AtDeadline,
    /// The room opens when the agent starts it, not before the deadline.
    OnAgentStart,
}

/// When a backup bid may be used (rules.md 19).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupPolicy {
    /// Not at all.
    Never,
    /// Only where the platform is at fault.
    PlatformFaultOnly,
    /// After any recorded failure.
    AnyFault,
}

/// Terms of the bid security (保证金).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BidSecurityTerms {
    /// The amount asked for each lot.
    pub amount: Fen,
    /// The methods of payment accepted, as shown to suppliers.
    pub methods: Vec<String>,
}

/// One lot (标项).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LotSpec {
    /// Its name.
    pub name: String,
    /// Its budget.
    pub budget: Fen,
    /// What bidders quote.
    pub price_kind: PriceKind,
    /// The bid security asked for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid_security: Option<BidSecurityTerms>,
}

/// A procurement project as the organiser sets it up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSpec {
    /// Project number (项目编号).
    pub id: ProjectId,
    /// Project name (项目名称).
    pub name: String,
    /// Region (项目区划).
    pub region: String,
    /// Real or exercise.
    pub kind: ProjectKind,
    /// Procurement method.
    pub method: Method,
    /// The purchaser (采购人).
    pub purchaser: OrganisationId,
    /// The organiser (采购组织机构): an agency, or the purchaser itself.
    pub organiser: OrganisationId,
    /// Budget of the whole project.
    pub budget: Fen,
    /// Bid deadline, which is the opening time: a bid stamped at it is late.
    pub deadline: Moment,
    /// Who opens the room.
    pub start: StartMode,
    /// How long suppliers have for unsealing.
    pub window_minutes: u32,
    /// How long a failed bid may be mended or replaced by its backup bid, from its first failure.
    pub failure_grace_minutes: u32,
    /// When a backup bid may be used.
    pub backup: BackupPolicy,
    /// How long after publication silence counts as acceptance (rules.md 16).
    pub confirm_minutes: u32,
    /// Whether a consortium may bid.
    pub consortium_allowed: bool,
    /// The most bytes one sealed bid may have; none: as the disk allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid_bytes_max: Option<u64>,
    /// The only suppliers that may hand in; none: every registered supplier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "crate::once::optional_set")]
    pub invited: Option<BTreeSet<OrganisationId>>,
    /// Rule pack and version, such as `GP/1`.
    pub rule_pack: String,
    /// The lots by number.
    #[serde(deserialize_with = "crate::once::map")]
    pub lots: BTreeMap<LotNo, LotSpec>,
}

/// The most lots a project may have.
pub const LOTS_MAX: usize = 200;
/// The longest name or region, in characters.
pub const TEXT_CHARS_MAX: usize = 200;
/// The longest window or grace, in minutes: a day.
pub const WINDOW_MINUTES_MAX: u32 = 1_440;
