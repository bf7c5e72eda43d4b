//! What is stamped in time and still on its way when the window or a grace ends; and answers that were lost.

use std::pin::pin;

use kaibiao_actors::messages::{FinishUpload, ReportTrouble, UploadPurpose};
use kaibiao_protocol::{
    bid::FailureCause,
    command::ProjectCommand,
    view::{BidStatus, ProjectStatus, UploadVerdict},
};

use crate::{
    suppliers::Bid,
    unsealing::{handed_in, order, price, published, status_of, unseal},
    world::{World, agent, in_time},
};

/// Three bids, of which the first lies damaged in the store, was found so, and may be restored.
async fn damaged() -> (World, Vec<Bid>) {
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
    let admit = ProjectCommand::AdmitBackup { bid: bids[0].id, reason: "存储损坏".into() };
    world.ask(agent(), admit).await.unwrap();
    (world, bids)
}

fn restoring(world: &World, bid: &Bid) -> FinishUpload {
    let mut upload = world.finish(&bid.as_upload(11), &bid.sealed_again(), UploadPurpose::Restore);
    upload.bid = bid.id;
    upload
}

/// Runs a future to where it first waits: it is stamped, and in work.
async fn begun<T>(work: std::pin::Pin<&mut impl Future<Output = T>>) {
    tokio::select! {
        biased;
        _ = work => panic!("it waits for the disk or the journal at least"),
        () = std::future::ready(()) => {}
    }
}

#[actix::test]
async fn restoring_again_after_the_answer_was_lost_leaves_the_restored_bytes_alone() {
    let (world, bids) = damaged().await;
    let first = restoring(&world, &bids[0]);
    let file = first.file;
    let again = || FinishUpload { file, ..restoring(&world, &bids[0]) };
    let restored = UploadVerdict::Restored { bid: bids[0].id };
    assert_eq!(in_time("restoring", world.house.finish_upload(first)).await, restored);
    assert_eq!(world.house.finish_upload(again()).await, restored);
    published(&world).await;
    assert_eq!(world.house.finish_upload(again()).await, restored);
    world.house.files().open(&file).unwrap();
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn restored_bytes_stamped_before_the_graces_end_are_waited_for() {
    let (world, bids) = damaged().await;
    let window_closes_at = world.state().await.window_closes_at().unwrap();
    let mut restore = pin!(world.house.finish_upload(restoring(&world, &bids[0])));
    begun(restore.as_mut()).await;
    world.until(window_closes_at);
    // Meanwhile the project looks at what is due.
    for _ in 0..500 {
        world.ask(agent(), ProjectCommand::CheckIn).await.unwrap();
    }
    assert_eq!(in_time("restoring", restore).await, UploadVerdict::Restored { bid: bids[0].id });
    let rows = published(&world).await;
    assert_eq!(rows.values().map(price).collect::<Vec<_>>(), ["100.00", "200.00", "300.00"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn keys_on_their_way_when_the_window_is_closed_early_still_open_their_bid() {
    let (world, bids) = handed_in(4).await;
    let order = order(&world).await;
    for bid in &bids[1..] {
        unseal(&world, bid, &order).await;
    }
    let trouble = ReportTrouble {
        project: world.project.clone(),
        bid: bids[0].id,
        asker: bids[0].supplier.asker(),
        cause: FailureCause::TokenTrouble,
        seen: "the token is locked".into(),
    };
    world.house.report_trouble(trouble).await.unwrap();
    for bid in &bids[1..] {
        status_of(&world, bid, "an unsealed bid", |status| status == BidStatus::Unsealed).await;
    }
    // Its grace is over, the window is not: the agent may close it, and the keys come first.
    world.hands.pass_ms(11 * 60_000);
    world.house.pool().hold();
    let parts = world.state().await.parts_asked(&bids[0].id);
    let mut keys = pin!(world.house.release_keys(bids[0].release(&order, &parts, false)));
    begun(keys.as_mut()).await;
    world.ask(agent(), ProjectCommand::CloseWindow { reason: "都来了".into() }).await.unwrap();
    assert_eq!(world.status().await, ProjectStatus::Settling);
    // Meanwhile the opening looks at the closed window.
    for _ in 0..500 {
        world.ask(agent(), ProjectCommand::CheckIn).await.unwrap();
    }
    world.house.pool().release();
    in_time("keys being kept", keys).await.unwrap();
    let rows = published(&world).await;
    assert_eq!(rows.values().map(price).collect::<Vec<_>>(), ["100.00", "200.00", "300.00", "400.00"]);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn a_final_gets_its_verdict_though_its_project_could_not_be_loaded_for_a_while() {
    let (world, bids) = handed_in(2).await;
    let late = world.seal(&bids[0].supplier, 3, &[(1, "99.00")]);
    let world = world.crash(0, 1_000).await;
    world.memory.fail_reads(true);
    let upload = world.finish(&late, &late.bytes, UploadPurpose::Bid);
    let mut verdict = pin!(world.house.finish_upload(upload));
    // Longer than the house itself tries.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(1_500), verdict.as_mut()).await;
    assert!(waited.is_err(), "{waited:?}");
    world.memory.fail_reads(false);
    let verdict = in_time("the verdict", verdict).await;
    assert!(matches!(verdict, UploadVerdict::Received { .. }), "{verdict:?}");
    world.until(world.deadline());
    world.becomes("the count", |state| state.lots().is_some()).await;
    world.house.stop().await;
}
