//! Handing in: an upload in pieces, its cuts and repetitions, until its verdict.

use std::sync::Arc;

use kaibiao_protocol::{
    ids::{BidId, UploadId},
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};

use super::{Errand, Hands, Person};
use crate::world::{
    draw::Draw,
    oracle::Handed,
    plan::{Doubled, File, Who},
    stock::{Make, StockBid, project_id, stock},
    wire::{Bytes, Purpose, ToServer},
};

/// One upload.
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) project: usize,
    pub(super) file: File,
    pub(super) purpose: Purpose,
    bytes: Arc<[u8]>,
    piece: u64,
    pause_ms: u64,
    doubled: Doubled,
    /// Bytes the server has, as it said last.
    offset: u64,
    tries: u32,
    /// How often the server did not know it.
    unknown: u32,
    /// Sent on this line, not answered.
    under_way: bool,
    done: bool,
}

impl Upload {
    /// The sealed bid it brings, where that is one's own.
    pub(super) fn stock_bid(&self, supplier: usize) -> Option<&'static StockBid> {
        match self.file {
            File::Own(make) => Some(stock().bid(self.project, supplier, make)),
            File::Damaged | File::Short | File::OfSupplier(_) | File::OfProject(_) => None,
        }
    }
}

/// The bytes of a file, as a supplier sends them for a project.
fn bytes_of(draw: &mut Draw, project: usize, supplier: usize, file: File) -> Arc<[u8]> {
    let sound = |project, supplier| stock().bid(project, supplier, Make::Version(0)).bytes.clone();
    match file {
        File::Own(make) => stock().bid(project, supplier, make).bytes.clone(),
        File::OfSupplier(other) => sound(project, other),
        File::OfProject(other) => sound(other, supplier),
        File::Damaged => {
            let mut bytes = sound(project, supplier).to_vec();
            let at = draw.between(0, bytes.len() as u64 * 8 - 1);
            bytes[(at / 8) as usize] ^= 1 << (at % 8);
            bytes.into()
        }
        File::Short => {
            let bytes = sound(project, supplier);
            let cut = draw.between(1, bytes.len() as u64 / 2) as usize;
            bytes[..bytes.len() - cut].into()
        }
    }
}

impl Person {
    pub(super) fn hands_in(
        &mut self,
        mut draw: Draw,
        project: usize,
        supplier: usize,
        file: File,
        (pieces, pause_ms, doubled): (u32, u64, Doubled),
        hands: &mut Hands<'_>,
    ) {
        let bytes = bytes_of(&mut draw, project, supplier, file);
        let upload = Upload {
            id: UploadId(draw.id()),
            project,
            file,
            purpose: Purpose::Bid,
            piece: (bytes.len() as u64).div_ceil(u64::from(pieces.max(1))),
            bytes,
            pause_ms,
            doubled,
            offset: 0,
            tries: 0,
            unknown: 0,
            under_way: false,
            done: false,
        };
        self.begins(upload, hands);
    }

    /// Brings the bytes of its bid again, because the store damaged them.
    pub(super) fn restores(&mut self, project: usize, bid: BidId, hands: &mut Hands<'_>) {
        let Who::Supplier(supplier) = self.who else { return };
        let restoring = |one: &Upload| one.purpose == Purpose::Restore(bid);
        let Some(bytes) = self.bytes_of_bid(project, bid).filter(|_| !self.uploads.iter().any(restoring))
        else {
            return;
        };
        let id = UploadId(self.draw.named("restore").of(supplier as u64).of(project as u64).id());
        let upload = Upload {
            id,
            project,
            file: File::Own(Make::Version(0)),
            purpose: Purpose::Restore(bid),
            piece: bytes.len() as u64,
            bytes,
            pause_ms: 0,
            doubled: Doubled::No,
            offset: 0,
            tries: 0,
            unknown: 0,
            under_way: false,
            done: false,
        };
        self.begins(upload, hands);
    }

    fn begins(&mut self, upload: Upload, hands: &mut Hands<'_>) {
        let Who::Supplier(supplier) = self.who else { return };
        hands.oracle.hands_in(Handed {
            upload: upload.id,
            project: upload.project,
            supplier,
            file: upload.file,
            purpose: upload.purpose,
            total: upload.bytes.len() as u64,
        });
        self.uploads.push(upload);
        self.asks_where(self.uploads.len() - 1, true, hands);
    }

    /// `POST`, or `HEAD` where it began before.
    fn asks_where(&mut self, index: usize, begin: bool, hands: &mut Hands<'_>) {
        let Some(conn) = self.line.conn else { return self.dials(hands) };
        let one = &mut self.uploads[index];
        one.under_way = true;
        let (upload, project) = (one.id, project_id(one.project));
        let message = if begin {
            ToServer::BeginUpload { upload, project, purpose: one.purpose, total: one.bytes.len() as u64 }
        } else {
            ToServer::WhereStands { upload, project }
        };
        hands.send(conn, message);
    }

    fn sends_piece(&mut self, index: usize, hands: &mut Hands<'_>) {
        let Some(conn) = self.line.conn else { return };
        let one = &mut self.uploads[index];
        one.under_way = true;
        let piece = ToServer::Piece {
            upload: one.id,
            project: project_id(one.project),
            offset: one.offset,
            bytes: Bytes::range(&one.bytes, one.offset, one.piece),
        };
        let last = one.offset + one.piece >= one.bytes.len() as u64;
        if last && one.doubled == Doubled::LastPiece {
            hands.send(conn, piece.clone());
        }
        hands.send(conn, piece);
    }

    /// Goes on with an upload: sends what the server has not.
    pub(super) fn goes_on(&mut self, index: usize, hands: &mut Hands<'_>) {
        if self.line.conn.is_none() {
            // Whoever dials goes on with every upload.
            return self.dials(hands);
        }
        let one = &self.uploads[index];
        if one.done || one.under_way {
            return;
        }
        if one.tries > 0 {
            self.asks_where(index, false, hands);
        } else {
            self.sends_piece(index, hands);
        }
    }

    /// The line is new.
    pub(super) fn uploads_go_on(&mut self, hands: &mut Hands<'_>) {
        for index in 0..self.uploads.len() {
            self.uploads[index].under_way = false;
            if !self.uploads[index].done {
                let begin = self.uploads[index].offset == 0;
                self.asks_where(index, begin, hands);
            }
        }
    }

    pub(super) fn stands(
        &mut self,
        upload: UploadId,
        offset: u64,
        verdict: Option<Box<UploadVerdict>>,
        hands: &mut Hands<'_>,
    ) {
        let Some(index) = self.uploads.iter().position(|one| one.id == upload) else { return };
        let one = &mut self.uploads[index];
        one.under_way = false;
        one.tries = 0;
        let before = std::mem::replace(&mut one.offset, offset);
        if verdict.is_some() {
            let first = !std::mem::replace(&mut one.done, true);
            if first && one.doubled == Doubled::Whole {
                self.asks_where(index, true, hands);
            }
            return;
        }
        if one.done {
            return;
        }
        let pause_ms = if offset == 0 || before == 0 && offset < one.piece { 0 } else { one.pause_ms };
        if offset >= one.bytes.len() as u64 {
            // Everything is there and no verdict: asked again after a while.
            one.tries += 1;
            let tries = one.tries;
            let ms = self.pause_ms(tries);
            self.later(ms, Errand::Upload { index }, hands);
            self.uploads[index].tries = 0;
        } else if pause_ms == 0 {
            self.sends_piece(index, hands);
        } else {
            self.later(pause_ms, Errand::Upload { index }, hands);
        }
    }

    pub(super) fn no_upload(&mut self, upload: UploadId, refusal: &Refusal, hands: &mut Hands<'_>) {
        let Some(index) = self.uploads.iter().position(|one| one.id == upload) else { return };
        let one = &mut self.uploads[index];
        one.under_way = false;
        if one.done {
            return;
        }
        match refusal.code {
            RefusalCode::Unknown if one.unknown < UNKNOWN_TRIES_MAX => {
                // The server does not know it (any more): from the beginning.
                one.unknown += 1;
                one.offset = 0;
                self.asks_where(index, true, hands);
            }
            RefusalCode::Busy
            | RefusalCode::SlowDown
            | RefusalCode::WritingEnded
            | RefusalCode::NoRoom
            | RefusalCode::OffsetMismatch => {
                one.tries += 1;
                let tries = one.tries;
                let ms = if refusal.code == RefusalCode::OffsetMismatch { 0 } else { self.pause_ms(tries) };
                self.later(ms, Errand::Upload { index }, hands);
            }
            _ => one.done = true,
        }
    }

    /// The bytes of a bid of its own that was received.
    fn bytes_of_bid(&self, project: usize, bid: BidId) -> Option<Arc<[u8]>> {
        self.upload_of(project, bid).map(|upload| upload.bytes.clone())
    }

    /// The upload that brought a bid.
    pub(super) fn upload_of(&self, project: usize, bid: BidId) -> Option<&Upload> {
        let id = self.seats.get(&project)?.uploads.get(&bid)?;
        self.uploads.iter().find(|one| one.id == *id)
    }
}

/// How often an upload the server does not know is begun anew.
const UNKNOWN_TRIES_MAX: u32 = 8;
