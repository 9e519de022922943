"""The pure core: Multi-Paxos over a bank, as a value machine.

Nothing in this package performs IO, reads a clock, draws global randomness or logs. The same
inputs give the same outputs. `replica.Replica` is the entry; everything else serves it.
"""
