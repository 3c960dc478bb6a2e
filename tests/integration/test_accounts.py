"""Accounts, aliases, catch-alls, details and quotas, made with the command line while the server runs."""
import json

import pytest

from brantd import PASSWORD
from wire import Pop3, as_sent

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


def rcpt(brantd, recipient, size=None):
    """The reply to RCPT."""
    with brantd.smtp() as s:
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>" + (f" SIZE={size}" if size else ""))
        return s.command(f"RCPT TO:<{recipient}>")


def login(brantd, user, password):
    with Pop3(brantd.pop3_port) as p:
        p.ok(f"USER {user}")
        return p.command(f"PASS {password}")


def test_the_demo_accounts_are_there(brantd):
    for name in ("alice", "bob", "carol"):
        assert brantd.send(f"{name}@brant.test", MESSAGE)[0] == 250
        [stored] = brantd.mailbox(f"{name}@brant.test")
        as_sent(stored, MESSAGE)


def test_accounts_come_and_go(brantd):
    assert rcpt(brantd, "new@brant.test")[0] == 550
    brantd.account("new")
    assert rcpt(brantd, "new@brant.test")[0] == 250
    brantd.cli("account", "add", "new@brant.test", "--no-password", status=1)
    assert brantd.send("new@brant.test", MESSAGE)[0] == 250
    assert len(brantd.mailbox("new@brant.test")) == 1
    shown = json.loads(brantd.cli("--json", "account", "list"))
    assert "new@brant.test" in json.dumps(shown)
    brantd.cli("account", "remove", "new@brant.test")
    assert rcpt(brantd, "new@brant.test")[0] == 550
    assert login(brantd, "new@brant.test", PASSWORD).startswith(b"-ERR [AUTH]")
    brantd.account("new")
    assert brantd.mailbox("new@brant.test") == [], "a new account has none of the old one's mail"


def test_passwords(brantd):
    user = brantd.account()
    assert login(brantd, user, "wrong").startswith(b"-ERR [AUTH]")
    assert login(brantd, user, PASSWORD).startswith(b"+OK")
    brantd.cli("account", "passwd", user, "--password-stdin", stdin="another pass phrase\n")
    assert login(brantd, user, PASSWORD).startswith(b"-ERR [AUTH]")
    assert login(brantd, user, "another pass phrase").startswith(b"+OK")
    brantd.cli("account", "disable", user)
    assert login(brantd, user, "another pass phrase").startswith(b"-ERR [AUTH]")
    assert brantd.send(user, MESSAGE)[0] == 250, "a locked account keeps receiving"
    brantd.cli("account", "enable", user)
    assert login(brantd, user, "another pass phrase").startswith(b"+OK")


def test_addresses_do_not_mind_case(brantd):
    user = brantd.account("mixed")
    for form in ("MIXED@brant.test", "mixed@BRANT.TEST", "Mixed@Brant.Test"):
        assert brantd.send(form, MESSAGE)[0] == 250
    assert len(brantd.mailbox(user)) == 3
    assert login(brantd, "MIXED@Brant.test", PASSWORD).startswith(b"+OK")


def test_aliases_fan_out_nest_and_end(brantd):
    a, b, c = (brantd.account() for _ in range(3))
    brantd.cli("alias", "add", "team@brant.test", a)
    brantd.cli("alias", "add", "team@brant.test", b)
    brantd.cli("alias", "add", "all@brant.test", "team@brant.test")
    brantd.cli("alias", "add", "all@brant.test", c)
    brantd.cli("alias", "add", "all@brant.test", a)
    assert brantd.send("all@brant.test", MESSAGE)[0] == 250
    for user in (a, b, c):
        assert len(brantd.mailbox(user)) == 1, "each mailbox gets one copy, however many ways lead to it"
    # Together with direct recipients: still one copy each.
    assert brantd.send(["all@brant.test", a, "team@brant.test"], MESSAGE)[0] == 250
    for user in (a, b, c):
        assert len(brantd.mailbox(user)) == 2
    resolved = brantd.cli("alias", "resolve", "all@brant.test")
    assert all(user in resolved for user in (a, b, c))
    brantd.cli("alias", "remove", "team@brant.test", b)
    assert brantd.send("team@brant.test", MESSAGE)[0] == 250
    assert (len(brantd.mailbox(a)), len(brantd.mailbox(b))) == (3, 2)
    brantd.cli("alias", "remove", "team@brant.test")
    assert rcpt(brantd, "team@brant.test")[0] == 550


def test_aliases_in_a_circle_end(brantd):
    user = brantd.account()
    brantd.cli("alias", "add", "y@brant.test", user)
    brantd.cli("alias", "add", "x@brant.test", "y@brant.test")
    brantd.cli("alias", "add", "y@brant.test", "x@brant.test", status=None)  # may be refused
    assert rcpt(brantd, "x@brant.test")[0] == 250
    assert brantd.send("x@brant.test", MESSAGE)[0] == 250
    assert len(brantd.mailbox(user)) == 1


def test_catch_all_takes_the_rest(brantd):
    user, other = brantd.account(), brantd.account("somebody")
    brantd.cli("domain", "add", "catch.test")
    assert rcpt(brantd, "anything@catch.test")[0] == 550
    brantd.cli("alias", "add", "@catch.test", user)
    brantd.cli("alias", "add", "known@catch.test", other)
    assert brantd.send("anything@catch.test", MESSAGE)[0] == 250
    assert brantd.send("known@catch.test", MESSAGE)[0] == 250
    assert (len(brantd.mailbox(user)), len(brantd.mailbox(other))) == (1, 1)
    assert rcpt(brantd, "anything@brant.test")[0] == 550, "a catch-all is for its own domain only"


def test_details_reach_the_user(brantd):
    user = brantd.account("plus")
    assert brantd.send("plus+lists@brant.test", MESSAGE)[0] == 250
    assert brantd.send("plus+a+b@brant.test", MESSAGE)[0] == 250
    assert len(brantd.mailbox(user)) == 2
    assert rcpt(brantd, "nobody+lists@brant.test")[0] == 550
    assert rcpt(brantd, "+lists@brant.test")[0] == 550


def test_domains(brantd):
    assert rcpt(brantd, "a@second.test")[0] == 550
    brantd.cli("domain", "add", "second.test")
    brantd.cli("account", "add", "a@second.test", "--password-stdin", stdin=PASSWORD + "\n")
    assert brantd.send("a@second.test", MESSAGE)[0] == 250
    assert len(brantd.mailbox("a@second.test")) == 1
    brantd.cli("domain", "remove", "second.test", status=1)
    brantd.cli("account", "remove", "a@second.test")
    brantd.cli("domain", "remove", "second.test")
    assert rcpt(brantd, "a@second.test")[0] == 550
    brantd.cli("account", "add", "a@never.test", "--no-password", status=1)


@pytest.mark.parametrize("wrong", [["account"], ["account", "add"], ["nonsense"], ["account", "quota", "alice@brant.test"],
                                   ["alias", "add", "one@brant.test"]])
def test_wrong_usage_exits_with_2(brantd, wrong):
    brantd.cli(*wrong, status=2)


def test_quota_is_decided_at_rcpt(brantd):
    user = brantd.account(quota="20KiB")
    body = b"Subject: q\r\n\r\n" + b"x" * 70 + b"\r\n"
    big = b"Subject: q\r\n\r\n" + (b"x" * 70 + b"\r\n") * 120
    assert rcpt(brantd, user, size=50000)[0] == 452, "declared larger than the room"
    assert rcpt(brantd, user, size=1000)[0] == 250
    assert brantd.send(user, big)[0] == 250
    accepted = 0
    while accepted < 10 and rcpt(brantd, user)[0] == 250:
        assert brantd.send(user, big)[0] == 250, "an accepted recipient is not refused for quota later"
        accepted += 1
    code, text = rcpt(brantd, user)
    assert code == 452 and "4.2.2" in text
    with brantd.smtp() as s:  # others are not harmed
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>")
        assert s.command(f"RCPT TO:<{user}>")[0] == 452
        s.expect(250, "RCPT TO:<bob@brant.test>")
        assert s.data(body)[0] == 250
    brantd.empty(user)
    assert brantd.send(user, body)[0] == 250, "room comes back when mail is deleted"
    assert len(brantd.mailbox(user)) == 1


def test_a_quota_can_be_changed(brantd):
    user = brantd.account()
    assert rcpt(brantd, user, size=1 << 20)[0] == 250
    brantd.cli("account", "quota", user, "100KiB")
    assert rcpt(brantd, user, size=1 << 20)[0] == 452
    brantd.cli("account", "quota", user, "0")
    assert rcpt(brantd, user, size=1 << 20)[0] == 250


def test_everything_is_still_there_after_a_restart(own_brantd):
    user = own_brantd.account()
    own_brantd.cli("alias", "add", "kept@brant.test", user)
    assert own_brantd.send("kept@brant.test", MESSAGE)[0] == 250
    before = own_brantd.mailbox(user)
    with own_brantd.pop3(user) as p:
        ids = p.uidl()
    assert own_brantd.stop() == []
    own_brantd.cli("account", "add", "offline@brant.test", "--password-stdin", stdin=PASSWORD + "\n")
    own_brantd.start()
    assert own_brantd.mailbox(user) == before
    with own_brantd.pop3(user) as p:
        assert p.uidl() == ids
    assert own_brantd.send(["kept@brant.test", "offline@brant.test"], MESSAGE)[0] == 250
    assert (len(own_brantd.mailbox(user)), len(own_brantd.mailbox("offline@brant.test"))) == (2, 1)


def test_trace_tells_the_story(brantd):
    user = brantd.account()
    sent = b"Message-ID: <traced@example.org>\r\n" + MESSAGE
    assert brantd.send(user, sent)[0] == 250
    for query in (user, "<traced@example.org>"):
        story = brantd.cli("trace", query)
        assert "sender@example.org" in story and user in story and "in a mailbox" in story
    brantd.cli("trace", "<never@example.org>", status=1)
