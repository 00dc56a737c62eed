"""What the API says to requests that are wrong."""

import json

import pytest
import requests
from agb import CreateSessionParams
from conftest import IMAGE


def refusal(answer, status, code):
    """Checks the envelope of a failure; returns its message."""
    body = answer.json()
    assert answer.status_code == status, body
    assert body["success"] is False and body["code"] == code and body["httpStatusCode"] == status
    assert "data" not in body
    assert body["requestId"] == answer.headers["x-request-id"]
    return body["message"]


def test_a_wrong_key_is_told_by_the_sdk(server):
    refused = server.agb("bk_wrong_key").get("s-1")
    assert not refused.success and "the API key is unknown" in refused.error_message


def test_an_unknown_image_is_refused_with_those_there_are(agb, api):
    message = refusal(api.post("/mcp/createSession?imageId=none-such", json={}), 400, "InvalidImage.NotFound")
    assert "`imageId` is `none-such`" in message and IMAGE in message
    assert "none-such" in agb.create(CreateSessionParams(image_id="none-such")).error_message
    refusal(api.post("/mcp/listTools?imageId=none-such"), 400, "InvalidImage.NotFound")


@pytest.mark.parametrize("query, body, part", [
    ("", {}, "`imageId` is missing"),
    ("?imageId=+", {}, "`imageId` is missing"),
    (f"?imageId={IMAGE}", {"timeout": -5}, "`timeout` is -5; allowed: 1 to"),
    (f"?imageId={IMAGE}", {"timeout": 10**9}, "`timeout` is 1000000000"),
    (f"?imageId={IMAGE}", {"labels": "{\"n\": 1}"}, "label `n` is 1; allowed: a string"),
    (f"?imageId={IMAGE}", {"labels": "[]"}, "`labels` must be a JSON object"),
    (f"?imageId={IMAGE}", {"persistenceDataList": [{"contextId": "c", "path": "/p", "policy": "{}"}]},
     "`persistenceDataList`"),
])
def test_a_bad_creation_names_the_field(api, query, body, part):
    assert part in refusal(api.post("/mcp/createSession" + query, json=body), 400, "InvalidParameter")


@pytest.mark.parametrize("body", ["{", "[1]", "\"text\"", "nonsense", "{\"labels\": 1}", "[" * 100000])
def test_malformed_json_is_refused(api, body):
    refusal(api.post(f"/mcp/createSession?imageId={IMAGE}", data=body), 400, "MalformedBody")


def test_an_oversized_body_is_refused(api):
    message = refusal(api.post("/mcp", data=b"x" * (65 << 20)), 413, "BodyTooLarge")
    assert "64 MiB" in message


def test_unknown_sessions_and_routes(api):
    for path in ("/mcp/getSession", "/mcp/getSessionInfo", "/mcp/getMcpResource", "/mcp/releaseSessionAsync"):
        message = refusal(api.post(path, json={"sessionId": "s-none"}), 400, "InvalidMcpSession.NotFound")
        assert all(word in message for word in ("session", "not found", "expired")), path
        refusal(api.post(path, json={}), 400, "InvalidParameter")
    refusal(api.post("/mcp", json={"sessionId": "s-none", "name": "shell", "args": "{}"}), 400,
            "InvalidMcpSession.NotFound")
    refusal(api.get("/sdk/NoSuchThing"), 404, "RouteNotFound")
    refusal(api.get("/mcp/createSession"), 405, "MethodNotAllowed")


@pytest.mark.parametrize("query, part", [("maxResults=0", "`maxResults` is 0"), ("maxResults=101", "1 to 100"),
                                         ("maxResults=x", "`maxResults` is x"), ("nextToken=bad", "`nextToken`"),
                                         ("labels=nonsense", "`labels` must be")])
def test_a_bad_list_names_the_field(api, query, part):
    assert part in refusal(api.get("/sdk/ListSession?" + query), 400, "InvalidParameter")


def test_a_foreign_session_is_answered_as_an_unknown_one(server, session):
    stranger = {"Authorization": f"Bearer {server.new_key('stranger')}"}
    for path in ("/mcp/getSession", "/mcp/getSessionInfo", "/mcp/getMcpResource", "/mcp/releaseSessionAsync"):
        texts = [requests.post(server.endpoint + path, headers=stranger, json={"sessionId": id}).json()["message"]
                 .replace(id, "ID") for id in (session.session_id, "s-none")]
        assert texts[0] == texts[1]
    listed = requests.get(server.endpoint + "/sdk/ListSession", headers=stranger).json()
    assert listed["data"] == [] and listed["count"] == 0


def test_clients_may_be_careless_with_slashes_and_bodies(api, server, session):
    assert api.get(f"{server.endpoint}//sdk/ListSession?maxResults=5&labels=%7B%7D").json()["success"]
    assert api.post(f"/mcp/refreshSessionIdleTime?sessionId={session.session_id}", data=b"").json()["success"]
    answer = api.post(f"/sdk/SetLabel?sessionId={session.session_id}&Labels=" + "%7B%22a+b%22%3A+%22c%2Bd%22%7D")
    assert answer.json()["success"]
    assert session.get_labels().data == {"a b": "c+d"}


def test_tool_errors_are_successes_of_the_route(api, session):
    answer = api.post("/mcp?autoGenSession=false",
                      json={"sessionId": session.session_id, "name": "read_file", "args": "{\"path\": \"/none\"}"})
    body = answer.json()
    assert answer.status_code == 200 and body["success"] and body["message"] is None
    assert body["data"]["isError"] and "/none" in body["data"]["content"][0]["text"]
    for args in ("", "[]", "nonsense", "{\"path\": }"):
        bad = api.post("/mcp", json={"sessionId": session.session_id, "name": "shell", "args": args})
        assert "`args`" in refusal(bad, 400, "InvalidParameter")
    bad = api.post("/mcp", json={"sessionId": session.session_id, "name": "../hello", "args": "{}"})
    assert "letters" in refusal(bad, 400, "InvalidParameter")


def test_the_link_needs_its_token(session, new_session):
    url, body = session.link_url + "/callTool", {"tool": "shell", "args": {"command": "true"}, "requestId": "r"}
    assert requests.post(url, json=body).status_code == 401
    for token in ("wrong", new_session().token):
        assert not requests.post(url, json=body, headers={"X-Access-Token": token}).ok
    answer = requests.post(url, json=body, headers={"X-Access-Token": session.token})
    assert answer.ok and answer.json()["requestId"] == "r" and answer.json()["data"]["result"]["isError"] is False


def test_a_client_may_send_half_a_character(session):
    url, headers = session.link_url + "/callTool", {"X-Access-Token": session.token}
    halves = [("overwrite", r"a\ud83d"), ("append", r"\ude42b")]
    for mode, content in halves:
        body = '{"tool":"write_file","args":{"path":"/tmp/half.txt","mode":"%s","content":"%s"}}' % (mode, content)
        answer = requests.post(url, data=body.encode(), headers=headers).json()
        assert not answer["data"]["result"]["isError"], answer
    assert json.dumps(session.file.read("/tmp/half.txt").content) == r'"a\ud83d\ude42b"'


def test_health_is_open(server):
    health = requests.get(server.endpoint + "/healthz").json()
    assert health["status"] == "ok"
    assert "Berth" in requests.get(server.endpoint + "/").text
