"""What runs in the fork server, in the supervisor and in the workers."""
