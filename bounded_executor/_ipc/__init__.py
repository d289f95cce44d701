"""What parent and workers share: frames, the scoreboard, crash reports, log records."""
