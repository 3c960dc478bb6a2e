"""A brant demo under test: start, stop, find its processes, read its mailboxes over POP3."""
import json
import os
import poplib
import random
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BRANT = os.environ.get("BRANT_BIN", os.path.join(ROOT, "build", "bin", "brant"))
PASSWORD = "brant-demo"


def free_port_base():
    """A base P whose ports of all services are free now."""
    for _ in range(200):
        base = random.randrange(30000, 60000)
        try:
            for port in (base + n for n in (25, 110, 143, 465, 587, 993, 995)):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


class System:
    def __init__(self, directory):
        self.directory = directory
        self.data = os.path.join(directory, "store")
        self.base = free_port_base()
        self.process = None

    @property
    def smtp_port(self):
        return self.base + 25

    @property
    def pop3_port(self):
        return self.base + 110

    @property
    def pop3s_port(self):
        return self.base + 995

    @property
    def imap_port(self):
        return self.base + 143

    @property
    def imaps_port(self):
        return self.base + 993

    @property
    def submission_port(self):
        return self.base + 587

    @property
    def submissions_port(self):
        return self.base + 465

    def start(self, timeout=60):
        self.process = subprocess.Popen([BRANT, "demo", "--dir", self.directory, "--port-base", str(self.base)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=open(self.directory + ".stderr", "ab"), text=True)
        deadline = time.monotonic() + timeout
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
            if time.monotonic() > deadline:
                break
        raise RuntimeError(f"brant demo did not get ready; see {self.directory}.stderr")

    def configure(self, keys):
        """Adds to the configuration, which every start of the demo writes anew, and has it read."""
        with open(os.path.join(self.directory, "brant.conf"), "a") as f:
            f.writelines(f"{key} = {value}\n" for key, value in keys.items())
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """Ends it politely; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def children(self):
        """{name: [pid, …]} of the roles, read from /proc."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as f:
                    stat = f.read()
            except OSError:
                continue
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            state, parent = stat[stat.rindex(")") + 2:].split()[:2]
            if int(parent) == self.process.pid and state != "Z":
                found.setdefault(name, []).append(int(entry))
        return found

    def submission_pid(self, timeout=30):
        """The instance of brant-smtp that serves users: its name is in the status only."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            shown = self.cli("status", "--json")
            if shown.returncode == 0:
                pids = [p["pid"] for p in json.loads(shown.stdout)["processes"] if "submission" in p["name"] and p["running"]]
                if pids:
                    return pids[0]
            time.sleep(0.1)
        raise RuntimeError(f"no submission process within {timeout} s")

    def wait_for_child(self, name, not_pid=None, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            pids = [p for p in self.children().get(name, []) if p != not_pid]
            if pids:
                return pids[0]
            time.sleep(0.02)
        raise RuntimeError(f"{name} was not started again within {timeout} s")

    def kill_supervisor(self):
        """SIGKILL; returns the pids of roles that were still there after ten seconds."""
        pids = [p for group in self.children().values() for p in group]
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        deadline = time.monotonic() + 10
        while pids and time.monotonic() < deadline:
            pids = [p for p in pids if os.path.exists(f"/proc/{p}") and not zombie(p)]
            time.sleep(0.02)
        return pids

    def cli(self, *args, stdin=None, timeout=60):
        return subprocess.run([BRANT, "--dir", self.directory, *args], input=stdin, capture_output=True, text=True,
                              timeout=timeout)

    def mailbox(self, address, timeout=60):
        """Every message of an account, as stored."""
        pop = poplib.POP3("127.0.0.1", self.pop3_port, timeout=timeout)
        try:
            pop.user(address)
            pop.pass_(PASSWORD)
            count = pop.stat()[0]
            return [b"".join(line + b"\r\n" for line in pop.retr(i + 1)[1]) for i in range(count)]
        finally:
            pop.quit()


def zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            stat = f.read()
        return stat[stat.rindex(")") + 2] == "Z"
    except OSError:
        return True
