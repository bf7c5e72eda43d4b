//! `tests/python/wire_client.py` as a process.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::world::in_time;

/// The interpreter with the packages of `tests/requirements.txt`.
pub(crate) fn python() -> OsString {
    std::env::var_os("KAIBIAO_PYTHON").unwrap_or_else(|| "python3".into())
}

/// A script of ours.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// A running client; killed when dropped.
pub(crate) struct Stranger {
    lines: Lines<BufReader<ChildStdout>>,
    tape: PathBuf,
    errors: PathBuf,
    _child: Child,
}

impl Stranger {
    /// Starts one as `who` with its task.
    pub(crate) fn start(who: &str, mut task: Value, folder: &Path) -> Self {
        let file = |ending: &str| folder.join(format!("{who}.{ending}"));
        let (tape, errors, task_file) = (file("tape"), file("errors"), file("json"));
        task["tape"] = tape.to_str().unwrap().into();
        fs::write(&task_file, task.to_string()).unwrap();
        let started = Command::new(python())
            .arg(script("wire_client.py"))
            .args([who, task_file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .kill_on_drop(true)
            .spawn();
        let mut child = started.unwrap_or_else(|fault| {
            panic!(
                "{} does not start ({fault}): run scripts/setup --for-tests and set KAIBIAO_PYTHON to \
                 target/python/bin/python (scripts/test does both)",
                python().display()
            )
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, tape, errors, _child: child }
    }

    /// What it told when it reached this; it must be the next thing it reaches.
    pub(crate) async fn reached(&mut self, what: &str) -> Value {
        let line = in_time(what, self.lines.next_line()).await.unwrap();
        let Some(line) = line else {
            panic!("before {what}: {}", fs::read_to_string(&self.errors).unwrap_or_default());
        };
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["reached"], what, "{told}");
        told
    }

    /// Where the conversation was written.
    pub(crate) fn tape(&self) -> &Path {
        &self.tape
    }
}
