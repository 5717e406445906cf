"""Text and numbers in, numbers out: no model, no command line, no files but its own word lists."""
