"""A secure mail operator (MSSanté) in one process: SMTP both ways and a French web mailbox.

Start with `app.start`, `smtp_in.Door` (mail that arrives) and `relay.run` (mail that leaves, with retries).
It keeps mail in SQLite before it answers 250, and never reads anything but mail.
"""
