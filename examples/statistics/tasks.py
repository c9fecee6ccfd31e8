"""A figure for every day, from the log of a shop, each morning at ten past midnight.

umbel worker -A tasks -B        any number of them: each day is counted once
umbel schedule -A tasks list    what is on the schedule
"""

import csv
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from umbel import Umbel
from umbel.schedules import crontab

app = Umbel("statistics", timezone="Europe/Rome")
HOME = Path(__file__).parent


@app.task
def count_sales(day: str | None = None) -> dict:
    """Count what was sold on a day (ISO; yesterday unless given), and write it down."""
    wanted = day or (datetime.now(app.timezone).date() - timedelta(days=1)).isoformat()
    sold: Counter = Counter()
    with (HOME / "sales.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["day"] == wanted:
                sold[row["article"]] += int(row["count"])
    # Counting a day twice gives the same file: a task may always run again.
    (HOME / f"sales-{wanted}.json").write_text(json.dumps(sold, sort_keys=True), encoding="utf-8")
    return dict(sold)


app.conf.beat_schedule = {
    "sales of yesterday": {
        "task": count_sales.name,
        "schedule": crontab(hour=0, minute=10),
        "catch_up": "latest",  # the machine slept at midnight: once it is awake
    },
}
