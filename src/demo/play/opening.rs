//! The second act: all unseal at once, one by its backup; the record appears; it is read out and confirmed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};
use kaibiao_bidder::practice::server::ServerProcess;
use serde_json::{Map, Value, json};

use super::{
    Desk, Opened, PROJECT, Phases, Stage,
    hand_in::{bid_name, environment},
    set_up::AGENT,
};
use crate::{
    demo::cast::{Part, Supplier},
    outcome::Failure,
};

/// How often the agent looks whether somebody needs the backup.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the agent looks before giving up: window, grace and some more.
const LOOKS_MAX: u32 = 480;

impl Stage<'_> {
    /// Opens, and verifies offline what was published.
    pub(super) async fn open(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
        phases: &mut Phases,
    ) -> Result<Opened, Failure> {
        let act = Instant::now();
        let late = self.come_late(server, desks).await?;
        phases.note("late_refused", act);
        let act = Instant::now();
        let standing: Vec<&Supplier> = self.suppliers.iter().filter(|one| one.part.stands()).collect();
        self.unseal_all(server, desks, &standing).await?;
        // Most of this is waiting for those who never come, as the rules want.
        phases.note("unsealing_to_publication", act);
        let act = Instant::now();
        self.agent(server, "record", ["--out", &self.folder.root().display().to_string()]).await?;
        let record = self.agent(server, "record", []).await?;
        let tables = self.tables(server).await?;
        let verified = self.verify(server, desks, &standing).await?;
        phases.note("records_verified", act);
        let act = Instant::now();
        self.agent(server, "read-out", []).await?;
        self.confirm(server, desks, &standing).await?;
        phases.note("read_out_and_confirmed", act);
        let act = Instant::now();
        self.end_opening(server).await?;
        phases.note("until_silence_is_consent", act);
        Ok(Opened { summary: count(&record, late, &standing), tables, verified })
    }

    async fn unseal_all(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
        standing: &[&Supplier],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let unsealing: Vec<&Supplier> =
            standing.iter().copied().filter(|one| one.part != Part::NeverUnseals).collect();
        let bar = self.bar("解密 unsealing", unsealing.len() as u64);
        let unseal = unsealing.iter().map(|supplier| {
            let bar = bar.clone();
            async move {
                let done = self.unseal(server, supplier, &desks[&supplier.no]).await;
                bar.inc(1);
                done
            }
        });
        let (unsealed, agent) = tokio::join!(join_all(unseal), self.admit_backups(server));
        agent?;
        unsealed.into_iter().collect::<Result<Vec<()>, Failure>>()?;
        self.end(&bar, "解密至公布 unsealed, published", began);
        Ok(())
    }

    /// Checks every receipt against its sealed bid, the late one's notice and the record, with the platform's
    /// public key alone.
    async fn verify(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
        standing: &[&Supplier],
    ) -> Result<String, Failure> {
        let project = self.folder.path("project.json").display().to_string();
        let first = standing.first().expect("bids stand in every demo");
        let token = &desks[&first.no].token;
        let mut arguments = self.in_project("project", server, token);
        arguments.extend(["-o".to_owned(), project.clone()]);
        self.programs.bid_done(arguments, &environment(token)).await?;
        let (mut receipts, mut notices) = (0, 0);
        for supplier in &self.suppliers {
            for better in [false, true] {
                let name = bid_name(supplier, better);
                let bid = self.file("bids", &format!("{name}.jmbs"));
                let receipt = self.file("receipts", &format!("{name}.receipt"));
                let notice = self.file("receipts", &format!("{name}.refusal"));
                let (file, count) = match (receipt.is_file(), notice.is_file()) {
                    (true, _) => (receipt, &mut receipts),
                    (false, true) => (notice, &mut notices),
                    (false, false) => continue,
                };
                let (file, bid) = (file.display().to_string(), bid.display().to_string());
                let ask = ["verify", "receipt", &file, "--bid", &bid, "--platform-key", &project];
                self.programs.kaibiao_done(ask).await?;
                *count += 1;
            }
        }
        let record = self.folder.path("opening-record.json").display().to_string();
        self.programs.kaibiao_done(["verify", "record", &record, "--platform-key", &project]).await?;
        Ok(format!("{receipts} 份回执、{notices} 份拒收通知、开标记录"))
    }

    async fn unseal(&self, server: &ServerProcess, supplier: &Supplier, desk: &Desk) -> Result<(), Failure> {
        let name = bid_name(supplier, supplier.part == Part::Replaces);
        let bid = self.file("bids", &format!("{name}.jmbs")).display().to_string();
        // Who has lost the token comes with another one, and signs in by password.
        let token = desk.other.as_ref().unwrap_or(&desk.token);
        let mut arguments = self.in_project("unseal", server, token);
        arguments.extend(["--bid".to_owned(), bid]);
        if desk.other.is_some() {
            let password = self.file("tokens", &format!("{}.password", supplier.account));
            arguments.extend(["--account".to_owned(), supplier.account.clone()]);
            arguments.extend(["--password-file".to_owned(), password.display().to_string()]);
        }
        if supplier.part == Part::NeedsBackup {
            let backup = self.file("bids", &format!("{name}.bfbs")).display().to_string();
            arguments.extend(["--backup".to_owned(), backup]);
        }
        let ran = self.programs.bid(arguments, &environment(token)).await?;
        let expected = if supplier.part == Part::WrongToken { 1 } else { 0 };
        if ran.code == Some(expected) {
            Ok(())
        } else {
            let told = format!("{}: {} {}", supplier.id, ran.last(), ran.said.trim());
            Err(Failure::of("unseal a bid", told))
        }
    }

    /// The agent admits the backup of each supplier who needs it, once its failure is recorded.
    async fn admit_backups(&self, server: &ServerProcess) -> Result<(), Failure> {
        for supplier in self.suppliers.iter().filter(|one| one.part == Part::NeedsBackup) {
            let mut looks = 0;
            loop {
                let view = self.agent(server, "watch", ["--once"]).await?;
                let bidders = view["bidders"].as_array().cloned().unwrap_or_default();
                let bidder = bidders.iter().find(|one| one["organisation"] == supplier.id.as_str());
                if bidder.is_some_and(|one| one["status"]["status"] == "failed") {
                    break;
                }
                looks += 1;
                if looks == LOOKS_MAX {
                    return Err(Failure::of("admit the backup bid", "its failure was never recorded"));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let reason = "供应商 CA 锁损坏,按采购文件启用备份标书";
            self.agent(server, "backup", ["--supplier", &supplier.id, "--reason", reason]).await?;
            self.tell(&format!("{} 的备份标书已启用 / its backup bid was admitted", supplier.name));
        }
        Ok(())
    }

    /// Every bidder whose token is at hand confirms the record.
    async fn confirm(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
        standing: &[&Supplier],
    ) -> Result<(), Failure> {
        let work = standing.iter().filter(|one| one.part != Part::NeverUnseals).map(|supplier| async {
            let token = &desks[&supplier.no].token;
            let arguments = self.in_project("confirm", server, token);
            self.programs.bid_done(arguments, &environment(token)).await.map(drop)
        });
        try_join_all(work).await.map(drop)
    }

    /// The agent ends the opening, once the silent are deemed to accept.
    async fn end_opening(&self, server: &ServerProcess) -> Result<(), Failure> {
        self.tell("等待未确认者的确认时间结束 / waiting until the silent are deemed to accept");
        for _ in 0..LOOKS_MAX {
            let ran = self.programs.kaibiao(self.agent_arguments(server, "end", [])).await?;
            if ran.code == Some(0) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Failure::of("end the opening", "it was refused until the end"))
    }

    fn agent_arguments<const N: usize>(
        &self,
        server: &ServerProcess,
        command: &str,
        more: [&str; N],
    ) -> Vec<String> {
        let password = self.file("tokens", &format!("{AGENT}.password")).display().to_string();
        let arguments = ["room", command, "--project", PROJECT, "--server", &server.url, "--account", AGENT];
        arguments.into_iter().chain(["--password-file", &password]).chain(more).map(str::to_owned).collect()
    }

    async fn agent<const N: usize>(
        &self,
        server: &ServerProcess,
        command: &str,
        more: [&str; N],
    ) -> Result<Value, Failure> {
        self.programs.kaibiao_done(self.agent_arguments(server, command, more)).await
    }

    /// The records as the agent's terminal shows them.
    async fn tables(&self, server: &ServerProcess) -> Result<String, Failure> {
        let text = self.programs.kaibiao_text(self.agent_arguments(server, "record", [])).await?;
        Ok(text.trim_end().to_owned())
    }
}

/// Opened and failed bids, counted in the record of the first lot, where every bidder stands.
fn count(record: &Value, late: u32, standing: &[&Supplier]) -> Value {
    let mut failed: Map<String, Value> = Map::new();
    let mut opened = 0_u32;
    for row in record["lots"][0]["rows"].as_array().into_iter().flatten() {
        match row["cause"].as_str() {
            Some(cause) => {
                let count = failed.get(cause).and_then(Value::as_u64).unwrap_or(0) + 1;
                failed.insert(cause.to_owned(), json!(count));
            }
            None => opened += 1,
        }
    }
    json!({
        "standing": standing.len(),
        "opened": opened,
        "failed_by_cause": failed,
        "late_refused": late,
        "record_digest": record["digest"],
    })
}
