//! The first act: suppliers seal and hand in; one withdraws, one replaces.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use kaibiao_bidder::{
    clock::now,
    practice::{PracticeToken, server::ServerProcess},
};
use kaibiao_protocol::moment::Moment;
use tokio::sync::Semaphore;

use super::{Desk, PROGRAMS_AT_ONCE, PROJECT, Stage};
use crate::{
    demo::cast::{Part, Supplier},
    outcome::Failure,
};

/// The name of a bid's files.
pub(super) fn bid_name(supplier: &Supplier, better: bool) -> String {
    format!("{}{}", supplier.id, if better { "-replacement" } else { "" })
}

/// Options by which a program finds a token and its PIN.
pub(super) fn token_arguments(stage: &Stage<'_>, token: &PracticeToken) -> Vec<String> {
    let mut arguments = match &token.selector {
        Some(selector) => {
            let vendors = stage.folder.path("tokens").join("vendors.toml").display().to_string();
            vec!["--token".to_owned(), selector.to_string(), "--vendors".to_owned(), vendors]
        }
        None => vec!["--pkcs12".to_owned(), token.pkcs12.display().to_string()],
    };
    arguments.extend(["--pin-file".to_owned(), token.pin_file.display().to_string()]);
    arguments
}

/// What a program finds in its environment at this token's desk.
pub(super) fn environment(token: &PracticeToken) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = token
        .desk
        .environment
        .iter()
        .map(|(name, path)| (OsString::from(name), path.clone().into()))
        .collect();
    // Sessions of one supplier must not serve another.
    let state = token.pin_file.with_extension("state");
    all.push((OsString::from("KAIBIAO_STATE"), state.into()));
    all
}

impl Stage<'_> {
    pub(super) fn file(&self, folder: &str, name: &str) -> PathBuf {
        self.folder.path(folder).join(name)
    }

    /// Everybody but the late one hands in.
    pub(super) async fn hand_in(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let bar = self.bar("加密并递交 sealed, handed in", u64::from(self.demo.suppliers));
        let permits = Arc::new(Semaphore::new(PROGRAMS_AT_ONCE));
        let work = self.suppliers.iter().map(|supplier| {
            let (permits, bar) = (permits.clone(), bar.clone());
            async move {
                let _permit = permits.acquire().await.expect("the semaphore is never closed");
                self.hand_in_one(server, supplier, &desks[&supplier.no].token).await?;
                bar.inc(1);
                Ok::<(), Failure>(())
            }
        });
        futures_util::future::try_join_all(work).await?;
        self.end(&bar, "加密并递交 sealed, handed in", began);
        Ok(())
    }

    async fn hand_in_one(
        &self,
        server: &ServerProcess,
        supplier: &Supplier,
        token: &PracticeToken,
    ) -> Result<(), Failure> {
        self.seal(server, supplier, token, false).await?;
        if supplier.part == Part::Late {
            return Ok(());
        }
        self.submit(server, supplier, token, false).await?;
        match supplier.part {
            Part::Withdraws => self.withdraw(server, supplier, token).await,
            Part::Replaces => {
                self.seal(server, supplier, token, true).await?;
                self.submit(server, supplier, token, true).await
            }
            Part::Honest | Part::Late | Part::NeverUnseals | Part::NeedsBackup | Part::WrongToken => Ok(()),
        }
    }

    async fn seal(
        &self,
        server: &ServerProcess,
        supplier: &Supplier,
        token: &PracticeToken,
        better: bool,
    ) -> Result<(), Failure> {
        let name = bid_name(supplier, better);
        let package = self.file("bids", &format!("{name}.bfbs")).display().to_string();
        let sealed = self.file("bids", &format!("{name}.jmbs")).display().to_string();
        let mut arguments: Vec<String> =
            ["seal", &package, "--server", &server.url, "-o", &sealed].map(str::to_owned).to_vec();
        arguments.extend(token_arguments(self, token));
        self.programs.bid_done(arguments, &environment(token)).await.map(drop)
    }

    async fn submit(
        &self,
        server: &ServerProcess,
        supplier: &Supplier,
        token: &PracticeToken,
        better: bool,
    ) -> Result<(), Failure> {
        let arguments = self.submit_arguments(server, supplier, token, better);
        self.programs.bid_done(arguments, &environment(token)).await.map(drop)
    }

    fn submit_arguments(
        &self,
        server: &ServerProcess,
        supplier: &Supplier,
        token: &PracticeToken,
        better: bool,
    ) -> Vec<String> {
        let name = bid_name(supplier, better);
        let sealed = self.file("bids", &format!("{name}.jmbs")).display().to_string();
        let receipt = self.file("receipts", &format!("{name}.receipt")).display().to_string();
        let contact = self.file("papers", &name).join("contact.json").display().to_string();
        let mut arguments = self.in_project("submit", server, token);
        arguments.extend([sealed, "--contact".to_owned(), contact, "-o".to_owned(), receipt]);
        arguments
    }

    /// A command in the demo's project.
    pub(super) fn in_project(
        &self,
        command: &str,
        server: &ServerProcess,
        token: &PracticeToken,
    ) -> Vec<String> {
        let mut arguments: Vec<String> =
            [command, "--project", PROJECT, "--server", &server.url].map(str::to_owned).to_vec();
        arguments.extend(token_arguments(self, token));
        arguments
    }

    async fn withdraw(
        &self,
        server: &ServerProcess,
        supplier: &Supplier,
        token: &PracticeToken,
    ) -> Result<(), Failure> {
        let mut arguments = self.in_project("withdraw", server, token);
        arguments.extend(["--reason".to_owned(), "报价有误,重新核算".to_owned()]);
        self.programs.bid_done(arguments, &environment(token)).await?;
        self.tell(&format!("{} 已撤回 / withdrew", supplier.name));
        Ok(())
    }

    /// Waits for the deadline, counting down.
    pub(super) async fn await_deadline(&self, deadline: Moment) {
        let seconds = |until: Moment| u64::try_from(until.micros_since(now()) / 1_000_000).unwrap_or(0);
        let bar = self.bar("等待截止 until the deadline", seconds(deadline));
        let whole = seconds(deadline);
        while now() < deadline {
            bar.set_position(whole.saturating_sub(seconds(deadline)));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bar.finish();
    }

    /// The late one hands in; it must be refused, with a signed notice.
    pub(super) async fn come_late(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
    ) -> Result<u32, Failure> {
        let mut refused = 0;
        for supplier in self.suppliers.iter().filter(|one| one.part == Part::Late) {
            let token = &desks[&supplier.no].token;
            let arguments = self.submit_arguments(server, supplier, token, false);
            let ran = self.programs.bid(arguments, &environment(token)).await?;
            if ran.code != Some(1) || ran.last()["refused"][0]["code"] != "past_deadline" {
                return Err(Failure::of("see the late bid refused", ran.last()));
            }
            let name = bid_name(supplier, false);
            let notice = self.file("bids", &format!("{name}.jmbs.refusal"));
            let kept = self.file("receipts", &format!("{name}.refusal"));
            std::fs::rename(&notice, &kept).map_err(|fault| Failure::of("keep the signed refusal", fault))?;
            self.tell(&format!("{} 迟到,已被拒收 / came late and was refused", supplier.name));
            refused += 1;
        }
        Ok(refused)
    }
}
