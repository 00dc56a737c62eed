"""Port links: servers inside a session, through the URLs that `get_link` returns."""

import concurrent.futures
import hashlib
import http.client
import json
import pathlib
import re
import socket
import urllib.parse

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE, visit

PORT_SERVER = pathlib.Path(__file__).parent.parent / "port_server.py"
MIB = 1 << 20


def serve(session, *ports):
    """Starts the test server inside; it listens when this returns."""
    written = session.file.write("/tmp/port_server.py", PORT_SERVER.read_text())
    assert written.success, written.error_message
    ports = " ".join(str(port) for port in ports)
    started = session.command.execute(f"python3 /tmp/port_server.py {ports}", timeout_ms=60000)
    assert started.success and started.output == "", started


def link(session, port=None, protocol=None):
    got = session.get_link(protocol, port)
    assert got.success and got.request_id, got.error_message
    return got.data


@pytest.fixture(scope="module")
def inside(server):
    """A session in which servers listen at both ends of the range."""
    agb = server.agb()
    created = agb.create(CreateSessionParams(image_id=IMAGE))
    assert created.success, created.error_message
    serve(created.session, 30100, 30199, 30099, 30200)
    yield created.session
    assert agb.delete(created.session).success


@pytest.fixture(scope="module")
def url(inside):
    return link(inside, 30100)


def raw(url, head, body=b""):
    """Sends bytes as they stand below a link; returns the open socket."""
    parts = urllib.parse.urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
    connection.sendall(head.replace(b"{path}", parts.path.encode()).replace(b"{host}", parts.netloc.encode()) + body)
    return connection


def read_all(connection):
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


# The link


def test_links_follow_port_and_protocol(server, inside):
    default = link(inside)
    assert re.fullmatch(rf"{server.endpoint}/port/30100-{inside.session_id}-[a-z0-9]{{32}}/", default)
    assert link(inside, 30100) == link(inside, 30100, "http") == link(inside, 30100, "https") == default
    # The server itself is not secure, so its links are not.
    assert link(inside, 30100, "wss") == link(inside, 30100, "ws") == default.replace("http://", "ws://")
    assert requests.get(link(inside, 30199) + "x").json()["port"] == 30199
    assert requests.get(link(inside, 30100) + "x").json()["port"] == 30100


@pytest.mark.parametrize("route", ["/internet/getLink", "/mcp/getLink"])
def test_port_zero_is_the_default(api, inside, url, route):
    for query in ({}, {"port": "0"}, {"port": ""}, {"port": "30100", "protocolType": "https"}):
        answer = api.get(route, params={"sessionId": inside.session_id, **query}).json()
        assert answer["success"] is True and answer["data"] == {"url": url}


@pytest.mark.parametrize("port", [30099, 30200, 8080, -1, 65636, 1 << 40, "http"])
def test_other_ports_are_refused_with_those_there_are(api, inside, port):
    answer = api.get("/internet/getLink", params={"sessionId": inside.session_id, "port": port})
    body = answer.json()
    assert answer.status_code == 400 and body["code"] == "InvalidParameter" and "data" not in body
    assert str(port) in body["message"] and "`port`" in body["message"]
    if port != "http":
        assert "allowed: 30100 to 30199" in body["message"]


def test_other_protocols_are_refused(api, inside):
    answer = api.get("/internet/getLink", params={"sessionId": inside.session_id, "protocolType": "ftp"}).json()
    assert answer["message"] == '`protocolType` is "ftp"; allowed: http, https, ws, wss'


def test_a_link_needs_a_session_of_the_callers_key(server, api, inside):
    params = {"sessionId": inside.session_id, "port": 30100}
    assert requests.get(server.endpoint + "/internet/getLink", params=params).status_code == 401
    other = {"Authorization": f"Bearer {server.new_key('port-links')}"}
    foreign = requests.get(server.endpoint + "/internet/getLink", params=params, headers=other)
    unknown = requests.get(server.endpoint + "/internet/getLink", headers=other,
                           params={**params, "sessionId": "s-" + "a" * 20})
    assert foreign.status_code == unknown.status_code == 400
    assert foreign.json()["message"] == unknown.json()["message"].replace("s-" + "a" * 20, inside.session_id)
    assert "`sessionId` is missing" in api.get("/internet/getLink").json()["message"]


def test_a_link_opens_itself_only(server, inside, url, new_session):
    other = link(new_session(), 30100)
    name, mac = url.split("/")[-2], url.rstrip("/").rsplit("-", 1)[1]
    other_mac = other.rstrip("/").rsplit("-", 1)[1]
    refusals = set()
    for forged in (name.replace("30100", "30199"), name.replace("30100", "30099"), name.replace("30100", "8080"),
                   name.replace(mac, other_mac), name.replace(mac, mac[::-1]), name[:-1], name.upper(), "x",
                   f"30100-s-{'a' * 20}-{mac}", f"30100-{inside.session_id}-", "%2e%2e", "a" * 5000):
        answer = requests.get(f"{server.endpoint}/port/{forged}/")
        refusals.add((answer.status_code, answer.json()["message"]))
    assert len(refusals) == 1 and refusals.pop()[0] == 404


# What passes


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE"])
def test_every_method_passes_with_its_body(url, method):
    body = b"" if method in ("GET", "OPTIONS", "TRACE") else b"\x00\xff" * 5000
    answer = requests.request(method, url + "a//b/%2e%2e/c?d=e%20f&d=", data=body or None,
                              headers={"X-Mine": "kept", "Authorization": "Bearer app-token", "Cookie": "a=b"})
    echo = answer.json()
    assert answer.status_code == 200 and answer.headers["x-request-id"] == "mine"
    assert echo["method"] == method and echo["path"].endswith("/c?d=e%20f&d=")
    assert (echo["length"], echo["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    headers = echo["headers"]
    assert headers["host"] == "127.0.0.1:30100" and headers["x-mine"] == "kept" and headers["cookie"] == "a=b"
    assert headers["authorization"] == "Bearer app-token"
    assert headers["x-forwarded-prefix"] == urllib.parse.urlsplit(url).path.rstrip("/")
    assert headers["x-forwarded-for"] == "127.0.0.1" and headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == urllib.parse.urlsplit(url).netloc


def test_the_path_passes_as_it_stands(url):
    with raw(url, b"GET {path}/a//b/%2e%2e/c?d=%C3%A4 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n") as connection:
        answer = read_all(connection)
    assert b'"path": "/a//b/%2e%2e/c?d=%C3%A4"' in answer


def test_a_key_of_the_server_stays_outside(server, url, inside):
    echo = requests.get(url + "x", headers={"Authorization": f"Bearer {server.key}"}).json()
    assert "authorization" not in echo["headers"] and server.key not in json.dumps(echo)


def test_a_head_answer_has_a_length_and_no_body(url):
    answer = requests.head(url)
    assert answer.status_code == 200 and int(answer.headers["content-length"]) > 100 and answer.content == b""


@pytest.mark.parametrize("code", [201, 204, 206, 304, 401, 404, 418, 500, 599])
def test_every_status_passes(url, code):
    answer = requests.get(url + f"status?code={code}", allow_redirects=False)
    assert answer.status_code == code
    assert answer.content == (b"" if code in (204, 304) else b"x")


def test_a_link_without_its_slash_leads_to_the_one_with_it(url):
    answer = requests.get(url.rstrip("/") + "?a=b", allow_redirects=False)
    assert answer.status_code == 308
    assert urllib.parse.urljoin(url.rstrip("/"), answer.headers["location"]) == url + "?a=b"


def test_redirects_and_cookies_stay_below_the_link(url):
    prefix = urllib.parse.urlsplit(url).path
    for to, becomes in (("/echo", prefix + "echo"), ("echo", "echo"), ("http://127.0.0.1:30100/echo", prefix + "echo"),
                        ("https://example.org/", "https://example.org/"), (prefix + "echo", prefix + "echo")):
        answer = requests.get(url + "move", params={"to": to}, allow_redirects=False)
        assert answer.headers["location"] == becomes
    assert requests.get(url + "move", params={"to": "/echo"}).json()["path"] == "/echo"

    with requests.Session() as client:
        answer = client.get(url + "cookie", params={"cookie": "first=1; Path=/; Domain=127.0.0.1"})
        assert "service-worker-allowed" not in answer.headers
        assert answer.headers["referrer-policy"] == "same-origin"
        assert {cookie.name: cookie.path for cookie in client.cookies} == {"first": prefix, "second": prefix.rstrip("/")}
        assert "first=1" in client.get(url + "nested/echo").json()["headers"]["cookie"]


def test_an_expectation_is_answered(url):
    head = (b"POST {path}echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n")
    with raw(url, head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"hello")
        assert b'"length": 5' in read_all(connection)


def test_a_client_of_http_1_0_gets_whole_answers(url):
    with raw(url, b"GET {path}flood?bytes=262144 HTTP/1.0\r\nHost: {host}\r\n\r\n") as connection:
        head, body = read_all(connection).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.0 200") and len(body) == 262144


# Streams


def memory_peak(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_pass_without_being_kept(server, url, chunked):
    requests.get(url + "x")
    before = memory_peak(server)
    piece, count = bytes(range(256)) * 4096, 200

    class Pieces:
        """A body that is made as it is read; with a length it is sent as it is, without in chunks."""

        def __iter__(self):
            return iter([piece] * count)

        if not chunked:
            def __len__(self):
                return len(piece) * count

    sent = requests.put(url + "echo", data=Pieces()).json()
    assert sent["length"] == 200 * MIB
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    assert sent["sha256"] == digest.hexdigest()

    received = 0
    with requests.get(url + f"flood?bytes={200 * MIB}", stream=True) as answer:
        for part in answer.iter_content(MIB):
            received += len(part)
    assert received == 200 * MIB
    assert memory_peak(server) - before < 24 * MIB


def test_a_stream_arrives_as_it_is_sent(url):
    with requests.get(url + "events?id=one", stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"data: first"
        # The server inside goes on only after this, so the first piece did not wait for the second.
        assert requests.post(url + "release?id=one").text == "released"
        assert [line for line in lines if line] == [b"data: second"]


def test_websockets_pass_both_ways(inside):
    with websockets.sync.client.connect(link(inside, 30100, "ws") + "ws", max_size=None) as socket:
        for message in ("hello", b"\x00\xff" * 1000, "x" * (2 * MIB)):
            socket.send(message)
            assert socket.recv(timeout=30) == message
        socket.ping().wait(30)


def test_any_upgrade_passes_and_each_direction_ends_by_itself(url):
    head = b"GET {path}upper HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: upper\r\n\r\n"
    with raw(url, head) as connection:
        file = connection.makefile("rb")
        assert file.readline().startswith(b"HTTP/1.1 101 ")
        headers = http.client.parse_headers(file)
        assert headers["upgrade"] == "upper" and headers["connection"].lower() == "upgrade"
        connection.sendall(b"hello\n")
        assert file.readline() == b"HELLO\n"
        connection.shutdown(socket.SHUT_WR)
        assert file.read() == b"goodbye\n"


# What goes wrong


def test_a_refusal_arrives_though_the_body_was_not_read(url):
    head = b"POST {path}refuse HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000\r\n\r\n"
    for size in (0, 1, 65536, MIB) * 5:
        with raw(url, head, bytes(size)) as connection:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, answer.read()) == (413, b"too much")


def test_where_nothing_listens_the_answer_says_so(inside):
    url = link(inside, 30150)
    answer = requests.post(url, data=b"x" * MIB)
    body = answer.json()
    assert answer.status_code == 502 and body["code"] == "PortUnavailable" and body["success"] is False
    assert "port 30150" in body["message"] and inside.session_id in body["message"]
    page = requests.get(url, headers={"Accept": "text/html,*/*"})
    assert page.status_code == 502 and page.headers["content-type"].startswith("text/html")
    assert "port 30150" in page.text and page.headers["content-security-policy"].startswith("default-src 'none'")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(link(inside, 30150, "ws"))
    assert refused.value.response.status_code == 502


@pytest.mark.parametrize("what", [
    "garbage", "nothing", "old", "cut-head", "two-lengths", "bad-length", "folded", "bad-name", "bad-value", "bad-status",
    "many-headers", "huge-header", "unasked-upgrade"])
def test_an_answer_that_is_none_becomes_a_bad_gateway(url, what):
    answer = requests.get(url + f"raw?what={what}", timeout=30)
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "PortUnavailable" and "port 30100" in answer.json()["message"]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("what", ["short", "bad-chunk", "cut-chunk"])
def test_a_body_that_breaks_off_is_not_taken_for_whole(url, what):
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        requests.get(url + f"raw?what={what}", timeout=30)


@pytest.mark.parametrize("what", ["split", "both", "early", "close"])
def test_an_answer_ends_where_it_ends(url, what):
    with raw(url, b"GET {path}raw?what=" + what.encode() + b" HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n") \
            as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200 and answer.read() == b"hello"
        assert connection.recv(1) == b""


def test_a_client_that_leaves_frees_its_connection(inside, url):
    for number in range(20):
        with requests.get(url + f"events?id=left-{number}", stream=True) as answer:
            assert next(answer.iter_lines()) == b"data: first"
    # 7594 is the port, 01 a connection that both sides hold.
    open_connections = "awk '$2 ~ /:7594$/ && $4 == \"01\"' /proc/net/tcp | grep -q ."
    waited = inside.command.execute(f"while {open_connections}; do sleep 0.05; done", timeout_ms=30000)
    assert waited.success, waited.error_message
    for number in range(20):
        assert requests.post(url + f"release?id=left-{number}").text == "released"


def test_a_link_ends_with_its_session(agb):
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    serve(session, 30100)
    url = link(session)
    open_answer = requests.get(url + "events?id=open", stream=True)
    lines = open_answer.iter_lines()
    assert next(lines) == b"data: first"
    with websockets.sync.client.connect(link(session, 30100, "ws") + "ws") as open_socket:
        open_socket.send("alive")
        assert open_socket.recv(timeout=30) == "alive"
        assert agb.delete(session).success
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            open_socket.recv(timeout=30)
    # It breaks: a client cannot take the part for the whole.
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(lines)
    for headers in ({}, {"Accept": "text/html"}):
        answer = requests.get(url, headers=headers)
        assert answer.status_code == 410 and "released" in answer.text and session.session_id in answer.text
    assert not session.get_link(None, 30100).success


def test_links_and_their_servers_outlive_the_server(new_server):
    own = new_server("--pool", "1")
    session = own.agb().create(CreateSessionParams(image_id=IMAGE)).session
    serve(session, 30100)
    url = link(session)
    assert requests.get(url + "x").json()["path"] == "/x"
    own.kill()
    own.start()
    assert requests.get(url + "x").json()["path"] == "/x"
    assert link(session) == url
    # A stop ends what would never end, and does not wait for it.
    with requests.get(url + "events?id=stop", stream=True) as answer, \
            websockets.sync.client.connect(url.replace("http", "ws") + "ws") as open_socket:
        lines = answer.iter_lines()
        assert next(lines) == b"data: first"
        own.stop()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(lines)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            open_socket.recv(timeout=30)
    assert " WARN " not in own.log.read_text()
    own.start()
    assert requests.get(url + "x").json()["path"] == "/x"
    assert own.agb().delete(session).success


def test_what_moves_counts_as_use_and_what_is_only_open_does_not(new_session):
    """Of two sessions with the same idle time, the one that is asked for something outlives the silent one."""
    asked = new_session(idle_release_timeout=4)
    serve(asked, 30100)
    url = link(asked)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = threads.submit(requests.get, url + "hold?id=held", timeout=60)
        silent = new_session(idle_release_timeout=4)
        serve(silent, 30100)
        silent_url = link(silent)
        with websockets.sync.client.connect(silent_url.replace("http", "ws") + "ws", ping_interval=None) as open_socket, \
                requests.get(silent_url + "events?id=silent", stream=True) as answer:
            assert next(answer.iter_lines()) == b"data: first"
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                open_socket.recv(timeout=60)
        assert "idle" in requests.get(silent_url).json()["message"]
        assert not held.done()
        assert requests.get(url + "release?id=held").text == "released"
        assert held.result().text == "held"


# Pages


def test_a_page_finds_its_files_and_its_socket(url, page):
    for at in ("", "nested/"):
        visit(page, url + at)
        page.wait_for_function("document.getElementById('said').textContent !== 'waiting'")
        assert page.text_content("#said") == f"GET /{at}echo"
        assert page.evaluate("getComputedStyle(document.getElementById('said')).color") == "rgb(1, 2, 3)"


def test_links_can_have_host_names_of_their_own(new_server, page):
    own = new_server("--pool", "1", "--ports", "8000-8001")
    port = own.listen.split(":")[1]
    own.stop()
    own.flags += ("--links-url", f"http://*.links.localhost:{port}")
    own.start()
    session = own.agb().create(CreateSessionParams(image_id=IMAGE)).session
    serve(session, 8000)
    url = link(session)
    host = urllib.parse.urlsplit(url).netloc
    assert re.fullmatch(rf"8000-{session.session_id}-[a-z0-9]{{32}}\.links\.localhost:{port}", host)
    assert "allowed: 8000 to 8001" in requests.get(
        own.endpoint + "/internet/getLink", params={"sessionId": session.session_id, "port": 30100},
        headers={"Authorization": f"Bearer {own.key}"}).json()["message"]

    def get(path, host, **options):
        return requests.get(own.endpoint + path, headers={"Host": host}, allow_redirects=False, **options)

    echo = get("/mcp//a?b", host.upper()).json()
    assert echo["path"] == "/mcp//a?b" and "x-forwarded-prefix" not in echo["headers"]
    assert echo["headers"]["x-forwarded-host"] == host.upper()
    assert get("/move", host, params={"to": "http://127.0.0.1:8000/x"}).headers["location"] == "/x"
    # Each kind of address serves its own only: no page of a session under the server's name, no API under a link's.
    label = host.split(".")[0]
    assert get(f"/port/{label}/", own.listen).status_code == 404
    assert get("/healthz", f"x.links.localhost:{port}").json()["code"] == "LinkNotFound"
    assert get("/healthz", own.listen).json()["status"] == "ok"

    visit(page, url)
    page.wait_for_function("document.getElementById('said').textContent !== 'waiting'")
    assert page.text_content("#said") == "GET /echo"
    assert own.agb().delete(session).success
