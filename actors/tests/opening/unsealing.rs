//! Unsealing: keys, verdicts, failures, the backup, the window, the barrier.

use std::collections::BTreeMap;

use kaibiao_actors::messages::{ReportTrouble, UploadPurpose};
use kaibiao_protocol::{
    bid::{FailureCause, PartName},
    command::ProjectCommand,
    event::WindowEnd,
    ids::LotNo,
    record::{LotRecord, RowOutcome},
    refusal::RefusalCode,
    role::Asker,
    view::{BidStatus, ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::record::{record_digest, verify_record};

use crate::{
    suppliers::{Bid, Supplier},
    world::{CANARY, World, agent, in_time, supervisor},
};

fn lot(number: u16) -> LotNo {
    LotNo::new(number).unwrap()
}

/// A project with so many bids for lot 1, each at its own price.
pub(crate) async fn handed_in(count: usize) -> (World, Vec<Bid>) {
    let prices: Vec<Vec<(u16, String)>> =
        (1..=count).map(|number| vec![(1, format!("{}.00", number * 100))]).collect();
    handed_in_for(1, &prices).await
}

async fn handed_in_for(lots: u16, prices: &[Vec<(u16, String)>]) -> (World, Vec<Bid>) {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=prices.len()).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(lots)).await;
    let mut bids = Vec::new();
    for (one, prices) in suppliers.iter().zip(prices) {
        let prices: Vec<(u16, &str)> = prices.iter().map(|(lot, price)| (*lot, price.as_str())).collect();
        let bid = world.seal(one, 1, &prices);
        let verdict = world.hand_in(&bid).await;
        assert!(matches!(verdict, UploadVerdict::Received { .. }), "{verdict:?}");
        bids.push(bid);
    }
    (world, bids)
}

/// Passes the deadline and waits for the order.
pub(crate) async fn order(world: &World) -> String {
    world.until(world.deadline());
    let state = world.becomes("the order", |state| state.order().is_some()).await;
    state.order().unwrap().text.clone()
}

pub(crate) async fn unseal(world: &World, bid: &Bid, order: &str) {
    let parts = world.state().await.parts_asked(&bid.id);
    in_time("keys being kept", world.house.release_keys(bid.release(order, &parts, false))).await.unwrap();
}

fn outcomes(record: &LotRecord) -> BTreeMap<String, RowOutcome> {
    match record {
        LotRecord::Opened { rows } => {
            rows.iter().map(|row| (row.supplier.clone(), row.outcome.clone())).collect()
        }
        LotRecord::NotOpened { .. } => panic!("the lot is opened"),
    }
}

pub(crate) fn price(outcome: &RowOutcome) -> String {
    match outcome {
        RowOutcome::Unsealed { sheet, .. } => sheet.price.to_string(),
        RowOutcome::Failed { cause, .. } => format!("{cause:?}"),
    }
}

pub(crate) async fn published(world: &World) -> BTreeMap<String, RowOutcome> {
    let state = world.becomes("the signed record", |state| state.record_signature().is_some()).await;
    outcomes(&state.record().unwrap().lots[&lot(1)])
}

pub(crate) async fn status_of(world: &World, bid: &Bid, what: &str, wanted: impl Fn(BidStatus) -> bool) {
    world.becomes(what, |state| state.bid_status(&bid.id).is_some_and(&wanted)).await;
}

#[actix::test]
async fn a_whole_opening_ends_in_a_signed_record_of_every_price() {
    let (world, bids) = handed_in(4).await;
    let mut watcher = world.watch(&supervisor(), false, 0).await;
    let order = order(&world).await;
    for bid in &bids {
        unseal(&world, bid, &order).await;
    }
    let rows = published(&world).await;
    let prices: Vec<String> = rows.values().map(price).collect();
    assert_eq!(prices, ["100.00", "200.00", "300.00", "400.00"]);
    let closed = watcher.event("window_closed").await;
    assert_eq!(closed["end"], serde_json::to_value(WindowEnd::AllSettled).unwrap());
    watcher.event("records_published").await;
    watcher.event("record_signed").await;
    let signed = world.house.record(&supervisor(), &world.project).await.unwrap();
    assert_eq!(record_digest(&signed.text), signed.digest);
    let facts =
        verify_record(&signed.text, &signed.signature.0, world.house.keys().receipt.public()).unwrap();
    assert_eq!(facts.lots.len(), 1);
    let kinds = world.kinds();
    assert_eq!((kinds["keys_accepted"], kinds["bid_unsealed"], kinds["records_published"]), (4, 4, 1));
    // The silent are deemed to accept, and the agent ends the opening.
    world.hands.pass_ms(21 * 60_000);
    watcher.event("confirmations_deemed").await;
    world.ask(agent(), ProjectCommand::EndOpening).await.unwrap();
    assert_eq!(world.status().await, ProjectStatus::Ended);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_lot_with_fewer_than_three_bids_asks_for_no_key_and_the_others_go_on() {
    let at = |one: &str| one.to_owned();
    let prices = vec![
        vec![(1, at("100.00")), (2, at("1.00"))],
        vec![(1, at("200.00")), (2, at("2.00"))],
        vec![(1, at("300.00"))],
    ];
    let (world, bids) = handed_in_for(2, &prices).await;
    let order = order(&world).await;
    let state = world.state().await;
    assert_eq!(state.parts_asked(&bids[0].id), [PartName::Common, PartName::Lot(lot(1))]);
    for bid in &bids {
        unseal(&world, bid, &order).await;
    }
    let rows = published(&world).await;
    assert_eq!(rows.len(), 3);
    let state = world.state().await;
    match &state.record().unwrap().lots[&lot(2)] {
        LotRecord::NotOpened { bids, rule } => {
            assert_eq!(bids.len(), 2);
            assert!(!rule.is_empty());
        }
        LotRecord::Opened { .. } => panic!("two bids do not open a lot"),
    }
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn where_no_lot_is_opened_the_record_says_so_without_any_order() {
    let (world, _) = handed_in(2).await;
    world.until(world.deadline());
    let state = world.becomes("the signed record", |state| state.record_signature().is_some()).await;
    assert!(state.order().is_none());
    assert!(matches!(state.record().unwrap().lots[&lot(1)], LotRecord::NotOpened { .. }));
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn each_failure_has_its_cause_and_its_consequence_in_the_record() {
    let (world, bids) = handed_in(5).await;
    let order = order(&world).await;
    unseal(&world, &bids[0], &order).await;
    // A key that is not the one of the receipt.
    let parts = world.state().await.parts_asked(&bids[1].id);
    let wrong = parts.iter().map(|part| bids[2].part_key(*part)).collect();
    let refused =
        world.house.release_keys(bids[1].release_of(&order, &parts, wrong, false)).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::WrongKey);
    // A wrong token, as its supplier's client tells.
    let trouble = |bid: &Bid, asker: Asker, cause| ReportTrouble {
        project: world.project.clone(),
        bid: bid.id,
        asker,
        cause,
        seen: "no key for this bid in the token".into(),
    };
    let told = trouble(&bids[2], bids[2].supplier.asker(), FailureCause::WrongToken);
    world.house.report_trouble(told).await.unwrap();
    let for_another = trouble(&bids[2], bids[1].supplier.asker(), FailureCause::WrongToken);
    assert!(world.house.report_trouble(for_another).await.is_err());
    let not_a_token = trouble(&bids[3], bids[3].supplier.asker(), FailureCause::DamagedStore);
    assert!(world.house.report_trouble(not_a_token).await.is_err());
    // A chunk that rots in the store, found when it is unsealed.
    let file = world.state().await.bid(&bids[3].id).unwrap().facts.file;
    world.flip_bit(&file, bids[3].bytes.len() - 5);
    unseal(&world, &bids[3], &order).await;
    status_of(&world, &bids[3], "a damaged store", |status| {
        matches!(status, BidStatus::Failed { cause: FailureCause::DamagedStore, .. })
    })
    .await;
    // The fifth never comes; the window and the graces run out.
    world.hands.pass_ms(31 * 60_000);
    let rows = published(&world).await;
    let causes: Vec<String> = rows.values().map(price).collect();
    assert_eq!(causes, ["100.00", "WrongKey", "WrongToken", "DamagedStore", "NoShow"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_wrong_key_may_be_mended_within_its_grace() {
    let (world, bids) = handed_in(3).await;
    let order = order(&world).await;
    let parts = world.state().await.parts_asked(&bids[0].id);
    let wrong = parts.iter().map(|part| bids[1].part_key(*part)).collect();
    world.house.release_keys(bids[0].release_of(&order, &parts, wrong, false)).await.unwrap_err();
    for bid in &bids {
        unseal(&world, bid, &order).await;
    }
    assert_eq!(
        published(&world).await.values().map(price).collect::<Vec<_>>(),
        ["100.00", "200.00", "300.00"]
    );
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn keys_are_taken_from_their_own_supplier_under_the_present_order_alone() {
    let (world, bids) = handed_in(3).await;
    let order = order(&world).await;
    let parts = world.state().await.parts_asked(&bids[0].id);
    let mut foreign = bids[0].release(&order, &parts, false);
    foreign.asker = bids[1].supplier.asker();
    assert_eq!(world.house.release_keys(foreign).await.unwrap_err().code, RefusalCode::NoSuchBid);
    let mut old = bids[0].release(&order, &parts, false);
    old.epoch = 7;
    assert_eq!(world.house.release_keys(old).await.unwrap_err().code, RefusalCode::OrderSuperseded);
    let mut torn = bids[0].release(&order, &parts, false);
    torn.ciphertext[3] ^= 1;
    assert_eq!(world.house.release_keys(torn).await.unwrap_err().code, RefusalCode::EnvelopeInvalid);
    let backup = bids[0].release(&order, &parts, true);
    assert_eq!(world.house.release_keys(backup).await.unwrap_err().code, RefusalCode::NoFailureRecorded);
    assert!(!world.kinds().contains_key("bid_failed"), "none of these is a failure of the bid");
    unseal(&world, &bids[0], &order).await;
    let again = world.house.release_keys(bids[0].release(&order, &parts, false)).await;
    assert!(matches!(again.unwrap_err().code, RefusalCode::KeysAlreadyHere | RefusalCode::Busy));
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_damaged_store_is_restored_from_the_backup_byte_for_byte_or_not_at_all() {
    let (world, bids) = handed_in(3).await;
    let file = world.state().await.bid(&bids[0].id).unwrap().facts.file;
    world.flip_bit(&file, bids[0].bytes.len() / 2);
    let order = order(&world).await;
    for bid in &bids {
        unseal(&world, bid, &order).await;
    }
    status_of(&world, &bids[0], "a damaged store", |status| {
        matches!(status, BidStatus::Failed { cause: FailureCause::DamagedStore, .. })
    })
    .await;
    let again = bids[0].sealed_again();
    assert_eq!(again, *bids[0].bytes, "sealing the backup again gives the very bytes");
    let restore =
        |bytes: &[u8], number| world.finish(&bids[0].as_upload(number), bytes, UploadPurpose::Restore);
    let mut early = restore(&again, 9);
    early.bid = bids[0].id;
    let refused = world.house.finish_upload(early).await;
    assert!(
        matches!(&refused, UploadVerdict::Refused { refusal, .. } if refusal.code == RefusalCode::BackupNotAdmitted)
    );
    let admit = ProjectCommand::AdmitBackup { bid: bids[0].id, reason: "存储损坏".into() };
    world.ask(agent(), admit).await.unwrap();
    // A better bid, sealed anew after the others' prices could be guessed at.
    let better = world.seal(&bids[0].supplier, 8, &[(1, "1.00")]);
    let mut other = restore(&better.bytes, 10);
    other.bid = bids[0].id;
    let refused = world.house.finish_upload(other).await;
    assert!(
        matches!(&refused, UploadVerdict::Refused { refusal, .. } if refusal.code == RefusalCode::BackupDiffers)
    );
    let mut right = restore(&again, 11);
    right.bid = bids[0].id;
    let restored = world.house.finish_upload(right).await;
    assert_eq!(restored, UploadVerdict::Restored { bid: bids[0].id });
    // Its keys were kept, so nobody is asked again.
    let rows = published(&world).await;
    assert_eq!(rows.values().map(price).collect::<Vec<_>>(), ["100.00", "200.00", "300.00"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_failed_token_is_helped_by_the_key_of_the_backup_once_it_is_admitted() {
    let (world, bids) = handed_in(3).await;
    let order = order(&world).await;
    world
        .house
        .report_trouble(ReportTrouble {
            project: world.project.clone(),
            bid: bids[0].id,
            asker: bids[0].supplier.asker(),
            cause: FailureCause::TokenTrouble,
            seen: "the token is locked".into(),
        })
        .await
        .unwrap();
    let parts = world.state().await.parts_asked(&bids[0].id);
    let early = world.house.release_keys(bids[0].release(&order, &parts, true)).await.unwrap_err();
    assert_eq!(early.code, RefusalCode::BackupNotAdmitted);
    let admit = ProjectCommand::AdmitBackup { bid: bids[0].id, reason: "锁已损坏".into() };
    world.ask(agent(), admit).await.unwrap();
    world.house.release_keys(bids[0].release(&order, &parts, true)).await.unwrap();
    for bid in &bids[1..] {
        unseal(&world, bid, &order).await;
    }
    let rows = published(&world).await;
    let by_backup: Vec<bool> =
        rows.values().map(|row| matches!(row, RowOutcome::Unsealed { by_backup: true, .. })).collect();
    assert_eq!(by_backup, [true, false, false]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn the_window_is_extended_for_all_and_not_closed_while_anybody_is_awaited() {
    let (world, bids) = handed_in(3).await;
    let order = order(&world).await;
    unseal(&world, &bids[0], &order).await;
    let close = || ProjectCommand::CloseWindow { reason: "都来了".into() };
    assert_eq!(world.ask(agent(), close()).await.unwrap_err().code, RefusalCode::StillAwaited);
    let extend = ProjectCommand::ExtendWindow { minutes: 15, reason: "堵车".into() };
    world.ask(agent(), extend).await.unwrap();
    world.hands.pass_ms(40 * 60_000);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.status().await, ProjectStatus::AwaitingKeys);
    unseal(&world, &bids[1], &order).await;
    world.hands.pass_ms(6 * 60_000);
    let rows = published(&world).await;
    assert_eq!(rows.values().map(price).collect::<Vec<_>>(), ["100.00", "200.00", "NoShow"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn keys_that_arrived_in_time_count_although_their_work_ends_after_the_window() {
    let (world, bids) = handed_in(3).await;
    let order = order(&world).await;
    unseal(&world, &bids[0], &order).await;
    unseal(&world, &bids[1], &order).await;
    let parts = world.state().await.parts_asked(&bids[2].id);
    let closes_at = world.state().await.window_closes_at().unwrap();
    world.house.pool().hold();
    world.until(kaibiao_protocol::moment::Moment(closes_at.0 - 1_000));
    let (house, keys) = (world.house.clone(), bids[2].release(&order, &parts, false));
    let releasing = actix::spawn(async move { house.release_keys(keys).await });
    // The keys are stamped and lie with the pool; then the window's end comes.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    world.until(closes_at.plus_ms(60_000));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.status().await, ProjectStatus::AwaitingKeys);
    world.house.pool().release();
    in_time("keys being kept", releasing).await.unwrap().unwrap();
    let rows = published(&world).await;
    assert_eq!(rows.values().map(price).collect::<Vec<_>>(), ["100.00", "200.00", "300.00"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn no_digit_of_any_price_is_anywhere_before_the_barrier() {
    let canary = |_| vec![(1, CANARY.to_owned())];
    let prices: Vec<_> = (0..4).map(canary).collect();
    let (world, bids) = handed_in_for(1, &prices).await;
    let askers: Vec<Asker> =
        [supervisor(), agent()].into_iter().chain(bids.iter().map(|bid| bid.supplier.asker())).collect();
    let mut watchers = Vec::new();
    for asker in &askers {
        watchers.push(world.watch(asker, false, 0).await);
    }
    for bid in &bids {
        watchers.push(world.watch(&bid.supplier.asker(), true, 0).await);
    }
    let order = order(&world).await;
    for bid in &bids[..3] {
        unseal(&world, bid, &order).await;
        status_of(&world, bid, "an unsealed bid", |status| status == BidStatus::Unsealed).await;
    }
    // Three prices are known to the platform now, and to nobody and nothing else.
    let holds = |bytes: &[u8]| {
        [&b"88776655"[..], b"8877665543"]
            .iter()
            .any(|price| bytes.windows(price.len()).any(|seen| seen == *price))
    };
    assert!(world.records().iter().all(|record| !holds(&record.payload)));
    for space in kaibiao_engine::keeper::SideSpace::ALL {
        for key in world.journal.side_keys(space, "").unwrap() {
            assert!(!holds(&world.journal.side(space, &key).unwrap().unwrap()), "{space:?} {key}");
        }
    }
    assert!(!holds(world.house.metrics().text().as_bytes()));
    unseal(&world, &bids[3], &order).await;
    published(&world).await;
    for watcher in &mut watchers[..askers.len()] {
        let record = watcher.event("records_published").await;
        assert!(holds(record.to_string().as_bytes()), "the check sees a price where there is one");
        let before = &watcher.seen[..watcher.seen.len() - 1];
        assert!(before.iter().all(|frame| !holds(frame.to_string().as_bytes())));
    }
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_bid_that_was_never_whole_and_a_malformed_package_are_told_apart_and_end_at_once() {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=4).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    let bids = [
        world.seal(&suppliers[0], 1, &[(1, "100.00")]),
        world.seal(&suppliers[1], 1, &[(1, "200.00")]).damaged_before_signing(),
        // The project asks for an amount.
        world.seal(&suppliers[2], 1, &[(1, "95.50%")]),
        world.seal(&suppliers[3], 1, &[(1, "400.00")]),
    ];
    for bid in &bids {
        let verdict = world.hand_in(bid).await;
        assert!(
            matches!(verdict, UploadVerdict::Received { .. }),
            "nobody can tell before the opening: {verdict:?}"
        );
    }
    let order = order(&world).await;
    for bid in &bids {
        unseal(&world, bid, &order).await;
    }
    // Nothing mends these, so the window ends with the last verdict.
    let rows = published(&world).await;
    let outcomes: Vec<String> = rows.values().map(price).collect();
    assert_eq!(outcomes, ["100.00", "DamagedUpload", "MalformedPackage", "400.00"]);
    let evidence: Vec<String> = world
        .records()
        .iter()
        .filter(|record| record.kind == "bid_failed")
        .map(|record| String::from_utf8(record.payload.clone()).unwrap())
        .collect();
    assert_eq!(evidence.len(), 2);
    assert!(evidence.iter().all(|seen| !seen.contains("95.50")), "{evidence:?}");
    world.holds().await;
    world.house.stop().await;
}
