"""What the site hands over."""

import time

from umbel import Umbel

app = Umbel("site")


@app.task(bind=True)
def make_report(self, title: str, pages: int) -> dict:
    """Write a report, a page at a time."""
    for page in range(pages):
        self.update_state(state="PROGRESS", meta={"page": page + 1, "pages": pages})
        time.sleep(0.01)
    return {"title": title, "words": 250 * pages}
