//! Before the curtain: tokens, packages, people, the project.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use kaibiao_bidder::{
    clock::now,
    practice::{PracticeVendor, TokenKind, TokenShop},
};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::practice::Span;
use serde_json::{Map, Value, json};

use super::{Desk, PROJECT, Stage, hand_in::bid_name, lead};
use crate::{
    demo::{
        cast::{Part, Supplier},
        papers::{self, write_json},
    },
    outcome::Failure,
};

/// The agent's account, who runs the room.
pub(super) const AGENT: &str = "agent-lin";

impl Stage<'_> {
    /// Two authorities, and a token for each supplier.
    pub(super) async fn make_tokens(&self) -> Result<BTreeMap<u32, Desk>, Failure> {
        let began = Instant::now();
        let bar = self.bar("CA 锁 tokens", u64::from(self.demo.suppliers));
        let (dir, kind) = (self.folder.path("tokens"), TokenKind::from(self.demo.tokens));
        let (suppliers, step) = (self.suppliers.clone(), bar.clone());
        let work = tokio::task::spawn_blocking(move || {
            let today = now();
            let span = Span { from: today.plus_ms(-3_600_000), until: today.plus_minutes(365 * 24 * 60) };
            let mut shop = TokenShop::new(&dir, kind, span)?;
            let mut desks = BTreeMap::new();
            for supplier in &suppliers {
                let token = shop.add_supplier(&supplier.name, supplier.vendor)?;
                // Whoever brings a wrong token has a real one, of the same vendor and name, with other keys.
                let other = match supplier.part {
                    Part::WrongToken | Part::NeedsBackup => {
                        Some(shop.add_supplier(&supplier.name, supplier.vendor)?)
                    }
                    Part::Honest | Part::Withdraws | Part::Replaces | Part::Late | Part::NeverUnseals => None,
                };
                desks.insert(supplier.no, Desk { token, other });
                step.inc(1);
            }
            Ok(desks)
        });
        let desks = work.await.expect("making tokens does not panic");
        let desks =
            desks.map_err(|fault: kaibiao_bidder::practice::ShopFault| Failure::of("make tokens", fault))?;
        self.end(&bar, "CA 锁 tokens", began);
        Ok(desks)
    }

    /// Each supplier's papers, packed.
    pub(super) async fn make_packages(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let bar = self.bar("标书打包 packages", u64::from(self.demo.suppliers));
        let bytes = self.demo.bid_mb as usize * 1024 * 1024;
        for supplier in &self.suppliers {
            self.pack(supplier, bytes, false).await?;
            if supplier.part == Part::Replaces {
                self.pack(supplier, bytes, true).await?;
            }
            bar.inc(1);
        }
        self.end(&bar, "标书打包 packages", began);
        Ok(())
    }

    async fn pack(&self, supplier: &Supplier, bytes: usize, better: bool) -> Result<(), Failure> {
        let name = bid_name(supplier, better);
        let dir = self.folder.path("papers").join(&name);
        let (lots, whose) = (self.demo.lots, supplier.clone());
        let written = tokio::task::spawn_blocking(move || papers::write(&dir, &whose, lots, bytes, better))
            .await
            .expect("writing papers does not panic")?;
        let out = self.folder.path("bids").join(format!("{name}.bfbs"));
        let mut arguments = vec![
            "pack".to_owned(),
            "--project".to_owned(),
            PROJECT.to_owned(),
            "--supplier".to_owned(),
            supplier.id.clone(),
            "--sheet".to_owned(),
            written.sheet.display().to_string(),
        ];
        for document in written.documents {
            arguments.extend(["--document".to_owned(), document]);
        }
        arguments.extend(["-o".to_owned(), out.display().to_string()]);
        self.programs.bid_done(arguments, &[]).await.map(drop)
    }

    /// Organisations, accounts, roots of trust and bindings, through the server's own administration.
    pub(super) async fn set_up_people(&self, desks: &BTreeMap<u32, Desk>) -> Result<(), Failure> {
        let began = Instant::now();
        let bar = self.bar("开户 accounts", u64::from(self.demo.suppliers));
        let tokens = self.folder.path("tokens");
        for vendor in PracticeVendor::ALL {
            let root = tokens.join(vendor.name()).join("root.pem").display().to_string();
            self.admin(["root", "add", vendor.name(), &root]).await?;
        }
        self.admin(["org", "add", "purchaser-school", "--name", "育英中学", "--kind", "purchaser"]).await?;
        self.admin(["org", "add", "agency-kx", "--name", "开信招标代理有限公司", "--kind", "agency"]).await?;
        self.admin(["org", "add", "office-jd", "--name", "市财政局采购监督处", "--kind", "supervisor"])
            .await?;
        let password = |account: &str| tokens.join(format!("{account}.password"));
        for (account, org, name, role) in
            [(AGENT, "agency-kx", "林经办", "agent"), ("supervisor-he", "office-jd", "何监督", "supervisor")]
        {
            self.admin(["user", "add", account, "--org", org, "--name", name, "--role", role]).await?;
            self.set_password(account, &password(account)).await?;
        }
        for supplier in &self.suppliers {
            let (id, account) = (supplier.id.as_str(), supplier.account.as_str());
            self.admin(["org", "add", id, "--name", &supplier.name, "--kind", "supplier"]).await?;
            let name = format!("{} 投标人员", supplier.name);
            self.admin(["user", "add", account, "--org", id, "--name", &name, "--role", "supplier"]).await?;
            let desk = &desks[&supplier.no];
            for file in [&desk.token.signing_certificate_file, &desk.token.encryption_certificate_file] {
                self.admin(["bind", account, &file.display().to_string()]).await?;
            }
            if desk.other.is_some() {
                self.set_password(account, &password(account)).await?;
            }
            bar.inc(1);
        }
        self.end(&bar, "开户 accounts", began);
        Ok(())
    }

    async fn set_password(&self, account: &str, file: &Path) -> Result<(), Failure> {
        let mut bytes = [0; 12];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|fault| Failure::of("draw a password", fault))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(file, text + "\n")
            .map_err(|fault| Failure::of(&format!("write {}", file.display()), fault))?;
        self.admin(["user", "password", account, "--password-file", &file.display().to_string()])
            .await
            .map(drop)
    }

    /// The project, with a deadline that leaves time to hand everything in; tells it.
    pub(super) async fn create_project(&self) -> Result<Moment, Failure> {
        let lead = lead(self.demo.suppliers, self.demo.bid_mb);
        let deadline = now().plus_ms(i64::try_from(lead.as_millis()).expect("the lead is short"));
        // On a whole second, as deadlines are.
        let deadline = Moment(deadline.0 / 1_000_000 * 1_000_000);
        let lots: Map<String, Value> = (1..=self.demo.lots)
            .map(|lot| {
                let terms = json!({ "amount": "20000.00", "methods": ["银行转账", "电子保函"] });
                let spec = json!({
                    "name": LOT_NAMES[usize::from(lot - 1) % LOT_NAMES.len()],
                    "budget": format!("{}.00", 1_200_000 + u32::from(lot) * 100_000),
                    "price_kind": "total",
                    "bid_security": terms,
                });
                (lot.to_string(), spec)
            })
            .collect();
        let budget: u32 = (1..=u32::from(self.demo.lots)).map(|lot| 1_200_000 + lot * 100_000).sum();
        let spec = json!({
            "id": PROJECT,
            "name": "育英中学家具及设备采购",
            "region": "演练市",
            "kind": "exercise",
            "method": "open_tender",
            "purchaser": "purchaser-school",
            "organiser": "agency-kx",
            "budget": format!("{budget}.00"),
            "deadline": deadline,
            "start": "at_deadline",
            "window_minutes": 1,
            "failure_grace_minutes": 1,
            "backup": "any_fault",
            "confirm_minutes": 1,
            "consortium_allowed": false,
            "rule_pack": "GP/1",
            "lots": lots,
        });
        let file = self.folder.path("papers").join("project.json");
        write_json(&file, &spec)?;
        self.admin(["project", "create", &file.display().to_string()]).await?;
        self.tell(&format!("项目 {PROJECT} 投标截止 {} / deadline", kaibiao_bidder::clock::shown(deadline)));
        Ok(deadline)
    }
}

const LOT_NAMES: [&str; 5] = ["教室课桌椅", "图书馆书架", "办公家具", "实验室设备", "多媒体设备"];
