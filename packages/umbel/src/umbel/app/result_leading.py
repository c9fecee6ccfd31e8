"""Who listens for results, and what becomes of those who wait when the store goes away.

The working part of ``listening``, which is what others use.

Who listens. A thread that waits leads: it drives the watcher itself, so between a lone ``get`` and
its result there is no other thread to be scheduled. Others that wait meanwhile follow: they hand
their ids to the leader and sleep until it gives them their records, or its place. Where nobody
waits on a thread of his own (coroutines, callbacks), a background thread leads; it exists only
once it was needed.

On Redis ``delay().get()`` takes 0.38 ms so (p50; p99 0.7), of which ``delay`` has 0.11; 0.4 to 0.5
(p99 1.2) where a background thread listens, 1.3 where the caller polls each millisecond
(benchmarks/decisions/result_wait.py).

Invariants, all under ``_lock``: at most one leader; every id in ``_asked`` is either watched or in
``_fresh``, and whoever leads turns fresh into watched before it listens. A leader that leaves
appoints a successor while anybody is left.

Failure. When the watcher breaks, the leader opens another and watches every id anew, which reads
what it missed. While the store stays away it tries again with growing pauses; after ``patience``
seconds everybody who waits gets BackendUnavailable.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress

from umbel.app.result_waiters import ThreadWaiter, Waiter
from umbel.errors import BackendUnavailable, OperationalError
from umbel.model.outcome import ResultRecord
from umbel.ports import ResultBackend, Watcher

logger = logging.getLogger("umbel.results")

RECONCILE = 10.0
"""Seconds of silence after which the store is read once more. A connection that a firewall dropped
looks like one on which nothing happens; this is what notices it."""

_STALE = 64
"""Ids to unwatch are collected up to this many: one write in place of as many."""

_FIRST_PAUSE, _LAST_PAUSE = 0.02, 1.0


class Leading:
    """One watcher, driven by whoever waits. Thread-safe."""

    def __init__(self, backend: ResultBackend, *, patience: float = 20.0) -> None:
        self._backend = backend
        self._patience = patience
        self.reset()

    def reset(self) -> None:
        """Begin anew, with nobody waiting and no watcher: at first, and in a forked child."""
        self._lock = threading.Lock()
        self._asked: dict[str, list[Waiter]] = {}
        self._fresh: dict[str, None] = {}
        self._stale: dict[str, None] = {}
        self._leader: object | None = None
        self._following: dict[ThreadWaiter, None] = {}
        self._watcher: Watcher | None = None
        self._failing_since: float | None = None
        self._pause = _FIRST_PAUSE
        self._unled = 0
        """Waiters that miss something and cannot lead."""
        self._closing = False
        self._thread: _Background | None = None

    # --- joining and leaving (called by waiters) --------------------------------------------------

    def join(self, waiter: Waiter) -> None:
        """Register a waiter for its missing ids and see that somebody listens for it."""
        rouse = None
        with self._lock:
            for task_id in waiter.missing:
                sharing = self._asked.get(task_id)
                if sharing is not None:
                    sharing.append(waiter)
                    continue
                self._asked[task_id] = [waiter]
                self._fresh[task_id] = None
                self._stale.pop(task_id, None)
                rouse = self._watcher
            if not waiter.leads and waiter.missing:
                waiter.counted = True
                self._unled += 1
                self._rouse_background()
            if self._leader is None:
                return
        if rouse is not None:
            rouse.wake()  # the leader is to watch what is fresh

    def leave(self, waiter: Waiter) -> None:
        """Forget a waiter, whatever it still missed. Twice does nothing."""
        with self._lock:
            self._uncount(waiter)
            for task_id in waiter.missing:
                sharing = self._asked.get(task_id)
                if sharing is None or waiter not in sharing:
                    continue
                sharing.remove(waiter)
                if not sharing:
                    self._drop(task_id)
            waiter.missing.clear()
            if not self._asked:
                # Whoever comes next has patience of his own.
                self._failing_since, self._pause = None, _FIRST_PAUSE

    def _uncount(self, waiter: Waiter) -> None:
        """The background thread need not serve this waiter any more. Under the lock."""
        if waiter.counted:
            waiter.counted = False
            self._unled -= 1

    def _drop(self, task_id: str) -> None:
        """Nobody asks for this id any more. Under the lock."""
        del self._asked[task_id]
        if task_id in self._fresh:
            del self._fresh[task_id]
        else:
            self._stale[task_id] = None

    # --- leading ----------------------------------------------------------------------------------

    def listen_for(self, waiter: ThreadWaiter, deadline: float | None) -> None:
        """Lead, or follow, until the waiter's inbox has something or the deadline passed."""
        while True:
            with self._lock:
                if waiter.inbox or waiter.error is not None:
                    return
                leading = self._leader is None
                if leading:
                    self._leader = waiter
                else:
                    waiter.prepare_to_sleep()
                    self._following[waiter] = None
            if leading:
                self._lead(waiter, deadline)
                return
            roused = False
            try:
                roused = waiter.sleep(deadline)
            finally:
                if not roused:
                    self._unfollow(waiter)
            if not roused:
                return

    def _unfollow(self, waiter: ThreadWaiter) -> None:
        with self._lock:
            if waiter in self._following:
                del self._following[waiter]
                return
            # Race: it was roused in the moment it gave up. If it was to lead, another one must.
            waiter.forget_rouse()
            if self._leader is None:
                self._appoint()

    def _lead(self, waiter: ThreadWaiter, deadline: float | None) -> None:
        try:
            while True:
                self._step(deadline)
                if waiter.inbox or waiter.error is not None:
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    return
        finally:
            self._resign()

    def _lead_in_background(self, thread: _Background) -> bool:
        """Lead as long as anybody waits who cannot; False when there is nothing to do now."""
        with self._lock:
            if self._leader is not None or not self._unled:
                thread.idle = True
                return False
            self._leader = thread
        try:
            while self._unled:
                self._step(None)
        finally:
            self._resign()
        return True

    def _resign(self) -> None:
        closed: Watcher | None = None
        with self._lock:
            self._leader = None
            if self._closing:
                self._closing = False
                closed, self._watcher = self._watcher, None
            self._appoint()
        if closed is not None:
            closed.close()

    def _appoint(self) -> None:
        """Wake somebody who will lead. Under the lock, with no leader."""
        if self._following:
            follower = next(iter(self._following))
            del self._following[follower]
            follower.rouse()
        elif self._unled:
            self._rouse_background()

    def _rouse_background(self) -> None:
        """See that the background thread leads if nobody does. Under the lock."""
        if self._leader is not None:
            return
        if self._thread is None:
            self._thread = _Background(self)
        self._thread.rouse()

    def _step(self, deadline: float | None) -> None:
        """Watch what is fresh, then listen once. The caller leads."""
        try:
            self._listen(deadline)
        except OperationalError as error:
            self._lost(error, deadline)
        except Exception as error:  # noqa: BLE001 - a driver's bug must not leave anybody hanging
            self._discard_watcher()
            self._fail(error)
        except BaseException:
            # Interrupted in the middle of a reply: what comes next on that connection is unknown.
            self._discard_watcher()
            raise

    def _listen(self, deadline: float | None) -> None:
        watcher = self._watcher
        if watcher is None:
            watcher = self._watcher = self._backend.open_watcher()
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            stale: dict[str, None] = {}
            if len(self._stale) >= _STALE:
                stale, self._stale = self._stale, {}
        # Should one of these fail, the watcher is given up and everything asked for is fresh again.
        if stale:
            watcher.unwatch(list(stale))
        found = watcher.watch(list(fresh)) if fresh else None
        if found and self._deliver(found.values()):
            return
        left = RECONCILE if deadline is None else min(RECONCILE, deadline - time.monotonic())
        if left > 0:
            records = watcher.receive(left)
            if records:
                self._deliver(records)
            elif left == RECONCILE:
                self._reconcile()
        self._failing_since = None
        self._pause = _FIRST_PAUSE

    def _reconcile(self) -> None:
        """Read what is watched; what the watcher should have told shows that it is deaf."""
        with self._lock:
            watched = [one for one in self._asked if one not in self._fresh]
        records = [one for one in self._backend.fetch(watched).values() if one.final]
        if records:
            logger.warning(
                "results of %d task(s) were stored without the result store telling: the "
                "connection was dead, and is replaced",
                len(records),
            )
            self._discard_watcher()
            self._deliver(records)

    def _deliver(self, records: Iterable[ResultRecord]) -> bool:
        """Hand records to those who asked; tell whether anybody got something."""
        served: dict[Waiter, None] = {}
        with self._lock:
            for record in records:
                waiters = self._asked.get(record.task_id)
                if not waiters:
                    continue
                for waiter in waiters:
                    waiter.inbox.append(record)
                    served[waiter] = None
                if record.final:
                    for waiter in waiters:
                        waiter.missing.discard(record.task_id)
                        if not waiter.missing:
                            self._uncount(waiter)
                    self._drop(record.task_id)
            for waiter in served:
                self._rouse_follower(waiter)
        for waiter in served:
            waiter.after_delivery()
        return bool(served)

    def _rouse_follower(self, waiter: Waiter) -> None:
        """Wake a thread that sleeps and has something to read. Under the lock."""
        if isinstance(waiter, ThreadWaiter) and waiter in self._following:
            del self._following[waiter]
            waiter.rouse()

    # --- losing the store -------------------------------------------------------------------------

    def _lost(self, error: OperationalError, deadline: float | None) -> None:
        self._discard_watcher()
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            logger.info("lost the result store, trying again: %s", error)
        away = now - self._failing_since
        if away >= self._patience:
            self._failing_since, self._pause = None, _FIRST_PAUSE
            unavailable = BackendUnavailable(
                f"the result store could not be reached for {away:.1f} s, so the results that "
                f"were waited for are not known ({error}). The tasks go on; ask again later"
            )
            unavailable.__cause__ = error
            self._fail(unavailable)
            return
        with self._lock:
            for waiters in self._asked.values():
                for waiter in waiters:
                    waiter.trouble = error
        pause = min(self._pause, self._patience - away)
        self._pause = min(self._pause * 2, _LAST_PAUSE)
        if deadline is not None:
            pause = min(pause, deadline - now)
        if pause > 0:
            time.sleep(pause)

    def _discard_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        with self._lock:
            self._fresh = dict.fromkeys(self._asked)
            self._stale = {}
        if watcher is not None:
            with suppress(Exception):  # it is broken already; that it cannot say goodbye is no news
                watcher.close()

    def _fail(self, error: Exception) -> None:
        """Tell everybody who waits that waiting is over."""
        with self._lock:
            failed = {waiter: None for waiters in self._asked.values() for waiter in waiters}
            self._asked = {}
            self._fresh = {}
            for waiter in failed:
                waiter.missing.clear()
                waiter.error = _copy(error)
                self._uncount(waiter)
                self._rouse_follower(waiter)
        for waiter in failed:
            waiter.after_delivery()


def _copy(error: Exception) -> Exception:
    """Return the error for one of several who raise it: each has a traceback of its own."""
    if not isinstance(error, BackendUnavailable):
        return error
    own = BackendUnavailable(*error.args)
    own.__cause__ = error.__cause__
    return own


class _Background:
    """The thread that listens for those who cannot. ``idle`` belongs to the listener's lock."""

    def __init__(self, listener: Leading) -> None:
        self._listener = weakref.ref(listener)
        self._bell = threading.Semaphore(0)
        self._stopped = False
        self.idle = False
        threading.Thread(target=self._run, name="umbel-results", daemon=True).start()

    def rouse(self) -> None:
        """Have it look whether it should lead. Under the listener's lock."""
        if self.idle:
            self.idle = False
            self._bell.release()

    def stop(self) -> None:
        self._stopped = True
        self._bell.release()

    def _run(self) -> None:
        while not self._stopped:
            listener = self._listener()
            if listener is None:
                return
            if listener._lead_in_background(self):
                continue
            del listener
            self._bell.acquire()
