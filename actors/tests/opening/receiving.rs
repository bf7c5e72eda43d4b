//! Handing in: stamps, verdicts, receipts, settling.

use kaibiao_actors::{
    journal::{Append, Journal, Stream, memory::MemoryJournal},
    messages::UploadPurpose,
};
use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::{
    command::ProjectCommand,
    ids::UploadId,
    refusal::RefusalCode,
    view::{ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::{receipt::verify_receipt, refusal_notice::verify_refusal_notice};
use zeroize::Zeroizing;

use crate::{
    suppliers::Supplier,
    world::{World, agent, in_time, supervisor},
};

fn code(verdict: &UploadVerdict) -> RefusalCode {
    match verdict {
        UploadVerdict::Refused { refusal, .. } => refusal.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn receipt(verdict: &UploadVerdict) -> &str {
    match verdict {
        UploadVerdict::Received { receipt, .. } => receipt,
        other => panic!("expected a receipt, got {other:?}"),
    }
}

async fn with_suppliers(count: usize) -> (World, Vec<Supplier>) {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=count).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    (world, suppliers)
}

#[actix::test]
async fn a_bid_handed_in_gets_a_receipt_that_holds_offline_and_stays_the_same() {
    let (world, suppliers) = with_suppliers(1).await;
    let bid = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    let verdict = world.hand_in(&bid).await;
    let facts = verify_receipt(receipt(&verdict), world.house.keys().receipt.public()).unwrap();
    assert_eq!(facts.bid, bid.id);
    assert_eq!(facts.header_digest, bid.header.header_digest);
    assert_eq!(facts.supplier_name, "供应商1有限公司");
    assert!(world.records().iter().any(|record| record.hash == facts.record_hash));
    // Sent again, whole or as a mere question, it is the same receipt byte for byte; after a restart too.
    assert_eq!(world.hand_in(&bid).await, verdict);
    let asker = suppliers[0].asker();
    let again = world.house.receipt(&asker, &world.project, &bid.id).await.unwrap();
    assert_eq!(again, receipt(&verdict));
    let world = world.crash(0, 1_000).await;
    assert_eq!(world.hand_in(&bid).await, verdict);
    assert_eq!(world.house.receipt(&asker, &world.project, &bid.id).await.unwrap(), again);
    assert_eq!(world.kinds()["bid_submitted"], 1);
    let denied = world.house.receipt(&agent(), &world.project, &bid.id).await.unwrap_err();
    assert_eq!(denied.code, RefusalCode::Unknown);
    world.house.stop().await;
}

#[actix::test]
async fn a_bid_one_microsecond_before_the_deadline_is_taken_and_one_at_it_is_refused_with_a_notice() {
    let (world, suppliers) = with_suppliers(2).await;
    let in_time = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    let late = world.seal(&suppliers[1], 1, &[(1, "100.00")]);
    world.until(kaibiao_protocol::moment::Moment(world.deadline().0 - 1));
    let taken = world.hand_in(&in_time).await;
    let facts = verify_receipt(receipt(&taken), world.house.keys().receipt.public()).unwrap();
    assert_eq!(facts.received_at.0, world.deadline().0 - 1);
    let refused = world.hand_in(&late).await;
    assert_eq!(code(&refused), RefusalCode::PastDeadline);
    let UploadVerdict::Refused { notice: Some(notice), .. } = &refused else {
        panic!("no notice: {refused:?}")
    };
    let facts = verify_refusal_notice(notice, world.house.keys().receipt.public()).unwrap();
    assert_eq!(facts.received_at, world.deadline());
    assert_eq!(facts.upload, late.upload);
    // The same upload again gets the same refusal, and its bytes are not kept.
    assert_eq!(world.hand_in(&late).await, refused);
    assert_eq!(world.kinds()["upload_refused"], 1);
    world.house.stop().await;
}

#[actix::test]
async fn each_fault_of_a_final_is_refused_by_its_own_name() {
    let (world, suppliers) = with_suppliers(3).await;
    let good = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    // B hands in A's file.
    let mut copied = good.as_upload(2);
    copied.supplier = suppliers[1].clone();
    assert_eq!(code(&world.hand_in(&copied).await), RefusalCode::OtherSupplier);
    // Another lot than the project has.
    let elsewhere = world.seal(&suppliers[0], 3, &[(7, "100.00")]);
    assert_eq!(code(&world.hand_in(&elsewhere).await), RefusalCode::OtherLots);
    // A flipped bit, a cut, no sealed bid at all.
    let mut damaged = good.as_upload(4);
    let mut bytes = Vec::clone(&good.bytes);
    *bytes.last_mut().unwrap() ^= 1;
    damaged.bytes = bytes.into();
    assert_eq!(code(&world.hand_in(&damaged).await), RefusalCode::SealedBidDamaged);
    let mut cut = good.as_upload(5);
    cut.bytes = good.bytes[..good.bytes.len() - 20].to_vec().into();
    assert_eq!(code(&world.hand_in(&cut).await), RefusalCode::SealedBidDamaged);
    let mut junk = good.as_upload(6);
    junk.bytes = b"%PDF-1.7 not sealed".to_vec().into();
    assert_eq!(code(&world.hand_in(&junk).await), RefusalCode::NotASealedBid);
    // A certificate that was unbound.
    let fingerprint = good.header.binding.signing_certificate;
    let unbind = kaibiao_protocol::directory::DirectoryCommand::UnbindCertificate {
        user: suppliers[2].user.clone(),
        fingerprint: kaibiao_sealed::digest::sha256(&suppliers[2].certificate),
    };
    let unbound = world.seal(&suppliers[2], 7, &[(1, "100.00")]);
    world.house.ask_directory(crate::world::console(), unbind, Vec::new()).await.unwrap();
    assert_eq!(code(&world.hand_in(&unbound).await), RefusalCode::CertificateUnbound);
    // Nothing of all that hurts the good one.
    let taken = world.hand_in(&good).await;
    receipt(&taken);
    assert_eq!(world.state().await.standing_bids().len(), 1);
    assert_eq!(good.header.binding.signing_certificate, fingerprint);
    world.house.stop().await;
}

#[actix::test]
async fn fifty_finals_in_the_same_instants_around_the_deadline_each_get_the_verdict_of_the_rule() {
    let (world, suppliers) = with_suppliers(50).await;
    let bids: Vec<_> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    let uploads: Vec<_> = bids.iter().map(|bid| world.finish(bid, &bid.bytes, UploadPurpose::Bid)).collect();
    world.until(kaibiao_protocol::moment::Moment(world.deadline().0 - 25));
    let verdicts: Vec<_> = uploads
        .into_iter()
        .map(|upload| {
            let house = world.house.clone();
            actix::spawn(async move { house.finish_upload(upload).await })
        })
        .collect();
    let (mut taken, mut late) = (0, 0);
    for verdict in verdicts {
        match in_time("a verdict", verdict).await.unwrap() {
            UploadVerdict::Received { receipt, .. } => {
                let facts = verify_receipt(&receipt, world.house.keys().receipt.public()).unwrap();
                assert!(facts.received_at < world.deadline());
                taken += 1;
            }
            UploadVerdict::Refused { refusal, notice } => {
                assert_eq!(refusal.code, RefusalCode::PastDeadline);
                let notice = notice.expect("a late final gets a notice");
                let facts = verify_refusal_notice(&notice, world.house.keys().receipt.public()).unwrap();
                assert!(facts.received_at >= world.deadline());
                late += 1;
            }
            other @ UploadVerdict::Restored { .. } => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, late), (25, 25));
    world.until(world.deadline().plus_ms(1));
    let state = world.becomes("the count", |state| state.lots().is_some()).await;
    assert_eq!(state.lots().unwrap().values().next().unwrap().bids, 25);
    world.house.stop().await;
}

#[actix::test]
async fn nothing_is_counted_before_every_final_stamped_in_time_has_its_verdict() {
    let (world, suppliers) = with_suppliers(3).await;
    let bids: Vec<_> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    let uploads: Vec<_> = bids.iter().map(|bid| world.finish(bid, &bid.bytes, UploadPurpose::Bid)).collect();
    world.memory.hold();
    let verdicts: Vec<_> = uploads
        .into_iter()
        .map(|upload| {
            let house = world.house.clone();
            actix::spawn(async move { house.finish_upload(upload).await })
        })
        .collect();
    // All three are stamped and wait for the disk while the deadline passes.
    in_time("three staged finals", async {
        while world.memory.held() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.until(world.deadline().plus_ms(500));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.status().await, ProjectStatus::Receiving);
    world.memory.release_all();
    for verdict in verdicts {
        receipt(&in_time("a verdict", verdict).await.unwrap());
    }
    let state = world.becomes("the count", |state| state.lots().is_some()).await;
    assert_eq!(state.lots().unwrap().values().next().unwrap().bids, 3);
    world.house.stop().await;
}

#[actix::test]
async fn a_final_staged_before_a_crash_keeps_its_stamp_and_is_counted() {
    let (world, suppliers) = with_suppliers(3).await;
    let bids: Vec<_> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    receipt(&world.hand_in(&bids[0]).await);
    receipt(&world.hand_in(&bids[1]).await);
    let upload = world.finish(&bids[2], &bids[2].bytes, UploadPurpose::Bid);
    world.memory.hold();
    let house = world.house.clone();
    let cut_off = actix::spawn(async move { house.finish_upload(upload).await });
    in_time("a staged final", async {
        while world.memory.held() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The staging was on its way to the disk when the machine died; it comes back after the deadline.
    let world = world.crash(1, 2 * 3_600_000).await;
    cut_off.abort();
    // Nobody moves the deadline in the time that the outage gives for it.
    let state = world.becomes("the outage", |state| !state.outages().is_empty()).await;
    world.until(state.counted_from().unwrap());
    let state = world.becomes("the count", |state| state.lots().is_some()).await;
    assert_eq!(state.lots().unwrap().values().next().unwrap().bids, 3);
    let asker = suppliers[2].asker();
    let kept = world.house.receipt(&asker, &world.project, &bids[2].id).await.unwrap();
    let facts = verify_receipt(&kept, world.house.keys().receipt.public()).unwrap();
    assert!(facts.received_at < world.deadline());
    assert!(world.journal.side_keys(SideSpace::StagedFinal, "").unwrap().is_empty());
    world.house.stop().await;
}

#[actix::test]
async fn the_same_upload_at_once_from_two_sides_is_one_bid_with_one_receipt() {
    let (world, suppliers) = with_suppliers(1).await;
    let bid = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    let upload = world.finish(&bid, &bid.bytes, UploadPurpose::Bid);
    let mut again = world.finish(&bid, &bid.bytes, UploadPurpose::Bid);
    again.file = upload.file;
    let (first, second) = futures_util::future::join(
        in_time("a verdict", world.house.finish_upload(upload)),
        in_time("a verdict", world.house.finish_upload(again)),
    )
    .await;
    assert_eq!(first, second);
    receipt(&first);
    assert_eq!(world.kinds()["bid_submitted"], 1);
    world.house.stop().await;
}

#[actix::test]
async fn a_replacement_stands_and_a_late_one_leaves_the_earlier_bid_standing() {
    let (world, suppliers) = with_suppliers(1).await;
    let (first, second, late) = (
        world.seal(&suppliers[0], 1, &[(1, "100.00")]),
        world.seal(&suppliers[0], 2, &[(1, "90.00")]),
        world.seal(&suppliers[0], 3, &[(1, "80.00")]),
    );
    receipt(&world.hand_in(&first).await);
    let replaced = world.hand_in(&second).await;
    let facts = verify_receipt(receipt(&replaced), world.house.keys().receipt.public()).unwrap();
    assert_eq!(facts.replaces, Some(first.id));
    world.until(world.deadline());
    assert_eq!(code(&world.hand_in(&late).await), RefusalCode::PastDeadline);
    let state = world.state().await;
    assert_eq!(state.standing_bid_of(&suppliers[0].organisation).unwrap().facts.bid, second.id);
    world.house.stop().await;
}

#[actix::test]
async fn a_withdrawal_stamped_in_time_is_decided_before_the_count() {
    let (world, suppliers) = with_suppliers(1).await;
    let bid = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    receipt(&world.hand_in(&bid).await);
    world.memory.hold();
    let (house, asker, project) = (world.house.clone(), suppliers[0].asker(), world.project.clone());
    let withdraw = ProjectCommand::WithdrawBid { bid: bid.id, reason: "改价".into() };
    let asked = kaibiao_actors::messages::AskProject::new(project, asker, withdraw);
    let withdrawing = actix::spawn(async move { house.ask_project(asked).await });
    in_time("the withdrawal on its way", async {
        while world.memory.held() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.until(world.deadline().plus_ms(1));
    world.memory.release_all();
    in_time("the withdrawal", withdrawing).await.unwrap().unwrap();
    let state = world.becomes("the count", |state| state.lots().is_some()).await;
    assert_eq!(state.lots().unwrap().values().next().unwrap().bids, 0);
    let late = ProjectCommand::WithdrawBid { bid: bid.id, reason: String::new() };
    assert!(world.ask(suppliers[0].asker(), late).await.is_err());
    world.house.stop().await;
}

#[actix::test]
async fn before_the_deadline_nobody_else_learns_of_a_bid_and_no_metric_tells() {
    let (world, suppliers) = with_suppliers(5).await;
    let metrics_before = world.house.metrics().text();
    let (mut staff, mut rival) =
        (world.watch(&supervisor(), false, 0).await, world.watch(&suppliers[4].asker(), false, 0).await);
    staff.event("project_published").await;
    rival.event("project_published").await;
    for one in &suppliers[..4] {
        receipt(&world.hand_in(&world.seal(one, 1, &[(1, "100.00")])).await);
    }
    assert_eq!(world.house.room_view(&supervisor(), &world.project).await.unwrap().seq, 1);
    assert!(world.house.room_view(&supervisor(), &world.project).await.unwrap().bidders.is_empty());
    let own = world.watch(&suppliers[4].asker(), true, 0).await;
    assert_eq!(own.joined, 0);
    let strip = |text: &str| {
        text.lines().filter(|line| !line.contains("append_seconds ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(strip(&world.house.metrics().text()), strip(&metrics_before));
    world.until(world.deadline());
    // The very next thing both see is the count.
    for watcher in [&mut staff, &mut rival] {
        assert_eq!(watcher.next().await.unwrap()["event"]["event"], "receiving_closed");
    }
    world.house.stop().await;
}

#[actix::test]
async fn contact_data_lies_wrapped_in_the_side_table_and_nowhere_else() {
    let (world, suppliers) = with_suppliers(1).await;
    let bid = world.seal(&suppliers[0], 1, &[(1, "100.00")]);
    receipt(&world.hand_in(&bid).await);
    let name = format!("{}/{}", world.project, bid.id);
    let wrapped = world.journal.side(SideSpace::Contact, &name).unwrap().expect("the contact is kept");
    let clear = world.house.keys().store.unwrap("contact", &name, &wrapped).unwrap();
    assert!(String::from_utf8_lossy(&clear[16..]).contains("CONTACT-CANARY"));
    let holds = |bytes: &[u8]| bytes.windows(14).any(|window| window == b"CONTACT-CANARY");
    assert!(!holds(&wrapped));
    assert!(world.records().iter().all(|record| !holds(&record.payload)));
    world.house.stop().await;
}

#[actix::test]
async fn a_staged_final_that_cannot_be_read_stops_the_start() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let journal = MemoryJournal::new();
    let world = World::on(folder.clone(), journal.clone(), crate::world::MORNING).await;
    let put = SideWrite::Put {
        space: SideSpace::StagedFinal,
        key: format!("KX-1/x/{}", UploadId([1; 16])),
        value: Zeroizing::new(b"junk".to_vec()),
    };
    journal.append(Append::side_only(Stream::Platform, vec![put])).await.unwrap();
    world.house.stop().await;
    let keys = kaibiao_actors::keys::PlatformKeys::open(&folder.path().join("keys"), &journal, &world.clock)
        .unwrap();
    let files = kaibiao_actors::files::LocalFiles::open(&folder.path().join("files")).unwrap();
    let parts = kaibiao_actors::house::HouseParts {
        journal: std::sync::Arc::new(journal),
        files: std::sync::Arc::new(files),
        clock: world.clock.clone(),
        keys: std::sync::Arc::new(keys),
        threads: 1,
    };
    assert!(kaibiao_actors::house::House::start(parts).await.is_err());
}
