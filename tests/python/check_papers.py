"""Reads receipts, opening orders, opening records and key envelopes, from the pages in docs/formats/ alone.

Reads one JSON object from standard input and prints one. Which papers it holds:
  receipt {file, public}; order, record {text, signature, public}; envelope {private, order, enc, ciphertext,
  statement, parts}. Keys, signatures and digests are hexadecimal. A paper that does not hold ends the program.
"""

import hashlib
import json
import sys
from base64 import b64decode
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def sha256(data):
    return hashlib.sha256(data).digest()


def canonical(text):
    """The value of a text in its one spelling (sealed-bid.md, 2)."""
    value = json.loads(text)
    assert json.dumps(value, ensure_ascii=False, separators=(",", ":")) == text, "another spelling"
    return value


def verify(public, purpose, text, signature):
    """signed-texts.md, 1."""
    message = f"kaibiao {purpose} 1\n".encode() + text.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def beijing(moment):
    """signed-texts.md, 4."""
    shown = datetime(1970, 1, 1) + timedelta(hours=8, microseconds=moment)
    return shown.strftime("%Y-%m-%d %H:%M:%S.%f +08:00")


def receipt(file, public):
    """receipt.md, 1 and 2."""
    text, line, rest = file.split("\n")
    assert rest == ""
    line = canonical(line)
    assert line["key"] == sha256(public).hex(), "another key"
    verify(public, "receipt", text, b64decode(line["signature"], validate=True))
    value = canonical(text)
    facts = value["facts"]
    assert value["format"] == "kaibiao receipt 1"
    assert value["title"] == {"real": "投标回执", "exercise": "投标回执（演练）"}[facts["kind"]]
    assert value["received_at_shown"] == beijing(facts["received_at"])
    return facts


def order(text, signature, public):
    """opening-order.md, 1."""
    verify(public, "opening-order", text, signature)
    value = canonical(text)
    inner = value["order"]
    assert value["format"] == "kaibiao opening-order 1"
    for moment in ["deadline", "issued_at", "window_closes_at"]:
        assert value[f"{moment}_shown"] == beijing(inner[moment])
    assert inner["opening_key"] == sha256(public).hex()
    return inner


def record(text, signature, public):
    """opening-record.md, 1 and 2."""
    verify(public, "opening-record", text, signature)
    value = canonical(text)
    assert value["format"] == "kaibiao opening-record 1"
    assert value["deadline_shown"] == beijing(value["record"]["head"]["deadline"])
    assert value["published_at_shown"] == beijing(value["record"]["published_at"])
    return value["record"]


# RFC 9180, base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.
KEM = b"KEM" + (0x20).to_bytes(2, "big")
SUITE = b"HPKE" + (0x20).to_bytes(2, "big") + (1).to_bytes(2, "big") + (2).to_bytes(2, "big")


def extract(suite, salt, label, material):
    mac = hmac.HMAC(salt, hashes.SHA256())
    mac.update(b"HPKE-v1" + suite + label + material)
    return mac.finalize()


def expand(suite, secret, label, info, length):
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), length, info).derive(secret)


def hpke_open(private, enc, info, aad, ciphertext):
    private = X25519PrivateKey.from_private_bytes(private)
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + private.public_key().public_bytes_raw()
    secret = expand(KEM, extract(KEM, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    schedule = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    secret = extract(SUITE, secret, b"secret", b"")
    key = expand(SUITE, secret, b"key", schedule, 32)
    nonce = expand(SUITE, secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, aad)


def envelope(private, order, enc, ciphertext, statement, parts):
    """opening-order.md, 3."""
    info = b"kaibiao key-envelope 1\n" + sha256(order.encode())
    aad = statement + ",".join(parts).encode()
    clear = hpke_open(private, enc, info, aad, ciphertext)
    assert len(clear) == 32 * len(parts)
    return [clear[at : at + 32].hex() for at in range(0, len(clear), 32)]


READERS = {"receipt": receipt, "order": order, "record": record, "envelope": envelope}
BYTES = {"public", "private", "signature", "enc", "ciphertext", "statement"}


def main():
    papers = json.load(sys.stdin)
    answers = {}
    for name, paper in papers.items():
        given = {key: bytes.fromhex(value) if key in BYTES else value for key, value in paper.items()}
        answers[name] = READERS[name](**given)
    json.dump(answers, sys.stdout)


main()
