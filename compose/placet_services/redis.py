"""Redis without persistence: tests use it as a cache and a rival's registry, never as a store."""

from placet_services import process
from placet_services.service import HOST, Service, exchange, find_program


class Redis(Service):
    """Redis from the distribution's package."""

    name = "redis"
    default_port = 16379
    packages = ("redis-server",)
    account = "redis"

    def is_installed(self) -> bool:
        return find_program("redis-server") is not None

    def prepare(self) -> None:
        process.own_folder(self.folder, self.account)

    def command(self) -> list[str]:
        program = find_program("redis-server") or "redis-server"
        return [program, "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        return exchange(self.port, b"PING\r\n", enough_bytes=7) == b"+PONG\r\n"

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_REDIS_URL": f"redis://{HOST}:{self.port}/0"}
