//! Commands that look at files and tokens: inspect, open, verify-receipt, tokens. None needs a network.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Outcome, Output,
    telling::{millis, tell_receipt, tell_times},
    token::TokenArgs,
};
use crate::{
    clock::shown,
    inspect::{Inspected, PackageSeen, SealedBidSeen, SignatureSeen, inspect},
    open::{all_cores, check, open_to},
    report::{Explain as _, say},
    sealed_bid::SealedBid,
    token::{PinTries, Selector, Vendors, pkcs11::tokens_of},
    verify::{Verified, read_platform_key, verify_file},
};

/// 查看文件中无需密钥即可读取的内容 / show what can be read of a file without a key
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid inspect bid.jmbs
  kaibiao-bid inspect bid.jmbs.receipt

A bid package (.bfbs) is not sealed: its prices are shown. 标书包未加密，会显示报价。")]
pub(super) struct Inspect {
    /// 加密标书、标书包、回执或拒收通知 / a sealed bid, bid package, receipt or refusal notice
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let seen = inspect(&self.file)?;
        output.ok(&seen);
        match &seen {
            Inspected::SealedBid(bid) => tell_sealed_bid(output, bid),
            Inspected::BidPackage(package) => tell_package(output, package),
            Inspected::SignedFile { text, key } => {
                output.text(&serde_json::to_string_pretty(text).unwrap_or_default());
                output.fact(&say("签发密钥（未验证）", "key, not verified"), key);
            }
        }
        Ok(())
    }
}

fn tell_sealed_bid(output: &mut Output<'_>, bid: &SealedBidSeen) {
    output.line(&say("加密标书", "sealed bid"));
    output.fact(&say("项目", "project"), &bid.project);
    output.fact(&say("供应商", "supplier"), &bid.supplier);
    let lots: Vec<String> = bid.lots.iter().map(ToString::to_string).collect();
    output.fact(&say("标项", "lots"), lots.join(", "));
    output.fact(&say("字节", "bytes"), bid.bytes);
    if bid.bytes != bid.bytes_stated {
        output.line(&say(
            format!("文件不完整：应为 {} 字节", bid.bytes_stated),
            format!("not whole: it should have {} bytes", bid.bytes_stated),
        ));
    }
    match &bid.signature {
        SignatureSeen::Holds { certificate, subject, not_after, .. } => {
            output.fact(&say("签名有效", "signed by"), subject);
            output.fact(&say("签名证书", "signing certificate"), certificate);
            output.fact(&say("证书有效期至", "valid until"), shown(*not_after));
        }
        SignatureSeen::Fails { why } => output.fact(&say("签名无效", "the signature fails"), why),
    }
    output.fact(&say("加密证书", "encryption certificate"), bid.encryption_certificate);
    output.fact(&say("开标密钥", "opening key"), bid.opening_key);
    output.fact(&say("摘要", "header digest"), bid.header_digest);
    for part in &bid.parts {
        output.text(&format!("  {}  {} B  sha256 {}", part.part, part.bytes, part.ciphertext));
    }
}

fn tell_package(output: &mut Output<'_>, package: &PackageSeen) {
    let kind = if package.sealed {
        say("备份标书（内含密钥，请勿外传）", "backup bid (it holds the key: keep it to yourself)")
    } else {
        say("标书包（未加密）", "bid package (not sealed)")
    };
    output.line(&kind);
    output.fact(&say("项目", "project"), &package.project);
    output.fact(&say("供应商", "supplier"), &package.supplier);
    for part in &package.parts {
        let price = part.sheet.as_ref().map(|sheet| format!("  {}", sheet.price)).unwrap_or_default();
        output.text(&format!("  {}{price}", part.part));
        for document in &part.documents {
            let (kind, title) = (document.kind, &document.title);
            output.text(&format!("    {kind}  {title}  {} B  sha256 {}", document.bytes, document.sha256));
        }
    }
}

/// 用本单位 CA 锁打开自己的加密标书 / open one's own sealed bid with the token that sealed it
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid open bid.jmbs --token huixin:label=KX01 --check
  kaibiao-bid open bid.jmbs --pkcs12 mingde.p12 -o again.bfbs

--check proves signature, certificate, key commitment and every chunk on all cores, and writes nothing.")]
pub(super) struct Open {
    /// 加密标书 / the sealed bid
    #[arg(value_name = "BID.jmbs")]
    bid: PathBuf,
    #[command(flatten)]
    token: TokenArgs,
    /// 只检查，不写文件 / only check
    #[arg(long, conflicts_with = "output", required_unless_present = "output")]
    check: bool,
    /// 检查所用线程数 / threads for --check; default: all cores
    #[arg(long, value_name = "N", requires = "check")]
    threads: Option<NonZeroUsize>,
    /// 还原的标书包 / where the package is written
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Open {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let bid = SealedBid::open(&self.bid)?;
        let chosen = self.token.open()?;
        let keys = chosen.token.as_ref();
        if let Some(path) = &self.output {
            let bar = output.bar(&say("打开", "opening"), 0);
            let opened = open_to(&bid, keys, path, &mut |done, total| {
                bar.set_length(total);
                bar.set_position(done);
            })?;
            bar.finish_and_clear();
            let token = chosen.opened_in + opened.token;
            let lots: Vec<_> = opened.package.lots().collect();
            output.ok(&json!({
                "file": path, "lots": lots, "signer": opened.signer.subject,
                "token_ms": millis(token), "opening_ms": millis(opened.opening),
            }));
            output.line(&say(
                format!("已还原为 {}：内含密钥，请妥善保管", path.display()),
                format!("opened into {}: it holds the key, keep it to yourself", path.display()),
            ));
            tell_times(output, token, opened.opening);
            return Ok(());
        }
        let bar = output.bar(&say("检查", "checking"), bid.bytes);
        let threads = self.threads.unwrap_or_else(all_cores);
        let checked = check(&bid, keys, threads, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        let token = chosen.opened_in + checked.token;
        let rate = checked.bytes as f64 / checked.check.as_secs_f64().max(1e-9) / 1e6;
        output.ok(&json!({
            "bytes": checked.bytes, "parts": checked.parts, "signer": checked.signer.subject,
            "threads": checked.threads, "token_ms": millis(token), "check_ms": millis(checked.check),
            "check_mb_per_s": rate.round(),
        }));
        output.line(&say(
            format!("完好：签名、证书、密钥承诺与全部 {} 字节均无误", checked.bytes),
            format!("whole: signature, certificate, commitment and all {} bytes hold", checked.bytes),
        ));
        output.fact(&say("签名者", "signed by"), &checked.signer.subject);
        tell_times(output, token, checked.check);
        Ok(())
    }
}

/// 离线验证平台签发的回执或拒收通知 / check a receipt or refusal notice offline
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid verify-receipt bid.jmbs.receipt --bid bid.jmbs --platform-key KX-00823.json
  kaibiao-bid verify-receipt bid.jmbs.receipt --platform-key 9f86d081884c7d65…

The platform's receipt key: 64 hexadecimal digits, a file with them, or a project saved by `kaibiao-bid project -o`.")]
pub(super) struct VerifyReceipt {
    /// 回执或拒收通知 / the receipt or refusal notice
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// 同时核对加密标书的每个字节 / hold the sealed bid against it, every byte
    #[arg(long, value_name = "FILE")]
    bid: Option<PathBuf>,
    /// 平台回执公钥 / the platform's receipt key
    #[arg(long, value_name = "HEX|FILE")]
    platform_key: String,
}

impl VerifyReceipt {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let key = read_platform_key(&self.platform_key)?;
        match verify_file(&self.receipt, &key, self.bid.as_deref())? {
            Verified::Receipt { facts, against_bid } => {
                output.ok(&json!({ "is": "receipt", "against_bid": against_bid, "facts": facts }));
                output.line(&say("回执有效", "the receipt holds"));
                tell_receipt(output, &facts);
                if against_bid {
                    output.line(&say(
                        "所给加密标书与回执逐字节一致",
                        "the sealed bid given is the one received, byte for byte",
                    ));
                }
            }
            Verified::Refusal(facts) => {
                output.ok(&json!({ "is": "refusal_notice", "facts": facts }));
                output.line(&say("拒收通知有效", "the refusal notice holds"));
                output.fact(&say("项目", "project"), &facts.project);
                output.fact(&say("收到时间", "received at"), shown(facts.received_at));
                output.fact(&say("截止时间", "deadline"), shown(facts.deadline));
                output.fact(&say("原因", "why"), format!("{} [{}]", facts.code.as_str(), facts.rule));
            }
        }
        Ok(())
    }
}

/// 列出已插入的 CA 锁 / list the tokens plugged in
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid tokens --vendors vendors.toml")]
pub(super) struct Tokens {
    /// CA 厂商配置 / the file of token vendors (docs/tokens.md)
    #[arg(long, value_name = "FILE", env = "KAIBIAO_VENDORS")]
    vendors: PathBuf,
}

impl Tokens {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let vendors = Vendors::read(&self.vendors)?;
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for vendor in vendors.iter() {
            // One vendor's broken driver must not hide another's tokens.
            match tokens_of(vendor) {
                Ok(tokens) => rows.extend(tokens),
                Err(fault) => faults.push(fault.problem()),
            }
        }
        for fault in &faults {
            output.warning(fault);
        }
        let seen: Vec<_> = rows
            .iter()
            .map(|token| {
                json!({
                    "selector": Selector::naming(&token.name).to_string(),
                    "vendor": token.name.vendor, "label": token.name.label, "serial": token.name.serial,
                    "manufacturer": token.manufacturer, "model": token.model,
                    "pin_set": token.pin_set, "pin_tries": tries_code(token.tries),
                })
            })
            .collect();
        output.ok(&json!({ "tokens": seen }));
        if rows.is_empty() {
            output.line(&say("未检测到 CA 锁", "no token is plugged in"));
        }
        for token in &rows {
            let tries = match token.tries {
                PinTries::Enough => say("", ""),
                PinTries::FewLeft => say("PIN 剩余次数不多", "few PIN tries are left"),
                PinTries::LastTry => say("PIN 只剩最后一次", "one PIN try is left"),
                PinTries::Locked => say("已锁死", "locked"),
            };
            let selector = Selector::naming(&token.name);
            let tries = output.words(&tries, " ");
            output.text(&format!("{selector}  {} {}  {tries}", token.manufacturer, token.model));
        }
        Ok(())
    }
}

fn tries_code(tries: PinTries) -> &'static str {
    match tries {
        PinTries::Enough => "enough",
        PinTries::FewLeft => "few_left",
        PinTries::LastTry => "last_try",
        PinTries::Locked => "locked",
    }
}
