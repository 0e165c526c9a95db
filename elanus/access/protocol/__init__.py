"""The client protocol's messages, in a descriptor pool of their own."""
