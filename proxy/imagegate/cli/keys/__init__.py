"""`imagegate keys`: the keys that this gateway gives out."""
