"""Peers that are on the interface only while they are used: recognised by their first packet, taken off when idle."""
