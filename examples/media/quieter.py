"""Make a file quieter and watch it: python quieter.py in.wav out.wav"""

import sys
import time

from tasks import make_quieter

result = make_quieter.delay(sys.argv[1], sys.argv[2], 0.5)
shown = None
while not result.ready():
    if result.state == "PROGRESS" and result.info != shown:
        shown = result.info
        print(f"{100 * shown['done'] // shown['total']} %")
    time.sleep(0.02)
print("done", result.get())
