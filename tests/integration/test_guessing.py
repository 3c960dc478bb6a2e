"""Passwords are guessed: what guessers get, what the owner of the account notices of it, what the clock tells."""
import concurrent.futures
import math
import random
import time

import pytest

import secure
from brantd import PASSWORD
from wire import Closed

FAST = {"auth.failure_delay": "20 ms", "max_login_failures": "100"}


@pytest.fixture(scope="module", autouse=True)
def settings(brantd):
    secure.configure(brantd, {"auth.account_failures": "5", "auth.source_failures": "12", **FAST})


NEXT = [0]


def fresh_source():
    """An address nobody has used before."""
    NEXT[0] += 1
    return f"127.1.{NEXT[0] // 250}.{1 + NEXT[0] % 250}"


def attempt(brantd, user, password, source, service="submissions", mechanism="PLAIN"):
    """"good", "wrong" or "later"."""
    c = secure.session(brantd, service, source=source)
    try:
        if mechanism == "PLAIN":
            good, text = secure.auth(c, "PLAIN", secure.plain(user, password))
        elif mechanism == "SCRAM":
            good, text = secure.Scram(user, password).login(c)
        else:
            c.ok(f"USER {user}")
            text = c.command(f"PASS {password}").decode()
            good = text.startswith("+OK")
        if good:
            return "good"
        if text.startswith(("535", "-ERR [AUTH]")):
            return "wrong"
        assert text.startswith(("454", "421", "-ERR [SYS/TEMP]", "-ERR [UNAVAILABLE]", "-ERR [LOGIN-DELAY]")), text
        return "later"
    finally:
        c.close()


def test_an_account_under_attack_stays_its_owners(brantd):
    """From many sources, so that no source is over its own limit."""
    user, home = brantd.account(), fresh_source()
    assert attempt(brantd, user, PASSWORD, home) == "good"
    log = secure.Log(brantd)
    answers = [attempt(brantd, user, f"guess-{n}", fresh_source()) for n in range(12)]
    assert answers[:4] == ["wrong"] * 4
    assert set(answers[6:]) <= {"later", "wrong"} and "good" not in answers
    assert attempt(brantd, user, PASSWORD, fresh_source()) == "later", "the right password is not tried from anywhere"
    assert attempt(brantd, user, PASSWORD, home) == "good", "but from where it was right before"
    assert attempt(brantd, user, PASSWORD, home, "pop3s", "USER") == "good"
    assert attempt(brantd, user, PASSWORD, home, "submission", "SCRAM") == "good"
    assert log.wait("event=login-failed", user, count=12), "every one of them is in the log"
    other = brantd.account()
    assert attempt(brantd, other, PASSWORD, fresh_source()) == "good", "other accounts do not notice"


def test_scram_and_pop3_count_like_the_others(brantd):
    user = brantd.account()
    for n, (service, mechanism) in enumerate([("submissions", "SCRAM"), ("pop3s", "USER"), ("pop3", "SCRAM"), ("submission", "PLAIN"),
                                              ("pop3s", "PLAIN"), ("submissions", "SCRAM")]):
        assert attempt(brantd, user, "guess", fresh_source(), service, mechanism) in ("wrong", "later"), n
    for service, mechanism in (("submissions", "PLAIN"), ("submissions", "SCRAM"), ("pop3s", "USER")):
        assert attempt(brantd, user, PASSWORD, fresh_source(), service, mechanism) == "later"


def test_names_that_do_not_exist_are_counted_alike(brantd):
    """Else the limit itself would tell which names exist."""
    for name in ("no-such-user@brant.test", "no-such-user@elsewhere.example"):
        answers = [attempt(brantd, name, "guess", fresh_source()) for _ in range(9)]
        assert answers[:4] == ["wrong"] * 4 and answers[-2:] == ["later"] * 2, answers


def test_a_source_that_tries_many_accounts_has_to_wait(brantd):
    """Also for an account that it knows; all others are served at once, and nothing has to be restarted."""
    source = fresh_source()
    answers = [attempt(brantd, f"spray-{n}@brant.test", "Summer2026", source) for n in range(20)]
    assert answers[:11] == ["wrong"] * 11 and answers[-4:] == ["later"] * 4, answers
    assert attempt(brantd, "bob@brant.test", PASSWORD, source) == "later"
    assert attempt(brantd, "bob@brant.test", PASSWORD, fresh_source()) == "good"


def test_throttled_guesses_cost_no_hashing(brantd):
    """Waiting is not paid with Argon2id: ten thousand guesses must not be ten thousand computations."""
    import os
    user = brantd.account()
    for n in range(7):
        attempt(brantd, user, f"first-{n}", fresh_source())
    [store] = brantd.roles("brant-store")
    before = store.ticks
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: attempt(brantd, user, f"more-{n}", f"127.2.{n // 250}.{1 + n % 250}"), range(120)))
    [store] = brantd.roles("brant-store")
    spent = (store.ticks - before) / os.sysconf("SC_CLK_TCK")
    assert set(answers) <= {"later"}, set(answers)
    print(f"{len(answers)} guesses cost the store {spent:.2f} s")
    assert spent < 120 * 0.015, "an Argon2id takes some 0.03 s"


@pytest.mark.slow
def test_the_account_is_open_again_after_a_minute(brantd):
    user = brantd.account()
    for n in range(8):
        attempt(brantd, user, f"guess-{n}", fresh_source())
    assert attempt(brantd, user, PASSWORD, fresh_source()) == "later"
    time.sleep(67)  # a window of twelve slices of five seconds, and the one that runs
    assert attempt(brantd, user, PASSWORD, fresh_source()) == "good"


def test_a_changed_limit_counts_at_once(brantd):
    user = brantd.account()
    for n in range(8):
        attempt(brantd, user, f"guess-{n}", fresh_source())
    assert attempt(brantd, user, PASSWORD, fresh_source()) == "later"
    before = secure.configure(brantd, {"auth.account_failures": "1000"})
    try:
        assert attempt(brantd, user, PASSWORD, fresh_source()) == "good"
    finally:
        secure.restore(brantd, before)


def test_many_logins_at_once_are_queued_or_deferred(brantd):
    """More password checks than the machine can do: everybody gets an answer, good ones are good or "later", never wrong."""
    users = [brantd.account() for _ in range(8)]
    before = secure.configure(brantd, {"auth.account_failures": "1000", "auth.source_failures": "10000"})
    try:
        def one(n):
            good = n % 2 == 0
            said = attempt(brantd, users[n % 8], PASSWORD if good else f"wrong-{n}", f"127.3.0.{1 + n % 200}")
            return good, said

        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(one, range(80)))
        print(f"80 logins in {time.monotonic() - start:.1f} s: " +
              ", ".join(f"{k} {answers.count(k)}" for k in sorted(set(answers))))
        assert {said for good, said in answers if good} <= {"good", "later"}
        assert {said for good, said in answers if not good} <= {"wrong", "later"}
        assert any(said == "good" for good, said in answers if good)
    finally:
        secure.restore(brantd, before)


def test_reconnects_are_cheap(brantd):
    """A right password that was right a moment ago costs no second Argon2id; a changed one counts at once."""
    import os
    user = brantd.account()
    source = fresh_source()
    assert attempt(brantd, user, PASSWORD, source, "pop3s") == "good"
    [store] = brantd.roles("brant-store")
    before = store.ticks
    for _ in range(60):
        assert attempt(brantd, user, PASSWORD, source, "pop3s") == "good"
    [store] = brantd.roles("brant-store")
    spent = (store.ticks - before) / os.sysconf("SC_CLK_TCK")
    print(f"60 logins cost the store {spent:.2f} s")
    assert spent < 60 * 0.015
    brantd.cli("account", "passwd", user, "--password-stdin", stdin="another\n")
    assert attempt(brantd, user, PASSWORD, source) == "wrong"
    assert attempt(brantd, user, "another", source) == "good"
    brantd.cli("account", "disable", user)
    assert attempt(brantd, user, "another", source) in ("wrong", "later")
    assert attempt(brantd, user, PASSWORD, source) in ("wrong", "later")
    brantd.cli("account", "enable", user)
    assert attempt(brantd, user, "another", source) == "good"


# ---- what the clock tells ----

def rank_test(a, b):
    """Mann-Whitney's U as a z value: how sure it is that one of the two samples is the larger."""
    both = sorted([(x, 0) for x in a] + [(x, 1) for x in b])
    ranks = sum(n + 1 for n, (_, which) in enumerate(both) if which == 0)
    u = ranks - len(a) * (len(a) + 1) / 2
    mean = len(a) * len(b) / 2
    return (u - mean) / math.sqrt(len(a) * len(b) * (len(a) + len(b) + 1) / 12)


def median(values):
    return sorted(values)[len(values) // 2]


def how_long(c, mechanism, user):
    start = time.monotonic()
    if mechanism == "PLAIN":
        said = secure.auth(c, "PLAIN", secure.plain(user, "a wrong password"))[1]
    elif mechanism == "SCRAM":
        said = secure.Scram(user, "a wrong password").login(c)[1]
    else:
        c.ok(f"USER {user}")
        said = c.command("PASS wrong").decode()
    took = time.monotonic() - start
    assert said.startswith(("535", "-ERR [AUTH]")), said
    return took


@pytest.mark.parametrize("service, mechanism", [("submissions", "PLAIN"), ("submissions", "SCRAM"), ("pop3s", "USER")])
def test_the_time_of_a_refusal_tells_nothing(brantd, service, mechanism):
    """Accounts that exist, that were moved here with a quick hash, that are locked, that do not exist, of foreign domains:
    as far as a client can see, all take the same time. Generous: other tests share the machine."""
    NEXT[0] += 1
    moved = f"moved-{NEXT[0]}@brant.test"
    brantd.cli("account", "add", moved, "--password-hash", secure.crypt_hash("from elsewhere", "$5$rounds=1000$saltsalt$"))
    locked = brantd.account()
    brantd.cli("account", "disable", locked)
    users = {"exists": brantd.account(), "moved": moved, "locked": locked, "unknown": f"unknown-{NEXT[0]}@brant.test",
             "foreign": f"somebody-{NEXT[0]}@elsewhere.example"}
    before = secure.configure(brantd, {"auth.account_failures": "1000", "auth.source_failures": "10000", "auth.failure_delay": "100 ms",
                                       "max_login_failures": "100"})
    took = {kind: [] for kind in users}
    try:
        def sample(seed):
            rng = random.Random(seed)
            found = []
            with secure.session(brantd, service, source=f"127.4.0.{1 + seed}") as c:
                for _ in range(5):
                    for kind in rng.sample(sorted(users), len(users)):
                        found.append((kind, how_long(c, mechanism, users[kind])))
            return found

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for found in pool.map(sample, range(6)):
                for kind, seconds in found:
                    took[kind].append(seconds)
    finally:
        secure.restore(brantd, before)
    medians = {kind: median(v) * 1000 for kind, v in took.items()}
    print(mechanism, {k: f"{v:.1f} ms" for k, v in medians.items()})
    assert min(medians.values()) >= 99, "the answer waits for auth.failure_delay"
    for kind, values in took.items():
        z = rank_test(took["exists"], values)
        difference = abs(medians[kind] - medians["exists"])
        assert abs(z) < 3.3 or difference < 1.5, f"{kind}: z {z:.1f}, medians differ by {difference:.1f} ms"


def test_the_words_of_a_refusal_tell_nothing(brantd):
    before = secure.configure(brantd, {"auth.account_failures": "1000", "auth.source_failures": "10000"})
    try:
        locked = brantd.account()
        brantd.cli("account", "disable", locked)
        users = [brantd.account(), locked, "unknown-words@brant.test", "x@elsewhere.example"]
        for service in ("submissions", "pop3s"):
            said = set()
            for user in users:
                with secure.session(brantd, service) as c:
                    said.add(secure.auth(c, "PLAIN", secure.plain(user, "wrong"))[1])
            assert len(said) == 1, said
        with secure.session(brantd, "pop3s") as c:
            assert len({c.command(f"USER {user}") for user in users}) == 1
    finally:
        secure.restore(brantd, before)


def test_the_log_has_every_login(brantd):
    user, source = brantd.account(), fresh_source()
    log = secure.Log(brantd)
    assert attempt(brantd, user, PASSWORD, source, "submissions") == "good"
    assert attempt(brantd, user, "wrong", source, "pop3s", "USER") == "wrong"
    [good], [bad] = log.wait("event=login ", user), log.wait("event=login-failed", user)
    for line, service, mechanism in ((good, "submissions", "PLAIN"), (bad, "pop3s", "PASSWORD")):
        assert f"service={service}" in line and source in line
        assert f"mechanism={mechanism}" in line or mechanism == "PASSWORD"
    assert "wrong" not in bad.replace("reason=wrong", "") or "reason=" in bad


def test_guessing_in_one_connection_ends_it(brantd):
    before = secure.configure(brantd, {"max_login_failures": "3"})
    try:
        c = secure.session(brantd, "submission", source=fresh_source())
        tries = 0
        try:
            while not secure.auth(c, "PLAIN", secure.plain("carol@brant.test", f"guess-{tries}"))[1].startswith("421"):
                tries += 1
        except Closed:
            pass
        assert tries == 3
        c.close()
    finally:
        secure.restore(brantd, before)
