"""Networks: tensors in, tensors out. They know neither files nor training.

Nothing of phenomae is imported here except `phenomae.checks`, so that a network can be taken out
and used elsewhere.
"""
