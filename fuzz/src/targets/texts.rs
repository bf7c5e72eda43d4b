//! Texts that the platform signs, as a client or a verifier reads them.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::{
    order::{OpeningOrder, OrderExpected},
    platform_key::PlatformKey,
    purpose::Purpose,
    receipt::{make_receipt, verify_receipt},
    record::verify_record,
    refusal_notice::{make_refusal_notice, verify_refusal_notice},
    statements::Challenge,
};

use super::has_one_spelling;

static KEY: LazyLock<PlatformKey> =
    LazyLock::new(|| PlatformKey::generate().expect("the machine has random bytes"));

/// A text, its kind by its first byte: signed here, so that what lies behind the signature is reached, and as it is.
pub(crate) fn signed_text(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind {
        b'c' => challenge(text),
        b'o' => order(text),
        b'n' => notice(text),
        b'p' => record(text),
        b'r' => receipt(text),
        _ => {
            // Whole files, which no key of ours has signed.
            assert!(verify_receipt(text, KEY.public()).is_err());
            assert!(verify_refusal_notice(text, KEY.public()).is_err());
            assert!(verify_record(text, &[0; 64], KEY.public()).is_err());
        }
    }
}

/// A signed file of two lines, written without the house's writer.
fn file(purpose: Purpose, text: &str) -> String {
    let signature = STANDARD.encode(KEY.sign(purpose, text.as_bytes()));
    format!("{text}\n{{\"key\":\"{}\",\"signature\":\"{signature}\"}}\n", KEY.id())
}

fn receipt(text: &str) {
    let file = file(Purpose::Receipt, text);
    if let Ok(facts) = verify_receipt(&file, KEY.public()) {
        has_one_spelling(text.as_bytes());
        assert_eq!(facts.text(), text);
        assert_eq!(make_receipt(&facts, &KEY), file);
    }
    assert!(verify_refusal_notice(&file, KEY.public()).is_err(), "a receipt is no notice");
}

fn notice(text: &str) {
    let file = file(Purpose::RefusalNotice, text);
    if let Ok(facts) = verify_refusal_notice(&file, KEY.public()) {
        has_one_spelling(text.as_bytes());
        assert_eq!(facts.text(), text);
        assert_eq!(make_refusal_notice(&facts, &KEY), file);
    }
    assert!(verify_receipt(&file, KEY.public()).is_err(), "a notice is no receipt");
}

fn record(text: &str) {
    let signature = KEY.sign(Purpose::OpeningRecord, text.as_bytes());
    if let Ok(facts) = verify_record(text, &signature, KEY.public()) {
        has_one_spelling(text.as_bytes());
        assert_eq!(facts.text(), text);
    }
}

fn order(text: &str) {
    let signature = KEY.sign(Purpose::OpeningOrder, text.as_bytes());
    let Ok(order) = OpeningOrder::parse(text) else { return };
    has_one_spelling(text.as_bytes());
    assert_eq!(order.text(), text);
    let expected = |now: Moment| OrderExpected {
        project: &order.project,
        opening_key: &order.opening_key,
        deadline: Some(order.deadline),
        epoch_seen: order.epoch,
        now,
    };
    let verified = OpeningOrder::verify(text, &signature, KEY.public(), &expected(order.deadline));
    assert_eq!(verified.is_ok(), order.opening_key == KEY.id());
    let early = Moment(order.deadline.0.saturating_sub(1));
    assert!(
        early == order.deadline
            || OpeningOrder::verify(text, &signature, KEY.public(), &expected(early)).is_err()
    );
}

fn challenge(text: &str) {
    if let Ok(challenge) = Challenge::parse(text) {
        has_one_spelling(text.as_bytes());
        assert_eq!(challenge.text(), text);
    }
}
