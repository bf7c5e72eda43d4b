//! Processes that are shut: no core, and closed to the very user they run as.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::hall::program;

/// A user without rights.
const NOBODY: u32 = 65_534;
/// `O_NONBLOCK` and `ENXIO` of Linux.
const NONBLOCK: i32 = 0o4000;
const NO_READER: i32 = 6;

/// A folder for a user without rights, and our programs in it.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of a user who is not root: as whom this test runs, or nobody.
    pub(crate) fn command(&self, name: &Path) -> Command {
        let own = self.file(name.file_name().unwrap().to_str().unwrap());
        fs::copy(name, &own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(own);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// `kaibiao-bid` while it waits for a PIN that nobody gives: at the other end of a pipe that it has opened.
    pub(crate) fn waiting_client(&self) -> (Killed, File) {
        let pipe = self.file("pin");
        assert!(Command::new("mkfifo").args(["-m", "666"]).arg(&pipe).status().unwrap().success());
        let mut command = self.command(&program("kaibiao-bid"));
        fs::write(self.file("a.p12"), "").unwrap();
        let words = "unseal --project KX-1 --server http://127.0.0.1:1 --pkcs12 a.p12 --pin-file pin";
        command.args(words.split(' '));
        let mut child = Killed(command.spawn().unwrap());
        // A pipe opens for writing as soon as somebody reads it, not before.
        loop {
            match File::options().write(true).custom_flags(NONBLOCK).open(&pipe) {
                Ok(open) => return (child, open),
                Err(fault) => assert_eq!(fault.raw_os_error(), Some(NO_READER), "{fault}"),
            }
            assert!(child.0.try_wait().unwrap().is_none(), "the client ended without asking for its PIN");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A process that ends with the test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_root() -> bool {
    status(std::process::id(), "Uid:") == "0"
}

fn status(process: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Whether the process leaves no core and its own user may not look into it: then all of it in `/proc` belongs to root,
/// whoever it runs as.
pub(crate) fn is_shut(process: u32) -> bool {
    assert_ne!(status(process, "Uid:"), "0", "of root's process it would prove nothing");
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let no_core = core.split_whitespace().take(2).eq(["0", "0"]);
    no_core && fs::metadata(format!("/proc/{process}/environ")).unwrap().uid() == 0
}
