"""The mail door: conversations are also secure mail (MSSanté), and this room speaks it.

Start with three functions: `letter.read` (raw bytes to a Letter), `compose.mail` (a message to raw bytes),
`reception.serve` (the SMTP and LMTP sockets; what comes in goes to a function that the hub gives).
It never writes the record, never decides who may speak, and never answers 250 for a mail nobody has kept.
"""
