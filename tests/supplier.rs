//! The suppliers' commands against a real server: everything that `docs/bidding.md` tells them to do, and what they do
//! wrong.
//!
//! The server runs on a clock that the test turns; its deadline is the moment the test began, so that it has come by
//! the clients' own clock as well. Commands run in this process, each on a thread of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "supplier/hall.rs"]
mod hall;

use std::{fs, os::unix::fs::PermissionsExt as _};

use kaibiao_protocol::bid::FailureCause;
use serde_json::json;

use crate::hall::Hall;

#[actix_web::test]
async fn a_whole_opening_is_had_by_the_commands_alone() {
    let hall = Hall::open(&["mingde", "jiangnan", "yuanfang"]).await;

    // One supplier signs in once, and later commands go on with the session.
    let signed_in = hall.run("mingde", "sign-in --pkcs12 mingde.p12 --pin-file mingde.pin").await.ok();
    assert_eq!((&signed_in["organisation"], &signed_in["role"]), (&json!("mingde"), &json!("supplier")));
    assert_eq!(hall.run("mingde", "projects").await.ok()["total"], 1);
    hall.run("mingde", "project --project KX-1 -o project.json").await.ok();
    hall.pack("mingde").await;
    hall.run("mingde", "seal mingde.bfbs --pkcs12 mingde.p12 --pin-file mingde.pin -o mingde.jmbs")
        .await
        .ok();
    let first = hall.run("mingde", "submit mingde.jmbs --project KX-1 --contact contact.json").await.ok();
    let receipt = hall.read("mingde.jmbs.receipt");
    let verified = "verify-receipt mingde.jmbs.receipt --bid mingde.jmbs --platform-key project.json";
    assert_eq!(hall.run("mingde", verified).await.ok()["against_bid"], true);

    // The same again is the same bid and the same receipt, to the byte.
    let again = hall.run("mingde", "submit mingde.jmbs --project KX-1 --contact contact.json").await.ok();
    assert_eq!((&again["bid"], hall.read("mingde.jmbs.receipt")), (&first["bid"], receipt.clone()));
    hall.run("mingde", "receipt --project KX-1 -o again.receipt").await.ok();
    assert_eq!(hall.read("again.receipt"), receipt);

    // Another works with account and password, and hands in what is not his.
    let account = "--account jiangnan-clerk --password-file password";
    let foreign = format!("submit mingde.jmbs --project KX-1 --contact contact.json {account}");
    assert_eq!(hall.run("jiangnan", &foreign).await.refused(), ["other_supplier"]);
    hall.pack("jiangnan").await;
    let seal = "seal jiangnan.bfbs --project-file project.json --pkcs12 jiangnan.p12 --pin-file jiangnan.pin";
    hall.run("jiangnan", &format!("{seal} -o jiangnan.jmbs")).await.ok();
    let submit = format!("submit jiangnan.jmbs --project KX-1 --contact contact.json {account}");
    let before = hall.run("jiangnan", &submit).await.ok()["bid"].clone();
    let withdraw = format!("withdraw --project KX-1 --reason 报价有误 {account}");
    assert_eq!(hall.run("jiangnan", &withdraw).await.ok()["bid"], before);
    assert_eq!(hall.run("jiangnan", &withdraw).await.refused(), ["no_bid"]);
    let after = hall.run("jiangnan", &submit).await.ok()["bid"].clone();
    assert_ne!(
        after, before,
        "a bid that was withdrawn is handed in anew, not answered with its old receipt"
    );

    hall.hand_in("yuanfang").await;

    // One bid is damaged in the store, one supplier comes with another's token, one has nothing but the token.
    hall.damage_stored("mingde.jmbs");
    let mut unsealing = [
        ("mingde", "--bid mingde.jmbs --backup mingde.bfbs --pkcs12 mingde.p12 --pin-file mingde.pin"),
        ("yuanfang", "--bid yuanfang.jmbs --backup yuanfang.bfbs --account yuanfang-clerk --password-file password --pkcs12 mingde.p12 --pin-file mingde.pin"),
        ("jiangnan", "--pkcs12 jiangnan.p12 --pin-file jiangnan.pin"),
    ]
    .map(|(who, rest)| hall.begin(who, &format!("unseal --project KX-1 {rest}")));
    hall.pass_to_the_deadline();
    let causes = tokio::select! {
        causes = hall.admit_backups(2) => causes,
        said = &mut unsealing[0] => panic!("{:?}", said.unwrap().last()),
    };
    assert_eq!(causes["mingde"], FailureCause::DamagedStore);
    assert_eq!(causes["yuanfang"], FailureCause::WrongToken);
    for (running, what) in unsealing.into_iter().zip(["restored", "token_failed", "order_holds"]) {
        let said = hall::in_time("unsealing", running).await.unwrap();
        assert!(said.events().contains(&what.to_owned()), "{:?}", said.events());
        let ending = said.ok();
        assert_eq!((&ending["ending"], &ending["published"]), (&json!("unsealed"), &json!(true)));
    }

    let published =
        hall.run("jiangnan", &format!("record --project KX-1 -o record.json {account}")).await.ok();
    let rows = published["record"]["lots"][0]["record"]["rows"].as_array().unwrap();
    let by_backup: Vec<_> = rows.iter().map(|row| row["outcome"]["by_backup"].as_bool().unwrap()).collect();
    assert_eq!(by_backup, [false, false, true], "a restored bid is opened as it was handed in");
    let other = "confirm --project KX-1 --pkcs12 mingde.p12 --pin-file mingde.pin --record";
    let zeros = "0".repeat(64);
    assert_eq!(hall.run("mingde", &format!("{other} {zeros}")).await.refused(), ["other_record"]);
    let digest = published["digest"].as_str().unwrap();
    assert_eq!(hall.run("mingde", &format!("{other} {digest}")).await.ok()["record"], digest);
    assert_eq!(hall.run("mingde", &format!("{other} {digest}")).await.refused(), ["already_confirmed"]);
    hall.run("jiangnan", &format!("object --project KX-1 --lot 1 --text 有疑问 {account}")).await.ok();
    hall.run("jiangnan", &format!("recuse --project KX-1 --text 请主持人回避 {account}")).await.ok();
    assert_eq!(hall.run("jiangnan", &withdraw).await.refused(), ["withdraw_too_late"]);
    let seen = hall.run("jiangnan", &format!("watch --project KX-1 --until published {account}")).await;
    assert_eq!(seen.ok()["status"], "published");
    hall.close().await;
}

#[actix_web::test]
async fn a_replacement_after_the_deadline_gets_a_signed_refusal_and_the_earlier_bid_stands() {
    let suppliers = ["mingde", "jiangnan", "yuanfang"];
    let hall = Hall::open_with(&suppliers, "on_agent_start").await;
    let session = "--pkcs12 mingde.p12 --pin-file mingde.pin";
    hall.run("mingde", &format!("project --project KX-1 -o project.json {session}")).await.ok();
    for who in suppliers {
        hall.hand_in(who).await;
    }
    let standing = hall.run("mingde", &format!("project --project KX-1 {session}")).await.ok();
    fs::copy(hall.file("mingde.bfbs"), hall.file("late.bfbs")).unwrap();
    let seal = format!("seal late.bfbs --anew --project-file project.json {session} -o late.jmbs");
    hall.run("mingde", &seal).await.ok();
    hall.pass_to_the_deadline();
    let submit = format!("submit late.jmbs --project KX-1 --contact contact.json {session}");
    assert_eq!(hall.run("mingde", &submit).await.refused(), ["past_deadline"]);
    let verify = "verify-receipt late.jmbs.refusal --platform-key project.json";
    let notice = hall.run("mingde", verify).await.ok();
    assert_eq!(
        (&notice["is"], &notice["facts"]["code"]),
        (&json!("refusal_notice"), &json!("past_deadline"))
    );
    let after = hall.run("mingde", &format!("project --project KX-1 {session}")).await.ok();
    assert_eq!(after["own_bid"]["bid"], standing["own_bid"]["bid"]);
    hall.close().await;
}

#[actix_web::test]
async fn whoever_cannot_sign_in_is_told_why_and_a_session_is_its_owners_alone() {
    let hall = Hall::open(&["mingde", "jiangnan"]).await;
    let wrong = "sign-in --account mingde-clerk --password-file mingde.pin";
    assert_eq!(hall.run("mingde", wrong).await.refused(), ["sign_in_failed"]);
    hall.unbind("mingde").await;
    let by_token = "sign-in --pkcs12 mingde.p12 --pin-file mingde.pin";
    assert_eq!(hall.run("mingde", by_token).await.refused(), ["certificate_unbound"]);

    let kept = hall.run("jiangnan", "sign-in --pkcs12 jiangnan.p12 --pin-file jiangnan.pin").await.ok();
    let file = kept["kept_in"].as_str().unwrap();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    hall.run("jiangnan", "projects").await.ok();
    hall.run("jiangnan", "sign-out").await.ok();
    assert_eq!(hall.run("jiangnan", "projects").await.refused(), ["not_signed_in"]);

    // A form with faults is refused before a byte is sent, and every fault is named.
    hall.run("jiangnan", "sign-in --account jiangnan-clerk --password-file password").await.ok();
    hall.run("jiangnan", "project --project KX-1 -o project.json").await.ok();
    hall.pack("jiangnan").await;
    let seal = "seal jiangnan.bfbs --project-file project.json --pkcs12 jiangnan.p12 --pin-file jiangnan.pin";
    hall.run("jiangnan", &format!("{seal} -o jiangnan.jmbs")).await.ok();
    let submit = "submit jiangnan.jmbs --project KX-1 --contact wrong-contact.json";
    let said = hall.run("jiangnan", submit).await;
    assert_eq!(said.refused(), ["form_invalid"]);
    let words = said.last()["refused"][0]["say"]["zh"].as_str().unwrap().to_owned();
    assert!(words.contains("手机号") && words.contains("邮编"), "{words}");
    hall.close().await;
}
