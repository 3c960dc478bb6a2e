"""The process frame, with roles that do as they are told (tests/frame/testrole.c): restarts, the sandbox,
descriptors, hostile roles, reload, the control socket, descriptor exhaustion, orderly and disorderly ends.

Runs with pytest or `python3 -m unittest`. Environment: BRANT_FRAME, the directory of the frame's executables
(default build/tests/frame beneath the source root). As root every test runs twice: as root and as an
ordinary user."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRAME = pathlib.Path(os.environ.get("BRANT_FRAME", ROOT / "build" / "tests" / "frame"))
NOBODY = 65534
FOREIGN = 54321


def free_ports():
    """A base P whose ports of `brant demo` are free now, from the range of this test."""
    for base in range(21000 + os.getpid() % 80 * 10, 21990, 7):
        socks = []
        try:
            for port in (base + 25, base + 110, base + 465, base + 587, base + 995):
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
    """A conversation with the line protocol of a test role."""

    def __init__(self, port, timeout=5):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline().decode().strip()

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


class System:
    """A demo or server over the test roles, beneath a directory of its own."""

    def __init__(self, uid, serve=False, extra="", limit_files=None, env=None):
        self.uid = uid
        self.dir = tempfile.mkdtemp(prefix="brant-sup-", dir="/tmp")
        os.chown(self.dir, uid, uid)
        self.base = free_ports()
        self.smtp, self.pop3 = self.base + 25, self.base + 110
        self.serve = serve
        self.config = os.path.join(self.dir, "brant.conf")
        if serve:
            self.write_config(extra)
            argv = [FRAME / "brant", "serve", "-c", self.config]
        else:
            argv = [FRAME / "brant", "demo", "--dir", self.dir, "--port-base", str(self.base)]

        def prepare():
            if limit_files:
                import resource

                resource.setrlimit(resource.RLIMIT_NOFILE, (limit_files, limit_files))
            as_user(uid)()

        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            preexec_fn=prepare, env=dict(os.environ, **(env or {})))

    def write_config(self, extra="", smtp=None):
        with open(self.config, "w") as f:
            f.write(
                f"hostname = mx.brant.test\ndata_dir = {self.dir}/store\nrun_dir = {self.dir}\n"
                f"log_file = {self.dir}/log\nlisten.smtp = {smtp or f'127.0.0.1:{self.smtp}'}\n"
                f"listen.pop3 = 127.0.0.1:{self.pop3}\n{extra}\n")
        os.chown(self.config, self.uid, self.uid)

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


def proc_status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.split(":\t", 1) for line in f if ":\t" in line)


class Frame(unittest.TestCase):
    @every_user
    def test_demo_contract(self, uid):
        s = System(uid)
        try:
            s.wait_ready()
            pids = s.pids()
            code, out, _ = s.stop(signal.SIGINT)
            self.assertEqual(code, 0)
            lines = out.splitlines()
            self.assertEqual(lines.count("ready"), 1)
            self.assertEqual(lines[-1], "ready")
            self.assertIn("curl", out)
            for port in (s.smtp, s.pop3, s.base + 465, s.base + 587, s.base + 995):
                self.assertRegex(out, rf"(?m)\b{port}  (SMTP|POP3|submission)")
            for pid in pids.values():
                self.assertFalse(alive(pid))
            self.assertFalse(os.path.exists(os.path.join(s.dir, "control.sock")))
        finally:
            s.clean()

    @every_user
    def test_restart_with_the_socket_open(self, uid):
        """kill -9 of the only instance: a connection made meanwhile waits in the backlog and is served."""
        with system(uid) as s:
            for _ in range(3):
                pid = s.pids()["pop3-1"]
                started = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                line = Line(s.pop3)
                took = time.monotonic() - started
                self.assertEqual(line.greeting, "220 hello")
                self.assertNotEqual(line.ask("pid"), str(pid))
                self.assertLess(took, 1.5)
                line.close()

    @every_user
    def test_restart_of_the_store_gives_new_channels(self, uid):
        with system(uid) as s:
            line = Line(s.smtp)
            self.assertEqual(line.ask("ask"), "verdict")
            old = s.pids()
            os.kill(old["store"], signal.SIGKILL)
            s.restarted("store", old["store"])
            self.assertEqual(line.ask("ask"), "verdict")
            new = s.pids()
            self.assertEqual({k: v for k, v in old.items() if k != "store"},
                             {k: v for k, v in new.items() if k != "store"})
            line.close()

    @every_user
    def test_nothing_left_after_kill_of_the_supervisor(self, uid):
        with system(uid) as s:
            pids = s.pids().values()
            s.process.kill()
            s.process.wait()
            for pid in pids:
                wait_for(lambda p=pid: not alive(p), 2, f"end of {pid}")

    @every_user
    def test_every_death_is_followed_by_a_restart(self, uid):
        """Assertion, forbidden system calls: the log says why, the role is back."""
        with system(uid) as s:
            for word, reason in (("abort", "Aborted"), ("exec", "a system call its sandbox forbids"),
                                 ("socket", "a system call its sandbox forbids")):
                old = s.pids()["pop3-1"]
                line = Line(s.pop3)
                self.assertEqual(line.ask(word), "")
                line.close()
                s.restarted("pop3-1", old, 3)
                self.assertIn(reason, s.log())

    def test_back_off_stays_within_a_second(self):
        with system(UIDS[-1]) as s:
            for n in range(7):
                line = Line(s.pop3)
                started = time.monotonic()
                self.assertEqual(line.ask("abort"), "")
                line.close()
                again = Line(s.pop3)
                took = time.monotonic() - started
                again.close()
                self.assertLess(took, 1.7, f"death {n}")


    @every_user
    def test_isolation_by_connection(self, uid):
        """Every session has a process of its own; the next one waits for a free process."""
        with system(uid, serve=True, extra="isolation.pop3 = connection\ninstances.pop3 = 2") as s:
            seen = set()
            for _ in range(3):
                a, b = Line(s.pop3), Line(s.pop3)
                pids = {a.ask("pid"), b.ask("pid")}
                self.assertEqual(len(pids), 2)
                self.assertFalse(pids & seen)
                seen |= pids
                third = socket.create_connection(("127.0.0.1", s.pop3), timeout=3)
                third.settimeout(0.2)
                with self.assertRaises(TimeoutError):
                    third.recv(1)
                a.close()
                third.settimeout(3)
                self.assertEqual(third.recv(100), b"220 hello\r\n")
                third.close()
                b.close()
            self.assertNotIn("level=error", s.log())
            wait_for(lambda: all(p["running"] for p in s.processes().values()), 3, "free processes")
            self.assertEqual({name: p["restarts"] for name, p in s.processes().items() if p["restarts"]}, {})


class Sandbox(unittest.TestCase):
    @every_user
    def test_every_rung_is_reported_and_proved(self, uid):
        with system(uid) as s:
            for name, p in s.processes().items():
                rungs = {r["name"]: r for r in p["sandbox"]}
                self.assertEqual(
                    set(rungs), {"rlimits", "network", "chroot", "uid", "capabilities", "no_new_privs",
                                 "landlock", "seccomp"})
                for r in rungs.values():
                    self.assertTrue(r["proof"], r)
                must = ["rlimits", "no_new_privs", "seccomp", "capabilities"]
                if uid == 0:
                    must += ["uid", "chroot"]
                for rung in must:
                    self.assertEqual(rungs[rung]["state"], "enforced", (name, rungs[rung]))

    @every_user
    def test_from_outside(self, uid):
        """What the kernel says about the processes, not what they say about themselves."""
        with system(uid) as s:
            uids = set()
            for name, pid in s.pids().items():
                fields = proc_status(pid)
                self.assertEqual(fields["NoNewPrivs"].strip(), "1")
                self.assertEqual(fields["Seccomp"].strip(), "2")
                for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                    self.assertEqual(int(fields[caps], 16), 0, (name, caps))
                if uid == 0:
                    self.assertEqual(int(fields["CapBnd"], 16), 0)
                    self.assertNotEqual(os.readlink(f"/proc/{pid}/root"), "/")
                    self.assertEqual(fields["Groups"].strip(), "")
                    uids.add((name.rsplit("-", 1)[0], fields["Uid"].split()[0]))
                    self.assertNotIn("\t0", fields["Uid"])
                self.assertEqual(fields["Umask"].strip(), "0077")
            if uid == 0:
                self.assertEqual(len({u for _, u in uids}), 5, "a uid per role")
                caps = proc_status(s.process.pid)
                self.assertLess(bin(int(caps["CapBnd"], 16)).count("1"), 12, "the supervisor is bounded")

    @every_user
    def test_files_are_out_of_reach(self, uid):
        with system(uid) as s:
            line = Line(s.smtp)
            self.assertNotEqual(line.ask("file"), "0")
            who = line.ask("uid").split()
            self.assertNotEqual(who[0], "0")
            line.close()

    @every_user
    def test_serve_needs_no_environment(self, uid):
        """serve, and not only demo, climbs the same ladder."""
        with system(uid, serve=True) as s:
            self.assertEqual(s.process.poll(), None)
            self.assertEqual(sorted(s.processes()), ["pop3-1", "signer", "smtp-mx-1", "smtp-mx-2", "store"])
            code, _, err = s.stop()
            self.assertEqual(code, 0, err)


class Descriptors(unittest.TestCase):
    def describe(self, pid):
        found = {}
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            kind = ("null" if target == "/dev/null" else target.split(":")[0])
            found[int(fd)] = (kind, target)
        return found

    @every_user
    def test_no_surprises(self, uid):
        """J4: every process has what it was given and nothing else; nothing of ours is readable by others."""
        stray = os.open("/etc/passwd", os.O_RDONLY)
        os.set_inheritable(stray, True)
        try:
            with system(uid) as s:
                for name, pid in s.pids().items():
                    found = self.describe(pid)
                    kinds = [kind for kind, _ in found.values()]
                    self.assertEqual(found[0][0], "null")
                    self.assertEqual(found[1][0], "null")
                    self.assertEqual(found[2][0], "pipe")
                    self.assertEqual(found[3][0], "socket")
                    self.assertEqual(found[4][0], "pipe")
                    allowed = {"null", "pipe", "socket", "anon_inode"}
                    self.assertLessEqual(set(kinds), allowed, found)
                    self.assertEqual(kinds.count("null"), 2, found)
                    edges = 4
                    # The control channel; listeners; the store and the signer (twice), or everybody who asks.
                    sockets = {"store": 1 + edges, "signer": 1 + 2 * edges, "smtp-submission-1": 1 + 3 + 3}.get(name, 1 + 2 + 3)
                    self.assertEqual(kinds.count("socket"), sockets, (name, found))
                    self.assertLessEqual(kinds.count("pipe"), 4, found)  # 2 of ours, libevent's own pair
                for path, _, files in os.walk(s.dir):
                    for f in files:
                        full = os.path.join(path, f)
                        mode = os.lstat(full).st_mode
                        if f == "submission.sock":  # for everybody, who logs in there
                            self.assertTrue(stat.S_ISSOCK(mode))
                        else:
                            self.assertEqual(stat.S_IMODE(mode) & 0o007, 0, full)
                for directory in ("store", "keys"):
                    self.assertEqual(stat.S_IMODE(os.stat(os.path.join(s.dir, directory)).st_mode), 0o700)
        finally:
            os.close(stray)

    def test_no_growth_over_restarts(self):
        with system(UIDS[0]) as s:
            before = len(os.listdir(f"/proc/{s.process.pid}/fd"))
            for _ in range(4):
                pid = s.pids()["pop3-1"]
                os.kill(pid, signal.SIGKILL)
                s.restarted("pop3-1", pid, 4)
            wait_for(lambda: len(os.listdir(f"/proc/{s.process.pid}/fd")) == before, 3, "descriptors given back")
            store = s.pids()["store"]
            sockets = [t for k, t in self.describe(store).values() if k == "socket"]
            self.assertEqual(len(sockets), 5, "old channels are closed")
            signer = s.pids()["signer"]
            sockets = [t for k, t in self.describe(signer).values() if k == "socket"]
            self.assertEqual(len(sockets), 9, "old channels are closed")


class Hostile(unittest.TestCase):
    def misdeed(self, s, word):
        before = s.pids()
        line = Line(s.smtp)
        pid = int(line.ask("pid"))
        name = next(n for n, p in before.items() if p == pid)
        line.sock.sendall(word.encode() + b"\r\n")
        s.restarted(name, pid, 3)
        after = s.pids()
        self.assertEqual(after["store"], before["store"], "the receiver carries on")
        self.assertEqual(after["pop3-1"], before["pop3-1"])
        line.close()
        again = Line(s.smtp)
        self.assertEqual(again.ask("ask"), "verdict")
        again.close()

    @every_user
    def test_sender_is_restarted(self, uid):
        with system(uid) as s:
            self.misdeed(s, "malformed")
            self.misdeed(s, "forbidden")
            self.assertIn("malformed message", s.log())
            self.assertIn("forbidden message", s.log())
            self.misdeed(s, "control")
            self.assertIn("malformed control message", s.log())

    def test_log_lines_cannot_be_forged(self):
        """What a role writes is stamped and escaped by the supervisor."""
        with system(UIDS[-1]) as s:
            old = s.pids()["pop3-1"]
            line = Line(s.pop3)
            line.ask("abort")
            line.close()
            s.restarted("pop3-1", old)
            for text in s.log().splitlines():
                self.assertRegex(text, r"^time=\S+ level=\w+ role=[\w-]+ pid=\d+ event=")


class Reload(unittest.TestCase):
    @every_user
    def test_broken_config_keeps_the_old(self, uid):
        with system(uid, serve=True) as s:
            before = s.pids()
            s.write_config("nonsense = 1")
            s.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "event=reload-refused" in s.log(), 5, "refusal")
            line = Line(s.smtp)
            self.assertEqual(line.ask("generation"), "1")
            line.close()
            s.write_config()  # the command line reads it too
            self.assertEqual(s.pids(), before)

    @every_user
    def test_new_generation_and_listener(self, uid):
        with system(uid, serve=True) as s:
            before = s.pids()
            extra = s.base + 26
            s.write_config("log_level = debug", smtp=f"127.0.0.1:{s.smtp}, 127.0.0.1:{extra}")
            s.process.send_signal(signal.SIGHUP)
            wait_for(lambda: s.log().count("event=config-taken") >= 8, 5, "all roles to take it")
            line = Line(extra)
            self.assertEqual(line.ask("generation"), "2")
            line.close()
            self.assertEqual(s.pids(), before)
            s.write_config("", smtp=f"127.0.0.1:{extra}")
            s.process.send_signal(signal.SIGHUP)

            def gone():
                try:
                    socket.create_connection(("127.0.0.1", s.smtp), timeout=1).close()
                    return False
                except OSError:
                    return True

            wait_for(gone, 5, "the old listener to close")
            line = Line(extra)
            self.assertEqual(line.ask("generation"), "3")
            line.close()
            self.assertEqual(s.pids(), before)  # nor does asking for the status of a closed listener end anyone
            self.assertEqual(s.pids(), before)

    def test_port_in_use_keeps_the_old(self):
        with system(UIDS[0], serve=True) as s:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                s.write_config("", smtp=f"127.0.0.1:{s.smtp}, 127.0.0.1:{other.getsockname()[1]}")
                s.process.send_signal(signal.SIGHUP)
                wait_for(lambda: "event=reload-refused" in s.log(), 5, "refusal")
            line = Line(s.smtp)
            self.assertEqual(line.ask("generation"), "1")
            line.close()


class Control(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    @every_user
    def test_foreign_uid_is_refused(self, uid):
        with system(uid) as s:
            self.assertEqual(s.cli("status").returncode, 0)
            path = os.path.join(s.dir, "control.sock")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o007, 0)
            # Even with the doors of the file system open, the peer's credentials decide.
            os.chmod(s.dir, 0o755)
            os.chmod(path, 0o666)
            os.chmod(s.config, 0o644)
            foreign = s.cli("status", uid=FOREIGN)
            self.assertEqual(foreign.returncode, 1, foreign.stdout)
            foreign = s.cli("account", "list", uid=FOREIGN)
            self.assertEqual(foreign.returncode, 1, foreign.stdout)
            self.assertIn(f"event=control-refused uid={FOREIGN}", s.log())
            self.assertEqual(s.cli("status").returncode, 0)

    def test_nonsense_closes_that_connection_only(self):
        with system(UIDS[-1]) as s:
            path = os.path.join(s.dir, "control.sock")
            for packet in (b"x", b"\0" * 12, struct.pack("<IHHI", 12, 1, 1, 0), os.urandom(5000)):
                c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                c.settimeout(5)
                c.connect(path)
                c.send(packet)
                self.assertEqual(c.recv(100), b"")
                c.close()
            self.assertEqual(s.cli("status").returncode, 0)

    def test_many_idle_connections(self):
        with system(UIDS[-1]) as s:
            path = os.path.join(s.dir, "control.sock")
            held = []
            for _ in range(40):
                c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                c.connect(path)
                held.append(c)
            time.sleep(0.2)
            line = Line(s.smtp)
            self.assertEqual(line.greeting, "220 hello")
            line.close()
            for c in held:
                c.close()
            wait_for(lambda: s.cli("status").returncode == 0, 5, "a free place")

    def test_second_start_is_refused(self):
        with system(UIDS[-1]) as s:
            out = subprocess.run([FRAME / "brant", "demo", "--dir", s.dir, "--port-base", str(s.base + 300)],
                                 capture_output=True, text=True, timeout=20, preexec_fn=as_user(s.uid))
            self.assertEqual(out.returncode, 1)
            self.assertIn("already running", out.stderr)
            self.assertEqual(s.cli("status").returncode, 0)

    def test_systemd_is_told(self):
        with tempfile.TemporaryDirectory(prefix="brant-notify-", dir="/tmp") as d:
            os.chmod(d, 0o777)
            path = os.path.join(d, "n")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
                n.bind(path)
                os.chmod(path, 0o777)
                n.settimeout(5)
                with system(UIDS[-1], serve=True, env={"NOTIFY_SOCKET": path}) as s:
                    self.assertIn(b"READY=1", n.recv(1000))
                    s.process.send_signal(signal.SIGHUP)
                    self.assertEqual(n.recv(1000).split(b"\n")[0], b"RELOADING=1")
                    self.assertIn(b"READY=1", n.recv(1000))
                    self.assertEqual(s.stop()[0], 0)
                    self.assertIn(b"STOPPING=1", n.recv(1000))


class Exhaustion(unittest.TestCase):
    @every_user
    def test_descriptors(self, uid):
        """K2: with few descriptors the surplus is told 421 at once, nothing spins, and it recovers."""
        with system(uid, limit_files=64) as s:
            pid = s.pids()["pop3-1"]
            held = [Line(s.pop3) for _ in range(20)]
            self.assertTrue(all(h.greeting == "220 hello" for h in held))
            greetings = []
            for _ in range(40):
                try:
                    held.append(Line(s.pop3, timeout=5))
                    greetings.append(held[-1].greeting)
                except (ConnectionError, TimeoutError):
                    greetings.append("error")
            self.assertIn("421 4.3.2 no room", greetings)
            self.assertNotIn("error", greetings)
            before = self.cpu(pid)
            time.sleep(1)
            self.assertLess(self.cpu(pid) - before, 0.2, "no spinning")
            for h in held:
                h.close()
            wait_for(lambda: greeting(s.pop3) == "220 hello", 5, "recovery")
            self.assertEqual(s.pids()["pop3-1"], pid, "the same process")

    @staticmethod
    def cpu(pid):
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Start(unittest.TestCase):
    @every_user
    def test_errors_are_said_and_nothing_is_left(self, uid):
        s = System(uid, serve=True, extra="listen_backlog = many")
        try:
            code, _, err = s.stop(signal.SIGCONT)
            self.assertEqual(code, 1)
            self.assertIn("brant.conf:7", err)
        finally:
            s.clean()

    def test_port_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            s = System(UIDS[-1], serve=True)
            try:
                s.process.kill()
                s.process.wait()
                s.write_config("", smtp=f"127.0.0.1:{port}")
                out = subprocess.run([FRAME / "brant", "serve", "-c", s.config], capture_output=True, text=True,
                                     timeout=20, preexec_fn=as_user(s.uid))
                self.assertEqual(out.returncode, 1)
                self.assertIn(f"port {port}", out.stderr)
            finally:
                s.clean()

    def test_a_role_by_hand_refuses(self):
        out = subprocess.run([FRAME / "brant-smtp"], capture_output=True, text=True, timeout=10)
        self.assertEqual(out.returncode, 2)
        self.assertIn("started by brant", out.stderr)


if __name__ == "__main__":
    unittest.main()
