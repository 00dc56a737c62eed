"""Under a service manager: it is told when the server is ready and when it stops, and the unit is one it can read."""

import pathlib
import socket
import subprocess

from agb import CreateSessionParams
from conftest import IMAGE

UNIT = pathlib.Path(__file__).parents[2] / "deploy" / "berth.service"


def test_the_service_manager_is_told(new_server, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server = new_server("--pool", "0")
        monkeypatch.delenv("NOTIFY_SOCKET")
        assert manager.recv(1000).decode().split() == ["READY=1"]
        # A runtime that saw the socket would wait for the guest to say that it is ready.
        created = server.agb().create(CreateSessionParams(image_id=IMAGE))
        assert created.success, created.error_message
        assert server.agb().delete(created.session).success
        server.stop()
        assert manager.recv(1000).decode().split() == ["STOPPING=1"]


def test_systemd_can_read_the_unit(binaries, tmp_path):
    unit = tmp_path / "berth.service"
    text = UNIT.read_text()
    assert "/usr/local/bin/berth" in text
    unit.write_text(text.replace("/usr/local/bin/berth", str(binaries / "berth")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
