"""A token's signatures as CMS, put together by hand (docs/formats/sealed-bid.md, 7)."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from wire_papers import sha256


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
