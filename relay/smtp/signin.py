"""Signing in: the mechanisms of AUTH (RFC 4954)."""

from typing import Any, Final

from aiosmtpd.smtp import AuthResult, LoginPassword
from typing_extensions import override

from mail.accounts import Account, Credential
from mail.errors import Refused, Reply, Unavailable
from relay import replies
from relay.smtp.basics import Basics
from relay.smtp.sasl import decode_initial, decode_response, split_plain
from relay.wire.waits import Goodbye

MAX_FAILED_SIGN_INS: Final = 3
# What a refusal is counted as, by its code; others are mistakes of the dialogue, not attempts.
_COUNTED_AS: Final = {replies.BAD_CREDENTIAL.code: "refused", replies.AUTH_UNAVAILABLE.code: "throttled"}


class SignIn(Basics):
    """A session that learns who its client is.

    Attributes:
        account: whose session it is, once it has signed in.
    """

    account: Account

    @override
    async def smtp_AUTH(self, arg: str) -> None:
        mechanism, _, initial = arg.partition(" ")
        name, offered = mechanism.upper(), self.session.mechanisms
        if not name:
            raise Refused(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
        if name not in offered:
            raise Refused(504, "5.5.4", f"Mechanism not supported; use {' or '.join(offered)}")
        try:
            result: AuthResult = await getattr(self, f"auth_{name}")(self, [initial] if initial else [])
        except Unavailable as fault:
            self.house.metrics.auth.labels("unavailable").inc()
            self.log.warning("credential not checked", reason=str(fault))
            self.say(replies.AUTH_UNAVAILABLE)
        except Refused as refusal:
            self._count_failure(refusal.reply)
        else:
            self.house.metrics.auth.labels("accepted").inc()
            self._sign_in(result)
            self.heed(self._register.sign_in(self))
            self.say(replies.SIGNED_IN)

    @override
    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:
        response = decode_initial(args[0]) if args else await self._challenge("")
        return await self._check(split_plain(response))

    @override
    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:
        # The prompts "Username:" and "Password:" in base64, as every client knows them.
        login = decode_initial(args[0]) if args else await self._challenge("VXNlcm5hbWU6")
        return await self._check(LoginPassword(login, await self._challenge("UGFzc3dvcmQ6")))

    async def auth_EXTERNAL(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802 - named after the mechanism, as the others
        """Sign in with the client certificate of the TLS session (RFC 4422, appendix A)."""
        acting_for = decode_initial(args[0]) if args else await self._challenge("")
        visit = self.session
        return _done(
            await self.house.doorkeeper.admit_certified(
                visit.certificate_names, acting_for.decode("utf-8", "replace"), visit.peer
            )
        )

    async def _challenge(self, prompt: str) -> bytes:
        self.tell(b"334 %b" % prompt.encode("ascii"))
        response = await self.read_line()
        if self.house.transcripts.active:
            self.house.transcripts.response(self.session)
        return decode_response(response.decode("ascii", "replace"))

    async def _check(self, login: LoginPassword) -> AuthResult:
        return _done(await self.house.doorkeeper.admit(login, self.session.peer))

    def _sign_in(self, result: AuthResult) -> None:
        self.session.authenticated = True
        self.session.credential = result.auth_data
        credential = self.session.signed_in
        self.account = credential.account
        self.know(user=credential.username, account=credential.account.name)
        self.house.quotas.know(credential.account)
        self.house.suppressions.watch(credential.account.id)

    def _count_failure(self, reply: Reply) -> None:
        self.say(reply)
        counted_as = _COUNTED_AS.get(reply.code)
        if counted_as is None:
            return
        self.house.metrics.auth.labels(counted_as).inc()
        self.session.failed_sign_ins += 1
        if self.session.failed_sign_ins >= MAX_FAILED_SIGN_INS:
            raise Goodbye("too many failed sign-ins", replies.TOO_MANY_SIGN_INS)


def _done(credential: Credential) -> AuthResult:
    return AuthResult(success=True, auth_data=credential)
