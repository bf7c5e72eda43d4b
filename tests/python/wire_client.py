"""A client of kaibiao in another language, written from docs/api.md and docs/formats/ alone.

`wire_client.py supplier FILE` hands in a sealed bid, releases its keys in the opening, objects and confirms; `wire_client.py
agent FILE` runs the room. FILE is one JSON object:

  both      server, project, tape (the file the conversation is written to)
  agent     account, password
  supplier  account, signing_key, signing_certificate (DER files), bid (.jmbs), backup (.bfbs), contact (JSON)

On standard output: one JSON object a line, for each thing that was reached; the last says "done". Whatever the pages do not allow
ends the program with a traceback.
"""

import hashlib
import http.client
import io
import json
import random
import secrets
import sys
import time
import zipfile
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from socket import SHUT_RDWR
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

# A minute without the frame that must come is a failure, not a wait.
PATIENCE_SECONDS = 60
# api.md, 4: accept frames of 16 MiB.
FRAME_BYTES_MAX = 16 << 20


def tell(**reached):
    print(json.dumps(reached, ensure_ascii=False), flush=True)


def sha256(data):
    return hashlib.sha256(data).digest()


def beijing(moment):
    """signed-texts.md, 4."""
    shown = datetime(1970, 1, 1) + timedelta(hours=8, microseconds=moment)
    return shown.strftime("%Y-%m-%d %H:%M:%S.%f +08:00")


def spelled(value):
    """sealed-bid.md, 2: canonical JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def canonical(text):
    value = json.loads(text)
    assert spelled(value) == text, "another spelling"
    return value


class Refused(Exception):
    """api.md, 3."""

    def __init__(self, refusal):
        super().__init__(f"{refusal['code']}: {refusal['say']['en']}")
        self.code = refusal["code"]


class Tape:
    """What went over the wire, a line a frame. The two kinds of secrets are left out."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.secrets = {}

    def hide(self, secret, instead):
        self.secrets[secret] = instead

    def note(self, way, text):
        for secret, instead in self.secrets.items():
            text = text.replace(secret, instead)
        self.file.write(f"{way} {text}\n")
        self.file.flush()


# api.md, 1 to 3 and 7: HTTP


class Http:
    # Headers of answers that tell a client something.
    TELLING = ("Location", "Upload-Offset", "Upload-Length", "Kaibiao-Verdict", "Retry-After")

    def __init__(self, server, tape):
        self.server, self.tape = server, tape
        self.place = urlsplit(server)
        self.session = None

    def connection(self):
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[self.place.scheme]
        if self.place.scheme == "http":
            assert self.place.hostname in ("127.0.0.1", "::1", "localhost"), "plain http to another machine"
        return kind(self.place.netloc, timeout=PATIENCE_SECONDS)

    def headers(self, more):
        mine = {} if self.session is None else {"Authorization": f"Bearer {self.session}"}
        return mine | more

    def note_request(self, method, path, headers, body):
        self.tape.note(">", f"{method} {path}")
        for name, value in headers.items():
            if name not in ("Authorization", "Content-Type"):
                self.tape.note(">", f"{name}: {value}")
        if body:
            self.tape.note(">", body)

    def call(self, method, path, body=None, headers=None):
        """A request with JSON or nothing in its body; its status, headers and JSON."""
        text = None if body is None else spelled(body)
        headers = dict(headers or {})
        if text is not None:
            headers["Content-Type"] = "application/json"
        self.note_request(method, path, headers, text)
        return self.send(method, path, None if text is None else text.encode(), headers)

    def send(self, method, path, data, headers):
        connection = self.connection()
        connection.request(method, path, body=data, headers=self.headers(headers))
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        value = json.loads(body) if body else None
        if isinstance(value, dict) and "session" in value:
            self.tape.hide(value["session"], "SESSION")
        self.tape.note("<", str(answer.status))
        for name in self.TELLING:
            if answer.headers[name] is not None:
                self.tape.note("<", f"{name}: {answer.headers[name]}")
        if body:
            self.tape.note("<", body)
        if answer.status >= 400:
            raise Refused(value["refused"])
        return answer, value

    def sign_in_by_password(self, account, password):
        self.tape.hide(password, "PASSWORD")
        _, told = self.call("POST", "/api/sign-in/password", {"account": account, "password": password})
        self.session = told["session"]
        return told

    def sign_in_by_token(self, account, token):
        _, asked = self.call("POST", "/api/sign-in/challenge", {"account": account})
        text = asked["challenge"]
        challenge = canonical(text)
        assert challenge["format"] == "kaibiao sign-in 1"
        assert challenge["origin"] == f"{self.place.scheme}://{self.place.netloc}", "another server's challenge"
        assert challenge["account"] == account
        assert challenge["expires_at_shown"] == beijing(challenge["expires_at"])
        cms = token.sign("sign-in", text)
        _, told = self.call("POST", "/api/sign-in/token", {"challenge": text, "cms": b64encode(cms).decode()})
        self.session = told["session"]
        return told


# sealed-bid.md, 7: CMS, put together by hand


def der(tag, *contents):
    content = b"".join(contents)
    if len(content) < 0x80:
        length = bytes([len(content)])
    else:
        count = (len(content).bit_length() + 7) // 8
        length = bytes([0x80 | count]) + len(content).to_bytes(count, "big")
    return bytes([tag]) + length + content


def oid(text):
    first, second, *rest = map(int, text.split("."))
    content = bytes([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        content += bytes(reversed(groups))
    return der(0x06, content)


def inner(data):
    """The elements within a DER element, each with its own header."""
    elements, at = [], 0
    header, length = 2, data[1]
    if length & 0x80:
        header += length & 0x7F
    content = data[header:]
    while at < len(content):
        size, start = content[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(content[start : start + count], "big"), start + count
        elements.append(content[at : start + size])
        at = start + size
    return elements


DATA, SIGNED_DATA = oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.7.2")
SHA_256, RSA = oid("2.16.840.1.101.3.4.2.1"), oid("1.2.840.113549.1.1.1")
CONTENT_TYPE, MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.47")
SEQUENCE, SET, OCTETS, VERSION_1 = 0x30, 0x31, 0x04, der(0x02, b"\x01")


class SoftToken:
    """A signing key in a file, in place of a token."""

    def __init__(self, key_file, certificate_file):
        with open(key_file, "rb") as file:
            self.key = serialization.load_der_private_key(file.read(), None)
        with open(certificate_file, "rb") as file:
            self.certificate = file.read()
        assert x509.load_der_x509_certificate(self.certificate).public_key() == self.key.public_key()

    def sign(self, purpose, text):
        """CMS over a text, under the line of its purpose (signed-texts.md, 1)."""
        message = f"kaibiao {purpose} 1\n".encode() + text.encode()
        certificate_id = der(SEQUENCE, der(SEQUENCE, der(SEQUENCE, der(OCTETS, sha256(self.certificate)))))
        attributes = [
            der(SEQUENCE, CONTENT_TYPE, der(SET, DATA)),
            der(SEQUENCE, MESSAGE_DIGEST, der(SET, der(OCTETS, sha256(message)))),
            der(SEQUENCE, SIGNING_CERTIFICATE_V2, der(SET, certificate_id)),
        ]
        attributes = b"".join(sorted(attributes))
        signature = self.key.sign(der(SET, attributes), padding.PKCS1v15(), hashes.SHA256())
        # In a version 3 certificate: version, serial number, algorithm, issuer.
        serial, _, issuer = inner(inner(self.certificate)[0])[1:4]
        signer = der(
            SEQUENCE,
            VERSION_1,
            der(SEQUENCE, issuer, serial),
            der(SEQUENCE, SHA_256),
            der(0xA0, attributes),
            der(SEQUENCE, RSA, der(0x05)),
            der(OCTETS, signature),
        )
        signed = der(
            SEQUENCE,
            VERSION_1,
            der(SET, der(SEQUENCE, SHA_256)),
            der(SEQUENCE, DATA),
            der(0xA0, self.certificate),
            der(SET, signer),
        )
        return der(SEQUENCE, SIGNED_DATA, der(0xA0, signed))


# api.md, 4 to 6: the WebSocket


class Wire:
    """One connection after another; streams go on after the last event each was given."""

    def __init__(self, http, tape):
        self.http, self.tape = http, tape
        self.socket = None
        self.next_id = 1
        # By stream: the last seq, and the events not looked at yet.
        self.last, self.waiting = {}, {}
        # Every notice, in its order.
        self.heard = []

    def dial(self):
        pause = random.uniform(0.2, 0.4)
        scheme = {"http": "ws", "https": "wss"}[self.http.place.scheme]
        while self.socket is None:
            self.tape.note(">", "GET /api/socket")
            try:
                self.socket = connect(
                    f"{scheme}://{self.http.place.netloc}/api/socket",
                    additional_headers={"Authorization": f"Bearer {self.http.session}"},
                    compression=None,
                    max_size=FRAME_BYTES_MAX,
                )
                self.tape.note("<", "101")
            except OSError:
                time.sleep(pause)
                pause = min(2 * pause, 15)
        for stream, since in self.last.items():
            self.join(stream, since)

    def cut(self):
        """Breaks the connection as a bad line would: without a farewell."""
        self.tape.note("#", "the connection is cut")
        self.socket.socket.shutdown(SHUT_RDWR)
        self.socket.socket.close()
        self.socket = None

    def ask(self, do, **members):
        """One ask and its answer; notices that come between are kept."""
        number, self.next_id = self.next_id, self.next_id + 1
        text = spelled({"id": number, "ask": {"do": do} | members})
        self.tape.note(">", text)
        self.socket.send(text)
        while True:
            frame = self.frame()
            if frame.get("id") != number:
                continue
            if "refused" in frame:
                raise Refused(frame["refused"])
            return frame["ok"]

    def frame(self):
        text = self.socket.recv(timeout=PATIENCE_SECONDS)
        self.tape.note("<", text)
        frame = json.loads(text)
        if "stream" in frame:
            stream = frame["stream"]
            assert frame["seq"] == self.last[stream] + 1, f"a gap or a repetition: {frame}"
            self.last[stream] = frame["seq"]
            self.waiting[stream].append(frame)
            self.heard.append(frame)
        return frame

    def subscribe(self, stream):
        self.waiting[stream] = []
        self.join(stream, 0)

    def join(self, stream, since):
        self.last[stream] = since
        reached = self.ask("subscribe", stream=stream, since=since)["seq"]
        assert reached >= since, "the server was restored from an older backup"

    def until(self, stream, name, **members):
        """The next event of this name in a stream; those before it are passed over."""

        def fits(event):
            return event["event"] == name and all(event[key] == value for key, value in members.items())

        while True:
            while self.waiting[stream]:
                event = self.waiting[stream].pop(0)["event"]
                if fits(event):
                    return event
            self.frame()

    def close(self, code):
        """Waits until the server closes, with this code."""
        try:
            while True:
                self.frame()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == code, closed
            self.tape.note("#", f"the server closes: {closed.rcvd.code} {closed.rcvd.reason}")
            return closed.rcvd.reason


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


# api.md, 7: handing in


def hand_in(http, tape, project, bid, contact):
    """Uploads a sealed bid over a line that breaks, and once more; the receipt's text."""
    upload = secrets.token_hex(16)
    metadata = {"upload": upload, "purpose": "bid"} | contact
    metadata = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in metadata.items())
    begin = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(bid)), "Upload-Metadata": metadata}

    def begun():
        answer, _ = http.call("POST", f"/api/projects/{project}/uploads", headers=begin)
        assert answer.status == 201
        return answer.headers["Location"], int(answer.headers["Upload-Offset"])

    def patch(offset, data):
        headers = {
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        http.note_request("PATCH", location, headers, f"({len(data)} bytes)")
        return http.send("PATCH", location, data, headers)

    tape.note("#", "the bid is handed in, piece by piece")
    location, offset = begun()
    assert offset == 0
    half = len(bid) // 2
    answer, _ = patch(0, bid[:half])
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(half))
    tape.note("#", "a third piece has broken off on its way: how far did it come?")
    most = half + break_off(http, location, half, bid[half:])
    verdict = None
    while verdict is None:
        answer, _ = http.call("HEAD", location, headers={"Tus-Resumable": "1.0.0"})
        told = int(answer.headers["Upload-Offset"])
        assert half <= told <= most and answer.headers["Upload-Length"] == str(len(bid))
        try:
            answer, verdict = patch(told, bid[told:])
        except Refused as refused:
            # What was still on its way when we asked has come in meanwhile.
            assert refused.code == "offset_mismatch", refused
    assert answer.status == 200 and answer.headers["Kaibiao-Verdict"] == verdict["verdict"]
    assert verdict["verdict"] == "received", verdict
    tape.note("#", "the same upload again: the same receipt")
    again, offset = begun()
    assert (again, offset) == (location, len(bid))
    _, same = patch(len(bid), b"")
    assert same == verdict, "another receipt for the same upload"
    return verdict["bid"], verdict["receipt"]


def break_off(http, location, offset, data):
    """Promises bytes, sends half of them, and is gone; how many went off at most."""
    sent = len(data) // 2
    connection = http.connection()
    connection.putrequest("PATCH", location)
    for name, value in http.headers({
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        "Content-Length": str(len(data)),
    }).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(data[:sent])
    connection.close()
    return sent


def check_receipt(file, view, bid, header):
    """receipt.md, 1 to 3."""
    text, line, rest = file.split("\n")
    assert rest == ""
    public, value, signed = b64decode(view["receipt_key"]), canonical(text), canonical(line)
    assert signed["key"] == sha256(public).hex()
    verify(public, "receipt", text, b64decode(signed["signature"], validate=True))
    facts = value["facts"]
    assert value["title"] == {"real": "投标回执", "exercise": "投标回执（演练）"}[facts["kind"]]
    assert value["received_at_shown"] == beijing(facts["received_at"])
    assert facts["project"] == view["spec"]["id"] and facts["bid"] == bid
    assert facts["size_bytes"] == header.file_bytes and facts["header_digest"] == header.digest
    assert facts["received_at"] < view["spec"]["deadline"]
    return facts


def verify(public, purpose, text, signature):
    """signed-texts.md, 1."""
    message = f"kaibiao {purpose} 1\n".encode() + text.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


# sealed-bid.md and opening-order.md: order, keys, envelope


class Header:
    """sealed-bid.md, 1 to 6, as far as releasing keys needs it."""

    def __init__(self, file):
        assert file.startswith(b"KAIBIAO-JMBS-1\n")
        length, *lengths = (int.from_bytes(file[15 + 4 * n : 19 + 4 * n], "big") for n in range(4))
        at, texts = 31, []
        for size in lengths:
            texts.append(file[at : at + size])
            at += size
        binding, self.statement, _ = texts
        self.binding = canonical(binding.decode())
        self.binding_digest, self.statement_digest = sha256(binding), sha256(self.statement)
        self.digest = sha256(file[:length]).hex()
        parts = canonical(self.statement.decode())["parts"]
        self.parts = [part["part"] for part in parts]
        self.file_bytes = length + sum(part["length"] for part in parts)


def check_order(event, view, header, deadline):
    """opening-order.md, 2: before any key moves."""
    public = b64decode(view["opening_key"])
    assert sha256(public).hex() == header.binding["opening_key"], "not the platform this bid was sealed for"
    text = event["order"]
    verify(public, "opening-order", text, b64decode(event["signature"], validate=True))
    value = canonical(text)
    order = value["order"]
    assert value["format"] == "kaibiao opening-order 1"
    assert value["title"] == {"real": "解密令", "exercise": "解密令（演练）"}[order["kind"]]
    for moment in ("deadline", "issued_at", "window_closes_at"):
        assert value[f"{moment}_shown"] == beijing(order[moment])
    assert order["project"] == header.binding["project"] and order["opening_key"] == sha256(public).hex()
    assert order["deadline"] >= deadline, "the deadline was moved forward"
    assert order["deadline"] <= time.time_ns() // 1_000, "before the deadline"
    assert order["epoch"] == event["epoch"] and order["suite"] == "HPKE-X25519-SHA256-AES256GCM"
    return order


def parts_of(order, header):
    """The parts that the order opens and the bid has."""
    opened = {"common"} | {f"lot-{lot:03}" for lot in order["lots"]}
    return [part for part in header.parts if part in opened]


def part_key(bid_key, header, part):
    """sealed-bid.md, 4."""
    info = b"kaibiao part key 1\0" + header.binding_digest + part.encode()
    return HKDFExpand(hashes.SHA512(), 32, info).derive(bid_key)


def envelope(text, order, header, parts, keys):
    """opening-order.md, 3: HPKE (RFC 9180), base mode, single shot."""
    info = b"kaibiao key-envelope 1\n" + sha256(text.encode())
    aad = header.statement_digest + ",".join(parts).encode()
    return hpke_seal(b64decode(order["hpke_public_key"]), info, aad, b"".join(keys))


def hpke_seal(recipient, info, aad, plaintext):
    def extract(salt, suite, label, ikm):
        mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
        mac.update(b"HPKE-v1" + suite + label + ikm)
        return mac.finalize()

    def expand(prk, suite, label, info, length):
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return HKDFExpand(hashes.SHA256(), length, labelled).derive(prk)

    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    kem = b"KEM" + bytes([0x00, 0x20])
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    secret = expand(extract(b"", kem, b"eae_prk", shared), kem, b"shared_secret", enc + recipient, 32)
    suite = b"HPKE" + bytes([0x00, 0x20, 0x00, 0x01, 0x00, 0x02])
    context = b"\x00" + extract(b"", suite, b"psk_id_hash", b"") + extract(b"", suite, b"info_hash", info)
    schedule = extract(secret, suite, b"secret", b"")
    key = expand(schedule, suite, b"key", context, 32)
    nonce = expand(schedule, suite, b"base_nonce", context, 12)
    return enc, AESGCM(key).encrypt(nonce, plaintext, aad)


def bid_key_of(backup):
    """bid-package.md, 3."""
    with zipfile.ZipFile(io.BytesIO(backup)) as package:
        key = package.read("sealing/bid-key")
    assert len(key) == 32
    return key


def read_record(wire, project, view):
    """opening-record.md, 1 and 2."""
    told = wire.ask("record", project=project)
    text, value = told["text"], canonical(told["text"])
    assert told["digest"] == sha256(text.encode()).hex()
    verify(b64decode(view["receipt_key"]), "opening-record", text, b64decode(told["signature"], validate=True))
    record = value["record"]
    assert value["title"] == {"real": "开标记录", "exercise": "开标记录（演练）"}[record["head"]["kind"]]
    assert value["deadline_shown"] == beijing(record["head"]["deadline"])
    assert value["published_at_shown"] == beijing(record["published_at"])
    return told["digest"], record


# What the two do


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
