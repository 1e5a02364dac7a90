"""The hospital door: HL7 v2 over MLLP, both ways.

Read first: `mllp.serve`, `mllp.send`, `frames.Reader`. It moves whole messages; what they mean is `mapping`'s.
"""
