//! The race at the deadline over real parts: some thousand finals to one project in the 50 ms around its deadline.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Poll,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use kaibiao_actors::messages::UploadPurpose;
use kaibiao_protocol::{
    event::ProjectEvent,
    ids::{BidId, UploadId},
    moment::Moment,
    refusal::RefusalCode,
    view::{ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::{receipt::verify_receipt, refusal_notice::verify_refusal_notice};

use crate::{
    suppliers::{Bid, Recipe, Supplier, seal},
    world::{World, in_time},
};

const SUPPLIERS: usize = 200;
const FINALS_EACH: usize = 10;

/// A number below `end`, the same ones every time.
fn drawn(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % end
}

/// The same sealed bytes handed in as another upload and bid.
fn another(bid: &Bid, number: usize) -> Bid {
    let mut id = bid.upload.0;
    id[12..14].copy_from_slice(&(number as u16).to_be_bytes());
    let mut other = bid.clone();
    (other.upload, other.id) = (UploadId(id), BidId(id));
    other
}

fn is_busy(verdict: &UploadVerdict) -> bool {
    matches!(verdict, UploadVerdict::Refused { refusal, .. } if refusal.code == RefusalCode::Busy)
}

#[actix::test]
async fn thousands_of_finals_around_the_deadline_get_one_signed_verdict_each_and_it_is_the_stamps() {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=SUPPLIERS).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    let recipe = Recipe { project: &world.project, prices: &[(1, "100.00")], pdf_bytes: 1_000 };
    let mut finals: Vec<Bid> = Vec::new();
    for supplier in &suppliers {
        let bid = seal(supplier, 1, &recipe, world.house.keys(), world.folder.path());
        finals.extend((0..FINALS_EACH).map(|number| another(&bid, number)));
    }
    let mut state = 7;
    for at in (1..finals.len()).rev() {
        finals.swap(at, drawn(&mut state, at as u64 + 1) as usize);
    }

    // Handed in one after the other in 50 ms of the world's time, some of them twice at once.
    let before = Moment(world.deadline().0 - 25_000);
    let step = 50_000 / finals.len() as i64;
    let mut handing = FuturesUnordered::new();
    let mut verdicts: BTreeMap<UploadId, Vec<UploadVerdict>> = BTreeMap::new();
    let (mut busy, mut next) = (0_usize, 0_usize);
    let mut again: Vec<usize> = Vec::new();
    in_time("all verdicts", async {
        while next < finals.len() || !again.is_empty() || !handing.is_empty() {
            let number = if next < finals.len() {
                world.until(Moment(before.0 + step * next as i64));
                next += 1;
                Some(next - 1)
            } else {
                again.pop()
            };
            if let Some(number) = number {
                let bid = &finals[number];
                let times = if drawn(&mut state, 5) == 0 { 2 } else { 1 };
                let upload = world.finish(bid, &bid.bytes, UploadPurpose::Bid);
                for _ in 0..times {
                    let finish = kaibiao_actors::messages::FinishUpload {
                        contact: upload.contact.clone(),
                        project: upload.project.clone(),
                        supplier: upload.supplier.clone(),
                        arrived: None,
                        stamped: None,
                        ..upload
                    };
                    let house = &world.house;
                    let mut one = Box::pin(async move { (number, house.finish_upload(finish).await) });
                    // Polled at once: that is when it is stamped.
                    let first = std::future::poll_fn(|context| Poll::Ready(one.as_mut().poll(context)));
                    match first.await {
                        Poll::Ready((number, verdict)) => {
                            assert!(is_busy(&verdict), "{verdict:?}");
                            busy += 1;
                            again.push(number);
                        }
                        Poll::Pending => handing.push(one),
                    }
                }
            }
            let wait = next == finals.len() && !handing.is_empty();
            while wait || handing.len() > 1_000 {
                let Some((number, verdict)) = handing.next().await else { break };
                verdicts.entry(finals[number].upload).or_default().push(verdict);
                if wait {
                    break;
                }
            }
        }
    })
    .await;
    world.becomes("the count", |project| project.status() != Some(ProjectStatus::Receiving)).await;

    // Offline, from the signed papers alone, and against the journal.
    let key = world.house.keys().receipt.public();
    let mut recorded: BTreeMap<UploadId, (Moment, Option<RefusalCode>)> = BTreeMap::new();
    let mut standing = BTreeSet::new();
    let mut counted = None;
    for (_, event) in world.history() {
        let (upload, record) = match event {
            ProjectEvent::BidSubmitted { facts, received_at, .. } => {
                standing.insert(facts.supplier.clone());
                (facts.upload, (received_at, None))
            }
            ProjectEvent::UploadRefused { upload, received_at, code, .. } => {
                (upload, (received_at, Some(code)))
            }
            ProjectEvent::ReceivingClosed { lots } => {
                counted = lots.values().map(|count| count.bids).next();
                continue;
            }
            _ => continue,
        };
        assert_eq!(recorded.insert(upload, record), None, "one record an upload");
    }
    assert_eq!(counted.map(|bids| bids as usize), Some(standing.len()));
    assert!(standing.len() > SUPPLIERS / 2, "the race was on both sides: {}", standing.len());
    let mut late = 0;
    for bid in &finals {
        let told = &verdicts[&bid.upload];
        assert!(told.iter().all(|verdict| *verdict == told[0]), "one verdict: {told:?}");
        let (at, code) = match &told[0] {
            UploadVerdict::Received { receipt, .. } => {
                let facts = verify_receipt(receipt, key).unwrap();
                assert_eq!(facts.upload, bid.upload);
                (facts.received_at, None)
            }
            UploadVerdict::Refused { notice: Some(notice), .. } => {
                let facts = verify_refusal_notice(notice, key).unwrap();
                assert_eq!(facts.upload, bid.upload);
                late += 1;
                (facts.received_at, Some(facts.code))
            }
            other => panic!("no signed verdict: {other:?}"),
        };
        let rule = (at >= world.deadline()).then_some(RefusalCode::PastDeadline);
        assert_eq!(code, rule, "the stamp alone decides: {at:?}");
        assert_eq!(recorded[&bid.upload], (at, code), "the paper says what the journal says");
    }
    assert!(late > 100, "the race was on both sides: {late} late, {busy} times busy");
    world.holds().await;
    world.house.stop().await;
}
