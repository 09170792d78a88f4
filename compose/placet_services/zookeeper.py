"""Apache ZooKeeper: one node."""

from placet_services import jars, process
from placet_services.service import HOST, Service, exchange


class ZooKeeper(Service):
    """ZooKeeper from Maven's jars."""

    name = "zookeeper"
    default_port = 12181
    packages = jars.PACKAGES
    account = "nobody"  # no package brings a user for it

    def is_installed(self) -> bool:
        return jars.are_installed()

    def prepare(self) -> None:
        jars.fetch(self.home.logs / "install.log")
        process.own_folder(self.folder, self.account)
        settings = {
            "dataDir": str(self.folder / "data"),
            "clientPort": str(self.port),
            "clientPortAddress": HOST,
            "tickTime": "500",  # sessions may expire after 1 s: tests need not wait longer for it
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "ruok,srvr",
        }
        file = self.folder / "zoo.cfg"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        file.chmod(0o644)

    def command(self) -> list[str]:
        main_class = "org.apache.zookeeper.server.ZooKeeperServerMain"
        return jars.java(heap_megabytes=128, main_class=main_class, arguments=[str(self.folder / "zoo.cfg")])

    def answers(self) -> bool:
        return exchange(self.port, b"ruok", enough_bytes=4) == b"imok"

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_ZOOKEEPER_SERVERS": f"{HOST}:{self.port}"}
