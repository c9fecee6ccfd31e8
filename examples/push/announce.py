"""Announce something to many devices: python announce.py 100 "Doors open at eight" """

import sys

from tasks import push

count, text = int(sys.argv[1]), sys.argv[2]
results = push.send_many((f"device-{number}", text) for number in range(count))
print("reached", len(set(results.get(timeout=120))))
