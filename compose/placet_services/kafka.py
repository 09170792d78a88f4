"""Apache Kafka in KRaft mode: one node that is broker and controller."""

import base64
import secrets
import struct

from placet_services import jars, process
from placet_services.failure import ServicesError
from placet_services.service import HOST, PORTS, Service, exchange

# A request ApiVersions, version 0, without a client id (Kafka protocol guide, "Request header v1").
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
ANSWER_HEAD_BYTES = 10  # length, correlation id, error code
NO_ERROR = struct.pack(">ih", 1, 0)


class Kafka(Service):
    """Kafka from Maven's jars; the controller listens on the port after the broker's."""

    name = "kafka"
    default_port = 19092
    packages = jars.PACKAGES
    account = "nobody"  # no package brings a user for it

    def is_installed(self) -> bool:
        return jars.are_installed()

    def prepare(self) -> None:
        if self.port + 1 not in PORTS:
            raise ServicesError(f"no port after {self.port}", "set PLACET_SERVICES_KAFKA_PORT to a lower one")
        jars.fetch(self.home.logs / "install.log")
        process.own_folder(self.folder, self.account)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        properties.chmod(0o644)
        if (self.folder / "data" / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(b"\x01" + secrets.token_bytes(15)).decode().rstrip("=")
        arguments = ["format", "--ignore-formatted", "-t", cluster_id, "-c", str(properties)]
        self.run_preparation(
            jars.java(heap_megabytes=128, main_class="kafka.tools.StorageTool", arguments=arguments),
            "formatting the data folder (kafka.tools.StorageTool)",
        )

    def command(self) -> list[str]:
        properties = str(self.folder / "server.properties")
        return jars.java(heap_megabytes=512, main_class="kafka.Kafka", arguments=[properties])

    def answers(self) -> bool:
        return exchange(self.port, API_VERSIONS, enough_bytes=ANSWER_HEAD_BYTES)[4:] == NO_ERROR

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_KAFKA_SERVERS": f"{HOST}:{self.port}"}

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.port + 1}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.port + 1}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "8",
            "group.initial.rebalance.delay.ms": "0",  # the default of 3 s is meant for large groups
        }
