"""Mail through SMTP. SMTP_HOST, SMTP_PORT, SMTP_USER and SMTP_PASSWORD say where."""

import os
import smtplib
from email.message import EmailMessage

from umbel import Umbel

app = Umbel("mail")


@app.task(autoretry_for=(OSError, smtplib.SMTPServerDisconnected), retry_backoff=1, max_retries=8)
def send_mail(to: str, subject: str, text: str) -> str:
    """Send one mail; return its message id. A server that is away is tried again."""
    message = EmailMessage()
    message["From"] = os.environ.get("MAIL_FROM", "shop@example.com")
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{send_mail.request.id}@example.com>"  # the same at every try
    message.set_content(text)
    host, port = os.environ.get("SMTP_HOST", "localhost"), int(os.environ.get("SMTP_PORT", "25"))
    with smtplib.SMTP(host, port, timeout=10) as server:
        if user := os.environ.get("SMTP_USER"):
            server.login(user, os.environ["SMTP_PASSWORD"])
        server.send_message(message)
    return message["Message-ID"]
