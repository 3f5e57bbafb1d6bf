"""Calls of this instance: registry and leases; schemas of the calls API.

may it come   admission
carried here  call_registry: call_handover, quiet_moment · bounded_waits
across        call_leases, leases · fenced_record · task_protection
"""
