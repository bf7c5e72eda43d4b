"""What is signed and sealed: receipts, orders, records, keys and their envelope (docs/formats/)."""

import hashlib
import io
import json
import time
import zipfile
from base64 import b64decode
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


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


def verify(public, purpose, text, signature):
    """signed-texts.md, 1."""
    message = f"kaibiao {purpose} 1\n".encode() + text.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


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
    end = order["deadline"]
    for move in reversed(order.get("deadline_moves", [])):
        assert move["from"] < move["to"] == end, "the moves of the deadline do not fit together"
        end = move["from"]
    told = [order["deadline"]] + [move["from"] for move in order.get("deadline_moves", [])]
    assert deadline in told, "the deadline was moved unseen"
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
