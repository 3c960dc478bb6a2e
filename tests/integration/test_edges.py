"""The side of brant-smtp and brant-pop3 that faces the store, when the store is slow, away or new, and what a session must
not keep from who it was before."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import pytest

import secure
import wire
from brantd import BRANT, DOMAIN, Brantd
from test_lmtp_proxy import free_ports

OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "20 ms"}


@pytest.fixture(scope="module", autouse=True)
def prepared(brantd):
    secure.configure(brantd, OPEN)


@contextlib.contextmanager
def store_stopped(brantd):
    """The store stands still inside, and goes on behind."""
    [store] = brantd.roles("brant-store")
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(store.pid, signal.SIGCONT)


def edges(brantd):
    return {p.pid for name in ("brant-smtp", "brant-pop3") for p in brantd.roles(name)}


def arriving_bytes(brantd):
    system = json.loads(brantd.cli("status", "--json"))
    return {p["name"]: int(p["figures"]["arriving_bytes"]) for p in system["processes"] if "arriving_bytes" in p["figures"]}


def eventually(what, timeout=10):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def test_who_speaks_before_the_verdict_is_refused(brantd):
    """Waiting for the store is no reason to forget that the greeting comes first."""
    with store_stopped(brantd), wire.Connection(brantd.smtp_port) as c:
        c.send(b"EHLO early.example\r\n")
        assert c.rest().startswith(b"554 ")
    brantd.smtp().close()


def test_a_client_that_leaves_before_the_outcome_leaves_nothing_behind(brantd):
    user = brantd.account()
    for _ in range(5):
        c = brantd.smtp()
        c.ehlo()
        c.expect(250, "MAIL FROM:<a@example.org>")
        c.expect(250, f"RCPT TO:<{user}>")
        c.expect(354, "DATA")
        with store_stopped(brantd):
            c.send(b"Subject: x\r\n\r\ntext\r\n.\r\n")
            time.sleep(0.2)
            c.close()
            time.sleep(0.2)
    assert eventually(lambda: not any(arriving_bytes(brantd).values())), arriving_bytes(brantd)


def test_xclient_changes_what_is_offered(brantd):
    """Logging in in clear is for this machine; a client behind a proxy is not of this machine."""
    [port] = free_ports(1)
    base = secure.port(brantd, "submission")
    before = secure.configure(brantd, {"listen.submission": f"127.0.0.1:{base}, 127.0.0.1:{port} xclient=127.0.0.0/8"})
    try:
        with wire.Smtp(port) as c:
            assert "AUTH" in c.ehlo()[1]
            c.expect(220, "XCLIENT ADDR=192.0.2.1")
            assert "AUTH" not in c.ehlo()[1]
            c.expect(220, "XCLIENT ADDR=127.0.0.1")
            assert "AUTH" in c.ehlo()[1]
    finally:
        secure.restore(brantd, before)


def test_a_message_of_header_alone_that_is_larger_than_the_credit(brantd):
    """Its end is there before the store has given room for it."""
    alice = brantd.account()
    before = secure.configure(brantd, {"max_header_size": "4 MiB"})
    try:
        with secure.session(brantd, "submissions") as c:
            secure.login(c, alice)
            fields = b"".join(b"X-Field-%d: %s\r\n" % (n, b"x" * 900) for n in range(2000))
            head = secure.message(alice, alice, "header-alone", body=b"")[:-2]
            start = time.monotonic()
            code, text = secure.submit(c, alice, alice, head + fields)
            assert code == 250, text
            assert time.monotonic() - start < 20
        [stored] = brantd.mailbox(alice)
        assert b"X-Field-1999: " in stored
    finally:
        secure.restore(brantd, before)


def test_a_sender_check_that_outlives_its_message(brantd):
    """The header's address is being checked when the store dies; the client gives the message up meanwhile."""
    alice, bob = brantd.account(), brantd.account()
    head = secure.message(bob, alice, "given-up")  # From is not the account's: the store is asked
    for ending in ("RSET", "BDAT 0 LAST"):
        before, log = edges(brantd), secure.Log(brantd)
        c = secure.login(secure.session(brantd, "submissions"), alice)
        c.expect(250, f"MAIL FROM:<{alice}>")
        c.expect(250, f"RCPT TO:<{alice}>")
        [store] = brantd.roles("brant-store")
        with store_stopped(brantd):
            c.send(f"BDAT {len(head)}\r\n".encode() + head)
            time.sleep(0.3)
            os.kill(store.pid, signal.SIGKILL)
            code, _ = c.reply()
            assert code == 250  # the chunk's
            code, _ = c.command(ending)
            assert code == (250 if ending == "RSET" else 451)
        log.wait("event=role-ready", "name=store")
        time.sleep(0.5)  # the session is presented anew
        assert secure.submit(c, alice, alice, secure.message(alice, alice, "next"))[0] == 250
        assert edges(brantd) == before
        c.close()


@pytest.mark.parametrize("clear,implicit", [("submission", "submissions"), ("pop3", "pop3s")])
def test_out_of_descriptors_nothing_is_said_in_clear_where_tls_comes_first(tmp_path, clear, implicit):
    """A farewell in clear would be taken for the first bytes of a handshake."""
    small = Brantd(tmp_path / "small").start(open_files=120)
    held = []
    try:
        for _ in range(150):
            c = wire.Connection(secure.port(small, clear), timeout=5)
            held.append(c)
            if c.more() or c.buffer[:4] in (b"421 ", b"-ERR"):
                break
        else:
            pytest.fail("there were descriptors for all of them")
        with wire.Connection(secure.port(small, implicit), timeout=5) as c:
            assert c.rest() == b""
    finally:
        for c in held:
            c.close()
        assert not small.stop()


def test_a_reload_of_certificates_fails_no_handshake(brantd, tmp_path):
    """One that began with the old certificate is signed with the old key."""
    authority = secure.Authority(tmp_path / "authority")
    pairs = [authority.issue(["localhost"]) for _ in range(2)]
    before, log = secure.configure(brantd, {}), secure.Log(brantd)
    stop, made, failed = threading.Event(), [], []

    def work():
        while not stop.is_set():
            try:
                secure.session(brantd, "submissions").close()
                made.append(1)
            except Exception as e:  # noqa: BLE001
                failed.append(repr(e))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for n in range(20):
            secure.configure(brantd, {"tls.certificate": " ".join(pairs[n % 2])})
    finally:
        stop.set()
        for t in threads:
            t.join()
        secure.restore(brantd, before)
    assert len(made) > 200 and not failed, (len(made), failed[:3])
    assert not log.lines("event=tls-failed")


def test_a_handshake_that_never_comes_does_not_hold_up_the_end(own_brantd):
    """Of clients that have said nothing yet there is nothing to wait for."""
    held = [wire.Connection(secure.port(own_brantd, service)) for service in ("submissions", "pop3s")]
    for service, starttls in (("smtp", "STARTTLS"), ("submission", "STARTTLS"), ("pop3", "STLS")):
        c = secure.greeted(own_brantd, service)
        if service != "pop3":
            c.ehlo()
        c.command(starttls)
        held.append(c)
    time.sleep(0.3)
    start = time.monotonic()
    assert not own_brantd.stop()
    assert time.monotonic() - start < 4
    for c in held:
        c.close()


def isolated(brantd, service, extra=""):
    """Starts it again with one process per connection of a service; `extra` goes behind its listener."""
    with open(os.path.join(brantd.directory, "brant.conf")) as f:
        text = f.read()
    assert not brantd.stop()
    path = os.path.join(brantd.directory, "isolated.conf")
    listener = f"listen.{service} = 127.0.0.1:{secure.port(brantd, service)}"
    assert listener + "\n" in text
    with open(path, "w") as f:
        f.write(text.replace(listener + "\n", listener + extra + "\n") +
                f"isolation.{service} = connection\ninstances.{service} = 1\n")
    with open(brantd.output, "ab") as out:
        brantd.process = subprocess.Popen([BRANT, "serve", "-c", path], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=subprocess.STDOUT)
    assert eventually(lambda: brantd.process.poll() is not None or served(brantd), 20)


def test_one_connection_per_process_and_a_peer_that_is_no_proxy(own_brantd):
    """The process that turned the peer away has had its connection: its place is filled anew."""
    [port] = free_ports(1)
    isolated(own_brantd, "pop3", f", 127.0.0.1:{port} proxy=127.0.7.0/24")
    for _ in range(3):
        with wire.Connection(port) as c:
            assert c.rest() == b""
        own_brantd.pop3(f"alice@{DOMAIN}", timeout=5).close()


def test_one_connection_per_process_takes_more_than_one_message(own_brantd):
    """That no further connection comes does not mean that this one is to end."""
    alice = f"alice@{DOMAIN}"
    isolated(own_brantd, "submission")
    with secure.session(own_brantd, "submission") as c:
        secure.login(c, alice)
        for n in range(3):
            code, text = secure.submit(c, alice, alice, secure.message(alice, alice, f"message-{n}"))
            assert code == 250, text
        c.expect(250, f"MAIL FROM:<{alice}>")
        c.expect(250, "RSET")
        c.expect(250, "NOOP")
    secure.session(own_brantd, "submission").close()


def served(brantd):
    try:
        brantd.pop3(f"alice@{DOMAIN}", timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_store_that_is_there_and_does_not_answer(brantd):
    """Sessions give up after a minute, one by one; they are not presented to it twice, which it would take for a fault,
    and what was asked for is forgotten."""
    alice, bob = brantd.account(), brantd.account()
    brantd.send(alice, b"Subject: one\r\n\r\ntext\r\n")
    before = edges(brantd)
    mx, pop3 = brantd.smtp(timeout=120), brantd.pop3(alice, timeout=120)
    submission = secure.login(secure.session(brantd, "submissions", timeout=120), bob)
    mx.ehlo()
    mx.expect(250, "MAIL FROM:<a@example.org>")
    [store] = brantd.roles("brant-store")
    os.kill(store.pid, signal.SIGKILL)
    assert eventually(lambda: any(p.pid != store.pid for p in brantd.roles("brant-store")))
    with store_stopped(brantd):
        mx.send(f"RCPT TO:<{alice}>\r\n".encode())
        pop3.send(b"RETR 1\r\n")
        submission.sock.sendall(f"MAIL FROM:<{bob}>\r\n".encode())
        assert mx.reply()[0] == 451
        assert submission.reply()[0] == 451
        assert pop3.line().startswith(b"-ERR")
        mx.send(f"RCPT TO:<{alice}>\r\n".encode())
        pop3.send(b"RETR 1\r\n")
        time.sleep(0.5)
    assert mx.reply()[0] == 250
    assert pop3.line().startswith(b"+OK")
    pop3.until(b"\r\n.\r\n")
    code, text = secure.submit(submission, bob, alice, secure.message(bob, alice, "later"))
    assert code == 250, text
    assert edges(brantd) == before
    for c in (mx, pop3, submission):
        c.close()
    assert eventually(lambda: len(brantd.mailbox(alice)) == 2)
    assert brantd.mailbox(alice)[1].startswith(f"Return-Path: <{bob}>\r\n".encode())
