import os
import resource
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import imap_clients  # noqa: E402
from brantd import Brantd  # noqa: E402

# Thousands of connections need descriptors; the hard limit is the machine's business.
_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than half a minute; left out with BRANT_QUICK=1")


def pytest_collection_modifyitems(items):
    if os.environ.get("BRANT_QUICK"):
        skip = pytest.mark.skip(reason="BRANT_QUICK is set")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The end of the server's log belongs to every failure."""
    report = (yield).get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Brantd):
                report.sections.append((f"log of {value.output}", value.log_tail()))


def running(directory):
    server = Brantd(directory)
    try:
        yield server.start()
    finally:
        wrong = server.stop()
        assert not wrong, "\n".join(wrong) + "\n" + server.log_tail()


@pytest.fixture(scope="module")
def brantd(tmp_path_factory):
    """One server for all tests of a file."""
    yield from running(tmp_path_factory.mktemp("brantd") / "demo")


@pytest.fixture
def own_brantd(tmp_path):
    """A server for one test that breaks things."""
    yield from running(tmp_path / "demo")


@pytest.fixture(scope="session")
def deaf(tmp_path_factory):
    """Begins with the first of the files on IMAP, is looked at by the last."""
    sessions = imap_clients.Deaf(str(tmp_path_factory.mktemp("deaf")))
    yield sessions
    sessions.stop()
