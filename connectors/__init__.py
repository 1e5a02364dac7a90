"""The doors other than mail: hospital software, one folder each.

Read first: `hospital.mllp.serve` (receive), `hospital.mllp.send` (send). A door turns bytes into messages and answers
into bytes; the hub hands it the functions to call. It knows nothing of the record and never calls the hub.
"""
