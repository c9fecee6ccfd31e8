"""Sends what it reads (one JSON line a call) and says what became of each.

Runs in the interpreter of the peer; ``torture.sender`` starts it. Lines out:

    ok NUMBER BEFORE AFTER     confirmed; monotonic times around the call
    maybe NUMBER BEFORE AFTER  it may or may not have arrived
    never NUMBER BEFORE AFTER  the client said that nothing was sent
    got NUMBER WORD            a waiting client read the result: right, wrong, or what it raised
    again NUMBER COUNT         a batch of the soak failed and goes again: it may have arrived
"""

import json
import os
import sys
import threading
import time
from queue import SimpleQueue

from torture_app import app, send, step

WAITERS = 4
TRY_FOR = 30.0
PATIENCE = float(os.environ.get("TORTURE_PATIENCE", "120"))

_lock = threading.Lock()


def say(*words):
    with _lock:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()


def word_for(error):
    """Umbel promises which of the two it is; of others nothing is known."""
    return "never" if type(error).__name__ == "BrokerUnavailable" else "maybe"


def one(call, waiting):
    """Send one call; what surely was not sent is sent again, what may have been is not.

    The client's own retries are off (``torture_app.send``): they repeat what may have arrived, and
    a call that was sent twice runs twice.
    """
    before = time.monotonic()
    while True:
        try:
            handle = send(call)
        except Exception as error:  # noqa: BLE001 - whatever a client may raise
            word = word_for(error)
            print(f"call {call['number']}: {word}: {error!r}", file=sys.stderr, flush=True)
            # A chord is sent in parts: some of them may have arrived before one was not sent.
            word = "maybe" if call["header"] else word
            if word == "never" and time.monotonic() < before + TRY_FOR:
                time.sleep(0.1)
                continue
            break
        word = "ok"
        break
    say(word, call["number"], f"{before:.6f}", f"{time.monotonic():.6f}")
    if word == "ok" and call.get("wait"):
        waiting.put((call["number"], call["value"], handle))


def many(first, count, fail_every):
    """Send steps of the soak as one batch, until it is confirmed; each ``fail_every``th fails."""
    before = time.monotonic()
    calls = [
        ((number,), {"fails": fail_every > 0 and number % fail_every == 0})
        for number in range(first, first + count)
    ]
    while True:
        try:
            step.send_many(calls)
            break
        except Exception as error:  # noqa: BLE001 - whatever a client may raise
            print(f"batch {first}: {error!r}", file=sys.stderr, flush=True)
            say("again", first, count)
            time.sleep(0.1)
    say("ok", first, f"{before:.6f}", f"{time.monotonic():.6f}")


def wait(waiting):
    while True:
        number, value, handle = waiting.get()
        try:
            said = "right" if handle.get(timeout=PATIENCE) == value else "wrong"
        except Exception as error:  # noqa: BLE001 - whatever a client may raise
            said = type(error).__name__
        say("got", number, said)


def main():
    waiting = SimpleQueue()
    if os.environ["TORTURE_PEER"] == "umbel":
        for _ in range(WAITERS):
            threading.Thread(target=wait, args=(waiting,), daemon=True).start()
    say("ready")
    for line in sys.stdin:
        call = json.loads(line)
        if "first" in call:
            many(call["first"], call["count"], call["fail_every"])
        else:
            one(call, waiting)
    app.close()


if __name__ == "__main__":
    main()
