"""What a run leaves, as people see it: records, table, page, figures, history."""
