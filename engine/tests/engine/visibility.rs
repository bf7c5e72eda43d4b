//! Who sees what: role by phase, event by event, and nothing that counts before the count.

use std::collections::BTreeMap;

use kaibiao_engine::{
    invariants::{kb_3, own_projection, room_projection},
    project::Project,
    visibility::{
        Audience, HouseFacts, RoomLog, Viewer, may_see, project_row, project_view, room_event, room_view,
    },
};
use kaibiao_protocol::{
    blob::Blob,
    event::ProjectEvent,
    role::Asker,
    view::{BidStatus, OwnEvent, RoomEvent},
};

use crate::{
    script::{COUNTED, RECEIVING, check, open_window, play, signed_record},
    world::{World, asker, bid, organisation, wire},
};

fn viewer(world: &World, who: &str) -> Viewer {
    may_see(&world.project, &asker(who)).expect("let in")
}

fn house() -> HouseFacts {
    HouseFacts {
        purchaser_name: "学校".to_owned(),
        organiser_name: "代理".to_owned(),
        opening_key: Blob(vec![1; 32]),
        receipt_key: Blob(vec![2; 32]),
    }
}

/// The names of the events an audience sees.
fn seen(world: &World, audience: Audience) -> String {
    let name = |event: &RoomEvent| match serde_json::to_value(event).unwrap()["event"].as_str() {
        Some(name) => name.to_owned(),
        None => panic!("an event has a name"),
    };
    room_projection(audience, &world.history).iter().map(name).collect::<Vec<_>>().join(" ")
}

fn own(world: &World, who: &str) -> Vec<OwnEvent> {
    own_projection(&organisation(who), &world.history)
}

#[test]
fn who_is_let_in_is_the_same_in_every_phase() {
    let invited = |text: &str| check(&text.replacen("create", "create invited=A,B,C,D,H", 1));
    for world in [invited(RECEIVING), invited(&[RECEIVING, COUNTED].concat())] {
        let mut table = BTreeMap::new();
        for who in [
            "agent",
            "other-agent",
            "purchaser",
            "other-purchaser",
            "supervisor",
            "expert",
            "administrator",
            "A",
            "H",
            "Z",
            "console",
            "intake",
            "timer",
            "opening",
        ] {
            let seen_as = match may_see(&world.project, &asker(who)) {
                None => "shut out".to_owned(),
                Some(Viewer { audience, supplier }) => {
                    let own = supplier.map(|supplier| format!(", own stream of {supplier}"));
                    format!("{audience:?}{}", own.unwrap_or_default())
                }
            };
            table.insert(who, seen_as);
        }
        insta::allow_duplicates! {
            insta::assert_debug_snapshot!(table, @r#"
            {
                "A": "Room, own stream of A",
                "H": "Room, own stream of H",
                "Z": "shut out",
                "administrator": "shut out",
                "agent": "Staff",
                "console": "Staff",
                "expert": "shut out",
                "intake": "shut out",
                "opening": "shut out",
                "other-agent": "shut out",
                "other-purchaser": "shut out",
                "purchaser": "Room",
                "supervisor": "Staff",
                "timer": "shut out",
            }
            "#);
        }
    }
    assert_eq!(may_see(&Project::default(), &asker("supervisor")), None);
}

#[test]
fn a_room_of_three_and_a_room_of_thirty_look_alike_before_the_count() {
    let few = check(
        "-1d  agent   create               -> project_created
         -3h  intake  submit a1            -> bid_submitted
         -2h  intake  submit b1            -> bid_submitted
         -1h  intake  submit c1            -> bid_submitted",
    );
    let mut many = check("-1d agent create -> project_created");
    for name in 'A'..='Z' {
        let (low, name) = (name.to_ascii_lowercase(), name);
        many = play(
            many,
            &format!(
                "-5h  {name}  check-in               -> checked_in
                 -4h  intake  submit {low}1          -> bid_submitted
                 -3h  intake  submit {low}2          -> bid_submitted
                 -2h  intake  refuse {low}3 too_large -> upload_refused
                 -1h  {name}  withdraw {low}2        -> bid_withdrawn"
            ),
        );
    }
    // Everybody but the suppliers themselves, and a supplier without a bid of its own.
    for who in ["agent", "supervisor", "purchaser", "console"] {
        for audience in Audience::ALL {
            assert_eq!(
                room_projection(audience, &few.history),
                room_projection(audience, &many.history),
                "{audience:?}"
            );
        }
        let (one, other) = (viewer(&few, who), viewer(&many, who));
        assert_eq!(one, other);
        assert_eq!(room_view(&few.project, &one, 1), room_view(&many.project, &other, 1));
        assert_eq!(project_view(&few.project, &one, house()), project_view(&many.project, &other, house()));
        assert_eq!(project_row(&few.project, &one), project_row(&many.project, &other));
    }
    // At the deadline, and until the count, it stays so.
    let few_late = play(few, "+0 intake refuse e1 past_deadline -> upload_refused");
    let view = room_view(&few_late.project, &viewer(&few_late, "agent"), 1).unwrap();
    assert!(view.bidders.is_empty() && view.lots.is_empty() && view.checked_in.is_empty());
}

#[test]
fn before_the_count_a_supplier_sees_its_own_bid_and_no_other() {
    let world = check(RECEIVING);
    let view = project_view(&world.project, &viewer(&world, "A"), house()).unwrap();
    let own_bid = view.own_bid.unwrap();
    assert_eq!((own_bid.bid, own_bid.status, own_bid.parts_asked.len()), (bid("a1"), None, 0));
    assert_eq!(project_row(&world.project, &viewer(&world, "A")).unwrap().own_bid, Some(bid("a1")));
    assert_eq!(project_view(&world.project, &viewer(&world, "H"), house()).unwrap().own_bid, None);
    assert_eq!(own(&world, "H"), []);
    assert!(
        matches!(own(&world, "A").as_slice(), [OwnEvent::BidReceived { bid: id, .. }] if *id == bid("a1"))
    );
}

#[test]
fn at_the_count_everybody_learns_at_once_who_bids_and_who_is_in_the_room() {
    let world = check(
        "-1d  agent   create               -> project_created
         -4h  B       check-in             -> checked_in
         -4h  agent   check-in             -> checked_in
         -4h  intake  submit b1            -> bid_submitted
         -3h  intake  submit a1            -> bid_submitted
         -2h  intake  submit c1 lots=2     -> bid_submitted
         +0   intake  count                -> receiving_closed
         +1m  A       check-in             -> checked_in",
    );
    for audience in Audience::ALL {
        assert_eq!(
            seen(&world, audience),
            "project_published receiving_closed checked_in checked_in checked_in"
        );
    }
    let events = room_projection(Audience::Room, &world.history);
    let RoomEvent::ReceivingClosed { lots, bidders } = &events[1] else { panic!("the count is shown") };
    assert_eq!(
        lots.values().map(|count| (count.bids, count.opens)).collect::<Vec<_>>(),
        [(2, false), (3, true)]
    );
    let bidders: Vec<_> = bidders.iter().map(|bidder| (bidder.supplier.as_str(), bidder.status)).collect();
    assert_eq!(
        bidders,
        [
            ("B公司", BidStatus::AwaitingKeys),
            ("A公司", BidStatus::AwaitingKeys),
            ("C公司", BidStatus::AwaitingKeys)
        ]
    );
    let RoomEvent::CheckedIn { organisation } = &events[4] else { panic!("A is shown") };
    assert_eq!(organisation.as_str(), "A");
}

#[test]
fn evidence_is_for_the_organiser_and_the_supervisor_only() {
    let world = play(open_window(), "+1m A fail a1 wrong_token text=锁_序列号_4711 -> bid_failed");
    let staff = serde_json::to_string(&room_projection(Audience::Staff, &world.history)).unwrap();
    let room = serde_json::to_string(&room_projection(Audience::Room, &world.history)).unwrap();
    assert!(staff.contains("4711") && !room.contains("4711"));
    assert!(room.contains("wrong_token"), "that it failed, and how, everybody sees");
    // The two differ in nothing else.
    let without = |events: Vec<RoomEvent>| -> Vec<RoomEvent> {
        events
            .into_iter()
            .map(|event| match event {
                RoomEvent::BidChanged { bid, status, .. } => {
                    RoomEvent::BidChanged { bid, status, evidence: None }
                }
                other => other,
            })
            .collect()
    };
    assert_eq!(
        without(room_projection(Audience::Staff, &world.history)),
        room_projection(Audience::Room, &world.history)
    );
}

#[test]
fn who_is_invited_is_for_the_organiser_and_the_supervisor_only() {
    let world = check("-1d agent create invited=A,B,C -> project_created");
    for (who, shown) in [("agent", true), ("supervisor", true), ("purchaser", false), ("A", false)] {
        let viewer = viewer(&world, who);
        let view = project_view(&world.project, &viewer, house()).unwrap();
        assert_eq!(view.spec.invited.is_some(), shown, "{who}");
        let events = room_projection(viewer.audience, &world.history);
        let RoomEvent::ProjectPublished { spec } = &events[0] else { panic!("the first event") };
        assert_eq!(spec.invited.is_some(), shown, "{who}");
    }
}

#[test]
fn a_whole_opening_as_the_room_sees_it() {
    let world = play(
        signed_record(),
        "+12m agent   read 1 1             -> row_read_out
         +12m A       object               -> objection_raised
         +12m agent   answer 1             -> objection_answered
         +20m A       confirm record       -> record_confirmed
         +1h11m timer deem                 -> confirmations_deemed
         +1h12m agent end                  -> opening_ended",
    );
    insta::assert_snapshot!(seen(&world, Audience::Room).replace(' ', "\n"), @r"
    project_published
    receiving_closed
    opening_started
    order_issued
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    bid_changed
    window_closed
    bid_changed
    records_published
    record_signed
    row_read_out
    objection_raised
    objection_answered
    record_confirmed
    confirmations_deemed
    opening_ended
    ");
    assert_eq!(seen(&world, Audience::Room), seen(&world, Audience::Staff));
}

#[test]
fn a_supplier_gets_its_own_stream_and_nobody_elses() {
    let world = play(signed_record(), "+20m intake  refuse b9 past_deadline -> upload_refused");
    let names = |who: &str| {
        let events = own(&world, who);
        let names = events.iter().map(|event| wire(&serde_json::to_value(event).unwrap()["event"]));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("A"), "bid_received keys_asked keys_kept");
    assert_eq!(
        names("B"),
        "bid_received keys_asked unsealing_failed backup_admitted keys_kept upload_refused"
    );
    assert_eq!(names("C"), "bid_received keys_asked unsealing_failed");
    assert_eq!(names("H"), "");
    let OwnEvent::KeysAsked { parts, .. } = &own(&world, "D")[1] else { panic!("asked") };
    assert_eq!(parts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["common", "lot-002"]);
}

#[test]
fn after_a_restart_only_keys_that_were_not_acknowledged_are_asked_for_again() {
    let world = play(
        open_window(),
        "+1m  opening keys a1                  -> keys_accepted
         +1m  B       fail b1 wrong_token      -> bid_failed
         +1m  opening fail c1 damaged_upload   -> bid_failed
         +2m  opening order 2 down=+1m30s      -> order_issued",
    );
    let asked =
        |who| own(&world, who).iter().filter(|event| matches!(event, OwnEvent::KeysAsked { .. })).count();
    assert_eq!([asked("A"), asked("B"), asked("C"), asked("D")], [1, 2, 1, 2]);
}

#[test]
fn restored_bytes_without_keys_ask_for_them() {
    let world = play(
        open_window(),
        "+1m  opening fail a1 damaged_store    -> bid_failed
         +1m  agent   admit a1                 -> backup_admitted
         +2m  intake  restore a1               -> bid_restored",
    );
    assert!(matches!(own(&world, "A").last(), Some(OwnEvent::KeysAsked { .. })));
}

#[test]
fn no_price_is_in_any_frame_before_the_records_are_published() {
    let world = signed_record();
    for audience in Audience::ALL {
        let events = room_projection(audience, &world.history);
        let published = |event: &RoomEvent| matches!(event, RoomEvent::RecordsPublished { .. });
        let barrier = events.iter().position(published).unwrap();
        let texts: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let before = texts[..barrier].iter().map(String::as_str);
        kaibiao_engine::invariants::kb_6_texts(before, &["88888.88", "95.50"]).unwrap();
        // The predicate can fail: the barrier's own event has the prices.
        let with_barrier = texts[..=barrier].iter().map(String::as_str);
        assert!(kaibiao_engine::invariants::kb_6_texts(with_barrier, &["88888.88"]).is_err());
    }
}

#[test]
fn the_log_gives_the_same_whether_events_come_one_by_one_or_by_replay() {
    let world = signed_record();
    let mut log = RoomLog::new();
    let mut sent = Vec::new();
    for (at, event) in &world.history {
        let projected = log.push(event, *at);
        assert_eq!(projected.room, room_event(Audience::Room, log.project(), event, *at));
        sent.extend(projected.room);
        kb_3(&sent, &room_projection(Audience::Room, &world.history)).unwrap();
    }
    assert_eq!(log.project(), &world.project);
    sent.pop();
    sent.push(RoomEvent::OpeningEnded);
    assert!(kb_3(&sent, &room_projection(Audience::Room, &world.history)).is_err());
}

#[test]
fn the_room_view_is_what_the_events_add_up_to() {
    let world = play(
        signed_record(),
        "+12m agent   check-in             -> checked_in
         +12m agent   read 2 4             -> row_read_out
         +12m A       object lot=1         -> objection_raised
         +13m agent   answer 1             -> objection_answered
         +20m A       confirm record       -> record_confirmed",
    );
    let view = room_view(&world.project, &viewer(&world, "B"), 7).unwrap();
    assert_eq!(view.seq, 7);
    assert_eq!(wire(&view.status), "published");
    assert_eq!(view.bidders.len(), 4);
    assert_eq!(view.checked_in, [organisation("agency")]);
    assert_eq!(view.order.unwrap().epoch, 1);
    assert_eq!(view.read_out.len(), 1);
    assert_eq!(view.objections[0].answer.as_deref(), Some("因故"));
    assert_eq!(view.confirmed, [organisation("A")]);
    assert!(view.record.is_some() && view.record_digest.is_some());
    let statuses: Vec<BidStatus> = view.bidders.into_iter().map(|bidder| bidder.status).collect();
    assert_eq!(statuses[0], BidStatus::Unsealed);
    assert!(matches!(statuses[2], BidStatus::Settled { .. }));
}

#[test]
fn what_a_platforms_part_does_names_no_organisation() {
    let world = open_window();
    let started = world.history.iter().find_map(|(_, event)| match event {
        ProjectEvent::OpeningStarted { by, .. } => Some(by.clone()),
        _ => None,
    });
    assert!(matches!(started, Some(Asker::Platform { .. })));
    let events = room_projection(Audience::Room, &world.history);
    assert!(events.contains(&RoomEvent::OpeningStarted { by: None }));
}
