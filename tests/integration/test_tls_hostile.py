"""TLS under attack: what is sent in clear around STARTTLS, streams cut short, handshakes that never end or never stop, the
wrong protocol, certificates that change. Behind each an honest client is served."""
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
from OpenSSL import SSL

import secure
import wire
from brantd import PASSWORD
from wire import Closed

OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "20 ms",
        "max_connections_per_source": "5000", "smtp_timeout_command": "10 min"}
GROWTH_BYTES_MAX = 24 << 20


@pytest.fixture(scope="module", autouse=True)
def opened(brantd):
    secure.configure(brantd, OPEN)


@pytest.fixture(autouse=True)
def honest_clients_are_served(brantd):
    """Behind every test: nothing died, and mail goes in and comes out over TLS."""
    pids = {p.pid for p in brantd.children()}
    yield
    user = brantd.account()
    with secure.login(secure.session(brantd, "submissions"), "alice@brant.test") as c:
        data = secure.message("alice@brant.test", user, "honest")
        assert secure.submit(c, "alice@brant.test", user, data)[0] == 250
    with secure.login(secure.session(brantd, "pop3s"), user) as c:
        assert c.retr(1).endswith(data)
    assert {p.pid for p in brantd.children()} >= pids, "a role died"


def end_of(connection, timeout=15):
    """Everything the server still says, in clear, up to the end of the connection, which must come."""
    connection.sock.settimeout(timeout)
    return connection.rest()


# ---- plaintext around STARTTLS (CVE-2011-0411 and its family) ----

@pytest.fixture(scope="module")
def lmtp_port(brantd):
    """A TCP listener for LMTP; the Unix socket knows no TLS."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    secure.configure(brantd, {"listen.lmtp": f"127.0.0.1:{port}"})
    return port


class Clear:
    """A session in clear that has come as far as a client comes before it asks for TLS."""

    def __init__(self, brantd, service, lmtp_port):
        self.service = service
        self.smtp = service != "pop3"
        if service == "lmtp":
            self.c = wire.Smtp(lmtp_port)
        else:
            self.c = secure.greeted(brantd, service)
        self.verb = {"lmtp": "LHLO", "pop3": "CAPA"}.get(service, "EHLO")
        self.hello()
        self.ask = b"STARTTLS\r\n" if self.smtp else b"STLS\r\n"

    def hello(self):
        if self.smtp:
            return self.c.expect(250, f"{self.verb} client.example")[1]
        self.c.ok("CAPA")
        return self.c.multi().decode()

    def agreed(self):
        if self.smtp:
            assert self.c.reply()[0] == 220
        else:
            assert self.c.line().startswith(b"+OK")

    def secured(self):
        """TLS begins, on nothing that came in clear behind the agreement."""
        assert self.c.buffer == b"", f"in clear, behind the agreement: {self.c.buffer!r}"
        self.c.sock = secure.TlsSocket(self.c.sock)

    def nothing_was_executed(self):
        """The next thing the server says is the answer to the next thing that it is asked."""
        c = self.c
        if self.smtp:
            code, text = c.command("NOOP")
            assert code == 250, (code, text)
            c.sock.settimeout(0.3)
            with pytest.raises((TimeoutError, socket.timeout)):
                c.line()
            c.sock.settimeout(30)
        else:
            # a command that has an answer of its own kind
            assert c.command("NOOP").startswith(b"-ERR"), "nobody is logged in"
            c.sock.settimeout(0.3)
            with pytest.raises((TimeoutError, socket.timeout)):
                c.line()
            c.sock.settimeout(30)


SERVICES = ["smtp", "submission", "lmtp", "pop3"]
INJECTED = {
    "smtp": [b"NOOP\r\n", b"MAIL FROM:<evil@example.org>\r\n", b"EHLO evil.example\r\n", b"RSET\r\nQUIT\r\n", b"NO", b"X" * 5000,
             b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@brant.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"],
    "submission": [b"NOOP\r\n", b"AUTH PLAIN " + secure.b64(secure.plain("bob@brant.test", PASSWORD)).encode() + b"\r\n",
                   b"EHLO evil.example\r\n", b"AUTH LOGIN\r\n", b"QUIT\r\n", b"AUTH PLAIN AGJv"],
    "lmtp": [b"NOOP\r\n", b"LHLO evil.example\r\n", b"QUIT\r\n", b"MA",
             b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@brant.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"],
    "pop3": [b"CAPA\r\n", b"USER bob@brant.test\r\nPASS " + PASSWORD.encode() + b"\r\n", b"QUIT\r\n", b"USER bob", b"AUTH LOGIN\r\n",
             b"AUTH PLAIN " + secure.b64(secure.plain("bob@brant.test", PASSWORD)).encode() + b"\r\nDELE 1\r\n"],
}
CASES = [(s, n) for s in SERVICES for n in range(len(INJECTED[s]))]


def mail_of_bob(brantd):
    """How many messages bob has; this login of ours is in the log when it returns."""
    log = secure.Log(brantd)
    count = len(brantd.mailbox("bob@brant.test"))
    log.wait("event=login ", "bob@brant.test")
    return count


def check_forgotten(brantd, clear, before):
    """State of before TLS is gone: no greeting, no login, no transaction."""
    c = clear.c
    if clear.smtp:
        code, _ = c.command("MAIL FROM:<alice@brant.test>")
        assert code in (503, 530), "who says nothing to us after TLS is a stranger"
        text = clear.hello()
        assert "STARTTLS" not in text
        assert c.command("RCPT TO:<bob@brant.test>")[0] in (503, 530)
    else:
        assert c.command("STAT").startswith(b"-ERR")
        assert "STLS" not in clear.hello()
    assert len(brantd.mailbox("bob@brant.test")) == before


@pytest.mark.parametrize("place", ["same segment", "next segment"])
@pytest.mark.parametrize("service, number", CASES)
def test_commands_behind_starttls(brantd, lmtp_port, service, number, place):
    """Appended in the same segment as STARTTLS, or sent in clear before the handshake: thrown away and logged."""
    injected = INJECTED[service][number]
    before = mail_of_bob(brantd)
    log = secure.Log(brantd)
    clear = Clear(brantd, service, lmtp_port)
    if place == "same segment":
        clear.c.send(clear.ask + injected)
        clear.agreed()
    else:
        clear.c.send(clear.ask)
        time.sleep(0.05)
        clear.c.send(injected)
        clear.agreed()
    try:
        clear.secured()
    except (secure.Failed, OSError):
        # What comes while the handshake is waited for may be taken for one: then that ends, and nothing was executed.
        assert place == "next segment"
        assert log.wait("event=tls-failed")
        clear.c.close()
        assert log.lines("event=login ") == []
        assert len(brantd.mailbox("bob@brant.test")) == before
        return
    clear.nothing_was_executed()
    [line] = log.wait("event=tls-plaintext-discarded")
    assert f"bytes={len(injected)}" in line
    assert log.lines("event=login ") == []
    check_forgotten(brantd, clear, before)
    clear.c.close()


@pytest.mark.parametrize("service", SERVICES)
def test_half_a_command_before_starttls(brantd, lmtp_port, service):
    """The half command is a wrong command with STARTTLS at its end: no TLS begins by it, and nothing is kept."""
    clear = Clear(brantd, service, lmtp_port)
    clear.c.send(b"NOOP " if clear.smtp else b"USER ")
    time.sleep(0.05)
    clear.c.send(clear.ask)
    if clear.smtp:
        assert clear.c.reply()[0] in (250, 501)
    else:
        assert clear.c.line()[:1] in (b"+", b"-")
    clear.c.send(clear.ask)
    clear.agreed()
    clear.secured()
    clear.nothing_was_executed()
    clear.c.close()


@pytest.mark.parametrize("service", SERVICES)
def test_starttls_byte_by_byte(brantd, lmtp_port, service):
    clear = Clear(brantd, service, lmtp_port)
    for byte in clear.ask:
        clear.c.send(bytes([byte]))
        time.sleep(0.005)
    clear.agreed()
    clear.secured()
    clear.nothing_was_executed()
    clear.c.close()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("tail", [b"STARTTLS x\r\n", b"STARTTLS\n", b"STARTTLS\r", b"STARTTLS\0\r\n"])
def test_starttls_that_is_none(brantd, lmtp_port, service, tail):
    clear = Clear(brantd, service, lmtp_port)
    clear.c.send(tail.replace(b"STARTTLS", clear.ask[:-2]) + b"\r\n")
    said = clear.c.line()
    assert not said.startswith((b"220", b"+OK")), said
    clear.c.close()


def test_state_of_before_tls_is_gone(brantd, lmtp_port):
    """A login, a transaction and the name given in clear count for nothing under TLS (RFC 3207 4.2)."""
    c = secure.greeted(brantd, "submission")
    c.ehlo("first.example")
    secure.login(c, "alice@brant.test")  # the demo allows it on loopback
    code, _ = c.command("STARTTLS")
    if code == 220:
        c.sock = secure.TlsSocket(c.sock)
        assert c.command("MAIL FROM:<alice@brant.test>")[0] in (503, 530)
        c.ehlo()
        assert c.command("MAIL FROM:<alice@brant.test>")[0] == 530
        secure.login(c, "bob@brant.test")  # a new one, of somebody else
        assert c.command("MAIL FROM:<alice@brant.test>")[0] == 550
        c.expect(250, "MAIL FROM:<bob@brant.test>")
    else:
        assert code in (503, 554)
    c.close()
    c = secure.greeted(brantd, "smtp")
    c.ehlo("first.example")
    c.expect(250, "MAIL FROM:<a@example.org>")
    c.expect(250, "RCPT TO:<bob@brant.test>")
    code, _ = c.command("STARTTLS")
    if code == 220:
        c.sock = secure.TlsSocket(c.sock)
        c.ehlo()
        assert c.command("DATA")[0] == 503
    else:
        assert code == 503
    c.close()


def test_a_user_named_before_stls_is_forgotten(brantd):
    c = secure.greeted(brantd, "pop3")
    c.ok("USER alice@brant.test")
    c.ok("STLS")
    c.sock = secure.TlsSocket(c.sock)
    assert c.command(f"PASS {PASSWORD}").startswith(b"-ERR"), "USER comes first, again"
    assert c.command("STAT").startswith(b"-ERR")
    c.ok("USER alice@brant.test")
    c.ok(f"PASS {PASSWORD}")
    assert c.command("STLS").startswith(b"-ERR")
    c.close()
    c = secure.greeted(brantd, "pop3")
    c.ok("USER alice@brant.test")
    c.ok(f"PASS {PASSWORD}")
    assert c.command("STLS").startswith(b"-ERR"), "not after a login (RFC 2595 4)"
    c.close()


@pytest.mark.parametrize("service", ["smtp", "submission", "pop3"])
def test_clear_text_after_the_handshake(brantd, service):
    """Not a record: the connection ends, nothing of it is done, and nothing is answered in clear."""
    log = secure.Log(brantd)
    c = secure.session(brantd, service)
    c.sock.sock.sendall(b"QUIT\r\nNOOP\r\nMAIL FROM:<a@example.org>\r\n")
    tail = b""
    c.sock.settimeout(10)
    try:
        while True:
            data = c.sock.sock.recv(65536)
            if not data:
                break
            tail += data
    except ConnectionResetError:
        pass
    assert b"221" not in tail and b"+OK" not in tail and b"250" not in tail
    assert log.wait("event=pop3-close" if service == "pop3" else "event=smtp-close")
    c.close()


# ---- the wrong protocol ----

@pytest.mark.parametrize("service", ["submissions", "pop3s"])
@pytest.mark.parametrize("bad", [b"EHLO client.example\r\n", b"QUIT\r\n", b"CAPA\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100,
                                 b"\r\n", b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\xff\xff" + b"x" * 300,
                                 b"\x15\x03\x01\x00\x02\x02\x00", b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff"])
def test_no_tls_where_tls_comes_first(brantd, service, bad):
    """It ends, without a word in clear: at most a TLS alert."""
    log = secure.Log(brantd)
    with wire.Connection(secure.port(brantd, service)) as c:
        c.send(bad)
        try:
            c.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        said = end_of(c)
    assert said == b"" or said[:1] == b"\x15", said
    assert b"220" not in said and b"+OK" not in said
    assert log.wait("event=tls-failed")


def test_nothing_is_said_before_the_handshake(brantd):
    for service in ("submissions", "pop3s"):
        with wire.Connection(secure.port(brantd, service)) as c:
            c.sock.settimeout(0.5)
            with pytest.raises((TimeoutError, socket.timeout)):
                c.line()


@pytest.mark.parametrize("service", ["smtp", "submission", "pop3"])
def test_tls_where_clear_text_comes_first(brantd, service):
    c = secure.greeted(brantd, service)
    with pytest.raises((secure.Failed, Closed, OSError)):
        secure.TlsSocket(c.sock)
    c.close()


@pytest.mark.parametrize("service", ["submissions", "pop3s", "submission", "pop3"])
@pytest.mark.parametrize("alpn", [[b"http/1.1"], [b"h2"], [b"imap"], [b"ftp"], [b"managesieve"], [b"h2", b"http/1.1", b"imap"]])
def test_another_protocols_alpn_is_refused(brantd, service, alpn):
    """A browser that was led here (ALPACA) gets no_application_protocol, not an answer to its request."""
    log = secure.Log(brantd)
    with pytest.raises(secure.Failed, match="no application protocol"):
        secure.session(brantd, service, alpn=alpn).close()
    assert log.wait("event=tls-failed")


@pytest.mark.parametrize("service, name", [("pop3s", b"pop3"), ("pop3", b"pop3")])
def test_the_right_alpn(brantd, service, name):
    """The registered name is accepted, also behind others."""
    for alpn in ([name], [b"http/1.1", name]):
        with secure.session(brantd, service, alpn=alpn) as c:
            assert c.sock.tls.get_alpn_proto_negotiated() == name


@pytest.mark.parametrize("service", ["submissions", "pop3s"])
@pytest.mark.parametrize("old", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_old_versions_are_refused(brantd, service, old):
    c = SSL.Context(SSL.TLS_METHOD)
    c.set_min_proto_version(old)
    c.set_max_proto_version(old)
    c.set_cipher_list(b"ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", secure.port(brantd, service)), timeout=10) as s:
        tls = SSL.Connection(c, s)
        s.setblocking(True)
        tls.set_connect_state()
        with pytest.raises(SSL.Error):
            tls.do_handshake()


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256",
                                     "aNULL:@SECLEVEL=0", "eNULL:@SECLEVEL=0"])
def test_weak_ciphers_are_refused(brantd, ciphers):
    with pytest.raises((secure.Failed, SSL.Error)):
        secure.session(brantd, "submissions", version="1.2", ciphers=ciphers).close()


# ---- names and certificates ----

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return secure.Authority(tmp_path_factory.mktemp("authority"))


def pair(files):
    return f"{files[0]} {files[1]}"


def shown(brantd, name, service="submissions", **tls):
    with secure.session(brantd, service, name=name, **tls) as c:
        return c.sock.names()


def test_an_unknown_name_gets_the_default(brantd):
    default = shown(brantd, None)
    for name in ("no.such.example", "x" * 60 + ".example", "mx.brant.test"):
        assert shown(brantd, name) == default


def test_many_names(brantd):
    """A hundred thousand would take too long here; what is kept for a name goes with its connection."""
    with secure.session(brantd, "submissions") as c:
        c.expect(250, "NOOP")
    before = brantd.resident_bytes()
    for n in range(400):
        try:
            secure.session(brantd, "submissions", name="n%d.%s.example" % (n, "y" * 50)).close()
        except secure.Failed:
            pytest.fail("an unknown name is no reason to end")
    after = brantd.resident_bytes()
    assert after["brant-smtp"] - before["brant-smtp"] < 4 << 20


def test_certificates_by_name_and_reload(brantd, authority):
    """Two names, two kinds of keys, wildcards; after SIGHUP new connections get the new ones, old ones go on."""
    first = authority.issue(["one.example", "*.wild.example"])
    second = authority.issue(["two.example"], kind="rsa")
    before = secure.configure(brantd, {"tls.certificate": [pair(first), pair(second)]})
    try:
        assert "one.example" in shown(brantd, "one.example")
        assert "one.example" in shown(brantd, "a.wild.example")
        assert "two.example" in shown(brantd, "two.example") and "two.example" in shown(brantd, "TWO.example")
        assert "one.example" in shown(brantd, "a.b.wild.example"), "nobody's: the first"
        for version in ("1.2", "1.3"):
            for service in ("smtp", "submission", "pop3", "pop3s"):
                assert "two.example" in shown(brantd, "two.example", service, version=version)
        c = secure.login(secure.session(brantd, "submissions", name="two.example"), "alice@brant.test")
        slow = secure.session(brantd, "pop3s", name="one.example")
        third, fourth = authority.issue(["two.example", "third.example"]), authority.issue(["one.example", "fourth.example"])
        secure.configure(brantd, {"tls.certificate": [pair(fourth), pair(third)]})
        assert "third.example" in shown(brantd, "two.example")
        assert "fourth.example" in shown(brantd, "one.example", "pop3s")
        assert "fourth.example" in shown(brantd, None)
        c.expect(250, "MAIL FROM:<alice@brant.test>")
        c.expect(250, "RCPT TO:<carol@brant.test>")
        assert c.data(secure.message("alice@brant.test", "carol@brant.test", "old"))[0] == 250
        c.close()
        slow.ok("USER alice@brant.test")
        slow.ok(f"PASS {PASSWORD}")
        slow.close()
    finally:
        secure.restore(brantd, before)
    assert "mx.brant.test" in shown(brantd, "one.example")


def broken(authority, how):
    """A pair whose key file is no use."""
    chain, key = authority.issue(["broken.example"])
    path = authority.path(f"broken-{how.replace(' ', '-')}.key")
    if how == "missing":
        return chain, path
    with open(key) as f:
        text = f.read()
    if how == "of another":
        text = open(authority.issue(["other.example"])[1]).read()
    elif how == "garbage":
        text = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    elif how == "empty":
        text = ""
    elif how == "with a passphrase":
        text = secure.openssl("pkey", "-in", key, "-aes128", "-passout", "pass:secret").decode()
    elif how == "a weak rsa":
        secure.openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak.example", "-days", "1", "-keyout", path,
                       "-out", path + ".crt", "-addext", "subjectAltName=DNS:weak.example")
        return path + ".crt", path
    with open(path, "w") as f:
        f.write(text)
    return chain, path


@pytest.mark.parametrize("how", ["missing", "of another", "garbage", "empty", "with a passphrase", "a weak rsa"])
def test_a_broken_key_at_reload_keeps_the_old(brantd, authority, how):
    """And says which file; the pair that is good beside it does not come alone either."""
    good = authority.issue(["kept.example"])
    before = secure.configure(brantd, {"tls.certificate": pair(good)})
    try:
        assert "kept.example" in shown(brantd, None)
        new, bad = authority.issue(["new.example"]), broken(authority, how)
        log = secure.Log(brantd)
        path = os.path.join(brantd.directory, "brant.conf")
        secure.configure(brantd, {"tls.certificate": [pair(new), pair(bad)]}, reload=False)
        brantd.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not log.lines("level=error", os.path.basename(bad[1])) and not log.lines("level=error", os.path.basename(bad[0])):
            assert time.monotonic() < deadline, "\n".join(log.lines())
            time.sleep(0.05)
        assert "kept.example" in shown(brantd, "new.example")
        assert "kept.example" in shown(brantd, None, "pop3s")
        assert os.path.exists(path)
        secure.configure(brantd, {"tls.certificate": pair(new)})
        assert "new.example" in shown(brantd, None), "and the next good one is taken"
    finally:
        secure.restore(brantd, before)


# ---- resumption, renegotiation ----

def test_no_session_is_resumed(brantd):
    """No tickets are given; what a client keeps of a session of 995 is of no use there, at 465, or at 587."""
    for version in ("1.2", "1.3"):
        c = secure.session(brantd, "pop3s", version=version)
        secure.login(c, "alice@brant.test")
        c.stat()
        kept = c.sock.tls.get_session()
        c.close()
        for service in ("submissions", "pop3s", "submission"):
            with secure.session(brantd, service, version=version, session=kept) as again:
                assert not session_reused(again.sock.tls), (version, service)


def session_reused(tls):
    from OpenSSL._util import lib
    return bool(lib.SSL_session_reused(tls._ssl))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_gets_no_ticket(brantd, version):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port(brantd, 'pop3s')}", version, "-crlf", "-ign_eof"],
                          input=b"CAPA\nQUIT\n", capture_output=True, timeout=20)
    assert b"+OK" in done.stdout
    assert b"session ticket" not in done.stdout.lower()


def test_renegotiation_is_refused(brantd):
    """In TLS 1.2 a client may ask; it gets none, and no second handshake is worked at."""
    log = secure.Log(brantd)
    c = secure.session(brantd, "submissions", version="1.2")
    tls = c.sock.tls
    tls.renegotiate()
    refused = False
    try:
        for _ in range(20):
            try:
                tls.do_handshake()
                break
            except SSL.WantReadError:
                c.sock.flush()
                if not c.sock.fill():
                    refused = True
                    break
    except SSL.Error:
        refused = True
    assert refused or tls.total_renegotiations() == 0
    time.sleep(0.2)
    assert len(log.wait("event=tls ")) == 1
    c.close()
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port(brantd, 'submissions')}", "-tls1_2"],
                          input=b"R\n" * 3, capture_output=True, timeout=20)
    assert b"renegotiation" in (done.stdout + done.stderr).lower()


def test_key_updates(brantd):
    """TLS 1.3 has no renegotiation, but a client may change its keys and ask for ours to change: the session goes on."""
    process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port(brantd, 'submissions')}", "-tls1_3", "-crlf"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for line in [b"EHLO client.example\n"] + [b"K\n", b"k\n"] * 30 + [b"NOOP\n"]:
            process.stdin.write(line)
            process.stdin.flush()
            time.sleep(0.02)
        time.sleep(0.5)
        said = process.communicate(timeout=20)[0]
    finally:
        process.kill()
        process.wait()
    assert said.count(b"KEYUPDATE") > 50
    assert b"\n250 2.0.0" in said[said.rindex(b"KEYUPDATE"):], said[-2000:]


# ---- truncation ----

def begin_data(brantd, service, user):
    c = secure.session(brantd, service)
    sender = "sender@example.org"
    if service != "smtp":
        secure.login(c, "alice@brant.test")
        sender = "alice@brant.test"
    c.expect(250, f"MAIL FROM:<{sender}>")
    c.expect(250, f"RCPT TO:<{user}>")
    c.expect(354, "DATA")
    return c, secure.message(sender, user, "cut", b"line\r\n" * 2000)


@pytest.mark.parametrize("service", ["smtp", "submission", "submissions"])
@pytest.mark.parametrize("how", ["fin", "close_notify", "reset", "half a record", "fin before the dot's CRLF"])
def test_a_message_cut_short_is_not_accepted(brantd, service, how):
    """Whoever cuts the TCP stream must not decide where a message ends."""
    user = brantd.account()
    log = secure.Log(brantd)
    c, data = begin_data(brantd, service, user)
    c.send(data if how != "fin before the dot's CRLF" else data + b".")
    tcp = c.sock.sock
    if how == "close_notify":
        c.sock.close_notify()
    elif how == "reset":
        import struct
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp.close()
    elif how == "half a record":
        c.sock.tls.send(b".\r\n")
        record = c.sock.pending()
        tcp.sendall(record[:-3])
        tcp.shutdown(socket.SHUT_WR)
    else:
        tcp.shutdown(socket.SHUT_WR)
    log.wait("event=smtp-close")
    c.close()
    time.sleep(0.2)
    assert brantd.mailbox(user) == []


def test_a_whole_message_before_the_cut_is_accepted(brantd):
    user = brantd.account()
    c, data = begin_data(brantd, "submissions", user)
    c.send(wire.dot_stuffed(data))
    assert c.reply()[0] == 250
    c.close()
    assert len(brantd.mailbox(user)) == 1


@pytest.mark.parametrize("how", ["fin", "close_notify", "half a QUIT", "QUIT in half a record"])
def test_a_pop3_session_cut_short_deletes_nothing(brantd, how):
    user = brantd.account()
    assert brantd.send(user, secure.message("a@example.org", user, "kept"))[0] == 250
    log = secure.Log(brantd)
    c = secure.login(secure.session(brantd, "pop3s"), user)
    c.ok("DELE 1")
    if how == "close_notify":
        c.sock.close_notify()
    elif how == "half a QUIT":
        c.send(b"QUIT")
    elif how == "QUIT in half a record":
        c.sock.tls.send(b"QUIT\r\n")
        c.sock.sock.sendall(c.sock.pending()[:-2])
    c.sock.sock.shutdown(socket.SHUT_WR)
    log.wait("event=pop3-close")
    c.close()
    assert len(brantd.mailbox(user)) == 1


# ---- records ----

def test_garbage_instead_of_records(brantd):
    """Flipped bits, records out of order, endless and empty records: the connection ends, and that is all."""
    rng = random.Random(20261124)
    for kind in range(40):
        c = secure.session(brantd, rng.choice(["submissions", "pop3s"]), version=rng.choice(["1.2", "1.3"]))
        tcp = c.sock.sock
        c.sock.tls.send(b"NOOP\r\n")
        record = bytearray(c.sock.pending())
        if kind % 5 == 0:
            record[rng.randrange(5, len(record))] ^= 1 << rng.randrange(8)
        elif kind % 5 == 1:
            record = bytearray(rng.randbytes(rng.randrange(1, 3000)))
        elif kind % 5 == 2:
            record[0] = rng.choice([20, 21, 22, 24, 255])
        elif kind % 5 == 3:
            record[3:5] = b"\xff\xff"
            record += rng.randbytes(70000)
        else:
            record = record + record  # replayed
        try:
            tcp.sendall(record)
            tcp.shutdown(socket.SHUT_WR)
            tcp.settimeout(10)
            while tcp.recv(65536):
                pass
        except (TimeoutError, socket.timeout):
            pytest.fail(f"the connection was kept, kind {kind % 5}")
        except OSError:
            pass  # it had ended before everything was sent
        c.close()


def test_empty_records_without_end(brantd):
    """Alerts and empty fragments cost nothing but the connection."""
    for record in (b"\x17\x03\x03\x00\x00", b"\x15\x03\x03\x00\x02\x01\x00", b"\x14\x03\x03\x00\x01\x01"):
        with wire.Connection(secure.port(brantd, "submissions")) as c:
            c.sock.settimeout(5)
            sent = 0
            try:
                while sent < 8 << 20:
                    c.send(record * 10000)
                    sent += len(record) * 10000
            except (Closed, OSError):
                pass
            assert sent < 8 << 20


# ---- handshakes that are slow, and many ----

def hello(name="localhost", size=0):
    """The bytes of a ClientHello."""
    c = secure.context()
    tls = SSL.Connection(c, None)
    tls.set_tlsext_host_name((name + "x" * size).encode())
    tls.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        tls.do_handshake()
    return tls.bio_read(65536)


@pytest.fixture
def short(brantd):
    before = secure.configure(brantd, {"tls.handshake_timeout": "4 s"})
    yield 4
    secure.restore(brantd, before)


def test_a_handshake_byte_by_byte(brantd):
    """Slow, but not too slow: it is served."""
    for service in ("submissions", "pop3s"):
        c = socket.create_connection(("127.0.0.1", secure.port(brantd, service)), timeout=20)
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = secure.TlsSocket(c, handshake=False)
        while True:
            try:
                tls.tls.do_handshake()
                break
            except SSL.WantReadError:
                for byte in tls.pending():
                    c.sendall(bytes([byte]))
                    time.sleep(0.001)
                assert tls.fill()
        for byte in tls.pending():
            c.sendall(bytes([byte]))
        assert tls.recv(100)[:3] in (b"220", b"+OK")
        tls.close()


def test_a_handshake_in_records_of_one_byte(brantd):
    """A ClientHello cut into records of one byte each (CVE-2017-15130's relatives): served or refused, not kept."""
    whole = hello()
    body = whole[5:]
    pieces = b"".join(b"\x16\x03\x01\x00\x01" + bytes([b]) for b in body)
    with wire.Connection(secure.port(brantd, "submissions")) as c:
        c.sock.settimeout(10)
        try:
            c.send(pieces)
            first = c.sock.recv(5)
        except (Closed, ConnectionResetError):
            first = b""
        assert first[:1] in (b"\x16", b"\x15", b"")


def test_half_open_handshakes_end(brantd, short):
    """300 of them, from many sources: some with nothing, some with half a hello, some that trickle; each ends when
    tls.handshake_timeout says, and honest clients are served meanwhile."""
    whole = hello()
    half = []
    started = time.monotonic()
    for n in range(300):
        c = wire.Connection(secure.port(brantd, ("submissions", "pop3s")[n % 2]), timeout=20, source=f"127.0.3.{1 + n % 60}")
        if n % 3:
            c.send(whole[:20 if n % 3 == 1 else len(whole) - 1])
        half.append(c)
    begun = [secure.greeted(brantd, "submission", source="127.0.4.1") for _ in range(20)]
    for c in begun:
        c.ehlo()
        c.expect(220, "STARTTLS")
    half += begun
    trickling = threading.Event()

    def trickle():
        at = 0
        while not trickling.wait(0.3) and at < 60:
            for c in half[:30]:
                try:
                    c.sock.sendall(whole[20 + at:21 + at] if half.index(c) % 3 == 1 else b"")
                except OSError:
                    pass
            at += 1

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        asked = time.monotonic()
        for service in ("submissions", "pop3s", "submission"):
            with secure.session(brantd, service) as c:
                secure.login(c, "bob@brant.test")
        assert time.monotonic() - asked < 3
        for c in half:
            c.sock.settimeout(max(0.1, started + short + 15 - time.monotonic()))
            said = c.rest()
            assert said == b"" or said[:1] in (b"\x15", b"\x16"), said
        took = time.monotonic() - started
        print(f"all had ended after {took:.1f} s")
        assert short - 1 < took < short + 15
    finally:
        trickling.set()
        thread.join()
        for c in half:
            c.close()


def hammer(port, seconds, counts, index):
    """Whole handshakes from one source as fast as one process can, each ended at once."""
    context = secure.context()
    done = failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.5.1", 0)) as s:
                s.setblocking(True)
                tls = SSL.Connection(context, s)
                tls.set_connect_state()
                tls.do_handshake()
                done += 1
        except (OSError, SSL.Error):
            failed += 1
    counts[2 * index], counts[2 * index + 1] = done, failed


def handshakes(brantd, service, seconds, processes=3):
    counts = multiprocessing.Array("i", 2 * processes)
    workers = [multiprocessing.Process(target=hammer, args=(secure.port(brantd, service), seconds, counts, n))
               for n in range(processes)]
    for w in workers:
        w.start()
    waits = []
    while any(w.is_alive() for w in workers):
        start = time.monotonic()
        with secure.session(brantd, "pop3s", source="127.0.6.1") as c:
            secure.login(c, "carol@brant.test")
        waits.append(time.monotonic() - start)
        time.sleep(0.3)
    for w in workers:
        w.join()
    return sum(counts[0::2]), sum(counts[1::2]), max(waits)


def test_a_flood_of_handshakes_from_one_source(brantd):
    """As fast as this machine can: the first seconds may fill caches, the next ones must not grow anything."""
    total, failed, wait = handshakes(brantd, "submissions", 3)
    first = brantd.resident_bytes()
    for _ in range(2):
        more, more_failed, more_wait = handshakes(brantd, "submissions", 3)
        total, failed, wait = total + more, failed + more_failed, max(wait, more_wait)
    after = brantd.resident_bytes()
    print(f"{total} handshakes in 9 s, {failed} failed, an honest client waited {wait:.2f} s at most; "
          f"smtp {first['brant-smtp'] >> 10} -> {after['brant-smtp'] >> 10} KiB, "
          f"signer {first['brant-signer'] >> 10} -> {after['brant-signer'] >> 10} KiB")
    assert total > 300
    assert failed <= total // 100
    assert wait < 5
    for role in ("brant-smtp", "brant-signer", "brant-store"):
        assert after[role] - first[role] < 4 << 20, f"{role} grew from {first[role]} to {after[role]}"


def test_a_signer_that_hangs(own_brantd):
    """Stopped, not dead: handshakes fail for some seconds, sessions that are open go on, and it is replaced."""
    c = secure.login(secure.session(own_brantd, "submissions"), "alice@brant.test")
    [signer] = own_brantd.roles("brant-signer")
    os.kill(signer.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises((secure.Failed, Closed, OSError)):
            secure.session(own_brantd, "submissions").close()
        c.expect(250, "NOOP")
        assert time.monotonic() - start < 5
        while True:
            try:
                with secure.session(own_brantd, "submissions") as again:
                    secure.login(again, "bob@brant.test")
                break
            except (secure.Failed, Closed, OSError):
                assert time.monotonic() - start < 20
                time.sleep(0.2)
        print(f"{time.monotonic() - start:.1f} s without handshakes")
        c.expect(250, "NOOP")
        c.close()
        assert own_brantd.roles("brant-signer")[0].pid != signer.pid
    finally:
        try:
            os.kill(signer.pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def test_clients_that_never_read_over_tls(brantd):
    """Answers without end for who takes none of them: bounded, and others are served (behind every test)."""
    user = brantd.account()
    assert brantd.send(user, secure.message("a@example.org", user, "big", b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 40000))[0] == 250
    before, held = brantd.resident_bytes(), []
    try:
        reader = secure.login(secure.session(brantd, "pop3s"), user)
        held.append(reader)
        reader.send(b"RETR 1\r\n" * 40)
        for _ in range(20):
            c = secure.session(brantd, "submissions")
            held.append(c)
            c.sock.settimeout(0.3)
            try:
                c.send(b"HELP\r\n" * 20000)
            except (Closed, OSError, secure.Failed):
                pass
        time.sleep(0.5)
        after = brantd.resident_bytes()
        for role in ("brant-smtp", "brant-pop3"):
            assert after[role] - before[role] < GROWTH_BYTES_MAX, f"{role} grew from {before[role]} to {after[role]}"
        with secure.login(secure.session(brantd, "pop3s"), "carol@brant.test") as c:
            c.stat()
    finally:
        for c in held:
            c.close()


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
@pytest.mark.parametrize("how", ["reset", "fin"])
def test_the_maildrop_of_a_reader_that_left_is_free(brantd, service, how):
    """He asked for more than the sockets hold, read nothing, and went: his mail must not be locked until a time-out."""
    user = brantd.account()
    assert brantd.send(user, secure.message("a@example.org", user, "big", (b"y" * 76 + b"\r\n") * 80000))[0] == 250

    def login():
        c = secure.session(brantd, service) if service == "pop3s" else secure.greeted(brantd, service)
        return c, secure.auth(c, "PLAIN", secure.plain(user, PASSWORD))[0]

    reader, good = login()
    assert good
    reader.send(b"RETR 1\r\n" * 30)
    time.sleep(0.3)
    if how == "fin" and service == "pop3s":  # half a connection is all right in clear: he may be reading still
        reader.sock.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
    reader.close()
    deadline = time.monotonic() + 3
    while True:
        again, good = login()
        again.close()
        if good:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_descriptors_and_sessions_are_given_back(brantd):
    """After all of this no connection is counted that is not there."""
    import json
    deadline = time.monotonic() + 15
    while True:
        shown_status = json.loads(brantd.cli("--json", "status"))
        counts = [int(p["sessions"]) for p in flat(shown_status) if "sessions" in p]
        if counts and not any(counts):
            break
        assert time.monotonic() < deadline, counts
        time.sleep(0.2)
    for role in ("brant-smtp", "brant-pop3", "brant-signer"):
        for p in brantd.roles(role):
            assert len(os.listdir(f"/proc/{p.pid}/fd")) < 60, role


def flat(node):
    """Every object within."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from flat(value)
    elif isinstance(node, list):
        for value in node:
            yield from flat(value)
