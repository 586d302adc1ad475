import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from backing.batch import Batcher, Limits
from mail.errors import Unavailable


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


class Recorder:
    """Flushes when told to, and keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def flush(self, batch: Sequence[str]) -> list[str]:
        self.batches.append(list(batch))
        self.begun.set()
        await self.go.wait()
        return [item.upper() for item in batch]


def test_what_comes_while_a_flush_runs_goes_out_together() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with Batcher(recorder.flush, Limits(items=10, size=100, flushes=1)).running() as batcher:
            async with asyncio.TaskGroup() as callers:
                first = callers.create_task(batcher.submit("a"))
                await recorder.begun.wait()
                others = [callers.create_task(batcher.submit(item)) for item in "bcd"]
                await asyncio.sleep(0)
                recorder.go.set()
            assert recorder.batches == [["a"], ["b", "c", "d"]]
            assert [first.result(), *(task.result() for task in others)] == ["A", "B", "C", "D"]

    run(scenario)


def test_a_batch_keeps_to_the_limits_of_items_and_size_and_an_oversize_item_goes_alone() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.go.set()
        limits = Limits(items=3, size=10)
        async with Batcher(recorder.flush, limits, size=len).running() as batcher:
            await asyncio.gather(*(batcher.submit(item) for item in ["a", "b", "c", "d" * 9, "ee", "f" * 11, "g"]))
        assert recorder.batches == [["a", "b", "c"], ["d" * 9], ["ee"], ["f" * 11], ["g"]]

    run(scenario)


def test_a_failed_flush_fails_every_caller_of_its_batch_and_no_other() -> None:
    async def scenario() -> None:
        async def flush(batch: Sequence[str]) -> list[str]:
            await asyncio.sleep(0)
            if "bad" in batch:
                raise ConnectionError("no")
            return list(batch)

        async with Batcher(flush, Limits(items=2, size=100)).running() as batcher:
            answers = await asyncio.gather(*(batcher.submit(i) for i in ["bad", "b", "c"]), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no", "no", "c"]

    run(scenario)


def test_a_caller_that_goes_away_takes_nothing_back() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with Batcher(recorder.flush, Limits(items=10, size=100)).running() as batcher:
            async with asyncio.TaskGroup() as callers:
                gone = callers.create_task(batcher.submit("a"))
                await recorder.begun.wait()
                gone.cancel()
            recorder.go.set()
        assert gone.cancelled()
        assert recorder.batches == [["a"]]

    run(scenario)


def test_what_was_submitted_before_the_end_is_flushed() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.go.set()
        limits = Limits(items=1, size=1, flushes=1)
        async with asyncio.TaskGroup() as callers, Batcher(recorder.flush, limits).running() as batcher:
            tasks = [callers.create_task(batcher.submit(item)) for item in "abc"]
            await asyncio.sleep(0)
        assert [task.result() for task in tasks] == ["A", "B", "C"]

    run(scenario)


def test_above_the_eager_flushes_only_full_ones_start() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        limits = Limits(items=3, size=10, flushes=3, eager=1)
        async with Batcher(recorder.flush, limits, size=len).running() as batcher, asyncio.TaskGroup() as callers:
            for texts in (["a"], ["b", "c"], ["d"], ["e"], ["f" * 10], ["g", "h", "i"]):
                for text in texts:
                    callers.create_task(batcher.submit(text))
                for _ in range(4):
                    await asyncio.sleep(0)
            assert recorder.batches == [["a"], ["b", "c", "d"], ["e"]]
            recorder.go.set()
        assert recorder.batches[3:] == [["f" * 10], ["g", "h", "i"]]

    run(scenario)


def test_a_caller_that_goes_away_harms_no_other_of_its_batch() -> None:
    async def scenario(fault: Exception | None) -> list[str | BaseException]:
        recorder = Recorder()

        async def flush(batch: Sequence[str]) -> list[str]:
            answers = await recorder.flush(batch)
            if fault:
                raise fault
            return answers

        async with Batcher(flush, Limits(items=10, size=100)).running() as batcher:
            callers = [asyncio.ensure_future(batcher.submit(item)) for item in "ab"]
            await recorder.begun.wait()
            callers[0].cancel()
            recorder.go.set()
            return [str(answer) for answer in await asyncio.gather(*callers, return_exceptions=True)]

    assert asyncio.run(scenario(None)) == ["", "B"]
    assert asyncio.run(scenario(ConnectionError("no"))) == ["", "no"]


@pytest.mark.parametrize("flushes", [1, 2, 5])
def test_no_more_flushes_run_at_a_time_than_allowed(flushes: int) -> None:
    async def scenario() -> None:
        running, most = 0, 0

        async def flush(batch: Sequence[int]) -> list[int]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return list(batch)

        async with Batcher(flush, Limits(items=1, size=1, flushes=flushes)).running() as batcher:
            assert await asyncio.gather(*(batcher.submit(n) for n in range(20))) == list(range(20))
        assert most == flushes

    run(scenario)


def test_whoever_cannot_take_its_answer_harms_no_other_of_its_batch() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        told: list[str | Exception] = []

        def broken(_: object) -> None:
            raise RuntimeError("cannot take it")

        with capture_logs() as lines:
            async with Batcher(recorder.flush, Limits(items=10, size=100)).running() as batcher:
                batcher.put("a", broken)
                batcher.put("b", told.append)
                recorder.go.set()
        assert recorder.batches == [["a", "b"]]
        assert told == ["B"]
        assert [line["event"] for line in lines] == ["answer not taken"]

    run(scenario)


@pytest.mark.parametrize("answers", [[], ["A"], ["A", "B", "C"]])
def test_an_item_without_an_answer_is_told_so(answers: list[str]) -> None:
    async def scenario() -> list[str]:
        async def flush(_: Sequence[str]) -> list[str]:
            return answers

        told: list[str | Exception] = []
        async with Batcher(flush, Limits(items=10, size=100)).running() as batcher:
            batcher.put("a", told.append)
            batcher.put("b", told.append)
        return [str(answer) for answer in told]

    missing = ["no answer for this item"] * 2
    assert asyncio.run(scenario()) == [*answers, *missing][:2]


def test_when_all_is_given_up_every_caller_is_told() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        told: list[str | Exception] = []

        async def serve() -> None:
            async with Batcher(recorder.flush, Limits(items=1, size=100, flushes=1)).running() as batcher:
                for item in "abc":
                    batcher.put(item, told.append)
                await asyncio.Event().wait()

        serving = asyncio.ensure_future(serve())
        await recorder.begun.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert recorder.batches == [["a"]]
        assert [type(answer) for answer in told] == [Unavailable] * 3

    run(scenario)


def test_an_idle_worker_takes_what_comes_at_any_time() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.go.set()
        async with Batcher(recorder.flush, Limits(items=2, size=100, flushes=3)).running() as batcher:
            for _ in range(3):
                assert await asyncio.gather(*map(batcher.submit, "abcde")) == ["A", "B", "C", "D", "E"]
        assert sorted(map(len, recorder.batches)) == [1, 1, 1, 2, 2, 2, 2, 2, 2]

    run(scenario)
