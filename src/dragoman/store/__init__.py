"""The tables that are not the ledger: one module per noun, SQL beside its reader.

Every statement names the tenant, though row-level security filters too: the first keeps plans and Citus routing
right, the second keeps a forgotten WHERE harmless. ``message`` and ``audit_event`` belong to :mod:`dragoman.ledger`.
"""
