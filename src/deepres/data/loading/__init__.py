"""Which images does step t draw, and how do they arrive in time? Order, worker processes, batches."""
