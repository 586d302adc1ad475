"""One ACME server (RFC 8555): orders, renewal information, revocation, and the account that we have there."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, ParamSpec, TypeVar

import requests
import structlog
from acme import errors, jws, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from backing.certificates.material import Certificate
from mail.errors import Unavailable
from worker.certificates.account import Account, AccountBook
from worker.certificates.due import Window
from worker.certificates.faults import Conflict, Rejected
from worker.certificates.keys import new_key, pem
from worker.certificates.solvers import Proof, Solver
from worker.certificates.wire import Client, Network, certificate_id, in_our_words

P = ParamSpec("P")
T = TypeVar("T")
# RFC 5280, 5.3.1.
KEY_COMPROMISE: Final = 1
# The last ones are what the library makes of answers that are not of an ACME server.
_FAULTS: Final = (
    errors.Error,
    requests.RequestException,
    JoseError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


class AcmeServer:
    """Talks to one ACME server, in a thread where it has to wait.

    All methods raise `Unavailable` where trying again may help, `Later` where it may only later, and `Rejected` where
    somebody has to do something first.

    Args:
        directory: its URL.
        book: where our accounts are.
        email: address that it may write to; empty: none.
        seconds: longest wait for its word on an order.
    """

    def __init__(self, directory: str, book: AccountBook, email: str, seconds: float) -> None:
        self._directory = directory
        self._book = book
        self._email = email
        self._seconds = seconds
        self._network = Network(None)

    async def window(self, certificate: Certificate) -> Window | None:
        """Ask when it would like a certificate to be renewed (ARI); None where it does not say."""
        client = await self._client()
        base = _entry(client.directory, "renewalInfo")
        if base is None or not (name := certificate_id(certificate.leaf)):
            return None
        response = await self._call(self._network.get, f"{base}/{name}")
        suggested = (await self._call(messages.RenewalInfo.from_json, response.json())).suggested_window
        if not (suggested.start and suggested.end):
            raise Unavailable("ACME server: renewal information without a window")
        return Window(suggested.start, max(suggested.start, suggested.end))

    async def order(self, names: Sequence[str], request: bytes, solver: Solver, replaced: Certificate | None) -> bytes:
        """Order a certificate; give its chain as PEM.

        Args:
            names: which it is for.
            request: PEM of the signing request.
            solver: proves the names.
            replaced: the certificate of this server that it is to replace.
        """
        client = await self._signed_in()
        order = await self._new_order(client, request, replaced)
        proofs = [
            self._proof(authorization, solver) for authorization in order.authorizations if _pending(authorization)
        ]
        structlog.get_logger().info("order placed", names=list(names), to_prove=[proof.name for proof, _ in proofs])
        shown = [proof for proof, _ in proofs]
        try:
            await solver.publish(shown)
            for _, challenge in proofs:
                await self._call(client.answer_challenge, challenge, challenge.response(self._key))
            order = await self._call(client.poll_authorizations, order, _deadline(self._seconds))
            order = await self._call(client.finalize_order, order, _deadline(self._seconds))
        finally:
            await self._withdraw(solver, shown)
        return str(order.fullchain_pem).encode("ascii")

    async def revoke(self, certificate: Certificate, reason: int = KEY_COMPROMISE) -> None:
        """Revoke a certificate that this server issued to us (RFC 8555, 7.6)."""
        client = await self._signed_in()
        await self._call(client.revoke, certificate.leaf, reason)

    async def roll_key(self) -> None:
        """Change the key of our account (RFC 8555, 7.3.5); the old one can sign nothing any more."""
        client = await self._signed_in()
        account = await self._book.account()
        assert account  # noqa: S101 - who has signed in has one
        key = new_key("ecdsa")
        url = _entry(client.directory, "keyChange")
        if url is None:
            raise Rejected("the ACME server does not change keys")
        # Kept before the server knows it: lost in between, nobody could use the account any more.
        await self._book.keep(replace(account, next_key=pem(key).decode()))
        change = json.dumps({"account": account.uri, "oldKey": self._key.public_key().to_partial_json()}).encode()
        signed = jws.JWS.sign(change, JWKEC(key=key), ES256, None, url)
        await self._call(self._network.post, url, signed, new_nonce_url=client.directory["newNonce"])
        await self._book.keep(Account(pem(key).decode(), account.uri))

    @property
    def _key(self) -> JWK:
        key: JWK | None = self._network.key
        assert key  # noqa: S101 - who signs has signed in
        return key

    async def _client(self) -> Client:
        directory = await self._call(self._network.get, self._directory)
        return Client(await self._call(messages.Directory.from_json, directory.json()), self._network)

    async def _signed_in(self) -> Client:
        """Use our account; make one where there is none, or where the server has forgotten it."""
        client = await self._client()
        account = await self._book.account()
        if account and await self._known(client, account):
            return client
        # Kept before the server knows it: thus a key is never lost, and an account is found again by its key.
        account = account or Account(pem(new_key("ecdsa")).decode())
        await self._book.keep(account)
        uri = await self._register(client, account)
        await self._book.keep(Account(account.key, uri))
        return client

    async def _known(self, client: Client, account: Account) -> bool:
        """Look for our account by its key, first by the one that a change was interrupted with."""
        for key in filter(None, (account.next_key, account.key)):
            self._network.key, self._network.account = _jwk(key), None
            asked = messages.RegistrationResource(body=messages.Registration(), uri=account.uri)
            try:
                await asyncio.to_thread(client.query_registration, asked)
            except messages.Error as error:
                if error.code == "accountDoesNotExist":
                    continue
                raise in_our_words(error, self._network) from error
            except _FAULTS as fault:
                raise in_our_words(fault, self._network) from fault
            if account.next_key:
                await self._book.keep(Account(key, account.uri))
            return True
        return False

    async def _register(self, client: Client, account: Account) -> str:
        self._network.key, self._network.account = _jwk(account.key), None
        binding = await self._book.binding()
        if binding is None and client.directory.meta.external_account_required:
            raise Rejected("the ACME server wants an external account binding: write `eab` into the account's secret")
        bound = (
            messages.ExternalAccountBinding.from_data(
                self._key.public_key(), binding.kid, binding.hmac_key, client.directory
            )
            if binding
            else None
        )
        wanted = messages.NewRegistration.from_data(
            email=self._email or None, terms_of_service_agreed=True, external_account_binding=bound
        )
        registered = await self._call(client.new_account, wanted)
        structlog.get_logger().info("account made", account=registered.uri)
        return str(registered.uri)

    async def _new_order(self, client: Client, request: bytes, replaced: Certificate | None) -> messages.OrderResource:
        if replaced and _entry(client.directory, "renewalInfo"):
            client.replaces = certificate_id(replaced.leaf)
            # A conflict: another order has replaced it already; then this is one like any other (RFC 9773, 5).
            with suppress(Conflict):
                return await self._call(client.new_order, request)
            client.replaces = None
        return await self._call(client.new_order, request)

    def _proof(
        self, authorization: messages.AuthorizationResource, solver: Solver
    ) -> tuple[Proof, messages.ChallengeBody]:
        name = authorization.body.identifier.value
        for challenge in authorization.body.challenges:
            if challenge.chall.typ == solver.kind:
                answer = challenge.chall.validation(self._key)
                return Proof(name, challenge.chall.encode("token"), answer), challenge
        raise Rejected(f"the ACME server offers no {solver.kind} for {name}")

    async def _withdraw(self, solver: Solver, proofs: Sequence[Proof]) -> None:
        try:
            await solver.withdraw(proofs)
        except Unavailable as fault:
            structlog.get_logger().warning("proofs left behind", reason=str(fault))

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except _FAULTS as fault:
            raise in_our_words(fault, self._network) from fault


def _jwk(key: str) -> JWK:
    loaded = serialization.load_pem_private_key(key.encode("ascii"), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
    return JWKEC(key=loaded)


def _pending(authorization: messages.AuthorizationResource) -> bool:
    return bool(authorization.body.status == messages.STATUS_PENDING)


def _entry(directory: messages.Directory, name: str) -> str | None:
    try:
        return str(directory[name])
    except KeyError:
        return None


def _deadline(seconds: float) -> datetime:
    """The library counts by the wall clock of the machine."""
    return datetime.now() + timedelta(seconds=seconds)  # noqa: DTZ005 - as said
