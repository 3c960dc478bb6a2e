"""People's mail programs log in and hand over mail: who may, as whom, to whom, and what arrives."""
import json
import os
import re
import subprocess
import time

import pytest

import secure
import submitters
from brantd import BRANT, PASSWORD
from wire import Closed

BODY = b"one\r\n.two\r\n..\r\n.\r\nthree\r\n\r\nlast\r\n"
OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "50 ms"}


@pytest.fixture(scope="module")
def authority(brantd, tmp_path_factory):
    """The server shows a certificate that the clients can verify."""
    a = secure.Authority(tmp_path_factory.mktemp("authority"))
    chain, key = a.issue(["localhost", "mx.brant.test", "127.0.0.1"])
    secure.configure(brantd, {"tls.certificate": f"{chain} {key}", **OPEN})
    return a


def job(brantd, authority, place, service, user, to, password=PASSWORD, sender=None, subject="hello", body=BODY, extra="",
        mechanism="PLAIN"):
    to = [to] if isinstance(to, str) else to
    return submitters.Job(place, secure.port(brantd, service), service == "submissions", authority.certificate, user, password,
                          sender or user, to, secure.message(sender or user, to[0], subject, body, extra), mechanism)


def hands_over(client, j):
    """The program was content."""
    done = client(j)
    assert done, f"{client.__name__}: {j.said}"


@pytest.fixture(params=["submission", "submissions"])
def service(request):
    return request.param


@pytest.fixture(params=submitters.ALL, ids=lambda c: c.__name__)
def client(request):
    return request.param


# ---- every program, on both ports ----

def test_a_message_arrives_whole(brantd, authority, tmp_path, client, service):
    user, to = brantd.account(), [brantd.account(), brantd.account()]
    log = secure.Log(brantd)
    j = job(brantd, authority, tmp_path, service, user, to)
    hands_over(client, j)
    for account in to:
        [stored] = brantd.mailbox(account)
        assert stored.split(b"\r\n\r\n", 1)[1].rstrip(b"\r\n") == BODY.rstrip(b"\r\n")
        fields = secure.headers(stored)
        assert ("subject", "hello") in fields
        assert [v for n, v in fields if n == "from"] != []
        received = [v for n, v in fields if n == "received"][0]
        assert re.search(r"\bwith (UTF8)?(E?SMTP)SA\b", received), "RFC 3848: by ESMTP, under TLS, after a login"
        if client not in submitters.OWN_HEADER:
            assert stored.rstrip(b"\r\n").endswith(j.message.rstrip(b"\r\n"))
    [line] = log.wait("event=login ", user)
    assert f"service={service}" in line
    assert brantd.mailbox(user) == []


def test_a_wrong_password_hands_over_nothing(brantd, authority, tmp_path, client, service):
    user, to = brantd.account(), brantd.account()
    log = secure.Log(brantd)
    assert not client(job(brantd, authority, tmp_path, service, user, to, password="wrong"))
    assert log.wait("event=login-failed", user)
    assert log.lines("event=login ", user) == []
    assert brantd.mailbox(to) == []


def app_password(brantd, user, name, *more):
    """Makes one; the password, which is shown this once."""
    said = brantd.cli("--json", "app-password", "add", user, name, *more)
    return json.loads(said)["password"]


def test_app_passwords_open_and_close(brantd, authority, tmp_path, client, service):
    user, to = brantd.account(), brantd.account()
    log = secure.Log(brantd)
    good = app_password(brantd, user, "phone", "--protocols", "submission")
    assert good != PASSWORD and len(good) >= 16
    reads = app_password(brantd, user, "reader", "--protocols", "pop3")
    soon = app_password(brantd, user, "short", "--expires", "1s")
    hands_over(client, job(brantd, authority, tmp_path, service, user, to, password=good))
    assert log.wait("event=login ", user, "phone"), "the log tells which password it was"
    assert not client(job(brantd, authority, tmp_path, service, user, to, password=reads)), "it is for POP3 only"
    brantd.cli("app-password", "remove", user, "phone")
    assert not client(job(brantd, authority, tmp_path, service, user, to, password=good)), "it was revoked"
    time.sleep(1.2)
    assert not client(job(brantd, authority, tmp_path, service, user, to, password=soon)), "it has expired"
    hands_over(client, job(brantd, authority, tmp_path, service, user, to, subject="again"))
    assert len(brantd.mailbox(to)) == 2


# ---- what is said of the message, once for all of them ----

@pytest.fixture
def sender(brantd, authority):
    """A session on 465 of a fresh account, with its address."""
    user = brantd.account()
    c = secure.login(secure.session(brantd, "submissions"), user)
    c.user = user
    yield c
    c.close()


RAW = "From: <{0}>\r\nTo: <{1}>\r\nSubject: x\r\n"


def only(brantd, account):
    [stored] = brantd.mailbox(account)
    return stored


def test_bcc_is_not_visible(brantd, sender):
    to, blind = brantd.account(), brantd.account()
    data = RAW.format(sender.user, to) + f"bCC: <{blind}>,\r\n <other@brant.test>\r\n\r\ntext\r\n"
    assert secure.submit(sender, sender.user, [to, blind], data.encode())[0] == 250
    for account in (to, blind):
        stored = only(brantd, account)
        assert b"bcc" not in stored.lower() and b"other@brant.test" not in stored
        if account == to:
            assert blind.encode() not in stored
        assert stored.endswith(b"\r\n\r\ntext\r\n")


@pytest.mark.parametrize("client", [submitters.curl, submitters.msmtp, submitters.swaks], ids=lambda c: c.__name__)
def test_bcc_of_a_program_is_not_visible(brantd, authority, tmp_path, client):
    user, to, blind = brantd.account(), brantd.account(), brantd.account()
    hands_over(client, job(brantd, authority, tmp_path, "submissions", user, [to, blind], extra=f"Bcc: {blind}\r\n"))
    for account in (to, blind):
        assert b"\nbcc:" not in only(brantd, account).lower()


def test_a_bcc_that_others_might_not_see_as_one_is_refused(brantd, sender):
    """A space in front of the colon: some readers take the field for Bcc, some for nothing."""
    to = brantd.account()
    assert refused(secure.submit(sender, sender.user, to, (RAW.format(sender.user, to) + f"Bcc : {to}\r\n\r\ntext\r\n").encode()))
    assert brantd.mailbox(to) == []


def test_date_and_message_id_are_added(brantd, sender):
    to = brantd.account()
    assert secure.submit(sender, sender.user, to, RAW.format(sender.user, to).encode() + b"\r\ntext\r\n")[0] == 250
    fields = secure.headers(only(brantd, to))
    [date] = [v for n, v in fields if n == "date"]
    [ident] = [v for n, v in fields if n == "message-id"]
    from email.utils import parsedate_to_datetime
    assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 120
    assert re.fullmatch(r"<[^<>@\s]{8,}@[^<>@\s]+>", ident)


def test_date_and_message_id_are_kept(brantd, sender):
    to = brantd.account()
    data = RAW.format(sender.user, to) + "Message-ID: <kept@client.example>\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\n\r\n."
    assert secure.submit(sender, sender.user, to, data.encode() + b"\r\n")[0] == 250
    fields = secure.headers(only(brantd, to))
    assert [v for n, v in fields if n in ("date", "message-id")] == ["<kept@client.example>", "Mon, 23 Nov 2026 09:00:00 +0100"]


def test_port_25_changes_nothing_of_it(brantd):
    """Repairs are for the mail of users: what other servers send is kept as it is."""
    to = brantd.account()
    data = RAW.format("a@example.org", to).encode() + b"Bcc: x@example.org\r\n\r\ntext\r\n"
    assert brantd.send(to, data)[0] == 250
    assert only(brantd, to).endswith(data)


# ---- as whom ----

def refused(reply):
    assert 500 <= reply[0] <= 599, reply
    return True


def test_a_foreign_reverse_path_is_refused(brantd, sender):
    other, to = brantd.account(), brantd.account()
    for address in (other, "someone@example.org", "nobody-at-all@brant.test", f"{sender.user}.evil.example"):
        assert refused(sender.command(f"MAIL FROM:<{address}>")), address
    assert secure.submit(sender, sender.user, to, secure.message(sender.user, to, "own"))[0] == 250
    assert len(brantd.mailbox(to)) == 1


FOREIGN = [
    "From: <{0}>\r\n",
    "From: {1} <{0}>\r\n",
    "From: <{1}>, <{0}>\r\nSender: <{1}>\r\n",
    "From: \"{1}\" <{0}>\r\n",
    "From: {0} ({1})\r\n",
    "From: =?utf-8?q?{1}?= <{0}>\r\n",
    "From: group: {0};\r\n",
    "From: <{1}>\r\nFrom: <{0}>\r\n",
    "From: <{1}>\r\nfrom : <{0}>\r\n",
    "From:\r\n <{0}>\r\n",
    "From: <{1}>\r\nSender: <{0}>\r\n",
    "From: <{1}>\r\nResent-From: <{0}>\r\n",
    "From: <@relay.example:{0}>\r\n",
    "From: \r\n",
    "From: {1} {0}\r\n",
    "From: <{1}> <{0}>\r\n",
    "From: \"a\" {0}, {1}\r\n",
]


@pytest.mark.parametrize("field", FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_from_is_refused_or_not_shown(brantd, sender, field):
    """Nobody who reads the message sees another's address as its author: it is refused, or the field is put right."""
    other, to = brantd.account(), brantd.account()
    data = (field.format(other, sender.user) + f"To: <{to}>\r\nSubject: forged\r\n\r\ntext\r\n").encode()
    reply = secure.submit(sender, sender.user, to, data)
    stored = brantd.mailbox(to)
    if reply[0] != 250:
        assert refused(reply) and stored == []
    else:
        fields = secure.headers(stored[0])
        shown = " ".join(v for n, v in fields if n in ("from", "sender"))
        assert other not in shown.replace(f'"{other}"', ""), stored[0]
        assert len([n for n, _ in fields if n == "from"]) == 1


@pytest.mark.parametrize("client", submitters.ALL, ids=lambda c: c.__name__)
def test_no_program_can_send_as_another(brantd, authority, tmp_path, client):
    user, other, to = brantd.account(), brantd.account(), brantd.account()
    assert not client(job(brantd, authority, tmp_path, "submissions", user, to, sender=other))
    assert brantd.mailbox(to) == []


def test_own_addresses(brantd, sender):
    """The account itself in any case, a detail, an alias that reaches it, and what it was granted."""
    to, shared = brantd.account(), brantd.account()
    user = sender.user
    detail, alias = user.replace("@", "+shop@"), user.replace("@", "-alias@")
    assert refused(sender.command(f"MAIL FROM:<{alias}>"))
    brantd.cli("alias", "add", alias, user)
    for address in (user, user.upper(), detail, alias):
        assert secure.submit(sender, address, to, secure.message(address, to, "own"))[0] == 250, address
    assert refused(sender.command(f"MAIL FROM:<{shared}>"))
    brantd.cli("send-as", "add", user, shared)
    assert secure.submit(sender, shared, to, secure.message(shared, to, "granted"))[0] == 250
    brantd.cli("send-as", "remove", user, shared)
    assert refused(sender.command(f"MAIL FROM:<{shared}>"))
    brantd.cli("alias", "remove", alias)
    assert refused(sender.command(f"MAIL FROM:<{alias}>"))
    assert len(brantd.mailbox(to)) == 5


@pytest.mark.parametrize("client", submitters.ALL, ids=lambda c: c.__name__)
def test_a_program_sends_as_what_it_was_granted(brantd, authority, tmp_path, client):
    user, shared, to = brantd.account(), brantd.account(), brantd.account()
    brantd.cli("send-as", "add", user, shared)
    hands_over(client, job(brantd, authority, tmp_path, "submission", user, to, sender=shared))
    assert shared in [v for n, v in secure.headers(only(brantd, to)) if n == "from"][0]


def test_the_null_reverse_path_needs_an_own_from(brantd, sender):
    """Receipts are sent with it (RFC 8098); From is checked all the same."""
    to, other = brantd.account(), brantd.account()
    reply = secure.submit(sender, "", to, secure.message(sender.user, to, "receipt"))
    assert reply[0] in (250, 550, 553), reply
    assert refused(secure.submit(sender, "", to, secure.message(other, to, "forged"))) or reply[0] != 250
    assert len(brantd.mailbox(to)) == (1 if reply[0] == 250 else 0)


# ---- to whom ----

def queue(brantd, *query):
    return json.loads(brantd.cli("--json", "queue", "list", *query))["queue"]


def rows_of(brantd, user):
    return [row for row in queue(brantd) if row["sender"] == user]


def test_a_remote_recipient_is_held(brantd, authority, tmp_path, client, service):
    user = brantd.account()
    hands_over(client, job(brantd, authority, tmp_path, service, user, "someone@example.org"))
    [row] = rows_of(brantd, user)
    assert row["recipient"] == "someone@example.org"
    assert row["account"] == user
    assert "held" in row["state"]
    story = brantd.cli("trace", "someone@example.org")
    assert "in the queue" in story and f"account={user}" in story.replace(": ", "=").replace('"', "") and "TLSv1.3" in story
    assert "someone@example.org" in brantd.cli("queue", "list")


def test_local_and_remote_mixed(brantd, sender):
    to = brantd.account()
    remote = ["a@example.org", "b@example.net"]
    data = secure.message(sender.user, to, "mixed")
    assert secure.submit(sender, sender.user, [remote[0], to, remote[1]], data)[0] == 250
    assert only(brantd, to).endswith(data)
    rows = rows_of(brantd, sender.user)
    assert sorted(row["recipient"] for row in rows) == remote
    assert len({row["message"] for row in rows}) == 1
    reply = secure.submit(sender, sender.user, [to, "nobody-here@brant.test"], data)
    assert reply[0] == 550, "an unknown local recipient is refused at once"
    sender.expect(250, "RSET")
    first = rows[0]
    brantd.cli("queue", "remove", first["id"])
    assert len(rows_of(brantd, sender.user)) == 1


def test_the_queue_outlives_a_restart(own_brantd):
    user = "alice@brant.test"
    c = secure.login(secure.session(own_brantd, "submissions"), user)
    data = secure.message(user, "far@example.org", "restart")
    assert secure.submit(c, user, ["far@example.org", "bob@brant.test"], data)[0] == 250
    c.close()
    before = queue(own_brantd)
    assert [row["recipient"] for row in before] == ["far@example.org"]
    assert own_brantd.stop() == []
    own_brantd.start()
    assert queue(own_brantd) == before
    assert len(own_brantd.mailbox("bob@brant.test")) == 1


# ---- the way in ----

def test_nothing_without_a_login(brantd, authority, service):
    with secure.session(brantd, service) as c:
        assert c.command("MAIL FROM:<alice@brant.test>")[0] == 530
        assert c.command("RCPT TO:<bob@brant.test>")[0] in (503, 530)
        assert c.command("DATA")[0] in (503, 530)


def test_port_25_takes_no_logins(brantd, authority):
    with secure.session(brantd, "smtp") as c:
        assert "AUTH" not in c.ehlo()[1]
        good, text = secure.auth(c, "PLAIN", secure.plain("alice@brant.test", PASSWORD))
        assert not good and text.startswith("50")
        c.expect(250, "MAIL FROM:<alice@brant.test>")
        assert 550 <= c.command("RCPT TO:<someone@example.org>")[0] <= 554, "no relay for anybody here"


def test_a_second_login_is_refused(brantd, sender):
    assert sender.command("AUTH PLAIN " + secure.b64(secure.plain("alice@brant.test", PASSWORD)))[0] == 503
    sender.expect(250, f"MAIL FROM:<{sender.user}>")


def test_sent_copy(brantd, sender):
    """Filed in the same commit, once, and only for who wants it."""
    to = brantd.account()
    brantd.cli("account", "set", sender.user, "--sent-copy", "on")
    data = secure.message(sender.user, to, "copied")
    assert secure.submit(sender, sender.user, to, data)[0] == 250
    [row] = [r for r in json.loads(brantd.cli("--json", "account", "list"))["accounts"] if r["address"] == sender.user]
    assert row["messages"] == 1, "in Sent"
    assert brantd.mailbox(sender.user) == [], "not in the INBOX"
    brantd.cli("account", "set", sender.user, "--sent-copy", "off")
    assert secure.submit(sender, sender.user, to, data)[0] == 250
    [row] = [r for r in json.loads(brantd.cli("--json", "account", "list"))["accounts"] if r["address"] == sender.user]
    assert row["messages"] == 1
    assert len(brantd.mailbox(to)) == 2


def test_one_account_cannot_send_without_end(brantd, authority):
    """Limits of messages and recipients are the account's own, over all its sessions; others do not feel them."""
    before = secure.configure(brantd, {"submission.messages_per_hour": "3", "submission.recipients_per_day": "5"})
    try:
        user, other, to = brantd.account(), brantd.account(), brantd.account()
        codes = []
        for n in range(5):
            with secure.login(secure.session(brantd, "submissions"), user) as c:
                codes.append(secure.submit(c, user, to, secure.message(user, to, f"limit-{n}"))[0])
        assert codes[:3] == [250] * 3 and all(400 <= c <= 599 for c in codes[3:]), codes
        with secure.login(secure.session(brantd, "submissions"), other) as c:
            assert secure.submit(c, other, to, secure.message(other, to, "other"))[0] == 250
        assert len(brantd.mailbox(to)) == 4
        with secure.login(secure.session(brantd, "submissions"), brantd.account()) as c:
            for n in range(8):  # nothing is sent: nothing is counted
                c.expect(250, "MAIL FROM:<>")
                c.expect(250, "RCPT TO:<far@example.org>")
                c.expect(250, "RSET")
        many = brantd.account()
        with secure.login(secure.session(brantd, "submissions"), many) as c:
            far = [f"r{n}@example.org" for n in range(8)]
            c.expect(250, f"MAIL FROM:<{many}>")
            accepted = [r for r in far if c.command(f"RCPT TO:<{r}>")[0] == 250]
            final = c.data(secure.message(many, far[0], "many")) if accepted else None
        rows = rows_of(brantd, many)
        assert len(rows) <= 5, "no more recipients than a day's worth"
        assert final is None or final[0] != 250 or len(rows) == len(accepted)
    finally:
        secure.restore(brantd, before)


# ---- the local socket ----

def local(brantd):
    return os.path.join(brantd.directory, "submission.sock")


def test_the_socket_believes_root(brantd, authority):
    if os.geteuid() != 0:
        pytest.skip("needs root, whom the socket believes")
    to = brantd.account()
    with secure.unix_smtp(local(brantd)) as c:
        assert "EXTERNAL" in c.ehlo()[1]
        good, text = secure.auth(c, "EXTERNAL", b"alice@brant.test")
        assert good, text
        data = secure.message("alice@brant.test", to, "cron")
        assert secure.submit(c, "alice@brant.test", to, data)[0] == 250
    assert only(brantd, to).endswith(data)
    with secure.unix_smtp(local(brantd)) as c:
        c.ehlo()
        assert not secure.auth(c, "EXTERNAL", b"nobody-at-all@brant.test")[0]


OTHER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import secure
try:
    c = secure.unix_smtp(sys.argv[2])
except OSError as e:
    print("closed", e)
    sys.exit()
print("offered", "EXTERNAL" in c.ehlo()[1])
print("external", secure.auth(c, "EXTERNAL", b"alice@brant.test")[0])
print("password", secure.auth(c, "PLAIN", secure.plain("alice@brant.test", "brant-demo"))[0])
"""


def test_the_socket_does_not_believe_others(brantd, authority):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    here = os.path.dirname(os.path.abspath(__file__))
    # The demo's directory is its owner's; the socket itself is what is asked here.
    folders = []
    folder = brantd.directory
    while folder != "/":
        folders.append((folder, os.stat(folder).st_mode & 0o7777))
        folder = os.path.dirname(folder)
    try:
        for folder, mode in folders:
            os.chmod(folder, mode | 0o011)
        said = subprocess.run(["/usr/bin/python3", "-c", OTHER, here, local(brantd)], capture_output=True, text=True, timeout=30,
                              user=65534, group=65534, extra_groups=[], env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    finally:
        for folder, mode in folders:
            os.chmod(folder, mode)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("closed") or \
        said.stdout.splitlines() == ["offered False", "external False", "password True"], said.stdout


@pytest.mark.parametrize("client", ["curl", "msmtp"])
def test_no_program_talks_to_an_impostor(brantd, authority, tmp_path, client):
    """A certificate for another name: the programs say nothing of the password."""
    chain, key = authority.issue(["other.example"])
    before = secure.configure(brantd, {"tls.certificate": f"{chain} {key}"})
    try:
        log = secure.Log(brantd)
        user, to = brantd.account(), brantd.account()
        for service in ("submission", "submissions"):
            assert not getattr(submitters, client)(job(brantd, authority, tmp_path, service, user, to))
        assert log.lines("event=login") == [] and log.lines("event=login-failed") == []
        assert brantd.mailbox(to) == []
    finally:
        secure.restore(brantd, before)


def test_a_session_cut_before_its_end_hands_over_nothing(brantd, sender):
    to = brantd.account()
    sender.expect(250, f"MAIL FROM:<{sender.user}>")
    sender.expect(250, f"RCPT TO:<{to}>")
    sender.expect(354, "DATA")
    sender.send(secure.message(sender.user, to, "cut"))
    sender.close()
    time.sleep(0.3)
    assert brantd.mailbox(to) == []
    with pytest.raises((Closed, OSError)):
        sender.command("NOOP")


def test_the_command_tells_of_app_passwords(brantd):
    user = brantd.account()
    app_password(brantd, user, "old phone", "--protocols", "pop3", "--expires", "90d")
    assert "old phone" in brantd.cli("app-password", "list", user)
    done = subprocess.run([BRANT, "--dir", brantd.directory, "app-password", "add", user, "old phone"], capture_output=True)
    assert done.returncode == 1, "the name is taken"
    brantd.cli("app-password", "remove", user, "old phone")
    assert "old phone" not in brantd.cli("app-password", "list", user)
    brantd.cli("app-password", "remove", user, "old phone", status=1)
