"""How fast is it, and how much of that is us?

One file per measured path; `hub bench NAME` calls its `run`. Each value stands beside a bare baseline of the same run:
the least that the same machine needs to send the same bytes or keep the same rows. The load comes from a process of its
own. Nothing here is imported by the hub, and no check depends on a figure.
"""
