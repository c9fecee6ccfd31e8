"""Claims whose run is over: what is to be settled, on its way from the pool to the intake.

Called by ``supervisor``, on the main thread, which posts what gathers here. An end comes as a
report of an executor, or is found: then ``endings`` makes it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable

from umbel.clock import Clock
from umbel.drivers.elsewhere import outgoing_of
from umbel.model.assignment import Lost, Report
from umbel.model.delivery import NO_EFFECTS, Effects, Quarantine, Settlement
from umbel.model.lifecycle import Step
from umbel.model.outcome import ResultRecord
from umbel.model.queues import Outgoing
from umbel.worker.endings import Endings
from umbel.worker.interrupter import COUNTS_AS_REVOKED, Interrupter
from umbel.worker.ledger import Entry, Ledger
from umbel.worker.notices import Notices
from umbel.worker.obituaries import Found, completed, is_followed
from umbel.worker.observing import Ending, Observer
from umbel.worker.plan import WorkerPlan

logger = logging.getLogger("umbel.worker")


class Settlements:
    """Closes entries of the ledger. One thread."""

    def __init__(
        self,
        plan: WorkerPlan,
        ledger: Ledger,
        interrupter: Interrupter,
        observer: Observer | None,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._interrupter = interrupter
        self._observer = observer
        self._clock = clock
        self._endings = Endings(plan)
        self.notices = Notices(plan)
        """What signals are to tell, for whoever has an executor to tell it."""
        self.settlements: list[Settlement] = []
        """Of claims that are ours; whoever posts them clears both lists."""
        self.loose: list[Effects] = []
        """Of runs whose message was acknowledged before they began."""
        self.processed: defaultdict[str, int] = defaultdict(int)
        """How many runs ended in each state so far; ``by_name`` of each task."""
        self.by_name: defaultdict[str, int] = defaultdict(int)
        self.on_settled: Callable[[Entry, Ending], None] | None = None
        """Told of every end, where somebody measures."""

    # --- ends that executors tell -----------------------------------------------------------------

    def reported(self, report: Report) -> None:
        """A run ended, or an executor has told who follows one whose end was found."""
        entry = self._ledger.get(report.id)
        if entry is None:
            return  # it escaped; intake said so, and the store refuses it in any case
        if entry.found is not None:
            self._found(entry, entry.found, completed(entry.found, report))
            return
        if entry.ending is not None and report.state in COUNTS_AS_REVOKED[entry.ending]:
            self.revoked(entry, entry.ending)
            return
        outgoing: tuple[Outgoing, ...] = ()
        if report.outgoing:
            outgoing = tuple(map(outgoing_of, report.outgoing))
        effects = Effects(report.records, outgoing, report.joins)
        settlement = Settlement(entry.delivery.receipt, report.verdict, effects)
        self._settle(entry, settlement, report.state, report)

    def noted(self, entry: Entry, record: ResultRecord) -> None:
        """Store this of a run that goes on."""
        effects = Effects((record,))
        if entry.acked:
            self.loose.append(effects)
        else:
            self.settlements.append(Settlement(entry.delivery.receipt, None, effects))

    # --- ends that are found ----------------------------------------------------------------------

    def revoked(self, entry: Entry, why: str) -> None:
        """It was revoked before it began, or did not succeed after that."""
        self.notices.revoked(entry.delivery, entry.signum if why == "terminated" else None)
        settlement = self._endings.terminated(entry, self._clock.now(), why)
        self._settle(entry, settlement, "REVOKED", why)

    def lost(self, entry: Entry, event: Lost, *, cold: bool) -> bool:
        """Its executor died. True where an executor is to tell who follows, before it is settled.

        ``cold``: no executor here will tell anything any more.
        """
        if entry.found is not None:  # over telling it
            if event.innocent or cold:
                self.told_later(entry, entry.found)
            else:
                self._found(entry, entry.found, entry.found.settlement)
            return False
        now = self._clock.now()
        name, task_id = entry.peek.task, entry.peek.id
        if entry.ending == "time limit":
            settlement, limit = self._endings.timed_out(entry, now)
            logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit.args[0], name, task_id)
            return self._have_told(entry, Found(settlement, "FAILURE", limit), cold=cold)
        if entry.ending == "terminated":
            self.revoked(entry, "terminated")
        elif (event.innocent or cold) and not entry.acked:
            logger.warning("Task %s[%s] was cut short; it goes back to its queue", name, task_id)
            self._settle(entry, self._endings.interrupted(entry), "INTERRUPTED", None)
        else:
            settlement, error = self._endings.lost(entry, event.status, now)
            logger.error("Task %s[%s]: %s", name, task_id, error)
            return self._have_told(entry, Found(settlement, "LOST", error), cold=cold)
        return False

    def _have_told(self, entry: Entry, found: Found, *, cold: bool) -> bool:
        entry.found, entry.ending = found, None
        if cold:
            self.told_later(entry, found)
            return False
        if not is_followed(entry.delivery.raw, found.settlement):
            self._found(entry, found, found.settlement)
            return False
        return True

    def told_later(self, entry: Entry, found: Found) -> None:
        """No executor of ours tells who follows: a message goes with the end, for another."""
        self._found(entry, found, self._endings.told_later(entry, found.settlement, found.error))

    def _found(self, entry: Entry, found: Found, settlement: Settlement) -> None:
        self._settle(entry, settlement, found.state, found.error)

    # --- what has not begun -----------------------------------------------------------------------

    def handed_back(self, entry: Entry) -> None:
        """It goes to the front of its queue; acknowledged already, it is sent again."""
        self._ledger.move(entry, Step.REPORTED)
        self.close(entry)
        if entry.acked:
            self.loose.append(self._endings.sent_again(entry.delivery))
        else:
            self.settlements.append(self._endings.handed_back(entry))

    # --- the one way out --------------------------------------------------------------------------

    def _settle(self, entry: Entry, settlement: Settlement, state: str, told: Ending) -> None:
        if self._observer is not None and self._observer.watching:
            self._observer.ended(entry, settlement, told)
        self._ledger.move(entry, Step.REPORTED)
        self.close(entry)
        self.processed[state] += 1
        self.by_name[entry.peek.task] += 1
        if self.on_settled is not None:
            self.on_settled(entry, told)
        if not entry.acked:
            self.settlements.append(settlement)
        elif isinstance(settlement.verdict, Quarantine):
            self.loose.append(self._endings.set_aside(entry, settlement, settlement.verdict))
        elif settlement.effects != NO_EFFECTS:
            self.loose.append(settlement.effects)

    def close(self, entry: Entry) -> None:
        """Forget an entry; its step says why."""
        if self._interrupter.limited:
            self._interrupter.ended(entry.id)
        self._ledger.close(entry)
