"""Laravel's queues as a broker: the same lists and tables that `php artisan queue:work` reads.

`broker` has LiteQ's verbs, `redis` and `database` are Laravel's two drivers, `base` says what a
driver is. The wire format itself is in `liteq.laravel`.
"""
