"""What a session is for: signing in, and handing over mail."""

import time
from typing import Any, Final

from aiosmtpd.smtp import AuthResult, LoginPassword
from typing_extensions import override

from mail.accounts import check_sender
from mail.addresses import Address, parse_forward_path, parse_reverse_path
from mail.errors import Refused, Reply, Unavailable
from mail.headers import Hop
from mail.job import Job, Recipient
from relay import replies
from relay.accept import Submission
from relay.auth import decode_initial, decode_response, split_plain
from relay.commands import parse_mail, parse_rcpt
from relay.data import DataReader
from relay.dialogue import Dialogue
from relay.protocol import Goodbye
from relay.visit import Draft

MAX_FAILED_SIGN_INS: Final = 3


class RelaySMTP(Dialogue):
    """A session of authenticated mail submission (RFC 6409)."""

    @override
    async def smtp_AUTH(self, arg: str) -> None:
        mechanism, _, initial = arg.partition(" ")
        name = mechanism.upper()
        if not name:
            raise Refused(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
        if name not in {"PLAIN", "LOGIN"}:
            raise Refused(504, "5.5.4", "Mechanism not supported; use PLAIN or LOGIN")
        try:
            result: AuthResult = await getattr(self, f"auth_{name}")(self, [initial] if initial else [])
        except Unavailable as fault:
            self.house.metrics.auth.labels("unavailable").inc()
            self.log.warning("credential not checked", reason=str(fault))
            await self.say(replies.AUTH_UNAVAILABLE)
        except Refused as refusal:
            await self._count_failure(refusal.reply)
        else:
            self.house.metrics.auth.labels("accepted").inc()
            self._sign_in(result)
            await self.say(replies.SIGNED_IN)

    @override
    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:
        response = decode_initial(args[0]) if args else await self._challenge("")
        return await self._check(split_plain(response))

    @override
    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:
        # The prompts "Username:" and "Password:" in base64, as every client knows them.
        login = decode_initial(args[0]) if args else await self._challenge("VXNlcm5hbWU6")
        return await self._check(LoginPassword(login, await self._challenge("UGFzc3dvcmQ6")))

    @override
    async def smtp_MAIL(self, arg: str | None) -> None:
        path, options = parse_mail(arg or "")
        sender = parse_reverse_path(path)
        _check_smtputf8(sender, smtputf8=options.smtputf8)
        limit = self.house.settings.relay_max_message_bytes
        if options.size > limit:
            raise Refused(552, "5.3.4", f"Message too large; the limit is {limit} octets")
        check_sender(self.session.signed_in.account, sender)
        self.envelope.mail_from = str(sender) if sender else ""
        self.envelope.smtp_utf8 = options.smtputf8
        self.envelope.options = options
        await self.say(replies.SENDER_OK)

    @override
    async def smtp_RCPT(self, arg: str | None) -> None:
        path, options = parse_rcpt(arg or "")
        recipient = parse_forward_path(path)
        if not recipient.domain:
            raise replies.refusal(replies.NO_LOCAL_MAIL)
        _check_smtputf8(recipient, smtputf8=self.envelope.smtp_utf8)
        address = str(recipient)
        if address not in self.envelope.recipients:
            if len(self.envelope.recipients) >= self.house.settings.relay_max_recipients:
                raise replies.refusal(replies.TOO_MANY_RECIPIENTS)
            self.envelope.recipients[address] = Recipient(address, options.notify, options.orcpt)
            self.envelope.rcpt_tos.append(address)
        await self.say(replies.RECIPIENT_OK)

    @override
    async def smtp_DATA(self, arg: str) -> None:
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        reader = DataReader(self.house.settings.relay_max_message_bytes)
        while (rest := reader.feed(await self.read_piece())) is None:
            pass
        self.unread(rest)
        draft, self.envelope = self.envelope, Draft()
        began = time.monotonic()
        try:
            job = await self.house.intake.accept(self._submission(draft, reader.message()))
        except Refused as refusal:
            self.session.refused += 1
            await self._conclude("refused", refusal.reply, began, {"reason": refusal.reply.text})
        except Unavailable as fault:
            self.session.deferred += 1
            await self._conclude("deferred", replies.TRY_LATER, began, {"reason": str(fault)})
        else:
            self.session.accepted += 1
            self.session.errors = 0
            self.house.metrics.bytes.inc(job.size)
            await self._conclude("accepted", Reply(250, "2.0.0", f"queued as {job.id}"), began, _facts(job))

    async def _challenge(self, prompt: str) -> bytes:
        await self.push(f"334 {prompt}")
        return decode_response((await self.read_line()).decode("ascii", "replace"))

    async def _check(self, login: LoginPassword) -> AuthResult:
        return AuthResult(success=True, auth_data=await self.house.doorkeeper.admit(login))

    def _sign_in(self, result: AuthResult) -> None:
        self.session.authenticated = True
        self.session.credential = result.auth_data
        credential = self.session.signed_in
        self.log = self.log.bind(user=credential.username, account=credential.account.name)

    async def _count_failure(self, reply: Reply) -> None:
        await self.say(reply)
        if reply.code != replies.BAD_CREDENTIAL.code:
            return
        self.house.metrics.auth.labels("refused").inc()
        self.session.failed_sign_ins += 1
        if self.session.failed_sign_ins >= MAX_FAILED_SIGN_INS:
            raise Goodbye("too many failed sign-ins", replies.TOO_MANY_SIGN_INS)

    def _submission(self, draft: Draft, content: bytes) -> Submission:
        visit, options = self.session, draft.options
        tls = visit.ssl or {}
        return Submission(
            credential=visit.signed_in,
            session=visit.id,
            hop=Hop(
                helo=visit.host_name or "",
                peer=visit.peer,
                by=self.house.settings.relay_hostname,
                protocol="UTF8SMTPSA" if options.smtputf8 else "ESMTPSA",
                tls=f"{tls.get('version')} {tls.get('cipher')}",
            ),
            mail_from=draft.mail_from or "",
            recipients=tuple(draft.recipients.values()),
            smtputf8=options.smtputf8,
            eight_bit=options.eight_bit,
            ret=options.ret,
            envid=options.envid,
            content=content,
        )

    async def _conclude(self, result: str, reply: Reply, began: float, facts: dict[str, Any]) -> None:
        """Count, log and answer a message, whatever became of it."""
        seconds = time.monotonic() - began
        self.house.metrics.messages.labels(result).inc()
        self.house.metrics.accept_seconds.observe(seconds)
        self.log.info("message", result=result, ms=round(seconds * 1000, 1), **facts)
        await self.say(reply)


def _check_smtputf8(address: Address | None, *, smtputf8: bool) -> None:
    if address and address.needs_smtputf8 and not smtputf8:
        raise replies.refusal(replies.NEEDS_SMTPUTF8)


def _facts(job: Job) -> dict[str, Any]:
    return {"id": str(job.id), "size": job.size, "recipients": len(job.recipients)}
