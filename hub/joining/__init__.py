"""How somebody gets an account (ACC-01 to ACC-05, ACC-15).

They ask for one (`asking.Requests`), or come in by their card (`opening.Opening`); an agent decides
(`hub/operations/decide_account.py`). Everything that is known of a request is one Task (`request`). Nothing here
signs anybody in.
"""
