"""Welcome somebody: python welcome.py ann@example.com"""

import sys

from tasks import send_mail

sent = send_mail.delay(sys.argv[1], "Welcome", "It is good to have you here.\n")
print("sent", sent.get(timeout=60))
