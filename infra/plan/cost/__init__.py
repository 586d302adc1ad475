"""Monthly cost of a recorded graph: one pure function per priced type, one table of what is free."""
