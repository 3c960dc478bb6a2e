"""Other people's programs that hand over mail: each a function that takes a Job and says whether the program was content.

All of them verify the server's certificate against the authority of the test."""
import json
import os
import smtplib
import ssl
import subprocess
import urllib.parse

import pytest

from peers import PEERS, program

SCRIPT = """
const nodemailer = require('nodemailer');
const job = JSON.parse(require('fs').readFileSync(0, 'utf8'));
nodemailer.createTransport({
  host: 'localhost', port: job.port, secure: job.implicit, requireTLS: true, name: 'client.example',
  auth: { user: job.user, pass: job.password, method: job.method }, tls: { ca: job.authority },
}).sendMail({
  envelope: { from: job.sender, to: job.recipients }, raw: Buffer.from(job.message, 'latin1'),
}).then(() => process.exit(0), e => { console.error(e.message); process.exit(1); });
"""


class Job:
    """What is to be handed over, to whom, by whom."""

    def __init__(self, place, port, implicit, authority, user, password, sender, recipients, message, mechanism="PLAIN"):
        self.place, self.port, self.implicit, self.authority = str(place), port, implicit, authority
        self.user, self.password, self.mechanism = user, password, mechanism
        self.sender, self.recipients, self.message = sender, recipients, message
        self.said = ""

    def run(self, *args, stdin=None, env=None):
        done = subprocess.run(args, input=stdin, capture_output=True, timeout=60,
                              env={**os.environ, "HOME": self.place, "LC_ALL": "C.UTF-8", **(env or {})}, cwd=self.place)
        self.said = (done.stdout + done.stderr).decode("utf-8", "replace")
        return done.returncode == 0

    def file(self, name, text):
        path = os.path.join(self.place, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def unix(self):
        return self.message.replace(b"\r\n", b"\n")

    def body(self):
        return self.message.split(b"\r\n\r\n", 1)[1]

    def subject(self):
        [line] = [h for h in self.message.split(b"\r\n\r\n")[0].split(b"\r\n") if h.startswith(b"Subject: ")]
        return line[9:].decode()


def swaks(job):
    return job.run(program("swaks"), "--server", "localhost", "--port", str(job.port),
                   "--tls-on-connect" if job.implicit else "--tls", "--tls-verify", "--tls-ca-path", job.authority,
                   "--auth", job.mechanism, "--auth-user", job.user, "--auth-password", job.password,
                   "--from", job.sender, "--to", ",".join(job.recipients), "--helo", "client.example", "--data", "-",
                   stdin=job.unix())


def msmtp(job):
    rc = job.file("msmtprc", f"account default\nhost localhost\nport {job.port}\ndomain client.example\ntls on\n"
                  f"tls_starttls {'off' if job.implicit else 'on'}\ntls_trust_file {job.authority}\n"
                  f"auth {job.mechanism.lower()}\nuser {job.user}\npassword {job.password}\nfrom {job.sender}\n"
                  "remove_bcc_headers off\nset_from_header off\nset_date_header off\n")
    return job.run(program("msmtp"), "-C", rc, "-f", job.sender, "--", *job.recipients, stdin=job.unix())


def mutt(job):
    """Writes its own header; takes the body from us."""
    scheme = "smtps" if job.implicit else "smtp"
    rc = job.file("muttrc", f'set smtp_url="{scheme}://{urllib.parse.quote(job.user, safe="")}@localhost:{job.port}/"\n'
                  f'set smtp_pass="{job.password}"\nset smtp_authenticators="{job.mechanism.lower()}"\n'
                  "set ssl_force_tls=yes\nset ssl_starttls=yes\nset ssl_verify_host=yes\n"
                  f'set ssl_ca_certificates_file="{job.authority}"\nset certificate_file="{job.place}/none"\n'
                  f'set from="{job.sender}"\nset envelope_from_address="{job.sender}"\nset use_envelope_from=yes\n'
                  "set use_from=yes\nset copy=no\nset record=\"\"\nset folder=\"\"\nset hostname=\"client.example\"\n"
                  "set send_charset=\"us-ascii:utf-8\"\n")
    return job.run(program("mutt"), "-n", "-F", rc, "-s", job.subject(), "--", *job.recipients,
                   stdin=job.body().replace(b"\r\n", b"\n"), env={"TERM": "dumb"})


def curl(job):
    to = [a for r in job.recipients for a in ("--mail-rcpt", r)]
    return job.run(program("curl"), "-sS", "--max-time", "30", "--ssl-reqd", "--cacert", job.authority,
                   f"{'smtps' if job.implicit else 'smtp'}://localhost:{job.port}/client.example",
                   "-u", f"{job.user}:{job.password}", "--login-options", f"AUTH={job.mechanism}",
                   "--mail-from", job.sender, *to, "--upload-file", "-", stdin=job.message)


def s_nail(job):
    """Writes its own header; takes the body from us."""
    scheme = "smtps" if job.implicit else "smtp"
    user, password = (urllib.parse.quote(x, safe="") for x in (job.user, job.password))
    more = [] if job.implicit else ["-S", "smtp-use-starttls"]
    return job.run(program("s-nail"), "-:/", "-S", "v15-compat=y", "-S", "sendwait", "-S", f"from={job.sender}",
                   "-S", f"mta={scheme}://{user}:{password}@localhost:{job.port}", *more, "-S", "hostname=client.example",
                   "-S", f"smtp-auth={job.mechanism.lower()}", "-S", "tls-verify=strict", "-S", f"tls-ca-file={job.authority}",
                   "-S", "ttycharset=utf-8", "-r", job.sender, "-s", job.subject(), *job.recipients,
                   stdin=job.body().replace(b"\r\n", b"\n"), env={"TERM": "dumb"})


def nodemailer(job):
    place = os.path.join(PEERS, "node")
    if not os.path.exists(os.path.join(place, "node_modules", "nodemailer")):
        os.makedirs(place, exist_ok=True)
        got = subprocess.run([program("npm"), "install", "--prefix", place, "--no-audit", "--no-fund", "nodemailer"],
                             capture_output=True, text=True, timeout=300)
        if got.returncode != 0:
            pytest.skip("npm cannot fetch nodemailer: " + got.stderr.strip()[-300:])
    with open(job.authority) as f:
        authority = f.read()
    text = json.dumps({"port": job.port, "implicit": job.implicit, "user": job.user, "password": job.password,
                       "method": job.mechanism, "sender": job.sender, "recipients": job.recipients,
                       "message": job.message.decode("latin-1"), "authority": authority})
    return job.run(program("node"), "-e", SCRIPT, stdin=text.encode(), env={"NODE_PATH": os.path.join(place, "node_modules")})


def python(job):
    tls = ssl.create_default_context(cafile=job.authority)
    try:
        if job.implicit:
            s = smtplib.SMTP_SSL("localhost", job.port, "client.example", timeout=30, context=tls)
        else:
            s = smtplib.SMTP("localhost", job.port, "client.example", timeout=30)
        with s:
            if not job.implicit:
                s.starttls(context=tls)
            s.login(job.user, job.password)
            refused = s.sendmail(job.sender, job.recipients, job.message)
            job.said = str(refused)
            return not refused
    except smtplib.SMTPException as e:
        job.said = repr(e)
        return False


ALL = [swaks, msmtp, mutt, curl, s_nail, nodemailer, python]
OWN_HEADER = {mutt, s_nail}  # the others hand over the message as it is given to them
