//! Handing a sealed bid in, with the form that goes with it, and keeping the receipt.
//!
//! The upload's id is kept in a small file beside the sealed bid, so that running again after any cut goes on where
//! the server stands, and running again after the receipt gives the same receipt.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::rand;
use kaibiao_protocol::{
    digest::Digest,
    ids::{BidId, ProjectId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::{ProjectView, UploadVerdict},
};
use kaibiao_sealed::{
    arrival::{Arrival, ArrivalFault},
    digest::sha256,
    header::SealSignatureFault,
    platform_key::PUBLIC_KEY_BYTES,
    receipt::{ReceiptFacts, ReceiptFault, verify_receipt},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::{
    backup::beside,
    client::{ClientFault, FilePieces, Session, Upload, UploadProgress, UploadPurpose},
    private_file::write_private,
    report::{Explain, Problem, say},
    sealed_bid::{SealedBid, SealedBidFault, header_problem},
};

/// The form that goes with a bid (E1): whom to reach, shown masked to the organiser alone, after the deadline.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactForm {
    /// The legal or authorised representative: up to 50 characters.
    pub name: String,
    /// Resident identity number: 18 characters.
    pub id_number: String,
    /// Mobile number, told when unsealing begins: 11 digits.
    pub mobile: String,
    /// Postcode: 6 digits.
    pub postcode: String,
    /// Address: up to 30 characters.
    pub address: String,
}

impl Drop for ContactForm {
    fn drop(&mut self) {
        for field in
            [&mut self.name, &mut self.id_number, &mut self.mobile, &mut self.postcode, &mut self.address]
        {
            field.zeroize();
        }
    }
}

impl ContactForm {
    /// Reads a form from a JSON file such as
    /// `{"name":"王明德","id_number":"…","mobile":"…","postcode":"…","address":"…"}`.
    ///
    /// # Errors
    /// The file cannot be read or is not such a form.
    pub fn read(path: &Path) -> Result<Self, SubmitFault> {
        let unusable = |why: String| SubmitFault::Form { path: path.to_owned(), why };
        let mut text = fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
        let form = serde_json::from_slice(&text).map_err(|fault| unusable(fault.to_string()));
        text.zeroize();
        form
    }

    fn fields(&self) -> Vec<(String, String)> {
        [
            ("name", &self.name),
            ("id_number", &self.id_number),
            ("mobile", &self.mobile),
            ("postcode", &self.postcode),
            ("address", &self.address),
        ]
        .into_iter()
        .map(|(field, value)| (field.to_owned(), value.clone()))
        .collect()
    }
}

/// What is remembered beside the sealed bid as `NAME.upload.json`. Whoever changes it makes the upload begin anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadState {
    /// The server it goes to.
    pub server: String,
    /// The project.
    pub project: ProjectId,
    /// Which sealed bid: the digest of its header.
    pub header_digest: Digest,
    /// The upload's id.
    pub upload: UploadId,
    /// The deadline as the platform named it when the upload began; no order for an earlier one is obeyed.
    pub deadline: Moment,
    /// The bid, once it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<BidId>,
}

impl UploadState {
    /// Where the state of this sealed bid's upload lies.
    pub fn path_for(bid: &Path) -> PathBuf {
        beside(bid, "upload.json")
    }

    /// The state of this sealed bid's upload; none if there is none or it is not one.
    pub fn read(bid: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path_for(bid)).ok()?).ok()
    }

    fn write(&self, bid: &Path) -> Result<(), SubmitFault> {
        let path = Self::path_for(bid);
        let text = serde_json::to_vec_pretty(self).expect("the state is JSON");
        write_private(&path, &text).map_err(|source| SubmitFault::Unwritable { path, source })
    }
}

/// How handing in ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// Received; the receipt was checked and written.
    Received {
        /// The bid.
        bid: BidId,
        /// What the receipt says.
        facts: Box<ReceiptFacts>,
        /// Where the receipt lies.
        receipt: PathBuf,
    },
    /// Refused.
    Refused {
        /// The refusal.
        refusal: Box<Refusal>,
        /// Where the signed notice lies, if the platform gave one.
        notice: Option<PathBuf>,
    },
}

/// Why a bid was not handed in.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFault {
    /// The file is not a sealed bid.
    #[error(transparent)]
    Bid(#[from] SealedBidFault),
    /// The file is damaged: its bytes are not those of its own statement.
    #[error("{}: {fault}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        fault: ArrivalFault,
    },
    /// The supplier's signature on it does not hold.
    #[error("the signature on the sealed bid does not hold: {0}")]
    Signature(#[from] SealSignatureFault),
    /// The form cannot be read.
    #[error("{}: {why}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The bid was sealed for another project.
    #[error("the bid was sealed for project {sealed_for}, not {asked}")]
    OtherProject {
        /// The project it was sealed for.
        sealed_for: ProjectId,
        /// The project asked for.
        asked: ProjectId,
    },
    /// The bid was sealed for another platform.
    #[error("the bid was sealed for another platform's opening key")]
    OtherPlatform,
    /// The server refused or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The receipt does not hold.
    #[error("the platform's receipt does not hold: {fault}")]
    Receipt {
        /// Where it was kept all the same.
        kept: PathBuf,
        /// What is wrong with it.
        fault: ReceiptFault,
    },
}

/// What happens meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubmitStep {
    /// The own file is read through before anything is sent: bytes done and in all.
    Checking(u64, u64),
    /// Bytes are on their way.
    Sending(UploadProgress),
}

/// One sealed bid to be handed in.
pub struct Submission<'a> {
    /// The project.
    pub project: &'a ProjectId,
    /// The sealed bid.
    pub bid: &'a Path,
    /// The form.
    pub contact: &'a ContactForm,
    /// Where the receipt is written; none: beside the sealed bid as `NAME.receipt`.
    pub receipt: Option<&'a Path>,
    /// The most bytes of one request.
    pub request_bytes_max: u64,
}

/// A fresh upload id.
pub fn draw_upload_id() -> UploadId {
    let mut id = [0; 16];
    rand::fill(&mut id).expect("the system's random numbers cannot fail once seeded");
    UploadId(id)
}

impl Submission<'_> {
    /// Checks the sealed bid, uploads it, and keeps receipt or refusal notice. Run again after a cut it goes on;
    /// run again after the receipt it fetches the same receipt.
    ///
    /// # Errors
    /// [`SubmitFault`]. A refusal of the whole bid is [`Submitted::Refused`].
    pub async fn run(
        &self,
        session: &Session,
        tell: &mut (dyn FnMut(SubmitStep) + Send),
    ) -> Result<Submitted, SubmitFault> {
        let sealed = SealedBid::open(self.bid)?;
        let header = sealed.header.clone();
        header.check_signature()?;
        if header.binding.project != *self.project {
            let (sealed_for, asked) = (header.binding.project.clone(), self.project.clone());
            return Err(SubmitFault::OtherProject { sealed_for, asked });
        }
        let view = session.project(self.project).await?;
        if sha256(&view.opening_key.0) != header.binding.opening_key {
            return Err(SubmitFault::OtherPlatform);
        }
        check_bytes(&sealed, tell)?;
        let mut state = self.state(session, &view, &header.header_digest)?;
        let upload = Upload {
            project: self.project.clone(),
            id: state.upload,
            purpose: UploadPurpose::Bid,
            form: self.contact.fields(),
            pieces: Arc::new(FilePieces::open(self.bid)?),
            request_bytes_max: self.request_bytes_max,
        };
        let verdict = session.upload(&upload, &mut |progress| tell(SubmitStep::Sending(progress))).await;
        match verdict {
            Ok(UploadVerdict::Received { bid, receipt }) => {
                state.bid = Some(bid);
                state.write(self.bid)?;
                self.keep_receipt(bid, &receipt, &view, &sealed)
            }
            Ok(UploadVerdict::Refused { refusal, notice }) => self.keep_refusal(refusal, notice),
            Ok(UploadVerdict::Restored { .. }) => {
                Err(session.client().not_understood("a restoration that was not asked for".to_owned()).into())
            }
            // Refused before the first byte. The form or the moment was at fault, not this upload: it may go on.
            Err(ClientFault::Refused(refusal)) if !is_about_the_session(refusal.code) => {
                if refusal.code == RefusalCode::UploadTaken {
                    forget_upload(self.bid);
                }
                Ok(Submitted::Refused { refusal: Box::new(refusal), notice: None })
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// The state of an earlier run of this very upload, or a fresh one, written before anything is sent.
    fn state(
        &self,
        session: &Session,
        view: &ProjectView,
        header: &Digest,
    ) -> Result<UploadState, SubmitFault> {
        let server = session.client().address().to_string();
        if let Some(state) = UploadState::read(self.bid)
            && state.server == server
            && state.project == *self.project
            && state.header_digest == *header
            && still_stands(&state, view)
        {
            return Ok(state);
        }
        let state = UploadState {
            server,
            project: self.project.clone(),
            header_digest: *header,
            upload: draw_upload_id(),
            deadline: view.spec.deadline,
            bid: None,
        };
        state.write(self.bid)?;
        Ok(state)
    }

    fn keep_receipt(
        &self,
        bid: BidId,
        receipt: &str,
        view: &ProjectView,
        sealed: &SealedBid,
    ) -> Result<Submitted, SubmitFault> {
        let path = self.receipt.map_or_else(|| beside(self.bid, "receipt"), Path::to_owned);
        write_private(&path, receipt.as_bytes())
            .map_err(|source| SubmitFault::Unwritable { path: path.clone(), source })?;
        let facts = check_receipt(receipt, view, sealed)
            .map_err(|fault| SubmitFault::Receipt { kept: path.clone(), fault })?;
        Ok(Submitted::Received { bid, facts: Box::new(facts), receipt: path })
    }

    fn keep_refusal(&self, refusal: Refusal, notice: Option<String>) -> Result<Submitted, SubmitFault> {
        let notice = match notice {
            Some(text) => {
                let path = beside(self.bid, "refusal");
                write_private(&path, text.as_bytes())
                    .map_err(|source| SubmitFault::Unwritable { path: path.clone(), source })?;
                Some(path)
            }
            None => None,
        };
        // The verdict on this upload is final: another try is another upload.
        forget_upload(self.bid);
        Ok(Submitted::Refused { refusal: Box::new(refusal), notice })
    }
}

/// Whether the bid that an upload brought is the one that stands, if it brought one. A bid that was withdrawn or
/// replaced is handed in anew, under a new upload: the old one would only give its old receipt again.
fn still_stands(state: &UploadState, view: &ProjectView) -> bool {
    state.bid.is_none_or(|bid| view.own_bid.as_ref().is_some_and(|own| own.bid == bid))
}

fn is_about_the_session(code: RefusalCode) -> bool {
    use RefusalCode::{Busy, NotSignedIn, SessionEnded, SlowDown, WritingEnded};
    matches!(code, Busy | NotSignedIn | SessionEnded | SlowDown | WritingEnded)
}

fn forget_upload(bid: &Path) {
    // If it cannot be removed, the same verdict comes again and says so.
    let _ = fs::remove_file(UploadState::path_for(bid));
}

/// A receipt held against the platform's key and the sealed bid.
///
/// # Errors
/// It is not signed by the platform, or for another bid.
pub fn check_receipt(
    receipt: &str,
    view: &ProjectView,
    sealed: &SealedBid,
) -> Result<ReceiptFacts, ReceiptFault> {
    let key: [u8; PUBLIC_KEY_BYTES] =
        view.receipt_key.0.as_slice().try_into().unwrap_or([0; PUBLIC_KEY_BYTES]);
    let facts = verify_receipt(receipt, &key)?;
    facts.check_header(&sealed.header)?;
    Ok(facts)
}

/// Reads the own file through, so that a copy damaged on this disk is noticed before hours of uploading.
fn check_bytes(sealed: &SealedBid, tell: &mut dyn FnMut(SubmitStep)) -> Result<(), SubmitFault> {
    use kaibiao_sealed::read_at::ReadAt as _;
    let damaged = |fault| SubmitFault::Damaged { path: sealed.path.clone(), fault };
    let mut arrival = Arrival::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < sealed.bytes {
        let length = usize::try_from(sealed.bytes - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let piece = &mut buffer[..length];
        sealed
            .file
            .read_exact_at(piece, at)
            .map_err(|source| SealedBidFault::Unreadable { path: sealed.path.clone(), source })?;
        arrival.push(piece).map_err(damaged)?;
        at += length as u64;
        tell(SubmitStep::Checking(at, sealed.bytes));
    }
    arrival.finish().map_err(damaged)?;
    Ok(())
}

impl Explain for SubmitFault {
    fn problem(&self) -> Problem {
        match self {
            SubmitFault::Bid(fault) => fault.problem(),
            SubmitFault::Client(fault) => fault.problem(),
            SubmitFault::Damaged { path, fault: ArrivalFault::Header(fault) } => {
                header_problem(fault).at(path.display().to_string())
            }
            SubmitFault::Damaged { path, fault } => Problem::new(
                fault.code(),
                say(format!("本地的加密标书已损坏：{fault}"), self.to_string()),
                say(
                    "请改用完好的副本，或由备份标书重新生成（kaibiao-bid reseal）",
                    "use a whole copy, or make it again from the backup bid (`kaibiao-bid reseal`)",
                ),
            )
            .at(path.display().to_string()),
            SubmitFault::Signature(_) => Problem::new(
                "signature_invalid",
                say("加密标书上的签名无效", self.to_string()),
                say("请重新加密（kaibiao-bid seal）", "seal it again (`kaibiao-bid seal`)"),
            ),
            SubmitFault::Form { path, why } => Problem::new(
                "form_unusable",
                say(format!("联系人表 {} 无法使用：{why}", path.display()), self.to_string()),
                say(
                    "请按 docs/bidding.md 填写 name、id_number、mobile、postcode、address",
                    "fill in name, id_number, mobile, postcode and address as docs/bidding.md shows",
                ),
            )
            .at(path.display().to_string()),
            SubmitFault::OtherProject { sealed_for, .. } => Problem::new(
                "other_project",
                say(format!("该标书是为项目 {sealed_for} 加密的"), self.to_string()),
                say(
                    "请核对 --project，或为本项目重新加密",
                    "check --project, or seal a bid for this project",
                ),
            ),
            SubmitFault::OtherPlatform => Problem::new(
                "other_platform",
                say("该标书绑定的是另一平台的开标密钥", self.to_string()),
                say(
                    "请核对服务器地址，或为本平台重新加密",
                    "check the address, or seal a bid for this platform",
                ),
            ),
            SubmitFault::Unwritable { path, source } => Problem::new(
                "file_unwritable",
                say(format!("无法写入 {}：{source}", path.display()), self.to_string()),
                say(
                    "请检查磁盘空间与权限后重试",
                    "check the disk's room and the folder's rights and run again",
                ),
            )
            .at(path.display().to_string()),
            SubmitFault::Receipt { kept, .. } => Problem::new(
                "receipt_invalid",
                say("平台给出的回执未通过验证", self.to_string()),
                say("请保存该回执并立即联系平台", "keep the file and tell the platform at once"),
            )
            .at(kept.display().to_string()),
        }
    }
}
