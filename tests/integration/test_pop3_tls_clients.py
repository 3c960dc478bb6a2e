"""People's mail programs read their mail over TLS: STLS and POP3S, with the right certificate and the wrong one; what a
mail program's account set-up tries; and what must stay the same for them."""
import glob
import os
import pty
import select
import shutil
import subprocess
import tempfile
import time
import urllib.parse

import pytest

import peers
import secure
import wire
from brantd import PASSWORD
from wire import as_sent

OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "20 ms",
        "auth.default_domain": "brant.test"}


@pytest.fixture(scope="module")
def authority(brantd, tmp_path_factory):
    a = secure.Authority(tmp_path_factory.mktemp("authority"))
    chain, key = a.issue(["localhost", "mx.brant.test"])
    secure.configure(brantd, {"tls.certificate": f"{chain} {key}", **OPEN})
    return a


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that did not make the server's certificate."""
    return secure.Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(params=["pop3", "pop3s"])
def service(request):
    return request.param


def numbered(n):
    return secure.message("sender@example.org", "t@brant.test", f"m-{n}", b"%04d\r\n.\r\n..dots\r\n" % n * (n + 1))


# ---- programs: each fetches (and deletes) everything into a Maildir, and says whether it was content ----

def run(place, *args, env=None, stdin=None, **more):
    done = subprocess.run(args, capture_output=True, timeout=60, input=stdin,
                          env={**os.environ, "HOME": place, "LC_ALL": "C.UTF-8", **(env or {})}, **more)
    return done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")


def private(place, name, text):
    path = os.path.join(place, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def fetchmail(place, port, implicit, ca, user, password):
    mda = private(place, "mda", f'#!/bin/sh\nexec cat >"$(mktemp {place}/new/XXXXXXXX)"\n')
    os.chmod(mda, 0o755)
    rc = private(place, "fetchmailrc", "set no bouncemail\nset invisible\n"
                 f'poll localhost proto pop3 port {port} user "{user}" password "{password}" '
                 f'{"ssl" if implicit else ""} sslproto "TLS1.2+" sslcertck sslcertfile "{ca}" no rewrite no mimedecode mda "{mda}"\n')
    return run(place, peers.program("fetchmail"), "-f", rc, "--nosyslog", "-a", "--nokeep", "--pidfile",
               os.path.join(place, "pid"), "--idfile", os.path.join(place, "ids"), env={"FETCHMAILHOME": place})


def getmail(place, port, implicit, ca, user, password):
    """Refuses to run as root; knows no STLS in this version: only POP3S."""
    if not implicit:
        pytest.skip("getmail has no STLS")
    with tempfile.TemporaryDirectory(prefix="brant-getmail-") as own:
        shutil.copy(ca, os.path.join(own, "ca.crt"))
        peers.maildir(os.path.join(own, "mail"))
        rc = private(own, "getmailrc", f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {port}\n"
                     f"username = {user}\npassword = {password}\nca_certs = {own}/ca.crt\n[destination]\ntype = Maildir\n"
                     f"path = {own}/mail/\n[options]\nread_all = true\ndelete = true\nreceived = false\n"
                     "delivered_to = false\nverbose = 1\n")
        more = {}
        if os.geteuid() == 0:
            more = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for folder, _, names in os.walk(own):
                for path in [folder] + [os.path.join(folder, n) for n in names]:
                    shutil.chown(path, "nobody", "nogroup")
        good, said = run(own, peers.program("getmail"), "--getmaildir", own, "--rcfile", rc, cwd=own, **more)
        for path in glob.glob(os.path.join(own, "mail", "new", "*")):
            shutil.copy(path, os.path.join(place, "new"))
        return good and "error" not in said.lower(), said


def mpop(place, port, implicit, ca, user, password):
    rc = private(place, "mpoprc", f"account default\nhost localhost\nport {port}\nuser {user}\npassword {password}\ntls on\n"
                 f"tls_starttls {'off' if implicit else 'on'}\ntls_trust_file {ca}\nauth on\ndelivery maildir {place}\n"
                 f"uidls_file {place}/uidls\nreceived_header off\nkeep off\n")
    return run(place, peers.program("mpop"), "-C", rc, "-q")


def curl(place, port, implicit, ca, user, password):
    base = [peers.program("curl"), "-sS", "--max-time", "30", "--cacert", ca, "--ssl-reqd", "-u", f"{user}:{password}"]
    url = f"{'pop3s' if implicit else 'pop3'}://localhost:{port}/"
    good, said = run(place, *base, url)
    if not good:
        return good, said
    for n in [line.split()[0] for line in said.splitlines() if line.strip()]:
        good, text = run(place, *base, url + n, "-o", os.path.join(place, "new", n))
        if not good:
            return good, text
    for n in [line.split()[0] for line in said.splitlines() if line.strip()]:
        good, text = run(place, *base, "--request", "DELE", "--list-only", url + "1")
        if not good:
            return good, text
    return True, said


def mutt(place, port, implicit, ca, user, password):
    """An interactive program: its keys are pressed for it on a terminal of its own. Left to itself, 2.2.12 with GNU SASL
    takes SCRAM-SHA-256-PLUS, has no binding to give, and after its "*" does not read the answer."""
    scheme = "pops" if implicit else "pop"
    rc = private(place, "muttrc", f'set pop_host="{scheme}://{urllib.parse.quote(user, safe="")}@localhost:{port}"\n'
                 f'set pop_pass="{password}"\nset pop_authenticators="scram-sha-256:plain"\nset pop_delete=yes\nset ssl_force_tls=yes\nset ssl_starttls=yes\n'
                 f'set ssl_ca_certificates_file="{ca}"\nset certificate_file="{place}/none"\nset mbox_type=Maildir\n'
                 f'set folder="{place}"\nset spoolfile="{place}"\nset record=""\nset confirmappend=no\nset wait_key=no\n'
                 "set quit=yes\nset move=no\nset mail_check=1\n"
                 "push '<fetch-mail><quit>'\n")
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(HOME=place, TERM="vt100", LC_ALL="C.UTF-8")
        os.execv(peers.program("mutt"), ["mutt", "-n", "-F", rc])
    said, deadline = b"", time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:
                    break
                if not data:
                    break
                said += data
                if b"(r)eject" in data:  # of the certificate
                    os.write(terminal, b"r")
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                child = 0
                break
    finally:
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)
        os.close(terminal)
    text = said.decode("utf-8", "replace")
    return "failed" not in text and "eject" not in text, text


PROGRAMS = [fetchmail, getmail, mpop, curl, mutt]


@pytest.fixture(params=PROGRAMS, ids=lambda p: p.__name__)
def fetch(request):
    return request.param


def test_fetches_everything_over_tls(brantd, authority, tmp_path, fetch, service):
    user = brantd.account()
    sent = [numbered(n) for n in range(12)]
    for m in sent:
        assert brantd.send(user, m)[0] == 250
    place = peers.maildir(str(tmp_path / "mail"))
    log = secure.Log(brantd)
    good, said = fetch(place, secure.port(brantd, service), service == "pop3s", authority.certificate, user, PASSWORD)
    assert good, said
    got = peers.maildir_messages(place)
    assert len(got) == len(sent), said
    for m in sent:
        body = m[m.index(b"Message-ID: "):] if fetch is not mutt else m.split(b"\r\n\r\n", 1)[1]
        assert sum(stored.endswith(body) for stored in got) == 1, m[:200]
    assert log.wait("event=tls ", "version=TLSv1.")
    assert log.wait("event=login ", user)
    assert brantd.mailbox(user) == [], "it was told to delete what it fetched"


def test_a_wrong_certificate_is_refused_by_the_program(brantd, authority, stranger, tmp_path, fetch, service):
    """It says no password then, and gets nothing."""
    user = brantd.account()
    assert brantd.send(user, numbered(1))[0] == 250
    place = peers.maildir(str(tmp_path / "mail"))
    log = secure.Log(brantd)
    fetch(place, secure.port(brantd, service), service == "pop3s", stranger.certificate, user, PASSWORD)
    assert peers.maildir_messages(place) == []
    assert log.lines("event=login ", user) == [] and log.lines("event=login-failed") == []
    assert len(brantd.mailbox(user)) == 1


def test_a_wrong_password_gets_nothing(brantd, authority, tmp_path, fetch, service):
    user = brantd.account()
    assert brantd.send(user, numbered(1))[0] == 250
    place = peers.maildir(str(tmp_path / "mail"))
    log = secure.Log(brantd)
    good, said = fetch(place, secure.port(brantd, service), service == "pop3s", authority.certificate, user, "wrong")
    assert not good or fetch is mutt, said
    assert peers.maildir_messages(place) == []
    assert log.wait("event=login-failed", user)
    assert log.lines("event=login ", user) == []


def test_app_passwords_by_protocol(brantd, authority, service):
    import json
    user = brantd.account()
    reads = json.loads(brantd.cli("--json", "app-password", "add", user, "reader", "--protocols", "pop3"))["password"]
    sends = json.loads(brantd.cli("--json", "app-password", "add", user, "sender", "--protocols", "submission"))["password"]
    with secure.session(brantd, service) as c:
        assert secure.auth(c, "PLAIN", secure.plain(user, reads))[0]
        assert c.stat() == (0, 0)
    c = secure.session(brantd, service)
    c.ok(f"USER {user}")
    assert c.command(f"PASS {sends}").startswith(b"-ERR [AUTH]")
    c.close()
    brantd.cli("app-password", "remove", user, "reader")
    c = secure.session(brantd, service)
    c.ok(f"USER {user}")
    assert c.command(f"PASS {reads}").startswith(b"-ERR [AUTH]")
    c.close()


# ---- what Thunderbird's account set-up tries ----

def capa(c):
    c.ok("CAPA")
    return {line.split(b" ")[0].decode(): line.decode().split(" ")[1:] for line in c.multi().split(b"\r\n") if line}


PROBES = [  # service, what the wizard calls it: incoming then outgoing, best first
    ("pop3s", "SSL/TLS"), ("pop3", "STARTTLS"), ("submissions", "SSL/TLS"), ("submission", "STARTTLS"),
]


@pytest.mark.parametrize("service, socket_type", PROBES)
def test_thunderbird_guesses(brantd, authority, service, socket_type):
    """The probe of guessConfig: one connection, CAPA or EHLO, QUIT at once behind it; the answer must announce STARTTLS
    where that was hoped for, and methods that the wizard knows."""
    c = secure.greeted(brantd, service) if socket_type == "STARTTLS" else secure.session(brantd, service)
    if service.startswith("pop3"):
        c.send(b"CAPA\r\nQUIT\r\n")
        said = c.rest()
        assert said.startswith(b"+OK") and said.rstrip().split(b"\r\n")[-1].startswith(b"+OK")
        lines = said.split(b"\r\n")
        assert (b"STLS" in lines) == (socket_type == "STARTTLS")
        sasl = [line for line in lines if line.startswith(b"SASL ")]
    else:
        c.send(b"EHLO we-guess.mozilla.org\r\nQUIT\r\n")
        said = c.rest()
        assert said.startswith(b"250-") and b"\r\n221" in said
        assert (b"STARTTLS\r\n" in said) == (socket_type == "STARTTLS")
        sasl = [line for line in said.split(b"\r\n") if line[4:].startswith(b"AUTH ")]
    if socket_type != "STARTTLS":
        assert sasl and b"PLAIN" in sasl[0] and b"LOGIN" in sasl[0]
    c.close()


@pytest.mark.parametrize("service", [s for s, _ in PROBES])
@pytest.mark.parametrize("form", ["address", "local part"])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "SCRAM-SHA-256", "USER"])
def test_thunderbird_logs_in(brantd, authority, service, form, method):
    """With the whole address and with its local part, as its two templates for the user name are. Its words: EHLO with an
    address literal; AUTH PLAIN with the response in the same line by SMTP, behind a "+" by POP3."""
    user = brantd.account() if form == "address" else brantd.account().split("@")[0]
    pop3 = service.startswith("pop3")
    if method == "USER" and not pop3:
        pytest.skip("POP3 only")
    with secure.session(brantd, service) as c:
        if pop3:
            if c.command("AUTH").startswith(b"+OK"):  # an old way to ask for the list; a refusal will do
                c.multi()
            capa(c)
        else:
            c.expect(250, "EHLO [127.0.0.1]")
        if method == "USER":
            c.ok(f"USER {user}")
            c.ok(f"PASS {PASSWORD}")
        elif method == "PLAIN":
            assert secure.auth(c, "PLAIN", secure.plain(user, PASSWORD), initial=not pop3)[0]
        elif method == "LOGIN":
            assert secure.auth(c, "LOGIN", user.encode(), PASSWORD.encode(), initial=False)[0]
        else:
            assert secure.Scram(user, PASSWORD).login(c)[0]
        if pop3:
            assert c.stat() == (0, 0)
            assert c.uidl() == []
            c.ok("NOOP")
        else:
            address = user if "@" in user else user + "@brant.test"
            c.expect(250, f"MAIL FROM:<{address}> BODY=8BITMIME SIZE=300")
            c.expect(250, "RCPT TO:<alice@brant.test>")
            c.expect(250, "RSET")


# ---- capabilities ----

def test_capa_before_and_after_tls(brantd, authority):
    with secure.greeted(brantd, "pop3") as c:
        before = capa(c)
        assert "STLS" in before and "SCRAM-SHA-256-PLUS" not in before.get("SASL", [])
        c.ok("STLS")
        c.sock = secure.TlsSocket(c.sock)
        after = capa(c)
        assert "STLS" not in after
        assert after["SASL"] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
        assert {"TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"} <= set(after)
        assert c.command("STLS").startswith(b"-ERR"), "once is enough"
        secure.login(c, "alice@brant.test")
        assert c.command("STLS").startswith(b"-ERR")
        assert "SASL" in capa(c) or "TOP" in capa(c)
    with secure.session(brantd, "pop3s") as c:
        assert capa(c) == after, "POP3S is the same behind the handshake"


def test_response_codes(brantd, authority):
    """RFC 3206: [AUTH] is the person's fault, [SYS/TEMP] is not; [IN-USE] is another session (RFC 2449)."""
    user = brantd.account()
    with secure.session(brantd, "pop3s") as c:
        c.ok(f"USER {user}")
        assert c.command("PASS wrong").startswith(b"-ERR [AUTH]")
        assert secure.auth(c, "PLAIN", secure.plain(user, "wrong"))[1].startswith("-ERR [AUTH]")
        c.ok(f"USER {user}")
        c.ok(f"PASS {PASSWORD}")


# ---- what stays ----

def test_uidl_is_the_same_everywhere_and_after_restarts(own_brantd):
    user = own_brantd.account()
    for n in range(6):
        assert own_brantd.send(user, numbered(n))[0] == 250

    def ids(service):
        with secure.login(secure.session(own_brantd, service), user) as c:
            return c.uidl()

    first = ids("pop3s")
    assert len(set(first)) == 6 and all(0 < len(i) <= 70 and all(0x21 <= b <= 0x7e for b in i) for i in first)
    with secure.login(secure.session(own_brantd, "pop3"), user) as c:
        assert c.uidl() == first
        c.ok("DELE 3")
    rest = first[:2] + first[3:]
    for role in ("brant-pop3", "brant-store", "brant-signer"):
        [process] = own_brantd.roles(role)
        own_brantd.kill_role(process)
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ids("pop3s") == rest, role
                break
            except (wire.Closed, secure.Failed, OSError):
                assert time.monotonic() < deadline, role
                time.sleep(0.2)
    assert own_brantd.stop() == []
    own_brantd.start()
    assert ids("pop3s") == rest and ids("pop3") == rest
    assert own_brantd.send(user, numbered(7))[0] == 250
    again = ids("pop3s")
    assert again[:5] == rest and again[5] not in first, "a unique id is never used again"


def test_the_maildrop_is_one_sessions(brantd, authority):
    user = brantd.account()
    assert brantd.send(user, numbered(1))[0] == 250
    with secure.login(secure.session(brantd, "pop3s"), user) as first:
        for service in ("pop3s", "pop3"):
            c = secure.session(brantd, service)
            good, text = secure.auth(c, "PLAIN", secure.plain(user, PASSWORD))
            assert not good and text.startswith("-ERR [IN-USE]"), text
            assert c.command("STAT").startswith(b"-ERR")
            c.close()
        as_sent(first.retr(1), numbered(1))
        first.ok("DELE 1")
    with secure.login(secure.session(brantd, "pop3"), user) as c:
        assert c.stat()[0] == 0


def test_a_large_message_over_tls(brantd, authority):
    user = brantd.account()
    lines = b"".join(b"%07d %s\r\n" % (n, b"x" * (n % 70)) for n in range(150000))
    data = secure.message("sender@example.org", user, "large", lines)
    assert brantd.send(user, data)[0] == 250
    for version in ("1.2", "1.3"):
        with secure.login(secure.session(brantd, "pop3s", version=version), user) as c:
            as_sent(c.retr(1), data)
    with secure.login(secure.session(brantd, "submissions"), user) as c:
        own = secure.message(user, user, "large-2", lines)
        assert secure.submit(c, user, user, own)[0] == 250
    with secure.login(secure.session(brantd, "pop3s"), user) as c:
        assert c.retr(2).endswith(own)


def test_chacha_and_aes(brantd, authority):
    """What phones without AES in hardware prefer is there as well."""
    for ciphers in ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        with secure.session(brantd, "pop3s", version="1.2", ciphers=ciphers) as c:
            secure.login(c, "bob@brant.test")
            c.stat()
