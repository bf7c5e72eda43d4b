"""A client of kaibiao in another language, written from docs/api.md and docs/formats/ alone.

`wire_client.py supplier FILE` hands in a sealed bid, releases its keys in the opening, objects and confirms; `wire_client.py
agent FILE` runs the room. FILE is one JSON object:

  both      server, project, tape (the file the conversation is written to)
  agent     account, password
  supplier  account, signing_key, signing_certificate (DER files), bid (.jmbs), backup (.bfbs), contact (JSON)

On standard output: one JSON object a line, for each thing that was reached; the last says "done". Whatever the pages do not allow
ends the program with a traceback.
"""

import json
import sys
from base64 import b64encode

from wire_http import Http, Refused, Tape, hand_in
from wire_papers import Header, bid_key_of, check_order, check_receipt, envelope, part_key, parts_of, read_record, spelled
from wire_socket import Wire
from wire_token import SoftToken


def tell(**reached):
    print(json.dumps(reached, ensure_ascii=False), flush=True)


def enter(http, tape, project):
    """Dials, and looks around."""
    wire = Wire(http, tape)
    tape.note("#", "a socket, and what one may see")
    wire.dial()
    wire.ask("time")
    rows = wire.ask("projects", search=project, skip=0)["rows"]
    assert [row["project"] for row in rows] == [project]
    view = wire.ask("project", project=project)["view"]
    return wire, view


def supplier(task, tape):
    with open(task["bid"], "rb") as file:
        bid = file.read()
    with open(task["backup"], "rb") as file:
        bid_key = bid_key_of(file.read())
    with open(task["contact"], encoding="utf-8") as file:
        contact = json.load(file)
    header, project = Header(bid), task["project"]
    token = SoftToken(task["signing_key"], task["signing_certificate"])
    room, own = f"room/{project}", f"own/{project}"

    http = Http(task["server"], tape)
    tape.note("#", "a supplier signs in by token")
    me = http.sign_in_by_token(task["account"], token)
    assert me["role"] == "supplier"
    wire, view = enter(http, tape, project)
    deadline = view["spec"]["deadline"]

    bid_id, receipt = hand_in(http, tape, project, bid, contact)
    facts = check_receipt(receipt, view, bid_id, header)
    tape.note("#", "to the room")
    assert wire.ask("receipt", project=project, bid=bid_id)["receipt"] == receipt
    wire.ask("room", project=project)
    wire.subscribe(room)
    wire.subscribe(own)
    wire.until(own, "bid_received", bid=bid_id)
    wire.ask("check_in", project=project)
    tell(reached="handed_in", bid=bid_id, upload=facts["upload"], receipt=receipt)

    tape.note("#", "the deadline has come; the agent gives everybody a minute more")
    wire.until(room, "receiving_closed")
    event = wire.until(room, "order_issued")
    order = check_order(event, view, header, deadline)
    parts = wire.until(own, "keys_asked", bid=bid_id)["parts"]
    assert parts == parts_of(order, header)
    wire.until(room, "window_extended")
    tape.note("#", "the keys of the parts asked for, and no others")
    keys = [part_key(bid_key, header, part) for part in parts]
    enc, ciphertext = envelope(event["order"], order, header, parts, keys)
    wire.ask(
        "release_keys",
        project=project,
        bid=bid_id,
        epoch=event["epoch"],
        enc=b64encode(enc).decode(),
        ciphertext=b64encode(ciphertext).decode(),
        by_backup=False,
    )
    wire.until(own, "keys_kept", bid=bid_id)
    wire.cut()
    tape.note("#", "back again, after the last event of each stream")
    wire.dial()
    tell(reached="keys_kept")

    published = wire.until(room, "records_published")["record"]
    signed = wire.until(room, "record_signed")
    tape.note("#", "the record, as it was signed")
    digest, record = read_record(wire, project, view)
    assert digest == signed["digest"] and record["published_at"] == published["published_at"]
    assert {str(lot["lot"]): lot["record"] for lot in record["lots"]} == published["lots"]
    wire.ask("object", project=project, kind="objection", text="请说明各标项的评审顺序")
    statement = {"format": "kaibiao confirm-record 1", "project": project}
    statement |= {"supplier": me["organisation"], "record": digest}
    signature = token.sign("confirm-record", spelled(statement))
    wire.ask("confirm_record", project=project, record=digest, signature=b64encode(signature).decode())
    tell(reached="confirmed", digest=digest, record=record)
    wire.until(room, "opening_ended")
    sign_out(wire)
    tell(reached="done", heard=wire.heard)


def agent(task, tape):
    project = task["project"]
    room = f"room/{project}"
    http = Http(task["server"], tape)
    tape.note("#", "an agent signs in by password")
    me = http.sign_in_by_password(task["account"], task["password"])
    assert me["role"] == "agent"
    wire, view = enter(http, tape, project)
    wire.subscribe(room)
    tell(reached="watching")
    wire.until(room, "order_issued")
    tape.note("#", "a minute more for everybody")
    wire.ask("extend_window", project=project, minutes=1, reason="网络拥堵,为全体供应商延长解密时间")
    wire.until(room, "window_extended")
    wire.until(room, "record_signed")
    tape.note("#", "the record is read out, and what is asked is answered")
    _, record = read_record(wire, project, view)
    for lot in record["lots"]:
        for row in lot["record"].get("rows", []):
            wire.ask("read_out_row", project=project, lot=lot["lot"], no=row["no"])
    objection = wire.until(room, "objection_raised")
    wire.ask("answer_objection", project=project, no=objection["no"], text="按标项编号顺序评审")
    tape.note("#", "not before everybody has confirmed, or is deemed to")
    try:
        wire.ask("end_opening", project=project)
        raise AssertionError("the opening ended while suppliers were awaited")
    except Refused as refused:
        assert refused.code == "still_awaited", refused
    tell(reached="waiting_for_silence")
    wire.until(room, "confirmations_deemed")
    wire.ask("end_opening", project=project)
    wire.until(room, "opening_ended")
    sign_out(wire)
    tell(reached="done", heard=wire.heard)


def sign_out(wire):
    wire.tape.note("#", "signs out")
    wire.ask("sign_out")
    assert wire.close(4001) == "signed_out"


if __name__ == "__main__":
    who, task_file = sys.argv[1:]
    with open(task_file, encoding="utf-8") as file:
        task = json.load(file)
    {"supplier": supplier, "agent": agent}[who](task, Tape(task["tape"]))
