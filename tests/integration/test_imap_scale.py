"""IMAP with much in it: 10,000 mailboxes in an account, 100,000 messages in a mailbox. What it costs in memory is bounded, and all of it
is right; how long it takes is printed and not judged, the time-outs are generous.

BRANT_SCALE=1000000 makes it that many messages in the mailbox, and takes the better part of an hour; run it alone:

    BRANT_SCALE=1000000 /usr/bin/python3 -m pytest -s tests/integration/test_imap_scale.py -k messages
"""
import contextlib
import os
import re
import threading
import time

import pytest

import imap_clients
from brantd import Brantd
from imap_clients import Refused, Wire

MESSAGES = int(os.environ.get("BRANT_SCALE", "100000"))
BOXES = 10000
TIMEOUT = 600 + MESSAGES // 1000
MB = 1 << 20
# What the processes may have more of at any time than when the server was new. The store maps its index: that is not its own memory.
IMAP_MAX = 16 * MB + MESSAGES * 8
STORE_MAX = 128 * MB + MESSAGES * 64
SAMPLE_S = 0.2
PIPELINE = 200
APPEND_BATCH = 500  # messages of one MULTIAPPEND

pytestmark = pytest.mark.slow


def own_bytes(pid):
    """Anonymous memory: heap, stacks, copied pages."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    return 0


class Watch:
    """Takes the time of each step, and all the while how much the processes have grown."""

    def __init__(self, server):
        self.server = server
        self.pids = {} if not isinstance(getattr(server, "brantd", None), Brantd) else \
            {name: server.brantd.roles(name)[0].pid for name in ("brant-imap", "brant-store")}
        self.first = {name: own_bytes(pid) for name, pid in self.pids.items()}
        self.most = dict.fromkeys(self.pids, 0)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.sample_always, daemon=True)
        self.thread.start()

    def sample(self):
        grown = {name: own_bytes(pid) - self.first[name] for name, pid in self.pids.items()}
        for name, size in grown.items():
            self.most[name] = max(self.most[name], size)
        return grown

    def sample_always(self):
        while not self.over.wait(SAMPLE_S):
            self.sample()

    @contextlib.contextmanager
    def step(self, what):
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        grown = self.sample()
        print(f"{seconds:9.2f} s  {what:48}" + "".join(f"  {name} +{size / MB:.1f} MB" for name, size in grown.items()), flush=True)

    def check(self):
        self.over.set()
        self.thread.join()
        print("at most: " + ", ".join(f"{name} +{size / MB:.1f} MB" for name, size in self.most.items()))
        for name, limit in (("brant-imap", IMAP_MAX), ("brant-store", STORE_MAX)):
            if name in self.pids:
                assert self.most[name] <= limit, f"{name} grew by {self.most[name]} bytes, at most {limit}"
                assert own_bytes(self.pids[name]), f"{name} is not the process it was"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from imap_clients.start(tmp_path_factory.mktemp("scale"))


@pytest.fixture
def watch(server):
    watched = Watch(server)
    yield watched
    watched.check()


def pipelined(conn, commands):
    """Runs the commands, many at a time; the untagged responses of all. Every one has to be OK."""
    answers = []
    for at in range(0, len(commands), PIPELINE):
        part = commands[at:at + PIPELINE]
        tags = [conn.tag() for _ in part]
        conn.send(b"".join(tag + b" " + command + b"\r\n" for tag, command in zip(tags, part)))
        for tag, command in zip(tags, part):
            untagged, tagged = conn.until(tag)
            if not tagged.startswith(b"OK"):
                raise Refused(f"{command[:200]}: {tagged}")
            answers += untagged
    return answers


# ---- mailboxes ----

def names():
    """(name as it is sent, UTF-8 text) of the mailboxes: nested, with dots, spaces, Chinese, &. Parents come first."""
    top = [(b"Big", "Big"), (b'"with space"', "with space"), (b"dotted.name", "dotted.name"), (b'"&Zi9OCg-"', "是上"),
           (b'"a &- b"', "a & b")]
    wide = [(b"Big/%04d" % i, f"Big/{i:04}") for i in range(1000)]
    rest = []
    for i in range(BOXES):
        parent = top[1 + i % 4]
        inner = [(b"%d.x" % i, f"{i}.x"), (b"%d y" % i, f"{i} y"), (b"&YqVUSg-%d" % i, f"报告{i}"), (b"%d/deep" % i, f"{i}/deep")][i // 4 % 4]
        rest.append((b'"' + parent[0].strip(b'"') + b"/" + inner[0] + b'"', f"{parent[1]}/{inner[1]}"))
    return top + wide, rest


def list_names(untagged, word=b"LIST"):
    """The names in LIST responses as bytes, without quotes."""
    found = []
    for line in untagged:
        m = re.match(rb"\* " + word + rb' \([^)]*\) "/" (?:"((?:[^"\\]|\\.)*)"|\{\d+\}\r\n(.*)|(\S+))', line, re.S)
        if m:
            found.append(m[1] if m[1] is not None else m[2] if m[2] is not None else m[3])
    return found


def full_account(conn, watch):
    """Makes BOXES mailboxes; the text of each name."""
    first, rest = names()
    with watch.step(f"CREATE of {BOXES:,}, pipelined"):
        pipelined(conn, [b"CREATE " + sent for sent, _ in first])
        made, i = [text for _, text in first], 0
        while len(made) < BOXES:
            part, room = [], BOXES - len(made)
            while room > 0 and len(part) < PIPELINE and i < len(rest):
                sent, text = rest[i]
                i += 1
                part.append((sent, text))
                room -= 1 + text.endswith("/deep")
            pipelined(conn, [b"CREATE " + sent for sent, _ in part])
            made += [text for _, text in part] + [text[:-5] for _, text in part if text.endswith("/deep")]
    return made


def test_ten_thousand_mailboxes(server, watch):
    user = server.account()
    with server.raw(user, timeout=TIMEOUT) as conn:
        made = full_account(conn, watch)
        with watch.step('LIST "" "*"'):
            everything = list_names(conn.ok('LIST "" "*"'))
        assert len(everything) == len(set(everything))
        assert set(map(encode, made)) <= set(everything)
        assert len(everything) >= BOXES
        patterns(conn, watch, made)
        with watch.step("SUBSCRIBE, 3,000 of them"):
            pipelined(conn, [b'SUBSCRIBE "%s"' % encode(text) for text in made[:3000]])
        with watch.step('LSUB "" "*"'):
            assert set(list_names(conn.ok('LSUB "" "*"'), b"LSUB")) >= set(map(encode, made[:3000]))
        with watch.step('LIST (SUBSCRIBED) "" "*" RETURN (CHILDREN)'):
            assert set(list_names(conn.ok('LIST (SUBSCRIBED) "" "*" RETURN (CHILDREN)'))) >= set(map(encode, made[:3000]))
        with watch.step('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN))'):
            untagged = conn.ok('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))')
            assert sum(line.startswith(b"* STATUS") for line in untagged) == len(everything)
        with watch.step("RENAME of a parent of 1,000"):
            conn.ok('RENAME Big "Much bigger"')
        assert len(list_names(conn.ok('LIST "" "Big/*"'))) == 0
        assert len(list_names(conn.ok('LIST "" "Much bigger/*"'))) == 1000
        many_sessions(server, user, watch, len(everything))
        utf8_names(server, user, watch, everything)
        with watch.step("DELETE of 1,000"):
            pipelined(conn, [b'DELETE "Much bigger/%04d"' % i for i in range(1000)])
        assert len(list_names(conn.ok('LIST "" "*"'))) == len(everything) - 1000


def encode(text):
    """Modified UTF-7 (RFC 3501 5.1.3)."""
    import base64

    def shift(m):
        return "&" + base64.b64encode(m[0].encode("utf-16-be")).rstrip(b"=").replace(b"/", b",").decode() + "-"
    return re.sub("[^\x20-\x7e]+", shift, text.replace("&", "&-")).encode()


def patterns(conn, watch, made):
    """What a pattern finds is what it says."""
    for pattern, fits in (("Big/%", lambda t: re.fullmatch("Big/[^/]*", t)), ("%", lambda t: "/" not in t),
                          ("*deep", lambda t: t.endswith("deep")), ("%/%.x", lambda t: re.fullmatch(r"[^/]*/[^/]*\.x", t)),
                          ("*7*%*9*", lambda t: re.search("7.*9", encode(t).decode())), ("with space/*y", lambda t: re.match("with space/.*y$", t))):
        with watch.step(f'LIST "" "{pattern}"'):
            found = set(list_names(conn.ok(f'LIST "" "{pattern}"')))
        want = {encode(t) for t in made if fits(t)}
        assert found & set(map(encode, made)) == want, f"{pattern}: {len(found)} found, {len(want)} fit"


def many_sessions(server, user, watch, count):
    """Ten sessions list everything, one of them reads slowly."""
    sessions = [server.raw(user, timeout=TIMEOUT) for _ in range(10)]
    with watch.step("LIST in ten sessions at once"):
        tags = [c.tag() for c in sessions]
        for c, tag in zip(sessions, tags):
            c.send(tag + b' LIST "" "*" RETURN (STATUS (MESSAGES))\r\n')
        for c, tag in list(zip(sessions, tags))[::-1]:
            untagged, tagged = c.until(tag)
            assert tagged.startswith(b"OK") and len(list_names(untagged)) == count
    for c in sessions:
        c.close()


def utf8_names(server, user, watch, everything):
    with server.raw(user, timeout=TIMEOUT) as conn:
        if "UTF8=ACCEPT" not in conn.capabilities():
            return
        conn.ok("ENABLE UTF8=ACCEPT")
        with watch.step('LIST "" "*" in UTF-8'):
            found = [n.decode() for n in list_names(conn.ok('LIST "" "*"'))]
        assert {encode(n) for n in found} == {n for n in everything if not n.startswith(b"Big")} | \
            {encode(n) for n in found if n.startswith("Much bigger")}
        conn.ok('CREATE "是上/新建"')
        assert list_names(conn.ok('LIST "" "是上/新*"')) == ["是上/新建".encode()]
        conn.ok('DELETE "是上/新建"')


# ---- messages ----

def ranges_of(text):
    """How many numbers a set names."""
    total = 0
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        total += int(last or first) - int(first) + 1
    return total


def fill(conn, mailbox, count, watch):
    with watch.step(f"APPEND of {count:,}, {APPEND_BATCH} at a time"):
        for at in range(0, count, APPEND_BATCH):
            parts = []
            for i in range(at, min(at + APPEND_BATCH, count)):
                body = b"Subject: n%d\r\n\r\n%d\r\n" % (i, i)
                parts.append(b" {%d+}\r\n%s" % (len(body), body))
            conn.ok(b"APPEND " + mailbox + b"".join(parts))


def exists(untagged):
    return max(int(m[1]) for m in (re.match(rb"\* (\d+) EXISTS", line) for line in untagged) if m)


def count_fetched(conn, command, watch, what):
    """How many FETCH responses there are, without keeping them."""
    count, tag = 0, conn.tag()
    with watch.step(what):
        conn.send(tag + b" " + command + b"\r\n")
        while True:
            line = conn.response()
            if line.startswith(tag + b" "):
                assert line.startswith(tag + b" OK"), line
                return count
            count += b" FETCH " in line[:30]


def found(conn, command, watch):
    """How many messages an extended search finds."""
    with watch.step(command):
        untagged = conn.ok(command)
    line = next(line for line in untagged if line.startswith(b"* ESEARCH"))
    m = re.search(rb" (?:COUNT (\d+)|ALL (\S+))", line)
    return (int(m[1]) if m[1] else ranges_of(m[2])) if m else 0


def test_many_messages(server, watch):
    user = server.account()
    with server.raw(user, timeout=TIMEOUT) as conn:
        conn.ok("CREATE Many")
        conn.ok("CREATE Copies")
        conn.ok("ENABLE QRESYNC")
        fill(conn, b"Many", MESSAGES, watch)
        with watch.step("SELECT"):
            opened = conn.ok("SELECT Many")
        assert exists(opened) == MESSAGES
        read(conn, watch)
        before = modseq(conn)
        with watch.step("STORE 1:* +FLAGS.SILENT"):
            conn.ok(r"STORE 1:* +FLAGS.SILENT (\Seen kw)")
        assert found(conn, "UID SEARCH RETURN (COUNT) KEYWORD kw SEEN", watch) == MESSAGES
        assert count_fetched(conn, b"STORE 1:* +FLAGS (\\Flagged)", watch, "STORE 1:* +FLAGS") == MESSAGES
        copies(conn, watch)
        removals(conn, watch)
        resynchronised(server, user, watch, opened, before)
        with watch.step("DELETE of the mailbox"):
            conn.ok("UNSELECT")
            conn.ok("DELETE Many")


def modseq(conn):
    return int(re.search(rb"HIGHESTMODSEQ (\d+)", b" ".join(conn.ok("STATUS Many (HIGHESTMODSEQ)")))[1])


def read(conn, watch):
    assert count_fetched(conn, b"FETCH 1:* (FLAGS)", watch, "FETCH 1:* (FLAGS)") == MESSAGES
    assert count_fetched(conn, b"FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ)", watch, "FETCH 1:* of what mbsync asks") == MESSAGES
    part = min(MESSAGES, 20000)
    assert count_fetched(conn, b"FETCH 1:%d (UID ENVELOPE BODYSTRUCTURE)" % part, watch, f"FETCH of {part:,} envelopes") == part
    assert count_fetched(conn, b"FETCH %d:* (UID BODY.PEEK[])" % (MESSAGES - part + 1), watch, f"FETCH of {part:,} messages") == part
    assert found(conn, "UID SEARCH RETURN (ALL) ALL", watch) == MESSAGES
    assert found(conn, "UID SEARCH RETURN (COUNT) UNSEEN", watch) == MESSAGES
    assert found(conn, "UID SEARCH RETURN (COUNT) LARGER 30 NOT DELETED", watch) >= 0
    assert found(conn, f"SEARCH RETURN (COUNT) 1:{part} SUBJECT n77", watch) == sum("n77" in f"n{i}" for i in range(part))
    assert found(conn, f"SEARCH RETURN (COUNT) 1:{part} BODY 123", watch) == sum("123" in str(i) for i in range(part))
    with watch.step("UID SEARCH ALL, as numbers"):
        line = next(u for u in conn.ok("UID SEARCH UNDELETED") if u.startswith(b"* SEARCH"))
    assert line.count(b" ") == MESSAGES + 1


def copies(conn, watch):
    """In parts of what one COPY may take."""
    part, at = 10000, 1
    with watch.step(f"COPY, {part:,} at a time, half of it"):
        while at <= MESSAGES // 2:
            conn.ok(f"COPY {at}:{min(at + part - 1, MESSAGES // 2)} Copies")
            at += part
    assert conn.count("Copies") == MESSAGES // 2
    with watch.step("MOVE of a tenth, back"):
        conn.ok("UNSELECT")
        conn.ok("SELECT Copies")
        conn.ok(f"MOVE 1:{MESSAGES // 10} Many")
        conn.ok("UNSELECT")
    assert (conn.count("Copies"), conn.count("Many")) == (MESSAGES // 2 - MESSAGES // 10, MESSAGES + MESSAGES // 10)


def removals(conn, watch):
    """Every third goes: there are as many ranges of UIDs then as can be."""
    conn.ok("SELECT Many")
    with watch.step("STORE of \\Deleted, every third, sets of 1,000"):
        for at in range(1, MESSAGES + 1, 3000):
            numbers = ",".join(str(n) for n in range(at, min(at + 3000, MESSAGES + 1), 3))
            conn.ok(f"UID STORE {numbers} +FLAGS.SILENT (\\Deleted)")
    with watch.step("EXPUNGE of every third"):
        untagged = conn.ok("EXPUNGE")
    gone = sum(ranges_of(line.split(b" ")[-1]) for line in untagged if line.startswith(b"* VANISHED"))
    left = MESSAGES + MESSAGES // 10 - (MESSAGES + 2) // 3
    assert gone == (MESSAGES + 2) // 3 and conn.count("Many") == left
    assert count_fetched(conn, b"FETCH 1:* (UID)", watch, "FETCH 1:* (UID), a third being gone") == left
    assert found(conn, "UID SEARCH RETURN (ALL) ALL", watch) == left


def resynchronised(server, user, watch, opened, before):
    """A client that was away since before the flags changed learns all of it; one that was away since the end, nothing."""
    validity = int(re.search(rb"UIDVALIDITY (\d+)", b" ".join(opened))[1])
    with server.raw(user, timeout=TIMEOUT) as other:
        other.ok("ENABLE QRESYNC")
        with watch.step("SELECT with QRESYNC, everything changed"):
            untagged = other.ok(f"SELECT Many (QRESYNC ({validity} {before}))")
        vanished = sum(ranges_of(line.split(b" ")[3]) for line in untagged if line.startswith(b"* VANISHED (EARLIER)"))
        assert vanished == (MESSAGES + 2) // 3
        assert sum(b" FETCH " in line[:30] for line in untagged) == exists(untagged)
        now = int(re.search(rb"HIGHESTMODSEQ (\d+)", b" ".join(u for u in untagged if b"HIGHESTMODSEQ" in u))[1])
        other.ok("UNSELECT")
        with watch.step("SELECT with QRESYNC, nothing changed"):
            untagged = other.ok(f"SELECT Many (QRESYNC ({validity} {now}))")
        assert not [line for line in untagged if b" FETCH " in line[:30] or b"VANISHED" in line[:12]]
