"""Access that lasts as long as the identity provider vouches for the person: what it answers, and what follows from it."""
