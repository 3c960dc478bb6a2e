"""IMAP from people who mean no good: the right answer or a polite end, bounded memory and time, and honest clients are
served all the while."""
import concurrent.futures
import contextlib
import os
import re
import select
import socket
import time
import zlib

import pytest

import imap_clients
from imap_clients import Ended, Wire

MESSAGE = b"Subject: honest\r\n\r\nhello\r\n"
GROWTH_BYTES_MAX = 64 << 20
BUFFERED_BYTES_MAX = 32 << 20  # what the kernel's buffers of a connection hold is not the server's


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from imap_clients.start(tmp_path_factory.mktemp("imap"))


@pytest.fixture(autouse=True)
def honest_clients_are_served(server):
    """Behind every test: nothing died, memory is bounded, and mail is filed and read at once."""
    if server.name != "brant":
        yield
        return
    before, pids = server.brantd.resident_bytes(), {p.pid for p in server.brantd.children()}
    yield
    start = time.monotonic()
    with server.raw(server.account()) as c:
        c.append("INBOX", MESSAGE)
        c.ok("SELECT INBOX")
        assert c.ok("FETCH 1 BODY.PEEK[]")[0].endswith(MESSAGE + b")")
    assert time.monotonic() - start < 5
    assert {p.pid for p in server.brantd.children()} >= pids, "a role died"
    after = server.brantd.resident_bytes()
    for role, size in before.items():
        assert after.get(role, 0) - size < GROWTH_BYTES_MAX, f"{role} grew from {size} to {after.get(role)}"


def said(server, data, user=None, timeout=30, wait=None):
    """Everything that comes for these bytes, until the end that follows them (or `wait` seconds of silence)."""
    with server.raw(user, timeout=timeout) as c:
        with contextlib.suppress(Ended, OSError):
            c.send(data)
            if wait is None:
                c.sock.shutdown(socket.SHUT_WR)
        if wait is None:
            return c.rest()
        c.sock.settimeout(wait)
        with contextlib.suppress(Ended, socket.timeout, TimeoutError):
            while True:
                c.more()
        return bytes(c.buffer)


def refuses(server, command, user=None):
    """BAD or NO to the command, or BYE; what is sent is not repeated. Then the answer."""
    answer = said(server, b"x1 " + command + b"\r\nx2 LOGOUT\r\n", user)
    assert re.search(rb"^(x1 (BAD|NO)|\* BYE|\* BAD)", answer, re.M), answer[:300]
    assert not re.search(rb"^x1 OK", answer, re.M), answer[:300]
    return answer


# ---- literals ----

@pytest.mark.parametrize("size", ["4294967295", "4294967296", "9223372036854775808", "18446744073709551615", "18446744073709551616",
                                  "99999999999999999999999999", "100000"])
@pytest.mark.parametrize("plus", ["", "+", "-"])
def test_literals_before_login(server, size, plus):
    """THREATS F1: nobody is asked to send what is over the bound, and who sends it unasked is sent away politely."""
    with server.raw() as c:
        c.send(f"x1 LOGIN {{{size}{plus}}}\r\n".encode())
        answer = c.response()
        assert re.match(rb"x1 (BAD|NO)|\* BYE|\* BAD", answer), answer
        if plus == "+":
            assert re.search(rb"^\* BYE", answer + b"\r\n" + c.rest(), re.M)


@pytest.mark.parametrize("size", ["-1", "+5", "0x10", "1 ", "", "1+1", "1++", " 1", "1}{2", "01.5"])
def test_literals_that_are_no_number(server, size):
    refuses(server, f"LOGIN {{{size}}}\r\n".encode())


def test_empty_literals(server):
    user = server.account()
    answer = said(server, b"x1 LOGIN {0+}\r\n {0+}\r\n\r\nx2 NOOP\r\nx3 LOGOUT\r\n")
    assert re.search(rb"^x1 (NO|BAD)", answer, re.M) and b"x2 OK" in answer
    answer = said(server, b"x1 STATUS {0+}\r\n (MESSAGES)\r\nx2 LIST {0+}\r\n {1+}\r\n*\r\nx3 LOGOUT\r\n", user)
    assert re.search(rb"^x1 (NO|BAD)", answer, re.M) and b"x2 OK" in answer and b"INBOX" in answer


def test_many_small_literals_before_login(server):
    """Each is small; all of a command together have the bound."""
    with server.raw() as c:
        c.send(b"x1 LOGIN")
        sent = 0
        with contextlib.suppress(Ended):
            while sent < BUFFERED_BYTES_MAX and not select.select([c.sock], [], [], 0)[0]:
                c.send(b" {4+}\r\nabcd" * 1000)
                sent += 11000
        assert sent < BUFFERED_BYTES_MAX
        answer = c.rest()
        assert answer == b"" or re.search(rb"^(x1 BAD|\* BYE|\* BAD)", answer, re.M), answer[:300]


def test_literals_after_login(server):
    """APPEND is bounded by APPENDLIMIT, other commands by less; synchronizing ones are refused without a byte being sent."""
    user = server.account()
    with server.raw(user) as c:
        limits = [int(x[12:]) for x in c.capabilities() if x.startswith("APPENDLIMIT=")]
        limit = limits[0] if limits else 1 << 40
        for command in (f"APPEND INBOX {{{limit + 1}}}", "APPEND INBOX {18446744073709551616}", "SELECT {1000000000}",
                        "SEARCH SUBJECT {1000000000}"):
            c.send(b"x1 " + command.encode() + b"\r\n")
            answer = c.response()
            assert re.match(rb"x1 (NO|BAD)", answer), (command, answer)
            if command.startswith("APPEND") and limits:
                assert b"[TOOBIG]" in answer
        c.ok("NOOP")
    with server.raw(user) as c:
        c.send(f"x1 APPEND INBOX {{{limit + 1}+}}\r\n".encode())
        assert re.search(rb"^\* BYE", c.rest(), re.M) or not limits


# ---- lines ----

@pytest.mark.parametrize("logged_in", [False, True])
@pytest.mark.parametrize("piece", [b"A", b"(", b'"', b"\\", b" ", b"1,", b"{1", b"\xff"])
def test_endless_line(server, logged_in, piece):
    """Its end comes before the kernel's buffers are full twice."""
    with server.raw(server.account() if logged_in else None) as c:
        c.send(b"x1 NOOP ")
        sent, data = 0, piece * (65536 // len(piece))
        with contextlib.suppress(Ended):
            while sent < BUFFERED_BYTES_MAX:
                c.send(data)
                sent += len(data)
        assert sent < BUFFERED_BYTES_MAX
        answer = c.rest()
        assert answer == b"" or re.search(rb"^(x1 BAD|\* BYE|\* BAD)", answer, re.M)
        assert data[:100] not in answer


def test_open_parentheses_on_many_connections(server):
    """THREATS F2: without a line end, on 500 connections at once."""
    if server.name == "engine":
        pytest.skip("one process for each")
    conns = [server.raw() for _ in range(500)]
    try:
        for c in conns:
            with contextlib.suppress(Ended):
                c.send(b"x1 NOOP " + b"(" * 60000)
        time.sleep(0.5)
        if server.name == "brant":
            sizes = server.brantd.resident_bytes()
            assert all(size < 200 << 20 for size in sizes.values()), sizes
    finally:
        for c in conns:
            c.close()


@pytest.mark.parametrize("bad", [b"\0", b"x1 NO\0OP\r\n", b"\0\r\n", b"\xff\xfe\xfd\r\n", b"x1 NOOP\n", b"x1 NOOP\r\r\n", b"\r", b"\n", b"\r\n" * 20,
                                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"EHLO x\r\n",
                                 b"x1\r\n", b" NOOP\r\n", b"* OK\r\n", b"+ NOOP\r\n", b"x" * 200 + b" NOOP\r\n", b"x{3}\r\nabc NOOP\r\n"])
@pytest.mark.parametrize("logged_in", [False, True])
def test_bytes_that_are_no_command(server, bad, logged_in):
    answer = said(server, bad + b"zz LOGOUT\r\n", server.account() if logged_in else None)
    assert not re.search(rb"^(x1|x+) OK", answer, re.M), answer
    assert len(bad.strip()) < 8 or bad.strip(b"\r\n\0") not in answer, "what was sent is never repeated"


PLACES = [  # % is where the bad argument goes
    b"LOGIN % x", b"LOGIN x %", b"AUTHENTICATE %", b"AUTHENTICATE PLAIN %", b"ID (% x)", b"ENABLE %", b"SELECT %", b"EXAMINE %", b"CREATE %",
    b"DELETE %", b"RENAME % x", b"RENAME x %", b"SUBSCRIBE %", b"UNSUBSCRIBE %", b"LIST % x", b"LIST x %", b"LSUB % *", b"STATUS % (MESSAGES)",
    b"STATUS INBOX (%)", b"APPEND % {1+}\r\nx", b"APPEND INBOX (%) {1+}\r\nx", b"APPEND INBOX % {1+}\r\nx", b"SEARCH %", b"SEARCH SUBJECT %",
    b"SEARCH HEADER % x", b"SEARCH CHARSET % ALL", b"SEARCH SINCE %", b"FETCH % FLAGS", b"FETCH 1 %", b"FETCH 1 (%)", b"FETCH 1 BODY[%]",
    b"FETCH 1 BODY[HEADER.FIELDS (%)]", b"FETCH 1 BODY[]<%>", b"STORE % FLAGS x", b"STORE 1 % x", b"STORE 1 FLAGS (%)", b"COPY % Trash",
    b"COPY 1 %", b"MOVE 1 %", b"UID %", b"UID EXPUNGE %", b"NAMESPACE %", b"COMPRESS %", b"GETQUOTA %"]
ARGUMENTS = [b"a\0b", b'"a\0b"', b"{3+}\r\na\0b", b'"open', b'"a\\', b'"a\\b"', b"\xc3", b'"\xc3\xa4\xff"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b"\x7f",
             b"&", b"&-&", b"&AAA-", b"&2AA-", b"((", b"))", b"()", b"{1+}\r\n\xff", b"*", b"%", b"\\", b'""', b"]", b"NIL", b"0", b"4294967296",
             b"1:", b":1", b"1,,2", b"1-2", b"$", b"A" * 5000, b'"' + b"B" * 5000 + b'"']


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.decode().split(" {")[0])
def test_bad_arguments_everywhere(server, place):
    """THREATS F3: NUL, eight bits, what is not closed, in every argument of every command; one answer each, or the end."""
    user = server.account()
    with contextlib.ExitStack() as stack:
        def connect():
            fresh = stack.enter_context(server.raw(None if place.startswith((b"LOGIN", b"AUTH")) else user))
            if not place.startswith((b"LOGIN", b"AUTH")):
                fresh.append("INBOX", MESSAGE)
                fresh.ok("SELECT INBOX")
            return fresh

        c = connect()
        for argument in ARGUMENTS:
            if b"%" in argument and argument != b"%":
                continue
            tag = c.tag()
            try:
                c.send(tag + b" " + place.replace(b"%", argument) + b"\r\n")
                while True:
                    line = c.response()
                    if line.startswith(b"+ ") or line == b"+":
                        c.send(b"*\r\n")
                    if line.startswith((tag + b" ", b"* BAD", tag + b"\r\n")):
                        break
                c.ok("NOOP")
            except (Ended, imap_clients.Refused):
                c.close()
                c = connect()  # it was sent away: too many mistakes, or bytes that no command has


# ---- floods ----

def test_ten_thousand_pipelined_commands(server):
    """Every one is answered, in order."""
    with server.raw(server.account()) as c:
        c.append("INBOX", MESSAGE)
        c.ok("SELECT INBOX")
        commands = [b"NOOP", b"UID FETCH 1 (FLAGS UID RFC822.SIZE)", b"UID SEARCH ALL", b"STATUS INBOX (MESSAGES)", b"UID STORE 1 +FLAGS (\\Seen)"]
        data = b"".join(b"p%d %s\r\n" % (n, commands[n % len(commands)]) for n in range(10000))
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sending = pool.submit(c.send, data)
            for n in range(10000):
                while True:
                    line = c.response()
                    if not line.startswith(b"* "):
                        break
                assert line.startswith(b"p%d OK" % n), line
            sending.result()
        assert time.monotonic() - start < 20


@pytest.mark.parametrize("logged_in", [False, True])
def test_flood_of_mistakes(server, logged_in):
    """A bounded number of them, then BYE."""
    answer = said(server, b"".join(b"f%d NONSENSE\r\n" % n for n in range(100000)), server.account() if logged_in else None)
    assert len(re.findall(rb"^f\d+ BAD", answer, re.M)) <= 200
    assert re.search(rb"^\* BYE", answer, re.M) or answer == b"" or server.name == "dovecot"


def test_wrong_passwords(server):
    if server.name == "dovecot":
        pytest.skip("it waits after each")
    user = server.account()
    answer = said(server, b"".join(b"w%d LOGIN %s wrong\r\n" % (n, user.encode()) for n in range(100)))
    assert 1 <= len(re.findall(rb"^w\d+ NO", answer, re.M)) <= 10 and re.search(rb"^\* BYE", answer, re.M)


def test_nothing_before_login(server):
    """Every command that needs an account."""
    for command in (b"SELECT INBOX", b'LIST "" *', b"STATUS INBOX (MESSAGES)", b"CREATE x", b"APPEND INBOX {1+}\r\nx", b"FETCH 1 FLAGS", b"IDLE",
                    b"SEARCH ALL", b"NAMESPACE", b"COMPRESS DEFLATE", b"ENABLE CONDSTORE", b"EXPUNGE", b"UID FETCH 1 FLAGS"):
        refuses(server, command)


# ---- much from little ----

def quickly(c, command, seconds=5):
    """The tagged answer, in time."""
    start = time.monotonic()
    untagged, tagged = c.run(command)
    assert time.monotonic() - start < seconds, command[:80]
    return untagged, tagged


@pytest.fixture
def filled(server):
    """A session on an INBOX with some messages."""
    with server.raw(server.account()) as c:
        for n in range(20):
            c.append("INBOX", b"Subject: m%d\r\n\r\n" % n + b"text\r\n" * 100)
        c.ok("SELECT INBOX")
        yield c


@pytest.mark.parametrize("keys", [
    b"NOT " * 10000 + b"ALL", b"OR ALL " * 8000 + b"ALL", b"(" * 10000 + b"ALL" + b")" * 10000, b"NOT (" * 5000 + b"ALL" + b")" * 5000,
    b"OR (" * 5000, b"ALL " * 10000 + b"ALL", b" ".join([b"SUBJECT x"] * 5000), b" ".join([b"BODY " + b"y" * 100] * 500),
    b"1" + b",1" * 25000, b"UID 1" + b",3:*" * 12000], ids=lambda k: k[:8].decode())
def test_deep_search(filled, keys):
    """THREATS F6: bounded, or refused, and at once."""
    with contextlib.suppress(Ended):
        _, tagged = quickly(filled, b"SEARCH " + keys)
        assert tagged.startswith((b"OK", b"NO", b"BAD"))
        if keys.startswith((b"NOT NOT", b"OR ALL", b"((")):
            assert not tagged.startswith(b"OK")
        filled.ok("NOOP")


def test_search_that_is_deep_enough(filled):
    """What people write is far from the bounds."""
    lines = filled.ok(b"SEARCH " + b"OR SUBJECT m3 " * 30 + b"SUBJECT m19")
    assert b"* SEARCH 4 20" in lines
    lines = filled.ok(b"SEARCH " + b"(" * 40 + b"NOT SUBJECT m" + b")" * 40)
    assert b"* SEARCH" in lines


@pytest.mark.parametrize("numbers", [b"1:*", b"*:1", b"4294967295:*", b"*:4294967295", b"1:4294967295", b"4294967295:1", b"*", b"*:*"])
def test_ranges_to_the_end_of_numbers(filled, numbers):
    """THREATS F5: the cost is that of the messages that are there."""
    untagged, tagged = quickly(filled, b"UID FETCH " + numbers + b" FLAGS")
    assert tagged.startswith(b"OK") and len(untagged) <= 20
    untagged, tagged = quickly(filled, b"UID SEARCH UID " + numbers)
    assert tagged.startswith(b"OK")


@pytest.mark.parametrize("numbers", [b"0", b"0:1", b"1:0", b"4294967296", b"1:4294967296", b"18446744073709551617", b"-1", b"+1", b"1:2:3", b"1,,2", b",1"])
def test_ranges_that_are_none(filled, numbers):
    assert filled.run(b"UID FETCH " + numbers + b" FLAGS")[1].startswith(b"BAD")


@pytest.mark.parametrize("items", [
    b"(" + b" ".join(b"BODY.PEEK[%d]" % n for n in range(1, 4000)) + b")", b"(" + b" ".join([b"BODY.PEEK[]"] * 5000) + b")",
    b"BODY.PEEK[" + b"1." * 20000 + b"1]", b"BODY.PEEK[4294967295.4294967295]", b"BODY.PEEK[4294967296]", b"BODY.PEEK[0]",
    b"BODY.PEEK[HEADER.FIELDS (" + b"x " * 20000 + b"y)]", b"BODY.PEEK[]<4294967295.4294967295>", b"BODY.PEEK[]<4294967296.1>",
    b"BODY.PEEK[]<18446744073709551615.1>", b"BODY.PEEK[]<0.0>", b"BODY.PEEK[]<9223372036854775807.4294967295>"], ids=lambda i: i[:30].decode())
def test_large_fetch_of_a_small_message(filled, items):
    with contextlib.suppress(Ended):
        untagged, tagged = quickly(filled, b"FETCH 1 " + items)
        assert tagged.startswith((b"OK", b"NO", b"BAD"))
        assert sum(map(len, untagged)) < 8 << 20
        filled.ok("NOOP")


@pytest.mark.parametrize("kind", ["many parts", "deep", "many fields", "one field", "many addresses", "many messages", "many parameters"])
def test_large_structures(server, kind):
    """THREATS E: what a message is made of is described within bounds, and its bytes are still all there."""
    many = 100000
    message = {
        "many parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * many + b"--b--\r\n",
        "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(20000)),
        "many fields": b"".join(b"X-%d: y\r\n" % n for n in range(many)) + b"\r\nx\r\n",
        "one field": b"Subject: " + b"x" * 10 + b"\r\n " * 10 + b"y\r\n" + b" " + b"z" * 900 * 1000 + b"\r\n\r\nx\r\n",
        "many addresses": b"To: " + b",\r\n ".join(b"a%d@b" % n for n in range(many)) + b"\r\n\r\nx\r\n",
        "many messages": b"Content-Type: message/rfc822\r\n\r\n" * 20000 + b"\r\nx\r\n",
        "many parameters": b"Content-Type: text/plain" + b"".join(b";\r\n p%d=v" % n for n in range(many)) + b"\r\n\r\nx\r\n",
    }[kind]
    with server.raw(server.account()) as c:
        c.append("INBOX", message)
        c.ok("SELECT INBOX")
        for items in ("BODYSTRUCTURE", "ENVELOPE", "BODY", "(BODY.PEEK[1] BODY.PEEK[1.MIME])", "BODY.PEEK[HEADER]", "BODY.PEEK[HEADER.FIELDS (TO X-5)]", "PREVIEW"):
            if items == "PREVIEW" and "PREVIEW" not in c.capabilities():
                continue
            untagged, tagged = quickly(c, f"FETCH 1 {items}", 10)
            assert tagged.startswith((b"OK", b"NO")), (items, tagged)
            assert sum(map(len, untagged)) < 16 << 20
        quickly(c, "SEARCH TEXT nowhere", 10)
        assert c.ok("FETCH 1 BODY.PEEK[]")[0].endswith(message + b")")


# ---- names ----

@pytest.mark.parametrize("name", [b"..", b"../x", b"../../etc/x", b"/etc/passwd", b"a/../../b", b"./x", b"a//b", b"/", b"a/", b"CON", b"NUL", b"%2e%2e",
                                  b"&AC4-&AC4-", b".hidden", b"a\\b", b"a:b", b"~root", b"~/x", b"x" * 4000, b"/".join([b"y"] * 500), b"trailing.", b"trailing "])
def test_names_are_no_paths(server, name):
    """THREATS F7: whatever it is called, nothing of that name comes to be in a directory."""
    user = server.account()
    with server.raw(user) as c:
        quoted = b'"' + name.replace(b"\\", b"\\\\") + b'"'
        try:
            _, tagged = c.run(b"CREATE " + quoted)
            if tagged.startswith(b"OK"):
                c.append(name.decode().replace("\\", "\\\\").rstrip("/"), MESSAGE)
                c.ok(b"STATUS " + quoted.replace(b'/"', b'"') + b" (MESSAGES)")
                c.ok(b"DELETE " + quoted.replace(b'/"', b'"'))
        except Ended:
            pass
    if server.name != "brant":
        return
    names = {entry for _, folders, files in os.walk(server.brantd.directory) for entry in folders + files}
    assert not names & {name.decode(), "x", "b", "CON", "NUL", ".hidden", "a:b", "trailing.", "y", "~root"}
    assert not os.path.exists("/etc/x")


# ---- TLS, compression ----

def test_nothing_is_taken_over_from_before_tls(server):
    """THREATS B1: commands in the segment of STARTTLS, and behind it, are never executed; what was before is forgotten."""
    if server.name == "engine":
        pytest.skip("it has no TLS")
    user = server.account()
    login = f"x2 LOGIN {user} {server.password}\r\nx3 CREATE injected\r\n".encode()
    for more in (login, login * 2000, b"x2 NOOP\r\n", b"x2 LOGIN {3}\r\n"):
        with server.raw() as c:
            c.send(b"x1 STARTTLS\r\n" + more)
            try:
                assert c.response().startswith(b"x1 OK")
                c.buffer.clear()
                c.secure()
                c.send(b"x4 NOOP\r\n")
                answer = c.response()
                assert answer.startswith(b"x4 OK"), answer
                assert not c.ok("NOOP")
                _, tagged = c.run("SELECT INBOX")
                assert tagged.startswith((b"BAD", b"NO")), "nobody has logged in"
            except (Ended, OSError):
                pass  # closed: as good
    with server.raw(user) as c:
        assert not any(b"injected" in line for line in c.ok('LIST "" *'))
        assert c.run("STARTTLS")[1].startswith((b"BAD", b"NO")), "not after login"
    with server.raw() as c:
        assert "STARTTLS" in c.capabilities()
        c.ok("STARTTLS")
        c.secure()
        assert "STARTTLS" not in c.capabilities()
        assert c.run("STARTTLS")[1].startswith((b"BAD", b"NO"))


class Squeezed:
    """Behind COMPRESS=DEFLATE (RFC 4978)."""

    def __init__(self, server, user):
        self.wire = server.raw(user)
        if "COMPRESS=DEFLATE" not in self.wire.capabilities():
            self.wire.close()
            pytest.skip("it does not offer COMPRESS")
        self.wire.ok("COMPRESS DEFLATE")
        self.out, self.back = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.text = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.wire.close()

    def send(self, data):
        self.wire.send(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def until(self, end):
        while end not in self.text:
            self.wire.more()
            self.text += self.back.decompress(bytes(self.wire.buffer))
            self.wire.buffer.clear()
        at = self.text.index(end) + len(end)
        got, self.text = self.text[:at], self.text[at:]
        return got


def test_compressed_session(server):
    """What is refused below is refused for its size: an ordinary session runs."""
    if server.name == "engine":
        pytest.skip("nothing compresses there")
    with Squeezed(server, server.account()) as s:
        s.send(b"c1 APPEND INBOX {%d+}\r\n%s\r\nc2 SELECT INBOX\r\n" % (len(MESSAGE), MESSAGE))
        assert b"c1 OK" in s.until(b"c2 OK") + s.until(b"\r\n")
        for n in range(200):
            s.send(b"d%d FETCH 1 (FLAGS BODY.PEEK[])\r\n" % n)
            assert MESSAGE in s.until(b"d%d OK" % n)
            s.until(b"\r\n")
        s.send(b"c3 COMPRESS DEFLATE\r\n")
        assert re.search(rb"c3 (NO|BAD)", s.until(b"\r\n"))
        big = os.urandom(1 << 20).hex().encode()
        s.send(b"c4 APPEND INBOX {%d+}\r\n%s\r\n" % (len(big), big))
        s.until(b"c4 OK")
        s.until(b"\r\n")
        s.send(b"c5 FETCH 2 BODY.PEEK[]\r\n")
        assert big in s.until(b"c5 OK")


@pytest.mark.parametrize("bomb", [b" ", b"(", b"c9 NOOP\r\n", b"literal"])
def test_compression_bombs(server, bomb):
    """THREATS E10: what expands a thousandfold ends the connection long before it is inflated."""
    if server.name != "brant":
        pytest.skip("for brant only")
    with Squeezed(server, server.account()) as s:
        s.send(b"c9 APPEND INBOX {40000000+}\r\n" if bomb == b"literal" else b"c9 NOOP ")
        data = (b"\0" if bomb == b"literal" else bomb) * (1 << 20)
        sent = 0
        with pytest.raises((Ended, ConnectionError)):
            while sent < 4 << 30:
                s.send(data)
                sent += len(data)
        assert sent < 1 << 30  # most of it lies in the buffers of the kernels, a thousandth of its size


@pytest.mark.parametrize("garbage", [b"\xff" * 100, os.urandom(1000), b"x2 NOOP\r\n", b"\0" * 1000, b"\x01\x00\x00\xff\xff"])
def test_garbage_in_compression(server, garbage):
    if server.name == "engine":
        pytest.skip("nothing compresses there")
    user = server.account()
    with Squeezed(server, user) as s:
        with contextlib.suppress(Ended, ConnectionError):  # a time-out is a fault: it has to end
            s.wire.send(garbage)
            s.wire.sock.shutdown(socket.SHUT_WR)
            s.wire.rest()
    with Squeezed(server, user) as s:  # and nobody else suffers
        s.send(b"e1 NOOP\r\n")
        s.until(b"e1 OK")


# ---- what is appended ----

ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r"]
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"


@pytest.mark.parametrize("before", ENDS, ids=repr)
@pytest.mark.parametrize("after", ENDS, ids=repr)
def test_what_is_appended_comes_back(server, before, after):
    """THREATS A2: one message, the same bytes, with everything that ends a message elsewhere inside."""
    if server.name == "dovecot":
        pytest.skip("it makes CRLF of every line end")
    message = b"Subject: one\r\n\r\ntext" + before + b"." + after + SMUGGLED + b"x1 NOOP" + after + b"+ go" + before + b")\r\n"
    user = server.account()
    with server.raw(user) as c:
        c.append("INBOX", message)
        c.ok("SELECT INBOX")
        assert c.count("INBOX") == 1
        assert c.ok("FETCH 1 BODY.PEEK[]")[0] == b"* 1 FETCH (BODY[] {%d}\r\n%s)" % (len(message), message)
        assert c.ok("FETCH 1 (RFC822.SIZE)")[0] == b"* 1 FETCH (RFC822.SIZE %d)" % len(message)
        assert c.ok("FETCH 1 BODY.PEEK[TEXT]")[0].endswith(message.split(b"\r\n\r\n", 1)[1] + b")")
        c.ok("COPY 1 Archive")
        c.ok("SELECT Archive")
        assert c.ok("FETCH 1 BODY.PEEK[]")[0].endswith(message + b")")
    if server.name == "brant":
        with server.brantd.pop3(user) as p:
            assert p.stat()[0] == 1


@pytest.mark.parametrize("message", [b"a\0b", b"Subject: \0\r\n\r\nx\r\n", b"\0"])
def test_nul_cannot_be_appended(server, message):
    """RFC 3516 4; nothing comes to be stored, and the connection goes on."""
    with server.raw(server.account()) as c:
        with pytest.raises(imap_clients.Refused):
            c.append("INBOX", message)
        c.append("INBOX", MESSAGE)
        assert c.count("INBOX") == 1


@pytest.mark.parametrize("message", [b"", b"\r\n", b"x", b"no header at all\r\n", b": \r\n\r\n", b"\r\n\r\n\r\n", b"\xff\xfe\r\n\r\n\x80\x81", b"From x\r\nSubject: y\r\n\r\n"])
def test_odd_messages_come_back(server, message):
    with server.raw(server.account()) as c:
        try:
            c.append("INBOX", message)
        except imap_clients.Refused:
            assert message == b"", "only what is empty may be refused (RFC 3501 6.3.11 has nothing against the others)"
            return
        c.ok("SELECT INBOX")
        if server.name != "dovecot" or message.endswith(b"\r\n"):
            line = c.ok("FETCH 1 BODY.PEEK[]")[0]
            assert line.endswith(message + b")") or (not message and line.endswith(b'""'))
        c.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[HEADER] BODY.PEEK[TEXT])")


def test_append_is_all_or_nothing(server):
    """The connection ends within a message: nothing of the command is there."""
    user = server.account()
    for cut in (0, 1, 10, len(MESSAGE) - 1, len(MESSAGE)):
        with server.raw(user) as c:
            c.send(b"x1 APPEND INBOX {%d+}\r\n%s {%d+}\r\n%s" % (len(MESSAGE), MESSAGE, len(MESSAGE), MESSAGE[:cut]))
    with server.raw(user) as c:
        assert c.count("INBOX") == 0


# ---- who never reads ----

def test_who_never_reads_holds_up_nobody(server):
    """THREATS F11: output is bounded, others are served meanwhile."""
    if server.name == "engine":
        pytest.skip("it has one client and waits for it")
    user = server.account()
    with server.raw(user) as c:
        for n in range(20):
            c.append("INBOX", b"Subject: m%d\r\n\r\n" % n + b"text\r\n" * 50000)
    deaf = []
    try:
        for _ in range(20):
            c = server.raw(user)
            c.ok("SELECT INBOX")
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.send(b"".join(b"r%d FETCH 1:* BODY.PEEK[]\r\n" % n for n in range(1000)))
            deaf.append(c)
        slowest = 0
        with server.raw(user) as c:
            for n in range(50):
                start = time.monotonic()
                c.append("Archive", MESSAGE)
                c.ok("SELECT Archive")
                c.ok(f"FETCH {n + 1} BODY.PEEK[]")
                slowest = max(slowest, time.monotonic() - start)
        assert slowest < 2
    finally:
        for c in deaf:
            c.close()


@pytest.mark.slow
def test_who_never_reads_is_sent_away(server, request):
    """After the two minutes; those who wait in IDLE stay."""
    if server.name != "brant":
        pytest.skip("for brant only")
    deaf = request.getfixturevalue("deaf")
    idle = deaf.server.raw(deaf.user)
    idle.ok("SELECT INBOX")
    idle.send(b"i1 IDLE\r\n")
    assert idle.response().startswith(b"+")
    deadline = deaf.started + deaf.SECONDS + 15
    while len(deaf.sent_away()) < deaf.COUNT and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(deaf.sent_away()) == deaf.COUNT
    idle.send(b"DONE\r\n")
    assert idle.until(b"i1")[1].startswith(b"OK")
    idle.close()
