//! What a start reads from its own disk, should somebody have written there.

use kaibiao_actors::inlets;
use kaibiao_engine::stored::{decode_directory, decode_project, encode_directory, encode_project};
use serde::Deserialize;

use super::has_one_meaning;

/// A stored event, under the name that stands in it.
pub(crate) fn event(data: &[u8]) {
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    let Ok(Named { event: kind }) = serde_json::from_slice(data) else { return };
    if let Ok(event) = decode_project(&kind, 1, data) {
        has_one_meaning(data);
        let stored = encode_project(&event);
        assert_eq!(stored.kind, kind);
        assert_eq!(decode_project(&kind, stored.version, &stored.payload), Ok(event));
    }
    if let Ok(event) = decode_directory(&kind, 1, data) {
        has_one_meaning(data);
        let stored = encode_directory(&event);
        assert_eq!(stored.kind, kind);
        assert_eq!(decode_directory(&kind, stored.version, &stored.payload), Ok(event));
    }
    assert!(decode_project(&kind, 2, data).is_err() && decode_directory(&kind, 0, data).is_err());
}

/// The head file: what is believed has its check, in one spelling.
pub(crate) fn head(data: &[u8]) {
    let Some((head, last_at)) = inlets::head(data) else { return };
    let at = last_at.map_or("-".to_owned(), |at| at.0.to_string());
    let facts = format!("kaibiao-head 1 {} {} {at}", head.position, head.hash);
    let check = kaibiao_sealed::digest::sha256(facts.as_bytes()).to_string();
    let line = format!("{facts} {}\n", &check[..16]);
    let holds = |slot: usize| data.get(slot * 4_096..).is_some_and(|slot| slot.starts_with(line.as_bytes()));
    assert!(holds(0) || holds(1), "believed, but no slot says so");
}
