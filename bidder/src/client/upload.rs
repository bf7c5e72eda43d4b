//! Uploading a file by tus 1.0: begun once, resumed after every cut, ended with a verdict.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use kaibiao_protocol::{
    ids::{BidId, ProjectId, UploadId},
    refusal::RefusalCode,
    view::UploadVerdict,
};
use kaibiao_sealed::read_at::ReadAt as _;
use reqwest::{Body, Response, StatusCode, Url, header::LOCATION};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    Client, ClientFault, Session,
    backoff::Backoff,
    http::{is_busy, is_passing, network_fault},
};

/// The header by which a server says that an upload was judged.
const VERDICT: &str = "Kaibiao-Verdict";
/// Bytes read and sent at once.
const PIECE_BYTES: usize = 256 * 1024;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// After how long without a byte moving one connection counts as dead.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long the server may take to judge the file after its last byte.
const VERDICT_MAX: Duration = Duration::from_secs(300);

/// What is uploaded, read at any place: a cut is resumed from where the server says.
pub trait Pieces: Send + Sync + 'static {
    /// Bytes in all.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `length` bytes from `offset` on; both lie within [`Pieces::len`]. May block.
    ///
    /// # Errors
    /// The world fails.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

impl Pieces for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        Ok(self.slice(from..from + length))
    }
}

/// The bytes of a file.
pub struct FilePieces {
    file: File,
    len: u64,
}

impl FilePieces {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ClientFault> {
        let unusable =
            |fault: io::Error| ClientFault::File { path: path.display().to_string(), why: fault.to_string() };
        let file = File::open(path).map_err(unusable)?;
        let len = file.metadata().map_err(unusable)?.len();
        Ok(Self { file, len })
    }
}

impl Pieces for FilePieces {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; length];
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece.into())
    }
}

/// What an upload is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadPurpose {
    /// Handing a sealed bid in.
    Bid,
    /// Restoring this sealed bid, whose stored bytes are damaged.
    Restore(BidId),
}

/// One upload. The same upload, sent again under its id, gets its first verdict.
pub struct Upload {
    /// The project.
    pub project: ProjectId,
    /// Its id, drawn by the client.
    pub id: UploadId,
    /// What for.
    pub purpose: UploadPurpose,
    /// The fields of the upload form by name, such as `mobile`.
    pub form: Vec<(String, String)>,
    /// The bytes.
    pub pieces: Arc<dyn Pieces>,
    /// The most bytes of one request; a proxy on the way may set a limit.
    pub request_bytes_max: u64,
}

/// How far an upload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadProgress {
    /// Bytes sent, those of earlier runs included.
    pub sent: u64,
    /// Bytes in all.
    pub total: u64,
    /// Where this run began.
    pub resumed_from: u64,
    /// How often the connection was cut.
    pub cuts: u32,
}

enum Step {
    Offset(u64),
    Verdict(Box<UploadVerdict>),
}

impl Session {
    /// Uploads, and waits for the verdict. Cuts are resumed; `progress` is told about ten times a second. If it
    /// is given up (no progress within [`super::ClientOptions::file_patience`]) the same upload, run again, goes
    /// on where the server stands.
    ///
    /// # Errors
    /// The server refuses to begin or go on, cannot be reached for too long, or the file cannot be read. A bid
    /// refused after its last byte is a verdict, not an error.
    pub async fn upload(
        &self,
        upload: &Upload,
        progress: &mut (dyn FnMut(UploadProgress) + Send),
    ) -> Result<UploadVerdict, ClientFault> {
        let total = upload.pieces.len();
        let mut run = Run { session: self, upload, place: None, resumed_from: None, cuts: 0 };
        let (mut furthest, mut moved, mut backoff) = (0, Instant::now(), Backoff::new());
        loop {
            let fault = match run.step(progress).await.and_then(passing_verdict) {
                Ok(Step::Verdict(verdict)) => {
                    let resumed_from = run.resumed_from.unwrap_or(0);
                    progress(UploadProgress { sent: total, total, resumed_from, cuts: run.cuts });
                    return Ok(*verdict);
                }
                Ok(Step::Offset(offset)) => {
                    if offset > furthest {
                        (furthest, moved, backoff) = (offset, Instant::now(), Backoff::new());
                    }
                    continue;
                }
                Err(fault) => fault,
            };
            run.cuts += 1;
            // The server alone knows how much arrived.
            let again = is_passing(&fault)
                || fault.is_refused_as(RefusalCode::OffsetMismatch)
                // The server forgot an upload that it was told of: it is begun again.
                || (fault.is_refused_as(RefusalCode::Unknown) && run.resumed_from.is_some());
            if !again || moved.elapsed() > self.client().inner.options.file_patience {
                return Err(fault);
            }
            if let Ok(Step::Offset(offset)) = run.ask().await
                && offset > furthest
            {
                (furthest, moved, backoff) = (offset, Instant::now(), Backoff::new());
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Gives an upload up: the server forgets its bytes.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn abandon_upload(&self, upload: &Upload) -> Result<(), ClientFault> {
        let mut run = Run { session: self, upload, place: None, resumed_from: None, cuts: 0 };
        run.begin().await?;
        if let Some(place) = run.place {
            self.send(|http| tus(http.delete(place.clone()))).await?;
        }
        Ok(())
    }
}

/// One run of an upload in this process.
struct Run<'a> {
    session: &'a Session,
    upload: &'a Upload,
    /// Where the server wants the bytes.
    place: Option<Url>,
    resumed_from: Option<u64>,
    cuts: u32,
}

impl Run<'_> {
    fn client(&self) -> &Client {
        self.session.client()
    }

    /// One request's worth: begins, or sends the next bytes.
    async fn step(&mut self, progress: &mut (dyn FnMut(UploadProgress) + Send)) -> Result<Step, ClientFault> {
        if self.place.is_none() {
            self.begin().await?;
        }
        match self.ask().await? {
            Step::Verdict(verdict) => Ok(Step::Verdict(verdict)),
            Step::Offset(offset) => {
                self.resumed_from.get_or_insert(offset);
                self.send_from(offset, progress).await
            }
        }
    }

    /// Begins the upload, or finds it again by its id.
    async fn begin(&mut self) -> Result<(), ClientFault> {
        let upload = self.upload;
        let url = self.client().address().api(&format!("projects/{}/uploads", upload.project));
        let metadata = metadata(upload);
        let response = self
            .session
            .send(|http| {
                tus(http.post(url.clone()))
                    .header("Upload-Length", upload.pieces.len())
                    .header("Upload-Metadata", metadata.as_str())
                    .timeout(STALL_MAX)
            })
            .await?;
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| self.client().address().on_this_server(place));
        let place =
            place.ok_or_else(|| self.client().not_understood("an upload without its place".to_owned()))?;
        self.place = Some(place);
        Ok(())
    }

    /// Asks how much is in, or, where the file was judged, for the verdict.
    async fn ask(&mut self) -> Result<Step, ClientFault> {
        let Some(place) = self.place.clone() else { return Ok(Step::Offset(0)) };
        let asked = self.session.send(|http| tus(http.head(place.clone())).timeout(STALL_MAX)).await;
        let response = match asked {
            Ok(response) => response,
            Err(fault) => {
                // The place may have expired: beginning again under the same id tells.
                if !is_passing(&fault) {
                    self.place = None;
                }
                return Err(fault);
            }
        };
        if response.headers().contains_key(VERDICT) {
            let told = self.session.send(|http| tus(http.get(place.clone())).timeout(STALL_MAX)).await?;
            return Ok(Step::Verdict(Box::new(self.client().json(told).await?)));
        }
        self.offset_in(&response).map(Step::Offset)
    }

    fn offset_in(&self, response: &Response) -> Result<u64, ClientFault> {
        let offset =
            response.headers().get("Upload-Offset").and_then(|value| value.to_str().ok()?.parse().ok());
        offset
            .filter(|offset| *offset <= self.upload.pieces.len())
            .ok_or_else(|| self.client().not_understood("no Upload-Offset within the file".to_owned()))
    }

    /// Sends bytes from `offset` on. At the end of the file an empty request asks for the verdict again.
    async fn send_from(
        &self,
        offset: u64,
        progress: &mut (dyn FnMut(UploadProgress) + Send),
    ) -> Result<Step, ClientFault> {
        let Some(place) = self.place.clone() else { return Ok(Step::Offset(0)) };
        let total = self.upload.pieces.len();
        let length = (total - offset).min(self.upload.request_bytes_max.max(1));
        let sent = Arc::new(AtomicU64::new(offset));
        let patching = self.session.send(|http| {
            sent.store(offset, Ordering::Relaxed);
            tus(http.patch(place.clone()))
                .header("Upload-Offset", offset)
                .header("Content-Type", "application/offset+octet-stream")
                .header("Content-Length", length)
                .body(body(self.upload.pieces.clone(), offset..offset + length, sent.clone()))
        });
        tokio::pin!(patching);
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut moved) = (offset, Instant::now());
        let response = loop {
            tokio::select! {
                response = &mut patching => break response?,
                _ = ticks.tick() => {
                    let now_sent = sent.load(Ordering::Relaxed);
                    if now_sent != last {
                        (last, moved) = (now_sent, Instant::now());
                    }
                    let resumed_from = self.resumed_from.unwrap_or(offset);
                    progress(UploadProgress { sent: now_sent, total, resumed_from, cuts: self.cuts });
                    let stall_max = if now_sent == total { VERDICT_MAX } else { STALL_MAX };
                    if moved.elapsed() > stall_max {
                        let fault = io::Error::new(io::ErrorKind::TimedOut, "the upload stalled");
                        return Err(network_fault(self.client().address(), &fault));
                    }
                }
            }
        };
        if response.status() == StatusCode::OK {
            return Ok(Step::Verdict(Box::new(self.client().json(response).await?)));
        }
        self.offset_in(&response).map(Step::Offset)
    }
}

/// A platform that was busy at the very end is asked again; its verdict is not one on the bid.
fn passing_verdict(step: Step) -> Result<Step, ClientFault> {
    match step {
        Step::Verdict(verdict) => match *verdict {
            UploadVerdict::Refused { refusal, notice: None } if is_busy(refusal.code) => {
                Err(ClientFault::Refused(refusal))
            }
            verdict => Ok(Step::Verdict(Box::new(verdict))),
        },
        Step::Offset(offset) => Ok(Step::Offset(offset)),
    }
}

fn tus(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header("Tus-Resumable", "1.0.0")
}

/// `key base64(value)` pairs, as tus wants them.
fn metadata(upload: &Upload) -> String {
    let mut fixed = vec![("upload", upload.id.to_string())];
    match upload.purpose {
        UploadPurpose::Bid => fixed.push(("purpose", "bid".to_owned())),
        UploadPurpose::Restore(bid) => {
            fixed.extend([("purpose", "restore".to_owned()), ("bid", bid.to_string())]);
        }
    }
    let form = upload.form.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let pairs: Vec<String> = fixed
        .into_iter()
        .chain(form)
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .collect();
    pairs.join(",")
}

fn body(pieces: Arc<dyn Pieces>, range: std::ops::Range<u64>, sent: Arc<AtomicU64>) -> Body {
    Body::wrap_stream(stream::try_unfold(range.start, move |offset| {
        let (pieces, sent) = (pieces.clone(), sent.clone());
        async move {
            if offset == range.end {
                return Ok::<_, io::Error>(None);
            }
            let left = range.end - offset;
            let length = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let piece = tokio::task::spawn_blocking(move || pieces.read(offset, length))
                .await
                .map_err(io::Error::other)??;
            let next = offset + length as u64;
            sent.store(next, Ordering::Relaxed);
            Ok(Some((piece, next)))
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_goes_as_tus_metadata() {
        let upload = Upload {
            project: "KX-1".parse().unwrap(),
            id: UploadId([0xab; 16]),
            purpose: UploadPurpose::Bid,
            form: vec![("mobile".to_owned(), "13800000000".to_owned())],
            pieces: Arc::new(Bytes::from_static(b"x")),
            request_bytes_max: u64::MAX,
        };
        let expected =
            format!("upload {},purpose Ymlk,mobile MTM4MDAwMDAwMDA=", STANDARD.encode("ab".repeat(16)));
        assert_eq!(metadata(&upload), expected);
    }
}
