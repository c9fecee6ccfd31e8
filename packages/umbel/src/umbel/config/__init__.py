"""From the user's words to ours: settings, where they come from, and what is wrong with them.

``settings`` holds what Umbel can be told, ``conf`` is what an app offers as ``app.conf``.
Everything above reads ``Settings``; nothing below knows that settings exist.
"""
