//! Conversations as they were recorded: a line a frame, `>` sent, `<` received, `#` a remark.
//!
//! The one that `docs/api.md` prints is kept there between two marks. Each line of JSON is read by the protocol's own
//! types and must come out of them as it went in, must hold against the schema, and what is signed in it must be
//! signed. `KAIBIAO_BLESS=1 cargo test --test wire` records it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::{
    frame::{Answer, Ask, Notice, Request, Response, StreamName},
    ids::OrganisationId,
    moment::Moment,
    refusal::Refusal,
    view::{ProjectView, RoomEvent, UploadVerdict, ViewEvent},
};
use kaibiao_sealed::{
    order::{OpeningOrder, OrderExpected},
    platform_key::{PUBLIC_KEY_BYTES, key_id},
    purpose::Purpose,
    receipt::verify_receipt,
    record::{record_digest, verify_record},
    signature::check_cms,
    statements::confirm_statement,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::stranger::{python, script};

const BEGIN: &str = "<!-- conversation: begin (written by KAIBIAO_BLESS=1 cargo test --test wire) -->\n";
const END: &str = "<!-- conversation: end -->";
const FENCE: &str = "```";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")
}

/// The page before, between and behind the marks.
fn split(text: &str) -> (&str, &str, &str) {
    let (before, rest) =
        text.split_once(BEGIN).expect("docs/api.md has the mark where the conversation begins");
    let (kept, after) = rest.split_once(END).expect("docs/api.md has the mark where the conversation ends");
    (before, kept, after)
}

/// The conversation that the page prints.
pub(crate) fn kept() -> String {
    let text = fs::read_to_string(page()).unwrap();
    let lines = split(&text).1.lines().filter(|line| !line.starts_with(FENCE));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Holds a fresh conversation against the printed one by what kinds of things are said in it; or prints it instead.
pub(crate) fn keep_or_compare(fresh: &str) {
    if std::env::var_os("KAIBIAO_BLESS").is_some() {
        let text = fs::read_to_string(page()).unwrap();
        let (before, _, after) = split(&text);
        let made = format!("{before}{BEGIN}{FENCE}text\n{fresh}{FENCE}\n{END}{after}");
        fs::write(page(), made).unwrap();
    }
    let (kept, fresh) = (kinds(&kept()), kinds(fresh));
    let differ: Vec<_> = kept.symmetric_difference(&fresh).collect();
    assert!(
        differ.is_empty(),
        "the conversation in docs/api.md is no longer the one that is had; these differ: {differ:#?}\nif that is \
         meant, run KAIBIAO_BLESS=1 cargo test --test wire and look at what changed"
    );
}

/// The kinds of what is said, their order and number aside, for these are the network's.
fn kinds(text: &str) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let (way, said) = line.split_at(1);
        let said = said.trim_start();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = match serde_json::from_str::<Value>(said) {
            _ if way == "#" => continue,
            Ok(value) if value.is_object() => match &value {
                one if one.get("ask").is_some() => format!("ask {}", word(&one["ask"]["do"])),
                one if one.get("event").is_some() => format!("event {}", word(&one["event"]["event"])),
                one if one.get("ok").is_some() => format!("ok {}", word(&one["ok"]["is"])),
                one if one.get("refused").is_some() => format!("refused {}", word(&one["refused"]["code"])),
                one if one.get("verdict").is_some() => format!("verdict {}", word(&one["verdict"])),
                one => format!("body {:?}", one.as_object().unwrap().keys().collect::<Vec<_>>()),
            },
            _ if said.starts_with("GET") || said.starts_with('P') || said.starts_with("HEAD") => said
                .split('/')
                .map(|part| if part.len() == 32 { "ID" } else { part })
                .collect::<Vec<_>>()
                .join("/"),
            _ => said.split(':').next().unwrap_or_default().to_owned(),
        };
        // How much of a broken piece had come in when its client asked is chance: then it asks once more.
        if kind != "409" && kind != "refused offset_mismatch" && !kind.ends_with("bytes)") {
            kinds.insert(format!("{way} {kind}"));
        }
    }
    kinds
}

/// Checks every line.
pub(crate) fn check(text: &str) {
    let mut reader = Reader::default();
    for (line, no) in text.lines().zip(1..) {
        let said = line.get(2..).unwrap_or_default();
        match line.get(..2) {
            Some("# ") => {}
            Some("> ") => reader.sent(said, no),
            Some("< ") => reader.received(said, no),
            other => panic!("line {no} begins with {other:?}"),
        }
    }
    reader.end();
}

/// Reads a conversation line by line.
#[derive(Default)]
struct Reader {
    /// Everything that has a definition in the schema: its name and value.
    defined: Vec<(&'static str, Value)>,
    /// Signatures that held, by what they sign.
    held: BTreeSet<&'static str>,
    /// Requests of this connection without an answer.
    open: BTreeMap<u64, Ask>,
    /// The last event of each stream.
    last: BTreeMap<StreamName, u64>,
    /// The project as this client was shown it.
    view: Option<ProjectView>,
    organisation: Option<OrganisationId>,
}

impl Reader {
    fn sent(&mut self, said: &str, no: u32) {
        if said == "GET /api/socket" {
            self.open.clear();
        }
        if said.starts_with("POST /api/sign-in/") {
            // Another client; its streams are its own.
            (self.last, self.view) = (BTreeMap::new(), None);
        }
        let Some(value) = object(said) else { return };
        if value.get("ask").is_none() {
            return self.body(&value, no);
        }
        let request: Request = self.read("Request", &value, no);
        if let Ask::Subscribe { stream, since } = &request.ask {
            let had = self.last.insert(stream.clone(), *since);
            assert!(had.is_none_or(|had| had == *since), "line {no} resumes at another place than it stood");
        }
        if let Ask::ConfirmRecord { project, record, signature } = &request.ask {
            let statement = confirm_statement(project, self.organisation.as_ref().unwrap(), record);
            check_cms(Purpose::ConfirmRecord, statement.as_bytes(), &signature.0).unwrap();
            self.held.insert("confirmation");
        }
        assert!(self.open.insert(request.id, request.ask).is_none(), "line {no} uses an id twice");
    }

    fn received(&mut self, said: &str, no: u32) {
        let Some(value) = object(said) else { return };
        if value.get("stream").is_some() {
            let notice: Notice = self.read("Notice", &value, no);
            let last = self.last.get_mut(&notice.stream).unwrap();
            assert_eq!(notice.seq, *last + 1, "line {no}: a gap or a repetition");
            *last = notice.seq;
            if let ViewEvent::Room(RoomEvent::OrderIssued { order, signature, .. }) = &notice.event {
                self.check_order(notice.stream.project(), order, &signature.0);
            }
        } else if value.get("id").is_some() {
            match self.read("Response", &value, no) {
                Response::Ok { id, ok } => {
                    assert!(self.open.remove(&id).is_some(), "line {no} answers nothing");
                    self.answer(ok);
                }
                Response::Refused { id, .. } => {
                    assert!(self.open.remove(&id).is_some(), "line {no} answers nothing");
                }
            }
        } else if value.get("verdict").is_some() {
            if let UploadVerdict::Received { receipt, .. } = self.read("UploadVerdict", &value, no) {
                self.check_receipt(&receipt);
            }
        } else if let Some(refusal) = value.get("refused") {
            let _: Refusal = self.read("Refusal", refusal, no);
            assert_eq!(value.as_object().unwrap().len(), 1, "line {no}");
        } else {
            self.body(&value, no);
        }
    }

    fn answer(&mut self, ok: Answer) {
        match ok {
            Answer::Project { view } => self.view = Some(*view),
            Answer::Receipt { receipt } => self.check_receipt(&receipt),
            Answer::Record { text, digest, signature } => {
                let facts = verify_record(&text, &signature.0, &self.receipt_key()).unwrap();
                assert_eq!(digest, record_digest(&text));
                assert_eq!(facts.head.project, self.view.as_ref().unwrap().spec.id);
                self.held.insert("record");
            }
            Answer::Done { .. }
            | Answer::Time { .. }
            | Answer::Projects { .. }
            | Answer::Room { .. }
            | Answer::Contacts { .. }
            | Answer::Subscribed { .. } => {}
        }
    }

    /// The bodies of signing in, which have no definition in the schema.
    fn body(&mut self, value: &Value, no: u32) {
        let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        match names[..] {
            ["account"] | ["challenge", "expires_at"] => {}
            ["account", "password"] => assert_eq!(value["password"], "PASSWORD", "line {no}"),
            ["challenge", "cms"] => {
                let cms = STANDARD.decode(value["cms"].as_str().unwrap()).unwrap();
                check_cms(Purpose::SignIn, value["challenge"].as_str().unwrap().as_bytes(), &cms).unwrap();
                self.held.insert("sign-in");
            }
            ["expires_at", "organisation", "role", "session", "user"] => {
                assert_eq!(value["session"], "SESSION", "line {no}");
                self.organisation = Some(value["organisation"].as_str().unwrap().parse().unwrap());
            }
            _ => panic!("line {no} has members that no body has: {names:?}"),
        }
    }

    /// Reads a value strictly; written again it must be the same.
    fn read<T: DeserializeOwned + Serialize>(&mut self, name: &'static str, value: &Value, no: u32) -> T {
        let read: T =
            serde_json::from_value(value.clone()).unwrap_or_else(|fault| panic!("line {no}: {fault}"));
        assert_eq!(json!(read), *value, "line {no} comes out of the type otherwise than it went in");
        self.defined.push((name, value.clone()));
        read
    }

    fn receipt_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.view.as_ref().unwrap().receipt_key.0.as_slice().try_into().unwrap()
    }

    fn check_receipt(&mut self, receipt: &str) {
        let facts = verify_receipt(receipt, &self.receipt_key()).unwrap();
        assert_eq!(Some(&facts.supplier), self.organisation.as_ref());
        self.held.insert("receipt");
    }

    fn check_order(&mut self, project: &kaibiao_protocol::ids::ProjectId, text: &str, signature: &[u8]) {
        let view = self.view.as_ref().unwrap();
        let key: [u8; PUBLIC_KEY_BYTES] = view.opening_key.0.as_slice().try_into().unwrap();
        let expected = OrderExpected {
            project,
            opening_key: &key_id(&key),
            deadline: Some(view.spec.deadline),
            epoch_seen: 0,
            now: Moment(i64::MAX),
        };
        OpeningOrder::verify(text, signature, &key, &expected).unwrap();
        self.held.insert("order");
    }

    fn end(self) {
        assert!(self.open.is_empty(), "without an answer: {:?}", self.open);
        let all = ["confirmation", "order", "receipt", "record", "sign-in"];
        assert_eq!(self.held.iter().copied().collect::<Vec<_>>(), all, "everything signed was seen");
        check_schema(&self.defined);
    }
}

fn object(said: &str) -> Option<Value> {
    said.starts_with('{').then(|| serde_json::from_str(said).unwrap())
}

/// Holds values against the schema with a validator that is not ours.
fn check_schema(defined: &[(&'static str, Value)]) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/kaibiao.schema.json");
    let mut child = Command::new(python())
        .arg(script("check_frames.py"))
        .arg(schema)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts: see scripts/setup --for-tests");
    let mut input = child.stdin.take().unwrap();
    for (name, value) in defined {
        writeln!(input, "{}", json!({ "type": name, "value": value })).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "a frame does not hold against the schema; what is said above names it");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), defined.len().to_string());
}
