"""Other people's programs, as they are run here."""
import glob
import os
import shutil
import subprocess
import tempfile

import pytest

from brantd import PASSWORD, ROOT

PEERS = os.path.join(ROOT, "build", "peers")


def run(*args, stdin=None, env=None, timeout=120, status=0, **more):
    """A program that must exit with `status`; its standard output as bytes."""
    done = subprocess.run(args, input=stdin, capture_output=True, timeout=timeout,
                          env={**os.environ, **(env or {})}, **more)
    assert done.returncode == status, f"{' '.join(args)}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
    return done.stdout


def program(name):
    path = shutil.which(name)
    assert path, f"{name} is not installed; it is in the list of packages that ./test installs"
    return path


def smtp_source():
    """Postfix's load generator, unpacked from the Debian package and never installed."""
    place = os.path.join(PEERS, "postfix")
    tool = os.path.join(place, "usr", "sbin", "smtp-source")
    if not os.path.exists(tool):
        os.makedirs(place, exist_ok=True)
        fetched = subprocess.run(["apt-get", "download", "postfix"], cwd=PEERS, capture_output=True, text=True)
        packages = glob.glob(os.path.join(PEERS, "postfix_*.deb"))
        if fetched.returncode != 0 or not packages:
            pytest.skip("the postfix package cannot be fetched: " + fetched.stderr.strip())
        run("dpkg", "-x", packages[0], place)
    return tool, {"LD_LIBRARY_PATH": os.path.join(place, "usr", "lib", "postfix")}


def maildir(place):
    for part in ("new", "cur", "tmp"):
        os.makedirs(os.path.join(place, part))
    return place


def maildir_messages(place):
    """The messages of a Maildir with CRLF line ends."""
    found = []
    for path in glob.glob(os.path.join(place, "new", "*")) + glob.glob(os.path.join(place, "cur", "*")):
        with open(path, "rb") as f:
            found.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return found


def fetchmail(port, user, place):
    """Fetches and deletes everything; each message is a file of a directory."""
    mda = os.path.join(place, "mda")
    with open(mda, "w") as f:
        f.write(f'#!/bin/sh\nexec cat >"$(mktemp {place}/new/XXXXXXXX)"\n')
    os.chmod(mda, 0o755)
    rc = os.path.join(place, "fetchmailrc")
    with open(rc, "w") as f:
        f.write(f'set no bouncemail\nset invisible\npoll 127.0.0.1 proto pop3 port {port} user "{user}" password '
                f'"{PASSWORD}" sslproto "" no rewrite no mimedecode mda "{mda}"\n')
    os.chmod(rc, 0o600)
    run(program("fetchmail"), "-f", rc, "--nosyslog", "-a", "--nokeep", "--pidfile", os.path.join(place, "pid"),
        "--idfile", os.path.join(place, "ids"), env={"FETCHMAILHOME": place, "HOME": place, "LC_ALL": "C"})


def getmail(port, user, place):
    """It refuses to deliver as root: then it runs as nobody, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="brant-getmail-") as own:
        rc = os.path.join(own, "getmailrc")
        maildir(os.path.join(own, "mail"))
        with open(rc, "w") as f:
            f.write(f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = {user}\n"
                    f"password = {PASSWORD}\n[destination]\ntype = Maildir\npath = {own}/mail/\n"
                    f"[options]\nread_all = true\ndelete = true\nreceived = false\ndelivered_to = false\nverbose = 0\n")
        as_nobody = {}
        if os.geteuid() == 0:
            as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for folder, _, names in os.walk(own):
                for path in [folder] + [os.path.join(folder, n) for n in names]:
                    shutil.chown(path, "nobody", "nogroup")
        run(program("getmail"), "--getmaildir", own, "--rcfile", rc, env={"HOME": own}, cwd=own, **as_nobody)
        for path in glob.glob(os.path.join(own, "mail", "new", "*")):
            shutil.copy(path, os.path.join(place, "new"))


def mpop(port, user, place):
    rc = os.path.join(place, "mpoprc")
    with open(rc, "w") as f:
        f.write(f"account default\nhost 127.0.0.1\nport {port}\nuser {user}\npassword {PASSWORD}\ntls off\n"
                f"auth user\ndelivery maildir {place}\nuidls_file {place}/uidls\nreceived_header off\nkeep off\n")
    os.chmod(rc, 0o600)
    run(program("mpop"), "-C", rc, "-q", env={"HOME": place})


def curl_fetch(port, user):
    """Every message, in the order of LIST."""
    base = [program("curl"), "-sS", "--max-time", "60", "-u", f"{user}:{PASSWORD}"]
    listing = run(*base, f"pop3://127.0.0.1:{port}/")
    numbers = [line.split()[0].decode() for line in listing.splitlines() if line.strip()]
    return [run(*base, f"pop3://127.0.0.1:{port}/{n}") for n in numbers]


def curl_send(port, recipient, message, sender="curl@example.org"):
    run(program("curl"), "-sS", "--max-time", "60", f"smtp://127.0.0.1:{port}/client.example", "--mail-from", sender,
        "--mail-rcpt", recipient, "--upload-file", "-", stdin=message)


def swaks(port, recipient, message, *more):
    """swaks with a message of its own; what it printed."""
    return run(program("swaks"), "--server", "127.0.0.1", "--port", str(port), "--from", "swaks@example.org", "--to",
               recipient, "--helo", "client.example", "--data", "-", *more, stdin=message)
