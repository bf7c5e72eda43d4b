//! Sealing a bid package: `.bfbs` becomes `.jmbs`, and the `.bfbs` becomes its backup.
//!
//! A fresh bid key is drawn, wrapped to the token's encryption certificate in a way the token has just shown it can
//! unwrap, and every part is sealed under a key of its own; the token signs what was made. Key and header go into
//! the package, which from then on can open the bid and is for the supplier alone.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    ids::{LotNo, ProjectId},
    moment::Moment,
    money::{Fen, Price, PriceKind},
    view::ProjectView,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    header::Header,
    key::BidKey,
    package::{Package, PackageFault},
    platform_key::PUBLIC_KEY_BYTES,
    signature::SigningFault,
    wrap::{WrapAlgorithm, WrapFault, wrap_to},
    writer::{SealFault as WriteFault, Sealing},
};

use crate::{
    backup::{beside, clear_parts},
    clock::shown,
    report::{Explain, Problem, package_problem, say},
    signer::{PinnedToken, Signer as _, UseFault},
    token::TokenCertificate,
};

/// What a bid is sealed from and for.
pub struct SealJob<'a> {
    /// The bid package; sealing writes key and header into it.
    pub package: &'a Path,
    /// Where the sealed bid is written.
    pub out: &'a Path,
    /// The project as the platform shows it.
    pub target: &'a ProjectView,
    /// The token.
    pub token: &'a Arc<PinnedToken>,
    /// Its certificate that signs.
    pub signing: &'a TokenCertificate,
    /// Its certificate that the bid key is wrapped to.
    pub encryption: &'a TokenCertificate,
    /// Seal a package that was sealed before under a fresh key; its earlier sealed bid loses its backup.
    pub anew: bool,
    /// This machine's time.
    pub now: Moment,
}

/// A bid that was sealed.
pub struct Sealed {
    /// The header of the sealed bid.
    pub header: Header,
    /// Its bytes.
    pub bytes: u64,
    /// How the key is wrapped.
    pub wrap: WrapAlgorithm,
    /// What the supplier should know.
    pub warnings: Vec<SealWarning>,
    /// How long the token took: PIN, canary, signature.
    pub token: Duration,
    /// How long everything else took.
    pub sealing: Duration,
}

/// What is not wrong yet and should be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SealWarning {
    /// A certificate runs out before the opening (A4).
    CertificateRunsOut {
        /// `signing` or `encryption`.
        purpose: &'static str,
        /// When.
        not_after: Moment,
        /// The opening.
        deadline: Moment,
    },
    /// The price is above the lot's budget (87-63: such a bid is invalid).
    OverBudget {
        /// The lot.
        lot: LotNo,
        /// The budget.
        budget: Fen,
    },
    /// The deadline has passed.
    PastDeadline(Moment),
    /// The project is an exercise.
    Exercise,
}

/// Why a bid was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFault {
    /// The package is not whole, or cannot be written.
    #[error(transparent)]
    Package(#[from] PackageFault),
    /// It was packed for another project.
    #[error("the package is for project {packed_for}, not {asked}")]
    OtherProject {
        /// The project it was packed for.
        packed_for: ProjectId,
        /// The project to seal for.
        asked: ProjectId,
    },
    /// It bids for lots that the project does not have.
    #[error("the project has no lot {}", .0.iter().map(LotNo::to_string).collect::<Vec<_>>().join(", "))]
    OtherLots(Vec<LotNo>),
    /// The price of a lot is of another kind than the tender asks for.
    #[error("lot {lot}: the tender asks for {asked:?}, the sheet quotes {quoted:?}")]
    PriceKind {
        /// The lot.
        lot: LotNo,
        /// What the tender asks for.
        asked: PriceKind,
        /// What the sheet quotes.
        quoted: PriceKind,
    },
    /// The sealed bid is larger than the project allows.
    #[error("the sealed bid has {bytes} bytes, the project allows {max}")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The most.
        max: u64,
    },
    /// It was sealed before, and the earlier sealed bid would lose its backup.
    #[error(
        "the package was sealed before (header {0}); sealing it anew would take the backup from that sealed bid"
    )]
    SealedAlready(Digest),
    /// The project's opening key is none.
    #[error("the project's opening key is not an Ed25519 key")]
    OpeningKey,
    /// The token does not serve, or no PIN could be had.
    #[error(transparent)]
    Token(#[from] UseFault),
    /// The encryption certificate cannot have a key wrapped to it.
    #[error("the encryption certificate does not serve: {0}")]
    Wrap(#[from] WrapFault),
    /// Sealing itself failed.
    #[error("the bid was not sealed: {0}")]
    Write(String),
    /// The sealed bid cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SealJob<'_> {
    /// Seals. `progress` is told clear bytes done and in all.
    ///
    /// # Errors
    /// [`SealFault`]; no sealed bid is left then, and the package is as it was.
    pub fn run(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Sealed, SealFault> {
        let began = Instant::now();
        let package = Package::open(self.package)?;
        self.check(&package)?;
        let mut token = Duration::ZERO;
        let timed = Instant::now();
        let wrap = self.token.negotiate_wrap(&self.encryption.fingerprint)?;
        token += timed.elapsed();

        let key = BidKey::draw();
        let binding = Binding {
            format: BindingFormat::V1,
            project: package.project().clone(),
            supplier: package.supplier().clone(),
            lots: package.lots().collect(),
            signing_certificate: self.signing.fingerprint,
            encryption_certificate: self.encryption.fingerprint,
            opening_key: sha256(&self.target.opening_key.0),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(wrap_to(&self.encryption.der, wrap, key.expose())?),
        };
        let sealing = Sealing { binding: &binding, key: &key, signing_certificate: &self.signing.der };
        let total = package.parts().map(|place| place.len).sum();
        let signer = self.token.signer(self.signing.clone());
        let mut sign = |message: &[u8]| {
            let timed = Instant::now();
            let signature = signer.sign(message);
            token += timed.elapsed();
            signature
        };
        let part = beside(self.out, "part");
        let sealed = PartFile::begin(&part).and_then(|mut file| {
            let mut done = 0;
            let header = sealing
                .seal(clear_parts(&package), &mut sign, &mut file.out, &mut |bytes| {
                    done += bytes;
                    progress(done, total);
                })
                .map_err(|fault| from_writer(fault, &part))?;
            self.check_size(&header)?;
            // The backup is whole before the sealed bid exists: there is never a sealed bid without one.
            package.attach_sealing(&key, header.bytes(), self.package)?;
            file.finish(self.out)?;
            Ok(header)
        })?;
        let warnings = self.warnings(&package);
        let whole = began.elapsed();
        let sealing = whole.saturating_sub(token);
        Ok(Sealed { bytes: sealed.file_len(), header: sealed, wrap, warnings, token, sealing })
    }

    fn check(&self, package: &Package) -> Result<(), SealFault> {
        let spec = &self.target.spec;
        if let Some(record) = package.read_sealing()?
            && !self.anew
        {
            let digest = sha256(&record.header);
            return Err(SealFault::SealedAlready(digest));
        }
        if *package.project() != spec.id {
            let (packed_for, asked) = (package.project().clone(), spec.id.clone());
            return Err(SealFault::OtherProject { packed_for, asked });
        }
        let unknown: Vec<LotNo> = package.lots().filter(|lot| !spec.lots.contains_key(lot)).collect();
        if !unknown.is_empty() {
            return Err(SealFault::OtherLots(unknown));
        }
        for (lot, price) in prices(package) {
            if let Some(asked) = spec.lots.get(&lot).map(|spec| spec.price_kind)
                && asked != price.kind()
            {
                return Err(SealFault::PriceKind { lot, asked, quoted: price.kind() });
            }
        }
        if self.target.opening_key.0.len() != PUBLIC_KEY_BYTES {
            return Err(SealFault::OpeningKey);
        }
        Ok(())
    }

    fn check_size(&self, header: &Header) -> Result<(), SealFault> {
        match self.target.spec.bid_bytes_max {
            Some(max) if header.file_len() > max => {
                Err(SealFault::TooLarge { bytes: header.file_len(), max })
            }
            _ => Ok(()),
        }
    }

    fn warnings(&self, package: &Package) -> Vec<SealWarning> {
        let spec = &self.target.spec;
        let deadline = spec.deadline;
        let mut warnings = Vec::new();
        for (purpose, certificate) in [("signing", self.signing), ("encryption", self.encryption)] {
            if certificate.runs_out_before(deadline) {
                let not_after = certificate.not_after;
                warnings.push(SealWarning::CertificateRunsOut { purpose, not_after, deadline });
            }
        }
        for (lot, price) in prices(package) {
            let budget = spec.lots.get(&lot).map(|spec| spec.budget);
            if let (Some(budget), Price::Total(total)) = (budget, price)
                && total > budget
            {
                warnings.push(SealWarning::OverBudget { lot, budget });
            }
        }
        if self.now >= deadline {
            warnings.push(SealWarning::PastDeadline(deadline));
        }
        if spec.kind == kaibiao_protocol::project::ProjectKind::Exercise {
            warnings.push(SealWarning::Exercise);
        }
        warnings
    }
}

fn prices(package: &Package) -> BTreeMap<LotNo, Price> {
    let lots = package.lots().filter_map(|lot| {
        let part = package.part(kaibiao_protocol::bid::PartName::Lot(lot))?;
        Some((lot, part.sheet()?.price))
    });
    lots.collect()
}

/// A sealed bid in the making, under another name until it is whole.
struct PartFile {
    out: fs::File,
    path: PathBuf,
    finished: bool,
}

impl PartFile {
    fn begin(path: &Path) -> Result<Self, SealFault> {
        let out = OpenOptions::new().write(true).create(true).truncate(true).open(path);
        let out = out.map_err(|source| SealFault::Unwritable { path: path.to_owned(), source })?;
        Ok(Self { out, path: path.to_owned(), finished: false })
    }

    fn finish(mut self, to: &Path) -> Result<(), SealFault> {
        let unwritable = |source| SealFault::Unwritable { path: to.to_owned(), source };
        self.out.sync_all().map_err(unwritable)?;
        fs::rename(&self.path, to).map_err(unwritable)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished {
            // What was written is worthless, and not under its name.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn from_writer(fault: WriteFault<UseFault>, path: &Path) -> SealFault {
    match fault {
        WriteFault::Signing(SigningFault::Signer(fault)) => SealFault::Token(fault),
        WriteFault::Stream(kaibiao_sealed::writer::StreamFault::Write(source)) => {
            SealFault::Unwritable { path: path.to_owned(), source }
        }
        other => SealFault::Write(other.to_string()),
    }
}

impl SealWarning {
    /// The warning in words.
    pub fn problem(&self) -> Problem {
        match self {
            SealWarning::CertificateRunsOut { purpose, not_after, deadline } => Problem::new(
                "certificate_runs_out",
                say(
                    format!(
                        "{}证书将于 {} 到期，早于开标时间 {}",
                        if *purpose == "signing" { "签名" } else { "加密" },
                        shown(*not_after),
                        shown(*deadline)
                    ),
                    format!(
                        "the {purpose} certificate runs out on {}, before the opening on {}",
                        shown(*not_after),
                        shown(*deadline)
                    ),
                ),
                say(
                    "已按递交时间判定证书，到期不影响解密；但请尽快联系 CA 机构续期，并保留原 CA 锁",
                    "it is judged at the receipt and its end does not prevent unsealing; renew it all the same, and keep the token",
                ),
            ),
            SealWarning::OverBudget { lot, budget } => Problem::new(
                "over_budget",
                say(
                    format!("标项 {lot} 的报价超过预算 {budget} 元"),
                    format!("the price of lot {lot} is above its budget of {budget} yuan"),
                ),
                say("超预算的投标无效，请核对报价", "a bid above the budget is invalid; check the price"),
            ),
            SealWarning::PastDeadline(deadline) => Problem::new(
                "past_deadline",
                say(
                    format!("投标截止时间 {} 已过", shown(*deadline)),
                    format!("the deadline of {} has passed", shown(*deadline)),
                ),
                say("逾期送达的投标将被拒收", "a late bid will be refused"),
            ),
            SealWarning::Exercise => Problem::new(
                "exercise",
                say(
                    "本项目为演练，不具法律效力",
                    "this project is an exercise and counts for nothing in law",
                ),
                say("请勿当作正式项目", "do not take it for a real one"),
            ),
        }
    }
}

impl Explain for SealFault {
    fn problem(&self) -> Problem {
        match self {
            SealFault::Package(fault) => package_problem(fault),
            SealFault::Token(fault) => fault.problem(),
            SealFault::OtherProject { packed_for, .. } => Problem::new(
                "other_project",
                say(format!("该标书包是为项目 {packed_for} 打包的"), self.to_string()),
                say("请核对项目，或重新打包", "check the project, or pack again"),
            ),
            SealFault::OtherLots(_) => Problem::new(
                "other_lots",
                say("标书包含有本项目没有的标项", self.to_string()),
                say("请核对标项编号后重新打包", "check the lots' numbers and pack again"),
            ),
            SealFault::PriceKind { lot, .. } => Problem::new(
                "price_kind",
                say(format!("标项 {lot} 的报价方式与招标文件不符"), self.to_string()),
                say(
                    "请在开标一览表中改正 price_kind 后重新打包",
                    "correct price_kind in the sheet and pack again",
                ),
            ),
            SealFault::TooLarge { bytes, max } => Problem::new(
                "too_large",
                say(format!("加密标书 {bytes} 字节，超过项目上限 {max} 字节"), self.to_string()),
                say("请压缩文件后重新打包", "make the documents smaller and pack again"),
            ),
            SealFault::SealedAlready(_) => Problem::new(
                "sealed_already",
                say("该标书包已加密过；重新加密会使先前的加密标书失去备份", self.to_string()),
                say(
                    "若要得到同一份加密标书，请用 kaibiao-bid reseal；确需重新加密并将重新递交，请加 --anew",
                    "for the same sealed bid run `kaibiao-bid reseal`; if you will hand in a new one, add --anew",
                ),
            ),
            SealFault::OpeningKey => Problem::new(
                "opening_key",
                say("项目信息中的开标密钥无效", self.to_string()),
                say("请重新从平台获取项目信息", "fetch the project from the platform again"),
            ),
            SealFault::Wrap(_) => Problem::new(
                "encryption_certificate",
                say(format!("加密证书不能使用：{self}"), self.to_string()),
                say("请使用含 RSA 密钥的 CA 锁", "use a token with RSA keys"),
            ),
            SealFault::Write(_) => Problem::new(
                "not_sealed",
                say(format!("加密未完成：{self}"), self.to_string()),
                say("请检查标书包是否被改动后重试", "check that the package did not change and try again"),
            ),
            SealFault::Unwritable { path, source } => Problem::new(
                "file_unwritable",
                say(format!("无法写入 {}：{source}", path.display()), self.to_string()),
                say("请检查磁盘空间与权限", "check the disk's room and the folder's rights"),
            ),
        }
    }
}
