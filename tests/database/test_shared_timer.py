"""One timer for all waits with the same time limit."""

import asyncio

from learner_app.database.shared_timer import SharedTimer

SECONDS = 0.05


class Waits:
    """Waits by the time at which they began, with the time at which the timer ended them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.timer = SharedTimer(SECONDS, self.expire)
        self.began: list[float] = []
        self.ended: dict[float, float] = {}
        self.calls = 0

    def begin(self) -> None:
        now = self.loop.time()
        self.began.append(now)
        self.timer.set(now)

    def expire(self, began_before: float) -> float | None:
        self.calls += 1
        for began in [one for one in self.began if one <= began_before]:
            self.began.remove(began)
            self.ended[began] = self.loop.time()
        return min(self.began, default=None)


async def test_each_wait_ends_after_the_time_limit():
    waits = Waits()
    for _ in range(20):
        waits.begin()
        await asyncio.sleep(0.005)
    await asyncio.sleep(SECONDS * 3)
    assert len(waits.ended) == 20
    assert all(SECONDS * 0.99 <= end - began < SECONDS * 3 for began, end in waits.ended.items())
    assert not waits.timer.is_set


async def test_short_waits_share_one_timer():
    waits = Waits()
    for _ in range(1000):
        waits.begin()
        waits.began.pop()
    await asyncio.sleep(SECONDS * 3)
    assert waits.calls == 1
    assert waits.ended == {}


async def test_a_cancelled_timer_ends_no_wait_until_it_is_set_again():
    waits = Waits()
    waits.begin()
    waits.timer.cancel()
    await asyncio.sleep(SECONDS * 2)
    assert waits.calls == 0
    waits.begin()
    await asyncio.sleep(SECONDS * 2)
    assert len(waits.ended) == 2
