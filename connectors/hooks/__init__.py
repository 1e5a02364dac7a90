"""The door of web hooks: one HTTP call to an address that somebody outside chose.

`addresses.Policy` says which addresses are never called; `calling.Caller.call` makes a call and says how it ended. The
door knows nothing of what is sent, and keeps nothing.
"""
