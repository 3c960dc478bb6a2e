"""The process frame under test: a system over roles that do as they are told (tests/frame/testrole.c), what they
say, and what the kernel says of their processes.

BRANT_FRAME is the directory of the frame's executables (default build/tests/frame beneath the source root)."""

import contextlib
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRAME = pathlib.Path(os.environ.get("BRANT_FRAME", ROOT / "build" / "tests" / "frame"))
NOBODY = 65534


def free_ports():
    """A base P whose ports of `brant demo` are free now, from the range of this test."""
    for base in range(21000 + os.getpid() % 80 * 10, 21990, 7):
        socks = []
        try:
            for port in (base + 25, base + 110, base + 143, base + 465, base + 587, base + 993, base + 995):
                s = socket.socket()
                socks.append(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in socks:
                s.close()
    raise RuntimeError("no free ports")


def wait_for(condition, seconds=5.0, what="condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"timed out after {seconds} s: {what}")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def as_user(uid):
    def drop():
        if uid != os.geteuid():
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)

    return drop


class Line:
    """A conversation with the line protocol of a test role, at a port of 127.0.0.1 or the path of a Unix socket."""

    def __init__(self, at, timeout=5):
        if isinstance(at, int):
            self.sock = socket.create_connection(("127.0.0.1", at), timeout=timeout)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(at)
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline().decode().strip()

    def secure(self):
        """Starts TLS; the certificate that was shown, in DER."""
        assert self.ask("tls") == "go ahead"
        self.file.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        said = self.file.readline()
        assert said.startswith(b"220 TLS"), said
        return self.sock.getpeercert(binary_form=True)

    def ask(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.file.readline().decode().strip()

    def close(self):
        self.file.close()
        self.sock.close()


def greeting(port):
    line = Line(port)
    try:
        return line.greeting
    finally:
        line.close()


def certificate(port):
    """What a new connection is shown, by TLS."""
    line = Line(port)
    try:
        return line.secure()
    finally:
        line.close()


class System:
    """A demo or server over the test roles, beneath a directory of its own. In `extra`, lines for the configuration,
    DIR is that directory and a port is written PORT+25; `prepare` is called with the system before it starts."""

    def __init__(self, uid, serve=False, extra="", limit_files=None, env=None, prepare=None):
        self.uid = uid
        self.dir = tempfile.mkdtemp(prefix="brant-sup-", dir="/tmp")
        os.chown(self.dir, uid, uid)
        self.base = free_ports()
        self.smtp, self.pop3, self.submission = self.base + 25, self.base + 110, self.base + 587
        self.serve = serve
        self.config = os.path.join(self.dir, "brant.conf")
        if prepare:
            prepare(self)
        if serve:
            self.write_config(extra)
            argv = [FRAME / "brant", "serve", "-c", self.config]
        else:
            argv = [FRAME / "brant", "demo", "--dir", self.dir, "--port-base", str(self.base)]

        def limit():
            if limit_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit_files, limit_files))
            as_user(uid)()

        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            preexec_fn=limit, env=dict(os.environ, **(env or {})))

    def write_config(self, extra="", smtp=None):
        with open(self.config, "w") as f:
            f.write(
                f"hostname = mx.brant.test\ndata_dir = {self.dir}/store\nrun_dir = {self.dir}\n"
                f"log_file = {self.dir}/log\nlisten.smtp = {smtp or f'127.0.0.1:{self.smtp}'}\n"
                f"listen.pop3 = 127.0.0.1:{self.pop3}\n{self.filled(extra)}\nlisten.imap = 127.0.0.1:{self.base + 143}\n")
        os.chown(self.config, self.uid, self.uid)

    def filled(self, text):
        return re.sub(r"PORT\+(\d+)", lambda m: str(self.base + int(m[1])), text.replace("DIR", self.dir))

    def path(self, name):
        return os.path.join(self.dir, name)

    def reload(self, event="reloaded"):
        """SIGHUP, and waits for the event that answers it."""
        before = self.log().count(f"event={event}")
        self.process.send_signal(signal.SIGHUP)
        try:
            wait_for(lambda: self.log().count(f"event={event}") > before, 20, event)
        except AssertionError as e:
            raise AssertionError(f"{e}; the log ends:\n{self.log()[-3000:]}") from None

    def make_pair(self, name, mode=0o600):
        """A certificate and its key, NAME.crt and NAME.key, which whoever starts the system can read; in DER."""
        openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                   "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                   "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt")]
        subprocess.run(openssl, check=True, capture_output=True, timeout=30)
        for path in (self.path(name + ".crt"), self.path(name + ".key")):
            os.chown(path, self.uid, self.uid)
            os.chmod(path, mode)
        return ssl.PEM_cert_to_DER_cert(pathlib.Path(self.path(name + ".crt")).read_text())

    def wait_ready(self):
        def up():
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read().decode() + self.log())
            return "event=ready" in self.log()

        wait_for(up, 10, "ready")
        return self

    def log(self):
        try:
            return pathlib.Path(self.dir, "log").read_text()
        except FileNotFoundError:
            return ""

    def cli(self, *args, uid=None):
        return subprocess.run([FRAME / "brant", "--dir", self.dir, *args], capture_output=True, text=True, timeout=20,
                              preexec_fn=as_user(self.uid if uid is None else uid))

    def status(self):
        out = self.cli("status", "--json")
        assert out.returncode == 0, out.stderr
        return json.loads(out.stdout)

    def processes(self):
        return {p["name"]: p for p in self.status()["processes"]}

    def pids(self):
        return {name: p["pid"] for name, p in self.processes().items()}

    def figures(self, name):
        return self.processes()[name]["figures"]

    def restarted(self, name, old_pid, seconds=2.0):
        def new():
            p = self.processes()[name]
            return p["running"] and p["pid"] != old_pid and p["pid"]

        return wait_for(new, seconds, f"restart of {name}")

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            out, err = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out.decode(), err.decode()

    def clean(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)


@contextlib.contextmanager
def system(uid, **options):
    s = System(uid, **options)
    try:
        s.wait_ready()
        yield s
    finally:
        s.clean()


UIDS = [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()]


def every_user(test):
    """As root a test runs as root and as an ordinary user; otherwise as whoever we are."""

    @functools.wraps(test)
    def run(self):
        for uid in UIDS:
            with self.subTest(uid=uid):
                test(self, uid)

    return run


def descriptors(pid):
    """{number: (kind, target)}"""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed in between
        kind = "null" if target == "/dev/null" else "file" if target.startswith("/") else target.split(":")[0]
        found[int(fd)] = (kind, target)
    return found


def kinds(pid):
    return sorted(kind for kind, _ in descriptors(pid).values())


def proc_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.split(":\t", 1) for line in f if ":\t" in line)
