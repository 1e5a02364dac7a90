"""On what does it hang who may see a patient's data?

`sharing` says with whom a resource is shared (MODEL-07: its label, its kind of data, its masks), `facts` what a circle
of care, a consent or an emergency says of a patient and of people (DOS-03, CONS-01 to CONS-03, CONS-08), `standing` how
the two decide. All of it is pure; the engines join the rows in their queries (`access.Sight`).
"""
