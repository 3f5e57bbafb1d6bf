"""The life of a call as pure rules: statuses, events, state, and the function that decides."""
