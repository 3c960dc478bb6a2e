"""Other people's programs send and fetch; what comes back is what was sent."""
import base64
import poplib
import random
import smtplib
import time

import pytest

import peers
from brantd import PASSWORD
from wire import Pop3, as_sent

poplib._MAXLINE = 1 << 20


def message(subject, body=b"one\r\n.two\r\n..\r\n.\r\nthree\r\n"):
    """A message as a mail program would write it, ending with CRLF, with lines that begin with dots."""
    return (f"From: Somebody <somebody@example.org>\r\nTo: t@brant.test\r\nSubject: {subject}\r\n"
            f"Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{subject}@example.org>\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode() + body


def attachment(size):
    """A message with one base64 attachment of so many bytes."""
    data = random.Random(size).randbytes(size)
    return (b"From: <somebody@example.org>\r\nTo: <t@brant.test>\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
            b"Message-ID: <large@example.org>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: text/plain\r\n\r\nSee the attachment.\r\n--b\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" +
            base64.encodebytes(data).replace(b"\n", b"\r\n") + b"--b--\r\n")


CHINESE = ("From: 张三 <张三@例子.中国>\r\nTo: 用户 <用户@brant.test>\r\nSubject: 鸿雁传书\r\nMIME-Version: 1.0\r\n"
           "Content-Type: text/plain; charset=gb18030\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").encode() + \
    "你好，世界。\r\n.\r\n㐀𠀀 龥\r\n".encode("gb18030")


def test_swaks_sends(brantd):
    user = brantd.account()
    sent = message("swaks")
    peers.swaks(brantd.smtp_port, user, sent.replace(b"\r\n", b"\n"))
    [stored] = brantd.mailbox(user)
    as_sent(stored.rstrip(b"\r\n") + b"\r\n", sent)  # swaks may add an empty line at the end


def test_swaks_pipelines(brantd):
    user = brantd.account()
    peers.swaks(brantd.smtp_port, user, message("swaks-pipe", b"text\r\n"), "--pipeline")
    [stored] = brantd.mailbox(user)
    assert b"\r\n\r\ntext\r\n" in stored


def test_curl_sends_and_fetches(brantd):
    user = brantd.account()
    sent = [message(f"curl-{n}") for n in range(3)]
    for m in sent:
        peers.curl_send(brantd.smtp_port, user, m)
    got = peers.curl_fetch(brantd.pop3_port, user)
    assert len(got) == 3
    for stored, m in zip(got, sent):
        as_sent(stored, m)


def test_smtplib_and_poplib(brantd):
    user = brantd.account()
    sent = message("smtplib")
    with smtplib.SMTP("127.0.0.1", brantd.smtp_port, timeout=30) as s:
        assert s.sendmail("sender@example.org", [user], sent) == {}
    pop = poplib.POP3("127.0.0.1", brantd.pop3_port, timeout=30)
    pop.user(user)
    pop.pass_(PASSWORD)
    assert {"TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES"} <= set(pop.capa())
    assert pop.capa()["UTF8"] == ["USER"]
    count, size = pop.stat()
    assert count == 1
    _, lines, octets = pop.retr(1)
    stored = b"".join(line + b"\r\n" for line in lines)
    assert len(stored) == size
    as_sent(stored, sent)
    assert pop.top(1, 0)[1] == stored.split(b"\r\n\r\n")[0].split(b"\r\n") + [b""]
    pop.dele(1)
    pop.quit()
    assert brantd.mailbox(user) == []


def test_smtp_source_delivers_in_parallel(brantd):
    tool, env = peers.smtp_source()
    users = [brantd.account() for _ in range(2)]
    for user, sessions, count, size in ((users[0], 20, 400, 2000), (users[1], 1, 50, 20000)):
        peers.run(tool, "-s", str(sessions), "-m", str(count), "-l", str(size), "-f", "source@example.org", "-t", user,
                  f"127.0.0.1:{brantd.smtp_port}", env=env)
        stored = brantd.mailbox(user)
        assert len(stored) == count
        assert all(len(m) >= size for m in stored)


@pytest.mark.parametrize("fetch", [peers.fetchmail, peers.getmail, peers.mpop], ids=lambda f: f.__name__)
def test_fetches_everything(brantd, tmp_path, fetch):
    user = brantd.account()
    sent = [message(f"{fetch.__name__}-{n}", b"%d\r\n" % n * (n * 20) + b".\r\n..x\r\nend\r\n") for n in range(25)]
    for m in sent:
        assert brantd.send(user, m)[0] == 250
    place = peers.maildir(str(tmp_path / "mail"))
    fetch(brantd.pop3_port, user, place)
    got = peers.maildir_messages(place)
    assert len(got) == len(sent)
    for m in sent:
        body = m[m.index(b"Subject:"):]
        assert sum(stored.endswith(body) for stored in got) == 1, m[:200]
    assert brantd.mailbox(user) == [], f"{fetch.__name__} was told to delete what it fetched"


def test_a_large_attachment_comes_back(brantd, tmp_path):
    user = brantd.account()
    sent = attachment(25 << 20)
    peers.curl_send(brantd.smtp_port, user, sent)
    [stored] = peers.curl_fetch(brantd.pop3_port, user)
    as_sent(stored, sent)
    place = peers.maildir(str(tmp_path / "mail"))
    peers.mpop(brantd.pop3_port, user, place)
    [fetched] = peers.maildir_messages(place)
    assert fetched.endswith(sent)


@pytest.mark.parametrize("form", ["raw", "smtplib"])
def test_a_chinese_message_comes_back(brantd, form):
    user = "用户@brant.test"
    if user not in brantd.cli("account", "list"):
        assert brantd.account("用户") == user
    brantd.empty(user)
    if form == "raw":
        assert brantd.send(user, CHINESE, sender="张三@例子.中国", utf8=True)[0] == 250
    else:
        with smtplib.SMTP("127.0.0.1", brantd.smtp_port, timeout=30) as s:
            s.ehlo("client.example")
            assert s.has_extn("smtputf8") and s.has_extn("8bitmime")
            s.sendmail("张三@例子.中国", [user], CHINESE, ["SMTPUTF8", "BODY=8BITMIME"])
    [stored] = brantd.mailbox(user)
    as_sent(stored, CHINESE)


ANY = bytes(b for b in range(256) if b not in b"\0\r\n")


def nasty(rng):
    """Whole lines of any bytes but CR, LF and NUL, long ones, dots, and now and then a header like a bad dream."""
    lines = []
    if rng.random() < 0.7:
        lines += [b"From: <a@example.org>", b"Subject: " + bytes(rng.choices(ANY, k=20)), b""]
    for _ in range(rng.randrange(0, 40)):
        kind = rng.randrange(7)
        if kind == 0:
            line = b"." * rng.randrange(1, 5)
        elif kind == 1:
            line = b""
        elif kind == 2:
            line = bytes(rng.choices(ANY, k=rng.randrange(1, 200)))
        elif kind == 3:
            line = b"x" * rng.randrange(900, 5000)
        elif kind == 4:
            line = b"." + bytes(rng.choices(range(128, 256), k=rng.randrange(1, 80)))
        elif kind == 5:
            line = rng.choice([b"From somebody Mon", b"--b", b"QUIT", b"+OK", b"-ERR", b"\x1b[2J", b" \t", b"Received: x"])
        else:
            line = "鸿雁传书".encode(rng.choice(["utf-8", "gb18030", "big5", "utf-16-le"]), "replace")
        lines.append(line.translate(bytes(b if b in ANY else ord("?") for b in range(256))))
    return b"".join(line + b"\r\n" for line in lines)


def test_nasty_bytes_come_back(brantd):
    user = brantd.account()
    rng = random.Random(20261123)
    sent = [nasty(rng) for _ in range(500)]
    with brantd.smtp() as s:
        s.ehlo()
        for m in sent:
            s.expect(250, "MAIL FROM:<sender@example.org>")
            s.expect(250, f"RCPT TO:<{user}>")
            code, text = s.data(m)
            assert code == 250, (text, m)
    stored = brantd.mailbox(user)
    assert len(stored) == len(sent) == 500
    for got, m in zip(stored, sent):
        as_sent(got, m)


def test_bdat_brings_the_same_bytes(brantd):
    """CHUNKING (RFC 3030), in chunks of every awkward size."""
    user = brantd.account()
    rng = random.Random(3030)
    sent = [nasty(rng) + b"end\r\n" for _ in range(20)]
    with brantd.smtp() as s:
        assert "CHUNKING" in s.ehlo()[1]
        for m in sent:
            s.expect(250, "MAIL FROM:<sender@example.org>")
            s.expect(250, f"RCPT TO:<{user}>")
            left = m
            while left:
                n = rng.choice([1, 2, 3, 100, len(left)])
                piece, left = left[:n], left[n:]
                s.send(b"BDAT %d%s\r\n" % (len(piece), b"" if left else b" LAST") + piece)
                assert s.reply()[0] == 250
    stored = brantd.mailbox(user)
    assert len(stored) == 20
    for got, m in zip(stored, sent):
        as_sent(got, m)


def test_uidl_stays_the_same(brantd):
    user = brantd.account()
    for n in range(5):
        brantd.send(user, message(f"uidl-{n}"))
    with brantd.pop3(user) as p:
        first = p.uidl()
        p.ok("DELE 2")
    with brantd.pop3(user) as p:
        assert p.uidl() == first[:1] + first[2:]
    brantd.send(user, message("uidl-5"))
    with brantd.pop3(user) as p:
        again = p.uidl()
    assert again[:4] == first[:1] + first[2:]
    assert len(set(first + again)) == 6, "a unique id was used again"


def test_the_maildrop_is_exclusive(brantd):
    user = brantd.account()
    with brantd.pop3(user) as first:
        with Pop3(brantd.pop3_port) as other:
            other.ok(f"USER {user}")
            assert other.command(f"PASS {PASSWORD}").startswith(b"-ERR [IN-USE]")
        first.ok("NOOP")
    with brantd.pop3(user) as again:
        again.ok("NOOP")


def test_a_lost_connection_deletes_nothing(brantd):
    user = brantd.account()
    brantd.send(user, message("kept"))
    p = brantd.pop3(user)
    p.ok("DELE 1")
    p.close()
    deadline = time.monotonic() + 10  # the server has to notice first
    other = None
    while not other and time.monotonic() < deadline:
        other = try_login(brantd, user)
    with other:
        assert other.stat()[0] == 1


def try_login(brantd, user):
    """A session, or None while the maildrop is in use."""
    p = Pop3(brantd.pop3_port)
    p.ok(f"USER {user}")
    if p.command(f"PASS {PASSWORD}").startswith(b"+OK"):
        return p
    p.close()
    return None


def test_mail_that_comes_during_a_session_is_seen_in_the_next(brantd):
    user = brantd.account()
    with brantd.pop3(user) as p:
        assert brantd.send(user, message("new"))[0] == 250
        assert p.stat() == (0, 0)
    assert len(brantd.mailbox(user)) == 1
