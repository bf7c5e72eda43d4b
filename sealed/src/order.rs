//! Opening orders: the platform's signed demand for keys, without which no client unwraps anything.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    blob::Blob,
    deadline::DeadlineMove,
    digest::Digest,
    ids::{LotNo, ProjectId},
    moment::Moment,
    project::ProjectKind,
};
use serde::{Deserialize, Serialize};

pub use crate::envelope::{Envelope, EnvelopeFault, OneTimeKey, seal_envelope};
use crate::{
    platform_key::{PUBLIC_KEY_BYTES, PlatformKey, SIGNATURE_BYTES, key_id, verify},
    purpose::Purpose,
    shown::{beijing, titled},
    strict_json::{parse_canonical, to_canonical},
};

/// The most bytes an order's text may have.
pub const ORDER_BYTES_MAX: usize = 16 * 1024;

/// What an opening order says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningOrder {
    /// The project.
    pub project: ProjectId,
    /// Real or exercise.
    pub kind: ProjectKind,
    /// The project's deadline; no order holds before it.
    pub deadline: Moment,
    /// How the deadline came to be this one: each move from the deadline before to a later one, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadline_moves: Vec<DeadlineMove>,
    /// Grows with each order of this opening; a higher one supersedes.
    pub epoch: u32,
    /// The lots being opened: keys of other lots' parts are not asked for.
    #[serde(deserialize_with = "kaibiao_protocol::once::set")]
    pub lots: BTreeSet<LotNo>,
    /// Id of the platform's opening key, which signs this order and to which bids are bound.
    pub opening_key: Digest,
    /// How keys are sealed into the envelope.
    pub suite: EnvelopeSuite,
    /// The one-time public key that envelopes are sealed to (X25519, 32 bytes).
    pub hpke_public_key: Blob,
    /// SHA-256 of the agent's signature over the start statement (CMS), where a person started the opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_signature: Option<Digest>,
    /// When the order was issued.
    pub issued_at: Moment,
    /// When the window closes, as set at the issue; it may be extended later.
    pub window_closes_at: Moment,
}

/// How keys are sealed into an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EnvelopeSuite {
    /// HPKE (RFC 9180) base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
    #[serde(rename = "HPKE-X25519-SHA256-AES256GCM")]
    X25519Sha256Aes256Gcm,
}

/// What a client knows before it believes an order.
#[derive(Clone, Debug)]
pub struct OrderExpected<'a> {
    /// The project of the sealed bid.
    pub project: &'a ProjectId,
    /// The id of the opening key named in the bid's binding.
    pub opening_key: &'a Digest,
    /// The earliest deadline the client has been told for the project, if it remembers one. The order's is the
    /// same, or the order says how it was moved.
    pub deadline: Option<Moment>,
    /// The highest epoch seen in this project's orders; 0 for none.
    pub epoch_seen: u32,
    /// The client's own clock.
    pub now: Moment,
}

/// Why an order does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// Not the text of an opening order in its one spelling.
    #[error("not an opening order in its one spelling")]
    NotAnOrder,
    /// Not signed by the opening key.
    #[error("the opening key did not sign this order")]
    NotSigned,
    /// The opening key is not the one that the bid is bound to.
    #[error("the order is signed by a key that the bid is not bound to")]
    OtherPlatform,
    /// The order is for another project.
    #[error("the order is for another project")]
    OtherProject,
    /// The order names an earlier deadline than the client was told.
    #[error("the order names an earlier deadline than was announced")]
    EarlierDeadline,
    /// The order names a later deadline than the client was told, and not how it was moved there.
    #[error("the order names another deadline than was announced, and no correction that moved it")]
    UnlistedMove,
    /// By the client's own clock the deadline has not come.
    #[error("the deadline has not come")]
    BeforeDeadline,
    /// A higher epoch was seen.
    #[error("the order was superseded")]
    Superseded,
}

#[derive(Serialize, Deserialize)]
enum OrderFormat {
    #[serde(rename = "kaibiao opening-order 1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderText {
    format: OrderFormat,
    title: String,
    deadline_shown: String,
    issued_at_shown: String,
    window_closes_at_shown: String,
    order: OpeningOrder,
}

impl OpeningOrder {
    /// The exact text that is signed, sent and journalled.
    pub fn text(&self) -> String {
        let text = to_canonical(&OrderText {
            format: OrderFormat::V1,
            title: titled("解密令", self.kind),
            deadline_shown: beijing(self.deadline),
            issued_at_shown: beijing(self.issued_at),
            window_closes_at_shown: beijing(self.window_closes_at),
            order: self.clone(),
        });
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    /// Whether each move goes on to a later deadline from where the one before ended, and the last ends at this
    /// order's.
    fn moves_fit(&self) -> bool {
        let moves = &self.deadline_moves;
        let later = moves.iter().all(|one| one.from < one.to);
        let linked = moves.windows(2).all(|pair| pair[0].to == pair[1].from);
        later && linked && moves.last().is_none_or(|last| last.to == self.deadline)
    }

    /// Whether a deadline once told is this order's, or was moved to it.
    fn leads_from(&self, told: Moment) -> bool {
        told == self.deadline || self.deadline_moves.iter().any(|one| one.from == told)
    }

    /// Reads an order; says nothing about who signed it.
    ///
    /// # Errors
    /// [`OrderFault::NotAnOrder`].
    pub fn parse(text: &str) -> Result<Self, OrderFault> {
        if text.len() > ORDER_BYTES_MAX {
            return Err(OrderFault::NotAnOrder);
        }
        let read: OrderText = parse_canonical(text.as_bytes()).map_err(|_| OrderFault::NotAnOrder)?;
        let key_fits = read.order.hpke_public_key.0.len() == PUBLIC_KEY_BYTES;
        if !key_fits || !read.order.moves_fit() || read.order.text() != text {
            return Err(OrderFault::NotAnOrder);
        }
        Ok(read.order)
    }

    /// Reads an order and checks everything a client must before a token unwraps a key.
    ///
    /// # Errors
    /// See [`OrderFault`].
    pub fn verify(
        text: &str,
        signature: &[u8],
        public: &[u8; PUBLIC_KEY_BYTES],
        expected: &OrderExpected<'_>,
    ) -> Result<Self, OrderFault> {
        if key_id(public) != *expected.opening_key {
            return Err(OrderFault::OtherPlatform);
        }
        verify(public, Purpose::OpeningOrder, text.as_bytes(), signature)
            .map_err(|_| OrderFault::NotSigned)?;
        let order = Self::parse(text)?;
        if order.opening_key != *expected.opening_key {
            return Err(OrderFault::OtherPlatform);
        }
        if order.project != *expected.project {
            return Err(OrderFault::OtherProject);
        }
        if expected.deadline.is_some_and(|told| order.deadline < told) {
            return Err(OrderFault::EarlierDeadline);
        }
        // A deadline that was moved for some alone would be one that the others never heard of.
        if expected.deadline.is_some_and(|told| !order.leads_from(told)) {
            return Err(OrderFault::UnlistedMove);
        }
        // TL-28, E20-28: nobody decrypts before the deadline, by the client's own clock too.
        if expected.now < order.deadline {
            return Err(OrderFault::BeforeDeadline);
        }
        if order.epoch < expected.epoch_seen {
            return Err(OrderFault::Superseded);
        }
        Ok(order)
    }
}

/// The platform's signature over an order's exact text.
pub fn sign_order(text: &str, opening_key: &PlatformKey) -> [u8; SIGNATURE_BYTES] {
    opening_key.sign(Purpose::OpeningOrder, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::deadline::MoveGround;

    use super::*;
    use crate::flip::each_member_changed;

    const DEADLINE: Moment = Moment(1_767_225_600_000_000);

    /// A move between two moments, in milliseconds from the deadline.
    fn moved(from: i64, to: i64) -> DeadlineMove {
        let (from, to) = (DEADLINE.plus_ms(from), DEADLINE.plus_ms(to));
        DeadlineMove { from, to, ground: MoveGround::Correction, at: from.plus_ms(-1) }
    }

    fn order(key: &PlatformKey) -> OpeningOrder {
        OpeningOrder {
            project: "KX-00823".parse().unwrap(),
            kind: ProjectKind::Real,
            deadline: DEADLINE,
            deadline_moves: vec![moved(-7_200_000, -60_000), moved(-60_000, 0)],
            epoch: 2,
            lots: [LotNo::new(1).unwrap(), LotNo::new(3).unwrap()].into(),
            opening_key: key.id(),
            suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
            hpke_public_key: Blob(vec![7; 32]),
            start_signature: Some(Digest([5; 32])),
            issued_at: DEADLINE.plus_ms(1),
            window_closes_at: DEADLINE.plus_minutes(30),
        }
    }

    #[test]
    fn an_order_holds_for_its_project_from_the_deadline_on() {
        let (key, other) = (PlatformKey::generate().unwrap(), PlatformKey::generate().unwrap());
        let (project, other_project) = ("KX-00823".parse().unwrap(), "KX-00824".parse().unwrap());
        let (id, other_id) = (key.id(), other.id());
        let text = order(&key).text();
        let signature = sign_order(&text, &key);
        let good = OrderExpected {
            project: &project,
            opening_key: &id,
            deadline: Some(DEADLINE),
            epoch_seen: 2,
            now: DEADLINE,
        };
        let check = |expected: &OrderExpected<'_>| {
            OpeningOrder::verify(&text, &signature, key.public(), expected).map(drop)
        };
        assert_eq!(OpeningOrder::verify(&text, &signature, key.public(), &good), Ok(order(&key)));
        assert_eq!(check(&OrderExpected { deadline: None, epoch_seen: 0, ..good.clone() }), Ok(()));
        for told in [-7_200_000, -60_000] {
            let told = Some(DEADLINE.plus_ms(told));
            assert_eq!(check(&OrderExpected { deadline: told, ..good.clone() }), Ok(()));
        }
        let never_told = Some(DEADLINE.plus_ms(-120_000));
        let unlisted = OrderExpected { deadline: never_told, ..good.clone() };
        assert_eq!(check(&unlisted), Err(OrderFault::UnlistedMove));
        for (expected, fault) in [
            (OrderExpected { project: &other_project, ..good.clone() }, OrderFault::OtherProject),
            (OrderExpected { opening_key: &other_id, ..good.clone() }, OrderFault::OtherPlatform),
            (OrderExpected { now: Moment(DEADLINE.0 - 1), ..good.clone() }, OrderFault::BeforeDeadline),
            (
                OrderExpected { deadline: Some(DEADLINE.plus_ms(1)), ..good.clone() },
                OrderFault::EarlierDeadline,
            ),
            (OrderExpected { epoch_seen: 3, ..good.clone() }, OrderFault::Superseded),
        ] {
            assert_eq!(check(&expected), Err(fault));
        }
        // The key asked about is not the one that signed, or signed in another's name.
        let verify = |text: &str, signer: &PlatformKey, asked: &PlatformKey, expected: &OrderExpected<'_>| {
            OpeningOrder::verify(text, &sign_order(text, signer), asked.public(), expected).map(drop)
        };
        assert_eq!(verify(&text, &other, &key, &good), Err(OrderFault::NotSigned));
        let bound_to_other = OrderExpected { opening_key: &other_id, ..good.clone() };
        assert_eq!(verify(&text, &other, &other, &bound_to_other), Err(OrderFault::OtherPlatform));
        let receipt_signature = key.sign(Purpose::Receipt, text.as_bytes());
        let forged = OpeningOrder::verify(&text, &receipt_signature, key.public(), &good);
        assert_eq!(forged, Err(OrderFault::NotSigned));
    }

    #[test]
    fn an_order_with_any_field_changed_is_not_signed() {
        let key = PlatformKey::generate().unwrap();
        let text = order(&key).text();
        let signature = sign_order(&text, &key);
        let expected = OrderExpected {
            project: &"KX-00823".parse().unwrap(),
            opening_key: &key.id(),
            deadline: None,
            epoch_seen: 0,
            now: DEADLINE,
        };
        for (field, text) in each_member_changed(&text) {
            let fault = OpeningOrder::verify(&text, &signature, key.public(), &expected);
            assert_eq!(fault, Err(OrderFault::NotSigned), "{field}");
        }
    }

    #[test]
    fn an_order_is_read_from_its_one_spelling_alone() {
        let key = PlatformKey::generate().unwrap();
        let text = order(&key).text();
        assert_eq!(OpeningOrder::parse(&text), Ok(order(&key)));
        let short_key = OpeningOrder { hpke_public_key: Blob(vec![7; 31]), ..order(&key) };
        let moves = |moves: Vec<DeadlineMove>| OpeningOrder { deadline_moves: moves, ..order(&key) }.text();
        assert!(OpeningOrder::parse(&moves(Vec::new())).is_ok());
        for bad in [
            moves(vec![moved(-60_000, -1)]),
            moves(vec![moved(60_000, 0)]),
            moves(vec![moved(-7_200_000, -60_000), moved(-59_000, 0)]),
            format!("{text}\n"),
            text.replace("解密令", "解密令（演练）"),
            text.replace("[1,3]", "[3,1]"),
            text.replace("08:30:00", "09:30:00"),
            short_key.text(),
            "x".repeat(ORDER_BYTES_MAX + 1),
        ] {
            assert_eq!(OpeningOrder::parse(&bad), Err(OrderFault::NotAnOrder), "{bad}");
        }
    }
}
