//! The command line as data: each table under `commands/` is a story of command lines with what must come of them.
//!
//! A step runs the real binary in a folder of its own, without any environment but a temporary HOME:
//!
//! ```toml
//! [[step]]
//! say = "a sentence of the domain"
//! run = "pack --project KX-1 … -o bid.bfbs"      # `--json` is added, unless people = true
//! code = 1                                       # 0 unless said
//! refused = ["price_malformed"]                  # the codes, in order
//! at = ["lots.1.price"]                          # where, in order
//! warned = ["over_budget"]                       # the codes of warnings
//! ok = { lots = [1] }                            # the result has at least this
//! makes = ["bid.bfbs"]                           # files that are there afterwards
//! leaves_no = ["bid.bfbs.part"]                  # files that are not
//! has = ["已生成"]                                # texts in the output, where people read it
//! ```
//!
//! `do` prepares something in place of a run: `flip FILE AT TO`, `cut FILE BYTES TO`, `copy FILE TO`,
//! `same FILE FILE`, `mode FILE OCTAL`, `receipt BID TO`, `project FILE field=value`.

#![expect(clippy::unwrap_used, reason = "what helps a test may unwrap as the test may")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use kaibiao_bidder::{
    practice::{
        PracticeVendor::{Huixin, Tiangu},
        TokenKind, TokenShop,
        papers::Paper,
    },
    sealed_bid::SealedBid,
};
use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    digest::Digest,
    ids::{BidId, FileId, UploadId},
    moment::Moment,
    view::ProjectView,
};
use kaibiao_sealed::{
    platform_key::PlatformKey,
    practice::Span,
    receipt::{ReceiptFacts, make_receipt},
};
use serde::Deserialize;
use serde_json::Value;

const YEAR_2020: Moment = Moment(1_577_836_800_000_000);
const YEAR_2060: Moment = Moment(2_840_140_800_000_000);
/// A deadline that no test run lives to see.
const YEAR_2055: Moment = Moment(2_682_374_400_000_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
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
    #[serde(default)]
    run: String,
    #[serde(default, rename = "do")]
    doing: String,
    #[serde(default)]
    code: i32,
    refused: Option<Vec<String>>,
    at: Option<Vec<String>>,
    #[serde(default)]
    warned: Vec<String>,
    ok: Option<Value>,
    #[serde(default)]
    makes: Vec<String>,
    #[serde(default)]
    leaves_no: Vec<String>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    people: bool,
    stdin: Option<String>,
}

/// What every story finds in its folder, made once: RSA keys take their time.
struct Fixtures {
    folder: tempfile::TempDir,
}

fn fixtures() -> &'static Fixtures {
    static MADE: OnceLock<Fixtures> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let span = Span { from: YEAR_2020, until: YEAR_2060 };
        let mut shop = TokenShop::new(&at("shop"), TokenKind::Files, span).unwrap();
        for (name, vendor) in [("mingde", Huixin), ("other", Tiangu)] {
            let token = shop.add_supplier(name, vendor).unwrap();
            fs::copy(&token.pkcs12, at(&format!("{name}.p12"))).unwrap();
            fs::copy(&token.pin_file, at(&format!("{name}.pin"))).unwrap();
        }
        fs::write(at("wrong.pin"), "000000\n").unwrap();

        let paper = |title: &str, pages: u32, bytes: usize| {
            let lines = [format!("{title} of Mingde")];
            Paper { title, lines: &lines, pages, bytes, seed: 7 }.make().unwrap()
        };
        let price = paper("Price", 2, 40_000);
        fs::write(at("price.pdf"), &price).unwrap();
        fs::write(at("资格文件.pdf"), paper("Qualification", 3, 300_000)).unwrap();
        fs::write(at("tech.pdf"), paper("Technical", 1, 20_000)).unwrap();
        fs::write(at("cut.pdf"), &price[..price.len() / 2]).unwrap();
        fs::write(at("letter.pdf"), "Dear Sirs").unwrap();
        fs::write(at("encrypted.pdf"), encrypted(&price)).unwrap();
        let huge = fs::File::create(at("huge.pdf")).unwrap();
        huge.set_len(104_857_601).unwrap();

        let platform = PlatformKey::generate().unwrap();
        fs::write(at("platform.pkcs8"), platform.pkcs8()).unwrap();
        fs::write(at("platform-key"), hex::encode(platform.public())).unwrap();
        fs::write(at("project.json"), serde_json::to_vec(&project(&platform)).unwrap()).unwrap();
        Fixtures { folder }
    })
}

fn encrypted(pdf: &[u8]) -> Vec<u8> {
    use lopdf::{Document, EncryptionState, EncryptionVersion, Object, Permissions};
    let mut document = Document::load_mem(pdf).unwrap();
    document.trailer.set("ID", Object::Array(vec![Object::string_literal("a"), Object::string_literal("b")]));
    let version = EncryptionVersion::V1 {
        document: &document,
        owner_password: "owner",
        user_password: "secret",
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).unwrap();
    document.encrypt(&state).unwrap();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

fn project(platform: &PlatformKey) -> ProjectView {
    let view = serde_json::json!({
        "spec": {
            "id": "KX-1", "name": "学校家具", "region": "成都市", "kind": "exercise", "method": "open_tender",
            "purchaser": "school", "organiser": "agency", "budget": "900000.00", "deadline": YEAR_2055.0,
            "start": "at_deadline", "window_minutes": 30, "failure_grace_minutes": 10, "backup": "any_fault",
            "confirm_minutes": 60, "consortium_allowed": false, "rule_pack": "GP/1",
            "lots": {
                "1": { "name": "课桌椅", "budget": "500000.00", "price_kind": "total" },
                "2": { "name": "维护费率", "budget": "400000.00", "price_kind": "rate" }
            }
        },
        "purchaser_name": "第一中学", "organiser_name": "启明招标", "status": "receiving",
        "opening_key": Blob(platform.public().to_vec()), "receipt_key": Blob(platform.public().to_vec()),
    });
    serde_json::from_value(view).unwrap()
}

fn tell(story: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands").join(format!("{story}.toml"));
    let text = fs::read_to_string(path).unwrap();
    let told: Story = toml::from_str(&text).unwrap_or_else(|fault| panic!("{story}: {fault}"));
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            // A link, not a copy: the huge one would fill the disk.
            fs::hard_link(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    for file in &told.file {
        fs::write(folder.path().join(&file.name), &file.text).unwrap();
    }
    for step in &told.step {
        let place = format!("{story}: {}", step.say);
        if step.doing.is_empty() {
            check(step, folder.path(), &place);
        } else {
            prepare(&step.doing, folder.path(), &place);
        }
    }
}

fn check(step: &Step, folder: &Path, place: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaibiao-bid"));
    command.current_dir(folder).env_clear().env("HOME", folder).args(step.run.split_whitespace());
    if !step.people {
        command.arg("--json");
    }
    match &step.stdin {
        Some(text) => {
            let path = folder.join("stdin");
            fs::write(&path, text).unwrap();
            command.stdin(fs::File::open(path).unwrap());
        }
        None => {
            command.stdin(std::process::Stdio::null());
        }
    }
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let all = format!("{place}\n--- stdout\n{out}\n--- stderr\n{err}");
    assert_eq!(output.status.code(), Some(step.code), "{all}");
    if step.people {
        for text in &step.has {
            assert!(out.contains(text) || err.contains(text), "lacks {text:?}: {all}");
        }
    } else if step.code != 2 {
        assert_eq!(err, "", "with --json nothing goes to stderr: {all}");
        check_lines(step, &out, &all);
    }
    for file in &step.makes {
        assert!(folder.join(file).exists(), "no {file}: {all}");
    }
    for file in &step.leaves_no {
        assert!(!folder.join(file).exists(), "{file} is there: {all}");
    }
}

fn check_lines(step: &Step, out: &str, all: &str) {
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect(all)).collect();
    let strings = |values: &[Value], field: &str| -> Vec<String> {
        values.iter().map(|value| value[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    let warnings: Vec<Value> = lines.iter().filter_map(|line| line.get("warning").cloned()).collect();
    assert_eq!(strings(&warnings, "code"), step.warned, "warnings: {all}");
    let last = lines.last().expect(all);
    if step.code == 0 {
        let found = last.get("ok").expect(all);
        if let Some(wanted) = &step.ok {
            assert!(holds(found, wanted), "lacks {wanted}: {all}");
        }
        return;
    }
    let refused = last["refused"].as_array().expect(all);
    for problem in refused {
        assert!(!problem["say"]["zh"].as_str().unwrap().is_ascii(), "no Chinese: {all}");
        assert!(!problem["say"]["en"].as_str().unwrap().is_empty(), "no English: {all}");
        assert!(problem.get("next").is_some() || problem.get("rule").is_some(), "no next step: {all}");
    }
    if let Some(wanted) = &step.refused {
        assert_eq!(&strings(refused, "code"), wanted, "{all}");
    }
    if let Some(wanted) = &step.at {
        assert_eq!(&strings(refused, "at"), wanted, "{all}");
    }
}

/// Whether `found` has everything that `wanted` has.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted)))
        }
        _ => found == wanted,
    }
}

fn prepare(doing: &str, folder: &Path, place: &str) {
    let words: Vec<&str> = doing.split_whitespace().collect();
    let at = |name: &str| -> PathBuf { folder.join(name) };
    match words[..] {
        ["copy", from, to] => drop(fs::copy(at(from), at(to)).unwrap()),
        ["flip", from, offset, to] => {
            let mut bytes = fs::read(at(from)).unwrap();
            let offset: i64 = offset.parse().unwrap();
            let index =
                if offset < 0 { bytes.len() - offset.unsigned_abs() as usize } else { offset as usize };
            bytes[index] ^= 1;
            fs::write(at(to), bytes).unwrap();
        }
        ["cut", from, bytes, to] => {
            let whole = fs::read(at(from)).unwrap();
            fs::write(at(to), &whole[..bytes.parse().unwrap()]).unwrap();
        }
        ["append", from, to] => {
            let mut whole = fs::read(at(from)).unwrap();
            whole.push(0);
            fs::write(at(to), whole).unwrap();
        }
        ["same", one, other] => {
            assert_eq!(fs::read(at(one)).unwrap(), fs::read(at(other)).unwrap(), "{place}")
        }
        ["mode", file, mode] => {
            let found = fs::metadata(at(file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(format!("{found:o}"), mode, "{place}");
        }
        ["receipt", bid, to] => fs::write(at(to), receipt_for(&at(bid), &at("platform.pkcs8"))).unwrap(),
        ["project", to, change] => {
            let (field, value) = change.split_once('=').unwrap();
            let mut view: Value = serde_json::from_slice(&fs::read(at("project.json")).unwrap()).unwrap();
            view["spec"][field] = serde_json::from_str(value).unwrap();
            fs::write(at(to), view.to_string()).unwrap();
        }
        _ => panic!("{place}: {doing:?} is nothing to do"),
    }
}

/// The receipt that a platform would give for this sealed bid.
fn receipt_for(bid: &Path, key: &Path) -> String {
    let sealed = SealedBid::open(bid).unwrap();
    let key = PlatformKey::from_pkcs8(&fs::read(key).unwrap()).unwrap();
    let (header, binding) = (&sealed.header, &sealed.header.binding);
    let facts = BidFacts {
        bid: BidId([1; 16]),
        upload: UploadId([2; 16]),
        file: FileId([3; 16]),
        supplier: binding.supplier.clone(),
        supplier_name: "明德家具".to_owned(),
        lots: binding.lots.clone(),
        size_bytes: header.file_len(),
        header_digest: header.header_digest,
        binding_digest: header.binding_digest,
        statement_digest: header.statement_digest,
        cms_digest: header.cms_digest,
        signing_certificate: binding.signing_certificate,
        encryption_certificate: binding.encryption_certificate,
        contact_digest: Digest([4; 32]),
        parts: header.part_facts(),
    };
    let spec = project(&key).spec;
    make_receipt(&ReceiptFacts::new(&spec, &facts, YEAR_2020, None, Digest([5; 32])), &key)
}

#[test]
fn packing_names_every_fault_and_makes_a_package_of_what_is_right() {
    tell("pack");
}

#[test]
fn sealing_refuses_what_the_project_cannot_take_and_makes_a_backup() {
    tell("seal");
}

#[test]
fn ones_own_bid_opens_with_its_token_alone() {
    tell("open");
}

#[test]
fn files_show_what_needs_no_key_and_receipts_are_checked_offline() {
    tell("look");
}

#[test]
fn what_is_misused_is_told_with_exit_code_two_and_help_has_examples() {
    tell("usage");
}

#[test]
fn a_server_that_is_not_there_or_not_to_be_trusted_is_told_with_a_next_step() {
    tell("server");
}
