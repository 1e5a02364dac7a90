"""Proof: simulators of the outside parties, and checks against the national guides. Runs as its own processes.

Read first: `python -m conformance.simulators.hospital FILE` (a hospital that sends). Nobody imports it but tests.
"""
