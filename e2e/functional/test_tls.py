"""TLS on Berth's own port: the SDK, the command line and the browser speak it, and what does not is told so."""

import hashlib
import os
import re
import socket
import ssl
import subprocess
import tempfile

import pytest
import requests
from agb import CreateSessionParams
from berth import free_port
from conftest import IMAGE, LIVE, visit, wait_until
from screen import use


@pytest.fixture(scope="module")
def secure(new_server):
    """A server with a certificate of its own, which every client of this file trusts."""
    with pytest.MonkeyPatch.context() as environment:
        server = new_server("--pool", "1", "--tls-self-signed")
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            environment.setenv(name, str(server.data / "tls-cert.pem"))
        yield server


def address(server):
    host, port = server.listen.split(":")
    return host, int(port)


def shown_certificate(server, name="localhost", **settings):
    """The certificate that a client which trusts the server is shown, and the protocol that they agree on."""
    trust = ssl.create_default_context(cafile=server.data / "tls-cert.pem")
    if "alpn" in settings:
        trust.set_alpn_protocols(settings["alpn"])
    with socket.create_connection(address(server), timeout=20) as tcp:
        with trust.wrap_socket(tcp, server_hostname=name) as tls:
            return tls.getpeercert(binary_form=True), tls.selected_alpn_protocol()


def untrusted_certificate(listen):
    host, port = listen.split(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)), timeout=20))


def fingerprint(der):
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2))


def test_the_sdk_works_and_every_url_is_secure(secure):
    assert secure.endpoint == f"https://{secure.listen}"
    agb = secure.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    assert session.link_url.startswith(f"{secure.endpoint}/link/")
    assert session.ws_url.startswith(f"wss://{secure.listen}/ws/")
    assert session.info().data["resource_url"].startswith(f"{secure.endpoint}/view/")
    assert session.command.execute("echo over TLS").output == "over TLS\n"
    lines = []
    run = session.code.run("import time\nfor n in range(3): print(n, flush=True); time.sleep(0.1)", "python",
                           stream_beta=True, on_stdout=lines.append)
    assert run.success and "".join(lines) == "0\n1\n2\n"
    content = "é" * 700_000
    assert session.file.write("/tmp/large", content).success
    assert session.file.read("/tmp/large").content == content

    environment = os.environ | {"AGB_ENDPOINT": secure.endpoint, "AGB_API_KEY": secure.key}
    listed = subprocess.run([secure.berth, "session", "list"], env=environment, capture_output=True, text=True, timeout=60)
    assert session.session_id in listed.stdout, listed.stderr
    done = subprocess.run([secure.berth, "exec", session.session_id, "--", "echo also this"], env=environment,
                          capture_output=True, text=True, timeout=60)
    assert done.stdout == "also this\n", done.stderr
    assert agb.delete(session).success


def test_the_live_view_works_in_a_browser(secure, browser):
    agb = secure.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    visit(page, session.info().data["resource_url"])
    wait_until(page, LIVE)
    assert page.evaluate("isSecureContext")
    use(session, page)
    context.close()
    assert agb.delete(session).success


def test_the_certificate_is_kept_and_names_this_machine(secure):
    for name in ("tls-cert.pem", "tls-key.pem"):
        assert (secure.data / name).stat().st_mode & 0o777 == 0o600
    mine = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    names += [ip for ip in mine if not ip.startswith("10.213.") and "." in ip]
    first = {shown_certificate(secure, name)[0] for name in names}
    assert len(first) == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_certificate(secure, "elsewhere.example")
    told = fingerprint(*first)
    assert secure.log.read_text().count(told) == 1

    session = secure.agb().create(CreateSessionParams(image_id=IMAGE)).session
    secure.stop()
    secure.start()
    assert {shown_certificate(secure)[0]} == first
    assert session.command.execute("echo still here").output == "still here\n"
    assert secure.agb().delete(session).success


def test_http_2_is_not_offered(secure):
    assert shown_certificate(secure, alpn=["h2", "http/1.1"])[1] == "http/1.1"
    assert shown_certificate(secure)[1] is None


def test_plain_http_is_led_to_https(secure):
    plain = f"http://{secure.listen}"
    moved = requests.get(plain + "/openapi.json?a=b", allow_redirects=False)
    assert moved.status_code == 308 and moved.headers["location"] == f"{secure.endpoint}/openapi.json?a=b"
    assert moved.headers["referrer-policy"] == "no-referrer" and moved.headers["cache-control"] == "no-store"
    assert requests.get(plain + "/healthz").json()["status"] == "ok"
    refused = requests.post(plain + "/sdk/CreateMcpSession", data={"a": "b"}, allow_redirects=False)
    assert refused.status_code == 400 and "https://" in refused.text
    with socket.create_connection(address(secure)) as no_host:
        no_host.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert no_host.recv(100).startswith(b"HTTP/1.0 400 ")


def test_a_client_that_says_nothing_holds_nobody_up(secure):
    silent = [socket.create_connection(address(secure)) for _ in range(200)]
    try:
        for number, connection in enumerate(silent):
            # Some say nothing, some begin a handshake and leave it, some are no TLS at all.
            connection.sendall([b"", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 50][number % 3])
        assert requests.get(secure.endpoint + "/healthz", timeout=20).json()["status"] == "ok"
        # The server ends them by itself.
        for connection in silent:
            connection.settimeout(60)
            try:
                while connection.recv(100):
                    pass
            except ConnectionResetError:
                pass
    finally:
        for connection in silent:
            connection.close()


def make_certificate(folder, name="tls"):
    """A certificate and its key as an authority would renew them; the paths."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_a_renewed_certificate_is_used_without_a_restart(new_server, tmp_path, monkeypatch):
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("BERTH_TLS_CERT", str(certificate))
    monkeypatch.setenv("BERTH_TLS_KEY", str(key))
    server = new_server("--pool", "0")
    assert server.endpoint.startswith("https://")

    def expected():
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    first = expected()
    assert untrusted_certificate(server.listen) == first
    make_certificate(tmp_path)
    assert untrusted_certificate(server.listen) == expected() != first
    assert fingerprint(expected()) in server.log.read_text()

    good = expected()
    key.write_text("nonsense")
    assert untrusted_certificate(server.listen) == good
    assert "the former one is" in server.log.read_text()
    assert server.healthy


def refusal(binaries, *flags):
    with tempfile.TemporaryDirectory() as data:
        done = subprocess.run([binaries / "berth", "serve", "--listen", f"127.0.0.1:{free_port()}", "--data", data, *flags],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and done.stdout == ""
        return done.stderr


def test_one_start_reports_every_bad_setting(binaries, tmp_path):
    certificate, key = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other")
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("not PEM")
    flags = ["--tls-cert", no_pem, "--tls-key", tmp_path / "none", "--tls-self-signed=maybe", "--pool", "many"]
    told = refusal(binaries, *flags)
    for part in (f'`--tls-cert` is "{no_pem}"; allowed: a PEM file with a certificate',
                 f'`--tls-key` is "{tmp_path}/none"; allowed: a file that the server can read',
                 '`--tls-self-signed` is "maybe"; allowed: true, false', "`--pool` is"):
        assert part in told, told
    assert f'`--tls-key` is "{certificate}"; allowed: a PEM file with a private key' in refusal(
        binaries, "--tls-cert", certificate, "--tls-key", certificate)
    assert "allowed: both, or neither" in refusal(binaries, "--tls-cert", certificate)
    assert "allowed: both, or neither" in refusal(binaries, "--tls-key", key)
    assert "allowed: one of the two" in refusal(binaries, "--tls-cert", certificate, "--tls-key", key, "--tls-self-signed")
    told = refusal(binaries, "--tls-cert", certificate, "--tls-key", other, "--links-url", "nonsense")
    assert re.search(f'`tls_key` is "{re.escape(str(other))}".*KeyMismatch.*allowed: a key', told), told
    assert "`--links-url` is" in told
