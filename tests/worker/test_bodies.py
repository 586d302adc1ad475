"""Room for bodies: so many octets at a time."""

import asyncio

import pytest
from aiobotocore.session import get_session

from backing.s3 import Bodies, BodyMissing
from mail.job import Job
from tests.worker.house import Post, make_job
from worker.bodies import Baggage

pytestmark = pytest.mark.anyio


async def test_stored_bodies_wait_for_room_in_turn_and_others_do_not(post: Post) -> None:
    order: list[str] = []
    gates = {name: asyncio.Event() for name in "abcd"}
    async with get_session().create_client("s3", region_name="eu-central-1", endpoint_url=post.endpoint) as s3:
        baggage = Baggage(Bodies(s3, post.bucket), 100)

        async def carry(name: str, job: Job) -> None:
            async with baggage.room(job):
                order.append(f"{name} in")
                await gates[name].wait()
            order.append(f"{name} out")

        def stored(size: int) -> Job:
            return post.stored_job(make_job())._replace(size=size)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(carry("a", stored(60)))
            tasks.create_task(carry("b", stored(300)))
            gone = tasks.create_task(carry("d", stored(50)))
            tasks.create_task(carry("c", stored(40)))
            async with baggage.room(make_job()):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert order == ["a in"]
            gone.cancel()
            gates["a"].set()
            await asyncio.sleep(0.01)
            assert order == ["a in", "a out", "b in"]
            gates["b"].set()
            gates["c"].set()
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]


async def test_a_body_is_what_was_accepted_or_it_is_missing(post: Post) -> None:
    async with get_session().create_client("s3", region_name="eu-central-1", endpoint_url=post.endpoint) as s3:
        baggage = Baggage(Bodies(s3, post.bucket), 100)
        job = make_job(body=b"x" * 2_000_000)
        place = await baggage.store(job)
        stored = job._replace(body=place)
        assert await baggage.store(stored) == place
        assert await baggage.fetch(stored) == job.body
        with pytest.raises(BodyMissing, match="is not what was accepted"):
            await baggage.fetch(stored._replace(sha256=b"0" * 32))
        with pytest.raises(BodyMissing, match="the queue"):
            await baggage.fetch(job._replace(sha256=b"0" * 32))
