"""Simulated users and the encoding of their clicks for the networks."""
