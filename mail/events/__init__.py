"""What providers tell after the send: read by one file per provider into one kind of event, and what follows of it."""
