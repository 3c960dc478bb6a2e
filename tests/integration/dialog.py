"""Dialogue files (tests/dialogs/README.md) against a live server."""
import os
import re

import wire
from brantd import PASSWORD, ROOT

FOLDER = os.path.join(ROOT, "tests", "dialogs")
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.S)
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b"*": b"*"}


def files(protocol):
    folder = os.path.join(FOLDER, protocol)
    return sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".txt"))


def unescape(text):
    """Escapes, and \\{N} as the repetition of the byte before it."""
    out = b""
    while text:
        m = ESCAPE.match(text)
        if m:
            byte = bytes([int(m.group(1), 16)]) if m.group(1) else NAMED[m.group(2)]
            text = text[m.end():]
        else:
            byte, text = text[:1], text[1:]
        m = re.match(rb"\\\{([0-9]+)\}", text)
        if m:
            byte, text = byte * int(m.group(1)), text[m.end():]
        out += byte
    return out


def pattern(text):
    """A compiled expression for one line of the server."""
    parts = re.split(rb"(\\x[0-9a-fA-F]{2}|\\.|\*)", text)
    return re.compile(b"".join(b".*" if p == b"*" else re.escape(unescape(p)) for p in parts) + rb"\Z", re.S)


class Dialog:
    """A dialogue of POP3 (tests/dialogs/pop3/README.md)."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        self.settings, self.steps = [], []
        with open(path, "rb") as f:
            for number, line in enumerate(f.read().split(b"\n"), 1):
                if not line or line.startswith(b"#"):
                    continue
                if line.startswith(b"@ "):
                    self.settings.append(line[2:])
                else:
                    self.steps.append((number, line))

    def has(self, word):
        return word in self.settings

    def values(self, word):
        return [s[len(word) + 1:] for s in self.settings if s.startswith(word + b" ")]

    def messages(self):
        out = [unescape(v) for v in self.values(b"message")]
        for value in self.values(b"messages"):
            count, size = (int(n) for n in value.split())
            out += [(b"x: y\r\n" * (size // 6 + 1))[:size]] * count
        return out

    def play(self, port, user):
        """In step. `user` takes the place of $USER."""
        def fill(text):
            return text.replace(b"$USER", user.encode()).replace(b"$PASS", PASSWORD.encode())

        with wire.Connection(port, timeout=10) as c:
            skipping = False
            for number, line in self.steps:
                where = f"{self.name}:{number}: "
                if line.startswith((b"C: ", b"C! ")) or line == b"C:":
                    try:
                        c.send(unescape(fill(line[3:])) + (b"\r\n" if line[1:2] == b":" else b""))
                    except wire.Closed:
                        pass  # what was said before is still to be read
                elif line == b"S: ...":
                    skipping = True
                elif line.startswith(b"S: close"):
                    got = c.rest()
                    assert got == b"", f"{where}the server also said {got!r}"
                elif line.startswith(b"S:"):
                    want = pattern(fill(line[3:]))
                    got = c.line()
                    while skipping and not want.match(got):
                        got = c.line()
                    skipping = False
                    assert want.match(got), f"{where}the server said {got!r}"


class SmtpDialog:
    """A dialogue of SMTP (tests/dialogs/README.md). `mailboxes` shows what was stored: a function that gives the
    messages of all demo accounts."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        with open(path, "rb") as f:
            self.lines = [(n, line) for n, line in enumerate(f.read().split(b"\n"), 1)
                          if line and not line.startswith(b"#")]

    def is_live(self):
        return not any(line.startswith((b"@ only engine", b"@ role", b"@ set")) for _, line in self.lines)

    def play(self, port, mailboxes):
        with wire.Smtp(port, greet=False, timeout=20) as s:
            body = b""
            for number, line in self.lines:
                where, kind, rest = f"{self.name}:{number}: ", line[:2], line[3:]
                if kind[:1] == b"C":
                    self.say(s, kind, rest)
                elif line == b"S: close":
                    got = s.rest()
                    assert got == b"", f"{where}the server also said {got!r}"
                elif kind == b"S:":
                    self.hear(s, rest, where)
                elif kind == b"S*":
                    count, _, want = rest.partition(b" ")
                    for _ in range(int(count)):
                        self.hear(s, want, where)
                elif kind == b"M:":
                    stored = mailboxes()
                    assert len(stored) >= int(rest) and (stored == [] or int(rest) > 0), \
                        f"{where}{len(stored)} messages were stored"
                elif kind == b"B:":
                    body += unescape(rest)
            if body:
                wire.as_sent(mailboxes()[-1], body)

    @staticmethod
    def say(s, kind, text):
        if kind == b"C:":
            data = text + b"\r\n"
        elif kind == b"C*":
            count, _, text = text.partition(b" ")
            data = unescape(text) * int(count)
        else:
            data = unescape(text)
        try:
            s.send(data)
        except wire.Closed:
            pass  # what was said before is still to be read

    @staticmethod
    def hear(s, want, where):
        code, _, glob = want.partition(b" ")
        got = s.reply()
        assert got[0] == int(code), f"{where}the server said {got}"
        if glob:
            text = re.compile(b".*".join(re.escape(p) for p in glob.split(b"*")) + rb"\Z", re.S)
            assert text.match(got[1].encode()), f"{where}the server said {got}"
