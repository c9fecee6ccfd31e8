"""Umbel in other people's frameworks. Above everything else: nothing of Umbel imports from here."""
