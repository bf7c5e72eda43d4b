// Made from the Rust types of kaibiao-protocol; a test keeps it true. Do not edit.
// Moments are microseconds since 1970 in UTC; amounts are strings in yuan with two decimals.

/** What an answer holds. */
export type Answer =
  | {
    /** When it was stamped. */
    at: Moment;
    is: "done";
  }
  | {
    /** Now. */
    at: Moment;
    is: "time";
  }
  | {
    is: "projects";
    /** One page. */
    rows: ProjectRow[];
    /** How many there are in all. */
    total: number;
  }
  | {
    is: "project";
    /** It. */
    view: ProjectView;
  }
  | {
    is: "room";
    /** It. */
    view: RoomView;
  }
  | {
    is: "subscribed";
    /** The stream's last `seq` at that moment. */
    seq: number;
  }
  | {
    is: "receipt";
    /** It. */
    receipt: string;
  }
  | {
    is: "contacts";
    /** One a bid that stands. */
    rows: ContactRow[];
  }
  | {
    /** SHA-256 of the text. */
    digest: Digest;
    is: "record";
    /** The platform's signature. */
    signature: Blob;
    /** It. */
    text: string;
  };

/** What can be asked. */
export type Ask =
  | {
    do: "time";
  }
  | {
    do: "projects";
    /** Only those whose number or name contains this. */
    search?: string;
    /** How many to skip. */
    skip?: number;
  }
  | {
    do: "project";
    /** Which. */
    project: ProjectId;
  }
  | {
    do: "room";
    /** Which. */
    project: ProjectId;
  }
  | {
    do: "subscribe";
    /** The last `seq` already had; 0 for all. */
    since: number;
    /** Which stream. */
    stream: StreamName;
  }
  | {
    do: "unsubscribe";
    /** Which. */
    stream: StreamName;
  }
  | {
    /** The bid. */
    bid: BidId;
    do: "receipt";
    /** The project. */
    project: ProjectId;
  }
  | {
    /** The bid. */
    bid: BidId;
    do: "withdraw_bid";
    /** The project. */
    project: ProjectId;
    /** Why. */
    reason: string;
  }
  | {
    do: "check_in";
    /** The project. */
    project: ProjectId;
  }
  | {
    /** The bid. */
    bid: BidId;
    /** Whether the keys come from the backup bid. */
    by_backup: boolean;
    /** HPKE ciphertext. */
    ciphertext: Blob;
    do: "release_keys";
    /** HPKE encapsulated key (32 bytes). */
    enc: Blob;
    /** The order's epoch. */
    epoch: number;
    /** The project. */
    project: ProjectId;
  }
  | {
    /** The bid. */
    bid: BidId;
    /** `wrong_token` or `token_trouble`. */
    cause: FailureCause;
    do: "report_trouble";
    /** The project. */
    project: ProjectId;
    /** What was seen. */
    seen: string;
  }
  | {
    /** The new deadline. */
    deadline: Moment;
    do: "move_deadline";
    /** On what ground. */
    ground: MoveGround;
    /** The project. */
    project: ProjectId;
    /** Why. */
    reason: string;
  }
  | {
    do: "start_opening";
    /** The project. */
    project: ProjectId;
    /** The agent's signature over the start statement (CMS), if signed by token. */
    signature?: Blob | null;
  }
  | {
    do: "extend_window";
    /** By how much. */
    minutes: number;
    /** The project. */
    project: ProjectId;
    /** Why. */
    reason: string;
  }
  | {
    do: "close_window";
    /** The project. */
    project: ProjectId;
    /** Why. */
    reason: string;
  }
  | {
    /** The bid. */
    bid: BidId;
    do: "admit_backup";
    /** The project. */
    project: ProjectId;
    /** Why. */
    reason: string;
  }
  | {
    do: "read_out_row";
    /** The lot. */
    lot: LotNo;
    /** The row. */
    no: number;
    /** The project. */
    project: ProjectId;
  }
  | {
    do: "object";
    /** Which. */
    kind: ObjectionKind;
    /** The lot. */
    lot?: LotNo | null;
    /** The project. */
    project: ProjectId;
    /** The words. */
    text: string;
  }
  | {
    do: "answer_objection";
    /** Its number. */
    no: number;
    /** The project. */
    project: ProjectId;
    /** The words. */
    text: string;
  }
  | {
    do: "confirm_record";
    /** The project. */
    project: ProjectId;
    /** SHA-256 of the record's text. */
    record: Digest;
    /** My token's signature over the confirmation statement (CMS). */
    signature: Blob;
  }
  | {
    do: "end_opening";
    /** The project. */
    project: ProjectId;
  }
  | {
    do: "record";
    /** The project. */
    project: ProjectId;
  }
  | {
    do: "contacts";
    /** The project. */
    project: ProjectId;
  }
  | {
    do: "sign_out";
  };

/** When a backup bid may be used (rules.md 19). */
export type BackupPolicy =
  | "never"
  | "platform_fault_only"
  | "any_fault";

/**  One bid handed in; drawn at random when its upload begins, so that it tells nothing. */
export type BidId = string;

/** Terms of the bid security (保证金). */
export type BidSecurityTerms = {
  /** The amount asked for each lot. */
  amount: Fen;
  /** The methods of payment accepted, as shown to suppliers. */
  methods: string[];
};

/** What a bid sheet (开标一览表) says for one lot. */
export type BidSheet = {
  /** How the bid security was paid (保证金缴纳方式). */
  bid_security_method: string;
  /** Whether the declaration was signed (确认声明书是否签署). */
  declaration_signed: boolean;
  /** Delivery period or the service's person in charge (供货期/服务项目负责人). */
  delivery_or_lead: string;
  /** Final price (最终报价). */
  price: Price;
  /** Remark (备注). */
  remark: string;
};

/** Where a bid stands in the opening. */
export type BidStatus =
  | {
    status: "not_opened";
  }
  | {
    status: "awaiting_keys";
  }
  | {
    status: "unsealing";
  }
  | {
    status: "unsealed";
  }
  | {
    /** Why. */
    cause: FailureCause;
    /** Until when. */
    grace_until: Moment;
    status: "failed";
  }
  | {
    status: "awaiting_backup";
    /** Until when. */
    until: Moment;
  }
  | {
    /** Why. */
    cause: FailureCause;
    status: "settled";
  };

/** A bidder as the room shows it from the deadline on. */
export type Bidder = {
  /** Its bid. */
  bid: BidId;
  /** The lots bid for. */
  lots: LotNo[];
  /** The organisation. */
  organisation: OrganisationId;
  /** Where the bid stands. */
  status: BidStatus;
  /** Its name. */
  supplier: string;
};

/** Bytes in standard base64. */
export type Blob = string;

/** A step of the machine's wall clock. No stamp follows it. */
export type ClockStep = {
  /** When it was noticed. */
  at: Moment;
  /** Wall clock minus the platform's clock since then, in milliseconds. */
  divergence_ms: number;
  /** By how many milliseconds the wall clock was set forward; negative: back. */
  step_ms: number;
};

/** What a failure means in law (rules.md 18). */
export type Consequence = "revoked" | "withdrawn";

/** Whom to reach for one bid; a star stands for each letter that is not shown. */
export type ContactRow = {
  /** The address: its first six letters. */
  address: string;
  /** The bid. */
  bid: BidId;
  /** The identity number: its first three and last two characters. */
  id_number: string;
  /** The mobile number: its first three and last four digits. */
  mobile: string;
  /** The representative's name: its first letter. */
  name: string;
  /** The postcode, whole. */
  postcode: string;
  /** The supplier's name. */
  supplier: string;
};

/** A deadline that was moved. */
export type DeadlineMove = {
  /** When it was moved. */
  at: Moment;
  /** The deadline before. */
  from: Moment;
  /** On what ground. */
  ground: MoveGround;
  /** The deadline since then; later. */
  to: Moment;
};

/** A SHA-256 digest: 64 lower-case hexadecimal digits. */
export type Digest = string;

/** What is recorded of a failure beside its cause: short facts, never a secret or a price. */
export type Evidence = {
  /** A digest that was expected, where one tells. */
  expected?: Digest | null;
  /** The digest found instead. */
  found?: Digest | null;
  /** What was seen, in one line (at most 500 characters). */
  seen: string;
};

/** Why a bid was not unsealed. The class decides who bears it (rules.md 18). */
export type FailureCause =
  | "wrong_token"
  | "token_trouble"
  | "wrong_key"
  | "damaged_upload"
  | "malformed_package"
  | "damaged_store"
  | "no_show"
  | "platform_fault";

/** An amount in yuan with exactly two decimals, such as 1234.50. */
export type Fen = string;

/** Whether a lot is opened. */
export type LotCount = {
  /** Bids standing at the deadline. */
  bids: number;
  /** Whether the lot is opened. */
  opens: boolean;
};

/** A lot's number (标项) within its project: 1 to 999. */
export type LotNo = number;

/** The record of one lot. */
export type LotRecord =
  | {
    lot: "opened";
    /** Its rows in order. */
    rows: RecordRow[];
  }
  | {
    /** The bids received, still sealed: bid and supplier's name. */
    bids: SealedRow[];
    lot: "not_opened";
    /** The rule, by key. */
    rule: string;
  };

/** One lot (标项). */
export type LotSpec = {
  /** The bid security asked for, if any. */
  bid_security?: 
    | BidSecurityTerms
    | null;
  /** Its budget. */
  budget: Fen;
  /** Its name. */
  name: string;
  /** What bidders quote. */
  price_kind: PriceKind;
};

/** The procurement method (采购方式). */
export type Method =
  | "open_tender"
  | "invited_tender"
  | "competitive_consultation"
  | "competitive_negotiation"
  | "inquiry"
  | "single_source";

/** An instant in UTC: microseconds since 1970-01-01T00:00:00Z. */
export type Moment = number;

/** On what ground a deadline is moved. */
export type MoveGround =
  | "correction"
  | "platform_fault";

/** An event of a subscribed stream. */
export type Notice = {
  /** When it happened. */
  at: Moment;
  /** What happened. */
  event: ViewEvent;
  /** Its place in this viewer's stream, from 1 without a gap. */
  seq: number;
  /** The stream. */
  stream: StreamName;
};

/** What a supplier raises in the room. */
export type ObjectionKind = "objection" | "recusal";

/** An objection or recusal request. */
export type ObjectionRow = {
  /** The answer. */
  answer?: string | null;
  /** Which. */
  kind: ObjectionKind;
  /** The lot. */
  lot?: LotNo | null;
  /** Its number. */
  no: number;
  /** Who raised it. */
  organisation: OrganisationId;
  /** The words. */
  text: string;
};

/** The records of all lots, published by one event. */
export type OpeningRecord = {
  /** The record of each lot. */
  lots: { [key: string]: LotRecord };
  /** When they were published. */
  published_at: Moment;
};

/**  An organisation: supplier, purchaser, agency, expert pool, supervisor or the platform. */
export type OrganisationId = string;

/** An outage of the platform around a deadline. */
export type Outage = {
  /** Until then the platform is known to have been there. */
  from: Moment;
  /** The bids are not counted before, so that the agent may move the deadline. */
  held_until: Moment;
  /** Since then it is there again. */
  until: Moment;
};

/** A supplier's own bid. */
export type OwnBid = {
  /** The bid. */
  bid: BidId;
  /** The digest of its header, as in the receipt. */
  header_digest: Digest;
  /** Its lots. */
  lots: LotNo[];
  /** The parts whose keys are asked for now. */
  parts_asked: PartName[];
  /** When it was received. */
  received_at: Moment;
  /** Its bytes. */
  size_bytes: number;
  /** The digest of its statement, as in the receipt. */
  statement_digest: Digest;
  /** Where it stands; before the deadline `awaiting_keys` is not yet said. */
  status?: BidStatus | null;
};

/** An event that concerns one supplier alone. */
export type OwnEvent =
  | {
    /** The bid. */
    bid: BidId;
    event: "bid_received";
    /** When its last byte was in. */
    received_at: Moment;
    /** The bid it replaced. */
    replaces?: BidId | null;
    /** The upload. */
    upload: UploadId;
  }
  | {
    /** Why. */
    code: RefusalCode;
    event: "upload_refused";
    /** When its last byte was in. */
    received_at: Moment;
    /** The upload. */
    upload: UploadId;
  }
  | {
    /** The bid. */
    bid: BidId;
    event: "bid_withdrawn";
  }
  | {
    /** The bid. */
    bid: BidId;
    event: "keys_asked";
    /** The parts whose keys are asked for, and no others. */
    parts: PartName[];
  }
  | {
    /** The bid. */
    bid: BidId;
    event: "keys_kept";
  }
  | {
    /** The bid. */
    bid: BidId;
    /** Why. */
    cause: FailureCause;
    event: "unsealing_failed";
    /** Until when it may be mended. */
    grace_until: Moment;
  }
  | {
    /** The bid. */
    bid: BidId;
    event: "backup_admitted";
    /** Until when. */
    until: Moment;
  };

/** A part of a sealed bid: common, or lot- and the lot's number. */
export type PartName = string;

/** What one bidder quoted for one lot. */
export type Price =
  | {
    kind: "total";
    value: Fen;
  }
  | {
    kind: "unit_price";
    value: Fen;
  }
  | {
    kind: "rate";
    value: Rate;
  };

/** What a tender asks bidders to quote (最终报价). */
export type PriceKind =
  | "total"
  | "unit_price"
  | "rate";

/**  A procurement project's number (项目编号), such as `KX-00823`. */
export type ProjectId = string;

/** Whether the project counts in law. */
export type ProjectKind = "real" | "exercise";

/** A project in a list. */
export type ProjectRow = {
  /** Deadline. */
  deadline: Moment;
  /** Whether it is an exercise. */
  exercise: boolean;
  /** Name. */
  name: string;
  /** The asking supplier's own bid, if one stands. */
  own_bid?: BidId | null;
  /** Number. */
  project: ProjectId;
  /** Where it stands. */
  status: ProjectStatus;
};

/** A procurement project as the organiser sets it up. */
export type ProjectSpec = {
  /** When a backup bid may be used. */
  backup: BackupPolicy;
  /** The most bytes one sealed bid may have; none: as the disk allows. */
  bid_bytes_max?: number | null;
  /** Budget of the whole project. */
  budget: Fen;
  /** How long after publication silence counts as acceptance (rules.md 16). */
  confirm_minutes: number;
  /** Whether a consortium may bid. */
  consortium_allowed: boolean;
  /** Bid deadline, which is the opening time: a bid stamped at it is late. */
  deadline: Moment;
  /** How long a failed bid may be mended or replaced by its backup bid, from its first failure. */
  failure_grace_minutes: number;
  /** Project number (项目编号). */
  id: ProjectId;
  /** The only suppliers that may hand in; none: every registered supplier. */
  invited?: OrganisationId[] | null;
  /** Real or exercise. */
  kind: ProjectKind;
  /** The lots by number. */
  lots: { [key: string]: LotSpec };
  /** Procurement method. */
  method: Method;
  /** Project name (项目名称). */
  name: string;
  /** The organiser (采购组织机构): an agency, or the purchaser itself. */
  organiser: OrganisationId;
  /** The purchaser (采购人). */
  purchaser: OrganisationId;
  /** Region (项目区划). */
  region: string;
  /** Rule pack and version, such as `GP/1`. */
  rule_pack: string;
  /** Who opens the room. */
  start: StartMode;
  /** How long suppliers have for unsealing. */
  window_minutes: number;
};

/** Where a project stands. */
export type ProjectStatus =
  | "receiving"
  | "awaiting_start"
  | "awaiting_order"
  | "awaiting_keys"
  | "settling"
  | "published"
  | "ended";

/** A project as a viewer sees it. */
export type ProjectView = {
  /** The platform's opening key (Ed25519, 32 bytes), which bids are bound to. */
  opening_key: Blob;
  /** The organiser's name. */
  organiser_name: string;
  /** The asking supplier's own bid. */
  own_bid?: OwnBid | null;
  /** Names of the organisations in it. */
  purchaser_name: string;
  /** The platform's receipt key (Ed25519, 32 bytes). */
  receipt_key: Blob;
  /** What it is. */
  spec: ProjectSpec;
  /** Where it stands. */
  status: ProjectStatus;
};

/** A rate in percent with exactly two decimals, such as 95.50. */
export type Rate = string;

/** One row of a lot's record. */
export type RecordRow = {
  /** The bid. */
  bid: BidId;
  /** Running number (序号) from 1, in the order the bids came in. */
  no: number;
  /** How it stands. */
  outcome: RowOutcome;
  /** Supplier's name (供应商名称). */
  supplier: string;
};

/** A refusal as people and programs get it. */
export type Refusal = {
  /** The offence. */
  code: RefusalCode;
  /** The rule it rests on: key and rule pack (`TL-28 TR-36 (GP/1)`), or `house` for rules of this system. */
  rule: string;
  /** What is wrong and what to do next, in Chinese and English, in plain words. */
  say: Say;
};

/** Why something was refused; one code an offence. */
export type RefusalCode =
  | "malformed"
  | "field_invalid"
  | "not_signed_in"
  | "session_ended"
  | "sign_in_failed"
  | "slow_down"
  | "challenge_expired"
  | "certificate_expired"
  | "certificate_not_yet_valid"
  | "certificate_revoked"
  | "certificate_foreign"
  | "certificate_wrong_use"
  | "certificate_unbound"
  | "role_not_allowed"
  | "not_your_project"
  | "unknown"
  | "already_exists"
  | "busy"
  | "writing_ended"
  | "no_room"
  | "spec_invalid"
  | "deadline_too_soon"
  | "bid_security_too_high"
  | "correction_too_late"
  | "no_outage_recorded"
  | "past_deadline"
  | "not_receiving"
  | "not_invited"
  | "form_invalid"
  | "not_a_sealed_bid"
  | "sealed_bid_damaged"
  | "too_large"
  | "other_project"
  | "other_supplier"
  | "other_lots"
  | "other_platform"
  | "signature_invalid"
  | "same_ciphertext"
  | "upload_taken"
  | "offset_mismatch"
  | "no_such_bid"
  | "withdraw_too_late"
  | "before_deadline"
  | "not_settled"
  | "counting_held"
  | "not_started"
  | "already_started"
  | "window_closed"
  | "still_awaited"
  | "order_superseded"
  | "envelope_invalid"
  | "wrong_key"
  | "keys_already_here"
  | "not_opened"
  | "no_failure_recorded"
  | "backup_not_allowed"
  | "backup_not_admitted"
  | "backup_differs"
  | "barrier_holds"
  | "sheets_incomplete"
  | "not_published"
  | "other_record"
  | "already_confirmed"
  | "confirming_over"
  | "objections_open"
  | "no_such_objection"
  | "opening_ended";

/** A question or command from a client. */
export type Request = {
  /** What is asked. */
  ask: Ask;
  /** Chosen by the client, unique on its connection; the answer carries it. */
  id: number;
};

/** The answer to a request. */
export type Response =
  | {
    /** The request's id. */
    id: number;
    /** The answer. */
    ok: Answer;
  }
  | {
    /** The request's id. */
    id: number;
    /** Why, by which rule, and what next. */
    refused: Refusal;
  };

/** An event of a project's room, the same for all viewers of one audience. */
export type RoomEvent =
  | {
    event: "project_published";
    /** What it is (without the list of those invited, save for the organiser and the supervisor). */
    spec: ProjectSpec;
  }
  | {
    /** The new one. */
    deadline: Moment;
    event: "deadline_moved";
    /** The deadline before. */
    from: Moment;
    /** On what ground. */
    ground: MoveGround;
    /** Why. */
    reason: string;
  }
  | {
    event: "outage_recorded";
    /** Until then it was there. */
    from: Moment;
    /** Until when the deadline may be moved on this ground. */
    held_until: Moment;
    /** Since then it is there again. */
    until: Moment;
  }
  | {
    /** Wall clock minus the platform's clock since then, in milliseconds. */
    divergence_ms: number;
    event: "clock_stepped";
    /** By how many milliseconds. */
    step_ms: number;
  }
  | {
    /** Who bids, in the order of receipt. */
    bidders: Bidder[];
    event: "receiving_closed";
    /** Per lot: how many, and whether it is opened. */
    lots: { [key: string]: LotCount };
  }
  | {
    /** The organisation that started it; none: by itself. */
    by?: 
      | OrganisationId
      | null;
    event: "opening_started";
  }
  | {
    /** Epoch. */
    epoch: number;
    event: "order_issued";
    /** Its exact text. */
    order: string;
    /** The platform's signature. */
    signature: Blob;
    /** When the window closes. */
    window_closes_at: Moment;
  }
  | {
    /** Which. */
    bid: BidId;
    event: "bid_changed";
    /** What was seen; only the organiser and the supervisor get it (the fault ledger). */
    evidence?: Evidence | null;
    /** Where it stands now. */
    status: BidStatus;
  }
  | {
    event: "window_extended";
    /** Minutes added. */
    minutes: number;
    /** Why. */
    reason: string;
    /** The new end. */
    window_closes_at: Moment;
  }
  | {
    /** Why. */
    end: WindowEnd;
    event: "window_closed";
    /** The agent's reason. */
    reason?: string | null;
  }
  | {
    event: "records_published";
    /** The records of all lots. */
    record: OpeningRecord;
  }
  | {
    /** SHA-256 of its exact text. */
    digest: Digest;
    event: "record_signed";
    /** The signature. */
    signature: Blob;
  }
  | {
    event: "checked_in";
    /** Which. */
    organisation: OrganisationId;
  }
  | {
    event: "row_read_out";
    /** The lot. */
    lot: LotNo;
    /** The row. */
    no: number;
  }
  | {
    event: "objection_raised";
    /** Which. */
    kind: ObjectionKind;
    /** The lot. */
    lot?: LotNo | null;
    /** Its number. */
    no: number;
    /** Who raised it. */
    organisation: OrganisationId;
    /** The words. */
    text: string;
  }
  | {
    event: "objection_answered";
    /** Its number. */
    no: number;
    /** The words. */
    text: string;
  }
  | {
    event: "record_confirmed";
    /** Which supplier. */
    supplier: OrganisationId;
  }
  | {
    event: "confirmations_deemed";
    /** Who. */
    suppliers: OrganisationId[];
  }
  | {
    event: "opening_ended";
  };

/** The room as it stands now; `seq` says from where to go on. */
export type RoomView = {
  /** The bidders; empty before the deadline. */
  bidders: Bidder[];
  /** Organisations signed in. */
  checked_in: OrganisationId[];
  /** Steps of the machine's wall clock; only the organiser and the supervisor get them. */
  clock_steps?: ClockStep[];
  /** Suppliers that confirmed. */
  confirmed: OrganisationId[];
  /** Where the deadline was moved from and to, in order. */
  deadline_moves?: DeadlineMove[];
  /** Per lot; empty before the deadline. */
  lots: { [key: string]: LotCount };
  /** Objections and recusal requests. */
  objections: ObjectionRow[];
  /** The current order. */
  order?: SignedOrder | null;
  /** Outages of the platform around the deadline. */
  outages?: Outage[];
  /** Rows read out, as (lot, row). */
  read_out: [LotNo, number][];
  /** The records, once published. */
  record?: 
    | OpeningRecord
    | null;
  /** SHA-256 of the record's exact text, once signed. */
  record_digest?: Digest | null;
  /** The last event of this viewer's room stream that this view includes. */
  seq: number;
  /** Where the project stands. */
  status: ProjectStatus;
  /** When the window closes. */
  window_closes_at?: Moment | null;
};

/** How a bid stands in the record. */
export type RowOutcome =
  | {
    /** Whether the backup bid was used. */
    by_backup: boolean;
    outcome: "unsealed";
    /** What the sheet says. */
    sheet: BidSheet;
  }
  | {
    /** Why. */
    cause: FailureCause;
    /** What that means. */
    consequence: Consequence;
    outcome: "failed";
  };

/** The same words twice. */
export type Say = {
  /** English. */
  en: string;
  /** Chinese. */
  zh: string;
};

/** A bid that stays sealed. */
export type SealedRow = {
  /** The bid. */
  bid: BidId;
  /** Supplier's name. */
  supplier: string;
};

/** An opening order with its signature. */
export type SignedOrder = {
  /** Epoch. */
  epoch: number;
  /** Exact text. */
  order: string;
  /** The platform's signature. */
  signature: Blob;
};

/** Who opens the room. */
export type StartMode =
  | "at_deadline"
  | "on_agent_start";

/** A stream of events: room/PROJECT or own/PROJECT. */
export type StreamName = string;

/**  One upload; the same upload always gets the same receipt. */
export type UploadId = string;

/** How an upload ended. */
export type UploadVerdict =
  | {
    /** The bid. */
    bid: BidId;
    /** The receipt file. */
    receipt: string;
    verdict: "received";
  }
  | {
    /** The bid. */
    bid: BidId;
    verdict: "restored";
  }
  | {
    /** The signed refusal's exact file text, where one is kept (a late final). */
    notice?: string | null;
    /** The refusal. */
    refusal: Refusal;
    verdict: "refused";
  };

/** An event as a viewer gets it. */
export type ViewEvent = RoomEvent | OwnEvent;

/** Why the window closed. */
export type WindowEnd =
  | "elapsed"
  | "closed_early"
  | "all_settled";
