"""A study to look at: its table, live or as JSON, what it cost, its runs, the dashboard."""
