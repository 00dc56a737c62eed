"""What hostile code in a session cannot do, tried from inside through the official SDK."""

import pytest


@pytest.fixture(scope="module")
def shell(server):
    """Runs a command in one session of this module, as root of the sandbox: the strongest a session can be."""
    from agb import CreateSessionParams
    from conftest import IMAGE

    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session

    def run(command, root=True, timeout_ms=20000):
        if root:
            command = "sudo bash -c '" + command.replace("'", "'\\''") + "'"
        return session.command.execute(command, timeout_ms=timeout_ms)

    run.session = session
    yield run
    assert agb.delete(session).success


def test_it_sees_only_itself(shell):
    processes = shell("ps -e -o comm=").output.split()
    assert "berth-guest" in processes and "systemd" not in processes and len(processes) < 40
    assert shell("hostname").output.strip() == "berth"
    assert shell("ls /sys/class/net").output.split() == ["eth0", "lo"]
    inside, outside = shell("cat /proc/self/uid_map").output.split()[:2]
    assert inside == "0" and int(outside) >= 65536


@pytest.mark.parametrize("command", [
    "mount -t tmpfs none /mnt",
    "mount -o remount,rw /sys",
    "mknod /tmp/disk b 7 0",
    "dmesg",
    "sysctl -w kernel.hostname=x",
    "echo 1 > /proc/sys/kernel/panic",
    "echo b > /proc/sysrq-trigger",
    "ip link add dummy0 type dummy",
    "nsenter -t 1 -m true",
    "chroot /proc/1/root mount -t proc proc /proc",
    "modprobe dummy",
    "date -s 2001-01-01",
    "swapon /dev/zero",
    "cat /proc/kcore",
    "echo x > /opt/berth/berth-guest",
    "for file in $(find /sys/fs/cgroup -type f); do echo 1 > $file && exit 0; done; exit 1",
])
def test_root_inside_is_not_root_outside(shell, command):
    assert shell(command).exit_code != 0


@pytest.mark.parametrize("call", [
    "keyctl(250)", "add_key(248)", "bpf(321)", "perf_event_open(298)", "userfaultfd(323)", "io_uring_setup(425)",
    "kexec_load(246)", "init_module(175)", "open_by_handle_at(304)",
])
def test_kernel_interfaces_that_no_session_needs_are_shut(shell, call):
    name, number = call.rstrip(")").split("(")
    code = f"import ctypes,os; libc=ctypes.CDLL(None,use_errno=True); r=libc.syscall({number},0,0,0,0,0); " \
           f"print(r, os.strerror(ctypes.get_errno()))"
    answer = shell(f"python3 -c \"{code}\"").output
    assert answer.startswith("-1") and ("not permitted" in answer or "not implemented" in answer), (name, answer)


@pytest.mark.parametrize("address", [
    "169.254.169.254:80",  # cloud metadata
    "10.0.0.1:80", "172.16.0.1:80", "192.168.0.1:80", "100.64.0.1:80",  # private
    "HOST:22", "GATEWAY:8080", "GATEWAY:22",  # the host itself, on every address
])
def test_the_network_refuses_at_once_what_is_not_public(shell, server, address):
    import socket

    port = server.endpoint.rsplit(":", 1)[1]
    gateway = shell("ip route show default").output.split()[2]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; asks which address the host has
        own = probe.getsockname()[0]
    host, number = address.replace("GATEWAY", gateway).replace("HOST", own).split(":")
    number = port if number == "8080" else number
    code = f"""
import socket, time
start = time.monotonic()
try:
    socket.create_connection(("{host}", {number}), timeout=10)
    print("connected")
except OSError as error:
    print("refused" if time.monotonic() - start < 2 else "timed out", error)
"""
    run = shell.session.code.run(code, "python")
    assert run.logs.stdout[0].startswith("refused"), run.logs.stdout


def test_sessions_cannot_reach_each_other(shell, new_session):
    other = new_session()
    address = other.command.execute("hostname -I").output.split()[0]
    other.command.execute("nohup python3 -m http.server 8000 > /dev/null 2>&1 &")
    code = f"import socket\ntry:\n    socket.create_connection(('{address}', 8000), timeout=5); print('connected')\n" \
           f"except OSError as error: print('refused', error)"
    assert shell.session.code.run(code, "python").logs.stdout[0].startswith("refused")


def test_a_memory_bomb_ends_in_its_own_session(shell, new_session):
    victim = new_session()
    run = victim.code.run("data = bytearray(4 << 30)", "python", timeout_s=60)
    assert not run.success and run.error_message
    assert shell.session.command.execute("echo fine").output == "fine\n"
    again = victim.code.run("1 + 1", "python")
    assert again.success and again.result == "2", again.error_message


def test_processes_and_files_are_limited(shell, new_session):
    session = new_session()
    code = """
import os, time
children, error = [], None
try:
    for n in range(2000):
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        children.append(pid)
except BlockingIOError as limit:
    error = limit
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
print(len(children), error)
"""
    count, text = session.code.run(code, "python").logs.stdout[0].split(maxsplit=1)
    assert int(count) < 512 and "unavailable" in text
    full = session.command.execute("fallocate -l 20G /home/user/big", timeout_ms=60000)
    assert full.exit_code != 0 and "No space left" in full.stderr
    assert session.command.execute("rm -f /home/user/big; echo ok > /home/user/after; cat /home/user/after",
                                   timeout_ms=10000).output == "ok\n"


def test_sudo_works_and_the_user_is_not_root(shell):
    assert shell("id -u", root=False).output.strip() == "1000"
    assert shell("id -u").output.strip() == "0"
