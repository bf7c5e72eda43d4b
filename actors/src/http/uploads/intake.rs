//! The bytes of one PATCH, straight to the disk and through the running check.
//!
//! Memory is one buffer an upload, however large the bid: while a buffer is hashed and written nothing more is read
//! from the socket. All buffers together are bounded too: where many are full, each is written earlier. What cannot become a bid here is refused as soon as its header says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{error::PayloadError, web};
use futures_util::StreamExt;
use kaibiao_engine::refusals::because;
use kaibiao_protocol::{
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::{
    arrival::{Arrival, ArrivalFault, Arrived},
    header::Header,
    read_at::ReadAt,
};
use tokio::time::{Instant, sleep_until};

use super::{
    super::Desk,
    ledger::{Upload, WriteTurn},
};
use crate::{
    files::FileFault,
    messages::{StampedFinal, UploadPurpose},
    refusals::refuse,
};

/// Bytes gathered before they are hashed and written.
const BUFFER_BYTES: usize = 128 * 1024;
/// Bytes gathered before they are written while all uploads together hold [`BUFFERS_BYTES_MAX`].
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// Bytes that all uploads hold in their buffers; beyond them each goes down to [`BUFFER_BYTES_MIN`], so that ten
/// thousand at once take 160 MiB more at most.
const BUFFERS_BYTES_MAX: usize = 256 << 20;
/// Bytes after which an upload on its way is synced and noted, so that a crash costs no more than these.
const NOTE_EVERY_BYTES: u64 = 32 << 20;

/// How a PATCH ended.
pub(super) enum Taken {
    /// The upload goes on at its offset.
    More,
    /// The last byte is in.
    Whole {
        /// What the check that ran along found; none: the bytes must be read again to tell.
        arrived: Option<Box<Arrived>>,
        /// The stamp of its last byte.
        stamped: Option<StampedFinal>,
    },
    /// It cannot become a bid here.
    Refused(Refusal),
    /// The client stopped sending, sent too little, or came again on another connection.
    Broken(&'static str),
    /// The platform failed.
    Fault(Refusal),
}

/// Takes the bytes of one PATCH in. `turn` is this upload's; its offset is where the bytes begin.
pub(super) async fn take_in(
    desk: &Arc<Desk>,
    upload: &Arc<Upload>,
    turn: &mut WriteTurn,
    mut payload: web::Payload,
) -> Taken {
    let mut writer = match Writer::begin(desk, upload, turn).await {
        Ok(writer) => writer,
        Err(refusal) => return Taken::Fault(refusal),
    };
    let limits = &desk.config.uploads;
    let window = Duration::from_secs(limits.window_seconds.into());
    let mut window_ends = Instant::now() + window;
    let mut in_window = 0;
    let mut stopping = desk.stopping.subscribe();
    let ended = loop {
        let piece = tokio::select! {
            biased;
            () = turn.wanted() => break Taken::Broken("taken over by a later connection"),
            _ = stopping.wait_for(|stopping| *stopping) => break Taken::Broken("the server stops"),
            () = sleep_until(window_ends) => {
                if in_window < limits.window_bytes_min {
                    break Taken::Broken("too slow");
                }
                (window_ends, in_window) = (Instant::now() + window, 0);
                continue;
            }
            piece = payload.next() => piece,
        };
        let bytes = match piece {
            Some(Ok(bytes)) => bytes,
            None => break Taken::More,
            Some(Err(PayloadError::Incomplete(_) | PayloadError::Io(_))) => break Taken::Broken("cut"),
            Some(Err(_)) => break Taken::Broken("not readable"),
        };
        in_window += bytes.len() as u64;
        if let Err(taken) = writer.push(&bytes).await {
            break taken;
        }
    };
    writer.end(turn, ended).await
}

struct Writer<'a> {
    desk: &'a Arc<Desk>,
    upload: &'a Arc<Upload>,
    arrival: Option<Box<Arrival>>,
    buffer: Vec<u8>,
    held: Held<'a>,
    /// Where the buffer begins.
    offset: u64,
    noted: u64,
    last_at: Moment,
    /// Taken when the last byte came in.
    stamped: Option<StampedFinal>,
}

/// What one upload holds of the memory of all.
struct Held<'a> {
    all: &'a AtomicUsize,
    mine: usize,
}

impl Held<'_> {
    /// Notes how much it is now, and gives what all hold.
    fn set(&mut self, now: usize) -> usize {
        let before = std::mem::replace(&mut self.mine, now);
        if now >= before {
            self.all.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.all.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl<'a> Writer<'a> {
    async fn begin(
        desk: &'a Arc<Desk>,
        upload: &'a Arc<Upload>,
        turn: &mut WriteTurn,
    ) -> Result<Self, Refusal> {
        let progress = upload.progress();
        let arrival = match turn.take() {
            Some(arrival) => arrival,
            None => read_again(desk, upload, progress.offset).await?,
        };
        let left = usize::try_from(upload.head.length - progress.offset).unwrap_or(BUFFER_BYTES);
        Ok(Self {
            desk,
            upload,
            arrival: Some(arrival),
            // A vector that grew would take twice what a small bid needs.
            buffer: Vec::with_capacity(left.min(BUFFER_BYTES)),
            held: Held { all: &desk.uploads.buffered, mine: 0 },
            offset: progress.offset,
            noted: progress.offset,
            last_at: progress.last_at,
            stamped: None,
        })
    }

    async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Taken> {
        let left = self.upload.head.length - self.offset - self.buffer.len() as u64;
        if bytes.len() as u64 > left {
            return Err(Taken::Refused(because(
                refuse(RefusalCode::TooLarge),
                "字节数超过上传开始时声明的长度",
                "more bytes than the upload's declared length",
            )));
        }
        if bytes.len() as u64 == left
            && self.stamped.is_none()
            && self.upload.head.purpose == UploadPurpose::Bid
        {
            // This very instant, before anything is awaited: hashing and writing the rest makes nobody late.
            let head = &self.upload.head;
            let stamped = self.desk.house.stamp_final(&head.project, &head.supplier);
            self.stamped = Some(stamped.map_err(Taken::Fault)?);
        }
        self.last_at = self.desk.house.clock().present();
        while !bytes.is_empty() {
            let room = (BUFFER_BYTES - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            let full = if self.held.set(self.buffer.len()) > BUFFERS_BYTES_MAX {
                BUFFER_BYTES_MIN
            } else {
                BUFFER_BYTES
            };
            if self.buffer.len() >= full {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hashes and writes what is gathered, on a thread made for waiting.
    async fn flush(&mut self) -> Result<(), Taken> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut arrival = self.arrival.take().expect("the check is here between two buffers");
        let buffer = std::mem::take(&mut self.buffer);
        let (files, file, offset) = (self.desk.house.files().clone(), self.upload.head.file, self.offset);
        let knew_header = arrival.header().is_some();
        let done = web::block(move || {
            let written = files.write_at(&file, offset, &buffer);
            let checked = if written.is_ok() { arrival.push(&buffer) } else { Ok(()) };
            (arrival, buffer, written, checked)
        })
        .await;
        let Ok((arrival, mut buffer, written, checked)) = done else {
            return Err(Taken::Fault(refuse(RefusalCode::Busy)));
        };
        let header = arrival.header().filter(|_| !knew_header);
        let early = header.and_then(|header| self.judge_early(header));
        self.arrival = Some(arrival);
        self.offset += buffer.len() as u64;
        self.held.set(0);
        buffer.clear();
        self.buffer = buffer;
        written.map_err(|fault| Taken::Fault(refusal_of(&fault)))?;
        self.upload.advance(self.offset, self.last_at);
        if self.upload.head.purpose == UploadPurpose::Bid {
            // The whole is judged when it is whole; what is wrong already need not be sent to its end.
            if let Err(fault) = checked {
                return Err(Taken::Refused(told(fault)));
            }
            if let Some(refusal) = early {
                return Err(Taken::Refused(refusal));
            }
        }
        if self.offset - self.noted >= NOTE_EVERY_BYTES && self.offset < self.upload.head.length {
            self.note().await?;
        }
        Ok(())
    }

    /// What the header alone shows to be wrong.
    fn judge_early(&self, header: &Header) -> Option<Refusal> {
        let head = &self.upload.head;
        let binding = &header.binding;
        let code = if binding.project != head.project {
            RefusalCode::OtherProject
        } else if binding.supplier != head.supplier {
            RefusalCode::OtherSupplier
        } else if binding.opening_key != self.desk.house.keys().opening.id() {
            RefusalCode::OtherPlatform
        } else if header.file_len() != head.length {
            RefusalCode::SealedBidDamaged
        } else {
            return None;
        };
        Some(refuse(code))
    }

    /// Syncs what is written and notes how far it is.
    async fn note(&mut self) -> Result<(), Taken> {
        let (files, file) = (self.desk.house.files().clone(), self.upload.head.file);
        match web::block(move || files.sync(&file)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Err(Taken::Fault(refusal_of(&fault))),
            Err(_) => return Err(Taken::Fault(refuse(RefusalCode::Busy))),
        }
        self.desk.uploads.note(self.upload).await.map_err(Taken::Fault)?;
        self.noted = self.offset;
        Ok(())
    }

    /// Writes what is left, gives the check back, and makes the offset that is about to be told durable.
    async fn end(mut self, turn: &mut WriteTurn, ended: Taken) -> Taken {
        let ended = match ended {
            Taken::More | Taken::Broken(_) => match self.flush().await {
                Ok(()) => ended,
                Err(worse) => worse,
            },
            other => other,
        };
        let whole = self.offset == self.upload.head.length;
        match ended {
            Taken::Refused(refusal) => {
                self.upload.settle(UploadVerdict::Refused { refusal: refusal.clone(), notice: None });
                self.desk.uploads.delete_file(self.upload).await;
                if let Err(fault) = self.desk.uploads.note(self.upload).await {
                    return Taken::Fault(fault);
                }
                Taken::Refused(refusal)
            }
            // The intake makes a whole file durable together with its stamp; that is faster than twice.
            // However the connection ended: the last byte is in, and its stamp must not be lost with the sender.
            Taken::More | Taken::Broken(_) if whole => {
                let arrival = self.arrival.take().expect("the check is here between two buffers");
                Taken::Whole { arrived: arrival.finish().ok().map(Box::new), stamped: self.stamped.take() }
            }
            Taken::Fault(refusal) => Taken::Fault(refusal),
            other => {
                if self.offset > self.noted
                    && let Err(fault) = self.note().await
                {
                    return fault;
                }
                turn.give_back(self.arrival.take());
                other
            }
        }
    }
}

/// Feeds the bytes that a stopped server left to a new check.
async fn read_again(desk: &Arc<Desk>, upload: &Arc<Upload>, until: u64) -> Result<Box<Arrival>, Refusal> {
    let (files, file) = (desk.house.files().clone(), upload.head.file);
    let read = web::block(move || -> Result<Box<Arrival>, FileFault> {
        let mut arrival = Box::new(Arrival::new());
        let stored = files.open(&file)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut offset = 0;
        while offset < until {
            let length = usize::try_from(until - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            stored.read_exact_at(&mut buffer[..length], offset).map_err(|_| FileFault::Unknown(file))?;
            // A fault shows again when the next bytes are pushed.
            if arrival.push(&buffer[..length]).is_err() {
                break;
            }
            offset += length as u64;
        }
        Ok(arrival)
    })
    .await;
    match read {
        Ok(Ok(arrival)) => Ok(arrival),
        Ok(Err(fault)) => Err(refusal_of(&fault)),
        Err(_) => Err(refuse(RefusalCode::Busy)),
    }
}

/// The refusal of bytes that are no sealed bid, naming the fault as `docs/formats/sealed-bid.md` does.
pub(super) fn told(fault: ArrivalFault) -> Refusal {
    because(refuse(fault.refusal()), fault.code(), &format!("{}: {fault}", fault.code()))
}

/// How a fault of the store is told.
pub(super) fn refusal_of(fault: &FileFault) -> Refusal {
    match fault {
        FileFault::NoRoom => refuse(RefusalCode::NoRoom),
        FileFault::TooLarge => refuse(RefusalCode::TooLarge),
        FileFault::Unknown(_) | FileFault::Spoiled(_) | FileFault::Gap { .. } | FileFault::Disk { .. } => {
            tracing::error!(%fault, "the store of files failed");
            refuse(RefusalCode::Busy)
        }
    }
}
