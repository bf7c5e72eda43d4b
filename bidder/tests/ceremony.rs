//! What a supplier's client does in an opening, decided from what it hears: no order but a good one moves the token.

#![expect(clippy::unwrap_used, reason = "what helps a test may unwrap as the test may")]

use std::collections::BTreeSet;

use kaibiao_bidder::unseal::ceremony::{Ceremony, Ending, Fixed, Move, Noticed};
use kaibiao_protocol::{
    bid::{FailureCause, PartName},
    blob::Blob,
    ids::{BidId, LotNo},
    moment::Moment,
    project::ProjectKind,
    record::OpeningRecord,
    view::{BidStatus, Bidder, RoomEvent},
};
use kaibiao_sealed::{
    envelope::OneTimeKey,
    order::{EnvelopeSuite, OpeningOrder, OrderFault, sign_order},
    platform_key::PlatformKey,
};

const DEADLINE: Moment = Moment(1_800_000_000_000_000);
const LATER: Moment = Moment(DEADLINE.0 + 60_000_000);
const OWN: BidId = BidId([1; 16]);

fn lot(no: u16) -> LotNo {
    LotNo::new(no).unwrap()
}

fn common_and(lots: &[u16]) -> Vec<PartName> {
    let lots = lots.iter().map(|no| PartName::Lot(lot(*no)));
    std::iter::once(PartName::Common).chain(lots).collect()
}

struct Stage {
    key: PlatformKey,
    hpke: OneTimeKey,
}

impl Stage {
    fn new() -> Self {
        Self { key: PlatformKey::generate().unwrap(), hpke: OneTimeKey::generate().unwrap() }
    }

    fn ceremony(&self) -> Ceremony {
        self.ceremony_with(true)
    }

    fn ceremony_with(&self, has_backup: bool) -> Ceremony {
        Ceremony::new(Fixed {
            project: "KX-1".parse().unwrap(),
            bid: OWN,
            parts: common_and(&[1, 2]),
            bound_key: self.key.id(),
            opening_key: *self.key.public(),
            deadline_told: Some(DEADLINE),
            has_backup,
        })
    }

    fn order(&self) -> OpeningOrder {
        OpeningOrder {
            project: "KX-1".parse().unwrap(),
            kind: ProjectKind::Exercise,
            deadline: DEADLINE,
            deadline_moves: Vec::new(),
            epoch: 3,
            lots: BTreeSet::from([lot(1), lot(7)]),
            opening_key: self.key.id(),
            suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
            hpke_public_key: Blob(self.hpke.public().to_vec()),
            start_signature: None,
            issued_at: DEADLINE,
            window_closes_at: DEADLINE.plus_minutes(30),
        }
    }

    fn issued(&self, order: &OpeningOrder) -> RoomEvent {
        let text = order.text();
        let signature = Blob(sign_order(&text, &self.key).to_vec());
        RoomEvent::OrderIssued {
            epoch: order.epoch,
            order: text,
            signature,
            window_closes_at: order.window_closes_at,
        }
    }
}

fn counted(status: BidStatus) -> RoomEvent {
    let own = Bidder {
        bid: OWN,
        organisation: "mingde".parse().unwrap(),
        supplier: "明德家具".to_owned(),
        lots: vec![lot(1), lot(2)],
        status,
    };
    RoomEvent::ReceivingClosed { lots: Default::default(), bidders: vec![own] }
}

fn changed(status: BidStatus) -> RoomEvent {
    RoomEvent::BidChanged { bid: OWN, status, evidence: None }
}

/// A ceremony that awaits keys and has heard one order.
fn after(stage: &Stage, event: &RoomEvent, now: Moment) -> (Ceremony, Noticed) {
    let mut ceremony = stage.ceremony();
    ceremony.hear(&counted(BidStatus::AwaitingKeys), now);
    let noticed = ceremony.hear(event, now);
    (ceremony, noticed)
}

fn refused(stage: &Stage, event: &RoomEvent, now: Moment, fault: OrderFault) {
    let (ceremony, noticed) = after(stage, event, now);
    assert_eq!(noticed, Noticed::BadOrder(fault));
    assert!(!matches!(ceremony.next(), Move::Release(_)), "{fault:?} must not move the token");
}

#[test]
fn a_good_order_releases_the_keys_of_exactly_the_lots_it_opens() {
    let stage = Stage::new();
    let (ceremony, noticed) = after(&stage, &stage.issued(&stage.order()), LATER);
    assert_eq!(noticed, Noticed::Order { epoch: 3 });
    let Move::Release(order) = ceremony.next() else { panic!("{:?}", ceremony.next()) };
    // Lot 2 stays unopened, lot 7 is another's.
    assert_eq!(order.parts, common_and(&[1]));
}

#[test]
fn an_order_that_opens_no_lot_of_this_bid_asks_for_nothing() {
    let stage = Stage::new();
    let order = OpeningOrder { lots: BTreeSet::from([lot(7)]), ..stage.order() };
    let (ceremony, _) = after(&stage, &stage.issued(&order), LATER);
    assert_eq!(ceremony.next(), Move::Wait);
}

#[test]
fn no_forged_early_or_strange_order_moves_the_token() {
    let (stage, other) = (Stage::new(), Stage::new());
    let good = stage.order();

    let RoomEvent::OrderIssued { order, window_closes_at, .. } = stage.issued(&good) else { unreachable!() };
    let forged = RoomEvent::OrderIssued { epoch: 3, order, signature: Blob(vec![0; 64]), window_closes_at };
    refused(&stage, &forged, LATER, OrderFault::NotSigned);

    // Signed by a real key, which is not the one the bid is bound to.
    let by_other = other.issued(&OpeningOrder { opening_key: other.key.id(), ..good.clone() });
    refused(&stage, &by_other, LATER, OrderFault::NotSigned);

    let of_other = stage.issued(&OpeningOrder { project: "KX-2".parse().unwrap(), ..good.clone() });
    refused(&stage, &of_other, LATER, OrderFault::OtherProject);

    let earlier = OpeningOrder { deadline: Moment(DEADLINE.0 - 1), ..good.clone() };
    refused(&stage, &stage.issued(&earlier), LATER, OrderFault::EarlierDeadline);
    let later = OpeningOrder { deadline: Moment(DEADLINE.0 + 1), ..good.clone() };
    refused(&stage, &stage.issued(&later), LATER, OrderFault::UnlistedMove);

    let RoomEvent::OrderIssued { order, signature, .. } = stage.issued(&good) else { unreachable!() };
    let tampered = order.replace("\"epoch\":3", "\"epoch\":4");
    let tampered = RoomEvent::OrderIssued { epoch: 4, order: tampered, signature, window_closes_at };
    refused(&stage, &tampered, LATER, OrderFault::NotSigned);
}

#[test]
fn an_order_before_the_deadline_by_our_own_clock_waits_for_it() {
    let stage = Stage::new();
    let before = Moment(DEADLINE.0 - 1);
    let (mut ceremony, noticed) = after(&stage, &stage.issued(&stage.order()), before);
    assert_eq!(noticed, Noticed::BadOrder(OrderFault::BeforeDeadline));
    assert_eq!(ceremony.next(), Move::WaitForClock { until: DEADLINE });
    assert_eq!(ceremony.look_again(before), Noticed::BadOrder(OrderFault::BeforeDeadline));
    assert_eq!(ceremony.look_again(DEADLINE), Noticed::Order { epoch: 3 });
    assert!(matches!(ceremony.next(), Move::Release(_)));
}

#[test]
fn a_bid_bound_to_another_platform_obeys_nobody_here() {
    let (stage, other) = (Stage::new(), Stage::new());
    let fixed = Fixed { bound_key: other.key.id(), ..stage.ceremony().fixed().clone() };
    let mut ceremony = Ceremony::new(fixed);
    ceremony.hear(&counted(BidStatus::AwaitingKeys), LATER);
    let noticed = ceremony.hear(&stage.issued(&stage.order()), LATER);
    assert_eq!(noticed, Noticed::BadOrder(OrderFault::OtherPlatform));
    assert_eq!(ceremony.next(), Move::Wait);
}

#[test]
fn after_a_restart_only_keys_that_were_not_acknowledged_are_sent_again() {
    let stage = Stage::new();
    let (mut ceremony, _) = after(&stage, &stage.issued(&stage.order()), LATER);
    ceremony.keys_kept(3);
    assert_eq!(ceremony.next(), Move::Wait);
    ceremony.hear(&changed(BidStatus::Unsealing), LATER);
    let next = stage.issued(&OpeningOrder { epoch: 4, ..stage.order() });
    ceremony.hear(&next, LATER);
    assert_eq!(ceremony.next(), Move::Wait, "the platform keeps them");

    let (mut unlucky, _) = after(&stage, &stage.issued(&stage.order()), LATER);
    assert!(matches!(unlucky.next(), Move::Release(order) if order.order.epoch == 3));
    unlucky.hear(&next, LATER);
    assert!(matches!(unlucky.next(), Move::Release(order) if order.order.epoch == 4));
}

#[test]
fn an_older_order_never_comes_back() {
    let stage = Stage::new();
    let mut ceremony = after(&stage, &stage.issued(&stage.order()), LATER).0;
    let older = stage.issued(&OpeningOrder { epoch: 2, ..stage.order() });
    assert_eq!(ceremony.hear(&older, LATER), Noticed::BadOrder(OrderFault::Superseded));
    assert!(matches!(ceremony.next(), Move::Release(order) if order.order.epoch == 3));
}

#[test]
fn a_token_that_failed_is_not_tried_again_by_itself() {
    let stage = Stage::new();
    let mut ceremony = after(&stage, &stage.issued(&stage.order()), LATER).0;
    ceremony.token_failed(3);
    assert_eq!(ceremony.next(), Move::Wait);
    let failed = BidStatus::Failed { cause: FailureCause::WrongToken, grace_until: LATER.plus_minutes(10) };
    ceremony.hear(&changed(failed), LATER);
    assert_eq!(ceremony.next(), Move::Wait);
    // The person starts again, with the right token.
    let mut again = stage.ceremony();
    again.hear(&counted(failed), LATER);
    again.hear(&stage.issued(&stage.order()), LATER);
    assert!(matches!(again.next(), Move::Release(_)));
}

#[test]
fn a_backup_is_used_only_once_it_was_admitted_and_mends_a_damaged_store_first() {
    let stage = Stage::new();
    let until = LATER.plus_minutes(10);
    let awaiting = changed(BidStatus::AwaitingBackup { until });

    let mut ceremony = after(&stage, &stage.issued(&stage.order()), LATER).0;
    ceremony.token_failed(3);
    ceremony.hear(&changed(BidStatus::Failed { cause: FailureCause::WrongToken, grace_until: until }), LATER);
    assert_eq!(ceremony.next(), Move::Wait, "not before the agent's decision");
    ceremony.hear(&awaiting, LATER);
    assert!(matches!(ceremony.next(), Move::ReleaseBackup(order) if order.parts == common_and(&[1])));

    let mut damaged = after(&stage, &stage.issued(&stage.order()), LATER).0;
    damaged
        .hear(&changed(BidStatus::Failed { cause: FailureCause::DamagedStore, grace_until: until }), LATER);
    assert_eq!(damaged.next(), Move::Wait);
    damaged.hear(&awaiting, LATER);
    assert_eq!(damaged.next(), Move::Restore);
    damaged.restored();
    assert!(matches!(damaged.next(), Move::ReleaseBackup(_)));

    let mut without = stage.ceremony_with(false);
    without.hear(&counted(BidStatus::AwaitingBackup { until }), LATER);
    without.hear(&stage.issued(&stage.order()), LATER);
    assert_eq!(without.next(), Move::Wait);
}

#[test]
fn the_ending_is_what_the_room_says_of_the_own_bid() {
    let stage = Stage::new();
    for (status, ending) in [
        (BidStatus::AwaitingKeys, None),
        (BidStatus::Unsealing, Some(Ending::KeysKept)),
        (BidStatus::Unsealed, Some(Ending::Unsealed)),
        (BidStatus::NotOpened, Some(Ending::NotOpened)),
        (BidStatus::Settled { cause: FailureCause::NoShow }, Some(Ending::Failed(FailureCause::NoShow))),
        (BidStatus::Failed { cause: FailureCause::WrongToken, grace_until: LATER }, None),
        (BidStatus::AwaitingBackup { until: LATER }, None),
    ] {
        let mut ceremony = stage.ceremony();
        ceremony.hear(&counted(status), LATER);
        assert_eq!(ceremony.ending(), ending, "{status:?}");
    }
    let mut withdrawn = stage.ceremony();
    assert_eq!(withdrawn.ending(), None);
    let nobody = RoomEvent::ReceivingClosed { lots: Default::default(), bidders: Vec::new() };
    withdrawn.hear(&nobody, LATER);
    assert_eq!(withdrawn.ending(), Some(Ending::NotStanding));
}

#[test]
fn after_the_publication_nothing_is_released() {
    let stage = Stage::new();
    let mut ceremony = after(&stage, &stage.issued(&stage.order()), LATER).0;
    let record = OpeningRecord { published_at: LATER, lots: Default::default() };
    ceremony.hear(&RoomEvent::RecordsPublished { record }, LATER);
    assert!(ceremony.is_published());
    assert_eq!(ceremony.next(), Move::Wait);
}
