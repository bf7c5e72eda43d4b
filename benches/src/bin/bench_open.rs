//! One large bid: `kaibiao-bid open --check` against `rage -d`, and sealing against `rage -r`.
//!
//! `bench_open [--json] [--mib N] [--rounds N] [--folder DIR] [--rage PROGRAM] [--kaibiao-bid PROGRAM]`
//!
//! Both sides read the same package from the page cache and write to the null device. Peak memory is what
//! GNU time tells of the whole program.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use clap::Parser;
use kaibiao_benches::{
    Durations, Machine, Report, Wanted, in_turns,
    supplier::{Filling, PROJECT, SUPPLIER, Supplier, lot},
};
use kaibiao_protocol::{
    money::{Fen, Price},
    record::BidSheet,
};
use kaibiao_sealed::{
    package::{DocumentKind, NewDocument, NewLot, Package, Packing, pack},
    writer::ClearPart,
};

/// `rage -d` takes at least so many times as long as checking (issue).
const CHECK_RATIO_MIN: f64 = 7.0;
/// `rage -r` takes at least so many times as long as sealing (issue).
const SEAL_RATIO_MIN: f64 = 1.2;
/// What checking may use of memory (issue).
const PEAK_MIB_MAX: f64 = 64.0;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How large the bid is.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Where the files are made; about four times the bid's size is needed.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// The program rage (scripts/bench installs it).
    #[arg(long, default_value = "target/tools/bin/rage")]
    rage: PathBuf,
    /// The program kaibiao-bid.
    #[arg(long, default_value = "target/release/kaibiao-bid")]
    kaibiao_bid: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_open: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let folder = folder.path();
    let mut report = Report::new("one large bid", Machine::look(folder));
    let supplier = Supplier::new(&folder.join("tokens"))?;
    let package = packed(folder, options.mib << 20)?;
    let rage = Rage::new(&options.rage, folder)?;

    let sealed = folder.join("bid.jmbs");
    let (binding, key) = supplier.bind()?;
    supplier.seal(&binding, &key, clear_parts(&package), &mut File::create(&sealed)?)?;
    report.fact("sealed bid, bytes", fs::metadata(&sealed)?.len());
    report.fact("rounds", options.rounds);

    checking(options, &rage, &supplier, &sealed, folder, &mut report)?;
    sealing(options, &rage, &supplier, &package, folder, &mut report)?;
    report.print(options.json)?;
    Ok(report.reached())
}

/// `kaibiao-bid open --check` and `rage -d`, in turns.
fn checking(
    options: &Options,
    rage: &Rage<'_>,
    supplier: &Supplier,
    sealed: &Path,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let encrypted = folder.join("bid.age");
    rage.encrypt(&folder.join("bid.bfbs"), &encrypted)?;
    let checks = RefCell::new(Vec::new());
    let mut check = || {
        let mut command = Command::new(&options.kaibiao_bid);
        command.arg("--json").arg("open").arg(sealed).arg("--check");
        command
            .arg("--pkcs12")
            .arg(&supplier.practice.pkcs12)
            .arg("--pin-file")
            .arg(&supplier.practice.pin_file);
        checks.borrow_mut().push(measured(command, folder).expect("the bid is whole"));
    };
    let mut decrypt = || rage.decrypt(&encrypted).expect("rage decrypts what it encrypted");
    let [ours, theirs] = in_turns(options.rounds, [&mut check, &mut decrypt]);

    let checks = checks.into_inner();
    let token = Durations::from_iter(checks.iter().map(|check| check.token));
    let peak_kib = checks.iter().map(|check| check.peak_kib).max().unwrap_or(0);
    let (ours, theirs, token) = (seconds(&ours), seconds(&theirs), seconds(&token));
    report.measured("kaibiao-bid open --check, whole program", ours, "s");
    report.measured("of that, reading the PKCS#12 file", token, "s");
    report.measured("rage -d", theirs, "s");
    report.measured("rage -d / whole program", theirs / ours, "x");
    let checking = (ours - token).max(f64::MIN_POSITIVE);
    report.figure(
        "rage -d / open --check without the token",
        theirs / checking,
        "x",
        Wanted::AtLeast(CHECK_RATIO_MIN),
    );
    report.figure("open --check, peak memory", peak_kib as f64 / 1024.0, "MiB", Wanted::AtMost(PEAK_MIB_MAX));
    Ok(())
}

/// Sealing in this process and `rage -r`, in turns; both to the null device.
fn sealing(
    options: &Options,
    rage: &Rage<'_>,
    supplier: &Supplier,
    package: &Package,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let mut seal = || {
        let (binding, key) = supplier.bind().expect("a practice certificate takes a key");
        let mut null = File::create(NULL_DEVICE).expect("there is a null device");
        supplier.seal(&binding, &key, clear_parts(package), &mut null).expect("the package is readable");
    };
    let plain = folder.join("bid.bfbs");
    let mut encrypt = || rage.encrypt(&plain, Path::new(NULL_DEVICE)).expect("rage encrypts");
    let [ours, theirs] = in_turns(options.rounds, [&mut seal, &mut encrypt]);
    let (ours, theirs) = (seconds(&ours), seconds(&theirs));
    report.measured("sealing, with one digest of the ciphertext", ours, "s");
    report.measured("rage -r", theirs, "s");
    report.figure("rage -r / sealing", theirs / ours, "x", Wanted::AtLeast(SEAL_RATIO_MIN));
    Ok(())
}

const NULL_DEVICE: &str = "/dev/null";

fn seconds(durations: &Durations) -> f64 {
    durations.median().as_secs_f64()
}

/// A package whose one large document makes it about so large.
fn packed(folder: &Path, bytes: u64) -> Result<Package, Box<dyn Error>> {
    let document = folder.join("offer.pdf");
    let mut file = File::create(&document)?;
    file.write_all(b"%PDF-1.7\n")?;
    io::copy(&mut Filling::new(1).take(bytes), &mut file)?;
    let sheet = BidSheet {
        price: Price::Total(Fen::new(123_456_789).ok_or("an amount")?),
        delivery_or_lead: "30 天".to_owned(),
        bid_security_method: "银行转账".to_owned(),
        declaration_signed: true,
        remark: String::new(),
    };
    let document = NewDocument {
        kind: DocumentKind::CommercialTechnical,
        title: "商务技术响应".to_owned(),
        path: document,
    };
    let packing = Packing {
        project: PROJECT.parse()?,
        supplier: SUPPLIER.parse()?,
        common: Vec::new(),
        lots: BTreeMap::from([(lot(), NewLot { sheet, documents: vec![document] })]),
    };
    Ok(pack(&packing, &folder.join("bid.bfbs"), &mut |_, _| ())?)
}

fn clear_parts(package: &Package) -> Vec<ClearPart<'_>> {
    let parts = package.parts().filter_map(|place| {
        let window = package.part_bytes(place.part)?;
        Some(ClearPart { part: place.part, bytes: window.len(), source: Box::new(window.reader()) })
    });
    parts.collect()
}

/// What one run of `kaibiao-bid open --check` told.
struct Check {
    token: Duration,
    peak_kib: u64,
}

/// Runs `command` under GNU time, and reads what both say.
fn measured(command: Command, folder: &Path) -> Result<Check, Box<dyn Error>> {
    let peak = folder.join("peak");
    let mut timed = Command::new("/usr/bin/time");
    timed.arg("-f").arg("%M").arg("-o").arg(&peak).arg(command.get_program()).args(command.get_args());
    let output = timed.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("kaibiao-bid open: {}", String::from_utf8_lossy(&output.stdout)).into());
    }
    let last = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(last)?;
    let token_ms = said["ok"]["token_ms"].as_f64().ok_or("kaibiao-bid tells how long the token took")?;
    let peak_kib = fs::read_to_string(&peak)?.trim().parse()?;
    Ok(Check { token: Duration::from_secs_f64(token_ms / 1e3), peak_kib })
}

/// rage, with a key of its own.
struct Rage<'a> {
    program: &'a Path,
    identity: PathBuf,
    recipient: String,
}

impl<'a> Rage<'a> {
    fn new(program: &'a Path, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let keygen = program.with_file_name("rage-keygen");
        let output =
            Command::new(&keygen).output().map_err(|fault| format!("{}: {fault}", keygen.display()))?;
        let text = String::from_utf8(output.stdout)?;
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: "));
        let recipient = recipient.ok_or("rage-keygen tells the public key")?.to_owned();
        let identity = folder.join("identity");
        fs::write(&identity, &text)?;
        Ok(Self { program, identity, recipient })
    }

    fn encrypt(&self, plain: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(self.program);
        command.arg("-r").arg(&self.recipient).arg(plain).stdout(File::create(to)?);
        succeed(command)
    }

    fn decrypt(&self, encrypted: &Path) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(self.program);
        command.arg("-d").arg("-i").arg(&self.identity).arg(encrypted).stdout(File::create(NULL_DEVICE)?);
        succeed(command)
    }
}

fn succeed(mut command: Command) -> Result<(), Box<dyn Error>> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
