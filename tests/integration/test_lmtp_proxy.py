"""Other machines in front: another mail system that hands over by LMTP, load balancers that say who their client is by the
PROXY protocol, filters that say it by XCLIENT."""
import os
import re
import socket
import struct
import subprocess
import time

import pytest

import secure
import wire
from brantd import PASSWORD
from peers import program
from wire import Closed

OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "20 ms",
        "max_unknown_recipients": "1000", "max_bad_commands": "1000"}
BODY = b"Subject: by lmtp\r\n\r\ntext\r\n"


def free_ports(count):
    """Ports that are free now."""
    held = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        held.append(s)
    numbers = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return numbers


class Ports:
    pass


@pytest.fixture(scope="module")
def ports(brantd):
    """Listeners beside the demo's own: LMTP, and for each service one that wants PROXY from 127.0.7.0/24, one with XCLIENT."""
    p = Ports()
    p.lmtp, p.smtp, p.submission, p.submissions, p.pop3, p.pop3s, p.xclient = free_ports(7)
    trusted = "proxy=127.0.7.0/24"
    base = {name: secure.port(brantd, name) for name in secure.SERVICES}
    secure.configure(brantd, {
        "listen.lmtp": f"127.0.0.1:{p.lmtp}",
        "listen.smtp": f"127.0.0.1:{base['smtp']}, 127.0.0.1:{p.smtp} {trusted}, 127.0.0.1:{p.xclient} xclient=127.0.8.0/24",
        "listen.submission": f"127.0.0.1:{base['submission']}, 127.0.0.1:{p.submission} {trusted}",
        "listen.submissions": f"127.0.0.1:{base['submissions']}, 127.0.0.1:{p.submissions} {trusted}",
        "listen.pop3": f"127.0.0.1:{base['pop3']}, 127.0.0.1:{p.pop3} {trusted}",
        "listen.pop3s": f"127.0.0.1:{base['pop3s']}, 127.0.0.1:{p.pop3s} {trusted}", **OPEN})
    return p


# ---- LMTP ----

class Lmtp:
    """A session that has said LHLO, over the Unix socket or over TCP."""

    def __init__(self, brantd, ports, way):
        self.c = secure.unix_smtp(os.path.join(brantd.directory, "lmtp.sock")) if way == "socket" else wire.Smtp(ports.lmtp)
        self.offered = self.c.expect(250, "LHLO relay.example")[1].split("\n")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.c.__exit__(kind, value, trace)

    def send(self, recipients, data, sender="sender@example.org", meanwhile=None):
        """({recipient: reply to RCPT}, [one reply for each that was accepted])."""
        self.c.expect(250, f"MAIL FROM:<{sender}>")
        replies = {r: self.c.command(f"RCPT TO:<{r}>") for r in recipients}
        accepted = [r for r in recipients if replies[r][0] == 250]
        if not accepted:
            assert self.c.command("DATA")[0] == 503, "RFC 2033 4.2"
            return replies, []
        self.c.expect(354, "DATA")
        if meanwhile:
            meanwhile()
        self.c.send(wire.dot_stuffed(data))
        return replies, [self.c.reply() for _ in accepted]


@pytest.fixture(params=["socket", "port"])
def way(request):
    return request.param


def test_lmtp_answers_for_each(brantd, ports, way):
    good, full = brantd.account(), brantd.account(quota="64KiB")
    with Lmtp(brantd, ports, way) as l:
        assert {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME"} <= set(l.offered)
        replies, final = l.send([good, "nobody-here@brant.test", full, "x@elsewhere.example", good.replace("@", "+d@")],
                                b"Subject: l\r\n\r\n" + b"x" * 78 + b"\r\n")
        assert [replies[r][0] for r in replies] == [250, 550, 250, 550, 250]
        assert [code for code, _ in final] == [250, 250, 250]
        assert len(brantd.mailbox(good)) in (1, 2) and len(brantd.mailbox(full)) == 1
        while brantd_has_room(l.c, full):
            assert [code for code, _ in l.send([full], b"Subject: fill\r\n\r\n" + b"y" * 20000 + b"\r\n")[1]] == [250]
        replies, final = l.send([full, good], BODY)
        assert [replies[r][0] for r in replies] == [452, 250]
        assert [code for code, _ in final] == [250]
        replies, final = l.send(["nobody-here@brant.test"], BODY)
        assert final == []
        l.c.expect(250, "RSET")
        assert [code for code, _ in l.send([good], BODY)[1]] == [250]
    assert brantd.mailbox(good)[-1].endswith(BODY)


def brantd_has_room(c, account):
    c.expect(250, "MAIL FROM:<sender@example.org>")
    code, _ = c.command(f"RCPT TO:<{account}>")
    c.expect(250, "RSET")
    return code == 250


def test_an_account_that_goes_before_the_dot(brantd, ports, way):
    """Accepted by RCPT, gone when the message is there: its own reply says so, the others have theirs."""
    first, gone, last = brantd.account(), brantd.account(), brantd.account()
    with Lmtp(brantd, ports, way) as l:
        replies, final = l.send([first, gone, last], BODY, meanwhile=lambda: brantd.cli("account", "remove", gone))
        assert [replies[r][0] for r in replies] == [250] * 3
        assert [final[0][0], final[2][0]] == [250, 250]
        assert 400 <= final[1][0] <= 599
        assert [code for code, _ in l.send([first], BODY)[1]] == [250], "the session goes on"
    assert (len(brantd.mailbox(first)), len(brantd.mailbox(last))) == (2, 1)


def test_many_messages_in_one_session(brantd, ports, way):
    users = [brantd.account() for _ in range(3)]
    with Lmtp(brantd, ports, way) as l:
        for n in range(30):
            data = secure.message("sender@example.org", users[0], f"l-{n}")
            assert [code for code, _ in l.send(users[:1 + n % 3], data)[1]] == [250] * (1 + n % 3)
    assert [len(brantd.mailbox(u)) for u in users] == [30, 20, 10]


def test_lmtp_is_no_smtp_and_no_relay(brantd, ports, way):
    with Lmtp(brantd, ports, way) as l:
        assert l.c.command("EHLO client.example")[0] in (500, 502, 503)
        assert l.c.command("HELO client.example")[0] in (500, 502, 503)
        assert not any(line.startswith("AUTH") for line in l.offered)
        l.c.expect(250, "MAIL FROM:<alice@brant.test>")
        for r in ("someone@example.org", "a%b@brant.test", "a@example.org@brant.test"):
            assert l.c.command(f"RCPT TO:<{r}>")[0] >= 500


def test_lmtp_marks_what_it_took(brantd, ports, way):
    user = brantd.account()
    with Lmtp(brantd, ports, way) as l:
        l.send([user], BODY)
    [stored] = brantd.mailbox(user)
    assert stored.startswith(b"Return-Path: <sender@example.org>\r\nReceived: ")
    assert re.search(rb"with (UTF8)?LMTP", stored)
    story = brantd.cli("trace", user)
    assert "lmtp" in story.lower()


def test_bdat_by_lmtp(brantd, ports, way):
    users = [brantd.account(), brantd.account()]
    with Lmtp(brantd, ports, way) as l:
        if not any(line.startswith("CHUNKING") for line in l.offered):
            pytest.skip("not offered")
        l.c.expect(250, "MAIL FROM:<sender@example.org>")
        for u in users:
            l.c.expect(250, f"RCPT TO:<{u}>")
        l.c.send(b"BDAT 10\r\n" + BODY[:10])
        assert l.c.reply()[0] == 250
        l.c.send(b"BDAT %d LAST\r\n" % (len(BODY) - 10) + BODY[10:])
        assert [l.c.reply()[0] for _ in users] == [250, 250]
    assert all(brantd.mailbox(u)[0].endswith(BODY) for u in users)


def test_curl_and_swaks_speak_lmtp(brantd, ports):
    """swaks knows LMTP, over TCP and over the socket."""
    users = [brantd.account(), brantd.account()]
    for server in (["--server", "127.0.0.1", "--port", str(ports.lmtp)], ["--socket", os.path.join(brantd.directory, "lmtp.sock")]):
        done = subprocess.run([program("swaks"), "--protocol", "LMTP", *server, "--from", "swaks@example.org", "--to", ",".join(users),
                               "--helo", "relay.example", "--data", "-"], input=BODY.replace(b"\r\n", b"\n"), capture_output=True,
                              timeout=30)
        assert done.returncode == 0, done.stdout
    assert [len(brantd.mailbox(u)) for u in users] == [2, 2]


def test_lmtp_outlives_the_store(own_brantd):
    user = "alice@brant.test"
    with secure.unix_smtp(os.path.join(own_brantd.directory, "lmtp.sock")) as c:
        c.expect(250, "LHLO relay.example")
        c.expect(250, "MAIL FROM:<sender@example.org>")
        c.expect(250, f"RCPT TO:<{user}>")
        [store] = own_brantd.roles("brant-store")
        own_brantd.kill_role(store)
        c.expect(354, "DATA")
        c.send(wire.dot_stuffed(BODY))
        code = c.reply()[0]
        assert code == 250 or 400 <= code <= 499
    assert len(own_brantd.mailbox(user)) == (1 if code == 250 else 0)


def test_the_lmtp_socket_is_not_for_everybody(brantd):
    mode = os.stat(os.path.join(brantd.directory, "lmtp.sock")).st_mode
    assert mode & 0o007 == 0


# ---- PROXY ----

SOURCE, TARGET = "192.0.2.77", "198.51.100.25"
V1 = f"PROXY TCP4 {SOURCE} {TARGET} 40000 25\r\n".encode()
V1_6 = b"PROXY TCP6 2001:db8::77 2001:db8::25 40000 25\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=1, family=0x11, block=None):
    if block is None:
        block = socket.inet_aton(SOURCE) + socket.inet_aton(TARGET) + struct.pack("!HH", 40000, 25)
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(block)) + block


V2_6 = v2(family=0x21, block=socket.inet_pton(socket.AF_INET6, "2001:db8::77") + socket.inet_pton(socket.AF_INET6, "2001:db8::25") +
          struct.pack("!HH", 40000, 25))
V2_TLV = v2(block=socket.inet_aton(SOURCE) + socket.inet_aton(TARGET) + struct.pack("!HH", 40000, 25) + b"\x02\0\x04mail")
PROXY_SOURCE = "127.0.7.9"


def proxied(port, header, source=PROXY_SOURCE, pause=0.0, kind=wire.Smtp):
    """A session in clear behind a header; greeted."""
    c = kind.__new__(kind)
    wire.Connection.__init__(c, port, source=source)
    if pause:
        for byte in header:
            c.send(bytes([byte]))
            time.sleep(pause)
    else:
        c.send(header)
    secure.greet(c)
    return c


@pytest.mark.parametrize("header, address", [(V1, SOURCE), (V1_6, "2001:db8::77"), (v2(), SOURCE), (V2_6, "2001:db8::77"),
                                             (V2_TLV, SOURCE)], ids=["v1", "v1-6", "v2", "v2-6", "v2-tlv"])
def test_the_clients_address_is_known(brantd, ports, header, address):
    """In the log, in the trace, in Received."""
    user = brantd.account()
    log = secure.Log(brantd)
    with proxied(ports.smtp, header) as c:
        c.ehlo()
        c.expect(250, "MAIL FROM:<sender@example.org>")
        c.expect(250, f"RCPT TO:<{user}>")
        assert c.data(BODY)[0] == 250
    [line] = log.wait("event=proxied")
    assert address in line and PROXY_SOURCE in line
    assert log.wait("event=smtp-accepted", address)
    [stored] = brantd.mailbox(user)
    head = stored.split(b"\r\n\r\n")[0]
    assert address.encode() in head and PROXY_SOURCE.encode() not in head
    assert address in brantd.cli("trace", user)


@pytest.mark.parametrize("service", ["submission", "submissions", "pop3", "pop3s"])
@pytest.mark.parametrize("header", [V1, v2()], ids=["v1", "v2"])
def test_before_tls_on_every_service(brantd, ports, service, header):
    """The header stands in front of TLS, in one segment with it or not; logins are counted to the client."""
    user = brantd.account()
    log = secure.Log(brantd)
    port = getattr(ports, service)
    kind = wire.Pop3 if service.startswith("pop3") else wire.Smtp
    for pause in (0, 0.005):
        if service in secure.STARTTLS:
            c = proxied(port, header, pause=pause, kind=kind)
            if kind is wire.Smtp:
                c.ehlo()
                c.expect(220, "STARTTLS")
            else:
                c.ok("STLS")
            c.sock = secure.TlsSocket(c.sock)
        else:
            c = kind.__new__(kind)
            wire.Connection.__init__(c, port, source=PROXY_SOURCE)
            tls = secure.TlsSocket(c.sock, handshake=False)
            with pytest.raises(secure.SSL.WantReadError):
                tls.tls.do_handshake()
            first = header + tls.pending()
            if pause:
                for byte in first:
                    c.sock.sendall(bytes([byte]))
            else:
                c.sock.sendall(first)
            tls.handshake()
            c.sock = tls
            secure.greet(c)
        if kind is wire.Smtp:
            c.ehlo()
        secure.login(c, user)
        c.close()
    assert len(log.wait("event=login ", user, SOURCE, count=2)) == 2


@pytest.mark.parametrize("service", ["smtp", "pop3", "submissions", "pop3s", "submission"])
def test_without_a_header_nothing_is_said(brantd, ports, service):
    for first in (b"EHLO client.example\r\n", b"CAPA\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PROXY", b"\r\n\r\n\0\r\nQUIX"):
        with wire.Connection(getattr(ports, service), source=PROXY_SOURCE) as c:
            c.send(first)
            if first == b"PROXY":
                c.sock.shutdown(socket.SHUT_WR)
            start = time.monotonic()
            assert c.rest() == b""
            assert time.monotonic() - start < 2


GARBAGE = {
    "v1 lower case": b"proxy tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 bad address": b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "v1 wrong family": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "v1 bad port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    "v1 no port": b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
    "v1 bare lf": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 endless": b"PROXY UNKNOWN " + b"x" * 5000,
    "v2 version 1": SIGNATURE + b"\x11\x11\0\x0c" + b"\0" * 12,
    "v2 command": SIGNATURE + b"\x22\x11\0\x0c" + b"\0" * 12,
    "v2 datagram": v2(family=0x12),
    "v2 short block": v2(block=b"\0" * 11),
    "v2 oversized": SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 65535,
    "v2 bad tlv": v2(block=b"\0" * 12 + b"\x04\0\x09x"),
    "v2 bad crc": v2(block=b"\0" * 12 + b"\x03\0\x04\0\0\0\1"),
    "two headers": V1 + V1,
    "v2 then v1": v2() + V1,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_bad_headers_are_refused(brantd, ports, name):
    """Closed without a word; a second header is the client's first line, and no command."""
    log = secure.Log(brantd)
    with wire.Connection(ports.smtp, source=PROXY_SOURCE) as c:
        try:
            c.send(GARBAGE[name])
        except Closed:
            pass
        if name in ("two headers", "v2 then v1"):
            said = c.line()
            assert said.startswith((b"220", b"554")), said  # talking before the greeting
        else:
            assert c.rest() == b""
            assert log.wait("event=proxy-header-refused", PROXY_SOURCE)


def test_a_local_connection_of_the_balancer(brantd, ports):
    """LOCAL and UNKNOWN: health checks; the balancer's own address counts."""
    for header in (v2(command=0, family=0, block=b""), v2(command=0), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
                   v2(family=0, block=b"")):
        user = brantd.account()
        with proxied(ports.smtp, header) as c:
            c.ehlo()
            c.expect(250, "MAIL FROM:<sender@example.org>")
            c.expect(250, f"RCPT TO:<{user}>")
            assert c.data(BODY)[0] == 250
        assert PROXY_SOURCE.encode() in brantd.mailbox(user)[0]


def test_a_peer_that_is_not_trusted_is_closed(brantd, ports):
    log = secure.Log(brantd)
    for service in ("smtp", "submissions", "pop3"):
        with wire.Connection(getattr(ports, service), source="127.0.0.1") as c:
            try:
                c.send(V1)
            except Closed:
                pass
            assert c.rest() == b""
    assert len(log.wait("event=proxy-untrusted", "127.0.0.1", count=3)) == 3


def test_a_header_where_none_is_due_is_no_header(brantd, ports):
    """The ordinary listeners take it for what it is: no command; nobody may choose an address for himself."""
    for header in (V1, v2()):
        log = secure.Log(brantd)
        with wire.Connection(brantd.smtp_port) as c:
            c.line()
            c.send(header)
            assert c.line().startswith(b"5")
        assert log.lines("event=proxied") == [] and log.lines(SOURCE) == []


def test_a_slow_header_is_closed(brantd, ports):
    """Five seconds for the whole of it, not from byte to byte."""
    with wire.Connection(ports.smtp, source=PROXY_SOURCE) as c, wire.Connection(ports.submissions, source=PROXY_SOURCE) as silent:
        start = time.monotonic()
        ended = None
        c.sock.settimeout(0.5)
        for n in range(30):
            try:
                if n < len(V1) - 2:
                    c.sock.sendall(V1[n:n + 1])
                if c.sock.recv(100) == b"":
                    ended = time.monotonic() - start
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                ended = time.monotonic() - start
                break
        assert ended and 4 < ended < 8, ended
        silent.sock.settimeout(5)
        assert silent.rest() == b""
    with proxied(ports.smtp, V1, pause=0.02) as c:  # slow, but in time
        c.ehlo()


def test_limits_are_the_clients(brantd, ports):
    """Throttles and connections are counted to who is behind the balancer, not to the balancer."""
    before = secure.configure(brantd, {"max_connections_per_source": "3"})
    held = []
    try:
        def header(n):
            return f"PROXY TCP4 203.0.113.{n} {TARGET} 40000 25\r\n".encode()

        for n in range(1, 9):
            held.append(proxied(ports.smtp, header(n)))  # eight clients, one balancer
        refused = 0
        for _ in range(6):
            c = wire.Connection(ports.smtp, source=PROXY_SOURCE)
            held.append(c)
            c.send(header(1))
            refused += c.line().startswith(b"421")
        assert refused == 4
    finally:
        for c in held:
            c.close()
        secure.restore(brantd, before)


def test_swaks_through_a_proxy(brantd, ports):
    """swaks can send the header itself."""
    user = brantd.account()
    done = subprocess.run([program("swaks"), "--server", "127.0.0.1", "--port", str(ports.smtp), "--local-interface", PROXY_SOURCE,
                           "--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", SOURCE, "--proxy-source-port", "40000",
                           "--proxy-dest", TARGET, "--proxy-dest-port", "25", "--from", "swaks@example.org", "--to", user, "--helo",
                           "client.example", "--data", "-"], input=BODY.replace(b"\r\n", b"\n"), capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout
    assert SOURCE.encode() in brantd.mailbox(user)[0]


# ---- XCLIENT ----

FILTER = "127.0.8.4"


def offers_xclient(c):
    return any(line.startswith("XCLIENT") for line in c.ehlo()[1].split("\n"))


def test_xclient_says_who_the_client_is(brantd, ports):
    user = brantd.account()
    log = secure.Log(brantd)
    with wire.Smtp(ports.xclient, source=FILTER) as c:
        assert offers_xclient(c)
        c.expect(220, f"XCLIENT NAME=spike.example ADDR={SOURCE} PORT=40000")
        c.ehlo("spike.example")
        c.expect(250, "MAIL FROM:<sender@example.org>")
        c.expect(250, f"RCPT TO:<{user}>")
        assert c.data(BODY)[0] == 250
    head = brantd.mailbox(user)[0].split(b"\r\n\r\n")[0]
    assert SOURCE.encode() in head and FILTER.encode() not in head
    assert SOURCE in brantd.cli("trace", user)
    assert SOURCE in log.wait("event=smtp-xclient")[0]
    assert log.wait("event=smtp-accepted", SOURCE)


def test_xclient_with_ipv6(brantd, ports):
    user = brantd.account()
    with wire.Smtp(ports.xclient, source=FILTER) as c:
        c.ehlo()
        c.expect(220, "XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::99 PORT=1")
        c.ehlo()
        c.expect(250, "MAIL FROM:<sender@example.org>")
        c.expect(250, f"RCPT TO:<{user}>")
        assert c.data(BODY)[0] == 250
    assert b"2001:db8::99" in brantd.mailbox(user)[0]


def test_xclient_begins_anew(brantd, ports):
    """EHLO is due again; no transaction may be open; the client is what was said last."""
    with wire.Smtp(ports.xclient, source=FILTER) as c:
        c.ehlo()
        c.expect(250, "MAIL FROM:<sender@example.org>")
        assert c.command(f"XCLIENT ADDR={SOURCE}")[0] == 503
        c.expect(250, "RSET")
        c.expect(220, f"XCLIENT ADDR={SOURCE}")
        assert c.command("MAIL FROM:<sender@example.org>")[0] == 503
        assert offers_xclient(c)
        c.expect(220, "XCLIENT ADDR=192.0.2.78")
        c.ehlo()
        c.expect(250, "MAIL FROM:<sender@example.org>")


def test_xclient_is_for_trusted_filters(brantd, ports):
    log = secure.Log(brantd)
    for port, source in ((ports.xclient, "127.0.0.1"), (brantd.smtp_port, FILTER), (brantd.smtp_port, "127.0.0.1"),
                         (secure.port(brantd, "submission"), FILTER), (ports.lmtp, FILTER)):
        with wire.Smtp(port, source=source) as c:
            if port == ports.lmtp:
                assert "XCLIENT" not in c.expect(250, "LHLO x.example")[1]
            else:
                assert not offers_xclient(c)
            assert c.command(f"XCLIENT ADDR={SOURCE}")[0] in (500, 502, 503, 550)
    assert log.lines("event=smtp-xclient") == [] and log.lines(SOURCE) == []


def test_the_client_itself_cannot_xclient(brantd, ports):
    """Behind the filter, over a connection that has become the client's, an address from the trusted network changes nothing."""
    log = secure.Log(brantd)
    with wire.Smtp(ports.xclient, source="127.0.0.1") as c:
        c.ehlo()
        c.send(f"XCLIENT ADDR={FILTER}\r\nXCLIENT ADDR={SOURCE}\r\n".encode())
        assert [c.reply()[0] // 100 for _ in range(2)] == [5, 5]
    assert log.lines(SOURCE) == []


@pytest.mark.parametrize("bad", ["ADDR=192.0.2.999", "ADDR=", "PORT=99999", "LOGIN=alice@brant.test", "NAME=a ADDR", "FOO=bar", "",
                                 "ADDR=192.0.2.1 ADDR=192.0.2.2", "NAME=" + "x" * 600])
def test_bad_xclient(brantd, ports, bad):
    with wire.Smtp(ports.xclient, source=FILTER) as c:
        c.ehlo()
        assert c.command(f"XCLIENT {bad}")[0] in (500, 501)
        c.expect(250, "MAIL FROM:<sender@example.org>")


def test_swaks_says_xclient(brantd, ports):
    user = brantd.account()
    done = subprocess.run([program("swaks"), "--server", "127.0.0.1", "--port", str(ports.xclient), "--local-interface", FILTER,
                           "--xclient-addr", SOURCE, "--xclient-name", "spike.example", "--from", "swaks@example.org", "--to", user,
                           "--helo", "client.example", "--data", "-"], input=BODY.replace(b"\r\n", b"\n"), capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout
    assert SOURCE.encode() in brantd.mailbox(user)[0]


def test_a_password_by_proxy_is_the_clients_failure(brantd, ports):
    """Whoever guesses through the balancer is logged by his own address."""
    log = secure.Log(brantd)
    c = proxied(ports.pop3, V1, kind=wire.Pop3)
    c.ok("STLS")
    c.sock = secure.TlsSocket(c.sock)
    c.ok("USER alice@brant.test")
    assert c.command("PASS wrong").startswith(b"-ERR")
    c.close()
    assert SOURCE in log.wait("event=login-failed", "alice")[0]
    assert PASSWORD not in "\n".join(log.lines())
