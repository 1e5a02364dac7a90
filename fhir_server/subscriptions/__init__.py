"""The room of Subscriptions: who wants to hear of which changes, and what they are told.

R4 subscription.html and the Subscriptions R5 Backport for R4. `reading.read` understands a Subscription,
`matching.Matcher` follows the event log and writes down who is to hear of what, `notification.bundle` makes what is
sent. It opens no connection: channels belong to whoever serves.
"""
