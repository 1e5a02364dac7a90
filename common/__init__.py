"""What every room may use and nothing more: errors, numbered log events, the clock.

The list of modules is closed (a test refuses a fourth); what two rooms share beyond this belongs to one of them.
"""
