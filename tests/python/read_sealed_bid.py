#!/usr/bin/env python3
"""Reads sealed bids: a second implementation, written from docs/formats/ alone.

    read_sealed_bid.py FILE                       what anybody can check
    read_sealed_bid.py FILE --bid-key HEX         ... and the content, with the bid key
    read_sealed_bid.py FILE --private-key PEM     ... with the key of the encryption certificate

Prints JSON. A file that breaks the format is refused: `refused: CODE` on stderr, exit code 1; misuse exits with 2.
The section numbers are those of sealed-bid.md and bid-package.md. Needs the package `cryptography`, and memory for
the whole file, so it leaves the 64-bit form of ZIP to others: files of 4 GiB and more are misuse.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import struct
import sys
import zlib

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


class Refused(Exception):
    """The file breaks the format; the argument is the fault's code."""


def demand(condition, code):
    if not condition:
        raise Refused(code)


def sha256(data):
    return hashlib.sha256(data).digest()


# ---- Canonical JSON (sealed-bid.md 2)


def canonical_json(data, code):
    def members(pairs):
        demand(len({name for name, _ in pairs}) == len(pairs), code)
        return dict(pairs)

    def no_float(_):
        raise Refused(code)

    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=members, parse_float=no_float, parse_constant=no_float
        )
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except (ValueError, RecursionError):
        raise Refused(code) from None
    demand(again == data, code)
    return value


def has_members(value, names, code):
    demand(isinstance(value, dict) and list(value) == names, code)


def is_text(value):
    return isinstance(value, str)


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def is_name(value):
    return is_text(value) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value, re.ASCII) is not None


def is_hex(value, count):
    return is_text(value) and re.fullmatch(r"[0-9a-f]{%d}" % (2 * count), value) is not None


# ---- Header (1)

MAGIC = b"KAIBIAO-JMBS-1\n"


def read_header(data):
    """Gives the header's length, binding, statement and signature."""
    seen = data[: len(MAGIC)]
    if not MAGIC.startswith(seen):
        raise Refused("unknown_version" if seen.startswith(b"KAIBIAO-JMBS-") else "not_a_sealed_bid")
    start = len(MAGIC) + 16
    demand(len(data) >= start, "cut")
    header, *lengths = struct.unpack(">IIII", data[len(MAGIC) : start])
    demand(0 < header <= 1_048_576 and header % 4096 == 0, "header_lengths")
    demand(all(length >= 1 for length in lengths) and start + sum(lengths) <= header, "header_lengths")
    demand(len(data) >= header, "cut")
    sections, at = [], start
    for length in lengths:
        sections.append(data[at : at + length])
        at += length
    demand(not any(data[at:header]), "header_padding")
    return header, *sections


# ---- Binding (3)

WRAPS = ("RSA-OAEP-SHA256", "RSA-OAEP-SHA1", "RSA-PKCS1v15")
BINDING = (
    "format project supplier lots signing_certificate encryption_certificate opening_key suite wrap wrapped_key"
).split()


def read_binding(data):
    code = "binding_malformed"
    binding = canonical_json(data, code)
    demand(isinstance(binding, dict), code)
    demand(binding.get("format") == "kaibiao binding 1", "unknown_version")
    demand(binding.get("suite") == "Cobblestone-256", "unknown_suite")
    demand(binding.get("wrap") in WRAPS, "unknown_wrap")
    has_members(binding, BINDING, code)
    demand(is_name(binding["project"]) and is_name(binding["supplier"]), code)
    lots = binding["lots"]
    demand(isinstance(lots, list) and lots, code)
    demand(all(is_integer(lot) and 1 <= lot <= 999 for lot in lots), code)
    demand(all(one < other for one, other in zip(lots, lots[1:])), code)
    for digest in ("signing_certificate", "encryption_certificate", "opening_key"):
        demand(is_hex(binding[digest], 32), code)
    try:
        wrapped = base64.b64decode(binding["wrapped_key"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Refused(code) from None
    demand(base64.b64encode(wrapped).decode() == binding["wrapped_key"], code)
    demand(256 <= len(wrapped) <= 1024, code)
    return binding, wrapped


# ---- Statement (6)

FULL_CHUNK = 16_400
TAG = 16


def read_statement(data, binding, binding_digest, header_bytes):
    code = "statement_malformed"
    statement = canonical_json(data, code)
    has_members(statement, ["format", "binding", "header_bytes", "parts"], code)
    demand(statement["format"] == "kaibiao statement 1", code)
    demand(is_hex(statement["binding"], 32) and is_integer(statement["header_bytes"]), code)
    parts = statement["parts"]
    demand(isinstance(parts, list), code)
    for part in parts:
        has_members(part, ["part", "prefix", "length", "ciphertext"], code)
        demand(is_text(part["part"]) and re.fullmatch(r"common|lot-[0-9]{3}", part["part"]), code)
        demand(part["part"] != "lot-000", code)
        demand(is_hex(part["prefix"], 56) and is_integer(part["length"]) and is_hex(part["ciphertext"], 32), code)
    demand(bytes.fromhex(statement["binding"]) == binding_digest, "other_binding")
    demand(statement["header_bytes"] == header_bytes, "other_header_bytes")
    expected = ["common"] + [f"lot-{lot:03}" for lot in binding["lots"]]
    demand([part["part"] for part in parts] == expected, "parts_differ")
    for part in parts:
        demand(part["length"] % FULL_CHUNK >= TAG and part["length"] // FULL_CHUNK < 2**38, "part_length")
    demand(header_bytes + sum(part["length"] for part in parts) < 2**63, "part_length")
    return parts


# ---- Signature (7): a walk through the one form of DER that it may have

OID_DATA = bytes.fromhex("06092a864886f70d010701")
OID_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
OID_CONTENT_TYPE = bytes.fromhex("06092a864886f70d010903")
OID_MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
OID_SIGNING_CERTIFICATE_V2 = bytes.fromhex("060b2a864886f70d010910022f")
SHA256_ALGORITHM = bytes.fromhex("300b0609608648016503040201")
RSA_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")
VERSION_1 = bytes.fromhex("020101")


def der_length(count):
    if count < 0x80:
        return bytes([count])
    digits = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


def der(tag, *contents):
    content = b"".join(contents)
    return bytes([tag]) + der_length(len(content)) + content


def elements(content):
    """The elements that fill `content`: (tag, inside, whole) each."""
    out, at = [], 0
    while at < len(content):
        first = content[at + 1]
        count, start = first, at + 2
        if first >= 0x80:
            start += first & 0x7F
            count = int.from_bytes(content[at + 2 : start], "big")
        end = start + count
        whole = content[at:end]
        demand(end <= len(content) and whole == der(content[at], content[start:end]), "signature_invalid")
        out.append((content[at], content[start:end], whole))
        at = end
    return out


def inside(element, tag, count=None):
    """The elements inside `element`, which must have this tag and so many of them."""
    demand(element[0] == tag, "signature_invalid")
    found = elements(element[1])
    demand(count is None or len(found) == count, "signature_invalid")
    return found


def check_signature(cms, statement, signing_certificate):
    try:
        certificate = signer_of(cms, b"kaibiao seal-statement 1\n" + statement)
    except (IndexError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        raise Refused("signature_invalid") from None
    demand(sha256(certificate).hex() == signing_certificate, "other_certificate")


def signer_of(cms, text):
    """The certificate (DER) that signed `text`."""
    code = "signature_invalid"
    (content_info,) = elements(cms)
    content_type, explicit = inside(content_info, 0x30, 2)
    demand(content_type[2] == OID_SIGNED_DATA, code)
    (signed_data,) = inside(explicit, 0xA0, 1)
    version, algorithms, content, certificates, signers = inside(signed_data, 0x30, 5)
    demand(version[2] == VERSION_1 and algorithms[2] == der(0x31, SHA256_ALGORITHM), code)
    demand(content[2] == der(0x30, OID_DATA), code)
    (certificate,) = inside(certificates, 0xA0, 1)
    (signer,) = inside(signers, 0x31, 1)
    version, issuer_and_serial, algorithm, attributes, signature_algorithm, value = inside(signer, 0x30, 6)
    demand(version[2] == VERSION_1 and algorithm[2] == SHA256_ALGORITHM, code)
    demand(signature_algorithm[2] == RSA_ALGORITHM and value[0] == 0x04, code)

    # Of a certificate of version 3: version, serial number, algorithm, issuer, validity, subject, public key, ...
    to_be_signed, _, _ = inside(elements(certificate[2])[0], 0x30, 3)
    _, serial, _, issuer, _, _, public_key, *_ = inside(to_be_signed, 0x30)
    demand(issuer_and_serial[2] == der(0x30, issuer[2], serial[2]), code)

    attribute = lambda oid, content: der(0x30, oid, der(0x31, content))
    certificate_id = der(0x30, der(0x04, sha256(certificate[2])))
    expected = [
        attribute(OID_CONTENT_TYPE, OID_DATA),
        attribute(OID_MESSAGE_DIGEST, der(0x04, sha256(text))),
        attribute(OID_SIGNING_CERTIFICATE_V2, der(0x30, der(0x30, certificate_id))),
    ]
    demand(attributes[2] == der(0xA0, *sorted(expected)), code)

    key = serialization.load_der_public_key(public_key[2])
    demand(isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192, code)
    key.verify(value[1], der(0x31, *sorted(expected)), padding.PKCS1v15(), hashes.SHA256())
    return certificate[2]


# ---- Keys and parts (4, 5)


def hkdf_expand(key, info, count):
    return HKDFExpand(algorithm=hashes.SHA512(), length=count, info=info).derive(key)


def unwrap(private_key, wrap, wrapped):
    oaep = lambda hash_: padding.OAEP(mgf=padding.MGF1(hash_), algorithm=hash_, label=None)
    how = {
        "RSA-OAEP-SHA256": oaep(hashes.SHA256()),
        "RSA-OAEP-SHA1": oaep(hashes.SHA1()),
        "RSA-PKCS1v15": padding.PKCS1v15(),
    }[wrap]
    try:
        key = private_key.decrypt(wrapped, how)
    except ValueError:
        raise Refused("wrong_key") from None
    demand(len(key) == 32, "wrong_key")
    return key


def open_part(bid_key, binding_digest, part, body):
    name = part["part"].encode("ascii")
    prefix = bytes.fromhex(part["prefix"])
    salt, commitment = prefix[:24], prefix[24:]
    part_key = hkdf_expand(bid_key, b"kaibiao part key 1\x00" + binding_digest + name, 32)
    context = sha256(binding_digest + name)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    derived = hkdf_expand(part_key, info, 76)
    demand(hmac.compare_digest(derived[44:], commitment), "wrong_key")
    aead, base = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
    clear = []
    for number, at in enumerate(range(0, len(body), FULL_CHUNK)):
        nonce = (base ^ number).to_bytes(12, "big")
        try:
            clear.append(aead.decrypt(nonce, body[at : at + FULL_CHUNK], None))
        except InvalidTag:
            raise Refused("chunk_damaged") from None
    return b"".join(clear)


# ---- Packages (bid-package.md 2, 4, 5)

KINDS = ("qualification", "price", "commercial-technical", "declaration", "other")
SHEET = ["price", "delivery_or_lead", "bid_security_method", "declaration_signed", "remark"]
YUAN = r"(0|[1-9][0-9]{0,12})\.[0-9]{2}"
NOT_PLAIN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def check_text(value):
    demand(is_text(value), "package.manifest")
    demand(len(value) <= 200 and not NOT_PLAIN.search(value), "package.manifest_field")


def zip_entries(data):
    """The entries of a stored ZIP: whatever is around their bytes is formed anew and compared."""
    demand(len(data) >= 22 and data[-22:-18] == b"PK\x05\x06", "package.not_a_zip")
    count, size, offset = struct.unpack("<HII", data[-12:-2])
    demand(1 <= count <= 512, "package.entry_count")
    demand(offset + size == len(data) - 22, "package.gap")
    entries, at = [], offset
    for _ in range(count):
        demand(data[at : at + 4] == b"PK\x01\x02" and at + 46 <= len(data), "package.directory_field")
        crc, length, _, name_length = struct.unpack("<IIIH", data[at + 16 : at + 30])
        entries.append((data[at + 46 : at + 46 + name_length], crc, length))
        at += 46 + name_length
    names = [name for name, _, _ in entries]
    demand(all(one < other for one, other in zip(names, names[1:])), "package.not_sorted")

    out, directory, contents = bytearray(), bytearray(), {}
    for name, crc, length in entries:
        # Version 1.0, no flags, stored, 1980-01-01 midnight, no extra field.
        common = struct.pack("<HHHHHIIIHH", 10, 0, 0, 0, 0x21, crc, length, length, len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 10) + common + bytes(10) + struct.pack("<I", len(out)) + name
        out += b"PK\x03\x04" + common + name
        content = data[len(out) : len(out) + length]
        out += content
        demand(zlib.crc32(content) == crc, "package.checksum")
        contents[name.decode("ascii", "replace")] = content
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(out), 0)
    demand(bytes(out + directory + b"PK\x05\x06" + end) == data, "package.headers_disagree")
    return contents


def read_package(data, part, binding):
    contents = zip_entries(data)
    demand("manifest.json" in contents, "package.manifest_missing")
    demand(len(contents["manifest.json"]) <= 262_144, "package.manifest_too_large")
    manifest = canonical_json(contents.pop("manifest.json"), "package.manifest")
    members = ["format", "part", "project", "supplier"] + ([] if part == "common" else ["sheet"]) + ["documents"]
    demand(isinstance(manifest, dict), "package.manifest")
    demand(manifest.get("format") == "kaibiao bid-part 1", "package.manifest")
    demand(manifest.get("part") == part, "package.other_part")
    has_members(manifest, members, "package.manifest")
    demand(manifest["project"] == binding["project"], "package.other_project")
    demand(manifest["supplier"] == binding["supplier"], "package.other_supplier")
    if part != "common":
        check_sheet(manifest["sheet"])
    demand(isinstance(manifest["documents"], list), "package.manifest")
    for number, entry in enumerate(manifest["documents"], 1):
        has_members(entry, ["name", "kind", "title", "sha256", "bytes"], "package.manifest")
        demand(entry["kind"] in KINDS, "package.manifest")
        demand(is_hex(entry["sha256"], 32) and is_integer(entry["bytes"]), "package.manifest")
        check_text(entry["title"])
        demand(entry["title"], "package.manifest_field")
        demand(entry["name"] == f"documents/{number:02}-{entry['kind']}.pdf", "package.manifest_field")
        document = contents.pop(entry["name"], None)
        demand(document is not None and len(document) == entry["bytes"], "package.documents_differ")
        demand(document.startswith(b"%PDF-"), "package.not_a_pdf")
        demand(sha256(document).hex() == entry["sha256"], "package.document_digest")
    demand(not contents, "package.documents_differ")
    return manifest


def check_sheet(sheet):
    code = "package.manifest"
    has_members(sheet, SHEET, code)
    has_members(sheet["price"], ["kind", "value"], code)
    kind, value = sheet["price"]["kind"], sheet["price"]["value"]
    demand(kind in ("total", "unit_price", "rate") and is_text(value), code)
    demand(re.fullmatch(YUAN, value, re.ASCII), code)
    demand(kind != "rate" or int(value.replace(".", "")) <= 1_000_000, code)
    for text in ("delivery_or_lead", "bid_security_method", "remark"):
        check_text(sheet[text])
    demand(isinstance(sheet["declaration_signed"], bool), code)


# ---- The whole (8)


def read(data, bid_key, private_key):
    header_bytes, binding_bytes, statement_bytes, signature = read_header(data)
    binding, wrapped = read_binding(binding_bytes)
    binding_digest = sha256(binding_bytes)
    parts = read_statement(statement_bytes, binding, binding_digest, header_bytes)
    bodies, at = [], header_bytes
    for part in parts:
        body = data[at : at + part["length"]]
        demand(len(body) == part["length"], "cut")
        demand(sha256(body).hex() == part["ciphertext"], "part_damaged")
        bodies.append(body)
        at += part["length"]
    demand(at == len(data), "trailing_bytes")
    check_signature(signature, statement_bytes, binding["signing_certificate"])

    found = {
        "project": binding["project"],
        "supplier": binding["supplier"],
        "lots": binding["lots"],
        "signed_by": binding["signing_certificate"],
        "parts": [{"part": part["part"], "bytes": part["length"]} for part in parts],
    }
    if private_key is not None:
        bid_key = unwrap(private_key, binding["wrap"], wrapped)
    if bid_key is None:
        return found
    clear = [open_part(bid_key, binding_digest, part, body) for part, body in zip(parts, bodies)]
    manifests = [read_package(data, part["part"], binding) for part, data in zip(parts, clear)]
    found["sheets"] = {manifest["part"]: manifest["sheet"] for manifest in manifests if "sheet" in manifest}
    found["documents"] = {manifest["part"]: manifest["documents"] for manifest in manifests}
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file")
    key = arguments.add_mutually_exclusive_group()
    key.add_argument("--bid-key", type=bytes.fromhex)
    key.add_argument("--private-key")
    asked = arguments.parse_args()
    private_key = None
    if asked.private_key:
        with open(asked.private_key, "rb") as file:
            private_key = serialization.load_pem_private_key(file.read(), password=None)
    with open(asked.file, "rb") as file:
        data = file.read()
    if len(data) >= 2**32 - 1:
        arguments.error("the file is too large for this reader")
    try:
        found = read(data, asked.bid_key, private_key)
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    print(json.dumps(found, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
