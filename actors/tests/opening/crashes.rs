//! Crashes at every append: whoever comes back goes on, nothing happens twice, and the record is the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kaibiao_actors::journal::{
    SqliteJournal,
    memory::{MemoryJournal, ScriptedFault},
};
use kaibiao_protocol::{
    record::LotRecord,
    view::{ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::record::record_digest;

use crate::{
    suppliers::{Bid, Supplier},
    world::{MORNING, World, supervisor},
};

/// What suppliers, the clock and the agent do, whatever state they find: hand in until there is a receipt, give
/// keys under the present order as long as they are asked for. Ends when the record is signed (true), or when the
/// platform can write no more.
async fn play(world: &World, bids: &[Bid]) -> bool {
    let ended = || world.journal.meters().writing_ended.is_some();
    for bid in bids {
        match world.hand_in(bid).await {
            UploadVerdict::Received { .. } => {}
            UploadVerdict::Refused { .. } if ended() => return false,
            told @ (UploadVerdict::Refused { .. } | UploadVerdict::Restored { .. }) => {
                panic!("a bid in time is taken: {told:?}")
            }
        }
    }
    world.until(world.deadline());
    for _ in 0..20_000 {
        if ended() {
            return false;
        }
        let state = world.state().await;
        if state.record_signature().is_some() {
            return true;
        }
        // A crash over the deadline is an outage: counting is held, and nobody moves the deadline here.
        if state.status() == Some(ProjectStatus::Receiving) {
            world.until(state.counted_from().unwrap());
        }
        // Time goes on, so that what is to be tried again later is tried again.
        world.hands.pass_ms(1);
        if let Some(order) = state.order() {
            for bid in bids {
                let parts = state.parts_asked(&bid.id);
                if !parts.is_empty() {
                    // A refusal is looked at in the next round, under the order that is in force then.
                    let _ = world.house.release_keys(bid.release(&order.text, &parts, false)).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the opening did not come to its end: {:?}", world.status().await);
}

async fn set_up(world: &World, suppliers: &[Supplier]) {
    world.register(suppliers).await;
    world.publish(world.spec(1)).await;
}

/// What the record says, without the moment of its publication.
async fn outcome(world: &World) -> BTreeMap<kaibiao_protocol::ids::LotNo, LotRecord> {
    world.state().await.record().unwrap().lots.clone()
}

#[actix::test]
async fn a_crash_at_any_append_changes_nothing_in_the_record() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    let world = World::on(folder.clone(), MemoryJournal::new(), MORNING).await;
    set_up(&world, &suppliers).await;
    let bids: Vec<Bid> = suppliers
        .iter()
        .zip(["100.00", "200.00", "300.00"])
        .map(|(one, price)| world.seal(one, 1, &[(1, price)]))
        .collect();
    assert!(play(&world, &bids).await);
    let expected = outcome(&world).await;
    world.house.stop().await;
    let mut crashed = 0;
    for survives in [false, true] {
        // Each append in turn is the one at which the platform dies, until the opening needs no more appends.
        for skipped in 0.. {
            let world = World::on(folder.clone(), MemoryJournal::new(), MORNING).await;
            set_up(&world, &suppliers).await;
            world.memory.fail_after(skipped, ScriptedFault::FailSync { survives });
            if play(&world, &bids).await {
                world.house.stop().await;
                break;
            }
            crashed += 1;
            let world = world.crash(usize::MAX, 1_000).await;
            assert!(play(&world, &bids).await, "after a crash at append {skipped} (survives: {survives})");
            assert_eq!(outcome(&world).await, expected, "append {skipped}, survives: {survives}");
            let kinds = world.kinds();
            for (kind, times) in [
                ("bid_submitted", 3),
                ("receiving_closed", 1),
                ("opening_started", 1),
                ("keys_accepted", 3),
                ("bid_unsealed", 3),
                ("window_closed", 1),
                ("records_published", 1),
                ("record_signed", 1),
            ] {
                assert_eq!(kinds[kind], times, "{kind} after a crash at append {skipped}");
            }
            assert!(!kinds.contains_key("bid_failed"), "a crash is nobody's failure");
            world.holds().await;
            let signed = world.house.record(&supervisor(), &world.project).await.unwrap();
            assert_eq!(record_digest(&signed.text), signed.digest);
            world.house.stop().await;
        }
    }
    assert!(crashed > 20, "crashed at {crashed} appends only");
}

#[actix::test]
async fn appends_refused_now_and_then_only_delay_an_opening() {
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    for fault in [ScriptedFault::Conflict, ScriptedFault::Busy] {
        let world = World::new().await;
        set_up(&world, &suppliers).await;
        let bids: Vec<Bid> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
        // Every sixth append is refused: each time a project's actor stops and a new one replays.
        for skipped in (1..60).step_by(6) {
            world.memory.fail_after(skipped, fault);
        }
        assert!(play(&world, &bids).await);
        world.holds().await;
        assert_eq!((world.kinds()["bid_submitted"], world.kinds()["bid_unsealed"]), (3, 3));
        assert!(world.house.metrics().text().contains(r#"kaibiao_actor_restarts_total{part="project"}"#));
        world.house.stop().await;
    }
}

#[actix::test]
async fn an_outage_is_given_back_and_only_unacknowledged_keys_are_asked_for_again() {
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    let world = World::new().await;
    set_up(&world, &suppliers).await;
    let bids: Vec<Bid> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    for bid in &bids {
        world.hand_in(bid).await;
    }
    world.until(world.deadline());
    let state = world.becomes("the order", |state| state.order().is_some()).await;
    let (order, closes_at) = (state.order().unwrap().text.clone(), state.window_closes_at().unwrap());
    let parts = state.parts_asked(&bids[0].id);
    world.house.release_keys(bids[0].release(&order, &parts, false)).await.unwrap();
    world.becomes("the first bid", |state| state.parts_asked(&bids[0].id).is_empty()).await;
    // Down over the window's end, and for an hour beyond it.
    let world = world.crash(0, 90 * 60_000).await;
    let state = world
        .becomes("an order of the new process", |state| state.order().is_some_and(|order| order.epoch == 2))
        .await;
    assert_eq!(state.status(), Some(ProjectStatus::AwaitingKeys));
    assert!(state.window_closes_at().unwrap().micros_since(closes_at) >= 90 * 60_000_000 - 5_000_000);
    assert!(state.parts_asked(&bids[0].id).is_empty(), "the acknowledged is not asked again");
    let order = state.order().unwrap().text.clone();
    for bid in &bids[1..] {
        world.house.release_keys(bid.release(&order, &parts, false)).await.unwrap();
    }
    world.becomes("the signed record", |state| state.record_signature().is_some()).await;
    assert_eq!(world.kinds()["bid_unsealed"], 3);
    world.house.stop().await;
}

#[actix::test]
async fn a_whole_opening_is_found_on_the_disk_by_the_next_process() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let open = || Arc::new(SqliteJournal::open(&folder.path().join("journal")).unwrap());
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    let world = World::on_journal(folder.clone(), open(), MORNING).await;
    set_up(&world, &suppliers).await;
    let bids: Vec<Bid> = suppliers.iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    assert!(play(&world, &bids).await);
    world.holds().await;
    let signed = world.house.record(&supervisor(), &world.project).await.unwrap();
    let now = world.clock.present();
    world.house.stop().await;
    drop(world);
    let world = World::on_journal(folder.clone(), open(), now.plus_ms(1_000)).await;
    world.holds().await;
    let again = world.house.record(&supervisor(), &world.project).await.unwrap();
    assert_eq!((again.text, again.digest, again.signature), (signed.text, signed.digest, signed.signature));
    world.house.stop().await;
}
