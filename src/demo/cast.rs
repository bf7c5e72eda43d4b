//! Who plays: the suppliers, and what each of them does to the opening.

use kaibiao_bidder::practice::PracticeVendor;

/// The fewest suppliers with whom every part is played and each lot still has three bids.
pub(super) const SUPPLIERS_MIN: u32 = 8;
/// The most suppliers of one demo; more is the simulator's work.
pub(super) const SUPPLIERS_MAX: u32 = 200;

/// What a supplier does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Hands in, unseals, confirms.
    Honest,
    /// Hands in and withdraws before the deadline.
    Withdraws,
    /// Hands in, then replaces its bid by a better one.
    Replaces,
    /// Comes after the deadline.
    Late,
    /// Hands in and never unseals.
    NeverUnseals,
    /// Has lost its token when it is to unseal, and needs the backup bid.
    NeedsBackup,
    /// Comes with another token than the one that sealed its bid.
    WrongToken,
}

impl Part {
    /// The part as people read it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Part::Honest => "按时解密",
            Part::Withdraws => "截止前撤回",
            Part::Replaces => "截止前替换",
            Part::Late => "迟到",
            Part::NeverUnseals => "始终未解密",
            Part::NeedsBackup => "使用备份标书",
            Part::WrongToken => "插错 CA 锁",
        }
    }

    /// Whether its bid stands at the deadline.
    pub(super) fn stands(self) -> bool {
        match self {
            Part::Honest | Part::Replaces | Part::NeverUnseals | Part::NeedsBackup | Part::WrongToken => true,
            Part::Withdraws | Part::Late => false,
        }
    }
}

/// One supplier.
#[derive(Clone, Debug)]
pub(super) struct Supplier {
    /// Its running number, from 1.
    pub(super) no: u32,
    /// Its organisation's id.
    pub(super) id: String,
    /// Its clerk's account.
    pub(super) account: String,
    /// Its name.
    pub(super) name: String,
    /// Whose token it has.
    pub(super) vendor: PracticeVendor,
    /// What it does.
    pub(super) part: Part,
}

/// Everybody, in a fixed order: the odd parts first, the honest after them.
pub(super) fn suppliers(count: u32) -> Vec<Supplier> {
    (1..=count)
        .map(|no| {
            let index = no as usize - 1;
            let part = match index {
                0 => Part::Withdraws,
                1 => Part::Replaces,
                2 => Part::NeedsBackup,
                3 => Part::NeverUnseals,
                4 => Part::WrongToken,
                5 => Part::Late,
                _ => Part::Honest,
            };
            let round = index / FIRMS.len();
            let mark = if round == 0 { String::new() } else { format!("({}分公司)", round + 1) };
            Supplier {
                no,
                id: format!("supplier-{no:03}"),
                account: format!("clerk-{no:03}"),
                name: format!("{}{mark}", FIRMS[index % FIRMS.len()]),
                vendor: PracticeVendor::ALL[index % PracticeVendor::ALL.len()],
                part,
            }
        })
        .collect()
}

/// Made-up firms.
const FIRMS: [&str; 16] = [
    "明德家具有限公司",
    "江南办公设备有限公司",
    "华远智能科技有限公司",
    "启程实业有限公司",
    "金石木业有限公司",
    "百川商贸有限公司",
    "恒信教育装备有限公司",
    "天工家具制造有限公司",
    "云帆信息技术有限公司",
    "德正工程有限公司",
    "青松环境科技有限公司",
    "海纳物资有限公司",
    "朗诚电子有限公司",
    "景行文化用品有限公司",
    "博识图书设备有限公司",
    "安邦安防工程有限公司",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_is_played_and_enough_bids_stand_for_every_lot() {
        let all = suppliers(SUPPLIERS_MIN);
        assert_eq!(all.iter().filter(|one| one.part == Part::Honest).count(), 2);
        assert!(all.iter().filter(|one| one.part.stands()).count() >= 3);
    }

    #[test]
    fn no_two_suppliers_share_a_name() {
        let all = suppliers(SUPPLIERS_MAX);
        let names: BTreeSet<_> = all.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), all.len());
    }
}
