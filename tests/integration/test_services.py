"""How compose/services starts, keeps and stops a process, shown on a real child that starts in a moment."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from placet_services import command, local, process
from placet_services.failure import ServicesError
from placet_services.home import Home
from placet_services.service import Service, exchange

COMPOSE_FILE = Path(command.__file__).parent.parent / "docker-compose.yml"
SERVER = """
import os, socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(4)
        self.request.sendall(b"PONG")
print("uid", os.geteuid(), "session", os.getsid(0) == os.getpid(), "secret", os.environ.get("PGPASSWORD"), flush=True)
socketserver.TCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


class Echo(Service):
    """A server of a few lines: it prints who it is and answers PONG."""

    name = "echo"
    default_port = 0  # set by the fixture
    packages = ()
    account = "nobody"
    start_limit_s = 20.0
    script = SERVER

    def is_installed(self):
        return True

    def prepare(self):
        process.own_folder(self.folder, self.account)

    def command(self):
        # /usr/bin/env finds a Python that the unprivileged user may run too, which this environment's may not be.
        return ["/usr/bin/env", "python3", "-u", "-c", self.script, str(self.port)]

    def answers(self):
        return exchange(self.port, b"PING", enough_bytes=4) == b"PONG"

    def settings(self):
        return {"ECHO": str(self.port)}


@pytest.fixture
def echo(monkeypatch) -> Iterator[Echo]:
    """The server, not started, in a folder that its own user can enter; stopped and removed after the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PLACET_SERVICES_ECHO_PORT", str(free.getsockname()[1]))
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    service = Echo(Home(folder))
    yield service
    local.down([service])
    shutil.rmtree(folder)


def test_up_starts_an_unprivileged_server_once(echo, monkeypatch):
    """The child has a session of its own, is not root and gets no secret of the caller; a second up leaves it alone."""
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    local.up([echo])
    first = echo.running()
    local.up([echo])
    assert first is not None
    assert echo.running() == first
    said = echo.log.read_text()
    assert "session True secret None" in said
    assert "uid 0 " not in said


def test_two_calls_at_once_start_one_server(echo):
    """The lock lets one caller start the server, and the other one finds it up."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from placet_services import local; from placet_services.home import Home\n"
        "from integration.test_services import Echo\n"
        "local.up([Echo(Home(Path(sys.argv[1])))])\n"
    )
    paths = [str(Path(command.__file__).parent.parent), str(Path(__file__).parent.parent)]
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(echo.home.folder), *paths], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = "".join(caller.communicate()[0] for caller in callers)
    assert [caller.returncode for caller in callers] == [0, 0, 0]
    assert said.count("echo: starting") == 1
    assert echo.log.read_text().count("uid") == 1
    assert echo.is_up()


def test_up_starts_a_killed_server_again(echo, capsys):
    """After kill -9 status says down, and up brings another process."""
    local.up([echo])
    killed = echo.running()
    os.kill(killed.pid, signal.SIGKILL)
    assert not local.status([echo])
    local.up([echo])
    assert local.status([echo])
    assert echo.running() != killed


def test_up_waits_for_a_living_server_that_is_silent(echo, monkeypatch):
    """A server stopped for a moment, as on a starved machine, is not restarted under its users."""
    local.up([echo])
    first = echo.running()
    monkeypatch.setattr("placet_services.service.PROBE_LIMIT_S", 0.1)
    os.kill(first.pid, signal.SIGSTOP)
    assert not echo.is_up()
    wake = threading.Timer(0.5, os.kill, (first.pid, signal.SIGCONT))
    wake.start()
    local.up([echo])
    wake.join()
    assert echo.running() == first


def test_up_restarts_a_server_that_hangs_for_good(echo, monkeypatch):
    """A server that answers nothing within the limit is ended, by SIGKILL if need be, and started anew."""
    local.up([echo])
    hung = echo.running()
    monkeypatch.setattr("placet_services.service.PROBE_LIMIT_S", 0.1)
    monkeypatch.setattr(local, "SILENCE_LIMIT_S", 0.2)
    monkeypatch.setattr(echo, "stop_limit_s", 0.2)
    os.kill(hung.pid, signal.SIGSTOP)
    local.up([echo])
    assert not hung.is_alive()
    assert echo.is_up()


def test_down_stops_the_server_and_may_be_repeated(echo, capsys):
    """After down nobody listens; a second down says so and is no error."""
    local.up([echo])
    running = echo.running()
    local.down([echo])
    local.down([echo])
    assert not running.is_alive()
    assert not echo.answers()
    assert "echo: stopped\nservices: echo: is down\n" in capsys.readouterr().out


def test_a_stranger_on_the_port_is_named_as_the_reason(echo):
    """A port held by somebody else's process is reported with the command that shows it, and nothing is killed."""
    with socket.create_server(("127.0.0.1", echo.port)), pytest.raises(ServicesError, match=r"taken.*\n.*ss -ltnp"):
        local.up([echo])
    assert echo.running() is None


def test_a_reused_process_id_is_not_taken_for_the_server(echo):
    """A state file that outlived its process, whose number another process has now, counts as down and kills nobody."""
    local.up([echo])
    first = echo.running()
    stranger = process.Running(os.getpid(), first.started_ticks - 1, echo.port)
    local.down([echo])
    echo.state.write_text(f'{{"pid": {stranger.pid}, "started_ticks": {stranger.started_ticks}, "port": {echo.port}}}')
    assert echo.running() is None
    local.up([echo])
    assert echo.is_up()


def test_a_server_that_ends_while_starting_is_reported_with_its_log(echo):
    """The error quotes what the server said last and names the log file; up does not try for ever."""
    echo.script = "raise SystemExit('the disk is made of cheese')"
    with pytest.raises(ServicesError, match=f"ended {local.START_ATTEMPTS_LIMIT} times") as error:
        local.up([echo])
    assert "made of cheese" in str(error.value)
    assert str(echo.log) in str(error.value)


def test_another_port_than_the_running_one_is_refused(echo, monkeypatch):
    """Changing the port while the server runs names the command that helps."""
    local.up([echo])
    monkeypatch.setenv("PLACET_SERVICES_ECHO_PORT", "1024")
    with pytest.raises(ServicesError, match="down echo, then up again"):
        local.up([Echo(echo.home)])


@pytest.mark.parametrize("port", ["abc", "80", "65536", "-1", ""])
def test_a_port_that_is_none_is_refused(monkeypatch, port):
    """A wrong port names the variable and the range."""
    monkeypatch.setenv("PLACET_SERVICES_ECHO_PORT", port)
    with pytest.raises(ServicesError, match=r"PLACET_SERVICES_ECHO_PORT.*\n.*1024 to 65535"):
        Echo(Home())


def test_an_unknown_server_is_refused_with_the_known_ones(capsys):
    """A typing error in a name lists the names that exist."""
    with pytest.raises(SystemExit):
        command.main(["up", "postgers"])
    assert "no such server: postgers; there are: postgres, mariadb, kafka, zookeeper, redis" in capsys.readouterr().err


def test_docker_compose_file_offers_the_same_servers_on_the_same_loopback_ports():
    """With Docker or without, a test finds each server at the same address, and no other machine finds it."""
    text = COMPOSE_FILE.read_text()
    for kind in command.KINDS:
        assert f'ports: ["127.0.0.1:${{PLACET_SERVICES_{kind.name.upper()}_PORT:-{kind.default_port}}}:' in text
    assert text.count("ports:") == text.count("healthcheck:") == text.count("image:") == len(command.KINDS)
