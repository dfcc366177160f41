"""Pools: what runs jobs. They turn a Job into an Outcome and know no broker."""
