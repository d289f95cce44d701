"""The bounded queue: slots, waiting work, callbacks. Threads only: no processes and no sockets."""
