"""How schemathesis sends a body of a media type that it does not know."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    """The schema says no more than that it is text."""
    return value if isinstance(value, bytes) else str(value).encode()
