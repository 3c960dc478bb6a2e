"""Every SASL mechanism, by GNU SASL's own client and by one that does everything wrong that can be done wrong."""
import hashlib
import json
import os
import subprocess
import time

import pytest

import secure
import wire
from brantd import PASSWORD
from peers import program
from wire import Closed

OPEN = {"auth.source_failures": "10000", "auth.account_failures": "1000", "auth.failure_delay": "20 ms",
        "max_login_failures": "100", "tls.client_certificate": "all"}
MECHANISMS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]


@pytest.fixture(scope="module")
def authority(brantd, tmp_path_factory):
    a = secure.Authority(tmp_path_factory.mktemp("authority"))
    chain, key = a.issue(["localhost", "mx.brant.test"])
    secure.configure(brantd, {"tls.certificate": f"{chain} {key}", **OPEN})
    return a


# ---- gsasl ----

def gsasl(brantd, authority, mechanism, user, password, *more, version="1.3", clear=False):
    """(content, what it printed). It uses STARTTLS, as it is offered; where it could bind to the channel it will not
    speak a mechanism that does not, unless told so."""
    tls = ["--no-starttls"] if clear else [f"--x509-ca-file={authority.certificate}",
                                           f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}"]
    bind = [] if mechanism.endswith("PLUS") else ["--no-cb"]
    done = subprocess.run([program("gsasl"), "--smtp", "--verbose", f"--mechanism={mechanism}", f"--authentication-id={user}",
                           f"--password={password}", *tls, *bind, *more, "localhost", str(secure.port(brantd, "submission"))],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
def test_gsasl_logs_in(brantd, authority, mechanism, version):
    user = brantd.account()
    log = secure.Log(brantd)
    good, said = gsasl(brantd, authority, mechanism, user, PASSWORD, version=version)
    assert good, said
    [line] = log.wait("event=login ", user)
    assert f"mechanism={mechanism}" in line
    assert log.wait("event=tls ", f"TLSv{version}")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gsasl_with_a_wrong_password(brantd, authority, mechanism, version):
    user = brantd.account()
    log = secure.Log(brantd)
    good, said = gsasl(brantd, authority, mechanism, user, "wrong", version=version)
    assert not good, said
    if not (mechanism.endswith("PLUS") and version == "1.2"):  # gsasl would bind with tls-unique there
        assert log.wait("event=login-failed", user)
    assert log.lines("event=login ") == []


def test_gsasl_binds_to_the_channel(brantd, authority):
    """tls-exporter, which is what it knows for TLS 1.3."""
    user = brantd.account()
    log = secure.Log(brantd)
    good, said = gsasl(brantd, authority, "SCRAM-SHA-256-PLUS", user, PASSWORD)
    assert good, said
    assert "mechanism=SCRAM-SHA-256-PLUS" in log.wait("event=login ", user)[0]


def test_tls_unique_is_refused(brantd, authority):
    """gsasl knows no other binding for TLS 1.2; it is not ours to accept (RFC 9266 1)."""
    user = brantd.account()
    good, said = gsasl(brantd, authority, "SCRAM-SHA-256-PLUS", user, PASSWORD, version="1.2")
    assert not good, said


def test_gsasl_chooses_the_strongest_itself(brantd, authority):
    user = brantd.account()
    log = secure.Log(brantd)
    done = subprocess.run([program("gsasl"), "--smtp", "--quiet", f"--authentication-id={user}", f"--password={PASSWORD}",
                           f"--authorization-id={user}", f"--x509-ca-file={authority.certificate}", "localhost",
                           str(secure.port(brantd, "submission"))], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "mechanism=SCRAM-SHA-256-PLUS" in log.wait("event=login ", user)[0]


def test_gsasl_without_a_first_response(brantd, authority):
    user = brantd.account()
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        good, said = gsasl(brantd, authority, mechanism, user, PASSWORD, "--no-client-first")
        assert good, said


def test_another_authorization_identity_is_refused(brantd, authority):
    user, other = brantd.account(), brantd.account()
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
        good, said = gsasl(brantd, authority, mechanism, user, PASSWORD, f"--authorization-id={other}")
        assert not good, said
        good, said = gsasl(brantd, authority, mechanism, user, PASSWORD, f"--authorization-id={user}")
        assert good, said


def test_a_hash_made_by_gsasl_is_the_same(brantd, authority):
    """Salt and iterations as the server tells them give keys that log in: the arithmetic is nobody's own."""
    user = brantd.account()
    with secure.session(brantd, "submissions") as c:
        x = secure.Scram(user, PASSWORD)
        assert x.login(c)[0]
    made = subprocess.run([program("gsasl"), "--mkpasswd", "--mechanism=SCRAM-SHA-256", f"--password={PASSWORD}",
                           f"--iteration-count={x.iterations}", f"--salt={secure.b64(x.salt)}"], capture_output=True, text=True)
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), x.salt, x.iterations)
    import hmac
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert secure.b64(stored) in made.stdout
    assert x.iterations >= 4096, "RFC 7677 4"
    assert len(x.salt) >= 16


# ---- what is offered, and when ----

def offered(c):
    """The mechanisms that this session offers."""
    if isinstance(c, wire.Pop3):
        c.ok("CAPA")
        lines = [line.decode() for line in c.multi().split(b"\r\n") if line.startswith(b"SASL")]
    else:
        lines = [line for line in c.ehlo()[1].split("\n") if line.startswith("AUTH ")]
    return lines[0].split()[1:] if lines else []


@pytest.mark.parametrize("service", ["submission", "submissions", "pop3", "pop3s"])
def test_all_mechanisms_are_offered_under_tls(brantd, authority, service):
    with secure.session(brantd, service) as c:
        assert offered(c) == MECHANISMS


@pytest.fixture
def never(brantd, authority):
    before = secure.configure(brantd, {"cleartext_auth": "never"})
    yield
    secure.restore(brantd, before)


@pytest.mark.parametrize("service", ["submission", "pop3"])
def test_nothing_is_offered_in_clear(brantd, never, service):
    """And nothing is taken: 538 (RFC 4954 6), -ERR; a password sent all the same opens nothing."""
    log = secure.Log(brantd)
    plain = "PLAIN " + secure.b64(secure.plain("alice@brant.test", PASSWORD))
    for mechanism in MECHANISMS + ["EXTERNAL", plain]:  # a session ends after few errors
        with secure.greeted(brantd, service) as c:
            assert offered(c) == []
            good, text = secure.auth_line(c, f"AUTH {mechanism}")
            assert good is False and (text.startswith("538") or text.startswith("-ERR")), text
            if service == "submission":
                assert c.command("MAIL FROM:<alice@brant.test>")[0] == 530
            else:
                assert c.command("STAT").startswith(b"-ERR")
    if service == "pop3":
        with secure.greeted(brantd, service) as c:
            c.ok("CAPA")
            assert b"USER" not in [line.split(b" ")[0] for line in c.multi().split(b"\r\n")]
            assert c.command("USER alice@brant.test").startswith(b"-ERR"), "before the password is said"
            assert c.command(f"PASS {PASSWORD}").startswith(b"-ERR")
    assert log.lines("event=login ") == []


def test_the_demo_allows_it_on_loopback(brantd, authority):
    with secure.greeted(brantd, "submission") as c:
        assert offered(c) == MECHANISMS[1:], "there is no channel to bind to"
        assert secure.auth(c, "PLAIN", secure.plain("alice@brant.test", PASSWORD))[0]
    with secure.greeted(brantd, "submission") as c:
        c.ehlo()
        assert secure.Scram("alice@brant.test", PASSWORD).login(c)[0]


# ---- channel binding ----

@pytest.fixture(params=["submission", "submissions", "pop3s"])
def service(request):
    return request.param


@pytest.mark.parametrize("version, kind", [("1.3", "tls-exporter"), ("1.3", "tls-server-end-point"),
                                           ("1.2", "tls-server-end-point")])
def test_right_bindings(brantd, authority, service, version, kind):
    log = secure.Log(brantd)
    user = brantd.account()
    with secure.session(brantd, service, version=version) as c:
        good, text = secure.scram_plus(c, user, kind=kind)
        assert good, text
    assert "mechanism=SCRAM-SHA-256-PLUS" in log.wait("event=login ", user)[0]


@pytest.mark.parametrize("kind", ["tls-exporter", "tls-server-end-point"])
def test_wrong_bindings(brantd, authority, service, kind):
    """Wrong data, none, another session's, another kind's, a gs2-header that was changed on the way: all refused."""
    user = brantd.account()
    log = secure.Log(brantd)
    plus = "SCRAM-SHA-256-PLUS"
    with secure.session(brantd, service, version="1.3") as other, secure.session(brantd, service, version="1.3") as c:
        mine, theirs = c.sock.binding(kind), other.sock.binding(kind)
        another = c.sock.binding("tls-server-end-point" if kind == "tls-exporter" else "tls-exporter")
        cases = [secure.Scram(user, PASSWORD, f"p={kind}", bytes([mine[0] ^ 1]) + mine[1:]),
                 secure.Scram(user, PASSWORD, f"p={kind}", b""),
                 secure.Scram(user, PASSWORD, f"p={kind}", mine[:-1]),
                 secure.Scram(user, PASSWORD, f"p={kind}", mine + b"\0"),
                 secure.Scram(user, PASSWORD, f"p={kind}", another),
                 secure.Scram(user, PASSWORD, f"p={kind}", mine, header=b"n,,"),
                 secure.Scram(user, PASSWORD, f"p={kind}", mine, header=b"y,,"),
                 secure.Scram(user, PASSWORD, f"p={kind}", mine, header=b""),
                 secure.Scram(user, PASSWORD, "p=tls-unique", mine),
                 secure.Scram(user, PASSWORD, "p=", mine),
                 secure.Scram(user, PASSWORD, "p=tls-exporter2", mine),
                 secure.Scram(user, PASSWORD, "n"),
                 secure.Scram(user, PASSWORD, "y")]
        if kind == "tls-exporter":  # the other one is the certificate's, and the same for both
            assert mine != theirs
            cases.append(secure.Scram(user, PASSWORD, f"p={kind}", theirs))
        for n, x in enumerate(cases):
            good, text = x.login(c, plus)
            assert not good, (n, text)
        good, text = secure.Scram(user, PASSWORD, f"p={kind}", mine).login(c, "SCRAM-SHA-256")
        assert not good, "a binding belongs to -PLUS"
        good, text = secure.Scram(user, PASSWORD, f"p={kind}", mine).login(c, plus)
        assert good, text
    assert len(log.wait("event=login ")) == 1
    assert log.wait("event=login-failed", user)


def test_no_exporter_in_tls_12(brantd, authority):
    user = brantd.account()
    with secure.session(brantd, "submissions", version="1.2") as c:
        assert not secure.scram_plus(c, user, kind="tls-exporter")[0]


def test_a_downgrade_is_noticed(brantd, authority, service):
    """y: the client can bind and saw no -PLUS; but it was offered, so somebody has taken it out (RFC 5802 6). n: it can't."""
    user = brantd.account()
    with secure.session(brantd, service) as c:
        good, text = secure.Scram(user, PASSWORD, "y").login(c)
        assert not good, text
    with secure.session(brantd, service) as c:
        good, text = secure.Scram(user, PASSWORD, "n").login(c)
        assert good, text
    with secure.greeted(brantd, "submission") as c:  # in clear there is none to take out
        c.ehlo()
        assert secure.Scram(user, PASSWORD, "y").login(c)[0]


def test_a_binding_in_clear_is_refused(brantd, authority):
    with secure.greeted(brantd, "submission") as c:
        c.ehlo()
        assert not secure.Scram("alice@brant.test", PASSWORD, "p=tls-exporter", b"\0" * 32).login(c, "SCRAM-SHA-256-PLUS")[0]
        assert not secure.Scram("alice@brant.test", PASSWORD, "p=tls-exporter", b"\0" * 32).login(c)[0]


# ---- who does not exist ----

def scram_of(brantd, user):
    """What the server tells a stranger of this user: salt, iterations; the exchange must fail, at its end."""
    with secure.session(brantd, "submissions") as c:
        x = secure.Scram(user, "a guess")
        good, text = x.login(c)
        assert not good and text.startswith("535"), text
        assert x.salt, "the exchange must not end before the proof"
        return x.salt, x.iterations


def test_an_unknown_name_looks_like_a_known_one(own_brantd):
    secure.configure(own_brantd, OPEN)
    known = own_brantd.account()
    unknown = [f"nobody-{n}@brant.test" for n in range(4)] + ["nobody@elsewhere.example"]
    before = {u: scram_of(own_brantd, u) for u in [known] + unknown}
    assert before == {u: scram_of(own_brantd, u) for u in before}, "the same every time"
    assert len({salt for salt, _ in before.values()}) == len(before), "of its own"
    assert len({(len(salt), i) for salt, i in before.values()}) == 1, "and like a real one"
    assert scram_of(own_brantd, unknown[0].upper()) == before[unknown[0]] and scram_of(own_brantd, known.upper()) == before[known]
    [store] = own_brantd.roles("brant-store")
    own_brantd.kill_role(store)
    assert before == {u: scram_of(own_brantd, u) for u in before}, "also from the next store"
    assert own_brantd.stop() == []
    own_brantd.start()
    secure.configure(own_brantd, OPEN)
    assert before == {u: scram_of(own_brantd, u) for u in before}, "and after a restart of everything"


# ---- EXTERNAL ----

def test_external_by_certificate(brantd, authority):
    user, other = brantd.account(), brantd.account()
    mine, stranger = authority.issue(["a.client"], use="clientAuth"), authority.issue(["b.client"], use="clientAuth")
    brantd.cli("certificate", "add", user, "laptop", secure.fingerprint(mine[0]))
    for service in ("submission", "submissions", "pop3s"):
        log = secure.Log(brantd)
        with secure.session(brantd, service, certificate=mine) as c:
            assert "EXTERNAL" in offered(c)
            assert not secure.auth(c, "EXTERNAL", other.encode())[0], "not as another"
            good, text = secure.auth(c, "EXTERNAL", user.encode())
            assert good, text
        assert secure.fingerprint(mine[0]) in log.wait("event=tls ")[0].lower()
        assert "mechanism=EXTERNAL" in log.wait("event=login ", user)[0]
        with secure.session(brantd, service, certificate=mine) as c:
            good, text = secure.auth(c, "EXTERNAL", b"")
            assert good, f"an empty identity is whom the certificate belongs to: {text}"
        with secure.session(brantd, service, certificate=stranger) as c:
            assert not secure.auth(c, "EXTERNAL", user.encode())[0]
            assert not secure.auth(c, "EXTERNAL", b"")[0]
        with secure.session(brantd, service) as c:
            assert "EXTERNAL" not in offered(c)
            assert not secure.auth(c, "EXTERNAL", user.encode())[0]
    brantd.cli("certificate", "remove", user, "laptop")
    with secure.session(brantd, "submissions", certificate=mine) as c:
        assert not secure.auth(c, "EXTERNAL", user.encode())[0]


def test_a_certificate_needs_its_key(brantd, authority):
    """The certificate of another is public; who has not its key does not get through the handshake."""
    mine, other = authority.issue(["a.client"]), authority.issue(["b.client"])
    user = brantd.account()
    brantd.cli("certificate", "add", user, "laptop", secure.fingerprint(mine[0]))
    forged = os.path.join(authority.directory, "forged.key")
    with open(other[1]) as f, open(forged, "w") as g:
        g.write(f.read())
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port(brantd, 'submissions')}", "-cert", mine[0],
                           "-key", forged], input=b"EHLO x\r\n", capture_output=True, timeout=20)
    assert b"250" not in done.stdout


def test_certificates_where_they_are_not_asked_for(brantd, authority):
    before = secure.configure(brantd, {"tls.client_certificate": "off"})
    try:
        mine = authority.issue(["c.client"], use="clientAuth")
        user = brantd.account()
        brantd.cli("certificate", "add", user, "laptop", secure.fingerprint(mine[0]))
        with secure.session(brantd, "submissions", certificate=mine) as c:
            assert "EXTERNAL" not in offered(c)
            assert not secure.auth(c, "EXTERNAL", user.encode())[0]
    finally:
        secure.restore(brantd, before)


# ---- imported hashes ----

SETTINGS = {"sha512": "$6$saltsaltsalt$", "sha256": "$5$saltsaltsalt$", "yescrypt": "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$",
            "bcrypt": "$2b$06$abcdefghijklmnopqrstuu"}


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_imported_hash_gains_scram(brantd, authority, kind):
    """At the next login that brings the password itself."""
    hashed = secure.crypt_hash("from elsewhere", SETTINGS[kind])
    if not hashed:
        pytest.skip("crypt(3) of this machine does not know it")
    user = f"imported-{kind}@brant.test"
    brantd.cli("account", "add", user, "--password-hash", hashed)

    def row():
        [found] = [r for r in json.loads(brantd.cli("--json", "account", "list"))["accounts"] if r["address"] == user]
        return found

    with secure.session(brantd, "submissions") as c:
        assert not secure.Scram(user, "from elsewhere").login(c)[0], "it has no keys yet"
        assert not secure.auth(c, "PLAIN", secure.plain(user, "wrong"))[0]
        assert not secure.Scram(user, "from elsewhere").login(c)[0], "a wrong password makes none"
        assert secure.auth(c, "PLAIN", secure.plain(user, "from elsewhere"))[0]
    deadline = time.monotonic() + 20
    while not row()["has_scram"] and time.monotonic() < deadline:
        time.sleep(0.05)  # nobody waits for them to log in
    with secure.session(brantd, "submissions") as c:
        good, text = secure.Scram(user, "from elsewhere").login(c)
        assert good, text
    with secure.session(brantd, "submissions") as c:
        assert secure.auth(c, "PLAIN", secure.plain(user, "from elsewhere"))[0]
        assert row()


def test_a_hash_that_is_none_is_refused(brantd):
    for bad in ("plain text", "$9$what$ever", "$6$", ""):
        brantd.cli("account", "add", "bad-hash@brant.test", "--password-hash", bad, status=None)
        assert "bad-hash@brant.test" not in brantd.cli("account", "list"), bad


# ---- exchanges that go wrong ----

def steps(mechanism, user):
    """What a client says in order."""
    if mechanism == "PLAIN":
        return [secure.plain(user, PASSWORD)]
    if mechanism == "LOGIN":
        return [user.encode(), PASSWORD.encode()]
    x = secure.Scram(user, PASSWORD)
    return [x.first(), x.final, x.end]


@pytest.mark.parametrize("service", ["submissions", "pop3s"])
@pytest.mark.parametrize("mechanism", MECHANISMS[1:])
def test_exchanges_can_be_given_up_anywhere(brantd, authority, service, mechanism):
    """With "*" (RFC 4954 4, RFC 5034 4), with what is no base64, with nothing, with too much: and the next one succeeds."""
    user = brantd.account()
    count = len(steps(mechanism, user))
    for bad in ("*", "????", "=", "A" * 2000, "A" * 12000, secure.b64(b"\0" * 30), secure.b64(b"\xff\xfe"), " "):
        for at in range(count):
            c = secure.session(brantd, service)
            try:
                said = secure.auth(c, mechanism, *steps(mechanism, user)[:at], bad, initial=False)
                assert said[0] is not True, (bad, at, said)
                good, text = secure.auth(c, mechanism, *steps(mechanism, user))
                assert good, (bad, at, text)
                assert not secure.auth(c, mechanism, *steps(mechanism, user))[0], "nobody logs in twice"
            except Closed:
                assert len(bad) > 10000, "too much for one line: the end is an answer as well"
            finally:
                c.close()


@pytest.mark.parametrize("name", ["CRAM-MD5", "DIGEST-MD5", "NTLM", "RPA", "GSSAPI", "ANONYMOUS", "SCRAM-SHA-1", "XOAUTH2", "",
                                  "PLAINX", "X" * 300])
def test_no_other_mechanism_is_there(brantd, authority, name):
    with secure.session(brantd, "submissions") as c:
        good, text = secure.auth_line(c, f"AUTH {name}")
        assert good is False and text[0] == "5", text
        assert secure.auth(c, "PLAIN", secure.plain("alice@brant.test", PASSWORD))[0]
    with secure.session(brantd, "pop3s") as c:
        if name:  # AUTH alone asks for the list in old dialects
            assert secure.auth_line(c, f"AUTH {name}")[0] is False
        assert secure.auth(c, "PLAIN", secure.plain("alice@brant.test", PASSWORD))[0]


def test_auth_in_a_transaction_is_refused(brantd, authority):
    with secure.session(brantd, "submissions") as c:
        secure.login(c, "alice@brant.test")
        c.expect(250, "MAIL FROM:<alice@brant.test>")
        assert c.command("AUTH PLAIN " + secure.b64(secure.plain("bob@brant.test", PASSWORD)))[0] == 503
        c.expect(250, "RCPT TO:<bob@brant.test>")


def test_too_many_wrong_passwords_end_the_session(brantd, authority):
    before = secure.configure(brantd, {"max_login_failures": "3"})
    try:
        for service in ("submissions", "pop3s"):
            user = brantd.account()
            c = secure.session(brantd, service)
            failures = 0
            try:
                while not secure.auth(c, "PLAIN", secure.plain(user, "wrong"))[1].startswith("421"):
                    failures += 1
            except Closed:
                pass
            c.close()
            assert failures == 3, service
    finally:
        secure.restore(brantd, before)


@pytest.mark.parametrize("service", ["submissions", "pop3s"])
def test_passwords_of_every_script(brantd, authority, service):
    """Set by the command line, sent by every mechanism, in two forms of the same text (RFC 8265 4.2: NFC)."""
    user, password = brantd.account(), "Mot de passe é ßπ 鸿雁 🦢"
    brantd.cli("account", "passwd", user, "--password-stdin", stdin=password + "\n")
    import unicodedata
    for form in (password, unicodedata.normalize("NFD", password)):
        for mechanism in ("PLAIN", "LOGIN"):
            with secure.session(brantd, service) as c:
                responses = [secure.plain(user, form)] if mechanism == "PLAIN" else [user.encode(), form.encode()]
                good, text = secure.auth(c, mechanism, *responses)
                assert good, (mechanism, text)
    with secure.session(brantd, service) as c:
        assert secure.Scram(user, password).login(c)[0]
    with secure.session(brantd, service) as c:
        assert not secure.auth(c, "PLAIN", secure.plain(user, password + " "))[0]
