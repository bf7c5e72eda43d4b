//! `GP/1`: government procurement of goods and services (财政部令第87号).

use kaibiao_protocol::project::Method;

use super::{BiddingDays, Certainty, Figures, Key, Law, Rule};

/// The numbers of government procurement.
pub(super) const FIGURES: Figures = Figures {
    // rules.md 15.
    bids_min: 3,
    // rules.md 7.
    bid_security_percent_max: 2,
    // GPL-34, from memory.
    invited_min: 3,
};

/// rules.md 8. Only the 20 days of a tender were read; the others are from memory, and the working
/// days of 谈判 and 询价 are counted as calendar days, because the engine knows no holidays: it
/// refuses what is surely too short and leaves the rest to the organiser.
pub(super) fn bidding_days(method: Method) -> BiddingDays {
    let (days, certainty) = match method {
        Method::OpenTender | Method::InvitedTender => (20, Certainty::Text),
        Method::CompetitiveConsultation => (10, Certainty::Memory),
        Method::CompetitiveNegotiation | Method::Inquiry => (3, Certainty::Memory),
        Method::SingleSource => (0, Certainty::Memory),
    };
    BiddingDays { days, certainty }
}

/// Every rule of the pack.
pub(super) fn law(rule: Rule) -> Law {
    let (keys, sentence): (&'static [Key], _) = match rule {
        Rule::House => (&[], "This system or the project's own settings ask it."),
        Rule::LateBid => (
            &[Key::Text("TL-28"), Key::Text("TR-36"), Key::Memory("87-33")],
            "A bid that arrives at or after the deadline is refused.",
        ),
        Rule::IncompleteBid => (
            &[Key::Quotation("E20-27")],
            "A bid not wholly received at the deadline counts as withdrawn; an earlier complete one stands.",
        ),
        Rule::SealedAsRequired => (
            &[Key::Quotation("E20-26")],
            "A bid not encrypted as required is refused, and the bidder is told.",
        ),
        Rule::ReceiptAtOnce => (
            &[Key::Text("TR-36"), Key::Quotation("电子签名法-11")],
            "Arrival is entry into the system; time and state are recorded and a receipt is given at once.",
        ),
        Rule::NothingBeforeDeadline => (
            &[Key::Text("TL-28"), Key::Quotation("E20-28")],
            "Nobody opens, decrypts or extracts a bid before the deadline.",
        ),
        Rule::WithdrawBeforeDeadline => (
            &[Key::Text("TL-29"), Key::Memory("87-34")],
            "A bid may be changed or withdrawn before the deadline.",
        ),
        Rule::RevokedAfterDeadline => (
            &[Key::Text("TR-35")],
            "After the deadline a bid can only be revoked, and the security may be kept.",
        ),
        Rule::BidSecurity => (
            &[Key::Text("GPR-33")],
            "A bid security is at most two percent of the budget and is not paid in cash.",
        ),
        Rule::BiddingPeriod => (
            &[Key::Text("GPL-35")],
            "From the day the documents are issued, suppliers have at least twenty days for bidding.",
        ),
        Rule::Invitation => (&[Key::Memory("GPL-34")], "An invited tender asks at least three suppliers."),
        Rule::OpeningAtDeadline => {
            (&[Key::Quotation("87-39"), Key::Text("TL-34")], "The opening is at the instant of the deadline.")
        }
        Rule::HostOfOpening => (
            &[Key::Memory("87-40")],
            "Purchaser or agency runs the opening before the bidders; committee members stay away.",
        ),
        Rule::EveryBidOpened => (
            &[Key::Text("TR-36"), Key::Text("TL-36")],
            "Every bid received in time is opened and read out: name, price and what else is asked.",
        ),
        Rule::FewerThanThree => (
            &[Key::Text("TR-44"), Key::Quotation("87-41")],
            "With fewer than three bidders nothing is opened.",
        ),
        Rule::RecordAndDoubts => (
            &[Key::Text("TR-44"), Key::Memory("87-42")],
            "The record is signed and filed; doubts are raised and answered on the spot; the absent accept.",
        ),
        Rule::PublishedTogether => {
            (&[Key::Memory("E20-30")], "What the bids say is published after all unsealing has finished.")
        }
        Rule::FailedUnsealing => (
            &[Key::Quotation("E20-31")],
            "Not unsealed through the bidder's cause: revoked; through another's: withdrawn, with a claim.",
        ),
        Rule::BackupBid => (
            &[Key::Quotation("E20-31")],
            "The tender may name a remedy for a failed unsealing; its policy decides.",
        ),
    };
    Law { keys, sentence }
}
