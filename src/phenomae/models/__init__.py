"""Networks, which compute tensors from tensors and depend on neither files nor training.

Of phenomae, these modules import only each other and `phenomae.checks`, so that the networks can be
used in other projects.
"""
