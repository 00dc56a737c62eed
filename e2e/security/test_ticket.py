"""The ticket in a live view URL opens a screen: it stays between the browser and the server."""

import http.server
import pathlib
import threading

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from collector import Collector
from conftest import IMAGE, LIVE, visit, wait_until

HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Elsewhere(http.server.ThreadingHTTPServer):
    """Another site, which writes down what it is told. `localhost` is another origin than `127.0.0.1`."""

    def __init__(self):
        self.asked = []
        self.page = "<title>elsewhere</title>"
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://localhost:{self.server_address[1]}"


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/favicon.ico":  # which belongs to the page from here
            self.server.asked.append((self.path, self.headers.get("Referer")))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.page.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    site = Elsewhere()
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture
def url(shared):
    return shared.info().data["resource_url"].split("?")[0]


def socket_status(url, **headers):
    return requests.get(url + "ws", headers=HANDSHAKE | headers, stream=True).status_code


def test_the_socket_opens_for_its_own_page_alone(url):
    scheme, _, host = url.split("/")[:3]
    name, port = host.split(":")
    for origin in (f"{scheme}//{host}", f"{scheme}//{host}".upper()):
        with websockets.sync.client.connect("ws" + url[4:] + "ws", origin=origin, proxy=None):
            pass
    # A program that is no browser sends none; the ticket is enough.
    with websockets.sync.client.connect("ws" + url[4:] + "ws", proxy=None):
        pass
    for origin in ("null", "", "https://evil.example", f"http://{host}.evil.example", f"http://{host}1",
                   f"http://{name}", f"http://{name}:{int(port) - 1}", f"http://evil.example/{host}",
                   f"http://{host}@evil.example", f"http://evil@{host}", f"http://localhost:{port}",
                   f"http://a.{host}", f"file://{host}", f"{host}"):
        assert socket_status(url, Origin=origin) == 400, origin
    # What a page cannot set does not help it either.
    assert socket_status(url, Origin="http://evil.example", **{"X-Forwarded-Host": "evil.example"}) == 400


def test_every_answer_keeps_the_url_private(server, url, api):
    page = requests.get(url)
    answers = {
        "page": page,
        "redirect": requests.get(url.rstrip("/"), allow_redirects=False),
        "status": requests.get(url + "status"),
        "refusal": requests.get(server.endpoint + "/view/nonsense/"),
        "refused socket": requests.get(url + "ws", headers=HANDSHAKE | {"Origin": "null"}),
        "wrong method": requests.post(url),
    }
    for name, answer in answers.items():
        assert answer.headers["referrer-policy"] == "no-referrer", name
        assert answer.headers["cache-control"] == "no-store", name
        assert "set-cookie" not in answer.headers, name
    assert answers["redirect"].status_code == 308
    assert answers["wrong method"].status_code == 405

    names = [part.split('"')[0] for part in page.text.split('"../assets/')[1:]]
    assert names
    for name in names:
        asset = requests.get(f"{server.endpoint}/view/assets/{name}")
        assert asset.headers["referrer-policy"] == "no-referrer" and "immutable" in asset.headers["cache-control"]

    for answer in (page, answers["refusal"]):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "*" not in policy
        assert "frame-ancestors" not in policy and "x-frame-options" not in answer.headers  # framing is a use of it
        features = answer.headers["permissions-policy"]
        for own in ("clipboard-read", "clipboard-write", "fullscreen", "autoplay"):
            assert f"{own}=(self)" in features
        assert "camera=()" in features


def test_the_page_that_refuses_looks_as_it_should(server, page):
    """Its policy names its style by a hash."""
    visit(page, server.endpoint + "/view/nonsense/")
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"


@pytest.mark.parametrize("lax", [False, True], ids=["as it is", "without its policy"])
def test_another_site_never_hears_of_the_ticket(browser, url, elsewhere, lax):
    """Also when a script in the page could do as it likes."""
    context = browser.new_context(bypass_csp=lax)
    page = context.new_page()
    visit(page, url)
    wait_until(page, LIVE)
    asks = f"""(async () => {{
      await fetch('{elsewhere.url}/fetch', {{ mode: 'no-cors' }}).catch(() => 0)
      await new Promise(done => {{ const i = new Image(); i.onload = i.onerror = done; i.src = '{elsewhere.url}/image' }})
      await new Promise(done => {{ const f = document.createElement('iframe'); f.onload = f.onerror = done
        f.src = '{elsewhere.url}/frame'; document.body.append(f); setTimeout(done, 1000) }})
      return document.cookie
    }})()"""
    assert page.evaluate(asks) == ""
    with context.expect_page() as opened:
        page.evaluate(f"void window.open('{elsewhere.url}/window')")
    opened.value.wait_for_load_state()
    with page.expect_navigation():
        page.evaluate(f"""(() => {{ const a = document.createElement('a'); a.href = '{elsewhere.url}/link'
          document.body.append(a); a.click() }})()""")
    paths = {path for path, _ in elsewhere.asked}
    assert {"/link", "/window"} <= paths
    assert {"/fetch", "/image", "/frame"} & paths == ({"/fetch", "/image", "/frame"} if lax else set())
    assert {referer for _, referer in elsewhere.asked} == {None}
    assert context.cookies() == []
    context.close()


def test_another_site_may_frame_the_page(page, url, elsewhere):
    elsewhere.page = f"<iframe src='{url}' width=800 height=600 allow='clipboard-read; clipboard-write'></iframe>"
    visit(page, elsewhere.url)
    framed = page.wait_for_selector("iframe").content_frame()
    framed.wait_for_url("**/view/**")
    wait_until(framed, LIVE)


def test_no_record_of_the_server_holds_a_ticket(new_server, monkeypatch):
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("BERTH_LOG", "debug,hyper=trace,tungstenite=trace,axum=trace,tower=trace")
    server = new_server("--pool", "0", "--view-url-ttl", "600")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    url = session.info().data["resource_url"].split("?")[0]
    ticket = url.split("/")[-2]
    assert len(ticket) >= 43
    with websockets.sync.client.connect("ws" + url[4:] + "ws", proxy=None):
        pass
    socket_status(url, Origin="https://evil.example")

    def every_way():
        requests.get(url)
        requests.get(url.rstrip("/"))
        requests.get(url + "status")
        requests.post(url)
        requests.put(url + "ws")
        requests.get(url + "ws")
        requests.get(url + "no-such-file")
        requests.get(url + "%FF")
        requests.get(f"{server.endpoint}/prefix/view/{ticket}/")
        requests.get(f"{server.endpoint}/{ticket}")
        requests.get(f"{server.endpoint}/view/assets/{ticket}")
        requests.get(f"{server.endpoint}/view/assets/none.js", headers={"Referer": url})
        requests.get(f"{server.endpoint}/healthz?ticket={ticket}")
        requests.request(ticket[:40], url)

    every_way()
    assert agb.delete(session).success
    every_way()
    counted = requests.get(server.endpoint + "/metrics").text
    assert "/view/{ticket}/" in counted
    server.stop()
    records = {"log": server.log.read_text(), "audit": (server.data / "audit.jsonl").read_text(), "metrics": counted,
               "traces": repr(collector.batches)}
    assert "refused POST" in records["log"] and "view.open" in records["audit"] and "/view/{ticket}/" in records["traces"]
    for name, text in records.items():
        assert ticket not in text, f"{name}: {[line for line in text.splitlines() if ticket in line][:3]}"
    for path in pathlib.Path(server.data).glob("berth.db*"):
        assert ticket.encode() not in path.read_bytes(), path
    collector.shutdown()
    collector.server_close()
