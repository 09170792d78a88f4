"""Where a MariaDB or MySQL server is, read from a database URL."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import make_url

from placet_migrations import TLS_OPTIONS, mysql_tls

PORT: Final = 3306
OPTIONS: Final = TLS_OPTIONS | {"unix_socket"}


@dataclass(frozen=True)
class Address:
    """Where the server is, and who we are; the password never shows."""

    host: str | None
    port: int
    user: str | None
    password: bytes = field(repr=False)
    database: str
    unix_socket: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read a URL such as `mysql://user:secret@host:3306/placet?ssl_ca=/etc/ca.pem`.

        Raises:
            ValueError: no database is named, an option is unknown, or a certificate file can't be read.
        """
        parsed = make_url(url)
        if not parsed.database:
            raise ValueError("database URL: name the database, as in mysql://user:password@host:3306/placet")
        unknown = parsed.query.keys() - OPTIONS
        if unknown:
            raise ValueError(f"database URL: unknown option {min(unknown)}; known are {', '.join(sorted(OPTIONS))}")
        query: Mapping[str, Any] = parsed.query
        try:
            tls = mysql_tls(query)
        except OSError as error:
            raise ValueError(f"database URL: a file named in it can't be used for TLS: {error}") from error
        return cls(
            host=parsed.host,
            port=parsed.port or PORT,
            user=parsed.username,
            # Bytes: of a string the driver makes latin-1, which is not what the server keeps.
            password=str(parsed.password or "").encode(),
            database=parsed.database,
            unix_socket=query.get("unix_socket"),
            tls=tls,
        )

    def __str__(self) -> str:
        """Name the server and the database, for messages."""
        return f"{self.unix_socket or f'{self.host}:{self.port}'}/{self.database}"
