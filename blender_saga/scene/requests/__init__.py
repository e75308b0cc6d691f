"""From the user's input to a request, and from its answer to the scene."""
