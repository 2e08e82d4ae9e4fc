"""The pages of a person's devices. Each look-up asks for the owner too: another's device is one that does not exist."""
