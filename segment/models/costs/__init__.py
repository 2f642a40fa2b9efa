"""The cost of a net: computed from shapes, or measured on this machine."""
