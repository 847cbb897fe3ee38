"""PgQueuer's entry points and schedules: shims onto services, and the queue port that writes for them."""
