"""TLS of the TCP transport: both sides' contexts, and who a peer is by its certificate."""

import ssl
from pathlib import Path

ALPN = "placet/1"


def client_tls(
    *, authority: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Makes a client's context; the server's certificate and name are checked.

    Args:
        authority: file with the certificates to trust; None trusts the system's.
        certificate: this client's own, for servers that ask for one (mTLS).
        key: its key, if it is not in the same file.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    return _complete(context, certificate, key)


def server_tls(*, certificate: Path, key: Path | None = None, clients: Path | None = None) -> ssl.SSLContext:
    """Makes a server's context. When the files have changed, `context.load_cert_chain` takes the new ones.

    Args:
        certificate: the server's own.
        key: its key, if it is not in the same file.
        clients: file with the authorities of clients; given, a client without such a certificate is refused (mTLS).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return _complete(context, certificate, key)


def _complete(context: ssl.SSLContext, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def identity_of(certificate: object) -> tuple[str, ...]:
    """Returns the URIs that a checked certificate names (its subject alternative names), which identify the app."""
    if not isinstance(certificate, dict):
        return ()
    return tuple(str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI")
