"""One folder per technology: every port that it can offer. Reached through ``opening`` only."""
