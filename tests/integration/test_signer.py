"""The signer as a process: stopped, stuck, and given files that are no use; Unix sockets of services and who is trusted there."""
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import time

import pytest

import secure
from brantd import BRANT, free_port_base


def handshake(brantd, service="pop3s"):
    """The certificate that is shown, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", secure.port(brantd, service)), timeout=15) as s:
        with context.wrap_socket(s) as tls:
            assert tls.recv(100)
            return tls.getpeercert(binary_form=True)


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_a_signer_that_stands_still_is_replaced(brantd):
    before = handshake(brantd)
    log = secure.Log(brantd)
    [signer] = brantd.roles("brant-signer")
    os.kill(signer.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(brantd)
    assert time.monotonic() - start < 6
    assert log.wait("event=peer-fault ", "no answer in time")
    wait_for(lambda: [p for p in brantd.roles("brant-signer") if p.pid != signer.pid])
    wait_for(lambda: log.lines("event=role-ready", "name=signer"))
    assert handshake(brantd) == before
    assert handshake(brantd, "submissions") == before


def test_plain_sessions_do_not_need_the_signer(brantd):
    [signer] = brantd.roles("brant-signer")
    with brantd.smtp() as s:
        s.ehlo()
        os.kill(signer.pid, signal.SIGSTOP)
        try:
            s.expect(250, "NOOP")
            with brantd.smtp() as other:
                other.ehlo()
        finally:
            os.kill(signer.pid, signal.SIGCONT)


def test_the_keys_directory_is_the_signers(own_brantd):
    keys = os.path.join(own_brantd.directory, "keys")
    assert stat.S_IMODE(os.stat(keys).st_mode) == 0o700
    for name in os.listdir(keys):
        assert stat.S_IMODE(os.stat(os.path.join(keys, name)).st_mode) == 0o600, name
    if os.geteuid() == 0:
        assert os.stat(keys).st_uid != os.stat(os.path.join(own_brantd.directory, "store")).st_uid


def test_a_start_with_a_bad_key_says_why(tmp_path):
    """Nothing half started: the reason on standard error or in the log, and status 1."""
    config = tmp_path / "brant.conf"
    base = free_port_base()
    bad = tmp_path / "bad.pem"

    def start(chain, key):
        config.write_text(f"hostname = mx.brant.test\ndata_dir = {tmp_path}/store\nkeys_dir = {tmp_path}/keys\n"
                          f"run_dir = {tmp_path}\nlog_file = {tmp_path}/log\nlisten.smtp = 127.0.0.1:{base + 25}\n"
                          f"listen.pop3 = none\nlisten.imap = none\ntls.certificate = {chain} {key}\n")
        (tmp_path / "log").write_text("")
        done = subprocess.run([BRANT, "serve", "-c", str(config)], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stderr, (tmp_path / "log").read_text()

    status, said, _ = start(tmp_path / "missing.crt", tmp_path / "missing.key")
    assert status == 1
    assert "missing.crt" in said and "No such file" in said
    bad.write_text("nothing of use\n")
    status, said, log = start(bad, bad)
    assert status == 1
    assert "signer could not start" in said
    assert f"{bad}" in log and "no private key" in log
    bad.write_text("")
    status, said, log = start(bad, bad)
    assert status == 1 and "no private key" in log
    status, said, _ = start(tmp_path, tmp_path)
    assert status == 1 and "is not a file" in said


# ---- Unix sockets ----

def test_unix_sockets_come_and_go(own_brantd):
    paths = [os.path.join(own_brantd.directory, name) for name in ("submission.sock", "lmtp.sock")]
    for path in paths:
        assert stat.S_ISSOCK(os.stat(path).st_mode)
    # Killed without a chance to tidy up, it starts again all the same.
    roles = own_brantd.children()
    own_brantd.process.kill()
    own_brantd.process.wait()
    assert not [p for p in roles if own_brantd.still_there(p, 10)]
    assert all(os.path.exists(p) for p in paths)
    own_brantd.start()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(paths[0])
        assert s.recv(200).startswith(b"220 ")
    assert own_brantd.stop() == []
    assert not any(os.path.exists(p) for p in paths)
    own_brantd.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs somebody else's uid")
def test_who_is_trusted_on_the_unix_socket(own_brantd):
    path = os.path.join(own_brantd.directory, "submission.sock")
    os.chmod(own_brantd.directory, 0o755)
    for parent in (os.path.dirname(own_brantd.directory), os.path.dirname(os.path.dirname(own_brantd.directory))):
        os.chmod(parent, 0o755)
    script = ("import os, socket, sys\n"
              "uid = int(sys.argv[1])\n"
              "os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)\n"
              "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[2])\n"
              "s.recv(500); s.sendall(b'EHLO x\\r\\n'); said = s.recv(2000)\n"
              "s.sendall(b'AUTH EXTERNAL YWxpY2VAYnJhbnQudGVzdA==\\r\\n'); print(said, s.recv(500))\n")
    answers = {}
    for uid in (0, 54321):
        done = subprocess.run(["/usr/bin/python3", "-c", script, str(uid), path], capture_output=True, text=True, timeout=30)
        answers[uid] = done.stdout + done.stderr
    assert "235" in answers[0], answers
    assert not re.search(r"\b235\b", answers[54321]), answers
