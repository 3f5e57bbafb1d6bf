"""The local runner: carries out the rules of `agent.lifecycle` in this process, on the record."""
