"""The stack in five layers, each a value that the ones above it take; only here components meet each other."""
