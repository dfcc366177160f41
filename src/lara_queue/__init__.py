"""lara_queue: Python and Laravel on the same queues, both ways. A thin front door to LiteQ."""
