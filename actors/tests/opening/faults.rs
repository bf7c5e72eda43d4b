//! Outages around a deadline, a deadline that is moved, and a wall clock that jumps.

use std::sync::Arc;

use kaibiao_actors::journal::{Append, Journal as _, RawRecord, Stream};
use kaibiao_protocol::{
    command::ProjectCommand,
    deadline::MoveGround,
    moment::Moment,
    refusal::RefusalCode,
    view::{ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::{order::OpeningOrder, record::verify_record};

use crate::{
    suppliers::{Bid, Supplier},
    unsealing::{handed_in, order},
    world::{MORNING, World, agent, supervisor},
};

fn postponed(deadline: Moment) -> ProjectCommand {
    ProjectCommand::MoveDeadline {
        deadline,
        ground: MoveGround::PlatformFault,
        reason: "平台故障".to_owned(),
    }
}

/// Three bids of four suppliers are in; the platform is away from then on until ten minutes after the deadline.
async fn away_over_the_deadline() -> (World, Vec<Bid>) {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=4).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    let bids: Vec<Bid> = suppliers[..3].iter().map(|one| world.seal(one, 1, &[(1, "100.00")])).collect();
    for bid in &bids {
        world.hand_in(bid).await;
    }
    let world = world.crash(usize::MAX, 70 * 60_000).await;
    world.becomes("the outage", |state| !state.outages().is_empty()).await;
    (world, bids)
}

#[actix::test]
async fn after_an_outage_over_the_deadline_the_agent_may_move_it_and_bids_come_in_again() {
    let (world, mut bids) = away_over_the_deadline().await;
    assert_eq!(world.status().await, ProjectStatus::Receiving);
    let fourth = Supplier::new(4);
    let late = world.seal(&fourth, 1, &[(1, "400.00")]);
    let UploadVerdict::Refused { refusal, .. } = world.hand_in(&late).await else { panic!("it is late") };
    assert_eq!(refusal.code, RefusalCode::PastDeadline);
    let (old, new) = (world.deadline(), world.clock.present().plus_minutes(20));
    world.ask(agent(), postponed(new)).await.unwrap();
    let again = world.seal(&fourth, 2, &[(1, "400.00")]);
    assert!(matches!(world.hand_in(&again).await, UploadVerdict::Received { .. }));
    bids.push(again);
    world.until(new);
    let text = order(&world).await;
    let issued = OpeningOrder::parse(&text).unwrap();
    let moves: Vec<_> = issued.deadline_moves.iter().map(|one| (one.from, one.to, one.ground)).collect();
    assert_eq!((issued.deadline, moves), (new, vec![(old, new, MoveGround::PlatformFault)]));
    let state = world.state().await;
    for bid in &bids {
        let parts = state.parts_asked(&bid.id);
        world.house.release_keys(bid.release(&text, &parts, false)).await.unwrap();
    }
    world.becomes("the signed record", |state| state.record_signature().is_some()).await;
    let signed = world.house.record(&supervisor(), &world.project).await.unwrap();
    let key = world.house.keys().receipt.public();
    let facts = verify_record(&signed.text, &signed.signature.0, key).unwrap();
    assert_eq!(facts.head.deadline, new);
    world.holds().await;
    world.house.stop().await;
}

#[actix::test]
async fn where_nobody_moves_the_deadline_the_bids_are_counted_when_the_time_for_it_is_over() {
    let (world, _) = away_over_the_deadline().await;
    let held_until = world.state().await.counted_from().unwrap();
    assert!(held_until >= world.deadline().plus_minutes(39), "half an hour since the platform is back");
    world.until(Moment(held_until.0 - 1));
    assert_eq!(world.status().await, ProjectStatus::Receiving);
    world.until(held_until);
    world.becomes("the count", |state| state.lots().is_some()).await;
    let refused = world.ask(agent(), postponed(held_until.plus_minutes(60))).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::NotReceiving);
    world.house.stop().await;
}

#[actix::test]
async fn a_short_restart_long_before_the_deadline_is_no_outage() {
    let (world, _) = handed_in(3).await;
    let world = world.crash(usize::MAX, 30_000).await;
    world.until(world.deadline());
    world.becomes("the count", |state| state.lots().is_some()).await;
    assert!(!world.kinds().contains_key("outage_recorded"));
    world.house.stop().await;
}

#[actix::test]
async fn a_step_of_the_wall_clock_is_recorded_and_shown_to_the_staff_alone() {
    let (world, _) = handed_in(3).await;
    let (mut staff, mut room) =
        (world.watch(&agent(), false, 0).await, world.watch(&Supplier::new(1).asker(), false, 0).await);
    let before = world.clock.present();
    world.hands.set_wall(before.plus_ms(-3_600_000));
    let step = world.clock.poll_step().expect("an hour is a step");
    world.house.note_clock_step(step).await;
    let shown = staff.event("clock_stepped").await;
    assert_eq!(shown["step_ms"], -3_600_000);
    let state = world.state().await;
    assert_eq!(state.clock_steps().len(), 1);
    assert!(state.clock_steps()[0].at >= before, "no stamp follows the wall clock");
    world.until(world.deadline());
    room.event("receiving_closed").await;
    assert_eq!(room.had(), 2, "the room heard of the project and of the count, and of nothing between");
    world.house.stop().await;
}

#[actix::test]
async fn what_another_process_wrote_before_it_served_the_opening_does_not_shorten_an_outage() {
    let (world, _) = handed_in(3).await;
    world.until(world.deadline());
    order(&world).await;
    let closes_at = world.state().await.window_closes_at().unwrap();
    let served = world.clock.present();
    // A process starts ten minutes later, writes something elsewhere, and dies before it looks at the opening.
    let memory = world.memory.crash(usize::MAX);
    world.house.stop().await;
    let record = RawRecord {
        kind: "noted",
        version: 1,
        at: served.plus_minutes(10),
        command_id: None,
        payload: b"{}".to_vec(),
    };
    let written = memory.read(&Stream::Platform, 0, 512).unwrap();
    let append = Append {
        stream: Stream::Platform,
        expected_seq: written.last().map_or(0, |record| record.seq),
        records: vec![record],
        wake_at: None,
        side: Vec::new(),
    };
    memory.append(append).await.unwrap();
    let world = World::on(Arc::clone(&world.folder), memory, served.plus_minutes(15)).await;
    let state = world
        .becomes("an order of its own", |state| state.order().is_some_and(|order| order.epoch == 2))
        .await;
    let given_back = state.window_closes_at().unwrap().micros_since(closes_at);
    assert!(
        (15 * 60_000_000 - 3_000_000..=15 * 60_000_000 + 1_000_000).contains(&given_back),
        "{given_back}"
    );
    assert!(MORNING < closes_at);
    world.house.stop().await;
}
