"""Secrets stay where they belong: the private key in the signer's memory and in no other process's, passwords in nobody's
once they are checked, nothing of either in the log."""
import base64
import glob
import json
import os
import threading
import time

import pytest

import memory
import secure
import wire


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reads the memory of other users' processes: needs root")

EDGES = ("brant-smtp", "brant-pop3")


@pytest.fixture(scope="module", autouse=True)
def possible():
    try:
        assert memory.self_test()
    except PermissionError:
        pytest.skip("this machine does not let root read the memory of processes")


def key_needles(path):
    """What of a private key could lie in memory: its file's text, its DER, its numbers as OpenSSL keeps them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    with open(path, "rb") as f:
        text = f.read()
    key = serialization.load_pem_private_key(text, None)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL,
                            serialization.NoEncryption())
    numbers = key.private_numbers()
    found = {}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.key_size + 7) // 8
        secret = {"d": (numbers.private_value, size)}
    else:
        size = key.key_size // 8
        secret = {"d": (numbers.d, size), "p": (numbers.p, size // 2), "q": (numbers.q, size // 2), "dp": (numbers.dmp1, size // 2)}
    for name, (value, length) in secret.items():
        raw = value.to_bytes(length, "big")
        found[name + " big-endian"] = raw
        found[name + " little-endian"] = raw[::-1]  # limbs of a BIGNUM
        found[name + " in part"] = raw[length // 2:]
        found[name + " in part, little-endian"] = raw[::-1][length // 2:]
    found["der"] = der[:64]
    lines = [line for line in text.split(b"\n") if line and not line.startswith(b"-")]
    found["pem"] = max(lines, key=len)
    return found


def look(brantd, needles):
    """{(role, pid): {needle: count}} of every process, the supervisor included."""
    everybody = [(p.name, p.pid) for p in brantd.children()] + [("brant", brantd.process.pid)]
    found = {}
    for name, pid in everybody:
        hits, read = memory.count(pid, needles)
        assert read > 100 << 10, f"{name}: only {read} bytes could be read"
        found[name, pid] = hits
    return found


def somewhere(found, role):
    return sum(sum(hits.values()) for (name, _), hits in found.items() if name == role)


def nowhere_else(found, role):
    for (name, pid), hits in found.items():
        if name != role:
            assert not any(hits.values()), f"{name} ({pid}) holds the key: {hits}"


@pytest.fixture
def busy(brantd):
    """Handshakes of both versions and all services, all the while."""
    stop = threading.Event()
    made = [0]

    def work():
        while not stop.is_set():
            for service in ("submissions", "pop3s", "smtp", "submission", "pop3"):
                for version in ("1.2", "1.3"):
                    secure.session(brantd, service, version=version).close()
                    made[0] += 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    yield made
    stop.set()
    for t in threads:
        t.join()


def key_files(brantd):
    found = [path for path in glob.glob(os.path.join(brantd.directory, "**", "*"), recursive=True)
             if os.path.isfile(path) and b"PRIVATE KEY" in open(path, "rb").read(1 << 20)]
    assert found, "the demo's key is nowhere"
    return found


def test_the_demos_key_is_in_the_signer_alone(brantd, busy):
    [path] = key_files(brantd)
    assert os.path.dirname(path).rstrip("/").endswith("keys")
    assert os.stat(path).st_mode & 0o077 == 0
    assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0
    needles = key_needles(path)
    while busy[0] < 30:
        time.sleep(0.05)
    for _ in range(3):
        found = look(brantd, needles)
        nowhere_else(found, "brant-signer")
        assert somewhere(found, "brant-signer") >= 1, "it is not even where it must be: the test sees nothing"
        time.sleep(0.3)
    print(f"{busy[0]} handshakes meanwhile; signer: {found[[k for k in found if k[0] == 'brant-signer'][0]]}")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_configured_key_is_in_the_signer_alone(brantd, tmp_path, kind):
    """Its file is opened by the supervisor, which must not keep it; an old key is gone from the signer too."""
    authority = secure.Authority(tmp_path / "authority")
    chain, key = authority.issue(["mx.brant.test"], kind=kind)
    needles = key_needles(key)
    before = secure.configure(brantd, {"tls.certificate": f"{chain} {key}"})
    try:
        for service in ("submissions", "pop3s"):
            for version in ("1.2", "1.3"):
                with secure.session(brantd, service, version=version) as c:
                    assert c.sock.names() == ["mx.brant.test"]
        found = look(brantd, needles)
        nowhere_else(found, "brant-signer")
        assert somewhere(found, "brant-signer") >= 1
    finally:
        secure.restore(brantd, before)
    secure.session(brantd, "submissions").close()
    deadline = time.monotonic() + 10  # handshakes that began with it may end
    while True:
        found = look(brantd, needles)
        if sum(somewhere(found, role) for role in {name for name, _ in found}) == 0:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_a_restarted_signer_has_the_same_key(brantd):
    with secure.session(brantd, "submissions") as c:
        before = c.sock.peer()
    [signer] = brantd.roles("brant-signer")
    brantd.kill_role(signer)
    deadline = time.monotonic() + 10
    while True:
        try:
            with secure.session(brantd, "submissions") as c:
                assert c.sock.peer() == before
            break
        except (secure.Failed, wire.Closed, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_an_open_connection_does_not_notice_the_signers_death(brantd):
    user = brantd.account()
    c = secure.login(secure.session(brantd, "submissions"), "alice@brant.test")
    reader = secure.login(secure.session(brantd, "pop3s"), user)
    [signer] = brantd.roles("brant-signer")
    brantd.kill_role(signer)
    data = secure.message("alice@brant.test", user, "goes on")
    assert secure.submit(c, "alice@brant.test", user, data)[0] == 250
    assert reader.stat() == (0, 0)
    c.close()
    reader.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            secure.session(brantd, "submissions").close()
            break
        except (secure.Failed, wire.Closed, OSError, AssertionError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


# ---- what the processes may do ----

def rungs(brantd):
    status = json.loads(brantd.cli("--json", "status"))
    return {p["name"]: p["sandbox"] if "sandbox" in p else p["rungs"] for p in status["processes"]}


def state(rung):
    return rung if isinstance(rung, str) else rung["state"]


def test_the_rungs_are_proved(brantd):
    """Every role that knows a secret or speaks with strangers stands on all rungs that hold as root."""
    seen = rungs(brantd)
    names = {name.split("/")[0].split(" ")[0] for name in seen}
    assert any("signer" in n for n in names) and any("submission" in n for n in names), names
    for name, found in seen.items():
        if isinstance(found, list):
            found = {r["name"]: r for r in found}
        for rung in ("seccomp", "no_new_privs", "uid", "capabilities", "chroot"):
            assert state(found[rung]) == "enforced", f"{name}: {rung} is {found[rung]}"


def test_the_signer_has_no_network_and_the_edges_no_files(brantd):
    own = os.readlink("/proc/self/ns/net")
    for name in EDGES + ("brant-signer",):
        for p in brantd.roles(name):
            kinds = [os.readlink(f"/proc/{p.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{p.pid}/fd")]
            files = [k for k in kinds if k.startswith("/") and not k.startswith("/dev/")]
            if name in EDGES:
                assert files == [], f"{name} has files open: {files}"
            seen = os.listdir(f"/proc/{p.pid}/root/")
            assert seen == [] if name in EDGES else set(seen) <= {"tls.key", "tls.crt"}, f"{name} sees {seen}"
            with open(f"/proc/{p.pid}/status") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
            assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
            assert int(status["Uid"].split()[0]) >= 1000
    for p in brantd.roles("brant-signer"):
        with open(f"/proc/{p.pid}/net/tcp") as f, open(f"/proc/{p.pid}/net/tcp6") as g:
            listening = f.read().count(" 0A ") + g.read().count(" 0A ")
        assert os.readlink(f"/proc/{p.pid}/ns/net") == own or listening == 0


def test_uids_are_their_own(brantd):
    uids = {}
    for p in brantd.children():
        with open(f"/proc/{p.pid}/status") as f:
            uids.setdefault([line for line in f if line.startswith("Uid:")][0].split()[1], set()).add(p.name)
    assert all(len(names) == 1 for names in uids.values()), uids
    assert "0" not in uids


# ---- passwords (G7) ----

CANARY = "CanaryOfTheTest-7f3a9c51d2"


def password_needles(user, password):
    """The password, and what a client sent that holds it, in every form that it can be cut out of base64."""
    found = {"clear": password.encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + password.encode())
        found[f"base64, {shift}"] = encoded[4 if shift else 0:len(encoded) - 4]
    return found


def use_everywhere(brantd, user, good, bad):
    """The password goes in by every mechanism that carries it, right and wrong, in clear and under TLS."""
    for service in ("submission", "submissions", "pop3", "pop3s"):
        for password in (good, bad):
            with secure.session(brantd, service) as c:
                assert secure.auth(c, "PLAIN", secure.plain(user, password))[0] == (password == good)
            with secure.session(brantd, service) as c:
                assert secure.auth(c, "LOGIN", user.encode(), password.encode())[0] == (password == good)
            with secure.session(brantd, service) as c:
                assert secure.auth(c, "PLAIN", secure.plain(user, password), initial=False)[0] == (password == good)
    for password in (good, bad):
        c = secure.session(brantd, "pop3s")
        c.ok(f"USER {user}")
        assert c.command(f"PASS {password}").startswith(b"+OK" if password == good else b"-ERR")
        c.close()
        c = secure.greeted(brantd, "pop3")
        c.ok(f"USER {user}")
        assert c.command(f"PASS {password}").startswith(b"+OK" if password == good else b"-ERR")
        c.close()


def test_a_password_leaves_nothing_behind(brantd):
    """One second after it was checked no process holds it, neither in clear nor in base64, and the log never saw it;
    the sessions stay open meanwhile, so that nothing is gone only because its process is."""
    secure.configure(brantd, {"auth.failure_delay": "20 ms", "auth.account_failures": "1000", "auth.source_failures": "10000"})
    wrong = CANARY.replace("Canary", "WrongCanary")
    brantd.cli("account", "add", "canary@brant.test", "--password-stdin", stdin=CANARY + "\n")
    user = "canary@brant.test"
    needles = password_needles(user, CANARY)
    needles.update({"wrong, " + k: v for k, v in password_needles(user, wrong).items()})
    kept = secure.session(brantd, "submissions")
    secure.login(kept, user, CANARY)
    reader = secure.session(brantd, "pop3s")
    secure.login(reader, "alice@brant.test")
    use_everywhere(brantd, user, CANARY, wrong)
    half = secure.session(brantd, "submissions")
    half.send(b"AUTH PLAIN " + secure.b64(secure.plain(user, CANARY)).encode())  # and no end of the line: the typing goes on
    half.close()
    time.sleep(1)
    found = look(brantd, needles)
    for (name, pid), hits in found.items():
        assert not any(hits.values()), f"{name} ({pid}): {hits}"
    with open(os.path.join(brantd.directory, "log"), "rb") as f:
        log = f.read()
    for name, needle in needles.items():
        assert needle not in log, name
    kept.expect(250, "NOOP")
    kept.close()
    reader.close()


def test_the_password_test_can_fail(brantd):
    """What is being typed is in memory: the same look finds it there."""
    user, password = "alice@brant.test", "StillTyping-4c41d0aa93b7"
    c = secure.session(brantd, "submissions")
    c.send(b"AUTH PLAIN " + secure.b64(secure.plain(user, password)).encode())
    time.sleep(0.3)
    found = look(brantd, password_needles(user, password))
    assert somewhere(found, "brant-smtp") >= 1
    c.close()


def test_secrets_are_not_on_the_disk(brantd):
    """Passwords in no form but their verifiers, in no file of the data directory."""
    brantd.cli("account", "add", "ondisk@brant.test", "--password-stdin", stdin="OnTheDisk-91ab77e0\n")
    app = json.loads(brantd.cli("--json", "app-password", "add", "ondisk@brant.test", "phone"))["password"]
    with secure.session(brantd, "submissions") as c:
        secure.login(c, "ondisk@brant.test", "OnTheDisk-91ab77e0")
    with secure.session(brantd, "submissions") as c:
        secure.login(c, "ondisk@brant.test", app)
    looked = 0
    for path in glob.glob(os.path.join(brantd.directory, "**", "*"), recursive=True):
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            data = f.read()
        looked += 1
        for secret in ("OnTheDisk-91ab77e0", app, app.replace("-", "").replace(" ", "")):
            assert secret.encode() not in data, path
    assert looked > 3
