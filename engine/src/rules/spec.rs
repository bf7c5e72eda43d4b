//! What a project may look like before it is published.

use kaibiao_protocol::{
    moment::Moment,
    project::{LOTS_MAX, LotSpec, Method, ProjectKind, ProjectSpec, TEXT_CHARS_MAX, WINDOW_MINUTES_MAX},
    refusal::RefusalCode,
};

use super::{Rule, RulePack};

/// The longest time for confirming the record, in minutes: a week.
pub const CONFIRM_MINUTES_MAX: u32 = 7 * 24 * 60;
/// The most ways of paying a bid security.
pub const SECURITY_METHODS_MAX: usize = 20;
/// The most suppliers a project may name as invited.
pub const INVITED_MAX: usize = 5_000;

/// One thing wrong with a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecFault {
    /// The offence.
    pub code: RefusalCode,
    /// The rule broken.
    pub rule: Rule,
    /// Which field and what is asked of it, in Chinese.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

/// Everything wrong with a project to be published at `at` under a pack; all at once, so that it
/// need be mended only once. Empty: it may be published.
pub fn check_spec(pack: RulePack, spec: &ProjectSpec, at: Moment) -> Vec<SpecFault> {
    let mut faults = Faults::default();
    check_fields(spec, &mut faults);
    check_times(pack, spec, at, &mut faults);
    check_invitation(pack, spec, &mut faults);
    check_lots(pack, spec, &mut faults);
    faults.0
}

#[derive(Default)]
struct Faults(Vec<SpecFault>);

impl Faults {
    /// Notes a broken limit of the house unless `fits`.
    fn limit(&mut self, fits: bool, zh: &str, en: &str) {
        self.rule(fits, RefusalCode::SpecInvalid, Rule::House, zh, en);
    }

    fn rule(&mut self, fits: bool, code: RefusalCode, rule: Rule, zh: &str, en: &str) {
        if !fits {
            self.0.push(SpecFault { code, rule, zh: zh.to_owned(), en: en.to_owned() });
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
}

fn check_fields(spec: &ProjectSpec, faults: &mut Faults) {
    faults.limit(
        is_text(&spec.name),
        "项目名称须为1至200个字",
        "the project's name must have 1 to 200 characters",
    );
    faults.limit(is_text(&spec.region), "项目区划须为1至200个字", "the region must have 1 to 200 characters");
    faults.limit(spec.budget.get() > 0, "项目预算须大于零", "the budget must be above zero");
    faults.limit(
        spec.bid_bytes_max != Some(0),
        "投标文件大小上限须大于零",
        "the largest size of a bid must be above zero",
    );
}

fn check_times(pack: RulePack, spec: &ProjectSpec, at: Moment, faults: &mut Faults) {
    let minutes = 1..=WINDOW_MINUTES_MAX;
    faults.limit(
        minutes.contains(&spec.window_minutes),
        "解密时长须为1至1440分钟",
        "the window must have 1 to 1440 minutes",
    );
    faults.limit(
        minutes.contains(&spec.failure_grace_minutes),
        "解密失败宽限须为1至1440分钟",
        "the grace after a failure must have 1 to 1440 minutes",
    );
    faults.limit(
        spec.confirm_minutes <= CONFIRM_MINUTES_MAX,
        "开标记录确认时长至多10080分钟",
        "the time for confirming has at most 10080 minutes",
    );
    faults.limit(at < spec.deadline, "投标截止时间须晚于当前时间", "the deadline must lie in the future");
    // GPL-35: "自招标文件开始发出之日起至投标人提交投标文件截止之日止，不得少于二十日". An exercise
    // may shorten it, because it counts for nothing in law.
    let days = pack.bidding_days(spec.method).days;
    let long_enough =
        spec.kind == ProjectKind::Exercise || at.plus_minutes(days.saturating_mul(24 * 60)) <= spec.deadline;
    faults.rule(
        long_enough,
        RefusalCode::DeadlineTooSoon,
        Rule::BiddingPeriod,
        &format!("自发布至投标截止不得少于{days}日"),
        &format!("at least {days} days must lie between publication and deadline"),
    );
}

fn check_invitation(pack: RulePack, spec: &ProjectSpec, faults: &mut Faults) {
    let least = pack.figures().invited_min;
    let named = spec.invited.as_ref().map(|invited| invited.len());
    let enough = match spec.method {
        Method::InvitedTender => named.is_some_and(|named| named >= least),
        Method::OpenTender
        | Method::CompetitiveConsultation
        | Method::CompetitiveNegotiation
        | Method::Inquiry
        | Method::SingleSource => named != Some(0),
    };
    faults.rule(
        enough,
        RefusalCode::SpecInvalid,
        Rule::Invitation,
        &format!("邀请招标须列明不少于{least}家供应商，其他方式的名单不得为空"),
        &format!("an invited tender names at least {least} suppliers, and no list of suppliers is empty"),
    );
    faults.limit(
        named.unwrap_or(0) <= INVITED_MAX,
        "受邀供应商至多5000家",
        "at most 5000 suppliers are invited",
    );
}

fn check_lots(pack: RulePack, spec: &ProjectSpec, faults: &mut Faults) {
    faults.limit(
        (1..=LOTS_MAX).contains(&spec.lots.len()),
        "标项数量须为1至200个",
        "a project has 1 to 200 lots",
    );
    let sum = spec.lots.values().map(|lot| i128::from(lot.budget.get())).sum::<i128>();
    faults.limit(
        sum <= i128::from(spec.budget.get()),
        "各标项预算之和不得超过项目预算",
        "the lots' budgets together must not exceed the project's",
    );
    for (no, lot) in &spec.lots {
        check_lot(pack, no.get(), lot, faults);
    }
}

fn check_lot(pack: RulePack, no: u16, lot: &LotSpec, faults: &mut Faults) {
    faults.limit(
        is_text(&lot.name),
        &format!("标项{no}的名称须为1至200个字"),
        &format!("the name of lot {no} must have 1 to 200 characters"),
    );
    faults.limit(
        lot.budget.get() > 0,
        &format!("标项{no}的预算须大于零"),
        &format!("the budget of lot {no} must be above zero"),
    );
    let Some(terms) = &lot.bid_security else { return };
    // GPR-33: "投标保证金不得超过采购项目预算金额的2%".
    faults.rule(
        pack.bid_security_fits(terms.amount, lot.budget),
        RefusalCode::BidSecurityTooHigh,
        Rule::BidSecurity,
        &format!("标项{no}的保证金不得超过其预算的2%"),
        &format!("the bid security of lot {no} must not exceed 2 % of its budget"),
    );
    // GPR-33: "投标保证金应当以支票、汇票、本票或者金融机构、担保机构出具的保函等非现金形式提交".
    let in_cash = |method: &str| method.contains("现金") && !method.contains("非现金");
    faults.rule(
        !terms.methods.iter().any(|method| in_cash(method)),
        RefusalCode::SpecInvalid,
        Rule::BidSecurity,
        &format!("标项{no}的保证金不得以现金缴纳"),
        &format!("the bid security of lot {no} must not be paid in cash"),
    );
    let methods = &terms.methods;
    faults.limit(
        (1..=SECURITY_METHODS_MAX).contains(&methods.len()) && methods.iter().all(|method| is_text(method)),
        &format!("标项{no}须列明1至20种保证金缴纳方式"),
        &format!("lot {no} must name 1 to 20 ways of paying the bid security"),
    );
}
