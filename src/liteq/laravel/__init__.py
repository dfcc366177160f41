"""Laravel's wire format as pure functions: bytes in, data out. No I/O, no clock, no Laravel needed.

`phpserialize` is PHP's own format, byte for byte; `plain` is what a Python user sees of it, and
what Python values become for PHP; `encryption` is what Laravel's `encrypt()` writes. Who reads
these bytes from Redis or a database is `liteq.brokers.laravel`'s business.
"""
