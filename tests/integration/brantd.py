"""A `brant demo` under test: started in a directory of its own on free ports, stopped, and checked for what it leaves."""
import os
import random
import resource
import signal
import socket
import subprocess
import time

import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BRANT = os.environ.get("BRANT_BIN", os.path.join(ROOT, "build", "bin", "brant"))
PASSWORD = "brant-demo"
DOMAIN = "brant.test"


# What `brant demo` opens, by what is added to the base.
PORTS = (25, 110, 143, 465, 587, 993, 995)


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port_base():
    """A base P whose ports of all services are free now. BRANT_PORTS=LOW-HIGH bounds the choice."""
    low, high = (int(n) for n in os.environ.get("BRANT_PORTS", "20000-31000").split("-"))
    for _ in range(200):
        base = random.randrange(low, high - max(PORTS))
        if all(is_free(base + port) for port in PORTS):
            return base
    raise RuntimeError("no free ports")


class Process:
    """What /proc says of one process."""

    def __init__(self, pid, name, parent, state, ticks):
        self.pid, self.name, self.parent, self.state, self.ticks = pid, name, parent, state, ticks

    @staticmethod
    def read(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                stat = f.read()
        except OSError:
            return None
        name = stat[stat.index("(") + 1:stat.rindex(")")]
        rest = stat[stat.rindex(")") + 2:].split()
        return Process(int(pid), name, int(rest[1]), rest[0], int(rest[11]) + int(rest[12]))

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0


def processes():
    return [p for p in (Process.read(e) for e in os.listdir("/proc") if e.isdigit()) if p]


class Brantd:
    def __init__(self, directory):
        self.directory = str(directory)
        self.output = self.directory + ".out"
        self.base = free_port_base()
        self.process = None
        self.accounts_made = 0

    smtp_port = property(lambda self: self.base + 25)
    pop3_port = property(lambda self: self.base + 110)

    # ---- life ----

    def start(self, timeout=60, open_files=None):
        """`open_files`: the most descriptors that each process may have."""
        if not os.path.exists(BRANT):
            raise RuntimeError(f"{BRANT} is missing: build first (./run --build)")
        with open(self.output, "ab") as out:
            start = out.tell()
            self.process = subprocess.Popen([BRANT, "demo", "--dir", self.directory, "--port-base", str(self.base)],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                            preexec_fn=open_files and (lambda: resource.setrlimit(
                                                resource.RLIMIT_NOFILE, (open_files, open_files))))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with open(self.output, "rb") as f:
                f.seek(start)
                if b"ready" in (line.strip() for line in f):
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("brant demo did not get ready:\n" + self.log_tail())

    def stop(self):
        """Ends it politely. Returns what is wrong with how it went, [] when nothing is."""
        if not self.process:
            return []
        mine = self.children()
        wrong = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        else:
            wrong.append(f"brant had ended by itself with status {self.process.returncode}")
        try:
            status = self.process.wait(timeout=30)
            if status != 0 and not wrong:
                wrong.append(f"brant ended with status {status}")
        except subprocess.TimeoutExpired:
            wrong.append("brant did not end within 30 s of SIGTERM")
            self.process.kill()
            self.process.wait()
        left = [p for p in mine if self.still_there(p, 5)]
        for p in left:
            wrong.append(f"{p.name} ({p.pid}) was left running")
            os.kill(p.pid, signal.SIGKILL)
        self.process = None
        return wrong

    @staticmethod
    def still_there(process, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = Process.read(process.pid)
            if not now or now.name != process.name or now.state == "Z":
                return False
            time.sleep(0.02)
        return True

    def log_tail(self, lines=60):
        """The ends of what it printed and of its log."""
        text = []
        for path in (self.output, os.path.join(self.directory, "log")):
            try:
                with open(path, "rb") as f:
                    f.seek(max(0, os.path.getsize(path) - 64 * 1024))
                    text += [f"-- {path}"] + f.read().decode("utf-8", "replace").splitlines()[-lines:]
            except OSError as e:
                text.append(str(e))
        return "\n".join(text)

    def reconfigure(self, **keys):
        """Sets keys in the configuration and has it read again; the values that were there."""
        path = os.path.join(self.directory, "brant.conf")
        with open(path) as f:
            lines = f.read().splitlines()
        before = {}
        for key, value in keys.items():
            at = [n for n, line in enumerate(lines) if line.split("=")[0].strip() == key]
            before[key] = lines[at[0]].split("=", 1)[1].strip()
            lines[at[0]] = f"{key} = {value}"
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        return before

    # ---- processes ----

    def children(self):
        """The roles that run, descendants of the supervisor."""
        everything = processes()
        found, level = [], {self.process.pid}
        while level:
            below = [p for p in everything if p.parent in level and p.state != "Z"]
            found += below
            level = {p.pid for p in below}
        return found

    def roles(self, name):
        same = [p for p in self.children() if p.name == name]
        pids = {p.pid for p in same}
        return [p for p in same if p.parent not in pids]  # not what a starting role forks to prove its sandbox

    def kill_role(self, process, timeout=15):
        """SIGKILL, then waits until as many processes of that name run as before; returns the seconds it took."""
        count = len(self.roles(process.name))
        start = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        while time.monotonic() - start < timeout:
            now = self.roles(process.name)
            if len(now) >= count and process.pid not in [p.pid for p in now]:
                return time.monotonic() - start
            time.sleep(0.02)
        raise AssertionError(f"{process.name} was not started again within {timeout} s")

    def resident_bytes(self):
        """{role name: the largest resident size of its processes}."""
        sizes = {}
        for p in self.children():
            try:
                sizes[p.name] = max(sizes.get(p.name, 0), p.resident_bytes())
            except OSError:
                pass
        return sizes

    # ---- use ----

    def cli(self, *args, status=0, stdin=None, timeout=60):
        """Runs `brant --dir DIR ARGS…`; standard output. Fails unless it exits with `status` (None: any)."""
        done = subprocess.run([BRANT, "--dir", self.directory, *args], input=stdin, capture_output=True, text=True,
                              timeout=timeout)
        if status is not None:
            assert done.returncode == status, f"brant {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def account(self, local=None, quota=None):
        """A new account; its address."""
        self.accounts_made += 1
        address = f"{local or f't{self.accounts_made}'}@{DOMAIN}"
        extra = ["--quota", quota] if quota else []
        self.cli("account", "add", address, "--password-stdin", *extra, stdin=PASSWORD + "\n")
        return address

    def smtp(self, **kwargs):
        return wire.Smtp(self.smtp_port, **kwargs)

    def pop3(self, address, **kwargs):
        return wire.Pop3(self.pop3_port, address, PASSWORD, **kwargs)

    def send(self, recipient, message, sender="sender@example.org", utf8=False):
        """Delivers one message; the final reply."""
        recipients = [recipient] if isinstance(recipient, str) else recipient
        with self.smtp() as s:
            s.ehlo()
            s.expect(250, f"MAIL FROM:<{sender}>" + (" SMTPUTF8" if utf8 else ""))
            for r in recipients:
                s.expect(250, f"RCPT TO:<{r}>")
            return s.data(message)

    def mailbox(self, address):
        """Every message of an account as it is stored."""
        with self.pop3(address) as p:
            return [p.retr(n) for n in range(1, p.stat()[0] + 1)]

    def empty(self, address):
        with self.pop3(address) as p:
            for n in range(1, p.stat()[0] + 1):
                p.command(f"DELE {n}")
