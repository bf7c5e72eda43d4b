//! What people sign in a room: checked against the text that the server itself makes, and the asking account.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::{digest::Digest, ids::ProjectId};
use kaibiao_sealed::{
    purpose::Purpose,
    statements::{confirm_statement, start_statement},
};
use serde_json::{Value, json};

use crate::{
    people::Holder,
    wire::Wire,
    world::{DEADLINE, MORNING, PROJECT, World, spec},
};

#[actix_web::test]
async fn a_confirmation_is_signed_over_its_record_by_the_asking_account() {
    let world = World::new().await;
    let (wang, li) = (Holder::new("mingde", 1), Holder::new("tiangu", 2));
    let mut wire = Wire::open(&world, &world.by_token(&wang).await).await;
    let (record, other) = (Digest([1; 32]), Digest([2; 32]));
    let project: ProjectId = PROJECT.parse().unwrap();
    let text = |supplier: &str, record| confirm_statement(&project, &supplier.parse().unwrap(), record);
    let ask = |signature: Vec<u8>| -> Value {
        json!({ "do": "confirm_record", "project": PROJECT, "record": record, "signature": STANDARD.encode(signature) })
    };
    for (signature, code) in [
        (wang.sign(Purpose::ConfirmRecord, &text("mingde", &record)), "not_published"),
        (wang.sign(Purpose::ConfirmRecord, &text("mingde", &other)), "signature_invalid"),
        (wang.sign(Purpose::ConfirmRecord, &text("tiangu", &record)), "signature_invalid"),
        (wang.sign(Purpose::SignIn, &text("mingde", &record)), "signature_invalid"),
        (li.sign(Purpose::ConfirmRecord, &text("mingde", &record)), "certificate_unbound"),
    ] {
        assert_eq!(wire.code(ask(signature)).await, code);
    }
}

#[actix_web::test]
async fn an_agent_starts_by_a_signature_over_this_opening() {
    let world = World::new().await;
    let mut one = spec("KX-2");
    one["start"] = json!("on_agent_start");
    world.order(json!({ "create_project": { "spec": one } })).await;
    let holder = Holder::new("agency", 21);
    world.bind("agent", &holder).await;
    let project: ProjectId = "KX-2".parse().unwrap();
    let ask = |signature: Vec<u8>| -> Value {
        json!({ "do": "start_opening", "project": "KX-2", "signature": STANDARD.encode(signature) })
    };
    let mut wire = Wire::open(&world, &world.by_token(&holder).await).await;
    let good = holder.sign(Purpose::StartOpening, &start_statement(&project, DEADLINE));
    let of_another =
        holder.sign(Purpose::StartOpening, &start_statement(&PROJECT.parse().unwrap(), DEADLINE));
    let of_another_hour = holder.sign(Purpose::StartOpening, &start_statement(&project, MORNING));
    assert_eq!(wire.code(ask(of_another)).await, "signature_invalid");
    assert_eq!(wire.code(ask(of_another_hour)).await, "signature_invalid");
    assert_eq!(wire.code(ask(good)).await, "before_deadline");
}
