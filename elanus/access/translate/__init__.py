"""The client protocol's messages to `model` and back."""
