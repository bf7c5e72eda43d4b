"""The WebSocket half of a client: asks, answers, streams (docs/api.md, 4 to 6)."""

import json
import random
import time
from socket import SHUT_RDWR

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from wire_http import PATIENCE_SECONDS, Refused
from wire_papers import spelled

# api.md, 4: accept frames of 16 MiB.
FRAME_BYTES_MAX = 16 << 20


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
