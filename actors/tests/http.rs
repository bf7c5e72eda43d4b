//! The web server as clients meet it: a real server on a free port, real sockets, a clock turned by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "http/crowds.rs"]
mod crowds;
#[path = "http/doors.rs"]
mod doors;
#[path = "http/flood.rs"]
mod flood;
#[path = "http/hostile.rs"]
mod hostile;
#[path = "http/hygiene.rs"]
mod hygiene;
#[path = "http/people.rs"]
mod people;
#[path = "http/roles.rs"]
mod roles;
#[path = "http/secure.rs"]
mod secure;
#[path = "http/sessions.rs"]
mod sessions;
#[path = "http/signatures.rs"]
mod signatures;
#[path = "http/sockets.rs"]
mod sockets;
#[path = "http/uploads.rs"]
mod uploads;
#[path = "http/uploads_cut.rs"]
mod uploads_cut;
#[path = "http/uploads_refused.rs"]
mod uploads_refused;
#[path = "http/wire.rs"]
mod wire;
#[path = "http/world.rs"]
mod world;
