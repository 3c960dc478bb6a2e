"""testssl.sh (Debian's testssl.sh) looks at every port, directly and by STARTTLS, and finds nothing worse than what a
self-signed certificate on a loopback address explains. It runs offline: no look-ups of revocation or names."""
import concurrent.futures
import json
import subprocess

import pytest

import secure
from peers import program

# What the demo's own certificate, and being asked by address, explain. Everything else must be fine.
EXPLAINED = {
    "engine_problem": "the OpenSSL of this machine has no GOST, which is not tested",
    "cert_chain_of_trust": "self-signed",
    "cert_trust": "asked for by address, and the certificate is for the host's name",
    "cert_revocation": "nobody could revoke it",
    "cert_crlDistributionPoints": "nobody could revoke it",
    "cert_ocspURL": "nobody could revoke it",
    "DNS_CAArecord": "no DNS for a loopback address",
    "cert_validityPeriod": "of the server's own making, longer than the 398 days of the web's authorities",
    "cert_extlifeSpan": "the same, as newer versions call it",
    "cert_certificatePolicies_EV": "not for sale to oneself",
}
WORSE = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")
PROBES = [("submissions", None, ["-p", "-S", "-P", "-U"]),
          ("pop3s", None, ["-p", "-S"]),
          ("smtp", "smtp", ["-p", "-S", "-I"]),
          ("submission", "smtp", ["-p", "-R"]),
          ("pop3", "pop3", ["-p", "-S", "-I"])]


def look(brantd, folder, service, starttls, flags):
    """[finding, …] of one run."""
    path = folder / f"{service}.json"
    how = ["-t", starttls] if starttls else []
    done = subprocess.run([program("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1",
                           "--openssl-timeout", "10", "--connect-timeout", "10", "--jsonfile", str(path), *flags, *how,
                           f"127.0.0.1:{secure.port(brantd, service)}"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
    assert path.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(path.read_text())


@pytest.mark.slow
def test_testssl_finds_nothing(brantd, tmp_path):
    secure.configure(brantd, {"max_connections_per_source": "5000", "smtp_timeout_start": "5 min"})
    with concurrent.futures.ThreadPoolExecutor(len(PROBES)) as pool:
        runs = list(pool.map(lambda p: look(brantd, tmp_path, *p), PROBES))
    for (service, _, flags), findings in zip(PROBES, runs):
        ids = {f["id"] for f in findings}
        assert {"TLS1_2", "TLS1_3", "SSLv3", "TLS1"} <= ids, f"{service}: {sorted(ids)}"
        verdict = {f["id"]: f for f in findings}
        assert verdict["TLS1_3"]["finding"].startswith("offered") and verdict["TLS1_2"]["finding"].startswith("offered")
        for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            assert verdict[old]["finding"].startswith("not offered"), verdict[old]
        bad = [f for f in findings if f["severity"] in WORSE and f["id"].split(" ")[0] not in EXPLAINED]
        print(f"{service}: {len(findings)} findings, " +
              ", ".join(f"{f['id']} ({f['severity']})" for f in findings if f["severity"] in WORSE))
        assert bad == [], f"{service}: {json.dumps(bad, indent=1)}"
    everything = {f["id"] for findings in runs for f in findings}
    assert {"heartbleed", "CCS", "secure_client_renego", "secure_renego", "CRIME_TLS", "LUCKY13", "ROBOT"} <= everything, sorted(everything)
