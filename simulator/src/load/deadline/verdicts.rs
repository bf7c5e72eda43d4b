//! Holding every verdict against the stamp rule, its signature, the bid it speaks of and the sender's own clock.

use std::time::Duration;

use kaibiao_protocol::{moment::Moment, refusal::RefusalCode, view::UploadVerdict};
use kaibiao_sealed::{
    header::{HEADER_BYTES_MAX, Header, PREAMBLE_BYTES},
    receipt::verify_receipt,
    refusal_notice::verify_refusal_notice,
};

use super::{
    crowd::{Crowd, PlatformKeys},
    sender::{Sender, Told},
};

/// How far two readings of one machine's clock may lie apart, in milliseconds.
const CLOCK_MS: i64 = 5;

/// What came of one supplier.
pub(super) struct Judged {
    /// When its last bytes left.
    pub(super) left: Moment,
    /// When its verdict was there.
    pub(super) answered: Option<Moment>,
    /// From the one to the other.
    pub(super) after: Option<Duration>,
    /// The stamp in its verdict.
    pub(super) stamp: Option<Moment>,
    /// `received`, or the code of its refusal; none: no signed verdict.
    pub(super) verdict: Option<String>,
    /// What is wrong with it.
    pub(super) wrong: Option<String>,
}

pub(super) fn judge(
    crowd: &Crowd,
    sender: &Sender,
    told: &Told,
    keys: &PlatformKeys,
    deadline: Moment,
) -> Judged {
    let mut judged =
        Judged { left: told.left.0, answered: None, after: None, stamp: None, verdict: None, wrong: None };
    let Some(answered) = &told.answered else { return judged };
    (judged.answered, judged.after) = (Some(answered.at), Some(answered.after));
    let verdict: UploadVerdict = match serde_json::from_slice(&answered.body) {
        Ok(verdict) if answered.status == 200 => verdict,
        Ok(_) | Err(_) => {
            let body = String::from_utf8_lossy(&answered.body);
            let start: String = body.chars().take(200).collect();
            judged.wrong = Some(format!("answered {} {start}", answered.status));
            return judged;
        }
    };
    match check(crowd, sender, &verdict, keys, deadline) {
        Ok((name, stamp)) => {
            (judged.verdict, judged.stamp) = (Some(name), Some(stamp));
            // Between the first byte of the last ones leaving and the answer's arrival.
            if stamp < told.left.0.plus_ms(-CLOCK_MS) || stamp > answered.at.plus_ms(CLOCK_MS) {
                judged.wrong =
                    Some("stamped when its sender had not sent it yet, or had its answer".to_owned());
            }
        }
        Err(why) => judged.wrong = Some(why),
    }
    judged
}

/// The verdict's name and stamp, if it is signed, speaks of this bid and says what the stamp rule says.
fn check(
    crowd: &Crowd,
    sender: &Sender,
    verdict: &UploadVerdict,
    keys: &PlatformKeys,
    deadline: Moment,
) -> Result<(String, Moment), String> {
    let member = &crowd.members[sender.no];
    match verdict {
        UploadVerdict::Received { receipt, .. } => {
            let facts = verify_receipt(receipt, &keys.receipt).map_err(|fault| fault.to_string())?;
            let header = header_of(sender.bid())?;
            facts.check_header(&header).map_err(|fault| fault.to_string())?;
            if facts.received_at >= deadline {
                return Err("received with a stamp at or after the deadline".to_owned());
            }
            Ok(("received".to_owned(), facts.received_at))
        }
        UploadVerdict::Refused { refusal, notice: Some(notice) } => {
            let facts = verify_refusal_notice(notice, &keys.receipt).map_err(|fault| fault.to_string())?;
            if facts.upload != sender.upload
                || facts.supplier != member.organisation
                || facts.deadline != deadline
            {
                return Err("a notice of another upload".to_owned());
            }
            let late = matches!(facts.code, RefusalCode::PastDeadline | RefusalCode::NotReceiving);
            if facts.code != refusal.code || !late {
                return Err(format!("refused as {}", facts.code.as_str()));
            }
            if facts.received_at < deadline {
                return Err("refused as late with a stamp before the deadline".to_owned());
            }
            Ok((facts.code.as_str().to_owned(), facts.received_at))
        }
        UploadVerdict::Refused { refusal, notice: None } => {
            Err(format!("refused as {} without a signed notice", refusal.code.as_str()))
        }
        UploadVerdict::Restored { .. } => Err("a verdict of another kind".to_owned()),
    }
}

fn header_of(bid: &[u8]) -> Result<Header, String> {
    let first = bid.get(..PREAMBLE_BYTES).ok_or("no header")?;
    let length = Header::length_needed(first).map_err(|fault| fault.to_string())?;
    let length = length.filter(|length| *length <= HEADER_BYTES_MAX).ok_or("no header")?;
    Header::parse(bid.get(..length).ok_or("no header")?).map_err(|fault| fault.to_string())
}
