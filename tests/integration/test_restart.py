"""Roles killed with SIGKILL: the ports stay open, what was acknowledged is there once, sessions outlive the store."""
import fcntl
import os
import struct
import threading
import time

import pytest

from brantd import PASSWORD, Brantd
from wire import Closed, Connection, Pop3, Smtp, as_sent

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


@pytest.mark.parametrize("role,greeting", [("brant-smtp", b"220"), ("brant-pop3", b"+OK")])
def test_the_port_is_served_throughout(own_brantd, role, greeting):
    """Connections made while every instance is being killed are not refused; they are served when it is back."""
    port = own_brantd.smtp_port if role == "brant-smtp" else own_brantd.pop3_port
    stop, refused, served = threading.Event(), [], []

    def knock():
        while not stop.is_set():
            try:
                with Connection(port, timeout=10) as c:
                    if c.line().startswith(greeting):
                        served.append(time.monotonic())
            except ConnectionRefusedError as e:
                refused.append(e)
            except (Closed, OSError):
                pass  # it was on an instance that died
            time.sleep(0.005)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        for process in own_brantd.roles(role):
            assert own_brantd.kill_role(process) < 3
    finally:
        time.sleep(1)
        stop.set()
        thread.join()
    assert not refused, "the listening socket was closed"
    assert served
    user = own_brantd.account()
    assert own_brantd.send(user, MESSAGE)[0] == 250
    assert len(own_brantd.mailbox(user)) == 1


def numbered(n, size=200):
    return b"Subject: number %d\r\nX-Number: %d\r\n\r\n" % (n, n) + b"x" * size + b"\r\n"


class Sender(threading.Thread):
    """Sends numbered messages until told to stop, and keeps what became of each."""

    def __init__(self, brantd, user, first, stop):
        super().__init__()
        self.brantd, self.user, self.next, self.stop = brantd, user, first, stop
        self.accepted, self.unknown, self.replies = set(), set(), {}

    def run(self):
        while not self.stop.is_set():
            try:
                with Smtp(self.brantd.smtp_port, timeout=30) as s:
                    s.ehlo()
                    while not self.stop.is_set():
                        self.one(s)
            except (Closed, OSError, AssertionError):
                time.sleep(0.05)

    def one(self, s):
        if s.command("MAIL FROM:<sender@example.org>")[0] != 250 or s.command(f"RCPT TO:<{self.user}>")[0] != 250:
            s.command("RSET")
            time.sleep(0.05)
            return
        n, self.next = self.next, self.next + 1
        size = 300 * 1024 if n % 10 == 0 else 200  # some bodies lie outside the journal
        s.expect(354, "DATA")
        self.unknown.add(n)
        s.send(numbered(n, size) + b".\r\n")
        code, _ = s.reply()
        self.replies[code] = self.replies.get(code, 0) + 1
        self.unknown.discard(n)
        if code == 250:
            self.accepted.add(n)


@pytest.mark.parametrize("role", ["brant-store", "brant-smtp"])
def test_nothing_acknowledged_is_lost_or_doubled(own_brantd, role):
    user = own_brantd.account()
    stop = threading.Event()
    senders = [Sender(own_brantd, user, first, stop) for first in range(0, 4000000, 1000000)]
    for s in senders:
        s.start()
    try:
        for _ in range(6):
            time.sleep(0.7)
            for process in own_brantd.roles(role):
                own_brantd.kill_role(process)
        time.sleep(1)
    finally:
        stop.set()
        for s in senders:
            s.join()
    accepted = set().union(*(s.accepted for s in senders))
    unknown = set().union(*(s.unknown for s in senders))
    replies = {}
    for s in senders:
        for code, count in s.replies.items():
            replies[code] = replies.get(code, 0) + count
    print(f"{len(accepted)} accepted, {len(unknown)} without an answer, replies {replies}")
    assert len(accepted) > 50
    there = []
    for stored in own_brantd.mailbox(user):
        n = int(stored[stored.index(b"X-Number: ") + 10:].split(b"\r\n")[0])
        as_sent(stored, numbered(n, 300 * 1024 if n % 10 == 0 else 200))
        there.append(n)
    assert len(there) == len(set(there)), "a message is there twice"
    assert accepted <= set(there), f"lost: {sorted(accepted - set(there))[:10]}"
    assert set(there) <= accepted | unknown, "a refused message is there"


def test_a_pop3_session_outlives_the_store(own_brantd):
    user = own_brantd.account()
    for n in range(3):
        assert own_brantd.send(user, numbered(n))[0] == 250
    with own_brantd.pop3(user) as p:
        [store] = own_brantd.roles("brant-store")
        own_brantd.kill_role(store)
        assert p.stat()[0] == 3
        as_sent(p.retr(2), numbered(1))
        with Pop3(own_brantd.pop3_port) as other:  # the new store knows of the lock
            other.ok(f"USER {user}")
            assert other.command(f"PASS {PASSWORD}").startswith(b"-ERR [IN-USE]")
        p.ok("DELE 1")
    assert len(own_brantd.mailbox(user)) == 2


def test_an_smtp_session_outlives_the_store(own_brantd):
    user = own_brantd.account()
    with own_brantd.smtp() as s:
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>")
        s.expect(250, f"RCPT TO:<{user}>")
        [store] = own_brantd.roles("brant-store")
        own_brantd.kill_role(store)
        code = s.data(numbered(1))[0]
        if code != 250:  # a pause or a temporary refusal, never a permanent one
            assert 400 <= code <= 499
            s.expect(250, "MAIL FROM:<sender@example.org>")
            s.expect(250, f"RCPT TO:<{user}>")
            assert s.data(numbered(1))[0] == 250
    assert len(own_brantd.mailbox(user)) == 1


def test_the_store_checks_out_after_kills(own_brantd):
    user = own_brantd.account()
    for n in range(20):
        assert own_brantd.send(user, numbered(n))[0] == 250
        if n % 5 == 0:
            [store] = own_brantd.roles("brant-store")
            own_brantd.kill_role(store)
    assert len(own_brantd.mailbox(user)) == 20
    own_brantd.cli("store", "check", "--deep")
    before = own_brantd.mailbox(user)
    own_brantd.cli("store", "rebuild", status=1)  # not while it runs
    assert own_brantd.stop() == []
    own_brantd.cli("store", "rebuild")
    own_brantd.cli("store", "check", "--deep")
    own_brantd.start()
    assert own_brantd.mailbox(user) == before


def test_the_roles_end_with_the_supervisor(own_brantd):
    roles = own_brantd.children()
    assert len(roles) >= 3
    own_brantd.process.kill()
    own_brantd.process.wait()
    left = [p.name for p in roles if own_brantd.still_there(p, 10)]
    own_brantd.process = None
    assert left == []


def test_a_second_demo_in_the_same_directory_is_refused(own_brantd):
    second = Brantd(own_brantd.directory)
    second.output = own_brantd.directory + ".second"
    with pytest.raises(RuntimeError):
        second.start(timeout=20)
    if second.process.poll() is None:
        second.process.kill()
    second.process.wait()
    assert own_brantd.send("alice@brant.test", MESSAGE)[0] == 250


def test_a_starting_store_waits_for_its_predecessor(own_brantd):
    """A store that is still ending holds the lock of the data directory; the next one must not give up."""
    user = own_brantd.account()
    own_brantd.stop()
    lock = os.open(os.path.join(own_brantd.directory, "store", "lock"), os.O_RDWR)
    # struct flock: a write lock of the whole file, owned by the open file (F_OFD_SETLK)
    fcntl.fcntl(lock, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    threading.Timer(1.5, os.close, (lock,)).start()
    own_brantd.start()
    assert own_brantd.send(user, numbered(1))[0] == 250
