"""Relay: an instance that a stream or a request reaches passes it on to the one that has the call.

    Twilio ── stream ──▶ B (arrived at) ── one WebSocket a call ──▶ A (prepared it, or carries it)
                          │ nobody has it, or A does not accept within 250 ms
                          └─▶ B carries the call itself

What is here is the asking side, and the signatures. The answering side is `routes/relayed.py`.
"""
