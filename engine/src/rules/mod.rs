//! The rules of law as data: which sentence, by which key, how surely known; and the checks that
//! rest on numbers alone.
//!
//! A rule pack is code plus a version string; every refusal and verdict cites the rule by the keys
//! of `rules.md`. What a pack leaves out holds as in government procurement.

mod ctb;
mod evaluation;
mod gp;
mod spec;

use std::fmt::Write as _;

use kaibiao_protocol::{money::Fen, project::Method};

pub use evaluation::EvaluationFigures;
pub use spec::{CONFIRM_MINUTES_MAX, INVITED_MAX, SECURITY_METHODS_MAX, SpecFault, check_spec};

/// Which rules a project stands under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum RulePack {
    /// `GP/1`: government procurement of goods and services (财政部令第87号).
    #[default]
    Gp1,
    /// `CTB/1`: tendered works (招标投标法, 电子招标投标办法).
    Ctb1,
}

/// One rule that the engine enforces or cites.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Not law: a rule of this system, or a setting of the project.
    House,
    /// rules.md 1: a late bid is refused.
    LateBid,
    /// rules.md 1: what is not wholly in at the deadline counts as withdrawn.
    IncompleteBid,
    /// rules.md 2: a bid not encrypted as required is refused.
    SealedAsRequired,
    /// rules.md 3: a receipt at once; arrival is entry into the system.
    ReceiptAtOnce,
    /// rules.md 4: nobody opens before the deadline.
    NothingBeforeDeadline,
    /// rules.md 5: changing and withdrawing before the deadline.
    WithdrawBeforeDeadline,
    /// rules.md 5: afterwards it is a revocation.
    RevokedAfterDeadline,
    /// rules.md 7: the bid security's height and form.
    BidSecurity,
    /// rules.md 8: the time for bidding.
    BiddingPeriod,
    /// rules.md 8: a correction, and what it does to the deadline.
    Correction,
    /// rules.md 22: a fault of the platform.
    PlatformFault,
    /// rules.md 8: whom an invited tender asks.
    Invitation,
    /// rules.md 11: the opening's instant.
    OpeningAtDeadline,
    /// rules.md 13: who runs the opening, and who stays away.
    HostOfOpening,
    /// rules.md 14: every bid in time is opened and read out.
    EveryBidOpened,
    /// rules.md 15: fewer than three bidders are not opened.
    FewerThanThree,
    /// rules.md 16: the record, doubts and the absent.
    RecordAndDoubts,
    /// rules.md 17: published after all unsealing.
    PublishedTogether,
    /// rules.md 18: whose cause a failed unsealing is.
    FailedUnsealing,
    /// rules.md 19: the remedy the tender names.
    BackupBid,
    /// rules.md 25: bids of one brand count as one bidder.
    SameBrand,
    /// rules.md 23: fewer than three left, or all above budget.
    FewerLeft,
    /// rules.md 26: the qualification review.
    QualificationReview,
    /// rules.md 27: the responsiveness review.
    ResponsivenessReview,
    /// rules.md 30: the order in which a price is repaired.
    PriceRepair,
    /// rules.md 31: abnormally low prices are explained or invalid.
    AbnormallyLow,
    /// rules.md 32: what makes a bid invalid.
    InvalidBid,
    /// rules.md 35: how many sit on a committee.
    CommitteeSize,
    /// rules.md 42 and 43: lowest evaluated price.
    LowestPrice,
    /// rules.md 44: the least weight of the price.
    PriceWeight,
    /// rules.md 45: the price score and the total.
    Scoring,
    /// rules.md 46: by score, then by price, then tied.
    RankingByScore,
    /// rules.md 47: deductions for small firms.
    SmallFirms,
    /// rules.md 48: the deduction for domestic products.
    DomesticProduct,
    /// rules.md 49: what is checked before signing.
    Recheck,
    /// rules.md 53: tied candidates.
    TiedFirst,
}

impl Rule {
    /// Every rule, in a fixed order.
    pub const ALL: [Rule; 37] = [
        Rule::House,
        Rule::LateBid,
        Rule::IncompleteBid,
        Rule::SealedAsRequired,
        Rule::ReceiptAtOnce,
        Rule::NothingBeforeDeadline,
        Rule::WithdrawBeforeDeadline,
        Rule::RevokedAfterDeadline,
        Rule::BidSecurity,
        Rule::BiddingPeriod,
        Rule::Correction,
        Rule::PlatformFault,
        Rule::Invitation,
        Rule::OpeningAtDeadline,
        Rule::HostOfOpening,
        Rule::EveryBidOpened,
        Rule::FewerThanThree,
        Rule::RecordAndDoubts,
        Rule::PublishedTogether,
        Rule::FailedUnsealing,
        Rule::BackupBid,
        Rule::SameBrand,
        Rule::FewerLeft,
        Rule::QualificationReview,
        Rule::ResponsivenessReview,
        Rule::PriceRepair,
        Rule::AbnormallyLow,
        Rule::InvalidBid,
        Rule::CommitteeSize,
        Rule::LowestPrice,
        Rule::PriceWeight,
        Rule::Scoring,
        Rule::RankingByScore,
        Rule::SmallFirms,
        Rule::DomesticProduct,
        Rule::Recheck,
        Rule::TiedFirst,
    ];
}

/// How surely a rule is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Certainty {
    /// L: the statute's text was read.
    Text,
    /// Q: a quotation was read.
    Quotation,
    /// M: from memory; may be wrong, so nothing but this data rests on it.
    Memory,
}

/// An article of law, such as `TL-28`, with how surely it says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// [`Certainty::Text`].
    Text(&'static str),
    /// [`Certainty::Quotation`].
    Quotation(&'static str),
    /// [`Certainty::Memory`].
    Memory(&'static str),
}

impl Key {
    /// Law and article.
    pub fn article(self) -> &'static str {
        match self {
            Key::Text(article) | Key::Quotation(article) | Key::Memory(article) => article,
        }
    }

    /// How surely the article says so.
    pub fn certainty(self) -> Certainty {
        match self {
            Key::Text(_) => Certainty::Text,
            Key::Quotation(_) => Certainty::Quotation,
            Key::Memory(_) => Certainty::Memory,
        }
    }
}

/// A rule as one pack has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Law {
    /// Where it stands; empty for [`Rule::House`].
    pub keys: &'static [Key],
    /// What it says, in one sentence.
    pub sentence: &'static str,
}

/// The numbers of a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// The fewest bids with which a lot is opened.
    pub bids_min: u32,
    /// The most a bid security may be, in percent of the lot's budget.
    pub bid_security_percent_max: i64,
    /// The fewest suppliers an invited tender asks.
    pub invited_min: usize,
    /// How many days a correction leaves at least until the deadline.
    pub correction_days: u32,
    /// How many minutes a deadline moved for a fault of the platform leaves at least.
    pub postponed_minutes_min: u32,
}

/// The fewest days between publication and deadline for one method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BiddingDays {
    /// Whole days of 24 hours; 0: the law names none.
    pub days: u32,
    /// How surely.
    pub certainty: Certainty,
}

impl RulePack {
    /// Every pack.
    pub const ALL: [RulePack; 2] = [RulePack::Gp1, RulePack::Ctb1];

    /// The pack of this name.
    pub fn named(name: &str) -> Option<Self> {
        RulePack::ALL.into_iter().find(|pack| pack.name() == name)
    }

    /// Its name and version.
    pub fn name(self) -> &'static str {
        match self {
            RulePack::Gp1 => "GP/1",
            RulePack::Ctb1 => "CTB/1",
        }
    }

    /// What the rule says here.
    pub fn law(self, rule: Rule) -> Law {
        match self {
            RulePack::Gp1 => gp::law(rule),
            RulePack::Ctb1 => ctb::law(rule).unwrap_or_else(|| gp::law(rule)),
        }
    }

    /// The rule as refusals and verdicts cite it: its keys and the pack (`TL-28 TR-36 (GP/1)`), or
    /// `house`.
    pub fn cite(self, rule: Rule) -> String {
        let mut text = String::new();
        for key in self.law(rule).keys {
            let _ = write!(text, "{} ", key.article());
        }
        if text.is_empty() {
            return "house".to_owned();
        }
        let _ = write!(text, "({})", self.name());
        text
    }

    /// The pack's numbers.
    pub fn figures(self) -> Figures {
        match self {
            RulePack::Gp1 => gp::FIGURES,
            RulePack::Ctb1 => ctb::FIGURES,
        }
    }

    /// The time for bidding that the method asks.
    pub fn bidding_days(self, method: Method) -> BiddingDays {
        match self {
            RulePack::Gp1 => gp::bidding_days(method),
            RulePack::Ctb1 => ctb::bidding_days(method),
        }
    }

    /// Whether a lot with so many bids standing at the deadline is opened ([`Rule::FewerThanThree`]).
    pub fn lot_opens(self, bids: u32) -> bool {
        bids >= self.figures().bids_min
    }

    /// Whether a bid security of this amount is within [`Rule::BidSecurity`].
    pub fn bid_security_fits(self, amount: Fen, budget: Fen) -> bool {
        // Exact: both sides are whole fen, at most 10^15, times at most 100.
        amount.get() * 100 <= budget.get() * self.figures().bid_security_percent_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_found_by_its_name_and_version_only() {
        for pack in RulePack::ALL {
            assert_eq!(RulePack::named(pack.name()), Some(pack));
        }
        for other in ["", "GP", "GP/2", "gp/1", "CTB"] {
            assert_eq!(RulePack::named(other), None, "{other}");
        }
    }

    #[test]
    fn every_rule_but_the_houses_own_has_a_key_and_a_sentence_in_every_pack() {
        for pack in RulePack::ALL {
            for rule in Rule::ALL {
                let law = pack.law(rule);
                assert_eq!(law.keys.is_empty(), rule == Rule::House, "{rule:?}");
                assert!(law.sentence.ends_with('.'), "{rule:?}");
            }
        }
    }

    #[test]
    fn a_citation_names_keys_and_pack() {
        assert_eq!(RulePack::Gp1.cite(Rule::LateBid), "TL-28 TR-36 87-33 (GP/1)");
        assert_eq!(RulePack::Ctb1.cite(Rule::LateBid), "TL-28 TR-36 E20-27 (CTB/1)");
        assert_eq!(RulePack::Gp1.cite(Rule::FewerThanThree), "TR-44 87-41 (GP/1)");
        assert_eq!(RulePack::Ctb1.cite(Rule::House), "house");
    }

    #[test]
    fn the_bid_security_is_at_most_two_percent_to_the_fen() {
        let fen = |fen| Fen::new(fen).unwrap();
        for pack in RulePack::ALL {
            assert!(pack.bid_security_fits(fen(2_000), fen(100_000)));
            assert!(!pack.bid_security_fits(fen(2_001), fen(100_000)));
            assert!(!pack.bid_security_fits(fen(2_000), fen(99_999)));
            assert!(pack.bid_security_fits(
                fen(kaibiao_protocol::money::FEN_MAX / 50),
                fen(kaibiao_protocol::money::FEN_MAX)
            ));
        }
    }

    #[test]
    fn two_bids_stay_sealed_and_three_are_opened() {
        for pack in RulePack::ALL {
            assert_eq!([0, 1, 2, 3, 4].map(|bids| pack.lot_opens(bids)), [false, false, false, true, true]);
        }
    }
}
