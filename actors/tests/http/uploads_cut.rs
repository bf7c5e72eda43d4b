//! Uploads cut at the worst moments: behind the last byte, and by a crash between the stamp and the answer.

use kaibiao_actors::journal::{Append, Stream};
use kaibiao_engine::keeper::{SideSpace, SideWrite};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use zeroize::Zeroizing;

use crate::{
    people::Holder,
    uploads::{Upload, bid, patch_head},
    world::{DEADLINE, PROJECT, World, in_time},
};

async fn put(world: &World, space: SideSpace, key: String, value: &Value) {
    let value = Zeroizing::new(serde_json::to_vec(value).unwrap());
    let put = SideWrite::Put { space, key, value };
    world.running.house().journal().append(Append::side_only(Stream::Platform, vec![put])).await.unwrap();
}

/// The row of an upload in the side table.
fn row(world: &World, upload: &Upload<'_>) -> Value {
    let row = world.running.house().journal().side(SideSpace::Upload, &upload.id).unwrap().unwrap();
    serde_json::from_slice(&row).unwrap()
}

#[actix_web::test]
async fn a_connection_cut_behind_the_last_byte_costs_nobody_the_stamp() {
    let world = World::new().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let upload = Upload::new(&world, &session, 1);
    let bytes = bid(&world);
    upload.create(bytes.len()).await;
    // In chunks: that the last byte was the last one, only the end would say.
    let head = patch_head(&upload, 0, bytes.len());
    let head = head.replace(&format!("Content-Length: {}", bytes.len()), "Transfer-Encoding: chunked");
    let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
    stream.write_all(format!("{head}{:x}\r\n", bytes.len()).as_bytes()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
    // The server has all but what lies in its buffer.
    in_time("the bytes", async { while upload.offset().await + 128 * 1024 < bytes.len() {} }).await;
    drop(stream);
    in_time("the end of the connection", async { while upload.offset().await < bytes.len() {} }).await;
    world.hands.pass_until(&world.clock, DEADLINE);
    let verdict: Value = upload.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
}

#[actix_web::test]
async fn a_judged_final_whose_note_a_crash_swallowed_gives_its_receipt_again() {
    let world = World::new().await;
    let bytes = bid(&world);
    let receipt = {
        let session = world.by_token(&Holder::new("mingde", 1)).await;
        let upload = Upload::new(&world, &session, 1);
        let verdict = upload.hand_in(&bytes).await;
        let mut kept = row(&world, &upload);
        kept["offset"] = json!(0);
        put(&world, SideSpace::Upload, upload.id.clone(), &kept).await;
        verdict["receipt"].clone()
    };
    let world = world.restart().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let upload = Upload::new(&world, &session, 1);
    assert_eq!(upload.offset().await, bytes.len());
    let again: Value = upload.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(again["receipt"], receipt);
}

#[actix_web::test]
async fn a_final_stamped_before_a_crash_takes_no_more_bytes_and_keeps_its_stamp() {
    let world = World::new().await;
    let bytes = bid(&world);
    let last = bytes.len() - 1;
    let stamp = DEADLINE.plus_ms(-1);
    {
        let session = world.by_token(&Holder::new("mingde", 1)).await;
        let upload = Upload::new(&world, &session, 1);
        upload.create(bytes.len()).await;
        upload.patch(0, &bytes[..last]).await;
        let kept = row(&world, &upload);
        let file = serde_json::from_value(kept["file"].clone()).unwrap();
        world.running.house().files().write_at(&file, last as u64, &bytes[last..]).unwrap();
        world.running.house().files().sync(&file).unwrap();
        let stamped = json!({
            "project": PROJECT, "upload": upload.id, "bid": kept["bid"], "supplier": kept["supplier"],
            "file": kept["file"], "size_bytes": bytes.len(), "received_at": stamp, "contact": kept["contact"],
            "contact_digest": "00".repeat(32),
        });
        let key = format!("{PROJECT}/{}/{}", kept["supplier"].as_str().unwrap(), upload.id);
        put(&world, SideSpace::StagedFinal, key, &stamped).await;
        world.hands.pass_until(&world.clock, DEADLINE.plus_ms(-1));
    }
    let world = world.restart().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let upload = Upload::new(&world, &session, 1);
    assert_eq!(upload.offset().await, bytes.len());
    let verdict: Value = upload.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    assert!(verdict["receipt"].as_str().unwrap().contains(&stamp.0.to_string()), "{verdict}");
}

#[actix_web::test]
async fn an_upload_whose_file_a_power_cut_took_before_its_first_sync_begins_anew() {
    let world = World::new().await;
    let bytes = bid(&world);
    {
        let session = world.by_token(&Holder::new("mingde", 1)).await;
        let upload = Upload::new(&world, &session, 1);
        upload.create(bytes.len()).await;
        // The note is durable; that there is a file, nobody has synced.
        let file = serde_json::from_value(row(&world, &upload)["file"].clone()).unwrap();
        world.running.house().files().delete(&file).unwrap();
    }
    let world = world.restart().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let upload = Upload::new(&world, &session, 1);
    assert_eq!(upload.offset().await, 0, "it is not taken for whole");
    let verdict: Value = upload.patch(0, &bytes).await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
}
