"""The endpoints at which Gremlin is spoken."""
