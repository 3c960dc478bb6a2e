#!/usr/bin/python3
"""Kills the store at system calls of one acceptance, and at system calls of recovery.

    syscalls.py [--every N]      only each N-th place (default 1: all of them)

A place is a call's name and how often it was made before: at most 40 of each name in an acceptance, 12 in
recovery; calls that only wait or manage memory are left out.

strace counts the calls and delivers SIGKILL at the chosen one (-e inject=CALL:signal=KILL:when=N). After each
kill the session's answer must be true: a 250 means the message is there once, byte for byte; a 451, or no
answer, means once or not at all. Needs root, or ptrace permission for the store's process.
"""
import argparse
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attempts import Ledger, dot_stuffed, message, verify  # noqa: E402
from load import MAILBOXES, Gone, Line  # noqa: E402
from system import BRANT, System  # noqa: E402

# Waiting and bookkeeping of threads: a kill there is a kill between the interesting calls.
DULL = {"futex", "epoll_wait", "restart_syscall", "clock_nanosleep", "poll", "rt_sigprocmask", "madvise",
        "sched_yield", "exit", "exit_group", "set_robust_list", "rseq", "brk", "mmap", "munmap", "mprotect"}
CALL = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\(", re.M)


def attach(pid, output, *options):
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), "-o", output, *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/status") as f:
                if "TracerPid:\t0" not in f.read():
                    return tracer
        except FileNotFoundError:
            return tracer  # the kill has come already
        if tracer.poll() is not None:
            break
        time.sleep(0.01)
    raise RuntimeError("strace could not attach: " + tracer.stderr.read().decode())


def send(system, ledger, token, accounts):
    """One session, one message; records what was answered."""
    data = message(token)
    line = Line(system.smtp_port)
    try:
        line.reply()
        line.ask(b"EHLO load.example.org\r\n")
        replies = [line.ask(b"MAIL FROM:<load@example.org>\r\n")]
        replies += [line.ask(f"RCPT TO:<{a}>\r\n".encode()) for a in accounts]
        if not all(r.startswith(b"250") for r in replies):
            return
        ledger.tried(token, accounts)
        if line.ask(b"DATA\r\n").startswith(b"354"):
            ledger.answered(token, accounts, line.ask(dot_stuffed(data)))
    except Gone:
        pass
    finally:
        line.close()


def count_calls(trace_file):
    with open(trace_file) as f:
        names = CALL.findall(f.read())
    return collections.Counter(n for n in names if n not in DULL)


def trace_one_acceptance(system, ledger, top, token):
    output = os.path.join(top, "trace")
    tracer = attach(system.wait_for_child("brant-store"), output)
    send(system, ledger, token, MAILBOXES[:2])
    time.sleep(0.3)  # apply runs behind the answer; it is part of the acceptance
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    return count_calls(output)


def kill_during_acceptance(system, ledger, call, when, token):
    """True when the kill happened."""
    pid = system.wait_for_child("brant-store")
    tracer = attach(pid, "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}")
    send(system, ledger, token, MAILBOXES[:2])
    for _ in range(25):
        if tracer.poll() is not None:
            break
        time.sleep(0.02)
    killed = tracer.poll() is not None
    if not killed:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    tracer.stderr.close()
    return killed


def acceptance(system, ledger, top, every):
    killed = places = 0
    for size in (4096, 300000):
        for call, count in sorted(trace_one_acceptance(system, ledger, top, f"t-{size}").items()):
            for when in range(1, min(count, 40) + 1):
                places += 1
                if places % every:
                    continue
                killed += kill_during_acceptance(system, ledger, call, when, f"k{places:x}-{size}")
    print(f"  acceptance: {killed} kills at {places} places", flush=True)
    return killed


def check_offline(directory, *prefix):
    return subprocess.run([*prefix, BRANT, "--dir", directory, "store", "check", "--deep"], capture_output=True, text=True,
                          timeout=120)


def copy(source, target):
    """A copy with owners and modes, as the sandboxed store needs it."""
    if os.path.exists(os.path.join(source, "control.sock")):
        os.unlink(os.path.join(source, "control.sock"))
    subprocess.run(["cp", "-a", source, target], check=True)


def recovery(directory, top, every):
    """Kills offline recovery of a store that was itself killed; the same directory goes on from kill to kill."""
    output = os.path.join(top, "trace")
    pristine = os.path.join(top, "pristine")
    copy(directory, pristine)
    first = check_offline(directory, "strace", "-f", "-q", "-o", output)
    if first.returncode != 0:
        return 0, [f"store check after a kill: {first.stdout}{first.stderr}"]
    killed = places = 0
    wrong = []
    for call, count in sorted(count_calls(output).items()):
        for when in range(1, min(count, 12) + 1):
            places += 1
            if places % every:
                continue
            shutil.rmtree(directory)
            copy(pristine, directory)
            done = check_offline(directory, "strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={call}",
                                 "-e", f"inject={call}:signal=KILL:when={when}")
            killed += done.returncode != 0
            again = check_offline(directory)
            if again.returncode != 0:
                wrong.append(f"recovery killed at {call} {when}: {again.stdout}{again.stderr}")
    print(f"  recovery: {killed} kills at {places} places", flush=True)
    return killed, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    top = tempfile.mkdtemp(prefix="brant-syscalls-")
    os.chmod(top, 0o755)
    system = System(os.path.join(top, "demo"))
    ledger = Ledger()
    system.start()
    try:
        killed = acceptance(system, ledger, top, args.every)
        # Leave a tail behind the durable mark: one more accepted message, then the whole system dies.
        send(system, ledger, "last-4096", MAILBOXES[:1])
    except BaseException:
        system.kill_supervisor()
        raise
    wrong = [f"pids {left} outlived the supervisor" for left in [system.kill_supervisor()] if left]
    killed_recovering, more = recovery(system.directory, top, args.every)
    wrong += more
    system.start()
    wrong += verify(ledger, {a: system.mailbox(a) for a in MAILBOXES})
    if system.stop() != 0:
        wrong.append("brant demo did not stop cleanly")
    outcomes = list(ledger.mail.values())
    print(f"  answers: {outcomes.count(Ledger.ACCEPTED)} accepted, {outcomes.count(Ledger.REFUSED)} refused "
          f"{ledger.refusals}, {outcomes.count(Ledger.UNANSWERED)} unanswered")
    total = killed + killed_recovering
    if killed < 10 or killed_recovering < 10:
        wrong.append(f"only {killed} and {killed_recovering} kills happened")
    for line in wrong[:40]:
        print("WRONG:", line)
    print(f"{0 if wrong else total} passed, {len(wrong)} failed")
    if wrong:
        print(f"kept: {top}")
    else:
        shutil.rmtree(top)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
