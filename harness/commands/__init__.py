"""Commands of this room: parse, call one function, print."""
