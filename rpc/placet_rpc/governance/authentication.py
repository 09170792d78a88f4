"""Who calls: the client's half signs each request, the server's half checks what was proved."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from placet_rpc import outcome
from placet_rpc.filters import Proceed as ClientProceed
from placet_rpc.governance.tokens import TokenRefused, TokenSigner, TokenVerifier
from placet_rpc.invocation import Invocation
from placet_rpc.served_call import Answer, Proceed, ServedCall

TOKEN = "token"  # noqa: S105 - the name of a member, not a secret
APP = "app:"


class Signing:
    """Gives each request a token; a `ClientFilter`.

    It belongs into `Seams.attempts`: a token is good once, so a repeated call needs one for each attempt.

    Args:
        signer: makes the tokens.
        is_bound: each token is good at the instance alone that the request goes to. For instances that a registry
            knows by their own ids; where they are known by address, no server would know itself by the name.
    """

    def __init__(self, signer: TokenSigner, *, is_bound: bool = False) -> None:
        self._token = signer.token
        self._is_bound = is_bound

    async def invoke(self, call: Invocation, proceed: ClientProceed) -> Any:
        """Signs a request."""
        name = f"{call.service.key}.{call.method.name}"
        token = self._token(name, call.instance if self._is_bound else "")
        call.extra = {**call.extra, TOKEN: token}
        return await proceed(call)


class Proof(NamedTuple):
    """What a request proves.

    Attributes:
        app: the application that makes it.
        identity: what access lists know it by.
    """

    app: str
    identity: tuple[str, ...]


class Prover(Protocol):
    """One way of proving."""

    def proof_of(self, call: ServedCall, /) -> Proof | None:
        """Returns what a request proves, None if it does not try to.

        Raises:
            TokenRefused: it tries and fails.
        """
        ...


class TokenProver:
    """Proof by a token; identity `app:NAME`."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._app_of = verifier.app_of

    def proof_of(self, call: ServedCall) -> Proof | None:
        """Checks the token of a request, if it has one."""
        token = call.context.extra.get(TOKEN)
        if token is None:
            return None
        app = self._app_of(token, call.name)
        return Proof(app, (APP + app,))


class CertificateProver:
    """Proof by a client's certificate (mTLS), which TLS has checked already; identity is its URIs, and `app:NAME`.

    Args:
        apps: application by URI of the certificate, such as `spiffe://example.org/order`.
    """

    def __init__(self, apps: Mapping[str, str]) -> None:
        self._apps = dict(apps)

    def proof_of(self, call: ServedCall) -> Proof | None:
        """Looks at the certificate, if there is one that is known."""
        for uri in call.context.identity:
            app = self._apps.get(uri)
            if app is not None:
                return Proof(app, (*call.context.identity, APP + app))
        return None


class Authentication:
    """Lets only proven callers through, and tells all that follows who they are; a `ServerFilter`.

    Args:
        provers: tried in order; the first proof counts.
        required: False lets callers without proof through, as nobody: for access lists to decide. A proof that fails is
            refused in any case.
    """

    def __init__(self, provers: Sequence[Prover], *, required: bool = True) -> None:
        if not provers:
            raise ValueError("an authentication without provers would let nobody through")
        self._provers = tuple(provers)
        self._required = required

    async def answer(self, call: ServedCall, proceed: Proceed) -> Answer:
        """Checks who calls."""
        proof = None
        try:
            for prover in self._provers:
                proof = prover.proof_of(call)
                if proof is not None:
                    break
        except TokenRefused as refused:
            return call.refused(outcome.UNAUTHENTICATED, "unauthenticated", f"the token was refused: {refused}")
        if proof is not None:
            app, identity = proof
        elif self._required:
            detail = "this server wants to know who calls: sign requests with a token, or show a certificate it knows"
            return call.refused(outcome.UNAUTHENTICATED, "unauthenticated", detail)
        else:
            # A name that nobody has proved is worth nothing here: not in access lists, not as the owner of a key.
            app, identity = "", call.context.identity
        call.context = msgspec.structs.replace(call.context, caller=app, identity=identity)
        return await proceed(call)

    async def aclose(self) -> None:
        """Holds nothing."""
