"""Instructions: the demo's own chats with checkable constraints, and how they are made."""
