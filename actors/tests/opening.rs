//! Openings from end to end behind the house's door: real sealed bids, a journal, files, actors and the pool; only
//! sockets are missing, and the clock is turned by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "opening/crashes.rs"]
mod crashes;
#[path = "opening/faults.rs"]
mod faults;
#[path = "opening/on_the_way.rs"]
mod on_the_way;
#[path = "opening/race.rs"]
mod race;
#[path = "opening/receiving.rs"]
mod receiving;
#[path = "opening/rooms.rs"]
mod rooms;
#[path = "opening/suppliers.rs"]
mod suppliers;
#[path = "opening/unsealing.rs"]
mod unsealing;
#[path = "opening/world.rs"]
mod world;
