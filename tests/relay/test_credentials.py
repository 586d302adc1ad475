"""The Doorkeeper: every kind of credential, what is remembered of it, for how long, and who is held back."""

import asyncio
import time
from dataclasses import replace
from ipaddress import ip_network
from uuid import UUID

import pytest
from aiosmtpd.smtp import LoginPassword

from backing.notices import Notice
from backing.passwords import password_hash
from mail.accounts import ChosenSecret, Credential, GeneratedSecret, secret_digest
from mail.errors import Refused, Reply, Unavailable
from relay.policy.auth import NO_LONGER_VALID, REFUSAL_SECONDS, Doorkeeper
from relay.policy.changes import Changes
from relay.policy.credentials import ASK_AGAIN_SECONDS, MAX_KNOWN, KnownCredentials
from relay.policy.passwords import MAX_WAITING, THREADS, Passwords
from relay.policy.suppression import SuppressionLists
from relay.replies import BAD_CREDENTIAL
from relay.transcript import Transcripts
from tests.relay.doors import HELD, Clock, SlowAccounts, Throttle
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, SECRET, USER, Accounts
from tests.relay.lists import Lists

pytestmark = pytest.mark.anyio

HERE, THERE = "192.0.2.7", "198.51.100.7"
PASSWORD = "a password of mine"
CHOSEN = Credential(UUID(int=3), "desk", ChosenSecret(password_hash(PASSWORD)), ACCOUNT)
CERTIFIED = Credential(UUID(int=4), "device", None, ACCOUNT, certificate_name="scanner.example")


class House:
    """A Doorkeeper with all it leans on."""

    def __init__(self, *credentials: Credential) -> None:
        self.accounts = Accounts({credential.username: credential for credential in credentials})
        self.clock, self.throttle, self.passwords = Clock(), Throttle(), Passwords(most_waiting=4)
        self.doorkeeper = Doorkeeper(
            self.accounts, KEY, 60, self.clock, throttle=self.throttle, passwords=self.passwords
        )

    async def admit(self, username: str, secret: str, peer: str = HERE) -> Credential:
        return await self.doorkeeper.admit(LoginPassword(username.encode(), secret.encode()), peer)

    async def refusal(self, username: str, secret: str, peer: str = HERE) -> Reply:
        with pytest.raises(Refused) as refused:
            await self.admit(username, secret, peer)
        return refused.value.reply

    def put(self, credential: Credential) -> None:
        self.accounts.credentials[credential.username] = credential


async def test_a_chosen_password_is_computed_once_until_the_credential_has_another() -> None:
    house = House(CHOSEN)
    for _ in range(3):
        assert await house.admit("desk", PASSWORD) == CHOSEN
    assert (house.passwords.runs, house.accounts.asked) == (1, 1)
    house.clock.now += 61
    assert await house.admit("desk", PASSWORD) == CHOSEN
    assert (house.passwords.runs, house.accounts.asked) == (1, 2)

    changed = replace(CHOSEN, secret=ChosenSecret(password_hash("another one of mine")))
    house.put(changed)
    house.doorkeeper.forget("desk")
    assert await house.refusal("desk", PASSWORD) == BAD_CREDENTIAL
    assert await house.admit("desk", "another one of mine") == changed
    assert house.passwords.runs == 3


async def test_wrong_passwords_are_never_remembered() -> None:
    house = House(CHOSEN)
    await house.admit("desk", PASSWORD)
    for runs in (2, 3):
        assert await house.refusal("desk", "not my password") == BAD_CREDENTIAL
        assert house.passwords.runs == runs
    assert await house.admit("desk", PASSWORD) == CHOSEN
    assert house.passwords.runs == 3


async def test_sessions_that_come_together_share_a_check_and_a_question() -> None:
    accounts, passwords = SlowAccounts({"desk": CHOSEN}), Passwords()
    doorkeeper = Doorkeeper(accounts, KEY, 60, passwords=passwords)
    login = LoginPassword(b"desk", PASSWORD.encode())
    async with asyncio.TaskGroup() as tasks:
        several = [tasks.create_task(doorkeeper.admit(login, HERE)) for _ in range(3 * MAX_WAITING)]
        await asyncio.sleep(0)
        accounts.let.set()
    assert [task.result() for task in several] == [CHOSEN] * 3 * MAX_WAITING
    assert (passwords.runs, accounts.asked) == (1, 1)


async def test_guesses_cannot_have_more_than_their_share_and_leave_the_others_alone() -> None:
    house = House(CHOSEN, CREDENTIAL)
    await house.admit("desk", PASSWORD)
    room = THREADS + 4
    async with asyncio.TaskGroup() as tasks:
        guesses = [tasks.create_task(outcome(house.admit("desk", f"guess {n}"))) for n in range(room + 5)]
        nobodies = [tasks.create_task(outcome(house.admit("nobody", f"guess {n}"))) for n in range(3)]
        await asyncio.sleep(0)
        # Whose secret needs no slow hash waits for none.
        assert await house.admit("desk", PASSWORD) == CHOSEN
        assert await house.admit(USER, SECRET) == CREDENTIAL
    answers = [task.result() for task in guesses]
    assert answers.count(str(BAD_CREDENTIAL)) == room
    assert answers.count("too many passwords wait to be checked") == 5
    # A user that does not exist stands in the same queue.
    assert {task.result() for task in nobodies} == {"too many passwords wait to be checked"}
    assert house.passwords.runs == room + 1


async def outcome(admission: "asyncio.Future[Credential] | object") -> str:
    try:
        await admission  # type: ignore[misc]  # a coroutine
    except Refused as refused:
        return str(refused)
    except Unavailable as fault:
        return str(fault)
    return "admitted"


async def test_a_session_that_goes_away_does_not_make_room_before_its_check_ends() -> None:
    passwords = Passwords()
    assert isinstance(CHOSEN.secret, ChosenSecret)
    checks = [asyncio.ensure_future(passwords.check(CHOSEN.secret.phc, f"guess {n}")) for n in range(2)]
    await asyncio.sleep(0)
    for check in checks:
        check.cancel()
    others = [asyncio.ensure_future(passwords.check(None, f"{n}")) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await passwords.check(None, "one more")
    assert not any(checked.right for checked in await asyncio.gather(*others))
    assert not (await passwords.check(None, "one more")).right


@pytest.mark.parametrize("user", ["desk", USER, "device", "nobody", "", "a\0b"])
async def test_every_refusal_is_the_same_and_takes_its_time(user: str) -> None:
    house = House(CHOSEN, CREDENTIAL, CERTIFIED)
    began = time.monotonic()
    assert await house.refusal(user, "not the password") == BAD_CREDENTIAL
    took = time.monotonic() - began
    assert took >= REFUSAL_SECONDS * 0.95
    assert house.throttle.told == [("failed", HERE, "" if "\0" in user else user)]


async def test_a_credential_may_be_bound_to_networks() -> None:
    bound = replace(CREDENTIAL, networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
    house = House(bound)
    for peer in (HERE, "2001:db8::1", "::ffff:192.0.2.9"):
        assert await house.admit(USER, SECRET, peer) == bound
    for peer in (THERE, "2001:db9::1", "unknown"):
        refusal = await house.refusal(USER, SECRET, peer)
        assert str(refusal) == f"535 5.7.8 This credential may not be used from {peer}"
    assert await house.refusal(USER, "wrong", THERE) == BAD_CREDENTIAL
    assert house.throttle.told[3:] == [("failed", THERE, USER)]


async def test_a_throttled_address_is_not_even_looked_up() -> None:
    house = House(CREDENTIAL)
    house.throttle.addresses.add(THERE)
    assert await house.refusal(USER, SECRET, THERE) == HELD
    assert (house.accounts.asked, house.throttle.told) == (0, [])
    assert await house.admit(USER, SECRET, HERE) == CREDENTIAL
    assert house.throttle.told == [("succeeded", HERE, USER)]


async def test_a_throttled_user_cannot_try_passwords_and_a_generated_secret_still_signs_in() -> None:
    house = House(CHOSEN, CREDENTIAL)
    await house.admit("desk", PASSWORD)
    house.throttle.usernames |= {"desk", USER, "nobody"}
    assert await house.refusal("desk", PASSWORD) == HELD
    assert await house.admit(USER, SECRET) == CREDENTIAL
    # Nobody learns from the answer who exists, and with what kind of secret.
    for user in ("desk", USER, "nobody"):
        assert await house.refusal(user, "wrong") == HELD
    assert house.passwords.runs == 1


async def test_a_certificate_signs_in_as_its_user_and_as_nobody_else() -> None:
    house = House(CERTIFIED, CREDENTIAL)
    certified = house.doorkeeper.admit_certified
    assert await certified(("other.example", "Scanner.Example"), "", HERE) == CERTIFIED
    assert await certified(("scanner.example",), "device", HERE) == CERTIFIED
    assert house.accounts.asked == 1
    for names, username in ((("scanner.example",), USER), (("other.example",), ""), (("a\0b",), ""), ((), "device")):
        with pytest.raises(Refused) as refused:
            await certified(names, username, HERE)
        assert refused.value.reply == BAD_CREDENTIAL
    assert [kind for kind, *_ in house.throttle.told] == ["succeeded"] * 2 + ["failed"] * 4

    house.accounts.down, house.clock.now = True, house.clock.now + 61
    assert await certified(("scanner.example",), "", HERE) == CERTIFIED
    with pytest.raises(Unavailable):
        await certified(("never.example",), "", HERE)
    house.accounts.down, house.clock.now = False, house.clock.now + 61
    del house.accounts.credentials["device"]
    with pytest.raises(Refused):
        await certified(("scanner.example",), "", HERE)


async def test_a_session_keeps_the_current_version_of_its_credential() -> None:
    house = House(CREDENTIAL)
    credential = await house.admit(USER, SECRET)
    for _ in range(3):
        assert await house.doorkeeper.renew(credential, HERE) is credential
    assert house.accounts.asked == 1
    house.put(replace(CREDENTIAL, account=replace(ACCOUNT, check_from=True)))
    assert await house.doorkeeper.renew(credential, HERE) is credential
    house.doorkeeper.forget_account(ACCOUNT.id)
    newer = await house.doorkeeper.renew(credential, HERE)
    assert newer.account.check_from
    assert await house.doorkeeper.renew(newer, HERE) is newer
    assert house.accounts.asked == 2


@pytest.mark.parametrize(
    "now",
    [
        None,
        replace(CREDENTIAL, id=UUID(int=9)),
        replace(CREDENTIAL, secret=GeneratedSecret(secret_digest(KEY, USER, "rotated"))),
        replace(CREDENTIAL, networks=(ip_network("198.51.100.0/24"),)),
    ],
)
async def test_a_session_whose_credential_is_no_longer_good_is_refused(now: Credential | None) -> None:
    house = House(CREDENTIAL)
    credential = await house.admit(USER, SECRET)
    house.accounts.credentials = {USER: now} if now else {}
    house.doorkeeper.forget(USER)
    with pytest.raises(Refused) as refused:
        await house.doorkeeper.renew(credential, HERE)
    assert refused.value.reply == NO_LONGER_VALID


async def test_while_the_database_is_away_sessions_keep_what_is_known() -> None:
    house = House(CREDENTIAL)
    credential = await house.admit(USER, SECRET)
    house.accounts.down = True
    house.doorkeeper.forget_all()
    for _ in range(10):
        assert await house.doorkeeper.renew(credential, HERE) is credential
    assert house.accounts.asked == 2
    # One that this relay does not know any more, either.
    stranger = replace(CREDENTIAL, username="other")
    assert await house.doorkeeper.renew(stranger, HERE) is stranger
    house.accounts.down, house.clock.now = False, house.clock.now + ASK_AGAIN_SECONDS
    house.accounts.credentials.clear()
    with pytest.raises(Refused):
        await house.doorkeeper.renew(credential, HERE)


async def test_an_answer_that_may_be_older_than_a_change_is_not_trusted() -> None:
    accounts = SlowAccounts()
    doorkeeper = Doorkeeper(accounts, KEY, 60)
    login = LoginPassword(USER.encode(), SECRET.encode())
    async with asyncio.TaskGroup() as tasks:
        session = tasks.create_task(doorkeeper.admit(login, HERE))
        while not accounts.asked:  # noqa: ASYNC110 - the stand-in has no event for it
            await asyncio.sleep(0)
        doorkeeper.forget(USER)
        accounts.let.set()
    await doorkeeper.renew(session.result(), HERE)
    assert accounts.asked == 2


async def test_who_asks_for_others_and_goes_away_leaves_the_question_to_them() -> None:
    accounts = SlowAccounts()
    known = KnownCredentials(accounts, 60, Clock())
    first, second = (asyncio.ensure_future(known.ask(USER)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    accounts.let.set()
    assert await second == CREDENTIAL
    assert first.cancelled()
    assert accounts.asked == 2


async def test_a_fault_is_everybodys_who_asked() -> None:
    accounts = Accounts(down=True)
    known = KnownCredentials(accounts, 60, Clock())
    answers = await asyncio.gather(*(known.ask(USER) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_no_more_than_so_many_are_remembered() -> None:
    house = House(*(replace(CERTIFIED, username=f"{n}", certificate_name=f"{n}") for n in range(MAX_KNOWN + 2)))
    known = KnownCredentials(house.accounts, 60, house.clock)
    for n in range(MAX_KNOWN + 2):
        await known.ask(f"{n}")
    assert [known.known(f"{n}") is not None for n in (0, 1, 2, MAX_KNOWN + 1)] == [False, False, True, True]


async def test_notices_reach_who_keeps_copies() -> None:
    house, lists, transcripts = House(CREDENTIAL), Lists(), Transcripts(lambda *_: None)
    changes = Changes(house.doorkeeper, SuppressionLists(lists, house.clock), transcripts)
    credential = await house.admit(USER, SECRET)
    account = str(ACCOUNT.id)
    for notice, asked in (
        (Notice("credential", "other"), 1),
        (Notice("credential", USER), 2),
        (Notice("account", account), 3),
        (Notice("suppression", account), 3),
        (Notice("transcript", '{"id": "w", "account": "shop"}'), 3),
    ):
        changes.hear(notice)
        assert await house.doorkeeper.renew(credential, HERE) == credential
        assert house.accounts.asked == asked
    changes.missed()
    await house.doorkeeper.renew(credential, HERE)
    assert house.accounts.asked == 4


def test_no_secret_shows_in_a_representation() -> None:
    assert isinstance(CHOSEN.secret, ChosenSecret)
    assert isinstance(CREDENTIAL.secret, GeneratedSecret)
    assert CHOSEN.secret.phc not in repr(CHOSEN)
    assert repr(CREDENTIAL.secret.digest) not in repr(CREDENTIAL)
