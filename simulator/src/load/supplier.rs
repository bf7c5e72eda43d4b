//! One supplier's day: sign in, seal, hand in at its time, unseal, see the record.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kaibiao_bidder::{
    client::{Client, ClientFault, Credentials, FilePieces, Pieces, Room, Session, Upload, UploadPurpose},
    clock::now,
    seal::SealJob,
    submit::draw_upload_id,
    unseal::{Report, Stay, Told, Unsealing},
};
use kaibiao_protocol::{
    ids::{BidId, UploadId},
    moment::Moment,
    view::{BidStatus, RoomEvent, UploadVerdict},
};
use kaibiao_sealed::{header::Header, platform_key::PUBLIC_KEY_BYTES, receipt::verify_receipt};

use super::{
    LoadFault,
    crowd::{Crowd, Member},
    meters::{Meters, Step},
};

/// Every tenth supplier sends its upload once more, as nervous people do.
const REPEATS_EVERY: u32 = 10;

/// How a supplier's handing in came out.
pub(super) enum Handed {
    /// With a receipt that holds.
    Received {
        /// The bid.
        bid: BidId,
        /// Stamped then.
        at: Moment,
        /// Whether the stamp is before the deadline, as the rule wants.
        rightly: bool,
        /// Whether sending it again gave the same receipt; none: it was sent once.
        same_again: Option<bool>,
    },
    /// With a refusal.
    Refused {
        /// Whether it was refused as late although its last byte left well before the deadline.
        wrongly: bool,
    },
    /// With no answer at all.
    Failed,
}

impl Handed {
    /// The bid that stands, if one does.
    pub(super) fn standing(&self) -> Option<BidId> {
        match self {
            Handed::Received { bid, .. } => Some(*bid),
            Handed::Refused { .. } | Handed::Failed => None,
        }
    }
}

/// A file that notes when its last byte was handed to the connection.
struct Watched {
    file: FilePieces,
    last_byte: Mutex<Option<(Instant, Moment)>>,
}

impl Pieces for Watched {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let piece = self.file.read(offset, length)?;
        if offset + length as u64 == self.file.len() {
            *self.last_byte.lock().expect("no panic while noting") = Some((Instant::now(), now()));
        }
        Ok(piece)
    }
}

/// A supplier on the day.
pub(super) struct Day<'a> {
    client: Client,
    member: &'a Member,
    comes_at: Moment,
    meters: Arc<Meters>,
    begun: Option<Begun>,
}

struct Begun {
    session: Session,
    room: Room,
    header: Header,
    sealed: PathBuf,
    receipt_key: [u8; PUBLIC_KEY_BYTES],
}

impl<'a> Day<'a> {
    pub(super) fn new(client: Client, member: &'a Member, comes_at: Moment, meters: Arc<Meters>) -> Self {
        Self { client, member, comes_at, meters, begun: None }
    }

    pub(super) fn comes_at(&self) -> Moment {
        self.comes_at
    }

    /// The room in this supplier's session.
    pub(super) fn room(&self) -> Room {
        self.begun().room.clone()
    }

    fn begun(&self) -> &Begun {
        self.begun.as_ref().expect("a day goes on only after it has begun")
    }

    /// Signs in and seals.
    pub(super) async fn begin(&mut self, crowd: &Crowd) -> Result<(), LoadFault> {
        let began = Instant::now();
        let signer = Arc::new(self.member.token.signer(self.member.signing.clone()));
        let session = self.client.sign_in(Credentials::token(signer)).await?;
        self.meters.since(Step::SignIn, began);
        let target = session.project(&crowd.project).await?;
        let receipt_key = target.receipt_key.0.as_slice().try_into();
        let receipt_key = receipt_key.map_err(|_| LoadFault::Bid("the platform's receipt key".to_owned()))?;
        let sealed = self.member.package.with_extension("jmbs");
        let (package, out) = (self.member.package.clone(), sealed.clone());
        let token = self.member.token.clone();
        let (signing, encryption) = (self.member.signing.clone(), self.member.encryption.clone());
        let began = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            let job = SealJob {
                package: &package,
                out: &out,
                target: &target,
                token: &token,
                signing: &signing,
                encryption: &encryption,
                anew: false,
                now: now(),
            };
            job.run(&mut |_, _| {}).map(|sealed| sealed.header)
        });
        let header =
            done.await.expect("sealing does not panic").map_err(|fault| LoadFault::Bid(fault.to_string()))?;
        self.meters.since(Step::Seal, began);
        let room = session.room(crowd.project.clone());
        self.begun = Some(Begun { session, room, header, sealed, receipt_key });
        Ok(())
    }

    /// Comes at its time and hands in.
    pub(super) async fn hand_in(&self, deadline: Moment) -> Handed {
        let wait = self.comes_at.micros_since(now());
        tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
        let id = draw_upload_id();
        let verdict = match self.upload(id, true).await {
            Ok((verdict, last_byte)) => (verdict, last_byte),
            Err(fault) => return self.not_handed(&fault),
        };
        match verdict {
            (UploadVerdict::Received { bid, receipt }, _) => {
                let Ok(facts) = verify_receipt(&receipt, &self.begun().receipt_key) else {
                    self.meters.failed("a receipt that does not hold");
                    return Handed::Failed;
                };
                let same_again = if self.member.no.is_multiple_of(REPEATS_EVERY) {
                    let began = Instant::now();
                    let again = self.upload(id, false).await;
                    self.meters.since(Step::Repeat, began);
                    Some(
                        matches!(&again, Ok((UploadVerdict::Received { receipt: second, .. }, _)) if *second == receipt),
                    )
                } else {
                    None
                };
                Handed::Received {
                    bid,
                    at: facts.received_at,
                    rightly: facts.received_at < deadline,
                    same_again,
                }
            }
            (UploadVerdict::Refused { refusal, .. }, last_byte) => {
                self.meters.refused(refusal.code.as_str());
                // Between our last byte's leaving and the stamp lies the way; a second is more than any way here.
                Handed::Refused { wrongly: last_byte.plus_ms(1_000) < deadline }
            }
            (UploadVerdict::Restored { .. }, _) => {
                self.meters.failed("a verdict of another kind");
                Handed::Failed
            }
        }
    }

    fn not_handed(&self, fault: &ClientFault) -> Handed {
        match fault.refusal() {
            Some(refusal) => {
                self.meters.refused(refusal.code.as_str());
                Handed::Refused { wrongly: false }
            }
            None => {
                self.meters.failed(&fault.to_string());
                Handed::Failed
            }
        }
    }

    /// One upload to its verdict, and when its last byte had left.
    async fn upload(&self, id: UploadId, metered: bool) -> Result<(UploadVerdict, Moment), ClientFault> {
        let begun = self.begun();
        let file = FilePieces::open(&begun.sealed)?;
        let pieces = Arc::new(Watched { file, last_byte: Mutex::new(None) });
        let upload = Upload {
            project: begun.room.project().clone(),
            id,
            purpose: UploadPurpose::Bid,
            form: self.member.form.clone(),
            pieces: pieces.clone(),
            request_bytes_max: u64::MAX,
        };
        let began = Instant::now();
        let verdict = begun.session.upload(&upload, &mut |_| {}).await?;
        // An upload that was judged before sends no byte again.
        let last_byte = *pieces.last_byte.lock().expect("no panic while noting");
        let last = last_byte.unwrap_or_else(|| (Instant::now(), now()));
        if metered {
            self.meters.note(Step::Upload, last.0.saturating_duration_since(began));
            self.meters.since(Step::Verdict, last.0);
        }
        Ok((verdict, last.1))
    }

    /// Takes part in the opening until the record is published.
    pub(super) async fn unseal(&self) {
        let begun = self.begun();
        let meters = self.meters.clone();
        let unsealing = Unsealing {
            room: begun.room.clone(),
            header: Some(begun.header.clone()),
            own_certificates: vec![self.member.signing.fingerprint, self.member.encryption.fingerprint],
            keys: Some(self.member.token.clone()),
            backup: None,
            deadline_told: None,
            stay: Stay::UntilPublished,
            report: Report::Always,
        };
        let (mut order, mut kept) = (None, None);
        let outcome = unsealing
            .run(&mut |told| match told {
                Told::OrderHolds { .. } => order = Some(Instant::now()),
                Told::KeysKept { .. } => {
                    if let Some(order) = order {
                        meters.since(Step::KeysKept, order);
                    }
                    kept = Some(Instant::now());
                }
                Told::Room {
                    event: RoomEvent::BidChanged { status: BidStatus::Unsealed, .. },
                    own: true,
                    ..
                } => {
                    // The room may tell before the answer is through.
                    meters.note(Step::Unsealed, kept.map_or(Duration::ZERO, |kept| kept.elapsed()));
                }
                Told::Room { event: RoomEvent::RecordsPublished { record }, .. } => {
                    let way = now().micros_since(record.published_at);
                    meters.note(Step::Published, Duration::from_micros(u64::try_from(way).unwrap_or(0)));
                }
                _ => {}
            })
            .await;
        if let Err(fault) = outcome {
            self.meters.failed(&fault.to_string());
        }
    }
}
