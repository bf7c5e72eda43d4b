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
    // GPR-31 (rules.md 8).
    correction_days: 15,
    // The house: whoever was kept from handing in must hear of the new deadline and still make it.
    postponed_minutes_min: 60,
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
        Rule::Correction => (
            &[Key::Text("GPR-31")],
            "A correction that may affect bids is made at least fifteen days before the deadline, else it moves.",
        ),
        Rule::PlatformFault => (
            &[Key::Quotation("87-49")],
            "A fault of the platform stops the procedure; before the deadline it is corrected and postponed.",
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
        Rule::SameBrand => (
            &[Key::Quotation("87-31")],
            "Bids of one brand that passed both reviews count as one bidder: only the lowest price is evaluated, or the highest score takes the candidate's place.",
        ),
        Rule::FewerLeft => (
            &[Key::Text("GPL-36")],
            "With fewer than three qualified or responsive bidders, or every price above budget, the lot is cancelled, with reasons to all.",
        ),
        Rule::QualificationReview => {
            (&[Key::Quotation("87-44")], "Purchaser or agency reviews the bidders' qualification.")
        }
        Rule::ResponsivenessReview => (
            &[Key::Memory("87-50")],
            "The committee reviews whether the qualified bids respond to the tender.",
        ),
        Rule::PriceRepair => (
            &[Key::Quotation("87-59")],
            "The bid sheet beats other content; words beat figures; a plainly misplaced decimal leaves the sheet's total; unit prices beat the total. The bidder confirms, or the bid is invalid.",
        ),
        Rule::AbnormallyLow => (
            &[Key::Quotation("87-60")],
            "A price abnormally low against other compliant bids must be explained in writing; unproven, the bid is invalid.",
        ),
        Rule::InvalidBid => (
            &[Key::Memory("87-63")],
            "A bid is invalid for want of security, signature, seal or qualification, for a price over budget or ceiling, for unacceptable conditions, or as the tender says.",
        ),
        Rule::CommitteeSize => (
            &[Key::Quotation("87-47")],
            "A committee has at least five members, an odd number, experts at least two thirds.",
        ),
        Rule::LowestPrice => (
            &[Key::Quotation("87-54"), Key::Quotation("87-56")],
            "Only repair and deductions of policy change a price; bids are ranked ascending, and equal prices tie.",
        ),
        Rule::PriceWeight => (
            &[Key::Quotation("87-55")],
            "The price weighs at least thirty percent for goods and ten percent for services.",
        ),
        Rule::Scoring => (
            &[Key::Quotation("87-55")],
            "The price score is the lowest compliant price over the bid's, times a hundred; the total is the sum of scores times weights.",
        ),
        Rule::RankingByScore => (
            &[Key::Quotation("87-57")],
            "Bids are ranked descending by score, then ascending by price, then tied.",
        ),
        Rule::SmallFirms => (
            &[Key::Quotation("财库〔2022〕19号")],
            "A small firm's price is reduced by ten to twenty percent for scoring, a consortium's or subcontract's with small firms of at least thirty percent by four to six.",
        ),
        Rule::DomesticProduct => (
            &[Key::Quotation("国办发〔2025〕34号")],
            "A domestic product's price is reduced by twenty percent for comparison from 2026-01-01.",
        ),
        Rule::Recheck => (
            &[Key::Quotation("87-64")],
            "Before signing, wrong sums, scores out of range, differing objective scores and abnormally high or low scores are corrected and recorded.",
        ),
        Rule::TiedFirst => (
            &[Key::Text("GPR-43"), Key::Quotation("87-68")],
            "Among tied candidates the tender's rule decides, else a draw.",
        ),
    };
    Law { keys, sentence }
}
