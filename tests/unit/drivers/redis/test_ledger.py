"""What the Redis consumer remembers of its claims stays in proportion to what it holds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from umbel.drivers.redis import packing
from umbel.drivers.redis.address import read
from umbel.drivers.redis.keys import Keys
from umbel.drivers.redis.packing import Batch, Claim, Ledger, Reply, SettlementPacker
from umbel.model.delivery import Ack, Requeue, Settlement

KEYS = Keys(read("redis://host/0", {}).keys)
QUEUE = KEYS.queue("q")
PACKER = SettlementPacker(KEYS, 0, None, None, "w@h")
CLAIM = Claim("me", 15.0, 1, 0, 0, False, False)
MOST = 5


class Talk:
    """A consumer's talk with a server that refuses, loses replies, and forgets."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.held: list[str] = []

    def claim(self, count: int, *, counted: bool) -> None:
        count = min(count, MOST - len(self.held))
        number = self.ledger.reserve(count)
        claimed = [[0, 0, *[b"{}"] * count]] if count else []
        counts = [0, 2] if counted and count else []
        reply = Reply(b"0", [], -1, -1, [], counts, claimed)
        self.held += [one.receipt for one in self.ledger.claimed([QUEUE], number, reply)]

    def settle(self, answer: str) -> None:
        batch = self._packed()
        if answer == "lost":
            self.ledger.doubt(batch)
            return  # the worker sends them again
        refused = [0] if answer == "refused" and batch.order else []
        batch.answered(self.ledger, refused)
        self.held.clear()

    def _packed(self) -> Batch:
        ends = [Ack(), Requeue()]
        settlements = [Settlement(each, ends[n % 2]) for n, each in enumerate(self.held)]
        return PACKER.pack(settlements, self.ledger, CLAIM)

    def renew(self, *, arrived: bool) -> None:
        """A renewal tells what of it is there: nothing, where the settlements had arrived."""
        ours = self.ledger.all()
        self.ledger.keep(0, ours, set(ours) if arrived else set(), alive=True)


talks = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, MOST), st.booleans()),
        st.tuples(st.just("settle"), st.sampled_from(["done", "lost", "refused"])),
        st.tuples(st.just("renew"), st.booleans()),
        st.just(("lose",)),
        st.just(("forget",)),
    ),
    max_size=60,
)


@given(talks)
def test_it_grows_with_what_is_held_and_no_further(steps: list[tuple[Any, ...]]) -> None:
    most, packing.MOST_UNHEARD = packing.MOST_UNHEARD, 7
    try:
        talk = Talk()
        for what, *how in steps:
            match what:
                case "claim":
                    talk.claim(how[0], counted=how[1])
                case "settle":
                    talk.settle(how[0])
                case "renew":
                    talk.renew(arrived=how[0])
                case "lose":
                    talk.ledger.lose(0)
                case _:  # what was acknowledged early is not sent again when the reply was lost
                    talk.held.clear()
                    talk.ledger.keep(0, [], set(), alive=True)
            held = len(talk.ledger.all())
            assert held <= MOST
            assert talk.ledger.size <= 3 * held + 7
    finally:
        packing.MOST_UNHEARD = most


def test_a_settlement_whose_reply_was_lost_is_known_once() -> None:
    talk = Talk()
    talk.claim(1, counted=False)
    (receipt,) = talk.held
    talk.settle("lost")
    talk.renew(arrived=True)
    assert talk.ledger.was_settled(receipt)
    assert not talk.ledger.was_settled(receipt)
