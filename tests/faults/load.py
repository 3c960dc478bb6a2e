"""The load of the fault tests: senders from elsewhere, users who submit under TLS, POP3S readers that delete, account
changes, each in a thread."""
import base64
import poplib
import random
import socket
import ssl
import threading
import time

from attempts import SUBMITTERS, Ledger, dot_stuffed, message, split_stored
from system import PASSWORD

poplib._MAXLINE = 1 << 20  # stored lines may be long

MAILBOXES = ("alice@brant.test", "bob@brant.test", "carol@brant.test")
ALIASES = {"all@brant.test": MAILBOXES, "nested@brant.test": MAILBOXES}


PATIENCE_S = 60
ENOUGH = 20  # attempts between two kills, after which the load takes its time: each is verified in the end
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


class Gone(Exception):
    """The connection ended before the answer."""


class Line:
    """A raw connection that reads whole SMTP replies."""

    def __init__(self, port, implicit_tls=False):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.file = None
        try:
            if implicit_tls:
                self.secure()
            else:
                self.file = self.sock.makefile("rb")
        except BaseException:
            self.sock.close()
            raise

    def secure(self):
        """The handshake; a failed one is a Gone."""
        try:
            self.sock = TLS.wrap_socket(self.sock)
        except OSError as e:
            raise Gone from e
        self.file = self.sock.makefile("rb")

    def reply(self):
        try:
            while True:
                line = self.file.readline(4096)
                if not line.endswith(b"\n"):
                    raise Gone
                if line[3:4] != b"-":
                    return line
        except OSError as e:
            raise Gone from e

    def say(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone from e

    def ask(self, data):
        self.say(data)
        return self.reply()

    def close(self):
        if self.file:
            self.file.close()
        self.sock.close()


class Load:
    def __init__(self, system, seed):
        self.system = system
        self.ledger = Ledger()
        self.stop = threading.Event()
        self.seed = seed
        self.counter = 0
        self.lock = threading.Lock()
        self.threads = []
        self.allowed = ENOUGH
        self.surprises = []  # what no kill excuses
        self.handshakes = {"good": 0, "failed": 0}

    def run(self):
        jobs = [self.sender] * 3 + [self.submitter] * 2 + [self.deleter] * 2 + [self.administrator]
        for i, job in enumerate(jobs):
            thread = threading.Thread(target=self.forever, args=(job, random.Random(f"{self.seed}/{i}")))
            thread.start()
            self.threads.append(thread)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(120)
            if thread.is_alive():
                raise RuntimeError("a load thread hangs")

    def forever(self, job, rng):
        while not self.stop.is_set():
            try:
                if self.counter > self.allowed:
                    time.sleep(0.3)
                job(rng)
            except TimeoutError:
                self.surprised(f"{job.__name__}: no answer within {PATIENCE_S} s")
            except Gone as e:
                if isinstance(e.__cause__, TimeoutError):
                    self.surprised(f"{job.__name__}: no answer within {PATIENCE_S} s")
                time.sleep(0.05)
            except poplib.error_proto as e:
                if "[AUTH]" in str(e):
                    self.surprised(f"{job.__name__}: a right password was called wrong: {e}")
                time.sleep(0.05)
            except (OSError, EOFError):
                time.sleep(0.05)

    def killed(self):
        """What was killed is back: more may be sent."""
        self.allowed = self.counter + ENOUGH

    def surprised(self, what):
        with self.lock:
            self.surprises.append(what)

    def shook(self, good):
        with self.lock:
            self.handshakes["good" if good else "failed"] += 1

    def new_token(self, rng, mark=""):
        size = rng.choice((500, 2000, 4096, 4096, 8000, 60000, 270000 if rng.random() < 0.3 else 900))
        if rng.random() < 0.01:
            size = 1500000
        with self.lock:
            self.counter += 1
            return f"{mark}{self.seed:x}z{self.counter:x}-{size}"

    # one connection with a few messages
    def sender(self, rng):
        line = Line(self.system.smtp_port)
        try:
            if not line.reply().startswith(b"220"):
                return
            line.ask(b"EHLO load.example.org\r\n")
            for _ in range(rng.randrange(1, 6)):
                if self.stop.is_set():
                    break
                self.send_one(line, rng)
            line.ask(b"QUIT\r\n")
        finally:
            line.close()

    def send_one(self, line, rng):
        names = rng.sample(MAILBOXES, rng.randrange(1, 3)) if rng.random() < 0.8 else [rng.choice(sorted(ALIASES))]
        accounts = [a for n in names for a in ALIASES.get(n, (n,))]
        token = self.new_token(rng)
        data = message(token)
        replies = [line.ask(b"MAIL FROM:<load@example.org> SIZE=%d\r\n" % len(data))]
        replies += [line.ask(f"RCPT TO:<{n}>\r\n".encode()) for n in names]
        if not all(r.startswith(b"250") for r in replies):
            line.ask(b"RSET\r\n")
            time.sleep(0.05)
            return
        self.ledger.tried(token, accounts)
        if rng.random() < 0.3:
            final = self.send_bdat(line, data, rng)
        else:
            answer = line.ask(b"DATA\r\n")
            final = line.ask(dot_stuffed(data)) if answer.startswith(b"354") else answer
        self.ledger.answered(token, accounts, final)

    def send_bdat(self, line, data, rng):
        cut = rng.randrange(len(data))
        first = line.ask(b"BDAT %d\r\n" % cut + data[:cut])
        if not first.startswith(b"250"):
            return first
        return line.ask(b"BDAT %d LAST\r\n" % (len(data) - cut) + data[cut:])

    # a user's session: STARTTLS or TLS from the first byte, a login, a few messages, some of them for elsewhere
    def submitter(self, rng):
        mark, account = rng.choice(sorted(SUBMITTERS.items()))
        line = self.submission(rng)
        try:
            login = base64.b64encode(f"\0{account}\0{PASSWORD}".encode())
            answer = line.ask(b"AUTH PLAIN " + login + b"\r\n")
            if not answer.startswith(b"235"):
                if not answer.startswith(b"4"):
                    self.surprised(f"submitter: a right password was answered {answer!r}")
                return
            for _ in range(rng.randrange(1, 5)):
                if self.stop.is_set():
                    break
                self.submit_one(line, account, self.new_token(rng, mark), rng)
            line.ask(b"QUIT\r\n")
        finally:
            line.close()

    def submission(self, rng):
        """A connection under TLS that has said EHLO."""
        implicit = rng.random() < 0.5
        try:
            line = Line(self.system.submissions_port if implicit else self.system.submission_port, implicit)
        except Gone:
            self.shook(False)
            raise
        try:
            if not line.reply().startswith(b"220"):
                raise Gone
            if not implicit:
                line.ask(b"EHLO load.example.org\r\n")
                if not line.ask(b"STARTTLS\r\n").startswith(b"220"):
                    raise Gone
                try:
                    line.secure()
                except Gone:
                    self.shook(False)
                    raise
            self.shook(True)
            line.ask(b"EHLO load.example.org\r\n")
            return line
        except BaseException:
            line.close()
            raise

    def submit_one(self, line, account, token, rng):
        names = rng.sample(MAILBOXES, rng.randrange(0, 3))
        remote = [f"{token}.{n}@far.example" for n in range(rng.randrange(0 if names else 1, 4))]
        answers = [line.ask(f"MAIL FROM:<{account}>\r\n".encode())]
        answers += [line.ask(f"RCPT TO:<{r}>\r\n".encode()) for r in names + remote]
        bad = [a for a in answers if not a.startswith(b"250")]
        if bad:
            if not all(a.startswith(b"4") for a in bad):
                self.surprised(f"submitter: {bad}")
            line.ask(b"RSET\r\n")
            time.sleep(0.05)
            return
        self.ledger.tried(token, names, remote)
        answer = line.ask(b"DATA\r\n")
        final = line.ask(dot_stuffed(message(token))) if answer.startswith(b"354") else answer
        if not final.startswith((b"250", b"4")):
            self.surprised(f"submitter: a message was answered {final!r}")
        self.ledger.answered(token, names, final, remote)

    def deleter(self, rng):
        account = rng.choice(MAILBOXES)
        try:
            pop = poplib.POP3_SSL("127.0.0.1", self.system.pop3s_port, timeout=PATIENCE_S, context=TLS)
        except (ssl.SSLError, ConnectionResetError):
            self.shook(False)
            raise
        self.shook(True)
        try:
            pop.user(account)
            pop.pass_(PASSWORD)
            count = pop.stat()[0]
            tokens = []
            for index in rng.sample(range(1, count + 1), min(count, rng.randrange(0, 4))):
                stored = b"".join(l + b"\r\n" for l in pop.retr(index)[1])
                token = split_stored(stored)[2]
                pop.dele(index)
                tokens.append(token)
            self.ledger.deleting(account, tokens, False)
            if pop.quit().startswith(b"+OK"):
                self.ledger.deleting(account, tokens, True)
        finally:
            pop.close()
        time.sleep(rng.random() * 0.1)

    def administrator(self, rng):
        with self.lock:
            self.counter += 1
            address = f"user{self.counter}@brant.test"
        self.ledger.account_is(address, "unknown")
        made = self.system.cli("account", "add", address, "--password-stdin", stdin=PASSWORD + "\n")
        if made.returncode == 0:
            self.ledger.account_is(address, "present")
            if rng.random() < 0.5:
                self.ledger.account_is(address, "unknown")
                if self.system.cli("account", "remove", address).returncode == 0:
                    self.ledger.account_is(address, "absent")
        time.sleep(0.2)
