//! A disk that is really full: a small file system in memory, filled to its last byte.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use kaibiao_bidder::practice::server::{ServerProcess, administer};
use serde_json::json;

/// Appends after which the room made in the journal's log beforehand is used up, generously.
const APPENDS_MAX: u32 = 5_000;

/// A file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this account may mount nothing: then a full disk is had by injected errors alone
    /// (`enospc` in this binary, and `actors/tests/storage/crash.rs`).
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(at).output().ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left over goes with the machine's next start at the latest.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for bytes in [1 << 20, 4_096, 1] {
        while file.write_all(&vec![b'x'; bytes]).is_ok() {}
    }
}

#[actix_web::test]
async fn a_full_disk_refuses_what_is_new_lets_itself_be_read_and_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&disk) else { return };
    let data = disk.join("data");
    let program: PathBuf = env!("CARGO_BIN_EXE_kaibiao").into();
    let log = folder.path().join("log");
    let server = ServerProcess::start(&program, &data, &log).await.unwrap();
    let add = async |no: u32| {
        let id = format!("org-{no}");
        let add = json!({ "do": "add_organisation", "id": id, "name": format!("某{no}有限公司"), "kind": "supplier" });
        administer(&data, &json!({ "directory": add })).await
    };
    add(0).await.unwrap();
    let filler = disk.join("filler");
    fill(&filler);
    let mut known = 1;
    let refused = loop {
        match add(known).await {
            Ok(_) => known += 1,
            Err(refused) => break refused.to_string(),
        }
        assert!(known < APPENDS_MAX, "the disk is full, and {known} appends were taken");
    };
    // The directory's keeper takes nothing for granted after that, and says to try again.
    assert!(refused.contains("busy") || refused.contains("no_room"), "{refused}");
    administer(&data, &json!({ "status": {} })).await.expect("it lets itself be read");
    fs::remove_file(&filler).unwrap();
    add(known).await.expect("there is room again");
    let told = fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("the disk has no room for the journal")
            && !told.contains("writing to the journal has ended")
    );
    server.stop().await.unwrap();

    let server = ServerProcess::start(&program, &data, &log).await.unwrap();
    let listed = administer(&data, &json!({ "list_organisations": {} })).await.unwrap().to_string();
    for no in 0..=known {
        assert!(listed.contains(&format!("\"org-{no}\"")), "org-{no} was acknowledged");
    }
    assert!(!listed.contains(&format!("\"org-{}\"", known + 1)));
    server.stop().await.unwrap();
}
