"""The OpenAPI document against the server that serves it: whatever a client sends by it, or against it, gets an answer
that the document knows."""

import os
import pathlib
import subprocess
import sys

import requests
from agb import CreateSessionParams
from conftest import IMAGE
from openapi_spec_validator import validate

# Left out, because the protocol wants it otherwise: an unknown session or image is a 400, so data that fits the schema
# may be refused.
LEFT_OUT = "positive_data_acceptance"

# An event stream that ends when the client does; test_mcp.py reads it.
ENDLESS = "openMcpStream"


def test_the_document_is_openapi(server):
    document = requests.get(server.endpoint + "/openapi.json").json()
    validate(document)
    assert document["openapi"].startswith("3.1") and document["info"]["version"] == server.healthy()["version"]


def test_every_answer_is_in_the_document(server, tmp_path):
    # A key of its own: Schemathesis also releases sessions whose ids it has seen in answers.
    key = server.new_key("schemathesis")
    agb = server.agb(key)
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    here = pathlib.Path(__file__).parent.parent
    done = subprocess.run(
        [pathlib.Path(sys.executable).parent / "schemathesis", "run", server.endpoint + "/openapi.json",
         "-H", f"Authorization: Bearer {key}", "-H", f"X-Access-Token: {session.token}",
         "--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1",
         "--checks", "all", "--exclude-checks", LEFT_OUT, "--warnings", "off", "--continue-on-failure",
         "--exclude-operation-id", ENDLESS],
        cwd=tmp_path, capture_output=True, text=True, timeout=150,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "document_hooks", "PYTHONPATH": str(here),
             "BERTH_TEST_SESSION": session.session_id})
    left = requests.get(server.endpoint + "/sdk/ListSession?maxResults=100",
                        headers={"Authorization": f"Bearer {key}"}).json()["data"]
    for one in left:
        assert agb.delete(agb.get(one["sessionId"]).session).success
    assert done.returncode == 0, done.stdout[-20000:]
