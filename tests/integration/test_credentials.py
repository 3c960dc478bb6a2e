"""The commands about passwords, app passwords, certificates, senders and the queue: while the server runs, and while it
does not; for people and for programs."""
import hashlib
import json
import ssl
import subprocess

import pytest

from brantd import BRANT, PASSWORD
from wire import Pop3

SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
FINGERPRINT = "00" * 31 + "ab"


@pytest.fixture(params=["running", "stopped"])
def server(request, tmp_path):
    """A server that runs, or one that did: the commands work all the same."""
    from brantd import Brantd
    s = Brantd(tmp_path / "demo").start()
    if request.param == "stopped":
        assert not s.stop()
    yield s
    if s.process:
        assert not s.stop()


def refused(server, *args, status=1):
    """The reason."""
    done = subprocess.run([BRANT, "--dir", server.directory, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done
    assert done.stderr.startswith("brant: ") and not done.stdout, done
    return done.stderr


def documents(server, *args):
    return json.loads(server.cli("--json", *args))


def test_app_passwords(server):
    assert "no app passwords" in server.cli("app-password", "list", "alice@brant.test")
    made = documents(server, "app-password", "add", "alice@brant.test", "old phone", "--protocols", "pop3", "--expires", "90d")
    assert made["done"] is True and len(made["password"]) == 29
    text = server.cli("app-password", "add", "alice@brant.test", "laptop")
    assert "password: " in text and made["password"] not in text
    server.cli("app-password", "add", "alice@brant.test", "tablet", "--expires", "2099-12-31", "--protocols", "imap,submission")
    rows = {r["name"]: r for r in documents(server, "app-password", "list", "alice@brant.test")["app_passwords"]}
    assert set(rows) == {"old phone", "laptop", "tablet"}
    assert rows["old phone"]["protocols"] == ["pop3"] and rows["laptop"]["expires_at_s"] == 0
    assert rows["old phone"]["expires_at_s"] - rows["old phone"]["created_at_s"] in range(90 * 86400 - 60, 90 * 86400 + 60)
    assert set(rows["tablet"]["protocols"]) == {"imap", "submission"} and rows["tablet"]["expires_at_s"] == 4102444800
    assert made["password"] not in server.cli("app-password", "list", "alice@brant.test")
    shown = {a["address"]: a for a in documents(server, "account", "list")["accounts"]}
    assert shown["alice@brant.test"]["app_passwords"] == 3 and shown["bob@brant.test"]["app_passwords"] == 0
    assert "of that name already" in refused(server, "app-password", "add", "alice@brant.test", "laptop")
    assert "no such account" in refused(server, "app-password", "add", "nobody@brant.test", "x")
    assert "no such account" in refused(server, "app-password", "list", "nobody@brant.test")
    refused(server, "app-password", "add", "alice@brant.test", "x", "--expires", "soon", status=2)
    refused(server, "app-password", "add", "alice@brant.test", "x", "--protocols", "gopher", status=2)
    refused(server, "app-password", "add", "alice@brant.test", status=2)
    server.cli("app-password", "remove", "alice@brant.test", "laptop")
    assert "none of that name" in refused(server, "app-password", "remove", "alice@brant.test", "laptop")
    assert len(documents(server, "app-password", "list", "alice@brant.test")["app_passwords"]) == 2


def test_certificates(server, tmp_path):
    pem, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", pem,
                    "-subj", "/CN=alice", "-days", "2"], check=True, capture_output=True)
    sha256 = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read_text())).hexdigest()
    server.cli("certificate", "add", "alice@brant.test", "card", str(pem))
    colons = ":".join(FINGERPRINT[i:i + 2].upper() for i in range(0, 64, 2))
    server.cli("certificate", "add", "alice@brant.test", "token", colons, "--protocols", "submission", "--expires", "12h")
    rows = {r["name"]: r for r in documents(server, "certificate", "list", "alice@brant.test")["certificates"]}
    assert rows["card"]["sha256"] == sha256 and rows["token"]["sha256"] == FINGERPRINT
    assert sha256 in server.cli("certificate", "list", "alice@brant.test")
    assert "knows this certificate" in refused(server, "certificate", "add", "bob@brant.test", "card", str(pem))
    assert "neither a certificate" in refused(server, "certificate", "add", "bob@brant.test", "card", str(key))
    assert "neither a certificate" in refused(server, "certificate", "add", "bob@brant.test", "card", FINGERPRINT[:-1])
    server.cli("certificate", "remove", "alice@brant.test", "card")
    server.cli("certificate", "add", "bob@brant.test", "card", str(pem))


def test_senders(server):
    server.cli("send-as", "add", "alice@brant.test", "Team@Example.ORG")
    server.cli("send-as", "add", "alice@brant.test", "@club.example", "--expires", "30d")
    rows = {r["name"]: r for r in documents(server, "send-as", "list", "alice@brant.test")["send_as"]}
    assert set(rows) == {"team@example.org", "@club.example"} and "protocols" not in rows["@club.example"]
    assert "@club.example" in server.cli("send-as", "list", "alice@brant.test")
    assert "not an address" in refused(server, "send-as", "add", "alice@brant.test", "team")
    server.cli("send-as", "remove", "alice@brant.test", "team@example.ORG")
    assert "none of that name" in refused(server, "send-as", "remove", "alice@brant.test", "team@example.ORG")


def test_accounts_from_elsewhere(server):
    server.cli("account", "add", "moved@brant.test", "--password-hash", SHA512)
    server.cli("account", "set", "bob@brant.test", "--password-hash", "{CRYPT}" + SHA512, "--sent-copy", "on")
    shown = {a["address"]: a for a in documents(server, "account", "list")["accounts"]}
    for name in ("moved@brant.test", "bob@brant.test"):
        assert shown[name]["has_password"] and not shown[name]["has_scram"]
    assert shown["bob@brant.test"]["sent_copy"] and not shown["moved@brant.test"]["sent_copy"] and shown["alice@brant.test"]["has_scram"]
    assert "MD5" in refused(server, "account", "add", "weak@brant.test", "--password-hash", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/")
    assert "whole hash" in refused(server, "account", "add", "cut@brant.test", "--password-hash", SHA512[:-1])
    refused(server, "account", "set", "bob@brant.test", "--sent-copy", "maybe", status=2)
    refused(server, "account", "set", "bob@brant.test", status=2)
    if not server.process:
        server.start()
    for name in ("moved@brant.test", "bob@brant.test"):
        with Pop3(server.pop3_port) as p:
            p.ok(f"USER {name}")
            p.ok("PASS Hello world!")
    with Pop3(server.pop3_port) as p:
        p.ok("USER alice@brant.test")
        p.ok(f"PASS {PASSWORD}")


def test_an_empty_queue(server):
    assert "empty" in server.cli("queue", "list")
    assert documents(server, "queue", "list", "@example.org") == {"queue": []}
    refused(server, "queue", "remove", "1-0")
    assert "not an id" in refused(server, "queue", "remove", "all")
