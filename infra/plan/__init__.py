"""What `pulumi up` would build, from the recorded graph: tree, cost, permissions, flows, alarms, findings."""
