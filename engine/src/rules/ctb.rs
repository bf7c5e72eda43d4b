//! `CTB/1`: tendered works (招标投标法 and 电子招标投标办法). Only what differs from `GP/1`.

use kaibiao_protocol::project::Method;

use super::{BiddingDays, Certainty, Figures, Key, Law, Rule};

/// The numbers of tendered works.
pub(super) const FIGURES: Figures = Figures {
    // TR-44.
    bids_min: 3,
    // TR-26, from memory: two percent of the project's estimate.
    bid_security_percent_max: 2,
    // TL-17, from memory.
    invited_min: 3,
    // TL-23, TR-21, from memory.
    correction_days: 15,
    // The house, as in government procurement.
    postponed_minutes_min: 60,
};

/// TL-24, from memory. Only open and invited tenders exist in this law.
pub(super) fn bidding_days(method: Method) -> BiddingDays {
    let days = match method {
        Method::OpenTender | Method::InvitedTender => 20,
        Method::CompetitiveConsultation
        | Method::CompetitiveNegotiation
        | Method::Inquiry
        | Method::SingleSource => 0,
    };
    BiddingDays { days, certainty: Certainty::Memory }
}

/// The rules that differ.
pub(super) fn law(rule: Rule) -> Option<Law> {
    let (keys, sentence): (&'static [Key], _) = match rule {
        Rule::LateBid => (
            &[Key::Text("TL-28"), Key::Text("TR-36"), Key::Quotation("E20-27")],
            "A bid that arrives at or after the deadline is refused.",
        ),
        Rule::WithdrawBeforeDeadline => {
            (&[Key::Text("TL-29")], "A bid may be changed or withdrawn before the deadline.")
        }
        Rule::BidSecurity => {
            (&[Key::Memory("TR-26")], "A bid security is at most two percent of the project's estimate.")
        }
        Rule::BiddingPeriod => (
            &[Key::Memory("TL-24")],
            "From the day the documents are issued, bidders have at least twenty days.",
        ),
        Rule::Correction => (
            &[Key::Memory("TL-23"), Key::Memory("TR-21")],
            "A correction that may affect bids is made at least fifteen days before the deadline, else it moves.",
        ),
        Rule::Invitation => (&[Key::Memory("TL-17")], "An invited tender asks at least three bidders."),
        Rule::OpeningAtDeadline => (&[Key::Text("TL-34")], "The opening is at the instant of the deadline."),
        Rule::HostOfOpening => {
            (&[Key::Memory("TL-35")], "The tenderer runs the opening and invites every bidder to it.")
        }
        Rule::FewerThanThree => (&[Key::Text("TR-44")], "With fewer than three bidders nothing is opened."),
        Rule::RecordAndDoubts => (
            &[Key::Text("TR-44")],
            "Doubts are raised and answered on the spot, and recorded; silence accepts.",
        ),
        Rule::House
        | Rule::IncompleteBid
        | Rule::SealedAsRequired
        | Rule::ReceiptAtOnce
        | Rule::NothingBeforeDeadline
        | Rule::RevokedAfterDeadline
        | Rule::PlatformFault
        | Rule::EveryBidOpened
        | Rule::PublishedTogether
        | Rule::FailedUnsealing
        | Rule::BackupBid
        | Rule::SameBrand
        | Rule::FewerLeft
        | Rule::QualificationReview
        | Rule::ResponsivenessReview
        | Rule::PriceRepair
        | Rule::AbnormallyLow
        | Rule::InvalidBid
        | Rule::CommitteeSize
        | Rule::LowestPrice
        | Rule::PriceWeight
        | Rule::Scoring
        | Rule::RankingByScore
        | Rule::SmallFirms
        | Rule::DomesticProduct
        | Rule::Recheck
        | Rule::TiedFirst => return None,
    };
    Some(Law { keys, sentence })
}
