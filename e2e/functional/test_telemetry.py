"""What operators see: metrics for Prometheus, and traces at an OpenTelemetry collector."""

import pytest
import requests
from agb import CreateSessionParams
from collector import Collector
from conftest import IMAGE

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(request):
    collector = Collector(**getattr(request, "param", {}))
    yield collector
    collector.shutdown()
    collector.server_close()


def attributes(span):
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_a_trace_leads_from_the_client_to_the_tool(new_server, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    server = new_server("--pool", "0")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    answer = requests.post(session.link_url + "/callTool", headers={
        "X-Access-Token": session.token, "traceparent": f"00-{TRACE}-{PARENT}-01"},
        json={"tool": "shell", "args": {"command": "true"}})
    assert answer.json()["data"]["result"]["isError"] is False
    assert agb.delete(session).success
    # A stop sends what is left, so nothing has to be waited for.
    server.stop()

    resource = {pair.key: pair.value.string_value for pair in collector.batches[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "berth" and resource["service.version"]
    spans = {span.name: span for span in collector.spans()}
    request, tool = spans["POST /link/{session}/callTool"], spans["execute_tool shell"]
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == PARENT
    assert tool.trace_id.hex() == TRACE and tool.parent_span_id == request.span_id
    assert request.kind == request.SPAN_KIND_SERVER
    seen = attributes(request)
    assert seen["http.request.method"] == "POST" and seen["http.response.status_code"] == 200
    assert seen["http.route"] == "/link/{session}/callTool" and seen["session.id"] == session.session_id
    assert attributes(tool)["gen_ai.tool.name"] == "shell" and attributes(tool)["berth.tool.outcome"] == "ok"

    creation, making = spans["POST /mcp/createSession"], spans["make sandbox"]
    assert making.parent_span_id == creation.span_id and making.trace_id == creation.trace_id
    assert attributes(creation)["session.id"] == session.session_id
    # Tickets and tokens are credentials.
    told = repr(collector.batches)
    assert session.token not in told and session.resource_url.split("/view/")[1].split("/")[0] not in told


@pytest.mark.parametrize("collector", [{"status": 400}, {"status": 503}], indirect=True)
def test_a_failing_collector_hurts_nothing(new_server, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    server = new_server("--pool", "0")
    start = server.log_size()
    for _ in range(50):
        assert requests.get(server.endpoint + "/healthz").status_code == 200
    server.stop()
    warnings = [line for line in server.log_since(start).splitlines() if " WARN " in line or " ERROR " in line]
    assert len(warnings) == 1 and f"the collector of traces fails (it answered {collector.status}" in warnings[0]


def test_a_bad_collector_is_refused_at_the_start(binaries, tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url")
    done = subprocess.run([binaries / "berth", "serve", "--listen", "127.0.0.1:0", "--data", tmp_path],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr and "not a url" in done.stderr


def series(server, **options):
    answer = requests.get(server.endpoint + "/metrics", **options)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_count_what_happens(new_server):
    server = new_server("--pool", "0")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    assert session.command.execute("true").success
    assert not session.file.info("/none").success
    requests.post(session.link_url + "/callTool", headers={"X-Access-Token": session.token},
                  json={"tool": "made_up", "args": {}})
    running = series(server)
    assert running[f'berth_sessions{{state="running",image="{IMAGE}"}}'] == 1
    assert running[f'berth_sessions_created_total{{image="{IMAGE}",warm="false"}}'] == 1
    assert running['berth_tool_calls_total{tool="shell",outcome="ok"}'] == 1
    assert running['berth_tool_calls_total{tool="get_file_info",outcome="error"}'] == 1
    assert running['berth_tool_calls_total{tool="unknown",outcome="error"}'] == 1
    assert running['berth_tool_call_duration_seconds_count{tool="shell"}'] == 1
    assert running['berth_http_requests_total{route="/link/{session}/callTool",status="200"}'] == 3
    assert running[f'berth_pool_ready{{image="{IMAGE}"}}'] == running[f'berth_pool_wanted{{image="{IMAGE}"}}'] == 0
    assert running["berth_views_open"] == 0
    assert running["process_resident_memory_bytes"] > 1 << 20 and running["process_open_fds"] > 3
    assert any(name.startswith("berth_build_info{version=") for name in running)
    requests.post(f"{server.endpoint}/api/v1/sessions/{session.session_id}/pause",
                  headers={"Authorization": f"Bearer {server.key}"}).raise_for_status()
    paused = series(server)
    assert paused[f'berth_sessions{{state="paused",image="{IMAGE}"}}'] == 1
    assert paused[f'berth_sessions{{state="running",image="{IMAGE}"}}'] == 0
    assert agb.delete(session).success
    ended = series(server)
    assert ended[f'berth_sessions{{state="paused",image="{IMAGE}"}}'] == 0
    assert ended['berth_sessions_ended_total{reason="released"}'] == 1
    # No label holds what a client or a session chose.
    assert session.session_id not in repr(ended) and "made_up" not in repr(ended)


def test_a_setting_closes_the_metrics(new_server):
    keyed = new_server("--pool", "0", "--metrics", "key")
    assert requests.get(keyed.endpoint + "/metrics").status_code == 401
    assert series(keyed, headers={"Authorization": f"Bearer {keyed.key}"})["berth_views_open"] == 0
    off = new_server("--pool", "0", "--metrics", "off")
    answer = requests.get(off.endpoint + "/metrics")
    assert answer.status_code == 404 and answer.json()["code"] == "RouteNotFound"
