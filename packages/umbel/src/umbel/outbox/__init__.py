"""The outbox: messages that rest in the application's own database until they are sent.

A caller writes a row in its own transaction (``writing``); when that is committed a relay sends the
row to the broker and deletes it (``relay``). ``app`` writes, workers and ``umbel outbox`` relay.
"""
