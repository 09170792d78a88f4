"""Certificates made for tests by openssl."""

import subprocess
from pathlib import Path

import pytest

URI = "placet://order"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """A folder with an authority, and by it a server's and a client's certificate; and a stranger's."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("authority", "stranger"):
        out = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        openssl("req", "-x509", *key, *out, "-subj", f"/CN={name}")
    for name, names in (("server", "IP:127.0.0.1"), ("client", f"URI:{URI}")):
        request = f"{folder}/{name}.csr"
        openssl("req", *key[:-2], "-keyout", f"{folder}/{name}.key", "-out", request, "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        by = ("-CA", f"{folder}/authority.pem", "-CAkey", f"{folder}/authority.key", "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", request, *by, "-extfile", f"{folder}/{name}.ext", "-out", f"{folder}/{name}.pem")
    return folder
