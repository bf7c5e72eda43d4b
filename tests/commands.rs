//! The command line of `kaibiao` as data: each table under `commands/` is a story of command lines with what must come
//! of them.
//!
//! A step runs the real binary in a folder of its own, without any environment but a temporary HOME:
//!
//! ```toml
//! server = true                                  # a server runs on the folder `data`; {url} is its address
//!
//! [[file]]                                       # a file that is there from the beginning; {later} is a deadline ahead
//! name = "project.json"
//! text = "…"
//!
//! [[step]]
//! say = "a sentence of the domain"
//! run = "admin org add mingde --name Mingde …"   # `--json` is added, unless people = true; a word may be 'quoted'
//! code = 1                                       # 0 unless said
//! ok = { is = "done" }                           # the result has at least this
//! refused = "already_exists"                     # by this code
//! rule = "house"                                 # the rule named
//! failed = "in use by"                           # the world's fault holds this
//! misuse = "--data DIR"                          # what was misused is told like this; code is 2 then
//! has = ["Usage"]                                # texts in the output
//! has_not = ["hunter2"]                          # texts that are in no output
//! makes = ["backup/BACKUP"]                      # files that are there afterwards
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kaibiao_actors::journal::{Append, Journal as _, RawRecord, SqliteJournal, Stream};
use kaibiao_protocol::moment::Moment;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    #[serde(default)]
    server: bool,
    #[serde(default)]
    file: Vec<FileMade>,
    step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMade {
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    say: String,
    run: String,
    code: Option<i32>,
    ok: Option<Value>,
    refused: Option<String>,
    rule: Option<String>,
    failed: Option<String>,
    misuse: Option<String>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    has_not: Vec<String>,
    #[serde(default)]
    makes: Vec<String>,
    #[serde(default)]
    people: bool,
    #[serde(default)]
    stdin: String,
}

/// What stands in a story for what only the moment knows.
struct Stage {
    folder: tempfile::TempDir,
    server: Option<Server>,
    /// Holds a port, so that nobody else can.
    taken: TcpListener,
}

impl Stage {
    fn new(story: &Story) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stage = Self { server: None, taken, folder };
        for file in &story.file {
            let path = stage.folder.path().join(&file.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, stage.filled(&file.text)).unwrap();
        }
        stage.server = story.server.then(|| Server::start(stage.folder.path()));
        stage
    }

    fn filled(&self, text: &str) -> String {
        let day = Duration::from_secs(86_400);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let url = self.server.as_ref().map_or("", |server| &server.url);
        text.replace("{url}", url)
            .replace("{taken}", &self.taken.local_addr().unwrap().to_string())
            .replace("{later}", &(now + day).as_micros().to_string())
            .replace("{earlier}", &(now - day).as_micros().to_string())
    }

    fn run(&self, step: &Step) -> Output {
        let mut command = kaibiao(self.folder.path());
        command.args(words(&self.filled(&step.run)));
        if !step.people {
            command.arg("--json");
        }
        let input = self.folder.path().join("standard-input");
        fs::write(&input, &step.stdin).unwrap();
        command.stdin(fs::File::open(input).unwrap()).output().unwrap()
    }
}

fn kaibiao(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaibiao"));
    command.current_dir(folder).env_clear().env("HOME", folder);
    command
}

/// The words of a line; what stands in single quotes is one.
fn words(line: &str) -> Vec<String> {
    let outside = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let pieces = line.split('\'').enumerate();
    pieces.flat_map(|(no, piece)| if no % 2 == 0 { outside(piece) } else { vec![piece.to_owned()] }).collect()
}

/// A running server; killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = kaibiao(folder)
            .args(["--json", "serve", "--data", "data", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the server says where it listens");
        Self { child, url: ready["listening"].as_str().unwrap().to_owned() }
    }

    /// Waits for the end it was told to come to.
    fn end(mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::yield_now(),
                None => panic!("the server did not stop within a minute"),
            }
        };
        assert_eq!(status.code(), Some(0), "a server that is told to stop has done what it was asked");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(name: &str) -> Stage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands").join(format!("{name}.toml"));
    let text = fs::read_to_string(path).unwrap();
    let story: Story = toml::from_str(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let stage = Stage::new(&story);
    for step in &story.step {
        check(&stage, step, name);
    }
    stage
}

fn check(stage: &Stage, step: &Step, story: &str) {
    let output = stage.run(step);
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let all = format!("{story}: {}\n$ kaibiao {}\n--- stdout\n{out}\n--- stderr\n{err}", step.say, step.run);
    let code = step.code.unwrap_or(if step.misuse.is_some() {
        2
    } else if step.refused.is_some() || step.failed.is_some() {
        1
    } else {
        0
    });
    assert_eq!(output.status.code(), Some(code), "{all}");
    for text in &step.has {
        let text = stage.filled(text);
        assert!(out.contains(&text) || err.contains(&text), "lacks {text:?}: {all}");
    }
    for text in &step.has_not {
        assert!(!out.contains(text) && !err.contains(text), "has {text:?}: {all}");
    }
    for file in &step.makes {
        assert!(stage.folder.path().join(file).exists(), "no {file}: {all}");
    }
    if step.people {
        return;
    }
    if let Some(misuse) = &step.misuse {
        // Either ours, as JSON, or that of the parser of arguments, in words.
        let told = serde_json::from_str::<Value>(&out)
            .ok()
            .and_then(|told| told["misuse"].as_str().map(str::to_owned));
        assert!(told.as_ref().unwrap_or(&err).contains(misuse.as_str()), "{all}");
        return;
    }
    let told: Value =
        serde_json::from_str(&out).unwrap_or_else(|fault| panic!("not one JSON object ({fault}): {all}"));
    if let Some(failed) = &step.failed {
        let why = told["failed"].as_str().unwrap_or_else(|| panic!("did not fail: {all}"));
        assert!(why.contains(&stage.filled(failed)), "{all}");
    } else if let Some(refused) = &step.refused {
        check_refusal(&told["refused"], refused, step.rule.as_deref(), &all);
    } else {
        assert!(told.get("refused").is_none() && told.get("failed").is_none(), "{all}");
    }
    if let Some(wanted) = &step.ok {
        assert!(holds(&told, wanted), "lacks {wanted}: {all}");
    }
}

/// A refusal names the fault, in both languages, the rule, and what to do next: in its words, or apart.
fn check_refusal(told: &Value, code: &str, rule: Option<&str>, all: &str) {
    assert_eq!(told["code"], code, "{all}");
    let says = |words: &Value| {
        let zh = words["zh"].as_str().unwrap_or_default();
        let en = words["en"].as_str().unwrap_or_default();
        !zh.is_ascii() && !en.is_empty()
    };
    assert!(says(&told["say"]), "not in both languages: {all}");
    let next = told.get("next").is_some_and(says);
    let law = told["rule"].as_str().is_some_and(|rule| !rule.is_empty());
    assert!(next || law, "neither rule nor next step: {all}");
    if let Some(rule) = rule {
        assert_eq!(told["rule"], rule, "{all}");
    }
}

/// Whether `found` has everything that `wanted` has.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| holds(found, wanted))
        }
        _ => found == wanted,
    }
}

#[test]
fn what_is_misused_is_told_with_exit_code_two() {
    tell("usage");
}

#[test]
fn a_server_that_cannot_serve_says_why_and_changes_nothing() {
    let stage = tell("serve");
    let letter = fs::read_to_string(stage.folder.path().join("foreign/letter.txt")).unwrap();
    assert_eq!(letter, "Dear Sirs", "a folder of somebody else is left as it was");
}

#[test]
fn what_is_checked_offline_is_told_with_a_next_step() {
    tell("verify");
}

#[test]
fn the_rules_are_listed_by_key_and_certainty() {
    tell("rules");
}

#[test]
fn a_platform_is_kept_through_its_socket() {
    let mut stage = tell("admin");
    stage.server.take().unwrap().end();
}

#[test]
fn the_room_is_for_those_who_run_it() {
    tell("room");
}

/// Whether the wall clock was set back since, or had been ahead, comes to the same: the journal's last stamp is later
/// than the clock. (The server asks the kernel itself for the time, so no library preloaded into it can shift it.)
#[test]
fn a_server_does_not_start_while_the_machines_clock_is_behind_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    drop(Server::start(folder.path()));
    let hour = Duration::from_secs(3_600);
    let ahead = (SystemTime::now() + hour).duration_since(UNIX_EPOCH).unwrap().as_micros();
    let at = Moment(i64::try_from(ahead).unwrap());
    let record = RawRecord { kind: "noted", version: 1, at, command_id: None, payload: b"{}".to_vec() };
    let journal = SqliteJournal::open(&folder.path().join("data/journal")).unwrap();
    let (stream, records) = (Stream::Platform, vec![record]);
    let written = journal.read(&stream, 0, 512).unwrap();
    let expected_seq = written.last().map_or(0, |record| record.seq);
    let append = Append { stream, expected_seq, records, wake_at: None, side: Vec::new() };
    journal.append(append).wait().unwrap();
    drop(journal);
    let mut serve = kaibiao(folder.path());
    serve.args(["--json", "serve", "--data", "data", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    let output = serve.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let why = told["failed"].as_str().unwrap();
    assert!(
        why.contains("the machine's clock shows") && why.contains("The clock is behind the journal"),
        "{why}"
    );
}

#[test]
fn every_command_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    let mut ahead = vec![Vec::new()];
    while let Some(command) = ahead.pop() {
        let asked = kaibiao(folder.path()).args(&command).arg("--help").output().unwrap();
        let text = String::from_utf8(asked.stdout).unwrap();
        let place = format!("kaibiao {} --help\n{text}", command.join(" "));
        assert_eq!(asked.status.code(), Some(0), "{place}");
        assert!(text.lines().next().is_some_and(|line| line.len() > 10), "says not what it is for: {place}");
        assert!(text.contains("Usage: kaibiao"), "{place}");
        assert!(text.contains("--json"), "{place}");
        for inner in subcommands(&text, &place) {
            let mut inner_command = command.clone();
            inner_command.push(inner);
            ahead.push(inner_command);
        }
        explained(&text, &place);
        seen.insert(command.join(" "));
    }
    for command in [
        "serve",
        "demo",
        "room watch",
        "room start",
        "room extend",
        "room move-deadline",
        "room close",
        "room backup",
        "room answer",
        "room end",
        "room record",
        "room read-out",
        "verify record",
        "verify receipt",
        "admin org add",
        "admin user password",
        "admin root add",
        "admin crl set",
        "admin bind",
        "admin unbind",
        "admin project create",
        "admin backup",
        "admin status",
        "admin restore",
        "admin stop",
    ] {
        assert!(seen.contains(command), "{command} is missing among {seen:?}");
    }
}

/// The commands that a help text lists, each with a word about it.
fn subcommands(text: &str, place: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   ")).map(|line| {
        let (name, about) =
            line.trim().split_once("  ").unwrap_or_else(|| panic!("{line:?} says nothing: {place}"));
        assert!(!about.trim().is_empty(), "{line:?}: {place}");
        name.to_owned()
    });
    named.filter(|name| name != "help").collect()
}

/// Whether every option says what it is, beside or below its name.
fn explained(text: &str, place: &str) {
    let lines: Vec<&str> = text.lines().collect();
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        let option = line.trim_start();
        if !option.starts_with('-') || option.starts_with("- ") {
            continue;
        }
        let beside = option.split_once("  ").is_some_and(|(_, about)| !about.trim().is_empty());
        let below = next.starts_with("          ") && !next.trim().is_empty();
        assert!(beside || below, "{option:?} says nothing: {place}");
    }
}

#[test]
fn the_version_is_told() {
    let told = kaibiao(Path::new("/")).arg("--version").output().unwrap();
    assert_eq!(told.status.code(), Some(0));
    let version = format!("kaibiao {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(told.stdout).unwrap(), version);
    assert_eq!(json!(told.stderr.len()), json!(0));
}
