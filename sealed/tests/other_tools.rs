//! Signatures as a tool that is not ours sees them: `openssl cms -verify`.

use std::{fs, path::Path, process::Command};

use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::{
    practice::{PracticeCa, SoftKey, Span, Usage},
    purpose::Purpose,
    signature::{check_cms, sign_cms},
};

const SPAN: Span = Span { from: Moment(1_700_000_000_000_000), until: Moment(2_840_140_800_000_000) };

/// Whether openssl takes the signature `cms.der` over `text` in `folder`, by the root in it.
fn openssl_accepts(folder: &Path) -> bool {
    let path = |name: &str| folder.join(name);
    let done = Command::new("openssl")
        .args(["cms", "-verify", "-binary", "-cades", "-inform", "DER", "-purpose", "any"])
        // Within the certificates' validity, whatever the day is.
        .args(["-attime", "1800000000", "-CAfile"])
        .arg(path("root.pem"))
        .arg("-in")
        .arg(path("cms.der"))
        .arg("-content")
        .arg(path("text"))
        .arg("-out")
        .arg(path("out"))
        .output()
        .expect("openssl is there: scripts/setup --for-tests installs it");
    done.status.success()
}

#[test]
fn openssl_accepts_what_a_token_signed_and_nothing_else() {
    let ca = PracticeCa::new("Huixin", SPAN.from, SPAN.until).unwrap();
    let key = SoftKey::generate().unwrap();
    let certificate = ca.issue("CN=明德家具,O=Mingde,C=CN", &key.public_key(), 7, Usage::Sign, SPAN).unwrap();
    let text = b"{\"format\":\"a statement\"}";
    let cms = sign_cms::<()>(Purpose::SealStatement, text, &certificate, &mut |bytes| Ok(key.sign(bytes)));
    let cms = cms.unwrap();
    check_cms(Purpose::SealStatement, text, &cms).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let pem = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, ca.root()).unwrap();
    write("root.pem", pem.as_bytes());
    write("cms.der", &cms);
    // What the token signed begins with the purpose's line.
    write("text", &Purpose::SealStatement.message(text));
    assert!(openssl_accepts(folder.path()));
    for other in [text.to_vec(), Purpose::SignIn.message(text), Purpose::SealStatement.message(b"{}")] {
        write("text", &other);
        assert!(!openssl_accepts(folder.path()));
    }
}
