"""The process frame, with roles that do as they are told (tests/frame/testrole.c) and the real signer: restarts, the
sandbox, descriptors, hostile roles, reload, keys, sockets, descriptor exhaustion, orderly and disorderly ends.

Runs with pytest or `python3 -m unittest`. As root most tests run twice: as root and as an ordinary user."""

import grp
import os
import re
import signal
import socket
import ssl
import stat
import struct
import subprocess
import tempfile
import time
import unittest

from frame import (FRAME, System, UIDS, Line, alive, as_user, certificate, descriptors, every_user, greeting, kinds,
                   proc_status, system, wait_for)

FOREIGN = 54321
DEMO = {"store", "signer", "smtp-mx-1", "smtp-mx-2", "smtp-submission-1", "pop3-1", "imap-1"}
EDGES = DEMO - {"store", "signer"}
SUBMISSION = "listen.submission = 127.0.0.1:PORT+587\n"


class Frame(unittest.TestCase):
    @every_user
    def test_demo_contract(self, uid):
        s = System(uid)
        try:
            said = []
            for line in s.process.stdout:
                said.append(line.decode().rstrip("\n"))
                if said[-1] == "ready":
                    break
            text = "\n".join(said)
            for port in (25, 110, 465, 587, 995):
                self.assertRegex(text, rf"(?m)^ .*\b{s.base + port}  (SMTP|submission|POP3)\b")
                Line(s.base + port).close()
            self.assertIn(f"{s.dir}/log", text)
            for account in ("alice", "bob", "carol"):
                self.assertIn(account, text)
            for program in (f"curl -sk --crlf smtps://127.0.0.1:{s.base + 465} ",
                            f"curl -sk pop3s://127.0.0.1:{s.base + 995}/1 ", f"swaks --server 127.0.0.1:{s.base + 587} "):
                self.assertIn(program, text)
            look = next(line.split() for line in said if line.endswith(" status"))
            self.assertEqual(subprocess.run(look, capture_output=True, timeout=20, preexec_fn=as_user(uid)).returncode, 0)
            pids = s.pids()
            self.assertEqual(set(pids), DEMO)
            code, rest, err = s.stop(signal.SIGINT)
            self.assertEqual((code, rest, err), (0, "", ""))
            for pid in pids.values():
                self.assertFalse(alive(pid))
            for name in ("control.sock", "submission.sock", "lmtp.sock"):
                self.assertFalse(os.path.exists(s.path(name)), name)
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

    def isolation(self, uid, service, port, extra):
        """Every session has a process of its own; the next one waits for a free process."""
        extra += f"isolation.{service} = connection\ninstances.{service} = 2"
        with system(uid, serve=True, extra=extra) as s:
            seen = set()
            for _ in range(3):
                a, b = Line(s.base + port), Line(s.base + port)
                pids = {a.ask("pid"), b.ask("pid")}
                self.assertEqual(len(pids), 2)
                self.assertFalse(pids & seen)
                seen |= pids
                third = socket.create_connection(("127.0.0.1", s.base + port), timeout=3)
                third.settimeout(0.2)
                with self.assertRaises(TimeoutError):
                    third.recv(1)
                a.secure()
                a.close()
                third.settimeout(3)
                self.assertEqual(third.recv(100), b"220 hello\r\n")
                third.close()
                b.close()
            one, other = Line(s.smtp), Line(s.smtp)  # a group that is not isolated goes on as ever
            self.assertEqual((one.ask("ask"), other.ask("ask")), ("verdict", "verdict"))
            one.close()
            other.close()
            self.assertNotIn("level=error", s.log())
            wait_for(lambda: all(p["running"] for p in s.processes().values()), 3, "free processes")
            self.assertEqual({n for n, p in s.processes().items() if p["restarts"]}, set())

    @every_user
    def test_isolation_by_connection_of_pop3(self, uid):
        self.isolation(uid, "pop3", 110, "")

    @every_user
    def test_isolation_by_connection_of_imap(self, uid):
        self.isolation(uid, "imap", 143, "")

    @every_user
    def test_isolation_by_connection_of_submission(self, uid):
        self.isolation(uid, "submission", 587, SUBMISSION)


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
                self.assertEqual({n for n, _ in uids}, {"store", "signer", "smtp-mx", "smtp-submission", "pop3", "imap"})
                self.assertEqual(len({u for _, u in uids}), 6, "a uid per role")
                self.assertEqual(len(uids), 6, "the same for all its instances")
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
            self.assertEqual(set(s.processes()), DEMO - {"smtp-submission-1"}, "no group without a listener")
            code, _, err = s.stop()
            self.assertEqual(code, 0, err)


class Descriptors(unittest.TestCase):
    # Their control channel, the channels among each other, and the listeners.
    SOCKETS = {"store": 1 + len(EDGES), "signer": 1 + 2 * len(EDGES), "smtp-mx-1": 1 + 3 + 2, "smtp-mx-2": 1 + 3 + 2,
               "smtp-submission-1": 1 + 3 + 3, "pop3-1": 1 + 3 + 2, "imap-1": 1 + 3 + 2}

    @every_user
    def test_no_surprises(self, uid):
        """J4: every process has what it was given and nothing else; nothing of ours is readable by others."""
        stray = os.open("/etc/passwd", os.O_RDONLY)
        os.set_inheritable(stray, True)
        try:
            with system(uid) as s:
                for name, pid in s.pids().items():
                    found = descriptors(pid)
                    self.assertEqual([found[n][0] for n in range(5)], ["null", "null", "pipe", "socket", "pipe"])
                    kinds = [kind for kind, _ in found.values()]
                    allowed = {"null", "pipe", "socket", "anon_inode"}
                    self.assertLessEqual(set(kinds), allowed, (name, found))
                    self.assertEqual(kinds.count("null"), 2, found)
                    self.assertEqual(kinds.count("socket"), self.SOCKETS[name], (name, found))
                    self.assertLessEqual(kinds.count("pipe"), 4, found)  # 2 of ours, libevent's own pair
                for path, _, files in os.walk(s.dir):
                    for f in files:
                        full = os.path.join(path, f)
                        mode = stat.S_IMODE(os.lstat(full).st_mode)
                        if f == "submission.sock":
                            self.assertEqual(mode, 0o666, "for every user of the machine")
                        else:
                            self.assertEqual(mode & 0o007, 0, full)
                for name in ("store", "keys"):
                    self.assertEqual(stat.S_IMODE(os.stat(s.path(name)).st_mode), 0o700)
        finally:
            os.close(stray)

    @every_user
    def test_no_growth_over_restarts(self, uid):
        with system(uid) as s:
            def all_kinds():
                return {name: kinds(pid) for name, pid in dict(s.pids(), supervisor=s.process.pid).items() if pid}

            before = all_kinds()
            for name in ("pop3-1", "pop3-1", "store", "signer", "smtp-submission-1", "signer", "store", "smtp-mx-2"):
                pid = s.pids()[name]
                os.kill(pid, signal.SIGKILL)
                s.restarted(name, pid, 4)
            wait_for(lambda: all_kinds() == before, 3, f"descriptors given back: {before} {all_kinds()}")

    def test_every_instance_has_its_channels(self):
        """The most instances that can be configured, and new peers for all of them at one time."""
        extra = SUBMISSION + "instances.mx = 16\ninstances.submission = 32\ninstances.pop3 = 32\ninstances.imap = 32"
        with system(UIDS[0], serve=True, extra=extra) as s:
            before = s.pids()
            self.assertEqual(len(before), 2 + 112)
            for name in ("store", "signer"):
                os.kill(before[name], signal.SIGKILL)
                s.restarted(name, before[name], 4)
            peers = ("store", "signer")
            wait_for(lambda: all(p["figures"]["call_channels"] == "2" for n, p in s.processes().items() if n not in peers),
                     5, "new channels for calls")
            now = s.processes()
            self.assertEqual({n for n, p in now.items() if p["pid"] != before[n]}, {"store", "signer"})
            self.assertEqual(now["signer"]["figures"]["callers"], "112")
            self.assertEqual(kinds(now["store"]["pid"]).count("socket"), 1 + 112)
            self.assertEqual(kinds(now["signer"]["pid"]).count("socket"), 1 + 2 * 112)


class Hostile(unittest.TestCase):
    def misdeed(self, s, word):
        before = s.pids()
        line = Line(s.smtp)
        pid = int(line.ask("pid"))
        name = next(n for n, p in before.items() if p == pid)
        line.sock.sendall(word.encode() + b"\r\n")
        s.restarted(name, pid, 3)
        after = s.pids()
        self.assertEqual({n for n in after if after[n] != before[n]}, {name}, "all others carry on")
        line.close()
        again = Line(s.smtp)
        self.assertEqual(again.ask("ask"), "verdict")
        again.secure()
        again.close()

    @every_user
    def test_sender_is_restarted(self, uid):
        with system(uid) as s:
            self.misdeed(s, "malformed")
            self.assertRegex(s.log(), 'event=peer-fault-reported by=store peer=smtp.* reason="malformed message"')
            self.misdeed(s, "forbidden")
            self.assertRegex(s.log(), 'event=peer-fault-reported by=store peer=smtp.* reason="forbidden message"')
            self.misdeed(s, "control")
            self.assertIn("malformed control message", s.log())

    @every_user
    def test_sender_to_the_signer_is_restarted(self, uid):
        with system(uid) as s:
            self.misdeed(s, "malformed-events")
            self.misdeed(s, "malformed-call")
            self.assertEqual(s.log().count('by=signer peer=smtp'), 2)
            self.assertIn('reason="malformed message"', s.log())
            self.misdeed(s, "forbidden-call")
            self.assertRegex(s.log(), 'event=peer-fault-reported by=signer peer=smtp.* reason="forbidden message"')

    @every_user
    def test_the_accused_is_restarted(self, uid):
        with system(uid) as s:
            line = Line(s.pop3)
            for name in ("signer", "store", "signer"):
                before = s.pids()
                line.ask(f"accuse-{name}")
                s.restarted(name, before[name], 3)
                after = s.pids()
                self.assertEqual({n for n in after if after[n] != before[n]}, {name})
            self.assertRegex(s.log(), 'event=peer-fault-reported by=pop3-1 peer=signer instance=1 reason="as it was told"')
            # The fourth time in a minute it is the accuser that cannot be right.
            line.sock.sendall(b"accuse-signer\r\n")
            s.restarted("pop3-1", before["pop3-1"], 3)
            line.close()
            self.assertIn('reason="accuses too often"', s.log())
            self.assertEqual(s.pids()["signer"], after["signer"])
            certificate(s.pop3)

    def test_only_a_peer_can_be_accused(self):
        with system(UIDS[-1]) as s:
            before = s.pids()
            line = Line(s.smtp)
            line.ask("accuse-pop3")
            wait_for(lambda: "event=peer-fault-reported" in s.log(), 3, "the accusation")
            self.assertEqual(line.ask("ask"), "verdict")
            line.close()
            self.assertEqual(s.pids(), before)

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
            wait_for(lambda: len(re.findall("event=config-taken .*generation=2", s.log())) == len(before), 5, "all roles to take it")
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

    @every_user
    def test_first_listener_of_a_group(self, uid):
        """A group that had no listener is started, and stays, idle, when it loses its last one."""
        with system(uid, serve=True) as s:
            before = s.pids()
            self.assertEqual(set(before), DEMO - {"smtp-submission-1"})
            s.write_config(SUBMISSION)
            s.reload()
            line = Line(s.submission)
            self.assertEqual(line.ask("generation"), "2")
            self.assertEqual(line.ask("ask"), "verdict")
            line.secure()
            after = s.pids()
            self.assertEqual(line.ask("pid"), str(after["smtp-submission-1"]))
            line.close()
            self.assertEqual({n: after[n] for n in before}, before)
            self.assertEqual(s.figures("signer")["callers"], "5")
            os.kill(after["smtp-submission-1"], signal.SIGKILL)
            s.restarted("smtp-submission-1", after["smtp-submission-1"])
            last = s.pids()
            s.write_config()
            s.reload()

            def gone():
                try:
                    socket.create_connection(("127.0.0.1", s.submission), timeout=1).close()
                    return False
                except OSError:
                    return True

            wait_for(gone, 5, "the listener to close")
            self.assertEqual(s.pids(), last)
            s.write_config(SUBMISSION)
            s.reload()
            self.assertEqual(greeting(s.submission), "220 hello")
            self.assertEqual(s.pids(), last)

    def test_what_needs_a_restart_waits_for_it(self):
        with system(UIDS[0], serve=True) as s:
            before = s.pids()
            s.write_config("instances.pop3 = 2\nuid_base = 61000\nlmtp_socket = DIR/lmtp.sock\nmax_recipients = 200")
            with open(s.config) as f:
                text = f.read()
            os.mkdir(s.path("elsewhere"))
            with open(s.config, "w") as f:
                f.write(text.replace(f"data_dir = {s.dir}/store", f"data_dir = {s.dir}/other")
                        .replace(f"run_dir = {s.dir}", f"run_dir = {s.dir}/elsewhere"))
            s.reload()
            named = re.search('event=reload-needs-restart keys="(.*?)"', s.log())
            self.assertEqual(set(named[1].split(", ")),
                             {"data_dir", "run_dir", "uid_base", "instances.pop3", "lmtp_socket"})
            uid = proc_status(before["store"])["Uid"]
            os.kill(before["store"], signal.SIGKILL)
            with open(s.config, "w") as f:
                f.write(text)  # for the command line, which reads it too
            s.restarted("store", before["store"])
            self.assertEqual(proc_status(s.pids()["store"])["Uid"], uid)
            self.assertEqual(set(s.pids()), set(before))
            self.assertFalse(os.path.exists(s.path("lmtp.sock")))
            self.assertEqual(s.stop()[0], 0)
            self.assertFalse(os.path.exists(s.path("control.sock")))

    def test_listeners_without_end(self):
        """Places of closed listeners are used again."""
        with system(UIDS[-1], serve=True) as s:
            before = s.pids()
            for n in range(8):
                addresses = [f"127.0.{n % 2 + 1}.{last}:{s.base + 26}" for last in range(1, 16)]
                s.write_config("", smtp=", ".join([f"127.0.0.1:{s.smtp}"] + addresses))
                s.reload()
                for address in (addresses[0], addresses[-1]):
                    sock = socket.create_connection((address.split(":")[0], s.base + 26), timeout=3)
                    self.assertEqual(sock.recv(100), b"220 hello\r\n", n)
                    sock.close()
            self.assertEqual(s.figures("smtp-mx-1")["sessions"], "0")
            self.assertEqual(sum(int(s.figures(f"smtp-mx-{n}")["accepted"]) for n in (1, 2)), 16)
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


class Signer(unittest.TestCase):
    @every_user
    def test_killed_and_replaced(self, uid):
        """Within a second there is another, every edge has new channels to it, and TLS works again; connections under
        TLS do not notice."""
        with system(uid) as s:
            shown = certificate(s.smtp)
            under_tls = Line(s.pop3)
            self.assertEqual(under_tls.secure(), shown)
            for count in range(2, 4):
                before = s.pids()
                os.kill(before["signer"], signal.SIGKILL)
                s.restarted("signer", before["signer"], 1.0)
                for figure in ("event_channels", "call_channels"):
                    wait_for(lambda f=figure: all(s.figures(n)[f] == str(count) for n in EDGES), 1, figure)
                for port in (25, 587, 465, 110, 995):
                    self.assertEqual(certificate(s.base + port), shown)
                after = s.pids()
                self.assertEqual({n for n in after if after[n] != before[n]}, {"signer"})
                self.assertEqual(under_tls.ask("ask"), "verdict")
                time.sleep(0.2)
            under_tls.close()
            self.assertEqual(s.figures("signer")["callers"], str(len(EDGES)))

    def test_away(self):
        """Without a signer nobody waits: TLS fails at once, everything else goes on; it comes back by itself."""
        with system(UIDS[-1]) as s:
            certificate(s.pop3)
            for _ in range(5):  # until it stays away for some hundred milliseconds
                pid = s.pids()["signer"]
                os.kill(pid, signal.SIGKILL)
                s.restarted("signer", pid, 3)
            pid = s.pids()["signer"]
            os.kill(pid, signal.SIGKILL)
            line = Line(s.pop3)
            self.assertEqual(line.ask("ask"), "verdict")
            started = time.monotonic()
            with self.assertRaises((ssl.SSLError, OSError)):
                line.secure()
            line.close()
            self.assertLess(time.monotonic() - started, 0.5)
            s.restarted("signer", pid, 3)
            certificate(s.pop3)


class Keys(unittest.TestCase):
    def refused(self, s, pair, shown):
        s.write_config(f"tls.certificate = {pair}")
        s.reload("reload-refused")
        self.assertEqual(certificate(s.smtp), shown)

    @every_user
    def test_reload(self, uid):
        with system(uid, serve=True) as s:
            own = certificate(s.smtp)
            pids = s.pids()
            shown = s.make_pair("a.example.org")
            other = s.make_pair("b.example.org")
            self.assertNotEqual(own, shown)
            s.write_config("tls.certificate = DIR/a.example.org.crt DIR/a.example.org.key")
            s.reload()
            wait_for(lambda: "event=certificate name=a.example.org" in s.log(), 3, "the certificate")
            wait_for(lambda: all(s.figures(n)["certificates_generation"] == "2" for n in s.pids() if n in EDGES), 3, "news")
            for port in (s.smtp, s.pop3):
                self.assertEqual(certificate(port), shown)
            held = kinds(s.process.pid)
            self.assertFalse([t for _, t in descriptors(pids["signer"]).values() if ".example.org" in t], "all read")

            # What cannot be opened refuses the whole reload.
            self.refused(s, "DIR/a.example.org.crt DIR/missing.key", shown)
            self.assertIn(f"event=key-file-unreadable file={s.dir}/missing.key reason=\"No such file", s.log())
            self.refused(s, "DIR/missing.crt DIR/a.example.org.key", shown)
            self.refused(s, "DIR/a.example.org.crt DIR/store", shown)
            self.assertIn("is not a file", s.log())
            if uid != 0:
                os.chmod(s.path("b.example.org.key"), 0)
                self.refused(s, "DIR/b.example.org.crt DIR/b.example.org.key", shown)
                self.assertIn("Permission denied", s.log())
                os.chmod(s.path("b.example.org.key"), 0o600)
            line = Line(s.smtp)
            self.assertEqual(line.ask("generation"), "2")
            line.close()

            # What the signer cannot use does not take the place of what there is, not even for its successor.
            s.write_config("tls.certificate = DIR/a.example.org.crt DIR/b.example.org.key")
            s.reload()
            wait_for(lambda: "event=key-files-dropped generation=3" in s.log(), 3, "refusal by the signer")
            self.assertIn("event=keys-refused", s.log())
            self.assertEqual(certificate(s.smtp), shown)
            os.kill(pids["signer"], signal.SIGKILL)
            s.restarted("signer", pids["signer"], 1.0)
            wait_for(lambda: s.figures("smtp-mx-1")["call_channels"] == s.figures("smtp-mx-2")["call_channels"] == "2")
            self.assertEqual(certificate(s.smtp), shown)
            self.assertEqual(kinds(s.process.pid), held, "descriptors given back")

            s.write_config("tls.certificate = DIR/b.example.org.crt DIR/b.example.org.key")
            s.reload()
            wait_for(lambda: all(s.figures(n)["certificates_generation"] == "4" for n in s.pids() if n in EDGES), 3, "news")
            self.assertEqual(certificate(s.smtp), other)
            self.assertEqual(kinds(s.process.pid), held, "descriptors given back")
            self.assertEqual({t for _, t in descriptors(s.process.pid).values() if ".example.org" in t},
                             {s.path("b.example.org.crt"), s.path("b.example.org.key")})
            s.write_config()
            s.reload()
            wait_for(lambda: all(s.figures(n)["certificates_generation"] == "5" for n in s.pids() if n in EDGES), 3, "news")
            self.assertEqual(certificate(s.pop3), own)
            now = s.pids()
            self.assertEqual({n for n in now if now[n] != pids[n]}, {"signer"})

    @every_user
    def test_unreadable_at_the_start(self, uid):
        """Fatal: the key of the configuration, the path and the reason are said, and nothing is left."""
        def pair(s):
            s.make_pair("a.example.org", mode=0 if uid else 0o600)

        cases = [("DIR/missing.crt DIR/missing.key", "missing.crt", "No such file or directory"),
                 ("DIR/a.example.org.crt DIR", "", "is not a file")]
        if uid != 0:
            cases = [cases[0], ("DIR/a.example.org.crt DIR/a.example.org.key", "a.example.org.crt", "Permission denied")]
        for files, name, reason in cases:
            s = System(uid, serve=True, extra=f"tls.certificate = {files}", prepare=pair)
            try:
                code, out, err = s.stop(signal.SIGCONT)
                self.assertEqual((code, out), (1, ""))
                self.assertIn(f"tls.certificate: {os.path.join(s.dir, name).rstrip('/')}: {reason}", err)
                self.assertIn(f"event=key-file-unreadable", s.log())
                self.assertNotIn("event=role-started", s.log())
                self.assertFalse(os.path.exists(s.path("control.sock")))
            finally:
                s.clean()

    @every_user
    def test_unusable_at_the_start(self, uid):
        def pairs(s):
            s.make_pair("a.example.org")
            s.make_pair("b.example.org")

        s = System(uid, serve=True, extra="tls.certificate = DIR/a.example.org.crt DIR/b.example.org.key", prepare=pairs)
        try:
            code, _, err = s.stop(signal.SIGCONT)
            self.assertEqual(code, 1)
            self.assertIn("signer could not start", err)
            self.assertRegex(s.log(), "event=key-refused file=.*/a.example.org.crt with .*/b.example.org.key")
        finally:
            s.clean()


class UnixSockets(unittest.TestCase):
    EXTRA = "submission_socket = DIR/submission.sock\nlmtp_socket = DIR/lmtp.sock\n"

    @every_user
    def test_modes_and_end(self, uid):
        group = grp.getgrgid(1)
        for name, shared in ((group.gr_name, uid == 0), ("no-such-group", False)):
            with system(uid, serve=True, extra=f"{self.EXTRA}control_group = {name}") as s:
                for path, mode in (("submission.sock", 0o666), ("lmtp.sock", 0o660 if shared else 0o600),
                                   ("control.sock", 0o660 if shared else 0o600)):
                    st = os.stat(s.path(path))
                    self.assertTrue(stat.S_ISSOCK(st.st_mode))
                    self.assertEqual(stat.S_IMODE(st.st_mode), mode, path)
                    self.assertEqual(st.st_uid, uid)
                    if shared:
                        self.assertEqual(st.st_gid, group.gr_gid)
                for path, process in (("submission.sock", "smtp-submission-1"), ("lmtp.sock", "smtp-mx-")):
                    line = Line(s.path(path))
                    pid = int(line.ask("pid"))
                    self.assertTrue(next(n for n, p in s.pids().items() if p == pid).startswith(process))
                    self.assertEqual(line.ask("ask"), "verdict")
                    line.close()
                self.assertEqual(s.stop()[0], 0)
                for path in ("submission.sock", "lmtp.sock", "control.sock"):
                    self.assertFalse(os.path.exists(s.path(path)), path)

    @every_user
    def test_a_stale_one_is_replaced(self, uid):
        def leave_behind(s):
            for name in ("submission.sock", "lmtp.sock", "control.sock"):
                with socket.socket(socket.AF_UNIX) as stale:
                    stale.bind(s.path(name))
                os.chown(s.path(name), s.uid, s.uid)

        with system(uid, serve=True, extra=self.EXTRA, prepare=leave_behind) as s:
            self.assertEqual(greeting(s.path("lmtp.sock")), "220 hello")
            self.assertEqual(greeting(s.path("submission.sock")), "220 hello")

    def is_refused(self, uid, prepare, reason, extra=EXTRA):
        s = System(uid, serve=True, extra=extra, prepare=prepare)
        try:
            code, _, err = s.stop(signal.SIGCONT)
            self.assertEqual(code, 1)
            self.assertRegex(err, reason)
            self.assertIn("event=listen-failed", s.log())
            self.assertNotIn("event=role-started", s.log())
            for name in ("submission.sock", "control.sock"):
                self.assertFalse(os.path.exists(s.path(name)), name)
            return os.lstat(s.path("lmtp.sock")) if extra == self.EXTRA else None
        finally:
            s.clean()

    @every_user
    def test_a_live_one_is_left_alone(self, uid):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as live, socket.socket(socket.AF_UNIX, kind) as client:
                def listen(s):
                    live.bind(s.path("lmtp.sock"))
                    os.chmod(s.path("lmtp.sock"), 0o777)
                    if kind != socket.SOCK_DGRAM:
                        live.listen(0)
                        client.connect(s.path("lmtp.sock"))  # and its backlog is full

                self.assertTrue(stat.S_ISSOCK(self.is_refused(uid, listen, "already running: .*/lmtp.sock").st_mode))
                if kind == socket.SOCK_STREAM:
                    live.accept()[0].close()

    @every_user
    def test_what_is_no_socket_is_left_alone(self, uid):
        def write(s):
            with open(s.path("lmtp.sock"), "w") as f:
                f.write("precious")

        self.assertEqual(self.is_refused(uid, write, "lmtp.sock is there and is no socket").st_size, len("precious"))
        left = self.is_refused(uid, lambda s: os.symlink("/etc/passwd", s.path("lmtp.sock")), "is no socket")
        self.assertTrue(stat.S_ISLNK(left.st_mode))
        self.is_refused(uid, None, "cannot open the directory of .*/none/lmtp.sock", "lmtp_socket = DIR/none/lmtp.sock")


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
        """K2: with few descriptors the surplus is told 421 at once, nothing spins, what holds the channels together
        can be replaced all the same, and it recovers. The system starts with 54; three more are for us, who ask for its
        status while a role is started again."""
        with system(uid, limit_files=57) as s:
            before_all = s.pids()
            pid = before_all["pop3-1"]
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
            for name in ("signer", "store"):
                os.kill(before_all[name], signal.SIGKILL)
                s.restarted(name, before_all[name], 3)
            wait_for(lambda: s.figures("pop3-1")["call_channels"] == "2", 3, "new channels")
            self.assertEqual(held[0].ask("ask"), "verdict")
            held[1].secure()
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
