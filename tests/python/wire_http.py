"""The HTTP half of a client: refusals, signing in, and handing in by tus (docs/api.md, 1 to 3 and 7)."""

import http.client
import json
import secrets
from base64 import b64encode
from urllib.parse import urlsplit

from wire_papers import beijing, canonical, spelled

# A minute without what must come is a failure, not a wait.
PATIENCE_SECONDS = 60


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
