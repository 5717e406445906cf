"""The report: runs, or a study, as one HTML file that opens offline."""
