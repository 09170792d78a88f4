"""The jars of Kafka and ZooKeeper: fetched by Maven once, kept in the user's cache folder for every clone."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from placet_services.failure import ServicesError
from placet_services.home import cache_folder
from placet_services.process import tail
from placet_services.service import find_program

COMPOSE_FOLDER = Path(__file__).resolve().parent.parent
POM = COMPOSE_FOLDER / "java-servers.pom.xml"
LOGGING = COMPOSE_FOLDER / "java-servers.log4j2.properties"
# The distribution's Maven is older than this plugin and brings an older one, which fails on these dependencies.
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PACKAGES = ("default-jre-headless", "maven")


def jar_folder() -> Path:
    """Where the jars of this very pom lie: another version is another folder."""
    return cache_folder() / "jars" / hashlib.sha256(POM.read_bytes() + LOGGING.read_bytes()).hexdigest()[:16]


def are_installed() -> bool:
    """Whether Java is here, with the jars or with what fetches them."""
    return find_program("java") is not None and (jar_folder().exists() or find_program("mvn") is not None)


def fetch(log: Path) -> None:
    """Copy the jars into the cache folder, unless they are there; a kill in the middle leaves nothing half done."""
    folder = jar_folder()
    if folder.exists():
        return
    print(f"services: fetching the jars of Kafka and ZooKeeper, 54 MB (log: {log})", flush=True)
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    command = [find_program("mvn") or "mvn", "-B", "-ntp", "-f", str(POM), COPY_JARS, f"-DoutputDirectory={unfinished}"]
    with log.open("ab") as output:
        finished = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if finished.returncode != 0:
        raise ServicesError(f"Maven could not fetch the jars\n{tail(log)}", f"read {log}; then run this again")
    shutil.copyfile(LOGGING, unfinished / "log4j2.properties")  # log4j finds it on the class path
    for file in unfinished.iterdir():
        file.chmod(0o644)
    unfinished.chmod(0o755)
    unfinished.replace(folder)


def java(*, heap_megabytes: int, main_class: str, arguments: list[str]) -> list[str]:
    """The command line of a Java program from these jars."""
    folder = jar_folder()
    memory = [f"-Xmx{heap_megabytes}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4"]
    return [find_program("java") or "java", *memory, "-cp", f"{folder}:{folder}/*", main_class, *arguments]
