"""A real server for each run, real clients for each test.

A fixture owns what it starts: the server is stopped and checked for leftovers, sessions are always ended. After each
test the server's log may hold no WARN or ERROR that the test did not announce with
`@pytest.mark.expect_log("part of the line")`.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from berth import Server, leftovers  # noqa: E402

IMAGE = "agb-code-space-1"

# A live view page that shows a picture.
LIVE = "Boolean(window.__berth) && window.__berth.state === 'live' && window.__berth.framesPainted > 0"

os.environ.setdefault("AGB_LOG_LEVEL", "ERROR")


def wait_until(page, expression, deadline_s=20):
    """Waits for the page. Playwright's own way evaluates a string in the page, which its security policy forbids."""
    deadline = time.monotonic() + deadline_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression}: {page.evaluate('JSON.stringify(window.__berth)')}"
        page.wait_for_timeout(20)


def visit(page, url):
    """Opens a page. Chromium breaks off what it loads when a network link of the machine appears or goes, which here is
    another session's."""
    from playwright.sync_api import Error

    for _ in range(5):
        try:
            return page.goto(url)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in str(error):
                raise
    return page.goto(url)


def opened(page, url):
    """A page with a live view that shows a picture."""
    visit(page, url)
    wait_until(page, LIVE)
    return page


def until(condition, what, deadline_s=15):
    """What a condition gives, once that counts as true."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def pytest_configure(config):
    config.addinivalue_line("markers", "expect_log(text): the server may log a WARN or ERROR with this text")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "result_" + call.when, outcome.get_result())


@pytest.fixture(scope="session")
def binaries():
    """Folder with `berth` and `berth-guest`, as built by `scripts/test`."""
    folder = pathlib.Path(os.environ.get("BERTH_BIN", "")).resolve()
    assert (folder / "berth").exists(), "set BERTH_BIN to the folder of the built `berth`; `make e2e` does"
    return folder


@pytest.fixture(scope="session")
def images():
    return pathlib.Path(os.environ.get("BERTH_IMAGES", "/var/lib/berth/images"))


@pytest.fixture(scope="session")
def new_server(binaries, images):
    """Makes servers with data folders of their own; all are stopped, and nothing of them may be left."""
    servers = []

    def make(*flags, data=None, key=None, **options):
        data = data or pathlib.Path(tempfile.mkdtemp(prefix="berth-e2e-"))
        server = Server(binaries, images, data, flags, **options)
        # Of a server with the same database; by itself it gets one of its own.
        server.key = key
        servers.append(server)
        return server.start()

    yield make
    failures = []
    for server in servers:
        try:
            server.stop_for_good()
        except Exception as failure:  # the others must be stopped all the same
            failures.append(failure)
    assert failures == []
    assert leftovers(servers) == []


@pytest.fixture(scope="session")
def server(new_server):
    return new_server("--pool", "2")


@pytest.fixture(autouse=True)
def quiet_log(request, server):
    """Fails a test that made the server warn."""
    expected = [mark.args[0] for mark in request.node.iter_markers("expect_log")]
    start = server.log_size()
    yield
    complaints = [
        line
        for line in server.log_since(start).splitlines()
        if re.search(r" (WARN|ERROR) ", line) and not any(text in line for text in expected)
    ]
    failed = any(getattr(request.node, "result_" + when, None) and getattr(request.node, "result_" + when).failed
                 for when in ("setup", "call"))
    if failed:
        print("server log of this test:\n" + server.log_since(start)[-6000:])
    assert complaints == []


@pytest.fixture
def agb(server):
    return server.agb()


@pytest.fixture
def new_session(agb):
    """Makes sessions; all are ended."""
    from agb import CreateSessionParams

    sessions = []

    def make(**params):
        created = agb.create(CreateSessionParams(image_id=params.pop("image_id", IMAGE), **params))
        assert created.success, created.error_message
        print("session", created.session.session_id)
        sessions.append(created.session)
        return created.session

    yield make
    for session in sessions:
        ended = agb.delete(session)
        assert ended.success, ended.error_message


@pytest.fixture
def session(new_session):
    return new_session()


@pytest.fixture(scope="module")
def shared(server):
    """One session for all tests of a file: that each leaves it usable is part of what is tested."""
    from agb import CreateSessionParams

    agb = server.agb()
    created = agb.create(CreateSessionParams(image_id=IMAGE))
    assert created.success, created.error_message
    yield created.session
    assert agb.delete(created.session).success


@pytest.fixture
def api(server):
    """Raw calls on the API, with the key: what no SDK would send."""

    class Api(requests.Session):
        def request(self, method, path, **options):
            url = path if path.startswith("http") else server.endpoint + path
            return super().request(method, url, timeout=options.pop("timeout", 60), **options)

    api = Api()
    api.headers["Authorization"] = f"Bearer {server.key}"
    return api


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request):
    """A browser page; its last picture is kept as an artifact."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    artifacts = pathlib.Path(__file__).parent / "artifacts"
    artifacts.mkdir(exist_ok=True)
    page.screenshot(path=artifacts / f"{request.node.name}.png")
    context.close()
    assert errors == []
