"""Studies: a question, the data that answer it, and a report, from one restartable command each."""
