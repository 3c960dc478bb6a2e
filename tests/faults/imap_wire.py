"""A client of IMAP for the fault tests: commands in one go, answers as far as they come; and how a mailbox is looked at."""
import base64
import functools
import hashlib
import os
import re
import socket
import sys

from attempts import message
from imap_model import Seen, parse_set
from load import PATIENCE_S, TLS, Gone
from system import PASSWORD

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "imap"))
from imaptest import parse_args  # noqa: E402

TOKEN = re.compile(r"^X-Attempt: ([0-9a-z]+-[0-9]+)\r\n", re.M)


@functools.lru_cache(maxsize=1 << 16)
def known(token):
    """(octets, sum) of a message as it was sent: making it anew each time is slow."""
    data = message(token)
    return len(data), hashlib.sha256(data).digest()


class Wrong(Exception):
    """The server said what it must not say."""


def to_utf7(name):
    """Modified UTF-7 (RFC 3501 5.1.3)."""
    def shift(m):
        coded = base64.b64encode(m[0].encode("utf-16-be")).rstrip(b"=").replace(b"/", b",").decode()
        return f"&{coded}-"
    return re.sub("[^\x20-\x7e]+", shift, name.replace("&", "&-"))


def from_utf7(text):
    def shift(m):
        if not m[1]:
            return "&"
        return base64.b64decode(m[1].replace(",", "/") + "=" * (-len(m[1]) % 4)).decode("utf-16-be")
    return re.sub("&([^-]*)-", shift, text)


def quoted(name):
    return b'"' + to_utf7(name).replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


class Session:
    """One connection that is logged in."""

    def __init__(self, port, user, tls=False, password=PASSWORD):
        try:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        except OSError as e:
            raise Gone from e
        self.buffer, self.tags = bytearray(), 0
        try:
            if tls:
                self.sock = TLS.wrap_socket(self.sock)
            greeting = self.response()
            if not greeting.startswith(b"* OK"):
                raise Gone(greeting)
            tagged = self.run(b'LOGIN "%s" "%s"' % (user.encode(), password.encode()))[1]
            if tagged.startswith(b"NO [AUTHENTICATIONFAILED]"):
                raise Wrong(f"a right password was called wrong: {tagged!r}")
            if not tagged.startswith(b"OK"):
                raise Gone(tagged)
            self.capabilities = set(self.ok(b"CAPABILITY")[0].upper().split()[2:])
        except BaseException as e:
            self.close()
            if isinstance(e, OSError) and not isinstance(e, TimeoutError):
                raise Gone from e
            raise

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def more(self):
        try:
            data = self.sock.recv(1 << 18)
        except OSError as e:
            raise Gone from e
        if not data:
            raise Gone
        self.buffer += data

    def response(self):
        """One response with its literals, without the last CRLF."""
        end = 0
        while True:
            at = self.buffer.find(b"\r\n", end)
            while at < 0:
                self.more()
                at = self.buffer.find(b"\r\n", end)
            m = re.search(rb"\{(\d+)\}$", self.buffer[max(end, at - 30):at])
            if not m:
                line = bytes(self.buffer[:at])
                del self.buffer[:at + 2]
                if line.startswith(b"* BYE"):
                    raise Gone(line)
                return line
            end = at + 2 + int(m.group(1))
            while len(self.buffer) < end:
                self.more()

    def send(self, lines):
        """Sends commands in one go; their tags."""
        tags, data = [], bytearray()
        for line in lines:
            self.tags += 1
            tags.append(b"k%d" % self.tags)
            data += tags[-1] + b" " + line + b"\r\n"
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone from e
        return tags

    def until(self, tag):
        untagged = []
        while True:
            line = self.response()
            if line.startswith(tag + b" "):
                return untagged, line[len(tag) + 1:]
            if not line.startswith((b"* ", b"+")):
                raise Wrong(f"an answer to nothing: {line[:200]!r}")
            untagged.append(line)

    def run(self, line):
        return self.until(self.send([line])[0])

    def ok(self, line):
        untagged, tagged = self.run(line)
        if tagged.startswith(b"NO [UNAVAILABLE]"):
            raise Gone(tagged)
        if not tagged.startswith(b"OK"):
            raise Wrong(f"{line[:200]!r}: {tagged!r}")
        return untagged


def code(untagged, name):
    """The number in a response code of SELECT, or 0."""
    for line in untagged:
        m = re.match(rb"\* OK \[" + name + rb" \(?([^\])]+)\)?\]", line)
        if m:
            return m[1].decode()
    return "0"


def fetched(untagged):
    """The items of each FETCH response, by name."""
    for line in untagged:
        if re.match(rb"\* \d+ FETCH ", line):
            items = parse_args(line[2:])[2]
            yield {str(items[i]).upper(): items[i + 1] for i in range(0, len(items), 2)}


def flags_of(items):
    return frozenset(str(f) for f in items["FLAGS"]) - {"\\Recent"}


def names_of(untagged):
    """The names of LIST and LSUB responses, those that can be selected."""
    found = set()
    for line in untagged:
        if re.match(rb"\* (LIST|LSUB) ", line):
            _, attributes, _, name = parse_args(line[2:])
            if not {"\\NOSELECT", "\\NONEXISTENT"} & {str(a).upper() for a in attributes} or line.startswith(b"* LSUB"):
                found.add(from_utf7(str(name)))
    return found


def look_into(session, name, whole):
    """Examines a mailbox; (Seen, what is wrong). `whole`: every byte of every message."""
    seen, wrong = Seen(), []
    status = session.ok(b"STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)" % quoted(name))
    opened = session.ok(b"EXAMINE " + quoted(name))
    seen.validity, seen.uidnext, seen.modseq = (int(code(opened, c)) for c in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"))
    seen.ident = code(opened, b"MAILBOXID")
    exists = max((int(m[1]) for m in (re.match(rb"\* (\d+) EXISTS", u) for u in opened) if m), default=0)
    items = b"BODY.PEEK[]" if whole else b"BODY.PEEK[HEADER] RFC822.SIZE"
    answers = list(fetched(session.ok(b"FETCH 1:* (UID FLAGS MODSEQ " + items + b")"))) if exists else []
    for row in answers:
        uid, text = int(row["UID"]), str(row.get("BODY[]", row.get("BODY[HEADER]", "")))
        m = TOKEN.match(text)
        if not m:
            wrong.append(f"{name}: UID {uid} is a message that nobody sent: {text[:200]!r}")
            continue
        if whole and (len(text), hashlib.sha256(text.encode("latin-1")).digest()) != known(m[1]):
            wrong.append(f"{name}: UID {uid}, {m[1]}, is not what was appended: {len(text)} bytes")
        if not whole and int(row["RFC822.SIZE"]) != known(m[1])[0]:
            wrong.append(f"{name}: UID {uid}, {m[1]}, has {row['RFC822.SIZE']} bytes")
        seen.messages.append((uid, m[1], flags_of(row), int(row["MODSEQ"][0])))
    uids = [m[0] for m in seen.messages]
    if uids != sorted(set(uids)):
        wrong.append(f"{name}: UIDs do not ascend: {uids}")
    if len(answers) != exists:
        wrong.append(f"{name}: EXISTS {exists}, {len(answers)} were fetched")
    told = parse_args(next(s for s in status if s.startswith(b"* STATUS"))[2:])[2]
    told = {str(told[i]).upper(): int(str(told[i + 1])) for i in range(0, len(told), 2)}
    want = {"MESSAGES": exists, "UIDNEXT": seen.uidnext, "UIDVALIDITY": seen.validity, "HIGHESTMODSEQ": seen.modseq,
            "UNSEEN": sum("\\Seen" not in m[2] for m in seen.messages)}
    if told != want:
        wrong.append(f"{name}: STATUS {told}, EXAMINE and FETCH {want}")
    return seen, wrong


def resync(session, name, before):
    """What a client that knew `before` believes after QRESYNC (RFC 7162 3.2.5): {uid: flags}. None: it has to begin anew."""
    untagged = session.ok(b"EXAMINE %s (QRESYNC (%d %d))" % (quoted(name), before.validity, before.modseq))
    if int(code(untagged, b"UIDVALIDITY")) != before.validity:
        return None
    believed = {uid: flags for uid, _, flags, _ in before.messages}
    for line in untagged:
        m = re.match(rb"\* VANISHED \(EARLIER\) (\S+)", line)
        if m:
            for uid in parse_set(m[1].decode()):
                believed.pop(uid, None)
    for row in fetched(untagged):
        believed[int(row["UID"])] = flags_of(row)
    return believed
