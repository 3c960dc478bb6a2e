"""Sessions that end or begin again at awkward moments, and addresses in every spelling."""
import json
import os
import socket
import struct
import time

import pytest

from brantd import PASSWORD
from wire import Closed, Pop3, as_sent

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


def log_of(brantd):
    with open(os.path.join(brantd.directory, "log"), "rb") as f:
        return f.read()


def pids(brantd):
    return sorted((p.name, p.pid) for p in brantd.children())


def store_sessions(brantd):
    """What the store has as open."""
    shown = json.loads(brantd.cli("--json", "status"))
    found = []

    def walk(node, within_store=False):
        if isinstance(node, dict):
            within_store = within_store or node.get("name") == "store"
            if within_store and "sessions" in node:
                found.append(int(node["sessions"]))
            for value in node.values():
                walk(value, within_store)
        elif isinstance(node, list):
            for value in node:
                walk(value, within_store)

    walk(shown)
    assert len(found) == 1, shown
    return found[0]


def test_a_connection_cut_before_its_greeting_is_not_counted_for_ever(brantd):
    for port in (brantd.smtp_port, brantd.pop3_port):
        for _ in range(300):
            s = socket.create_connection(("127.0.0.1", port))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()  # a reset
    deadline = time.monotonic() + 10
    while store_sessions(brantd) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert store_sessions(brantd) == 0


def test_a_refused_maildrop_may_be_asked_for_again(brantd):
    alice, bob = brantd.account("held"), brantd.account("free")
    before = pids(brantd)
    with brantd.pop3(alice) as holder, Pop3(brantd.pop3_port) as second:
        for user, answer in ((alice, b"-ERR [IN-USE]"), (alice, b"-ERR [IN-USE]"), (bob, b"+OK")):
            second.ok(f"USER {user}")
            assert second.command(f"PASS {PASSWORD}").startswith(answer)
        assert second.stat()[0] == 0
        assert holder.stat()[0] == 0, "the first session is as it was"
    assert pids(brantd) == before


def test_a_message_of_no_bytes(brantd):
    user = brantd.account("empty")
    with brantd.smtp() as s:
        s.ehlo()
        for end in ("BDAT 0 LAST", None):
            s.expect(250, "MAIL FROM:<sender@example.org>")
            s.expect(250, f"RCPT TO:<{user}>")
            if end is not None:
                s.expect(250, end)
            else:
                assert s.data(b"")[0] == 250
    assert len(brantd.mailbox(user)) == 2


def test_transactions_that_are_open_at_the_end(own_brantd):
    """The drain's deadline ends them; no process dies of it, and status can be asked meanwhile."""
    open_ones = [own_brantd.smtp() for _ in range(3)]
    for s in open_ones:
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>")
        s.expect(250, "RCPT TO:<alice@brant.test>")
    open_ones[0].expect(354, "DATA")
    reader = own_brantd.pop3("alice@brant.test")
    assert own_brantd.stop() == []
    assert b"signal=" not in log_of(own_brantd), own_brantd.log_tail()
    for s in open_ones + [reader]:
        s.close()


@pytest.mark.parametrize("made", ["bücher.example", "xn--strae-oqa.example"])
def test_one_account_in_every_spelling(brantd, made):
    spellings = {"bücher.example": ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example", "bu\u0308cher.example"],
                 "xn--strae-oqa.example": ["straße.example", "xn--strae-oqa.example", "XN--STRAE-OQA.Example"]}[made]
    brantd.cli("domain", "add", made)
    for again in spellings:
        brantd.cli("domain", "add", again, status=1)
    brantd.cli("account", "add", f"user@{spellings[0]}", "--password-stdin", stdin=PASSWORD + "\n")
    brantd.cli("account", "add", f"user@{spellings[1]}", "--no-password", status=1)
    for n, domain in enumerate(spellings, 1):
        address = f"user@{domain}"
        assert brantd.send(address, MESSAGE, utf8=not domain.isascii())[0] == 250
        with Pop3(brantd.pop3_port) as p:
            if not address.isascii():
                p.command("UTF8")
            p.send(f"USER {address}\r\n".encode())
            assert p.line().startswith(b"+OK")
            p.ok(f"PASS {PASSWORD}")
            assert p.stat()[0] == n
            as_sent(p.retr(n), MESSAGE)
        assert f"user@{spellings[0]}".lower() in brantd.cli("account", "list", "--domain", domain).lower()
    brantd.cli("account", "remove", f"user@{spellings[1]}")
