"""Tries to get in at every route that the server has, as its own document lists them.

Nobody has to remember to add a route here: one that declares no access class, or whose class this file cannot attack, fails.
"""

import secrets
import socket
import subprocess
import urllib.parse

import pytest
import requests
from agb import CreateSessionParams
from conftest import IMAGE

# Open on purpose; each says why.
OPEN = {
    "frontPage": "says that this is Berth, and nothing else",
    "health": "for load balancers; counts sessions, names none",
    "metrics": "the setting `metrics` closes it; test_telemetry.py tests that",
    "openapi": "the same for every server of this version",
    "viewAsset": "scripts and styles; the same for every server of this version",
}

# Need a key, and name nobody's session.
OF_NO_SESSION = {
    "createSession": "makes a session of the caller's own",
    "sendMcpMessage": "makes a session of the caller's own, or names one in a header; test_mcp.py tests that",
    "endMcpSession": "names the session in a header; test_mcp.py tests that",
    "openMcpStream": "makes a session of the caller's own",
    "listSessions": "lists the caller's own; test_api.py tests that",
    "listSessionSummaries": "lists the caller's own; test_detail.py tests that",
    "listTools": "images are the same for all keys",
}

# Answer without looking at the ticket or link.
BLIND = {
    "viewRedirect": "adds a slash to any URL; the page behind it looks",
    "portRedirect": "adds a slash to any URL; what is behind it looks",
}

# Take a key that was revoked, and say of other sessions than its own what they say to any key.
OF_FORMER_CALLERS = {"getSessionInfo": "a client that waits for the end of its session is told of it; test_keys.py tests that"}

WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Route:
    """An operation of the document, and how to call it."""

    def __init__(self, document, path, method, operation):
        self.path, self.method, self.operation = path, method, operation
        # `portRoot.put`: one handler for several methods.
        self.name, self.access = operation["operationId"].split(".")[0], operation.get("x-access")
        self.responses = set(operation["responses"])
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            body = document["components"]["schemas"][body["$ref"].rsplit("/", 1)[-1]]
        self.body = body
        self.parameters = [parameter for parameter in operation.get("parameters", []) if parameter["in"] != "header"]
        self.names = {parameter["name"] for parameter in self.parameters} | set(body.get("properties", {}))

    def names_a_session(self):
        return bool(self.names & {"sessionId", "session"})

    def value(self, name, schema, given):
        if name in given:
            return given[name]
        known = schema.get("example", next(iter(schema.get("examples", [])), schema.get("default")))
        assert known is not None, f"{self.name}: give `{name}` an example in the document, so that it can be attacked"
        return known

    def call(self, server, given, headers):
        """Calls it with `given` for the parameters of these names, and examples for the others that it requires."""
        path, query = self.path, {}
        for parameter in self.parameters:
            if parameter.get("required") or parameter["name"] in given:
                value = self.value(parameter["name"], parameter, given)
                if parameter["in"] == "path":
                    path = path.replace("{" + parameter["name"] + "}", str(value))
                else:
                    query[parameter["name"]] = value
        body = {name: self.value(name, schema, given) for name, schema in self.body.get("properties", {}).items()
                if name in self.body.get("required", []) or name in given or {"example", "examples"} & set(schema)}
        if "101" in self.responses:
            headers = {**headers, **WEBSOCKET}
        return requests.request(self.method, server.endpoint + path, params=query, json=body if self.body else None,
                                headers=headers, timeout=30, allow_redirects=False)

    def __repr__(self):
        return f"{self.name} ({self.method.upper()} {self.path})"


@pytest.fixture(scope="module")
def routes(server):
    document = requests.get(server.endpoint + "/openapi.json").json()
    return [Route(document, path, method, operation)
            for path, item in document["paths"].items() for method, operation in item.items()]


def of(routes, access):
    return [route for route in routes if route.access == access]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def essence(answer, *secrets_in_it):
    """What can be told from an answer, without what the question held."""
    # Whether the connection goes on depends on how much of a body has come that is not read.
    changing = ("x-request-id", "date", "connection")
    headers = {name: value for name, value in answer.headers.items() if name not in changing}
    text, told = answer.text, answer.headers.get("x-request-id", "-")
    for part in (told, *secrets_in_it):
        text = text.replace(part, "?")
    headers.pop("content-length", None)
    return answer.status_code, headers, text


def test_every_route_declares_who_may_use_it(routes):
    assert len(routes) > 20
    known = ("apiKey", "sessionToken", "apiKeyOrSessionToken", "ticket", "portLink", "pictureLink", "mcpStream", "open")
    strange = [route for route in routes if route.access not in known]
    assert strange == []
    assert {route.name for route in of(routes, "open")} == set(OPEN), "list open routes here, with the reason"


def test_a_key_is_needed(server, routes):
    revoked = server.new_key("to-be-revoked")
    assert requests.get(server.endpoint + "/sdk/ListSession", headers=bearer(revoked)).status_code == 200
    subprocess.run([server.berth, "key", "revoke", "--data", server.data, "to-be-revoked"], check=True)
    credentials = {
        "none": {}, "empty": {"Authorization": ""}, "no scheme": {"Authorization": server.key},
        "another scheme": {"Authorization": f"Basic {server.key}"}, "no key": {"Authorization": "Bearer "},
        "not text": {"Authorization": b"Bearer \xff\xfe"}, "two keys": bearer(f"{server.key} {server.key}"),
        "a wrong key": bearer("bk_" + secrets.token_urlsafe(32)), "half a key": bearer(server.key[:-1]),
        "a longer key": bearer(server.key + "x"), "a revoked key": bearer(revoked),
        "a key elsewhere": {"X-Access-Token": server.key},
    }
    for route in of(routes, "apiKey"):
        for what, headers in credentials.items():
            answer = route.call(server, {"sessionId": "s-none", "session": "s-none"}, headers)
            if what == "a revoked key" and route.name in OF_FORMER_CALLERS:
                assert answer.status_code == 400, answer.text
                assert answer.json()["code"] == "InvalidMcpSession.NotFound", answer.text
                continue
            assert answer.status_code == 401, (route, what, answer.text)
            body = answer.json()
            assert body["code"] == "InvalidApiKey" and body["success"] is False and "data" not in body, (route, what)
            assert "berth key create" in body["message"], (route, what)


def test_a_foreign_session_is_answered_as_an_unknown_one(server, routes):
    agb, stranger = server.agb(), bearer(server.new_key("intruder"))
    session = agb.create(CreateSessionParams(image_id=IMAGE, labels={"mine": "yes"})).session
    alive = session.session_id
    gone = agb.create(CreateSessionParams(image_id=IMAGE)).session
    assert agb.delete(gone).success
    unknown = alive[:-8] + "aaaaaaaa"
    attacked = []
    for route in of(routes, "apiKey"):
        assert route.names_a_session() != (route.name in OF_NO_SESSION), f"{route}: say here why it names no session"
        if route.name in OF_NO_SESSION:
            continue
        expected = None
        for id in (unknown, alive, gone.session_id):
            told = essence(route.call(server, {"sessionId": id, "session": id}, stranger), id)
            assert told[0] in (400, 404), (route, told)
            assert expected in (None, told), (route, id)
            expected = told
        attacked.append(route)
    assert session.get_labels().data == {"mine": "yes"} and session.command.execute("true").success
    # The same requests work for the owner, so it was the key that made the difference. Releases come last.
    ticket = requests.post(f"{server.endpoint}/api/v1/sessions/{alive}/tickets", json={"rights": ["view"]},
                           headers=bearer(server.key)).json()["data"]["ticketId"]
    for route in sorted(attacked, key=lambda route: route.name.startswith("releaseSession")):
        answer = route.call(server, {"sessionId": alive, "session": alive, "ticketId": ticket}, bearer(server.key))
        assert answer.status_code == 200, (route, answer.text)


def test_a_session_token_opens_its_own_session_only(server, routes, session, new_session):
    other = new_session()
    credentials = {
        "none": {}, "empty": {"X-Access-Token": ""}, "another session's": {"X-Access-Token": other.token},
        "half of it": {"X-Access-Token": session.token[:-1]}, "more of it": {"X-Access-Token": session.token + "0"},
        "not text": {"X-Access-Token": b"\xff\xfe"}, "the API key": {"X-Access-Token": server.key},
        "elsewhere": bearer(session.token), "an API key where it belongs": bearer(server.key),
    }
    for route in of(routes, "sessionToken"):
        for what, headers in credentials.items():
            told = [essence(route.call(server, {"session": id}, headers), id)
                    for id in (session.session_id, session.session_id[:-8] + "aaaaaaaa")]
            assert told[0][0] == 401 and "InvalidApiKey" in told[0][2], (route, what, told)
            # Nor can it be told from the refusal whether there is such a session.
            assert told[0] == told[1], (route, what)
        if "101" not in route.responses:
            answer = route.call(server, {"session": session.session_id}, {"X-Access-Token": session.token})
            assert answer.status_code in (200, 204), (route, answer.text)


def test_a_key_or_a_token_opens_its_own_sessions_only(server, routes, session, new_session):
    other, stranger = new_session(), server.new_key("another-intruder")
    unknown = session.session_id[:-8] + "aaaaaaaa"
    # Neither a key nor a token of anything: the refusal is the same whether there is such a session or not.
    wrong = {
        "none": {}, "empty": {"X-Access-Token": ""}, "another session's": {"X-Access-Token": other.token},
        "another session's, as bearer": bearer(other.token), "half a token": bearer(session.token[:-1]),
        "not text": {"X-Access-Token": b"\xff\xfe"}, "the key in the token's place": {"X-Access-Token": server.key},
        "a wrong key": bearer("bk_" + secrets.token_urlsafe(32)), "no scheme": {"Authorization": server.key},
        "a key beside a wrong token": {**bearer(server.key), "X-Access-Token": other.token},
    }
    attacked = of(routes, "apiKeyOrSessionToken")
    assert attacked
    for route in attacked:
        for what, headers in wrong.items():
            told = [essence(route.call(server, {"session": id}, headers), id) for id in (session.session_id, unknown)]
            assert told[0][0] == 401 and "InvalidApiKey" in told[0][2], (route, what, told)
            assert told[0] == told[1], (route, what)
        # A key of somebody else: as if there were no such session.
        told = [essence(route.call(server, {"session": id}, bearer(stranger)), id) for id in (session.session_id, unknown)]
        assert told[0][0] == 404 and told[0] == told[1], (route, told)
        for headers in ({"X-Access-Token": session.token}, bearer(session.token), bearer(server.key)):
            answer = route.call(server, {"session": session.session_id}, headers)
            assert answer.status_code in (200, 204), (route, answer.text)


def test_only_its_own_name_opens_a_stream_for_messages(server, routes, session):
    with requests.get(server.endpoint + "/v2/sse", headers=bearer(server.key), stream=True, timeout=30) as events:
        lines = events.iter_lines()
        name = next(line for line in lines if line.startswith(b"data:")).decode().rsplit("/", 1)[-1]
        wrong = [secrets.token_hex(32), name[:-1], name + "0", name.upper() + "A", session.session_id, session.token,
                 server.key, "%00", "..%2f" + name, "x" * 5000]
        attacked = of(routes, "mcpStream")
        assert attacked
        for route in attacked:
            told = {essence(route.call(server, {"stream": bad}, bearer(server.key)), bad)[::2] for bad in wrong}
            assert len(told) == 1 and told.pop()[0] == 404, (route, told)
            assert route.call(server, {"stream": name}, {}).status_code == 202, route
        # Its answer comes where the client listens, and nowhere else.
        assert b'"id":1' in next(line for line in lines if line.startswith(b"data:"))


def test_only_a_ticket_opens_what_a_ticket_opens(server, routes, session):
    ticket = session.resource_url.split("/view/")[1].split("/")[0]
    wrong = [secrets.token_urlsafe(32), ticket[:-1], ticket + "A", ticket.swapcase(), session.session_id, session.token,
             server.key, "%00", "..%2f" + ticket, "x" * 5000]
    for route in of(routes, "ticket"):
        if route.name in BLIND:
            continue
        told = {essence(route.call(server, {"ticket": bad}, bearer(server.key)), bad)[::2] for bad in wrong}
        assert len(told) == 1 and told.pop()[0] in (400, 404), (route, told)
        if "101" not in route.responses:
            assert route.call(server, {"ticket": ticket}, {}).status_code == 200, route


def link_of(session):
    link = session.get_link(port=30100)
    assert link.success, link.error_message
    return link.data.rstrip("/").rsplit("/", 1)[-1]


def test_only_a_link_opens_a_port(server, routes, session):
    link = link_of(session)
    wrong = [link.replace("30100", "30101"), link[:-1], link + "a", link.upper(), session.session_id, session.token,
             server.key, session.resource_url.split("/view/")[1].split("/")[0], "%00", "..%2f" + link, "x" * 5000]
    for route in of(routes, "portLink"):
        if route.name in BLIND:
            continue
        told = {essence(route.call(server, {"link": bad, "path": "x"}, bearer(server.key)), bad)[::2] for bad in wrong}
        assert len(told) == 1 and told.pop()[0] == 404, (route, told)
        # Nobody listens there, which only the holder of the link is told.
        assert route.call(server, {"link": link, "path": "x"}, {}).status_code == 502, route


def picture_of(session):
    """The two parts of a picture's URL."""
    taken = session.call_mcp_tool("system_screenshot", {})
    assert taken.success, taken.error_message
    return dict(zip(("pictures", "picture"), taken.data.split("/")[-2:]))


def test_only_its_url_opens_a_picture(server, routes, session, new_session):
    known, other = picture_of(session), picture_of(new_session())
    link, id = known["pictures"], known["picture"]
    wrong_links = [link[:-1], link + "a", link.upper(), session.session_id, session.token, link_of(session), server.key,
                   "%00", "..%2f" + link, "x" * 5000]
    wrong_pictures = [id[:-1], id + "A", id.swapcase(), other["picture"], "%00", "..%2f" + id, "x" * 5000]
    attacked = of(routes, "pictureLink")
    assert attacked
    for route in attacked:
        told = {essence(route.call(server, {**known, "pictures": bad}, bearer(server.key)), bad)[::2] for bad in wrong_links}
        assert len(told) == 1 and told.pop()[0] == 404, (route, told)
        assert route.call(server, {**known, "pictures": other["pictures"]}, {}).status_code == 404, route
        for bad in wrong_pictures:
            assert route.call(server, {**known, "picture": bad}, bearer(server.key)).status_code == 404, (route, bad)
        assert route.call(server, known, {}).status_code == 200, route


def test_a_ticket_or_link_of_an_ended_session_opens_nothing(server, routes):
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    ticket, link = session.resource_url.split("/view/")[1].split("/")[0], link_of(session)
    picture = picture_of(session)
    assert agb.delete(session).success
    for route in of(routes, "ticket"):
        if route.name not in BLIND:
            assert route.call(server, {"ticket": ticket}, {}).status_code in (400, 410), route
    for route in of(routes, "portLink"):
        if route.name not in BLIND:
            assert route.call(server, {"link": link, "path": "x"}, {}).status_code == 410, route
    for route in of(routes, "pictureLink"):
        assert route.call(server, picture, {}).status_code == 410, route


@pytest.mark.parametrize("path", ["/mcp", "/link/s-none/callTool", "/link/s-none/mcp", "/v2/mcp", "/v2/sse/none"])
def test_no_body_is_waited_for_before_the_credential(server, path):
    """Else the memory for it would be anybody's."""
    address = urllib.parse.urlsplit(server.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer none\r\n"
                           "X-Access-Token: none\r\nContent-Length: 60000000\r\n\r\n".encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 4") and b"too large" not in answer, answer
